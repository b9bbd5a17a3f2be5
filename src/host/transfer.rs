//! Snapshots for learners: the state as of one transaction, sent while later ones are applied.
//!
//! The walk through the state goes at the pace of the disk, into a [`Spool`]; links read from there,
//! each at its learner's (`docs/decisions/014`). So a learner costs one buffer, and no learner
//! holds up the walk, the server's own snapshots, or another learner.

use std::sync::Arc;

use bytes::BytesMut;

use crate::storage::spool::{Chunk, Spool, SpoolReader};

/// Gives a snapshot piece by piece while the state goes on; dropped when the link ends.
pub trait SnapshotSource: Send {
    /// Appends the next piece, of some 256 KiB at most. May read from a disk.
    fn next(&mut self, out: &mut BytesMut) -> Piece;
}

/// How a snapshot goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// There is more.
    More,
    /// That was the last.
    Last,
    /// What follows is not written yet: look again a little later.
    NotYet,
    /// The image is gone: the link goes down.
    Abandoned,
}

/// An image on its way over one link.
#[derive(Debug)]
pub struct Reading {
    reader: SpoolReader,
    piece: usize,
}

impl Reading {
    /// Bytes of a piece.
    pub const PIECE_BYTES: usize = 256 << 10;

    /// From the beginning, in pieces of so many bytes.
    pub fn new(spool: &Arc<Spool>, piece: usize) -> Reading {
        Reading { reader: SpoolReader::new(Arc::clone(spool)), piece }
    }
}

impl SnapshotSource for Reading {
    fn next(&mut self, out: &mut BytesMut) -> Piece {
        match self.reader.next(self.piece, out) {
            Ok(Chunk::More) => Piece::More,
            Ok(Chunk::Last) => Piece::Last,
            Ok(Chunk::NotYet) => Piece::NotYet,
            Ok(Chunk::Abandoned) | Err(_) => Piece::Abandoned,
        }
    }
}

#[cfg(test)]
mod tests;
