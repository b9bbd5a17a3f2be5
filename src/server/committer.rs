//! The log thread: group commit. Takes everything that arrived while the last sync ran, writes it
//! with one write, makes it durable with one sync, and says so with one message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

pub use crate::host::group::{LogDone, LogRequest};

use crate::host::group::{Around, GroupCommit, GroupOptions};
use crate::storage::{Committed, Error, TxnLog};
use crate::types::Instant;

use super::clock::{Clock, Spread};
use super::inbox::Inbox;

/// A sync that takes less than this is cheaper than a hand-over to another thread and back.
const QUICK: Duration = Duration::from_micros(250);
/// More requests than this go to the log thread, so that preparing and syncing overlap.
const HERE_MAX: usize = 32;

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

/// Says that a sync took longer than `fsync.warningthresholdms`.
pub fn warn_of_slow_sync(took: Duration, limit: Duration) {
    tracing::warn!(
        "a sync of the transaction log took {} ms (fsync.warningthresholdms is {}): the disk under \
         dataLogDir is slow or shared",
        took.as_millis(),
        limit.as_millis()
    );
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
        let group = GroupOptions {
            batch_max: options.batch_max,
            snap_count: options.snap_count,
            snap_bytes: options.snap_bytes,
        };
        let worker = Arc::new(Mutex::new(Worker {
            group: GroupCommit::new(log, &group, spread.next()),
            measure: Measure {
                clock,
                spread,
                warn_above: options.warn_above,
                stats: Arc::clone(&stats),
                is_quick: true,
            },
            flush_delay: options.flush_delay,
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
            if worker.measure.is_quick && worker.flush_delay.is_zero() {
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
    group: GroupCommit,
    measure: Measure,
    flush_delay: Duration,
}

impl Worker {
    /// Carries requests out in their order, leaving the vector empty; true when one says stop.
    fn batch(
        &mut self,
        requests: &mut Vec<LogRequest>,
        done: &mut dyn FnMut(LogDone),
    ) -> Result<bool, Error> {
        self.group.batch(requests, &mut Watched { measure: &mut self.measure, report: done })
    }
}

/// Counts syncs.
struct Measure {
    clock: Clock,
    spread: Spread,
    warn_above: Duration,
    stats: Arc<LogStats>,
    /// The last sync was a quick one.
    is_quick: bool,
}

struct Watched<'a> {
    measure: &'a mut Measure,
    report: &'a mut dyn FnMut(LogDone),
}

impl Around for Watched<'_> {
    fn clock(&self) -> Instant {
        self.measure.clock.mono()
    }

    fn random(&mut self) -> u64 {
        self.measure.spread.next()
    }

    fn committed(&mut self, committed: &Committed) {
        let Measure { warn_above, stats, is_quick, .. } = &mut *self.measure;
        *is_quick = committed.sync_time < QUICK;
        let us = u64::try_from(committed.sync_time.as_micros()).unwrap_or(u64::MAX);
        stats.syncs.fetch_add(1, Ordering::Relaxed);
        stats.sync_us.fetch_add(us, Ordering::Relaxed);
        stats.sync_us_max.fetch_max(us, Ordering::Relaxed);
        stats.txns.fetch_add(committed.txns, Ordering::Relaxed);
        stats.bytes.fetch_add(committed.bytes, Ordering::Relaxed);
        if committed.sync_time > *warn_above {
            stats.slow_syncs.fetch_add(1, Ordering::Relaxed);
            warn_of_slow_sync(committed.sync_time, *warn_above);
        }
    }

    fn done(&mut self, done: LogDone) {
        (self.report)(done);
    }
}
