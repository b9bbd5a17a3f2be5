//! The log thread: group commit. Takes everything that arrived while the last sync ran, writes it
//! with one write, makes it durable with one sync, and says so with one message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::storage::trigger::SnapTrigger;
use crate::storage::{Error, TxnLog};
use crate::types::Zxid;

use super::clock::{Clock, Spread};
use super::inbox::Inbox;

/// A sync that takes less than this is cheaper than a hand-over to another thread and back.
const QUICK: Duration = Duration::from_micros(250);
/// More requests than this go to the log thread, so that preparing and syncing overlap.
const HERE_MAX: usize = 32;

/// What else the log thread can be asked to do, between two batches.
pub type Job = Box<dyn FnOnce(&mut TxnLog) -> Result<(), Error> + Send>;

/// One request to the log thread. Requests are executed in the order given.
pub enum LogRequest {
    /// Append a transaction; `op` is reported once it is durable.
    Append {
        /// The number of the request, ascending.
        op: u64,
        /// The transaction's id.
        zxid: Zxid,
        /// As logged.
        entry: Bytes,
    },
    /// Anything else that touches the disk; `op` is reported once it has returned. The appends
    /// before it are durable when it starts.
    Do {
        /// The number of the request, ascending.
        op: u64,
        /// What to do.
        job: Job,
    },
    /// End the thread; what was asked before is done first.
    Stop,
}

/// What the log thread reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogDone {
    /// Every request up to this one is durable.
    pub op: u64,
    /// Transactions were enough for a snapshot (and the log was rolled).
    pub snapshot_due: bool,
}

/// Settings of the log thread.
#[derive(Clone, Copy, Debug)]
pub struct CommitterOptions {
    /// Transactions per sync at most (`zookeeper.maxBatchSize`).
    pub batch_max: usize,
    /// Wait before a sync so that more may join (`zookeeper.flushDelay`); zero by default.
    pub flush_delay: Duration,
    /// A sync slower than this is logged and counted (`fsync.warningthresholdms`).
    pub warn_above: Duration,
    /// `zookeeper.snapCount`.
    pub snap_count: u64,
    /// `zookeeper.snapSizeLimitInKb`, in bytes.
    pub snap_bytes: Option<u64>,
}

/// What the log thread counts, for `mntr`.
#[derive(Debug, Default)]
pub struct LogStats {
    /// Syncs done.
    pub syncs: AtomicU64,
    /// Their time in all, microseconds.
    pub sync_us: AtomicU64,
    /// The slowest, microseconds.
    pub sync_us_max: AtomicU64,
    /// Syncs above the warning threshold.
    pub slow_syncs: AtomicU64,
    /// Transactions made durable.
    pub txns: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
}

/// The handle to the log thread.
pub struct Committer {
    inbox: Arc<Inbox<LogRequest>>,
    /// What it has counted.
    pub stats: Arc<LogStats>,
    worker: Arc<Mutex<Worker>>,
    failed: Arc<dyn Fn(Error) + Send + Sync>,
    /// Requests handed to the thread, and those it is done with.
    submitted: u64,
    finished: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread on `log`. `done` is called from it; `failed` when the disk has failed,
    /// after which nothing more is reported: nobody knows what is on disk, so the process must end.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        log: TxnLog,
        options: CommitterOptions,
        clock: Clock,
        done: impl Fn(LogDone) + Send + 'static,
        failed: impl Fn(Error) + Send + Sync + 'static,
    ) -> std::io::Result<Committer> {
        let inbox = Arc::new(Inbox::default());
        let stats = Arc::new(LogStats::default());
        let mut spread = Spread::new(&clock);
        let worker = Arc::new(Mutex::new(Worker {
            trigger: SnapTrigger::new(options.snap_count, options.snap_bytes, spread.next()),
            log,
            options,
            clock,
            spread,
            stats: Arc::clone(&stats),
            is_quick: true,
        }));
        let failed: Arc<dyn Fn(Error) + Send + Sync> = Arc::new(failed);
        let finished = Arc::new(AtomicU64::new(0));
        let thread = Thread {
            inbox: Arc::clone(&inbox),
            worker: Arc::clone(&worker),
            finished: Arc::clone(&finished),
            options,
        };
        let on_failure = Arc::clone(&failed);
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || {
            if let Err(error) = thread.run(&done) {
                on_failure(error);
            }
        })?;
        Ok(Committer { inbox, stats, worker, failed, submitted: 0, finished, thread: Some(thread) })
    }

    /// Hands requests over, leaving the vector empty. When the log thread has nothing to do, the
    /// disk answers quickly and the requests are few, they are carried out here and now, and `done`
    /// says so: two hand-overs between threads would cost more than the sync. A slow disk is left
    /// to the log thread, so that what arrives meanwhile is prepared and shares the next sync.
    pub fn submit(&mut self, requests: &mut Vec<LogRequest>, done: &mut Vec<LogDone>) {
        if requests.is_empty() {
            return;
        }
        // Only this side submits, so an idle thread stays idle.
        let idle = self.finished.load(Ordering::Acquire) == self.submitted;
        if idle && requests.len() <= HERE_MAX {
            let mut worker = self.worker.lock();
            if worker.is_quick && worker.options.flush_delay.is_zero() {
                if let Err(error) = worker.batch(requests, &mut |one| done.push(one)) {
                    (self.failed)(error);
                }
                return;
            }
        }
        self.submitted += requests.len() as u64;
        self.inbox.send_all(requests);
    }

    /// Finishes what was asked and ends the thread.
    pub fn stop(&mut self) {
        self.inbox.send(LogRequest::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log thread panicked");
        }
    }
}

/// The log thread's own things.
struct Thread {
    inbox: Arc<Inbox<LogRequest>>,
    worker: Arc<Mutex<Worker>>,
    finished: Arc<AtomicU64>,
    options: CommitterOptions,
}

impl Thread {
    fn run(self, done: &dyn Fn(LogDone)) -> Result<(), Error> {
        let mut taken = Vec::new();
        loop {
            self.inbox.take(&mut taken, None);
            if !self.options.flush_delay.is_zero() && taken.len() < self.options.batch_max {
                std::thread::sleep(self.options.flush_delay);
                let mut more = Vec::new();
                self.inbox.take(&mut more, Some(Duration::ZERO));
                taken.append(&mut more);
            }
            let count = taken.len() as u64;
            let stop = self.worker.lock().batch(&mut taken, &mut |one| done(one))?;
            self.finished.fetch_add(count, Ordering::Release);
            if stop {
                return Ok(());
            }
        }
    }
}

/// The log and what goes with it; used by the log thread, or by the node thread while that sleeps.
struct Worker {
    log: TxnLog,
    options: CommitterOptions,
    clock: Clock,
    spread: Spread,
    trigger: SnapTrigger,
    stats: Arc<LogStats>,
    /// The last sync was a quick one.
    is_quick: bool,
}

impl Worker {
    /// Carries requests out in their order, leaving the vector empty; true when one says stop.
    fn batch(
        &mut self,
        requests: &mut Vec<LogRequest>,
        done: &mut dyn FnMut(LogDone),
    ) -> Result<bool, Error> {
        let (mut last, mut pending) = (0, 0);
        for request in requests.drain(..) {
            match request {
                LogRequest::Append { op, zxid, entry } => {
                    self.log.append(zxid, &entry)?;
                    last = op;
                    pending += 1;
                    if pending >= self.options.batch_max {
                        done(LogDone { op: last, snapshot_due: self.commit()? });
                        pending = 0;
                    }
                }
                LogRequest::Do { op, job } => {
                    if pending > 0 {
                        done(LogDone { op: last, snapshot_due: self.commit()? });
                        pending = 0;
                    }
                    job(&mut self.log)?;
                    done(LogDone { op, snapshot_due: false });
                }
                LogRequest::Stop => {
                    if pending > 0 {
                        done(LogDone { op: last, snapshot_due: self.commit()? });
                    }
                    self.log.roll()?;
                    return Ok(true);
                }
            }
        }
        if pending > 0 {
            done(LogDone { op: last, snapshot_due: self.commit()? });
        }
        Ok(false)
    }

    /// One write and one sync; true when it is time for a snapshot.
    fn commit(&mut self) -> Result<bool, Error> {
        let clock = self.clock;
        let Some(committed) = self.log.commit(&mut || clock.mono())? else { return Ok(false) };
        self.is_quick = committed.sync_time < QUICK;
        let us = u64::try_from(committed.sync_time.as_micros()).unwrap_or(u64::MAX);
        self.stats.syncs.fetch_add(1, Ordering::Relaxed);
        self.stats.sync_us.fetch_add(us, Ordering::Relaxed);
        self.stats.sync_us_max.fetch_max(us, Ordering::Relaxed);
        self.stats.txns.fetch_add(committed.txns, Ordering::Relaxed);
        self.stats.bytes.fetch_add(committed.bytes, Ordering::Relaxed);
        if committed.sync_time > self.options.warn_above {
            self.stats.slow_syncs.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                "a sync of the transaction log took {} ms (fsync.warningthresholdms is {}): the \
                 disk under dataLogDir is slow or shared",
                committed.sync_time.as_millis(),
                self.options.warn_above.as_millis()
            );
        }
        if !self.trigger.add(committed.txns, committed.bytes) {
            return Ok(false);
        }
        self.trigger.reset(self.spread.next());
        self.log.roll()?;
        Ok(true)
    }
}
