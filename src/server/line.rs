//! What the node thread and a connection's task share: the outbox.
//!
//! **The ordering rule.** Whatever goes to a client goes through its line, and is put there while
//! the lock of the state is held (read or write) under which it was computed. So a client sees a
//! watch event before any reply that shows the new data, no watch is lost between a read and the
//! next write, and the zxids of one client's replies never go back.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use dashmap::DashMap;
use parking_lot::{Mutex, MutexGuard};

use crate::ops::metrics::Counter;
use crate::proto::opcode::OpCode;
use crate::replica::conn::LENGTH_BYTES;
use crate::replica::limits::Limits;
use crate::replica::share::Share;
use crate::replica::{Deliver, EndCause, SessionEnd, reply};
use crate::state::{Change, EventKind};
use crate::types::{ConnId, Hasher, Id, Instant, Now, Perms, SessionId, Sizes, WallTime, Zxid};

use super::audit::{self, Subject};
use super::clock::Clock;
use super::lanes::{LaneId, Wakes};
use super::node::Shared;
use super::session_log::SessionLog;

/// One connection, seen from outside its task.
#[derive(Debug)]
pub struct Line {
    /// Its number.
    pub id: ConnId,
    /// The other end.
    pub remote: SocketAddr,
    /// Where its task runs.
    pub lane: LaneId,
    /// When it was made.
    pub established: WallTime,
    /// The same on the monotonic clock.
    pub since: Instant,
    /// When something last moved on the socket, microseconds on the monotonic clock.
    active_us: AtomicU64,
    /// Since when it has had so much to write that it counts, the same; zero when it has not.
    much_us: AtomicU64,
    state: Mutex<LineState>,
}

/// The locked part of a [`Line`].
#[derive(Debug)]
pub struct LineState {
    /// What is to be written to the socket.
    pub out: BytesMut,
    /// Counts it among all replies, if it is much.
    share: Share,
    /// Requests that the node thread has answered since the task looked.
    pub answered: usize,
    /// The session and its timeout in ms, from the moment it is established.
    pub session: Option<(SessionId, i32)>,
    /// The session is closing.
    pub closing: bool,
    /// Close when what is in `out` has been written.
    pub close: Option<&'static str>,
    /// Who the client is.
    pub ids: Arc<[Id]>,
    /// What `cons` shows.
    pub stats: LineStats,
    /// Close at once, whatever is still to be written.
    pub kill: Option<&'static str>,
    /// The task waits for a server with less to do; nobody but the sweeper wakes it.
    pub waits_for_relief: bool,
    /// What the requests that the node thread has are about, and who sent them, for the audit log;
    /// None where there is none.
    pub audits: Option<Box<VecDeque<(Subject, Arc<[Id]>)>>>,
    /// Watch events since the task looked.
    pub events: u64,
    /// The sizes of the replies since then.
    pub sizes: Sizes,
    /// The task has been told of something and has not looked yet.
    dirty: bool,
    /// How to wake the task, while it sleeps.
    waker: Option<Waker>,
}

/// What `cons` shows of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineStats {
    /// Packets received.
    pub received: u64,
    /// Packets sent, events included.
    pub sent: u64,
    /// Requests that wait for an answer.
    pub queued: u64,
    /// The last request.
    pub last_op: Option<OpCode>,
    /// Its xid; 0 at first, -1 after a reset.
    pub last_cxid: i64,
    /// The zxid of the last reply; 0 at first, -1 after a reset.
    pub last_zxid: i64,
    /// When the last reply was made, ms on the monotonic clock.
    pub last_response_ms: u64,
    /// The last latency, ms.
    pub last_latency_ms: u64,
    /// All latencies.
    pub latency: crate::ops::stats::Latency,
}

impl LineStats {
    /// After `crst`.
    pub fn reset() -> LineStats {
        LineStats { last_cxid: -1, last_zxid: -1, ..LineStats::default() }
    }

    /// So many requests were answered, each after `latency_ms`.
    pub fn answered(&mut self, count: u64, latency_ms: u64, now_ms: u64) {
        let latency = &mut self.latency;
        latency.min_ms =
            if latency.count == 0 { latency_ms } else { latency.min_ms.min(latency_ms) };
        latency.max_ms = latency.max_ms.max(latency_ms);
        latency.total_ms += count * latency_ms;
        latency.count += count;
        self.last_latency_ms = latency_ms;
        self.last_response_ms = now_ms;
    }
}

impl Line {
    /// A connection that has just been accepted.
    pub fn new(id: ConnId, remote: SocketAddr, lane: LaneId, now: Now, share: Share) -> Line {
        Line {
            id,
            remote,
            lane,
            established: now.wall,
            since: now.mono,
            active_us: AtomicU64::new(now.mono.0),
            much_us: AtomicU64::new(0),
            state: Mutex::new(LineState {
                out: BytesMut::new(),
                share,
                answered: 0,
                session: None,
                closing: false,
                close: None,
                ids: Arc::from([]),
                stats: LineStats::default(),
                kill: None,
                waits_for_relief: false,
                audits: None,
                events: 0,
                sizes: Sizes::default(),
                dirty: false,
                waker: None,
            }),
        }
    }

    /// The locked part.
    pub fn lock(&self) -> MutexGuard<'_, LineState> {
        self.state.lock()
    }

    /// Notes that something was received.
    pub fn active(&self, now: Instant) {
        self.active_us.store(now.0, Ordering::Relaxed);
    }

    /// When something was last received.
    pub fn last_active(&self) -> Instant {
        Instant(self.active_us.load(Ordering::Relaxed))
    }

    /// Notes whether the task has so much to write that it counts among all replies.
    pub fn has_much(&self, much: bool, clock: &Clock) {
        let had = self.much_us.load(Ordering::Relaxed) != 0;
        if much != had {
            let since = if much { clock.mono().0.max(1) } else { 0 };
            self.much_us.store(since, Ordering::Relaxed);
        }
    }

    /// For how long that has been so.
    pub fn has_much_for(&self, now: Instant) -> Duration {
        match self.much_us.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => now.since(Instant(since)),
        }
    }

    /// Tells the task to look at its line.
    pub fn wake(&self) {
        let mut state = self.lock();
        state.dirty = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Before the task sleeps: how to wake it. False when there is something to look at.
    pub fn sleep(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if state.dirty {
            return false;
        }
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        true
    }
}

/// All connections of the process.
pub type Lines = DashMap<ConnId, Arc<Line>, Hasher>;

/// The node thread's way to the connections: fills outboxes, and wakes each task once at the end of
/// a turn.
pub struct Outlets<'a> {
    shared: &'a Shared,
    wakes: &'a mut Wakes,
    /// What was put into outboxes.
    pub told: Told,
}

/// What one turn put into outboxes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Watch events by kind: created, deleted, data changed, children changed.
    pub events: [u64; 4],
    /// Their bytes.
    pub event_bytes: u64,
    /// Replies whose connection was gone.
    pub stale: u64,
}

impl<'a> Outlets<'a> {
    /// For one turn; who is to be woken after it is added to `wakes`.
    pub fn new(shared: &'a Shared, wakes: &'a mut Wakes) -> Outlets<'a> {
        Outlets { shared, wakes, told: Told::default() }
    }

    fn with(&mut self, conn: ConnId, act: impl FnOnce(&Line, &mut LineState)) {
        let Some(line) = self.shared.lines.get(&conn) else {
            self.told.stale += 1;
            return;
        };
        let mut state = line.lock();
        act(&line, &mut state);
        let limits = &self.shared.rules.limits;
        let fits = state.count_out(limits);
        if (!fits || state.out.len() > limits.output_bytes_max) && state.close.is_none() {
            state.out = BytesMut::new();
            state.count_out(limits);
            let why = if fits { UNREAD } else { ALL_UNREAD };
            state.close = Some(why);
            state.kill = Some(why);
        }
        state.dirty = true;
        if let Some(waker) = state.waker.take() {
            self.wakes.push(line.lane, waker);
        }
        drop(state);
        if self.wakes.len() >= WAKE_AT {
            // What is in an outbox may be written at once; only reads wait for the state.
            self.wakes.wake();
        }
    }
}

/// Tasks that wait for the end of the turn to be woken. With ten thousand to be told of one change,
/// the first are told while the last are still looked up.
const WAKE_AT: usize = 256;

/// Why a connection ends that lets events pile up.
const UNREAD: &str = "the client does not read what it is sent";
/// Why one ends that has much waiting when all together have too much.
pub(super) const ALL_UNREAD: &str = "too many bytes of replies on the server (limits.replyBytes)";

impl LineState {
    /// Counts what waits to be written among all replies, if it is much; false when all have more
    /// than they may, and this one has become more.
    pub fn count_out(&mut self, limits: &Limits) -> bool {
        let (before, length) = (self.share.bytes(), self.out.len());
        let now = if length > limits.reply_bytes_free { length } else { 0 };
        now == before || self.share.set(now) <= limits.all_replies_bytes_max || now < before
    }

    /// Writes down what the oldest request that is out came to.
    fn audit(&mut self, shared: &Shared, frame: &[u8], line: &Line) {
        let next = self.audits.as_mut().and_then(|audits| audits.pop_front());
        let Some((subject, ids)) = next else { return };
        let Some((session, _)) = self.session else { return };
        let ip = line.remote.ip().to_string();
        let asker = audit::Asker { session, ids: &ids, ip: &ip };
        for line in audit::lines(&shared.rules.auth, asker, subject, frame) {
            tracing::info!(target: "audit", "{line}");
        }
    }

    /// The task has seen everything.
    pub fn seen(&mut self) {
        self.dirty = false;
    }
}

impl Deliver for Outlets<'_> {
    fn frame(&mut self, conn: ConnId, frame: &[u8], done: u32) {
        let shared = self.shared;
        let audit = shared.rules.audit && done > 0;
        self.with(conn, |line, state| {
            state.out.extend_from_slice(frame);
            state.answered += done as usize;
            state.stats.sent += 1;
            // A reply, behind its length and its xid; not the answer to a connect request.
            if let (true, true, Some(zxid)) = (done > 0, state.session.is_some(), frame.get(8..16))
            {
                state.stats.last_zxid = zxid.iter().fold(0, |n, b| n << 8 | i64::from(*b));
                state.sizes.record(frame.len() as i64 - LENGTH_BYTES);
            }
            if audit {
                state.audit(shared, frame, line);
            }
        });
    }

    fn changed(&mut self, change: &Change) {
        if let Some(bytes) = change.written() {
            self.shared.tallies.written.lock().written(change.path(), bytes);
        }
    }

    fn ephemeral_deleted(&mut self, session: SessionId, path: &str) {
        if self.shared.rules.audit {
            let line = audit::ephemeral_line(session, path, &audit::server_user());
            tracing::info!(target: "audit", "{line}");
        }
    }

    fn event(&mut self, conn: ConnId, kind: EventKind, change: &Change) {
        let (auth, mut bytes) = (&self.shared.rules.auth, 0);
        self.with(conn, |_, state| {
            let may = change.acl().is_none_or(|acl| auth.check(acl, &state.ids, Perms::READ));
            if may {
                let before = state.out.len();
                reply::write_event(&mut state.out, change.zxid, kind, change.path());
                state.stats.sent += 1;
                state.events += 1;
                bytes = state.out.len() - before;
            }
        });
        if bytes > 0 {
            self.told.event_bytes += bytes as u64;
            self.told.events[kind as usize - 1] += 1;
        }
    }

    fn connected(&mut self, conn: ConnId, session: SessionId, timeout_ms: i32) {
        self.with(conn, |line, state| {
            state.session = Some((session, timeout_ms));
            SessionLog::established(session, line.remote, timeout_ms);
        });
    }

    fn session_ended(&mut self, end: SessionEnd) {
        let remote = match end.cause {
            EndCause::Client(conn) => self.shared.lines.get(&conn).map(|line| line.remote),
            EndCause::Silence(_) => {
                self.shared.metrics.add(Counter::StaleSessionsExpired, 1);
                None
            }
        };
        self.shared.sessions_log.ended(end, remote);
    }

    fn session_made(&mut self, conn: ConnId, zxid: Zxid) {
        self.with(conn, |_, state| {
            state.stats.last_op = Some(OpCode::CREATE_SESSION);
            state.stats.last_cxid = 0;
            state.stats.last_zxid = zxid.0;
        });
    }

    fn closing(&mut self, conn: ConnId) {
        self.with(conn, |_, state| state.closing = true);
    }

    fn close(&mut self, conn: ConnId, why: &'static str) {
        self.with(conn, |_, state| state.close = Some(why));
    }
}
