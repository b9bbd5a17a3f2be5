//! Watches: which connection wants to be told of what (Apache `WatchManager`).
//!
//! One table stands for Apache's two (data and child): a connection's watches of a path are four
//! flags. Watches belong to a connection, not to a session, and any string may be watched.
//!
//! Paths and connections are spread over shards behind small locks, since many readers register at
//! the same time; firing happens beside none of them (the writer excludes readers). A connection's
//! list of paths is not touched when a watch fires: it may name watches that are gone, and is
//! cleaned when it has doubled. So a watch costs its path once (shared by all who watch it), nine
//! bytes or so in the path's set and four in the connection's list.

use std::hash::{BuildHasher, Hasher as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::types::{ConnId, Hasher, hasher};

use super::Change;

mod pages;
mod set;
mod shard;

pub use pages::{OwnPages, PathPages};

use set::{CHILD, DATA, Flags, PERSISTENT, RECURSIVE};
use shard::{ConnShard, PathShard};

/// What a watch event says; the number is the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum EventKind {
    /// NodeCreated.
    Created = 1,
    /// NodeDeleted.
    Deleted = 2,
    /// NodeDataChanged.
    DataChanged = 3,
    /// NodeChildrenChanged.
    ChildrenChanged = 4,
}

/// A watch to be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchKind {
    /// By getData, or exists on a node: fires once.
    Data,
    /// By exists on a missing node: fires once; the same table as [`WatchKind::Data`].
    Exist,
    /// By getChildren: fires once.
    Child,
    /// addWatch mode 0.
    Persistent,
    /// addWatch mode 1: the node and everything below it, but no ChildrenChanged.
    Recursive,
}

impl WatchKind {
    fn flags(self) -> Flags {
        match self {
            WatchKind::Data | WatchKind::Exist => DATA,
            WatchKind::Child => CHILD,
            WatchKind::Persistent => PERSISTENT,
            WatchKind::Recursive => RECURSIVE,
        }
    }
}

/// Which watches removeWatches and checkWatches mean; the number is the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum WatcherType {
    /// One-shot child watches.
    Children = 1,
    /// One-shot data and exist watches.
    Data = 2,
    /// All of the connection's at the path.
    Any = 3,
    /// Persistent ones.
    Persistent = 4,
    /// Persistent recursive ones.
    Recursive = 5,
}

impl WatcherType {
    /// The type of a request; None is MARSHALLINGERROR.
    pub fn from_wire(n: i32) -> Option<WatcherType> {
        Some(match n {
            1 => WatcherType::Children,
            2 => WatcherType::Data,
            3 => WatcherType::Any,
            4 => WatcherType::Persistent,
            5 => WatcherType::Recursive,
            _ => return None,
        })
    }

    fn flags(self) -> Flags {
        match self {
            WatcherType::Children => CHILD,
            WatcherType::Data => DATA,
            WatcherType::Any => DATA | CHILD | PERSISTENT | RECURSIVE,
            WatcherType::Persistent => PERSISTENT,
            WatcherType::Recursive => RECURSIVE,
        }
    }
}

/// What `wchs` prints; the data table alone, as in Apache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WatchSummary {
    /// Connections that watch something.
    pub connections: usize,
    /// Paths that are watched.
    pub paths: usize,
    /// Pairs of both.
    pub watches: usize,
}

/// The flags of watches that Apache keeps in its data table.
const DATA_TABLE: Flags = DATA | PERSISTENT | RECURSIVE;

/// log2 of the number of shards.
const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;

/// Watches by table, as Apache counts them.
#[derive(Debug, Default)]
struct Counts {
    data: AtomicUsize,
    child: AtomicUsize,
    recursive: AtomicUsize,
}

impl Counts {
    /// Notes that a connection's watches of a path went from `old` to `new`.
    fn moved(&self, old: Flags, new: Flags) {
        let tables = [
            (&self.data, DATA_TABLE),
            (&self.child, CHILD | PERSISTENT),
            (&self.recursive, RECURSIVE),
        ];
        for (count, mask) in tables {
            match (old & mask != 0, new & mask != 0) {
                (false, true) => count.fetch_add(1, Ordering::Relaxed),
                (true, false) => count.fetch_sub(1, Ordering::Relaxed),
                _ => 0,
            };
        }
    }
}

/// Bounds of what clients may have watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// Paths that one connection may watch. It is looked at when the connection's list has grown by
    /// an eighth, so somewhat more may be there for a while.
    pub per_connection: usize,
    /// Bytes of the paths that are watched, each counted once however many watch it. A shard has
    /// its equal part of it.
    pub path_bytes: usize,
}

impl Default for WatchLimits {
    fn default() -> WatchLimits {
        WatchLimits { per_connection: 1_000_000, path_bytes: 1 << 30 }
    }
}

/// All watches of a server.
#[derive(Debug)]
pub struct WatchTable {
    hasher: Hasher,
    paths: Box<[Mutex<PathShard>]>,
    conns: Box<[Mutex<ConnShard>]>,
    counts: Counts,
    limits: WatchLimits,
    refused: AtomicUsize,
}

impl Default for WatchTable {
    fn default() -> WatchTable {
        WatchTable::new()
    }
}

/// What is left of a connection that is gone.
#[derive(Debug)]
pub struct Left {
    conn: ConnId,
    ids: Vec<PathId>,
}

/// The number of a path: its place in its shard, and the shard.
type PathId = u32;

impl WatchTable {
    /// No watches, and the usual limits.
    pub fn new() -> WatchTable {
        WatchTable::with_limits(WatchLimits::default())
    }

    /// No watches.
    pub fn with_limits(limits: WatchLimits) -> WatchTable {
        WatchTable {
            hasher: hasher(),
            paths: (0..SHARDS).map(|_| Mutex::default()).collect(),
            conns: (0..SHARDS).map(|_| Mutex::default()).collect(),
            counts: Counts::default(),
            limits,
            refused: AtomicUsize::new(0),
        }
    }

    /// The hash of a path goes part by part, so that those of all its ancestors come along.
    fn part(&self, hash: u64, part: &[u8]) -> u64 {
        let mut h = self.hasher.build_hasher();
        h.write_u64(hash);
        h.write(part);
        h.finish()
    }

    fn hash(&self, path: &str) -> u64 {
        path.as_bytes().split(|b| *b == b'/').fold(0, |hash, part| self.part(hash, part))
    }

    fn path_shard(&self, hash: u64) -> usize {
        (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SHARD_BITS)) as usize
    }

    fn conn_shard(&self, conn: ConnId) -> &Mutex<ConnShard> {
        &self.conns[conn.0 as usize % SHARDS]
    }

    /// Leaves a watch; leaving it twice is the same as once. Any string may be watched. False: it
    /// would be one too many, and is not left.
    pub fn add(&self, conn: ConnId, path: &str, kind: WatchKind) -> bool {
        let hash = self.hash(path);
        let at = self.path_shard(hash);
        let rehash = |path: &str| self.hash(path);
        let bytes_max = self.limits.path_bytes / SHARDS;
        let added = self.paths[at].lock().add((hash, path), conn, kind.flags(), bytes_max, rehash);
        let Some((slot, old, new)) = added else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        self.counts.moved(old, new);
        let data = old & DATA_TABLE == 0 && new & DATA_TABLE != 0;
        if old == 0 || data {
            let id: PathId = slot << SHARD_BITS | at as u32;
            let is_live = |id: PathId| self.shard_of(id).lock().has(id >> SHARD_BITS, conn);
            // A path that it watches already is no further one.
            let max = if old == 0 { self.limits.per_connection } else { usize::MAX };
            if !self.conn_shard(conn).lock().add(conn, id, data, max, is_live) {
                let (before, after) = self.paths[at].lock().clear(hash, slot, conn, new);
                self.counts.moved(before, after);
                self.refused.fetch_add(1, Ordering::Relaxed);
                return false;
            }
        }
        true
    }

    /// Watches that were one too many, since the start.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    fn shard_of(&self, id: PathId) -> &Mutex<PathShard> {
        &self.paths[id as usize % SHARDS]
    }

    /// Takes watches back; false is NOWATCHER.
    pub fn remove(&self, conn: ConnId, path: &str, which: WatcherType) -> bool {
        let hash = self.hash(path);
        let mut shard = self.paths[self.path_shard(hash)].lock();
        let Some(slot) = shard.find(hash, path) else { return false };
        let (old, new) = shard.clear(hash, slot, conn, which.flags());
        drop(shard);
        self.counts.moved(old, new);
        if old & DATA_TABLE != 0 && new & DATA_TABLE == 0 {
            self.conn_shard(conn).lock().taken_back(conn, |id| {
                self.shard_of(id).lock().flags(id >> SHARD_BITS, conn) & DATA_TABLE != 0
            });
        }
        old != new
    }

    /// Whether there is such a watch.
    pub fn contains(&self, conn: ConnId, path: &str, which: WatcherType) -> bool {
        let hash = self.hash(path);
        let shard = self.paths[self.path_shard(hash)].lock();
        let Some(slot) = shard.find(hash, path) else { return false };
        shard.flags(slot, conn) & which.flags() != 0
    }

    /// Forgets all watches of a connection that is closing; nothing may be added for it any more.
    pub fn remove_conn(&self, conn: ConnId) {
        let mut left = self.leave(conn);
        while self.forget(&mut left, usize::MAX) {}
    }

    /// The same in parts: whoever calls this goes on with [`WatchTable::forget`].
    pub fn leave(&self, conn: ConnId) -> Left {
        let ids = self.conn_shard(conn).lock().take(conn).unwrap_or_default();
        Left { conn, ids }
    }

    /// Forgets up to `max` more; false when that was all.
    pub fn forget(&self, left: &mut Left, max: usize) -> bool {
        let from = left.ids.len() - left.ids.len().min(max);
        for id in left.ids.drain(from..) {
            let mut shard = self.shard_of(id).lock();
            let slot = id >> SHARD_BITS;
            if shard.has(slot, left.conn) {
                let hash = self.hash(shard.path(slot));
                let (old, new) = shard.clear(hash, slot, left.conn, WatcherType::Any.flags());
                self.counts.moved(old, new);
            }
        }
        !left.ids.is_empty()
    }

    /// Tells `event` whom a change concerns, each connection at most once, and drops the one-shot
    /// watches that fired. The event's path is the change's. The caller checks the change's ACL: a
    /// one-shot watch is used up even if its owner may not be told.
    ///
    /// A node's deletion is told to the owners of its data and child watches alike, once each
    /// (Apache triggers both tables and leaves out who was told by the first).
    pub fn fire(&self, change: &Change, event: &mut dyn FnMut(ConnId, EventKind)) {
        let (kind, path) = (change.kind, change.path());
        if self.watch_count() == 0 {
            return;
        }
        let (spent, lasting) = match kind {
            EventKind::ChildrenChanged => (CHILD, PERSISTENT),
            EventKind::Deleted => (DATA | CHILD, PERSISTENT | RECURSIVE),
            EventKind::Created | EventKind::DataChanged => (DATA, PERSISTENT | RECURSIVE),
        };
        let mut told = SmallVec::<[ConnId; 16]>::new();
        let hash = self.hash(path);
        {
            let mut shard = self.paths[self.path_shard(hash)].lock();
            if let Some(slot) = shard.find(hash, path) {
                let moved = |old, new| self.counts.moved(old, new);
                shard.fire((hash, slot), (spent, lasting), &mut told, moved);
            }
        }
        let is_tree_event = kind != EventKind::ChildrenChanged;
        if is_tree_event && self.counts.recursive.load(Ordering::Relaxed) > 0 {
            self.recursive_above(path, &mut told);
        }
        told.into_iter().for_each(|conn| event(conn, kind));
    }

    /// Adds those who watch an ancestor recursively, each once. Not called for most changes: a
    /// server without recursive watches never walks.
    fn recursive_above(&self, path: &str, told: &mut SmallVec<[ConnId; 16]>) {
        let (before, mut hash, mut end) = (told.len(), 0, 0);
        for part in path.as_bytes().split(|b| *b == b'/') {
            hash = self.part(hash, part);
            end += part.len();
            let ancestor = if end == 0 { "/" } else { &path[..end] };
            if ancestor.len() >= path.len() {
                break;
            }
            let hash = if end == 0 { self.part(hash, b"") } else { hash };
            let shard = self.paths[self.path_shard(hash)].lock();
            if let Some(slot) = shard.find(hash, ancestor) {
                shard.with_flag(slot, RECURSIVE, told);
            }
            end += 1;
        }
        if told.len() > before {
            told.sort_unstable();
            told.dedup();
        }
    }

    /// Watches in both tables: what `mntr` calls watch_count.
    pub fn watch_count(&self) -> usize {
        self.counts.data.load(Ordering::Relaxed) + self.counts.child.load(Ordering::Relaxed)
    }

    /// Pairs of path and connection in the data table.
    fn each_data_watch(&self, mut each: impl FnMut(&str, ConnId)) {
        for shard in &self.paths {
            shard.lock().each(|path, conn, flags| {
                if flags & DATA_TABLE != 0 {
                    each(path, conn);
                }
            });
        }
    }

    /// What `wchs` prints.
    pub fn summary(&self) -> WatchSummary {
        let (mut conns, mut paths) = (std::collections::BTreeSet::new(), 0);
        let (mut watches, mut last, mut last_conn) = (0, None, None);
        for shard in &self.conns {
            shard.lock().each_of_data(|conn| {
                conns.insert(conn);
            });
        }
        self.each_data_watch(|path, conn| {
            if last_conn.replace(conn) != Some(conn) {
                conns.insert(conn);
            }
            watches += 1;
            // Watches of one path come one after the other.
            let this = (path.as_ptr() as usize, path.len());
            if last.replace(this) != Some(this) {
                paths += 1;
            }
        });
        WatchSummary { connections: conns.len(), paths, watches }
    }

    /// What `wchp` prints: paths of the data table and who watches them, in order.
    #[cfg(test)]
    pub fn by_path(&self) -> Vec<(String, Vec<ConnId>)> {
        let mut at = PathPages::default();
        let mut all: Vec<_> = std::iter::from_fn(|| self.next_paths(&mut at)).flatten().collect();
        all.sort_unstable();
        all
    }

    /// What `wchc` prints: connections and what they watch in the data table, in order. As in
    /// Apache, one whose watches all fired has an empty list.
    #[cfg(test)]
    pub fn by_connection(&self) -> Vec<(ConnId, Vec<String>)> {
        let paths = |conn| {
            let mut at = self.paths_of(conn);
            let mut all: Vec<_> = std::iter::from_fn(|| self.next_of(&mut at)).flatten().collect();
            all.sort_unstable();
            (conn, all)
        };
        self.data_watchers().into_iter().map(paths).collect()
    }
}

#[cfg(test)]
mod tests;
