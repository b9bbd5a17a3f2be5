//! The node thread of an ensemble member: the only writer of the state. Takes what has arrived from
//! clients, other members and the disk, hands it to [`Member`], carries out what that and Zab ask
//! for, applies what is delivered, wakes who got something.
//!
//! The thread has a reactor of its own, for the links to other members: what a learner says is read,
//! handled, made durable and answered without another thread (`docs/decisions/010`).

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::RwLockWriteGuard;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::time::{Instant as Due, Sleep};

use super::disk::Report;
use super::figures::Figures;
use super::member_log::MemberLog;
use super::shell::{self, Handled, Shell};
use crate::config::QuorumConfig;
use crate::config::dynamic::HostPort;
use crate::host::member::{Around, Exit, MemberNode};
use crate::host::transfer::Reading;
use crate::ops::metrics::{Basic, Counter};
use crate::ops::stats::{LeaderStats, Mode, QuorumStats};
use crate::replica::Deliver;
use crate::replica::ensemble::Member;
use crate::server::inbox::Inbox;
use crate::server::lanes::Wakes;
use crate::server::line::{Line, Outlets};
use crate::server::load;
use crate::server::node::{Event, Shared, View, count, count_over_quota};
use crate::server::quorum_link;
use crate::server::snapshotter::Snapshotter;
use crate::server::watchdog::Watchdog;
use crate::state::watch::WatchTable;
use crate::state::{SnapshotCursor, StateMachine};
use crate::storage::spool::Spool;
use crate::types::{ConnId, Instant, LinkId, Now, SessionId, Zxid};
use crate::zab::{Action, RoleChange};

/// The node thread looks at the clock at least this often.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// Zab, or the disk, has made going on impossible (Apache `ExitCode.UNEXPECTED_ERROR`).
const EXIT_UNEXPECTED: i32 = 1;
/// A quorum packet made it impossible (Apache `ExitCode.QUORUM_PACKET_ERROR`).
const EXIT_PACKET: i32 = 13;

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
    /// Take a snapshot at the first opportunity.
    pub snapshot_due: bool,
    /// The text of this member's configuration, and its version.
    pub config: (Vec<u8>, Zxid),
    /// `leaderServes`.
    pub leader_serves: bool,
    /// `fsync.warningthresholdms`.
    pub warn_above: Duration,
    /// The links live on it.
    pub runtime: NodeRuntime,
    /// Told whether clients are served here.
    pub serves: watch::Sender<bool>,
    /// Told where clients are to connect, when the membership says so.
    pub client_addresses: watch::Sender<Option<HostPort>>,
}

/// The node thread's runtime, until the thread has it. Where there never is a thread (the start failed,
/// or a signal cut it short) it ends without waiting: a runtime that waits for its tasks on a thread of
/// another one panics.
#[derive(Debug)]
pub struct NodeRuntime(Option<Runtime>);

impl NodeRuntime {
    /// A runtime on which nothing moves before the thread runs.
    ///
    /// # Errors
    /// When the system has no reactor to give.
    pub fn new() -> std::io::Result<NodeRuntime> {
        Ok(NodeRuntime(Some(Builder::new_current_thread().enable_all().build()?)))
    }

    /// The way in; None once the thread has it.
    pub fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }
}

impl Drop for NodeRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What the thread keeps from turn to turn.
struct Running {
    node: MemberNode,
    around: Surroundings,
    inbox: Arc<Inbox<Event>>,
    /// What the disk has done within this turn.
    reports: Vec<Report>,
    watchdog: Watchdog,
}

/// Everything but the member.
struct Surroundings {
    shared: Arc<Shared>,
    shell: Shell,
    snapshotter: Snapshotter,
    /// The newest image for learners, while it can be had.
    image: Option<Arc<Spool>>,
    wakes: Wakes,
    figures: Figures,
    member_log: MemberLog,
    /// A transaction that led to another tree was told of; the others are only counted.
    mismatch_told: bool,
    leading_since: Instant,
    /// When it began to look for a leader, while it has none.
    looking_since: Option<Instant>,
    /// When it last served, while it does not.
    away_since: Option<Instant>,
    /// Where clients are to connect, when the membership says so.
    client_addresses: watch::Sender<Option<HostPort>>,
    /// The membership's text, where it has changed.
    membership: Option<String>,
    /// `leaderServes`.
    leader_serves: bool,
    /// Told whether clients are served here.
    serves: watch::Sender<bool>,
}

impl Node {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(self) -> std::io::Result<JoinHandle<()>> {
        let mut node = MemberNode::new(self.member, self.config, self.leader_serves);
        node.snapshot_due = self.snapshot_due;
        let figures = Figures::new(Arc::clone(&self.shared.metrics), self.warn_above);
        let wakes = Wakes::new(&self.shared.lanes);
        let watchdog = Watchdog::new(Arc::clone(&self.shared.metrics));
        let running = Running {
            node,
            around: Surroundings {
                shared: self.shared,
                shell: self.shell,
                snapshotter: self.snapshotter,
                image: None,
                wakes,
                figures,
                member_log: MemberLog::default(),
                mismatch_told: false,
                leading_since: Instant::default(),
                looking_since: None,
                away_since: None,
                client_addresses: self.client_addresses,
                membership: None,
                leader_serves: self.leader_serves,
                serves: self.serves,
            },
            inbox: self.inbox,
            reports: Vec::new(),
            watchdog,
        };
        let mut runtime = self.runtime;
        std::thread::Builder::new().name("node".into()).spawn(move || {
            let Some(runtime) = runtime.0.take() else { return };
            // A task like those of the links: they wake it without a system call.
            let ended = runtime.block_on(runtime.spawn(running.run()));
            if ended.is_err() {
                // It has panicked, and nobody else may write the state.
                std::process::exit(EXIT_UNEXPECTED);
            }
            runtime.shutdown_background();
        })
    }
}

impl Running {
    async fn run(mut self) {
        let mut events = Vec::new();
        let mut alarm = Alarm::new();
        let shared = Arc::clone(&self.around.shared);
        let now = shared.clock.now();
        self.watchdog.begin(now.mono);
        self.node.drain(now, &mut self.around);
        loop {
            self.finish_turn();
            let patience = self
                .node
                .poll_timeout()
                .map_or(PATIENCE_MAX, |due| shared.clock.until(due).min(PATIENCE_MAX));
            if !self.inbox.is_empty() || patience.is_zero() {
                // The links get their turn, and bring what belongs to the next: before anybody is
                // thought silent too, whose word lies there unread since a long sync.
                tokio::task::yield_now().await;
            }
            alarm.take(&self.inbox, &mut events, patience).await;
            let now = shared.clock.now();
            self.watchdog.begin(now.mono);
            let mut stop = false;
            let mut events = events.drain(..).peekable();
            while let Some(event) = events.next() {
                let step = name(&event);
                stop |= self.handle(now, event);
                self.node.drain(now, &mut self.around);
                // Many of a kind are one step.
                if events.peek().is_none_or(|next| name(next) != step) {
                    self.watchdog.end(shared.clock.mono(), step);
                }
            }
            drop(events);
            if self.node.timeout(now, &mut self.around) {
                self.around.refresh_view(now, &self.node.member);
                self.around.say_missing(now, &self.node.member);
                self.watchdog.end(shared.clock.mono(), "what was due");
            }
            if stop {
                return self.stop(now).await;
            }
        }
    }

    /// True: stop.
    fn handle(&mut self, now: Now, event: Event) -> bool {
        match event {
            Event::Submit(submit) => self.node.submit(now, submit, &mut self.around),
            Event::Closed { conn, line, session } => {
                self.node.closed(conn, session, activity(&line));
            }
            Event::Look(look) => {
                look(self.node.member.sessions(), self.node.member.local_sessions());
            }
            Event::Quorum(event) => self.handle_quorum(now, event),
            Event::SnapshotDone => self.node.walk_ended(now, &mut self.around),
            Event::Logged(_) => {}
            Event::Stop => return true,
        }
        false
    }

    fn handle_quorum(&mut self, now: Now, event: shell::Event) {
        if let shell::Event::Link(quorum_link::Event::Packets { link, packets, .. }) = &event {
            for packet in packets {
                self.around.figures.packet(now.wall, *link, packet);
                self.around.member_log.received(now.mono, *link, packet);
            }
        }
        if let shell::Event::Link(quorum_link::Event::Down { link, reason }) = &event
            && let Some(line) = self.around.member_log.lost(*link, reason)
        {
            tracing::warn!("{line}");
        }
        match self.around.shell.handle(now.mono, self.node.member.peer_mut(), event) {
            Handled::Done => {}
            Handled::Synced(done) => self.around.figures.synced(&done),
            Handled::SnapshotDue => self.node.snapshot_due = true,
            Handled::Loaded(state) => self.node.loaded(now, *state, &mut self.around),
            Handled::Failed(error) => {
                tracing::error!(
                    "{error}; nobody knows now what is on disk, so the server stops. Nothing that \
                     was acknowledged is lost: mend the disk and start again"
                );
                std::process::exit(EXIT_UNEXPECTED);
            }
        }
    }

    fn finish_turn(&mut self) {
        let mut reports = std::mem::take(&mut self.reports);
        loop {
            self.node.answer_few(&mut self.around);
            self.around.shell.flush(&mut reports);
            if reports.is_empty() {
                break;
            }
            let now = self.around.shared.clock.now();
            for report in reports.drain(..) {
                self.handle_quorum(now, shell::Event::Disk(report));
                self.node.drain(now, &mut self.around);
            }
        }
        self.reports = reports;
        self.step("messages and the log");
        self.node.flush(&mut self.around);
        count_over_quota(&self.around.shared.metrics, self.node.member.take_over_quota());
        let now = self.around.shared.clock.now();
        self.watchdog.end(now.mono, "applying");
        self.around.figures.end_turn(now.wall, &self.node.member.peer().stats());
        if let Some(leader) = &mut self.around.shared.view.write().leader {
            leader.proposal_sizes = self.around.figures.proposal_sizes;
        }
        let load = &self.around.shared.rules.load;
        load.outstanding.store(self.node.member.outstanding(), Ordering::Relaxed);
        let member = &self.node.member;
        self.around.shell.settle_guests(member.peer(), member.pending_syncs());
        let local = self.node.member.local_sessions().map_or(0, |sessions| sessions.len());
        load.local_sessions.store(local, Ordering::Relaxed);
        self.around.wakes.wake();
        if let Some(cursor) = self.node.begin_snapshot(now, &mut self.around) {
            self.around.snapshotter.write(cursor);
            self.step("the beginning of a snapshot");
        }
    }

    /// A step of the turn has ended.
    fn step(&mut self, name: &'static str) {
        self.watchdog.end(self.around.shared.clock.mono(), name);
    }

    async fn stop(mut self, now: Now) {
        self.node.shut_down(now, &mut self.around);
        self.finish_turn();
        self.around.snapshotter.stop();
        self.around.shell.shut_down().await;
    }
}

/// What an event is called when it takes long.
fn name(event: &Event) -> &'static str {
    match event {
        Event::Submit(_) => "requests",
        Event::Closed { .. } => "connections that ended",
        Event::Look(_) => "a look at the sessions",
        Event::SnapshotDone => "the end of a walk",
        Event::Logged(_) | Event::Stop => "an event",
        Event::Quorum(shell::Event::Votes) => "votes",
        Event::Quorum(shell::Event::Link(event)) => match event {
            quorum_link::Event::Packets { .. } => "packets of members",
            quorum_link::Event::Snapshot { .. } => "a leader's snapshot",
            _ => "links",
        },
        Event::Quorum(shell::Event::Disk(report)) => match report {
            Report::Loaded(_) => "another state",
            Report::Read(..) => "a log that was read",
            _ => "reports of the disk",
        },
    }
}

/// Waits for events, but not for ever.
struct Alarm {
    /// Not later than what was asked for last; early is no harm, the turn finds nothing to do.
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    fn new() -> Alarm {
        Alarm { sleep: Box::pin(tokio::time::sleep(PATIENCE_MAX)) }
    }

    /// Takes everything that has arrived; waits if there is nothing, at most for `patience`.
    async fn take(&mut self, inbox: &Inbox<Event>, events: &mut Vec<Event>, patience: Duration) {
        let mut asked = None;
        poll_fn(|cx| {
            if inbox.poll_take(cx, events).is_ready() {
                return Poll::Ready(());
            }
            let due = *asked.get_or_insert_with(|| Due::now() + patience);
            if self.sleep.is_elapsed() || due < self.sleep.deadline() {
                self.sleep.as_mut().reset(due);
            }
            self.sleep.as_mut().poll(cx)
        })
        .await;
    }
}

impl Around for Surroundings {
    fn lend<R>(&mut self, f: impl FnOnce(&StateMachine, &mut dyn Deliver) -> R) -> R {
        let state = self.shared.state.read();
        f(&state, &mut Outlets::new(&self.shared, &mut self.wakes))
    }

    fn lend_alone<R>(
        &mut self,
        f: impl FnOnce(&mut StateMachine, &WatchTable, &mut dyn Deliver) -> R,
    ) -> R {
        let mut state = self.shared.state.write();
        let mut out = Outlets::new(&self.shared, &mut self.wakes);
        let before = state.digest_mismatches();
        let result = f(&mut state, &self.shared.watches, &mut out);
        let told = out.told;
        let wrong = state.digest_mismatches().saturating_sub(before);
        let first = state.take_digest_mismatch();
        // Readers that wait get their turn before the next batch.
        RwLockWriteGuard::unlock_fair(state);
        count(&self.shared.metrics, &told);
        self.shared.metrics.add(Counter::DigestMismatchesCount, wrong);
        // What comes behind a fuzzy image of Apache's is partly in it already: its trees differ until
        // this member is in step. (Apache's own learners count these, too.)
        if let Some(zxid) = first.filter(|_| self.shared.view.read().serving)
            && !std::mem::replace(&mut self.mismatch_told, true)
        {
            load::report_mismatch(zxid);
        }
        result
    }

    fn replace(&mut self, state: StateMachine) {
        let old = std::mem::replace(&mut *self.shared.state.write(), state);
        self.mismatch_told = false;
        self.snapshotter.drop_state(old);
    }

    fn wake(&mut self) {
        self.wakes.wake();
    }

    fn execute(&mut self, action: Action) -> Option<Action> {
        self.figures.action(&action);
        self.log_action(&action);
        self.shell.execute(action)
    }

    fn begin_image(&mut self, link: LinkId, zxid: Zxid, cursor: SnapshotCursor) {
        let at = cursor.zxid();
        let spool = self.image.insert(Spool::new(at));
        tracing::info!("beginning an image for learners at {at} (the history is at {zxid})");
        let source = Box::new(Reading::new(spool, Reading::PIECE_BYTES));
        self.shell.send_snapshot(link, source);
        self.snapshotter.spool(cursor, Arc::clone(spool));
    }

    fn send_image(&mut self, link: LinkId) {
        if let Some(spool) = &self.image {
            tracing::info!("one more learner reads the image at {}", spool.zxid());
            let source = Box::new(Reading::new(spool, Reading::PIECE_BYTES));
            self.shell.send_snapshot(link, source);
        }
    }

    fn image(&self) -> Option<usize> {
        let spool = self.image.as_ref().filter(|spool| !spool.is_given_up());
        spool.map(|spool| spool.readers())
    }

    fn forget_image(&mut self) {
        // The snapshot thread has it too, and is the one that drops it.
        self.image = None;
    }

    fn give_up_snapshot(&mut self) {
        self.snapshotter.give_up();
    }

    fn cancel_snapshot(&mut self) {
        self.snapshotter.cancel();
    }

    fn sessions(&self, f: &mut dyn FnMut(SessionId, i32, Instant)) {
        for line in &self.shared.lines {
            if let Some((session, timeout_ms, at)) = activity(&line) {
                f(session, timeout_ms, at);
            }
        }
    }

    fn close_all(&mut self, why: &'static str) {
        let all: Vec<ConnId> = self.shared.lines.iter().map(|line| line.id).collect();
        let mut out = Outlets::new(&self.shared, &mut self.wakes);
        for conn in all {
            out.close(conn, why);
        }
    }

    fn resynced(&mut self) -> crate::storage::Result<()> {
        self.shell.resynced()
    }

    fn config_changed(&mut self, now: Now, text: &[u8], member: &Member) {
        let text = String::from_utf8_lossy(text).into_owned();
        if let Ok(config) = QuorumConfig::parse(&text, true) {
            let own = config.members.get(&member.peer().id());
            if let Some(client) = own.and_then(|own| own.client.clone()) {
                self.client_addresses.send_replace(Some(client));
            }
        }
        self.membership = Some(text);
        self.refresh_view(now, member);
    }

    fn role_changed(&mut self, now: Now, change: &RoleChange, member: &Member) {
        if matches!(change, RoleChange::Leading { .. }) {
            self.leading_since = now.mono;
        }
        self.figures.role(now, change);
        self.log_role(now, change, member.is_serving());
        self.count_role(now, change);
        self.refresh_view(now, member);
    }

    fn exit(&mut self, why: Exit) {
        tracing::error!("{why}");
        std::process::exit(match why {
            Exit::Disk(_) => EXIT_UNEXPECTED,
            Exit::Undecodable(_) | Exit::Zab(_) => EXIT_PACKET,
        });
    }
}

impl Surroundings {
    /// Logs which learner has joined, and which link this server closes.
    fn log_action(&mut self, action: &Action) {
        match action {
            Action::Send { link, packet } if self.member_log.wants(packet.kind) => {
                let now = self.shared.clock.mono();
                let image = self.image.as_ref().map(|spool| spool.written());
                if let Some(line) = self.member_log.sent(now, *link, packet.kind, image) {
                    tracing::info!("{line}");
                }
            }
            Action::CloseLink { link, why } => {
                if let Some(line) = self.member_log.lost(*link, &why.to_string()) {
                    tracing::warn!("{line}");
                }
            }
            _ => {}
        }
    }

    /// Logs how this member was brought into step, and forgets the learners of its last role.
    fn log_role(&mut self, now: Now, change: &RoleChange, serving: bool) {
        if serving {
            self.member_log.found();
        }
        match change {
            RoleChange::Following { leader, serving: true, .. } => {
                if let Some(how) = self.member_log.in_step(now.mono) {
                    tracing::info!("in step with leader {leader}: {how}");
                }
            }
            RoleChange::Following { .. } | RoleChange::Leading { .. } => {}
            RoleChange::Looking(_) | RoleChange::Stopped => self.member_log.role_ended(),
        }
    }

    /// Logs who is missing while there is no quorum.
    fn say_missing(&mut self, now: Now, member: &Member) {
        let Some(since) = self.away_since.filter(|_| !member.is_serving()) else { return };
        let away = now.mono.since(since);
        let others = || self.shell.other_voters(member.peer());
        if let Some(line) = self.member_log.missing(now.mono, away, others) {
            tracing::warn!("{line}");
        }
    }

    /// Elections, and how long clients went without this server.
    fn count_role(&mut self, now: Now, change: &RoleChange) {
        let metrics = &self.shared.metrics;
        let since = |at: Instant| i64::try_from(now.mono.since(at).as_millis()).unwrap_or(i64::MAX);
        let serving = match change {
            RoleChange::Looking(_) => {
                metrics.add(Counter::LookingCount, 1);
                self.looking_since = Some(now.mono);
                self.away_since = self.away_since.or(Some(now.mono));
                return;
            }
            RoleChange::Following { serving, .. } | RoleChange::Leading { serving, .. } => *serving,
            RoleChange::Stopped => return,
        };
        // Nobody elects with an observer: it has no such time.
        let observes = matches!(change, RoleChange::Following { observer: true, .. });
        if let Some(at) = self.looking_since.take()
            && !observes
        {
            metrics.record(Basic::ElectionTime, since(at));
        }
        if serving && let Some(at) = self.away_since.take() {
            metrics.record(Basic::UnavailableTime, since(at));
            if matches!(change, RoleChange::Leading { .. }) {
                metrics.record(Basic::LeaderUnavailableTime, since(at));
            }
        }
    }

    fn refresh_view(&mut self, now: Now, member: &Member) {
        let peer = member.peer();
        let quorum = &peer.options().membership.quorum;
        let learners = peer.learners();
        self.figures.learners(&learners);
        let synced =
            |observer| learners.iter().filter(move |l| l.synced && l.observer == observer).count();
        let leading = member.is_leading();
        let serving = member.is_serving();
        let observer = peer.options().membership.is_observer(peer.id());
        let read_only = member.is_read_only();
        self.shared.rules.load.read_only.store(read_only, Ordering::Relaxed);
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
            pending_syncs: member.pending_syncs() as u64,
            leader_uptime_ms: now.mono.since(self.leading_since).as_millis() as u64,
            proposal_sizes: self.figures.proposal_sizes,
            ..LeaderStats::default()
        });
        // Apache does not show the server of a leader that serves no clients to its client port either:
        // `isro` says null, and most words that nobody serves here.
        let clients = serving && (self.leader_serves || !leading);
        self.serves.send_if_modified(|serves| std::mem::replace(serves, clients) != clients);
        *self.shared.view.write() = View {
            serving: clients,
            mode,
            // Apache's read-only server knows nothing of the ensemble.
            peer_state: (!read_only).then_some(state),
            quorum: (!read_only).then(|| QuorumStats { quorum_size: quorum.voters().len() as u64 }),
            leader,
            observer_master: peer.source().filter(|_| observer).map(|source| source.0),
            synced_observers: (mode == Mode::Follower
                && serving
                && peer.options().observer_masters)
                .then(|| synced(true) as u64),
            membership: self.membership.clone(),
        };
    }
}

/// A connection's session, its timeout in ms, and when it was last active.
fn activity(line: &Line) -> Option<(SessionId, i32, Instant)> {
    let (session, timeout_ms) = line.lock().session?;
    Some((session, timeout_ms, line.last_active()))
}
