//! From the disk to a state: the newest usable snapshot, then the log.

use std::sync::Arc;

use crate::config::{Compression as Method, Config};
use crate::host::load::{self, Loaded};
use crate::host::snapshot::{self, SnapshotOptions};
use crate::state::{Options, StateMachine};
use crate::storage::disk::DiskRef;
use crate::storage::recovery::Origin;
use crate::storage::{Compression, Dirs, Error, RecoveryOptions};
use crate::types::{OwnerRules, Zxid};

use super::build::{Build, LoadTimes};
use super::clock::{Clock, random_bytes};

/// The directories of a configuration.
pub fn dirs(config: &Config) -> Dirs {
    Dirs::new(&config.data_dir, Some(&config.data_log_dir))
}

/// What the state machine needs to know of a configuration.
pub fn state_options(config: &Config) -> Options {
    Options {
        owner_rules: OwnerRules {
            extended_types: config.tree.extended_types,
            emulate_353: config.tree.emulate_353_ttl,
        },
        digest: config.tree.digest,
    }
}

/// How new snapshots are compressed.
pub fn compression(config: &Config) -> Compression {
    match config.storage.snapshot_compression {
        Method::None => Compression::Plain,
        Method::Gzip => Compression::Gz,
        Method::Snappy => Compression::Snappy,
    }
}

/// How recovery works.
pub fn recovery(config: &Config) -> RecoveryOptions {
    RecoveryOptions {
        trust_empty: config.storage.trust_empty_snapshot,
        db_autocreate: config.storage.autocreate_db,
        datadir_autocreate: config.storage.autocreate_dirs,
        read_only: false,
        new_id: random_bytes::<8>().ok().map(u64::from_le_bytes),
    }
}

/// How snapshots are written.
pub fn snapshots(config: &Config) -> SnapshotOptions {
    SnapshotOptions {
        compression: compression(config),
        last_processed: config.storage.serialize_last_zxid,
    }
}

/// Loads what is on disk, repairs torn tails, removes ephemerals of sessions that are gone.
///
/// # Errors
/// Every reason not to start; damage names file and offset.
pub fn load(disk: &DiskRef, config: &Config, clock: &Clock) -> Result<(Loaded, LoadTimes), Error> {
    let (times, options) = (LoadTimes::start(*clock), state_options(config));
    let loaded =
        load::load(disk, &dirs(config), &recovery(config), || Build::new(options, &times))?;
    for skipped in &loaded.skipped {
        tracing::warn!("snapshot {} was passed over: {}", skipped.path.display(), skipped.why);
    }
    say(&loaded.origin, &loaded.notes, loaded.replayed, loaded.last, &loaded.state, &times);
    if !loaded.dead.is_empty() {
        tracing::warn!("removed the ephemerals of {} sessions that are gone", loaded.dead.len());
    }
    Ok((loaded, times))
}

/// Says what a start found: the snapshot, what was cut or set aside, how far the log went, how long
/// both took, and whether the tree became what the transactions say.
pub fn say(
    origin: &Origin,
    notes: &[String],
    replayed: u64,
    last: Zxid,
    state: &StateMachine,
    times: &LoadTimes,
) {
    let (image_ms, log_ms) = times.parts_ms();
    if let Origin::Snapshot { path, info } = origin {
        tracing::info!("loaded {} ({} nodes) in {image_ms} ms", path.display(), info.nodes);
    }
    for note in notes {
        tracing::warn!("{note}");
    }
    if replayed > 0 {
        tracing::info!("replayed {replayed} transactions in {log_ms} ms, the last is {last}");
    }
    if let Some(first) = state.first_digest_mismatch() {
        tracing::warn!(
            "{} transactions led to another tree than they say, the first is {first}: something \
             before it is missing (Apache before 3.9.3 may leave such a gap in the log, \
             ZOOKEEPER-4712); compare `hash` of the members, docs/MIGRATION.md says what to do",
            state.digest_mismatches()
        );
    }
}

/// A transaction led to another tree than it says, while this server serves. The ones after it are only
/// counted (`digest_mismatches_count`).
pub fn report_mismatch(first: Zxid) {
    tracing::error!(
        "transaction {first} led to another tree here than it says: this server's tree is not the \
         others'. Compare `hash` of the members; stop the one that differs from the rest, move its \
         version-2 directories (dataDir, dataLogDir) away and start it without an initialize file: it \
         takes a snapshot"
    );
}

/// Writes a snapshot of a state that nobody else uses yet: at the start, before serving.
///
/// # Errors
/// What the disk says.
pub fn write_snapshot(
    disk: &DiskRef,
    config: &Config,
    state: &mut StateMachine,
) -> Result<(), Error> {
    snapshot::write(Arc::clone(disk), &dirs(config).snapshots, snapshots(config), state)
}
