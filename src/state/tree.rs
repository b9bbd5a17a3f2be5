//! The tree of znodes: an arena of packed nodes, an index from paths to them, and the digest.
//!
//! Knows structure and stats; not what owners, ACLs, quotas or transactions mean. Nothing here
//! recurses: a tree may be as deep as a request is long.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher as _};
use std::hint::black_box;

use crate::types::{Hasher, StatPersisted, hasher};

use super::acl::AclId;
use super::arena::{Arena, NONE};
use super::digest::{self, Digests};
use super::index::Index;
use super::removals::{Removal, Removals};
use super::snapshot::{Capture, Marks};
use super::znode::{Extra, Node};

/// The root's number.
pub(super) const ROOT: u32 = 0;

/// log2 of the nodes in a chunk of memory: 32 KiB, of which allocators fit 15 or more into half a
/// mebibyte.
const CHUNK_BITS: u32 = 9;

/// The hash of the root; a child's hash follows from its parent's and its name.
pub(super) const ROOT_HASH: u64 = 0;

/// See the module.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Arena<Node, CHUNK_BITS>,
    extras: Arena<Extra, CHUNK_BITS>,
    index: Index,
    hasher: Hasher,
    digest_on: bool,
    /// Sum of all nodes' digests.
    pub digest: i64,
    /// Living nodes, the root once.
    pub len: usize,
    /// UTF-16 units of all paths and bytes of all data, "/" included.
    pub size: u64,
    /// The snapshot under way.
    pub capture: Option<Capture>,
    /// Which nodes the latest snapshot has passed: those marked with its epoch.
    pub(super) marks: Marks,
    pub(super) epoch: u8,
    /// Snapshots given up since the last complete one.
    pub(super) given_up: u8,
    /// Dead nodes that are still linked, children before their parents.
    pub(super) trash: VecDeque<u32>,
    /// For walks that let go of the state between their steps.
    pub(super) removals: Removals,
}

/// Where a path is or would be: its parent exists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p> {
    pub parent: u32,
    /// Empty for the root.
    pub parent_path: &'p str,
    pub name: &'p str,
    /// Of the path.
    pub hash: u64,
}

/// A parent that was looked up.
#[derive(Debug)]
pub(super) struct Near {
    path: String,
    id: u32,
    hash: u64,
}

/// A node that the index does not have yet: the part of its path's hash that the index looks at,
/// and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unindexed(u64);

impl Unindexed {
    fn key(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The part of a hash that the index looks at.
fn key(hash: u64) -> u32 {
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// Length of a path as Java counts it.
pub(super) fn units(path: &str) -> u64 {
    if path.is_ascii() { path.len() as u64 } else { path.encode_utf16().count() as u64 }
}

impl Tree {
    /// A root without data.
    pub fn new(digest_on: bool) -> Tree {
        let mut tree = Tree {
            nodes: Arena::new(),
            extras: Arena::new(),
            index: Index::new(),
            hasher: hasher(),
            digest_on,
            digest: 0,
            len: 1,
            size: 1,
            capture: None,
            marks: Marks::default(),
            epoch: 0,
            given_up: 0,
            trash: VecDeque::new(),
            removals: Removals::new(),
        };
        let root = tree.nodes.insert(Node::new(b"", Some(b""), AclId::OPEN));
        debug_assert_eq!(root, ROOT);
        tree.mark(root);
        tree.digest = i64::from(tree.digest_of(ROOT, ""));
        tree
    }

    #[inline]
    pub(super) fn child_hash(&self, parent: u64, name: &[u8]) -> u64 {
        let mut h = self.hasher.build_hasher();
        h.write_u64(parent);
        h.write(name);
        h.finish()
    }

    #[inline]
    fn path_hash(&self, path: &str) -> u64 {
        let mut hash = ROOT_HASH;
        if let Some(rest) = path.strip_prefix('/') {
            for name in rest.as_bytes().split(|b| *b == b'/') {
                hash = self.child_hash(hash, name);
            }
        }
        hash
    }

    /// Whether the node is at `path`, compared from the end upwards without building a path.
    fn is_at(&self, mut id: u32, path: &str) -> bool {
        let mut rest = path.as_bytes();
        while id != ROOT {
            let node = &self.nodes[id];
            let Some(head) = rest.strip_suffix(node.name()) else { return false };
            let Some(head) = head.strip_suffix(b"/") else { return false };
            rest = head;
            id = node.parent;
        }
        rest.is_empty()
    }

    fn find_hashed(&self, path: &str, hash: u64) -> Option<u32> {
        self.index.find(key(hash), |id| self.is_at(id, path))
    }

    /// The node at `path`; "" and "/" are the root.
    #[inline]
    pub fn find(&self, path: &str) -> Option<u32> {
        if path.is_empty() || path == "/" {
            return Some(ROOT);
        }
        self.find_hashed(path, self.path_hash(path))
    }

    /// Paths that [`Tree::warm`] takes at once.
    pub const WARM_MAX: usize = 64;

    /// Looks at what finding these paths and changing their nodes will look at, one kind of memory
    /// after the other: a processor fetches many places at once if none of them says where the next
    /// one is.
    pub fn warm<'p>(&self, paths: impl Iterator<Item = &'p str>) {
        let mut ids = [NONE; Self::WARM_MAX];
        for (id, path) in ids.iter_mut().zip(paths) {
            *id = self.index.find(key(self.path_hash(path)), |_| true).unwrap_or(NONE);
        }
        let known = || ids.iter().filter(|id| **id != NONE).map(|id| &self.nodes[*id]);
        black_box(known().fold(0, |all, node| all ^ node.extra));
        let bytes = known().filter_map(|node| node.name().first());
        black_box(bytes.fold(0, |all, byte| all ^ byte));
        let extras = known().filter(|node| node.extra != NONE);
        black_box(extras.fold(0, |all, node| all ^ self.extras[node.extra].prefix));
    }

    /// As [`Tree::find`], with the hash of the path.
    pub fn find_with_hash(&self, path: &str) -> Option<(u32, u64)> {
        if path.is_empty() || path == "/" {
            return Some((ROOT, ROOT_HASH));
        }
        let hash = self.path_hash(path);
        self.find_hashed(path, hash).map(|id| (id, hash))
    }

    /// Where `path` is or would be; None when there is no parent.
    pub fn place<'p>(&self, path: &'p str) -> Option<Place<'p>> {
        let at = path.rfind('/')?;
        let (parent_path, name) = (&path[..at], &path[at + 1..]);
        let parent_hash = self.path_hash(parent_path);
        let parent = if at == 0 { ROOT } else { self.find_hashed(parent_path, parent_hash)? };
        let hash = self.child_hash(parent_hash, name.as_bytes());
        Some(Place { parent, parent_path, name, hash })
    }

    /// As [`Tree::place`] for one path after the other, of which many have the same parent: `near` is
    /// None or what it was for the path before, since when nothing but that path was removed.
    pub fn place_near<'p>(&self, path: &'p str, near: &mut Option<Near>) -> Option<Place<'p>> {
        let at = path.rfind('/')?;
        let (parent_path, name) = (&path[..at], &path[at + 1..]);
        if near.as_ref().is_none_or(|near| near.path != parent_path) {
            let (id, hash) = self.find_with_hash(parent_path)?;
            *near = Some(Near { path: parent_path.to_owned(), id, hash });
        }
        let near = near.as_ref()?;
        let hash = self.child_hash(near.hash, name.as_bytes());
        Some(Place { parent: near.id, parent_path, name, hash })
    }

    /// The node at a place.
    pub fn at(&self, place: &Place) -> Option<u32> {
        let name = place.name.as_bytes();
        self.index.find(key(place.hash), |id| {
            let node = &self.nodes[id];
            node.parent == place.parent && node.name() == name
        })
    }

    /// The stat of a node.
    pub fn stat(&self, id: u32) -> StatPersisted {
        let node = &self.nodes[id];
        if node.extra != NONE {
            return self.extras[node.extra].stat(node.czxid, node.ctime);
        }
        StatPersisted {
            czxid: node.czxid,
            mzxid: node.czxid,
            ctime: node.ctime,
            mtime: node.ctime,
            pzxid: node.czxid,
            ..StatPersisted::default()
        }
    }

    /// The digest of a node at `path`.
    pub fn digest_of(&self, id: u32, path: &str) -> u32 {
        self.digest_with(id, path, &self.stat(id))
    }

    fn digest_with(&self, id: u32, path: &str, stat: &StatPersisted) -> u32 {
        if !self.digest_on || digest::is_exempt(path) {
            return 0;
        }
        let node = &self.nodes[id];
        let prefix = match node.extra {
            NONE => digest::prefix(path, node.data()),
            extra => self.extras[extra].prefix,
        };
        digest::with_stat(prefix, stat)
    }

    /// The CRC that an extra keeps.
    fn prefix_of(&self, id: u32, path: &str) -> u32 {
        if !self.digest_on || digest::is_exempt(path) {
            return 0;
        }
        digest::prefix(path, self.nodes[id].data())
    }

    /// The kept CRC of path and data, when there is one that counts.
    pub fn kept_prefix(&self, id: u32) -> Option<u32> {
        let extra = self.nodes[id].extra;
        (self.digest_on && extra != NONE).then(|| self.extras[extra].prefix)
    }

    fn put_stat(&mut self, id: u32, path: &str, stat: &StatPersisted) {
        let extra = self.nodes[id].extra;
        if extra != NONE {
            let prefix = self.extras[extra].prefix;
            self.extras[extra] = Extra::of(stat, prefix);
        } else if Extra::is_needed(stat) {
            let prefix = self.prefix_of(id, path);
            self.nodes[id].extra = self.extras.insert(Extra::of(stat, prefix));
        }
        let node = &mut self.nodes[id];
        (node.czxid, node.ctime) = (stat.czxid, stat.ctime);
    }

    /// Adds a node at a place where there is none. The parent's stat is not touched. `path` is the
    /// place's.
    pub fn insert(
        &mut self,
        place: &Place,
        path: &str,
        data: Option<&[u8]>,
        acl: AclId,
        stat: &StatPersisted,
    ) -> u32 {
        let digests = Digests::of(self.digest_on, path, data, stat);
        let (id, unindexed) = self.insert_unindexed(place, path, data, acl, stat, digests);
        self.index.insert(unindexed.key(), id);
        id
    }

    /// The same for a node whose digest somebody has computed, and which cannot be found until
    /// [`Tree::index_all`] has got what is returned beside its number.
    pub fn insert_unindexed(
        &mut self,
        place: &Place,
        path: &str,
        data: Option<&[u8]>,
        acl: AclId,
        stat: &StatPersisted,
        digests: Digests,
    ) -> (u32, Unindexed) {
        self.before_change(place.parent);
        let mut node = Node::new(place.name.as_bytes(), data, acl);
        (node.czxid, node.ctime) = (stat.czxid, stat.ctime);
        if Extra::is_needed(stat) {
            node.extra = self.extras.insert(Extra::of(stat, digests.prefix));
        }
        let id = self.nodes.insert(node);
        let first = std::mem::replace(&mut self.nodes[place.parent].first_child, id);
        self.nodes[place.parent].children += 1;
        let node = &mut self.nodes[id];
        (node.parent, node.next) = (place.parent, first);
        if first != NONE {
            self.nodes[first].prev = id;
        }
        self.mark(id);
        self.len += 1;
        self.size += units(path) + data.map_or(0, <[u8]>::len) as u64;
        self.digest = self.digest.wrapping_add(i64::from(digests.node));
        (id, Unindexed(u64::from(key(place.hash)) << 32 | u64::from(id)))
    }

    /// Puts nodes into the index, leaving the vector empty; true when the path of one is there
    /// already. Sorted first, so that the index is gone through once from front to end.
    pub fn index_all(&mut self, nodes: &mut Vec<Unindexed>) -> bool {
        nodes.sort_unstable();
        let mut is_twice = false;
        for one in nodes.drain(..) {
            let (key, id) = (one.key(), one.0 as u32);
            let twin = self.index.find(key, |other| self.is_same(id, other));
            is_twice |= twin.is_some();
            self.index.insert(key, id);
        }
        is_twice
    }

    /// Whether two nodes have the same path.
    fn is_same(&self, mut a: u32, mut b: u32) -> bool {
        while a != b {
            let (one, other) = (&self.nodes[a], &self.nodes[b]);
            if a == ROOT || b == ROOT || one.name() != other.name() {
                return false;
            }
            (a, b) = (one.parent, other.parent);
        }
        true
    }

    /// Replaces a node's stat.
    pub fn set_stat(&mut self, id: u32, path: &str, stat: &StatPersisted) {
        self.before_change(id);
        let old = self.digest_of(id, path);
        self.put_stat(id, path, stat);
        let new = self.digest_of(id, path);
        self.digest = self.digest.wrapping_add(i64::from(new)).wrapping_sub(i64::from(old));
    }

    /// Replaces a node's data and stat.
    pub fn set_data(&mut self, id: u32, path: &str, data: Option<&[u8]>, stat: &StatPersisted) {
        let old = self.digest_of(id, path);
        self.before_change(id);
        let (old_len, new_len) = (self.nodes[id].data_len(), data.map_or(0, <[u8]>::len));
        self.size = self.size - old_len as u64 + new_len as u64;
        match self.capture.as_mut().and_then(|c| c.data_wanted(id)) {
            Some(keep) => *keep = Some(self.nodes[id].replace_data(data)),
            None => self.nodes[id].set_data(data),
        }
        let extra = self.nodes[id].extra;
        if extra != NONE {
            self.extras[extra].prefix = self.prefix_of(id, path);
        }
        self.put_stat(id, path, stat);
        let new = self.digest_of(id, path);
        self.digest = self.digest.wrapping_add(i64::from(new)).wrapping_sub(i64::from(old));
    }

    /// Replaces a node's ACL number; counting uses is the caller's.
    pub fn set_acl(&mut self, id: u32, acl: AclId) -> AclId {
        self.before_change(id);
        std::mem::replace(&mut self.nodes[id].acl, acl)
    }

    /// A node and all living ones below it with their hashes, parents first.
    pub fn subtree(&self, id: u32, hash: u64) -> Vec<(u32, u64)> {
        let mut all = vec![(id, hash)];
        let mut at = 0;
        while at < all.len() {
            let (id, hash) = all[at];
            for child in self.children(id) {
                all.push((child, self.child_hash(hash, self.nodes[child].name())));
            }
            at += 1;
        }
        all
    }

    /// Removes a node without living children.
    pub fn remove(&mut self, id: u32, hash: u64, path: &str) {
        debug_assert!(id != ROOT && self.nodes[id].children == 0);
        self.digest = self.digest.wrapping_sub(i64::from(self.digest_of(id, path)));
        self.len -= 1;
        let (parent, data_len) = (self.nodes[id].parent, self.nodes[id].data_len());
        self.size -= units(path) + data_len as u64;
        self.before_change(parent);
        self.nodes[parent].children -= 1;
        let known = self.index.remove(key(hash), id);
        debug_assert!(known);
        if self.nodes[id].first_child == NONE && !self.awaits_snapshot(id) {
            self.unlink(id);
        } else {
            // A snapshot has to pass it, or dead children still point to it.
            self.removals.push(Removal { parent, id, next: id });
            self.nodes[id].die();
            self.trash.push_back(id);
        }
    }

    /// Takes a node out of its siblings and frees it.
    fn unlink(&mut self, id: u32) {
        let Node { parent, prev, next, extra, .. } = self.nodes[id];
        self.removals.push(Removal { parent, id, next });
        match prev {
            NONE => self.nodes[parent].first_child = next,
            prev => self.nodes[prev].next = next,
        }
        if next != NONE {
            self.nodes[next].prev = prev;
        }
        if extra != NONE {
            self.extras.remove(extra);
        }
        self.nodes.remove(id);
    }

    /// Frees up to `max` dead nodes, unless a snapshot still needs them.
    pub fn collect(&mut self, max: usize) {
        if self.capture.is_some() {
            return;
        }
        for _ in 0..max {
            let Some(id) = self.trash.pop_front() else { return };
            self.unlink(id);
        }
    }

    /// The living children.
    pub fn children(&self, id: u32) -> Children<'_> {
        Children { tree: self, next: self.nodes[id].first_child }
    }

    /// The path of a node, "/" for the root.
    pub fn path(&self, id: u32) -> String {
        if id == ROOT {
            return "/".to_owned();
        }
        let mut bytes = Vec::new();
        self.up(id, |node| {
            bytes.extend(node.name().iter().rev());
            bytes.push(b'/');
        });
        bytes.reverse();
        // Names come from strings, cut at slashes.
        String::from_utf8(bytes).unwrap_or_default()
    }

    /// Walks from a node up to the root, which is left out.
    fn up(&self, mut id: u32, mut each: impl FnMut(&Node)) {
        while id != ROOT {
            each(&self.nodes[id]);
            id = self.nodes[id].parent;
        }
    }

    /// Nodes below a node.
    #[cfg(test)]
    pub fn count_below(&self, id: u32) -> usize {
        let mut count = 0;
        self.each_below(id, |_| count += 1);
        count
    }

    /// Visits all living nodes below a node, parents first, in constant memory.
    pub fn each_below(&self, top: u32, mut each: impl FnMut(u32)) {
        let mut at = top;
        loop {
            let mut next = self.children(at).next();
            while next.is_none() {
                if at == top {
                    return;
                }
                next = Children { tree: self, next: self.nodes[at].next }.next();
                at = self.nodes[at].parent;
            }
            let Some(id) = next else { return };
            each(id);
            at = id;
        }
    }

    /// Data bytes of a node.
    pub fn data_len(&self, id: u32) -> usize {
        self.nodes[id].data_len()
    }
}

/// Living children of a node, newest first.
#[derive(Clone)]
pub(super) struct Children<'a> {
    tree: &'a Tree,
    next: u32,
}

impl Iterator for Children<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        while self.next != NONE {
            let id = self.next;
            let node = &self.tree.nodes[id];
            self.next = node.next;
            if !node.is_dead() {
                return Some(id);
            }
        }
        None
    }
}

#[cfg(test)]
impl Tree {
    /// Ids in the index.
    pub fn indexed(&self) -> usize {
        self.index.len()
    }
}
