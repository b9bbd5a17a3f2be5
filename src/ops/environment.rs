//! The lines of `envi`: Apache's keys with what is true of this process.

use std::env;

use super::stats::Memory;

/// `key=value` lines in Apache's order. Java's own keys say `<NA>`, as Java does for what it doesn't
/// have: tools that look for them find them, and nobody is told of a virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// Keys and values.
    pub lines: Vec<(String, String)>,
}

impl Environment {
    /// The environment of this process; `banner` is the version with its date.
    pub fn of_this_process(banner: &str) -> Environment {
        let uname = rustix::system::uname();
        let host = uname.nodename().to_string_lossy().into_owned();
        let variable = |name: &str| env::var(name).unwrap_or_else(|_| "<NA>".to_owned());
        let directory = env::current_dir().map(|d| d.display().to_string());
        let temporary = env::temp_dir().display().to_string();
        let none = || "<NA>".to_owned();
        let lines = [
            ("zookeeper.version", banner.to_owned()),
            ("host.name", host),
            ("java.version", none()),
            ("java.vendor", none()),
            ("java.home", none()),
            ("java.class.path", none()),
            ("java.library.path", none()),
            ("java.io.tmpdir", temporary.trim_end_matches('/').to_owned()),
            ("java.compiler", none()),
            ("os.name", uname.sysname().to_string_lossy().into_owned()),
            ("os.arch", java_arch(uname.machine().to_string_lossy().as_ref())),
            ("os.version", uname.release().to_string_lossy().into_owned()),
            ("user.name", user_name()),
            ("user.home", variable("HOME")),
            ("user.dir", directory.unwrap_or_else(|_| none())),
        ];
        Environment {
            lines: lines.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        }
    }
}

impl Memory {
    /// What the process has (resident), what the machine has, and what of that is available; zeros
    /// where the system doesn't say.
    pub fn of_this_process() -> Memory {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let machine = read("/proc/meminfo");
        Memory {
            free_mb: kilobytes(&machine, "MemAvailable:") / 1024,
            max_mb: kilobytes(&machine, "MemTotal:") / 1024,
            total_mb: kilobytes(&read("/proc/self/status"), "VmRSS:") / 1024,
        }
    }
}

/// The number behind `name` in a file of `/proc` that lists kilobytes.
fn kilobytes(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// The user of this process: from the environment, else by number from the list of users.
fn user_name() -> String {
    let from_environment = ["USER", "LOGNAME"].iter().find_map(|name| env::var(name).ok());
    from_environment.filter(|name| !name.is_empty()).unwrap_or_else(|| {
        let uid = rustix::process::getuid().as_raw().to_string();
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1) == Some(uid.as_str())).then(|| name.to_owned())
        });
        name.unwrap_or(uid)
    })
}

/// Java's name of a machine.
fn java_arch(machine: &str) -> String {
    match machine {
        "x86_64" => "amd64".to_owned(),
        other => other.to_owned(),
    }
}
