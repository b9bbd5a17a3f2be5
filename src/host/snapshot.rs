//! The walk from a state to a file: bursts of encoding, for which the state is lent, and writes
//! between them, for which it is not. The file is a snapshot of the server's own, or an image that
//! learners read ([`Spool`]).

use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;

use crate::state::{SnapshotCursor, StateMachine};
use crate::storage::disk::DiskRef;
use crate::storage::image_stream;
use crate::storage::snapshot::Sections;
use crate::storage::spool::{Spool, SpoolWriter};
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

/// A walk under way. Whoever began the cursor ends it with [`StateMachine::end_snapshot`],
/// whatever becomes of this.
#[derive(Debug)]
pub struct Walk {
    target: Target,
    cursor: SnapshotCursor,
    encoded: BytesMut,
}

#[derive(Debug)]
enum Target {
    Snapshot(Box<SnapshotWriter>, SnapshotOptions),
    Learners(SpoolWriter),
}

impl Walk {
    /// Creates the snapshot file for what `cursor` walks through.
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
        let target = Target::Snapshot(Box::new(writer), options);
        Ok(Walk { target, cursor, encoded: BytesMut::new() })
    }

    /// Creates the image for learners of what `cursor` walks through.
    ///
    /// # Errors
    /// What the disk says; the image is given up then.
    pub fn for_learners(
        disk: &DiskRef,
        dir: &Path,
        spool: Arc<Spool>,
        cursor: SnapshotCursor,
    ) -> Result<Walk, Error> {
        let mut writer = SpoolWriter::create(disk, dir, spool)?;
        let mut head = BytesMut::new();
        image_stream::write_head(&cursor.head(), &mut head);
        writer.append(&head)?;
        Ok(Walk { target: Target::Learners(writer), cursor, encoded: BytesMut::new() })
    }

    /// The transaction that the image is of.
    pub fn zxid(&self) -> Zxid {
        self.cursor.zxid()
    }

    /// Whether this is for learners, and none of them is left.
    pub fn is_in_vain(&self) -> bool {
        matches!(&self.target, Target::Learners(writer) if writer.spool().readers() == 0)
    }

    /// Nodes encoded so far.
    pub fn nodes(&self) -> u64 {
        self.cursor.nodes()
    }

    /// Whether this is a snapshot of the server's own.
    pub fn is_own(&self) -> bool {
        matches!(self.target, Target::Snapshot(..))
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
        match &mut self.target {
            Target::Snapshot(writer, _) => writer.nodes(&self.encoded),
            Target::Learners(writer) => writer.append(&self.encoded),
        }
    }

    /// The snapshot is there, durably; or the image is whole. An image of a state that was replaced
    /// meanwhile comes to nothing.
    ///
    /// # Errors
    /// What the disk says.
    pub fn finish(self) -> Result<(), Error> {
        if !self.cursor.is_done() {
            return self.abandon();
        }
        match self.target {
            Target::Snapshot(writer, options) => {
                let sections = options.sections(self.cursor.tail().digest, self.cursor.zxid());
                writer.finish(&sections).map(drop)
            }
            Target::Learners(writer) => {
                writer.finish();
                Ok(())
            }
        }
    }

    /// Removes what was written.
    ///
    /// # Errors
    /// What the disk says.
    pub fn abandon(self) -> Result<(), Error> {
        match self.target {
            Target::Snapshot(writer, _) => writer.abandon(),
            Target::Learners(_) => Ok(()),
        }
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
