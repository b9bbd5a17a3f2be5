//! A member of an ensemble: [`MemberNode`] and [`Files`], driven as `server::ensemble` does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::auth::Auth;
use crate::host::files::{self, Files, Job, Report};
use crate::host::load::Inline;
use crate::host::member::{Around, Exit, MemberNode};
use crate::host::snapshot::{self, Walk};
use crate::host::start::{self, Started};
use crate::host::transfer::{Reading, SnapshotSource};
use crate::proto::election::Notification;
use crate::proto::opcode::OpCode;
use crate::proto::quorum::PacketKind;
use crate::proto::txn::TxnEntry;
use crate::replica::Deliver;
use crate::replica::ensemble::{LocalSessions, Member};
use crate::replica::session::Sessions;
use crate::sim::random::Random;
use crate::state::watch::WatchTable;
use crate::state::{SnapshotCursor, StateLoader, StateMachine};
use crate::storage::disk::DiskRef;
use crate::storage::spool::Spool;
use crate::storage::{self, TxnLog};
use crate::types::{ConnId, Instant, LinkId, Now, ServerId, SessionId, Zxid};
use crate::zab::{
    self, Action, DiskOp, ImageId, LINK_OUTBOUND, LinkEvent, ReadId, RoleChange, StartError,
    SyncCounts,
};

use super::checks::touches::Touches;
use super::conn::Side;
use super::params::Params;
use super::process::{Brain, NodeEvent, Note, Process, outlets};
use super::{Mutant, alone::Found};

/// A member's memory of which transactions its history holds; the world's knowledge, not its own.
pub type History = BTreeSet<i64>;

/// Which port for learners is open on a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// None.
    Shut,
    /// That of a leader.
    Leader,
    /// That of a follower, for observers.
    Master,
}

/// What a member asks of the world.
pub enum Out {
    /// Tell another member our vote.
    Notify(ServerId, Notification),
    /// Connect to a leader, or to the port where a follower serves observers.
    Dial(LinkId, ServerId, Door),
    /// Open a port for learners, or close what is open.
    Listen(Door),
    /// Send a packet.
    Send(LinkId, Bytes),
    /// Stream a snapshot of the state at this transaction.
    Stream(LinkId, Box<dyn SnapshotSource>, Zxid),
    /// Drop a link.
    Close(LinkId),
    /// Read the log for a learner.
    ReadLog(ReadId, Zxid, Zxid),
}

impl std::fmt::Debug for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Out")
    }
}

/// What comes from other members.
#[derive(Debug)]
pub enum Heard {
    /// A vote.
    Vote(ServerId, Bytes),
    /// Of a link.
    Link(LinkId, LinkEvent),
    /// The snapshot behind a SNAP packet, and the history that it stands for.
    Image(LinkId, Box<StateLoader>, History),
    /// Of the log thread.
    Report(Report),
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Report")
    }
}

/// See the module.
pub struct MemberHost {
    /// The value under test.
    pub node: MemberNode,
    files: Files,
    /// How the files are used.
    pub options: files::Options,
    /// For the log thread.
    pub jobs: VecDeque<Job>,
    /// What the log thread has done.
    reports: Arc<Mutex<Vec<Report>>>,
    /// It is at work: done already on disk, not yet reported.
    pub working: bool,
    /// For the world.
    pub outs: Vec<Out>,
    /// Delivered, not applied: its bytes, and whether a quorum has it.
    delivered: VecDeque<(Zxid, bool)>,
    /// The transactions in the log and under it.
    pub history: History,
    /// Histories of images that may be installed.
    images: BTreeMap<ImageId, History>,
    next_image: u64,
    /// The history that a snapshot being installed stands for.
    pub installing: Option<(Zxid, History)>,
    /// The newest batch made durable: its last transaction, and how many it has.
    pub newest_batch: (Zxid, u64),
    /// What it was told of sessions used elsewhere; the world's knowledge.
    pub touches: Touches,
    mutant: Option<Mutant>,
    /// Bytes of a piece of an image for learners.
    pub piece: usize,
}

impl std::fmt::Debug for MemberHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemberHost")
    }
}

/// Why a member does not start.
#[derive(Debug)]
pub enum NotStarted {
    /// Its disk.
    Disk(storage::Error),
    /// What is on it does not fit together.
    Start(StartError),
}

impl From<storage::Error> for NotStarted {
    fn from(error: storage::Error) -> NotStarted {
        NotStarted::Disk(error)
    }
}

/// How a member's files are used.
pub fn file_options(params: &Params, disk: &DiskRef) -> files::Options {
    files::Options {
        disk: disk.clone(),
        dirs: params.dirs(),
        state: params.state(),
        recovery: params.recovery(),
        compression: params.compression,
        last_processed: true,
        snapshot_size_factor: if params.log_sync { 0.33 } else { -1.0 },
        snap_count: params.snap_count,
        snap_bytes: None,
    }
}

/// Starts a member on what is on its disk.
///
/// # Errors
/// Why it does not start.
pub fn boot(
    params: &Params,
    me: ServerId,
    disk: &DiskRef,
    now: Now,
    mut random: Random,
) -> Result<(Process, Found), NotStarted> {
    let options = file_options(params, disk);
    let recent = params.commit_log_count;
    let Started { mut state, disk: found_disk, log, fresh, replayed, recovered, .. } =
        start::start(&options, params.log(), recent, now.wall, || Inline::new(options.state))?;
    if fresh {
        snapshot::write(disk.clone(), &options.dirs.snapshots, params.snapshots(), &mut state)?;
    }
    let zab = params.zab(me);
    let text = zab.membership.text.to_vec();
    let version = Zxid(zab.membership.version);
    let found = Found {
        base: recovered,
        last: found_disk.last,
        digest: state.digest(),
        mismatches: state.digest_mismatches(),
        dead: Vec::new(),
    };
    state.init_config(&text, version, now.wall, &mut Vec::new());
    let first_id = Sessions::first_id(me.0, now.wall.0);
    let forgets = params.mutant == Some(Mutant::LocalSessionsLogged) && me.0 % 2 == 1;
    let mut member = Member::new(params.replica(first_id), zab, found_disk, &state, now)
        .map_err(NotStarted::Start)?
        .with_local_sessions(LocalSessions {
            enabled: params.local.is_some() && !forgets,
            upgrading: params.local == Some(true),
        });
    if params.read_only {
        member = member.with_read_only_mode(now);
    }
    if params.mutant == Some(Mutant::RenewedAtOnce) {
        member = member.renewing_at_once();
    }
    let mut node = MemberNode::new(member, (text, version), true);
    node.snapshot_due = replayed > params.snap_count / 2;
    let mut host = MemberHost::new(node, options, log, params.mutant, now.mono, random.fork());
    host.piece = params.piece_bytes;
    let brain = Brain::Member(Box::new(host));
    let mut process = Process::new(state, params.rules(), brain, now.mono);
    process.is_late = params.mutant == Some(Mutant::EventsLate);
    process.drain_member(now);
    Ok((process, found))
}

impl MemberHost {
    fn new(
        node: MemberNode,
        options: files::Options,
        log: TxnLog,
        mutant: Option<Mutant>,
        now: Instant,
        mut random: Random,
    ) -> MemberHost {
        let reports: Arc<Mutex<Vec<Report>>> = Arc::default();
        let reporting = Arc::clone(&reports);
        let world = files::World {
            clock: Box::new(move || now),
            random: Box::new(move || random.bits()),
            report: Box::new(move |report| reporting.lock().push(report)),
        };
        MemberHost {
            node,
            files: Files::new(options.clone(), log, world),
            options,
            jobs: VecDeque::new(),
            reports,
            working: false,
            outs: Vec::new(),
            delivered: VecDeque::new(),
            history: History::new(),
            images: BTreeMap::new(),
            next_image: 1,
            installing: None,
            newest_batch: (Zxid::ZERO, 0),
            touches: Touches::default(),
            mutant,
            piece: Reading::PIECE_BYTES,
        }
    }

    /// The log thread takes so many jobs. On return they are done, and not yet reported.
    ///
    /// # Errors
    /// What the disk says: the process ends.
    pub fn work(&mut self, max: usize) -> storage::Result<()> {
        for _ in 0..max.max(1) {
            let Some(job) = self.jobs.pop_front() else { break };
            match &job {
                Job::Op(_, DiskOp::Append(txn)) => {
                    self.history.insert(txn.zxid.0);
                }
                Job::Op(_, DiskOp::InstallSnapshot { zxid, image }) => {
                    let history = self.images.remove(image).unwrap_or_default();
                    self.installing = Some((*zxid, history));
                }
                _ => {}
            }
            let truncates = match &job {
                Job::Op(_, DiskOp::Truncate(zxid)) => Some(*zxid),
                _ => None,
            };
            self.files.take(job)?;
            if let Some((_, history)) = self.installing.take() {
                self.history = history;
            }
            let refused =
                |r: &Report| matches!(r, Report::Persisted(zab::Persisted::CannotTruncate(_)));
            if let Some(zxid) = truncates
                && !self.reports.lock().last().is_some_and(refused)
            {
                self.history.split_off(&(zxid.0 + 1));
            }
            if self.files.is_full() {
                break;
            }
        }
        self.files.commit()?;
        for report in &*self.reports.lock() {
            if let Report::Synced(done) = report {
                self.newest_batch = (done.last, done.txns);
            }
        }
        Ok(())
    }

    /// What the history will be when everything asked for is on disk.
    pub fn future_history(&self) -> History {
        let mut history = self.history.clone();
        for job in &self.jobs {
            match job {
                Job::Op(_, DiskOp::Append(txn)) => {
                    history.insert(txn.zxid.0);
                }
                Job::Op(_, DiskOp::Truncate(zxid)) => {
                    history.split_off(&(zxid.0 + 1));
                }
                Job::Op(_, DiskOp::InstallSnapshot { image, .. }) => {
                    history = self.images.get(image).cloned().unwrap_or_default();
                }
                _ => {}
            }
        }
        history
    }

    /// What the log thread has to say.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut *self.reports.lock())
    }

    /// Finishes what was asked for and closes the log.
    ///
    /// # Errors
    /// What the disk says.
    pub fn stop(&mut self) -> storage::Result<()> {
        while !self.jobs.is_empty() {
            self.work(usize::MAX)?;
        }
        self.files.stop()
    }

    /// How learners were brought into step, and elections, since the start.
    pub fn stats(&self) -> (SyncCounts, u64) {
        let stats = self.node.member.peer().stats();
        (stats.syncs, stats.elections)
    }
}

/// Everything around a member but itself.
struct Surroundings<'a> {
    state: &'a Arc<RwLock<StateMachine>>,
    watches: &'a WatchTable,
    auth: &'a Auth,
    sides: &'a mut BTreeMap<ConnId, Side>,
    woken: &'a mut BTreeSet<ConnId>,
    late: Option<&'a mut Vec<(ConnId, bytes::BytesMut)>>,
    walk: &'a mut Option<Walk>,
    image: &'a mut Option<Arc<Spool>>,
    piece: usize,
    notes: &'a mut Vec<Note>,
    options: &'a files::Options,
    jobs: &'a mut VecDeque<Job>,
    outs: &'a mut Vec<Out>,
    delivered: &'a mut VecDeque<(Zxid, bool)>,
    heard: &'a BTreeMap<SessionId, (Instant, i32)>,
    touches: &'a mut Touches,
    mutant: Option<Mutant>,
}

impl Around for Surroundings<'_> {
    fn lend<R>(&mut self, f: impl FnOnce(&StateMachine, &mut dyn Deliver) -> R) -> R {
        let state = self.state.read();
        let late = self.late.as_deref_mut();
        f(&state, &mut outlets(self.sides, self.woken, self.auth, late))
    }

    fn lend_alone<R>(
        &mut self,
        f: impl FnOnce(&mut StateMachine, &WatchTable, &mut dyn Deliver) -> R,
    ) -> R {
        let mut state = self.state.write();
        let late = self.late.as_deref_mut();
        let mut out = outlets(self.sides, self.woken, self.auth, late);
        let before = state.last_zxid();
        let result = f(&mut state, self.watches, &mut out);
        if state.is_within_txn() {
            return result;
        }
        let last = state.last_zxid();
        while self.delivered.front().is_some_and(|(zxid, _)| *zxid <= last) {
            if let Some((zxid, true)) = self.delivered.pop_front() {
                self.notes.push(Note::Delivered(zxid));
            }
        }
        if last != before {
            self.notes.push(Note::At(last, state.digest()));
        }
        result
    }

    fn wake(&mut self) {}

    fn replace(&mut self, mut state: StateMachine) {
        if self.mutant == Some(Mutant::EphemeralsStay) {
            state.leave_ephemerals();
        }
        self.notes.push(Note::Loaded);
        self.notes.push(Note::At(state.last_zxid(), state.digest()));
        *self.state.write() = state;
    }

    fn execute(&mut self, action: Action) -> Option<Action> {
        match action {
            Action::SendNotification { to, notification } => {
                self.outs.push(Out::Notify(to, notification));
            }
            Action::Connect { link, to } => self.outs.push(Out::Dial(link, to, Door::Leader)),
            Action::ConnectToMaster { link, to } => {
                self.outs.push(Out::Dial(link, to, Door::Master));
            }
            Action::Listen => self.outs.push(Out::Listen(Door::Leader)),
            Action::ListenForObservers => self.outs.push(Out::Listen(Door::Master)),
            Action::StopListening => self.outs.push(Out::Listen(Door::Shut)),
            Action::Send { link, packet } => {
                if packet.kind == PacketKind::Ping && link.0 >= LINK_OUTBOUND {
                    let state = self.state.read();
                    if let Err(what) = self.touches.answers(self.heard, &state, &packet) {
                        self.notes.push(Note::Wrong("TouchesReported", what));
                    }
                }
                let mut bytes = bytes::BytesMut::new();
                crate::proto::jute::Jute::write(&packet, &mut bytes);
                self.outs.push(Out::Send(link, bytes.freeze()));
            }
            Action::CloseLink { link, .. } => self.outs.push(Out::Close(link)),
            Action::Disk { op, what } => {
                if let DiskOp::Append(txn) = &what {
                    self.notes.push(Note::Logged(txn.zxid, txn.bytes.clone()));
                    note_expiry(self.notes, &txn.bytes);
                }
                self.jobs.push_back(Job::Op(op, what));
            }
            Action::LoadState { through } => self.jobs.push_back(Job::Load(through)),
            Action::ReadLog { read, after, through } => {
                self.outs.push(Out::ReadLog(read, after, through));
            }
            Action::Deliver { txn, committed } => {
                self.notes.push(Note::Logged(txn.zxid, txn.bytes.clone()));
                self.delivered.push_back((txn.zxid, committed));
                return Some(Action::Deliver { txn, committed });
            }
            Action::FromLearner { link, server, mut packet } => {
                if packet.kind == PacketKind::Ping {
                    self.touches.told(&packet);
                    if self.mutant == Some(Mutant::ObserversForgotten) {
                        packet.data = None;
                    }
                }
                return Some(Action::FromLearner { link, server, packet });
            }
            other => return Some(other),
        }
        None
    }

    fn begin_image(&mut self, link: LinkId, _zxid: Zxid, cursor: SnapshotCursor) {
        *self.image = Some(Spool::new(cursor.zxid()));
        self.send_image(link);
        let files::Options { disk, dirs, .. } = self.options;
        let Some(spool) = self.image.clone() else { return };
        self.notes.push(match Walk::for_learners(disk, &dirs.snapshots, spool, cursor) {
            Ok(mut walk) => {
                if self.mutant == Some(Mutant::ImageAtOnce) {
                    walk.encode(&self.state.read(), usize::MAX);
                }
                *self.walk = Some(walk);
                Note::WalkBegun
            }
            Err(error) => Note::WalkFailed(error),
        });
    }

    fn send_image(&mut self, link: LinkId) {
        if let Some(spool) = &*self.image {
            let source = Box::new(Reading::new(spool, self.piece));
            self.outs.push(Out::Stream(link, source, spool.zxid()));
        }
    }

    fn image(&self) -> Option<usize> {
        let spool = self.image.as_ref().filter(|spool| !spool.is_given_up());
        spool.map(|spool| spool.readers())
    }

    fn forget_image(&mut self) {
        *self.image = None;
    }

    fn give_up_snapshot(&mut self) {
        self.notes.push(Note::GiveUp);
    }

    fn cancel_snapshot(&mut self) {
        if let Some(walk) = self.walk.take() {
            if let Err(error) = walk.abandon() {
                self.notes.push(Note::Failed(error));
            }
            drop(self.state.write().end_snapshot());
            self.notes.push(Note::WalkCancelled);
        }
    }

    fn sessions(&self, f: &mut dyn FnMut(SessionId, i32, Instant)) {
        for side in self.sides.values() {
            if let Some((session, timeout_ms)) = side.session {
                f(session, timeout_ms, side.active);
            }
        }
    }

    fn close_all(&mut self, why: &'static str) {
        let all: Vec<ConnId> = self.sides.keys().copied().collect();
        let mut out = outlets(self.sides, self.woken, self.auth, None);
        for conn in all {
            out.close(conn, why);
        }
    }

    fn resynced(&mut self) -> storage::Result<()> {
        self.notes.push(Note::Resynced);
        start::resynced(self.options)
    }

    fn role_changed(&mut self, _now: Now, change: &RoleChange, member: &Member) {
        let serving = member.is_serving();
        self.touches.begin();
        self.notes.push(Note::Role(change.clone(), serving));
    }

    fn exit(&mut self, why: Exit) {
        self.notes.push(match why {
            Exit::Disk(error) => Note::Failed(error),
            other => Note::Exit(other.to_string()),
        });
    }
}

/// A session's end that nobody asked for.
fn note_expiry(notes: &mut Vec<Note>, entry: &Bytes) {
    if let Ok(decoded) = TxnEntry::decode(entry.clone())
        && OpCode(decoded.header.kind) == OpCode::CLOSE_SESSION
        && decoded.header.cxid == 0
    {
        notes.push(Note::Proposed(decoded.header.session));
    }
}

impl Process {
    /// Calls `f` with the member's node and everything around it.
    fn with_member<R>(
        &mut self,
        f: impl FnOnce(&mut MemberNode, &mut Surroundings<'_>) -> R,
    ) -> Option<R> {
        let Process { state, watches, rules, sides, woken, brain, .. } = self;
        let Process { walk, image, notes, late, heard, .. } = self;
        let Brain::Member(host) = brain else { return None };
        let MemberHost { node, options, jobs, outs, delivered, touches, mutant, piece, .. } =
            &mut **host;
        let mut around = Surroundings {
            state,
            watches,
            auth: &rules.auth,
            sides,
            woken,
            late: self.is_late.then_some(late),
            walk,
            image,
            piece: *piece,
            notes,
            options,
            jobs,
            outs,
            delivered,
            heard,
            touches,
            mutant: *mutant,
        };
        Some(f(node, &mut around))
    }

    /// Carries out what the member asks for at its start.
    fn drain_member(&mut self, now: Now) {
        self.with_member(|node, around| node.drain(now, around));
    }

    /// The sessions that only this server knows.
    fn local_ids(&mut self) -> BTreeSet<SessionId> {
        let local = self.member().and_then(|host| host.node.member.local_sessions());
        local.into_iter().flat_map(|sessions| sessions.deadlines().map(|(id, _)| id)).collect()
    }

    pub(super) fn turn_member(&mut self, now: Now) {
        if let Some(host) = self.member() {
            host.touches.now = now.mono;
        }
        for event in std::mem::take(&mut self.inbox) {
            self.member_event(now, event);
            self.drain_member(now);
        }
        let before = self.local_ids();
        self.with_member(|node, around| node.timeout(now, around));
        let after = self.local_ids();
        self.notes.extend(before.difference(&after).copied().map(Note::LocalExpired));
        self.with_member(|node, around| node.flush(around));
        self.let_go();
    }

    fn member_event(&mut self, now: Now, event: NodeEvent) {
        if let NodeEvent::Closed(conn) = event {
            self.watches.remove_conn(conn);
            let Some(side) = self.sides.remove(&conn) else { return };
            let last = side.session.map(|(session, timeout)| (session, timeout, side.active));
            self.with_member(|node, _| node.closed(conn, side.conn.session(), last));
            return;
        }
        if let NodeEvent::Quorum(Heard::Image(link, sink, history)) = event {
            let Brain::Member(host) = &mut self.brain else { return };
            let image = ImageId(host.next_image);
            host.next_image += 1;
            host.images.insert(image, history);
            host.jobs.push_back(Job::Image(image, sink));
            let peer = host.node.member.peer_mut();
            return peer.handle_link(now.mono, link, LinkEvent::Image(image));
        }
        self.with_member(|node, around| match event {
            NodeEvent::Submit(submit) => node.submit(now, submit, around),
            NodeEvent::WalkDone => node.walk_ended(now, around),
            NodeEvent::Quorum(Heard::Vote(from, bytes)) => {
                if let Ok(notification) = Notification::decode(bytes) {
                    node.member.peer_mut().handle_notification(now.mono, from, notification);
                }
            }
            NodeEvent::Quorum(Heard::Link(link, event)) => {
                node.member.peer_mut().handle_link(now.mono, link, event);
            }
            NodeEvent::Quorum(Heard::Report(report)) => match report {
                Report::Persisted(done) => node.member.peer_mut().handle_persisted(now.mono, done),
                Report::Loaded(state) => node.loaded(now, *state, around),
                Report::Read(read, found) => {
                    node.member.peer_mut().handle_log_read(now.mono, read, found);
                }
                Report::SnapshotDue => node.snapshot_due = true,
                Report::Synced(_) => {}
                Report::Failed(error) => around.notes.push(Note::Failed(error)),
            },
            _ => {}
        });
    }

    /// Begins a snapshot of a member, if one is due and possible.
    pub(super) fn begin_member_snapshot(
        &mut self,
        now: Now,
    ) -> Option<crate::state::SnapshotCursor> {
        let due = std::mem::take(&mut self.snapshot_due);
        self.with_member(|node, around| {
            node.snapshot_due |= due;
            node.begin_snapshot(now, around)
        })
        .flatten()
    }

    /// A member leaves the ensemble.
    pub(super) fn shut_down_member(&mut self, now: Now) {
        self.with_member(|node, around| node.shut_down(now, around));
    }

    /// The member, if this is one.
    pub fn member(&mut self) -> Option<&mut MemberHost> {
        match &mut self.brain {
            Brain::Member(host) => Some(host),
            Brain::Alone(_) => None,
        }
    }
}
