//! Group commit: everything that has gathered goes to the log with one write and one sync, and one
//! message says so.

use bytes::Bytes;

use crate::storage::trigger::SnapTrigger;
use crate::storage::{Committed, Error, TxnLog};
use crate::types::{Instant, Zxid};

/// One request to the log. Requests are executed in the order given.
#[derive(Clone, Debug)]
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
    /// Nothing more comes; what was asked before is done first.
    Stop,
}

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogDone {
    /// Every request up to this one is durable.
    pub op: u64,
    /// Transactions were enough for a snapshot (and the log was rolled).
    pub snapshot_due: bool,
}

/// How requests are gathered.
#[derive(Clone, Copy, Debug)]
pub struct GroupOptions {
    /// Transactions per sync at most (`zookeeper.maxBatchSize`).
    pub batch_max: usize,
    /// `zookeeper.snapCount`.
    pub snap_count: u64,
    /// `zookeeper.snapSizeLimitInKb`, in bytes.
    pub snap_bytes: Option<u64>,
}

/// What the log needs of the world, and tells it.
pub trait Around {
    /// The monotonic clock, for measuring syncs.
    fn clock(&self) -> Instant;
    /// Any 64-bit number, for the spread of snapshots.
    fn random(&mut self) -> u64;
    /// A batch is durable. Called before it is reported.
    fn committed(&mut self, committed: &Committed);
    /// Requests are done.
    fn done(&mut self, done: LogDone);
}

/// The log of a server alone and what goes with it.
#[derive(Debug)]
pub struct GroupCommit {
    log: TxnLog,
    trigger: SnapTrigger,
    batch_max: usize,
}

impl GroupCommit {
    /// On `log`, with any 64-bit number for the moment of the first snapshot.
    pub fn new(log: TxnLog, options: &GroupOptions, random: u64) -> GroupCommit {
        GroupCommit {
            log,
            trigger: SnapTrigger::new(options.snap_count, options.snap_bytes, random),
            batch_max: options.batch_max.max(1),
        }
    }

    /// Carries requests out in their order, leaving the vector empty; true when one says stop.
    ///
    /// # Errors
    /// What the disk says. Nobody knows then what is on it: the process must end.
    pub fn batch(
        &mut self,
        requests: &mut Vec<LogRequest>,
        around: &mut dyn Around,
    ) -> Result<bool, Error> {
        let (mut last, mut pending) = (0, 0);
        for request in requests.drain(..) {
            match request {
                LogRequest::Append { op, zxid, entry } => {
                    self.log.append(zxid, &entry)?;
                    last = op;
                    pending += 1;
                    if pending >= self.batch_max {
                        self.commit(last, around)?;
                        pending = 0;
                    }
                }
                LogRequest::Stop => {
                    if pending > 0 {
                        self.commit(last, around)?;
                    }
                    self.log.roll()?;
                    return Ok(true);
                }
            }
        }
        if pending > 0 {
            self.commit(last, around)?;
        }
        Ok(false)
    }

    /// One write and one sync, and its report.
    fn commit(&mut self, op: u64, around: &mut dyn Around) -> Result<(), Error> {
        let mut snapshot_due = false;
        if let Some(committed) = self.log.commit(&mut || around.clock())? {
            around.committed(&committed);
            if self.trigger.add(committed.txns, committed.bytes) {
                self.trigger.reset(around.random());
                self.log.roll()?;
                snapshot_due = true;
            }
        }
        around.done(LogDone { op, snapshot_due });
        Ok(())
    }
}
