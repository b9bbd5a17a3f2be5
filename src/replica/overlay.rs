//! What the tree will look like once every outstanding transaction is applied.
//!
//! Preparation judges a request against the state *after* all transactions before it, committed or
//! not. The overlay holds, per path, the newest outstanding version of a node (or its absence), and
//! forgets each as the tree catches up. A savepoint makes a failed multi leave no trace
//! (ZOOKEEPER-1624). Apache: `outstandingChanges`, `outstandingChangesForPath`, `ChangeRecord`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::types::{Acl, Map, SessionId, StatPersisted, Zxid, map};

/// The ACL of a node: as the tree has it, or as an outstanding transaction sets it.
#[derive(Clone, Debug)]
pub enum NodeAcl {
    /// An interned list of the state.
    Stored(crate::state::AclId),
    /// A list that is not in the state yet.
    Outstanding(Arc<[Acl]>),
}

/// A node as it will be.
#[derive(Clone, Debug)]
pub struct Node {
    /// As it will be kept.
    pub stat: StatPersisted,
    /// Number of children.
    pub children: i64,
    /// Who may do what.
    pub acl: NodeAcl,
    /// Bytes of data, for quotas.
    pub data_len: usize,
    /// The checksum over path and data, from which the digest of a new stat is computed without
    /// looking at the data again; None until it is needed.
    pub prefix: Option<u32>,
    /// The digest it adds to the tree's; 0 when digests are off or the node does not count.
    pub digest: u32,
}

#[derive(Clone, Debug)]
struct Record {
    zxid: Zxid,
    /// None: deleted.
    node: Option<Node>,
}

#[derive(Debug)]
struct Change {
    zxid: Zxid,
    path: Arc<str>,
    /// The session whose ephemeral this change created, 0 otherwise.
    ephemeral_of: i64,
}

/// The end of a session.
#[derive(Debug)]
struct Closed {
    zxid: Zxid,
    session: i64,
    /// How many nodes it deletes.
    nodes: usize,
}

/// The outstanding changes; see the module.
#[derive(Debug)]
pub struct Overlay {
    records: Map<Arc<str>, Record>,
    changes: VecDeque<Change>,
    /// Outstanding creations of ephemerals by session, with their places in the order of creation.
    ephemerals: BTreeMap<(i64, Arc<str>), (Zxid, u64)>,
    created: u64,
    /// Sessions that end: what the tree has of theirs is deleted, as far as no record says otherwise.
    closed: VecDeque<Closed>,
    /// While a savepoint is set: what each touched path was before.
    undo: Option<Vec<(Arc<str>, Option<Record>)>>,
}

/// The key of a path: the root is "" in both spellings.
fn key(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

impl Default for Overlay {
    fn default() -> Overlay {
        Overlay {
            records: map(),
            changes: VecDeque::new(),
            ephemerals: BTreeMap::new(),
            created: 0,
            closed: VecDeque::new(),
            undo: None,
        }
    }
}

impl Overlay {
    /// What is outstanding for `path`: None when nothing is, `Some(None)` when it is deleted.
    pub fn get(&self, path: &str) -> Option<Option<&Node>> {
        self.records.get(key(path)).map(|record| record.node.as_ref())
    }

    /// Whether every change has been applied.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.closed.is_empty()
    }

    /// Number of outstanding changes.
    pub fn len(&self) -> usize {
        self.changes.len() + self.closed.iter().map(|closed| closed.nodes).sum::<usize>()
    }

    /// Records that the transaction `zxid` ends a session and deletes the nodes of its that the tree
    /// has, so many, and that have no record here.
    pub fn close(&mut self, zxid: Zxid, session: i64, nodes: usize) {
        self.closed.push_back(Closed { zxid, session, nodes });
    }

    /// Whether a node of the tree with this owner is deleted by the end of a session, if there is no
    /// record of it.
    pub fn is_closed(&self, owner: i64) -> bool {
        owner != 0 && self.closed.iter().any(|closed| closed.session == owner)
    }

    /// Records what the transaction `zxid` makes of `path`; None deletes it.
    pub fn put(&mut self, zxid: Zxid, path: &str, node: Option<Node>) {
        self.put_change(zxid, path, node, 0);
    }

    /// Records the creation of an ephemeral of `session`.
    pub fn put_ephemeral(&mut self, zxid: Zxid, path: &str, node: Node, session: SessionId) {
        self.put_change(zxid, path, Some(node), session.0);
    }

    fn put_change(&mut self, zxid: Zxid, path: &str, node: Option<Node>, ephemeral_of: i64) {
        let path = match self.records.get_key_value(key(path)) {
            Some((known, _)) => known.clone(),
            None => Arc::from(key(path)),
        };
        let before = self.records.insert(path.clone(), Record { zxid, node });
        if let Some(undo) = &mut self.undo {
            undo.push((path.clone(), before));
        }
        if ephemeral_of != 0 {
            self.created += 1;
            self.ephemerals.insert((ephemeral_of, path.clone()), (zxid, self.created));
        }
        self.changes.push_back(Change { zxid, path, ephemeral_of });
    }

    /// Paths of ephemerals that `session` has outstanding creations of, in the order of creation,
    /// with their zxids; some may be deleted again, so look each up.
    pub fn ephemerals_of(&self, session: SessionId) -> Vec<(Zxid, &str)> {
        let start = (session.0, Arc::from(""));
        let own = self.ephemerals.range(start..).take_while(|((by, _), _)| *by == session.0);
        let mut all: Vec<_> = own.map(|((_, path), (zxid, at))| (*at, *zxid, &**path)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, zxid, path)| (zxid, path)).collect()
    }

    /// The tree has applied everything up to `zxid`: drops those changes.
    pub fn forget(&mut self, zxid: Zxid) {
        while self.closed.front().is_some_and(|closed| closed.zxid <= zxid) {
            self.closed.pop_front();
        }
        while self.changes.front().is_some_and(|change| change.zxid <= zxid) {
            let Some(change) = self.changes.pop_front() else { return };
            if self.records.get(&change.path).is_some_and(|record| record.zxid == change.zxid) {
                self.records.remove(&change.path);
            }
            self.forget_ephemeral(change);
        }
    }

    fn forget_ephemeral(&mut self, change: Change) {
        if change.ephemeral_of == 0 {
            return;
        }
        let key = (change.ephemeral_of, change.path);
        if self.ephemerals.get(&key).is_some_and(|(zxid, _)| *zxid == change.zxid) {
            self.ephemerals.remove(&key);
        }
    }

    /// Starts remembering what was, until [`Overlay::rollback`] or [`Overlay::release`].
    pub fn savepoint(&mut self) {
        assert!(self.undo.is_none(), "savepoints do not nest");
        self.undo = Some(Vec::new());
    }

    /// Keeps all changes since the savepoint.
    pub fn release(&mut self) {
        self.undo = None;
    }

    /// Undoes all changes since the savepoint.
    pub fn rollback(&mut self) {
        for (path, before) in self.undo.take().unwrap_or_default().into_iter().rev() {
            match before {
                Some(record) => self.records.insert(path, record),
                None => self.records.remove(&path),
            };
            if let Some(change) = self.changes.pop_back() {
                self.forget_ephemeral(change);
            }
        }
    }

    /// Drops everything: leadership is over, or the state was replaced.
    pub fn clear(&mut self) {
        *self = Overlay::default();
    }
}
