//! The ZooKeeper server as one deterministic value.
//!
//! [`Replica`] is what orders writes: it prepares requests, tracks sessions, and applies what is
//! committed. It has no clock, no disk, no socket and no randomness: time comes with every event,
//! what is to be written leaves as an [`Action`], and what clients get goes through [`Deliver`].
//! The state is borrowed, so that the shell can keep it behind its lock and the simulator in a
//! field.
//!
//! - A. `handle_*`: something happened; B. `poll_action`, `poll_timeout`: what to do now, and when
//!   to come back; C. `apply`: committed transactions go into the state, their events and replies
//!   to the connections, in that order.
//!
//! Nothing is answered before it is saved: a transaction is applied only after
//! [`Replica::handle_persisted`] has named it.

pub mod conn;
pub mod ensemble;
pub mod limits;
mod long;
pub mod membership;
pub mod overlay;
pub mod password;
pub mod prep;
pub mod reads;
pub mod reaper;
pub mod reply;
mod rewatch;
pub mod session;
pub mod share;
mod turn;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::auth::Auth;
use crate::proto::opcode::OpCode;
use crate::proto::records::ConnectResponse;
use crate::proto::txn::{Txn, TxnEntry};
use crate::state::watch::WatchTable;
use crate::state::{Change, EventKind, StateMachine};
use crate::types::{Code, ConnId, Id, Instant, Now, SessionId, WallTime, Zxid};

use password::Passwords;
use prep::{Caller, Prep, PrepOptions};
use reaper::{Reaper, ReaperOptions};
use session::Sessions;

/// Settings of a replica.
#[derive(Clone, Debug)]
pub struct Options {
    /// How requests are judged.
    pub prep: PrepOptions,
    /// Schemes and who is super.
    pub auth: crate::auth::Options,
    /// How session passwords are made and checked.
    pub passwords: Passwords,
    /// The first new session's id, see [`Sessions::first_id`].
    pub first_session_id: i64,
    /// Length of a tick, ms.
    pub tick_ms: u32,
    /// Smallest session timeout, ms.
    pub timeout_min_ms: i32,
    /// Largest session timeout, ms.
    pub timeout_max_ms: i32,
    /// Containers and TTL nodes.
    pub reaper: ReaperOptions,
}

/// A client's write, or its good-bye.
#[derive(Clone, Debug)]
pub struct Request {
    /// The connection it came from.
    pub conn: ConnId,
    /// The connection's session.
    pub session: SessionId,
    /// Echoed in the reply.
    pub xid: i32,
    /// A write, sync or closeSession.
    pub opcode: OpCode,
    /// Found to decode.
    pub body: Bytes,
    /// The connection's identities when the request was read.
    pub ids: Arc<[Id]>,
    /// Set for a large request, which counts until it is prepared.
    pub large: Option<Arc<conn::LargeRequest>>,
}

/// A connection's first packet, past the checks that need no session.
#[derive(Clone, Debug)]
pub struct Connect {
    /// The connection.
    pub conn: ConnId,
    /// [`SessionId::NONE`] for a new session.
    pub session: SessionId,
    /// As asked for; clamped here.
    pub timeout_ms: i32,
    /// Presented for a renewal.
    pub password: Bytes,
    /// Whether a server in read-only mode will do; None from a client that does not know the byte:
    /// then the response has none either.
    pub read_only: Option<bool>,
    /// The last transaction the client has seen, of any server.
    pub last_zxid: Zxid,
}

impl Connect {
    /// Why a server in that state must not greet the client: it would take back what it has seen
    /// (Apache `ZooKeeperServer.processConnectRequest`). Asked where the answer is given and not
    /// earlier: by then a member that has just found its leader has what it missed.
    fn is_refused_at(&self, state: &StateMachine) -> Option<&'static str> {
        (self.last_zxid > state.last_zxid())
            .then_some("the client has seen more than this server: it must try another")
    }
}

/// One thing to be done in the world.
#[derive(Clone, Debug)]
pub enum Action {
    /// Append a transaction to the log; [`Replica::handle_persisted`] once it is durable.
    Append {
        /// Its id.
        zxid: Zxid,
        /// As logged.
        entry: Bytes,
    },
}

/// Takes what is for clients. Called while the state is locked, so that the order of calls for one
/// connection is the order on its wire: an event before any reply that shows the change.
pub trait Deliver {
    /// Appends a frame to a connection's output. A connection that is gone takes nothing. `done`
    /// counts the requests that this answers (0 for a watch event, 1 for a reply).
    fn frame(&mut self, conn: ConnId, frame: &[u8], done: u32);
    /// A watch of `conn` fires; the receiver checks that its identities may read
    /// (CVE-2024-23944).
    fn event(&mut self, conn: ConnId, kind: EventKind, change: &Change);
    /// The connection has its session now; the response is in its output already.
    fn connected(&mut self, conn: ConnId, session: SessionId, timeout_ms: i32);
    /// The session that the connection has now was made for it, by the last transaction `zxid`.
    fn session_made(&mut self, _conn: ConnId, _zxid: Zxid) {}
    /// The session is closing: reads of the connection are answered SESSIONEXPIRED from now on.
    fn closing(&mut self, conn: ConnId);
    /// Something has changed, whether anybody watches it or not.
    fn changed(&mut self, _change: &Change) {}
    /// A session has ended, or will when a transaction that was just prepared is committed.
    fn session_ended(&mut self, _end: SessionEnd) {}
    /// A node went with its session.
    fn ephemeral_deleted(&mut self, _session: SessionId, _path: &str) {}
    /// Close the connection once its output is written.
    fn close(&mut self, conn: ConnId, why: &'static str);
}

/// How a session ended, for the log: told once, by the server that decides it or holds its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// The session.
    pub session: SessionId,
    /// The reason.
    pub cause: EndCause,
    /// Ephemeral znodes that are deleted with it; None where the transaction does not list them.
    pub ephemerals: Option<usize>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// Nothing was heard of it for its timeout, in ms.
    Silence(i32),
    /// Its client closed it, over this connection.
    Client(ConnId),
}

impl SessionEnd {
    /// The end that a closeSession transaction brings.
    fn by(entry: &TxnEntry, cause: EndCause) -> SessionEnd {
        let ephemerals = match &entry.txn {
            Txn::CloseSession { paths: Some(paths) } => Some(paths.len()),
            _ => None,
        };
        SessionEnd { session: entry.header.session, cause, ephemerals }
    }
}

/// Who waits for a transaction.
#[derive(Clone, Debug)]
enum Origin {
    /// Nobody: the server itself.
    Server,
    /// A request on a connection.
    Client { conn: ConnId, xid: i32, opcode: OpCode },
    /// A connection that waits for its new session.
    Connect { conn: ConnId, timeout_ms: i32, has_read_only: bool },
}

#[derive(Debug)]
struct Outstanding {
    entry: TxnEntry,
    origin: Origin,
}

/// See the module.
#[derive(Debug)]
pub struct Replica {
    options: Options,
    prep: Prep,
    sessions: Sessions,
    reaper: Reaper,
    outstanding: VecDeque<Outstanding>,
    actions: VecDeque<Action>,
    /// Everything up to here is durable, and so, alone, committed.
    committed: Zxid,
    /// The last transaction that is applied whole. Preparation forgets what was outstanding when it
    /// is next used, not while readers wait for the state: it can be 100,000 nodes.
    applied: Zxid,
    changes: Vec<Change>,
    scratch: BytesMut,
}

impl Replica {
    /// A standalone server on top of a recovered state; its sessions get a full timeout from
    /// `now`.
    pub fn standalone(options: Options, state: &StateMachine, now: Now) -> Replica {
        let auth = Auth::new(options.auth.clone());
        let mut sessions = Sessions::new(options.tick_ms, options.first_session_id);
        for (id, timeout_ms) in state.sessions().iter() {
            sessions.track(id, timeout_ms, now.mono);
        }
        Replica {
            prep: Prep::new(options.prep.clone(), auth, state),
            sessions,
            reaper: Reaper::new(options.reaper, now.mono),
            outstanding: VecDeque::new(),
            actions: VecDeque::new(),
            committed: state.last_zxid(),
            applied: state.last_zxid(),
            changes: Vec::new(),
            scratch: BytesMut::new(),
            options,
        }
    }

    /// See [`Prep::take_over_quota`].
    pub fn take_over_quota(&mut self) -> Vec<Box<str>> {
        self.prep.take_over_quota()
    }

    /// Requests that are not answered yet.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// The sessions it tracks.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// A connection asks for a session, a new one or its old one.
    pub fn handle_connect(
        &mut self,
        now: Now,
        state: &StateMachine,
        ask: Connect,
        out: &mut dyn Deliver,
    ) {
        if let Some(why) = ask.is_refused_at(state) {
            return out.close(ask.conn, why);
        }
        let timeout_ms =
            ask.timeout_ms.clamp(self.options.timeout_min_ms, self.options.timeout_max_ms);
        if ask.session == SessionId::NONE {
            let session = self.sessions.new_id();
            self.sessions.track(session, timeout_ms, now.mono);
            self.sessions.attach(session, ask.conn);
            let caller = self.caller(session, 0, Arc::from([]));
            let entry = self.prep.create_session(&caller, now.wall, timeout_ms);
            let has_read_only = ask.read_only.is_some();
            self.propose(entry, Origin::Connect { conn: ask.conn, timeout_ms, has_read_only });
            return;
        }
        // Whoever had the session here before loses it, even if the password turns out wrong.
        if let Some(old) = self.sessions.conn(ask.session)
            && old != ask.conn
        {
            self.sessions.detach(ask.session, old);
            out.close(old, "the session has been renewed on another connection");
        }
        let known = self.options.passwords.accepts(ask.session, &ask.password)
            && state.sessions().get(ask.session).is_some()
            && self.sessions.touch(ask.session, timeout_ms, now.mono);
        if known {
            self.sessions.attach(ask.session, ask.conn);
            self.welcome(ask.conn, ask.session, timeout_ms, ask.read_only.is_some(), out);
        } else {
            self.scratch.clear();
            let response = ConnectResponse {
                passwd: Some(Bytes::from_static(&[0; 16])),
                read_only: ask.read_only.map(|_| false),
                ..ConnectResponse::default()
            };
            reply::write_connect(&mut self.scratch, &response);
            out.frame(ask.conn, &self.scratch, 1);
            out.close(ask.conn, "the session is unknown, expired, or the password is wrong");
        }
    }

    fn welcome(
        &mut self,
        conn: ConnId,
        session: SessionId,
        timeout_ms: i32,
        has_read_only: bool,
        out: &mut dyn Deliver,
    ) {
        self.scratch.clear();
        let response = ConnectResponse {
            protocol: 0,
            timeout_ms,
            session: session.0,
            passwd: Some(Bytes::copy_from_slice(&self.options.passwords.of(session))),
            read_only: has_read_only.then_some(false),
        };
        reply::write_connect(&mut self.scratch, &response);
        out.frame(conn, &self.scratch, 1);
        out.connected(conn, session, timeout_ms);
    }

    fn caller(&self, session: SessionId, cxid: i32, ids: Arc<[Id]>) -> Caller {
        let check = self.sessions.check(session);
        Caller { session, cxid, ids, session_check: check, global_session_check: check }
    }

    /// A client's write.
    pub fn handle_request(
        &mut self,
        now: Now,
        state: &StateMachine,
        request: Request,
        out: &mut dyn Deliver,
    ) {
        let Request { conn, session, xid, opcode, body, ids, large: _large } = request;
        if opcode == OpCode::SYNC {
            // Alone, everything before it on this connection is applied already.
            self.scratch.clear();
            reply::write_sync(&mut self.scratch, xid, state.last_zxid(), body);
            out.frame(conn, &self.scratch, 1);
            return;
        }
        self.prep.forget(self.applied);
        let caller = self.caller(session, xid, ids);
        let entry = if opcode == OpCode::CLOSE_SESSION {
            if let Some(conn) = self.sessions.set_closing(session) {
                out.closing(conn);
            }
            self.prep.close_session(state, &caller, now.wall)
        } else {
            self.prep.prepare(state, &caller, now.wall, opcode, &body)
        };
        self.propose(entry, Origin::Client { conn, xid, opcode });
    }

    fn propose(&mut self, entry: TxnEntry, origin: Origin) {
        let zxid = entry.header.zxid;
        self.actions.push_back(Action::Append { zxid, entry: entry.encode() });
        self.outstanding.push_back(Outstanding { entry, origin });
    }

    /// A connection is gone. Its session lives on.
    pub fn handle_disconnect(&mut self, session: SessionId, conn: ConnId) {
        self.sessions.detach(session, conn);
    }

    /// A session's connection was active at `at`.
    pub fn touch(&mut self, session: SessionId, timeout_ms: i32, at: Instant) {
        self.sessions.touch(session, timeout_ms, at);
    }

    /// Everything up to `zxid` is durable.
    pub fn handle_persisted(&mut self, zxid: Zxid) {
        self.committed = self.committed.max(zxid);
    }

    /// The moment of [`Replica::poll_timeout`] has come: sessions expire, nodes are reaped. Touch
    /// every session that was active before.
    pub fn handle_timeout(&mut self, now: Now, state: &StateMachine, out: &mut dyn Deliver) {
        self.prep.forget(self.applied);
        for session in self.sessions.expire(now.mono) {
            if let Some(conn) = self.sessions.conn(session) {
                out.closing(conn);
            }
            let caller = self.caller(session, 0, Arc::from([]));
            let entry = self.prep.close_session(state, &caller, now.wall);
            let timeout_ms = self.sessions.timeout_ms(session).unwrap_or_default();
            out.session_ended(SessionEnd::by(&entry, EndCause::Silence(timeout_ms)));
            self.propose(entry, Origin::Server);
        }
        if let Some(path) = self.reaper.poll(now, state) {
            let mut caller = self.caller(SessionId::NONE, 0, Arc::from([]));
            caller.session_check = Code::OK;
            let entry = self.prep.delete_container(state, &caller, now.wall, &path);
            self.propose(entry, Origin::Server);
        }
    }

    /// What to do now; call until None after every `handle_*`.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether sessions may expire at `now`: then touch those that were active before calling
    /// [`Replica::handle_timeout`].
    pub fn expires_at(&self, now: Instant) -> bool {
        self.sessions.asks_for_activity(now)
    }

    /// When to call [`Replica::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.sessions.next_due(), self.reaper.next_due()].into_iter().flatten().min()
    }

    /// When the oldest transaction that is not applied was prepared.
    pub fn oldest(&self) -> Option<WallTime> {
        self.outstanding.front().map(|o| o.entry.header.time)
    }

    /// Whether there is something for [`Replica::apply`].
    pub fn has_committed(&self) -> bool {
        self.outstanding.front().is_some_and(|o| o.entry.header.zxid <= self.committed)
    }

    /// Applies committed transactions, at most `max` (a deletion by closeSession counts as one);
    /// true when there are more.
    pub fn apply(
        &mut self,
        state: &mut StateMachine,
        watches: &WatchTable,
        out: &mut dyn Deliver,
        max: usize,
    ) -> bool {
        let mut left = max;
        while left > 0 && self.has_committed() {
            let told = self.apply_one(state, watches, out, left);
            left -= told.clamp(1, left);
        }
        if !state.is_within_txn() {
            self.applied = state.last_zxid();
        }
        self.has_committed()
    }

    /// Applies the oldest transaction, or of a closeSession at most `max` deletions. Returns how
    /// many nodes were changed.
    fn apply_one(
        &mut self,
        state: &mut StateMachine,
        watches: &WatchTable,
        out: &mut dyn Deliver,
        max: usize,
    ) -> usize {
        let Some(Outstanding { entry, .. }) = self.outstanding.front() else { return 0 };
        let turn::Applied { result, nodes, session, closes } =
            turn::apply(entry, state, watches, out, max, &mut self.changes);
        let Some(result) = result else { return nodes };
        let Some(Outstanding { entry, origin }) = self.outstanding.pop_front() else {
            return nodes;
        };
        match origin {
            Origin::Server => {}
            Origin::Client { conn, xid, opcode } => {
                if closes {
                    out.session_ended(SessionEnd::by(&entry, EndCause::Client(conn)));
                }
                self.scratch.clear();
                reply::write_result(&mut self.scratch, opcode, xid, &result);
                out.frame(conn, &self.scratch, 1);
            }
            Origin::Connect { conn, timeout_ms, has_read_only } => {
                self.welcome(conn, session, timeout_ms, has_read_only, out);
                out.session_made(conn, result.zxid);
            }
        }
        if closes && let Some(conn) = self.sessions.remove(session) {
            out.close(conn, "the session is closed");
        }
        nodes
    }
}
