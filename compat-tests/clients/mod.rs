//! Real client libraries, each doing what its users use it for.
//!
//! A program of ours per language takes a connect string, runs its scenarios and prints one line
//! for each: `ok NAME` or `FAILED NAME: why`. A line `@restart` asks us to kill the server (of an
//! ensemble: the leader) and start it again; we answer with a line when it serves.

mod cli_mt;
pub mod programs;

pub use programs::{GO, KAZOO, python};

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Ensemble, Kind, Server};
use crate::harness::tools::Level;

/// What stands under test: rookeeper, or with `ROOKEEPER_COMPAT_SUBJECT=apache` the reference, to
/// check the scenarios themselves.
pub fn subject() -> Kind {
    match std::env::var("ROOKEEPER_COMPAT_SUBJECT").as_deref() {
        Ok("apache") => Kind::apache(),
        Ok(version) if version.starts_with("3.") => Kind::Apache(version.to_string()),
        _ => Kind::Rookeeper,
    }
}

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("clients", "cli_mt", Level::Quick, cli_mt::run);
    for program in programs::all() {
        let p = program.clone();
        suite.add("clients", program.name.clone(), program.level, move || {
            let command = (p.prepare)(&p.name)?;
            standalone(command, p.least)
        });
        let level = program.level.max(Level::Ci);
        suite.add("clients-of-three", program.name.clone(), level, move || {
            let command = (program.prepare)(&program.name)?;
            of_three(command, program.least)
        });
    }
}

fn standalone(command: Command, least: usize) -> Outcome {
    let dir = TempDir::new("clients");
    let mut server = Server::new(subject(), dir.path()).property("zookeeper.forceSync", "yes");
    server.start()?;
    let address = server.host_port();
    let outcome = drive(command, &address, least, |_| {
        server.kill9();
        server.start()
    });
    with_log(outcome, || server.log_tail())
}

fn of_three(command: Command, least: usize) -> Outcome {
    let dir = TempDir::new("clients3");
    let mut ensemble = Ensemble::new(&[subject(), subject(), subject()], dir.path(), &[]);
    ensemble.start()?;
    let address = ensemble.connect_string();
    let outcome = drive(command, &address, least, |_| {
        let leader = ensemble.leader().ok_or_else(|| Stop::failed("no leader"))?;
        ensemble.members[leader].kill9();
        ensemble.wait_serving()?;
        ensemble.members[leader].start()
    });
    with_log(outcome, || ensemble.log_tails())
}

fn with_log(outcome: Outcome, log: impl FnOnce() -> String) -> Outcome {
    match outcome {
        Err(Stop::Failed(text)) => Err(Stop::failed(format!("{text}\n{}", log()))),
        other => other,
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end and counts what it reports.
fn drive(
    mut command: Command,
    address: &str,
    least: usize,
    mut restart: impl FnMut(&str) -> Result<(), Stop>,
) -> Outcome {
    command.arg(address).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let mut child = Killed(command.spawn().map_err(|e| Stop::failed(format!("{shown}: {e}")))?);
    let mut input = child.0.stdin.take().expect("piped above");
    let output = BufReader::new(child.0.stdout.take().expect("piped above"));
    let errors = BufReader::new(child.0.stderr.take().expect("piped above"));
    let (lines, received) = mpsc::channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    let noise = std::sync::Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let noise2 = noise.clone();
    std::thread::spawn(move || {
        for line in errors.lines().map_while(Result::ok) {
            let mut noise = noise2.lock().unwrap_or_else(|e| e.into_inner());
            noise.push(line);
            if noise.len() > 200 {
                noise.remove(0);
            }
        }
    });
    let (mut ok, mut bad, mut other) = (Vec::new(), Vec::new(), Vec::new());
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        match received.recv_timeout(Duration::from_secs(120)) {
            Ok(line) if line.starts_with("ok ") => ok.push(canonical(&line[3..])),
            Ok(line) if line.starts_with("FAILED ") => bad.push(line),
            Ok(line) if line.starts_with("@restart") => {
                restart(&line)?;
                writeln!(input, "done")?;
                input.flush()?;
            }
            Ok(line) => other.push(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bad.push("nothing was heard for two minutes".to_string());
                break;
            }
        }
        if Instant::now() > end {
            bad.push("still running after five minutes".to_string());
            break;
        }
    }
    if bad.iter().any(|b| b.ends_with("minutes")) {
        let _ = child.0.kill();
    }
    let status = child.0.wait()?;
    let noise = noise.lock().unwrap_or_else(|e| e.into_inner());
    let tail = |lines: &[String]| lines[lines.len().saturating_sub(40)..].join("\n");
    if !bad.is_empty() || !status.success() || ok.len() < least {
        return Err(Stop::failed(format!(
            "{shown}: {status}, {} ok (at least {least} awaited)\n{}\n{}\n{}",
            ok.len(),
            bad.join("\n"),
            tail(&other),
            tail(&noise)
        )));
    }
    Ok(format!("{} scenarios: {}", ok.len(), ok.join(", ")))
}

/// One spelling for all languages.
fn canonical(name: &str) -> String {
    let mut out = String::new();
    for c in name.trim().chars() {
        if c.is_ascii_uppercase() {
            out.push('-');
        }
        out.push(if c == '_' { '-' } else { c.to_ascii_lowercase() });
    }
    out
}
