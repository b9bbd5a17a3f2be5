//! From the disk to a state: the newest usable snapshot, then the log.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::config::{Compression as Method, Config};
use crate::host::load::{self, Loaded};
use crate::host::snapshot::{self, SnapshotOptions};
use crate::proto::image::{ImageNode, ImageSink};
use crate::state::{NodeBatch, Options, StateLoader, StateMachine};
use crate::storage::disk::DiskRef;
use crate::storage::recovery::Origin;
use crate::storage::{Compression, Dirs, Error, RecoveryOptions};
use crate::types::{Acl, OwnerRules};

use super::clock::Clock;

/// Progress of a long start is said this often.
const PROGRESS: Duration = Duration::from_secs(2);

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

/// Nodes handed over at once.
const BATCH_NODES: usize = 512;
/// Bytes handed over at once, a single larger node apart.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that may wait between the two threads.
const BATCHES_MAX: usize = 16;

/// A part of an image on its way from the thread that reads to the one that builds.
enum Piece {
    Session(i64, i32),
    Acl(i64, Vec<Acl>),
    Nodes(NodeBatch),
}

/// A loader on a thread of its own, so that reading, checking and decoding go on while the tree is
/// built; says how far it is.
struct Progress {
    options: Options,
    building: Option<(SyncSender<Piece>, JoinHandle<Result<StateLoader, String>>)>,
    loader: Option<StateLoader>,
    batch: NodeBatch,
    clock: Clock,
    nodes: u64,
    said: crate::types::Instant,
}

impl Progress {
    fn new(options: Options, clock: Clock) -> Progress {
        Progress {
            options,
            building: None,
            loader: None,
            batch: NodeBatch::default(),
            clock,
            nodes: 0,
            said: clock.mono(),
        }
    }

    /// Hands a piece over; the builder's reason when it has given up.
    fn send(&mut self, piece: Piece) -> Result<(), String> {
        if self.building.is_none() {
            let (sender, pieces) = sync_channel(BATCHES_MAX);
            let loader = StateLoader::new(self.options);
            let thread = std::thread::Builder::new()
                .name("load".into())
                .spawn(move || build(loader, &pieces))
                .map_err(|error| format!("can't start a thread: {error}"))?;
            self.building = Some((sender, thread));
        }
        match &self.building {
            Some((sender, _)) if sender.send(piece).is_ok() => Ok(()),
            _ => self.finish(),
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, NodeBatch::with_capacity(BATCH_NODES));
        self.send(Piece::Nodes(batch))
    }

    /// Waits for the builder.
    fn finish(&mut self) -> Result<(), String> {
        let Some((sender, thread)) = self.building.take() else { return Ok(()) };
        drop(sender);
        match thread.join() {
            Ok(Ok(loader)) => self.loader = Some(loader),
            Ok(Err(why)) => return Err(why),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(())
    }
}

/// Puts the pieces together, in order.
fn build(mut loader: StateLoader, pieces: &Receiver<Piece>) -> Result<StateLoader, String> {
    for piece in pieces {
        match piece {
            Piece::Session(id, timeout_ms) => loader.session(id, timeout_ms),
            Piece::Acl(index, acl) => loader.acl(index, acl),
            Piece::Nodes(batch) => loader.nodes(&batch)?,
        }
    }
    Ok(loader)
}

impl ImageSink for Progress {
    // A builder that has given up is noticed with the next batch of nodes, or at the end.
    fn session(&mut self, id: i64, timeout_ms: i32) {
        let _ = self.send(Piece::Session(id, timeout_ms));
    }
    fn acl(&mut self, index: i64, acl: Vec<Acl>) {
        let _ = self.send(Piece::Acl(index, acl));
    }
    fn node(&mut self, path: &str, node: ImageNode) -> Result<(), String> {
        self.nodes += 1;
        self.batch.push(path, &node);
        if self.batch.len() < BATCH_NODES && self.batch.bytes() < BATCH_BYTES {
            return Ok(());
        }
        if self.clock.mono().since(self.said) > PROGRESS {
            self.said = self.clock.mono();
            tracing::info!("loading the snapshot: {} nodes so far", self.nodes);
        }
        self.flush()
    }
    fn end(&mut self) -> Result<(), String> {
        self.flush()?;
        self.finish()
    }
}

/// How recovery works.
pub fn recovery(config: &Config) -> RecoveryOptions {
    RecoveryOptions {
        trust_empty: config.storage.trust_empty_snapshot,
        db_autocreate: config.storage.autocreate_db,
        datadir_autocreate: config.storage.autocreate_dirs,
        read_only: false,
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
pub fn load(disk: &DiskRef, config: &Config, clock: &Clock) -> Result<Loaded, Error> {
    let state_options = state_options(config);
    let mut said = clock.mono();
    let mut progress = |count: u64| {
        if count % 65_536 == 0 && clock.mono().since(said) > PROGRESS {
            said = clock.mono();
            tracing::info!("replaying the log: {count} transactions so far");
        }
    };
    let loaded = load::load(
        disk,
        &dirs(config),
        &recovery(config),
        state_options,
        || Progress::new(state_options, *clock),
        |sink| sink.loader,
        &mut progress,
    )?;
    for skipped in &loaded.skipped {
        tracing::warn!("snapshot {} was passed over: {}", skipped.path.display(), skipped.why);
    }
    if let Origin::Snapshot { path, info } = &loaded.origin {
        tracing::info!("loaded {} ({} nodes)", path.display(), info.nodes);
    }
    for note in &loaded.notes {
        tracing::warn!("{note}");
    }
    if !loaded.dead.is_empty() {
        tracing::warn!("removed the ephemerals of {} sessions that are gone", loaded.dead.len());
    }
    if loaded.replayed > 0 {
        tracing::info!("replayed {} transactions, the last is {}", loaded.replayed, loaded.last);
    }
    Ok(loaded)
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
