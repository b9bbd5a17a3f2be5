//! The simulator as a program; see `rookeeper::sim` and `docs/SIMULATION.md`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use rookeeper::sim::{self, whole};
use rookeeper::zab::Mutant;

/// Runs ensembles under seeds and reports the first violation.
#[derive(Parser)]
struct Arguments {
    /// Run this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Run these seeds, as FIRST..LAST.
    #[arg(long, default_value = "0..500")]
    seeds: String,
    /// Simulate whole servers: one alone, or an ensemble.
    #[arg(long)]
    whole: Option<Whole>,
    /// Have this bug; or "list".
    #[arg(long)]
    mutant: Option<String>,
    /// Have each bug in turn, and fail unless every one is found within the seeds.
    #[arg(long)]
    mutants: bool,
    /// Print every event.
    #[arg(long)]
    verbose: bool,
    /// Run each seed twice and compare.
    #[arg(long)]
    twice: bool,
    /// Go on after a violation.
    #[arg(long)]
    keep_going: bool,
    /// Threads to run seeds on.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
}

/// The worlds of whole servers.
#[derive(Clone, Copy, ValueEnum)]
enum Whole {
    /// One server, without an ensemble.
    One,
    /// Members of an ensemble.
    Ensemble,
}

/// A range from here on must have shown everything that [`EXPECTED`] or [`EXPECTED_OF_PEERS`] names.
const LARGE: u64 = 500;

/// What a large range shows of whole servers in either world; of one alone; of ensembles.
const EXPECTED: [&[&str]; 3] = [
    &[
        "fault: kill",
        "fault: power loss",
        "power lost at an operation",
        "killed at an operation",
        "died while starting",
        "stopped by a failed sync",
        "stopped by a full disk",
        "fault: disk stalls",
        "fault: damage",
        "fault: newest log lost",
        "fault: newest log cut",
        "fault: newest log from a copy",
        "fault: newest log swapped",
        "fault: pause",
        "fault: clock jumps",
        "fault: client cut",
        "fault: half-open connection",
        "fault: lost client",
        "fault: clog",
        "fault: stop",
        "snapshot written",
        "snapshot failed",
        "purge",
        "session expired",
        "session closed",
        "sessions refused",
        "watch events",
    ],
    &["damage refused", "lost log refused"],
    &[
        "sync by DIFF",
        "sync by DIFF from the log",
        "TRUNC",
        "damaged member resynced",
        "sync by SNAP",
        "elections",
        "greeting waited for a leader",
        "greeting refused after a wait",
        "fault: isolate",
        "fault: split",
        "fault: one way",
        "fault: kill leader",
        "fault: cut link",
        "fault: power loss of all",
        "state reloaded",
        "fault: kill a follower with observers",
        "observer learns from a follower",
        "observer changes its master",
        "observer falls back to the leader",
        "session of an observer told to the leader",
        "local session",
        "local session renewed",
        "local session upgraded",
        "local session refused elsewhere",
        "local session expired",
        "ephemeral of a local session refused",
        "read-only: begins",
        "read-only: session",
        "read-only: read answered",
        "read-only: write refused",
        "read-only: new session refused",
        "read-only: client writes again",
        "read-only: with what was not committed",
        "session of a learner expired",
        "session kept at a leader",
        "session kept at a follower",
        "session kept at an observer",
        "session kept at an observer of a follower",
        "silent session ended at a leader",
        "silent session ended at a follower",
        "silent session ended at an observer",
        "silent session ended at an observer of a follower",
        "expired session refused by a leader",
        "expired session refused by a follower",
        "expired session refused by an observer",
    ],
];

/// What a large range shows of peers.
const EXPECTED_OF_PEERS: &[&str] = &[
    "sync by DIFF",
    "sync by DIFF from the log",
    "sync by TRUNC",
    "sync by TRUNC and DIFF",
    "sync by SNAP",
    "fault: clog",
    "fault: cut link",
    "fault: damage log",
    "fault: disk stalls",
    "fault: election port",
    "fault: half-open link",
    "fault: isolate",
    "fault: kill",
    "fault: kill leader",
    "fault: learner port",
    "fault: one way",
    "fault: pause",
    "fault: power loss",
    "fault: power loss of all",
    "fault: quorum port held",
    "fault: shut down",
    "fault: split",
    "fault: later epochs accepted",
    "fault: stranger",
    "fault: strange vote",
    "formed anew: one comes back",
    "formed anew: one stays out",
    "looking: later epoch",
    "killed in the middle of a step",
    "notification lost",
    "closed link still read",
    "damaged log resynced",
    "local snapshot",
    "looking: rolled over",
    "looking: quorum lost",
    "looking: quorum port held",
    "looking: leader looks",
    "quorum port held",
    "connected to another program",
    "state reloaded",
    "sync answered",
    "sync failed",
    "OBSERVERINFO",
];

/// What became of a run, in either simulator.
struct Ran {
    violation: Option<String>,
    params: String,
    hash: u64,
    events: u64,
    time_us: u64,
    committed: usize,
    coverage: BTreeMap<&'static str, u64>,
}

impl<P: std::fmt::Debug> From<sim::Outcome<P>> for Ran {
    fn from(outcome: sim::Outcome<P>) -> Ran {
        Ran {
            violation: outcome.violation.map(|v| v.to_string()),
            params: format!("{:?}", outcome.params),
            hash: outcome.hash,
            events: outcome.events,
            time_us: outcome.time_us,
            committed: outcome.committed,
            coverage: outcome.coverage,
        }
    }
}

/// How seeds are run, and what large ranges must show.
struct Runner {
    run: Box<dyn Fn(u64, bool) -> Ran + Sync>,
    params: Box<dyn Fn(u64) -> String + Sync>,
    expected: Vec<&'static str>,
}

fn peers(mutant: Option<Mutant>) -> Runner {
    let run = move |seed, verbose| Ran::from(sim::run(seed, mutant, verbose));
    let params = move |seed| {
        let mut params = sim::swarm::Params::of_seed(seed);
        params.mutant = mutant;
        format!("{params:?}")
    };
    let expected = if mutant.is_none() { EXPECTED_OF_PEERS.to_vec() } else { Vec::new() };
    Runner { run: Box::new(run), params: Box::new(params), expected }
}

fn servers(kind: whole::Kind, mutant: Option<whole::Mutant>) -> Runner {
    let run = move |seed, verbose| Ran::from(whole::run(kind, seed, mutant, verbose));
    let params = move |seed| {
        let mut params = whole::Params::of_seed(kind, seed);
        mutant.into_iter().for_each(|mutant| params.lean_towards(mutant));
        format!("{params:?}")
    };
    let [both, alone, ensembles] = EXPECTED;
    let own = if kind == whole::Kind::Ensemble { ensembles } else { alone };
    let expected = if mutant.is_none() { [both, own].concat() } else { Vec::new() };
    Runner { run: Box::new(run), params: Box::new(params), expected }
}

/// The runner that the arguments ask for; an error says why there is none.
fn runner(arguments: &Arguments) -> Result<Runner, String> {
    let name = arguments.mutant.as_deref();
    let unknown = |name: &str| format!("no mutant {name}; --mutant list names them");
    let kind = match arguments.whole {
        None => {
            let mutant = name.map(|n| Mutant::named(n).ok_or_else(|| unknown(n))).transpose()?;
            return Ok(peers(mutant));
        }
        Some(Whole::One) => whole::Kind::One,
        Some(Whole::Ensemble) => whole::Kind::Ensemble,
    };
    let mutant = name.map(|n| whole::Mutant::named(n).ok_or_else(|| unknown(n))).transpose()?;
    Ok(servers(kind, mutant))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.mutant.as_deref() == Some("list") {
        match arguments.whole {
            None => Mutant::ALL.iter().for_each(|m| println!("{m:?}")),
            Some(_) => whole::Mutant::ALL.iter().for_each(|m| println!("{m:?}")),
        }
        return ExitCode::SUCCESS;
    }
    let runner = match runner(&arguments) {
        Ok(runner) => runner,
        Err(what) => {
            eprintln!("{what}");
            return ExitCode::FAILURE;
        }
    };
    let range = match arguments.seed {
        Some(seed) => Some((seed, seed + 1)),
        None => arguments
            .seeds
            .split_once("..")
            .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?))),
    };
    let Some((first, last)) = range else {
        eprintln!("seeds are given as FIRST..LAST");
        return ExitCode::FAILURE;
    };
    if arguments.mutants {
        return bank(arguments.whole, first..last);
    }
    let single = arguments.seed.is_some();
    let begun = Instant::now();
    let total = std::sync::Mutex::new(Total::default());
    let next = std::sync::atomic::AtomicU64::new(first);
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    if single {
                        println!("seed {seed}: {}", (runner.params)(seed));
                    }
                    let ran = (runner.run)(seed, arguments.verbose);
                    let again = arguments.twice.then(|| (runner.run)(seed, false).hash);
                    let mut total = total.lock().unwrap_or_else(|e| e.into_inner());
                    total.add(&ran);
                    if again.is_some_and(|hash| hash != ran.hash) {
                        println!("seed {seed}: not reproducible");
                        total.failures += 1;
                    }
                    if let Some(violation) = &ran.violation {
                        println!("seed {seed}: {violation}");
                        println!("  {}", ran.params);
                        if !arguments.keep_going {
                            next.store(last, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                    if single {
                        println!("trace {:016x}", ran.hash);
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_else(|e| e.into_inner());
    for (what, count) in &total.coverage {
        println!("{count:>12} {what}");
    }
    let elapsed = begun.elapsed().as_secs_f64();
    println!(
        "{} seeds, {} violations, {} events, {:.1} simulated hours, {} committed, {elapsed:.1} s",
        total.runs,
        total.failures,
        total.events,
        total.time_us as f64 / 3.6e9,
        total.committed,
    );
    let seen = |what: &&str| total.coverage.get(what).is_some_and(|count| *count > 0);
    let unseen: Vec<&str> = runner.expected.iter().copied().filter(|what| !seen(what)).collect();
    if total.runs >= LARGE && !unseen.is_empty() {
        println!("never happened: {}", unseen.join(", "));
        return ExitCode::FAILURE;
    }
    if total.failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs every bug of a world until it is found.
fn bank(world: Option<Whole>, seeds: std::ops::Range<u64>) -> ExitCode {
    let runners: Vec<(String, Runner)> = match world {
        None => Mutant::ALL.iter().map(|m| (format!("{m:?}"), peers(Some(*m)))).collect(),
        Some(Whole::Ensemble) => {
            let mutants = whole::Mutant::ALL.iter().filter(|m| !m.is_alone());
            mutants.map(|m| (format!("{m:?}"), servers(whole::Kind::Ensemble, Some(*m)))).collect()
        }
        Some(Whole::One) => {
            let mutants = whole::Mutant::ALL.iter().filter(|m| !m.is_of_ensembles());
            mutants.map(|m| (format!("{m:?}"), servers(whole::Kind::One, Some(*m)))).collect()
        }
    };
    let mut missed = 0;
    for (name, runner) in runners {
        let begun = Instant::now();
        let mut found =
            seeds.clone().filter_map(|seed| Some((seed, (runner.run)(seed, false).violation?)));
        let found = found.next();
        let seconds = begun.elapsed().as_secs_f64();
        match found {
            Some((seed, violation)) => {
                let what = violation.split(':').next().unwrap_or_default();
                println!("{name:<24} seed {seed:>5}  {seconds:6.1} s  {what}");
            }
            None => {
                println!("{name:<24} NOT FOUND in seeds {}..{}", seeds.start, seeds.end);
                missed += 1;
            }
        }
    }
    if missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[derive(Default)]
struct Total {
    runs: u64,
    failures: u64,
    events: u64,
    time_us: u64,
    committed: usize,
    coverage: BTreeMap<&'static str, u64>,
}

impl Total {
    fn add(&mut self, ran: &Ran) {
        self.runs += 1;
        self.failures += u64::from(ran.violation.is_some());
        self.events += ran.events;
        self.time_us += ran.time_us;
        self.committed += ran.committed;
        for (what, count) in &ran.coverage {
            *self.coverage.entry(what).or_default() += count;
        }
    }
}
