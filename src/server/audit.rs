//! The audit log (`audit.enable`): one line for every change that a client of this server asked for,
//! and for every ephemeral that goes with its session (Apache `ZKAuditProvider`, `AuditHelper`).
//!
//! ```text
//! session=0x1..  user=bob,10.0.0.1  ip=10.0.0.1  operation=create  znode=/a  znode_type=persistent  result=success
//! ```
//!
//! Tab separated, in that order, what is unknown left out; written to the log with the target
//! `audit`, which a log filter can send elsewhere. The shell sees each request when it is submitted
//! and each reply when it is delivered, in the same order per connection: nothing below knows.

use bytes::Bytes;

use crate::auth::Auth;
use crate::proto::jute::{Jute, Reader};
use crate::proto::multi::{self, Op};
use crate::proto::opcode::OpCode;
use crate::proto::records::{
    CreateRequest, CreateTtlRequest, DeleteRequest, MultiHeader, PathRecord, ReplyHeader,
    SetAclRequest, SetDataRequest,
};
use crate::types::{Acl, CreateMode, Id, SessionId};

/// What a submitted request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Not a change: a session, a sync, a good-bye.
    Nothing,
    /// One change.
    One(Entry),
    /// The changes of a multi.
    Multi(Vec<Entry>),
}

/// One change in words.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Entry {
    /// Apache's name of the operation.
    pub operation: &'static str,
    /// The node.
    pub znode: Option<String>,
    /// A create mode.
    pub znode_type: Option<&'static str>,
    /// What setACL sets.
    pub acl: Option<String>,
}

/// Of a request that goes to the node thread.
pub fn subject(opcode: OpCode, body: &Bytes) -> Subject {
    if opcode == OpCode::MULTI {
        let ops = multi::read_ops(&mut Reader::new(body.clone())).unwrap_or_default();
        return Subject::Multi(ops.iter().map(entry).collect());
    }
    let body = body.clone();
    let op = match opcode {
        OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER => {
            CreateRequest::from_bytes(body).ok().map(|r| Op::Create(opcode, r))
        }
        OpCode::CREATE_TTL => CreateTtlRequest::from_bytes(body).ok().map(Op::CreateTtl),
        OpCode::DELETE => DeleteRequest::from_bytes(body).ok().map(Op::Delete),
        OpCode::SET_DATA => SetDataRequest::from_bytes(body).ok().map(Op::SetData),
        OpCode::SET_ACL => {
            let Ok(r) = SetAclRequest::from_bytes(body) else { return Subject::Nothing };
            let acl = r.acl.as_deref().map(acl_text);
            return Subject::One(Entry {
                operation: "setAcl",
                znode: r.path,
                acl,
                ..Entry::default()
            });
        }
        OpCode::RECONFIG => {
            return Subject::One(Entry { operation: "reconfig", ..Entry::default() });
        }
        _ => None,
    };
    op.map_or(Subject::Nothing, |op| Subject::One(entry(&op)))
}

fn entry(op: &Op) -> Entry {
    let (operation, znode, znode_type) = match op {
        Op::Create(OpCode::CREATE_CONTAINER, r) => ("create", &r.path, Some("container")),
        Op::Create(_, r) => ("create", &r.path, mode(r.flags)),
        Op::CreateTtl(r) => ("create", &r.path, mode(r.flags)),
        Op::Delete(r) => ("delete", &r.path, None),
        Op::SetData(r) => ("setData", &r.path, None),
        Op::Check(r) => ("check", &r.path, None),
        Op::GetData(r) | Op::GetChildren(r) => ("", &r.path, None),
    };
    Entry { operation, znode: znode.clone(), znode_type, acl: None }
}

fn mode(flags: i32) -> Option<&'static str> {
    Some(match CreateMode::from_flags(flags)? {
        CreateMode::Persistent => "persistent",
        CreateMode::Ephemeral => "ephemeral",
        CreateMode::PersistentSequential => "persistent_sequential",
        CreateMode::EphemeralSequential => "ephemeral_sequential",
        CreateMode::Container => "container",
        CreateMode::PersistentTtl => "persistent_with_ttl",
        CreateMode::PersistentSequentialTtl => "persistent_sequential_with_ttl",
    })
}

/// `scheme:id:cdrwa` for each entry (Apache `ZKUtil.aclToString`).
fn acl_text(acl: &[Acl]) -> String {
    let one = |a: &Acl| {
        let bits = [(4, 'c'), (8, 'd'), (1, 'r'), (2, 'w'), (16, 'a')];
        let perms: String =
            bits.iter().filter(|(bit, _)| a.perms.0 & bit != 0).map(|(_, c)| *c).collect();
        format!("{}:{}:{perms}", a.id.scheme(), a.id.id())
    };
    acl.iter().map(one).collect()
}

/// Who asked.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The session.
    pub session: SessionId,
    /// The identities.
    pub ids: &'a [Id],
    /// The address, without the port.
    pub ip: &'a str,
}

/// The lines that a reply completes: `frame` is the whole frame, length included.
pub fn lines(auth: &Auth, asker: Asker, subject: Subject, frame: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(Bytes::copy_from_slice(frame.get(4..).unwrap_or_default()));
    let Ok(header) = reader.get::<ReplyHeader>() else { return Vec::new() };
    let succeeded = header.err == 0;
    match subject {
        Subject::Nothing => Vec::new(),
        Subject::One(mut entry) => {
            // The name that a sequential node got.
            if succeeded
                && entry.operation == "create"
                && let Ok(PathRecord { path: Some(path) }) = reader.get()
            {
                entry.znode = Some(path);
            }
            vec![line(auth, asker, &entry, succeeded)]
        }
        Subject::Multi(entries) => {
            let first: Option<MultiHeader> = reader.get().ok();
            let failed = !succeeded || first.is_some_and(|h| h.opcode == -1 && !h.done);
            if failed {
                let entry = Entry { operation: "multiOperation", ..Entry::default() };
                return vec![line(auth, asker, &entry, false)];
            }
            let changes = entries.iter().filter(|entry| entry.operation != "check");
            changes.map(|entry| line(auth, asker, entry, true)).collect()
        }
    }
}

fn line(auth: &Auth, asker: Asker, entry: &Entry, succeeded: bool) -> String {
    let users: Vec<&str> =
        asker.ids.iter().map(|id| auth.user_name(id)).filter(|user| !user.is_empty()).collect();
    let session = format!("0x{:x}", asker.session.0);
    let users = users.join(",");
    join(&[
        ("session", Some(session.as_str())),
        ("user", Some(users.as_str()).filter(|users| !users.is_empty())),
        ("ip", Some(asker.ip)),
        ("operation", Some(entry.operation)),
        ("znode", entry.znode.as_deref()),
        ("znode_type", entry.znode_type),
        ("acl", entry.acl.as_deref()),
        ("result", Some(if succeeded { "success" } else { "failure" })),
    ])
}

/// An ephemeral that went with its session; said on every server, in the server's own name.
pub fn ephemeral_line(session: SessionId, path: &str, user: &str) -> String {
    let session = format!("0x{:x}", session.0);
    join(&[
        ("session", Some(session.as_str())),
        ("user", Some(user)),
        ("operation", Some("ephemeralZNodeDeletionOnSessionCloseOrExpire")),
        ("znode", Some(path)),
        ("result", Some("success")),
    ])
}

/// `serverStart` or `serverStop`.
pub fn server_line(operation: &str, user: &str, result: &str) -> String {
    join(&[("user", Some(user)), ("operation", Some(operation)), ("result", Some(result))])
}

/// No value may break out of its place in the line.
fn join(parts: &[(&str, Option<&str>)]) -> String {
    let known = parts.iter().filter_map(|(key, value)| {
        let value = (*value)?;
        let clean: String = value.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        Some(format!("{key}={clean}"))
    });
    known.collect::<Vec<_>>().join("\t")
}

/// The user that this process runs as.
pub fn server_user() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "root".into())
}

#[cfg(test)]
mod tests;
