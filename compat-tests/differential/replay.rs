//! Recorded programs: replayed against rookeeper always, against Apache where Java is found.

use std::path::{Path, PathBuf};

use super::exec::{self, Transcript};
use super::gaps::Gaps;
use super::limits;
use super::script::Program;
use crate::harness::apache;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Kind, Server};
use crate::harness::tools::{self, Level};

/// The folder of recordings.
pub fn folder() -> PathBuf {
    tools::root().join("fixtures/differential")
}

/// All recordings, in name order.
pub fn recordings() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder())
        .map(|entries| entries.flatten().map(|e| e.path()).collect())
        .unwrap_or_default();
    all.retain(|p| p.extension().is_some_and(|e| e == "txt"));
    all.sort();
    all
}

/// A name for a recording.
pub fn name(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Reads a recording; a dump of the tree always comes last.
pub fn load(path: &Path) -> Result<Program, Stop> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Stop::failed(format!("{}: {e}", path.display())))?;
    let mut program = Program::parse(&text);
    if program.steps.last().map(String::as_str) != Some("dumptree") {
        program.steps.push("dumptree".to_string());
        program.recorded.push(Vec::new());
    }
    Ok(program)
}

/// Runs a program on a fresh server of `kind` (Apache is hosted when the program allows).
pub fn execute(program: &Program, kind: Kind) -> Result<Transcript, Stop> {
    let dir = TempDir::new("replay");
    let hostable = program.properties.is_empty() && !program.fresh;
    let kind = if kind == Kind::Hosted && !hostable { Kind::apache() } else { kind };
    let mut server = Server::new(kind, dir.path());
    for (key, value) in &program.config {
        server.set_line(key, value);
    }
    for (key, value) in &program.properties {
        server = server.property(key, value);
    }
    if program.limits {
        limits::write(&server.data_dir())?;
    }
    server.start()?;
    let transcript = exec::run(&program.steps, &mut server, false).map_err(|e| match e {
        Stop::Failed(text) => Stop::failed(format!("{text}\n{}", server.log_tail())),
        other => other,
    })?;
    server.stop();
    Ok(transcript)
}

/// The first lines that differ, with the step they belong to.
pub fn first_difference(
    steps: &[String],
    want: &Transcript,
    got: &Transcript,
    except: impl Fn(usize) -> bool,
) -> Option<String> {
    for (i, step) in steps.iter().enumerate() {
        let (w, g) = (want.get(i), got.get(i));
        if w != g && !except(i) {
            let lines = |l: Option<&Vec<String>>| match l {
                Some(l) => l.join("\n    "),
                None => "nothing".to_string(),
            };
            if let (Some(w), Some(g)) = (w, g)
                && w.len() > 6
            {
                let only = |a: &Vec<String>, b: &Vec<String>| {
                    let all: Vec<String> =
                        a.iter().filter(|l| !b.contains(l)).take(40).cloned().collect();
                    all.join("\n    ")
                };
                return Some(format!(
                    "step {}: {step}\n  only Apache:\n    {}\n  only here:\n    {}",
                    i + 1,
                    only(w, g),
                    only(g, w)
                ));
            }
            return Some(format!(
                "step {}: {step}\n  Apache:\n    {}\n  here:\n    {}",
                i + 1,
                lines(w),
                lines(g)
            ));
        }
    }
    None
}

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    if std::env::var_os("ROOKEEPER_REWRITE").is_some() {
        for path in recordings() {
            suite.add("record", name(&path), Level::Quick, move || record(&path));
        }
        return;
    }
    for path in recordings() {
        let p = path.clone();
        suite.add("replay", name(&path), Level::Quick, move || replay(&p));
    }
    suite.add("recordings-hold", "apache", Level::Ci, check_all);
}

/// Runs a program against Apache and stores the answers.
fn record(path: &Path) -> Outcome {
    let mut program = load(path)?;
    program.recorded = execute(&program, Kind::Hosted)?;
    let head = format!("# recorded from Apache ZooKeeper {}", apache::REFERENCE);
    program.comments.retain(|c| !c.starts_with("# recorded from"));
    program.comments.push(head);
    std::fs::write(path, program.print())?;
    Ok(String::new())
}

fn replay(path: &Path) -> Outcome {
    let program = load(path)?;
    if program.recorded.iter().all(Vec::is_empty) {
        return Err(Stop::failed("not recorded yet: ROOKEEPER_REWRITE=1 cargo test --test compat"));
    }
    let got = execute(&program, Kind::Rookeeper)?;
    let gaps = Gaps::load()?;
    let name = name(path);
    let kept: Vec<usize> = (0..program.steps.len())
        .filter(|i| gaps.covers(&name, &program.steps[*i]).is_some())
        .collect();
    if let Some(text) =
        first_difference(&program.steps, &program.recorded, &got, |i| kept.contains(&i))
    {
        return Err(Stop::failed(text));
    }
    for i in &kept {
        if program.recorded.get(*i) == got.get(*i) {
            return Err(Stop::failed(format!(
                "a known gap has closed, take its lines out of known-gaps.toml: {}",
                program.steps[*i]
            )));
        }
    }
    let note = if kept.is_empty() { String::new() } else { format!("{} known gaps", kept.len()) };
    Ok(note)
}

/// Checks every recording against a live Apache.
fn check_all() -> Outcome {
    tools::need("java")?;
    let mut wrong = Vec::new();
    let all = recordings();
    for path in &all {
        let program = load(path)?;
        let got = execute(&program, Kind::Hosted)?;
        if let Some(text) = first_difference(&program.steps, &program.recorded, &got, |_| false) {
            wrong.push(format!("{}: {text}", name(path)));
        }
    }
    if wrong.is_empty() {
        Ok(format!("{} recordings are what Apache {} says", all.len(), apache::REFERENCE))
    } else {
        Err(Stop::failed(wrong.join("\n")))
    }
}
