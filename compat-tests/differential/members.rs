//! Generated programs against an ensemble, with one Apache server to compare with.
//!
//! Sessions are spread over the leader, a follower and an observer, and move with every connection.
//! Every member is waited for before anything is asked of one: then all that a program sees is
//! determined, and is what one server alone shows. Pipelined requests are where members are
//! different inside: some are forwarded, some answered here, and syncs wait for others still.

use std::net::SocketAddr;

use super::exec::{self, Transcript};
use super::live::{self, VARYING_MAX};
use super::{generate, minimise, replay};
use crate::ensemble::dump;
use crate::harness::client::Session;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Ensemble, Kind, Server};
use crate::harness::tools::{self, Level};

/// Operations per program.
const LENGTH: usize = 60;
/// Differences after which a run gives up.
const DIFFERENCES_MAX: usize = 3;

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    let seed = std::env::var("ROOKEEPER_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1u64);
    let operations = std::env::var("ROOKEEPER_OPERATIONS").ok().and_then(|s| s.parse().ok());
    let default = match tools::level() {
        Level::Quick => 3_000,
        Level::Ci => 30_000,
        Level::Full => 300_000,
    };
    let operations: usize = operations.unwrap_or(default);
    let places = [("follower", vec![0]), ("observer", vec![2]), ("every-member", vec![0, 1, 2])];
    for (place, members) in places {
        let name = format!("generated-{place}");
        suite.add("differential", &name, Level::Quick, move || {
            tools::need("java")?;
            compare(&members, seed, operations)
        });
    }
}

struct Both {
    _dirs: [TempDir; 2],
    alone: Server,
    ensemble: Ensemble,
    /// Indices of the members that sessions use.
    members: Vec<usize>,
}

impl Both {
    fn start(members: &[usize]) -> Result<Both, Stop> {
        let dirs = [TempDir::new("alone"), TempDir::new("members")];
        let mut alone = Server::new(Kind::Hosted, dirs[0].path());
        // Of the two voters the second leads: all alike, the largest id wins.
        let mut ensemble = Ensemble::new(&vec![Kind::Rookeeper; 3], dirs[1].path(), &[2]);
        for member in &mut ensemble.members {
            member.set_line("tickTime", 2000);
        }
        alone.start()?;
        ensemble.start()?;
        // Members are at the epoch's first transaction only when there is one. It is made where the
        // first program will ask for the newest zxid: other members may be behind for a moment.
        Session::open(ensemble.members[members[0]].address(), 10_000)?.call(-11, &[])?;
        Ok(Both { _dirs: dirs, alone, ensemble, members: members.to_vec() })
    }

    fn run(&mut self, steps: &[String]) -> Result<[Transcript; 2], Stop> {
        let addresses: Vec<SocketAddr> =
            self.members.iter().map(|m| self.ensemble.members[*m].address()).collect();
        let home = &mut self.ensemble.members[self.members[0]];
        let alone = &mut self.alone;
        std::thread::scope(|scope| {
            let other =
                scope.spawn(move || exec::run_spread(steps, home, addresses, true).map(masked));
            let want = exec::run(steps, alone, true).map(masked);
            let got = other.join().map_err(|_| Stop::failed("the runner panicked"))?;
            Ok([want?, got?])
        })
    }

    /// Whether all members show the same.
    fn agree(&self) -> Result<(), Stop> {
        let trees: Result<Vec<_>, String> =
            self.ensemble.members.iter().map(|m| dump::tree(&m.host_port())).collect();
        let trees = trees?;
        for other in &trees[1..] {
            let differences = dump::differences(&trees[0], other);
            if !differences.is_empty() {
                return Err(Stop::failed(format!("members show different trees:\n{differences}")));
            }
        }
        Ok(())
    }
}

/// Without what an ensemble shows otherwise on purpose: its configuration.
fn masked(mut transcript: Transcript) -> Transcript {
    for lines in &mut transcript {
        lines.retain(|line| !line.starts_with("/zookeeper/config"));
    }
    transcript
}

/// A generated program without what is about one server: words, restarts, the configuration.
fn program(seed: u64) -> Option<Vec<String>> {
    let mut steps = generate::program(seed, LENGTH, false);
    if steps.iter().any(|step| step == "restart") {
        return None;
    }
    steps.retain(|step| !step.starts_with("4lw") && !step.contains("/zookeeper/config"));
    steps.push("dumptree".to_string());
    Some(steps)
}

/// Runs `operations` generated operations against Apache and the given members of an ensemble.
fn compare(members: &[usize], seed: u64, operations: usize) -> Outcome {
    let mut both = Both::start(members)?;
    let mut found: Vec<String> = Vec::new();
    let (mut programs, mut varying) = (0, 0);
    let mut series: Vec<Vec<String>> = Vec::new();
    for i in 0..operations.div_ceil(LENGTH) {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(i as u64);
        let Some(steps) = program(seed) else { continue };
        programs += 1;
        series.push(steps.clone());
        let (difference, got) = match both.run(&steps) {
            Ok([want, got]) => {
                (replay::first_difference(&steps, &want, &got, |_| false), Some(got))
            }
            Err(Stop::Failed(text)) => (Some(text), None),
            Err(other) => return Err(other),
        };
        let Some(text) = difference else { continue };
        let series = std::mem::take(&mut series);
        if let Some(got) = got
            && varying < VARYING_MAX
            && live::varies(&series, &got, || Both::start(members), Both::run)?
        {
            println!("    seed {seed}: Apache answers now so, now otherwise: {text}");
            varying += 1;
            both = Both::start(members)?;
            continue;
        }
        both = Both::start(members)?;
        found.push(explain(&mut both, members, seed, &steps, &text)?);
        if found.len() >= DIFFERENCES_MAX {
            break;
        }
    }
    if !found.is_empty() {
        return Err(Stop::failed(format!("{} differences\n{}", found.len(), found.join("\n"))));
    }
    both.agree()?;
    let racy = live::racy(varying);
    Ok(format!("{programs} programs, {operations} operations, from seed {seed}{racy}"))
}

/// Shortens a program that differs, and describes it.
fn explain(
    both: &mut Both,
    members: &[usize],
    seed: u64,
    steps: &[String],
    text: &str,
) -> Result<String, Stop> {
    let mut last = None;
    println!("    seed {seed}: {text}");
    let best = minimise::shorten(steps, 60, |candidate| {
        let text = match both.run(candidate) {
            Ok([want, got]) => replay::first_difference(candidate, &want, &got, |_| false),
            Err(Stop::Failed(text)) => Some(text),
            Err(_) => None,
        };
        let differs = text.is_some();
        if differs {
            last = text;
            if let Ok(fresh) = Both::start(members) {
                *both = fresh;
            }
        }
        differs
    });
    let text = last.unwrap_or_else(|| format!("only behind earlier programs:\n{text}"));
    Ok(format!("seed {seed}: {text}\n  program:\n    {}", best.join("\n    ")))
}
