//! Read operations: from the state straight into the reply's bytes.
//!
//! Each function appends the reply's body and leaves watches to the caller (under the same lock).
//! On an error nothing is appended. `allowed` says whether the caller may do any of the wanted
//! permissions under an ACL; it is not asked about the open ACL.

use bytes::BytesMut;

use crate::proto::multi::Op;
use crate::proto::records::SetWatches2;
use crate::types::{Acl, Code, ConnId, Perms, SessionId};

use super::watch::{EventKind, WatchTable};
use super::{StateMachine, SubResult};

/// The caller's permissions.
pub type Allowed<'a> = &'a dyn Fn(&[Acl], Perms) -> bool;

/// exists (3): the stat. NONODE, NOAUTH, BADARGUMENTS for a path with a NUL. A watch asked for is
/// to be left on OK (kind Data) and on NONODE (kind Exist), not on the others.
pub fn exists(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<(), Code> {
    let _ = (s, path, allowed, out);
    todo!()
}

/// getData (4): data and stat. NONODE, NOAUTH.
pub fn get_data(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<(), Code> {
    let _ = (s, path, allowed, out);
    todo!()
}

/// getACL (6): needs READ or ADMIN; without ADMIN, digests are masked. NONODE, NOAUTH.
pub fn get_acl(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<(), Code> {
    let _ = (s, path, allowed, out);
    todo!()
}

/// getChildren (8): names. NONODE, NOAUTH.
pub fn get_children(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<(), Code> {
    let _ = (s, path, allowed, out);
    todo!()
}

/// getChildren2 (12): names and stat. NONODE, NOAUTH.
pub fn get_children2(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<(), Code> {
    let _ = (s, path, allowed, out);
    todo!()
}

/// getEphemerals (103): the session's paths that start with `prefix`, as plain strings; null, blank
/// and "/" mean all.
pub fn get_ephemerals(
    s: &StateMachine,
    session: SessionId,
    prefix: Option<&str>,
    out: &mut BytesMut,
) {
    let _ = (s, session, prefix, out);
    todo!()
}

/// getAllChildrenNumber (104). NONODE, NOAUTH.
pub fn get_all_children_number(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<(), Code> {
    let _ = (s, path, allowed, out);
    todo!()
}

/// multiRead (22): one result per operation, errors in place. The code for the reply's header: OK,
/// or MARSHALLINGERROR (with an empty result list) when there is an operation that does not read.
pub fn multi_read(s: &StateMachine, ops: &[Op], allowed: Allowed, out: &mut BytesMut) -> Code {
    let _ = (s, ops, allowed, out);
    todo!()
}

/// The body of a multi's reply. None when a part says SESSIONMOVED: the connection is closed
/// instead.
pub fn write_multi_results(results: &[SubResult], out: &mut BytesMut) -> Option<()> {
    let _ = (results, out);
    todo!()
}

/// setWatches (101) and setWatches2 (105): leaves each watch, or tells `event` at once what the
/// client has missed (header zxid -1, before the reply; no ACL check, as in Apache).
pub fn set_watches(
    s: &StateMachine,
    watches: &WatchTable,
    conn: ConnId,
    request: &SetWatches2,
    event: &mut dyn FnMut(EventKind, &str),
) {
    let _ = (s, watches, conn, request, event);
    todo!()
}
