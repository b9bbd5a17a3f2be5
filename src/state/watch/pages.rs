//! The watches of the data table for operators, page by page: each page holds one small lock for a few
//! hundred paths, however many there are. Watches that come and go between two pages are in one of
//! them or not.

use std::collections::BTreeSet;

use crate::types::ConnId;

use super::{DATA_TABLE, PathId, SHARD_BITS, SHARDS, WatchTable};

/// A page ends at so many paths.
const PAGE_PATHS: usize = 512;
/// Or at so many bytes of them.
const PAGE_BYTES: usize = 64 << 10;

/// How far one has come with the paths.
#[derive(Clone, Copy, Debug, Default)]
pub struct PathPages {
    shard: usize,
    slot: u32,
}

/// How far one has come with the paths of one connection.
#[derive(Debug)]
pub struct OwnPages {
    conn: ConnId,
    ids: std::vec::IntoIter<PathId>,
}

impl WatchTable {
    /// The next paths and who watches each, in order; None after the last. A page may be empty.
    pub fn next_paths(&self, at: &mut PathPages) -> Option<Vec<(String, Vec<ConnId>)>> {
        let shard = self.paths.get(at.shard)?.lock();
        let (mut page, mut bytes) = (Vec::new(), 0);
        let end = shard.bound().min(at.slot.saturating_add(PAGE_PATHS as u32));
        while at.slot < end && bytes < PAGE_BYTES {
            let mut conns = Vec::new();
            let path = shard.each_of(at.slot, |conn, flags| {
                if flags & DATA_TABLE != 0 {
                    conns.push(conn);
                }
            });
            if !conns.is_empty() {
                conns.sort_unstable();
                bytes += path.len() + 8 * conns.len();
                page.push((path.to_owned(), conns));
            }
            at.slot += 1;
        }
        if at.slot >= shard.bound() {
            *at = PathPages { shard: at.shard + 1, slot: 0 };
        }
        Some(page)
    }

    /// Connections that Apache's data table counts, in order: those whose watches all fired, too.
    pub fn data_watchers(&self) -> BTreeSet<ConnId> {
        let mut all = BTreeSet::new();
        for shard in &self.conns {
            let mut some = Vec::new();
            shard.lock().each_of_data(|conn| some.push(conn));
            all.extend(some);
        }
        all
    }

    /// Begins with the paths that a connection watches.
    pub fn paths_of(&self, conn: ConnId) -> OwnPages {
        let mut ids = self.conn_shard(conn).lock().paths(conn);
        ids.sort_unstable();
        ids.dedup();
        OwnPages { conn, ids: ids.into_iter() }
    }

    /// The next of them; None after the last. A page may be empty.
    pub fn next_of(&self, at: &mut OwnPages) -> Option<Vec<String>> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        if at.ids.len() == 0 {
            return None;
        }
        for id in at.ids.by_ref().take(PAGE_PATHS) {
            let (shard, slot) = (self.paths[id as usize % SHARDS].lock(), id >> SHARD_BITS);
            if shard.flags(slot, at.conn) & DATA_TABLE != 0 {
                bytes += shard.path(slot).len();
                page.push(shard.path(slot).to_owned());
            }
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Some(page)
    }
}
