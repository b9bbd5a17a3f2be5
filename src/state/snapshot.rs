//! Snapshots without a pause: the exact state at one transaction, written in small steps while
//! later transactions are applied.
//!
//! The walk goes through the live tree, parents first. What it has not passed yet is protected by
//! copy before write:
//!
//! - a node about to change leaves its old stat, ACL, first child and (if that changes) data in
//!   [`Capture::kept`], from where the walk takes them;
//! - a deleted node leaves the index and its parent's count at once, but stays linked as dead
//!   until the snapshot has ended ([`super::tree::Tree::collect`]);
//! - new nodes are linked in front of their siblings, before the first child that the walk knows,
//!   so it never meets them.
//!
//! Marks say which nodes the walk has passed (or was never to see): one byte a node, equal to the
//! snapshot's epoch. They are atomic because the walk needs the state shared only, so that clients
//! read on while it steps; who walks and who writes exclude each other by the lock around the
//! state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use bytes::BytesMut;
use parking_lot::Mutex;

use crate::proto::image::{ImageHead, ImageTail, write_node_body};
use crate::proto::jute::Write;
use crate::types::{Acl, Map, StatPersisted, Zxid, map};

use super::StateMachine;
use super::acl::AclId;
use super::arena::NONE;
use super::tree::{ROOT, Tree};
use super::znode::OldData;

/// Marks by node, in chunks so that more nodes never move them.
#[derive(Debug, Default)]
pub(super) struct Marks {
    chunks: Vec<Box<[AtomicU8]>>,
}

impl Marks {
    const CHUNK: usize = 1 << 14;

    fn get(&self, id: u32) -> u8 {
        let (chunk, at) = (id as usize / Self::CHUNK, id as usize % Self::CHUNK);
        self.chunks.get(chunk).map_or(0, |c| c[at].load(Ordering::Relaxed))
    }

    fn set(&self, id: u32, mark: u8) {
        let (chunk, at) = (id as usize / Self::CHUNK, id as usize % Self::CHUNK);
        if let Some(chunk) = self.chunks.get(chunk) {
            chunk[at].store(mark, Ordering::Relaxed);
        }
    }

    fn grow(&mut self, id: u32) {
        while self.chunks.len() <= id as usize / Self::CHUNK {
            self.chunks.push((0..Self::CHUNK).map(|_| AtomicU8::new(0)).collect());
        }
    }
}

/// The snapshot under way, on the side of the writer.
#[derive(Debug)]
pub(super) struct Capture {
    /// What nodes were like when it began; the walk takes entries out as it passes. The lock is
    /// never contended: only one walk, and no writer beside it.
    kept: Mutex<Map<u32, Kept>>,
    /// The walk has passed every node.
    done: AtomicBool,
}

#[derive(Debug)]
struct Kept {
    stat: StatPersisted,
    acl: AclId,
    first_child: u32,
    /// None while the node still has it.
    data: Option<OldData>,
}

impl Capture {
    /// Where to put the data of a node that is about to lose it, if the walk still needs it.
    pub fn data_wanted(&mut self, id: u32) -> Option<&mut Option<OldData>> {
        let kept = self.kept.get_mut().get_mut(&id)?;
        kept.data.is_none().then_some(&mut kept.data)
    }
}

impl Tree {
    /// Keeps what a snapshot under way needs of a node that is about to change in any way.
    pub(super) fn before_change(&mut self, id: u32) {
        if !self.awaits_snapshot(id) {
            return;
        }
        let (stat, node) = (self.stat(id), &self.nodes[id]);
        let (acl, first_child) = (node.acl, node.first_child);
        if let Some(capture) = &mut self.capture {
            let kept = Kept { stat, acl, first_child, data: None };
            capture.kept.get_mut().entry(id).or_insert(kept);
        }
    }

    /// Whether a snapshot under way has still to pass the node.
    pub(super) fn awaits_snapshot(&self, id: u32) -> bool {
        self.capture.is_some() && self.marks.get(id) != self.epoch
    }

    /// Marks a node as passed, or as new.
    pub(super) fn mark(&mut self, id: u32) {
        self.marks.grow(id);
        self.marks.set(id, self.epoch);
    }

    fn begin_capture(&mut self) {
        self.collect(usize::MAX);
        if self.given_up >= 250 {
            // Marks of that many epochs ago could be mistaken for the next epoch's.
            (0..self.nodes.bound()).for_each(|id| self.marks.set(id, self.epoch));
            self.given_up = 0;
        }
        self.epoch = self.epoch.wrapping_add(1);
        self.capture = Some(Capture { kept: Mutex::new(map()), done: AtomicBool::new(false) });
    }

    /// Appends the node that the cursor stands on and moves on.
    fn step(&self, capture: &Capture, cursor: &mut SnapshotCursor, out: &mut BytesMut) {
        let (id, node) = (cursor.next, &self.nodes[cursor.next]);
        out.str(&cursor.path);
        let first = match capture.kept.lock().remove(&id) {
            Some(kept) => {
                let data = kept.data.as_ref().map_or_else(|| node.data(), OldData::get);
                write_node_body(out, data, kept.acl.index(), &kept.stat);
                kept.first_child
            }
            None => {
                write_node_body(out, node.data(), node.acl.index(), &self.stat(id));
                node.first_child
            }
        };
        self.marks.set(id, self.epoch);
        cursor.nodes += 1;
        let (mut at, mut next) = (id, first);
        while next == NONE {
            if at == ROOT {
                cursor.next = NONE;
                capture.done.store(true, Ordering::Relaxed);
                return;
            }
            next = self.nodes[at].next;
            at = self.nodes[at].parent;
            cursor.path.truncate(cursor.path.rfind('/').unwrap_or(0));
        }
        cursor.path.push('/');
        cursor.path.push_str(self.name(next));
        cursor.next = next;
    }

    /// A node's name as a string.
    pub(super) fn name(&self, id: u32) -> &str {
        // Names come from strings, cut at slashes.
        std::str::from_utf8(self.nodes[id].name()).unwrap_or_default()
    }
}

/// How far a snapshot has come, and what it says beside the nodes.
#[derive(Debug)]
pub struct SnapshotCursor {
    sessions: Vec<(i64, i32)>,
    acls: Vec<(i64, Arc<[Acl]>)>,
    tail: ImageTail,
    epoch: u8,
    next: u32,
    /// Of `next`; empty for the root.
    path: String,
    nodes: u64,
}

impl SnapshotCursor {
    /// A step ends early once it has appended this many bytes.
    pub const STEP_BYTES: usize = 1 << 20;

    /// Sessions, in order, and ACLs as of the beginning. (Sorting a million takes longer than the
    /// node thread has.)
    pub fn head(&self) -> ImageHead {
        let mut sessions = self.sessions.clone();
        sessions.sort_unstable();
        ImageHead {
            sessions,
            acls: self.acls.iter().map(|(n, list)| (*n, list.to_vec())).collect(),
        }
    }

    /// Zxid and digest as of the beginning. The digest is the one noted after the last applied
    /// transaction, so (0, 0) for a server that has seen none, as in Apache; None when digests are
    /// off.
    pub fn tail(&self) -> ImageTail {
        self.tail
    }

    /// The last transaction in the snapshot: its name.
    pub fn zxid(&self) -> Zxid {
        self.tail.zxid
    }

    /// Whether every node was written.
    pub fn is_done(&self) -> bool {
        self.next == NONE
    }

    /// Nodes written so far.
    pub fn nodes(&self) -> u64 {
        self.nodes
    }
}

impl StateMachine {
    /// Starts a snapshot of the state as it is now; None when one is under way, or a transaction
    /// ([`StateMachine::apply_some`]). Then call
    /// [`StateMachine::snapshot_next`] until it says so, then [`StateMachine::end_snapshot`].
    pub fn begin_snapshot(&mut self) -> Option<SnapshotCursor> {
        if self.tree.capture.is_some() || self.is_within_txn() {
            return None;
        }
        self.tree.begin_capture();
        Some(SnapshotCursor {
            sessions: self.sessions.listed(),
            acls: self.acls.listed(),
            tail: ImageTail {
                zxid: self.last_zxid,
                digest: self.options.digest.then_some(self.digest_log.last),
            },
            epoch: self.tree.epoch,
            next: ROOT,
            path: String::new(),
            nodes: 0,
        })
    }

    /// Appends up to `max_nodes` more nodes (path and record, parents first, the root as "") to
    /// `out`, fewer when [`SnapshotCursor::STEP_BYTES`] have been appended. True when that was the
    /// last, or when the snapshot has been given up by [`StateMachine::end_snapshot`]. The end
    /// mark "/" is not written. Transactions may be applied between calls.
    pub fn snapshot_next(
        &self,
        cursor: &mut SnapshotCursor,
        max_nodes: usize,
        out: &mut BytesMut,
    ) -> bool {
        let start = out.len();
        let Some(capture) = self.tree.capture.as_ref().filter(|_| cursor.epoch == self.tree.epoch)
        else {
            return true;
        };
        for _ in 0..max_nodes {
            if cursor.next == NONE || out.len() - start >= SnapshotCursor::STEP_BYTES {
                break;
            }
            self.tree.step(capture, cursor, out);
        }
        cursor.next == NONE
    }

    /// Ends a snapshot, finished or not. What was kept for it is to be dropped where that holds up
    /// nobody: it may be as much as was changed meanwhile. [`StateMachine::collect_dead`] frees the
    /// rest.
    pub fn end_snapshot(&mut self) -> impl Send + use<> {
        let capture = self.tree.capture.take();
        if let Some(capture) = &capture {
            let done = capture.done.load(Ordering::Relaxed);
            self.tree.given_up = if done { 0 } else { self.tree.given_up + 1 };
        }
        capture
    }

    /// Frees up to `max` nodes that were deleted while a snapshot was under way; true when there are
    /// more. Transactions free them too, a few each.
    pub fn collect_dead(&mut self, max: usize) -> bool {
        self.tree.collect(max);
        self.tree.capture.is_none() && !self.tree.trash.is_empty()
    }

    /// Whether a snapshot is under way.
    pub fn is_snapshotting(&self) -> bool {
        self.tree.capture.is_some()
    }
}

#[cfg(test)]
mod tests;
