//! The log thread of an ensemble member: carries out Zab's requests to the disk, in order.
//!
//! Neighbouring appends share one write and one sync (whatever gathered while the last sync ran);
//! everything else is durable before the next request begins. A completion is reported once per
//! batch. An error ends the thread and, by its last report, the process: after a failed sync nobody
//! knows what is on disk.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use bytes::BytesMut;

use crate::server::clock::{Clock, Spread};
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
    /// Nothing more comes: finish, and end.
    Stop,
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

/// The log thread, as its owner sees it.
pub struct DiskThread {
    jobs: Sender<Job>,
    thread: Option<JoinHandle<()>>,
}

impl DiskThread {
    /// Starts the thread. `log` goes on after the last transaction there is; `report` is called
    /// from the thread and must not block; `clock` is for measuring syncs.
    pub fn start(
        options: Options,
        log: TxnLog,
        clock: impl Fn() -> Instant + Send + 'static,
        report: impl Fn(Report) + Send + 'static,
    ) -> std::io::Result<DiskThread> {
        let (jobs, inbox) = channel();
        let mut spread = Spread::new(&Clock::start());
        let (count, bytes) = (options.snap_count, options.snap_bytes);
        let worker = Worker {
            trigger: SnapTrigger::new(count, bytes, spread.next()),
            spread,
            options,
            log,
            inbox,
            clock: Box::new(clock),
            report: Box::new(report),
            images: map(),
            installed: None,
            newest: None,
        };
        let thread =
            std::thread::Builder::new().name("log".to_owned()).spawn(move || worker.run())?;
        Ok(DiskThread { jobs, thread: Some(thread) })
    }

    /// Queues a job. After a failure nothing happens any more.
    pub fn submit(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            tracing::debug!("the log thread has ended");
        }
    }

    /// Finishes what was asked for, and waits for it.
    pub fn stop(&mut self) {
        self.submit(Job::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log thread panicked");
        }
    }
}

struct Worker {
    options: Options,
    log: TxnLog,
    inbox: Receiver<Job>,
    clock: Box<dyn Fn() -> Instant + Send>,
    report: Box<dyn Fn(Report) + Send>,
    images: Map<ImageId, Box<StateLoader>>,
    /// The state of the snapshot that was installed last, until it is asked for.
    installed: Option<(Zxid, Box<StateMachine>)>,
    /// The newest append that is not reported.
    newest: Option<OpId>,
    trigger: SnapTrigger,
    spread: Spread,
}

impl Worker {
    fn run(mut self) {
        if let Err(error) = self.work() {
            (self.report)(Report::Failed(error));
        }
    }

    fn work(&mut self) -> storage::Result<()> {
        // Ends with the node thread.
        while let Ok(first) = self.inbox.recv() {
            let mut job = first;
            let mut gathered = 0;
            loop {
                if matches!(job, Job::Stop) {
                    self.commit()?;
                    return self.log.roll();
                }
                self.one(job)?;
                gathered += 1;
                if gathered >= BATCH_MAX || self.log.pending_bytes() >= BATCH_BYTES_MAX {
                    break;
                }
                job = match self.inbox.try_recv() {
                    Ok(next) => next,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                };
            }
            self.commit()?;
        }
        self.commit()
    }

    /// Makes the batch durable, then says so.
    fn commit(&mut self) -> storage::Result<()> {
        let clock = &self.clock;
        let done = self.log.commit(&mut || clock())?;
        if let Some(op) = self.newest.take() {
            (self.report)(Report::Persisted(Persisted::Through(op)));
        }
        let Some(done) = done else { return Ok(()) };
        if self.trigger.add(done.txns, done.bytes) {
            self.trigger.reset(self.spread.next());
            self.log.roll()?;
            (self.report)(Report::SnapshotDue);
        }
        (self.report)(Report::Synced(done));
        Ok(())
    }

    fn one(&mut self, job: Job) -> storage::Result<()> {
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
            Job::Image(..) | Job::Stop => Ok(()),
        }
    }

    fn op(&mut self, op: OpId, what: DiskOp) -> storage::Result<()> {
        let Options { disk, dirs, .. } = &self.options;
        let done = match what {
            DiskOp::Append(_) => return Ok(()),
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
        (self.report)(Report::Persisted(done));
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
        (self.report)(Report::Loaded(state));
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

/// Reads the log for a learner whose log ends at `after`, in a thread of its own: it may take long,
/// and must not hold up the syncs. The answer is a [`Report::Read`].
pub fn read_log(
    options: Options,
    read: ReadId,
    after: Zxid,
    through: Zxid,
    report: impl Fn(Report) + Send + 'static,
) {
    let work = move || {
        let found = read_range(&options, after, through).unwrap_or_else(|error| {
            tracing::info!(%error, "the log can't serve a learner, it gets a snapshot");
            None
        });
        report(Report::Read(read, found));
    };
    if let Err(error) = std::thread::Builder::new().name("log reader".to_owned()).spawn(work) {
        tracing::warn!(%error, "no thread to read the log");
    }
}

fn read_range(options: &Options, after: Zxid, through: Zxid) -> storage::Result<Option<LogRead>> {
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
            found = Some(zxid);
            continue;
        }
        bytes += logged.bytes.len() as u64;
        if bytes > limit {
            return Ok(None);
        }
        txns.push(EncodedTxn::new(zxid, logged.bytes));
    }
    Ok(found.map(|found| LogRead { found, txns }))
}

#[cfg(test)]
mod tests;
