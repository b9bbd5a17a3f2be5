//! Generated programs against two live servers at once.

use std::time::Instant;

use super::exec::{self, Transcript};
use super::script::Program;
use super::{generate, limits, minimise, replay};
use crate::harness::apache;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Kind, Server};
use crate::harness::tools::{self, Level};

/// Operations per program.
const LENGTH: usize = 60;
/// Programs on one pair of servers before they are replaced by fresh ones.
const PER_SERVER: usize = 40;
/// Differences after which a run gives up.
const DIFFERENCES_MAX: usize = 5;

/// Programs of a run in which Apache may answer otherwise the second time.
pub const VARYING_MAX: usize = 3;
/// How often a series of programs is run again to see whether Apache does.
const AGAIN: usize = 3;

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    let seed = std::env::var("ROOKEEPER_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1u64);
    let operations = std::env::var("ROOKEEPER_OPERATIONS").ok().and_then(|s| s.parse().ok());
    let default = match tools::level() {
        Level::Quick => 10_000,
        Level::Ci => 100_000,
        Level::Full => 1_000_000,
    };
    let operations: usize = operations.unwrap_or(default);
    suite.add("differential", "generated", Level::Quick, move || {
        tools::need("java")?;
        compare(Kind::Hosted, Kind::Rookeeper, seed, operations, true)
    });
    suite.add("differential", "generated-3.8", Level::Full, move || {
        tools::need("java")?;
        let old = Kind::Apache("3.8.4".to_string());
        compare(old, Kind::Rookeeper, seed, operations.min(6_000), true)
    });
    suite.add("differential", "generated-debian", Level::Full, move || {
        tools::need("java")?;
        let old = Kind::Apache(apache::DEBIAN.to_string());
        compare(old, Kind::Rookeeper, seed, operations.min(6_000), true)
    });
    // The reference against itself: what differs here is left open by Apache, not a fault of ours.
    suite.add("differential", "apache-against-itself", Level::Full, move || {
        tools::need("java")?;
        compare(Kind::Hosted, Kind::Hosted, seed, operations.min(100_000), false)
    });
}

struct Pair {
    _dirs: [TempDir; 2],
    servers: [Server; 2],
}

impl Pair {
    fn start(kinds: &[Kind; 2]) -> Result<Pair, Stop> {
        let dirs = [TempDir::new("left"), TempDir::new("right")];
        let mut servers = [0, 1].map(|i| Server::new(kinds[i].clone(), dirs[i].path()));
        for server in &mut servers {
            limits::write(&server.data_dir())?;
            server.start()?;
        }
        Ok(Pair { _dirs: dirs, servers })
    }

    fn run(&mut self, steps: &[String]) -> Result<[Transcript; 2], Stop> {
        let [left, right] = &mut self.servers;
        std::thread::scope(|scope| {
            let other = scope.spawn(move || exec::run(steps, right, true));
            let left = exec::run(steps, left, true);
            let right = other.join().map_err(|_| Stop::failed("the runner panicked"))?;
            Ok([left?, right?])
        })
    }
}

/// Runs `operations` generated operations against both kinds.
pub fn compare(left: Kind, right: Kind, seed: u64, operations: usize, keep: bool) -> Outcome {
    let kinds = [left, right];
    let started = Instant::now();
    let programs = operations.div_ceil(LENGTH);
    let mut found: Vec<String> = Vec::new();
    let newer = match &kinds {
        [Kind::Apache(_), Kind::Rookeeper] => Some([Kind::Hosted, Kind::Rookeeper]),
        _ => None,
    };
    let (mut as_newer, mut varying) = (0, 0);
    // What the servers have done since they were started.
    let mut series: Vec<Vec<String>> = Vec::new();
    let mut pair = Pair::start(&kinds)?;
    for i in 0..programs {
        if i % PER_SERVER == PER_SERVER - 1 {
            pair = Pair::start(&kinds)?;
            series.clear();
        }
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(i as u64);
        let steps = generate::program(seed, LENGTH, true);
        series.push(steps.clone());
        let (difference, got) = match pair.run(&steps) {
            Ok([want, got]) => {
                (replay::first_difference(&steps, &want, &got, |_| false), Some(got))
            }
            Err(Stop::Failed(text)) => (Some(text), None),
            Err(other) => return Err(other),
        };
        let Some(text) = difference else { continue };
        pair = Pair::start(&kinds)?;
        let series = std::mem::take(&mut series);
        // An older release differs so often that it is asked once.
        if let Some(got) = got
            && newer.is_none()
            && varying < VARYING_MAX
            && varies(&series, &got, || Pair::start(&kinds), Pair::run)?
        {
            println!("    seed {seed}: Apache answers now so, now otherwise: {text}");
            varying += 1;
            continue;
        }
        // An older release may differ where the reference does.
        if let Some(newer) = &newer
            && let Ok([want, got]) = Pair::start(newer)?.run(&steps)
            && replay::first_difference(&steps, &want, &got, |_| false).is_none()
        {
            as_newer += 1;
            continue;
        }
        found.push(explain(seed, &steps, &kinds, &text, keep));
        if found.len() >= DIFFERENCES_MAX {
            break;
        }
    }
    let rate = operations as f64 / started.elapsed().as_secs_f64();
    if found.is_empty() {
        let older = match as_newer {
            0 => String::new(),
            n => format!(
                "; {n} of {programs} programs differ, in which {} differs alike",
                crate::harness::apache::REFERENCE
            ),
        };
        let racy = racy(varying);
        return Ok(format!(
            "{operations} operations from seed {seed}, {rate:.0} per second{older}{racy}"
        ));
    }
    Err(Stop::failed(format!("{} differences\n{}", found.len(), found.join("\n"))))
}

/// What to say of programs that [`varies`].
pub fn racy(programs: usize) -> String {
    match programs {
        0 => String::new(),
        n => format!("; in {n} programs Apache gave our answers too, when asked again"),
    }
}

/// Whether Apache, doing the same again from the start, answers the last program as we did: then what
/// differed is a race of Apache's. (One is known: a connection that its client has cut is taken off
/// the books late, and with it whoever has renewed the session meanwhile.)
pub fn varies<P>(
    series: &[Vec<String>],
    ours: &Transcript,
    fresh: impl Fn() -> Result<P, Stop>,
    run: impl Fn(&mut P, &[String]) -> Result<[Transcript; 2], Stop>,
) -> Result<bool, Stop> {
    let Some((last, before)) = series.split_last() else { return Ok(false) };
    for _ in 0..AGAIN {
        let mut servers = fresh()?;
        for steps in before {
            run(&mut servers, steps)?;
        }
        let [theirs, _] = run(&mut servers, last)?;
        if replay::first_difference(last, &theirs, ours, |_| false).is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Shortens a program that differs, stores it, and describes it.
fn explain(seed: u64, steps: &[String], kinds: &[Kind; 2], text: &str, keep: bool) -> String {
    let differs = |candidate: &[String]| -> Option<(String, Transcript)> {
        let mut pair = Pair::start(kinds).ok()?;
        match pair.run(candidate) {
            Ok([want, got]) => {
                replay::first_difference(candidate, &want, &got, |_| false).map(|text| (text, want))
            }
            Err(Stop::Failed(text)) => Some((text, Vec::new())),
            Err(_) => None,
        }
    };
    let Some(first) = differs(steps) else {
        return format!("seed {seed}: only behind earlier programs on one server:\n{text}");
    };
    let best = minimise::shorten(steps, 150, |c| differs(c).is_some());
    let (text, recorded) = differs(&best).unwrap_or(first);
    let mut place = String::new();
    if keep {
        let mut program = Program { steps: best.clone(), limits: true, ..Program::default() };
        program.comments.push(format!("# Found by the generator with seed {seed}."));
        program.recorded = recorded;
        program.recorded.resize(best.len(), Vec::new());
        let path = tools::cache().join(format!("found-{seed}.txt"));
        if std::fs::write(&path, program.print()).is_ok() {
            place = format!(
                "\n  kept as found-{seed}.txt in the cache; move it to fixtures/differential"
            );
        }
    }
    format!("seed {seed}: {text}\n  program:\n    {}{place}", best.join("\n    "))
}
