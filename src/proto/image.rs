//! What a snapshot contains, as records, in loadable order: sessions, ACLs, nodes with parents
//! before children. The same stream goes to a learner in a SNAP synchronisation.
//!
//! The layer knows neither files nor trees: storage reads and writes it, `state` fills and drains
//! it.

use bytes::{Bytes, BytesMut};

use super::jute::{DecodeError, Jute, Reader, Write};
use crate::types::{Acl, StatPersisted, Zxid};

/// The ACL index that stands for "world:anyone, everything" and is never listed.
pub const OPEN_ACL_INDEX: i64 = -1;

/// The path that ends the list of nodes; the root itself is written as the empty path.
pub const END_OF_NODES: &str = "/";

/// A node in a snapshot (Apache `DataNode`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageNode {
    /// Null and empty differ.
    pub data: Option<Bytes>,
    /// An index of the ACL list, or [`OPEN_ACL_INDEX`].
    pub acl: i64,
    /// As kept.
    pub stat: StatPersisted,
}

/// A node on its way through an [`ImageSink`]: its data are only lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeView<'a> {
    /// Null and empty differ.
    pub data: Option<&'a [u8]>,
    /// An index of the ACL list, or [`OPEN_ACL_INDEX`].
    pub acl: i64,
    /// As kept.
    pub stat: StatPersisted,
}

impl ImageNode {
    /// Lent.
    pub fn view(&self) -> NodeView<'_> {
        NodeView { data: self.data.as_deref(), acl: self.acl, stat: self.stat }
    }
}

impl From<NodeView<'_>> for ImageNode {
    fn from(node: NodeView<'_>) -> ImageNode {
        let data = node.data.map(Bytes::copy_from_slice);
        ImageNode { data, acl: node.acl, stat: node.stat }
    }
}

impl Jute for ImageNode {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(ImageNode { data: r.get()?, acl: r.i64()?, stat: r.get()? })
    }
    fn write(&self, w: &mut BytesMut) {
        write_node_body(w, self.data.as_deref(), self.acl, &self.stat);
    }
}

/// Appends a node's record from parts, without building an [`ImageNode`].
pub fn write_node_body(w: &mut BytesMut, data: Option<&[u8]>, acl: i64, stat: &StatPersisted) {
    w.buffer(data);
    w.i64(acl);
    w.put(stat);
}

/// The part of an image before the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ImageHead {
    /// Session id and timeout in ms, in ascending order when we write it.
    pub sessions: Vec<(i64, i32)>,
    /// Index and list, in ascending order when we write it.
    pub acls: Vec<(i64, Vec<Acl>)>,
}

/// What identifies the state that an image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ImageTail {
    /// The last transaction that is surely in it; a fuzzy snapshot may hold later ones.
    pub zxid: Zxid,
    /// Tree digest with the zxid it belongs to, when digests are on.
    pub digest: Option<(Zxid, i64)>,
}

/// Receives an image piece by piece while it is read.
pub trait ImageSink {
    /// A session and its timeout in ms.
    fn session(&mut self, id: i64, timeout_ms: i32);
    /// An entry of the ACL list.
    fn acl(&mut self, index: i64, acl: Vec<Acl>);
    /// A node; the root comes first, as the empty path. An error (a node without its parent) ends
    /// the reading and makes the snapshot invalid.
    fn node(&mut self, path: &str, node: NodeView<'_>) -> Result<(), String>;
    /// All nodes have been given. An error is as one of [`ImageSink::node`]: for sinks that only
    /// find out later.
    fn end(&mut self) -> Result<(), String> {
        Ok(())
    }
}
