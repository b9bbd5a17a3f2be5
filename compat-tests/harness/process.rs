//! A child process with its log in a file; killed when the value is dropped.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// One started program.
pub struct Process {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Process {
    /// Starts `command` with both outputs appended to `log`.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> std::io::Result<Process> {
        let out = File::options().create(true).append(true).open(log)?;
        let err = out.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()?;
        Ok(Process { child, log: log.to_path_buf(), name: name.to_string() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if it has ended.
    pub fn finished(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGKILL, and waits.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then SIGKILL after `patience`. Returns whether it ended by itself.
    pub fn terminate(&mut self, patience: Duration) -> bool {
        if self.finished().is_some() {
            return true;
        }
        self.signal(rustix::process::Signal::TERM);
        let ended = self.wait(patience).is_some();
        self.kill();
        ended
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        self::signal(self.child.id(), signal);
    }

    /// Waits for the end, at most `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.finished() {
                return Some(status);
            }
            if Instant::now() > end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The last lines of the log, headed by the process's name.
    pub fn log_tail(&self) -> String {
        format!("--- log of {} ---\n{}", self.name, tail(&self.log, 4000))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let mut kept = ENDED.lock().unwrap_or_else(|e| e.into_inner());
        if kept.len() == LOGS_MAX {
            kept.pop_front();
        }
        kept.push_back(self.log_tail());
    }
}

/// How many logs are kept for a case that fails.
const LOGS_MAX: usize = 8;
static ENDED: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// The ends of the logs of the programs that ended last, since this was asked before: their files
/// are gone when a case's failure is told.
pub fn take_logs() -> Vec<String> {
    let mut kept = ENDED.lock().unwrap_or_else(|e| e.into_inner());
    std::mem::take(&mut *kept).into()
}

/// Sends a signal to a process of ours.
pub fn signal(id: u32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(id as i32).filter(|_| id > 1) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// The last `bytes_max` bytes of a file as text.
pub fn tail(path: &Path, bytes_max: u64) -> String {
    let Ok(mut file) = File::open(path) else {
        return String::new();
    };
    let len = file.metadata().map(|m| m.len()).unwrap_or(0);
    let _ = file.seek(SeekFrom::Start(len.saturating_sub(bytes_max)));
    let mut bytes = Vec::new();
    let _ = file.read_to_end(&mut bytes);
    // The frames of Java's stack traces say little for their length.
    let text = String::from_utf8_lossy(&bytes);
    text.lines().filter(|l| !l.starts_with("\tat ")).map(|l| format!("{l}\n")).collect()
}

/// Runs a program to its end; `Err` holds what it printed when it failed or took too long.
pub fn run(command: &mut Command, log: &Path, patience: Duration) -> Result<String, String> {
    let _ = std::fs::remove_file(log);
    let shown = format!("{command:?}");
    let mut process =
        Process::spawn("command", command, log).map_err(|e| format!("{shown}: {e}"))?;
    match process.wait(patience) {
        Some(status) if status.success() => Ok(tail(log, 1 << 22)),
        Some(status) => Err(format!("{shown}: {status}\n{}", tail(log, 8000))),
        None => {
            process.kill();
            Err(format!("{shown}: still running after {patience:?}\n{}", tail(log, 8000)))
        }
    }
}
