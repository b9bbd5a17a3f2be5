//! All transactions after a zxid, from as many log files as there are, without a hole.
//!
//! Apache goes on with the next file wherever one ends and only logs what it skips
//! (`FileTxnLog.FileTxnIterator`); here the next record must follow the last one
//! ([`Zxid::follows`]), in the file and across files. A torn tail in the middle file is legal: it's
//! what a crash and a restart leave, and the next file goes on exactly there. Where the next file
//! begins a new epoch its zxid doesn't tell whether anything is missing, and what stands behind the
//! last readable record must.
//!
//! A file that is missing, shorter than it was, or another one in its place is what the durable mark
//! shows ([`super::mark`]), and the name: a log begins with the transaction that it's named after.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::DiskRef;
use super::log_reader::{End, LogReader, Record, Step, Verdict, judge, scan};
use super::mark::Durable;
use super::names::{self, Dirs, Named};
use super::{Error, IoContext, Result};
use crate::proto::txn::TxnEntry;
use crate::types::Zxid;

/// Bytes rewritten at once after a start.
const REWRITE_CHUNK: usize = 1 << 20;

/// A transaction from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Decoded.
    pub entry: TxnEntry,
    /// As it stands in the log: what a PROPOSAL of it carries.
    pub bytes: Bytes,
    /// The file it's from.
    pub path: Arc<PathBuf>,
    /// Of the record in the file.
    pub offset: u64,
}

/// What replaying came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayEnd {
    /// The last transaction here, in the snapshot or the log.
    pub last: Zxid,
    /// Transactions handed out.
    pub replayed: u64,
    /// What was cut or removed or skipped, for the server's log.
    pub notes: Vec<String>,
}

/// Hands out the transactions after a snapshot.
#[derive(Debug)]
pub struct Replay {
    disk: DiskRef,
    dirs: Dirs,
    start: Zxid,
    last: Zxid,
    /// Still to come, ascending.
    files: std::vec::IntoIter<Named>,
    current: Option<Current>,
    /// The last record of the file before, and where and how that file ended.
    before: Option<(LogReader, End, Zxid)>,
    replayed: u64,
    notes: Vec<String>,
    /// Newest files without a record: to be removed by `finish`.
    empty: Vec<Named>,
    /// The newest file with records, once it has been read: where it ends, and whether to cut.
    newest: Option<Newest>,
    durable: Option<Durable>,
    /// The name of the newest log in the directory, with records or without.
    newest_name: Option<Zxid>,
    done: bool,
    failed: bool,
}

/// The newest log with records.
#[derive(Debug)]
struct Newest {
    named: Named,
    /// Behind its last record.
    end: u64,
    /// What stands there is to be cut off.
    cut: bool,
    /// Its last record, and the checksum of that one's entry.
    last: Zxid,
    sum: u32,
}

/// A file being read.
#[derive(Debug)]
struct Current {
    reader: LogReader,
    path: Arc<PathBuf>,
    name: Zxid,
    /// The last zxid read; before the first record, the one before its name's.
    seen: Zxid,
    /// The checksum of that record's entry.
    sum: u32,
    begun: bool,
    /// What the durable mark says of this file, until the record has been read that it speaks of.
    mark: Option<Durable>,
}

impl Current {
    /// Whether this file is the one that was written: its first record is that of its name, and the
    /// one that was known to be durable is where it was, with the content that it had.
    fn check_place(&mut self, record: &Record) -> Result<()> {
        let wrong = |what: String| Error::Corrupt {
            path: (*self.path).clone(),
            offset: record.offset,
            what,
        };
        if !self.begun && record.zxid != self.name {
            let what = "it begins with transaction";
            return Err(wrong(format!("{what} {}: another file under this name?", record.zxid)));
        }
        self.begun = true;
        let Some(mark) = self.mark.filter(|mark| record.end() >= mark.bytes) else {
            return Ok(());
        };
        self.mark = None;
        let same_sum = mark.sum == 0 || mark.sum == record.sum;
        if record.end() == mark.bytes && record.zxid == mark.last && same_sum {
            return Ok(());
        }
        let (last, bytes) = (mark.last, mark.bytes);
        let what = format!(
            "transaction {last}, which was on disk, does not end at {bytes} as it did: another \
             file under this name?"
        );
        Err(Error::Corrupt { path: (*self.path).clone(), offset: record.offset, what })
    }
}

impl Replay {
    /// Everything after `start`, the zxid of the loaded snapshot.
    pub fn open(disk: DiskRef, dirs: Dirs, start: Zxid) -> Result<Replay> {
        // Before the files: the log may be written meanwhile, and the mark must not be ahead.
        let durable = Durable::load(&*disk, &dirs.logs);
        let mut files = names::logs(&*disk, &dirs.logs)?;
        let newest_name = files.last().map(|newest| newest.zxid);
        let mut empty = Vec::new();
        // A crash can leave the newest file without a record: no header, half of one (P9, P10), or
        // a torn first batch. The one before is the newest then.
        while let Some(newest) = files.last() {
            let mut reader = LogReader::open(&*disk, &newest.path)?;
            let Step::End(end) = reader.step()? else { break };
            let known = durable.filter(|d| d.log == newest.zxid);
            let before = Zxid(newest.zxid.0 - 1);
            if let Verdict::Damaged { offset, why } = judge(&reader, end, before, known)? {
                let what = describe(end, why);
                return Err(Error::Corrupt { path: newest.path.clone(), offset, what });
            }
            empty.extend(files.pop());
        }
        // The newest log that may hold the record after `start`, and all later ones.
        let from = files.iter().rposition(|f| f.zxid.0 <= start.0.saturating_add(1)).unwrap_or(0);
        files.drain(..from);
        Ok(Replay {
            disk,
            dirs,
            start,
            last: start,
            files: files.into_iter(),
            current: None,
            before: None,
            replayed: 0,
            notes: Vec::new(),
            empty,
            newest: None,
            durable,
            newest_name,
            done: false,
            failed: false,
        })
    }

    /// Whether there is any log with a record, before the first [`Replay::next`].
    pub(super) fn has_logs(&self) -> bool {
        self.files.len() > 0
    }

    /// The last zxid handed out, or the start.
    pub fn last_zxid(&self) -> Zxid {
        self.last
    }

    /// The next transaction, None at the end.
    ///
    /// # Errors
    /// Damage and holes, with file and offset. After an error there is no going on.
    #[allow(clippy::should_implement_trait)] // an iterator can't say "stop at the first error"
    pub fn next(&mut self) -> Result<Option<Logged>> {
        if self.failed || self.done {
            return Ok(None);
        }
        let step = self.advance();
        self.failed = step.is_err();
        step
    }

    fn advance(&mut self) -> Result<Option<Logged>> {
        loop {
            let Some(current) = &mut self.current else {
                if !self.open_next()? {
                    self.done = true;
                    return Ok(None);
                }
                continue;
            };
            match current.reader.step()? {
                Step::Record(record) => {
                    current.check_place(&record)?;
                    let path = current.path.clone();
                    let seen_before = std::mem::replace(&mut current.seen, record.zxid);
                    current.sum = record.sum;
                    if record.zxid <= self.start {
                        continue;
                    }
                    self.check(&record, &path, seen_before)?;
                    let entry = TxnEntry::decode(record.entry.clone()).map_err(|e| {
                        let path = (*path).clone();
                        Error::Corrupt { path, offset: record.offset, what: e.to_string() }
                    })?;
                    self.last = record.zxid;
                    self.replayed += 1;
                    let (bytes, offset) = (record.entry, record.offset);
                    return Ok(Some(Logged { entry, bytes, path, offset }));
                }
                Step::End(end) => {
                    if let Some(Current { reader, seen, sum, .. }) = self.current.take() {
                        if let Some(newest) = &mut self.newest {
                            (newest.last, newest.sum) = (seen, sum);
                        }
                        self.before = Some((reader, end, seen));
                    }
                }
            }
        }
    }

    fn open_next(&mut self) -> Result<bool> {
        let Some(next) = self.files.next() else {
            self.close_newest()?;
            return Ok(false);
        };
        let reader = LogReader::open(&*self.disk, &next.path)?;
        self.current = Some(Current {
            reader,
            path: Arc::new(next.path.clone()),
            name: next.zxid,
            seen: Zxid(next.zxid.0 - 1),
            sum: 0,
            begun: false,
            mark: self.durable.filter(|mark| mark.log == next.zxid && mark.bytes > 0),
        });
        if self.files.len() == 0 {
            let last = Zxid(next.zxid.0 - 1);
            self.newest = Some(Newest { named: next, end: 0, cut: false, last, sum: 0 });
        }
        Ok(true)
    }

    /// Whether `record` follows; `seen` is the record before it in its file.
    fn check(&self, record: &Record, path: &Arc<PathBuf>, seen: Zxid) -> Result<()> {
        if record.zxid.follows(self.last) {
            return if record.zxid.epoch() == self.last.epoch() {
                Ok(())
            } else {
                self.check_end_of_epoch(path)
            };
        }
        let offset = record.offset;
        if record.zxid <= self.last {
            let what = format!("transaction {} after {}", record.zxid, self.last.max(seen));
            return Err(Error::Corrupt { path: (**path).clone(), offset, what });
        }
        // A hole. If the file before broke off, that is where the damage is.
        if let Some((reader, end, last)) = &self.before {
            let scan = scan(reader, end.offset, *last)?;
            if end.flaw.is_some() || scan.valid.is_some() {
                let next = path.file_name().unwrap_or_default().to_string_lossy();
                let why = format!("and {next} goes on with {}", record.zxid);
                let (path, offset) = (reader.path().to_owned(), end.offset);
                return Err(Error::Corrupt { path, offset, what: describe(*end, &why) });
            }
        }
        let (after, found) = (self.last, record.zxid);
        Err(Error::Gap { path: (**path).clone(), offset, after, found })
    }

    /// Whether the file before `path` ends where its epoch did. The first transaction of an epoch
    /// follows any of an earlier one, so a hole can't be seen from its zxid; but a file that isn't
    /// the newest was whole when the next one was begun (a start cuts torn tails), so a later record
    /// or batch mark behind its end is proof of damage.
    fn check_end_of_epoch(&self, path: &Arc<PathBuf>) -> Result<()> {
        let Some((reader, end, _)) = &self.before else { return Ok(()) };
        let scan = scan(reader, end.offset, self.last)?;
        match scan.lost_after(self.last) {
            None => Ok(()),
            Some(zxid) => {
                let next = path.file_name().unwrap_or_default().to_string_lossy();
                let why = format!("but {zxid} was there before {next} began");
                let (path, offset) = (reader.path().to_owned(), end.offset);
                Err(Error::Corrupt { path, offset, what: describe(*end, &why) })
            }
        }
    }

    /// Judges the end of the newest file with records.
    fn close_newest(&mut self) -> Result<()> {
        let Some((reader, end, seen)) = self.before.take() else { return Ok(()) };
        let Some(newest) = &mut self.newest else { return Ok(()) };
        let known = self.durable.filter(|d| d.log == newest.named.zxid);
        newest.end = end.offset;
        match judge(&reader, end, seen, known)? {
            Verdict::Clean => {}
            Verdict::Torn { cut } => {
                newest.cut = true;
                self.notes.push(format!(
                    "{}: torn write after {seen}, cut at offset {cut} ({})",
                    newest.named.path.display(),
                    end.flaw.unwrap_or("zeros"),
                ));
            }
            Verdict::Damaged { offset, why } => {
                let path = newest.named.path.clone();
                return Err(Error::Corrupt { path, offset, what: describe(end, why) });
            }
        }
        Ok(())
    }

    /// Ends the replay: checks that nothing known to be durable is missing and, with `repair`, makes
    /// the directory what it was read as, durably: torn tails cut, empty files removed, and the end
    /// of the newest log rewritten, because after a failed sync the page cache may show bytes that
    /// never reached the disk.
    ///
    /// # Panics
    /// If [`Replay::next`] hasn't returned None: a caller's bug.
    pub fn finish(mut self, repair: bool) -> Result<ReplayEnd> {
        assert!(self.done, "the replay has not come to its end");
        self.check_mark(self.last)?;
        if repair {
            self.repair()?;
        }
        Ok(ReplayEnd { last: self.last, replayed: self.replayed, notes: self.notes })
    }

    /// The last transaction, and what [`Replay::finish`] would cut or remove; nothing is changed.
    /// `snapshot` is the newest one beside the logs. Without any, whether everything is here that was
    /// before the log that the durable mark names is not known.
    pub(super) fn look_at_end(mut self, snapshot: Option<Zxid>) -> Result<(Zxid, Vec<String>)> {
        assert!(self.done, "the replay has not come to its end");
        let last = self.last.max(snapshot.unwrap_or_default());
        let elsewhere = |mark: &Durable| snapshot.is_none() && mark.bytes == 0;
        if self.durable.is_some_and(|mark| !elsewhere(&mark)) {
            self.check_mark(last)?;
        }
        let empty = self.empty.iter().map(|file| &file.path);
        self.notes.extend(empty.map(|path| format!("{}: holds no transaction", path.display())));
        Ok((last, self.notes))
    }

    /// Whether everything is here that the durable mark speaks of. Without the log that it names what
    /// follows its last transaction is gone as well, so that a newer snapshot is no comfort; only later
    /// logs are, which are Apache's.
    fn check_mark(&self, until: Zxid) -> Result<()> {
        let Some(mark) = self.durable else { return Ok(()) };
        let accept = format!(
            "bring it back, or, to accept the loss (after an older backup was put here, for \
             example), remove {}",
            self.dirs.logs.join(super::mark::DURABLE_NAME).display()
        );
        if mark.bytes > 0 && self.newest_name.is_none_or(|newest| newest < mark.log) {
            let path = self.dirs.logs.join(names::log_name(mark.log));
            let (bytes, last, left) = (mark.bytes, mark.last, until);
            let what = format!(
                "at least {bytes} bytes of it, up to transaction {last}, were on disk, and what \
                 is here ends with {left}; {accept}"
            );
            return Err(Error::Missing { path, what });
        }
        if mark.last > until {
            let path = self.dirs.logs.join(super::mark::DURABLE_NAME);
            let what = format!(
                "transactions up to {} were on disk and only {} is there: a log or a snapshot is \
                 missing; {accept}",
                mark.last, until
            );
            return Err(Error::Corrupt { path, offset: 24, what });
        }
        Ok(())
    }

    fn repair(&mut self) -> Result<()> {
        let mark = match &self.newest {
            Some(newest) => Some(self.repair_newest(newest)?),
            None => None,
        };
        for file in &self.empty {
            self.disk.remove(&file.path).at("remove", &file.path)?;
            self.notes.push(format!("{}: holds no transaction, removed", file.path.display()));
        }
        self.disk.sync_dir(&self.dirs.logs).at("sync", &self.dirs.logs)?;
        // All of it is durable now, and will be claimed in an election.
        let news = |mark: &Durable| self.durable.is_none_or(|d| d != *mark && d.last <= mark.last);
        mark.filter(news).map_or(Ok(()), |mark| mark.store(&*self.disk, &self.dirs.logs))
    }

    /// Makes the newest log durable as it was read. What the durable mark may say of it from now on.
    fn repair_newest(&self, newest: &Newest) -> Result<Durable> {
        let Newest { named: Named { path, zxid: log, .. }, end, cut, last, sum } = newest;
        let known = self.durable.filter(|d| d.log == *log);
        let mut file = self.disk.open_write(path).at("open", path)?;
        if *cut {
            if let Some(mark) = known.filter(|mark| mark.len > *end) {
                Durable { len: *end, ..mark }.store(&*self.disk, &self.dirs.logs)?;
            }
            file.set_len(*end).at("cut", path)?;
        }
        let mut at = known.map_or(0, |d| d.bytes).min(*end);
        let mut buf = vec![0; REWRITE_CHUNK];
        while at < *end {
            let n = usize::try_from(*end - at).unwrap_or(REWRITE_CHUNK).min(REWRITE_CHUNK);
            let n = super::disk::read_full(&*file, at, &mut buf[..n]).at("read", path)?;
            if n == 0 {
                break;
            }
            file.write_at(at, &buf[..n]).at("rewrite", path)?;
            at += n as u64;
        }
        file.sync_data().at("sync", path)?;
        let len = file.len().at("read", path)?;
        Ok(Durable { log: *log, bytes: *end, last: *last, len, sum: *sum })
    }
}

fn describe(end: End, why: &str) -> String {
    format!("{}, {why}", end.flaw.unwrap_or("zeros instead of a record"))
}
