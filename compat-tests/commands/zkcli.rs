//! zkCli's answers to odd command lines, as Apache's gave them (`fixtures/zkcli`).

use std::io::Write;
use std::process::{Command, Stdio};

use super::wait_for;
use crate::harness::ports::{TempDir, free_port};
use crate::harness::process::Process;
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::rookeeper_binary;

const RECORDED: &str = include_str!("../../fixtures/zkcli/odd-lines.apache-3.9.5.txt");

/// Gives every recorded line to our zkCli and our server, and compares output, errors and exit codes.
pub fn replay() -> Outcome {
    let dir = TempDir::new("zkcli");
    let port = free_port();
    let mut command = Command::new(rookeeper_binary());
    command.args(["server", &port.to_string(), "data", "-Dzookeeper.extendedTypesEnabled=true"]);
    let mut server =
        Process::spawn("server", command.current_dir(dir.path()), &dir.path().join("log"))?;
    wait_for(dir.path(), port)?;
    let mut count = 0;
    for (line, expected) in records() {
        let got = answer(line, port)?;
        if got != expected {
            return Err(format!("{line}\nexpected\n{expected}\ngot\n{got}").into());
        }
        count += 1;
    }
    server.kill();
    Ok(format!("{count} command lines"))
}

/// Each recorded line with its answer.
fn records() -> Vec<(&'static str, String)> {
    let mut records: Vec<(&str, String)> = Vec::new();
    for line in RECORDED.lines().filter(|l| !l.starts_with('#')) {
        if line.starts_with("$ ") || line.starts_with("< ") {
            records.push((line, String::new()));
        } else if let Some((_, answer)) = records.last_mut() {
            answer.push_str(&format!("{line}\n"));
        }
    }
    records
}

fn answer(line: &str, port: u16) -> Result<String, Stop> {
    let mut command = Command::new(rookeeper_binary());
    command.args(["zkcli", "-server", &format!("127.0.0.1:{port}")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let script = line.strip_prefix("< ").map(|script| script.replace("\\n", "\n") + "\n");
    if script.is_none() {
        command.args(line[2..].split(' '));
    }
    let mut child = command.spawn()?;
    if let (Some(mut input), Some(script)) = (child.stdin.take(), script) {
        input.write_all(script.as_bytes())?;
    }
    let done = child.wait_with_output()?;
    let mut answer = String::new();
    for (mark, text) in [('O', &done.stdout), ('E', &done.stderr)] {
        for line in without_connection(&String::from_utf8_lossy(text)) {
            answer.push_str(&format!("{mark} {line}\n"));
        }
    }
    answer.push_str(&format!("= {}\n", done.status.code().unwrap_or(-1)));
    Ok(answer)
}

/// The lines that are not about the connection: its events are a blank line, `WATCHER::`, a blank line
/// and the event.
fn without_connection(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if line.is_empty() && lines.get(at + 1) == Some(&"WATCHER::") {
            at += 4;
            continue;
        }
        if !["Connecting to", "Welcome to", "JLine"].iter().any(|head| line.starts_with(head)) {
            kept.push(line);
        }
        at += 1;
    }
    kept
}
