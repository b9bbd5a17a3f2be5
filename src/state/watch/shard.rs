//! Shards of the watch table: paths with their watchers, and connections with their paths.

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::types::ConnId;

use super::super::arena::{Arena, NONE, Slot};
use super::PathId;
use super::set::{Flags, Watchers};

/// Watched paths, by a number that stays while the path is watched.
#[derive(Debug)]
pub(super) struct PathShard {
    index: HashTable<u32>,
    entries: Arena<Entry, 5>,
    /// Of all paths.
    path_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    path: Box<str>,
    watchers: Watchers,
}

impl Slot for Entry {
    fn vacant() -> Entry {
        Entry { path: Box::default(), watchers: Watchers::Vacant(NONE) }
    }
    fn link(&self) -> u32 {
        match self.watchers {
            Watchers::Vacant(link) => link,
            _ => NONE,
        }
    }
    fn vacate(&mut self, link: u32) {
        *self = Entry { path: Box::default(), watchers: Watchers::Vacant(link) };
    }
}

impl Default for PathShard {
    fn default() -> PathShard {
        PathShard { index: HashTable::new(), entries: Arena::new(), path_bytes: 0 }
    }
}

impl PathShard {
    /// The number of a path.
    pub fn find(&self, hash: u64, path: &str) -> Option<u32> {
        self.index.find(hash, |slot| *self.entries[*slot].path == *path).copied()
    }

    /// Adds flags of a connection: the path's number, flags before and after. `rehash` is how
    /// paths are hashed. None: the paths would take more than `bytes_max`.
    pub fn add(
        &mut self,
        (hash, path): (u64, &str),
        conn: ConnId,
        flags: Flags,
        bytes_max: usize,
        rehash: impl Fn(&str) -> u64,
    ) -> Option<(u32, Flags, Flags)> {
        let slot = match self.find(hash, path) {
            Some(slot) => slot,
            None if self.path_bytes + path.len() > bytes_max => return None,
            None => {
                let entry = Entry { path: path.into(), watchers: Watchers::None };
                let slot = self.entries.insert(entry);
                self.index.insert_unique(hash, slot, |slot| rehash(&self.entries[*slot].path));
                self.path_bytes += path.len();
                slot
            }
        };
        let watchers = &mut self.entries[slot].watchers;
        let old = watchers.flags(conn);
        watchers.set(conn, old | flags);
        Some((slot, old, old | flags))
    }

    /// Frees a path that nobody watches any more.
    fn settle(&mut self, hash: u64, slot: u32) {
        if self.entries[slot].watchers.is_empty() {
            if let Ok(there) = self.index.find_entry(hash, |at| *at == slot) {
                there.remove();
            }
            self.path_bytes -= self.entries[slot].path.len();
            self.entries.remove(slot);
        }
    }

    /// The path with this number.
    pub fn path(&self, slot: u32) -> &str {
        &self.entries[slot].path
    }

    /// The flags of a connection at a path.
    pub fn flags(&self, slot: u32, conn: ConnId) -> Flags {
        self.entries[slot].watchers.flags(conn)
    }

    /// Whether a connection watches the path with this number, if there is one.
    pub fn has(&self, slot: u32, conn: ConnId) -> bool {
        self.flags(slot, conn) != 0
    }

    /// Takes flags of a connection back: flags before and after.
    pub fn clear(&mut self, hash: u64, slot: u32, conn: ConnId, flags: Flags) -> (Flags, Flags) {
        let watchers = &mut self.entries[slot].watchers;
        let old = watchers.flags(conn);
        let new = old & !flags;
        if old != new {
            watchers.set(conn, new);
            self.settle(hash, slot);
        }
        (old, new)
    }

    /// Collects who has any of the flags; the `spent` ones are taken back.
    pub fn fire(
        &mut self,
        (hash, slot): (u64, u32),
        (spent, lasting): (Flags, Flags),
        told: &mut SmallVec<[ConnId; 16]>,
        moved: impl Fn(Flags, Flags),
    ) {
        self.entries[slot].watchers.update(|conn, old| {
            if old & (spent | lasting) != 0 {
                told.push(conn);
            }
            moved(old, old & !spent);
            old & !spent
        });
        self.settle(hash, slot);
    }

    /// Collects who has a flag.
    pub fn with_flag(&self, slot: u32, flag: Flags, told: &mut SmallVec<[ConnId; 16]>) {
        self.entries[slot].watchers.each(|conn, flags| {
            if flags & flag != 0 {
                told.push(conn);
            }
        });
    }

    /// The numbers of paths are below it.
    pub fn bound(&self) -> u32 {
        self.entries.bound()
    }

    /// Visits the watches of one path, which is returned; none where there is no path.
    pub fn each_of(&self, slot: u32, each: impl FnMut(ConnId, Flags)) -> &str {
        let entry = &self.entries[slot];
        entry.watchers.each(each);
        &entry.path
    }

    /// Visits all watches, path by path.
    pub fn each(&self, mut each: impl FnMut(&str, ConnId, Flags)) {
        for slot in 0..self.entries.bound() {
            let entry = &self.entries[slot];
            entry.watchers.each(|conn, flags| each(&entry.path, conn, flags));
        }
    }
}

/// Connections and the paths they watch, with leftovers of watches that fired. Most watch one path,
/// and cost an entry of the first table alone: twelve bytes.
#[derive(Debug, Default)]
pub(super) struct ConnShard {
    conns: HashTable<Conn>,
    more: HashTable<More>,
}

/// A connection and the first path it watched. The number is in two halves, so that no entry has
/// padding.
#[derive(Clone, Copy, Debug)]
struct Conn {
    high: u32,
    low: u32,
    one: PathId,
}

/// In `high`: it has watched in the data table, and those watches were not all taken back: they are
/// there, or they fired. Apache goes on to count such a connection (`WatchManager.watch2Paths`).
const DATA_TABLE: u32 = 1 << 31;

impl Conn {
    fn new(conn: ConnId, one: PathId) -> Conn {
        Conn { high: (conn.0 >> 32) as u32 & !DATA_TABLE, low: conn.0 as u32, one }
    }

    fn conn(self) -> ConnId {
        ConnId(u64::from(self.high & !DATA_TABLE) << 32 | u64::from(self.low))
    }

    fn set_data(&mut self, on: bool) {
        self.high = if on { self.high | DATA_TABLE } else { self.high & !DATA_TABLE };
    }
}

#[derive(Debug)]
struct More {
    conn: ConnId,
    paths: Vec<PathId>,
    /// At this length leftovers are looked for.
    limit: usize,
    /// Additions that are refused before leftovers are looked for again.
    refuse: usize,
}

const LIMIT_MIN: usize = 16;

fn hash(conn: ConnId) -> u64 {
    conn.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl ConnShard {
    /// Notes that a connection watches a path, unless it watches `max` of them. `is_live` says
    /// whether it still watches one. False: it is one too many.
    pub fn add(
        &mut self,
        conn: ConnId,
        path: PathId,
        data: bool,
        max: usize,
        is_live: impl Fn(PathId) -> bool,
    ) -> bool {
        let Some(entry) = self.conns.find_mut(hash(conn), |c| c.conn() == conn) else {
            let mut new = Conn::new(conn, path);
            new.set_data(data);
            self.conns.insert_unique(hash(conn), new, |c| hash(c.conn()));
            return true;
        };
        if entry.one == path {
            entry.set_data(data || entry.high & DATA_TABLE != 0);
            return true;
        }
        let more = self.more.entry(hash(conn), |m| m.conn == conn, |m| hash(m.conn));
        let limit = LIMIT_MIN.min(max.max(1));
        let mut more = more.or_insert_with(|| More { conn, paths: Vec::new(), limit, refuse: 0 });
        let more = more.get_mut();
        if more.refuse > 0 && max != usize::MAX {
            more.refuse -= 1;
            return false;
        }
        if more.paths.last() != Some(&path) {
            more.paths.push(path);
        }
        if more.paths.len() >= more.limit {
            more.paths.sort_unstable();
            more.paths.dedup();
            more.paths.retain(|path| is_live(*path));
            let live = more.paths.len();
            if live >= max {
                // The last one is live, too: it is there already. Looking again costs as much as
                // there are, so the next eighth is refused without.
                more.paths.retain(|at| *at != path);
                more.refuse = live / 8;
                return false;
            }
            more.limit = LIMIT_MIN.max(live * 2).min(max.max(live + live / 8 + 1));
            more.paths.shrink_to(more.limit / 2 + 8);
        }
        if data {
            entry.set_data(true);
        }
        true
    }

    /// A watch of the data table was taken back; when `is_live` says of no path that there is
    /// another, the connection counts no more.
    pub fn taken_back(&mut self, conn: ConnId, is_live: impl Fn(PathId) -> bool) {
        if let Some(entry) = self.conns.find_mut(hash(conn), |c| c.conn() == conn) {
            let more = self.more.find(hash(conn), |m| m.conn == conn);
            let more = more.map_or(&[][..], |more| &more.paths);
            entry.set_data(is_live(entry.one) || more.iter().any(|path| is_live(*path)));
        }
    }

    /// Connections that Apache's data table counts.
    pub fn each_of_data(&self, each: impl FnMut(ConnId)) {
        self.conns.iter().filter(|c| c.high & DATA_TABLE != 0).map(|c| c.conn()).for_each(each);
    }

    /// A connection's paths, leftovers among them.
    pub fn paths(&self, conn: ConnId) -> Vec<PathId> {
        let entry = self.conns.find(hash(conn), |c| c.conn() == conn);
        let more = self.more.find(hash(conn), |m| m.conn == conn);
        let more = more.map_or(&[][..], |more| &more.paths);
        entry.map(|entry| entry.one).into_iter().chain(more.iter().copied()).collect()
    }

    /// Takes a connection's paths out.
    pub fn take(&mut self, conn: ConnId) -> Option<Vec<PathId>> {
        let entry = self.conns.find_entry(hash(conn), |c| c.conn() == conn).ok()?;
        let one = entry.remove().0.one;
        let more = self.more.find_entry(hash(conn), |m| m.conn == conn).ok();
        let mut paths = more.map_or_else(Vec::new, |more| more.remove().0.paths);
        paths.push(one);
        Some(paths)
    }
}
