//! Runs cases one after another and prints what became of each.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use super::process;
use super::tools::{self, Level};

/// Why a case did not pass.
#[derive(Debug, Clone)]
pub enum Stop {
    /// It found something wrong.
    Failed(String),
    /// It could not run here; a failure when `CI=true` and `toolchain` is set.
    Skipped {
        /// What is missing.
        reason: String,
        /// Whether CI must have it.
        toolchain: bool,
    },
}

impl Stop {
    /// A failure.
    pub fn failed(text: impl Into<String>) -> Stop {
        Stop::Failed(text.into())
    }

    /// A toolchain that is not installed.
    pub fn missing(program: &str) -> Stop {
        Stop::Skipped { reason: format!("{program} is not installed"), toolchain: true }
    }

    /// A case that makes no sense in this run.
    pub fn skip(reason: impl Into<String>) -> Stop {
        Stop::Skipped { reason: reason.into(), toolchain: false }
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Stop {
        Stop::Failed(error.to_string())
    }
}

impl From<String> for Stop {
    fn from(text: String) -> Stop {
        Stop::Failed(text)
    }
}

/// What a case gives back: a short remark to print after "ok", often empty.
pub type Outcome = Result<String, Stop>;

type Body = Box<dyn FnOnce() -> Outcome>;

/// One case.
pub struct Case {
    group: &'static str,
    name: String,
    level: Level,
    body: Body,
}

/// All cases of the suite.
#[derive(Default)]
pub struct Suite {
    cases: Vec<Case>,
}

/// What became of one case, for the report.
pub struct Line {
    /// The group's name.
    pub group: &'static str,
    /// The case's name.
    pub name: String,
    /// `ok`, `FAILED`, `ignored`.
    pub state: &'static str,
    /// A remark or reason.
    pub remark: String,
}

impl Suite {
    /// Adds a case that runs from `level` on.
    pub fn add(
        &mut self,
        group: &'static str,
        name: impl Into<String>,
        level: Level,
        body: impl FnOnce() -> Outcome + 'static,
    ) {
        self.cases.push(Case { group, name: name.into(), level, body: Box::new(body) });
    }

    /// Runs what the command line selects. The arguments are those of a Rust test binary: name
    /// parts to select by, `--list`, `--exact`, `--skip NAME`; others are accepted and ignored.
    pub fn run(self) -> (Vec<Line>, bool) {
        let mut filters = Vec::new();
        let mut skips = Vec::new();
        let (mut list, mut exact, mut all) = (false, false, false);
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--list" => list = true,
                "--exact" => exact = true,
                "--ignored" | "--include-ignored" | "--full" => all = true,
                "--skip" => skips.extend(args.next()),
                "--test-threads" | "--format" | "--color" | "-Z" => {
                    args.next();
                }
                other if other.starts_with('-') => {}
                other => filters.push(other.to_string()),
            }
        }
        let level = if all { Level::Full } else { tools::level() };
        let chosen = |case: &Case| {
            let full = format!("{}::{}", case.group, case.name);
            let matches = |f: &String| if exact { &full == f } else { full.contains(f.as_str()) };
            (filters.is_empty() || filters.iter().any(matches))
                && !skips.iter().any(|s| full.contains(s.as_str()))
        };
        let named = !filters.is_empty();
        let cases: Vec<Case> = self.cases.into_iter().filter(chosen).collect();
        if list {
            for case in &cases {
                println!("{}::{}: test", case.group, case.name);
            }
            return (Vec::new(), true);
        }
        let started = Instant::now();
        let mut lines = Vec::new();
        let mut failures = Vec::new();
        println!("\nrunning {} tests (level {level:?})", cases.len());
        for case in cases {
            let full = format!("{}::{}", case.group, case.name);
            // A case named on the command line runs whatever its level.
            if case.level > level && !(named && filters.iter().any(|f| full.contains(f.as_str()))) {
                lines.push(Line {
                    group: case.group,
                    name: case.name,
                    state: "ignored",
                    remark: format!("runs at level {:?}", case.level),
                });
                continue;
            }
            let begun = Instant::now();
            process::take_logs();
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(case.body))
                .unwrap_or_else(|p| Err(Stop::failed(panic_text(&*p))));
            let took = begun.elapsed().as_secs_f64();
            let (state, remark) = match outcome {
                Ok(remark) => ("ok", remark),
                Err(Stop::Skipped { reason, toolchain }) if !(toolchain && tools::ci()) => {
                    ("ignored", reason)
                }
                Err(Stop::Skipped { reason, .. }) => ("FAILED", reason),
                Err(Stop::Failed(reason)) => ("FAILED", reason),
            };
            if state == "FAILED" {
                println!("test {full} ... FAILED ({took:.1} s)");
                let mut text = remark.clone();
                for log in process::take_logs() {
                    // Many cases show the logs that matter themselves.
                    let last = log.lines().last().unwrap_or_default();
                    if log.lines().count() > 1 && !text.contains(last) {
                        text.push('\n');
                        text.push_str(&log);
                    }
                }
                failures.push((full, text));
            } else {
                let shown = if remark.is_empty() { String::new() } else { format!(": {remark}") };
                println!("test {full} ... {state} ({took:.1} s){shown}");
            }
            lines.push(Line { group: case.group, name: case.name, state, remark });
        }
        if !failures.is_empty() {
            println!("\nfailures:\n");
            for (name, text) in &failures {
                println!("---- {name} ----\n{text}");
                println!("repeat just this: {}\n", repeat(name, level));
            }
        }
        print_groups(&lines);
        let count = |state| lines.iter().filter(|l| l.state == state).count();
        let word = if failures.is_empty() { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {word}. {} passed; {} failed; {} ignored; 0 measured; 0 filtered out; finished in {:.2}s\n",
            count("ok"),
            count("FAILED"),
            count("ignored"),
            started.elapsed().as_secs_f64()
        );
        let ok = failures.is_empty();
        (lines, ok)
    }
}

/// The command that runs one case as it ran now.
fn repeat(name: &str, level: Level) -> String {
    let mut command = format!("ROOKEEPER_COMPAT={} ", format!("{level:?}").to_lowercase());
    for key in ["ROOKEEPER_SEED", "ROOKEEPER_OPERATIONS", "ROOKEEPER_COMPAT_SUBJECT"] {
        if let Ok(value) = std::env::var(key) {
            command.push_str(&format!("{key}={value} "));
        }
    }
    format!("{command}cargo test --test compat -- --exact '{name}'")
}

fn print_groups(lines: &[Line]) {
    let mut groups: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for line in lines {
        let at = match line.state {
            "ok" => 0,
            "FAILED" => 1,
            _ => 2,
        };
        groups.entry(line.group).or_default()[at] += 1;
    }
    println!("\ngroups:");
    for (group, [ok, failed, ignored]) in groups {
        println!("  {group}: {ok} passed, {failed} failed, {ignored} ignored");
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines.iter().filter(|l| l.state == "ignored") {
        *reasons.entry(line.remark.as_str()).or_default() += 1;
    }
    if !reasons.is_empty() {
        println!("not run here:");
        for (reason, count) in reasons {
            println!("  {count} x {reason}");
        }
    }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|s| s.to_string()))
        .unwrap_or_else(|| "panicked".to_string())
}
