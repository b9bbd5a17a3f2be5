//! Read operations: from the state straight into the reply's bytes.
//!
//! Each function appends the reply's body and leaves watches to the caller (under the same lock).
//! On an error nothing is appended. `allowed` says whether the caller may do any of the wanted
//! permissions under an ACL; it is not asked about the open ACL.

use bytes::BytesMut;

use crate::proto::jute::Write;
use crate::proto::multi::{self, Op};
use crate::proto::opcode::OpCode;
use crate::proto::records::SetWatches2;
use crate::types::{Acl, Code, ConnId, Id, Perms};

use super::acl::AclId;
use super::watch::{EventKind, WatchKind, WatchTable};
use super::{NodeRef, StateMachine, SubResult};

/// The caller's permissions.
pub type Allowed<'a> = &'a dyn Fn(&[Acl], Perms) -> bool;

/// The node at `path`, if the caller may do any of `wanted` there: NONODE, NOAUTH, or
/// MARSHALLINGERROR for a node whose ACL a fuzzy snapshot did not bring along, as in Apache.
pub fn permitted<'s>(
    s: &'s StateMachine,
    path: &str,
    wanted: Perms,
    allowed: Allowed,
) -> Result<NodeRef<'s>, Code> {
    let node = s.node(path).ok_or(Code::NO_NODE)?;
    match node.acl_id() {
        AclId::OPEN => Ok(node),
        AclId::MISSING => Err(Code::MARSHALLING_ERROR),
        _ if allowed(node.acl(), wanted) => Ok(node),
        _ => Err(Code::NO_AUTH),
    }
}

/// exists (3): the stat. NONODE, NOAUTH, BADARGUMENTS for a path with a NUL. A watch asked for is
/// to be left on OK (kind Data) and on NONODE (kind Exist), not on the others.
pub fn exists(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<(), Code> {
    if path.contains('\0') {
        return Err(Code::BAD_ARGUMENTS);
    }
    out.put(&permitted(s, path, Perms::READ, allowed)?.client_stat());
    Ok(())
}

/// The largest reply that is made at one go, bytes of its body, and the most children that are gone
/// through for it. What is larger is made in steps, so that nobody waits long for the lock.
pub const AT_ONCE_BYTES: usize = 64 << 10;
/// See [`AT_ONCE_BYTES`].
pub const AT_ONCE_NAMES: usize = 4096;

/// What is not an error: the reply is larger than [`AT_ONCE_BYTES`], and nothing of it is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The reply's body is appended.
    Fits,
    /// It is to be made in steps.
    Large,
}

/// getData (4): data and stat. NONODE, NOAUTH.
pub fn get_data(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<Size, Code> {
    let node = permitted(s, path, Perms::READ, allowed)?;
    let data = node.data();
    let length = data.map_or(0, <[u8]>::len);
    if length > AT_ONCE_BYTES {
        return Ok(Size::Large);
    }
    out.reserve(4 + length + 68);
    out.buffer(data);
    out.put(&node.client_stat());
    Ok(Size::Fits)
}

/// getACL (6): needs READ or ADMIN; without ADMIN, digests are masked. NONODE, NOAUTH.
pub fn get_acl(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<(), Code> {
    let node = permitted(s, path, Perms(Perms::READ.0 | Perms::ADMIN.0), allowed)?;
    let acl = node.acl();
    if node.acl_id() == AclId::OPEN || allowed(acl, Perms::ADMIN) {
        out.vec(Some(acl));
    } else {
        let masked: Vec<Acl> = acl.iter().map(mask).collect();
        out.vec(Some(&masked));
    }
    out.put(&node.client_stat());
    Ok(())
}

/// An entry whose digest is hidden: "user:x".
fn mask(acl: &Acl) -> Acl {
    match acl.id.id().split_once(':') {
        Some((user, _)) if acl.id.scheme() == "digest" => {
            Acl { perms: acl.perms, id: Id::new("digest", format!("{user}:x")) }
        }
        _ => acl.clone(),
    }
}

/// getChildren (8): names. NONODE, NOAUTH.
pub fn get_children(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<Size, Code> {
    Ok(names(&permitted(s, path, Perms::READ, allowed)?, out))
}

/// getChildren2 (12): names and stat. NONODE, NOAUTH.
pub fn get_children2(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<Size, Code> {
    let node = permitted(s, path, Perms::READ, allowed)?;
    let size = names(&node, out);
    if size == Size::Fits {
        out.put(&node.client_stat());
    }
    Ok(size)
}

fn names(node: &NodeRef, out: &mut BytesMut) -> Size {
    let (count, start) = (node.num_children(), out.len());
    if count > AT_ONCE_NAMES {
        return Size::Large;
    }
    out.reserve(4 + count * 20 + 68);
    out.count(count);
    for name in node.children() {
        if out.len() - start + name.len() > AT_ONCE_BYTES {
            out.truncate(start);
            return Size::Large;
        }
        out.str(name);
    }
    Size::Fits
}

/// What of a getEphemerals' prefix is looked at: null, blank and "/" mean all.
pub fn ephemerals_prefix(prefix: Option<&str>) -> &str {
    prefix.filter(|p| !p.trim().is_empty() && *p != "/").unwrap_or("")
}

/// multiRead (22): one result per operation, errors in place, no watches. Returns the code for the
/// reply's header: OK, or MARSHALLINGERROR from the first operation that has no path or does not
/// read; the results up to there stay in the body, as in Apache. None, with what is appended of no
/// meaning: the reply is to be made in steps.
pub fn multi_read(
    s: &StateMachine,
    ops: &[Op],
    allowed: Allowed,
    out: &mut BytesMut,
    answered: &mut dyn FnMut(OpCode, &str, &[u8]),
) -> Option<Code> {
    let (mut code, start) = (Code::OK, out.len());
    let mut parts = Vec::new();
    for op in ops {
        let (Op::GetData(request) | Op::GetChildren(request)) = op else {
            code = Code::MARSHALLING_ERROR;
            break;
        };
        let Some(path) = &request.path else {
            code = Code::MARSHALLING_ERROR;
            break;
        };
        let at = out.len();
        multi::write_result(out, op.opcode());
        let body = out.len();
        let read = match op {
            Op::GetData(_) => get_data(s, path, allowed, out),
            _ => get_children(s, path, allowed, out),
        };
        if out.len() - start > AT_ONCE_BYTES {
            return None;
        }
        match read {
            Ok(Size::Fits) => parts.push((op.opcode(), path, body..out.len())),
            Ok(Size::Large) => return None,
            Err(code) => {
                out.truncate(at);
                multi::write_error(out, code);
            }
        }
    }
    for (opcode, path, part) in parts {
        answered(opcode, path, &out[part]);
    }
    multi::write_end(out);
    Some(code)
}

/// The body of a multi's reply. False, with nothing appended, when a part says SESSIONMOVED: the
/// connection is closed instead.
pub fn write_multi_results(results: &[SubResult], out: &mut BytesMut) -> bool {
    if results.iter().any(|part| part.code == Code::SESSION_MOVED) {
        return false;
    }
    for part in results {
        if part.opcode == OpCode::ERROR.0 || part.code != Code::OK {
            multi::write_error(out, part.code);
            continue;
        }
        match OpCode(part.opcode) {
            OpCode::CREATE => {
                multi::write_result(out, OpCode::CREATE);
                out.opt_str(part.path.as_deref());
            }
            OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
                multi::write_result(out, OpCode::CREATE2);
                out.opt_str(part.path.as_deref());
                out.put(&part.stat.unwrap_or_default());
            }
            OpCode::DELETE | OpCode::DELETE_CONTAINER => {
                multi::write_result(out, OpCode::DELETE);
            }
            OpCode::SET_DATA => {
                multi::write_result(out, OpCode::SET_DATA);
                out.put(&part.stat.unwrap_or_default());
            }
            other => multi::write_result(out, other),
        }
    }
    multi::write_end(out);
    true
}

/// setWatches (101) and setWatches2 (105): leaves each watch, or tells `event` at once what the
/// client has missed (header zxid -1, before the reply; no ACL check, as in Apache).
///
/// An exist watch compares no zxid: a node that is there counts as created. False: a watch was one
/// too many, and is not there.
pub fn set_watches(
    s: &StateMachine,
    watches: &WatchTable,
    conn: ConnId,
    request: &SetWatches2,
    event: &mut dyn FnMut(EventKind, &str),
) -> bool {
    let lists = [
        (WatchList::Data, &request.data),
        (WatchList::Exist, &request.exist),
        (WatchList::Child, &request.child),
        (WatchList::Persistent, &request.persistent),
        (WatchList::Recursive, &request.recursive),
    ];
    let mut whole = true;
    for (list, paths) in lists {
        for path in paths.iter().flatten() {
            whole &= set_watch(s, watches, conn, (list, path), request.relative_zxid, event);
        }
    }
    whole
}

/// The lists of a setWatches, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchList {
    /// Data watches.
    Data,
    /// Watches on what was not there.
    Exist,
    /// Child watches.
    Child,
    /// Persistent ones, of setWatches2 alone.
    Persistent,
    /// Persistent recursive ones, of setWatches2 alone.
    Recursive,
}

/// One path of a setWatches; false: the watch was one too many.
pub fn set_watch(
    s: &StateMachine,
    watches: &WatchTable,
    conn: ConnId,
    (list, path): (WatchList, &str),
    seen: i64,
    event: &mut dyn FnMut(EventKind, &str),
) -> bool {
    let stat = || s.node(path).map(|node| node.stat());
    let (missed, kind) = match list {
        WatchList::Data => match stat() {
            None => (Some(EventKind::Deleted), WatchKind::Data),
            Some(stat) => ((stat.mzxid > seen).then_some(EventKind::DataChanged), WatchKind::Data),
        },
        WatchList::Exist => (s.node(path).map(|_| EventKind::Created), WatchKind::Exist),
        WatchList::Child => match stat() {
            None => (Some(EventKind::Deleted), WatchKind::Child),
            Some(stat) => {
                ((stat.pzxid > seen).then_some(EventKind::ChildrenChanged), WatchKind::Child)
            }
        },
        WatchList::Persistent => (None, WatchKind::Persistent),
        WatchList::Recursive => (None, WatchKind::Recursive),
    };
    match missed {
        Some(missed) => {
            event(missed, path);
            true
        }
        None => watches.add(conn, path, kind),
    }
}

#[cfg(test)]
mod tests;
