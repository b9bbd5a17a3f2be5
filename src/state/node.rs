//! A znode as readers see it.

use crate::types::{Acl, OwnerKind, Stat, StatPersisted};

use super::{AclId, StateMachine};

/// A node of the tree, for as long as the state is borrowed.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    state: &'a StateMachine,
    id: u32,
}

#[allow(unused_variables)]
impl<'a> NodeRef<'a> {
    /// The data; null and empty differ.
    pub fn data(&self) -> Option<&'a [u8]> {
        todo!()
    }
    /// The stat as kept.
    pub fn stat(&self) -> StatPersisted {
        todo!()
    }
    /// The stat as clients see it.
    pub fn client_stat(&self) -> Stat {
        todo!()
    }
    /// The ACL. Never empty of meaning: see [`AclId::MISSING`].
    pub fn acl(&self) -> &'a [Acl] {
        todo!()
    }
    /// The ACL's number.
    pub fn acl_id(&self) -> AclId {
        todo!()
    }
    /// What kind of node it is.
    pub fn kind(&self) -> OwnerKind {
        todo!()
    }
    /// How many children it has.
    pub fn num_children(&self) -> usize {
        todo!()
    }
    /// The children's names, in no particular order.
    pub fn children(&self) -> impl Iterator<Item = &'a str> + 'a {
        std::iter::empty()
    }
    /// Its own name, empty for the root.
    pub fn name(&self) -> &'a str {
        todo!()
    }
    /// Its path, "/" for the root.
    pub fn path(&self) -> String {
        todo!()
    }
    /// Its part of the tree digest; 0 below "/zookeeper/".
    pub fn digest(&self) -> u32 {
        todo!()
    }
    /// What [`NodeRef::digest`] would be with another stat and the same data; cheap however large
    /// the data is.
    pub fn digest_with(&self, stat: &StatPersisted) -> u32 {
        todo!()
    }
}
