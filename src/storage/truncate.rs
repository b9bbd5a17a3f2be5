//! Giving up history: TRUNC to a zxid, and a leader's snapshot that replaces what is here.
//!
//! Every step is durable before the next, and every state between two steps is one that may be
//! loaded: TRUNC passes through shorter and shorter prefixes of the history (newest file first:
//! Apache shortens the middle file first, and a crash then resurrects the rest over a hole); an
//! install is decided by one rename and finished by the next start if need be.

use std::path::Path;

use super::disk::{Disk, DiskRef};
use super::log_reader::{LogReader, Step};
use super::mark::Durable;
use super::names::{self, Dirs, Named};
use super::replay::Replay;
use super::snapshot::{self, NullSink};
use super::{Error, IoContext, Result};
use crate::types::Zxid;

/// Makes `zxid` the last transaction on disk. The caller reloads its state afterwards.
///
/// # Errors
/// [`Error::NotHere`], with nothing changed, when `zxid` isn't reached by a usable snapshot and an
/// unbroken log: the leader's snapshot is needed then.
pub fn truncate(disk: &DiskRef, dirs: &Dirs, zxid: Zxid) -> Result<()> {
    let reach = check_reachable(disk, dirs, zxid)?;
    let disk = &**disk;
    lower_mark(disk, dirs, zxid)?;
    // Snapshots first: one beyond `zxid` would bring everything back (ZOOKEEPER-4837).
    for path in reach.too_new.iter().rev() {
        disk.remove(path).at("remove", path)?;
        disk.sync_dir(&dirs.snapshots).at("sync", &dirs.snapshots)?;
    }
    cut_logs(disk, dirs, zxid)
}

struct Reach {
    /// Snapshots that hold something after the zxid, ascending.
    too_new: Vec<std::path::PathBuf>,
}

/// Checks that recovery would arrive exactly at `zxid` once everything after it is gone.
fn check_reachable(disk: &DiskRef, dirs: &Dirs, zxid: Zxid) -> Result<Reach> {
    let not_here = |what: String| Error::NotHere { zxid, what };
    let mut too_new = Vec::new();
    let mut base = None;
    for named in names::snapshots(&**disk, &dirs.snapshots)?.into_iter().rev() {
        if named.zxid > zxid {
            too_new.push(named.path);
            continue;
        }
        if base.is_some() {
            break;
        }
        let Ok(info) = snapshot::read(&**disk, &named, &mut NullSink) else { continue };
        // Apache's snapshots are fuzzy: one that began before `zxid` may hold what came after it.
        let holds = info.digest.map_or(named.zxid, |(at, _)| at.max(named.zxid));
        if holds.max(info.last_processed.unwrap_or(holds)) > zxid {
            too_new.push(named.path);
        } else {
            base = Some(named.zxid);
        }
    }
    too_new.reverse();
    let base = base.ok_or_else(|| not_here("no usable snapshot at or before it".into()))?;
    if base == zxid {
        return Ok(Reach { too_new });
    }
    let mut replay =
        Replay::open(disk.clone(), dirs.clone(), base).map_err(|e| not_here(e.to_string()))?;
    while let Some(logged) = replay.next().map_err(|e| not_here(e.to_string()))? {
        if logged.entry.header.zxid == zxid {
            return Ok(Reach { too_new });
        }
        if logged.entry.header.zxid > zxid {
            break;
        }
    }
    Err(not_here("not in the log".into()))
}

/// Lowers the durable mark, before what it covers goes away.
fn lower_mark(disk: &dyn Disk, dirs: &Dirs, zxid: Zxid) -> Result<()> {
    let Some(mark) = Durable::load(disk, &dirs.logs) else { return Ok(()) };
    Durable::before(mark.log, mark.last.min(zxid)).store(disk, &dirs.logs)
}

/// Removes every record after `zxid`: whole files newest first, then the rest of the last.
fn cut_logs(disk: &dyn Disk, dirs: &Dirs, zxid: Zxid) -> Result<()> {
    let mut logs = names::logs(disk, &dirs.logs)?;
    while let Some(newest) = logs.pop() {
        if newest.zxid > zxid {
            disk.remove(&newest.path).at("remove", &newest.path)?;
            disk.sync_dir(&dirs.logs).at("sync", &dirs.logs)?;
            continue;
        }
        return cut_log(disk, &newest, zxid);
    }
    Ok(())
}

fn cut_log(disk: &dyn Disk, log: &Named, zxid: Zxid) -> Result<()> {
    let mut reader = LogReader::open(disk, &log.path)?;
    let cut = loop {
        match reader.step()? {
            Step::Record(record) if record.zxid > zxid => break record.offset,
            Step::Record(_) => {}
            Step::End(end) => break end.offset,
        }
    };
    let mut file = disk.open_write(&log.path).at("open", &log.path)?;
    file.set_len(cut).at("cut", &log.path)?;
    file.sync_data().at("sync", &log.path)
}

/// Finishes an install: every log and every other snapshot goes, then the waiting snapshot gets its
/// name. Older files go as well, because they may tell another history: the one that the leader's
/// snapshot replaced. Called by [`super::SnapshotWriter::finish_install`] and at every start.
/// Returns the zxid installed, None when nothing was waiting.
pub fn complete_install(disk: &dyn Disk, dirs: &Dirs) -> Result<Option<Zxid>> {
    let waiting = names::installs(disk, &dirs.snapshots)?;
    let Some((install, stale)) = waiting.split_last() else { return Ok(None) };
    let zxid = install.zxid;
    let snapshots = names::snapshots(disk, &dirs.snapshots)?;
    for old in snapshots.iter().rev().chain(stale) {
        disk.remove(&old.path).at("remove", &old.path)?;
    }
    disk.sync_dir(&dirs.snapshots).at("sync", &dirs.snapshots)?;
    for old in names::logs(disk, &dirs.logs)?.iter().rev() {
        disk.remove(&old.path).at("remove", &old.path)?;
    }
    // From now on nothing less than the snapshot is whole.
    Durable::before(zxid.next(), zxid).store(disk, &dirs.logs)?;
    let final_path = final_path(&install.path, &dirs.snapshots);
    disk.rename(&install.path, &final_path).at("rename", &install.path)?;
    disk.sync_dir(&dirs.snapshots).at("sync", &dirs.snapshots)?;
    Ok(Some(zxid))
}

fn final_path(install: &Path, dir: &Path) -> std::path::PathBuf {
    let name = install.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let rest = name.strip_prefix(names::INSTALL_PREFIX).unwrap_or(name);
    dir.join(format!("{}{rest}", names::SNAPSHOT_PREFIX))
}
