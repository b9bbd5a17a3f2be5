//! One server per directory: two that write the same log would damage it for both.
//!
//! Apache has no such guard. The lock is on the directories themselves, so that no file is added to
//! them, and ends with the process however that ends.

use std::fs::{File, TryLockError};
use std::path::PathBuf;

use crate::config::Config;

use super::StartError;

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
                Err(TryLockError::WouldBlock) => return Err(StartError::InUse(dir)),
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
