//! The C client's own shell (Debian's `zookeeper-bin`), as it comes: typed at, its answers read.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::subject;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::Server;
use crate::harness::tools;

/// Where Debian puts it.
const DEBIAN: &str = "/usr/lib/zookeeper/bin/cli_mt";
/// For one answer; a restart of the server may lie between.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is typed, and the ends of the lines that must come, in this order. Reads leave watches.
const BEFORE: &[(&str, &[&str])] = &[
    ("create /app", &["[/app]: rc = 0", "name = /app"]),
    ("set /app hello", &["/app: rc = 0 Stat:", "version=1\taversion=0"]),
    ("get /app", &["/app: rc = 0", "value_len = 5", "hello"]),
    ("set /app again", &["Watcher CHANGED_EVENT state = CONNECTED_STATE for path /app"]),
    ("wexists /none", &["Error -101 for /none"]),
    ("create /none", &["Watcher CREATED_EVENT state = CONNECTED_STATE for path /none"]),
    ("create2 /two", &["[/two]: rc = 0", "ephemeralOwner = 0"]),
    ("create +e /mine", &["[/mine]: rc = 0"]),
    ("create +s /app/q-", &["[/app/q-]: rc = 0", "name = /app/q-0000000000"]),
    ("delete /app", &["/app: rc = -111"]),
    ("sync /app", &["[/app]: rc = 0"]),
    ("ls /", &["/: rc = 0", "mine"]),
];
/// The same behind a kill -9: the session and what it owns are still there.
const AFTER: &[(&str, &[&str])] = &[
    ("get /app", &["/app: rc = 0", "value_len = 5", "again"]),
    ("get /mine", &["/mine: rc = 0"]),
    ("delete /mine", &["Watcher DELETED_EVENT state = CONNECTED_STATE for path /mine"]),
    ("delete /app/q-0000000000", &["/app/q-0000000000: rc = 0"]),
    ("ls /app", &["/app: rc = 0"]),
    ("quit", &["Quitting..."]),
];

struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shell {
    fn start(program: &Path, address: &str) -> Result<Shell, Stop> {
        let mut child = Command::new(program)
            .args(["-h", address])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().expect("piped above");
        let errors = BufReader::new(child.stderr.take().expect("piped above"));
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in errors.split(b'\n').map_while(Result::ok) {
                if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        Ok(Shell { child, input, lines, heard: Vec::new() })
    }

    fn hear(&mut self, wanted: &str) -> Result<(), Stop> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                let tail = &self.heard[self.heard.len().saturating_sub(30)..];
                return Err(Stop::failed(format!("no line with {wanted:?}\n{}", tail.join("\n"))));
            };
            let found = line.trim_end().ends_with(wanted);
            self.heard.push(line);
            if found {
                return Ok(());
            }
        }
    }

    fn talk(&mut self, script: &[(&str, &[&str])]) -> Result<(), Stop> {
        for (command, answers) in script {
            writeln!(self.input, "{command}")?;
            self.input.flush()?;
            for answer in *answers {
                self.hear(answer)?;
            }
        }
        Ok(())
    }
}

/// Commands, watches, a kill -9 of the server, and the same session afterwards.
pub fn run() -> Outcome {
    let program = tools::find("cli_mt")
        .or_else(|| Path::new(DEBIAN).is_file().then(|| DEBIAN.into()))
        .ok_or_else(|| Stop::missing("cli_mt"))?;
    let dir = TempDir::new("cli-mt");
    let mut server = Server::new(subject(), dir.path()).property("zookeeper.forceSync", "yes");
    server.start()?;
    let mut shell = Shell::start(&program, &server.host_port())?;
    shell.hear("Watcher SESSION_EVENT state = CONNECTED_STATE")?;
    shell.talk(BEFORE)?;
    server.kill9();
    server.start()?;
    shell.hear("Watcher SESSION_EVENT state = CONNECTED_STATE")?;
    shell.talk(AFTER)?;
    Ok("3 scenarios: basics, config-watch, reconnect".to_string())
}
