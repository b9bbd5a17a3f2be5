//! Retention: the newest N snapshots that can be read, and the logs they need (Apache
//! `PurgeTxnLog`).

use std::path::PathBuf;

use super::disk::Disk;
use super::names::{self, Dirs};
use super::snapshot::{self, NullSink};
use super::{IoContext, Result};

/// The least that `autopurge.snapRetainCount` can be.
pub const RETAIN_MIN: usize = 3;

/// What a purge removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Snapshots and logs, oldest first.
    pub removed: Vec<PathBuf>,
    /// Snapshots counted as kept.
    pub kept_snapshots: usize,
}

/// Keeps the newest `retain` snapshots that read whole, seals included (Apache looks at the last
/// five bytes only), and every log from the one that may hold the oldest kept snapshot's next
/// transaction. Nothing is removed while there are fewer than `retain`. Safe beside a running
/// server: the files it writes are newer than all that is removed.
pub fn purge(disk: &dyn Disk, dirs: &Dirs, retain: usize) -> Result<Purged> {
    let snapshots = names::snapshots(disk, &dirs.snapshots)?;
    let logs = names::logs(disk, &dirs.logs)?;
    let mut purged = Purged::default();
    let mut oldest = None;
    for named in snapshots.iter().rev() {
        if purged.kept_snapshots == retain {
            break;
        }
        if snapshot::looks_whole(disk, named) && snapshot::read(disk, named, &mut NullSink).is_ok()
        {
            purged.kept_snapshots += 1;
            oldest = Some(named.zxid);
        }
    }
    let Some(oldest) = oldest.filter(|_| purged.kept_snapshots == retain) else {
        return Ok(purged);
    };
    // The newest log with a name up to the oldest kept zxid may go on behind it.
    let first_log = logs.iter().rposition(|l| l.zxid <= oldest).unwrap_or(0);
    for named in snapshots.iter().filter(|s| s.zxid < oldest) {
        disk.remove(&named.path).at("remove", &named.path)?;
        purged.removed.push(named.path.clone());
    }
    if !purged.removed.is_empty() {
        // Snapshots first and durably: none may be left whose log is gone.
        disk.sync_dir(&dirs.snapshots).at("sync", &dirs.snapshots)?;
    }
    for named in &logs[..first_log] {
        disk.remove(&named.path).at("remove", &named.path)?;
        purged.removed.push(named.path.clone());
    }
    disk.sync_dir(&dirs.logs).at("sync", &dirs.logs)?;
    Ok(purged)
}
