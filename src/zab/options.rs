//! What a peer is given at its start: its settings, and what is on its disk.

use std::time::Duration;

use super::action::EncodedTxn;
use super::membership::{ConfigReader, Membership};
use crate::types::{Epoch, ServerId, Zxid};

/// The shortest silence that makes a learner leave, unless `syncLimit` is shorter.
const QUICK_SILENCE_MIN: Duration = Duration::from_secs(2);

/// The settings of a [`Peer`](super::Peer).
#[derive(Clone, Debug)]
pub struct Options {
    /// This server.
    pub id: ServerId,
    /// Everyone.
    pub membership: Membership,
    /// `tickTime`, the unit of the two limits.
    pub tick: Duration,
    /// `initLimit`, in ticks: to find an epoch, connect and synchronise.
    pub init_limit: u32,
    /// `syncLimit`, in ticks: between a request and its acknowledgement.
    pub sync_limit: u32,
    /// How long a quorum of equal votes must stand before it counts (Apache's `finalizeWait`, 200
    /// ms). Where every member is a rookeeper a shorter wait may be used. When *every* voter agrees
    /// nothing is waited for.
    pub finalize_wait: Duration,
    /// `zookeeper.fastleader.minNotificationInterval`: the first wait before a vote is repeated.
    pub notification_min: Duration,
    /// `zookeeper.fastleader.maxNotificationInterval`: the longest; Apache's default is a minute,
    /// ours is 3 s, because a repeated vote costs nothing and a healed partition should be noticed.
    pub notification_max: Duration,
    /// Between attempts to connect to a leader
    /// (`zookeeper.leaderConnectDelayDuringRetryMs`, 100 ms).
    pub connect_retry: Duration,
    /// How many attempts; Apache makes five.
    pub connect_tries: u32,
    /// How long a leader that isn't established waits without a quorum of links before it gives up.
    /// Apache waits `initLimit` ticks.
    pub establish_patience: Duration,
    /// `zookeeper.commitLogCount`: committed transactions kept in memory to serve DIFFs from.
    pub commit_log_count: usize,
    /// `zookeeper.forceSnapshotSync`: never a DIFF.
    pub force_snapshot_sync: bool,
    /// Whether a DIFF may be read from the log on disk (`zookeeper.snapshotSizeFactor` >= 0).
    pub log_sync: bool,
    /// `zookeeper.leader.maxConcurrentSnapSyncs`: learners brought up by a snapshot at the same time.
    /// Voters are counted and not refused.
    pub snap_syncs_max: usize,
    /// `zookeeper.leader.maxConcurrentDiffSyncs`: the same for the other ways.
    pub diff_syncs_max: usize,
    /// `observerMasterPort` is set: a follower serves observers, and an observer learns from one.
    pub observer_masters: bool,
    /// Learners that are no members which this server takes.
    pub guests_max: usize,
    /// How configs are read; None: the membership never changes (`reconfigEnabled=false`).
    pub reconfig: Option<ConfigReader>,
    /// A config that was proposed when this server stopped, and may have been committed.
    pub seen: Option<Membership>,
    /// Another program holds this server's quorum port at the start, see
    /// [`Peer::set_port_held`](super::Peer::set_port_held).
    pub port_held: bool,
    /// The counter at which a leader steps down, so that a new epoch begins: 0xffffffff. Lower in
    /// tests, which can't wait for so many transactions.
    pub counter_limit: u32,
    /// A bug to have, so that the simulator can show that it sees it.
    #[cfg(any(test, feature = "sim"))]
    pub mutant: Option<Mutant>,
}

impl Options {
    /// Apache's defaults around the three settings a quorum must have, which here are those of its
    /// sample config: tickTime 2000, initLimit 10, syncLimit 5.
    pub fn new(id: ServerId, membership: Membership) -> Options {
        let tick = Duration::from_millis(2000);
        Options {
            id,
            membership,
            tick,
            init_limit: 10,
            sync_limit: 5,
            finalize_wait: Duration::from_millis(200),
            notification_min: Duration::from_millis(200),
            notification_max: Duration::from_secs(3),
            connect_retry: Duration::from_millis(50),
            connect_tries: 10,
            establish_patience: tick * 10,
            commit_log_count: 500,
            force_snapshot_sync: false,
            log_sync: true,
            snap_syncs_max: 10,
            diff_syncs_max: 100,
            observer_masters: false,
            guests_max: 128,
            reconfig: None,
            seen: None,
            port_held: false,
            counter_limit: Zxid::COUNTER_MAX,
            #[cfg(any(test, feature = "sim"))]
            mutant: None,
        }
    }

    /// `initLimit` as a time.
    pub fn init_time(&self) -> Duration {
        self.tick * self.init_limit
    }

    /// `syncLimit` as a time.
    pub fn sync_time(&self) -> Duration {
        self.tick * self.sync_limit
    }

    /// How long a leader may be silent where every member is a rookeeper: a quarter of what it may be
    /// elsewhere, but not less than two seconds unless that is less (`docs/decisions/004`).
    pub fn quick_silence(&self) -> Duration {
        (self.sync_time() / 4).max(QUICK_SILENCE_MIN).min(self.sync_time())
    }

    /// Between two pings of a leader: half a tick, as Apache; more often where silence counts sooner.
    pub fn ping_period(&self, quick: bool) -> Duration {
        if quick { (self.tick / 2).min(self.quick_silence() / 5) } else { self.tick / 2 }
    }
}

/// What a peer finds on disk when it starts, and what the state was loaded from.
#[derive(Clone, Debug, Default)]
pub struct DiskState {
    /// `acceptedEpoch`, 0 if there is none.
    pub accepted_epoch: Epoch,
    /// `currentEpoch`, 0 if there is none.
    pub current_epoch: Epoch,
    /// The last valid, durable zxid, of the log or of the snapshot. The state has been loaded
    /// through it.
    pub last: Zxid,
    /// The end of the log, without a gap: for DIFFs. As many as `commit_log_count` are useful.
    pub recent: Vec<EncodedTxn>,
    /// The zxid right before the first of `recent` (of a transaction or the snapshot); `last` if
    /// there are none.
    pub recent_after: Zxid,
    /// Whether this member's disk can be relied on.
    pub standing: Standing,
}

/// Whether what a member has on disk may speak for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Standing {
    /// It may.
    #[default]
    Sound,
    /// Its log is damaged, or it has nothing and no permission to begin with nothing (A30,
    /// ZOOKEEPER-261): it neither votes nor is counted until it holds a snapshot of an elected
    /// leader. What it lost may have been acknowledged.
    MustResync,
}

/// A peer can't start from this disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// `acceptedEpoch` is lower than `currentEpoch`.
    #[error("accepted epoch {accepted} is less than current epoch {current}")]
    AcceptedBelowCurrent {
        /// What the file says.
        accepted: Epoch,
        /// What the file says.
        current: Epoch,
    },
    /// The log holds transactions of an epoch that was never accepted: the epoch files are from
    /// another time than the log.
    #[error("accepted epoch {accepted} is older than the last zxid {last}")]
    AcceptedBelowLog {
        /// What the file says.
        accepted: Epoch,
        /// Where the log ends.
        last: Zxid,
    },
    /// `acceptedEpoch` is nothing that a zxid could hold.
    #[error(
        "accepted epoch {0} is out of range: acceptedEpoch in the data directory is damaged. Write the \
         epoch of currentEpoch into it"
    )]
    EpochOutOfRange(Epoch),
    /// This server is not in its own config.
    #[error("server {0} is not in the configuration")]
    NotAMember(ServerId),
}

/// Bugs that the simulator must find: one-line changes of the protocol, each one that some
/// implementation really had (`docs/ZAB.md` has the table). Not compiled into the server.
#[cfg(any(test, feature = "sim"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the table of mutants says what each is")]
pub enum Mutant {
    AckBeforePersist,
    EpochBeforeTxns,
    ClaimMemoryZxid,
    DiffWithoutMembership,
    ObserversCounted,
    TruncKeepsSnapshot,
    WrongVoteOrder,
    NewLeaderEarly,
    CurrentEpochNotSaved,
    AcceptedEpochNotSaved,
    DurableNotLowered,
    MinorityQuorum,
    SyncSkipsNewest,
    NoZxidWrap,
    SnapshotAckedUnsynced,
    ServeWithoutQuorum,
    DeliverOnProposal,
    TruncInMemoryOnly,
    OutsiderEpochCounts,
    LaterEpochDeposes,
    DiffWithoutDigest,
}

#[cfg(any(test, feature = "sim"))]
impl Mutant {
    /// All of them.
    pub const ALL: &[Mutant] = &[
        Mutant::AckBeforePersist,
        Mutant::EpochBeforeTxns,
        Mutant::ClaimMemoryZxid,
        Mutant::DiffWithoutMembership,
        Mutant::ObserversCounted,
        Mutant::TruncKeepsSnapshot,
        Mutant::WrongVoteOrder,
        Mutant::NewLeaderEarly,
        Mutant::CurrentEpochNotSaved,
        Mutant::AcceptedEpochNotSaved,
        Mutant::DurableNotLowered,
        Mutant::MinorityQuorum,
        Mutant::SyncSkipsNewest,
        Mutant::NoZxidWrap,
        Mutant::SnapshotAckedUnsynced,
        Mutant::ServeWithoutQuorum,
        Mutant::DeliverOnProposal,
        Mutant::TruncInMemoryOnly,
        Mutant::OutsiderEpochCounts,
        Mutant::LaterEpochDeposes,
        Mutant::DiffWithoutDigest,
    ];

    /// The mutant with this name, as `Debug` prints it, in any case and with or without dashes.
    pub fn named(name: &str) -> Option<Mutant> {
        let plain = |s: &str| s.replace(['-', '_'], "").to_lowercase();
        Mutant::ALL.iter().copied().find(|m| plain(&format!("{m:?}")) == plain(name))
    }
}
