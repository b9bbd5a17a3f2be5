//! Building a state from a snapshot.

use crate::proto::image::{ImageSink, NodeView, OPEN_ACL_INDEX};
use crate::proto::txn::{Txn, TxnEntry};
use crate::types::path::{QUOTA, ZOOKEEPER};
use crate::types::{Acl, Map, StatPersisted, Zxid, map};

use super::acl::AclId;
use super::digest::Digests;
use super::owner::Owners;
use super::tree::{Place, ROOT, ROOT_HASH, Tree, Unindexed};
use super::{Options, StateMachine};

/// Receives an image and becomes a state. Tolerant of what Apache's fuzzy snapshots hold: nodes
/// whose ACL is not listed get [`AclId::MISSING`], ACLs that no node uses are forgotten.
///
/// Nodes come depth first, from every ZooKeeper, so that a node's parent is among the ancestors of
/// the one before: those are remembered, and the index is only needed at the end. It is filled many
/// nodes at once, in the order of their hashes, because going through all of its memory once is
/// several times cheaper than jumping into it for each node.
#[derive(Debug)]
pub struct StateLoader {
    state: StateMachine,
    /// By number in the image.
    acls: Map<i64, AclId>,
    /// The last node's path, and where in it each of its ancestors ends (itself being the last).
    path: String,
    above: Vec<Ancestor>,
    /// Nodes that the index does not have yet.
    pending: Vec<Unindexed>,
    /// Some path was there twice: found when the index is filled.
    is_twice: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ancestor {
    path_end: usize,
    id: u32,
    hash: u64,
}

/// The root, which is above everything.
const TOP: Ancestor = Ancestor { path_end: 0, id: ROOT, hash: ROOT_HASH };

/// The index is filled when this many nodes wait for it.
const PENDING_MAX: usize = 1 << 18;

impl StateLoader {
    /// An empty one.
    pub fn new(options: Options) -> StateLoader {
        StateLoader {
            state: StateMachine::bare(options),
            acls: map(),
            path: String::new(),
            above: vec![TOP],
            pending: Vec::new(),
            is_twice: false,
        }
    }

    /// The state at `zxid` (of the file's name, or its trailer). A `digest` of that zxid is
    /// compared at once; one of a later zxid (a fuzzy snapshot) when replay gets there, and until
    /// then transactions' digests are not compared; one of an earlier zxid says nothing.
    ///
    /// What every tree has is added where it is missing, quota usage is counted anew.
    pub fn finish(mut self, zxid: Zxid, digest: Option<(Zxid, i64)>) -> StateMachine {
        self.fill_index();
        let StateLoader { mut state, acls, is_twice, .. } = self;
        acls.into_values().for_each(|id| state.acls.release(id));
        if is_twice {
            state.join_twins();
        }
        state.last_zxid = zxid;
        if state.options.digest
            && let Some((at, expected)) = digest
        {
            if at == zxid && zxid > Zxid::ZERO {
                if expected != state.tree.digest {
                    state.count_mismatch(at);
                }
                state.digest_log.last = (at, state.tree.digest);
            } else if at > zxid {
                state.digest_ahead = Some((at, expected));
            }
        }
        for path in [ZOOKEEPER, QUOTA] {
            state.ensure_special(path);
        }
        state.ensure_config();
        state.rebuild_quotas();
        state
    }

    /// Puts the nodes that wait for it into the index.
    fn fill_index(&mut self) {
        self.is_twice |= self.state.tree.index_all(&mut self.pending);
    }

    /// The parent of `path` and where its name begins; None for the root.
    fn parent_of(&mut self, path: &str) -> Result<(Ancestor, usize), String> {
        while let Some(&last) = self.above.last() {
            let (end, bytes) = (last.path_end, path.as_bytes());
            if bytes.get(end) == Some(&b'/') && bytes[..end] == self.path.as_bytes()[..end] {
                let name = &bytes[end + 1..];
                if name.is_empty() || name.contains(&b'/') {
                    break;
                }
                return Ok((last, end + 1));
            }
            self.above.pop();
        }
        // Not depth first, or no tree.
        let Some((parent, name)) = path.rsplit_once('/') else {
            return Err(format!("path {path:?} without a slash"));
        };
        if name.is_empty() {
            return Err(format!("path {path:?} ends with a slash"));
        }
        self.fill_index();
        let Some((id, hash)) = self.state.tree.find_with_hash(parent) else {
            return Err(format!("node {path:?} without its parent"));
        };
        parent.clone_into(&mut self.path);
        let parent = Ancestor { path_end: parent.len(), id, hash };
        self.above.clear();
        self.above.push(parent);
        Ok((parent, parent.path_end + 1))
    }

    /// Puts a node where its path says.
    fn add(&mut self, path: &str, node: &NodeView, digests: Digests) -> Result<(), String> {
        let acl = match node.acl {
            OPEN_ACL_INDEX => AclId::OPEN,
            index => self.acls.get(&index).copied().unwrap_or(AclId::MISSING),
        };
        let NodeView { data, stat, .. } = node;
        if path.is_empty() {
            let state = &mut self.state;
            state.acls.add_use(acl);
            let old = state.tree.set_acl(ROOT, acl);
            state.acls.release(old);
            state.owners.remove(ROOT, state.tree.stat(ROOT).ephemeral_owner);
            state.tree.set_data(ROOT, path, *data, stat);
            state.owners.add(ROOT, stat.ephemeral_owner);
            return Ok(());
        }
        let (parent, name) = self.parent_of(path)?;
        let state = &mut self.state;
        let hash = state.tree.child_hash(parent.hash, &path.as_bytes()[name..]);
        let place = Place {
            parent: parent.id,
            parent_path: &path[..parent.path_end],
            name: &path[name..],
            hash,
        };
        state.acls.add_use(acl);
        let (id, unindexed) = state.tree.insert_unindexed(&place, path, *data, acl, stat, digests);
        state.owners.add(id, stat.ephemeral_owner);
        self.pending.push(unindexed);
        self.path.truncate(parent.path_end);
        self.path.push_str(&path[parent.path_end..]);
        self.above.push(Ancestor { path_end: path.len(), id, hash });
        if self.pending.len() >= PENDING_MAX {
            self.fill_index();
        }
        Ok(())
    }

    /// Adds the nodes of a batch, in order.
    ///
    /// # Errors
    /// As [`ImageSink::node`].
    pub fn nodes(&mut self, batch: &NodeBatch) -> Result<(), String> {
        let (mut path_start, mut data_start) = (0, 0);
        for one in &batch.nodes {
            let path = &batch.paths[path_start..one.path_end];
            let data = &batch.data[data_start..one.data_end];
            (path_start, data_start) = (one.path_end, one.data_end);
            let data = (!one.is_null).then_some(data);
            self.add(path, &NodeView { data, acl: one.acl, stat: one.stat }, one.digests)?;
        }
        Ok(())
    }
}

/// Nodes on their way from the thread that reads an image to the one that builds the tree, with
/// their digests: the reader has more time.
#[derive(Debug)]
pub struct NodeBatch {
    digest: bool,
    /// Path after path.
    paths: String,
    /// Data after data.
    data: Vec<u8>,
    nodes: Vec<Summary>,
}

/// One node of a batch: where its path and data end, and the rest of it.
#[derive(Debug)]
struct Summary {
    path_end: usize,
    data_end: usize,
    is_null: bool,
    acl: i64,
    stat: StatPersisted,
    digests: Digests,
}

impl NodeBatch {
    /// An empty one for a loader with such options, with room for `nodes` nodes of usual size.
    pub fn with_capacity(options: Options, nodes: usize) -> NodeBatch {
        NodeBatch {
            digest: options.digest,
            paths: String::with_capacity(nodes * 32),
            data: Vec::with_capacity(nodes * 128),
            nodes: Vec::with_capacity(nodes),
        }
    }

    /// Adds a node.
    pub fn push(&mut self, path: &str, node: &NodeView) {
        let NodeView { data, acl, stat } = *node;
        self.paths.push_str(path);
        self.data.extend_from_slice(data.unwrap_or_default());
        self.nodes.push(Summary {
            path_end: self.paths.len(),
            data_end: self.data.len(),
            is_null: data.is_none(),
            acl,
            stat,
            digests: Digests::of(self.digest, path, data, &stat),
        });
    }

    /// Forgets the nodes and keeps the memory.
    pub fn clear(&mut self) {
        self.paths.clear();
        self.data.clear();
        self.nodes.clear();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes of paths and data.
    pub fn bytes(&self) -> usize {
        self.paths.len() + self.data.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl ImageSink for StateLoader {
    fn session(&mut self, id: i64, timeout_ms: i32) {
        self.state.sessions.set(id, timeout_ms);
    }

    fn acl(&mut self, index: i64, acl: Vec<Acl>) {
        let id = self.state.acls.intern(&acl);
        if let Some(old) = self.acls.insert(index, id) {
            self.state.acls.release(old);
        }
    }

    fn node(&mut self, path: &str, node: NodeView<'_>) -> Result<(), String> {
        let digests = Digests::of(self.state.options.digest, path, node.data, &node.stat);
        self.add(path, &node, digests)
    }
}

impl StateMachine {
    /// Applies transactions of the log, in order. Where their nodes are is looked up for many of them
    /// at once first, so that the processor waits for all of that memory together.
    pub fn replay(&mut self, txns: &[TxnEntry]) {
        let mut changes = Vec::new();
        for some in txns.chunks(Tree::WARM_MAX) {
            self.tree.warm(some.iter().filter_map(|entry| match &entry.txn {
                Txn::SetData { path, .. } | Txn::Delete { path } | Txn::SetAcl { path, .. } => {
                    Some(path.as_str())
                }
                _ => None,
            }));
            for entry in some {
                self.apply(entry, &mut changes);
                changes.clear();
            }
        }
    }

    /// Builds the tree anew from a loaded one in which some path is there twice, which no
    /// ZooKeeper writes: the last one counts, as in Apache, and all children are kept.
    fn join_twins(&mut self) {
        let old = std::mem::replace(&mut self.tree, Tree::new(self.options.digest));
        self.owners = Owners::new(self.options.owner_rules);
        // Nodes are numbered in the order in which they came, so parents come first.
        for id in 0..old.nodes.bound() {
            let path = if id == ROOT { String::new() } else { old.path(id) };
            let (node, stat) = (&old.nodes[id], old.stat(id));
            let known = self.tree.find(&path);
            match (known, self.tree.place(&path)) {
                (None, Some(place)) => {
                    let id = self.tree.insert(&place, &path, node.data(), node.acl, &stat);
                    self.owners.add(id, stat.ephemeral_owner);
                }
                (None, None) => {}
                (Some(known), _) => {
                    let before = self.tree.set_acl(known, node.acl);
                    if id != ROOT {
                        self.acls.release(before);
                    }
                    self.owners.remove(known, self.tree.stat(known).ephemeral_owner);
                    self.tree.set_data(known, &path, node.data(), &stat);
                    self.owners.add(known, stat.ephemeral_owner);
                }
            }
        }
    }

    /// Adds one of the nodes that every tree has, where it is missing.
    pub(super) fn ensure_special(&mut self, path: &str) {
        let Some(place) = self.tree.place(path) else { return };
        if self.tree.at(&place).is_none() {
            let stat = StatPersisted::default();
            self.tree.insert(&place, path, Some(b""), AclId::OPEN, &stat);
        }
    }
}

#[cfg(test)]
mod tests;
