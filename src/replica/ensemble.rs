//! A member of an ensemble as one deterministic value: Zab inside, clients outside.
//!
//! ```text
//!            leader                                   learner
//! client --> prepare, propose --> Zab      client --> forward (REQUEST) --> leader
//! learner -> prepare, propose --> Zab
//! Zab ----> deliver --> apply, reply       Zab ----> deliver --> apply, reply if it was ours
//! ```
//!
//! [`Member`] is to an ensemble what [`Replica`](super::Replica) is to a server alone: it prepares
//! requests (when it leads), forwards them (when it learns), tracks sessions (when it leads),
//! applies what Zab delivers, and answers the clients of this server. It has no clock, no disk and
//! no socket: what Zab asks of the world is polled from [`Member::peer_mut`] by the caller, who
//! hands back what concerns the state and the clients.
//!
//! Nobody is served before Zab says so, and everybody is sent away when it takes that back: clients
//! move to another member with their sessions.

mod apply;
pub mod forwarded;
mod local;
mod observers;
mod readonly;
mod reconfig;
mod renewed;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::membership;
use super::prep::{self, Caller, Prep};
use super::reaper::Reaper;
use super::session::Sessions;
use super::{Connect, Deliver, EndCause, Options, Request, SessionEnd, reply};
use crate::auth::Auth;
use crate::proto::jute::{DecodeError, Jute, Reader};
use crate::proto::opcode::OpCode;
use crate::proto::quorum::{
    ForwardedRequest, PacketKind, QuorumPacket, encode_touched, read_revalidated, revalidate,
    revalidated, touched_sessions,
};
use crate::proto::records::ConnectResponse;
use crate::proto::txn::{TxnEntry, TxnHeader};
use crate::state::{Change, StateMachine};
use crate::types::{Code, ConnId, Id, Instant, LinkId, Map, Now, ServerId, SessionId, Zxid, map};
use crate::zab::{self, DiskState, EncodedTxn, Peer, ProposeError, RoleChange, StartError};

use forwarded::Forwarded;
pub use local::LocalSessions;
pub use reconfig::bring_config;
use renewed::Renewed;

/// What a client of this server waits for.
#[derive(Clone, Debug)]
enum Ticket {
    /// The answer to a request.
    Request { conn: ConnId, xid: i32, opcode: OpCode, body: Bytes },
    /// Its session, new or renewed.
    Connect { conn: ConnId, timeout_ms: i32, has_read_only: bool },
    /// Nothing: its local session becomes global, ahead of the request that needs that.
    Upgrade,
    /// What an observer of this follower asked.
    Observer(LinkId),
    /// What an observer owes to those in [`Member::renewed`].
    Renewed,
}

/// Through whom a session is used; only the last one may (SESSIONMOVED).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// A connection of this server.
    Here,
    /// A learner.
    Learner(LinkId),
}

/// Who waits for a sync.
#[derive(Clone, Debug)]
enum SyncAsked {
    Here(Ticket),
    By(LinkId),
}

/// What this server is for its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Nobody is served.
    Idle,
    /// Orders writes.
    Leader,
    /// Forwards them.
    Learner,
    /// Has no quorum, and answers readers.
    ReadOnly,
}

/// Something to be done with the state, in this order.
#[derive(Debug)]
enum Delivery {
    Txn { entry: TxnEntry, ticket: Option<Ticket> },
    Synced(Ticket),
}

/// See the module.
#[derive(Debug)]
pub struct Member {
    options: Options,
    peer: Peer,
    role: Role,
    prep: Prep,
    /// The leader's.
    sessions: Sessions,
    owners: Map<SessionId, Owner>,
    reaper: Reaper,
    outstanding: VecDeque<(TxnEntry, Option<Ticket>)>,
    syncs: Map<u64, SyncAsked>,
    next_sync: u64,
    /// The learner's.
    forwarded: Forwarded<Ticket>,
    renewed: Renewed,
    touched: Map<SessionId, i32>,
    /// Connections of this server by session.
    conns: Map<SessionId, ConnId>,
    local_rules: LocalSessions,
    /// The local sessions of this server.
    local: Sessions,
    /// How long it looks for a leader before it serves readers; None is off.
    read_only_after: Option<Duration>,
    /// When it begins to, unless a leader is found before.
    read_only_at: Option<Instant>,
    /// None: the membership never changes.
    reconfig: Option<membership::Rules>,
    next_session: i64,
    deliveries: VecDeque<Delivery>,
    /// As a server's alone: the last transaction that is applied whole.
    applied: Zxid,
    changes: Vec<Change>,
    scratch: BytesMut,
}

/// A transaction that a quorum has and this server can't read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("committed transaction {zxid} can't be decoded: {error}")]
pub struct Undecodable {
    /// Which.
    pub zxid: Zxid,
    /// Why.
    pub error: DecodeError,
}

impl Member {
    /// A member on top of a recovered state; it begins to look for a leader at once.
    ///
    /// # Errors
    /// When what is on disk does not fit together.
    pub fn new(
        options: Options,
        zab: zab::Options,
        disk: DiskState,
        state: &StateMachine,
        now: Now,
    ) -> Result<Member, StartError> {
        let auth = Auth::new(options.auth.clone());
        Ok(Member {
            peer: Peer::new(zab, disk, now.mono)?,
            role: Role::Idle,
            prep: Prep::new(options.prep.clone(), auth, state),
            sessions: Sessions::new(options.tick_ms, 0),
            owners: map(),
            reaper: Reaper::new(options.reaper, now.mono),
            outstanding: VecDeque::new(),
            syncs: map(),
            next_sync: 0,
            forwarded: Forwarded::default(),
            renewed: Renewed::default(),
            touched: map(),
            conns: map(),
            local_rules: LocalSessions::default(),
            local: Sessions::new(options.tick_ms, 0),
            read_only_after: None,
            read_only_at: None,
            reconfig: None,
            next_session: options.first_session_id,
            deliveries: VecDeque::new(),
            applied: state.last_zxid(),
            changes: Vec::new(),
            scratch: BytesMut::new(),
            options,
        })
    }

    /// The same, with local sessions.
    pub fn with_local_sessions(mut self, rules: LocalSessions) -> Member {
        self.local_rules = rules;
        self
    }

    // A. Getters.

    /// Zab.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Zab, to be told what happened, and asked what to do.
    pub fn peer_mut(&mut self) -> &mut Peer {
        &mut self.peer
    }

    /// `tickTime`.
    pub fn tick(&self) -> Duration {
        Duration::from_millis(self.options.tick_ms.into())
    }

    /// Whether clients are served.
    pub fn is_serving(&self) -> bool {
        self.role != Role::Idle
    }

    /// Whether this server orders writes.
    pub fn is_leading(&self) -> bool {
        self.role == Role::Leader
    }

    /// The sessions that a leader tracks; empty on others.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Requests of clients here that are not answered, and proposals that are not applied.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len() + self.forwarded.outstanding() + self.syncs.len()
    }

    /// See [`Prep::take_over_quota`]; only a leader prepares.
    pub fn take_over_quota(&mut self) -> Vec<Box<str>> {
        self.prep.take_over_quota()
    }

    /// Syncs that wait for a quorum.
    pub fn pending_syncs(&self) -> usize {
        self.syncs.len()
    }

    // B. Clients.

    /// A connection asks for a session, a new one or its old one.
    pub fn handle_connect(
        &mut self,
        now: Now,
        state: &StateMachine,
        ask: Connect,
        out: &mut dyn Deliver,
    ) {
        if self.role == Role::Idle {
            return out.close(ask.conn, "this server is not serving requests");
        }
        let refused = self.read_only_refuses(state, ask.session, ask.read_only);
        if let Some(why) = refused.or_else(|| ask.is_refused_at(state)) {
            return out.close(ask.conn, why);
        }
        let Connect { conn, session, timeout_ms, password, read_only, .. } = ask;
        let has_read_only = read_only.is_some();
        let timeout_ms = timeout_ms.clamp(self.options.timeout_min_ms, self.options.timeout_max_ms);
        let ticket = Ticket::Connect { conn, timeout_ms, has_read_only };
        if session == SessionId::NONE {
            let session = self.new_session(state);
            if self.local_rules.enabled {
                self.local.track(session, timeout_ms, now.mono);
                self.answer_connect(session, ticket, true, out);
                return out.session_made(conn, state.last_zxid());
            }
            if self.role == Role::ReadOnly {
                return self.refuse_new_session(conn, state, out);
            }
            self.conns.insert(session, conn);
            let body = timeout_ms.to_bytes();
            let request = Asked { session, cxid: 0, opcode: OpCode::CREATE_SESSION, body };
            return self.order(now, state, request, Arc::from([]), ticket, out);
        }
        // Whoever had the session here before loses it, even if the password turns out wrong.
        if let Some(old) = self.conns.remove(&session)
            && old != conn
        {
            out.close(old, "the session has been renewed on another connection");
        }
        if !self.options.passwords.accepts(session, &password) {
            return self.refuse(conn, has_read_only, out);
        }
        if self.local.touch(session, timeout_ms, now.mono) {
            return self.answer_connect(session, ticket, true, out);
        }
        if self.role == Role::Leader {
            // Also where its creation waits for this server's own disk: others have it already.
            let valid = self.sessions.touch(session, timeout_ms, now.mono);
            if valid {
                self.owners.insert(session, Owner::Here);
            }
            return self.answer_connect(session, ticket, valid, out);
        }
        if self.role == Role::ReadOnly {
            let valid = self.read_only_renews();
            return self.answer_connect(session, ticket, valid, out);
        }
        self.forwarded.revalidate(session, ticket);
        self.peer.forward(revalidate(session, timeout_ms));
    }

    /// A number for a new session: none that lives, whatever the clock did between two starts.
    fn new_session(&mut self, state: &StateMachine) -> SessionId {
        loop {
            let id = SessionId(self.next_session);
            self.next_session = self.next_session.wrapping_add(1);
            let lives = state.sessions().get(id).is_some() || !self.local.is_unknown(id);
            if id != SessionId::NONE && id.0 != i64::MIN && !lives {
                return id;
            }
        }
    }

    /// A client's write, sync or good-bye.
    pub fn handle_request(
        &mut self,
        now: Now,
        state: &StateMachine,
        request: Request,
        out: &mut dyn Deliver,
    ) {
        let Request { conn, session, xid, opcode, body, ids, large: _large } = request;
        if self.role == Role::Idle {
            return out.close(conn, "this server is not serving requests");
        }
        if self.conns.get(&session) != Some(&conn) {
            return out.close(conn, "the session has moved");
        }
        let local = self.local.check(session) == Code::OK;
        if self.role == Role::ReadOnly && !(local && opcode == OpCode::CLOSE_SESSION) {
            return self.answer_code(conn, xid, state.last_zxid(), Code::NOT_READ_ONLY, out);
        }
        let ticket = Ticket::Request { conn, xid, opcode, body: body.clone() };
        let asked = Asked { session, cxid: xid, opcode, body };
        if local {
            if opcode == OpCode::CLOSE_SESSION {
                return self.end_local(session, Some((conn, xid)), state, out);
            }
            if prep::makes_ephemeral(opcode, &asked.body) {
                if !self.local_rules.upgrading {
                    let code = Code::EPHEMERAL_ON_LOCAL_SESSION;
                    return self.answer_code(conn, xid, state.last_zxid(), code, out);
                }
                self.upgrade(now, state, session, out);
            }
        }
        self.order(now, state, asked, ids, ticket, out);
    }

    /// Has a request of a client here ordered: by this server, or by its leader.
    fn order(
        &mut self,
        now: Now,
        state: &StateMachine,
        asked: Asked,
        ids: Arc<[Id]>,
        ticket: Ticket,
        out: &mut dyn Deliver,
    ) {
        if self.role == Role::Leader {
            if asked.opcode == OpCode::SYNC {
                return self.begin_sync(now, SyncAsked::Here(ticket));
            }
            return self.prepare(now, state, asked, ids, Owner::Here, Some(ticket), out);
        }
        let Asked { session, cxid, opcode, body } = asked;
        let forwarded = ForwardedRequest { session, cxid, opcode: opcode.0, body };
        let packet = QuorumPacket {
            kind: PacketKind::Request,
            zxid: Zxid(-1),
            data: Some(forwarded.to_bytes()),
            auth: Some(ids),
        };
        if opcode == OpCode::SYNC {
            self.forwarded.sync(ticket);
        } else {
            self.forwarded.write(session, cxid, self.peer.history().last(), ticket);
        }
        self.peer.forward(packet);
    }

    /// A connection is gone. Its session lives on.
    pub fn handle_disconnect(&mut self, session: SessionId, conn: ConnId) {
        if self.conns.get(&session) == Some(&conn) {
            self.conns.remove(&session);
        }
    }

    /// A session's connection here was active at `at`.
    pub fn touch(&mut self, session: SessionId, timeout_ms: i32, at: Instant) {
        if self.local.touch(session, timeout_ms, at) {
            return;
        }
        match self.role {
            Role::Leader => {
                self.sessions.touch(session, timeout_ms, at);
            }
            Role::Learner => {
                self.touched.insert(session, timeout_ms);
            }
            Role::Idle | Role::ReadOnly => {}
        }
    }

    // C. What Zab hands up.

    /// A packet of a learner: REQUEST, REVALIDATE, or the answer to a ping.
    pub fn handle_learner(
        &mut self,
        now: Now,
        state: &StateMachine,
        link: LinkId,
        packet: QuorumPacket,
        out: &mut dyn Deliver,
    ) {
        match self.role {
            Role::Leader => {}
            Role::Learner => return self.handle_observer(state, link, packet),
            Role::Idle | Role::ReadOnly => return,
        }
        match packet.kind {
            PacketKind::Request => {
                let Ok(request) = ForwardedRequest::from_bytes(packet.payload()) else { return };
                let ForwardedRequest { session, cxid, opcode, body } = request;
                let asked = Asked { session, cxid, opcode: OpCode(opcode), body };
                if asked.opcode == OpCode::SYNC {
                    return self.begin_sync(now, SyncAsked::By(link));
                }
                let ids = packet.auth.unwrap_or_else(|| Arc::from([]));
                self.prepare(now, state, asked, ids, Owner::Learner(link), None, out);
            }
            PacketKind::Revalidate => {
                let Ok(asked) = touched_sessions(packet.payload()) else { return };
                // One at a time, as Apache reads it.
                for (session, timeout_ms) in asked.into_iter().take(1) {
                    let valid = self.sessions.touch(session, timeout_ms, now.mono);
                    if valid {
                        self.owners.insert(session, Owner::Learner(link));
                        if let Some(conn) = self.conns.remove(&session) {
                            out.close(conn, "the session has moved to another server");
                        }
                    }
                    self.peer.answer_learner(link, revalidated(session, valid));
                }
            }
            PacketKind::Ping => {
                let Ok(touched) = touched_sessions(packet.payload()) else { return };
                for (session, timeout_ms) in touched {
                    self.sessions.touch(session, timeout_ms, now.mono);
                }
            }
            _ => {}
        }
    }

    /// A packet of the leader: REVALIDATE or SYNC.
    pub fn handle_leader(&mut self, packet: QuorumPacket, out: &mut dyn Deliver) {
        match packet.kind {
            PacketKind::Revalidate => {
                let Ok((session, valid)) = read_revalidated(packet.payload()) else { return };
                if let Some(ticket) = self.forwarded.revalidated(session) {
                    match ticket {
                        Ticket::Observer(link) => self.revalidated(link, session, valid, out),
                        ticket if valid && self.renews_after_sync() => {
                            self.renew_after_sync(session, ticket);
                        }
                        ticket => self.answer_connect(session, ticket, valid, out),
                    }
                }
            }
            PacketKind::Sync => match self.forwarded.synced() {
                Some(Ticket::Observer(link)) => {
                    self.peer.answer_learner(link, QuorumPacket::new(PacketKind::Sync, Zxid(0)));
                }
                Some(ticket) => self.deliveries.push_back(Delivery::Synced(ticket)),
                None => {}
            },
            _ => {}
        }
    }

    /// The leader pings: answers with the sessions that were used here since the last time.
    pub fn answer_ping(&mut self, zxid: Zxid) {
        let touched = std::mem::replace(&mut self.touched, map());
        self.peer.answer_ping(zxid, encode_touched(touched));
    }

    /// A sync has its quorum, and everything before it is delivered.
    pub fn handle_synced(&mut self, token: u64) {
        match self.syncs.remove(&token) {
            Some(SyncAsked::Here(ticket)) => {
                self.deliveries.push_back(Delivery::Synced(ticket));
            }
            Some(SyncAsked::By(link)) => {
                self.peer.answer_learner(link, QuorumPacket::new(PacketKind::Sync, Zxid(0)));
            }
            None => {}
        }
    }

    fn begin_sync(&mut self, now: Now, asked: SyncAsked) {
        self.next_sync += 1;
        self.syncs.insert(self.next_sync, asked);
        if !self.peer.sync(now.mono, self.next_sync) {
            self.syncs.remove(&self.next_sync);
        }
    }

    /// A transaction is to be applied: committed, or (before a leader serves) part of its history.
    ///
    /// # Errors
    /// When it can't be decoded: this server can't go on then.
    pub fn deliver(&mut self, txn: EncodedTxn) -> Result<(), Undecodable> {
        let own = self.outstanding.front().is_some_and(|(e, _)| e.header.zxid == txn.zxid);
        let own = if own { self.outstanding.pop_front() } else { None };
        let (entry, ticket) = match own {
            Some(own) => own,
            None => {
                let zxid = txn.zxid;
                let entry =
                    TxnEntry::decode(txn.bytes).map_err(|error| Undecodable { zxid, error })?;
                let TxnHeader { session, cxid, .. } = entry.header;
                let ticket = self.forwarded.committed(session, cxid, zxid);
                (entry, ticket)
            }
        };
        self.deliveries.push_back(Delivery::Txn { entry, ticket });
        Ok(())
    }

    /// Zab's part has changed. Everything delivered before has been applied. True when clients that
    /// were served are not any more: the caller closes every connection.
    pub fn handle_role(&mut self, now: Now, state: &mut StateMachine, change: &RoleChange) -> bool {
        let before = self.role;
        let role = match change {
            RoleChange::Leading { serving: true, .. } => Role::Leader,
            RoleChange::Following { serving: true, .. } => Role::Learner,
            _ => Role::Idle,
        };
        self.plan_read_only(now, change);
        if role == before {
            return false;
        }
        self.outstanding.clear();
        self.syncs.clear();
        self.forwarded.clear();
        self.renewed.clear();
        self.touched.clear();
        self.owners.clear();
        self.conns.clear();
        // Clients may come back with their local sessions: to this server, which knows them.
        self.sessions = Sessions::new(self.options.tick_ms, 0);
        self.role = role;
        if let RoleChange::Leading { epoch, serving: true } = change {
            // No transaction, but from here on the state counts as being at the epoch's start.
            state.set_last_zxid(Zxid::new(*epoch, 0));
            for (id, timeout_ms) in state.sessions().iter() {
                // A full timeout: nobody loses a session to an outage (D5).
                self.sessions.track(id, timeout_ms, now.mono);
            }
            self.reaper = Reaper::new(self.options.reaper, now.mono);
        }
        self.prep.reset(state);
        self.applied = state.last_zxid();
        before != Role::Idle
    }

    // D. Ordering, on a leader.

    #[expect(clippy::too_many_arguments, reason = "one request, who asks and who is told")]
    fn prepare(
        &mut self,
        now: Now,
        state: &StateMachine,
        asked: Asked,
        ids: Arc<[Id]>,
        owner: Owner,
        ticket: Option<Ticket>,
        out: &mut dyn Deliver,
    ) {
        self.prep.forget(self.applied);
        let Asked { session, cxid, opcode, body } = asked;
        let entry = match opcode {
            OpCode::CREATE_SESSION => {
                let timeout_ms = Reader::new(body).i32().unwrap_or(self.options.timeout_min_ms);
                self.sessions.track(session, timeout_ms, now.mono);
                self.owners.insert(session, owner);
                let caller = caller(session, cxid, ids, Code::OK);
                self.prep.create_session(&caller, now.wall, timeout_ms)
            }
            OpCode::CLOSE_SESSION => {
                self.sessions.set_closing(session);
                if let Some(conn) = self.conns.get(&session) {
                    out.closing(*conn);
                }
                let caller = caller(session, cxid, ids, Code::OK);
                self.prep.close_session(state, &caller, now.wall)
            }
            _ => {
                let check = self.check(session, owner);
                let mut caller = caller(session, cxid, ids, check);
                if check == Code::SESSION_EXPIRED && self.may_be_local(session) {
                    // Enough for everything but to own a node.
                    caller.session_check = Code::OK;
                }
                match self.reconfig.filter(|_| opcode == OpCode::RECONFIG) {
                    Some(rules) => {
                        let planned = self.plan_reconfig(&caller, rules, body);
                        self.prep.reconfig(state, &caller, now.wall, planned)
                    }
                    None => self.prep.prepare(state, &caller, now.wall, opcode, &body),
                }
            }
        };
        self.propose(now, entry, ticket);
    }

    /// Whether the session may be used through `owner`. The first to use it after a change of the
    /// leader owns it.
    fn check(&mut self, session: SessionId, owner: Owner) -> Code {
        match self.sessions.check(session) {
            Code::OK if *self.owners.entry(session).or_insert(owner) == owner => Code::OK,
            Code::OK => Code::SESSION_MOVED,
            code => code,
        }
    }

    fn propose(&mut self, now: Now, entry: TxnEntry, ticket: Option<Ticket>) {
        let zxid = entry.header.zxid;
        match self.peer.propose(now.mono, EncodedTxn::new(zxid, entry.encode())) {
            Ok(()) => self.outstanding.push_back((entry, ticket)),
            // The epoch is over; everybody asks again elsewhere.
            Err(ProposeError::RolledOver | ProposeError::NotLeading) => {}
            Err(ProposeError::WrongZxid(next)) => {
                panic!("prepared {zxid} where {next} comes next: the two counters have parted")
            }
        }
    }

    // E. Time.

    /// When to call [`Member::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match self.role {
            Role::Leader => [self.sessions.next_due(), self.reaper.next_due()],
            _ => [None, None],
        };
        let own = own.into_iter().chain([self.local.next_due(), self.read_only_at]);
        own.chain([self.peer.poll_timeout()]).flatten().min()
    }

    /// Whether sessions may expire now: touch every session that was active before.
    pub fn expiry_is_due(&self, now: Now) -> bool {
        let due = |sessions: &Sessions| sessions.asks_for_activity(now.mono);
        self.role == Role::Leader && due(&self.sessions) || due(&self.local)
    }

    /// The moment of [`Member::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Now, state: &StateMachine, out: &mut dyn Deliver) {
        for session in self.local.expire(now.mono) {
            self.end_local(session, None, state, out);
        }
        if self.role == Role::Leader {
            self.prep.forget(self.applied);
            for session in self.sessions.expire(now.mono) {
                if let Some(conn) = self.conns.get(&session) {
                    out.closing(*conn);
                }
                let caller = caller(session, 0, Arc::from([]), Code::OK);
                let entry = self.prep.close_session(state, &caller, now.wall);
                let timeout_ms = self.sessions.timeout_ms(session).unwrap_or_default();
                out.session_ended(SessionEnd::by(&entry, EndCause::Silence(timeout_ms)));
                self.propose(now, entry, None);
            }
            if let Some(path) = self.reaper.poll(now, state) {
                let caller = caller(SessionId::NONE, 0, Arc::from([]), Code::OK);
                let entry = self.prep.delete_container(state, &caller, now.wall, &path);
                self.propose(now, entry, None);
            }
        }
        if self.peer.poll_timeout().is_some_and(|due| due <= now.mono) {
            self.peer.handle_timeout(now.mono);
        }
        self.begin_read_only(now);
    }

    fn answer_sync(&mut self, state: &StateMachine, ticket: Ticket, out: &mut dyn Deliver) {
        if let Ticket::Request { conn, xid, body, .. } = ticket {
            self.scratch.clear();
            reply::write_sync(&mut self.scratch, xid, state.last_zxid(), body);
            out.frame(conn, &self.scratch, 1);
        }
    }

    fn answer_connect(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        valid: bool,
        out: &mut dyn Deliver,
    ) {
        let Ticket::Connect { conn, timeout_ms, has_read_only } = ticket else { return };
        if !valid {
            return self.refuse(conn, has_read_only, out);
        }
        if let Some(old) = self.conns.insert(session, conn)
            && old != conn
        {
            out.close(old, "the session has been renewed on another connection");
        }
        self.scratch.clear();
        let response = ConnectResponse {
            protocol: 0,
            timeout_ms,
            session: session.0,
            passwd: Some(Bytes::copy_from_slice(&self.options.passwords.of(session))),
            read_only: has_read_only.then_some(self.is_read_only()),
        };
        reply::write_connect(&mut self.scratch, &response);
        out.frame(conn, &self.scratch, 1);
        out.connected(conn, session, timeout_ms);
    }

    fn refuse(&mut self, conn: ConnId, has_read_only: bool, out: &mut dyn Deliver) {
        self.scratch.clear();
        let response = ConnectResponse {
            passwd: Some(Bytes::from_static(&[0; 16])),
            read_only: has_read_only.then_some(self.is_read_only()),
            ..ConnectResponse::default()
        };
        reply::write_connect(&mut self.scratch, &response);
        out.frame(conn, &self.scratch, 1);
        out.close(conn, "the session is unknown, expired, or the password is wrong");
    }

    /// The leader this server knows, itself included.
    pub fn leader(&self) -> Option<ServerId> {
        self.peer.leader()
    }
}

/// A request, wherever it came from.
struct Asked {
    session: SessionId,
    cxid: i32,
    opcode: OpCode,
    body: Bytes,
}

fn caller(session: SessionId, cxid: i32, ids: Arc<[Id]>, check: Code) -> Caller {
    Caller { session, cxid, ids, session_check: check, global_session_check: check }
}

#[cfg(test)]
mod tests;
