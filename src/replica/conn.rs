//! One client connection as a value: frames in, requests in order, reads answered from the state.
//!
//! Frames are taken in the order they arrive. Auth packets act at once, so later requests carry the
//! new identities whatever still waits before them. Everything else queues: writes go out as soon
//! as they are met, reads wait until every write before them is answered. So a client reads its own
//! writes, and replies leave in the order of the requests.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::limits::Limits;
use super::prep;
use super::reply::{write_event, write_reply};
use super::{Connect, Request};
use crate::auth::{Auth, Refused};
use crate::proto::frame;
use crate::proto::jute::{Jute, Reader, Write};
use crate::proto::multi::{self, Op};
use crate::proto::opcode::{Class, OpCode};
use crate::proto::records::{
    AuthPacket, ClientInfo, ConnectRequest, PathRecord, SetWatches, SetWatches2, WatchRequest,
};
use crate::state::watch::{WatchKind, WatchTable, WatcherType};
use crate::state::{StateMachine, read};
use crate::types::{Code, ConnId, Id, SessionId, Xid, Zxid};

/// What the connection wants of the node thread.
#[derive(Clone, Debug)]
pub enum Submit {
    /// A session.
    Connect(Connect),
    /// A write, a sync or a good-bye.
    Request(Request),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for the connect request.
    Fresh,
    /// Has sent it on; nothing is read until the session is there.
    Connecting,
    Open,
    /// Takes no more requests.
    Ending,
}

#[derive(Debug)]
struct Queued {
    xid: i32,
    opcode: OpCode,
    body: Bytes,
    ids: Arc<[Id]>,
}

/// Why a connection ends.
pub type Ended = &'static str;

/// See the module.
#[derive(Debug)]
pub struct Conn {
    id: ConnId,
    /// As Java writes an address; the identity of scheme `ip`.
    peer: String,
    phase: Phase,
    session: SessionId,
    ids: Arc<[Id]>,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    /// Submitted and not answered.
    pending: usize,
    /// The session is closing: every request is answered SESSIONEXPIRED.
    session_over: bool,
    /// To be done once the queue is empty: close.
    end: Option<Ended>,
}

/// What a connection needs of the server it belongs to.
#[derive(Debug)]
pub struct Rules {
    /// Bounds.
    pub limits: Limits,
    /// Schemes.
    pub auth: Auth,
    /// Whether this server orders writes alone: then a sync needs nobody else.
    pub standalone: bool,
}

impl Conn {
    /// A connection that has sent nothing yet, from the address `peer`.
    pub fn new(id: ConnId, peer: String) -> Conn {
        let ids: Arc<[Id]> = Arc::from([Id::new("ip", peer.as_str())]);
        Conn {
            id,
            peer,
            phase: Phase::Fresh,
            session: SessionId::NONE,
            ids,
            queue: VecDeque::new(),
            queued_bytes: 0,
            pending: 0,
            session_over: false,
            end: None,
        }
    }

    /// Its session, once there is one.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Who is on the other side.
    pub fn ids(&self) -> &Arc<[Id]> {
        &self.ids
    }

    /// Requests received and not answered.
    pub fn outstanding(&self) -> usize {
        self.queue.len() + self.pending
    }

    /// Requests submitted and not answered.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Whether more may be read from the socket.
    pub fn wants_input(&self, limits: &Limits) -> bool {
        !matches!(self.phase, Phase::Connecting | Phase::Ending)
            && self.outstanding() < limits.queued_requests_max
            && self.queued_bytes < limits.queued_bytes_max
    }

    /// The node thread has answered `count` of our requests.
    pub fn answered(&mut self, count: usize) {
        self.pending = self.pending.saturating_sub(count);
    }

    /// The session is there.
    pub fn connected(&mut self, session: SessionId) {
        self.session = session;
        if self.phase == Phase::Connecting {
            self.phase = Phase::Open;
        }
    }

    /// The session is closing.
    pub fn session_over(&mut self) {
        self.session_over = true;
    }

    /// Whether the connection is to be closed now, its output written.
    pub fn ended(&self) -> Option<Ended> {
        self.end.filter(|_| self.queue.is_empty() && self.pending == 0)
    }

    /// Takes whole frames from `input`. Replies to auth packets go to `out`, a connect request to
    /// `submit`. An error means: close at once, without a reply. `last` is the last transaction
    /// this server has applied.
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        rules: &Rules,
        last: impl Fn() -> Zxid,
        out: &mut BytesMut,
        submit: &mut Vec<Submit>,
    ) -> Result<usize, Ended> {
        let mut frames = 0;
        while self.wants_input(&rules.limits) {
            let next = frame::next_frame(input, rules.limits.frame_bytes_max);
            let Some(frame) = next.map_err(|_| "a frame of impossible length")? else { break };
            frames += 1;
            if self.phase == Phase::Fresh {
                self.connect(frame, last(), submit)?;
            } else {
                self.request(frame, rules, out)?;
            }
        }
        Ok(frames)
    }

    fn connect(&mut self, frame: Bytes, last: Zxid, submit: &mut Vec<Submit>) -> Result<(), Ended> {
        let ask = ConnectRequest::from_bytes(frame).map_err(|_| "no whole connect request")?;
        if ask.last_zxid > last.0 {
            return Err("the client has seen more than this server: it must try another");
        }
        self.phase = Phase::Connecting;
        self.pending += 1;
        submit.push(Submit::Connect(Connect {
            conn: self.id,
            session: SessionId(ask.session),
            timeout_ms: ask.timeout_ms,
            password: ask.passwd.unwrap_or_default(),
            has_read_only: ask.read_only.is_some(),
        }));
        Ok(())
    }

    fn request(&mut self, frame: Bytes, rules: &Rules, out: &mut BytesMut) -> Result<(), Ended> {
        let mut r = Reader::new(frame);
        let (xid, opcode) = match (r.i32(), r.i32()) {
            (Ok(xid), Ok(opcode)) => (xid, OpCode(opcode)),
            _ => return Err("a frame shorter than a request header"),
        };
        let body = r.rest();
        match opcode {
            OpCode::AUTH => self.auth(xid, body, rules, out),
            OpCode::SASL => self.sasl(xid, body, out),
            _ => {
                self.queued_bytes += body.len();
                let ids = Arc::clone(&self.ids);
                if opcode == OpCode::CLOSE_SESSION || opcode.class() == Class::Invalid {
                    // Nothing behind it is looked at.
                    self.phase = Phase::Ending;
                }
                self.queue.push_back(Queued { xid, opcode, body, ids });
                Ok(())
            }
        }
    }

    fn auth(
        &mut self,
        xid: i32,
        body: Bytes,
        rules: &Rules,
        out: &mut BytesMut,
    ) -> Result<(), Ended> {
        let packet = AuthPacket::from_bytes(body).map_err(|_| "an auth packet that is none")?;
        let too_long = packet.auth.as_ref().is_some_and(|a| a.len() > rules.limits.auth_bytes_max);
        let result = if too_long {
            Err(Refused::Failed)
        } else {
            rules.auth.authenticate(packet.scheme.as_deref(), packet.auth.as_deref(), &self.peer)
        };
        match result {
            Ok(new) => {
                let mut ids = self.ids.to_vec();
                for id in new {
                    if !ids.contains(&id) {
                        ids.push(id);
                    }
                }
                if ids.len() > rules.limits.identities_max {
                    return Err("more identities than a connection may have");
                }
                self.ids = ids.into();
                write_reply(out, xid, Zxid(0), Code::OK, |_| {});
                Ok(())
            }
            Err(Refused::Failed) => {
                write_reply(out, xid, Zxid(0), Code::AUTH_FAILED, |_| {});
                self.phase = Phase::Ending;
                self.queue.clear();
                self.pending = 0;
                self.end = Some("authentication failed");
                Ok(())
            }
            Err(Refused::CloseSilently) => Err("authentication for another ensemble"),
        }
    }

    /// No SASL is configured: Apache answers OK with a null token.
    fn sasl(&mut self, xid: i32, body: Bytes, out: &mut BytesMut) -> Result<(), Ended> {
        match Reader::new(body).buffer() {
            Ok(Some(_)) => {
                write_reply(out, xid, Zxid(0), Code::OK, |out| out.i32(-1));
                Ok(())
            }
            _ => Err("a sasl request without a token"),
        }
    }

    /// Moves writes at the head of the queue to `submit`; true when a read is at the head and may
    /// be answered now: then call [`Conn::run_reads`] with the state.
    pub fn advance(&mut self, rules: &Rules, submit: &mut Vec<Submit>) -> bool {
        while let Some(head) = self.queue.front() {
            let to_node = match head.opcode.class() {
                Class::Write => prep::decodes(head.opcode, &head.body),
                Class::Sync => !rules.standalone && prep::decodes(head.opcode, &head.body),
                _ => false,
            };
            if !to_node {
                return self.pending == 0;
            }
            let Some(Queued { xid, opcode, body, ids }) = self.queue.pop_front() else { break };
            self.queued_bytes = self.queued_bytes.saturating_sub(body.len());
            self.pending += 1;
            let (conn, session) = (self.id, self.session);
            submit.push(Submit::Request(Request { conn, session, xid, opcode, body, ids }));
        }
        false
    }

    /// Answers reads from the head of the queue, until a write is met or `out` is full. The caller
    /// holds the state and the connection's output for the whole run. Returns how many were
    /// answered.
    pub fn run_reads(
        &mut self,
        state: &StateMachine,
        watches: &WatchTable,
        rules: &Rules,
        out: &mut BytesMut,
        mut each: impl FnMut(OpCode, i32),
    ) -> usize {
        let mut count = 0;
        while out.len() < rules.limits.output_high_water_bytes {
            let Some(head) = self.queue.front() else { break };
            let write = match head.opcode.class() {
                Class::Write => prep::decodes(head.opcode, &head.body),
                Class::Sync => !rules.standalone,
                _ => false,
            };
            if write {
                break;
            }
            let Some(request) = self.queue.pop_front() else { break };
            self.queued_bytes = self.queued_bytes.saturating_sub(request.body.len());
            each(request.opcode, request.xid);
            self.answer(state, watches, rules, request, out);
            count += 1;
        }
        count
    }

    fn answer(
        &mut self,
        state: &StateMachine,
        watches: &WatchTable,
        rules: &Rules,
        request: Queued,
        out: &mut BytesMut,
    ) {
        let last = state.last_zxid();
        let Queued { xid, opcode, body, ids } = request;
        if opcode.class() == Class::Invalid {
            write_reply(out, xid, Zxid(-1), Code::UNIMPLEMENTED, |_| {});
            self.queue.clear();
            self.end = Some("an unknown operation");
            return;
        }
        if self.session_over {
            write_reply(out, xid, last, Code::SESSION_EXPIRED, |_| {});
            return;
        }
        if opcode == OpCode::PING {
            write_reply(out, Xid::PING.0, last, Code::OK, |_| {});
            return;
        }
        if matches!(opcode, OpCode::SET_WATCHES | OpCode::SET_WATCHES2) {
            return self.set_watches(state, watches, xid, opcode, body, out);
        }
        let at = frame::begin(out);
        let header = out.len();
        out.i32(xid);
        out.i64(last.0);
        out.i32(0);
        let start = out.len();
        let read = Read {
            state,
            watches,
            auth: &rules.auth,
            conn: self.id,
            session: self.session,
            ids: &ids,
        };
        let code = match read.run(opcode, body, out) {
            Ok(code) => code,
            Err(code) => {
                out.truncate(start);
                code
            }
        };
        out[header + 12..header + 16].copy_from_slice(&code.0.to_be_bytes());
        frame::end(out, at);
    }

    fn set_watches(
        &self,
        state: &StateMachine,
        watches: &WatchTable,
        xid: i32,
        opcode: OpCode,
        body: Bytes,
        out: &mut BytesMut,
    ) {
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
        // A list that is null fails the whole request, as in Apache.
        let code = match request {
            Ok(request)
                if request.data.is_some()
                    && request.exist.is_some()
                    && request.child.is_some()
                    && request.persistent.is_some()
                    && request.recursive.is_some() =>
            {
                read::set_watches(state, watches, self.id, &request, &mut |kind, path| {
                    write_event(out, Zxid(-1), kind, path);
                });
                Code::OK
            }
            _ => Code::MARSHALLING_ERROR,
        };
        write_reply(out, xid, state.last_zxid(), code, |_| {});
    }
}

/// One read against the state.
struct Read<'a> {
    state: &'a StateMachine,
    watches: &'a WatchTable,
    auth: &'a Auth,
    conn: ConnId,
    session: SessionId,
    ids: &'a [Id],
}

impl Read<'_> {
    /// Appends the body; the code goes into the header. With Err the body is dropped.
    fn run(&self, opcode: OpCode, body: Bytes, out: &mut BytesMut) -> Result<Code, Code> {
        let allowed = |acl: &[crate::types::Acl], wanted| self.auth.check(acl, self.ids, wanted);
        let bad = |_| Code::MARSHALLING_ERROR;
        let mut r = Reader::new(body);
        match opcode {
            OpCode::EXISTS | OpCode::GET_DATA | OpCode::GET_CHILDREN | OpCode::GET_CHILDREN2 => {
                // The path is borrowed from the frame; its end says where the watch bit is.
                let length = r.clone().i32().map_err(bad)?;
                let watch = {
                    let mut ahead = r.clone();
                    ahead.buffer().map_err(bad)?;
                    ahead.bool().map_err(bad)?
                };
                if length < 0 {
                    return Err(Code::MARSHALLING_ERROR);
                }
                let path = r.str().map_err(bad)?.ok_or(Code::MARSHALLING_ERROR)?;
                let result = match opcode {
                    OpCode::EXISTS => read::exists(self.state, &path, &allowed, out),
                    OpCode::GET_DATA => read::get_data(self.state, &path, &allowed, out),
                    OpCode::GET_CHILDREN => read::get_children(self.state, &path, &allowed, out),
                    _ => read::get_children2(self.state, &path, &allowed, out),
                };
                if watch {
                    let kind = match (opcode, &result) {
                        (OpCode::EXISTS, Err(Code::NO_NODE)) => Some(WatchKind::Exist),
                        (OpCode::EXISTS | OpCode::GET_DATA, Ok(())) => Some(WatchKind::Data),
                        (_, Ok(())) => Some(WatchKind::Child),
                        _ => None,
                    };
                    if let Some(kind) = kind {
                        self.watches.add(self.conn, &path, kind);
                    }
                }
                result.map(|()| Code::OK)
            }
            OpCode::GET_ACL => {
                let path = r.str().map_err(bad)?.ok_or(Code::MARSHALLING_ERROR)?;
                read::get_acl(self.state, &path, &allowed, out).map(|()| Code::OK)
            }
            OpCode::SYNC => {
                let request: PathRecord = r.get().map_err(bad)?;
                out.put(&request);
                Ok(Code::OK)
            }
            OpCode::GET_EPHEMERALS => {
                let request: PathRecord = r.get().map_err(bad)?;
                read::get_ephemerals(self.state, self.session, request.path.as_deref(), out);
                Ok(Code::OK)
            }
            OpCode::GET_ALL_CHILDREN_NUMBER => {
                let path = r.str().map_err(bad)?.ok_or(Code::MARSHALLING_ERROR)?;
                read::get_all_children_number(self.state, &path, &allowed, out).map(|()| Code::OK)
            }
            OpCode::MULTI_READ => {
                let ops = multi::read_ops(&mut r).map_err(bad)?;
                if ops.first().is_some_and(|op: &Op| !op.is_read()) {
                    multi::write_end(out);
                    return Ok(Code::MARSHALLING_ERROR);
                }
                Ok(read::multi_read(self.state, &ops, &allowed, out))
            }
            OpCode::CHECK_WATCHES | OpCode::REMOVE_WATCHES => {
                let request: WatchRequest = r.get().map_err(bad)?;
                let path = request.path.as_deref().ok_or(Code::MARSHALLING_ERROR)?;
                let which = WatcherType::from_wire(request.kind).ok_or(Code::MARSHALLING_ERROR)?;
                let found = if opcode == OpCode::CHECK_WATCHES {
                    self.watches.contains(self.conn, path, which)
                } else {
                    self.watches.remove(self.conn, path, which)
                };
                if found { Ok(Code::OK) } else { Err(Code::NO_WATCHER) }
            }
            OpCode::ADD_WATCH => {
                let request: WatchRequest = r.get().map_err(bad)?;
                let path = request.path.as_deref().ok_or(Code::MARSHALLING_ERROR)?;
                let kind = match request.kind {
                    0 => WatchKind::Persistent,
                    1 => WatchKind::Recursive,
                    _ => return Err(Code::MARSHALLING_ERROR),
                };
                self.watches.add(self.conn, path, kind);
                out.i32(0);
                Ok(Code::OK)
            }
            OpCode::WHO_AM_I => {
                let clients: Vec<ClientInfo> = self
                    .ids
                    .iter()
                    .map(|id| ClientInfo {
                        scheme: id.scheme.clone(),
                        user: Some(self.auth.user_name(id).to_string()),
                    })
                    .collect();
                out.vec(Some(&clients));
                Ok(Code::OK)
            }
            // A write whose body does not decode.
            _ => Err(Code::MARSHALLING_ERROR),
        }
    }
}
