//! Clients of other makes beside our own writers: the official Java client and kazoo, each with one
//! session, an ephemeral, and one write after another, while members fail.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::clients::programs;
use crate::harness::ports::TempDir;
use crate::harness::runner::Stop;
use crate::harness::tools;

/// Longest wait for a line of theirs.
const PATIENCE: Duration = Duration::from_secs(180);

struct Guest {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

/// The clients, which end with this.
pub struct Guests {
    guests: Vec<Guest>,
    dir: TempDir,
}

impl Guests {
    /// Starts those whose toolchain is there (all of them in CI), and waits until each has written.
    pub fn start(connect: &str) -> Result<Guests, Stop> {
        let mut found = Guests { guests: Vec::new(), dir: TempDir::new("guests") };
        for (name, prepare) in
            [("java", programs::writer_java as fn() -> _), ("python", programs::writer_python)]
        {
            let mut command = match prepare() {
                Ok(command) => command,
                Err(Stop::Skipped { .. }) if !tools::ci() => continue,
                Err(other) => return Err(other),
            };
            let errors = File::create(found.dir.path().join(name))
                .map_err(|e| Stop::failed(format!("the log of {name}: {e}")))?;
            command.arg(connect).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
            let shown = format!("{command:?}");
            let mut child = command.spawn().map_err(|e| Stop::failed(format!("{shown}: {e}")))?;
            let input = child.stdin.take().expect("piped above");
            let output = BufReader::new(child.stdout.take().expect("piped above"));
            let (sender, lines) = channel();
            std::thread::spawn(move || {
                output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
            });
            found.guests.push(Guest { name, child, input, lines });
        }
        for i in 0..found.guests.len() {
            let line = found.line(i)?;
            if line != "ready" {
                return Err(found.failed(i, &line));
            }
        }
        Ok(found)
    }

    fn line(&self, i: usize) -> Result<String, Stop> {
        let line = self.guests[i].lines.recv_timeout(PATIENCE);
        line.map_err(|_| self.failed(i, "said nothing"))
    }

    fn failed(&self, i: usize, what: &str) -> Stop {
        let name = self.guests[i].name;
        let log = std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        let from = log.len().saturating_sub(4000);
        let tail = log.get(from..).unwrap_or(&log);
        Stop::failed(format!("the {name} client: {what}\n{tail}"))
    }

    /// Ends them; each must find everything that it was acknowledged, in the session that it began.
    /// What they wrote, for the summary.
    pub fn finish(mut self) -> Result<String, Stop> {
        for guest in &mut self.guests {
            // One that has failed is not there to read it.
            let _ = writeln!(guest.input).and_then(|()| guest.input.flush());
        }
        let mut said = String::new();
        for i in 0..self.guests.len() {
            let line = self.line(i)?;
            let Some(count) = line.strip_prefix("ok ") else { return Err(self.failed(i, &line)) };
            said += &format!(", {} {count}", self.guests[i].name);
        }
        Ok(said)
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        for guest in &mut self.guests {
            let _ = guest.child.kill();
            let _ = guest.child.wait();
        }
    }
}
