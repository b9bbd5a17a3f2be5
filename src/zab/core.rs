//! What every role shares: settings, the disk's mirror, the history, and the queue of actions.
//!
//! Roles get a `&mut Core` with every event. They never change the role themselves: they ask by
//! [`Core::leave`], and [`Peer`](super::Peer) does it after the event.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::action::*;
use super::election::Vote;
use super::history::History;
use super::membership::Membership;
#[cfg(any(test, feature = "sim"))]
use super::options::Mutant;
use super::options::{DiskState, Options, Standing};
use super::warning::Warning;
use crate::proto::election::{NOTIFICATION_VERSION, Notification, ServerState};
use crate::proto::quorum::{PacketKind, QuorumPacket};
use crate::types::{Epoch, Instant, LinkId, ServerId, Zxid};

/// By how much an epoch may exceed what was accepted here: more elections than half a year of one every
/// second. Less would do for any ensemble that serves; each step so large takes a 128th of all epochs.
pub(super) const EPOCH_JUMP_MAX: i64 = 1 << 24;

/// The last epoch that a zxid, which is a signed number, can hold and another may follow.
pub(super) const EPOCH_LAST: Epoch = Epoch(i32::MAX as i64 - 1);

/// Rounds are counted from a server's start; a member that is said to have come so far has not.
const ROUND_MAX: i64 = 1 << 40;

/// A change of role, to be made after the event that asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    /// Search for a leader.
    Look(Why),
    /// An election chose this vote.
    Elected(Vote),
    /// End for good.
    Stop,
}

/// A request to the disk that has not been answered.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    op: OpId,
    since: Instant,
    what: Write,
}

/// What an outstanding request will have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    Append(Zxid),
    AcceptedEpoch(Epoch),
    CurrentEpoch(Epoch),
    Truncate,
    Install(Zxid),
    Config,
}

/// What the roles share.
#[derive(Clone, Debug)]
pub(super) struct Core {
    pub options: Options,
    pub history: History,
    pub standing: Standing,
    /// Ask the next leader for a snapshot, because what is on disk can't be continued.
    pub ask_snapshot: bool,
    /// A rookeeper's history was another than what is on disk: only a snapshot makes it the same.
    /// What is on disk speaks for this server all the same.
    pub foreign: bool,
    /// The vote that settled this server, told to those who search.
    pub vote: Vote,
    /// The election round (Apache's logical clock) of `vote`, or of the election under way.
    pub round: i64,
    /// The newest transaction that this server has seen committed in this life: never to be given up.
    known_committed: Zxid,
    /// The state is being rebuilt from disk: nothing may be delivered to it, or served from it.
    pub loading: bool,
    accepted_epoch: Epoch,
    current_epoch: Epoch,
    outstanding: VecDeque<Outstanding>,
    next_op: u64,
    next_read: u64,
    next_link: u64,
    actions: VecDeque<Action>,
    pub transition: Option<Transition>,
    /// Members whose election port refuses connections.
    pub unreachable: BTreeSet<ServerId>,
    /// Which of the followers an observer asks next to serve it.
    pub master_turn: usize,
    /// The leader that was left because it was silent, until it is heard again.
    pub silent: Option<ServerId>,
    /// Another program holds this server's quorum port: it can't lead.
    pub port_held: bool,
    /// The newest config that was proposed, while it isn't in force; its rule is the `next` one of
    /// the membership's quorum.
    pub seen: Option<Membership>,
    /// Whom to follow, or that this server is to lead, without an election: a leader that was taken
    /// out of the membership says so.
    pub suggested: Option<Vote>,
    /// What the host has said of snapshots for learners.
    pub snapshots: Snapshots,
    /// Counters for operators.
    pub stats: Stats,
    /// What a voter has accepted that this server, as a leader, let in by leaving its own epoch: the
    /// next epoch it begins is later.
    pub later: Epoch,
    /// What operators were told.
    warned: BTreeSet<(ServerId, u8)>,
}

/// What may be sent to learners that need a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshots {
    /// A walk through the state is under way, so that no other can begin.
    pub held: bool,
    /// An image that there is: the state as of this transaction, or the start of an epoch.
    pub image: Option<Zxid>,
}

/// A way to bring a learner up, as far as a limit asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncKind {
    /// SNAP.
    Snap,
    /// DIFF or TRUNC.
    Diff,
}

impl Core {
    /// Counts those that are being brought up, for operators.
    pub fn count_syncing(&mut self, all: impl Iterator<Item = Option<SyncKind>>) {
        self.stats.syncing = [0; 2];
        for kind in all.flatten() {
            self.stats.syncing[usize::from(kind == SyncKind::Diff)] += 1;
        }
    }

    /// Whether one more learner may be brought up in this way beside `syncing` others.
    pub fn may_sync(&self, kind: SyncKind, syncing: usize) -> Result<(), LinkError> {
        let (kind, max) = match kind {
            SyncKind::Snap => ("snapshot", self.options.snap_syncs_max),
            SyncKind::Diff => ("difference", self.options.diff_syncs_max),
        };
        if syncing < max { Ok(()) } else { Err(LinkError::TooManySyncs { kind, syncing, max }) }
    }

    /// The image that a learner may have: what it needs after it is in memory, and it holds no less
    /// than `at_least`. `at` is what the state is at, and `grows` whether more may be sent behind it.
    pub fn usable_image(&self, at_least: Zxid, at: Zxid, grows: bool) -> Option<Zxid> {
        let image = self.snapshots.image.filter(|z| *z >= at_least && *z <= at)?;
        (image == at || grows && image >= self.history.floor()).then_some(image)
    }
}

/// Counters of one peer since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Elections begun.
    pub elections: u64,
    /// Learners brought up to date, by the way it was done.
    pub syncs: SyncCounts,
    /// Learners that are being brought up now, by a snapshot and in the other ways.
    pub syncing: [usize; 2],
    /// Links dropped because the other side broke the protocol or fell silent.
    pub links_dropped: u64,
}

/// How often each way of bringing a learner up to date was used, as a leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncCounts {
    /// DIFF from memory.
    pub diff: u64,
    /// DIFF, or TRUNC and DIFF, that needed the log on disk.
    pub log: u64,
    /// TRUNC alone.
    pub trunc: u64,
    /// TRUNC followed by transactions.
    pub trunc_diff: u64,
    /// SNAP.
    pub snap: u64,
}

impl Core {
    pub fn new(mut options: Options, disk: DiskState) -> Core {
        let seen = options.seen.take().filter(|seen| seen.version > options.membership.version);
        options.membership.quorum.next = seen.as_ref().map(|seen| seen.quorum.current.clone());
        let retain = options.commit_log_count;
        let history = History::new(disk.recent_after, disk.recent, disk.last, retain);
        Core {
            history,
            standing: disk.standing,
            ask_snapshot: false,
            foreign: false,
            vote: Vote::NONE,
            round: 0,
            known_committed: Zxid::ZERO,
            loading: false,
            accepted_epoch: disk.accepted_epoch,
            current_epoch: disk.current_epoch,
            outstanding: VecDeque::new(),
            next_op: 1,
            next_read: 1,
            next_link: LINK_OUTBOUND,
            actions: VecDeque::new(),
            transition: None,
            unreachable: BTreeSet::new(),
            master_turn: options.id.0.unsigned_abs() as usize,
            silent: None,
            port_held: options.port_held,
            seen,
            suggested: None,
            snapshots: Snapshots::default(),
            stats: Stats::default(),
            later: Epoch(0),
            warned: BTreeSet::new(),
            options,
        }
    }

    pub fn me(&self) -> ServerId {
        self.options.id
    }

    /// Whether this server has a vote by the config.
    pub fn is_voter(&self) -> bool {
        self.options.membership.is_voter(self.options.id)
    }

    /// The newest durable accepted epoch.
    pub fn accepted_epoch(&self) -> Epoch {
        self.accepted_epoch
    }

    /// The newest durable current epoch.
    pub fn current_epoch(&self) -> Epoch {
        self.current_epoch
    }

    // Actions.

    pub fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// [`EncodedTxn::print`] of the transaction at `zxid`: of the one that was read from the log on
    /// disk, or one in memory.
    pub fn print_at(&self, read: Option<(Zxid, u32)>, zxid: Zxid) -> Option<u32> {
        let read = read.filter(|(found, _)| *found == zxid).map(|(_, print)| print);
        read.or_else(|| self.history.print_at(zxid))
    }

    /// Tells the operator, unless it was said before.
    pub fn warn(&mut self, warning: Warning) {
        if self.warned.len() < WARNED_MAX && self.warned.insert(warning.cause()) {
            self.act(Action::Warn(warning));
        }
    }

    /// This server serves: what was said of those before may be said again.
    pub fn forget_warnings(&mut self) {
        self.warned.clear();
    }

    /// Whether no honest history can have led from what this server has accepted to `epoch`.
    pub fn is_absurd(&self, epoch: Epoch) -> bool {
        epoch > EPOCH_LAST || epoch.0.saturating_sub(self.accepted_epoch.0) > EPOCH_JUMP_MAX
    }

    /// Whether this server has nothing, so that it has nothing to compare an epoch with.
    pub fn is_new(&self) -> bool {
        self.accepted_epoch == Epoch(0) && self.history.last() == Zxid::ZERO
    }

    /// Whether no honest member says this; of a voter the operator is told.
    pub fn refuses_vote(&mut self, from: ServerId, n: &Notification) -> bool {
        let settled = n.state != ServerState::Looking;
        let epochs = [n.peer_epoch, n.zxid.epoch()];
        let said = epochs.into_iter().find(|e| self.is_absurd(*e) && !(settled && self.is_new()));
        let warning = match said {
            Some(said) => {
                Warning::AbsurdEpoch { server: from, said, accepted: self.accepted_epoch }
            }
            None if n.round > ROUND_MAX => Warning::AbsurdRound { server: from, round: n.round },
            None => return false,
        };
        if self.options.membership.is_voter(from) {
            self.warn(warning);
        }
        true
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub fn send(&mut self, link: LinkId, packet: QuorumPacket) {
        self.act(Action::Send { link, packet });
    }

    pub fn send_bare(&mut self, link: LinkId, kind: PacketKind, zxid: Zxid) {
        self.send(link, QuorumPacket::new(kind, zxid));
    }

    pub fn close(&mut self, link: LinkId, why: LinkError) {
        if !matches!(why, LinkError::RoleEnded | LinkError::Replaced | LinkError::NotLeading) {
            self.stats.links_dropped += 1;
        }
        self.act(Action::CloseLink { link, why });
    }

    /// Asks for a change of role; the first to ask wins.
    pub fn leave(&mut self, why: Why) {
        self.transition.get_or_insert(Transition::Look(why));
    }

    /// The newest transaction that is known to be committed.
    pub fn known_committed(&self) -> Zxid {
        self.known_committed
    }

    /// Everything through `zxid` is committed. The start of an epoch is no transaction: it stands for
    /// the epoch's initial history, whose end a server that got a snapshot of it does not know. The
    /// next leader may have exactly that history, and then rightly has nothing of the epoch.
    pub fn know_committed(&mut self, zxid: Zxid) {
        if zxid.counter() > 0 {
            self.known_committed = self.known_committed.max(zxid);
        }
    }

    /// Hands transactions to the local state.
    pub fn deliver_through(&mut self, zxid: Zxid, committed: bool) {
        let Core { history, actions, .. } = self;
        history.deliver_through(zxid, |txn| actions.push_back(Action::Deliver { txn, committed }));
    }

    pub fn new_link(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link - 1)
    }

    pub fn new_read(&mut self) -> ReadId {
        self.next_read += 1;
        ReadId(self.next_read - 1)
    }

    /// What a settled server tells one that searches.
    pub fn settled_notification(&self, state: ServerState) -> Notification {
        Notification {
            state,
            leader: self.vote.leader,
            zxid: self.vote.zxid,
            round: self.round,
            peer_epoch: self.vote.peer_epoch,
            version: NOTIFICATION_VERSION,
            config: Some(self.options.membership.text.clone()),
            pending: self.logged_change(self.history.durable()).map(|change| change.text.clone()),
        }
    }

    // The disk. Nothing below says anything to another server: that is done by the roles, in
    // `handle_persisted` and nowhere else.

    fn request(&mut self, now: Instant, what: DiskOp, write: Write) -> OpId {
        let op = OpId(self.next_op);
        self.next_op += 1;
        self.outstanding.push_back(Outstanding { op, since: now, what: write });
        self.act(Action::Disk { op, what });
        op
    }

    /// Appends to the history and the log.
    pub fn append(&mut self, now: Instant, txn: EncodedTxn) -> OpId {
        self.history.push(txn.clone());
        let zxid = txn.zxid;
        self.request(now, DiskOp::Append(txn), Write::Append(zxid))
    }

    pub fn save_accepted_epoch(&mut self, now: Instant, epoch: Epoch) -> OpId {
        assert!(epoch >= self.accepted_epoch, "accepted epoch {epoch} would go back");
        self.request(now, DiskOp::SaveAcceptedEpoch(epoch), Write::AcceptedEpoch(epoch))
    }

    pub fn save_current_epoch(&mut self, now: Instant, epoch: Epoch) -> OpId {
        assert!(epoch >= self.current_epoch, "current epoch {epoch} would go back");
        self.request(now, DiskOp::SaveCurrentEpoch(epoch), Write::CurrentEpoch(epoch))
    }

    pub fn save_config(&mut self, now: Instant, text: bytes::Bytes, active: bool) -> OpId {
        // The change under way may be in the log, and acknowledged: it outlives an older config's
        // coming into force.
        let keep_next = active && self.seen.is_some();
        self.request(now, DiskOp::SaveConfig { text, active, keep_next }, Write::Config)
    }

    pub fn truncate(&mut self, now: Instant, to: Zxid) -> OpId {
        self.request(now, DiskOp::Truncate(to), Write::Truncate)
    }

    pub fn install_snapshot(&mut self, now: Instant, zxid: Zxid, image: ImageId) -> OpId {
        self.history.reset(zxid);
        self.request(now, DiskOp::InstallSnapshot { zxid, image }, Write::Install(zxid))
    }

    /// Takes note of what is durable. A state that doesn't agree with the disk any more is rebuilt,
    /// whatever has become of the role that asked for the change.
    pub fn persisted(&mut self, done: Persisted) {
        match done {
            Persisted::Through(op) | Persisted::CannotTruncate(op) => self.persisted_through(op),
            Persisted::Truncated { op, last } => {
                self.persisted_through(op);
                #[cfg(any(test, feature = "sim"))]
                let durable = self.history.durable();
                // Every mark is lowered, above all the one that acknowledgements rest on (K2).
                if self.history.truncate(last) {
                    self.load(last);
                }
                #[cfg(any(test, feature = "sim"))]
                if self.has(Mutant::DurableNotLowered) {
                    self.history.raise_durable(durable);
                }
            }
        }
    }

    fn load(&mut self, through: Zxid) {
        self.loading = true;
        self.act(Action::LoadState { through });
    }

    fn persisted_through(&mut self, op: OpId) {
        while self.outstanding.front().is_some_and(|o| o.op <= op) {
            let Some(done) = self.outstanding.pop_front() else { break };
            match done.what {
                Write::Append(zxid) => self.history.set_durable(zxid),
                Write::Install(zxid) => {
                    self.history.set_durable(zxid);
                    self.load(zxid);
                }
                Write::AcceptedEpoch(epoch) => self.accepted_epoch = epoch,
                Write::CurrentEpoch(epoch) => self.current_epoch = epoch,
                Write::Truncate | Write::Config => {}
            }
        }
    }

    /// Whether this request, and with it everything before it, is durable.
    pub fn is_durable(&self, op: OpId) -> bool {
        self.outstanding.front().is_none_or(|o| o.op > op)
    }

    /// Whether every request has been answered, and the state agrees with the disk.
    pub fn disk_is_idle(&self) -> bool {
        self.outstanding.is_empty() && !self.loading
    }

    /// How long the disk has owed an answer, in milliseconds.
    pub fn disk_stalled_ms(&self, now: Instant) -> u64 {
        self.outstanding.front().map_or(0, |o| now.since(o.since).as_millis() as u64)
    }

    /// Whether the server has this bug; never, outside the simulator.
    #[cfg(any(test, feature = "sim"))]
    pub fn has(&self, mutant: Mutant) -> bool {
        self.options.mutant == Some(mutant)
    }

    /// Members whose votes an election does not wait for.
    pub fn not_awaited(&self) -> BTreeSet<ServerId> {
        self.unreachable.iter().copied().chain(self.silent).collect()
    }

    /// Whether this server does not stand for election: it could not open its quorum port. Where no
    /// other can be elected it stands all the same, and tries.
    pub fn stands_back(&self) -> bool {
        let electable = |s: &ServerId| *s != self.me() && self.is_electable(*s);
        self.port_held && self.options.membership.quorum.current.voters().iter().any(electable)
    }

    /// Whether this server can be elected.
    pub fn is_electable(&self, server: ServerId) -> bool {
        self.options.membership.quorum.current.weight(server) > 0
    }
}

/// Whether the server has this bug. The second form is the server's: the condition is constant, the
/// code behind it isn't compiled.
#[cfg(any(test, feature = "sim"))]
macro_rules! mutant {
    ($core:expr, $name:ident) => {
        $core.has($crate::zab::options::Mutant::$name)
    };
}
#[cfg(not(any(test, feature = "sim")))]
macro_rules! mutant {
    ($core:expr, $name:ident) => {{
        let _ = &$core;
        false
    }};
}
pub(super) use mutant;

/// Causes that an operator is told of, at most.
const WARNED_MAX: usize = 100;

/// The newest message of each sender, kept while this server can't listen.
pub(super) type Waiting = BTreeMap<ServerId, Notification>;
