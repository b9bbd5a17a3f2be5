//! What a start would find in a log directory, without a server and without changing anything.

use super::disk::DiskRef;
use super::log_reader::{End, LogReader, Verdict, judge};
use super::mark::Durable;
use super::names::{self, Dirs};
use super::replay::Replay;
use super::{Result, snapshot};
use crate::types::Zxid;

/// What a directory of logs comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Files.
    pub logs: usize,
    /// Transactions in them.
    pub txns: u64,
    /// The last one; where there is none, the newest snapshot's.
    pub last: Zxid,
    /// What a start would cut or remove, a line each.
    pub notes: Vec<String>,
}

/// Reads every log of a directory, as a start does from its snapshot on, and compares the end with the
/// durable mark. The snapshots beside the logs, if there are any, count as whole when their ends are.
///
/// # Errors
/// What a start would refuse, with file and offset.
pub fn directory(disk: &DiskRef, dirs: &Dirs) -> Result<Found> {
    let snapshots = names::snapshots(&**disk, &dirs.snapshots)?;
    let whole = snapshots.iter().rev().find(|named| snapshot::flaw(&**disk, named).is_none());
    let snapshot = whole.map(|named| named.zxid);
    let logs = names::logs(&**disk, &dirs.logs)?;
    let base = snapshot.unwrap_or(Zxid::ZERO);
    let start = logs.first().map_or(base, |log| Zxid(log.zxid.0 - 1));
    let mut replay = Replay::open(disk.clone(), dirs.clone(), start)?;
    let mut txns = 0;
    while replay.next()?.is_some() {
        txns += 1;
    }
    let (last, notes) = replay.look_at_end(snapshot)?;
    Ok(Found { logs: logs.len(), txns, last, notes })
}

/// What the end of one log means, if no other one follows it; `last` is the last zxid read.
///
/// # Errors
/// Only those of reading the file.
pub fn end_of_log(disk: &DiskRef, reader: &LogReader, end: End, last: Zxid) -> Result<Verdict> {
    let path = reader.path();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mark = path.parent().and_then(|dir| Durable::load(&**disk, dir));
    let zxid = names::zxid_of(name, names::LOG_PREFIX);
    judge(reader, end, last, mark.filter(|mark| Some(mark.log) == zxid))
}
