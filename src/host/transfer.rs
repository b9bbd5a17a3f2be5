//! Snapshots for learners: the state as of one transaction, sent while later ones are applied.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::RwLock;

use crate::proto::image::{ImageHead, OPEN_ACL_INDEX, write_node_body};
use crate::state::{SnapshotCursor, StateMachine};
use crate::storage::image_stream;
use crate::types::{Acl, Map, Zxid, map};

/// Nodes encoded while the state is shared, at most.
const STEP_NODES: usize = 1024;
/// Bytes of one piece of an image that was encoded at once.
const PIECE_BYTES: usize = 256 << 10;

/// Where the state is kept, and which state: its number changes when another takes its place, so
/// that a walk never goes on in the wrong one.
pub trait StateCell: Send + Sync {
    /// Calls `f` with the state, shared with other readers.
    fn with_shared(&self, f: &mut dyn FnMut(u64, &StateMachine));
    /// Calls `f` with the state, alone.
    fn with_alone(&self, f: &mut dyn FnMut(u64, &mut StateMachine));
}

/// The state behind its lock, with the number of the state there is.
#[derive(Debug)]
pub struct Cell {
    /// Shared with readers.
    pub state: Arc<RwLock<StateMachine>>,
    generation: AtomicU64,
}

impl Cell {
    /// Around a first state.
    pub fn new(state: Arc<RwLock<StateMachine>>) -> Cell {
        Cell { state, generation: AtomicU64::new(1) }
    }

    /// Puts another state in the place of the one there is.
    pub fn replace(&self, state: StateMachine) {
        let mut guard = self.state.write();
        self.generation.fetch_add(1, Ordering::Relaxed);
        *guard = state;
    }
}

impl StateCell for Cell {
    fn with_shared(&self, f: &mut dyn FnMut(u64, &StateMachine)) {
        let guard = self.state.read();
        f(self.generation.load(Ordering::Relaxed), &guard);
    }
    fn with_alone(&self, f: &mut dyn FnMut(u64, &mut StateMachine)) {
        let mut guard = self.state.write();
        f(self.generation.load(Ordering::Relaxed), &mut guard);
    }
}

/// Gives a snapshot piece by piece while the state goes on; dropped when the link ends.
pub trait SnapshotSource: Send {
    /// Appends the next piece, some 100 KiB.
    fn next(&mut self, out: &mut BytesMut) -> Piece;
}

/// How a snapshot goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// There is more.
    More,
    /// That was the last.
    Last,
    /// The state it was taken of is gone: the link goes down.
    Abandoned,
}

/// Begins the snapshot of the state as it is now. Called by the thread that applies transactions,
/// between two of them.
///
/// Only one walk through a state can be under way. If there is one, the image is encoded here and
/// now: clients read on, writes wait.
pub fn begin(cell: &Arc<dyn StateCell>) -> (Zxid, Box<dyn SnapshotSource>) {
    let mut begun: Option<(u64, Option<SnapshotCursor>, Zxid)> = None;
    cell.with_alone(&mut |generation, state| {
        begun = Some((generation, state.begin_snapshot(), state.last_zxid()));
    });
    match begun {
        Some((generation, Some(cursor), zxid)) => {
            let walk = Walk { cell: Arc::clone(cell), generation, cursor, head_sent: false };
            (zxid, Box::new(walk))
        }
        _ => {
            let mut encoded = Encoded { pieces: Vec::new() };
            let mut zxid = Zxid::ZERO;
            cell.with_shared(&mut |_, state| {
                zxid = state.last_zxid();
                encoded = Encoded::of(state);
            });
            (zxid, Box::new(encoded))
        }
    }
}

/// A walk beside the transactions.
struct Walk {
    cell: Arc<dyn StateCell>,
    generation: u64,
    cursor: SnapshotCursor,
    head_sent: bool,
}

impl SnapshotSource for Walk {
    fn next(&mut self, out: &mut BytesMut) -> Piece {
        if !self.head_sent {
            self.head_sent = true;
            image_stream::write_head(&self.cursor.head(), out);
        }
        let mut piece = Piece::Abandoned;
        let (wanted, cursor) = (self.generation, &mut self.cursor);
        self.cell.with_shared(&mut |generation, state| {
            if generation == wanted {
                let last = state.snapshot_next(cursor, STEP_NODES, out);
                piece = if last { Piece::Last } else { Piece::More };
            }
        });
        piece
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        let wanted = self.generation;
        self.cell.with_alone(&mut |generation, state| {
            if generation == wanted {
                state.end_snapshot();
            }
        });
    }
}

/// A whole image, encoded at once.
struct Encoded {
    /// In reverse order.
    pieces: Vec<Bytes>,
}

impl Encoded {
    fn of(state: &StateMachine) -> Encoded {
        let mut nodes = Pieces::default();
        let mut acls: Vec<(i64, Vec<Acl>)> = Vec::new();
        let mut indexes: Map<Vec<Acl>, i64> = map();
        indexes.insert(crate::types::open_acl(), OPEN_ACL_INDEX);
        let mut left = vec![String::new()];
        while let Some(path) = left.pop() {
            let Some(node) = state.node(&path) else { continue };
            let acl = node.acl();
            let index = match indexes.get(acl) {
                Some(index) => *index,
                None => {
                    let index = acls.len() as i64 + 1;
                    acls.push((index, acl.to_vec()));
                    indexes.insert(acl.to_vec(), index);
                    index
                }
            };
            let out = nodes.room();
            image_stream::write_node_path(&path, out);
            write_node_body(out, node.data(), index, &node.stat());
            left.extend(node.children().map(|name| format!("{path}/{name}")));
        }
        let mut sessions: Vec<(i64, i32)> =
            state.sessions().iter().map(|(id, timeout_ms)| (id.0, timeout_ms)).collect();
        sessions.sort_unstable();
        let mut head = BytesMut::new();
        image_stream::write_head(&ImageHead { sessions, acls }, &mut head);
        let mut pieces = nodes.finish();
        pieces.push(head.freeze());
        Encoded { pieces }
    }
}

impl SnapshotSource for Encoded {
    fn next(&mut self, out: &mut BytesMut) -> Piece {
        out.extend_from_slice(&self.pieces.pop().unwrap_or_default());
        if self.pieces.is_empty() { Piece::Last } else { Piece::More }
    }
}

/// Bytes in pieces of bounded size, so that growing never copies much.
#[derive(Default)]
struct Pieces {
    full: Vec<Bytes>,
    open: BytesMut,
}

impl Pieces {
    fn room(&mut self) -> &mut BytesMut {
        if self.open.len() >= PIECE_BYTES {
            self.full.push(self.open.split().freeze());
        }
        &mut self.open
    }

    /// In reverse order.
    fn finish(mut self) -> Vec<Bytes> {
        self.full.push(self.open.freeze());
        self.full.reverse();
        self.full
    }
}

#[cfg(test)]
mod tests;
