//! One log file, record by record, and what its end means.
//!
//! The reader stops at the first thing that is no record. Whether that is the end, a torn tail or
//! damage is decided by what follows ([`judge`]), never by the kind of the flaw: a power cut can
//! leave any 512-byte pieces of the last batch, with zeros between.

use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes, BytesMut};

use super::disk::{Disk, DiskFile, read_full};
use super::mark::{BATCH_MARK_LEN, BATCH_MARK_ZEROS, BatchMark, Durable};
use super::txnlog::{END_OF_RECORD, LOG_HEADER_LEN, LOG_MAGIC, RECORD_HEAD_LEN};
use super::{IoContext, Result};
use crate::proto::txn::TxnHeader;
use crate::types::Zxid;

const READ_CHUNK: usize = 256 << 10;
/// The scan behind a flaw gives up (and reports damage) after checksumming so many times the file.
const SCAN_EFFORT: u64 = 16;
/// A batch of ours is at most so long: what follows a flaw from farther away is not of one batch.
const BATCH_BYTES_MAX: u64 = 256 << 20;

const WAS_DURABLE: &str = "and this part of the file was on disk; bring it back, or, to accept the loss \
     of what is not readable, remove rookeeper.durable beside it";
const WAS_LONGER: &str = "and the file was longer; bring it back, or, to accept the loss of what was \
     behind, remove rookeeper.durable beside it";

/// A record as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of its first byte (the checksum).
    pub offset: u64,
    /// From its header.
    pub zxid: Zxid,
    /// The encoded entry.
    pub entry: Bytes,
    /// Its Adler-32, as it stands before it.
    pub sum: u32,
}

impl Record {
    /// Behind its last byte.
    pub fn end(&self) -> u64 {
        self.offset + (RECORD_HEAD_LEN + self.entry.len() + 1) as u64
    }
}

/// Where a file stops being readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Behind the last record; 0 when not even the header is whole.
    pub offset: u64,
    /// What stands there instead of a record; None for the end of the file or a zero length.
    pub flaw: Option<&'static str>,
}

/// A record, or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next record.
    Record(Record),
    /// No more; asked again, the same answer.
    End(End),
}

/// Reads one log file.
#[derive(Debug)]
pub struct LogReader {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    len: u64,
    /// Bytes from `at` on.
    buf: BytesMut,
    at: u64,
    end: Option<End>,
}

impl LogReader {
    /// Opens a log. A bad header is not an error here but an immediate end.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<LogReader> {
        let file = disk.open(path).at("open", path)?;
        let len = file.len().at("read", path)?;
        let mut reader =
            LogReader { file, path: path.to_owned(), len, buf: BytesMut::new(), at: 0, end: None };
        let flaw = if !reader.fill(LOG_HEADER_LEN)? {
            Some("the header is not whole")
        } else if reader.buf[..4] != LOG_MAGIC.to_be_bytes() {
            Some("no ZKLG header")
        } else {
            reader.skip(LOG_HEADER_LEN);
            None
        };
        if flaw.is_some() {
            reader.end = Some(End { offset: 0, flaw });
        }
        Ok(reader)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file, preallocated ones included.
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// The open file.
    pub(super) fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// Makes `n` bytes available; false when the file ends before.
    fn fill(&mut self, n: usize) -> Result<bool> {
        if self.buf.len() >= n {
            return Ok(true);
        }
        let have = self.buf.len();
        let from = self.at + have as u64;
        let left = self.len.saturating_sub(from);
        if ((n - have) as u64) > left {
            return Ok(false);
        }
        let want = (n - have).max(READ_CHUNK).min(usize::try_from(left).unwrap_or(READ_CHUNK));
        self.buf.resize(have + want, 0);
        let got = read_full(&*self.file, from, &mut self.buf[have..]).at("read", &self.path)?;
        self.buf.truncate(have + got);
        Ok(self.buf.len() >= n)
    }

    fn skip(&mut self, n: usize) {
        self.buf.advance(n);
        self.at += n as u64;
    }

    /// The next record, or why there is none.
    ///
    /// # Errors
    /// Only those of reading the file.
    pub fn step(&mut self) -> Result<Step> {
        if let Some(end) = self.end {
            return Ok(Step::End(end));
        }
        let offset = self.at;
        match self.record()? {
            Ok(record) => Ok(Step::Record(record)),
            Err(flaw) => {
                let end = End { offset, flaw };
                self.end = Some(end);
                Ok(Step::End(end))
            }
        }
    }

    fn record(&mut self) -> Result<std::result::Result<Record, Option<&'static str>>> {
        let offset = self.at;
        if !self.fill(RECORD_HEAD_LEN)? {
            let zeros = self.buf.iter().all(|b| *b == 0);
            return Ok(Err((!zeros).then_some("the file ends within a record's length")));
        }
        let checksum = (&self.buf[..8]).get_u64();
        let length = (&self.buf[8..]).get_i32();
        if length == 0 {
            return Ok(Err((checksum != 0).then_some("a checksum without a length")));
        }
        if length < TxnHeader::LEN as i32 {
            return Ok(Err(Some("a length too small for a transaction")));
        }
        let length = length as usize;
        // The length is compared with the file before anything is allocated.
        if !self.fill(RECORD_HEAD_LEN + length + 1)? {
            return Ok(Err(Some("a length beyond the end of the file")));
        }
        if self.buf[RECORD_HEAD_LEN + length] != END_OF_RECORD {
            return Ok(Err(Some("no end-of-record byte")));
        }
        let body = &self.buf[RECORD_HEAD_LEN..RECORD_HEAD_LEN + length];
        if u64::from(simd_adler32::adler32(&body)) != checksum {
            return Ok(Err(Some("the checksum does not match")));
        }
        let zxid = Zxid((&body[12..20]).get_i64());
        self.skip(RECORD_HEAD_LEN);
        let entry = self.buf.split_to(length).freeze();
        self.at += length as u64;
        self.skip(1);
        Ok(Ok(Record { offset, zxid, entry, sum: checksum as u32 }))
    }
}

/// What the end of the newest log means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing but zeros follows.
    Clean,
    /// A write that a crash interrupted: cut the file here.
    Torn {
        /// Behind the last record.
        cut: u64,
    },
    /// Records that were durable are not what they were.
    Damaged {
        /// Of the first byte that can't be used.
        offset: u64,
        /// The reason to be sure.
        why: &'static str,
    },
}

/// What stands behind an end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    /// Behind the last byte that is not zero; the start when all are.
    pub data_end: u64,
    /// A whole record with a zxid beyond the last one.
    pub valid: Option<(u64, Zxid)>,
    /// A whole batch mark exactly at the start.
    mark_here: Option<BatchMark>,
    /// The last whole batch mark anywhere.
    mark_last: Option<BatchMark>,
}

impl Scan {
    /// The transaction that proves that more than `last` was durable here, in a log that another one
    /// follows. What stands behind a whole mark at the end never became durable.
    pub fn lost_after(&self, last: Zxid) -> Option<Zxid> {
        let marked = self.mark_last.map(|mark| mark.last).filter(|at| *at > last);
        let found = marked.or(self.valid.map(|(_, zxid)| zxid));
        found.filter(|_| self.mark_here.is_none())
    }
}

/// Judges the end of a log that no readable log follows. `last` is the last zxid read; `durable`
/// the durable mark if it names this log.
///
/// The order of the rules:
/// 1. before what is known to be durable, or in a file that has become shorter: damage;
/// 2. a batch mark right here: the batch before is whole, and the next one never became durable
///    (it would have overwritten the mark): torn;
/// 3. no whole record behind: torn, or clean if there are only zeros;
/// 4. whole records behind, and a mark that says they are of the batch torn here: torn;
/// 5. whole records behind, in a log of ours whose last batch lost its mark: torn, if near enough;
/// 6. damage.
pub(super) fn judge(
    reader: &LogReader,
    end: End,
    last: Zxid,
    durable: Option<Durable>,
) -> Result<Verdict> {
    let offset = end.offset;
    if durable.is_some_and(|d| d.bytes > offset) {
        return Ok(Verdict::Damaged { offset, why: WAS_DURABLE });
    }
    if durable.is_some_and(|d| d.len > reader.file_len()) {
        return Ok(Verdict::Damaged { offset, why: WAS_LONGER });
    }
    let scan = scan(reader, offset, last)?;
    if scan.data_end <= offset {
        return Ok(Verdict::Clean);
    }
    if let Some(mark) = scan.mark_here {
        let own_end = mark.end + BATCH_MARK_LEN as u64;
        return Ok(if scan.data_end <= own_end {
            Verdict::Clean
        } else {
            Verdict::Torn { cut: offset }
        });
    }
    if scan.valid.is_none() {
        return Ok(Verdict::Torn { cut: offset });
    }
    let torn = match scan.mark_last {
        Some(mark) => mark.begin <= offset,
        None => durable.is_some() && scan.data_end - offset <= BATCH_BYTES_MAX,
    };
    Ok(if torn {
        Verdict::Torn { cut: offset }
    } else {
        Verdict::Damaged { offset, why: "whole records follow" }
    })
}

/// Looks at everything from `from` on.
pub(super) fn scan(reader: &LogReader, from: u64, last: Zxid) -> Result<Scan> {
    let mut found = Scan { data_end: from, ..Scan::default() };
    let len = reader.file_len();
    let mut effort = len.saturating_mul(SCAN_EFFORT);
    let mut buf = vec![0; READ_CHUNK];
    // Chunks overlap, so that every head and every mark lies whole in one of them.
    let overlap = BATCH_MARK_LEN;
    let mut start = from;
    while start < len {
        let n = read_full(reader.file(), start, &mut buf).at("read", reader.path())?;
        if n == 0 {
            break;
        }
        let chunk = &buf[..n];
        let at_end = start + n as u64 >= len;
        let stop = if at_end { n } else { n - overlap };
        if !is_zero(chunk)
            && let Some(i) = chunk.iter().rposition(|b| *b != 0)
        {
            found.data_end = found.data_end.max(start + i as u64 + 1);
            let mut p = 0;
            while p < stop {
                let ahead = &chunk[p..];
                let zeros = ahead.iter().take_while(|b| **b == 0).count();
                if zeros == ahead.len() {
                    break;
                }
                // A record begins with four zeros and at most three more in its checksum.
                if zeros > 7 {
                    p += zeros - 7;
                    if p >= stop {
                        break;
                    }
                }
                look(reader, &chunk[p..], start + p as u64, last, &mut effort, &mut found)?;
                p += 1;
            }
        }
        if at_end {
            break;
        }
        start += stop as u64;
    }
    let here = from + BATCH_MARK_ZEROS as u64;
    let mut mark = [0; BATCH_MARK_LEN];
    let n = read_full(reader.file(), from, &mut mark).at("read", reader.path())?;
    if n == BATCH_MARK_LEN && mark[..BATCH_MARK_ZEROS] == [0; BATCH_MARK_ZEROS] {
        found.mark_here = BatchMark::parse(&mark[BATCH_MARK_ZEROS..], here);
    }
    Ok(found)
}

/// Whether there are only zeros: most of what is scanned is space that was never written.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(256).all(|some| some.iter().fold(0, |all, b| all | b) == 0)
}

/// Whether a mark or a record begins at the start of `b`, which is at `offset`.
fn look(
    reader: &LogReader,
    b: &[u8],
    offset: u64,
    last: Zxid,
    effort: &mut u64,
    found: &mut Scan,
) -> Result<()> {
    if let Some(mark) = BatchMark::parse(b, offset) {
        found.mark_last = Some(mark);
        return Ok(());
    }
    if found.valid.is_some() || b.len() < RECORD_HEAD_LEN || b[..4] != [0; 4] || b[4..8] == [0; 4] {
        return Ok(());
    }
    let length = (&b[8..12]).get_i32();
    let body_at = offset + RECORD_HEAD_LEN as u64;
    let left = reader.file_len() - body_at;
    if length < TxnHeader::LEN as i32 || length as u64 >= left {
        return Ok(());
    }
    let mut eor = [0];
    read_full(reader.file(), body_at + length as u64, &mut eor).at("read", reader.path())?;
    if eor[0] != END_OF_RECORD {
        return Ok(());
    }
    if *effort < length as u64 {
        // Somebody filled the file with look-alikes; rather refuse than cut.
        found.valid = Some((offset, Zxid(i64::MAX)));
        return Ok(());
    }
    *effort -= length as u64;
    let mut body = vec![0; length as usize];
    read_full(reader.file(), body_at, &mut body).at("read", reader.path())?;
    let zxid = Zxid((&body[12..20]).get_i64());
    if u64::from(simd_adler32::adler32(&&body[..])) == (&b[..8]).get_u64() && zxid > last {
        found.valid = Some((offset, zxid));
    }
    Ok(())
}
