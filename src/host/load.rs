//! What a server alone finds in its data directory: the newest usable snapshot, then the log.

use crate::proto::image::ImageSink;
use crate::state::{self, StateLoader, StateMachine};
use crate::storage::disk::DiskRef;
use crate::storage::recovery::{Origin, Skipped};
use crate::storage::{Dirs, Error, RecoveryOptions, recover};
use crate::types::{SessionId, Zxid};

/// A recovered state and what the shell must know of it.
#[derive(Debug)]
pub struct Loaded {
    /// As of the last transaction on disk.
    pub state: StateMachine,
    /// The last transaction, -1 when the database may not be used (no `initialize` file).
    pub last: Zxid,
    /// Where the state began.
    pub origin: Origin,
    /// The transaction it began with: the snapshot's.
    pub base: Zxid,
    /// Transactions replayed from the log.
    pub replayed: u64,
    /// Snapshots that were passed over.
    pub skipped: Vec<Skipped>,
    /// What was cut or removed from the log.
    pub notes: Vec<String>,
    /// Sessions that were gone although their ephemerals were there; now those are gone too.
    pub dead: Vec<SessionId>,
}

impl Loaded {
    /// Whether there was nothing on disk, and that is right.
    pub fn is_fresh(&self) -> bool {
        matches!(self.origin, Origin::Fresh)
    }
}

/// Loads what is on disk, repairs torn tails, removes ephemerals of sessions that are gone.
///
/// `new_sink` makes the receiver of a snapshot, one per attempt; `into_loader` gives what it has
/// built, None if it was never fed; `progress` is told of every transaction replayed.
///
/// # Errors
/// Every reason not to start; damage names file and offset.
pub fn load<S: ImageSink>(
    disk: &DiskRef,
    dirs: &Dirs,
    recovery: &RecoveryOptions,
    options: state::Options,
    new_sink: impl FnMut() -> S,
    into_loader: impl FnOnce(S) -> Option<StateLoader>,
    progress: &mut dyn FnMut(u64),
) -> Result<Loaded, Error> {
    let recovered = recover(disk, dirs, recovery, new_sink)?;
    let mut state = match &recovered.origin {
        Origin::Snapshot { .. } => {
            let loader = into_loader(recovered.sink).unwrap_or_else(|| StateLoader::new(options));
            loader.finish(recovered.base.zxid, recovered.base.digest)
        }
        Origin::Fresh | Origin::Suspect | Origin::LogOnly => StateMachine::new(options),
    };
    let mut replay = recovered.replay;
    let mut changes = Vec::new();
    let mut count = 0_u64;
    while let Some(logged) = replay.next()? {
        state.apply(&logged.entry, &mut changes);
        changes.clear();
        count += 1;
        progress(count);
    }
    let end = replay.finish(true)?;
    let dead = state.kill_dead_sessions(&mut changes);
    let suspect = matches!(recovered.origin, Origin::Suspect);
    Ok(Loaded {
        state,
        last: if suspect { Zxid(-1) } else { end.last },
        origin: recovered.origin,
        base: recovered.base.zxid,
        replayed: end.replayed,
        skipped: recovered.skipped,
        notes: end.notes,
        dead,
    })
}
