//! The walk from a state to a snapshot file: bursts of encoding, for which the state is lent, and
//! writes between them, for which it is not.

use std::path::Path;

use bytes::BytesMut;

use crate::state::{SnapshotCursor, StateMachine};
use crate::storage::disk::DiskRef;
use crate::storage::snapshot::Sections;
use crate::storage::{Compression, Error, SnapshotWriter};
use crate::types::Zxid;

/// How snapshots are written.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOptions {
    /// The form of the file.
    pub compression: Compression,
    /// `serializeLastProcessedZxid.enabled`.
    pub last_processed: bool,
}

impl SnapshotOptions {
    /// What stands behind the nodes.
    fn sections(&self, digest: Option<(Zxid, i64)>, zxid: Zxid) -> Sections {
        Sections { digest, last_processed: self.last_processed.then_some(zxid) }
    }
}

/// A snapshot under way. Whoever began the cursor ends it with [`StateMachine::end_snapshot`],
/// whatever becomes of this.
#[derive(Debug)]
pub struct Walk {
    writer: SnapshotWriter,
    cursor: SnapshotCursor,
    options: SnapshotOptions,
    encoded: BytesMut,
}

impl Walk {
    /// Creates the file for what `cursor` walks through.
    ///
    /// # Errors
    /// What the disk says.
    pub fn new(
        disk: DiskRef,
        dir: &Path,
        options: SnapshotOptions,
        cursor: SnapshotCursor,
    ) -> Result<Walk, Error> {
        let compression = options.compression;
        let writer = SnapshotWriter::create(disk, dir, cursor.zxid(), compression, &cursor.head())?;
        Ok(Walk { writer, cursor, options, encoded: BytesMut::new() })
    }

    /// The transaction that the snapshot is of.
    pub fn zxid(&self) -> Zxid {
        self.cursor.zxid()
    }

    /// Encodes up to so many nodes; true when those were the last.
    pub fn encode(&mut self, state: &StateMachine, nodes: usize) -> bool {
        self.encoded.clear();
        state.snapshot_next(&mut self.cursor, nodes, &mut self.encoded)
    }

    /// Writes what was encoded.
    ///
    /// # Errors
    /// What the disk says; the walk can only be abandoned then.
    pub fn write(&mut self) -> Result<(), Error> {
        self.writer.nodes(&self.encoded)
    }

    /// The snapshot is there, durably.
    ///
    /// # Errors
    /// What the disk says.
    pub fn finish(self) -> Result<(), Error> {
        let sections = self.options.sections(self.cursor.tail().digest, self.cursor.zxid());
        self.writer.finish(&sections).map(drop)
    }

    /// Removes what was written.
    ///
    /// # Errors
    /// What the disk says.
    pub fn abandon(self) -> Result<(), Error> {
        self.writer.abandon()
    }
}

/// Nodes encoded at once while nobody else uses the state.
const ALONE_STEP: usize = 1024;

/// Writes a snapshot of a state that nobody else uses: at the start, before serving.
///
/// # Errors
/// What the disk says.
pub fn write(
    disk: DiskRef,
    dir: &Path,
    options: SnapshotOptions,
    state: &mut StateMachine,
) -> Result<(), Error> {
    let Some(cursor) = state.begin_snapshot() else { return Ok(()) };
    let mut walk = Walk::new(disk, dir, options, cursor)?;
    let mut done = false;
    while !done {
        done = walk.encode(state, ALONE_STEP);
        walk.write()?;
    }
    state.end_snapshot();
    walk.finish()
}
