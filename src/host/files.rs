//! A member's files: carries out Zab's requests to the disk, in order.
//!
//! Neighbouring appends share one write and one sync; everything else is durable before the next
//! request begins. A completion is reported once per batch. After an error nothing more happens, and
//! the process must end: after a failed sync nobody knows what is on disk.

use bytes::BytesMut;

use crate::state::{self, StateLoader, StateMachine};
use crate::storage::disk::DiskRef;
use crate::storage::snapshot::{Compression, Sections, SnapshotWriter};
use crate::storage::trigger::SnapTrigger;
use crate::storage::{self, Dirs, RecoveryOptions, Replay, TxnLog, epoch, names, recover};
use crate::types::{Instant, Map, Zxid, map};
use crate::zab::{DiskOp, EncodedTxn, ImageId, LogRead, OpId, Persisted, ReadId};

/// Requests in one batch, at most (Apache `zookeeper.maxBatchSize`).
const BATCH_MAX: usize = 1000;
/// Bytes in one batch, at most, a single larger transaction apart.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Nodes encoded between two writes of an installed snapshot.
const INSTALL_STEP: usize = 4096;
/// Bytes of log that may always be sent instead of a snapshot, however small that is.
const LOG_READ_MIN: u64 = 16 << 20;

/// What the node thread asks for.
pub enum Job {
    /// A change of what is on disk.
    Op(OpId, DiskOp),
    /// The snapshot that a later [`DiskOp::InstallSnapshot`] names.
    Image(ImageId, Box<StateLoader>),
    /// Rebuild the state through this zxid.
    Load(Zxid),
}

/// What the log thread says.
pub enum Report {
    /// To be handed to Zab.
    Persisted(Persisted),
    /// The state asked for.
    Loaded(Box<StateMachine>),
    /// What the log holds for a learner, None when it needs a snapshot.
    Read(ReadId, Option<LogRead>),
    /// So many transactions of so many bytes became durable in one sync of so long.
    Synced(storage::Committed),
    /// Enough was logged for a snapshot, and the log was rolled.
    SnapshotDue,
    /// The process must end.
    Failed(storage::Error),
}

/// How the files are used.
#[derive(Clone)]
pub struct Options {
    /// The disk.
    pub disk: DiskRef,
    /// The directories.
    pub dirs: Dirs,
    /// Of states that are built.
    pub state: state::Options,
    /// Of recovery.
    pub recovery: RecoveryOptions,
    /// Of snapshots that are installed.
    pub compression: Compression,
    /// `serializeLastProcessedZxid.enabled`.
    pub last_processed: bool,
    /// `zookeeper.snapshotSizeFactor`; negative for never.
    pub snapshot_size_factor: f64,
    /// `zookeeper.snapCount`.
    pub snap_count: u64,
    /// `zookeeper.snapSizeLimitInKb`, in bytes.
    pub snap_bytes: Option<u64>,
}

/// What the files need of the world.
pub struct World {
    /// The monotonic clock, for measuring syncs.
    pub clock: Box<dyn Fn() -> Instant + Send>,
    /// Any 64-bit number, for the spread of snapshots.
    pub random: Box<dyn FnMut() -> u64 + Send>,
    /// Takes reports; must not block.
    pub report: Box<dyn Fn(Report) + Send>,
}

/// The log, the epochs and the snapshots of a member; one owner, the log thread.
pub struct Files {
    options: Options,
    log: TxnLog,
    world: World,
    images: Map<ImageId, Box<StateLoader>>,
    /// The state of the snapshot that was installed last, until it is asked for.
    installed: Option<(Zxid, Box<StateMachine>)>,
    /// The newest append that is not reported.
    newest: Option<OpId>,
    trigger: SnapTrigger,
    /// Jobs since the last commit.
    gathered: usize,
}

impl Files {
    /// `log` goes on after the last transaction there is.
    pub fn new(options: Options, log: TxnLog, mut world: World) -> Files {
        Files {
            trigger: SnapTrigger::new(options.snap_count, options.snap_bytes, (world.random)()),
            options,
            log,
            world,
            images: map(),
            installed: None,
            newest: None,
            gathered: 0,
        }
    }

    /// Whether what has gathered should be made durable before more is taken.
    pub fn is_full(&self) -> bool {
        self.gathered >= BATCH_MAX || self.log.pending_bytes() >= BATCH_BYTES_MAX
    }

    /// Ends the log, after everything that was asked for.
    ///
    /// # Errors
    /// What the disk says.
    pub fn stop(&mut self) -> storage::Result<()> {
        self.commit()?;
        self.log.roll()
    }

    /// Makes the batch durable, then says so.
    ///
    /// # Errors
    /// What the disk says: the process must end.
    pub fn commit(&mut self) -> storage::Result<()> {
        self.gathered = 0;
        let clock = &self.world.clock;
        let done = self.log.commit(&mut || clock())?;
        if let Some(op) = self.newest.take() {
            (self.world.report)(Report::Persisted(Persisted::Through(op)));
        }
        let Some(done) = done else { return Ok(()) };
        if self.trigger.add(done.txns, done.bytes) {
            self.trigger.reset((self.world.random)());
            self.log.roll()?;
            (self.world.report)(Report::SnapshotDue);
        }
        (self.world.report)(Report::Synced(done));
        Ok(())
    }

    /// Takes a job. Appends gather until [`Files::commit`]; everything else is done on return.
    ///
    /// # Errors
    /// What the disk says: the process must end.
    pub fn take(&mut self, job: Job) -> storage::Result<()> {
        self.gathered += 1;
        if let Job::Op(op, DiskOp::Append(txn)) = job {
            self.log.append(txn.zxid, &txn.bytes)?;
            self.newest = Some(op);
            return Ok(());
        }
        if let Job::Image(id, image) = job {
            self.images.insert(id, image);
            return Ok(());
        }
        self.commit()?;
        match job {
            Job::Op(op, what) => self.op(op, what),
            Job::Load(through) => self.load(through),
            Job::Image(..) => Ok(()),
        }
    }

    fn op(&mut self, op: OpId, what: DiskOp) -> storage::Result<()> {
        let Options { disk, dirs, .. } = &self.options;
        let done = match what {
            DiskOp::Append(_) => return Ok(()),
            // The files of the configuration are the shell's, which has written them by now.
            DiskOp::SaveConfig { .. } => Persisted::Through(op),
            DiskOp::SaveAcceptedEpoch(epoch) => {
                epoch::write_epoch(&**disk, &dirs.snapshots, epoch::ACCEPTED, epoch)?;
                Persisted::Through(op)
            }
            DiskOp::SaveCurrentEpoch(epoch) => {
                epoch::write_epoch(&**disk, &dirs.snapshots, epoch::CURRENT, epoch)?;
                Persisted::Through(op)
            }
            DiskOp::Truncate(zxid) => match self.log.truncate(zxid) {
                Ok(()) => Persisted::Truncated { op, last: self.log.last_zxid() },
                Err(error @ storage::Error::NotHere { .. }) => {
                    tracing::warn!(%error, "truncation refused, asking for a snapshot");
                    Persisted::CannotTruncate(op)
                }
                Err(error) => return Err(error),
            },
            DiskOp::InstallSnapshot { zxid, image } => {
                self.install(zxid, image)?;
                Persisted::Through(op)
            }
        };
        (self.world.report)(Report::Persisted(done));
        Ok(())
    }

    fn install(&mut self, zxid: Zxid, image: ImageId) -> storage::Result<()> {
        let Some(loader) = self.images.remove(&image) else {
            let what = format!("no image {}", image.0);
            return Err(storage::Error::NotHere { zxid, what });
        };
        // Earlier images were overtaken by other synchronisations.
        self.images.clear();
        let mut state = loader.finish(zxid, None);
        let Options { disk, dirs, compression, last_processed, .. } = &self.options;
        let Some(mut cursor) = state.begin_snapshot() else {
            let what = "a new state is being walked".to_owned();
            return Err(storage::Error::NotHere { zxid, what });
        };
        let (disk, dir) = (disk.clone(), &dirs.snapshots);
        let mut writer = SnapshotWriter::create(disk, dir, zxid, *compression, &cursor.head())?;
        let mut chunk = BytesMut::new();
        loop {
            let last = state.snapshot_next(&mut cursor, INSTALL_STEP, &mut chunk);
            writer.nodes(&chunk)?;
            chunk.clear();
            if last {
                break;
            }
        }
        let tail = cursor.tail();
        state.end_snapshot();
        let last_processed = last_processed.then_some(tail.zxid);
        writer.finish_install(&Sections { digest: tail.digest, last_processed }, dirs)?;
        self.log.reset(zxid);
        self.installed = Some((zxid, Box::new(state)));
        Ok(())
    }

    fn load(&mut self, through: Zxid) -> storage::Result<()> {
        let state = match self.installed.take() {
            Some((zxid, state)) if zxid == through => state,
            _ => Box::new(load(&self.options, through)?),
        };
        (self.world.report)(Report::Loaded(state));
        Ok(())
    }
}

/// Builds the state through `through` from what is on disk; changes nothing there.
fn load(options: &Options, through: Zxid) -> storage::Result<StateMachine> {
    let recovery = RecoveryOptions { read_only: true, ..options.recovery };
    let new_sink = || StateLoader::new(options.state);
    let mut found = recover(&options.disk, &options.dirs, &recovery, new_sink)?;
    let mut state = found.sink.finish(found.base.zxid, found.base.digest);
    let mut changes = Vec::new();
    while let Some(logged) = found.replay.next()? {
        if logged.entry.header.zxid > through {
            break;
        }
        state.apply(&logged.entry, &mut changes);
        changes.clear();
    }
    Ok(state)
}

/// Reads the log for a learner whose log ends at `after`. It may take long, so the shell does it
/// beside the log thread. None when a snapshot is better, or the range is not proven whole.
///
/// # Errors
/// What the disk says, and damage: then a snapshot has to do as well.
pub fn read_range(
    options: &Options,
    after: Zxid,
    through: Zxid,
) -> storage::Result<Option<LogRead>> {
    if options.snapshot_size_factor < 0.0 {
        return Ok(None);
    }
    let disk = &*options.disk;
    let snapshots = names::snapshots(disk, &options.dirs.snapshots)?;
    let newest = snapshots.last().map_or(0, |s| s.len);
    let limit = ((newest as f64 * options.snapshot_size_factor) as u64).max(LOG_READ_MIN);
    let logs = names::logs(disk, &options.dirs.logs)?;
    // The file whose first transaction is the newest at or before `after`; what it begins with is
    // in its name.
    let Some(start) = logs.iter().rev().map(|l| l.zxid).find(|z| *z <= after) else {
        return Ok(None);
    };
    let start = Zxid(start.0 - 1);
    let mut replay = Replay::open(options.disk.clone(), options.dirs.clone(), start)?;
    let (mut found, mut txns, mut bytes) = (None, Vec::new(), 0);
    while let Some(logged) = replay.next()? {
        let zxid = logged.entry.header.zxid;
        if zxid > through {
            break;
        }
        if zxid <= after {
            found = Some(EncodedTxn::new(zxid, logged.bytes));
            continue;
        }
        bytes += logged.bytes.len() as u64;
        if bytes > limit {
            return Ok(None);
        }
        txns.push(EncodedTxn::new(zxid, logged.bytes));
        if zxid == through {
            // What follows is being written: between two reads, zeros become records.
            break;
        }
    }
    let read = |found: EncodedTxn| LogRead { found: found.zxid, print: Some(found.print()), txns };
    Ok(found.map(read))
}
