//! The one place of `config` that touches files.

use std::io;
use std::path::{Path, PathBuf};

/// Reads the files a configuration names; a test gives a map instead.
pub trait Files {
    /// The whole content of a file. `NotFound` is an answer (no `myid`), not a fault.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The path as an absolute one without `.` and `..` where that can be found out.
    fn canonical(&self, path: &Path) -> PathBuf;
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

impl Files for RealFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        std::fs::canonicalize(path)
            .or_else(|_| std::path::absolute(path))
            .unwrap_or_else(|_| path.to_path_buf())
    }
}
