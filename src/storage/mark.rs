//! What tells a torn tail from damage: the batch mark behind the last record, and the durable mark
//! beside the logs. Apache reads neither: the first lies behind a zero length, where its reader
//! turns to the next file; the second in a file whose name means nothing to it.
//!
//! Batch mark, written with every batch, in the same write, and overwritten by the next batch:
//!
//! | offset | bytes | content |
//! | --- | --- | --- |
//! | 0 | 12 | zeros: a record of length 0, "end of file" to every reader |
//! | 12 | 8 | `RKBATCH1` |
//! | 20 | 8 | offset of the batch's first byte (0 when it created the file) |
//! | 28 | 8 | offset behind the batch's last record: where this mark begins |
//! | 36 | 8 | zxid of the batch's last record |
//! | 44 | 4 | Adler-32 of bytes 12 to 43 |
//!
//! Durable mark, the file `rookeeper.durable` in the log directory; one sector, written in place:
//!
//! | offset | bytes | content |
//! | --- | --- | --- |
//! | 0 | 8 | `RKDURBL2` |
//! | 8 | 8 | zxid in the name of the log |
//! | 16 | 8 | bytes of that log that were synced, up to the end of its last record |
//! | 24 | 8 | last zxid that was synced |
//! | 32 | 8 | length of that log, preallocated zeros included; 0 when nobody knows |
//! | 40 | 4 | Adler-32 of the last record's entry; 0 when nobody knows |
//! | 44 | 4 | Adler-32 of bytes 0 to 43 |
//!
//! Until 2026 it was `RKDURBL1`, without bytes 32 to 43, and is still read.
//!
//! It's written after every batch has been synced, so it never says more than is durable, and itself
//! synced when a log is created, after a log's first batch and whenever a log has grown; otherwise the
//! system writes it back. After the kill of a process it's exact, after a loss of power a lower bound.

use std::path::{Path, PathBuf};

use super::disk::{DiskFile, DiskRef, read_full};
use super::epoch::write_atomic;
use super::{Disk, IoContext, Result};
use crate::types::Zxid;

const BATCH_MAGIC: &[u8; 8] = b"RKBATCH1";
const DURABLE_MAGIC: &[u8; 8] = b"RKDURBL2";
/// Of a mark without the length and the entry's checksum.
const DURABLE_MAGIC_1: &[u8; 8] = b"RKDURBL1";
/// Bytes of a batch mark, its zeros included. Less than the smallest batch with its own mark, so a
/// batch always overwrites the mark before it.
pub(super) const BATCH_MARK_LEN: usize = 48;
/// Zeros in front of the magic.
pub(super) const BATCH_MARK_ZEROS: usize = 12;
const DURABLE_LEN: usize = 48;
const DURABLE_LEN_1: usize = 36;
/// The file of the durable mark.
pub(super) const DURABLE_NAME: &str = "rookeeper.durable";

/// The last batch of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchMark {
    pub begin: u64,
    pub end: u64,
    pub last: Zxid,
}

fn long(b: &[u8], at: usize) -> i64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&b[at..at + 8]);
    i64::from_be_bytes(eight)
}

fn adler(bytes: &[u8]) -> [u8; 4] {
    simd_adler32::adler32(&bytes).to_be_bytes()
}

impl BatchMark {
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; BATCH_MARK_ZEROS]);
        let at = out.len();
        out.extend_from_slice(BATCH_MAGIC);
        out.extend_from_slice(&(self.begin as i64).to_be_bytes());
        out.extend_from_slice(&(self.end as i64).to_be_bytes());
        out.extend_from_slice(&self.last.0.to_be_bytes());
        let sum = adler(&out[at..]);
        out.extend_from_slice(&sum);
    }

    /// The mark whose magic stands at the start of `b`, at file offset `at`; None if it's not whole
    /// or lies about where it is.
    pub fn parse(b: &[u8], at: u64) -> Option<BatchMark> {
        let rest = BATCH_MARK_LEN - BATCH_MARK_ZEROS;
        if b.len() < rest || &b[..8] != BATCH_MAGIC || adler(&b[..rest - 4]) != b[rest - 4..rest] {
            return None;
        }
        let mark = BatchMark {
            begin: long(b, 8) as u64,
            end: long(b, 16) as u64,
            last: Zxid(long(b, 24)),
        };
        let at_its_place = mark.end.checked_add(BATCH_MARK_ZEROS as u64) == Some(at);
        (at_its_place && mark.begin < mark.end).then_some(mark)
    }
}

/// A lower bound of what a log durably holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Durable {
    /// The zxid in the log's name.
    pub log: Zxid,
    /// Behind its last record that was synced; 0 when none was, or nobody knows.
    pub bytes: u64,
    /// That record's zxid, or a transaction that was durable elsewhere when the log was begun.
    pub last: Zxid,
    /// The least length of the file; 0 when nobody knows.
    pub len: u64,
    /// Adler-32 of that record's entry; 0 when nobody knows.
    pub sum: u32,
}

impl Durable {
    /// Nothing of this log, and everything up to `last`.
    pub fn before(log: Zxid, last: Zxid) -> Durable {
        Durable { log, bytes: 0, last, len: 0, sum: 0 }
    }

    fn encode(&self) -> [u8; DURABLE_LEN] {
        let mut out = [0; DURABLE_LEN];
        out[..8].copy_from_slice(DURABLE_MAGIC);
        out[8..16].copy_from_slice(&self.log.0.to_be_bytes());
        out[16..24].copy_from_slice(&self.bytes.to_be_bytes());
        out[24..32].copy_from_slice(&self.last.0.to_be_bytes());
        out[32..40].copy_from_slice(&self.len.to_be_bytes());
        out[40..44].copy_from_slice(&self.sum.to_be_bytes());
        let sum = adler(&out[..44]);
        out[44..].copy_from_slice(&sum);
        out
    }

    fn decode(b: &[u8]) -> Option<Durable> {
        let whole = |len: usize, magic: &[u8; 8]| {
            b.len() >= len && &b[..8] == magic && adler(&b[..len - 4]) == b[len - 4..len]
        };
        let second = whole(DURABLE_LEN, DURABLE_MAGIC);
        if !second && !whole(DURABLE_LEN_1, DURABLE_MAGIC_1) {
            return None;
        }
        Some(Durable {
            log: Zxid(long(b, 8)),
            bytes: long(b, 16) as u64,
            last: Zxid(long(b, 24)),
            len: if second { long(b, 32) as u64 } else { 0 },
            sum: if second { (long(b, 36) & 0xffff_ffff) as u32 } else { 0 },
        })
    }

    /// What the log directory says; None without a file or with a damaged one: it's only a bound.
    pub fn load(disk: &dyn Disk, logs: &Path) -> Option<Durable> {
        let path = logs.join(DURABLE_NAME);
        if !disk.exists(&path) {
            return None;
        }
        let mut b = [0; DURABLE_LEN];
        let n = read_full(&*disk.open(&path).ok()?, 0, &mut b).ok()?;
        Durable::decode(&b[..n])
    }

    /// Lowers or replaces the mark, durably; used when history is given up.
    pub fn store(&self, disk: &dyn Disk, logs: &Path) -> Result<()> {
        write_atomic(disk, logs, DURABLE_NAME, &self.encode())
    }
}

/// Keeps the durable mark of the log being written.
#[derive(Debug)]
pub(super) struct DurableFile {
    disk: DiskRef,
    path: PathBuf,
    file: Option<Box<dyn DiskFile>>,
}

impl DurableFile {
    pub fn new(disk: DiskRef, logs: &Path) -> DurableFile {
        DurableFile { disk, path: logs.join(DURABLE_NAME), file: None }
    }

    /// Forgets the open file, after somebody replaced it.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// Writes the mark; with `sync` it's durable on return.
    pub fn write(&mut self, mark: Durable, sync: bool) -> Result<()> {
        let mut created = false;
        if self.file.is_none() {
            created = !self.disk.exists(&self.path);
            let file = if !created {
                self.disk.open_write(&self.path)
            } else {
                self.disk.create(&self.path)
            };
            self.file = Some(file.at("open", &self.path)?);
        }
        if let Some(file) = &mut self.file {
            file.write_at(0, &mark.encode()).at("write", &self.path)?;
            if sync {
                file.sync_data().at("sync", &self.path)?;
            }
            // Its name must be durable before the log it speaks of has a byte.
            if created && let Some(dir) = self.path.parent() {
                self.disk.sync_dir(dir).at("sync", dir)?;
            }
        }
        Ok(())
    }
}
