//! Shards of the watch table: paths with their watchers, and connections with their paths.

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::types::ConnId;

use super::PathId;
use super::set::{Flags, Watchers};

const NONE: u32 = u32::MAX;

/// Watched paths, by a number that stays while the path is watched.
#[derive(Debug)]
pub(super) struct PathShard {
    index: HashTable<u32>,
    entries: Vec<Entry>,
    free: u32,
}

#[derive(Debug)]
struct Entry {
    path: Box<str>,
    watchers: Watchers,
    /// The next vacant entry when this one is vacant, otherwise part of the path's hash.
    link: u32,
}

impl Default for PathShard {
    fn default() -> PathShard {
        PathShard { index: HashTable::new(), entries: Vec::new(), free: NONE }
    }
}

/// What of a hash is kept for the index to grow.
fn short(hash: u64) -> u32 {
    (hash ^ hash >> 32) as u32
}

fn spread(short: u32) -> u64 {
    u64::from(short).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl PathShard {
    /// The number of a path.
    pub fn find(&self, hash: u64, path: &str) -> Option<u32> {
        let is = |slot: &u32| *self.entries[*slot as usize].path == *path;
        self.index.find(spread(short(hash)), is).copied()
    }

    /// Adds flags of a connection: the path's number, flags before and after.
    pub fn add(
        &mut self,
        hash: u64,
        path: &str,
        conn: ConnId,
        flags: Flags,
    ) -> (u32, Flags, Flags) {
        let slot = self.find(hash, path).unwrap_or_else(|| self.insert(hash, path));
        let watchers = &mut self.entries[slot as usize].watchers;
        let old = watchers.flags(conn);
        watchers.set(conn, old | flags);
        (slot, old, old | flags)
    }

    fn insert(&mut self, hash: u64, path: &str) -> u32 {
        let link = short(hash);
        let entry = Entry { path: path.into(), watchers: Watchers::None, link };
        let slot = match self.free {
            NONE => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
            slot => {
                self.free = std::mem::replace(&mut self.entries[slot as usize], entry).link;
                slot
            }
        };
        let rehash = |slot: &u32| spread(self.entries[*slot as usize].link);
        self.index.insert_unique(spread(link), slot, rehash);
        slot
    }

    /// Frees a path that nobody watches any more.
    fn settle(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        if !entry.watchers.is_empty() {
            return;
        }
        if let Ok(there) = self.index.find_entry(spread(entry.link), |at| *at == slot) {
            there.remove();
        }
        *entry = Entry { path: "".into(), watchers: Watchers::None, link: self.free };
        self.free = slot;
    }

    /// The flags of a connection at a path.
    pub fn flags(&self, slot: u32, conn: ConnId) -> Flags {
        self.entries[slot as usize].watchers.flags(conn)
    }

    /// Whether a connection watches the path with this number, if there is one.
    pub fn has(&self, slot: u32, conn: ConnId) -> bool {
        self.flags(slot, conn) != 0
    }

    /// Takes flags of a connection back: flags before and after.
    pub fn clear(&mut self, slot: u32, conn: ConnId, flags: Flags) -> (Flags, Flags) {
        let watchers = &mut self.entries[slot as usize].watchers;
        let old = watchers.flags(conn);
        let new = old & !flags;
        if old != new {
            watchers.set(conn, new);
            self.settle(slot);
        }
        (old, new)
    }

    /// Collects who has any of the flags; the `spent` ones are taken back.
    pub fn fire(
        &mut self,
        slot: u32,
        spent: Flags,
        lasting: Flags,
        told: &mut SmallVec<[ConnId; 16]>,
        moved: impl Fn(Flags, Flags),
    ) {
        self.entries[slot as usize].watchers.update(|conn, old| {
            if old & (spent | lasting) != 0 {
                told.push(conn);
            }
            moved(old, old & !spent);
            old & !spent
        });
        self.settle(slot);
    }

    /// Collects who has a flag.
    pub fn with_flag(&self, slot: u32, flag: Flags, told: &mut SmallVec<[ConnId; 16]>) {
        self.entries[slot as usize].watchers.each(|conn, flags| {
            if flags & flag != 0 {
                told.push(conn);
            }
        });
    }

    /// Visits all watches, path by path.
    pub fn each(&self, mut each: impl FnMut(&str, ConnId, Flags)) {
        for entry in &self.entries {
            entry.watchers.each(|conn, flags| each(&entry.path, conn, flags));
        }
    }
}

/// Connections and the paths they watch, with leftovers of watches that fired.
#[derive(Debug, Default)]
pub(super) struct ConnShard {
    conns: HashTable<Conn>,
}

#[derive(Debug)]
struct Conn {
    conn: ConnId,
    one: PathId,
    more: Option<Box<More>>,
}

#[derive(Debug)]
struct More {
    paths: Vec<PathId>,
    /// At this length leftovers are looked for.
    limit: usize,
}

const LIMIT_MIN: usize = 16;

fn hash(conn: ConnId) -> u64 {
    conn.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl ConnShard {
    /// Notes that a connection watches a path. `is_live` says whether it still does.
    pub fn add(&mut self, conn: ConnId, path: PathId, is_live: impl Fn(PathId) -> bool) {
        let Some(entry) = self.conns.find_mut(hash(conn), |c| c.conn == conn) else {
            let new = Conn { conn, one: path, more: None };
            self.conns.insert_unique(hash(conn), new, |c| hash(c.conn));
            return;
        };
        if entry.one == path {
            return;
        }
        let more = entry
            .more
            .get_or_insert_with(|| Box::new(More { paths: Vec::new(), limit: LIMIT_MIN }));
        if more.paths.last() != Some(&path) {
            more.paths.push(path);
        }
        if more.paths.len() >= more.limit {
            more.paths.sort_unstable();
            more.paths.dedup();
            more.paths.retain(|path| is_live(*path));
            more.limit = LIMIT_MIN.max(more.paths.len() * 2);
            more.paths.shrink_to(more.limit / 2 + 8);
        }
    }

    /// Takes a connection's paths out.
    pub fn take(&mut self, conn: ConnId) -> Option<Vec<PathId>> {
        let entry = self.conns.find_entry(hash(conn), |c| c.conn == conn).ok()?;
        let (Conn { one, more, .. }, _) = entry.remove();
        let mut paths = more.map_or_else(Vec::new, |more| more.paths);
        paths.push(one);
        Some(paths)
    }
}
