//! What a member counts of its part in the ensemble, for `mntr`: proposals, commits, how old they
//! are when they arrive, how learners were brought into step, syncs of the log.
//!
//! Ages are from the time in a transaction's header to this server's clock, as Apache measures them
//! (`Request.logLatency`), and taken once a turn for everything that a turn handled: the oldest has
//! waited longest.

use std::sync::Arc;
use std::time::Duration;

use crate::ops::metrics::{Advanced, AdvancedSet, Basic, BasicSet, Counter, Metrics};
use crate::ops::stats::Sizes;
use crate::proto::quorum::{PacketKind, QuorumPacket};
use crate::proto::txn::TxnHeader;
use crate::storage::Committed;
use crate::types::{LinkId, Map, Now, ServerId, Tally, WallTime, Zxid, map};
use crate::zab::{self, Action, DiskOp, EncodedTxn, LearnerView, RoleChange, SyncCounts};

/// ACKs of zxids that this divides are timed (`leader.ackLoggingFrequency`).
const ACKS_TIMED: i64 = 1000;
/// One packet to a learner in so many is timed.
const PACKETS_TIMED: u64 = 1000;

/// Packets to a learner: they gather during a turn, and go at its end.
#[derive(Debug)]
struct Queue {
    turn: i64,
    /// How many waited behind each that went.
    behind: Tally,
    packets: u64,
}

impl Queue {
    fn end_turn(&mut self) {
        for behind in (0..std::mem::take(&mut self.turn)).rev() {
            self.behind.add(behind);
        }
    }
}

/// Transactions of one kind that a turn has handled.
#[derive(Debug, Default)]
struct Turn {
    count: u64,
    oldest: Option<WallTime>,
}

impl Turn {
    fn add(&mut self, txn: &EncodedTxn) {
        self.count += 1;
        self.oldest = self.oldest.or_else(|| time_of(txn));
    }

    /// How many, and the age of the oldest in ms.
    fn take(&mut self, now: WallTime) -> Option<(u64, i64)> {
        let Turn { count, oldest } = std::mem::take(self);
        (count > 0).then(|| (count, oldest.map_or(0, |at| (now.0 - at.0).max(0))))
    }
}

/// When a transaction was made, from its header.
fn time_of(txn: &EncodedTxn) -> Option<WallTime> {
    TxnHeader::time_of(&txn.bytes)
}

/// See the module.
#[derive(Debug)]
pub struct Figures {
    metrics: Arc<Metrics>,
    warn_above: Duration,
    leading: bool,
    /// Learns what is committed by INFORM: Apache's observers count no proposals.
    observing: bool,
    /// When it began to follow, until it serves.
    following_since: Option<crate::types::Instant>,
    logged: Turn,
    committed: Turn,
    syncs: SyncCounts,
    /// Learners that are being brought up: by a snapshot, in other ways.
    syncing: [usize; 2],
    /// Sizes of proposals, as a leader.
    pub proposal_sizes: Sizes,
    /// A proposal whose ACKs are timed.
    timed: Option<(Zxid, WallTime)>,
    servers: Map<LinkId, ServerId>,
    queues: Map<LinkId, Queue>,
}

impl Figures {
    /// Of a member that has just started. Syncs slower than `warn_above` are logged.
    pub fn new(metrics: Arc<Metrics>, warn_above: Duration) -> Figures {
        Figures {
            metrics,
            warn_above,
            leading: false,
            observing: false,
            following_since: None,
            logged: Turn::default(),
            committed: Turn::default(),
            syncs: SyncCounts::default(),
            syncing: [0; 2],
            proposal_sizes: Sizes::default(),
            timed: None,
            servers: map(),
            queues: map(),
        }
    }

    /// The member has another role.
    pub fn role(&mut self, now: Now, change: &RoleChange) {
        let was_leading = self.leading;
        self.leading = matches!(change, RoleChange::Leading { .. });
        self.observing = matches!(change, RoleChange::Following { observer: true, .. });
        if self.leading && !was_leading {
            self.proposal_sizes = Sizes::default();
            self.timed = None;
        }
        match change {
            RoleChange::Following { serving: false, .. } => {
                self.following_since = self.following_since.or(Some(now.mono));
            }
            RoleChange::Following { serving: true, observer, .. } => {
                if let Some(at) = self.following_since.take() {
                    let ms = i64::try_from(now.mono.since(at).as_millis()).unwrap_or(i64::MAX);
                    let kind =
                        if *observer { Basic::ObserverSyncTime } else { Basic::FollowerSyncTime };
                    self.metrics.record(kind, ms);
                }
            }
            _ => self.following_since = None,
        }
    }

    /// Zab asks for this.
    pub fn action(&mut self, action: &Action) {
        match action {
            Action::Disk { what: DiskOp::Append(txn), .. } => {
                self.logged.add(txn);
                if self.leading {
                    self.proposal_sizes.record(i64::try_from(txn.bytes.len()).unwrap_or(i64::MAX));
                    if txn.zxid.0 % ACKS_TIMED == 0 {
                        self.timed = time_of(txn).map(|at| (txn.zxid, at));
                    }
                }
            }
            Action::Deliver { txn, committed: true } => self.committed.add(txn),
            Action::Send { link, .. } if self.leading => {
                let new = || Queue { turn: 0, behind: Tally::NONE, packets: 0 };
                self.queues.entry(*link).or_insert_with(new).turn += 1;
            }
            _ => {}
        }
    }

    /// A learner says this. Call before Zab hears it.
    pub fn packet(&self, wall: WallTime, link: LinkId, packet: &QuorumPacket) {
        if packet.kind == PacketKind::Ack
            && let Some((zxid, at)) = self.timed
            && packet.zxid == zxid
            && let Some(server) = self.servers.get(&link)
        {
            let ms = (wall.0 - at.0).max(0);
            self.metrics.record_advanced_for(AdvancedSet::AckLatency, &server.0.to_string(), ms);
        }
    }

    /// The leader's learners are these now.
    pub fn learners(&mut self, learners: &[LearnerView]) {
        self.servers.clear();
        self.servers.extend(learners.iter().map(|l| (l.link, l.server)));
        let (servers, metrics) = (&self.servers, &self.metrics);
        self.queues.retain(|link, queue| {
            let Some(server) = servers.get(link) else { return false };
            let gone = std::mem::replace(&mut queue.behind, Tally::NONE);
            if gone.count == 0 {
                return true;
            }
            let key = server.0.to_string();
            metrics.record_tally_for(BasicSet::LearnerHandlerQpSize, &key, &gone);
            // What a turn has for a learner goes to its socket within the turn.
            let timed = |packets: u64| packets.div_ceil(PACKETS_TIMED);
            let before = queue.packets;
            queue.packets += gone.count;
            for _ in timed(before)..timed(queue.packets) {
                metrics.record_advanced_for(AdvancedSet::LearnerHandlerQpTimeMs, &key, 0);
            }
            true
        });
    }

    /// The log has been synced.
    pub fn synced(&self, done: &Committed) {
        let ms = i64::try_from(done.sync_time.as_millis()).unwrap_or(i64::MAX);
        self.metrics.record(Basic::FsyncTime, ms);
        let txns = i64::try_from(done.txns).unwrap_or(i64::MAX);
        self.metrics.record(Basic::SyncProcessorBatchSize, txns);
        if done.sync_time > self.warn_above {
            crate::server::committer::warn_of_slow_sync(done.sync_time, self.warn_above);
        }
    }

    /// The end of a turn.
    pub fn end_turn(&mut self, now: WallTime, stats: &zab::Stats) {
        let syncs = stats.syncs;
        self.queues.values_mut().filter(|queue| queue.turn > 0).for_each(Queue::end_turn);
        let metrics = &self.metrics;
        if let Some((count, age)) = self.logged.take(now) {
            metrics.add(Counter::SyncProcessorRequestQueued, count);
            if self.leading {
                metrics.add(Counter::PrepProcessorRequestQueued, count);
                metrics.add(Counter::ProposalCount, count);
            } else if !self.observing {
                metrics.add(Counter::LearnerProposalReceivedCount, count);
                metrics.record_advanced_many(Advanced::ProposalLatency, age, count);
            }
        }
        if let Some((count, age)) = self.committed.take(now) {
            metrics.record_advanced_many(Advanced::PropagationLatency, age, count);
            if self.leading {
                metrics.add(Counter::CommitCount, count);
                metrics.record_advanced_many(Advanced::QuorumAckLatency, age, count);
            } else {
                metrics.add(Counter::LearnerCommitReceivedCount, count);
                metrics.record_advanced_many(Advanced::CommitPropagationLatency, age, count);
            }
        }
        let kinds = [Basic::InflightSnapCount, Basic::InflightDiffCount];
        for (kind, (seen, new)) in kinds.into_iter().zip(self.syncing.iter_mut().zip(stats.syncing))
        {
            if std::mem::replace(seen, new) != new {
                metrics.record(kind, i64::try_from(new).unwrap_or(i64::MAX));
            }
        }
        if syncs != self.syncs {
            let by_diff = |s: &SyncCounts| s.diff + s.log + s.trunc + s.trunc_diff;
            metrics.add(Counter::DiffCount, by_diff(&syncs).saturating_sub(by_diff(&self.syncs)));
            metrics.add(Counter::SnapCount, syncs.snap.saturating_sub(self.syncs.snap));
            self.syncs = syncs;
        }
    }
}

#[cfg(test)]
mod tests;
