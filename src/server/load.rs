//! From the disk to a state: the newest usable snapshot, then the log.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::config::{Compression as Method, Config};
use crate::proto::image::{ImageNode, ImageSink};
use crate::state::{Options, StateLoader, StateMachine};
use crate::storage::disk::DiskRef;
use crate::storage::recovery::Origin;
use crate::storage::snapshot::Sections;
use crate::storage::{Compression, Dirs, Error, RecoveryOptions, SnapshotWriter, recover};
use crate::types::{Acl, OwnerRules, SessionId, Zxid};

use super::clock::Clock;

/// Progress of a long start is said this often.
const PROGRESS: Duration = Duration::from_secs(2);

/// A recovered state and what the shell must know of it.
#[derive(Debug)]
pub struct Loaded {
    /// As of the last transaction on disk.
    pub state: StateMachine,
    /// The last transaction, -1 when the database may not be used (no `initialize` file).
    pub last: Zxid,
    /// Whether there was nothing on disk.
    pub fresh: bool,
    /// Transactions replayed from the log.
    pub replayed: u64,
    /// The newest committed transactions of the log, at most as many as asked for, as they were
    /// logged: what learners are brought up to date with.
    pub recent: Vec<(Zxid, bytes::Bytes)>,
}

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
/// Batches that may wait between the two threads.
const BATCHES_MAX: usize = 16;

/// A part of an image on its way from the thread that reads to the one that builds.
enum Piece {
    Session(i64, i32),
    Acl(i64, Vec<Acl>),
    /// All paths in one string; with each node, where its path ends.
    Nodes(String, Vec<(usize, ImageNode)>),
}

/// A loader on a thread of its own, so that reading, checking and decoding the file go on while the
/// tree is built; says how far it is.
struct Progress {
    options: Options,
    building: Option<(SyncSender<Piece>, JoinHandle<Result<StateLoader, String>>)>,
    loader: Option<StateLoader>,
    paths: String,
    batch: Vec<(usize, ImageNode)>,
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
            paths: String::new(),
            batch: Vec::new(),
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
        let paths = std::mem::replace(&mut self.paths, String::with_capacity(BATCH_NODES * 32));
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_NODES));
        self.send(Piece::Nodes(paths, batch))
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
            Piece::Nodes(paths, nodes) => {
                let mut start = 0;
                for (end, node) in nodes {
                    loader.node(&paths[start..end], node)?;
                    start = end;
                }
            }
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
        self.paths.push_str(path);
        self.batch.push((self.paths.len(), node));
        if self.batch.len() < BATCH_NODES {
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

/// Loads what is on disk, repairs torn tails, removes ephemerals of sessions that are gone.
///
/// `through`, when given, ends the replay there: what a truncated member may show.
///
/// # Errors
/// Every reason not to start; damage names file and offset.
pub fn load(
    disk: &DiskRef,
    config: &Config,
    clock: &Clock,
    recent_max: usize,
) -> Result<Loaded, Error> {
    let options = RecoveryOptions {
        trust_empty: config.storage.trust_empty_snapshot,
        db_autocreate: config.storage.autocreate_db,
        datadir_autocreate: config.storage.autocreate_dirs,
        read_only: false,
    };
    let state_options = state_options(config);
    let new_sink = || Progress::new(state_options, *clock);
    let recovered = recover(disk, &dirs(config), &options, new_sink)?;
    for skipped in &recovered.skipped {
        tracing::warn!("snapshot {} was passed over: {}", skipped.path.display(), skipped.why);
    }
    let mut fresh = false;
    let mut suspect = false;
    let mut state = match &recovered.origin {
        Origin::Snapshot { path, info } => {
            tracing::info!("loaded {} ({} nodes)", path.display(), info.nodes);
            let loader = recovered.sink.loader;
            let loader = loader.unwrap_or_else(|| StateLoader::new(state_options));
            loader.finish(recovered.base.zxid, recovered.base.digest)
        }
        Origin::Fresh => {
            fresh = true;
            StateMachine::new(state_options)
        }
        Origin::Suspect => {
            suspect = true;
            StateMachine::new(state_options)
        }
        Origin::LogOnly => StateMachine::new(state_options),
    };
    let mut replay = recovered.replay;
    let mut changes = Vec::new();
    let mut recent = std::collections::VecDeque::new();
    let (mut count, mut said) = (0_u64, clock.mono());
    while let Some(logged) = replay.next()? {
        state.apply(&logged.entry, &mut changes);
        changes.clear();
        if recent_max > 0 {
            if recent.len() == recent_max {
                recent.pop_front();
            }
            // A copy, so that the reader's buffer can go.
            let bytes = bytes::Bytes::copy_from_slice(&logged.bytes);
            recent.push_back((logged.entry.header.zxid, bytes));
        }
        count += 1;
        if count % 65_536 == 0 && clock.mono().since(said) > PROGRESS {
            said = clock.mono();
            tracing::info!("replaying the log: {count} transactions so far");
        }
    }
    let end = replay.finish(true)?;
    for note in &end.notes {
        tracing::warn!("{note}");
    }
    let dead = state.kill_dead_sessions(&mut changes);
    if !dead.is_empty() {
        tracing::warn!("removed the ephemerals of {} sessions that are gone", dead.len());
    }
    if end.replayed > 0 {
        tracing::info!("replayed {} transactions, the last is {}", end.replayed, end.last);
    }
    let last = if suspect { Zxid(-1) } else { end.last };
    Ok(Loaded { state, last, fresh, replayed: end.replayed, recent: recent.into() })
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
    let Some(mut cursor) = state.begin_snapshot() else { return Ok(()) };
    let mut writer = SnapshotWriter::create(
        Arc::clone(disk),
        &dirs(config).snapshots,
        cursor.zxid(),
        compression(config),
        &cursor.head(),
    )?;
    let mut out = bytes::BytesMut::new();
    let mut done = false;
    while !done {
        out.clear();
        done = state.snapshot_next(&mut cursor, 1024, &mut out);
        writer.nodes(&out)?;
    }
    let tail = cursor.tail();
    state.end_snapshot();
    writer.finish(&sections(config, tail.digest, cursor.zxid()))?;
    Ok(())
}

/// What stands behind the nodes of our snapshots.
pub fn sections(config: &Config, digest: Option<(Zxid, i64)>, zxid: Zxid) -> Sections {
    Sections { digest, last_processed: config.storage.serialize_last_zxid.then_some(zxid) }
}

/// The sessions of a state, to be tracked anew.
pub fn sessions(state: &StateMachine) -> Vec<(SessionId, i32)> {
    let mut sessions: Vec<_> = state.sessions().iter().collect();
    sessions.sort_unstable();
    sessions
}
