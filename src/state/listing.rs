//! The names of a node's children, put together in steps between which the state may change: the
//! list is exact as of the last step, and no step takes longer than its share of names.
//!
//! New children are linked in front of the older ones, so a walk that began at the front has them
//! behind it; they are walked in rounds of their own, until nothing is in front of what is known.
//! Children that were deleted meanwhile are in [`super::removals`], and are taken out again. Names
//! lie in pieces with their nodes' numbers, so that taking one out moves one piece and not megabytes.

use bytes::{Buf as _, BytesMut};

use crate::proto::jute::Write as _;

use super::NodeRef;
use super::removals::Seen;

/// Bytes of a piece of a long reply: a name or data longer than that has one of its own.
pub const PIECE_BYTES: usize = 64 << 10;

/// How far a walk has come with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do under the lock.
    More,
    /// [`Listing::settle`] (or its like) first, without the lock.
    Settle,
    /// Complete, as of this step.
    Done,
    /// What was walked is gone, or has changed more than is known: begin again.
    Restart,
}

/// See the module.
#[derive(Debug)]
pub struct Listing {
    seen: Seen,
    parent: u32,
    czxid: i64,
    /// The next node to be looked at; the round ends at `stop`.
    cursor: u32,
    stop: u32,
    /// The first node of those that are known or will be when the round ends.
    head: u32,
    pieces: Vec<Piece>,
    /// Deleted nodes that have not been looked for among the pieces.
    gone: Vec<u32>,
    deferred: usize,
    count: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Piece {
    names: BytesMut,
    /// In the order of the names.
    ids: Vec<u32>,
    /// The smallest and the largest of them.
    range: (u32, u32),
}

/// Deleted nodes that are looked for under the lock.
const GONE_MAX: usize = 16;
/// How often the rest is left for later before it is not.
const DEFERRED_MAX: usize = 16;

impl Listing {
    /// Begins with the children of `node`.
    pub fn begin(node: &NodeRef) -> Listing {
        let tree = &node.state.tree;
        let place = &tree.nodes[node.id];
        let (first, none) = (place.first_child, super::arena::NONE);
        Listing {
            seen: tree.removals.seen(),
            parent: node.id,
            czxid: place.czxid,
            cursor: first,
            stop: none,
            head: first,
            pieces: Vec::new(),
            gone: Vec::new(),
            deferred: 0,
            count: 0,
            bytes: 0,
        }
    }

    /// Names so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Their bytes with their lengths.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        self.bytes + 4 * self.count
    }

    /// Whether [`Listing::settle`] has something to do.
    pub fn is_unsettled(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Goes on by up to `max` children and about [`PIECE_BYTES`]; `node` is what is at the path now.
    pub fn step(&mut self, node: &NodeRef, max: usize) -> Progress {
        let tree = &node.state.tree;
        if node.id != self.parent || tree.nodes[node.id].czxid != self.czxid {
            return Progress::Restart;
        }
        let Some(removals) = tree.removals.since(&mut self.seen) else {
            return Progress::Restart;
        };
        for removal in removals.filter(|removal| removal.parent == self.parent) {
            for at in [&mut self.cursor, &mut self.stop, &mut self.head] {
                if *at == removal.id {
                    *at = removal.next;
                }
            }
            self.gone.push(removal.id);
        }
        if self.gone.len() > GONE_MAX && self.deferred < DEFERRED_MAX {
            self.deferred += 1;
            return Progress::Settle;
        }
        // Before anything more is listed: a number may be in use again.
        self.settle();
        self.deferred = 0;
        let enough = self.bytes + PIECE_BYTES;
        let mut left = max;
        loop {
            while self.cursor != self.stop {
                if left == 0 || self.bytes >= enough {
                    return Progress::More;
                }
                left -= 1;
                let (id, child) = (self.cursor, &tree.nodes[self.cursor]);
                self.cursor = child.next;
                if !child.is_dead() {
                    self.add(id, tree.name(id));
                }
            }
            let first = tree.nodes[self.parent].first_child;
            if first == self.head {
                return Progress::Done;
            }
            (self.stop, self.cursor, self.head) = (self.head, first, first);
        }
    }

    fn add(&mut self, id: u32, name: &str) {
        if self.pieces.last().is_none_or(|piece| piece.names.len() + 4 + name.len() > PIECE_BYTES) {
            let names = BytesMut::with_capacity(PIECE_BYTES.max(4 + name.len()));
            self.pieces.push(Piece { names, ids: Vec::new(), range: (id, id) });
        }
        let Some(piece) = self.pieces.last_mut() else { return };
        let before = piece.names.len();
        piece.names.str(name);
        piece.ids.push(id);
        piece.range = (piece.range.0.min(id), piece.range.1.max(id));
        self.bytes += piece.names.len() - before;
        self.count += 1;
    }

    /// Takes out what was deleted; needs no lock.
    pub fn settle(&mut self) {
        for id in std::mem::take(&mut self.gone) {
            let cut = self.pieces.iter_mut().find_map(|piece| piece.take_out(id));
            if let Some(cut) = cut {
                self.bytes -= cut;
                self.count -= 1;
            }
        }
    }

    /// The names as they go to the wire, without their number before them.
    pub fn into_pieces(self) -> impl Iterator<Item = BytesMut> {
        self.pieces.into_iter().map(|piece| piece.names).filter(|names| !names.is_empty())
    }
}

impl Piece {
    /// The bytes that a node's name took, if it is here.
    fn take_out(&mut self, id: u32) -> Option<usize> {
        if id < self.range.0 || id > self.range.1 {
            return None;
        }
        let at = self.ids.iter().position(|one| *one == id)?;
        self.ids.remove(at);
        let mut start = 0;
        let size = |start: usize| 4 + (&self.names[start..]).get_u32() as usize;
        for _ in 0..at {
            start += size(start);
        }
        let cut = size(start);
        self.names.copy_within(start + cut.., start);
        self.names.truncate(self.names.len() - cut);
        Some(cut)
    }
}

#[cfg(test)]
mod tests;
