//! One server per directory: two that write the same log would damage it for both.
//!
//! Apache has no such guard. The lock is on the directories themselves, so that no file is added to
//! them, and ends with the process however that ends.

use std::fmt;
use std::fs::{File, Metadata, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::config::Config;

use super::StartError;

/// A directory that another process has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// The directory.
    pub dir: PathBuf,
    /// The other process, where the system tells.
    pub holder: Option<u32>,
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the directory {} is in use by another server", self.dir.display())?;
        match self.holder {
            Some(pid) => write!(f, ", pid {pid}"),
            None => Ok(()),
        }
    }
}

/// The process that has locked a directory, out of the text of `/proc/locks`:
///
/// ```text
/// 1: FLOCK  ADVISORY  WRITE 4711 fd:01:917523 0 EOF
/// ```
///
/// Device numbers in hexadecimal, then the inode. Some file systems show another device there than
/// `stat` does; a single lock on that inode counts then. Processes that this one can't see have the
/// id 0 or less.
fn holder(locks: &str, dir: &Metadata) -> Option<u32> {
    let inode = dir.ino().to_string();
    let device =
        format!("{:02x}:{:02x}", rustix::fs::major(dir.dev()), rustix::fs::minor(dir.dev()));
    let mut others = Vec::new();
    for line in locks.lines() {
        let mut words = line.split_whitespace().skip(1);
        if words.next() != Some("FLOCK") {
            continue;
        }
        let pid = words.nth(2).and_then(|pid| pid.parse::<u32>().ok()).filter(|pid| *pid > 0);
        let place = words.next().and_then(|place| place.rsplit_once(':'));
        match (pid, place) {
            (Some(pid), Some((at, of))) if of == inode && at == device => return Some(pid),
            (Some(pid), Some((_, of))) if of == inode => others.push(pid),
            _ => {}
        }
    }
    if others.len() == 1 { others.pop() } else { None }
}

/// The directories of a running server; given free when dropped.
#[derive(Debug, Default)]
pub struct Hold {
    locked: Vec<(PathBuf, File)>,
}

impl Hold {
    /// Takes those directories of `config` that it has not got yet. One that does not exist is
    /// nobody's: to be called before a start, and again when the start has made them. Where the
    /// file system knows no locks a server runs without.
    ///
    /// # Errors
    /// [`StartError::InUse`] when another process has one of them.
    pub fn take(&mut self, config: &Config) -> Result<(), StartError> {
        // Linked names may lead to one directory, which can be locked only once.
        let dirs = [&config.data_dir, &config.data_log_dir];
        for dir in dirs.into_iter().filter_map(|dir| dir.canonicalize().ok()) {
            if self.locked.iter().any(|(locked, _)| *locked == dir) {
                continue;
            }
            let Ok(file) = File::open(&dir) else { continue };
            match file.try_lock() {
                Ok(()) => self.locked.push((dir, file)),
                Err(TryLockError::WouldBlock) => {
                    let holder = std::fs::read_to_string("/proc/locks")
                        .ok()
                        .and_then(|locks| holder(&locks, &file.metadata().ok()?));
                    return Err(StartError::InUse(InUse { dir, holder }));
                }
                Err(TryLockError::Error(e)) => {
                    tracing::debug!("{} can't be locked: {e}", dir.display());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
