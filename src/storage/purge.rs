//! Retention: the newest N snapshots that can be read, and the logs they need (Apache
//! `PurgeTxnLog`).

use std::path::PathBuf;

use super::disk::Disk;
use super::names::{self, Dirs, Named};
use super::snapshot::{self, NullSink};
use super::{IoContext, Result};

/// The least that `autopurge.snapRetainCount` can be.
pub const RETAIN_MIN: usize = 3;

/// What a purge removes, and what it leaves; each oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Snapshots that go.
    pub snapshots: Vec<Named>,
    /// Logs that go.
    pub logs: Vec<Named>,
    /// Snapshots that stay, also those that can't be read.
    pub kept_snapshots: Vec<Named>,
    /// Logs that stay.
    pub kept_logs: Vec<Named>,
    /// How many of the snapshots that stay can be read, as far as was looked.
    pub whole: usize,
}

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
/// transaction. Nothing goes while there are fewer than `retain`.
pub fn plan(disk: &dyn Disk, dirs: &Dirs, retain: usize) -> Result<Plan> {
    let snapshots = names::snapshots(disk, &dirs.snapshots)?;
    let logs = names::logs(disk, &dirs.logs)?;
    let (mut whole, mut oldest) = (0, None);
    for named in snapshots.iter().rev() {
        if whole == retain {
            break;
        }
        if snapshot::looks_whole(disk, named) && snapshot::read(disk, named, &mut NullSink).is_ok()
        {
            whole += 1;
            oldest = Some(named.zxid);
        }
    }
    let Some(oldest) = oldest.filter(|_| whole == retain) else {
        return Ok(Plan { kept_snapshots: snapshots, kept_logs: logs, whole, ..Plan::default() });
    };
    // The newest log with a name up to the oldest kept zxid may go on behind it.
    let first_log = logs.iter().rposition(|l| l.zxid <= oldest).unwrap_or(0);
    let (snapshots, kept_snapshots) = snapshots.into_iter().partition(|s| s.zxid < oldest);
    let mut logs = logs;
    let kept_logs = logs.split_off(first_log);
    Ok(Plan { snapshots, logs, kept_snapshots, kept_logs, whole })
}

/// Removes what [`plan`] says. Safe beside a running server: the files it writes are newer than all
/// that is removed.
pub fn purge(disk: &dyn Disk, dirs: &Dirs, retain: usize) -> Result<Purged> {
    let plan = plan(disk, dirs, retain)?;
    let mut purged = Purged { removed: Vec::new(), kept_snapshots: plan.whole };
    for (files, dir) in [(&plan.snapshots, &dirs.snapshots), (&plan.logs, &dirs.logs)] {
        for named in files {
            disk.remove(&named.path).at("remove", &named.path)?;
            purged.removed.push(named.path.clone());
        }
        // Snapshots first and durably: none may be left whose log is gone.
        if !files.is_empty() {
            disk.sync_dir(dir).at("sync", dir)?;
        }
    }
    Ok(purged)
}
