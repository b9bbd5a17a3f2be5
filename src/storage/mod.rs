//! Transaction logs, snapshots and epoch files, in Apache's formats; synchronous.
//!
//! The layer sees bytes, [`crate::proto::txn`] and [`crate::proto::image`]; it doesn't know what a
//! tree is. Everything goes through [`Disk`], so the simulator's lying disk runs the same code.
//! `docs/STORAGE.md` holds the formats as field tables, the rules of recovery and what is assumed
//! of a disk.
//!
//! - [`disk`]: the seam, and the real thing; `sim_disk`: the lying one;
//! - [`bond`]: which log belongs to which snapshots, where they are apart;
//! - [`names`]: file names, directory listings, the size of a directory;
//! - [`txnlog`]: the writer of `log.<zxid>`: append, commit, roll, truncate;
//! - [`log_reader`]: one log file, with damage told apart from a torn tail;
//! - [`replay`]: all log files from a zxid on, contiguous;
//! - [`snapshot`]: writer and reader of `snapshot.<zxid>`, plain, gz and snappy;
//! - [`image_stream`]: the same records as a stream between servers (SNAP);
//! - [`epoch`]: small files written atomically: epochs, `myid`, `initialize`;
//! - [`recovery`]: newest usable snapshot, then the log;
//! - [`truncate`]: TRUNC, and what makes a received snapshot replace a history;
//! - [`inspect`]: what a start would find, for tools;
//! - [`purge`]: retention; [`trigger`]: when to snapshot and roll.
//!
//! A server's start: [`recovery::recover`] with a sink per attempt, apply everything
//! [`replay::Replay::next`] hands out, [`replay::Replay::finish`], then [`txnlog::TxnLog::new`]
//! with the last zxid.

pub mod bond;
pub mod disk;
pub mod epoch;
pub mod image_stream;
pub mod inspect;
pub mod log_reader;
mod mark;
pub mod names;
pub mod purge;
pub mod recovery;
pub mod replay;
#[cfg(any(test, feature = "sim"))]
pub mod sim_disk;
mod snappy_java;
pub mod snapshot;
pub mod spool;
pub mod trigger;
pub mod truncate;
pub mod txnlog;

use std::io;
use std::path::{Path, PathBuf};

pub use disk::{Disk, DiskFile, RealDisk};
pub use names::Dirs;
pub use recovery::{Recovered, RecoveryOptions, recover};
pub use replay::{Logged, Replay, ReplayEnd};
pub use snapshot::{Compression, SnapshotWriter};
pub use txnlog::{Committed, LogOptions, TxnLog};

use crate::types::Zxid;

/// What stops the storage layer. All but [`Error::NotHere`] are reasons to end the process.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("can't {op} {}: {source}", path.display())]
    Io {
        /// A verb: "write", "sync", "rename"...
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Bytes that were written whole are not what they were: damage, not a torn tail.
    #[error("{} is damaged at offset {offset}: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Of the first byte that can't be used.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A log that was durable is not there any more.
    #[error("{} is missing: {what}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What was in it, what is left, and what can be done.
        what: String,
    },
    /// The log jumps: transactions between two records are missing.
    #[error(
        "transactions are missing between {after} and {found} at offset {offset} of {}",
        path.display()
    )]
    Gap {
        /// The file that goes on too late.
        path: PathBuf,
        /// Of the record that does not follow.
        offset: u64,
        /// The last zxid before the hole.
        after: Zxid,
        /// The zxid found.
        found: Zxid,
    },
    /// There are snapshots, and none can be read.
    #[error("none of {} snapshots in {} can be read; newest: {first}", count, dir.display())]
    NoUsableSnapshot {
        /// Where.
        dir: PathBuf,
        /// How many were tried.
        count: usize,
        /// What is wrong with the newest.
        first: String,
    },
    /// Log entries without any snapshot (`zookeeper.snapshot.trust.empty` overrides).
    #[error(
        "no snapshot found in {}{flaw}, but there are log entries: bring a snapshot back, or, if the \
         logs are there from the first transaction on, set zookeeper.snapshot.trust.empty=true for \
         one start",
        dir.display()
    )]
    NoSnapshotButLogs {
        /// Where snapshots belong.
        dir: PathBuf,
        /// The newest file that is none, with its flaw, in parentheses; or empty.
        flaw: String,
    },
    /// A directory is missing, not a directory, or holds the other kind of files.
    #[error("{}: {what}", dir.display())]
    Directory {
        /// Which.
        dir: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The log directory is not the one that belongs to the snapshots.
    #[error("the log that belongs to the snapshots in {} is another: {what}", dir.display())]
    OtherLog {
        /// Of the snapshots.
        dir: PathBuf,
        /// Where their log was, what is in its place, and what can be done.
        what: String,
    },
    /// A zxid to truncate to, that is in no log; nothing was changed. Ask for a snapshot instead.
    #[error("can't truncate to {zxid}: {what}")]
    NotHere {
        /// The wanted end.
        zxid: Zxid,
        /// Why not.
        what: String,
    },
    /// A transaction that doesn't follow the one before: a bug of the caller.
    #[error("transaction {found} can't follow {after}")]
    OutOfOrder {
        /// The last one.
        after: Zxid,
        /// The one refused.
        found: Zxid,
    },
    /// An earlier write or sync failed: nobody knows what is on disk.
    #[error("the log can't be used after an earlier failure")]
    Poisoned,
    /// A small file (epoch, myid) whose content makes no sense.
    #[error("{}: {what}", path.display())]
    BadContent {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// Adds the operation and the path to an `io::Error`.
trait IoContext<T> {
    fn at(self, op: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, op: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { op, path: path.to_owned(), source })
    }
}

/// A running Adler-32.
#[derive(Clone, Default)]
struct Adler(simd_adler32::Adler32);

impl Adler {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    fn finish(&self) -> i64 {
        i64::from(self.0.finish())
    }
}

impl std::fmt::Debug for Adler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Adler({:08x})", self.finish())
    }
}

#[cfg(test)]
mod tests;
