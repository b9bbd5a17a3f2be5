//! How a znode is packed.
//!
//! 64 bytes, one cache line, and one allocation for name and data. What most nodes never get (a
//! changed stat, an owner, children's counts) lives in an [`Extra`] of 48 bytes beside it:
//!
//! | kept in | fields |
//! |---|---|
//! | node | links (parent, first child, siblings), number of children, ACL, czxid, ctime |
//! | its allocation | name, data |
//! | extra | mzxid, mtime, pzxid, owner, version, cversion, aversion, CRC of path and data |
//!
//! Without an extra mzxid and pzxid are the czxid, mtime is the ctime and the rest is zero: the
//! stat of a node that nothing has happened to.

use crate::types::StatPersisted;

use super::acl::AclId;
use super::arena::{NONE, Slot};

/// See the module.
#[derive(Debug)]
pub(super) struct Node {
    pub parent: u32,
    pub first_child: u32,
    pub prev: u32,
    pub next: u32,
    /// Living children; the list may hold dead ones too.
    pub children: u32,
    pub acl: AclId,
    pub extra: u32,
    /// Length of the name, and two flags.
    shape: u32,
    bytes: Box<[u8]>,
    pub czxid: i64,
    pub ctime: i64,
}

/// The data is null, not empty.
const NULL: u32 = 1 << 31;
/// Deleted, but still linked for a snapshot that has not passed it yet.
const DEAD: u32 = 1 << 30;

impl Node {
    /// The longest name, bytes.
    pub const NAME_MAX: usize = DEAD as usize - 1;

    /// A node without links.
    pub fn new(name: &[u8], data: Option<&[u8]>, acl: AclId) -> Node {
        let mut node = Node { acl, ..Node::vacant() };
        node.shape = name.len() as u32;
        node.bytes = Box::default();
        node.fill(name, data);
        node
    }

    fn fill(&mut self, name: &[u8], data: Option<&[u8]>) {
        let tail = data.unwrap_or_default();
        let mut bytes = Vec::with_capacity(name.len() + tail.len());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(tail);
        self.bytes = bytes.into_boxed_slice();
        self.set_flag(NULL, data.is_none());
    }

    fn set_flag(&mut self, flag: u32, on: bool) {
        self.shape = if on { self.shape | flag } else { self.shape & !flag };
    }

    #[inline]
    fn name_len(&self) -> usize {
        (self.shape & !(NULL | DEAD)) as usize
    }

    /// The last component of the path; empty for the root.
    #[inline]
    pub fn name(&self) -> &[u8] {
        &self.bytes[..self.name_len()]
    }

    /// The data; null and empty differ.
    #[inline]
    pub fn data(&self) -> Option<&[u8]> {
        (self.shape & NULL == 0).then(|| &self.bytes[self.name_len()..])
    }

    /// Bytes of data, 0 for null.
    #[inline]
    pub fn data_len(&self) -> usize {
        self.bytes.len() - self.name_len()
    }

    /// Replaces the data, in place when the length is the same.
    pub fn set_data(&mut self, data: Option<&[u8]>) {
        let at = self.name_len();
        let tail = data.unwrap_or_default();
        if tail.len() == self.bytes.len() - at {
            self.bytes[at..].copy_from_slice(tail);
            self.set_flag(NULL, data.is_none());
        } else {
            drop(self.replace_data(data));
        }
    }

    /// Replaces the data and returns what was there.
    pub fn replace_data(&mut self, data: Option<&[u8]>) -> OldData {
        let (at, null) = (self.name_len(), self.shape & NULL != 0);
        let old = std::mem::take(&mut self.bytes);
        self.fill(&old[..at], data);
        OldData { bytes: old, at, null }
    }

    /// Whether it is deleted and only waits for a snapshot to pass.
    #[inline]
    pub fn is_dead(&self) -> bool {
        self.shape & DEAD != 0
    }

    /// Marks it deleted.
    pub fn die(&mut self) {
        self.set_flag(DEAD, true);
    }
}

/// Data that a node had before it changed.
#[derive(Debug)]
pub(super) struct OldData {
    bytes: Box<[u8]>,
    at: usize,
    null: bool,
}

impl OldData {
    /// The data.
    pub fn get(&self) -> Option<&[u8]> {
        (!self.null).then(|| &self.bytes[self.at..])
    }
}

impl Slot for Node {
    fn vacant() -> Node {
        Node {
            parent: NONE,
            first_child: NONE,
            prev: NONE,
            next: NONE,
            children: 0,
            acl: AclId::OPEN,
            extra: NONE,
            shape: 0,
            bytes: Box::default(),
            czxid: 0,
            ctime: 0,
        }
    }
    fn link(&self) -> u32 {
        self.next
    }
    fn vacate(&mut self, link: u32) {
        *self = Node { next: link, ..Node::vacant() };
    }
}

/// The part of a stat that most nodes do not need.
#[derive(Debug)]
pub(super) struct Extra {
    mzxid: i64,
    mtime: i64,
    pzxid: i64,
    owner: i64,
    version: i32,
    cversion: i32,
    aversion: i32,
    /// CRC-32 of path and data, see `digest`; 0 when digests are off.
    pub prefix: u32,
}

impl Extra {
    /// Whether a stat can do without.
    pub fn is_needed(s: &StatPersisted) -> bool {
        let plain = s.mzxid == s.czxid && s.pzxid == s.czxid && s.mtime == s.ctime;
        !(plain && s.ephemeral_owner == 0 && s.version | s.cversion | s.aversion == 0)
    }

    /// The part of `s` that goes here.
    pub fn of(s: &StatPersisted, prefix: u32) -> Extra {
        Extra {
            mzxid: s.mzxid,
            mtime: s.mtime,
            pzxid: s.pzxid,
            owner: s.ephemeral_owner,
            version: s.version,
            cversion: s.cversion,
            aversion: s.aversion,
            prefix,
        }
    }

    /// The whole stat.
    pub fn stat(&self, czxid: i64, ctime: i64) -> StatPersisted {
        StatPersisted {
            czxid,
            mzxid: self.mzxid,
            ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion,
            aversion: self.aversion,
            ephemeral_owner: self.owner,
            pzxid: self.pzxid,
        }
    }
}

impl Slot for Extra {
    fn vacant() -> Extra {
        Extra::of(&StatPersisted::default(), NONE)
    }
    fn link(&self) -> u32 {
        self.prefix
    }
    fn vacate(&mut self, link: u32) {
        self.prefix = link;
    }
}

const _: () = assert!(std::mem::size_of::<Node>() == 64 && std::mem::size_of::<Extra>() == 48);
