//! A server that leads, or tries to (Apache `Leader`): finds the epoch with a quorum, brings each
//! learner up to date, broadcasts, and notices when it has no quorum any more.
//!
//! ```text
//! CollectingEpochs --quorum of FOLLOWERINFO--> SavingAcceptedEpoch --durable--> CollectingAcks
//!     --quorum of ACKEPOCH--> Synchronising --own currentEpoch durable, quorum of ACKs--> Serving
//! ```
//!
//! A learner that comes late goes through the same stages by itself, with the epoch as it is. Whose
//! accepted epoch counts, and who stays out, is in [`mod@discovery`]. What
//! is sent to bring one up to date is in [`mod@transfer`]; pings, silence and what pings prove are in
//! [`mod@liveness`]; who is let in without being a member in [`mod@guests`]; changes of the membership are in [`mod@reconfig`].

mod discovery;
pub(super) mod guests;
mod liveness;
mod reconfig;
mod transfer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::action::*;
use super::core::{Core, SyncKind, mutant};
use super::membership::Membership;
use crate::proto::jute::Jute;
use crate::proto::quorum::{
    Claim, LearnerInfo, PROTOCOL_VERSION, PacketKind, QuorumPacket, ack_epoch_current,
};
use crate::types::{Epoch, Instant, LinkId, ServerId, Zxid};
use liveness::Syncs;

/// Why a transaction was not proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This server isn't an established leader.
    #[error("not an established leader")]
    NotLeading,
    /// The transaction's zxid isn't the next one.
    #[error("the next zxid is {0}")]
    WrongZxid(Zxid),
    /// The epoch's counter is used up; the leader has stepped down.
    #[error("zxid lower 32 bits have rolled over, forcing re-election")]
    RolledOver,
}

/// A learner, as a leader's operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerView {
    /// Its link.
    pub link: LinkId,
    /// Its id; negative for an observer without one.
    pub server: ServerId,
    /// Whether it only observes.
    pub observer: bool,
    /// Whether it has been told UPTODATE.
    pub synced: bool,
}

/// How far a leader has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    CollectingEpochs,
    SavingAcceptedEpoch,
    CollectingAcks,
    Synchronising,
    Serving,
}

/// How far a learner has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is known of it.
    Introducing,
    /// It waits for the epoch.
    AwaitingEpoch,
    /// LEADERINFO was sent.
    AwaitingAck,
    /// It has accepted the epoch; the quorum isn't there yet.
    AwaitingQuorum { last: Zxid },
    /// The log on disk is being read for it.
    ReadingLog { last: Zxid, read: ReadId },
    /// It gets a snapshot as soon as the state has reached this.
    AwaitingSnapshot { at_least: Zxid },
    /// Everything through NEWLEADER is sent; proposals and commits follow as they come.
    Syncing,
    /// It holds the leader's history.
    Synced,
    /// UPTODATE was sent.
    Active,
}

impl Stage {
    /// Whether broadcasts go to it.
    fn forwards(self) -> bool {
        matches!(self, Stage::Syncing | Stage::Synced | Stage::Active)
    }

    const fn name(self) -> &'static str {
        match self {
            Stage::Introducing => "introducing",
            Stage::AwaitingEpoch => "awaiting the epoch",
            Stage::AwaitingAck => "awaiting ACKEPOCH",
            Stage::AwaitingQuorum { .. } => "awaiting a quorum",
            Stage::ReadingLog { .. } => "reading the log",
            Stage::AwaitingSnapshot { .. } => "awaiting a snapshot",
            Stage::Syncing => "syncing",
            Stage::Synced => "synced",
            Stage::Active => "active",
        }
    }
}

/// One learner's link.
#[derive(Clone, Debug)]
struct Link {
    server: ServerId,
    observer: bool,
    /// It has said that it is a rookeeper.
    rookeeper: bool,
    /// What it says of its history.
    claim: Option<Claim>,
    stage: Stage,
    /// How it is being brought up, until it has acknowledged NEWLEADER.
    sync: Option<SyncKind>,
    /// When it counts as silent.
    deadline: Instant,
    /// The proposal whose acknowledgement is watched, and the one to watch after it (Apache
    /// `SyncLimitCheck`).
    watched: Option<(Zxid, Instant)>,
    watch_next: Option<(Zxid, Instant)>,
    pings_sent: u64,
    pings_answered: u64,
}

/// A proposal that isn't committed.
#[derive(Clone, Debug)]
struct Proposal {
    zxid: Zxid,
    /// It changes the membership.
    reconfig: bool,
    acks: BTreeSet<ServerId>,
    /// Links that acknowledged it before they acknowledged NEWLEADER: that counts only after it,
    /// because until then the learner's current epoch isn't saved (A15, ZOOKEEPER-4685). Kept here,
    /// so that a learner can't have more of them than there are proposals, whatever it sends.
    early: BTreeSet<LinkId>,
}

/// The leader.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    phase: Phase,
    epoch: Option<Epoch>,
    /// Who has introduced itself, this one included, and the highest accepted epoch of a voter.
    came: BTreeSet<ServerId>,
    highest: Epoch,
    epoch_acks: BTreeSet<ServerId>,
    history_acks: BTreeSet<ServerId>,
    links: BTreeMap<LinkId, Link>,
    committed: Zxid,
    last_proposed: Zxid,
    proposals: VecDeque<Proposal>,
    syncs: Syncs,
    started: Instant,
    ping_at: Instant,
    /// Every other ping is a tick.
    on_tick: bool,
    /// Since when, while not serving, too few links stand.
    alone_since: Option<Instant>,
    /// Voters that vote for a better leader by now, in the round that elected this one.
    lost_votes: BTreeSet<ServerId>,
    anonymous: i64,
    /// The membership has changed, and another is to lead: nothing is committed any more.
    retiring: Option<reconfig::Retiring>,
}

impl Leader {
    /// Begins to lead: opens the port.
    pub fn new(core: &mut Core, now: Instant) -> Leader {
        core.act(Action::Listen);
        core.act(Action::RoleChanged(RoleChange::Leading { epoch: Epoch(0), serving: false }));
        Leader {
            phase: Phase::CollectingEpochs,
            epoch: None,
            came: BTreeSet::from([core.me()]),
            highest: core.accepted_epoch().max(core.later),
            epoch_acks: BTreeSet::new(),
            history_acks: BTreeSet::new(),
            links: BTreeMap::new(),
            committed: Zxid::ZERO,
            last_proposed: core.history.last(),
            proposals: VecDeque::new(),
            syncs: Syncs::default(),
            started: now,
            ping_at: now + core.options.ping_period(false),
            on_tick: false,
            alone_since: Some(now),
            lost_votes: BTreeSet::new(),
            anonymous: -1,
            retiring: None,
        }
    }

    // Getters.

    pub fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    pub fn committed(&self) -> Zxid {
        self.committed
    }

    pub fn next_zxid(&self) -> Option<Zxid> {
        self.is_serving().then(|| self.last_proposed.next())
    }

    pub fn has_link(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    pub fn learners(&self) -> Vec<LearnerView> {
        let known = self.links.iter().filter(|(_, l)| l.is_introduced());
        let view = |(link, l): (&LinkId, &Link)| LearnerView {
            link: *link,
            server: l.server,
            observer: l.observer,
            synced: l.stage == Stage::Active,
        };
        known.map(view).collect()
    }

    // Events.

    pub fn handle_link(&mut self, core: &mut Core, now: Instant, link: LinkId, event: LinkEvent) {
        match event {
            LinkEvent::Up => {
                let deadline = now + core.options.init_time() + core.options.sync_time();
                let new = Link {
                    server: ServerId(i64::MIN),
                    observer: true,
                    rookeeper: false,
                    claim: None,
                    stage: Stage::Introducing,
                    sync: None,
                    deadline,
                    watched: None,
                    watch_next: None,
                    pings_sent: 0,
                    pings_answered: 0,
                };
                self.links.insert(link, new);
            }
            LinkEvent::Packet(packet) => {
                if !self.links.contains_key(&link) {
                    return;
                }
                if let Err(why) = self.handle_packet(core, now, link, packet) {
                    core.close(link, why);
                    self.forget(core, link);
                }
            }
            LinkEvent::Down => self.forget(core, link),
            LinkEvent::Progress => {
                let deadline = now + core.options.init_time() + core.options.sync_time();
                self.links.entry(link).and_modify(|l| l.deadline = deadline);
            }
            LinkEvent::Image(_) => {}
        }
        self.check_alone(core, now);
        self.check_retired(core);
    }

    pub fn handle_persisted(&mut self, core: &mut Core, now: Instant) {
        self.advance(core, now);
        let durable = core.history.durable();
        let me = core.me();
        for p in self.proposals.iter_mut().take_while(|p| p.zxid <= durable) {
            p.acks.insert(me);
        }
        self.commit_ready(core, now);
    }

    pub fn handle_log_read(&mut self, core: &mut Core, read: ReadId, found: Option<LogRead>) {
        let reading = |l: &Link| match l.stage {
            Stage::ReadingLog { last, read: r } if r == read => Some(last),
            _ => None,
        };
        let link = self.links.iter().find_map(|(id, l)| reading(l).map(|last| (*id, last)));
        if let Some((link, last)) = link {
            self.transfer_from_log(core, link, last, found);
        }
    }

    pub fn handle_timeout(&mut self, core: &mut Core, now: Instant) {
        self.check_alone(core, now);
        if !self.is_serving() && now >= self.started + core.options.init_time() {
            core.leave(Why::NotEstablished);
        }
        if now < self.ping_at || core.transition.is_some() {
            return;
        }
        self.ping_at = now + core.options.ping_period(self.is_quick());
        self.on_tick = !self.on_tick;
        let stalled = core.disk_stalled_ms(now);
        if Duration::from_millis(stalled) > core.options.sync_time() {
            return core.leave(Why::DiskStalled(stalled));
        }
        self.drop_silent(core, now);
        if !self.is_serving() {
            return;
        }
        if self.on_tick && self.retiring.is_some() {
            return self.tick_retiring(core);
        }
        if self.on_tick && !self.has_quorum_of_links(core) {
            return core.leave(Why::QuorumLost);
        }
        self.ping_all(core);
    }

    pub fn poll_timeout(&self, core: &Core) -> Instant {
        if self.is_serving() {
            return self.ping_at;
        }
        let patience = core.options.establish_patience;
        let alone = self.alone_since.map_or(Instant(u64::MAX), |s| s + patience);
        self.ping_at.min(self.started + core.options.init_time()).min(alone)
    }

    /// Closes every link and the port.
    pub fn end(&mut self, core: &mut Core) {
        for link in std::mem::take(&mut self.links).into_keys() {
            core.close(link, LinkError::RoleEnded);
        }
        core.count_syncing(std::iter::empty());
        core.act(Action::StopListening);
    }

    // Commands.

    pub fn propose(
        &mut self,
        core: &mut Core,
        now: Instant,
        txn: EncodedTxn,
    ) -> Result<(), ProposeError> {
        if self.retiring.is_some() {
            return Err(ProposeError::NotLeading);
        }
        let next = self.next_zxid().ok_or(ProposeError::NotLeading)?;
        if mutant!(core, NoZxidWrap) && next.counter() >= core.options.counter_limit {
            self.last_proposed = Zxid::new(Epoch(next.epoch().0 + 1), 0);
            return Err(ProposeError::WrongZxid(self.last_proposed.next()));
        }
        if next.counter() >= core.options.counter_limit {
            core.leave(Why::RolledOver);
            return Err(ProposeError::RolledOver);
        }
        if txn.zxid != next {
            return Err(ProposeError::WrongZxid(next));
        }
        let packet = QuorumPacket::with_data(PacketKind::Proposal, txn.zxid, txn.bytes.clone());
        for (link, l) in &mut self.links {
            if l.stage.forwards() && !l.observer {
                l.watch(txn.zxid, now);
                core.send(*link, packet.clone());
            }
        }
        self.last_proposed = txn.zxid;
        let reconfig = core.note_proposal(now, &txn);
        let (acks, early) = (BTreeSet::new(), BTreeSet::new());
        self.proposals.push_back(Proposal { zxid: txn.zxid, reconfig, acks, early });
        core.append(now, txn);
        Ok(())
    }

    pub fn sync(&mut self, core: &mut Core, token: u64) -> bool {
        if !self.is_serving() || self.retiring.is_some() {
            return false;
        }
        // A round that is under way began before this request, so it proves nothing about it.
        let round = self.syncs.begun + 1;
        self.syncs.waiting.push_back((token, self.last_proposed, round));
        if self.syncs.begun == self.syncs.confirmed {
            self.begin_round(core);
        }
        self.answer_syncs(core);
        true
    }

    // Packets.

    fn handle_packet(
        &mut self,
        core: &mut Core,
        now: Instant,
        link: LinkId,
        packet: QuorumPacket,
    ) -> Result<(), LinkError> {
        let Some(l) = self.links.get_mut(&link) else { return Ok(()) };
        let limit = core.options.sync_time();
        l.deadline = match l.stage {
            Stage::Active => now + limit,
            _ => now + limit + core.options.init_time(),
        };
        let server = l.server;
        match (l.stage, packet.kind) {
            (Stage::Introducing, PacketKind::FollowerInfo | PacketKind::ObserverInfo) => {
                self.introduce(core, now, link, &packet)
            }
            (Stage::AwaitingAck, PacketKind::AckEpoch) => {
                self.take_epoch_ack(core, now, link, &packet)
            }
            (Stage::Syncing | Stage::Synced | Stage::Active, PacketKind::Ack) => {
                self.take_ack(core, now, link, packet.zxid);
                Ok(())
            }
            (Stage::Active, PacketKind::Ping) => {
                l.pings_answered += 1;
                core.act(Action::FromLearner { link, server, packet });
                self.check_round(core);
                Ok(())
            }
            (Stage::Synced | Stage::Active, PacketKind::Request | PacketKind::Revalidate) => {
                core.act(Action::FromLearner { link, server, packet });
                Ok(())
            }
            (stage, kind) => {
                Err(LinkError::Unexpected { packet: kind.name(), phase: stage.name() })
            }
        }
    }

    fn take_epoch_ack(
        &mut self,
        core: &mut Core,
        now: Instant,
        link: LinkId,
        packet: &QuorumPacket,
    ) -> Result<(), LinkError> {
        let current =
            ack_epoch_current(packet).map_err(|_| LinkError::Undecodable(packet.kind.name()))?;
        let last = packet.zxid;
        let Some(l) = self.links.get_mut(&link) else { return Ok(()) };
        l.stage = Stage::AwaitingQuorum { last };
        let server = l.server;
        let voter = l.counts(core) || mutant!(core, ObserversCounted);
        self.take_back(server, last);
        if self.phase == Phase::CollectingAcks && current != Epoch(-1) {
            if (current, last) > (core.current_epoch(), core.history.last()) {
                if voter && core.is_electable(server) {
                    core.leave(Why::FollowerAhead(server));
                    return Ok(());
                }
                // Where this leader's history does not have the change, no quorum has: what a voter of
                // the membership to come has more is not committed, and is cut. Where it has, the
                // new quorum alone may have committed what came after (on a leader that is gone).
                let members = &core.options.membership.quorum;
                let to_come = members.is_voter(server) && !members.current.is_voter(server);
                let logged =
                    core.seen.as_ref().is_none_or(|s| Zxid(s.version) <= core.history.last());
                if !voter || !to_come || logged {
                    return Err(LinkError::LearnerAhead);
                }
            }
            if voter && last != Zxid(-1) {
                self.epoch_acks.insert(server);
            }
        }
        self.advance(core, now);
        self.start_transfers(core);
        Ok(())
    }

    fn take_ack(&mut self, core: &mut Core, now: Instant, link: LinkId, zxid: Zxid) {
        let Some(l) = self.links.get_mut(&link) else { return };
        let history_ack = self.epoch.is_some_and(|e| zxid == Zxid::new(e, 0));
        if history_ack && l.stage == Stage::Syncing {
            (l.stage, l.sync) = (Stage::Synced, None);
            core.count_syncing(self.links.values().map(|l| l.sync));
            let Some(l) = self.links.get_mut(&link) else { return };
            let (server, voter) = (l.server, l.counts(core) || mutant!(core, ObserversCounted));
            if voter {
                self.history_acks.insert(server);
            }
            if self.is_serving() {
                self.activate(core, link);
            } else {
                self.check_established(core, now);
            }
            for zxid in self.take_early(link) {
                self.count_ack(core, link, zxid);
            }
            self.commit_ready(core, now);
        } else if zxid.counter() != 0 {
            // Counter 0 otherwise is the acknowledgement of UPTODATE, which Apache ignores too.
            if l.stage == Stage::Syncing {
                l.unwatch(zxid);
                if let Ok(at) = self.proposals.binary_search_by_key(&zxid, |p| p.zxid) {
                    self.proposals[at].early.insert(link);
                }
                return;
            }
            self.count_ack(core, link, zxid);
            self.commit_ready(core, now);
        }
    }

    fn count_ack(&mut self, core: &Core, link: LinkId, zxid: Zxid) {
        let Some(l) = self.links.get_mut(&link) else { return };
        l.unwatch(zxid);
        let (server, voter) = (l.server, !l.observer || mutant!(core, ObserversCounted));
        if let Ok(at) = self.proposals.binary_search_by_key(&zxid, |p| p.zxid)
            && voter
        {
            self.proposals[at].acks.insert(server);
        }
    }

    // Phases.

    /// Goes on as far as what has come in allows.
    pub fn advance(&mut self, core: &mut Core, now: Instant) {
        if self.phase == Phase::CollectingEpochs && self.is_quorum(core, &self.came) {
            self.begin_epoch(core, now);
        }
        let Some(epoch) = self.epoch else { return };
        if self.phase == Phase::SavingAcceptedEpoch && core.accepted_epoch() >= epoch {
            self.phase = Phase::CollectingAcks;
            self.epoch_acks.insert(core.me());
            core.act(Action::RoleChanged(RoleChange::Leading { epoch, serving: false }));
            self.send_epochs(core);
        }
        if self.phase == Phase::CollectingAcks && self.is_quorum(core, &self.epoch_acks) {
            self.phase = Phase::Synchronising;
            core.save_current_epoch(now, epoch);
            self.send_epochs(core);
            self.start_transfers(core);
        }
        if self.phase == Phase::Synchronising && core.current_epoch() >= epoch {
            self.history_acks.insert(core.me());
            self.check_established(core, now);
        }
    }

    fn start_transfers(&mut self, core: &mut Core) {
        if !matches!(self.phase, Phase::Synchronising | Phase::Serving) {
            return;
        }
        let ready = |(id, l): (&LinkId, &Link)| match l.stage {
            Stage::AwaitingQuorum { last } => Some((*id, last)),
            _ => None,
        };
        for (link, last) in self.links.iter().filter_map(ready).collect::<Vec<_>>() {
            self.transfer(core, link, last);
        }
    }

    fn check_established(&mut self, core: &mut Core, now: Instant) {
        let Some(epoch) = self.epoch else { return };
        let me = core.me();
        let enough = self.is_quorum(core, &self.history_acks) || mutant!(core, ServeWithoutQuorum);
        if self.phase != Phase::Synchronising || !self.history_acks.contains(&me) || !enough {
            return;
        }
        self.phase = Phase::Serving;
        self.alone_since = None;
        self.committed = core.history.last();
        self.last_proposed = Zxid::new(epoch, 0);
        core.know_committed(self.committed);
        core.vote.peer_epoch = epoch;
        core.forget_warnings();
        core.deliver_through(self.committed, true);
        self.activate_initial(core, now);
        core.act(Action::RoleChanged(RoleChange::Leading { epoch, serving: true }));
        let synced = self.links.iter().filter(|(_, l)| l.stage == Stage::Synced);
        for link in synced.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.activate(core, link);
        }
    }

    fn activate(&mut self, core: &mut Core, link: LinkId) {
        if let Some(l) = self.links.get_mut(&link) {
            l.stage = Stage::Active;
            core.send_bare(link, PacketKind::UpToDate, Zxid(-1));
        }
        if self.is_quick() {
            // The promise holds from the first moment.
            self.ping(core, link);
        }
        if self.syncs.begun > self.syncs.confirmed {
            // The round under way may need this one's answer.
            self.begin_round(core);
        }
    }

    // Broadcast.

    /// Commits from the front what a quorum has: in order, always.
    fn commit_ready(&mut self, core: &mut Core, now: Instant) {
        while let Some(first) = self.proposals.front()
            && self.retiring.is_none()
            && self.is_ack_quorum(core, first)
        {
            if first.reconfig {
                self.commit_reconfig(core, now);
                continue;
            }
            let zxid = first.zxid;
            self.proposals.pop_front();
            self.committed = zxid;
            let observed = self.links.values().any(|l| l.observer);
            let found = if observed { core.history.find(zxid) } else { None };
            let bytes = found.map(|t| t.bytes.clone());
            for (link, l) in &self.links {
                if !l.stage.forwards() {
                    continue;
                }
                if l.observer {
                    let data = bytes.clone();
                    let packet = QuorumPacket { kind: PacketKind::Inform, zxid, data, auth: None };
                    core.send(*link, packet);
                } else {
                    core.send_bare(*link, PacketKind::Commit, zxid);
                }
            }
        }
        if self.is_serving() {
            core.know_committed(self.committed);
            let through = self.committed.min(core.history.durable());
            core.deliver_through(through, true);
            self.send_waiting_snapshots(core);
            self.answer_syncs(core);
        }
    }

    fn is_quorum(&self, core: &Core, set: &BTreeSet<ServerId>) -> bool {
        let quorum = &core.options.membership.quorum;
        if mutant!(core, ObserversCounted) {
            return set.len() > quorum.voters().len() / 2;
        }
        quorum.is_met_by(set)
    }

    fn is_ack_quorum(&self, core: &Core, proposal: &Proposal) -> bool {
        let set = &proposal.acks;
        if mutant!(core, MinorityQuorum) {
            return set.len()
                >= core.options.membership.quorum.voters().len().div_ceil(2).max(2) - 1;
        }
        if core.seen.as_ref().is_some_and(|seen| proposal.zxid.0 < seen.version) {
            // Proposed before the change, so the rule in force is enough.
            return core.options.membership.quorum.current.is_met(|s| set.contains(&s));
        }
        self.is_quorum(core, set)
    }

    fn forget(&mut self, core: &mut Core, link: LinkId) {
        let Some(l) = self.links.remove(&link) else { return };
        self.take_early(link);
        core.count_syncing(self.links.values().map(|l| l.sync));
        if self.phase == Phase::CollectingEpochs {
            self.came.remove(&l.server);
        }
        if self.syncs.expected.contains_key(&link) {
            self.begin_round(core);
        }
    }
}

/// What a FOLLOWERINFO or OBSERVERINFO says.
pub(super) struct Introduction {
    /// Who it is.
    pub info: LearnerInfo,
    /// Its accepted epoch.
    pub accepted: Epoch,
}

impl Introduction {
    /// Reads it, and refuses a learner that can't be one of this server's.
    pub fn read(core: &Core, packet: &QuorumPacket) -> Result<Introduction, LinkError> {
        let data = packet.payload();
        if data.len() < 12 {
            return Err(LinkError::OldProtocol(0));
        }
        let info = LearnerInfo::from_bytes(data)
            .map_err(|_| LinkError::Undecodable(packet.kind.name()))?;
        if info.protocol < PROTOCOL_VERSION {
            return Err(LinkError::OldProtocol(info.protocol));
        }
        let ours = core.options.membership.version;
        if info.config_version > ours {
            return Err(LinkError::NewerConfig { theirs: info.config_version, ours });
        }
        let accepted = packet.zxid.epoch();
        if accepted < Epoch(0) || accepted.0 >= i64::from(i32::MAX) - 1 {
            return Err(LinkError::BadEpoch(accepted));
        }
        if info.server == core.me() {
            return Err(LinkError::OwnId);
        }
        if info.server.0 < 0 {
            // Negative ones stand for observers without an id, and for who has not introduced itself.
            return Err(LinkError::BadId(info.server));
        }
        Ok(Introduction { info, accepted })
    }
}

impl Link {
    /// Whether what it promises counts, by the rules. An observer that is to vote under a membership
    /// which isn't in force yet does not know that when it comes; it promises the same.
    fn counts(&self, core: &Core) -> bool {
        let to_vote = |seen: &Membership| seen.quorum.current.is_voter(self.server);
        !self.observer || core.seen.as_ref().is_some_and(to_vote)
    }

    fn watch(&mut self, zxid: Zxid, now: Instant) {
        if self.watched.is_none() {
            self.watched = Some((zxid, now));
        } else {
            self.watch_next = Some((zxid, now));
        }
    }

    fn unwatch(&mut self, zxid: Zxid) {
        if self.watched.is_some_and(|(z, _)| z <= zxid) {
            self.watched = self.watch_next.take().filter(|(z, _)| *z > zxid);
        }
    }
}
