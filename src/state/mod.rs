//! The deterministic state machine: same transactions, same bytes.
//!
//! [`StateMachine`] is what a ZooKeeper server replicates: the tree of znodes, the table of
//! sessions, and what follows from them (ephemerals by session, quota usage, the digest). It
//! changes by [`StateMachine::apply`] and, outside of recovery, nothing else; it is read through
//! [`StateMachine::node`] and the functions of [`read`]. It knows neither clock nor disk nor
//! connection, and not that it is replicated.
//!
//! - [`watch::WatchTable`] stands beside it: local to a server, told of changes, not replicated.
//! - [`StateLoader`] builds a state from a snapshot; [`StateMachine::begin_snapshot`] and
//!   [`StateMachine::snapshot_next`] write one while the state goes on changing.
//!
//! Inside: `tree` (structure, paths, stats, digest) over `arena`, `index` and `znode` (packing);
//! `apply` gives transactions their meaning with `acl`, `owner`, `quota` and `session`.

mod acl;
mod apply;
mod arena;
mod belongings;
mod census;
mod change;
pub mod digest;
mod index;
mod listing;
mod load;
mod node;
mod owner;
mod quota;
pub mod read;
mod removals;
mod session;
mod snapshot;
#[cfg(test)]
mod testkit;
mod tree;
pub mod watch;
mod znode;

pub use acl::AclId;
pub use belongings::Belongings;
pub use census::Census;
pub use change::{Change, SubResult, TxnResult};
pub use digest::node_digest;
pub use listing::{Listing, PIECE_BYTES, Progress};
pub use load::{NodeBatch, StateLoader};
pub use node::NodeRef;
pub use quota::{NamespaceQuota, QuotaView, StatsTrack};
pub use session::SessionTable;
pub use snapshot::SnapshotCursor;
pub use watch::EventKind;

use acl::AclTable;
use digest::DigestLog;
use owner::Owners;
use quota::QuotaTrie;
use tree::{ROOT, Tree};

use crate::types::path::{QUOTA, ZOOKEEPER};
use crate::types::{Acl, OwnerRules, SessionId, Stat, Zxid, java};

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

/// See the module.
#[derive(Debug)]
pub struct StateMachine {
    options: Options,
    last_zxid: Zxid,
    tree: Tree,
    acls: AclTable,
    sessions: SessionTable,
    owners: Owners,
    quotas: QuotaTrie,
    digest_log: DigestLog,
    digest_mismatches: u64,
    first_mismatch: Option<Zxid>,
    /// The first since somebody asked.
    new_mismatch: Option<Zxid>,
    /// Zxid and digest that a fuzzy snapshot promises further on.
    digest_ahead: Option<(Zxid, i64)>,
    /// In the middle of a closeSession: how many of its listed nodes are dealt with.
    closing: Option<usize>,
    #[cfg(any(test, feature = "sim"))]
    leaves_ephemerals: bool,
}

impl StateMachine {
    /// The state of a server that has seen no transaction: "/", "/zookeeper" and its two children.
    pub fn new(options: Options) -> StateMachine {
        let mut state = StateMachine::bare(options);
        state.ensure_special(ZOOKEEPER);
        state.ensure_special(QUOTA);
        state.ensure_config();
        state
    }

    /// A bug for the simulator to find: the end of a session leaves its nodes.
    #[cfg(any(test, feature = "sim"))]
    pub fn leave_ephemerals(&mut self) {
        self.leaves_ephemerals = true;
    }

    /// A root and nothing else.
    fn bare(options: Options) -> StateMachine {
        StateMachine {
            options,
            last_zxid: Zxid::ZERO,
            tree: Tree::new(options.digest),
            acls: AclTable::new(),
            sessions: SessionTable::new(),
            owners: Owners::new(options.owner_rules),
            quotas: QuotaTrie::new(),
            digest_log: DigestLog::default(),
            digest_mismatches: 0,
            first_mismatch: None,
            new_mismatch: None,
            digest_ahead: None,
            closing: None,
            #[cfg(any(test, feature = "sim"))]
            leaves_ephemerals: false,
        }
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

    /// The tree digest; 0 when digests are off.
    pub fn digest(&self) -> i64 {
        if self.options.digest { self.tree.digest } else { 0 }
    }

    /// The first transaction since the last call that led to another tree than it says.
    pub fn take_digest_mismatch(&mut self) -> Option<Zxid> {
        self.new_mismatch.take()
    }

    /// How many transactions (or snapshots) led to another digest than they said.
    pub fn digest_mismatches(&self) -> u64 {
        self.digest_mismatches
    }

    /// The first of them since this state was loaded.
    pub fn first_digest_mismatch(&self) -> Option<Zxid> {
        self.first_mismatch
    }

    /// Zxids and digests of the recent past, one per 128 zxids, oldest first: what `hash` prints.
    pub fn digest_log(&self) -> impl Iterator<Item = (Zxid, i64)> + '_ {
        self.digest_log.iter()
    }

    /// The sessions.
    pub fn sessions(&self) -> &SessionTable {
        &self.sessions
    }

    /// The node at `path`; "" and "/" are the root. Any string may be asked for.
    #[inline]
    pub fn node(&self, path: &str) -> Option<NodeRef<'_>> {
        self.tree.find(path).map(|id| NodeRef { state: self, id })
    }

    /// Nodes as `srvr` counts them: the root counts twice (Apache keeps it as "" and "/").
    pub fn node_count(&self) -> usize {
        self.tree.len + 1
    }

    /// Bytes of all paths (in UTF-16 units, as Java counts) and data.
    pub fn approximate_data_size(&self) -> u64 {
        self.tree.size
    }

    /// Paths of a session's ephemerals, in the order of Apache's hash set of them.
    pub fn ephemerals_of(&self, session: SessionId) -> Vec<String> {
        let (ids, most) = self.owners.of(session.0);
        let mut paths: Vec<String> = ids.into_iter().map(|id| self.tree.path(id)).collect();
        java::set_order(&mut paths, java::grown_buckets(most));
        paths
    }

    /// Up to `max` of a session's ephemerals from the number `from` on, in the order of their numbers,
    /// and the number to go on with, if there may be more.
    pub fn ephemerals_from(
        &self,
        session: SessionId,
        from: u32,
        max: usize,
    ) -> (Vec<String>, Option<u32>) {
        let some: Vec<u32> =
            self.owners.placed_from(session.0, from).0.take(max).map(|(id, _)| id).collect();
        let next = some.last().filter(|_| some.len() == max).map(|last| last + 1);
        (some.into_iter().map(|id| self.tree.path(id)).collect(), next)
    }

    /// A session's ephemerals with their places in the order of their adding, in no particular order
    /// themselves, and the most there ever were at a time.
    pub fn ephemeral_nodes(&self, session: SessionId) -> (Vec<(u32, NodeRef<'_>)>, usize) {
        let (nodes, most) = self.owners.placed(session.0);
        let node = |(id, at)| (at, NodeRef { state: self, id });
        (nodes.map(node).collect(), most)
    }

    /// How many ephemerals there are.
    pub fn ephemerals_count(&self) -> usize {
        self.owners.ephemerals_count
    }

    /// Sessions that own nodes or did since they began, and how many, in no particular order.
    pub fn sessions_with_ephemerals(&self) -> impl Iterator<Item = (SessionId, usize)> + '_ {
        self.owners.sessions().map(|(session, count)| (SessionId(session), count))
    }

    /// Container nodes with their numbers, from a number on, in order of the numbers.
    pub fn containers(&self, from: u32) -> impl Iterator<Item = (u32, NodeRef<'_>)> {
        self.owners.containers.range(from..).map(|&id| (id, NodeRef { state: self, id }))
    }

    /// The same of TTL nodes.
    pub fn ttls(&self, from: u32) -> impl Iterator<Item = (u32, NodeRef<'_>)> {
        self.owners.ttls.range(from..).map(|&id| (id, NodeRef { state: self, id }))
    }

    /// Nodes below `path` as getAllChildrenNumber counts them; None when that must be counted
    /// ([`Census`]). For "" Apache also counts its alias "/".
    pub fn known_children_number(&self, path: &str) -> Option<usize> {
        match path {
            "/" => Some(self.node_count() - 2),
            "" => Some(self.node_count() - 1),
            _ => None,
        }
    }

    /// Nodes below `path` as getAllChildrenNumber counts them, at one go; None when there is no such
    /// node.
    #[cfg(test)]
    pub fn all_children_number(&self, path: &str) -> Option<i32> {
        let known = self.known_children_number(path);
        let count = known.or_else(|| self.tree.find(path).map(|id| self.tree.count_below(id)))?;
        i32::try_from(count).ok()
    }

    /// An interned ACL.
    pub fn acl_by_id(&self, id: AclId) -> &[Acl] {
        self.acls.get(id)
    }

    fn client_stat(&self, id: u32) -> Stat {
        let (node, stat) = (&self.tree.nodes[id], self.tree.stat(id));
        stat.to_client(node.data_len(), node.children as usize, self.options.owner_rules)
    }
}

const _: () = assert!(ROOT == 0);
