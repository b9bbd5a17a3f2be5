//! One run: servers, disks, clients, the network, time, and one queue of events, ordered by time and
//! then by when an event was put into it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::client::Client;
use super::lost::Kept;
use super::member::{Door, History};
use super::nemesis::Undo;
use super::params::Params;
use super::peers::Line;
use super::process::{NodeEvent, Note, Process};
use super::readers::View;
use super::sessions::Known;
use crate::host::snapshot::Walk;
use crate::sim::events::Events;
use crate::sim::invariants::Violation;
use crate::sim::network::{ConnNo, Network, Travels};
use crate::sim::random::Random;
use crate::sim::witness::Witness;
use crate::storage::sim_disk::SimDisk;
use crate::types::{ConnId, Instant, LinkId, Now, WallTime, Zxid};
use crate::zab::ReadId;

/// What travels on a connection.
#[derive(Clone, Debug)]
pub enum Parcel {
    /// Bytes of a client connection, some of them.
    Bytes(Bytes),
    /// A packet between members.
    Packet(Bytes),
    /// A piece of a snapshot between members; with the last one the history that it stands for.
    Piece(Bytes, Option<Arc<History>>),
    /// The connection ends here.
    End,
}

impl Travels for Parcel {
    fn is_end(&self) -> bool {
        matches!(self, Parcel::End)
    }
}

/// What is about to happen.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// The node thread looks at the clock.
    Timer { host: usize, life: u64 },
    /// The node thread handles what has arrived.
    Turn { host: usize, life: u64 },
    /// A connection's task runs.
    Task { host: usize, life: u64, conn: ConnId },
    /// The log thread begins.
    Log { host: usize, life: u64 },
    /// The log thread reports.
    Logged { host: usize, life: u64 },
    /// The snapshot thread goes on.
    Burst { host: usize, life: u64 },
    /// Idle connections are looked for.
    Sweep { host: usize, life: u64 },
    /// Old files are removed.
    Purge { host: usize },
    /// Something arrives.
    Arrive { conn: ConnNo, side: usize, seq: u64, parcel: Parcel },
    /// A client acts.
    Think { client: usize },
    /// A client's attempt to connect has come to something.
    Dialled { client: usize, host: usize },
    /// A member's attempt to connect to another comes to something.
    Dial { host: usize, life: u64, link: LinkId, to: usize, door: Door },
    /// It comes to nothing.
    DialFailed { host: usize, life: u64, link: LinkId },
    /// The next piece of a snapshot goes to a learner.
    Pump { host: usize, life: u64, link: LinkId },
    /// A vote arrives.
    Elect { from: usize, to: usize },
    /// The last vote is said again on a new connection.
    Repeat { from: usize, to: usize },
    /// The log is read for a learner.
    ReadLog { host: usize, life: u64, read: ReadId, after: Zxid, through: Zxid },
    /// A server starts.
    Restart { host: usize },
    /// Something goes wrong.
    Fault,
    /// A fault ends.
    Undo(Undo),
}

/// One server's place in the world.
pub struct Slot {
    /// The process, while it runs.
    pub process: Option<Process>,
    /// Its disk.
    pub disk: SimDisk,
    /// Which of its lives.
    pub life: u64,
    /// It handles nothing before this.
    pub paused_until: u64,
    /// Its disk answers nothing before this.
    pub stalled_until: u64,
    /// Of its monotonic clock, in parts per thousand.
    pub drift: i64,
    /// Of its wall clock, ms.
    pub jump_ms: i64,
    /// A turn is scheduled.
    pub turning: bool,
    /// The one timer event that counts.
    pub timer_at: Option<u64>,
    /// Armed: how it ends when the disk's operations run out. True: with its machine.
    pub cut: Option<bool>,
    /// Armed for the next start: after so many operations, and how.
    pub cut_start: Option<(u64, bool)>,
    /// The disk is full.
    pub full: bool,
    /// A sync will fail.
    pub fails: bool,
    /// Bits flipped in files: path, offset, mask.
    pub flips: Vec<(PathBuf, u64, u8)>,
    /// The log that was lost, cut or replaced since the last end.
    pub lost: Option<Kept>,
    /// A member whose log was damaged and that has not got its history back.
    pub damaged: bool,
    /// The machine is off: not even a reset comes from it.
    pub off: bool,
    /// The log thread has been woken.
    pub logging: bool,
    /// Which of its ports for learners is open.
    pub door: Door,
    /// Its links to other members.
    pub lines: BTreeMap<LinkId, Line>,
    /// The number of the next link it accepts.
    pub next_inbound: u64,
    /// What a member's history was when it ended, and what it was installing.
    pub history: History,
    /// See there.
    pub installing: Option<(Zxid, History)>,
    /// What it shows while it serves readers only.
    pub view: Option<View>,
    /// Whom it last learned from.
    pub source: Option<usize>,
}

/// One run.
pub struct World {
    /// What the seed picked.
    pub params: Params,
    /// The one generator.
    pub random: Random,
    now: u64,
    queue: Events<What>,
    /// The servers.
    pub slots: Vec<Slot>,
    /// The clients.
    pub clients: Vec<Client>,
    /// Servers are its hosts 0 to n-1, clients those from n on.
    pub network: Network<Parcel>,
    /// Everything committed.
    pub witness: Witness,
    /// Everything that any member ever logged.
    pub proposed: BTreeMap<i64, Bytes>,
    /// The newest transaction committed.
    pub committed: i64,
    /// The state's digest after transactions.
    pub digests: BTreeMap<i64, i64>,
    /// What went wrong, first.
    pub violation: Option<Violation>,
    /// What happened, and how often.
    pub coverage: BTreeMap<&'static str, u64>,
    /// Print every event.
    pub verbose: bool,
    /// Faults happen.
    pub chaos: bool,
    /// Clients ask for nothing but what tells whether they are served.
    pub probing: bool,
    /// Clients do nothing but keep their sessions, except some that don't even do that.
    pub keeping: Option<BTreeSet<usize>>,
    /// What is known of sessions.
    pub known: Known,
    /// What connections of members in read-only mode are shown.
    pub readers: BTreeMap<ConnNo, Arc<History>>,
    hash: u64,
    events: u64,
}

impl World {
    /// Every server down, on empty disks.
    pub fn new(params: Params, seed: u64) -> World {
        let mut random = Random::new(seed ^ 0x5eed_cafe);
        let drift = params.drift_permille;
        let slots = (0..params.servers()).map(|_| Slot {
            process: None,
            disk: SimDisk::new(random.bits()),
            life: 0,
            paused_until: 0,
            stalled_until: 0,
            drift: random.between(0, 2 * drift) as i64 - drift as i64,
            jump_ms: 0,
            turning: false,
            timer_at: None,
            cut: None,
            cut_start: None,
            full: false,
            fails: false,
            flips: Vec::new(),
            lost: None,
            damaged: false,
            off: false,
            logging: false,
            door: Door::Shut,
            lines: BTreeMap::new(),
            next_inbound: 1,
            history: History::new(),
            installing: None,
            view: None,
            source: None,
        });
        let slots: Vec<Slot> = slots.collect();
        let clients = (0..params.clients)
            .map(|_| Client::new((random.between(2, 20) * params.tick_ms) as i32));
        let mut clients: Vec<Client> = clients.collect();
        for client in &mut clients {
            client.may_read_only = params.read_only && random.permille(700);
            client.counts_anew = params.counts_anew;
        }
        World {
            network: Network::new(slots.len() + clients.len()),
            slots,
            clients,
            random,
            now: 0,
            queue: Events::default(),
            witness: Witness::new(params.counts_anew),
            proposed: BTreeMap::new(),
            committed: 0,
            digests: BTreeMap::new(),
            violation: None,
            coverage: BTreeMap::new(),
            verbose: false,
            chaos: false,
            probing: false,
            keeping: None,
            known: Known::default(),
            readers: BTreeMap::new(),
            hash: 0,
            events: 0,
            params,
        }
    }

    /// The time, in microseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// A digest of everything that happened: equal for equal seeds.
    pub fn trace_hash(&self) -> u64 {
        self.hash
    }

    /// Events handled so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Schedules an event.
    pub(super) fn at(&mut self, at: u64, what: What) {
        self.queue.put(at, what);
    }

    /// Schedules an event some time from now.
    pub(super) fn soon(&mut self, low: u64, high: u64, what: What) {
        let at = self.now + self.random.between(low, high);
        self.at(at, what);
    }

    /// Counts that something happened.
    pub(super) fn cover(&mut self, what: &'static str) {
        *self.coverage.entry(what).or_default() += 1;
    }

    /// Something is wrong.
    pub(super) fn fail(&mut self, invariant: &'static str, what: String) {
        if self.violation.is_none() {
            self.say(|| format!("VIOLATION {invariant}: {what}"));
            self.violation = Some(Violation { invariant, what });
        }
    }

    /// Prints a line of the score, if it is wanted.
    pub(super) fn say(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            println!("{:>8}.{:03} {}", self.now / 1000, self.now % 1000, text());
        }
    }

    /// Mixes something into the trace.
    pub(super) fn mix(&mut self, n: u64) {
        self.hash = (self.hash ^ n).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
    }

    /// Handles events until this time, or until something is wrong.
    pub fn run_until(&mut self, time: u64) {
        while self.violation.is_none() && self.queue.are_due(time) {
            self.step();
        }
        self.now = self.now.max(time);
    }

    /// Handles events until the condition holds, or for `limit` µs; whether it holds.
    pub fn run_while_not(&mut self, limit: u64, done: impl Fn(&World) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if self.violation.is_some() || !self.queue.are_due(end) {
                self.now = self.now.max(end);
                return done(self);
            }
            self.step();
        }
        true
    }

    fn step(&mut self) {
        let Some((at, what)) = self.queue.pop() else { return };
        self.now = self.now.max(at);
        self.events += 1;
        self.mix(self.now);
        self.handle(what);
    }

    /// A server's clocks.
    pub(super) fn clock(&self, host: usize) -> Now {
        let slot = &self.slots[host];
        let mono = i128::from(self.now) * i128::from(1000 + slot.drift) / 1000;
        let wall = 1_700_000_000_000 + (self.now / 1000) as i64 + slot.jump_ms;
        // One hour in, as the real one is.
        Now { mono: Instant(3_600_000_000 + mono as u64), wall: WallTime(wall) }
    }

    /// When a server's clock will say this.
    fn global(&self, host: usize, local: Instant) -> u64 {
        let rate = i128::from(1000 + self.slots[host].drift);
        let passed = i128::from(local.0.saturating_sub(3_600_000_000));
        ((passed * 1000 + rate - 1) / rate) as u64
    }

    /// Whether an event is for the server's present life.
    pub(super) fn alive(&self, host: usize, life: u64) -> bool {
        self.slots[host].life == life && self.slots[host].process.is_some()
    }

    /// Whether the server stands still; then the event comes again later.
    fn paused(&mut self, host: usize, what: What) -> bool {
        let until = self.slots[host].paused_until;
        let paused = until > self.now;
        if paused {
            self.at(until, what);
        }
        paused
    }

    fn handle(&mut self, what: What) {
        match what {
            What::Timer { host, life } => {
                if self.alive(host, life) && self.slots[host].timer_at == Some(self.now) {
                    self.slots[host].timer_at = None;
                    self.wake(host);
                }
            }
            What::Turn { host, life } => {
                if self.alive(host, life) && !self.paused(host, What::Turn { host, life }) {
                    self.turn(host);
                }
            }
            What::Task { host, life, conn } => {
                if self.alive(host, life) && !self.paused(host, What::Task { host, life, conn }) {
                    self.task(host, conn);
                }
            }
            What::Log { host, life } => {
                if self.alive(host, life) && !self.paused(host, What::Log { host, life }) {
                    self.log(host);
                }
            }
            What::Logged { host, life } => {
                if self.alive(host, life) && !self.paused(host, What::Logged { host, life }) {
                    self.logged(host);
                }
            }
            What::Burst { host, life } => {
                if self.alive(host, life) && !self.paused(host, What::Burst { host, life }) {
                    self.burst(host);
                }
            }
            What::Sweep { host, life } => {
                if self.alive(host, life) && !self.paused(host, What::Sweep { host, life }) {
                    self.sweep(host);
                    self.at(self.now + 1_000_000, What::Sweep { host, life });
                }
            }
            What::Purge { host } => {
                self.purge(host);
                let mean = self.params.purge_ms * 1000;
                self.soon(1, 2 * mean, What::Purge { host });
            }
            What::Arrive { conn, side, seq, parcel } => self.arrive(conn, side, seq, parcel),
            What::Think { client } => self.think(client),
            What::Dialled { client, host } => self.dialled(client, host),
            What::Dial { host, life, link, to, door } => self.dial(host, life, link, to, door),
            What::DialFailed { host, life, link } => self.dial_failed(host, life, link),
            What::Pump { host, life, link } => {
                if self.alive(host, life) && !self.paused(host, What::Pump { host, life, link }) {
                    self.pump_stream(host, link);
                }
            }
            What::Elect { from, to } => self.elect(from, to),
            What::Repeat { from, to } => self.repeat(from, to),
            What::ReadLog { host, life, read, after, through } => {
                let again = What::ReadLog { host, life, read, after, through };
                if self.alive(host, life) && !self.paused(host, again) {
                    self.read_log(host, read, after, through);
                }
            }
            What::Restart { host } => self.boot(host),
            What::Fault => self.fault(),
            What::Undo(undo) => self.undo(undo),
        }
    }

    // The node thread.

    /// The node thread has something to do.
    pub(super) fn wake(&mut self, host: usize) {
        let slot = &mut self.slots[host];
        if slot.process.is_some() && !slot.turning {
            slot.turning = true;
            let life = slot.life;
            self.soon(1, 60, What::Turn { host, life });
        }
    }

    /// Hands something to the node thread.
    pub(super) fn tell(&mut self, host: usize, event: NodeEvent) {
        if let Some(process) = &mut self.slots[host].process {
            process.inbox.push_back(event);
            self.wake(host);
        }
    }

    fn turn(&mut self, host: usize) {
        let now = self.clock(host);
        let quick = self.params.quick;
        let stalled = self.slots[host].stalled_until > self.now;
        let here = self.random.permille(quick) && !stalled;
        self.slots[host].turning = false;
        let Some(process) = &mut self.slots[host].process else { return };
        process.turn(now, here);
        self.after_turn(host);
    }

    /// Does what a turn of the node thread asks for.
    pub(super) fn after_turn(&mut self, host: usize) {
        let Some(process) = &mut self.slots[host].process else { return };
        for note in std::mem::take(&mut process.notes) {
            self.note(host, note);
            if self.slots[host].process.is_none() || self.violation.is_some() {
                return;
            }
        }
        self.watch_reader(host);
        self.do_outs(host);
        self.run_tasks(host);
        self.start_snapshot(host);
        self.start_log(host);
        self.set_timer(host);
    }

    fn note(&mut self, host: usize, note: Note) {
        match note {
            Note::Committed(zxid, entry) => {
                self.mix(zxid.0 as u64);
                self.committed = self.committed.max(zxid.0);
                if let Err(what) = self.witness.commit(zxid.0, &entry) {
                    self.fail("OneTxnPerZxid", what);
                }
            }
            Note::At(zxid, digest) => {
                self.mix(digest as u64);
                self.check_digest(host, zxid, digest);
            }
            Note::Expired(session) => {
                self.cover("session expired");
                self.say(|| format!("{host} expires session 0x{:x}", session.0));
                self.check_expiry(host, session);
            }
            Note::Failed(error) => self.disk_failed(host, &error),
            Note::Logged(zxid, entry) => {
                let known = self.proposed.entry(zxid.0).or_insert_with(|| entry.clone());
                if *known != entry {
                    return self.fail("OneTxnPerZxid", format!("{host} has another {zxid}"));
                }
                self.known.proposed(&entry);
            }
            Note::Delivered(zxid) => {
                self.mix(zxid.0 as u64);
                self.commit_proposed(zxid.0);
            }
            Note::Proposed(session) => {
                if self.slots[host].process.as_ref().is_some_and(Process::is_leading) {
                    self.cover("session expired");
                    self.say(|| format!("{host} expires session 0x{:x}", session.0));
                    self.check_expiry(host, session);
                }
            }
            Note::LocalExpired(session) => {
                self.cover("local session expired");
                self.say(|| format!("{host} ends local session 0x{:x}", session.0));
                self.check_expiry(host, session);
            }
            Note::Wrong(what, text) => self.fail(what, format!("{host}: {text}")),
            Note::Loaded => self.cover("state reloaded"),
            Note::Resynced => {
                self.cover("damaged member resynced");
                self.slots[host].damaged = false;
            }
            Note::Role(change, serving) => {
                self.note_source(host);
                self.check_role(host, &change, serving);
            }
            Note::WalkBegun => {
                self.cover("image begun");
                let walk = self.slots[host].process.as_ref().and_then(|p| p.walk.as_ref());
                let nodes = walk.map_or(0, Walk::nodes);
                if nodes > 0 {
                    let text = format!("{host} has encoded {nodes} nodes in the turn of a learner");
                    return self.fail("ImageInOneTurn", text);
                }
                let life = self.slots[host].life;
                self.soon(1, 100, What::Burst { host, life });
            }
            Note::WalkFailed(error) => self.snapshot_failed(host, &error),
            Note::WalkCancelled => self.tell(host, NodeEvent::WalkDone),
            Note::GiveUp => self.give_up_own(host),
            Note::Exit(why) => self.fail("Exit", format!("{host}: {why}")),
        }
    }

    /// A quorum has a transaction.
    pub(super) fn commit_proposed(&mut self, zxid: i64) {
        let Some(entry) = self.proposed.get(&zxid).cloned() else {
            return self.fail("Integrity", format!("0x{zxid:x} was never proposed"));
        };
        self.committed = self.committed.max(zxid);
        self.known.committed(&entry);
        if let Err(what) = self.witness.commit(zxid, &entry) {
            self.fail("OneTxnPerZxid", what);
        }
    }

    fn set_timer(&mut self, host: usize) {
        let due = self.slots[host].process.as_ref().and_then(Process::poll_timeout);
        let life = self.slots[host].life;
        if let Some(due) = due {
            let at = self.global(host, due).max(self.now + 1);
            if self.slots[host].timer_at.is_none_or(|t| t > at || t <= self.now) {
                self.slots[host].timer_at = Some(at);
                self.at(at, What::Timer { host, life });
            }
        }
    }
}
