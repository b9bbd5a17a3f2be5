//! The log thread: group commit. Takes everything that arrived while the last sync ran, writes it
//! with one write, makes it durable with one sync, and says so with one message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use crate::storage::trigger::SnapTrigger;
use crate::storage::{Error, TxnLog};
use crate::types::Zxid;

use super::clock::{Clock, Spread};
use super::inbox::Inbox;

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
        failed: impl Fn(Error) + Send + 'static,
    ) -> std::io::Result<Committer> {
        let inbox = Arc::new(Inbox::default());
        let stats = Arc::new(LogStats::default());
        let mut spread = Spread::new(&clock);
        let worker = Worker {
            trigger: SnapTrigger::new(options.snap_count, options.snap_bytes, spread.next()),
            log,
            options,
            clock,
            spread,
            stats: Arc::clone(&stats),
        };
        let requests = Arc::clone(&inbox);
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || {
            if let Err(error) = worker.run(&requests, &done) {
                failed(error);
            }
        })?;
        Ok(Committer { inbox, stats, thread: Some(thread) })
    }

    /// Hands requests over, leaving the vector empty.
    pub fn submit(&self, requests: &mut Vec<LogRequest>) {
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

struct Worker {
    log: TxnLog,
    options: CommitterOptions,
    clock: Clock,
    spread: Spread,
    trigger: SnapTrigger,
    stats: Arc<LogStats>,
}

impl Worker {
    fn run(mut self, inbox: &Inbox<LogRequest>, done: &dyn Fn(LogDone)) -> Result<(), Error> {
        let mut taken = Vec::new();
        loop {
            inbox.take(&mut taken, None);
            if !self.options.flush_delay.is_zero() && taken.len() < self.options.batch_max {
                std::thread::sleep(self.options.flush_delay);
                let mut more = Vec::new();
                inbox.take(&mut more, Some(Duration::ZERO));
                taken.append(&mut more);
            }
            let (mut last, mut pending) = (0, 0);
            for request in taken.drain(..) {
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
                        return self.log.roll();
                    }
                }
            }
            if pending > 0 {
                done(LogDone { op: last, snapshot_due: self.commit()? });
            }
        }
    }

    /// One write and one sync; true when it is time for a snapshot.
    fn commit(&mut self) -> Result<bool, Error> {
        let clock = self.clock;
        let Some(committed) = self.log.commit(&mut || clock.mono())? else { return Ok(false) };
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
