//! Answers to everything that needs no ordering: reads, watches, pings, and what is refused.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::conn::{Ended, PING_XID};
use super::reply::{write_event, write_reply};
use crate::auth::Auth;
use crate::proto::frame;
use crate::proto::jute::{Jute, Reader, Write};
use crate::proto::multi::{self, Op};
use crate::proto::opcode::{Class, OpCode};
use crate::proto::records::{ClientInfo, PathRecord, SetWatches, SetWatches2, WatchRequest};
use crate::state::read::Size;
use crate::state::watch::{WatchKind, WatchTable, WatcherType};
use crate::state::{StateMachine, read};
use crate::types::{Acl, Code, ConnId, Id, Namespaces, Perms, SessionId, Zxid};

/// What reads are answered from, held for a whole run.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The tree and the sessions.
    pub state: &'a StateMachine,
    /// Where watches are left.
    pub watches: &'a WatchTable,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The connection.
    pub conn: ConnId,
    /// Its session.
    pub session: SessionId,
    /// The session is closing: nothing is answered any more.
    pub session_over: bool,
    /// Its identities when the request was read.
    pub ids: &'a [Id],
}

/// What is counted of an answer.
#[derive(Debug)]
pub struct Told<'a> {
    /// Watch events that went before it.
    pub events: &'a mut u64,
    /// What was read, by namespace.
    pub namespaces: Option<&'a mut Namespaces>,
}

impl Told<'_> {
    /// A node at `path` was read, with this reply.
    fn read(&mut self, opcode: OpCode, path: &str, reply: &[u8]) {
        let Some(namespaces) = self.namespaces.as_deref_mut() else { return };
        let (stat, length) = (STAT_LEN, reply.len());
        let names = |stat: usize| {
            // A list begins with how many there are, and each of its names with its length.
            let count = reply.first_chunk::<4>().map_or(0, |n| u32::from_be_bytes(*n) as usize);
            length.saturating_sub(4 + 4 * count + stat)
        };
        let bytes = match opcode {
            OpCode::GET_DATA => length.saturating_sub(4 + stat),
            OpCode::GET_CHILDREN => names(0),
            OpCode::GET_CHILDREN2 => names(stat),
            _ => 0,
        };
        namespaces.read(path, bytes);
    }
}

/// Bytes of a stat.
pub(super) const STAT_LEN: usize = 68;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Its reply is appended.
    Whole,
    /// The same, and nothing more may follow: close.
    Last(Ended),
    /// Nothing is appended: it is to be answered in steps ([`super::long`]).
    InSteps,
}

/// Requests of lists that are longer, in bytes, are answered in steps.
const LIST_BYTES: usize = 16 << 10;

/// Appends the reply to one request, unless that takes long.
pub fn answer(
    view: View,
    auth: &Auth,
    asker: Asker,
    xid: i32,
    opcode: OpCode,
    body: &[u8],
    out: &mut BytesMut,
    mut told: Told,
) -> Answered {
    let last = view.state.last_zxid();
    if opcode.class() == Class::Invalid {
        write_reply(out, xid, Zxid(-1), Code::UNIMPLEMENTED, |_| {});
        return Answered::Last("an unknown operation");
    }
    if asker.session_over {
        write_reply(out, xid, last, Code::SESSION_EXPIRED, |_| {});
        return Answered::Whole;
    }
    match opcode {
        OpCode::PING => write_reply(out, PING_XID, last, Code::OK, |_| {}),
        OpCode::SET_WATCHES | OpCode::SET_WATCHES2 | OpCode::MULTI_READ
            if body.len() > LIST_BYTES =>
        {
            return Answered::InSteps;
        }
        OpCode::GET_EPHEMERALS | OpCode::GET_ALL_CHILDREN_NUMBER => return Answered::InSteps,
        OpCode::SET_WATCHES | OpCode::SET_WATCHES2 => {
            let (missed, end) = set_watches(view, asker.conn, xid, opcode, body, out);
            *told.events += missed;
            return end.map_or(Answered::Whole, Answered::Last);
        }
        _ => {
            let at = frame::begin(out);
            out.i32(xid);
            out.i64(last.0);
            let code_at = out.len();
            out.i32(0);
            let start = out.len();
            let read = Read { view, auth, asker };
            let code = match read.run(opcode, body, out, &mut told) {
                Ok(Some(code)) => code,
                Ok(None) => {
                    out.truncate(at);
                    return Answered::InSteps;
                }
                Err(code) => {
                    out.truncate(start);
                    code
                }
            };
            out[code_at..start].copy_from_slice(&code.0.to_be_bytes());
            frame::end(out, at);
        }
    }
    Answered::Whole
}

/// setWatches: what was missed is told before the reply, with zxid -1. A list that is null fails
/// the whole request, as in Apache. A watch too many ends the connection: clients do not look at this
/// reply's code, and would wait for ever for what is not watched. Returns how many events there were,
/// and why to end.
fn set_watches(
    view: View,
    conn: ConnId,
    xid: i32,
    opcode: OpCode,
    body: &[u8],
    out: &mut BytesMut,
) -> (u64, Option<Ended>) {
    let mut events = 0;
    let body = Bytes::copy_from_slice(body);
    let request = if opcode == OpCode::SET_WATCHES2 {
        SetWatches2::from_bytes(body)
    } else {
        SetWatches::from_bytes(body).map(|r| SetWatches2 {
            relative_zxid: r.relative_zxid,
            data: r.data,
            exist: r.exist,
            child: r.child,
            persistent: Some(Vec::new()),
            recursive: Some(Vec::new()),
        })
    };
    let whole = |r: &SetWatches2| {
        [&r.data, &r.exist, &r.child, &r.persistent, &r.recursive].iter().all(|list| list.is_some())
    };
    let code = match request {
        Ok(request) if whole(&request) => {
            let event = &mut |kind, path: &str| {
                write_event(out, Zxid(-1), kind, path);
                events += 1;
            };
            match read::set_watches(view.state, view.watches, conn, &request, event) {
                true => Code::OK,
                false => TOO_MANY_WATCHES,
            }
        }
        _ => Code::MARSHALLING_ERROR,
    };
    write_reply(out, xid, view.state.last_zxid(), code, |_| {});
    (events, (code == TOO_MANY_WATCHES).then_some(WATCHES_TOO_MANY))
}

/// The answer to who wants to watch more than it may (`docs/decisions/006`).
pub(super) const TOO_MANY_WATCHES: Code = Code::BAD_ARGUMENTS;
/// Why a connection ends whose setWatches were too many.
pub(super) const WATCHES_TOO_MANY: Ended = "the client watches more than it may";

/// The path and what follows it, without a copy where the path is valid UTF-8. None when the bytes
/// are too few or the path is null.
fn split_path(body: &[u8]) -> Option<(Cow<'_, str>, &[u8])> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    let (path, rest) = rest.split_at_checked(length)?;
    // The strict check is several times faster than the lossy one, as in `jute`.
    let path = std::str::from_utf8(path).map_or_else(|_| String::from_utf8_lossy(path), Cow::from);
    Some((path, rest))
}

/// The path of a request that begins with one.
pub(super) fn path_of(body: &[u8]) -> Result<Cow<'_, str>, Code> {
    split_path(body).map(|(path, _)| path).ok_or(Code::MARSHALLING_ERROR)
}

/// The path of a request and whether a watch is asked for.
pub(super) fn path_and_watch(body: &[u8]) -> Result<(Cow<'_, str>, bool), Code> {
    let (path, rest) = split_path(body).ok_or(Code::MARSHALLING_ERROR)?;
    let watch = *rest.first().ok_or(Code::MARSHALLING_ERROR)? != 0;
    Ok((path, watch))
}

/// Leaves the watch that was asked for with a read which came to `result`; none where the caller may
/// not read (and so may not be told).
pub(super) fn leave(
    view: View,
    conn: ConnId,
    opcode: OpCode,
    path: &str,
    watch: bool,
    result: Result<(), Code>,
) -> Result<(), Code> {
    if watch {
        let kind = match (opcode, &result) {
            (OpCode::EXISTS, Err(Code::NO_NODE)) => Some(WatchKind::Exist),
            (OpCode::EXISTS | OpCode::GET_DATA, Ok(())) => Some(WatchKind::Data),
            (_, Ok(())) => Some(WatchKind::Child),
            _ => None,
        };
        if let Some(kind) = kind
            && !view.watches.add(conn, path, kind)
        {
            return Err(TOO_MANY_WATCHES);
        }
    }
    result
}

/// One read against the state.
struct Read<'a> {
    view: View<'a>,
    auth: &'a Auth,
    asker: Asker<'a>,
}

impl Read<'_> {
    fn allowed(&self, acl: &[Acl], wanted: Perms) -> bool {
        self.auth.check(acl, self.asker.ids, wanted)
    }

    /// Appends the body; the code goes into the header. With Err the body is dropped. None: it is to
    /// be answered in steps.
    fn run(
        &self,
        opcode: OpCode,
        body: &[u8],
        out: &mut BytesMut,
        told: &mut Told,
    ) -> Result<Option<Code>, Code> {
        let state = self.view.state;
        let allowed = |acl: &[Acl], wanted| self.allowed(acl, wanted);
        match opcode {
            OpCode::EXISTS | OpCode::GET_DATA | OpCode::GET_CHILDREN | OpCode::GET_CHILDREN2 => {
                let size = self.node(opcode, body, out, told)?;
                return Ok((size == Size::Fits).then_some(Code::OK));
            }
            OpCode::GET_ACL => {
                read::get_acl(state, &path_of(body)?, &allowed, out)?;
                return Ok(Some(Code::OK));
            }
            _ => {}
        }
        let bad = |_| Code::MARSHALLING_ERROR;
        let mut r = Reader::new(Bytes::copy_from_slice(body));
        match opcode {
            OpCode::SYNC => {
                let request: PathRecord = r.get().map_err(bad)?;
                out.put(&request);
                Ok(Some(Code::OK))
            }
            OpCode::MULTI_READ => {
                let ops = multi::read_ops(&mut r).map_err(bad)?;
                if ops.first().is_some_and(|op: &Op| !op.is_read()) {
                    multi::write_end(out);
                    return Ok(Some(Code::MARSHALLING_ERROR));
                }
                let mut answered =
                    |opcode, path: &str, reply: &[u8]| told.read(opcode, path, reply);
                Ok(read::multi_read(state, &ops, &allowed, out, &mut answered))
            }
            OpCode::CHECK_WATCHES | OpCode::REMOVE_WATCHES | OpCode::ADD_WATCH => {
                self.watch(opcode, r.get().map_err(bad)?, out).map(Some)
            }
            OpCode::WHO_AM_I => {
                let clients: Vec<ClientInfo> =
                    self.asker.ids.iter().map(|id| self.info(id)).collect();
                out.vec(Some(&clients));
                Ok(Some(Code::OK))
            }
            // A write whose body does not decode.
            _ => Err(Code::MARSHALLING_ERROR),
        }
    }

    fn info(&self, id: &Id) -> ClientInfo {
        let user = Some(self.auth.user_name(id).to_string());
        ClientInfo { scheme: id.scheme.clone(), user }
    }

    /// exists, getData, getChildren, getChildren2. The watch is left in the same critical section.
    fn node(
        &self,
        opcode: OpCode,
        body: &[u8],
        out: &mut BytesMut,
        told: &mut Told,
    ) -> Result<Size, Code> {
        let (path, watch) = path_and_watch(body)?;
        let (state, start) = (self.view.state, out.len());
        let allowed = |acl: &[Acl], wanted| self.allowed(acl, wanted);
        let result = match opcode {
            OpCode::EXISTS => read::exists(state, &path, &allowed, out).map(|()| Size::Fits),
            OpCode::GET_DATA => read::get_data(state, &path, &allowed, out),
            OpCode::GET_CHILDREN => read::get_children(state, &path, &allowed, out),
            _ => read::get_children2(state, &path, &allowed, out),
        };
        let result = match result {
            Ok(Size::Large) => return Ok(Size::Large),
            Ok(Size::Fits) => {
                told.read(opcode, &path, &out[start..]);
                Ok(())
            }
            Err(code) => Err(code),
        };
        leave(self.view, self.asker.conn, opcode, &path, watch, result).map(|()| Size::Fits)
    }

    fn watch(
        &self,
        opcode: OpCode,
        request: WatchRequest,
        out: &mut BytesMut,
    ) -> Result<Code, Code> {
        let (watches, conn) = (self.view.watches, self.asker.conn);
        // Apache takes a null path: a watch on it can be set and removed, and never fires.
        let path = request.path.as_deref().unwrap_or("null");
        if opcode == OpCode::ADD_WATCH {
            let kind = match request.kind {
                0 => WatchKind::Persistent,
                1 => WatchKind::Recursive,
                _ => return Err(Code::MARSHALLING_ERROR),
            };
            if !watches.add(conn, path, kind) {
                return Err(TOO_MANY_WATCHES);
            }
            out.i32(0);
            return Ok(Code::OK);
        }
        let which = WatcherType::from_wire(request.kind).ok_or(Code::MARSHALLING_ERROR)?;
        let found = if opcode == OpCode::CHECK_WATCHES {
            watches.contains(conn, path, which)
        } else {
            watches.remove(conn, path, which)
        };
        if found { Ok(Code::OK) } else { Err(Code::NO_WATCHER) }
    }
}

#[cfg(test)]
mod tests;
