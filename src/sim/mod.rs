//! The seeded simulator: whole ensembles in one thread, under one seed.
//!
//! `cargo run --release --features sim --bin sim -- --seed 7 --verbose` replays a run;
//! `docs/SIMULATION.md` explains the output. The parts:
//!
//! - [`world`]: hosts, time, one queue of `events`, the two phases of a run;
//! - `outsiders`: what servers without a say do;
//! - [`network`]: links that break as TCP does; [`disk`]: durable and lost writes;
//! - [`swarm`]: what the seed picks; [`nemesis`]: what goes wrong;
//! - [`host`]: the value under test, behind a trait;
//! - [`ghost`] and [`invariants`]: what must be true;
//! - [`score`]: one line per event.
//!
//! [`whole`] is the other simulator, of whole servers; [`witness`] and [`model`] judge what its
//! clients were told.

pub mod disk;
mod events;
pub mod ghost;
pub mod host;
pub mod invariants;
pub mod model;
pub mod nemesis;
pub mod network;
mod outsiders;
pub mod random;
pub mod score;
pub mod swarm;
pub mod whole;
pub mod witness;
pub mod world;

use std::collections::BTreeMap;

use crate::zab::Mutant;
use host::PeerHost;
use invariants::Violation;
use score::Sink;
use swarm::Params;
use world::World;

/// What became of a run of a simulator with parameters `P`.
#[derive(Clone, Debug)]
pub struct Outcome<P = Params> {
    /// The seed.
    pub seed: u64,
    /// What the seed picked.
    pub params: P,
    /// What went wrong, if anything did.
    pub violation: Option<Violation>,
    /// A digest of everything that happened.
    pub hash: u64,
    /// Events handled.
    pub events: u64,
    /// Simulated time, in microseconds.
    pub time_us: u64,
    /// Transactions committed.
    pub committed: usize,
    /// What happened, and how often.
    pub coverage: BTreeMap<&'static str, u64>,
}

/// Runs one seed, with a bug if one is named; prints every event if `verbose`.
pub fn run(seed: u64, mutant: Option<Mutant>, verbose: bool) -> Outcome {
    let mut params = Params::of_seed(seed);
    params.mutant = mutant;
    if let Some(mutant) = mutant {
        params.lean_towards(mutant);
    }
    let mut world = World::<PeerHost>::new(params.clone(), seed);
    if verbose {
        world.score.to = Sink::Print;
    }
    world.start_chaos();
    world.run_until(params.chaos_ms * 1000);
    if world.violation.is_none() {
        world.heal();
        world.settle();
    }
    if world.violation.is_none() && params.formed_anew {
        world.form_anew();
    }
    for host in 0..params.servers() as usize {
        world.harvest(host);
    }
    Outcome {
        seed,
        violation: world.violation.clone(),
        hash: world.trace_hash(),
        events: world.events(),
        time_us: world.now(),
        committed: world.committed().len(),
        coverage: world.coverage,
        params,
    }
}

#[cfg(test)]
mod tests;
