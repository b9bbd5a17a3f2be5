//! Building a state from a snapshot.

use crate::proto::image::{ImageNode, ImageSink, OPEN_ACL_INDEX};
use crate::types::path::{QUOTA, ZOOKEEPER};
use crate::types::{Acl, Map, StatPersisted, Zxid, map};

use super::acl::AclId;
use super::digest::Digests;
use super::tree::{Place, ROOT};
use super::{Options, StateMachine};

/// Receives an image and becomes a state. Tolerant of what Apache's fuzzy snapshots hold: nodes
/// whose ACL is not listed get [`AclId::MISSING`], ACLs that no node uses are forgotten.
#[derive(Debug)]
pub struct StateLoader {
    state: StateMachine,
    /// By number in the image.
    acls: Map<i64, AclId>,
    /// The node that was the parent last: siblings mostly follow each other.
    parent: u32,
    parent_path: String,
    parent_hash: u64,
}

impl StateLoader {
    /// An empty one.
    pub fn new(options: Options) -> StateLoader {
        StateLoader {
            state: StateMachine::bare(options),
            acls: map(),
            parent: ROOT,
            parent_path: String::new(),
            parent_hash: 0,
        }
    }

    /// The state at `zxid` (of the file's name, or its trailer). A `digest` of that zxid is
    /// compared at once; one of a later zxid (a fuzzy snapshot) when replay gets there, and until
    /// then transactions' digests are not compared; one of an earlier zxid says nothing.
    ///
    /// What every tree has is added where it is missing, quota usage is counted anew.
    pub fn finish(self, zxid: Zxid, digest: Option<(Zxid, i64)>) -> StateMachine {
        let StateLoader { mut state, acls, .. } = self;
        acls.into_values().for_each(|id| state.acls.release(id));
        state.last_zxid = zxid;
        if state.options.digest
            && let Some((at, expected)) = digest
        {
            if at == zxid && zxid > Zxid::ZERO {
                state.digest_mismatches += u64::from(expected != state.tree.digest);
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

    fn put(&mut self, place: &Place, path: &str, node: Loaded) {
        let state = &mut self.state;
        let acl = match node.acl {
            OPEN_ACL_INDEX => AclId::OPEN,
            index => self.acls.get(&index).copied().unwrap_or(AclId::MISSING),
        };
        state.acls.add_use(acl);
        let Loaded { data, stat, digests, .. } = node;
        let id = match if path.is_empty() { Some(ROOT) } else { state.tree.at(place) } {
            None => state.tree.insert_digested(place, path, data, acl, stat, digests),
            Some(id) => {
                // The root, or a node that is there twice: the last one counts, as in Apache.
                let old = state.tree.set_acl(id, acl);
                state.acls.release(old);
                state.owners.remove(id, state.tree.stat(id).ephemeral_owner);
                state.tree.set_data(id, path, data, stat);
                id
            }
        };
        state.owners.add(id, stat.ephemeral_owner);
    }

    /// Puts a node where its path says; `hash` is the path's, if that is known.
    fn add(&mut self, path: &str, hash: Option<u64>, node: Loaded) -> Result<(), String> {
        if path.is_empty() {
            let place = Place { parent: ROOT, parent_path: "", name: "", hash: 0 };
            self.put(&place, "", node);
            return Ok(());
        }
        let Some((parent_path, name)) = path.rsplit_once('/') else {
            return Err(format!("path {path:?} without a slash"));
        };
        if name.is_empty() {
            return Err(format!("path {path:?} ends with a slash"));
        }
        if parent_path != self.parent_path {
            let Some((id, hash)) = self.state.tree.find_with_hash(parent_path) else {
                return Err(format!("node {path:?} without its parent"));
            };
            (self.parent, self.parent_hash) = (id, hash);
            parent_path.clone_into(&mut self.parent_path);
        }
        let hash = match hash {
            Some(hash) => hash,
            None => self.state.tree.child_hash(self.parent_hash, name.as_bytes()),
        };
        self.put(&Place { parent: self.parent, parent_path, name, hash }, path, node);
        Ok(())
    }

    /// Adds the nodes of a batch, in order.
    ///
    /// # Errors
    /// As [`ImageSink::node`].
    pub fn nodes(&mut self, batch: &NodeBatch) -> Result<(), String> {
        let (mut path_start, mut data_start) = (0, 0);
        for some in batch.nodes.chunks(AHEAD) {
            let mut hashes = [0; AHEAD];
            let (mut start, mut seen) = (path_start, 0);
            let mut last = ("", 0);
            for (hash, one) in hashes.iter_mut().zip(some) {
                let path = &batch.paths[start..one.path_end];
                start = one.path_end;
                let Some((parent, name)) = path.rsplit_once('/') else { continue };
                if parent != last.0 {
                    last = (parent, self.state.tree.hash_of(parent));
                }
                *hash = self.state.tree.child_hash(last.1, name.as_bytes());
                seen ^= self.state.tree.touch(*hash);
            }
            std::hint::black_box(seen);
            for (hash, one) in hashes.iter().zip(some) {
                let path = &batch.paths[path_start..one.path_end];
                let data = &batch.data[data_start..one.data_end];
                (path_start, data_start) = (one.path_end, one.data_end);
                let data = (!one.is_null).then_some(data);
                let Summary { acl, stat, digests, .. } = one;
                let node = Loaded { data, acl: *acl, stat, digests: *digests };
                self.add(path, Some(*hash), node)?;
            }
        }
        Ok(())
    }
}

/// Nodes whose places in the index are fetched together.
const AHEAD: usize = 16;

/// A node of an image, on its way into the tree.
struct Loaded<'a> {
    data: Option<&'a [u8]>,
    acl: i64,
    stat: &'a StatPersisted,
    digests: Digests,
}

/// Nodes on their way from the thread that reads an image to the one that builds the tree, with
/// all that can be computed without the tree.
#[derive(Debug, Default)]
pub struct NodeBatch {
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
    /// An empty one with room for `nodes` nodes of usual size.
    pub fn with_capacity(nodes: usize) -> NodeBatch {
        NodeBatch {
            paths: String::with_capacity(nodes * 32),
            data: Vec::with_capacity(nodes * 128),
            nodes: Vec::with_capacity(nodes),
        }
    }

    /// Adds a node.
    pub fn push(&mut self, options: &Options, path: &str, node: &ImageNode) {
        let data = node.data.as_deref();
        self.paths.push_str(path);
        self.data.extend_from_slice(data.unwrap_or_default());
        self.nodes.push(Summary {
            path_end: self.paths.len(),
            data_end: self.data.len(),
            is_null: data.is_none(),
            acl: node.acl,
            stat: node.stat,
            digests: Digests::of(options.digest, path, data, &node.stat),
        });
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

    fn node(&mut self, path: &str, node: ImageNode) -> Result<(), String> {
        let ImageNode { data, acl, stat } = &node;
        let data = data.as_deref();
        let digests = Digests::of(self.state.options.digest, path, data, stat);
        self.add(path, None, Loaded { data, acl: *acl, stat, digests })
    }
}

impl StateMachine {
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
