//! The node thread: the only writer of the state. Takes everything that has arrived, hands it to
//! the replica, carries out what that asks for, applies what is committed, wakes who got something.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};

use crate::ops::Metrics;
use crate::ops::metrics::{Advanced, Basic, BasicSet, Counter, CounterSet};
use crate::ops::stats::{LeaderStats, Mode, QuorumStats};
use crate::replica::conn::{Rules, Submit};
use crate::replica::session::Sessions;
use crate::replica::{Action, Replica};
use crate::state::StateMachine;
use crate::state::watch::WatchTable;
use crate::types::{ConnId, Instant, Namespaces, SessionId, Zxid};

use super::clock::Clock;
use super::committer::{Committer, LogDone, LogRequest};
use super::inbox::Inbox;
use super::lanes::{Entries, Wakes};
use super::line::{Line, Lines, Outlets, Told};
use super::load;
use super::session_log::SessionLog;
use super::snapshotter::Snapshotter;
use super::watchdog::Watchdog;

/// Transactions applied under one write lock.
const APPLY_MAX: usize = 256;
/// The node thread looks at the clock at least this often.
const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// What the node thread is told.
pub enum Event {
    /// A connection wants something ordered.
    Submit(Submit),
    /// A connection is gone: neither its line nor its watches are found any more.
    Closed {
        /// Which.
        conn: ConnId,
        /// Its line, for when it was last active.
        line: Arc<Line>,
        /// Its session, if it had one.
        session: SessionId,
    },
    /// The log thread has made something durable.
    Logged(LogDone),
    /// The snapshot thread is done.
    SnapshotDone,
    /// Somebody wants to look at the tracked sessions: global ones, and local ones.
    Look(Box<dyn FnOnce(&Sessions, Option<&Sessions>) + Send>),
    /// Another member of the ensemble, or this one's log thread, has something for Zab.
    Quorum(super::ensemble::shell::Event),
    /// End the thread.
    Stop,
}

/// What this server is at the moment, for operators.
#[derive(Clone, Debug)]
pub struct View {
    /// Whether clients are served.
    pub serving: bool,
    /// As `Mode:` says.
    pub mode: Mode,
    /// `zk_peer_state`, in an ensemble.
    pub peer_state: Option<String>,
    /// In an ensemble.
    pub quorum: Option<QuorumStats>,
    /// On a leader.
    pub leader: Option<LeaderStats>,
    /// On an observer: whom it learns from.
    pub observer_master: Option<i64>,
    /// On a follower that serves observers: how many.
    pub synced_observers: Option<u64>,
    /// The membership's text, where it has changed since the start.
    pub membership: Option<String>,
}

impl View {
    /// A server alone.
    pub fn standalone() -> View {
        View {
            serving: true,
            mode: Mode::Standalone,
            peer_state: None,
            quorum: None,
            leader: None,
            observer_master: None,
            synced_observers: None,
            membership: None,
        }
    }
}

/// What the node thread shares with the connections.
#[derive(Debug)]
pub struct Shared {
    /// For operators; written by the node thread.
    pub view: RwLock<View>,
    /// The state, written by the node thread alone.
    pub state: Arc<RwLock<StateMachine>>,
    /// Who watches what.
    pub watches: WatchTable,
    /// All connections.
    pub lines: Lines,
    /// The threads that their tasks run on.
    pub lanes: Arc<Entries>,
    /// Bounds and schemes, and what is in process.
    pub rules: Rules,
    /// Counters under Apache's names.
    pub metrics: Arc<Metrics>,
    /// Of them, what every read and every change adds to.
    pub tallies: Tallies,
    /// Both clocks.
    pub clock: Clock,
    /// What is logged of sessions.
    pub sessions_log: SessionLog,
}

/// Bytes by namespace since somebody last looked.
#[derive(Debug)]
pub struct Tallies {
    /// Read, by lane: threads that read at the same time don't meet here.
    pub read: Vec<Mutex<Namespaces>>,
    /// Written.
    pub written: Mutex<Namespaces>,
}

impl Tallies {
    /// None yet, for so many lanes.
    pub fn new(lanes: usize) -> Tallies {
        Tallies { read: (0..lanes).map(|_| Mutex::default()).collect(), written: Mutex::default() }
    }

    /// Puts everything where it is shown.
    pub fn flush(&self, metrics: &Metrics) {
        let sets = self.read.iter().map(|lane| (BasicSet::ReadPerNamespace, lane));
        for (set, tallies) in sets.chain([(BasicSet::WritePerNamespace, &self.written)]) {
            for (name, tally) in tallies.lock().take() {
                metrics.record_tally_for(set, &name, &tally);
            }
        }
    }
}

/// The node thread's own things.
pub struct Node {
    /// What it shares.
    pub shared: Arc<Shared>,
    /// What arrives.
    pub inbox: Arc<Inbox<Event>>,
    /// The server as a value.
    pub replica: Replica,
    /// The log thread.
    pub committer: Committer,
    /// The snapshot thread.
    pub snapshotter: Snapshotter,
    /// Take a snapshot at the first opportunity.
    pub snapshot_due: bool,
    /// One is being written.
    pub snapshotting: bool,
}

impl Node {
    /// Starts the thread. It ends the process when it panics: nobody else may write the state.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(self) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("node".into()).spawn(move || self.run())
    }

    fn run(mut self) {
        let mut events = Vec::new();
        let mut requests = Vec::new();
        let mut logged = Vec::new();
        let mut wakes = Wakes::new(&self.shared.lanes);
        let shared = &*Arc::clone(&self.shared);
        let mut synced = (0, 0);
        let mut watchdog = Watchdog::new(Arc::clone(&shared.metrics));
        loop {
            let patience = self
                .replica
                .poll_timeout()
                .map_or(PATIENCE_MAX, |due| shared.clock.until(due).min(PATIENCE_MAX));
            self.inbox.take(&mut events, Some(patience));
            let mut stop = false;
            {
                let state = shared.state.read();
                let mut out = Outlets::new(shared, &mut wakes);
                let now = shared.clock.now();
                watchdog.begin(now.mono);
                for event in events.drain(..) {
                    match event {
                        Event::Submit(Submit::Connect(ask)) => {
                            self.replica.handle_connect(now, &state, ask, &mut out);
                        }
                        Event::Submit(Submit::Request(request)) => {
                            self.replica.handle_request(now, &state, request, &mut out);
                        }
                        Event::Closed { conn, line, session } => {
                            self.touch(&line);
                            self.replica.handle_disconnect(session, conn);
                        }
                        Event::Logged(done) => {
                            self.logged(done, &mut synced);
                        }
                        Event::SnapshotDone => self.snapshotting = false,
                        Event::Look(look) => look(self.replica.sessions(), None),
                        Event::Quorum(_) => {}
                        Event::Stop => stop = true,
                    }
                }
                if self.replica.poll_timeout().is_some_and(|due| due <= now.mono) {
                    if self.replica.expires_at(now.mono) {
                        for line in &shared.lines {
                            self.touch(&line);
                        }
                    }
                    self.replica.handle_timeout(now, &state, &mut out);
                }
            }
            while let Some(action) = self.replica.poll_action() {
                match action {
                    Action::Append { zxid, entry } => {
                        requests.push(LogRequest::Append { op: zxid.0 as u64, zxid, entry });
                    }
                }
            }
            count_over_quota(&shared.metrics, self.replica.take_over_quota());
            watchdog.end(shared.clock.mono(), "requests and what was due");
            let (queued, metrics) = (requests.len() as u64, &shared.metrics);
            metrics.add(Counter::PrepProcessorRequestQueued, queued);
            metrics.add(Counter::SyncProcessorRequestQueued, queued);
            self.committer.submit(&mut requests, &mut logged);
            for done in logged.drain(..) {
                self.logged(done, &mut synced);
            }
            watchdog.end(shared.clock.mono(), "the log");
            self.apply(shared, &mut wakes);
            watchdog.end(shared.clock.mono(), "applying");
            let load = &shared.rules.load;
            load.outstanding.store(self.replica.outstanding(), Ordering::Relaxed);
            wakes.wake();
            if stop {
                self.committer.stop();
                self.snapshotter.stop();
                return;
            }
        }
    }

    /// Tells the replica of a connection's activity, see `docs/decisions/003`.
    fn touch(&mut self, line: &Line) {
        let session = line.lock().session;
        if let Some((session, timeout_ms)) = session {
            let at: Instant = line.last_active();
            self.replica.touch(session, timeout_ms, at);
        }
    }

    fn logged(&mut self, done: LogDone, synced: &mut (u64, u64)) {
        self.replica.handle_persisted(Zxid(done.op as i64));
        self.snapshot_due |= done.snapshot_due;
        self.count_syncs(synced);
    }

    /// Counts the syncs since the last look: the log thread's own counters are the source.
    fn count_syncs(&self, seen: &mut (u64, u64)) {
        let stats = &self.committer.stats;
        let now = (stats.sync_us.load(Ordering::Relaxed), stats.txns.load(Ordering::Relaxed));
        let (us, txns) = (now.0 - seen.0, now.1 - seen.1);
        *seen = now;
        let metrics = &self.shared.metrics;
        metrics.record(Basic::FsyncTime, i64::try_from(us / 1000).unwrap_or(i64::MAX));
        metrics.record(Basic::SyncProcessorBatchSize, i64::try_from(txns).unwrap_or(i64::MAX));
    }

    fn apply(&mut self, shared: &Shared, wakes: &mut Wakes) {
        while self.replica.has_committed() {
            let mut state = shared.state.write();
            let before = state.digest_mismatches();
            let (waiting, oldest) = (self.replica.outstanding(), self.replica.oldest());
            let mut out = Outlets::new(shared, wakes);
            self.replica.apply(&mut state, &shared.watches, &mut out, APPLY_MAX);
            let told = out.told;
            let wrong = state.digest_mismatches() - before;
            let first = state.first_digest_mismatch().filter(|_| before == 0 && wrong > 0);
            // Readers that wait get their turn before the next batch.
            RwLockWriteGuard::unlock_fair(state);
            count(&shared.metrics, &told);
            shared.metrics.add(Counter::DigestMismatchesCount, wrong);
            first.into_iter().for_each(load::report_mismatch);
            // One look at the clock for all of them: the first has waited longest.
            let applied = waiting.saturating_sub(self.replica.outstanding()) as u64;
            let latency = oldest.map_or(0, |at| (shared.clock.wall().0 - at.0).max(0));
            shared.metrics.record_advanced_many(Advanced::PropagationLatency, latency, applied);
            if self.replica.has_committed() {
                // A long way to go: nobody waits for the end of it.
                wakes.wake();
            }
        }
        // While one is being written the lock is not even taken; the next begins right after it.
        if self.snapshot_due
            && !self.snapshotting
            && let Some(cursor) = shared.state.write().begin_snapshot()
        {
            (self.snapshot_due, self.snapshotting) = (false, true);
            self.snapshotter.write(cursor);
        }
    }
}

/// Adds the requests that a quota has refused to the metrics.
pub fn count_over_quota(metrics: &Metrics, namespaces: Vec<Box<str>>) {
    for namespace in namespaces {
        metrics.add_for(CounterSet::QuotaExceededErrorPerNamespace, &namespace, 1);
    }
}

/// Adds what a turn put into outboxes to the metrics.
pub fn count(metrics: &Metrics, told: &Told) {
    let kinds = [
        Basic::NodeCreatedWatchCount,
        Basic::NodeDeletedWatchCount,
        Basic::NodeChangedWatchCount,
        Basic::NodeChildrenWatchCount,
    ];
    for (kind, count) in kinds.into_iter().zip(told.events) {
        if count > 0 {
            metrics.record(kind, i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
    if told.event_bytes > 0 {
        metrics.add(Counter::WatchBytes, told.event_bytes);
    }
    if told.stale > 0 {
        metrics.add(Counter::StaleReplies, told.stale);
    }
}
