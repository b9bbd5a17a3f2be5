//! What the node thread and a connection's task share: the outbox.
//!
//! **The ordering rule.** Whatever goes to a client goes through its line, and is put there while
//! the lock of the state is held (read or write) under which it was computed. So a client sees a
//! watch event before any reply that shows the new data, no watch is lost between a read and the
//! next write, and the zxids of one client's replies never go back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use dashmap::DashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::auth::Auth;
use crate::proto::opcode::OpCode;
use crate::replica::{Deliver, reply};
use crate::state::{Change, EventKind};
use crate::types::{ConnId, Hasher, Id, Instant, Perms, SessionId, WallTime};

/// One connection, seen from outside its task.
#[derive(Debug)]
pub struct Line {
    /// Its number.
    pub id: ConnId,
    /// The other end.
    pub remote: SocketAddr,
    /// When it was made.
    pub established: WallTime,
    /// When something was last received, microseconds on the monotonic clock.
    active_us: AtomicU64,
    state: Mutex<LineState>,
    wake: Notify,
}

/// The locked part of a [`Line`].
#[derive(Debug)]
pub struct LineState {
    /// What is to be written to the socket.
    pub out: BytesMut,
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
    /// The task has been told of something and has not looked yet.
    dirty: bool,
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
    /// Its xid.
    pub last_cxid: i64,
    /// The zxid of the last reply.
    pub last_zxid: i64,
    /// When the last reply was made, ms on the monotonic clock.
    pub last_response_ms: u64,
    /// The last latency, ms.
    pub last_latency_ms: u64,
    /// All latencies.
    pub latency: crate::ops::stats::Latency,
}

impl Line {
    /// A connection that has just been accepted.
    pub fn new(id: ConnId, remote: SocketAddr, established: WallTime, now: Instant) -> Line {
        Line {
            id,
            remote,
            established,
            active_us: AtomicU64::new(now.0),
            state: Mutex::new(LineState {
                out: BytesMut::new(),
                answered: 0,
                session: None,
                closing: false,
                close: None,
                ids: Arc::from([]),
                stats: LineStats::default(),
                dirty: false,
            }),
            wake: Notify::new(),
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

    /// Waits until the node thread, or a shutdown, has something for the task.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Wakes the task.
    pub fn wake(&self) {
        self.wake.notify_one();
    }
}

/// All connections of the process.
pub type Lines = DashMap<ConnId, Arc<Line>, Hasher>;

/// The node thread's way to the connections: fills outboxes, and wakes each task once at the end of
/// a turn.
pub struct Outlets<'a> {
    lines: &'a Lines,
    auth: &'a Auth,
    out_max: usize,
    dirty: &'a mut Vec<Arc<Line>>,
}

impl<'a> Outlets<'a> {
    /// For one turn; the lines that got something are added to `dirty`.
    pub fn new(
        lines: &'a Lines,
        auth: &'a Auth,
        out_max: usize,
        dirty: &'a mut Vec<Arc<Line>>,
    ) -> Outlets<'a> {
        Outlets { lines, auth, out_max, dirty }
    }

    fn with(&mut self, conn: ConnId, act: impl FnOnce(&mut LineState)) {
        let Some(line) = self.lines.get(&conn) else { return };
        let mut state = line.lock();
        act(&mut state);
        if state.out.len() > self.out_max && state.close.is_none() {
            state.out = BytesMut::new();
            state.close = Some("the client does not read what it is sent");
        }
        if !state.dirty {
            state.dirty = true;
            drop(state);
            self.dirty.push(Arc::clone(&line));
        }
    }
}

impl LineState {
    /// The task has seen everything.
    pub fn seen(&mut self) {
        self.dirty = false;
    }
}

impl Deliver for Outlets<'_> {
    fn frame(&mut self, conn: ConnId, frame: &[u8], done: u32) {
        self.with(conn, |state| {
            state.out.extend_from_slice(frame);
            state.answered += done as usize;
            state.stats.sent += 1;
        });
    }

    fn event(&mut self, conn: ConnId, kind: EventKind, change: &Change) {
        let auth = self.auth;
        self.with(conn, |state| {
            let may = change.acl().is_none_or(|acl| auth.check(acl, &state.ids, Perms::READ));
            if may {
                reply::write_event(&mut state.out, change.zxid, kind, change.path());
                state.stats.sent += 1;
            }
        });
    }

    fn connected(&mut self, conn: ConnId, session: SessionId, timeout_ms: i32) {
        self.with(conn, |state| state.session = Some((session, timeout_ms)));
    }

    fn closing(&mut self, conn: ConnId) {
        self.with(conn, |state| state.closing = true);
    }

    fn close(&mut self, conn: ConnId, why: &'static str) {
        self.with(conn, |state| state.close = Some(why));
    }
}
