//! One client connection as a value: frames in, requests in order, reads answered from the state.
//!
//! Frames are taken in the order they arrive. Auth packets act at once, so later requests carry the
//! new identities whatever still waits before them. Writes go out as soon as they are met; a read
//! waits until every write before it is answered. So a client reads its own writes and not its
//! later ones, and replies leave in the order of the requests.
//!
//! ```text
//!            connect request            session              closeSession, unknown operation
//!   Fresh ------------------> Connecting ------> Open ------------------------------> Ending
//! ```
//!
//! The usual read takes a short way: its frame is answered where it lies in the input, without being
//! queued or copied. The caller holds the state for the whole run.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::{Buf, Bytes, BytesMut};

use super::limits::Limits;
pub use super::long::Pieces;
use super::long::{Long, Step};
use super::reads::{Answered, Asker, Told, View, answer};
use super::reply::write_reply;
use super::share::Share;
use super::{Connect, Request, prep};
use crate::auth::{Auth, Refused};
use crate::proto::jute::{Jute, Reader, Write};
use crate::proto::opcode::{Class, OpCode};
use crate::proto::records::{AuthPacket, ConnectRequest};
use crate::types::{Code, ConnId, Id, Namespaces, SessionId, Sizes, Xid, Zxid, java};

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
    /// Whether it goes to the node thread.
    ordered: bool,
    received_ms: u64,
    /// It was held back because the server had too much to do.
    throttled: bool,
    large: Option<LargeRequest>,
}

/// The bytes of a large request in process; they count until it is dropped
/// (`zookeeper.largeRequestMaxBytes`).
#[derive(Debug)]
pub struct LargeRequest {
    bytes: usize,
    total: Arc<AtomicUsize>,
}

impl Drop for LargeRequest {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why a connection ends.
pub type Ended = &'static str;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The state: run again with a view of it.
    State,
    /// More bytes from the client.
    Input,
    /// Room: what was answered must be written first.
    Room,
    /// Nothing: run again, after others had their turn.
    Again,
    /// Answers of the node thread.
    Answers,
    /// A server with less to do; nobody tells, so try again after a while.
    Relief,
    /// Nothing: write what there is, then close.
    End(Ended),
}

/// What all connections of a server share, and what is asked of them.
#[derive(Debug, Default)]
pub struct Rules {
    /// Bounds.
    pub limits: Limits,
    /// Schemes.
    pub auth: Auth,
    /// Whether this server orders writes alone: then a sync needs nobody else.
    pub standalone: bool,
    /// A connection must have an identity of one of these schemes; empty: need not
    /// (`enforce.auth.schemes`, `sessionRequireClientSASLAuth`).
    pub enforced_schemes: Vec<String>,
    /// Sessions are local: the node thread answers some requests itself (`localSessionsEnabled`).
    pub local_sessions: bool,
    /// Changes are written down (`audit.enable`).
    pub audit: bool,
    /// What is in process.
    pub load: Load,
}

/// What is in process on the whole server.
#[derive(Debug, Default)]
pub struct Load {
    /// Requests that the node thread has and that are not answered.
    pub outstanding: AtomicUsize,
    /// Bytes of large requests that are not processed.
    pub large_bytes: Arc<AtomicUsize>,
    /// Bytes of requests, as [`Limits::request_bytes_max`] counts them.
    pub request_bytes: AtomicUsize,
    /// Bytes of replies and events, as [`Limits::all_replies_bytes_max`] counts them.
    pub reply_bytes: Arc<AtomicUsize>,
    /// Times that a large reply found no room among them.
    pub replies_refused: AtomicUsize,
    /// Sessions that only this server knows.
    pub local_sessions: AtomicUsize,
    /// The server has no quorum and serves readers.
    pub read_only: AtomicBool,
}

impl Load {
    /// A part of all replies, of no bytes yet.
    pub fn reply_share(&self) -> Share {
        Share::new(&self.reply_bytes)
    }

    /// Whether the server is in read-only mode.
    fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }
}

impl Rules {
    fn outstanding(&self) -> usize {
        self.load.outstanding.load(Ordering::Relaxed)
    }

    /// Whether a member may answer a request without having it ordered, as it does for local
    /// sessions: that answer must not overtake those to writes that are out.
    fn may_answer_at_once(&self, opcode: OpCode, body: &Bytes) -> bool {
        self.local_sessions
            && (opcode == OpCode::CLOSE_SESSION || prep::makes_ephemeral(opcode, body))
    }

    /// Apache's request throttler: at its limit no connection goes on.
    fn throttles(&self) -> bool {
        let max = self.limits.throttle_requests_max;
        max > 0 && self.outstanding() >= max
    }

    /// Counts a request in if it is a large one.
    fn admit_large(&self, bytes: usize) -> Result<Option<LargeRequest>, Ended> {
        if self.limits.large_request_bytes.is_none_or(|large| bytes <= large) {
            return Ok(None);
        }
        let total = &self.load.large_bytes;
        if total.fetch_add(bytes, Ordering::Relaxed) + bytes > self.limits.large_requests_bytes_max
        {
            total.fetch_sub(bytes, Ordering::Relaxed);
            return Err("too many bytes of large requests in process");
        }
        Ok(Some(LargeRequest { bytes, total: Arc::clone(total) }))
    }
}

/// One turn of a connection: what it may use, and what came of it.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Bounds and schemes.
    pub rules: &'a Rules,
    /// Monotonic time, ms.
    pub now_ms: u64,
    /// The state, while its lock is held.
    pub view: Option<View<'a>>,
    /// The last transaction this server has applied, of the view; zero without one.
    pub last_zxid: Zxid,
    /// Bytes that wait for the client beside those in `out`.
    pub unwritten: usize,
    /// Takes replies, in order.
    pub out: &'a mut BytesMut,
    /// A large reply, behind what is in `out`: the rest of a frame that begins there. Nothing else
    /// was waiting when it came, and the connection wants [`Want::Room`] or has ended.
    pub pieces: Option<Pieces>,
    /// Takes what the node thread must do.
    pub submit: &'a mut Vec<Submit>,
    /// Frames taken.
    pub frames: u64,
    /// Requests answered.
    pub answered: u64,
    /// The sizes of their replies, without the length in front.
    pub sizes: Sizes,
    /// Packets sent besides: watch events, answers to auth packets.
    pub besides: u64,
    /// The last request taken.
    pub last: Option<(OpCode, i32)>,
    /// Operations refused by throttling.
    pub throttled: u64,
    /// Auth packets that failed.
    pub auth_failed: u64,
    /// Takes what was read, if anybody wants to know.
    pub namespaces: Option<&'a mut Namespaces>,
}

/// Bytes of the length in front of a reply, which its size leaves out.
pub const LENGTH_BYTES: i64 = 4;

impl<'a> Turn<'a> {
    /// Notes a request for `last`. Special xids (pings) do not hide the client's last real one.
    fn note(&mut self, opcode: OpCode, xid: i32) {
        let before = self.last.map_or(-1, |(_, xid)| xid);
        self.last = Some((opcode, if xid < 0 { before } else { xid }));
    }

    /// Answers a request that needs no ordering.
    fn answer(
        &mut self,
        view: View,
        asker: Asker,
        xid: i32,
        opcode: OpCode,
        body: &[u8],
    ) -> Answered {
        let told = Told { events: &mut self.besides, namespaces: self.namespaces.as_deref_mut() };
        let before = self.out.len();
        let answered = answer(view, &self.rules.auth, asker, xid, opcode, body, self.out, told);
        if !matches!(answered, Answered::InSteps) {
            self.sizes.record((self.out.len() - before) as i64 - LENGTH_BYTES);
        }
        answered
    }

    /// A turn in which nothing has happened yet.
    pub fn new(
        rules: &'a Rules,
        now_ms: u64,
        view: Option<View<'a>>,
        out: &'a mut BytesMut,
        submit: &'a mut Vec<Submit>,
    ) -> Turn<'a> {
        Turn {
            rules,
            now_ms,
            view,
            last_zxid: view.map_or(Zxid::ZERO, |view| view.state.last_zxid()),
            unwritten: 0,
            out,
            pieces: None,
            submit,
            frames: 0,
            answered: 0,
            sizes: Sizes::default(),
            besides: 0,
            last: None,
            throttled: 0,
            auth_failed: 0,
            namespaces: None,
        }
    }

    /// Whether so much waits for the client that nothing is added.
    pub(super) fn is_full(&self) -> bool {
        let (waiting, limits) = (self.out.len() + self.unwritten, &self.rules.limits);
        let all = || self.rules.load.reply_bytes.load(Ordering::Relaxed);
        waiting >= limits.output_high_water_bytes
            || waiting >= limits.reply_bytes_free && all() >= limits.all_replies_bytes_max
    }
}

/// See the module.
#[derive(Debug)]
pub struct Conn {
    id: ConnId,
    /// As Java writes an address; the identity of scheme `ip`.
    peer: Box<str>,
    phase: Phase,
    session: SessionId,
    /// The session that the connect request named, for the log.
    asked: SessionId,
    ids: Arc<[Id]>,
    queue: VecDeque<Queued>,
    /// Bytes of requests in `queue` and in `pending`.
    held_bytes: usize,
    /// Submitted and not answered: their bytes.
    pending: VecDeque<u32>,
    /// A sync is among them: nothing is submitted behind it. A member would be told of the commit
    /// of a later write before a quorum has confirmed the sync, and answer in the wrong order.
    syncing: bool,
    /// The session is closing: every request is answered SESSIONEXPIRED.
    session_over: bool,
    /// A read that is answered in steps; everything else waits behind it.
    long: Option<Box<Long>>,
    /// Close once what there is has been written.
    end: Option<Ended>,
}

impl Conn {
    /// A connection that has sent nothing yet, from the address `peer`.
    pub fn new(id: ConnId, peer: &str) -> Conn {
        Conn {
            id,
            peer: peer.into(),
            phase: Phase::Fresh,
            session: SessionId::NONE,
            asked: SessionId::NONE,
            ids: Arc::from([Id::new("ip", peer)]),
            queue: VecDeque::new(),
            held_bytes: 0,
            pending: VecDeque::new(),
            syncing: false,
            session_over: false,
            long: None,
            end: None,
        }
    }

    /// Its session, once there is one.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Its session, or the one that it asked for in vain.
    pub fn session_asked(&self) -> SessionId {
        if self.session == SessionId::NONE { self.asked } else { self.session }
    }

    /// Who is on the other side.
    pub fn ids(&self) -> &Arc<[Id]> {
        &self.ids
    }

    /// Adds an identity that the connection itself gives (a certificate).
    pub fn add_id(&mut self, id: Id) {
        self.add_ids(vec![id]);
    }

    fn add_ids(&mut self, new: Vec<Id>) {
        let mut ids = self.ids.to_vec();
        for id in new {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        // Clients see this order: in `whoAmI`, and in what `auth` in an ACL becomes.
        java::map_order(&mut ids, |id| java::fields_hash(&[id.scheme(), id.id()]));
        self.ids = ids.into();
    }

    /// Requests received and not answered.
    pub fn outstanding(&self) -> usize {
        self.queue.len() + self.pending.len() + usize::from(self.long.is_some())
    }

    /// Their bytes.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether it has asked for its session and does not have it yet.
    pub fn is_connecting(&self) -> bool {
        self.phase == Phase::Connecting
    }

    /// The node thread has answered `count` of our requests.
    pub fn answered(&mut self, count: usize) {
        for bytes in self.pending.drain(..count.min(self.pending.len())) {
            self.held_bytes = self.held_bytes.saturating_sub(bytes as usize);
        }
        self.syncing &= !self.pending.is_empty();
        let capacity = self.queue.capacity().max(self.pending.capacity());
        if self.outstanding() == 0 && capacity > 64 {
            self.queue = VecDeque::new();
            self.pending = VecDeque::new();
        }
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

    /// Whether the next thing to do is a read, so that the state should be locked first.
    pub fn reads_first(&self, input: &[u8], rules: &Rules) -> bool {
        if let Some(long) = &self.long {
            return !long.is_unsettled();
        }
        if !self.pending.is_empty() || self.phase != Phase::Open && self.queue.is_empty() {
            return false;
        }
        match self.queue.front() {
            Some(head) => !head.ordered || head.throttled,
            None => input.get(8..12).is_some_and(|b| {
                let opcode = OpCode(i32::from_be_bytes([b[0], b[1], b[2], b[3]]));
                !goes_to_node(opcode.class(), rules) && opcode.class() != Class::Connection
            }),
        }
    }

    /// Goes on as far as it can: takes frames off `input`, answers, submits.
    ///
    /// # Errors
    /// Close at once, without writing anything more.
    pub fn run(&mut self, input: &mut BytesMut, turn: &mut Turn) -> Result<Want, Ended> {
        loop {
            if let Some(why) = self.end {
                return Ok(Want::End(why));
            }
            if self.long.is_some() {
                match self.go_on(turn) {
                    Some(want) => return Ok(want),
                    None => continue,
                }
            }
            let throttled = self.phase == Phase::Open && turn.rules.throttles();
            if throttled {
                self.queue.iter_mut().for_each(|queued| queued.throttled = true);
            } else if let Some(want) = self.run_queue(turn) {
                return Ok(want);
            }
            if self.end.is_some() || self.long.is_some() {
                continue;
            }
            let blocked = if throttled { Want::Relief } else { Want::Answers };
            if !self.wants_input(turn.rules) {
                return Ok(blocked);
            }
            let more = if throttled && !self.queue.is_empty() { blocked } else { Want::Input };
            let Some(head) = input.get(..4) else { return Ok(more) };
            let length = i32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            if length <= 0 || length as usize > turn.rules.limits.frame_bytes_max {
                return Err("a frame of impossible length");
            }
            let length = length as usize;
            if input.len() < 4 + length {
                return Ok(more);
            }
            if self.phase == Phase::Fresh {
                self.connect(&input[4..4 + length], turn)?;
            } else if let Some(want) = self.request(&input[4..4 + length], throttled, turn)? {
                return Ok(want);
            }
            turn.frames += 1;
            input.advance(4 + length);
        }
    }

    /// Whether another frame may be taken.
    fn wants_input(&self, rules: &Rules) -> bool {
        let limits = &rules.limits;
        match self.phase {
            Phase::Connecting | Phase::Ending => false,
            Phase::Fresh => true,
            Phase::Open => {
                let crowded = rules.outstanding() > limits.global_outstanding_max;
                self.outstanding() < limits.queued_requests_max
                    && self.held_bytes < limits.queued_bytes_max
                    && !(crowded && !self.pending.is_empty())
            }
        }
    }

    fn connect(&mut self, frame: &[u8], turn: &mut Turn) -> Result<(), Ended> {
        let ask = ConnectRequest::from_bytes(Bytes::copy_from_slice(frame))
            .map_err(|_| "no whole connect request")?;
        self.phase = Phase::Connecting;
        self.pending.push_back(0);
        self.asked = SessionId(ask.session);
        turn.submit.push(Submit::Connect(Connect {
            conn: self.id,
            session: SessionId(ask.session),
            timeout_ms: ask.timeout_ms,
            password: ask.passwd.unwrap_or_default(),
            read_only: ask.read_only,
            last_zxid: Zxid(ask.last_zxid),
        }));
        Ok(())
    }

    /// Takes one request: acts on it, answers it, or queues it. Some: it can't be taken yet.
    fn request(
        &mut self,
        frame: &[u8],
        throttled: bool,
        turn: &mut Turn,
    ) -> Result<Option<Want>, Ended> {
        let Some((header, body)) = frame.split_first_chunk::<8>() else {
            return Err("a frame shorter than a request header");
        };
        let [a, b, c, d, e, f, g, h] = *header;
        let xid = i32::from_be_bytes([a, b, c, d]);
        let opcode = OpCode(i32::from_be_bytes([e, f, g, h]));
        match opcode {
            OpCode::AUTH => return self.auth(xid, body, turn).map(|()| None),
            OpCode::SASL => return self.sasl(xid, body, turn).map(|()| None),
            _ if !self.is_authenticated(turn.rules) => {
                let code = Code::SESSION_CLOSED_REQUIRE_SASL_AUTH;
                turn.besides += 1;
                write_reply(turn.out, xid, Zxid(0), code, |_| {});
                self.finish("the client is not authenticated by an enforced scheme");
                return Ok(None);
            }
            _ => {}
        }
        let class = opcode.class();
        let may_be_ordered = goes_to_node(class, turn.rules);
        if !may_be_ordered && self.outstanding() == 0 && !throttled {
            let Some(view) = turn.view else { return Ok(Some(Want::State)) };
            if turn.is_full() {
                return Ok(Some(Want::Room));
            }
            turn.note(opcode, xid);
            let _large = turn.rules.admit_large(frame.len())?;
            let asker = Asker {
                conn: self.id,
                session: self.session,
                session_over: self.session_over,
                ids: &self.ids,
            };
            match turn.answer(view, asker, xid, opcode, body) {
                Answered::Whole => turn.answered += 1,
                Answered::Last(why) => {
                    turn.answered += 1;
                    self.finish(why);
                }
                Answered::InSteps => {
                    let request = (xid, opcode, Bytes::copy_from_slice(body));
                    self.begin_long(request, Arc::clone(&self.ids), turn);
                }
            }
            return Ok(None);
        }
        let large = turn.rules.admit_large(frame.len())?;
        if opcode == OpCode::CLOSE_SESSION || class == Class::Invalid {
            // Nothing behind it is looked at.
            self.phase = Phase::Ending;
        }
        turn.note(opcode, xid);
        self.held_bytes += body.len();
        self.queue.push_back(Queued {
            xid,
            opcode,
            body: Bytes::copy_from_slice(body),
            ids: Arc::clone(&self.ids),
            // In read-only mode a write is refused before anybody looks into it.
            ordered: may_be_ordered
                && (turn.rules.load.is_read_only() || prep::decodes(opcode, body)),
            received_ms: turn.now_ms,
            throttled,
            large,
        });
        Ok(None)
    }

    fn is_authenticated(&self, rules: &Rules) -> bool {
        rules.enforced_schemes.is_empty()
            || self.ids.iter().any(|id| rules.enforced_schemes.iter().any(|s| s == id.scheme()))
    }

    /// Submits writes from the head of the queue and answers reads behind which no write is out.
    /// Some: it can't go on.
    fn run_queue(&mut self, turn: &mut Turn) -> Option<Want> {
        while let Some(head) = self.queue.front() {
            if !self.pending.is_empty()
                && (!head.ordered
                    || self.syncing
                    || turn.rules.may_answer_at_once(head.opcode, &head.body))
            {
                return None;
            }
            if !head.ordered || head.throttled {
                if turn.view.is_none() {
                    return Some(Want::State);
                }
                if turn.is_full() {
                    return Some(Want::Room);
                }
            }
            // The front was just looked at.
            let queued = self.queue.pop_front()?;
            self.held_bytes = self.held_bytes.saturating_sub(queued.body.len());
            self.run_queued(queued, turn);
            if self.end.is_some() || self.long.is_some() {
                // What is behind a read in steps waits for its answer, writes too: theirs would be early.
                return None;
            }
        }
        None
    }

    fn run_queued(&mut self, queued: Queued, turn: &mut Turn) {
        let Queued { xid, opcode, body, ids, ordered, received_ms, throttled, large } = queued;
        let patience = turn.rules.limits.throttled_op_wait_ms;
        let exempt = [OpCode::PING, OpCode::CLOSE_SESSION].contains(&opcode);
        if throttled && patience > 0 && !exempt && turn.now_ms - received_ms > patience {
            // Behind a write that is out, the answer would be early: Apache does the same.
            write_reply(turn.out, xid, turn.last_zxid, Code::THROTTLED_OP, |_| {});
            turn.throttled += 1;
            turn.answered += 1;
        } else if ordered {
            self.held_bytes += body.len();
            self.pending.push_back(u32::try_from(body.len()).unwrap_or(u32::MAX));
            self.syncing |= opcode == OpCode::SYNC;
            let (conn, session) = (self.id, self.session);
            let large = large.map(Arc::new);
            turn.submit.push(Submit::Request(Request {
                conn,
                session,
                xid,
                opcode,
                body,
                ids,
                large,
            }));
        } else if let Some(view) = turn.view {
            let (session, session_over) = (self.session, self.session_over);
            let asker = Asker { conn: self.id, session, session_over, ids: &ids };
            match turn.answer(view, asker, xid, opcode, &body) {
                Answered::Whole => turn.answered += 1,
                Answered::Last(why) => {
                    turn.answered += 1;
                    self.finish(why);
                }
                Answered::InSteps => self.begin_long((xid, opcode, body), ids, turn),
            }
        }
    }

    fn begin_long(&mut self, request: (i32, OpCode, Bytes), ids: Arc<[Id]>, turn: &mut Turn) {
        let long = Long::new(request, ids, turn.rules.load.reply_share());
        self.held_bytes += long.request_bytes();
        self.long = Some(Box::new(long));
    }

    /// Goes on with the read that is answered in steps. None: it is answered, and what is behind it
    /// may follow.
    fn go_on(&mut self, turn: &mut Turn) -> Option<Want> {
        let mut long = self.long.take()?;
        let step = match turn.view {
            None => {
                long.settle();
                self.long = Some(long);
                return Some(Want::State);
            }
            // That takes a while, so not with the lock.
            Some(_) if long.is_unsettled() => Step::More,
            Some(view) => {
                let ids = Arc::clone(long.ids());
                let (session, session_over) = (self.session, self.session_over);
                let asker = Asker { conn: self.id, session, session_over, ids: &ids };
                let before = turn.out.len();
                let step = long.step(view, asker, turn);
                if matches!(step, Step::Done(_)) {
                    let pieces = turn.pieces.as_ref().map_or(0, |p| p.share.bytes());
                    turn.sizes.record((turn.out.len() - before + pieces) as i64 - LENGTH_BYTES);
                }
                step
            }
        };
        let want = match step {
            Step::More => Want::Again,
            Step::Room => Want::Room,
            Step::Relief => Want::Relief,
            Step::Done(end) => {
                turn.answered += 1;
                self.held_bytes = self.held_bytes.saturating_sub(long.request_bytes());
                if let Some(why) = end {
                    self.finish(why);
                }
                return turn.pieces.is_some().then_some(Want::Room);
            }
        };
        self.long = Some(long);
        Some(want)
    }

    /// Takes and answers nothing more.
    fn finish(&mut self, why: Ended) {
        self.phase = Phase::Ending;
        self.queue.clear();
        self.long = None;
        self.end = Some(why);
    }

    fn auth(&mut self, xid: i32, body: &[u8], turn: &mut Turn) -> Result<(), Ended> {
        let packet = AuthPacket::from_bytes(Bytes::copy_from_slice(body))
            .map_err(|_| "an auth packet that is none")?;
        let limits = &turn.rules.limits;
        let too_long = packet.auth.as_ref().is_some_and(|a| a.len() > limits.auth_bytes_max);
        let held: usize = self.ids.iter().map(|id| id.id().len()).sum();
        let too_many = self.ids.len() >= limits.identities_max || held >= limits.identity_bytes_max;
        let auth = &turn.rules.auth;
        let result = if too_long || too_many {
            Err(Refused::Failed)
        } else {
            auth.authenticate(packet.scheme.as_deref(), packet.auth.as_deref(), &self.peer)
        };
        match result {
            Ok(new) => {
                self.add_ids(new);
                turn.besides += 1;
                write_reply(turn.out, xid, Zxid(0), Code::OK, |_| {});
                Ok(())
            }
            Err(Refused::Failed) => {
                turn.auth_failed += 1;
                turn.besides += 1;
                write_reply(turn.out, xid, Zxid(0), Code::AUTH_FAILED, |_| {});
                self.finish("authentication failed");
                Ok(())
            }
            Err(Refused::CloseSilently) => Err("authentication for another ensemble"),
        }
    }

    /// No SASL is configured: Apache answers OK with a null token.
    fn sasl(&mut self, xid: i32, body: &[u8], turn: &mut Turn) -> Result<(), Ended> {
        match Reader::new(Bytes::copy_from_slice(body)).buffer() {
            Ok(Some(_)) => {
                turn.besides += 1;
                write_reply(turn.out, xid, Zxid(0), Code::OK, |out| out.i32(-1));
                Ok(())
            }
            _ => Err("a sasl request without a token"),
        }
    }
}

/// Whether requests of a class go to the node thread, if they decode.
fn goes_to_node(class: Class, rules: &Rules) -> bool {
    match class {
        Class::Write => true,
        Class::Sync => !rules.standalone,
        Class::Read | Class::Connection | Class::Invalid => false,
    }
}

/// The xid of a ping's reply, whatever the request's was.
pub(super) const PING_XID: i32 = Xid::PING.0;

#[cfg(test)]
mod tests;
