//! Building a state from a snapshot.

use crate::proto::image::{ImageNode, ImageSink, OPEN_ACL_INDEX};
use crate::types::path::{QUOTA, ZOOKEEPER};
use crate::types::{Acl, Map, StatPersisted, Zxid, map};

use super::acl::AclId;
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

    fn put(&mut self, place: &Place, path: &str, node: &ImageNode) {
        let state = &mut self.state;
        let acl = match node.acl {
            OPEN_ACL_INDEX => AclId::OPEN,
            index => self.acls.get(&index).copied().unwrap_or(AclId::MISSING),
        };
        state.acls.add_use(acl);
        let data = node.data.as_deref();
        let id = match if path.is_empty() { Some(ROOT) } else { state.tree.at(place) } {
            None => state.tree.insert(place, path, data, acl, &node.stat),
            Some(id) => {
                // The root, or a node that is there twice: the last one counts, as in Apache.
                let old = state.tree.set_acl(id, acl);
                state.acls.release(old);
                state.owners.remove(id, state.tree.stat(id).ephemeral_owner);
                state.tree.set_data(id, path, data, &node.stat);
                id
            }
        };
        state.owners.add(id, node.stat.ephemeral_owner);
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
        if path.is_empty() {
            let place = Place { parent: ROOT, parent_path: "", name: "", hash: 0 };
            self.put(&place, "", &node);
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
        let hash = self.state.tree.child_hash(self.parent_hash, name.as_bytes());
        self.put(&Place { parent: self.parent, parent_path, name, hash }, path, &node);
        Ok(())
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
