//! Preparing the end of a session: which nodes go, in Apache's order, and what becomes of the digest.

use std::collections::{BTreeMap, BTreeSet};

use super::{CLOSE_PATHS_BYTES_MAX, Caller, Prep, Work};
use crate::proto::opcode::OpCode;
use crate::proto::txn::{Txn, TxnEntry};
use crate::state::StateMachine;
use crate::types::{WallTime, Zxid, java, path};

impl Prep {
    /// The end of a session, with its ephemerals: those there are and those on their way.
    pub fn close_session(
        &mut self,
        state: &StateMachine,
        caller: &Caller,
        time: WallTime,
    ) -> TxnEntry {
        let zxid = self.next();
        let work = Work { state, caller, zxid, time };
        let owner = caller.session.0;
        // Apache copies its set of the session's ephemerals, and adds those on their way.
        let (own, most) = state.ephemeral_nodes(caller.session);
        let mut buckets = java::cloned_buckets(own.len());
        let applied = |zxid: Zxid, path: &str| {
            state.node(path).is_some_and(|node| node.stat().czxid == zxid.0)
        };
        let mut known = BTreeSet::<String>::new();
        let coming: Vec<String> = (self.overlay.ephemerals_of(caller.session).into_iter())
            .filter(|(zxid, path)| !applied(*zxid, path) && known.insert((*path).to_owned()))
            .map(|(_, path)| path.to_owned())
            .collect();
        // Of each: the hash of its path, its place among those that share a bucket, its digest.
        let grown = java::grown_buckets(most);
        let mut leaving: Vec<(i32, (u32, u32), String, Option<u32>)> = Vec::new();
        for (at, node) in own {
            let path = node.path();
            if known.contains(path.as_str()) {
                continue;
            }
            let digest = match self.overlay.get(&path) {
                Some(outstanding) => outstanding.filter(|n| n.stat.ephemeral_owner == owner),
                None if self.overlay.is_closed(owner) => None,
                None => {
                    let hash = java::string_hash(&path);
                    let digest = if self.options.digest { node.digest() } else { 0 };
                    leaving.push((hash, (java::bucket(hash, grown), at), path, Some(digest)));
                    continue;
                }
            };
            let hash = java::string_hash(&path);
            let digest = digest.map(|node| node.digest);
            if digest.is_some() {
                self.overlay.put(zxid, &path, None);
            }
            leaving.push((hash, (java::bucket(hash, grown), at), path, digest));
        }
        if !coming.is_empty() {
            while leaving.len() + coming.len() > buckets * 3 / 4 {
                buckets *= 2;
            }
        }
        for (at, path) in (0..).zip(coming) {
            let node = self.find(&work, &path).filter(|node| node.stat.ephemeral_owner == owner);
            if node.is_some() {
                self.overlay.put(zxid, &path, None);
            }
            let hash = java::string_hash(&path);
            leaving.push((hash, (u32::MAX, at), path, node.map(|node| node.digest)));
        }
        let mut order: Vec<_> = (0..)
            .zip(&leaving)
            .map(|(i, (hash, place, ..))| (java::bucket(*hash, buckets), *place, i))
            .collect();
        order.sort_unstable();
        let mut paths = Vec::with_capacity(leaving.len());
        for (.., i) in order {
            let (.., path, digest) = &mut leaving[i];
            // Others have deleted it already, or made it theirs.
            let Some(digest) = digest else { continue };
            self.digest = self.digest.wrapping_sub(i64::from(*digest));
            paths.push(std::mem::take(path));
        }
        // Of a hundred thousand nodes one word is enough: what the session owns is gone.
        self.overlay.close(zxid, owner, paths.len());
        // Ephemerals have no children, so no path here is the parent of another.
        let mut parents = BTreeMap::<&str, i64>::new();
        for path in &paths {
            *parents.entry(path::parent(path).unwrap_or("/")).or_default() += 1;
        }
        for (parent_path, count) in parents {
            if let Some(mut parent) = self.find(&work, parent_path) {
                parent.stat.pzxid = zxid.0;
                parent.children -= count;
                self.change(&work, parent_path, parent);
            }
        }
        let bytes: usize = paths.iter().map(|path| 4 + path.len()).sum();
        let named = self.options.close_session_txn && bytes <= CLOSE_PATHS_BYTES_MAX;
        let paths = named.then_some(paths);
        self.entry(caller, zxid, time, OpCode::CLOSE_SESSION.0, Txn::CloseSession { paths })
    }
}
