//! File names and directories, as Apache has them (`persistence/Util.java`).

use std::path::{Path, PathBuf};

use super::{Compression, Disk, Error, IoContext, Result};
use crate::types::Zxid;

/// The directory inside dataDir and dataLogDir that holds the files of format 2.
pub const VERSION_DIR: &str = "version-2";
/// Before a log's zxid.
pub const LOG_PREFIX: &str = "log.";
/// Before a snapshot's zxid.
pub const SNAPSHOT_PREFIX: &str = "snapshot.";
/// Before the zxid of a snapshot that is being written; Apache ignores such a name.
pub const SNAPSHOT_TMP_PREFIX: &str = "writing-snapshot.";
/// Before the zxid of a complete snapshot from the leader that is about to replace the history
/// here; Apache ignores such a name.
pub const INSTALL_PREFIX: &str = "install-snapshot.";

/// In `<dataDir>/version-2` while a member has lost what it may have acknowledged: it must not vote
/// until it holds a leader's history again.
pub const RESYNC_MARK: &str = "resyncRequired";
/// Created and removed at every start, to see that it can be.
const PROBE: &str = "rookeeper.probe";

/// The two `version-2` directories of a server; often the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    /// `<dataDir>/version-2`: snapshots and epochs.
    pub snapshots: PathBuf,
    /// `<dataLogDir or dataDir>/version-2`: logs.
    pub logs: PathBuf,
}

impl Dirs {
    /// From the two settings; `data_log_dir` defaults to `data_dir`.
    pub fn new(data_dir: &Path, data_log_dir: Option<&Path>) -> Dirs {
        Dirs {
            snapshots: data_dir.join(VERSION_DIR),
            logs: data_log_dir.unwrap_or(data_dir).join(VERSION_DIR),
        }
    }

    /// Creates what is missing (`zookeeper.datadir.autocreate`, Apache's default) or refuses, and
    /// refuses logs among the snapshots and the reverse when the directories differ (Apache
    /// `LogDirContentCheckException`, `SnapDirContentCheckException`: exit code 3).
    pub fn prepare(&self, disk: &dyn Disk, autocreate: bool) -> Result<()> {
        for dir in [&self.logs, &self.snapshots] {
            if disk.exists(dir) {
                continue;
            }
            if !autocreate {
                let what = "missing, and zookeeper.datadir.autocreate is off";
                return Err(Error::Directory { dir: dir.clone(), what });
            }
            disk.create_dir_all(dir).at("create", dir)?;
            // Best effort for the entries above: the parents may not be ours to open.
            for parent in dir.ancestors().skip(1).take(2) {
                let _ = disk.sync_dir(parent);
            }
        }
        if self.logs != self.snapshots {
            if !snapshots(disk, &self.logs)?.is_empty() {
                let what = "the log directory holds snapshots: check dataLogDir and dataDir";
                return Err(Error::Directory { dir: self.logs.clone(), what });
            }
            if !logs(disk, &self.snapshots)?.is_empty() {
                let what = "the snapshot directory holds logs: check dataLogDir and dataDir";
                return Err(Error::Directory { dir: self.snapshots.clone(), what });
            }
        }
        Ok(())
    }
}

impl Dirs {
    /// Tries whether files can be made and removed in both directories, and written where ours are:
    /// otherwise the first transaction or snapshot would end the process.
    ///
    /// # Errors
    /// [`Error::Io`] with the directory, or with a file in it that can't be written.
    pub(super) fn check_writable(&self, disk: &dyn Disk) -> Result<()> {
        for dir in [&self.snapshots, &self.logs] {
            let probe = dir.join(PROBE);
            disk.create(&probe).at("write in", dir)?;
            disk.remove(&probe).at("write in", dir)?;
        }
        let mark = self.logs.join(super::mark::DURABLE_NAME);
        if disk.exists(&mark) {
            disk.open_write(&mark).at("write", &mark)?;
        }
        Ok(())
    }
}

/// A log or a snapshot in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// From the name: a log's first transaction, or where a snapshot began.
    pub zxid: Zxid,
    /// The whole path.
    pub path: PathBuf,
    /// Bytes, preallocated ones included.
    pub len: u64,
}

/// `log.<zxid>`.
pub fn log_name(zxid: Zxid) -> String {
    format!("{LOG_PREFIX}{:x}", zxid.0)
}

/// `snapshot.<zxid>` with the extension of its compression.
pub fn snapshot_name(zxid: Zxid, compression: Compression) -> String {
    format!("{SNAPSHOT_PREFIX}{:x}{}", zxid.0, compression.extension())
}

/// The zxid in a name: the part between `prefix` and the next dot, as hex. None: not such a file.
pub fn zxid_of(name: &str, prefix: &str) -> Option<Zxid> {
    let hex = name.strip_prefix(prefix)?.split('.').next()?;
    i64::from_str_radix(hex, 16).ok().filter(|z| *z >= 0).map(Zxid)
}

/// The files of a kind, ascending by zxid.
fn named(disk: &dyn Disk, dir: &Path, prefix: &str) -> Result<Vec<Named>> {
    let mut found: Vec<Named> = disk
        .list(dir)
        .at("list", dir)?
        .into_iter()
        .filter_map(|(name, len)| {
            Some(Named { zxid: zxid_of(&name, prefix)?, path: dir.join(&name), len })
        })
        .collect();
    found.sort_by(|a, b| (a.zxid, &a.path).cmp(&(b.zxid, &b.path)));
    Ok(found)
}

/// The logs in a directory, ascending.
pub fn logs(disk: &dyn Disk, dir: &Path) -> Result<Vec<Named>> {
    let mut logs = named(disk, dir, LOG_PREFIX)?;
    // `log.5.bak` would parse as well; Apache would read it as a log, which can only do harm.
    logs.retain(|l| l.path.extension().is_some_and(|e| !e.is_empty()) && is_bare_log(&l.path));
    Ok(logs)
}

fn is_bare_log(path: &Path) -> bool {
    path.file_name()
        .and_then(|n| n.to_str())
        .and_then(|n| n.strip_prefix(LOG_PREFIX))
        .is_some_and(|hex| !hex.contains('.'))
}

/// The snapshots in a directory, valid or not, ascending.
pub fn snapshots(disk: &dyn Disk, dir: &Path) -> Result<Vec<Named>> {
    named(disk, dir, SNAPSHOT_PREFIX)
}

/// Complete snapshots waiting to replace the history, ascending.
pub(super) fn installs(disk: &dyn Disk, dir: &Path) -> Result<Vec<Named>> {
    named(disk, dir, INSTALL_PREFIX)
}

/// Removes what an interrupted snapshot left.
pub(super) fn remove_leftovers(disk: &dyn Disk, dir: &Path) -> Result<()> {
    for (name, _) in disk.list(dir).at("list", dir)? {
        if name.starts_with(SNAPSHOT_TMP_PREFIX) {
            let path = dir.join(name);
            disk.remove(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

/// Bytes of all files in a directory: the figures of the `dirs` command.
pub fn dir_size(disk: &dyn Disk, dir: &Path) -> Result<u64> {
    Ok(disk.list(dir).at("list", dir)?.iter().map(|(_, len)| len).sum())
}
