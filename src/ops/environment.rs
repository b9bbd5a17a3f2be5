//! The lines of `envi`: Apache's keys with what is true of this process.

use std::env;

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
            ("user.name", variable("USER")),
            ("user.home", variable("HOME")),
            ("user.dir", directory.unwrap_or_else(|_| none())),
        ];
        Environment {
            lines: lines.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        }
    }
}

/// Java's name of a machine.
fn java_arch(machine: &str) -> String {
    match machine {
        "x86_64" => "amd64".to_owned(),
        other => other.to_owned(),
    }
}
