//! What processes cost: processor time, memory and descriptors, from `/proc`.

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

/// This process as Prometheus' own client libraries show theirs (`process_*`).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Process {
    /// Processor time, user and system.
    pub cpu: Duration,
    /// When it started, in seconds since 1970.
    pub start_time_seconds: f64,
    /// Open descriptors.
    pub open_files: i64,
    /// How many it may have.
    pub max_files: i64,
    /// Address space, bytes.
    pub virtual_bytes: u64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
}

impl Process {
    /// This process, that has so many descriptors and may have so many; zeros where the system does not
    /// say.
    pub fn of_this_one(open_files: i64, max_files: i64) -> Process {
        let pid = std::process::id();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<&str> =
            stat.rsplit_once(") ").map_or(Vec::new(), |(_, rest)| rest.split(' ').collect());
        let field = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = boot.lines().find_map(|line| line.strip_prefix("btime "));
        let boot: f64 = boot.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0.0);
        Process {
            cpu: cpu(pid).unwrap_or_default(),
            start_time_seconds: boot + field(19) as f64 / 100.0,
            open_files,
            max_files,
            virtual_bytes: field(20),
            resident_bytes: resident(pid).unwrap_or(0),
        }
    }

    /// Name, type and value of each of the six families.
    pub fn families(&self) -> [(&'static str, &'static str, f64); 6] {
        [
            ("process_cpu_seconds_total", "counter", self.cpu.as_secs_f64()),
            ("process_start_time_seconds", "gauge", self.start_time_seconds),
            ("process_open_fds", "gauge", self.open_files as f64),
            ("process_max_fds", "gauge", self.max_files as f64),
            ("process_virtual_memory_bytes", "gauge", self.virtual_bytes as f64),
            ("process_resident_memory_bytes", "gauge", self.resident_bytes as f64),
        ]
    }
}

/// Raises the limit of open files as far as allowed, for runs with thousands of connections.
pub fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Failure shows later, as a failing connect with its own message.
    let _ = setrlimit(Resource::Nofile, limit);
}
