//! One run: the servers, their disks, the network, time, and one queue of events.
//!
//! Everything is decided by the seed: the queue is ordered by time and then by when an event was put
//! into it, and there is one generator. A run has two phases. In chaos the nemesis does what the
//! seed allows; every event is checked by the invariants. Then everything is healed, and before a
//! deadline the ensemble must elect a leader, serve on every member, accept new writes, and agree
//! everywhere on all that was ever committed.

mod actions;
mod links;
mod storage;

use std::collections::BTreeMap;

use super::disk::{Change, Disk, Effect, Entry, Image, chain};
use super::events::Events;
use super::ghost::{Facts, Ghost, Seen};
use super::host::{Host, Input};
use super::invariants::{self, Invariant, Violation};
use super::network::{Arrival, ConnNo, End, Message, Network, Port};
use super::random::Random;
use super::score::Score;
use super::swarm::{Fault, Params};
use crate::proto::election::{Notification, ServerState};
use crate::proto::quorum::{PacketKind, QuorumPacket};
use crate::types::{Epoch, Instant, LinkId, ServerId, Zxid};
use crate::zab::{
    Action, DiskOp, ImageId, LINK_OUTBOUND, LinkError, LinkEvent, Membership, OpId, Persisted,
    ReadId, RoleChange,
};

/// What is about to happen.
#[derive(Clone, Debug)]
pub(super) enum What {
    Timer { host: usize, life: u64 },
    Arrive { conn: ConnNo, side: usize, seq: u64, message: Message },
    Dial { host: usize, life: u64, link: LinkId, to: usize },
    Dialled { host: usize, life: u64, link: LinkId, conn: Option<ConnNo> },
    Elect { from: usize, to: usize },
    Repeat { from: usize, to: usize },
    Disk { host: usize, life: u64 },
    Load { host: usize, life: u64, through: Zxid },
    ReadLog { host: usize, life: u64, read: ReadId, after: Zxid, through: Zxid },
    PortHeld { host: usize, life: u64, listens: u64 },
    Restart { host: usize },
    HangUp { host: usize, life: u64, no: ConnNo, side: usize },
    Write,
    Snapshot,
    Fault,
    Undo(Undo),
}

/// How a fault ends.
#[derive(Clone, Debug)]
pub(super) enum Undo {
    /// These directions open.
    Unblock(Vec<(Port, usize, usize)>),
    /// This server's quorum port is free again.
    Port(usize),
}

/// A host's number for a link, and what it stands for.
#[derive(Clone, Copy, Debug)]
enum Line {
    Dialling,
    Conn(ConnNo, usize),
}

/// One server's place in the world.
pub(super) struct Slot<H> {
    pub value: Option<H>,
    pub life: u64,
    pub(super) listening: bool,
    /// Another program holds its quorum port.
    port_held: bool,
    /// That program takes connections, and says nothing on them.
    holder_answers: bool,
    /// It leads, or tries to, and has not got its quorum port: since which attempt.
    wants_port: Option<u64>,
    listens: u64,
    lines: BTreeMap<LinkId, Line>,
    pub(super) next_inbound: u64,
    next_image: u64,
    /// It handles nothing before this.
    pub paused_until: u64,
    drift: i64,
    disk_busy: bool,
    /// The one timer event that counts.
    timer_at: Option<u64>,
    /// The machine is off: not even a reset comes from it.
    machine_off: bool,
    /// Its disk answers nothing before this; the far future when a script holds it.
    pub stalled_until: u64,
    /// The next sync fails.
    pub fail_sync: bool,
    syncs: BTreeMap<u64, Entry>,
    next_sync: u64,
}

/// One run.
pub struct World<H: Host> {
    pub(super) params: Params,
    membership: Membership,
    pub(super) random: Random,
    now: u64,
    queue: Events<What>,
    pub(super) slots: Vec<Slot<H>>,
    pub(super) disks: Vec<Disk>,
    pub(super) network: Network,
    pub(super) ghost: Ghost,
    pub(super) invariants: Vec<Box<dyn Invariant>>,
    /// What went wrong, first.
    pub violation: Option<Violation>,
    /// What happened, and how often.
    pub coverage: BTreeMap<&'static str, u64>,
    /// The record of the run.
    pub score: Score,
    hash: u64,
    events: u64,
    pub(super) chaos: bool,
    writes: u64,
}

impl<H: Host> World<H> {
    /// Every server started on an empty disk at time 0.
    pub fn new(params: Params, seed: u64) -> World<H> {
        let mut world = World::stopped(params, seed);
        for host in 0..world.slots.len() {
            world.boot(host);
        }
        world
    }

    /// Every server still down, so that a script can prepare the disks.
    pub fn stopped(params: Params, seed: u64) -> World<H> {
        let mut random = Random::new(seed ^ 0x5eed);
        let n = params.servers() as usize;
        let drift = params.drift_permille;
        let slots = (0..n).map(|_| Slot {
            value: None,
            life: 0,
            listening: false,
            port_held: false,
            holder_answers: false,
            wants_port: None,
            listens: 0,
            lines: BTreeMap::new(),
            next_inbound: 1,
            next_image: 1,
            paused_until: 0,
            drift: random.between(0, 2 * drift) as i64 - drift as i64,
            disk_busy: false,
            timer_at: None,
            machine_off: false,
            stalled_until: 0,
            fail_sync: false,
            syncs: BTreeMap::new(),
            next_sync: 0,
        });
        let slots: Vec<_> = slots.collect();
        let ghost = Ghost::of(n);
        World {
            membership: params.membership(),
            disks: (0..n).map(|_| Disk::new(params.retain, params.mutant)).collect(),
            network: Network::new(n),
            now: 0,
            queue: Events::default(),
            slots,
            ghost,
            invariants: invariants::all(),
            violation: None,
            coverage: BTreeMap::new(),
            score: Score::default(),
            hash: 0,
            events: 0,
            chaos: false,
            writes: 0,
            random,
            params,
        }
    }

    // What scripts and the nemesis may do.

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

    /// A running server.
    pub fn host(&self, host: usize) -> Option<&H> {
        self.slots[host].value.as_ref()
    }

    /// A server's disk.
    pub fn disk(&mut self, host: usize) -> &mut Disk {
        &mut self.disks[host]
    }

    /// Everything committed so far.
    pub fn committed(&self) -> &[Entry] {
        &self.ghost.committed
    }

    /// The server that leads and serves, in the highest epoch.
    pub fn leader(&self) -> Option<usize> {
        (0..self.slots.len())
            .filter_map(|h| self.ghost.leads[h].map(|e| (e, h)))
            .max()
            .map(|(_, h)| h)
    }

    /// Handles one event. False when there is none, or something is wrong.
    pub fn step(&mut self) -> bool {
        if self.violation.is_some() {
            return false;
        }
        let Some((at, what)) = self.queue.pop() else { return false };
        self.now = self.now.max(at);
        self.events += 1;
        self.handle(what);
        self.violation.is_none()
    }

    /// Runs until this time, in microseconds.
    pub fn run_until(&mut self, time: u64) {
        while self.violation.is_none() && self.queue.are_due(time) {
            self.step();
        }
        self.now = self.now.max(time);
    }

    /// Runs until the condition holds, or for `limit` microseconds; whether it holds.
    pub fn run_while_not(&mut self, limit: u64, done: impl Fn(&World<H>) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if !self.queue.are_due(end) || !self.step() {
                return done(self);
            }
        }
        true
    }

    /// Gives a write to a server; returns its number.
    pub fn write(&mut self, host: usize) -> u64 {
        self.writes += 1;
        let id = self.writes;
        self.feed(host, Input::Write(id));
        id
    }

    /// Asks a server for a sync.
    pub fn sync(&mut self, host: usize) {
        let slot = &mut self.slots[host];
        slot.next_sync += 1;
        let token = slot.next_sync;
        slot.syncs.insert(token, self.ghost.end());
        self.feed(host, Input::Sync(token));
    }

    /// Starts a server that is down.
    pub fn boot(&mut self, host: usize) {
        if self.slots[host].value.is_some() {
            return;
        }
        let slot = &mut self.slots[host];
        slot.life += 1;
        slot.disk_busy = false;
        slot.machine_off = false;
        slot.timer_at = None;
        slot.paused_until = 0;
        slot.listening = false;
        slot.wants_port = None;
        let options = self.params.options(ServerId(host as i64 + 1));
        let state = self.disks[host].replay(Zxid(i64::MAX));
        let disk = self.disks[host].state(self.params.commit_log_count);
        self.ghost.states[host] = state.end();
        self.see(host, &Seen::Booted);
        let now = self.local(host);
        match H::boot(now, options, disk, state) {
            Ok(value) => self.slots[host].value = Some(value),
            Err(error) => return self.fail("Starts", format!("{host} can't start: {error}")),
        }
        self.score.line(self.now, "start", self.view(host), String::new());
        self.find_port_held(host);
        for other in 0..self.slots.len() {
            let delay = self.random.between(1_000, 50_000);
            self.at(self.now + delay, What::Repeat { from: other, to: host });
        }
        self.drain(host);
    }

    /// Kills a server. With `power`, its machine can't tell the others.
    pub fn kill(&mut self, host: usize, power: bool) {
        self.score.line(self.now, "kill", self.view(host), format!("power={power}"));
        self.harvest(host);
        if self.slots[host].value.take().is_none() {
            return;
        }
        for (no, side) in self.network.of_host(host) {
            if let Some(conn) = self.network.conn(no) {
                conn.ends[side].open = false;
            }
            self.network.lose(&mut self.random, no, side, 8);
            if !power {
                self.send(no, side, Message::End);
            }
        }
        let slot = &mut self.slots[host];
        slot.life += 1;
        slot.machine_off = power;
        slot.listening = false;
        slot.wants_port = None;
        slot.lines.clear();
        slot.syncs.clear();
        for (pair, p) in &mut self.network.pairs {
            if pair.0 == host {
                (p.queued, p.last) = (None, None);
            } else if pair.1 == host {
                p.queued = None;
            }
        }
        (self.ghost.leads[host], self.ghost.joined[host]) = (None, None);
        self.ghost.claims[host] = None;
        let effects = self.disks[host].crash(&mut self.random);
        for effect in effects {
            self.see_effect(host, &effect);
        }
        self.network.sweep();
    }

    /// Adds what a server has counted to the coverage; called when it ends.
    pub(super) fn harvest(&mut self, host: usize) {
        let Some(value) = &self.slots[host].value else { return };
        let syncs = value.peer().stats().syncs;
        for (name, n) in [
            ("sync by DIFF", syncs.diff),
            ("sync by DIFF from the log", syncs.log),
            ("sync by TRUNC", syncs.trunc),
            ("sync by TRUNC and DIFF", syncs.trunc_diff),
            ("sync by SNAP", syncs.snap),
            ("elections", value.peer().stats().elections),
        ] {
            *self.coverage.entry(name).or_default() += n;
        }
    }

    /// Schedules an event.
    pub(super) fn at(&mut self, at: u64, what: What) {
        self.queue.put(at, what);
    }

    /// Counts that something happened.
    pub(super) fn cover(&mut self, what: &'static str) {
        *self.coverage.entry(what).or_default() += 1;
    }

    /// Opens directions, and lets go what waited.
    pub(super) fn unblock(&mut self, ways: &[(Port, usize, usize)]) {
        for (port, from, to) in ways {
            if self.network.unblock(*port, *from, *to) {
                self.release(*from, *to);
            }
        }
    }

    /// Ends every fault, starts everyone.
    pub fn heal(&mut self) {
        self.chaos = false;
        let limit = self.params.tick_ms * 1000 * u64::from(self.params.sync_limit) / 20;
        let cap = |(a, b): (u64, u64)| (a.min(limit), b.min(limit));
        self.params.delay_us = cap(self.params.delay_us);
        self.params.disk_us = cap(self.params.disk_us);
        self.params.election_loss = 0;
        self.params.crash_in_step = 0;
        self.network.unblock_all();
        for from in 0..self.slots.len() {
            self.slots[from].paused_until = self.slots[from].paused_until.min(self.now);
            self.slots[from].stalled_until = self.slots[from].stalled_until.min(self.now);
            self.slots[from].fail_sync = false;
            self.free_port(from);
            for to in 0..self.slots.len() {
                self.release(from, to);
            }
        }
        for host in 0..self.slots.len() {
            self.boot(host);
            self.start_disk(host);
        }
    }

    /// Whether everyone follows one leader and has everything that was committed.
    pub fn has_converged(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let id = ServerId(leader as i64 + 1);
        let end = self.ghost.end();
        self.slots.iter().enumerate().all(|(h, slot)| {
            slot.value.as_ref().is_some_and(|v| {
                let peer = v.peer();
                // An observer of a follower need not know whom that one follows now.
                let indirect = self.params.observer_masters && h >= self.params.voters as usize;
                peer.is_serving() && (indirect || peer.leader() == Some(id))
            }) && self.ghost.states[h] == end
        })
    }

    fn release(&mut self, from: usize, to: usize) {
        // At once and in order: what is on its way already comes after it.
        for (conn, side, seq, message) in self.network.release(from, to) {
            self.arrive(conn, side, seq, message);
        }
        if self.network.pairs.get(&(from, to)).is_some_and(|p| p.queued.is_some()) {
            self.at(self.now, What::Elect { from, to });
        }
    }

    // Time.

    /// What a server's clock says.
    fn local(&self, host: usize) -> Instant {
        let drift = self.slots[host].drift;
        Instant((i128::from(self.now) * i128::from(1000 + drift) / 1000) as u64)
    }

    /// When a server's clock will say this.
    fn global(&self, host: usize, local: Instant) -> u64 {
        let rate = i128::from(1000 + self.slots[host].drift);
        ((i128::from(local.0) * 1000 + rate - 1) / rate) as u64
    }

    // Events.

    fn mix(&mut self, n: u64) {
        self.hash = (self.hash ^ n).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
    }

    fn handle(&mut self, what: What) {
        self.mix(self.now);
        match what {
            What::Timer { host, life } => {
                if !self.alive(host, life) || self.slots[host].timer_at != Some(self.now) {
                    return;
                }
                let until = self.slots[host].paused_until;
                if until > self.now {
                    self.slots[host].timer_at = Some(until);
                    self.at(until, What::Timer { host, life });
                } else {
                    self.slots[host].timer_at = None;
                    let due = self.slots[host].value.as_ref().and_then(H::poll_timeout);
                    if due.is_some_and(|d| d <= self.local(host)) {
                        self.feed(host, Input::Timeout);
                    } else {
                        self.set_timer(host);
                    }
                }
            }
            What::Arrive { conn, side, seq, message } => self.arrive(conn, side, seq, message),
            What::Dial { host, life, link, to } => self.dial(host, life, link, to),
            What::Dialled { host, life, link, conn } => {
                if !self.alive(host, life)
                    || !self.postpone(host, What::Dialled { host, life, link, conn })
                {
                    return;
                }
                let Some(Line::Dialling) = self.slots[host].lines.get(&link) else {
                    if let Some(no) = conn {
                        self.hang_up(no, 0);
                    }
                    return;
                };
                let event = match conn {
                    Some(no) => {
                        self.slots[host].lines.insert(link, Line::Conn(no, 0));
                        LinkEvent::Up
                    }
                    None => {
                        self.slots[host].lines.remove(&link);
                        LinkEvent::Down
                    }
                };
                self.feed(host, Input::Link(link, event));
            }
            What::Elect { from, to } => self.elect(from, to),
            What::Repeat { from, to } => {
                let pair = self.network.pairs.entry((from, to)).or_default();
                if let Some(last) = pair.last.clone()
                    && pair.queued.is_none()
                {
                    self.notify(from, to, last);
                }
            }
            What::Disk { host, life } => self.disk_done(host, life),
            What::Load { host, life, through } => {
                if self.alive(host, life) && self.postpone(host, What::Load { host, life, through })
                {
                    let state = self.disks[host].replay(through);
                    self.ghost.states[host] = state.end();
                    self.cover("state reloaded");
                    self.feed(host, Input::Loaded(state));
                }
            }
            What::ReadLog { host, life, read, after, through } => {
                let again = What::ReadLog { host, life, read, after, through };
                if self.alive(host, life) && self.postpone(host, again) {
                    let found = self.disks[host].read_log(after, through);
                    self.feed(host, Input::LogRead(read, found));
                }
            }
            What::PortHeld { host, life, listens } => {
                let slot = &self.slots[host];
                let trying = slot.wants_port.is_none_or(|attempt| attempt == listens);
                if self.alive(host, life) && slot.port_held && trying {
                    self.feed(host, Input::PortHeld(true));
                }
            }
            What::HangUp { host, life, no, side } => {
                if self.alive(host, life) {
                    self.hang_up(no, side);
                }
            }
            What::Restart { host } => self.boot(host),
            What::Write => self.client(),
            What::Snapshot => self.snapshot(),
            What::Fault => self.fault(),
            What::Undo(Undo::Unblock(ways)) => self.unblock(&ways),
            What::Undo(Undo::Port(host)) => self.free_port(host),
        }
    }

    fn alive(&self, host: usize, life: u64) -> bool {
        self.slots[host].life == life && self.slots[host].value.is_some()
    }

    /// Puts an event off if the server stands still; whether it can be handled now.
    fn postpone(&mut self, host: usize, what: What) -> bool {
        let until = self.slots[host].paused_until;
        if until > self.now {
            self.at(until, what);
            return false;
        }
        true
    }

    /// Gives a server an event, and does what it asks for.
    pub(super) fn feed(&mut self, host: usize, input: Input) {
        let now = self.local(host);
        let Some(value) = &mut self.slots[host].value else { return };
        let text = self.score.wants().then(|| describe(&input));
        value.feed(now, input);
        if let Some(text) = text {
            self.score.line(self.now, "event", self.view(host), text);
        }
        self.drain(host);
    }

    fn drain(&mut self, host: usize) {
        let life = self.slots[host].life;
        let killer = self.chaos && self.random.per_million(self.params.crash_in_step);
        let mut steps = if killer { self.random.below(6) } else { u64::MAX };
        while let Some(action) = self.slots[host].value.as_mut().and_then(H::poll_action) {
            if steps == 0 {
                break;
            }
            steps -= 1;
            self.execute(host, action);
            if self.violation.is_some() || self.slots[host].life != life {
                return;
            }
        }
        if killer {
            self.cover("killed in the middle of a step");
            self.kill(host, false);
            let back = self.now + self.random.between(1_000, 3_000_000);
            self.at(back, What::Restart { host });
            return;
        }
        self.set_timer(host);
    }

    fn set_timer(&mut self, host: usize) {
        let life = self.slots[host].life;
        if let Some(due) = self.slots[host].value.as_ref().and_then(H::poll_timeout) {
            let at = self.global(host, due).max(self.now);
            if self.slots[host].timer_at.is_none_or(|t| t > at) {
                self.slots[host].timer_at = Some(at);
                self.at(at, What::Timer { host, life });
            }
        }
    }

    // Actions.

    fn client(&mut self) {
        if self.params.write_us == 0 {
            return;
        }
        let next = self.now + self.random.between(1, 2 * self.params.write_us);
        if self.chaos {
            self.at(next, What::Write);
        }
        let host = self.random.below(self.slots.len() as u64) as usize;
        if self.slots[host].paused_until > self.now {
            return;
        }
        if self.random.permille(100) {
            self.sync(host);
        } else {
            for _ in 0..self.random.between(1, 3) {
                self.write(host);
            }
        }
    }

    fn snapshot(&mut self) {
        let next = self.now + self.random.between(1, 2 * self.params.snapshot_ms * 1000);
        if self.chaos {
            self.at(next, What::Snapshot);
        }
        let host = self.random.below(self.slots.len() as u64) as usize;
        // Only what is served is worth a snapshot: it is committed (A35, ZOOKEEPER-1549, 1558).
        let serving = |v: &&H| v.peer().is_serving();
        if let Some(image) = self.slots[host].value.as_ref().filter(serving).map(H::image) {
            self.cover("local snapshot");
            self.ask_disk(host, None, Change::Snapshot(image));
        }
    }

    // Checks.

    fn see_effect(&mut self, host: usize, effect: &Effect) {
        match effect {
            Effect::None => {}
            Effect::Appended { last, entry } => {
                self.see(host, &Seen::Appended { last: *last, entry: *entry });
            }
            Effect::Removed(entries) => self.see(host, &Seen::Removed(entries)),
        }
        self.see(host, &Seen::DiskChanged);
    }

    fn see(&mut self, host: usize, seen: &Seen<'_>) {
        if self.violation.is_some() {
            return;
        }
        let facts = Facts {
            params: &self.params,
            membership: &self.membership,
            ghost: &self.ghost,
            disks: &self.disks,
        };
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.check(facts, host, seen) {
                self.violation = Some(Violation { invariant: invariant.name(), what });
                return;
            }
        }
    }

    /// Ends the run with something that the world itself demands.
    pub(super) fn fail(&mut self, invariant: &'static str, what: String) {
        self.violation.get_or_insert(Violation { invariant, what });
    }

    /// A server as the score shows it.
    pub(super) fn view(&self, host: usize) -> super::score::View {
        let disk = self.disks[host].last();
        match &self.slots[host].value {
            None => super::score::View::down(host, disk),
            Some(v) => super::score::View::of(host, v.peer(), disk),
        }
    }

    /// Begins chaos: clients, snapshots and faults.
    pub fn start_chaos(&mut self) {
        self.chaos = true;
        self.at(self.now + 1, What::Write);
        if self.params.snapshot_ms > 0 {
            self.at(self.now + 1, What::Snapshot);
        }
        if self.params.fault_ms > 0 {
            self.at(self.now + self.params.fault_ms * 1000, What::Fault);
        }
    }

    /// After the heal: before a deadline, everyone must agree, new writes must be accepted, and
    /// everyone must agree again.
    pub fn settle(&mut self) {
        let p = &self.params;
        let limit = p.tick_ms * u64::from(p.init_limit + p.sync_limit) * 1000;
        let deadline = self.now + 20 * limit + 60_000_000;
        let goal = self.ghost.committed.len() + 5;
        while self.now < deadline && self.violation.is_none() {
            self.run_until(self.now + 20_000);
            if !self.has_converged() {
                continue;
            }
            if self.ghost.committed.len() >= goal {
                return;
            }
            let host = self.random.below(self.slots.len() as u64) as usize;
            self.write(host);
        }
        let state: Vec<String> = (0..self.slots.len()).map(|h| self.view(h).to_string()).collect();
        let end = self.ghost.end();
        self.fail("Liveness", format!("not converged at {end:?}: {}", state.join("; ")));
    }

    /// The kinds of faults this run has, with their weights.
    pub(super) fn faults(&self) -> &[(Fault, u64)] {
        &self.params.faults
    }
}

fn describe(input: &Input) -> String {
    match input {
        Input::Notification(from, n) => format!(
            "vote of {from}: {} leader={} zxid={} round={} epoch={}",
            n.state.name(),
            n.leader,
            n.zxid,
            n.round,
            n.peer_epoch
        ),
        Input::Loaded(image) => format!("loaded {}", image.zxid),
        Input::LogRead(_, found) => {
            format!("log read: {:?}", found.as_ref().map(|f| (f.found, f.txns.len())))
        }
        other => format!("{other:?}"),
    }
}

fn describe_action(action: &Action) -> String {
    match action {
        Action::SendNotification { to, notification: n } => format!(
            "vote to {to}: {} leader={} zxid={} round={} epoch={}",
            n.state.name(),
            n.leader,
            n.zxid,
            n.round,
            n.peer_epoch
        ),
        Action::Disk { what: DiskOp::Append(txn), .. } => format!("append {}", txn.zxid),
        Action::Deliver { txn, committed } => format!("deliver {} committed={committed}", txn.zxid),
        other => format!("{other:?}"),
    }
}

/// Keeps the image type in the signature of the module's users.
pub type State = Image;
