//! The deterministic state machine: same transactions, same bytes.
//!
//! [`StateMachine`] is what a ZooKeeper server replicates: the tree of znodes, the table of
//! sessions, and what follows from them (ephemerals by session, quota usage, the digest). It
//! changes by [`StateMachine::apply`] and nothing else once it is loaded, it is read through
//! [`StateMachine::node`] and the functions of [`read`]. It knows neither clock nor disk nor
//! connection, and not that it is replicated.
//!
//! - [`watch::WatchTable`] stands beside it: local to a server, told of changes, not replicated.
//! - [`StateLoader`] builds a state from a snapshot; [`StateMachine::begin_snapshot`] and
//!   [`StateMachine::snapshot_next`] write one while the state goes on changing.

mod acl;
mod change;
pub mod digest;
mod load;
mod node;
pub mod read;
mod session;
mod snapshot;
pub mod watch;

pub use acl::AclId;
pub use change::{Change, SubResult, TxnResult};
pub use digest::node_digest;
pub use load::StateLoader;
pub use node::NodeRef;
pub use session::SessionTable;
pub use snapshot::SnapshotCursor;
pub use watch::EventKind;

use bytes::BytesMut;

use crate::proto::txn::TxnEntry;
use crate::types::{Acl, OwnerRules, SessionId, WallTime, Zxid};

/// The settings that the state machine needs; the same on every member of an ensemble.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How owner fields are read.
    pub owner_rules: OwnerRules,
    /// `zookeeper.digest.enabled`: keep the tree digest and compare it with the transactions'.
    pub digest: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { owner_rules: OwnerRules::default(), digest: true }
    }
}

/// A path's quota: limits and what is used of them (Apache `StatsTrack`). -1 is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaView {
    /// The path with the quota, the nearest above (or at) the one asked for.
    pub prefix: String,
    /// Soft limit of the number of nodes, the prefix itself included.
    pub count_limit: i64,
    /// Soft limit of the data, bytes.
    pub bytes_limit: i64,
    /// Hard limit of the number of nodes; before the soft one when set.
    pub count_hard_limit: i64,
    /// Hard limit of the data, bytes; before the soft one when set.
    pub bytes_hard_limit: i64,
    /// Nodes there are.
    pub count: i64,
    /// Bytes of data there are.
    pub bytes: i64,
}

/// See the module.
#[derive(Debug)]
pub struct StateMachine {
    options: Options,
    last_zxid: Zxid,
    sessions: SessionTable,
}

#[allow(unused_variables, missing_docs)]
impl StateMachine {
    /// The state of a server that has seen no transaction: "/", "/zookeeper" and its two children.
    pub fn new(options: Options) -> StateMachine {
        StateMachine { options, last_zxid: Zxid::ZERO, sessions: SessionTable::new() }
    }

    /// The settings.
    pub fn options(&self) -> Options {
        self.options
    }

    /// The last transaction that was applied, or the start of a new leader's epoch.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Sets [`StateMachine::last_zxid`] without a transaction: a new leader's `epoch << 32`.
    pub fn set_last_zxid(&mut self, zxid: Zxid) {
        self.last_zxid = zxid;
    }

    /// Applies a transaction and appends what watches may be told to `changes`.
    ///
    /// Total: whatever a log may hold has a result. Idempotent in the way that replay onto a fuzzy
    /// snapshot needs (Apache `DataTree.processTxn`).
    pub fn apply(&mut self, entry: &TxnEntry, changes: &mut Vec<Change>) -> TxnResult {
        todo!()
    }

    /// Deletes the ephemerals of sessions that are not in the table, as of the last zxid; to be
    /// called once after recovery. Returns those sessions.
    pub fn kill_dead_sessions(&mut self, changes: &mut Vec<Change>) -> Vec<SessionId> {
        todo!()
    }

    /// Writes the ensemble's configuration into "/zookeeper/config" without a transaction (Apache
    /// `initConfigInZKDatabase`): version -1, mzxid = `version`, mtime = `now`. Creates the node
    /// when an old snapshot lacks it.
    pub fn init_config(
        &mut self,
        text: &[u8],
        version: Zxid,
        now: WallTime,
        changes: &mut Vec<Change>,
    ) {
        todo!()
    }

    /// The tree digest; 0 when digests are off.
    pub fn digest(&self) -> i64 {
        todo!()
    }

    /// How many transactions led to another digest than they said.
    pub fn digest_mismatches(&self) -> u64 {
        todo!()
    }

    /// Zxids and digests of the recent past, oldest first: what `hash` prints.
    pub fn digest_log(&self) -> impl Iterator<Item = (Zxid, i64)> + '_ {
        std::iter::empty()
    }

    /// The sessions.
    pub fn sessions(&self) -> &SessionTable {
        &self.sessions
    }

    /// The node at `path`; "" and "/" are the root. Any string may be asked for.
    pub fn node(&self, path: &str) -> Option<NodeRef<'_>> {
        todo!()
    }

    /// Nodes as `srvr` counts them: the root counts twice (Apache keeps it as "" and "/").
    pub fn node_count(&self) -> usize {
        todo!()
    }

    /// Bytes of all paths (UTF-16 units, as Java counts) and data.
    pub fn approximate_data_size(&self) -> u64 {
        todo!()
    }

    /// Paths of a session's ephemerals.
    pub fn ephemerals_of(&self, session: SessionId) -> impl Iterator<Item = String> + '_ {
        std::iter::empty()
    }

    /// How many ephemerals there are.
    pub fn ephemerals_count(&self) -> usize {
        todo!()
    }

    /// Sessions that own nodes, and how many.
    pub fn sessions_with_ephemerals(&self) -> impl Iterator<Item = (SessionId, usize)> + '_ {
        std::iter::empty()
    }

    /// Paths of all container nodes.
    pub fn containers(&self) -> impl Iterator<Item = String> + '_ {
        std::iter::empty()
    }

    /// Paths of all TTL nodes.
    pub fn ttls(&self) -> impl Iterator<Item = String> + '_ {
        std::iter::empty()
    }

    /// Nodes below `path` as getAllChildrenNumber counts them; None when there is no such node.
    pub fn all_children_number(&self, path: &str) -> Option<i32> {
        todo!()
    }

    /// The quota that `path` falls under (the nearest; the root's is ignored), whether the node
    /// exists or not.
    pub fn quota_of(&self, path: &str) -> Option<QuotaView> {
        todo!()
    }

    /// An interned ACL.
    pub fn acl_by_id(&self, id: AclId) -> &[Acl] {
        todo!()
    }

    /// Starts a snapshot of the state as it is now; None when one is under way. Then call
    /// [`StateMachine::snapshot_next`] until it says so, then [`StateMachine::end_snapshot`].
    pub fn begin_snapshot(&mut self) -> Option<SnapshotCursor> {
        todo!()
    }

    /// Appends up to `max_nodes` more nodes (path and record, parents first, the root as "") to
    /// `out`, fewer when [`SnapshotCursor::STEP_BYTES`] have been appended. True when that was the
    /// last. The end mark "/" is not written. Transactions may be applied between calls.
    pub fn snapshot_next(
        &self,
        cursor: &mut SnapshotCursor,
        max_nodes: usize,
        out: &mut BytesMut,
    ) -> bool {
        todo!()
    }

    /// Ends a snapshot, finished or not.
    pub fn end_snapshot(&mut self) {
        todo!()
    }
}
