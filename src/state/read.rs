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
use crate::types::{Acl, Code, ConnId, Id, Perms, SessionId, java};

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

/// getData (4): data and stat. NONODE, NOAUTH.
pub fn get_data(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<(), Code> {
    let node = permitted(s, path, Perms::READ, allowed)?;
    let data = node.data();
    out.reserve(4 + data.map_or(0, <[u8]>::len) + 68);
    out.buffer(data);
    out.put(&node.client_stat());
    Ok(())
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
) -> Result<(), Code> {
    names(&permitted(s, path, Perms::READ, allowed)?, out);
    Ok(())
}

/// getChildren2 (12): names and stat. NONODE, NOAUTH.
pub fn get_children2(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<(), Code> {
    let node = permitted(s, path, Perms::READ, allowed)?;
    names(&node, out);
    out.put(&node.client_stat());
    Ok(())
}

fn names(node: &NodeRef, out: &mut BytesMut) {
    out.reserve(4 + node.num_children().saturating_mul(20) + 68);
    out.i32(node.num_children() as i32);
    node.children().for_each(|name| out.str(name));
}

/// getEphemerals (103): the session's paths that start with `prefix`, as plain strings; null, blank
/// and "/" mean all. In the order of Apache's copy of its hash set.
pub fn get_ephemerals(
    s: &StateMachine,
    session: SessionId,
    prefix: Option<&str>,
    out: &mut BytesMut,
) {
    let prefix = prefix.filter(|p| !p.trim().is_empty() && *p != "/").unwrap_or("");
    let at = out.len();
    out.i32(0);
    let mut count = 0_u32;
    let mut paths = s.ephemerals_of(session);
    let buckets = java::cloned_buckets(paths.len());
    java::set_order(&mut paths, buckets);
    for path in paths.iter().filter(|path| path.starts_with(prefix)) {
        out.str(path);
        count += 1;
    }
    out[at..at + 4].copy_from_slice(&count.to_be_bytes());
}

/// getAllChildrenNumber (104). NONODE, NOAUTH.
pub fn get_all_children_number(
    s: &StateMachine,
    path: &str,
    allowed: Allowed,
    out: &mut BytesMut,
) -> Result<(), Code> {
    permitted(s, path, Perms::READ, allowed)?;
    out.i32(s.all_children_number(path).ok_or(Code::NO_NODE)?);
    Ok(())
}

/// multiRead (22): one result per operation, errors in place, no watches. Returns the code for the
/// reply's header: OK, or MARSHALLINGERROR from the first operation that has no path or does not
/// read; the results up to there stay in the body, as in Apache.
pub fn multi_read(
    s: &StateMachine,
    ops: &[Op],
    allowed: Allowed,
    out: &mut BytesMut,
    answered: &mut dyn FnMut(OpCode, &str, &[u8]),
) -> Code {
    let mut code = Code::OK;
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
        match read {
            Ok(()) => answered(op.opcode(), path, &out[body..]),
            Err(code) => {
                out.truncate(at);
                multi::write_error(out, code);
            }
        }
    }
    multi::write_end(out);
    code
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
    let mut whole = true;
    let mut add = |path: &str, kind| whole &= watches.add(conn, path, kind);
    let seen = request.relative_zxid;
    for path in request.data.iter().flatten() {
        match s.node(path).map(|node| node.stat()) {
            None => event(EventKind::Deleted, path),
            Some(stat) if stat.mzxid > seen => event(EventKind::DataChanged, path),
            Some(_) => add(path, WatchKind::Data),
        }
    }
    for path in request.exist.iter().flatten() {
        match s.node(path) {
            Some(_) => event(EventKind::Created, path),
            None => add(path, WatchKind::Exist),
        }
    }
    for path in request.child.iter().flatten() {
        match s.node(path).map(|node| node.stat()) {
            None => event(EventKind::Deleted, path),
            Some(stat) if stat.pzxid > seen => event(EventKind::ChildrenChanged, path),
            Some(_) => add(path, WatchKind::Child),
        }
    }
    for path in request.persistent.iter().flatten() {
        add(path, WatchKind::Persistent);
    }
    for path in request.recursive.iter().flatten() {
        add(path, WatchKind::Recursive);
    }
    whole
}

#[cfg(test)]
mod tests;
