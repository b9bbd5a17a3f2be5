//! The writer of transaction logs (Apache `FileTxnLog`, `FilePadding`).
//!
//! ```text
//!  append* -> commit -> append* -> commit -> roll -> append* -> commit (creates the next file)
//!               |  any failure
//!               v
//!            poisoned: the process must end; what is on disk is unknown
//! ```
//!
//! A file is `header, record*, batch mark, zeros`; see `docs/STORAGE.md`. A batch is one write and
//! one `fdatasync`, and nothing of a batch is written before the one before it is durable: so a
//! crash can only tear the last batch, which is what the reader's rules rest on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::disk::{DiskFile, DiskRef};
use super::mark::{BATCH_MARK_LEN, BatchMark, Durable, DurableFile};
use super::names::{Dirs, log_name};
use super::{Error, IoContext, Result, truncate};
use crate::proto::jute::wire_length;
use crate::types::{Instant, Zxid};

/// "ZKLG".
pub const LOG_MAGIC: i32 = 0x5A4B_4C47;
/// The only version there is.
pub const LOG_VERSION: i32 = 2;
/// magic, version, dbid (always 0).
pub const LOG_HEADER_LEN: usize = 16;
/// Checksum and length, before the entry.
pub const RECORD_HEAD_LEN: usize = 12;
/// After the entry.
pub const END_OF_RECORD: u8 = b'B';
/// Zeros written behind a batch when it reaches the end of those written before: syncs of the next
/// batches find their blocks allocated and have only data to write. (Zeros by `set_len` are holes.)
/// As many as the log has already, within these bounds: a sync that has to allocate waits for the file
/// system's journal, and with it for what others have written, so a busy log shall need few of them.
const ZEROS_BYTES: std::ops::RangeInclusive<u64> = 256 << 10..=1 << 20;
/// The file grows when less than this is left.
const PADDING_SLACK: u64 = 4096;
/// The batch buffer is given back when a batch made it larger than this.
const BUFFER_KEEP_MAX: usize = 4 << 20;

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// `zookeeper.preAllocSize` in bytes: a file is extended by so many (sparse) zeros at once. 0:
    /// never.
    pub prealloc_bytes: u64,
    /// `zookeeper.txnLogSizeLimitInKb` in bytes: after a commit that made the file longer, the next
    /// goes to a new file.
    pub size_limit_bytes: Option<u64>,
    /// `zookeeper.forceSync`: false only for exactly "no"; then nothing is durable on return.
    pub force_sync: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions { prealloc_bytes: 64 << 20, size_limit_bytes: None, force_sync: true }
    }
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The last durable zxid (the last written one with `forceSync=no`).
    pub last: Zxid,
    /// Transactions in the batch.
    pub txns: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// How long the sync took; zero without one. Compare with `fsync.warningthresholdms`.
    pub sync_time: Duration,
}

#[derive(Debug)]
struct Open {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    name: Zxid,
    /// Behind the last record.
    end: u64,
    /// Allocated length.
    len: u64,
    /// Written up to here, with zeros behind the last record: blocks that a sync need not allocate.
    zeroed: u64,
}

/// Appends transactions to `log.<zxid>` files. One owner, the log thread.
#[derive(Debug)]
pub struct TxnLog {
    disk: DiskRef,
    dirs: Dirs,
    options: LogOptions,
    open: Option<Open>,
    durable: DurableFile,
    batch: Vec<u8>,
    batch_txns: u64,
    /// Adler-32 of the last entry appended.
    last_sum: u32,
    first: Zxid,
    last: Zxid,
    committed: Zxid,
    poisoned: bool,
}

impl TxnLog {
    /// A log that goes on after `last`, the last transaction that recovery found (or that the
    /// installed snapshot holds). The first append creates a new file, as Apache does after every
    /// start.
    pub fn new(disk: DiskRef, dirs: Dirs, options: LogOptions, last: Zxid) -> TxnLog {
        TxnLog {
            durable: DurableFile::new(disk.clone(), &dirs.logs),
            disk,
            dirs,
            options,
            open: None,
            batch: Vec::new(),
            batch_txns: 0,
            last_sum: 0,
            first: Zxid::ZERO,
            last,
            committed: last,
            poisoned: false,
        }
    }

    /// The last zxid appended, committed or not.
    pub fn last_zxid(&self) -> Zxid {
        self.last
    }

    /// The last zxid committed.
    pub fn committed_zxid(&self) -> Zxid {
        self.committed
    }

    /// Bytes appended and not committed.
    pub fn pending_bytes(&self) -> usize {
        self.batch.len()
    }

    /// The file being written and the bytes of records in it; None before the first commit of a
    /// file.
    pub fn current_file(&self) -> Option<(&Path, u64)> {
        self.open.as_ref().map(|o| (o.path.as_path(), o.end))
    }

    /// Whether an earlier write or sync failed.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Adds an encoded entry ([`crate::proto::txn::TxnEntry`]) to the batch. Nothing is written.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] when `zxid` doesn't follow the last one (Apache only warns; a hole
    /// here would be refused at the next start), [`Error::Poisoned`].
    pub fn append(&mut self, zxid: Zxid, entry: &[u8]) -> Result<()> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        if !zxid.follows(self.last) {
            return Err(Error::OutOfOrder { after: self.last, found: zxid });
        }
        if self.batch.is_empty() {
            self.first = zxid;
            if self.open.is_none() {
                self.batch.extend_from_slice(&LOG_MAGIC.to_be_bytes());
                self.batch.extend_from_slice(&LOG_VERSION.to_be_bytes());
                self.batch.extend_from_slice(&0_i64.to_be_bytes());
            }
        }
        self.last_sum = simd_adler32::adler32(&entry);
        let checksum = i64::from(self.last_sum);
        self.batch.reserve(RECORD_HEAD_LEN + entry.len() + 1 + BATCH_MARK_LEN);
        self.batch.extend_from_slice(&checksum.to_be_bytes());
        self.batch.extend_from_slice(&wire_length(entry.len()).to_be_bytes());
        self.batch.extend_from_slice(entry);
        self.batch.push(END_OF_RECORD);
        self.batch_txns += 1;
        self.last = zxid;
        Ok(())
    }

    /// Writes the batch with one write and makes it durable with one sync. `clock` is asked before
    /// and after the sync. None when nothing was appended.
    ///
    /// # Errors
    /// After any error the log is poisoned and the process must end: after a failed sync nobody
    /// knows what is on disk.
    pub fn commit(&mut self, clock: &mut dyn FnMut() -> Instant) -> Result<Option<Committed>> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        if self.batch.is_empty() {
            return Ok(None);
        }
        // Set until everything has worked, so that an early return leaves it set.
        self.poisoned = true;
        let sync_time = self.write_batch(clock)?;
        let done = Committed {
            last: self.last,
            txns: self.batch_txns,
            bytes: self.batch.len() as u64,
            sync_time,
        };
        self.committed = self.last;
        self.batch_txns = 0;
        if self.batch.capacity() > BUFFER_KEEP_MAX {
            self.batch = Vec::new();
        } else {
            self.batch.clear();
        }
        self.poisoned = false;
        let end = self.open.as_ref().map_or(0, |o| o.end);
        if self.options.size_limit_bytes.is_some_and(|limit| end > limit) {
            self.roll()?;
        }
        Ok(Some(done))
    }

    fn write_batch(&mut self, clock: &mut dyn FnMut() -> Instant) -> Result<Duration> {
        let created = self.open.is_none();
        if created {
            self.create()?;
        }
        let Some(open) = &mut self.open else { return Err(Error::Poisoned) };
        let begin = open.end;
        let end = begin + self.batch.len() as u64;
        let position = begin.max(LOG_HEADER_LEN as u64);
        open.len = open.len.max(position);
        let len = padded(position, open.len, self.options.prealloc_bytes);
        let grows = len > open.len;
        if grows {
            open.file.set_len(len).at("extend", &open.path)?;
            open.len = len;
        }
        let records = self.batch.len();
        BatchMark { begin, end, last: self.last }.write(&mut self.batch);
        let written = begin + self.batch.len() as u64;
        if written > open.zeroed && self.options.prealloc_bytes > 0 {
            let ahead = written.clamp(*ZEROS_BYTES.start(), *ZEROS_BYTES.end());
            open.zeroed = (written + ahead).min(len).max(written);
            self.batch.resize((open.zeroed - begin) as usize, 0);
        }
        open.file.write_at(begin, &self.batch).at("write", &open.path)?;
        open.len = open.len.max(begin + self.batch.len() as u64);
        self.batch.truncate(records);
        let mut sync_time = Duration::ZERO;
        if self.options.force_sync {
            let before = clock();
            open.file.sync_data().at("sync", &open.path)?;
            sync_time = clock().since(before);
            if created {
                self.disk.sync_dir(&self.dirs.logs).at("sync", &self.dirs.logs)?;
            }
            // Behind the sync, so that it's never more than the truth; before anybody is told, so
            // that a killed process has promised nothing that it does not cover. What shows that the
            // file is missing, or shorter than it was, must outlive a loss of power, too.
            let (bytes, last, len, sum) = (end, self.last, open.len, self.last_sum);
            let mark = Durable { log: open.name, bytes, last, len, sum };
            self.durable.write(mark, created || grows)?;
        }
        open.end = end;
        Ok(sync_time)
    }

    fn create(&mut self) -> Result<()> {
        let path = self.dirs.logs.join(log_name(self.first));
        if self.options.force_sync {
            self.durable.write(Durable::before(self.first, self.committed), true)?;
        }
        let file = self.disk.create(&path).at("create", &path)?;
        self.open = Some(Open { file, path, name: self.first, end: 0, len: 0, zeroed: 0 });
        Ok(())
    }

    /// Closes the file; the next append creates one, named after itself. What was appended and not
    /// committed is committed first.
    pub fn roll(&mut self) -> Result<()> {
        self.commit(&mut || Instant::default())?;
        self.open = None;
        Ok(())
    }

    /// Forgets every transaction after `zxid`, on disk too; on return that is durable. Appending
    /// goes on with a new file. What was appended and not committed is dropped.
    ///
    /// # Errors
    /// [`Error::NotHere`]: `zxid` is not in the log, or no snapshot reaches it; nothing changed,
    /// ask the leader for a snapshot. Any other error poisons the log.
    pub fn truncate(&mut self, zxid: Zxid) -> Result<()> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        self.batch.clear();
        self.batch_txns = 0;
        self.last = self.committed;
        self.open = None;
        self.durable.close();
        match truncate::truncate(&self.disk, &self.dirs, zxid) {
            Ok(()) => {
                self.last = zxid;
                self.committed = zxid;
                Ok(())
            }
            Err(e @ Error::NotHere { .. }) => Err(e),
            Err(e) => {
                self.poisoned = true;
                Err(e)
            }
        }
    }

    /// Goes on after `zxid` with a new file: after a snapshot was installed
    /// ([`truncate::install`]), or when a leader starts its epoch. What was appended and not
    /// committed is dropped.
    pub fn reset(&mut self, zxid: Zxid) {
        self.batch.clear();
        self.batch_txns = 0;
        self.open = None;
        self.durable.close();
        self.last = zxid;
        self.committed = zxid;
    }
}

/// The length a file must have before a record is written at `position` (Apache
/// `FilePadding.calculateFileSizeWithPadding`): the first extension, at 16, gives 64 MiB + 16.
fn padded(position: u64, len: u64, prealloc: u64) -> u64 {
    if prealloc == 0 || position + PADDING_SLACK < len {
        len
    } else if position > len {
        (position + prealloc) / prealloc * prealloc
    } else {
        len + prealloc
    }
}
