//! A server that follows, or observes (Apache `Learner`, `Follower`, `Observer`): connects, accepts
//! the epoch, takes over the leader's history, logs and acknowledges, applies what is committed.
//!
//! ```text
//! Connecting -> AwaitingEpoch -> SavingAcceptedEpoch -> AwaitingSync
//!    -> [AwaitingImage | Truncating] -> Receiving -> SavingHistory -> SavingEpoch
//!    -> AwaitingUpToDate -> Serving
//! ```
//!
//! The order of the variants is the order of what is promised: each `Saving...` is left only by
//! [`Learner::handle_persisted`], and what it promises is said there (ZOOKEEPER-3911, 4643, 4646,
//! 4785). PROPOSAL and COMMIT may come anywhere between the first sync packet and UPTODATE, around
//! NEWLEADER too (A14, ZOOKEEPER-4394): they are logged as they come, and applied at UPTODATE.
//!
//! With `observerMasterPort` an observer learns from a follower, which is its leader in all that
//! follows ([`mod@connect`]); what a follower does for its observers is in [`mod@master`].

mod connect;
mod delivery;
mod discovery;
mod master;
mod reconfig;

use std::collections::VecDeque;
use std::time::Duration;

use super::action::*;
use super::core::{Core, mutant};
use super::leader::LearnerView;
use super::membership::Membership;
use super::options::Standing;
use crate::proto::quorum::{
    PacketKind, QuorumPacket, designated_leader, is_marked, promised_silence, truncation_print,
};
use crate::types::{Epoch, Instant, LinkId, ServerId, Zxid};
use master::Master;

/// A deadline that is noticed so late says that this server stood still, not its leader.
const OVERSLEPT: Duration = Duration::from_millis(500);

/// How far a learner has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The link is being made, or will be tried again at this time.
    Connecting { retry_at: Option<Instant> },
    /// FOLLOWERINFO was sent.
    AwaitingEpoch,
    /// The leader's epoch is being saved as accepted.
    SavingAcceptedEpoch,
    /// ACKEPOCH was sent.
    AwaitingSync,
    /// SNAP has come; its stream hasn't, whole.
    AwaitingImage { zxid: Zxid },
    /// The log is being cut; what comes meanwhile waits.
    Truncating { op: OpId, to: Zxid, waiting: VecDeque<QuorumPacket> },
    /// Transactions come.
    Receiving,
    /// NEWLEADER has come; what was received is being saved.
    SavingHistory { through: OpId },
    /// The epoch is being saved as current.
    SavingEpoch,
    /// NEWLEADER was acknowledged.
    AwaitingUpToDate,
    /// UPTODATE has come; the state is still being loaded.
    Loading,
    /// The server serves.
    Serving,
}

impl Phase {
    const fn name(&self) -> &'static str {
        match self {
            Phase::Connecting { .. } => "connecting",
            Phase::AwaitingEpoch => "awaiting the epoch",
            Phase::SavingAcceptedEpoch => "saving the accepted epoch",
            Phase::AwaitingSync => "awaiting DIFF, TRUNC or SNAP",
            Phase::AwaitingImage { .. } => "awaiting a snapshot",
            Phase::Truncating { .. } => "truncating",
            Phase::Receiving => "receiving history",
            Phase::SavingHistory { .. } => "saving history",
            Phase::SavingEpoch => "saving the current epoch",
            Phase::AwaitingUpToDate => "awaiting UPTODATE",
            Phase::Loading => "loading",
            Phase::Serving => "serving",
        }
    }

    /// Whether NEWLEADER has been acknowledged.
    fn has_acked(&self) -> bool {
        matches!(self, Phase::AwaitingUpToDate | Phase::Loading | Phase::Serving)
    }

    /// Whether transactions may come.
    fn receives(&self) -> bool {
        self.has_acked()
            || matches!(self, Phase::Receiving | Phase::SavingHistory { .. } | Phase::SavingEpoch)
    }
}

/// How an attempt to follow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// This server served.
    Served,
    /// The leader was reached.
    Refused,
    /// It wasn't.
    Unreachable,
}

/// The learner.
#[derive(Clone, Debug)]
pub(super) struct Learner {
    leader: ServerId,
    /// Whom it learns from: the leader, or for an observer perhaps a follower.
    source: ServerId,
    /// Followers asked so far, and since when.
    asked: usize,
    began: Instant,
    link: LinkId,
    observer: bool,
    /// What it does for observers, while it follows and serves.
    master: Option<Master>,
    phase: Phase,
    epoch: Option<Epoch>,
    /// The leader has said that it is a rookeeper.
    rookeeper: bool,
    tries_left: u32,
    /// It has served clients: what ends it now is no vain attempt.
    served: bool,
    /// When the leader counts as silent.
    deadline: Instant,
    /// How long it may be, once this server serves: what its last ping promised.
    patience: Duration,
    /// Pings that came between UPTODATE and the end of loading. The leader counts answers.
    owed_pings: Vec<Zxid>,
    /// Answers to syncs, and what must be delivered here before each: what the leader has committed
    /// may not be on this server's disk yet.
    held_syncs: VecDeque<(Zxid, QuorumPacket)>,
    /// The deadline was passed unseen, and given up once.
    overslept: bool,
    /// The link exists, or is being made.
    open: bool,
    /// A link to the leader has stood.
    reached: bool,
    /// What is known to be committed, or was the leader's initial history.
    committed: Zxid,
    /// Where a snapshot ended: transactions up to it may be repeated by a leader whose snapshots
    /// are fuzzy, and are skipped.
    repeated_through: Zxid,
    /// Proposals to acknowledge once durable, and NEWLEADER is acknowledged.
    to_ack: VecDeque<Zxid>,
    last_op: OpId,
    /// The config that NEWLEADER carried, where the membership may change.
    offered: Option<Membership>,
    /// A mutant keeps transactions back until the epoch is saved (A13).
    #[cfg(any(test, feature = "sim"))]
    held_back: Vec<EncodedTxn>,
}

impl Learner {
    /// Begins to follow `leader`. After `failures` leaders in a row that did not take this server the
    /// first connect waits a little, so that one that refuses isn't asked at the network's speed.
    pub fn new(core: &mut Core, now: Instant, leader: ServerId, failures: u32) -> Learner {
        let observer = core.options.membership.is_observer(core.me());
        // Shorter than leaders wait for their followers, or the two would never meet.
        let wait = Duration::from_millis(match failures {
            0 => 0,
            n => 12 << n.min(5),
        })
        .min(core.options.establish_patience / 4);
        let mut learner = Learner {
            leader,
            source: leader,
            asked: 0,
            began: now,
            link: LinkId(0),
            observer,
            master: None,
            phase: Phase::Connecting { retry_at: Some(now + wait) },
            epoch: None,
            rookeeper: false,
            tries_left: core.options.connect_tries,
            served: false,
            deadline: now + wait + core.options.init_time(),
            patience: core.options.sync_time(),
            owed_pings: Vec::new(),
            held_syncs: VecDeque::new(),
            overslept: false,
            open: false,
            reached: false,
            committed: Zxid::ZERO,
            repeated_through: Zxid::ZERO,
            to_ack: VecDeque::new(),
            last_op: OpId(0),
            offered: None,
            #[cfg(any(test, feature = "sim"))]
            held_back: Vec::new(),
        };
        learner.announce(core);
        if wait.is_zero() {
            learner.connect(core, now);
        }
        learner
    }

    // Getters.

    pub fn leader(&self) -> ServerId {
        self.leader
    }

    pub fn is_observer(&self) -> bool {
        self.observer
    }

    /// Whether its leader has not said a word yet.
    pub fn awaits_leader(&self) -> bool {
        let began = matches!(self.phase, Phase::Connecting { .. } | Phase::AwaitingEpoch);
        began && self.source == self.leader
    }

    pub fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    pub fn source(&self) -> ServerId {
        self.source
    }

    /// The observers of a follower.
    pub fn observers(&self) -> Vec<LearnerView> {
        self.master.as_ref().map(Master::observers).unwrap_or_default()
    }

    pub fn serves_observer(&self, link: LinkId) -> bool {
        self.master.as_ref().is_some_and(|m| m.has_link(link))
    }

    pub fn outcome(&self) -> Outcome {
        match (self.served, self.reached) {
            (true, _) => Outcome::Served,
            (_, true) => Outcome::Refused,
            _ => Outcome::Unreachable,
        }
    }

    pub fn link(&self) -> Option<LinkId> {
        (!matches!(self.phase, Phase::Connecting { .. })).then_some(self.link)
    }

    /// Whether `link` is the one to the leader. Older ones may still have packets under way.
    pub fn owns(&self, link: LinkId) -> bool {
        link == self.link
    }

    // Events.

    pub fn handle_link(&mut self, core: &mut Core, now: Instant, event: LinkEvent) {
        let limit = match self.phase {
            _ if self.phase.has_acked() => self.patience,
            _ => core.options.init_time(),
        };
        self.overslept = false;
        match event {
            LinkEvent::Up => self.introduce(core, now),
            LinkEvent::Packet(packet) => {
                self.deadline = now + limit;
                if let Err(why) = self.handle_packet(core, now, packet) {
                    let (leader, error) = (self.leader, why);
                    core.stats.links_dropped += 1;
                    core.leave(Why::LeaderMisbehaved { leader, error });
                }
            }
            LinkEvent::Progress => self.deadline = now + limit,
            LinkEvent::Image(image) => {
                self.deadline = now + limit;
                if let Phase::AwaitingImage { zxid } = self.phase {
                    self.install(core, now, zxid, image);
                }
            }
            LinkEvent::Down => self.link_down(core, now),
        }
    }

    pub fn handle_persisted(&mut self, core: &mut Core, now: Instant, done: Persisted) {
        match (&mut self.phase, done) {
            (Phase::Truncating { op, to, .. }, Persisted::CannotTruncate(done)) if *op == done => {
                core.ask_snapshot = true;
                let (leader, error) = (self.leader, LinkError::CannotTruncate(*to));
                return core.leave(Why::LeaderMisbehaved { leader, error });
            }
            (Phase::Truncating { op, waiting, .. }, Persisted::Truncated { op: done, last })
                if *op == done =>
            {
                let waiting = std::mem::take(waiting);
                self.committed = last;
                self.phase = Phase::Receiving;
                for packet in waiting {
                    if let Err(error) = self.handle_packet(core, now, packet) {
                        let leader = self.leader;
                        return core.leave(Why::LeaderMisbehaved { leader, error });
                    }
                }
            }
            _ => {}
        }
        self.advance(core, now);
        self.ack_durable(core);
        if self.is_serving() {
            self.deliver(core);
        }
    }

    pub fn handle_loaded(&mut self, core: &mut Core, now: Instant) {
        if self.phase == Phase::Loading {
            self.serve(core, now);
        }
    }

    /// Observers of this follower may get their snapshots.
    pub fn send_waiting_snapshots(&mut self, core: &mut Core) {
        if let Some(master) = &mut self.master {
            master.send_waiting_snapshots(core);
        }
    }

    /// Something happened to a link of an observer of this follower.
    pub fn handle_observer(
        &mut self,
        core: &mut Core,
        now: Instant,
        link: LinkId,
        event: LinkEvent,
    ) {
        match &mut self.master {
            Some(master) => master.handle_link(core, now, link, event),
            None if event == LinkEvent::Up => core.close(link, LinkError::NotLeading),
            None => {}
        }
    }

    pub fn handle_log_read(&mut self, core: &mut Core, read: ReadId, found: Option<LogRead>) {
        if let Some(master) = &mut self.master {
            master.handle_log_read(core, read, found);
        }
    }

    pub fn handle_timeout(&mut self, core: &mut Core, now: Instant) {
        if now >= self.deadline + OVERSLEPT && !self.overslept {
            // It is this server that stood still: what the leader said meanwhile is still to be read.
            self.overslept = true;
            self.deadline = now + OVERSLEPT;
            return;
        }
        if now >= self.deadline {
            return core.leave(match self.phase {
                Phase::Connecting { .. } => Why::LeaderUnreachable(self.leader),
                _ => Why::LeaderSilent(self.source),
            });
        }
        if let Phase::Connecting { retry_at: Some(at) } = self.phase
            && now >= at
        {
            self.connect(core, now);
        }
        if let Some(master) = &mut self.master {
            master.handle_timeout(core, now);
        }
    }

    pub fn poll_timeout(&self) -> Instant {
        match self.phase {
            Phase::Connecting { retry_at: Some(at) } => at.min(self.deadline),
            _ => {
                self.master.as_ref().map_or(self.deadline, |m| m.poll_timeout().min(self.deadline))
            }
        }
    }

    /// Closes the link, and those of observers.
    pub fn end(&mut self, core: &mut Core) {
        core.master_turn = core.master_turn.wrapping_add(self.asked);
        if let Some(mut master) = self.master.take() {
            master.end(core);
        }
        if self.open {
            core.close(self.link, LinkError::RoleEnded);
        }
    }

    /// Sends a packet of the layers above, if the server serves.
    pub fn forward(&self, core: &mut Core, packet: QuorumPacket) -> bool {
        if self.is_serving() {
            core.send(self.link, packet);
        }
        self.is_serving()
    }

    // Connecting, discovery.

    fn announce(&self, core: &mut Core) {
        core.act(Action::RoleChanged(RoleChange::Following {
            leader: self.leader,
            epoch: self.epoch.unwrap_or_default(),
            serving: self.is_serving(),
            observer: self.observer,
        }));
    }

    /// The end of the log: durable, because the disk owed nothing when the election began.
    fn claimed(&self, core: &Core) -> Zxid {
        if mutant!(core, ClaimMemoryZxid) {
            return core.history.last();
        }
        core.history.durable()
    }

    // Packets.

    fn handle_packet(
        &mut self,
        core: &mut Core,
        now: Instant,
        packet: QuorumPacket,
    ) -> Result<(), LinkError> {
        if let Phase::Truncating { waiting, .. } = &mut self.phase {
            waiting.push_back(packet);
            return Ok(());
        }
        let zxid = packet.zxid;
        match packet.kind {
            PacketKind::LeaderInfo if self.phase == Phase::AwaitingEpoch => {
                self.rookeeper = is_marked(&packet);
                self.take_epoch(core, now, zxid.epoch())
            }
            PacketKind::Diff | PacketKind::Trunc | PacketKind::Snap
                if self.phase == Phase::AwaitingSync =>
            {
                self.begin_sync(core, now, packet.kind, zxid, truncation_print(&packet))
            }
            PacketKind::Proposal if self.phase.receives() => {
                self.take_proposal(core, now, zxid, packet.payload(), true)
            }
            PacketKind::Commit if self.phase.receives() => self.take_commit(core, zxid, None),
            PacketKind::CommitAndActivate if self.phase.receives() => {
                let leader = designated_leader(&packet)
                    .map_err(|_| LinkError::Undecodable(packet.kind.name()))?;
                self.commit_change(core, now, zxid, leader)
            }
            PacketKind::Inform if self.phase.receives() => {
                self.take_proposal(core, now, zxid, packet.payload(), false)?;
                self.take_commit(core, zxid, None)
            }
            PacketKind::InformAndActivate if self.phase.receives() => {
                let leader = designated_leader(&packet)
                    .map_err(|_| LinkError::Undecodable(packet.kind.name()))?;
                self.take_proposal(core, now, zxid, packet.payload().slice(8..), false)?;
                self.commit_change(core, now, zxid, leader)
            }
            PacketKind::NewLeader if self.phase == Phase::Receiving => {
                self.take_new_leader(core, now, packet)
            }
            PacketKind::UpToDate if self.phase == Phase::AwaitingUpToDate => {
                self.take_up_to_date(core, now);
                Ok(())
            }
            PacketKind::Ping if self.phase == Phase::Loading => {
                self.owed_pings.push(zxid);
                Ok(())
            }
            PacketKind::Ping if self.is_serving() => {
                let limit = core.options.sync_time();
                self.patience = match promised_silence(&packet) {
                    Some(ms) => Duration::from_millis(ms.into()).min(limit),
                    None => limit,
                };
                self.deadline = now + self.patience;
                core.act(Action::AnswerPing { zxid });
                Ok(())
            }
            // Apache's leader pings while a learner synchronises, and gets no answer.
            PacketKind::Ping if self.epoch.is_some() => Ok(()),
            PacketKind::Sync if self.is_serving() => {
                self.held_syncs.push_back((self.committed, packet));
                self.pass_syncs(core);
                Ok(())
            }
            PacketKind::Revalidate if self.is_serving() => {
                core.act(Action::FromLeader(packet));
                Ok(())
            }
            PacketKind::UpToDate | PacketKind::Revalidate | PacketKind::Sync
                if self.phase.has_acked() =>
            {
                Ok(())
            }
            kind => Err(LinkError::Unexpected { packet: kind.name(), phase: self.phase.name() }),
        }
    }

    fn begin_sync(
        &mut self,
        core: &mut Core,
        now: Instant,
        kind: PacketKind,
        zxid: Zxid,
        print: Option<u32>,
    ) -> Result<(), LinkError> {
        if kind == PacketKind::Snap {
            self.check_kept(core, kind, zxid)?;
            self.phase = Phase::AwaitingImage { zxid };
            return Ok(());
        }
        if core.standing == Standing::MustResync || core.ask_snapshot || self.owes_snapshot(core) {
            return Err(LinkError::SnapshotNeeded);
        }
        let last = core.history.last();
        self.committed = last;
        if kind == PacketKind::Diff {
            self.phase = Phase::Receiving;
            return Ok(());
        }
        if zxid > last {
            return Err(LinkError::BadTruncation { to: zxid, last });
        }
        self.check_kept(core, kind, zxid)?;
        if print.is_some_and(|print| core.history.print_at(zxid) != Some(print)) {
            // What is left after the cut would not be the leader's, though the zxid is.
            core.foreign = true;
            return Err(LinkError::HistoryDiffers(zxid));
        }
        if zxid == last {
            self.phase = Phase::Receiving;
            return Ok(());
        }
        if mutant!(core, TruncInMemoryOnly) {
            core.history.truncate(zxid);
            self.committed = zxid;
            self.phase = Phase::Receiving;
            return Ok(());
        }
        let op = core.truncate(now, zxid);
        self.phase = Phase::Truncating { op, to: zxid, waiting: VecDeque::new() };
        Ok(())
    }

    /// Whether this server still has what it knows to be committed after TRUNC or SNAP to `zxid`. Of
    /// the present epoch whom it learns from may not have heard yet (a follower that serves
    /// observers), or not have applied it (Apache's leader): it is asked again later. A leader of a
    /// later epoch never will have it: the process ends, and an operator decides.
    fn check_kept(&self, core: &mut Core, kind: PacketKind, zxid: Zxid) -> Result<(), LinkError> {
        let committed = core.known_committed();
        if zxid >= committed {
            return Ok(());
        }
        if Some(committed.epoch()) != self.epoch {
            let by = if kind == PacketKind::Snap { "sends a snapshot of" } else { "truncates to" };
            let why =
                ExitReason::CommittedWouldBeLost { leader: self.leader, by, to: zxid, committed };
            core.act(Action::Exit(why));
        }
        Err(LinkError::Behind { to: zxid, committed })
    }

    fn install(&mut self, core: &mut Core, now: Instant, zxid: Zxid, image: ImageId) {
        self.last_op = core.install_snapshot(now, zxid, image);
        self.committed = zxid;
        self.repeated_through = zxid;
        self.phase = Phase::Receiving;
    }

    fn take_proposal(
        &mut self,
        core: &mut Core,
        now: Instant,
        zxid: Zxid,
        bytes: bytes::Bytes,
        acknowledge: bool,
    ) -> Result<(), LinkError> {
        if zxid <= self.repeated_through {
            return Ok(());
        }
        let txn = EncodedTxn::new(zxid, bytes);
        #[cfg(any(test, feature = "sim"))]
        if mutant!(core, EpochBeforeTxns) && !self.phase.has_acked() {
            self.held_back.push(txn);
            return Ok(());
        }
        let last = core.history.last();
        if !zxid.follows(last) {
            // A hole would be promised away, and passed on (A17, ZOOKEEPER-4925). The first step,
            // from this server's own end, is checked too.
            core.ask_snapshot |= !self.phase.has_acked();
            return Err(LinkError::Gap { last, got: zxid });
        }
        core.note_proposal(now, &txn);
        self.last_op = core.append(now, txn);
        if acknowledge && !self.observer {
            self.to_ack.push_back(zxid);
            if mutant!(core, AckBeforePersist) && self.phase.has_acked() {
                self.to_ack.pop_back();
                core.send_bare(self.link, PacketKind::Ack, zxid);
            }
        }
        if mutant!(core, DeliverOnProposal) && self.is_serving() {
            core.deliver_through(zxid, true);
        }
        Ok(())
    }

    /// `leader` is the one to lead from here on, where this commit changes the membership.
    fn take_commit(
        &mut self,
        core: &mut Core,
        zxid: Zxid,
        leader: Option<ServerId>,
    ) -> Result<(), LinkError> {
        if zxid <= self.repeated_through {
            return Ok(());
        }
        #[cfg(any(test, feature = "sim"))]
        if !self.held_back.is_empty() {
            self.committed = zxid;
            return Ok(());
        }
        let expected = core.history.after(self.committed).next().map(|t| t.zxid);
        if expected != Some(zxid) {
            return Err(LinkError::CommitOutOfOrder { expected, got: zxid });
        }
        self.committed = zxid;
        if !self.phase.has_acked() {
            // Part of the leader's history, covered by the acknowledgement of NEWLEADER.
            while self.to_ack.front().is_some_and(|z| *z <= zxid) {
                self.to_ack.pop_front();
            }
        }
        if self.is_serving() {
            self.deliver(core);
        }
        if let Some(master) = &mut self.master {
            master.commit(core, zxid, leader);
        }
        Ok(())
    }

    fn take_new_leader(
        &mut self,
        core: &mut Core,
        now: Instant,
        packet: QuorumPacket,
    ) -> Result<(), LinkError> {
        let expected = Zxid::new(self.epoch.unwrap_or_default(), 0);
        if packet.zxid != expected {
            let packet = packet.kind.name();
            return Err(LinkError::Unexpected { packet, phase: "another epoch" });
        }
        if let Some(text) = packet.data
            && !text.is_empty()
        {
            self.take_offer(core, now, text);
        }
        self.phase = Phase::SavingHistory { through: self.last_op };
        #[cfg(any(test, feature = "sim"))]
        if mutant!(core, EpochBeforeTxns) {
            self.phase = Phase::SavingEpoch;
            core.save_current_epoch(now, expected.epoch());
            for txn in std::mem::take(&mut self.held_back) {
                self.last_op = core.append(now, txn);
            }
            return Ok(());
        }
        if mutant!(core, SnapshotAckedUnsynced) {
            core.save_current_epoch(now, expected.epoch());
            self.ack_new_leader(core);
            return Ok(());
        }
        if core.is_durable(self.last_op) {
            self.save_epoch(core, now);
        }
        Ok(())
    }

    /// The history is on disk: only now may the epoch that stands for it be saved (A13,
    /// ZOOKEEPER-4643, 4785).
    fn save_epoch(&mut self, core: &mut Core, now: Instant) {
        let epoch = self.epoch.unwrap_or_default();
        if mutant!(core, CurrentEpochNotSaved) {
            return self.ack_new_leader(core);
        }
        self.phase = Phase::SavingEpoch;
        core.save_current_epoch(now, epoch);
    }

    /// Everything is on disk: this server holds the leader's history, and says so.
    fn ack_new_leader(&mut self, core: &mut Core) {
        let epoch = self.epoch.unwrap_or_default();
        self.phase = Phase::AwaitingUpToDate;
        (core.ask_snapshot, core.foreign) = (false, false);
        if core.standing == Standing::MustResync {
            core.standing = Standing::Sound;
            core.act(Action::Resynced);
        }
        core.send_bare(self.link, PacketKind::Ack, Zxid::new(epoch, 0));
    }

    fn take_up_to_date(&mut self, core: &mut Core, now: Instant) {
        if !self.take_membership(core, now) {
            return;
        }
        let epoch = self.epoch.unwrap_or_default();
        core.send_bare(self.link, PacketKind::Ack, Zxid::new(epoch, 0));
        if core.loading {
            self.phase = Phase::Loading;
        } else {
            self.serve(core, now);
        }
    }

    fn serve(&mut self, core: &mut Core, now: Instant) {
        self.phase = Phase::Serving;
        self.served = true;
        core.vote.peer_epoch = self.epoch.unwrap_or_default();
        core.forget_warnings();
        self.deliver(core);
        self.announce(core);
        for zxid in std::mem::take(&mut self.owed_pings) {
            core.act(Action::AnswerPing { zxid });
        }
        if core.options.observer_masters && !self.observer {
            let epoch = self.epoch.unwrap_or_default();
            self.master = Some(Master::new(core, now, epoch, self.committed));
        }
    }

    // The disk.

    /// Goes on as far as what is on disk allows; nothing else makes these steps.
    fn advance(&mut self, core: &mut Core, now: Instant) {
        let Some(epoch) = self.epoch else { return };
        match self.phase {
            Phase::SavingAcceptedEpoch if core.accepted_epoch() >= epoch => {
                self.ack_epoch(core, core.current_epoch());
            }
            Phase::SavingHistory { through } if core.is_durable(through) => {
                self.save_epoch(core, now);
            }
            Phase::SavingEpoch if core.current_epoch() >= epoch => self.ack_new_leader(core),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
