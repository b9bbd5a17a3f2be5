//! What processes cost: processor time and resident memory, from `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

/// Processor time of a process, user and system, all threads; counted in hundredths of a second.
///
/// # Errors
/// Those of reading `/proc`: the process is gone, or this is not Linux.
pub fn cpu(pid: u32) -> io::Result<Duration> {
    // Whole ticks of 10 ms (USER_HZ is 100 on every Linux).
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "unexpected /proc stat");
    // The name, in parentheses, may hold anything; fields are counted behind it.
    let fields = stat.rsplit_once(") ").ok_or_else(invalid)?.1;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks =
        || fields.next().and_then(|field| field.parse::<u32>().ok()).ok_or_else(invalid);
    Ok(TICK * ticks()? + TICK * ticks()?)
}

/// Processor time of several processes together.
///
/// # Errors
/// As [`cpu`].
pub fn cpu_of(pids: &[u32]) -> io::Result<Duration> {
    pids.iter().map(|&pid| cpu(pid)).sum()
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// Those of reading `/proc`.
pub fn resident(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no VmRSS"))
}

/// Resident memory of several processes together.
///
/// # Errors
/// As [`resident`].
pub fn resident_of(pids: &[u32]) -> io::Result<u64> {
    pids.iter().map(|&pid| resident(pid)).sum()
}

/// Raises the limit of open files as far as allowed, for runs with thousands of connections.
pub fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Failure shows later, as a failing connect with its own message.
    let _ = setrlimit(Resource::Nofile, limit);
}
