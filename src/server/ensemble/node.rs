//! The node thread of an ensemble member: the only writer of the state. Takes what has arrived from
//! clients, other members and the disk, hands it to [`Member`], carries out what that and Zab ask
//! for, applies what is delivered, wakes who got something.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{RwLock, RwLockWriteGuard};

use super::shell::{self, Handled, Shell};
use crate::host::transfer::{self, StateCell};
use crate::ops::stats::{LeaderStats, Mode, QuorumStats};
use crate::replica::conn::Submit;
use crate::replica::ensemble::Member;
use crate::server::inbox::Inbox;
use crate::server::line::{Line, Outlets};
use crate::server::node::{Event, Shared, View, count};
use crate::server::snapshotter::Snapshotter;
use crate::state::StateMachine;
use crate::types::{ConnId, Instant, Now, Zxid};
use crate::zab::{Action, DiskOp, RoleChange};

/// Transactions applied under one write lock.
const APPLY_MAX: usize = 256;
/// The node thread looks at the clock at least this often.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// Zab, or the disk, has made going on impossible (Apache `ExitCode.UNEXPECTED_ERROR`).
const EXIT_UNEXPECTED: i32 = 1;
/// A quorum packet made it impossible (Apache `ExitCode.QUORUM_PACKET_ERROR`).
const EXIT_PACKET: i32 = 13;

/// The state behind its lock, with the number of the state there is.
pub struct Cell {
    /// Shared with readers.
    pub state: Arc<RwLock<StateMachine>>,
    generation: AtomicU64,
}

impl Cell {
    /// Around a first state.
    pub fn new(state: Arc<RwLock<StateMachine>>) -> Cell {
        Cell { state, generation: AtomicU64::new(1) }
    }

    /// Puts another state in the place of the one there is.
    fn replace(&self, state: StateMachine) {
        let mut guard = self.state.write();
        self.generation.fetch_add(1, Ordering::Relaxed);
        *guard = state;
    }
}

impl StateCell for Cell {
    fn with_shared(&self, f: &mut dyn FnMut(u64, &StateMachine)) {
        let guard = self.state.read();
        f(self.generation.load(Ordering::Relaxed), &guard);
    }
    fn with_alone(&self, f: &mut dyn FnMut(u64, &mut StateMachine)) {
        let mut guard = self.state.write();
        f(self.generation.load(Ordering::Relaxed), &mut guard);
    }
}

/// The node thread's own things.
pub struct Node {
    /// What it shares with the connections.
    pub shared: Arc<Shared>,
    /// What arrives.
    pub inbox: Arc<Inbox<Event>>,
    /// The member as a value.
    pub member: Member,
    /// Ports and log.
    pub shell: Shell,
    /// The snapshot thread.
    pub snapshotter: Snapshotter,
    /// The state.
    pub cell: Arc<Cell>,
    /// Take a snapshot at the first opportunity.
    pub snapshot_due: bool,
    /// The text of this member's configuration, and its version.
    pub config: (Vec<u8>, Zxid),
    /// `leaderServes`.
    pub leader_serves: bool,
    /// Where the links live.
    pub runtime: tokio::runtime::Handle,
}

/// What the thread keeps from turn to turn.
struct Running {
    node: Node,
    wakers: Vec<Waker>,
    /// The state is being rebuilt: no snapshot is taken of it.
    loading: bool,
    /// Activity before this moment has been reported to the leader.
    reported: Instant,
    leading_since: Instant,
}

impl Node {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(self) -> std::io::Result<JoinHandle<()>> {
        let running = Running {
            wakers: Vec::new(),
            loading: false,
            reported: Instant::default(),
            leading_since: Instant::default(),
            node: self,
        };
        std::thread::Builder::new().name("node".into()).spawn(move || running.run())
    }
}

impl Running {
    fn run(mut self) {
        let mut events = Vec::new();
        let shared = Arc::clone(&self.node.shared);
        self.drain(shared.clock.now());
        loop {
            self.finish_turn();
            let patience = self
                .node
                .member
                .poll_timeout()
                .map_or(PATIENCE_MAX, |due| shared.clock.until(due).min(PATIENCE_MAX));
            self.node.inbox.take(&mut events, Some(patience));
            let now = shared.clock.now();
            let mut stop = false;
            for event in events.drain(..) {
                stop |= self.handle(now, event);
                self.drain(now);
            }
            if self.node.member.poll_timeout().is_some_and(|due| due <= now.mono) {
                if self.node.member.expiry_is_due(now) {
                    for line in &shared.lines {
                        touch(&mut self.node.member, &line, Instant::default());
                    }
                }
                self.with_state(|member, state, out| member.handle_timeout(now, state, out));
                self.drain(now);
                self.refresh_view(now);
            }
            if stop {
                return self.stop(now);
            }
        }
    }

    /// Calls `f` with the member, the state and the way to the clients.
    fn with_state(&mut self, f: impl FnOnce(&mut Member, &StateMachine, &mut Outlets<'_>)) {
        let shared = Arc::clone(&self.node.shared);
        let state = shared.state.read();
        let mut out = Outlets::new(&shared, &mut self.wakers);
        f(&mut self.node.member, &state, &mut out);
    }

    /// True: stop.
    fn handle(&mut self, now: Now, event: Event) -> bool {
        match event {
            Event::Submit(Submit::Connect(ask)) => {
                if self.node.member.is_leading() && !self.node.leader_serves {
                    self.close(ask.conn, "the leader does not serve clients (leaderServes=no)");
                } else {
                    self.with_state(|member, state, out| {
                        member.handle_connect(now, state, ask, out);
                    });
                }
            }
            Event::Submit(Submit::Request(request)) => {
                self.with_state(|member, state, out| {
                    member.handle_request(now, state, request, out);
                });
            }
            Event::Closed { conn, line, session } => {
                touch(&mut self.node.member, &line, self.reported);
                self.node.member.handle_disconnect(session, conn);
            }
            Event::Look(look) => {
                look(self.node.member.sessions(), self.node.member.local_sessions());
            }
            Event::Quorum(event) => self.handle_quorum(now, event),
            Event::SnapshotDone | Event::Logged(_) => {}
            Event::Stop => return true,
        }
        false
    }

    fn handle_quorum(&mut self, now: Now, event: shell::Event) {
        match self.node.shell.handle(now.mono, self.node.member.peer_mut(), event) {
            Handled::Done | Handled::Synced(_) => {}
            Handled::SnapshotDue => self.snapshot_due_now(),
            Handled::Loaded(state) => {
                // Whatever was delivered to the old state is in the new one.
                self.flush();
                self.node.cell.replace(*state);
                self.loading = false;
                self.init_config(now);
                self.node.member.peer_mut().handle_loaded(now.mono);
            }
            Handled::CannotListen(reason) => {
                tracing::error!("{reason}; this server can't lead, so it stops");
                std::process::exit(EXIT_UNEXPECTED);
            }
            Handled::Failed(error) => {
                tracing::error!(
                    "{error}; nobody knows now what is on disk, so the server stops. Nothing that \
                     was acknowledged is lost: mend the disk and start again"
                );
                std::process::exit(EXIT_UNEXPECTED);
            }
        }
    }

    fn snapshot_due_now(&mut self) {
        self.node.snapshot_due = true;
    }

    /// Carries out everything that Zab asks for.
    fn drain(&mut self, now: Now) {
        while let Some(action) = self.node.member.peer_mut().poll_action() {
            if let Action::Disk { what, .. } = &action
                && matches!(what, DiskOp::Truncate(_) | DiskOp::InstallSnapshot { .. })
            {
                // A snapshot that is finished after this could bring back what goes away.
                self.node.snapshotter.cancel();
                self.loading = true;
            }
            if let Some(action) = self.node.shell.execute(action) {
                self.act(now, action);
            }
        }
    }

    fn act(&mut self, now: Now, action: Action) {
        match action {
            Action::Deliver { txn, .. } => {
                if let Err(error) = self.node.member.deliver(txn) {
                    tracing::error!("{error}; a newer server leads? this one stops");
                    std::process::exit(EXIT_PACKET);
                }
            }
            Action::SendSnapshot { link, zxid } => {
                self.flush();
                let cell: Arc<dyn StateCell> = self.node.cell.clone();
                let (at, source) = transfer::begin(&cell);
                tracing::info!("sending a snapshot at {at} (the history is at {zxid})");
                self.node.shell.send_snapshot(link, source);
            }
            Action::RoleChanged(change) => self.change_role(now, &change),
            Action::FromLearner { link, packet, .. } => {
                self.with_state(|member, state, out| {
                    member.handle_learner(now, state, link, packet, out);
                });
            }
            Action::FromLeader(packet) => {
                self.with_state(|member, _, out| member.handle_leader(packet, out));
            }
            Action::AnswerPing { zxid } => {
                let shared = Arc::clone(&self.node.shared);
                for line in &shared.lines {
                    touch(&mut self.node.member, &line, self.reported);
                }
                self.reported = now.mono;
                self.node.member.answer_ping(zxid);
            }
            Action::Synced { token } => self.node.member.handle_synced(token),
            Action::ConfigSeen(text) => {
                if text != self.node.config.0 {
                    tracing::debug!("the leader's configuration is written differently");
                }
            }
            Action::Resynced => {
                tracing::info!("this member holds a leader's history again, and votes");
                if let Err(error) = self.node.shell.resynced() {
                    tracing::error!("{error}; the server stops");
                    std::process::exit(EXIT_UNEXPECTED);
                }
            }
            Action::Exit(reason) => {
                tracing::error!("{reason}; this server stops rather than forget it");
                std::process::exit(EXIT_PACKET);
            }
            // Everything else was the shell's.
            _ => {}
        }
    }

    fn change_role(&mut self, now: Now, change: &RoleChange) {
        self.flush();
        match change {
            RoleChange::Looking(why) => tracing::info!("LOOKING: {why}"),
            RoleChange::Following { leader, epoch, serving, observer } => {
                let what = if *observer { "OBSERVING" } else { "FOLLOWING" };
                tracing::info!("{what} server {leader} in epoch {epoch}, serving: {serving}");
            }
            RoleChange::Leading { epoch, serving } => {
                tracing::info!("LEADING in epoch {epoch}, serving: {serving}");
                self.leading_since = now.mono;
            }
            RoleChange::Stopped => tracing::info!("left the ensemble"),
        }
        let shared = Arc::clone(&self.node.shared);
        let lost = {
            let mut state = shared.state.write();
            self.node.member.handle_role(now, &mut state, change)
        };
        self.reported = now.mono;
        if self.node.member.is_serving() {
            // A truncation that was refused loads nothing.
            self.loading = false;
        }
        if lost {
            let all: Vec<ConnId> = shared.lines.iter().map(|line| line.id).collect();
            for conn in all {
                self.close(conn, "this server is not serving requests any more");
            }
        }
        self.refresh_view(now);
    }

    fn close(&mut self, conn: ConnId, why: &'static str) {
        use crate::replica::Deliver;
        let shared = Arc::clone(&self.node.shared);
        let mut out = Outlets::new(&shared, &mut self.wakers);
        out.close(conn, why);
    }

    fn refresh_view(&mut self, now: Now) {
        let peer = self.node.member.peer();
        let quorum = &peer.options().membership.quorum;
        let learners = peer.learners();
        let synced =
            |observer| learners.iter().filter(move |l| l.synced && l.observer == observer).count();
        let leading = self.node.member.is_leading();
        let serving = self.node.member.is_serving();
        let observer = !peer.options().membership.is_voter(peer.id());
        let read_only = self.node.member.is_read_only();
        self.node.shared.rules.load.read_only.store(read_only, Ordering::Relaxed);
        let mode = match (leading, observer) {
            _ if read_only => Mode::ReadOnly,
            (true, _) => Mode::Leader,
            (false, true) => Mode::Observer,
            (false, false) => Mode::Follower,
        };
        let state = match (serving, mode) {
            (false, _) => "leader election".to_owned(),
            (true, Mode::Leader) => "leading - broadcast".to_owned(),
            (true, Mode::Observer) => "observing - broadcast".to_owned(),
            (true, _) => "following - broadcast".to_owned(),
        };
        let leader = leading.then(|| LeaderStats {
            learners: learners.len() as u64,
            synced_followers: synced(false) as u64,
            synced_observers: synced(true) as u64,
            pending_syncs: self.node.member.pending_syncs() as u64,
            leader_uptime_ms: now.mono.since(self.leading_since).as_millis() as u64,
            ..LeaderStats::default()
        });
        *self.node.shared.view.write() = View {
            serving,
            mode,
            // Apache's read-only server knows nothing of the ensemble.
            peer_state: (!read_only).then_some(state),
            quorum: (!read_only).then(|| QuorumStats { quorum_size: quorum.voters().len() as u64 }),
            leader,
        };
    }

    /// Writes this member's configuration into its own tree, as Apache does.
    fn init_config(&mut self, now: Now) {
        let (text, version) = &self.node.config;
        let mut changes = Vec::new();
        let mut state = self.node.shared.state.write();
        state.init_config(text, *version, now.wall, &mut changes);
    }

    /// Applies everything that was delivered.
    fn flush(&mut self) {
        let shared = Arc::clone(&self.node.shared);
        while self.node.member.has_deliveries() {
            let mut state = shared.state.write();
            let mut out = Outlets::new(&shared, &mut self.wakers);
            self.node.member.apply(&mut state, &shared.watches, &mut out, APPLY_MAX);
            let told = out.told;
            // Readers that wait get their turn before the next batch.
            RwLockWriteGuard::unlock_fair(state);
            count(&shared.metrics, &told);
            if self.node.member.has_deliveries() {
                // A long way to go: nobody waits for the end of it.
                self.wakers.drain(..).for_each(Waker::wake);
            }
        }
    }

    fn finish_turn(&mut self) {
        self.node.shell.flush();
        self.flush();
        let load = &self.node.shared.rules.load;
        load.outstanding.store(self.node.member.outstanding(), Ordering::Relaxed);
        let local = self.node.member.local_sessions().map_or(0, |sessions| sessions.len());
        load.local_sessions.store(local, Ordering::Relaxed);
        self.wakers.drain(..).for_each(Waker::wake);
        if self.node.snapshot_due && !self.loading {
            // None while another one is under way: next turn again.
            let cursor = self.node.shared.state.write().begin_snapshot();
            if let Some(cursor) = cursor {
                self.node.snapshot_due = false;
                self.node.snapshotter.write(cursor);
            }
        }
    }

    /// Leaves the ensemble: a leader's followers elect another at once.
    fn stop(mut self, now: Now) {
        self.node.member.peer_mut().shut_down(now.mono);
        self.drain(now);
        self.finish_turn();
        self.node.snapshotter.stop();
        let runtime = self.node.runtime.clone();
        runtime.block_on(self.node.shell.shut_down());
    }
}

/// Tells the member of a connection's activity after `since`, see `docs/decisions/003`.
fn touch(member: &mut Member, line: &Line, since: Instant) {
    let session = line.lock().session;
    let at = line.last_active();
    if let Some((session, timeout_ms)) = session
        && at >= since
    {
        member.touch(session, timeout_ms, at);
    }
}
