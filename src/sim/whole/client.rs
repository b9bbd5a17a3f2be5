//! A client: a value that makes the bytes a ZooKeeper client would send, reads what comes back, and
//! keeps a record of both for the witness.
//!
//! What can be judged on the spot is: replies come in the order of the requests, the zxids of a
//! session never go back, not even from server to server.

use std::collections::{BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};

use crate::proto::frame;
use crate::proto::jute::{Jute, Reader, Write};
use crate::proto::multi::{Op, read_ops};
use crate::proto::opcode::{Class, OpCode};
use crate::proto::records::{
    ConnectRequest, ConnectResponse, CreateRequest, ReadRequest, ReplyHeader, RequestHeader,
    SetWatches2, WatchRequest, WatcherEvent,
};
use crate::sim::network::ConnNo;
use crate::sim::witness::{Connection, Item, Reply};
use crate::types::{Code, Xid};

/// Largest frame from a server.
const FRAME_MAX: usize = 4 << 20;

/// A request that has no reply yet.
#[derive(Clone, Debug)]
struct Asked {
    xid: i32,
    opcode: OpCode,
    body: Bytes,
    invoked: u64,
}

/// The watches a client believes in, to be set again on another connection.
#[derive(Clone, Debug, Default)]
struct Watches {
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No connection.
    Apart,
    /// A connection is being made.
    Dialling,
    /// The connect request is sent.
    Asking(ConnNo),
    /// It has its session.
    Open(ConnNo),
    /// It has gone for good.
    Retired,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Client {
    /// What it is doing.
    pub phase: Phase,
    /// Its session; 0 for none.
    pub session: i64,
    /// In ms, as asked for, then as negotiated.
    pub timeout_ms: i32,
    /// When something was last heard from the server, µs.
    pub heard: u64,
    /// When something was last sent, µs.
    pub sent: u64,
    /// Writes and syncs answered with OK, since the counter was last reset.
    pub answered: u64,
    /// Does nothing before this, µs.
    pub paused_until: u64,
    /// Sessions that a server has declared gone.
    pub refused: Vec<i64>,
    /// Replies received.
    pub replies: u64,
    /// Watch events received.
    pub events: u64,
    /// Whether the session is to be closed; nothing more is asked then.
    pub closing: bool,
    /// Whether a server without a quorum will do.
    pub may_read_only: bool,
    /// Whether it was last connected to such a one.
    pub was_reader: bool,
    /// The server answered the wish for a session with no session (NOTREADONLY).
    pub turned_away: bool,
    /// The last server that refused a session had no quorum.
    pub refused_by_reader: bool,
    /// Where its session was made: a server, and which of its lives.
    pub home: Option<(usize, u64)>,
    /// Reads answered by servers without a quorum.
    pub old_reads: u64,
    /// Writes that such servers refused.
    pub refused_writes: u64,
    /// Ephemerals that a local session may not have.
    pub refused_ephemerals: u64,
    /// It counts its xids from one again on each connection, as kazoo does.
    pub counts_anew: bool,
    /// It has had a session of a server with a quorum.
    seen_quorum: bool,
    /// Sessions that have asked for ephemerals.
    ephemerals: BTreeSet<i64>,
    password: Bytes,
    last_zxid: i64,
    xid: i32,
    pending: VecDeque<Asked>,
    input: BytesMut,
    watches: Watches,
    current: Connection,
    done: Vec<Connection>,
}

impl Client {
    /// A client without a session, that will ask for this timeout.
    pub fn new(timeout_ms: i32) -> Client {
        Client {
            phase: Phase::Apart,
            session: 0,
            timeout_ms,
            heard: 0,
            sent: 0,
            answered: 0,
            paused_until: 0,
            refused: Vec::new(),
            replies: 0,
            events: 0,
            closing: false,
            may_read_only: false,
            counts_anew: false,
            was_reader: false,
            turned_away: false,
            refused_by_reader: false,
            home: None,
            old_reads: 0,
            refused_writes: 0,
            refused_ephemerals: 0,
            seen_quorum: false,
            ephemerals: BTreeSet::new(),
            password: Bytes::from_static(&[0; 16]),
            last_zxid: 0,
            xid: 0,
            pending: VecDeque::new(),
            input: BytesMut::new(),
            watches: Watches::default(),
            current: Connection::default(),
            done: Vec::new(),
        }
    }

    /// Requests without a reply.
    pub fn outstanding(&self) -> usize {
        self.pending.len()
    }

    /// The connection it has.
    pub fn link(&self) -> Option<ConnNo> {
        match self.phase {
            Phase::Asking(no) | Phase::Open(no) => Some(no),
            _ => None,
        }
    }

    /// Whether its server has no quorum.
    pub fn reads_only(&self) -> bool {
        self.current.read_only
    }

    /// The newest transaction it has heard of.
    pub fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    /// Whether a session has ever asked for an ephemeral.
    pub fn made_ephemerals(&self, session: i64) -> bool {
        self.ephemerals.contains(&session)
    }

    /// All connections it ever had, for the witness.
    pub fn histories(&self) -> impl Iterator<Item = &Connection> {
        self.done.iter().chain([&self.current])
    }

    /// A connection stands: what to send first.
    pub fn connected(&mut self, now: u64, no: ConnNo) -> Bytes {
        self.phase = Phase::Asking(no);
        (self.heard, self.sent) = (now, now);
        self.turned_away = false;
        self.input.clear();
        self.current.no = no.0;
        if self.session != 0 && !self.seen_quorum {
            // A session of a server without a quorum stays there, as in Apache's client; what was
            // seen and is watched goes along.
            self.session = 0;
            self.password = Bytes::from_static(&[0; 16]);
            self.xid = 0;
        }
        framed(&ConnectRequest {
            protocol: 0,
            last_zxid: self.last_zxid,
            timeout_ms: self.timeout_ms,
            session: self.session,
            passwd: Some(self.password.clone()),
            read_only: Some(self.may_read_only),
        })
    }

    /// The connection is gone. What was not answered may have happened or not.
    pub fn lost(&mut self) {
        if self.phase != Phase::Retired {
            self.phase = Phase::Apart;
        }
        self.pending.clear();
        self.input.clear();
        if self.counts_anew {
            self.xid = 0;
        }
        let session = self.session;
        let next = Connection { session, ..Connection::default() };
        let before = std::mem::replace(&mut self.current, next);
        if !before.items.is_empty() {
            self.done.push(before);
        }
        if self.closing {
            self.forget();
        }
    }

    /// Gives the session up: the next connection asks for a new one.
    fn forget(&mut self) {
        self.session = 0;
        self.password = Bytes::from_static(&[0; 16]);
        self.last_zxid = 0;
        self.xid = 0;
        self.watches = Watches::default();
        self.closing = false;
        self.seen_quorum = false;
        self.home = None;
    }

    /// Asks for something.
    pub fn ask(&mut self, now: u64, opcode: OpCode, body: Bytes) -> Bytes {
        let xid = match opcode {
            OpCode::PING => Xid::PING.0,
            OpCode::SET_WATCHES2 => -8,
            _ => {
                self.xid += 1;
                self.xid
            }
        };
        self.closing |= opcode == OpCode::CLOSE_SESSION;
        if asks_for_ephemeral(opcode, &body) {
            self.ephemerals.insert(self.session);
        }
        self.sent = now;
        let mut out = BytesMut::new();
        let at = frame::begin(&mut out);
        RequestHeader { xid, opcode: opcode.0 }.write(&mut out);
        out.extend_from_slice(&body);
        frame::end(&mut out, at);
        self.pending.push_back(Asked { xid, opcode, body, invoked: now });
        out.freeze()
    }

    /// Takes bytes from the server; returns what is to be sent at once.
    ///
    /// # Errors
    /// What no client may ever see.
    pub fn receive(&mut self, now: u64, bytes: &[u8]) -> Result<Option<Bytes>, String> {
        self.heard = now;
        self.input.extend_from_slice(bytes);
        let mut answer = None;
        loop {
            let frame = frame::next_frame(&mut self.input, FRAME_MAX);
            let Some(frame) = frame.map_err(|e| format!("a reply's {e}"))? else {
                return Ok(answer);
            };
            match self.phase {
                Phase::Asking(no) => answer = self.greeted(now, no, frame)?,
                Phase::Open(_) => self.reply(now, frame)?,
                _ => return Err("bytes without a connection".into()),
            }
        }
    }

    fn greeted(&mut self, now: u64, no: ConnNo, frame: Bytes) -> Result<Option<Bytes>, String> {
        if frame.len() == 16 && self.session == 0 && self.may_read_only {
            // A reply header where a connect response should be.
            let header = ReplyHeader::from_bytes(frame).map_err(|e| e.to_string())?;
            if header.err != Code::NOT_READ_ONLY.0 {
                return Err(format!("a new session was answered with {header:?}"));
            }
            self.turned_away = true;
            return Ok(None);
        }
        let response = ConnectResponse::from_bytes(frame)
            .map_err(|e| format!("a connect response that does not decode: {e}"))?;
        let reads = response.read_only == Some(true);
        if reads && !self.may_read_only {
            return Err("a client that wants to write is served read-only".into());
        }
        if response.session == 0 {
            if self.session == 0 {
                return Err("a new session was refused".into());
            }
            self.refused.push(self.session);
            self.refused_by_reader = reads;
            self.forget();
            // The server closes; what comes next asks for a new session.
            return Ok(None);
        }
        if self.session != 0 && self.session != response.session {
            return Err(format!(
                "session 0x{:x} was renewed as 0x{:x}",
                self.session, response.session
            ));
        }
        self.session = response.session;
        self.current.session = response.session;
        self.current.read_only = reads;
        self.was_reader |= reads;
        self.seen_quorum |= !reads;
        self.timeout_ms = response.timeout_ms;
        self.password = response.passwd.unwrap_or_default();
        self.phase = Phase::Open(no);
        let all = |set: &BTreeSet<String>| Some(set.iter().cloned().collect::<Vec<_>>());
        let Watches { data, exist, child, persistent, recursive } =
            std::mem::take(&mut self.watches);
        let sets = [&data, &exist, &child, &persistent, &recursive];
        if sets.iter().all(|set| set.is_empty()) {
            return Ok(None);
        }
        let body = SetWatches2 {
            relative_zxid: self.last_zxid,
            data: all(&data),
            exist: all(&exist),
            child: all(&child),
            persistent: all(&persistent),
            recursive: all(&recursive),
        };
        self.watches = Watches { data, exist, child, persistent, recursive };
        Ok(Some(self.ask(now, OpCode::SET_WATCHES2, body.to_bytes())))
    }

    fn reply(&mut self, now: u64, frame: Bytes) -> Result<(), String> {
        let bad = |e| format!("a reply that does not decode: {e}");
        let mut r = Reader::new(frame);
        let header: ReplyHeader = r.get().map_err(bad)?;
        if header.xid == -1 {
            let event: WatcherEvent = r.get().map_err(bad)?;
            self.events += 1;
            let path = event.path.unwrap_or_default();
            self.fired(event.kind, &path);
            self.see(header.zxid)?;
            self.current.items.push(Item::Event(header.zxid, event.kind, path));
            return Ok(());
        }
        let asked = self.pending.pop_front().ok_or(format!("reply {} to nothing", header.xid))?;
        if asked.xid != header.xid {
            return Err(format!("reply {} where {} comes next", header.xid, asked.xid));
        }
        self.replies += 1;
        self.see(header.zxid)?;
        let reply = Reply {
            xid: header.xid,
            opcode: asked.opcode,
            request: asked.body,
            zxid: header.zxid,
            err: Code(header.err),
            body: r.rest(),
            invoked: asked.invoked,
            returned: now,
        };
        if reply.err == Code::NOT_READ_ONLY && !self.current.read_only {
            return Err("a server with a quorum says that it is read-only".into());
        }
        self.refused_writes += u64::from(reply.err == Code::NOT_READ_ONLY);
        self.refused_ephemerals += u64::from(reply.err == Code::EPHEMERAL_ON_LOCAL_SESSION);
        let reads = self.current.read_only && reply.opcode.class() == Class::Read;
        self.old_reads += u64::from(reads);
        let ordered = [OpCode::CREATE, OpCode::SET_DATA, OpCode::SYNC].contains(&reply.opcode);
        let told = [Code::OK, Code::NODE_EXISTS, Code::NO_NODE].contains(&reply.err);
        self.answered += u64::from(ordered && told);
        self.remember(&reply);
        self.current.items.push(Item::Reply(reply));
        Ok(())
    }

    fn see(&mut self, zxid: i64) -> Result<(), String> {
        if zxid <= 0 {
            return Ok(());
        }
        if zxid < self.last_zxid {
            let (session, last) = (self.session, self.last_zxid);
            return Err(format!("session 0x{session:x} went from 0x{last:x} back to 0x{zxid:x}"));
        }
        self.last_zxid = zxid;
        Ok(())
    }

    /// A reply may leave a watch.
    fn remember(&mut self, reply: &Reply) {
        match reply.opcode {
            OpCode::EXISTS | OpCode::GET_DATA | OpCode::GET_CHILDREN | OpCode::GET_CHILDREN2 => {
                let Ok(ReadRequest { path: Some(path), watch: true }) =
                    ReadRequest::from_bytes(reply.request.clone())
                else {
                    return;
                };
                match (reply.opcode, reply.err) {
                    (OpCode::EXISTS, Code::NO_NODE) => self.watches.exist.insert(path),
                    (OpCode::EXISTS | OpCode::GET_DATA, Code::OK) => self.watches.data.insert(path),
                    (_, Code::OK) => self.watches.child.insert(path),
                    _ => false,
                };
            }
            OpCode::ADD_WATCH if reply.err == Code::OK => {
                match WatchRequest::from_bytes(reply.request.clone()) {
                    Ok(WatchRequest { path: Some(path), kind: 0 }) => {
                        self.watches.persistent.insert(path);
                    }
                    Ok(WatchRequest { path: Some(path), .. }) => {
                        self.watches.recursive.insert(path);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// A one-shot watch is used up by its event.
    fn fired(&mut self, kind: i32, path: &str) {
        let Watches { data, exist, child, .. } = &mut self.watches;
        match kind {
            1 | 3 => {
                data.remove(path);
                exist.remove(path);
            }
            2 => {
                data.remove(path);
                exist.remove(path);
                child.remove(path);
            }
            _ => {
                child.remove(path);
            }
        }
    }
}

/// Whether a session that only its server knows must become known to all for this.
fn asks_for_ephemeral(opcode: OpCode, body: &Bytes) -> bool {
    let owned = |request: &CreateRequest| matches!(request.flags, 1 | 3);
    match opcode {
        OpCode::CREATE | OpCode::CREATE2 => {
            CreateRequest::from_bytes(body.clone()).is_ok_and(|request| owned(&request))
        }
        OpCode::MULTI => {
            let ops = read_ops(&mut Reader::new(body.clone())).unwrap_or_default();
            ops.iter().any(|op| matches!(op, Op::Create(_, request) if owned(request)))
        }
        _ => false,
    }
}

fn framed(record: &impl Jute) -> Bytes {
    let mut out = BytesMut::new();
    let at = frame::begin(&mut out);
    out.put(record);
    frame::end(&mut out, at);
    out.freeze()
}
