//! One server process: the real values, and what the threads around them hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::RwLock;

use crate::auth::Auth;
use crate::host::snapshot::Walk;
use crate::replica::conn::{Rules, Submit};
use crate::state::StateMachine;
use crate::state::watch::WatchTable;
use crate::storage::spool::Spool;
use crate::types::{ConnId, Instant, Now, SessionId, Zxid};

use super::alone::Alone;
use super::conn::{Outlets, Side};
use super::member::{Heard, MemberHost};
use crate::zab::RoleChange;

/// What waits for the node thread.
#[derive(Debug)]
pub enum NodeEvent {
    /// A connection wants something ordered.
    Submit(Submit),
    /// A connection is gone.
    Closed(ConnId),
    /// The log thread has made something durable.
    Logged(crate::host::group::LogDone),
    /// The snapshot thread is done.
    WalkDone,
    /// Another member, or this one's log thread, has something for Zab.
    Quorum(Heard),
}

/// What a turn of the node thread came to, for the world to check.
#[derive(Debug)]
pub enum Note {
    /// A transaction was applied as committed.
    Committed(Zxid, Bytes),
    /// The state is at this transaction and has this digest.
    At(Zxid, i64),
    /// A session's end was proposed because it was silent.
    Expired(SessionId),
    /// The process can't go on: a disk error.
    Failed(crate::storage::Error),
    /// A member logs a transaction, or was delivered it.
    Logged(Zxid, Bytes),
    /// A transaction that a quorum has was applied.
    Delivered(Zxid),
    /// A session's end was proposed by the one who orders.
    Proposed(SessionId),
    /// The state was rebuilt.
    Loaded,
    /// A member has got its history back.
    Resynced,
    /// A member has taken another part, and whether it serves.
    Role(RoleChange, bool),
    /// A session that only this server knew has ended because it was silent.
    LocalExpired(SessionId),
    /// An invariant, and how it is broken.
    Wrong(&'static str, String),
    /// Zab can't go on.
    Exit(String),
    /// The snapshot thread is to write an image for learners.
    WalkBegun,
    /// It could not.
    WalkFailed(crate::storage::Error),
    /// The walk under way is given up; the files are gone already.
    WalkCancelled,
    /// The walk for a snapshot of the server's own is to be given up.
    GiveUp,
}

/// What orders the writes.
#[derive(Debug)]
pub enum Brain {
    /// A server alone.
    Alone(Box<Alone>),
    /// A member of an ensemble.
    Member(Box<MemberHost>),
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    /// The state behind its lock.
    pub state: Arc<RwLock<StateMachine>>,
    /// Who watches what.
    pub watches: WatchTable,
    /// Bounds and schemes.
    pub rules: Rules,
    /// Client connections.
    pub sides: BTreeMap<ConnId, Side>,
    /// Connections whose task is to run.
    pub woken: BTreeSet<ConnId>,
    /// What arrives at the node thread.
    pub inbox: VecDeque<NodeEvent>,
    /// What orders the writes.
    pub brain: Brain,
    /// The snapshot thread's work.
    pub walk: Option<Walk>,
    /// The newest image for learners, while it can be had.
    pub image: Option<Arc<Spool>>,
    /// Take a snapshot at the first opportunity.
    pub snapshot_due: bool,
    /// When each session was last heard of here, and its timeout in ms: a lower bound.
    pub heard: BTreeMap<SessionId, (Instant, i32)>,
    /// For the world.
    pub notes: Vec<Note>,
    /// Events that a bug has kept back.
    pub late: Vec<(ConnId, BytesMut)>,
    /// That bug.
    pub is_late: bool,
}

impl Process {
    /// Around a state.
    pub fn new(state: StateMachine, rules: Rules, brain: Brain, now: Instant) -> Process {
        let heard =
            state.sessions().iter().map(|(id, timeout_ms)| (id, (now, timeout_ms))).collect();
        Process {
            state: Arc::new(RwLock::new(state)),
            watches: WatchTable::new(),
            rules,
            sides: BTreeMap::new(),
            woken: BTreeSet::new(),
            inbox: VecDeque::new(),
            brain,
            walk: None,
            image: None,
            snapshot_due: false,
            heard,
            notes: Vec::new(),
            late: Vec::new(),
            is_late: false,
        }
    }

    /// The last transaction applied.
    pub fn last_zxid(&self) -> Zxid {
        self.state.read().last_zxid()
    }

    /// The node thread handles what has arrived. `here`: small batches are synced at once.
    pub fn turn(&mut self, now: Now, here: bool) {
        match &self.brain {
            Brain::Alone(_) => self.turn_alone(now, here),
            Brain::Member(_) => self.turn_member(now),
        }
    }

    /// Whether clients are served.
    pub fn is_serving(&self) -> bool {
        match &self.brain {
            Brain::Alone(_) => true,
            Brain::Member(host) => host.node.member.is_serving(),
        }
    }

    /// Whether it serves readers, and nobody else, because it has no quorum.
    pub fn is_read_only(&self) -> bool {
        match &self.brain {
            Brain::Alone(_) => false,
            Brain::Member(host) => host.node.member.is_read_only(),
        }
    }

    /// Whether it orders an ensemble's writes.
    pub fn is_leading(&self) -> bool {
        match &self.brain {
            Brain::Alone(_) => false,
            Brain::Member(host) => host.node.member.is_leading(),
        }
    }

    /// Sessions that only this server knows.
    pub fn local_sessions(&self) -> Option<&crate::replica::session::Sessions> {
        match &self.brain {
            Brain::Alone(_) => None,
            Brain::Member(host) => host.node.member.local_sessions(),
        }
    }

    /// When the node thread has something to do without being told.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.brain {
            Brain::Alone(alone) => alone.replica.poll_timeout(),
            Brain::Member(host) => host.node.poll_timeout(),
        }
    }

    /// The newest batch made durable: its last transaction, and how many it has.
    pub fn newest_batch(&self) -> (Zxid, u64) {
        match &self.brain {
            Brain::Alone(alone) => alone.newest_batch,
            Brain::Member(host) => host.newest_batch,
        }
    }

    /// Begins a snapshot if one is due and none is under way; true if there is one to write.
    pub(super) fn begin_snapshot(&mut self, now: Now) -> Option<crate::state::SnapshotCursor> {
        if matches!(self.brain, Brain::Member(_)) {
            return self.begin_member_snapshot(now);
        }
        if !self.snapshot_due {
            return None;
        }
        let cursor = self.state.write().begin_snapshot()?;
        self.snapshot_due = false;
        Some(cursor)
    }

    /// Bytes of a client.
    pub fn receive(&mut self, conn: ConnId, now: Instant, bytes: &[u8]) {
        let Some(side) = self.sides.get_mut(&conn) else { return };
        side.input.extend_from_slice(bytes);
        side.active = now;
        if let Some((session, timeout_ms)) = side.session {
            self.heard.insert(session, (now, timeout_ms));
        }
        self.woken.insert(conn);
    }

    /// Lets the events go that a bug has kept back, behind everything else.
    pub(super) fn let_go(&mut self) {
        for (conn, event) in self.late.drain(..) {
            if let Some(side) = self.sides.get_mut(&conn) {
                side.out.extend_from_slice(&event);
                self.woken.insert(conn);
            }
        }
    }
}

/// The way to the connections, with the parts of a process that it borrows.
pub(super) fn outlets<'a>(
    sides: &'a mut BTreeMap<ConnId, Side>,
    woken: &'a mut BTreeSet<ConnId>,
    auth: &'a Auth,
    late: Option<&'a mut Vec<(ConnId, BytesMut)>>,
) -> Outlets<'a> {
    Outlets { sides, woken, auth, late }
}
