//! The seed picks everything: how large the ensemble is, how slow the network and the disks are, and
//! which faults exist at all. A run with few kinds of faults, but many of each, finds other bugs
//! than one with a little of everything.

use std::time::Duration;

use super::random::Random;
use crate::types::ServerId;
use crate::zab::{Membership, Mutant, Options};

/// Everything that a seed decides before the run begins.
#[derive(Clone, Debug)]
pub struct Params {
    /// Members with a vote, numbered from 1.
    pub voters: u64,
    /// Members without, numbered after them.
    pub observers: u64,
    /// `tickTime`, in milliseconds.
    pub tick_ms: u64,
    /// `initLimit`, in ticks.
    pub init_limit: u32,
    /// `syncLimit`, in ticks.
    pub sync_limit: u32,
    /// How long an election's agreement must stand, in milliseconds.
    pub finalize_ms: u64,
    /// How long a leader waits without followers, in milliseconds.
    pub patience_ms: u64,
    /// `commitLogCount`.
    pub commit_log_count: usize,
    /// Whether DIFFs may be read from the log on disk.
    pub log_sync: bool,
    /// `forceSnapshotSync`.
    pub force_snapshot: bool,
    /// Where an epoch's counter ends.
    pub counter_limit: u32,
    /// One-way delay of a message, in microseconds: from, to.
    pub delay_us: (u64, u64),
    /// Time of a disk request, in microseconds: from, to.
    pub disk_us: (u64, u64),
    /// Mean time between writes of clients, in microseconds.
    pub write_us: u64,
    /// Mean time between local snapshots of a server, in milliseconds; 0 for none.
    pub snapshot_ms: u64,
    /// Snapshots that a purge keeps; 0 for no purge.
    pub retain: usize,
    /// Drift of each server's clock, in parts per thousand, at most.
    pub drift_permille: u64,
    /// How long faults last, in milliseconds.
    pub chaos_ms: u64,
    /// Mean time between faults, in milliseconds.
    pub fault_ms: u64,
    /// The kinds of faults that happen, and how often compared to each other.
    pub faults: Vec<(Fault, u64)>,
    /// How often a server is killed in the middle of what it does, per million events.
    pub crash_in_step: u64,
    /// How often a message of the election port is lost, per thousand.
    pub election_loss: u64,
    /// Whether observers learn from followers.
    pub observer_masters: bool,
    /// Whether the run ends with most members losing their directories, and one that did not
    /// ([`World::form_anew`](super::world::World::form_anew)).
    pub formed_anew: bool,
    /// A bug.
    pub mutant: Option<Mutant>,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// One process is killed; the machine says so to the others.
    Kill,
    /// One machine loses power; the others only notice silence.
    PowerLoss,
    /// All at once.
    PowerLossOfAll,
    /// Whoever leads is killed.
    KillLeader,
    /// A clean stop.
    ShutDown,
    /// A process stands still.
    Pause,
    /// One server is cut off, from all others and on both ports.
    Isolate,
    /// Two groups can't reach each other.
    Split,
    /// One direction between two servers is lost.
    OneWay,
    /// Only the learner port is cut off.
    LearnerPort,
    /// Only the election port is cut off.
    ElectionPort,
    /// A link ends, perhaps inside a stream; both ends notice.
    CutLink,
    /// A link ends, and an end or both don't notice.
    HalfOpen,
    /// A link carries nothing for a while.
    Clog,
    /// A disk doesn't answer for a while.
    StallDisk,
    /// A sync fails: the process dies.
    FailDisk,
    /// A killed server finds its log damaged.
    DamageLog,
    /// Another program takes a server's quorum port while that one does not listen.
    HoldPort,
    /// A killed server has accepted later epochs meanwhile, of leaders that came to nothing.
    AcceptLater,
    /// Somebody speaks on a leader's port who is no voter, or is one with an absurd epoch.
    Stranger,
    /// The same on the election port.
    StrangeVote,
}

impl Fault {
    /// All of them.
    pub const ALL: &[Fault] = &[
        Fault::Kill,
        Fault::PowerLoss,
        Fault::PowerLossOfAll,
        Fault::KillLeader,
        Fault::ShutDown,
        Fault::Pause,
        Fault::Isolate,
        Fault::Split,
        Fault::OneWay,
        Fault::LearnerPort,
        Fault::ElectionPort,
        Fault::CutLink,
        Fault::HalfOpen,
        Fault::Clog,
        Fault::StallDisk,
        Fault::FailDisk,
        Fault::DamageLog,
        Fault::HoldPort,
        Fault::AcceptLater,
        Fault::Stranger,
        Fault::StrangeVote,
    ];
}

impl Params {
    /// An ensemble in which nothing goes wrong: for scripts.
    pub fn calm(voters: u64, observers: u64) -> Params {
        Params {
            voters,
            observers,
            tick_ms: 2000,
            init_limit: 10,
            sync_limit: 5,
            finalize_ms: 20,
            patience_ms: 3000,
            commit_log_count: 500,
            log_sync: true,
            force_snapshot: false,
            counter_limit: u32::MAX,
            delay_us: (100, 100),
            disk_us: (1000, 1000),
            write_us: 0,
            snapshot_ms: 0,
            retain: 0,
            drift_permille: 0,
            chaos_ms: 0,
            fault_ms: 0,
            faults: Vec::new(),
            crash_in_step: 0,
            election_loss: 0,
            observer_masters: false,
            formed_anew: false,
            mutant: None,
        }
    }

    /// What a seed picks.
    pub fn of_seed(seed: u64) -> Params {
        let r = &mut Random::new(seed);
        let voters = r.pick(&[1, 3, 3, 3, 3, 3, 5, 5, 5]);
        let slow = r.pick(&[500, 1_000, 5_000, 20_000, 100_000]);
        let mut faults = Vec::new();
        for fault in Fault::ALL {
            if r.permille(400) {
                faults.push((*fault, r.between(1, 10)));
            }
        }
        if faults.is_empty() {
            faults.push((Fault::Kill, 1));
        }
        Params {
            voters,
            observers: r.pick(&[0, 0, 0, 1, 2]),
            tick_ms: r.pick(&[100, 200, 500, 1000]),
            init_limit: r.between(5, 10) as u32,
            sync_limit: r.between(2, 5) as u32,
            finalize_ms: r.pick(&[0, 5, 20, 50, 200]),
            patience_ms: r.pick(&[300, 1000, 2000]),
            commit_log_count: r.pick(&[1, 2, 3, 5, 5, 10, 50, 500]),
            log_sync: r.permille(700),
            force_snapshot: r.permille(30),
            counter_limit: if r.permille(150) { r.between(4, 40) as u32 } else { u32::MAX },
            delay_us: (r.between(50, 500), slow),
            disk_us: (r.between(20, 1000), r.pick(&[1_000, 5_000, 20_000, 200_000])),
            write_us: r.pick(&[5_000, 20_000, 50_000, 200_000]),
            snapshot_ms: r.pick(&[0, 200, 1000, 5000]),
            retain: r.pick(&[0, 1, 2, 3]),
            drift_permille: r.pick(&[0, 0, 10, 50]),
            chaos_ms: r.between(5_000, 25_000),
            fault_ms: r.pick(&[50, 100, 200, 400, 800, 2000]),
            faults,
            crash_in_step: r.pick(&[0, 0, 100, 500, 2000]),
            election_loss: r.pick(&[0, 0, 10, 100, 300]),
            observer_masters: r.permille(500),
            formed_anew: r.permille(300) && voters >= 3,
            mutant: None,
        }
    }

    /// How many servers there are.
    pub fn servers(&self) -> u64 {
        self.voters + self.observers
    }

    /// The membership.
    pub fn membership(&self) -> Membership {
        let ids = |from: u64, to: u64| (from..=to).map(|i| ServerId(i as i64));
        Membership::majority(ids(1, self.voters), ids(self.voters + 1, self.servers()))
    }

    /// The settings of one server.
    pub fn options(&self, id: ServerId) -> Options {
        let ms = Duration::from_millis;
        Options {
            tick: ms(self.tick_ms),
            init_limit: self.init_limit,
            sync_limit: self.sync_limit,
            finalize_wait: ms(self.finalize_ms),
            establish_patience: ms(self.patience_ms),
            commit_log_count: self.commit_log_count,
            force_snapshot_sync: self.force_snapshot,
            log_sync: self.log_sync,
            counter_limit: self.counter_limit,
            observer_masters: self.observer_masters,
            mutant: self.mutant,
            ..Options::new(id, self.membership())
        }
    }
}

impl Params {
    /// Makes the circumstances likely in which a bug shows; without this some need very many seeds.
    pub fn lean_towards(&mut self, mutant: Mutant) {
        match mutant {
            Mutant::ObserversCounted => self.observers = self.observers.max(1),
            Mutant::NoZxidWrap => self.counter_limit = self.counter_limit.min(40),
            Mutant::TruncKeepsSnapshot => {
                // A snapshot of what never gets a quorum, older ones beside it, and a cut.
                (self.voters, self.commit_log_count, self.log_sync) = (5, 1, false);
                (self.retain, self.write_us, self.chaos_ms) = (0, 5_000, 25_000);
                (self.snapshot_ms, self.fault_ms) = (200, 200);
                self.faults = vec![(Fault::KillLeader, 3), (Fault::Split, 3), (Fault::Kill, 1)];
            }
            Mutant::OutsiderEpochCounts => self.faults.push((Fault::Stranger, 10)),
            Mutant::LaterEpochDeposes | Mutant::DiffWithoutDigest => self.formed_anew = true,
            _ => {}
        }
        if mutant != Mutant::NoZxidWrap {
            self.voters = self.voters.max(3);
        }
    }
}
