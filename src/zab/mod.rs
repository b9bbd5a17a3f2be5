//! Zookeeper Atomic Broadcast as a value: it knows neither trees nor files nor sockets, reads no
//! clock and draws no random number.
//!
//! ```text
//!            +----------------------- Looking ----------------------+
//!            |  draining: the disk answers what it still owes       |
//!            |  electing: rounds of notifications                   |
//!            +------+--------------------------------+--------------+
//!       elected: me |                                | elected: another
//!                   v                                v
//!     Leading: collect epochs                 Following / Observing: connect
//!       -> save acceptedEpoch                   -> FOLLOWERINFO, LEADERINFO
//!       -> LEADERINFO, collect ACKEPOCHs        -> save acceptedEpoch -> ACKEPOCH
//!       -> sync each learner, NEWLEADER         -> DIFF | TRUNC | SNAP, NEWLEADER
//!       -> a quorum has acknowledged            -> save history, then currentEpoch -> ACK
//!       -> UPTODATE, broadcast                  -> UPTODATE, broadcast
//! ```
//!
//! **Saved before said.** An ACK, an ACKEPOCH, a vote: each rests on something being on disk, and
//! is produced where its completion is handled. A server that begins to look for a leader first
//! waits until its disk owes it nothing, so that the zxid and epoch it claims are durable and stay
//! what they are while others rely on them.
//!
//! **What the state holds** is delivered in order and, on a voter, only when durable here. It is
//! always a prefix of the log on disk. After a restart the state is the whole log; a truncation that
//! reaches into it asks for a reload.
//!
//! Modules: [`action`] is the contract; [`election`], `leader`, `learner` and [`sync`] are the
//! phases. `docs/ZAB.md` has our names beside Apache's and those of the TLA+
//! specification.

pub mod action;
mod core;
pub mod election;
mod history;
mod leader;
mod learner;
mod membership;
pub mod options;
pub mod quorum;
mod reconfig;
pub mod sync;
mod warning;

use std::collections::BTreeSet;

use bytes::Bytes;

pub use action::{
    Action, DiskOp, EncodedTxn, ExitReason, ImageId, LINK_OUTBOUND, LinkError, LinkEvent, LogRead,
    OpId, Persisted, ReadId, RoleChange, Why,
};
pub use core::{Stats, SyncCounts};
pub use history::History;
pub use leader::{LearnerView, ProposeError};
pub use membership::{ConfigReader, Membership};
#[cfg(any(test, feature = "sim"))]
pub use options::Mutant;
pub use options::{DiskState, Options, Standing, StartError};
pub use warning::Warning;

use self::core::{Core, Transition, Waiting, mutant};
use crate::proto::election::{Notification, ServerState};
use crate::proto::quorum::{PacketKind, QuorumPacket};
use crate::types::{Epoch, Instant, LinkId, ServerId, Zxid};
use election::{Election, Part, Step, Vote, Waits};
use leader::Leader;
use learner::{Learner, Outcome};

/// One server's part in Zookeeper Atomic Broadcast.
///
/// A `Peer` never does anything: it is told what happened, and asked what to do about it.
/// - A. getters take `&self` and may be called at any time;
/// - B. `handle_*`: something happened (a message, a link, a timer, a completed write);
/// - C. commands of this server: [`Peer::propose`], [`Peer::forward`], [`Peer::shut_down`], ...
/// - D. `poll_*`: what the caller must do now, and when to come back.
///
/// After every call of B or C, drain [`Peer::poll_action`] before the next one, and execute the
/// actions in order.
#[derive(Clone, Debug)]
pub struct Peer {
    core: Core,
    role: Role,
    /// Leaders that were reached and did not take this server, since it last served: each delays the
    /// next attempt a little.
    failures: u32,
}

/// What the server is doing.
#[derive(Clone, Debug)]
enum Role {
    /// Its disk still owes answers; messages wait.
    Draining(Waiting),
    /// It takes part in an election.
    Electing(Box<Election>),
    /// It follows or observes.
    Learning(Box<Learner>),
    /// It leads, or tries to.
    Leading(Box<Leader>),
    /// It was shut down.
    Stopped,
}

/// Strangers whose message waits for the disk.
const STRANGERS_WAITING: usize = 16;

impl Peer {
    /// A peer on what is on disk; it begins to look for a leader at once.
    ///
    /// Where a crash came between durable transactions of an epoch and the save of that epoch, the
    /// current epoch is brought up to the log's (A28, ZOOKEEPER-1653, 2354): the log is a gap-free
    /// part of that epoch's leader's history, so this server is where it would be had it followed
    /// and stopped.
    pub fn new(options: Options, disk: DiskState, now: Instant) -> Result<Peer, StartError> {
        let (accepted, current) = (disk.accepted_epoch, disk.current_epoch);
        if accepted < current {
            return Err(StartError::AcceptedBelowCurrent { accepted, current });
        }
        if accepted < Epoch(0) || accepted > Epoch(i32::MAX.into()) {
            return Err(StartError::EpochOutOfRange(accepted));
        }
        if accepted < disk.last.epoch() {
            return Err(StartError::AcceptedBelowLog { accepted, last: disk.last });
        }
        if !options.membership.is_member(options.id) {
            return Err(StartError::NotAMember(options.id));
        }
        let core = Core::new(options, disk);
        let mut peer = Peer { core, role: Role::Draining(Waiting::new()), failures: 0 };
        peer.look(now, Why::Started);
        peer.settle(now);
        Ok(peer)
    }

    // A. Getters.

    /// This server.
    pub fn id(&self) -> ServerId {
        self.core.me()
    }

    /// What this server does, as it tells others. A stopped one says LOOKING.
    pub fn state(&self) -> ServerState {
        match &self.role {
            Role::Draining(_) | Role::Electing(_) | Role::Stopped => ServerState::Looking,
            Role::Learning(l) if l.is_observer() => ServerState::Observing,
            Role::Learning(_) => ServerState::Following,
            Role::Leading(_) => ServerState::Leading,
        }
    }

    /// The leader this server follows, or is.
    pub fn leader(&self) -> Option<ServerId> {
        match &self.role {
            Role::Learning(l) => Some(l.leader()),
            Role::Leading(_) => Some(self.id()),
            _ => None,
        }
    }

    /// The server this one learns from: the leader, or for an observer perhaps a follower
    /// (`observerMasterPort`).
    pub fn source(&self) -> Option<ServerId> {
        match &self.role {
            Role::Learning(l) => Some(l.source()),
            _ => None,
        }
    }

    /// The link to the leader this server follows, once it stands.
    pub fn leader_link(&self) -> Option<LinkId> {
        match &self.role {
            Role::Learning(l) => l.link(),
            _ => None,
        }
    }

    /// Whether it votes for a leader: it has none, and its disk owes it nothing.
    pub fn is_electing(&self) -> bool {
        matches!(self.role, Role::Electing(_))
    }

    /// Whether it observes a leader, or a follower in its place.
    pub fn is_observing(&self) -> bool {
        matches!(&self.role, Role::Learning(l) if l.is_observer())
    }

    /// Whether this server may answer clients.
    pub fn is_serving(&self) -> bool {
        match &self.role {
            Role::Learning(l) => l.is_serving(),
            Role::Leading(l) => l.is_serving(),
            _ => false,
        }
    }

    /// The epoch this server leads or follows in, while it does; otherwise its current epoch.
    pub fn epoch(&self) -> Epoch {
        match &self.role {
            Role::Learning(l) => l.epoch().unwrap_or(self.core.current_epoch()),
            Role::Leading(l) => l.epoch().unwrap_or(self.core.current_epoch()),
            _ => self.core.current_epoch(),
        }
    }

    /// The durable accepted epoch.
    pub fn accepted_epoch(&self) -> Epoch {
        self.core.accepted_epoch()
    }

    /// The durable current epoch.
    pub fn current_epoch(&self) -> Epoch {
        self.core.current_epoch()
    }

    /// The recent end of the log.
    pub fn history(&self) -> &History {
        &self.core.history
    }

    /// The end of the log, durable or not.
    pub fn last_logged(&self) -> Zxid {
        self.core.history.last()
    }

    /// What the local state has applied.
    pub fn last_delivered(&self) -> Zxid {
        self.core.history.delivered()
    }

    /// What this server knows to be committed (delivered or about to be).
    pub fn last_committed(&self) -> Zxid {
        self.core.known_committed().max(match &self.role {
            Role::Leading(l) => l.committed(),
            _ => Zxid::ZERO,
        })
    }

    /// The zxid of the next proposal, on an established leader.
    pub fn next_zxid(&self) -> Option<Zxid> {
        match &self.role {
            Role::Leading(l) => l.next_zxid(),
            _ => None,
        }
    }

    /// The learners of a leader, or the observers of a follower, in the order of their links.
    pub fn learners(&self) -> Vec<LearnerView> {
        match &self.role {
            Role::Leading(l) => l.learners(),
            Role::Learning(l) => l.observers(),
            _ => Vec::new(),
        }
    }

    /// Whether what is on disk may speak for this server.
    pub fn standing(&self) -> Standing {
        self.core.standing
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.core.options
    }

    /// Whether a change of the membership is proposed, and not yet in force.
    pub fn is_reconfiguring(&self) -> bool {
        self.core.seen.is_some()
    }

    /// Whether a quorum of this membership's voters follows this leader in step, itself included
    /// (Apache `Leader.isQuorumSynced`).
    pub fn is_quorum_synced(&self, membership: &Membership) -> bool {
        match &self.role {
            Role::Leading(leader) => leader.is_quorum_synced(&self.core, membership),
            _ => false,
        }
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.core.stats
    }

    // B. Events.

    /// A message of another server has come in by the election port.
    pub fn handle_notification(&mut self, now: Instant, from: ServerId, n: Notification) {
        let searching = matches!(self.role, Role::Draining(_) | Role::Electing(_));
        if searching && self.core.refuses_vote(from, &n) {
            return;
        }
        if self.core.silent == Some(from) {
            self.core.silent = None;
            self.set_unreachable(now, self.core.unreachable.clone());
        }
        if searching && let Some(version) = self.core.adopt(now, from, &n) {
            self.look(now, Why::NewerConfig(version));
        }
        match &mut self.role {
            Role::Draining(waiting) => {
                // A stranger only asks, and asks again; it can call itself by many numbers.
                let members = &self.core.options.membership;
                let known = waiting.contains_key(&from)
                    || members.is_member(from)
                    || self.core.seen.as_ref().is_some_and(|seen| seen.is_member(from));
                let strangers = waiting.keys().filter(|server| !members.is_member(**server));
                if known || strangers.count() < STRANGERS_WAITING {
                    waiting.insert(from, n);
                }
            }
            Role::Electing(election) => {
                if let Some(change) = self.core.change_of(from, &n) {
                    // Its voters have to be reached.
                    self.core.act(Action::ConfigSeen(change.text.clone()));
                    let step = election.hear(change, &self.core.options.membership);
                    self.take(step);
                }
                let Role::Electing(election) = &mut self.role else { return };
                if election.is_voter(from, &self.core.options.membership) {
                    let step = election.handle(now, from, &n, &self.core.options.membership);
                    self.take(step);
                } else {
                    let answer = election.notification(&self.core.options.membership);
                    self.core.act(Action::SendNotification { to: from, notification: answer });
                }
            }
            Role::Learning(_) | Role::Leading(_) => {
                let voter = self.core.options.membership.is_voter(from);
                if n.state == ServerState::Looking || !voter {
                    let notification = self.core.settled_notification(self.state());
                    self.core.act(Action::SendNotification { to: from, notification });
                }
                match &mut self.role {
                    _ if n.state != ServerState::Looking || !voter => {}
                    _ if self.core.refuses_vote(from, &n) => {}
                    Role::Leading(leader) => leader.handle_vote(&mut self.core, from, &n),
                    // In a later round than the one that chose it: it has given up. Its port may be
                    // another program's, which takes our link and never says a word.
                    Role::Learning(learner) => {
                        let chosen = learner.leader() == from && n.round > self.core.round;
                        if chosen && learner.awaits_leader() {
                            self.core.leave(Why::LeaderLooks(from));
                        }
                    }
                    _ => {}
                }
            }
            Role::Stopped => {}
        }
        self.settle(now);
    }

    /// The members whose election port refuses connections, all of them. An election doesn't wait
    /// for their votes once a quorum agrees; nothing else depends on it. One that does not answer
    /// at all isn't among them: it may be alive behind a broken network.
    pub fn set_unreachable(&mut self, now: Instant, servers: BTreeSet<ServerId>) {
        self.core.unreachable = servers;
        if let Role::Electing(election) = &mut self.role {
            let members = &self.core.options.membership;
            let step = election.set_unreachable(now, &self.core.not_awaited(), members);
            self.take(step);
        }
        self.settle(now);
    }

    /// Another program holds this server's quorum port (`held`), or has given it up. While it is held
    /// this server stands back in elections, so that another may lead, and a leader to be that has
    /// tried to open it looks for a leader again. A leader that serves alone goes on: nobody has to
    /// connect to it.
    pub fn set_port_held(&mut self, now: Instant, held: bool) {
        self.core.port_held = held;
        match &mut self.role {
            Role::Leading(leader) if held && !leader.is_serving() => {
                self.core.leave(Why::PortHeld);
            }
            Role::Electing(election) if !held => {
                let step = election.come_forward(&self.core.options.membership);
                self.take(step);
            }
            _ => {}
        }
        self.settle(now);
    }

    /// Something happened to a link between servers.
    pub fn handle_link(&mut self, now: Instant, link: LinkId, event: LinkEvent) {
        match &mut self.role {
            Role::Leading(leader) => leader.handle_link(&mut self.core, now, link, event),
            Role::Learning(learner) if learner.owns(link) => {
                learner.handle_link(&mut self.core, now, event);
            }
            Role::Learning(learner) if link.0 < LINK_OUTBOUND => {
                learner.handle_observer(&mut self.core, now, link, event);
            }
            _ if event == LinkEvent::Up => self.core.close(link, LinkError::NotLeading),
            // The rest of a link that was closed.
            _ => {}
        }
        self.settle(now);
    }

    /// The disk reports.
    pub fn handle_persisted(&mut self, now: Instant, done: Persisted) {
        self.core.persisted(done);
        match &mut self.role {
            Role::Draining(_) => self.drained(now),
            Role::Learning(learner) => learner.handle_persisted(&mut self.core, now, done),
            Role::Leading(leader) => leader.handle_persisted(&mut self.core, now),
            Role::Electing(_) | Role::Stopped => {}
        }
        self.settle(now);
    }

    /// The state has been rebuilt, as the last [`Action::LoadState`] asked.
    pub fn handle_loaded(&mut self, now: Instant) {
        self.core.loading = false;
        match &mut self.role {
            Role::Draining(_) => self.drained(now),
            Role::Learning(learner) => learner.handle_loaded(&mut self.core, now),
            Role::Leading(_) | Role::Electing(_) | Role::Stopped => {}
        }
        self.settle(now);
    }

    /// What [`Action::ReadLog`] found, or None.
    pub fn handle_log_read(&mut self, now: Instant, read: ReadId, found: Option<LogRead>) {
        match &mut self.role {
            Role::Leading(leader) => leader.handle_log_read(&mut self.core, read, found),
            Role::Learning(learner) => learner.handle_log_read(&mut self.core, read, found),
            _ => {}
        }
        self.settle(now);
    }

    /// Whether a walk through the state is under way, so that no snapshot for a learner can begin, and
    /// what the image is at that learners can have meanwhile or afterwards, without a walk.
    pub fn set_snapshots(&mut self, now: Instant, held: bool, image: Option<Zxid>) {
        self.core.snapshots = core::Snapshots { held, image };
        match &mut self.role {
            Role::Leading(leader) => leader.send_waiting_snapshots(&mut self.core),
            Role::Learning(learner) => learner.send_waiting_snapshots(&mut self.core),
            _ => {}
        }
        self.settle(now);
    }

    /// The time of [`Peer::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.role {
            Role::Electing(election) => {
                let step = election.handle_timeout(now, &self.core.options.membership);
                self.take(step);
            }
            Role::Learning(learner) => learner.handle_timeout(&mut self.core, now),
            Role::Leading(leader) => leader.handle_timeout(&mut self.core, now),
            Role::Draining(_) | Role::Stopped => {}
        }
        self.settle(now);
    }

    // C. Commands.

    /// Broadcasts a transaction, whose zxid must be [`Peer::next_zxid`]. When the counter of the
    /// epoch is used up the leader steps down, and a new epoch begins (ZOOKEEPER-1277).
    pub fn propose(&mut self, now: Instant, txn: EncodedTxn) -> Result<(), ProposeError> {
        let result = match &mut self.role {
            Role::Leading(leader) => leader.propose(&mut self.core, now, txn),
            _ => Err(ProposeError::NotLeading),
        };
        self.settle(now);
        result
    }

    /// On a leader: answers by [`Action::Synced`] when everything proposed so far is delivered here,
    /// and a quorum has confirmed after this call that this server still leads (C9). Returns false
    /// if it doesn't lead.
    pub fn sync(&mut self, now: Instant, token: u64) -> bool {
        let leads = match &mut self.role {
            Role::Leading(leader) => leader.sync(&mut self.core, token),
            _ => false,
        };
        self.settle(now);
        leads
    }

    /// On a serving learner: sends a REQUEST or REVALIDATE to the leader. Returns false, and sends
    /// nothing, if there is none.
    pub fn forward(&mut self, packet: QuorumPacket) -> bool {
        match &mut self.role {
            Role::Learning(learner) => learner.forward(&mut self.core, packet),
            _ => false,
        }
    }

    /// On a learner: answers [`Action::AnswerPing`] with the touched sessions
    /// ([`encode_touched`](crate::proto::quorum::encode_touched)).
    pub fn answer_ping(&mut self, zxid: Zxid, touched: Bytes) {
        self.forward(QuorumPacket::with_data(PacketKind::Ping, zxid, touched));
    }

    /// On a leader, or a follower with observers: sends a REVALIDATE or SYNC answer to a learner,
    /// behind every commit so far.
    pub fn answer_learner(&mut self, link: LinkId, packet: QuorumPacket) {
        let there = match &self.role {
            Role::Leading(leader) => leader.has_link(link),
            Role::Learning(learner) => learner.serves_observer(link),
            _ => false,
        };
        if there {
            self.core.send(link, packet);
        }
    }

    /// Ends this server's part. A leader closes its links at once, so that its followers elect
    /// another without waiting.
    pub fn shut_down(&mut self, now: Instant) {
        self.core.transition = Some(Transition::Stop);
        self.settle(now);
    }

    // D. What to do.

    /// The next thing to do in the world.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.core.poll_action()
    }

    /// When [`Peer::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.role {
            Role::Electing(election) => Some(election.poll_timeout()),
            Role::Learning(learner) => Some(learner.poll_timeout()),
            Role::Leading(leader) => Some(leader.poll_timeout(&self.core)),
            Role::Draining(_) | Role::Stopped => None,
        }
    }

    // Changes of role.

    fn settle(&mut self, now: Instant) {
        while let Some(transition) = self.core.transition.take() {
            match transition {
                Transition::Look(why) => self.look(now, why),
                Transition::Elected(vote) => self.follow_or_lead(now, vote),
                Transition::Stop => {
                    self.end_role();
                    self.role = Role::Stopped;
                    self.core.act(Action::RoleChanged(RoleChange::Stopped));
                }
            }
        }
    }

    /// Closes what the present role has open.
    fn end_role(&mut self) {
        match &mut self.role {
            Role::Leading(leader) => leader.end(&mut self.core),
            Role::Learning(learner) => {
                self.failures = match learner.outcome() {
                    Outcome::Served => 0,
                    Outcome::Refused => self.failures + 1,
                    Outcome::Unreachable => self.failures,
                };
                learner.end(&mut self.core);
            }
            _ => {}
        }
    }

    fn look(&mut self, now: Instant, why: Why) {
        if matches!(self.role, Role::Stopped) {
            return;
        }
        self.end_role();
        if why != Why::Reconfigured {
            self.core.suggested = None;
        }
        self.core.silent = match why {
            Why::LeaderSilent(leader) => Some(leader),
            _ => None,
        };
        self.core.act(Action::RoleChanged(RoleChange::Looking(why)));
        self.role = Role::Draining(Waiting::new());
        self.drained(now);
    }

    /// Begins the election once the disk owes nothing.
    fn drained(&mut self, now: Instant) {
        if !self.core.disk_is_idle() && !mutant!(self.core, ClaimMemoryZxid) {
            return;
        }
        let last = self.claimed_zxid();
        if last.epoch() > self.core.current_epoch() && self.core.disk_is_idle() {
            // A28. The log of a learner that didn't get as far as NEWLEADER is treated as a restart
            // would treat it.
            self.core.save_current_epoch(now, last.epoch());
            return;
        }
        let Role::Draining(waiting) = &mut self.role else { return };
        let waiting = std::mem::take(waiting);
        if let Some(vote) = self.core.suggested.take()
            && self.core.standing == Standing::Sound
            && !(vote.leader == self.core.me() && self.core.port_held)
        {
            self.enter(now, vote);
            for (from, n) in waiting {
                self.handle_notification(now, from, n);
            }
            return;
        }
        let options = &self.core.options;
        let waits = Waits {
            finalize: options.finalize_wait,
            repeat_min: options.notification_min,
            repeat_max: options.notification_max,
        };
        let me = self.core.me();
        let voter = self.core.is_voter();
        let part = match self.core.standing {
            _ if !voter => Part::Observer,
            Standing::Sound => Part::Voter,
            Standing::MustResync => Part::Mute,
        };
        let mut own = match part {
            Part::Observer => Vote::NONE,
            _ => Vote { leader: me, zxid: last, peer_epoch: self.core.current_epoch() },
        };
        let mut change = self.core.logged_change(last).filter(|_| part == Part::Voter).cloned();
        let mut claim = None;
        if part != Part::Observer && !self.core.options.membership.quorum.current.is_voter(me) {
            // It helps to elect. It may be elected only if the change that gives it a vote can have
            // been committed.
            claim = change.take().map(|change| (change.version, own));
            own = Vote::NONE;
        }
        self.core.round += 1;
        self.core.stats.elections += 1;
        let mut election =
            Election::new(now, me, part, self.core.round, own, waits).with_change(change, claim);
        if part == Part::Voter && own.leader == me && self.core.stands_back() {
            election.stand_back();
        }
        let members = &self.core.options.membership;
        // Nothing can be decided yet: only the own vote is there.
        let _ = election.set_unreachable(now, &self.core.not_awaited(), members);
        #[cfg(any(test, feature = "sim"))]
        let election = election.with_wrong_order(mutant!(self.core, WrongVoteOrder));
        self.role = Role::Electing(Box::new(election));
        if let Role::Electing(election) = &mut self.role {
            let step = election.start(now, &self.core.options.membership);
            self.take(step);
        }
        for (from, n) in waiting {
            self.handle_notification(now, from, n);
        }
    }

    /// The zxid that a vote may claim: what is durable, which after draining is all there is.
    fn claimed_zxid(&self) -> Zxid {
        if mutant!(self.core, ClaimMemoryZxid) {
            return self.core.history.last();
        }
        self.core.history.durable()
    }

    fn take(&mut self, step: Step) {
        let Role::Electing(election) = &self.role else { return };
        self.core.round = election.round();
        let members = &self.core.options.membership;
        match step {
            Step::Wait => {}
            Step::Answer(to) => {
                let notification = election.notification(members);
                self.core.act(Action::SendNotification { to, notification });
            }
            Step::Broadcast => {
                let notification = election.notification(members);
                for to in election.voters(members) {
                    if to != self.core.me() {
                        let notification = notification.clone();
                        self.core.act(Action::SendNotification { to, notification });
                    }
                }
            }
            Step::Elected(vote) => {
                self.core.transition.get_or_insert(Transition::Elected(vote));
            }
        }
    }

    fn follow_or_lead(&mut self, now: Instant, vote: Vote) {
        if matches!(self.role, Role::Electing(_)) {
            self.enter(now, vote);
        }
    }

    fn enter(&mut self, now: Instant, vote: Vote) {
        self.core.vote = vote;
        if vote.leader == self.core.me() {
            self.role = Role::Leading(Box::new(Leader::new(&mut self.core, now)));
            if let Role::Leading(leader) = &mut self.role {
                leader.advance(&mut self.core, now);
            }
        } else {
            let learner = Learner::new(&mut self.core, now, vote.leader, self.failures);
            self.role = Role::Learning(Box::new(learner));
        }
    }
}

#[cfg(test)]
mod tests;
