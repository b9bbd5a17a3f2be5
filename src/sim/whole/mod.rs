//! Whole servers under a seed: the real replica, state, connections, recovery and file formats, on a
//! disk that lies, spoken to in bytes by clients that keep a record.
//!
//! What `sim::world` does for Zab, this does for everything below the sockets. It is slower, and
//! sees what that can't: what clients are told, and what a restart makes of the files.
//!
//! - [`world`]: hosts, time, one queue of events; [`links`]: what travels; [`files`]: log threads,
//!   snapshots, starts and ends; [`nemesis`] and [`lost`]: what goes wrong; [`phases`]: chaos, heal, deadlines;
//! - [`process`], [`alone`] and [`member`]: a server as its threads see it; [`conn`]: its side of a
//!   client's connection; [`peers`]: links and votes between members;
//! - [`readers`]: observers of followers, and members without a quorum; [`sessions`]: who was told
//!   what of a session; [`keep`]: sessions that are kept, and sessions that are not;
//! - [`client`] and [`workload`]: who asks, and for what;
//! - [`checks`]: what must be true at the end; more is checked on the way, where it happens.

pub mod alone;
pub mod checks;
pub mod client;
pub mod conn;
pub mod files;
pub mod keep;
pub mod links;
pub mod lost;
pub mod member;
pub mod nemesis;
pub mod params;
pub mod peers;
pub mod phases;
pub mod process;
pub mod readers;
pub mod sessions;
pub mod workload;
pub mod world;

use crate::zab;
pub use params::{Kind, Params};
use world::World;

/// Bugs of the whole server, for the simulator to find. Made by the simulator on the server's
/// behalf, except one that the state has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Writes are answered before they are synced.
    ReplyBeforeSync,
    /// A snapshot's name says one transaction too many.
    SnapshotMisnamed,
    /// Recovery takes damage in the middle of the log for its end.
    DamageIsTheEnd,
    /// The end of a session leaves its ephemerals.
    EphemeralsStay,
    /// Watch events come after the replies of the same turn.
    EventsLate,
    /// A follower does not pass on which sessions are used at its observers.
    ObserversForgotten,
    /// An observer renews a session before it has heard of all that was ordered for it.
    RenewedAtOnce,
    /// Some members don't know that sessions are local, and have them logged.
    LocalSessionsLogged,
    /// A member without a quorum says that it has written.
    ReadOnlySaysYes,
    /// A learner's image is encoded in the turn in which the learner needs it.
    ImageAtOnce,
    /// One of Zab's.
    Zab(zab::Mutant),
}

impl Mutant {
    /// All but Zab's.
    pub const ALL: &[Mutant] = &[
        Mutant::ReplyBeforeSync,
        Mutant::SnapshotMisnamed,
        Mutant::DamageIsTheEnd,
        Mutant::EphemeralsStay,
        Mutant::EventsLate,
        Mutant::ObserversForgotten,
        Mutant::RenewedAtOnce,
        Mutant::LocalSessionsLogged,
        Mutant::ReadOnlySaysYes,
        Mutant::ImageAtOnce,
    ];

    /// Whether only a server without an ensemble can show it: a member with a damaged log starts
    /// anew, and what a member must not say before its disk does is a matter of Zab's mutants.
    pub fn is_alone(self) -> bool {
        matches!(self, Mutant::DamageIsTheEnd | Mutant::ReplyBeforeSync)
    }

    /// Whether only an ensemble can show it.
    pub fn is_of_ensembles(self) -> bool {
        let bugs = [
            Mutant::ObserversForgotten,
            Mutant::RenewedAtOnce,
            Mutant::LocalSessionsLogged,
            Mutant::ReadOnlySaysYes,
            Mutant::ImageAtOnce,
        ];
        bugs.contains(&self) || matches!(self, Mutant::Zab(_))
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Mutant> {
        let own = Mutant::ALL.iter().copied().find(|m| format!("{m:?}") == name);
        own.or_else(|| zab::Mutant::named(name).map(Mutant::Zab))
    }
}

/// What became of a run.
pub type Outcome = super::Outcome<Params>;

/// Runs one seed, with a bug if one is named; prints every event if `verbose`.
pub fn run(kind: Kind, seed: u64, mutant: Option<Mutant>, verbose: bool) -> Outcome {
    let mut params = Params::of_seed(kind, seed);
    if let Some(mutant) = mutant {
        params.lean_towards(mutant);
    }
    run_with(params, seed, verbose)
}

/// Runs a seed with other parameters than it would have picked.
pub fn run_with(params: Params, seed: u64, verbose: bool) -> Outcome {
    let mut world = World::new(params.clone(), seed);
    world.verbose = verbose;
    world.run();
    Outcome {
        seed,
        violation: world.violation.clone(),
        hash: world.trace_hash(),
        events: world.events(),
        time_us: world.now(),
        committed: world.witness.len(),
        coverage: world.coverage,
        params,
    }
}

#[cfg(test)]
mod tests;
