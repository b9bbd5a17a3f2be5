//! The simulator as a program; see `rookeeper::sim` and `docs/SIMULATION.md`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use rookeeper::sim;
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
    /// Have this bug; or "list".
    #[arg(long)]
    mutant: Option<String>,
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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mutant = match arguments.mutant.as_deref() {
        Some("list") => {
            Mutant::ALL.iter().for_each(|m| println!("{m:?}"));
            return ExitCode::SUCCESS;
        }
        Some(name) => match Mutant::named(name) {
            Some(mutant) => Some(mutant),
            None => {
                eprintln!("no mutant {name}; --mutant list names them");
                return ExitCode::FAILURE;
            }
        },
        None => None,
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
                        let mut params = sim::swarm::Params::of_seed(seed);
                        params.mutant = mutant;
                        println!("seed {seed}: {params:?}");
                    }
                    let outcome = sim::run(seed, mutant, arguments.verbose);
                    let again = arguments.twice.then(|| sim::run(seed, mutant, false).hash);
                    let mut total = total.lock().unwrap_or_else(|e| e.into_inner());
                    total.add(&outcome);
                    if again.is_some_and(|hash| hash != outcome.hash) {
                        println!("seed {seed}: not reproducible");
                        total.failures += 1;
                    }
                    if let Some(violation) = &outcome.violation {
                        println!("seed {seed}: {violation}");
                        println!("  {:?}", outcome.params);
                        if !arguments.keep_going {
                            next.store(last, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                    if single {
                        println!("trace {:016x}", outcome.hash);
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
    if total.failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
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
    fn add(&mut self, outcome: &sim::Outcome) {
        self.runs += 1;
        self.failures += u64::from(outcome.violation.is_some());
        self.events += outcome.events;
        self.time_us += outcome.time_us;
        self.committed += outcome.committed;
        for (what, count) in &outcome.coverage {
            *self.coverage.entry(what).or_default() += count;
        }
    }
}
