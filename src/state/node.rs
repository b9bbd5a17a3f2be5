//! A znode as readers see it.

use crate::types::{Acl, OwnerKind, Stat, StatPersisted};

use super::acl::AclId;
use super::tree::ROOT;
use super::{StateMachine, digest};

/// A node of the tree, for as long as the state is borrowed.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    pub(super) state: &'a StateMachine,
    pub(super) id: u32,
}

impl<'a> NodeRef<'a> {
    /// The data; null and empty differ.
    pub fn data(&self) -> Option<&'a [u8]> {
        self.state.tree.nodes[self.id].data()
    }

    /// The stat as kept.
    pub fn stat(&self) -> StatPersisted {
        self.state.tree.stat(self.id)
    }

    /// The stat as clients see it.
    pub fn client_stat(&self) -> Stat {
        self.state.client_stat(self.id)
    }

    /// The ACL; that of [`AclId::MISSING`] permits nothing to nobody.
    pub fn acl(&self) -> &'a [Acl] {
        self.state.acls.get(self.acl_id())
    }

    /// The ACL's number.
    pub fn acl_id(&self) -> AclId {
        self.state.tree.nodes[self.id].acl
    }

    /// What kind of node it is.
    pub fn kind(&self) -> OwnerKind {
        self.state.options.owner_rules.kind(self.stat().ephemeral_owner)
    }

    /// How many children it has.
    pub fn num_children(&self) -> usize {
        self.state.tree.nodes[self.id].children as usize
    }

    /// The children's names, in no particular order.
    pub fn children(&self) -> impl Iterator<Item = &'a str> + 'a {
        let tree = &self.state.tree;
        tree.children(self.id).map(|child| tree.name(child))
    }

    /// Its own name, empty for the root.
    pub fn name(&self) -> &'a str {
        self.state.tree.name(self.id)
    }

    /// Its path, "/" for the root.
    pub fn path(&self) -> String {
        self.state.tree.path(self.id)
    }

    /// Its part of the tree digest; 0 below "/zookeeper/", and when digests are off.
    pub fn digest(&self) -> u32 {
        self.digest_with(&self.stat())
    }

    /// What [`NodeRef::digest`] would be with another stat and the same data; for a node whose
    /// stat has changed before (every parent) that is cheap however large the data is.
    pub fn digest_with(&self, stat: &StatPersisted) -> u32 {
        let state = self.state;
        if !state.options.digest || self.is_exempt() {
            return 0;
        }
        digest::with_stat(self.digest_prefix(), stat)
    }

    /// The CRC of path and data, see [`digest`]. Of no meaning where digests do not count.
    pub fn digest_prefix(&self) -> u32 {
        let prefix = self.state.tree.kept_prefix(self.id);
        prefix.unwrap_or_else(|| digest::prefix(&self.path(), self.data()))
    }

    /// Whether it lies below "/zookeeper".
    fn is_exempt(&self) -> bool {
        let nodes = &self.state.tree.nodes;
        let (mut at, mut below) = (self.id, false);
        while at != ROOT {
            let parent = nodes[at].parent;
            if parent == ROOT {
                return below && nodes[at].name() == b"zookeeper";
            }
            below = true;
            at = parent;
        }
        false
    }
}

impl std::fmt::Debug for NodeRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeRef").field("path", &self.path()).field("stat", &self.stat()).finish()
    }
}
