//! The whole contract between a [`Peer`](super::Peer) and the world: what it can be told, and what
//! it can ask for.
//!
//! Events are the arguments of the `handle_*` methods; [`Action`] is the closed list of everything
//! Zab can do. The caller executes actions **in the order in which they are polled**; that order
//! carries meaning between a `Deliver`, a `SendSnapshot` and the packets around them.

use bytes::Bytes;

use super::warning::Warning;
use crate::proto::election::Notification;
use crate::proto::quorum::QuorumPacket;
use crate::types::{Epoch, LinkId, ServerId, Zxid};

/// A transaction as Zab sees it: its place in the order, and bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EncodedTxn {
    /// Its place.
    pub zxid: Zxid,
    /// Header, record and digest exactly as they are logged and sent in a PROPOSAL.
    pub bytes: Bytes,
    /// Whether it changes the membership.
    pub reconfig: bool,
}

impl EncodedTxn {
    /// Apache's number of a reconfig transaction (`OpCode.reconfig`).
    const RECONFIG: [u8; 4] = 16_i32.to_be_bytes();

    /// A transaction out of a packet or a log. The header's type, its bytes 28 to 31, is the one
    /// thing that is looked at.
    pub fn new(zxid: Zxid, bytes: Bytes) -> EncodedTxn {
        let reconfig = bytes.get(28..32) == Some(&EncodedTxn::RECONFIG);
        EncodedTxn { zxid, bytes, reconfig }
    }

    /// A CRC-32 of it. Two histories that have different transactions at one zxid, or the same one on
    /// different trees (its bytes end with the tree's digest, unless digests are off), differ in it.
    pub fn print(&self) -> u32 {
        crc32fast::hash(&self.bytes)
    }
}

/// Names one request to the disk. Never reused while the peer lives, so a completion says exactly
/// which request it answers: one from before a truncation can't be taken for one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OpId(pub u64);

/// Names one request to read the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ReadId(pub u64);

/// Names a snapshot stream that the shell has received behind a SNAP packet and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ImageId(pub u64);

/// A change of what is on disk.
///
/// **One log thread executes them in the order given**, each durable before the next begins, except
/// that neighbouring appends may share one sync. Any prefix of them may survive a crash. An error
/// is not reported: the shell ends the process, because after a failed sync nobody knows what is on
/// disk (B15, ZOOKEEPER-2247); a truncation or installation that fails halfway likewise (A31,
/// ZOOKEEPER-3701).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Append one transaction to the log.
    Append(EncodedTxn),
    /// Replace `acceptedEpoch`: file, rename and directory durable.
    SaveAcceptedEpoch(Epoch),
    /// Replace `currentEpoch`: file, rename and directory durable.
    SaveCurrentEpoch(Epoch),
    /// Remove every logged transaction above the zxid, **and every snapshot above it** (A19,
    /// ZOOKEEPER-4837). Nothing need exist at exactly that zxid. Answered by
    /// [`Persisted::Truncated`]; if what is on disk doesn't reach back to it (only a newer snapshot
    /// exists), nothing is changed and the answer is [`Persisted::CannotTruncate`].
    Truncate(Zxid),
    /// Keep a config's text: the newest that was proposed (`<cfg>.dynamic.next`), or the one in force
    /// (`<cfg>.dynamic.<version>`). Only where the membership may change.
    SaveConfig {
        /// The text.
        text: Bytes,
        /// It is in force.
        active: bool,
        /// A newer one that was proposed stays; otherwise one in force ends what was proposed.
        keep_next: bool,
    },
    /// Make this image the snapshot at `zxid`, and make sure that nothing logged before is ever
    /// replayed onto it: the log starts anew.
    InstallSnapshot {
        /// The zxid of the snapshot.
        zxid: Zxid,
        /// What [`LinkEvent::Image`] announced.
        image: ImageId,
    },
}

/// What the disk reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persisted {
    /// Every request up to and including this one is durable.
    Through(OpId),
    /// So is this truncation, and everything before it; `last` is what the log ends with now.
    Truncated {
        /// The request.
        op: OpId,
        /// The zxid of the last transaction left (or of the snapshot under an empty log).
        last: Zxid,
    },
    /// The truncation is impossible and nothing was changed; everything before it is durable.
    CannotTruncate(OpId),
}

/// What a request to read the log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRead {
    /// The newest zxid at or below the one asked for that the log or a snapshot under it has.
    pub found: Zxid,
    /// [`EncodedTxn::print`] of the transaction at `found`, if it was read.
    pub print: Option<u32>,
    /// The transactions after `found`, without a gap, through the zxid asked for.
    pub txns: Vec<EncodedTxn>,
}

/// What happens to a link between servers (learner port).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A connection that [`Action::Connect`] asked for stands, or a learner has connected to us;
    /// the shell numbers the latter below [`LINK_OUTBOUND`].
    Up,
    /// A whole packet has arrived.
    Packet(QuorumPacket),
    /// The snapshot stream behind a SNAP packet has arrived whole, signature included.
    Image(ImageId),
    /// Some of that stream has arrived, or some of ours was taken: the other side lives.
    Progress,
    /// The connection is gone, or could not be made. Never said after [`Action::CloseLink`].
    Down,
}

/// Links that this peer asks for are numbered from here; those it accepts, by the shell, below.
pub const LINK_OUTBOUND: u64 = 1 << 63;

/// One thing to be done in the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell another member our vote. The shell keeps one queue of capacity one per member, where
    /// the newest replaces what was not sent, and repeats the last message on a new connection.
    SendNotification {
        /// To whom.
        to: ServerId,
        /// What.
        notification: Notification,
    },
    /// Connect to the learner port of `to`, at any of its addresses at once; answered by
    /// [`LinkEvent::Up`] or [`LinkEvent::Down`].
    Connect {
        /// The number of the link to be.
        link: LinkId,
        /// The leader.
        to: ServerId,
    },
    /// Connect to the port where the follower `to` serves observers; answered as a `Connect`.
    ConnectToMaster {
        /// The number of the link to be.
        link: LinkId,
        /// The follower.
        to: ServerId,
    },
    /// Open the learner port (only while leading).
    Listen,
    /// Open the port where a follower serves observers (`observerMasterPort`).
    ListenForObservers,
    /// Close whichever of the two ports is open. Its links are closed by actions of their own.
    StopListening,
    /// Write a packet to a link, behind everything written before.
    Send {
        /// Where.
        link: LinkId,
        /// What.
        packet: QuorumPacket,
    },
    /// Write the snapshot stream of the state at `zxid`: of the image that there is, if
    /// [`Peer::set_snapshots`](super::Peer::set_snapshots) has named it so, otherwise of the state
    /// **as it is now**, after every `Deliver` polled before this. The SNAP packet has been sent.
    /// Later packets queue behind it.
    SendSnapshot {
        /// Where.
        link: LinkId,
        /// What the image is, or the state, is at.
        zxid: Zxid,
    },
    /// Drop a link, with everything unsent.
    CloseLink {
        /// Which.
        link: LinkId,
        /// For the log.
        why: LinkError,
    },
    /// Change what is on disk.
    Disk {
        /// The number of the request.
        op: OpId,
        /// The change.
        what: DiskOp,
    },
    /// Read transactions from the log on disk, for a learner that is behind the window in memory;
    /// answered by [`Peer::handle_log_read`](super::Peer::handle_log_read). The shell refuses with
    /// None when it would be more than `zookeeper.snapshotSizeFactor` of a snapshot, or when the
    /// range is not proven to be without a gap (A20, ZOOKEEPER-2846).
    ReadLog {
        /// The number of the request.
        read: ReadId,
        /// Where the learner's log ends.
        after: Zxid,
        /// The last transaction wanted.
        through: Zxid,
    },
    /// Rebuild the state from disk, replaying the log no further than `through`; answered by
    /// [`Peer::handle_loaded`](super::Peer::handle_loaded).
    LoadState {
        /// The last transaction of the new state.
        through: Zxid,
    },
    /// Apply a transaction to the state. In zxid order, each exactly once per loaded state.
    Deliver {
        /// The transaction.
        txn: EncodedTxn,
        /// Whether a quorum has it. False only on a leader which isn't serving yet and must hand
        /// its whole history to a learner as a snapshot: nobody may see that state until
        /// [`RoleChange::Leading`] says "serving".
        committed: bool,
    },
    /// This server's part has changed.
    RoleChanged(RoleChange),
    /// A packet of a learner which is for the layers above: REQUEST, REVALIDATE, or the answer to a
    /// PING with the sessions it carries.
    FromLearner {
        /// The link to answer on.
        link: LinkId,
        /// The learner's id.
        server: ServerId,
        /// The packet.
        packet: QuorumPacket,
    },
    /// A packet of the leader which is for the layers above: REVALIDATE or SYNC.
    FromLeader(QuorumPacket),
    /// The leader pings: answer with the touched sessions by
    /// [`Peer::answer_ping`](super::Peer::answer_ping).
    AnswerPing {
        /// To be echoed.
        zxid: Zxid,
    },
    /// What was proposed before [`Peer::sync`](super::Peer::sync) is committed and delivered, and a
    /// quorum has confirmed since that this server leads.
    Synced {
        /// What the caller gave.
        token: u64,
    },
    /// The last seen config: the leader's NEWLEADER carried this text, or, where the membership may
    /// change, a proposal.
    ConfigSeen(Bytes),
    /// This config is in force here from now on, and its version.
    ConfigActive {
        /// Its text.
        text: Bytes,
        /// Its version.
        version: i64,
    },
    /// A member whose log was damaged, or that had nothing, is sound again and may vote from now
    /// on.
    Resynced,
    /// An operator should know this. It is said once for each cause.
    Warn(Warning),
    /// This server can't go on: end the process.
    Exit(ExitReason),
}

/// What part a server plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleChange {
    /// It searches for a leader, and serves nobody.
    Looking(Why),
    /// It follows (or observes) a leader.
    Following {
        /// Whom.
        leader: ServerId,
        /// The leader's epoch; 0 until it is known.
        epoch: Epoch,
        /// Whether it may answer clients.
        serving: bool,
        /// Whether it has no vote.
        observer: bool,
    },
    /// It leads.
    Leading {
        /// Its epoch; 0 until it is known.
        epoch: Epoch,
        /// Whether it is established: may propose, and answer clients. From then on the state
        /// counts as being at the epoch's start (`epoch << 32`), as in Apache.
        serving: bool,
    },
    /// It was told to stop.
    Stopped,
}

/// Why a server searches for a leader.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It has just started.
    #[error("started")]
    Started,
    /// The link to the leader is gone.
    #[error("the link to leader {0} is down")]
    LeaderGone(ServerId),
    /// The leader could not be reached.
    #[error("leader {0} can't be reached")]
    LeaderUnreachable(ServerId),
    /// Whom an election chose looks for a leader itself, before it has led.
    #[error("server {0}, which was to lead, looks for a leader itself")]
    LeaderLooks(ServerId),
    /// The leader was silent for too long.
    #[error("leader {0} is silent")]
    LeaderSilent(ServerId),
    /// The leader broke the protocol.
    #[error("leader {leader}: {error}")]
    LeaderMisbehaved {
        /// Which.
        leader: ServerId,
        /// How.
        error: LinkError,
    },
    /// Too few followers for too long, as a leader.
    #[error("no quorum of followers in step")]
    QuorumLost,
    /// Too few followers came, as a leader to be.
    #[error("no quorum came to follow")]
    NotEstablished,
    /// A leader to be whose voters have found a better one.
    #[error("server {0} has got the votes")]
    Outvoted(ServerId),
    /// A leader to be could not open its quorum port while its followers tried to connect.
    #[error("another program holds this server's quorum port")]
    PortHeld,
    /// A follower has a newer history.
    #[error("follower {0} is ahead")]
    FollowerAhead(ServerId),
    /// A voter has accepted a later epoch, which the leader's next one is to exceed: it has nothing to
    /// lose by that, and cannot be elected; or the leader does not serve yet.
    #[error("server {server} has accepted epoch {accepted}, so a later one begins")]
    LaterEpoch {
        /// Who.
        server: ServerId,
        /// Which.
        accepted: Epoch,
    },
    /// No zxid can hold the next epoch.
    #[error(
        "no epoch comes after {accepted}: acceptedEpoch of this server or of a voter is wrong, or this \
         ensemble has had all its epochs. Stop the members, write into acceptedEpoch of each what is in \
         its currentEpoch, and start them"
    )]
    EpochsUsedUp {
        /// The highest that was accepted.
        accepted: Epoch,
    },
    /// The leader's own disk doesn't answer.
    #[error("the disk has not answered for {0} ms")]
    DiskStalled(u64),
    /// The membership has changed: another leads from now on, or this server's part is another.
    #[error("the membership has changed")]
    Reconfigured,
    /// A member in the search for a leader knew a newer membership, of this version.
    #[error("config version {0:#x} is newer")]
    NewerConfig(i64),
    /// The counter of the zxid is used up (A32, ZOOKEEPER-1277).
    #[error("zxid lower 32 bits have rolled over, forcing re-election")]
    RolledOver,
}

/// Why a link is dropped: what the other side did, or what became of us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// This server doesn't lead.
    #[error("this server does not lead")]
    NotLeading,
    /// This server's role ended.
    #[error("this server left its role")]
    RoleEnded,
    /// A newer link of the same server took its place.
    #[error("replaced by a newer link")]
    Replaced,
    /// Nothing was heard for too long.
    #[error("silent for too long")]
    Silent,
    /// A proposal was not acknowledged in time.
    #[error("proposal {0} not acknowledged in time")]
    AckOverdue(Zxid),
    /// So many learners are no members already.
    #[error(
        "there are {0} learners that are not in the membership, and no more are taken; hint: give \
         each observer its server line"
    )]
    TooManyGuests(usize),
    /// A learner that claims to be this server: two members have the same `myid`.
    #[error("the learner has this server's own id")]
    OwnId,
    /// A learner whose id nobody can have.
    #[error("server id {0} is out of range")]
    BadId(ServerId),
    /// A packet that has no place here.
    #[error("unexpected {packet} while {phase}")]
    Unexpected {
        /// The packet's name.
        packet: &'static str,
        /// What this side was doing.
        phase: &'static str,
    },
    /// A payload that can't be read.
    #[error("undecodable {0}")]
    Undecodable(&'static str),
    /// A learner protocol from before Zab 1.0.
    #[error("learner protocol {0:#x} is not supported")]
    OldProtocol(i32),
    /// The learner's config is newer than ours.
    #[error("config version {theirs:#x} is newer than ours, {ours:#x}")]
    NewerConfig {
        /// Theirs.
        theirs: i64,
        /// Ours.
        ours: i64,
    },
    /// An epoch lower than the accepted one.
    #[error("epoch {offered} is lower than the accepted epoch {accepted}")]
    EpochWentBack {
        /// The leader's.
        offered: Epoch,
        /// Ours.
        accepted: Epoch,
    },
    /// An epoch that no honest history leads to from what was accepted here.
    #[error("epoch {said} is absurd after {accepted}, the accepted epoch here")]
    AbsurdEpoch {
        /// The other side's.
        said: Epoch,
        /// Ours.
        accepted: Epoch,
    },
    /// The learner's history is another than the leader's, from before this on.
    #[error(
        "the history before {0} is another here than the leader's: a snapshot will be asked for"
    )]
    HistoryDiffers(Zxid),
    /// An epoch out of range.
    #[error("epoch {0} is out of range")]
    BadEpoch(Epoch),
    /// A proposal that doesn't continue the log (A17, ZOOKEEPER-4925).
    #[error("proposal {got} does not continue {last}")]
    Gap {
        /// Where the log ends.
        last: Zxid,
        /// What came.
        got: Zxid,
    },
    /// A commit of something else than the next proposal.
    #[error(
        "commit of {got}, expected {}",
        .expected.map_or_else(|| "none".to_owned(), |zxid| zxid.to_string())
    )]
    CommitOutOfOrder {
        /// What would have been right.
        expected: Option<Zxid>,
        /// What came.
        got: Zxid,
    },
    /// A truncation to a zxid above the log's end.
    #[error("truncation to {to} above the end of the log, {last}")]
    BadTruncation {
        /// The target.
        to: Zxid,
        /// Where the log ends.
        last: Zxid,
    },
    /// A truncation to, or a snapshot of, less than what this server knows to be committed.
    #[error("{to} is below {committed}, which is known here to be committed")]
    Behind {
        /// Where this server would have stood.
        to: Zxid,
        /// What it has seen committed.
        committed: Zxid,
    },
    /// A truncation that what is on disk does not allow: a snapshot will be asked for.
    #[error("can't truncate to {0}: a snapshot will be asked for")]
    CannotTruncate(Zxid),
    /// This member asked for a snapshot and was offered something else.
    #[error("a snapshot was needed")]
    SnapshotNeeded,
    /// As many learners are being brought up in this way as there may be; it will come again (Apache
    /// `SyncThrottleException`).
    #[error("{syncing} learners are being brought up by a {kind} already, of {max} allowed")]
    TooManySyncs {
        /// "snapshot" or "difference".
        kind: &'static str,
        /// How many there are.
        syncing: usize,
        /// `leader.maxConcurrentSnapSyncs` or `leader.maxConcurrentDiffSyncs`.
        max: usize,
    },
    /// Its snapshot could not be begun; it will come again.
    #[error("no snapshot could be begun")]
    NoSnapshot,
    /// A learner with a newer history than a leader that isn't established.
    #[error("the learner is ahead of this leader")]
    LearnerAhead,
}

/// Why a process must end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExitReason {
    /// A leader wants this server to forget what it knows to be committed.
    #[error("leader {leader} {by} {to}, below {committed}, which is committed")]
    CommittedWouldBeLost {
        /// Which leader.
        leader: ServerId,
        /// How: "truncates to", or "sends a snapshot of".
        by: &'static str,
        /// Its target.
        to: Zxid,
        /// What this server has seen committed.
        committed: Zxid,
    },
}
