//! Whole data directories: left behind by Apache and kept in `fixtures/data`, and handed to and fro
//! between Apache and rookeeper.

mod dump;
mod make;
mod swap;

use std::path::PathBuf;

use crate::harness::ports::{TempDir, copy_dir};
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Kind, Server};
use crate::harness::tools::{self, Level};

/// The folder of directories.
pub fn folder() -> PathBuf {
    tools::root().join("fixtures/data")
}

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    if std::env::var_os("ROOKEEPER_REWRITE").is_some() {
        for case in make::CASES {
            suite.add("record-data", case.folder(), Level::Quick, || make::record(case));
        }
        suite.add("record-data", "epochs", Level::Quick, make::record_epochs);
        return;
    }
    for path in cases() {
        let name = path.strip_prefix(folder()).unwrap_or(&path).display().to_string();
        let p = path.clone();
        suite.add("data", name, Level::Quick, move || reads(&p, Kind::Rookeeper));
    }
    suite.add("data", "apache-reads-all", Level::Ci, || {
        tools::need("java")?;
        let all = cases();
        for path in &all {
            reads(path, Kind::Hosted)?;
        }
        Ok(format!("{} directories", all.len()))
    });
    swap::add(suite);
}

/// The kept directories: those with an `expected.txt`.
fn cases() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for version in list(&folder()) {
        for case in list(&version) {
            if case.join("expected.txt").is_file() {
                all.push(case);
            }
        }
    }
    all
}

fn list(dir: &std::path::Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir)
        .map(|entries| entries.flatten().map(|e| e.path()).collect())
        .unwrap_or_default();
    all.sort();
    all
}

/// A server of `kind` that starts on a copy of a kept directory shows what Apache showed.
fn reads(path: &std::path::Path, kind: Kind) -> Outcome {
    let expected = std::fs::read_to_string(path.join("expected.txt"))?;
    let dir = TempDir::new("data");
    copy_dir(&path.join("data"), &dir.join("data"))?;
    let properties: Vec<(&str, &str)> =
        expected.lines().filter_map(|l| l.strip_prefix("#prop ")?.split_once('=')).collect();
    let kind = if kind == Kind::Hosted && !properties.is_empty() { Kind::apache() } else { kind };
    let mut server = long_lived(Server::new(kind, dir.path()));
    for (key, value) in properties {
        server = server.property(key, value);
    }
    server.start()?;
    let got = dump::dump(&server)?;
    let kept = |text: &str| -> Vec<String> {
        text.lines().filter(|l| !l.starts_with('#')).map(str::to_string).collect()
    };
    let (want, got) = (kept(&expected), kept(&got));
    if want == got {
        return Ok(format!("{} lines", want.len()));
    }
    let only = |a: &[String], b: &[String]| {
        let all: Vec<String> = a.iter().filter(|l| !b.contains(l)).take(8).cloned().collect();
        all.join("\n  ")
    };
    Err(Stop::failed(format!(
        "{}\nonly Apache:\n  {}\nonly here:\n  {}\n{}",
        path.display(),
        only(&want, &got),
        only(&got, &want),
        server.log_tail()
    )))
}

/// Lets sessions live for hours, so that none ends while a directory lies about.
fn long_lived(server: Server) -> Server {
    server.line("maxSessionTimeout", 86_400_000)
}
