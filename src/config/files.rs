//! The one place of `config` that touches files.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Reads the files a configuration names, and looks its names up; a test gives a map instead.
pub trait Files {
    /// The address of a host name, IPv4 before IPv6 as in Java.
    ///
    /// # Errors
    /// No address has this name, or nobody can be asked.
    fn look_up(&self, name: &str) -> io::Result<IpAddr>;
    /// The whole content of a file. `NotFound` is an answer (no `myid`), not a fault.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The path as an absolute one without `.` and `..` where that can be found out.
    fn canonical(&self, path: &Path) -> PathBuf;
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

impl Files for RealFiles {
    fn look_up(&self, name: &str) -> io::Result<IpAddr> {
        let all: Vec<IpAddr> = (name, 0).to_socket_addrs()?.map(|address| address.ip()).collect();
        let first = all.iter().find(|address| address.is_ipv4()).or(all.first());
        first.copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address"))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        std::fs::canonicalize(path)
            .or_else(|_| std::path::absolute(path))
            .unwrap_or_else(|_| path.to_path_buf())
    }
}
