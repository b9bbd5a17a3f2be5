//! What the seed picks for a run of whole servers: sizes, speeds, and which faults exist at all.

use std::collections::BTreeSet;

use crate::auth;
use crate::replica::password::Passwords;
use crate::replica::prep::PrepOptions;
use crate::replica::reaper::ReaperOptions;
use crate::replica::{self, conn::Rules};
use crate::sim::random::Random;
use crate::storage::{Compression, Dirs, LogOptions, RecoveryOptions};
use crate::types::OwnerRules;

use super::Mutant;
use crate::types::ServerId;
use crate::zab::{self, Membership};
use std::time::Duration;

/// Which world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One server, without an ensemble.
    One,
    /// Members of an ensemble.
    Ensemble,
}

/// Everything that a seed decides before the run begins.
#[derive(Clone, Debug)]
pub struct Params {
    /// Which world.
    pub kind: Kind,
    /// Members with a vote; 1 in a world of one.
    pub voters: usize,
    /// Members without.
    pub observers: usize,
    /// Clients.
    pub clients: usize,
    /// `tickTime`, ms. Session timeouts are 2 to 20 of them.
    pub tick_ms: u64,
    /// `initLimit`, in ticks.
    pub init_limit: u32,
    /// `syncLimit`, in ticks.
    pub sync_limit: u32,
    /// `commitLogCount`.
    pub commit_log_count: usize,
    /// `zookeeper.snapshotSizeFactor`: negative switches DIFFs from the log off.
    pub log_sync: bool,
    /// Mean time between actions of a client, µs.
    pub think_us: u64,
    /// Requests a client has out, at most.
    pub pipeline: usize,
    /// Paths at the top.
    pub keys: u64,
    /// Reads among requests, per thousand.
    pub reads: u64,
    /// Largest data of a node, bytes.
    pub data_max: u64,
    /// `snapCount`.
    pub snap_count: u64,
    /// `zookeeper.txnLogSizeLimitInKb`, here in bytes.
    pub log_bytes: Option<u64>,
    /// `zookeeper.preAllocSize`, in bytes.
    pub prealloc: u64,
    /// `zookeeper.maxBatchSize`.
    pub batch_max: usize,
    /// Transactions applied at once by a server alone.
    pub apply_max: usize,
    /// How snapshots are compressed.
    pub compression: Compression,
    /// Nodes per burst of a snapshot.
    pub burst: usize,
    /// Bytes of a piece of an image for learners, and the longest time between two of them, µs.
    pub piece_bytes: usize,
    /// See `piece_bytes`.
    pub piece_us: u64,
    /// `forceSnapshotSync`.
    pub force_snapshot: bool,
    /// `leader.maxConcurrentSnapSyncs`.
    pub snap_syncs_max: usize,
    /// Mean time between purges, ms; 0 for none.
    pub purge_ms: u64,
    /// One-way delay of a message, µs: from, to.
    pub delay_us: (u64, u64),
    /// Time of a disk request, µs: from, to.
    pub disk_us: (u64, u64),
    /// Small batches synced by the node thread itself, per thousand.
    pub quick: u64,
    /// Drift of each server's clock, in parts per thousand, at most.
    pub drift_permille: u64,
    /// Sessions are local; and whether they become global with their first ephemeral.
    pub local: Option<bool>,
    /// Members without a quorum serve readers.
    pub read_only: bool,
    /// Followers serve observers.
    pub observer_masters: bool,
    /// Clients count their xids from one again on each connection.
    pub counts_anew: bool,
    /// How often a client that has asked for something leaves for another server, per thousand.
    pub moves: u64,
    /// How long directions are blocked, at most, µs.
    pub block_us: u64,
    /// How long faults last, ms.
    pub chaos_ms: u64,
    /// Mean time between faults, ms.
    pub fault_ms: u64,
    /// The kinds of faults that happen, and how often compared to each other.
    pub faults: Vec<(Fault, u64)>,
    /// A bug.
    pub mutant: Option<Mutant>,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A process is killed; the disk's cache stays.
    Kill,
    /// A machine loses power.
    Power,
    /// A process or a machine dies in the middle of what the disk is doing.
    CutAtOp,
    /// The same, in the middle of the next start.
    CutInStart,
    /// All machines lose power at once.
    PowerOfAll,
    /// A clean stop.
    Stop,
    /// A sync fails, and what it should have written is forgotten.
    FailSync,
    /// The disk is full for a while.
    FullDisk,
    /// A disk doesn't answer for a while.
    StallDisk,
    /// A bit of the log flips while the server is down.
    Damage,
    /// The newest log of a server that is down is lost, cut or replaced by another file.
    LoseLog,
    /// A process stands still.
    Pause,
    /// The wall clock jumps.
    ClockJump,
    /// A client's connection ends, and both ends notice.
    CutClient,
    /// A connection ends, and an end or both don't notice.
    HalfOpen,
    /// A client can't reach any server for a while.
    LostClient,
    /// A connection carries nothing for a while.
    Clog,
    /// A client stands still.
    PauseClient,
    /// Old files are purged now.
    Purge,
    /// One member is cut off from the others.
    Isolate,
    /// Two groups of members can't reach each other.
    Split,
    /// One direction between two members is lost.
    OneWay,
    /// Whoever leads is killed.
    KillLeader,
    /// A follower that an observer learns from is killed.
    KillMaster,
    /// A link between two members ends.
    CutLink,
}

impl Fault {
    /// Those of one server.
    pub const ONE: &[Fault] = &[
        Fault::Kill,
        Fault::Power,
        Fault::CutAtOp,
        Fault::CutAtOp,
        Fault::CutInStart,
        Fault::Stop,
        Fault::FailSync,
        Fault::FullDisk,
        Fault::StallDisk,
        Fault::Damage,
        Fault::LoseLog,
        Fault::Pause,
        Fault::ClockJump,
        Fault::CutClient,
        Fault::HalfOpen,
        Fault::LostClient,
        Fault::Clog,
        Fault::PauseClient,
        Fault::Purge,
    ];

    /// Those between members.
    pub const BETWEEN: &[Fault] = &[
        Fault::PowerOfAll,
        Fault::Isolate,
        Fault::Split,
        Fault::OneWay,
        Fault::KillLeader,
        Fault::KillLeader,
        Fault::KillMaster,
        Fault::CutLink,
    ];
}

impl Params {
    /// What a seed picks.
    pub fn of_seed(kind: Kind, seed: u64) -> Params {
        let r = &mut Random::new(seed ^ 0x0057_404c_4500);
        let ensemble = kind == Kind::Ensemble;
        let mut faults = Vec::new();
        let between: &[Fault] = if ensemble { Fault::BETWEEN } else { &[] };
        for fault in Fault::ONE.iter().chain(between) {
            if r.permille(450) {
                faults.push((*fault, r.between(1, 10)));
            }
        }
        if faults.is_empty() {
            faults.push((Fault::Power, 1));
        }
        let read_only = ensemble && r.permille(250);
        let (chaos_min, chaos_max) = if read_only { (6_000, 12_000) } else { (2_000, 8_000) };
        if read_only {
            faults.push((Fault::Isolate, 10));
        }
        let local = match r.below(10) {
            _ if !ensemble => None,
            0..=2 => Some(true),
            3 => Some(false),
            // Without them only old sessions could be used where there is no quorum.
            4..=7 if read_only => Some(true),
            _ => None,
        };
        let mut params = Params {
            kind,
            local,
            read_only,
            observer_masters: ensemble && r.permille(600),
            counts_anew: r.permille(300),
            moves: r.pick(&[2, 2, 20]),
            // It takes a while until a member knows that it is alone, and two seconds from there.
            block_us: if read_only { 12_000_000 } else { 5_000_000 },
            voters: if ensemble { r.pick(&[1, 3, 3, 3, 3, 3, 5]) } else { 1 },
            observers: if ensemble { r.pick(&[0, 0, 0, 1, 1, 2]) } else { 0 },
            clients: r.between(1, 6) as usize,
            tick_ms: r.pick(&[100, 200, 500]),
            init_limit: r.between(5, 10) as u32,
            sync_limit: r.between(3, 6) as u32,
            commit_log_count: r.pick(&[1, 2, 5, 10, 50, 500]),
            log_sync: r.permille(600),
            think_us: r.pick(&[2_000, 5_000, 20_000, 50_000]),
            pipeline: r.pick(&[1, 2, 5, 20]),
            keys: r.pick(&[2, 4, 8, 30]),
            reads: r.pick(&[100, 300, 500, 700]),
            data_max: r.pick(&[10, 100, 1000, 5000]),
            snap_count: r.pick(&[4, 10, 30, 100, 1000]),
            log_bytes: r.pick(&[None, None, Some(1000), Some(10_000)]),
            prealloc: r.pick(&[0, 4096, 65_536]),
            batch_max: r.pick(&[1, 3, 1000, 1000]),
            apply_max: r.pick(&[1, 2, 256]),
            compression: r.pick(&[
                Compression::Plain,
                Compression::Plain,
                Compression::Gz,
                Compression::Snappy,
            ]),
            burst: r.pick(&[1, 2, 10, 256]),
            piece_bytes: r.pick(&[500, 10_000, 256 << 10]),
            piece_us: r.pick(&[2_000, 2_000, 50_000]),
            force_snapshot: r.permille(200),
            snap_syncs_max: r.pick(&[1, 10]),
            purge_ms: r.pick(&[0, 0, 500, 2000]),
            delay_us: (r.between(20, 300), r.pick(&[500, 2_000, 20_000])),
            disk_us: (r.between(20, 500), r.pick(&[500, 2_000, 20_000])),
            quick: r.pick(&[0, 500, 1000]),
            drift_permille: r.pick(&[0, 0, 10, 50]),
            chaos_ms: r.between(chaos_min, chaos_max),
            fault_ms: r.pick(&[50, 100, 200, 400, 800]),
            faults,
            mutant: None,
        };
        // An image must get through within `initLimit`, or nobody who needs one could ever join: pieces
        // are larger where nodes are, and where they come slowly.
        let slow = if params.piece_us > 10_000 { 100_000 } else { 0 };
        params.piece_bytes = params.piece_bytes.max(4 * params.data_max as usize).max(slow);
        params
    }

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        self.voters + self.observers
    }

    /// How transactions' owners are read.
    pub fn owner_rules(&self) -> OwnerRules {
        OwnerRules::default()
    }

    /// What the state needs to know.
    pub fn state(&self) -> crate::state::Options {
        crate::state::Options { owner_rules: self.owner_rules(), digest: true }
    }

    /// The directories of every server, each on its own disk.
    pub fn dirs(&self) -> Dirs {
        Dirs::new(std::path::Path::new("/data"), None)
    }

    /// How recovery works.
    pub fn recovery(&self) -> RecoveryOptions {
        RecoveryOptions::default()
    }

    /// How logs are written.
    pub fn log(&self) -> LogOptions {
        LogOptions {
            prealloc_bytes: self.prealloc,
            size_limit_bytes: self.log_bytes,
            force_sync: true,
        }
    }

    /// The schemes.
    pub fn auth(&self) -> auth::Options {
        auth::Options::default()
    }

    /// What is asked of client connections.
    pub fn rules(&self) -> Rules {
        Rules {
            auth: auth::Auth::new(self.auth()),
            standalone: self.kind == Kind::One,
            local_sessions: self.local.is_some(),
            ..Rules::default()
        }
    }

    /// What the replica needs.
    pub fn replica(&self, first_session_id: i64) -> replica::Options {
        let passwords = match self.kind {
            Kind::Ensemble => Passwords::Apache,
            Kind::One => Passwords::Secret {
                secret: b"a secret of sixteen bytes or more".to_vec(),
                taken_over: BTreeSet::new(),
            },
        };
        replica::Options {
            prep: PrepOptions {
                owner_rules: self.owner_rules(),
                digest: true,
                close_session_txn: true,
                enforce_quota: false,
                reconfig_enabled: false,
            },
            auth: self.auth(),
            passwords,
            first_session_id,
            tick_ms: self.tick_ms as u32,
            timeout_min_ms: 2 * self.tick_ms as i32,
            timeout_max_ms: 20 * self.tick_ms as i32,
            reaper: ReaperOptions {
                check_interval_ms: 700,
                max_per_minute: 10_000,
                max_never_used_ms: 0,
            },
        }
    }

    /// Makes the circumstances likely in which a bug shows.
    pub fn lean_towards(&mut self, mutant: Mutant) {
        self.mutant = Some(mutant);
        let more: &[Fault] = match mutant {
            Mutant::ReplyBeforeSync => &[Fault::Power, Fault::CutAtOp],
            Mutant::SnapshotMisnamed => &[Fault::Kill],
            Mutant::DamageIsTheEnd => &[Fault::Damage],
            Mutant::ReadOnlySaysYes => &[Fault::Isolate],
            Mutant::ObserversForgotten | Mutant::LocalSessionsLogged | Mutant::ImageAtOnce => &[],
            Mutant::RenewedAtOnce => &[],
            Mutant::EphemeralsStay | Mutant::EventsLate => &[],
            Mutant::Zab(_) => &[Fault::PowerOfAll, Fault::PowerOfAll, Fault::KillLeader],
        };
        self.faults.extend(more.iter().map(|fault| (*fault, 20)));
        match mutant {
            Mutant::SnapshotMisnamed => self.snap_count = self.snap_count.min(30),
            Mutant::DamageIsTheEnd => self.snap_count = self.snap_count.max(100),
            Mutant::ReplyBeforeSync => self.quick = 0,
            Mutant::ObserversForgotten => {
                self.voters = self.voters.max(3);
                self.observers = self.observers.max(1);
                self.observer_masters = true;
            }
            Mutant::RenewedAtOnce => {
                self.voters = self.voters.max(3);
                self.observers = 3;
                (self.counts_anew, self.moves) = (true, 200);
                (self.clients, self.pipeline, self.reads) = (6, 20, 100);
                (self.think_us, self.quick) = (2_000, 0);
                self.disk_us = (5_000, 100_000);
            }
            Mutant::ImageAtOnce => {
                self.voters = self.voters.max(3);
                self.force_snapshot = true;
            }
            Mutant::LocalSessionsLogged => self.local = self.local.or(Some(true)),
            Mutant::ReadOnlySaysYes => {
                self.voters = self.voters.max(3);
                self.read_only = true;
                self.local = Some(true);
                self.block_us = 12_000_000;
                self.chaos_ms = self.chaos_ms.max(8_000);
            }
            Mutant::Zab(_) => {
                self.force_snapshot = false;
                self.voters = self.voters.clamp(3, 3);
                self.disk_us = (5_000, 100_000);
            }
            _ => {}
        }
    }
}

impl Params {
    /// How snapshots are written.
    pub fn snapshots(&self) -> crate::host::snapshot::SnapshotOptions {
        let compression = self.compression;
        crate::host::snapshot::SnapshotOptions { compression, last_processed: true }
    }
}

impl Params {
    /// The settings of a member's peer.
    pub fn zab(&self, me: ServerId) -> zab::Options {
        let ms = Duration::from_millis;
        let ids = |from: usize, to: usize| (from..=to).map(|id| ServerId(id as i64));
        let members =
            Membership::majority(ids(1, self.voters), ids(self.voters + 1, self.servers()));
        let tick = ms(self.tick_ms);
        zab::Options {
            tick,
            init_limit: self.init_limit,
            sync_limit: self.sync_limit,
            finalize_wait: ms(20),
            notification_min: ms(100),
            notification_max: ms(1000),
            establish_patience: tick * self.init_limit,
            commit_log_count: self.commit_log_count,
            log_sync: self.log_sync,
            observer_masters: self.observer_masters,
            snap_syncs_max: self.snap_syncs_max,
            force_snapshot_sync: self.force_snapshot,
            mutant: match self.mutant {
                Some(Mutant::Zab(mutant)) => Some(mutant),
                _ => None,
            },
            ..zab::Options::new(me, members)
        }
    }
}
