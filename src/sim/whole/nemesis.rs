//! What goes wrong: one fault at a time is chosen by the weights of the seed; what it does is undone
//! some time later, or at the heal.

use super::params::{Fault, Kind};
use super::world::{Parcel, What, World};
use crate::sim::network::Port;
use crate::storage::log_reader::{LogReader, Step};
use crate::storage::names;

/// How a fault ends.
#[derive(Clone, Debug)]
pub enum Undo {
    /// These directions open.
    Unblock(Vec<(usize, usize)>),
    /// There is room on the disk again.
    Room(usize),
}

impl World {
    /// Makes something go wrong, and plans the next.
    pub(super) fn fault(&mut self) {
        if !self.chaos {
            return;
        }
        let mean = self.params.fault_ms * 1000;
        self.soon(1, 2 * mean, What::Fault);
        let total: u64 = self.params.faults.iter().map(|(_, weight)| weight).sum();
        let mut at = self.random.below(total);
        let mut chosen = None;
        for (fault, weight) in &self.params.faults {
            if at < *weight {
                chosen = Some(*fault);
                break;
            }
            at -= weight;
        }
        if let Some(fault) = chosen {
            self.inflict(fault);
        }
    }

    /// Makes this go wrong, somewhere.
    pub fn inflict(&mut self, fault: Fault) {
        let host = self.random.below(self.slots.len() as u64) as usize;
        let client = self.random.below(self.clients.len() as u64) as usize;
        let running = self.slots[host].process.is_some();
        let machine = self.random.permille(500);
        self.say(|| format!("fault {fault:?}, host {host}, client {client}"));
        match fault {
            Fault::Kill if running => {
                self.cover("fault: kill");
                self.end(host, false);
            }
            Fault::Power if running => {
                self.cover("fault: power loss");
                self.end(host, true);
            }
            Fault::PowerOfAll => {
                self.cover("fault: power loss of all");
                for host in 0..self.slots.len() {
                    self.end(host, true);
                }
            }
            Fault::CutAtOp if running => {
                let ops = self.random.below(14);
                self.slots[host].disk.cut_power_after(ops);
                self.slots[host].cut = Some(machine);
            }
            Fault::CutInStart => {
                let ops = self.random.below(10);
                self.slots[host].cut_start = Some((ops, machine));
                if running {
                    self.end(host, machine);
                }
            }
            Fault::Stop if running => {
                self.cover("fault: stop");
                self.stop(host);
            }
            Fault::FailSync if running => {
                self.slots[host].fails = true;
                self.slots[host].disk.fail_syncs(1);
            }
            Fault::FullDisk if running => {
                let room = self.random.below(20_000);
                self.slots[host].full = true;
                self.slots[host].disk.set_space(Some(room));
                self.soon(100_000, 3_000_000, What::Undo(Undo::Room(host)));
            }
            Fault::StallDisk => {
                self.cover("fault: disk stalls");
                let until = self.now() + self.random.between(1_000, 1_500_000);
                self.slots[host].stalled_until = until;
            }
            Fault::Damage => self.damage(host),
            Fault::LoseLog => self.lose_log(host),
            Fault::Pause => {
                self.cover("fault: pause");
                let long = self.params.tick_ms * 12_000;
                self.slots[host].paused_until = self.now() + self.random.between(1, long);
            }
            Fault::ClockJump => {
                self.cover("fault: clock jumps");
                let hour = 3_600_000;
                let jump = self.random.between(0, 2 * hour) as i64 - hour as i64;
                self.slots[host].jump_ms += jump;
            }
            Fault::CutClient => {
                if let Some(no) = self.clients[client].link() {
                    self.cover("fault: client cut");
                    self.send(no, 0, Parcel::End);
                    self.send(no, 1, Parcel::End);
                }
            }
            Fault::HalfOpen => {
                if let Some(no) = self.clients[client].link() {
                    self.cover("fault: half-open connection");
                    let side = self.random.below(2) as usize;
                    self.network.lose(&mut self.random, no, side, 20);
                    self.network.lose(&mut self.random, no, 1 - side, 20);
                    if self.random.permille(500) {
                        self.send(no, side, Parcel::End);
                    }
                }
            }
            Fault::LostClient => {
                self.cover("fault: lost client");
                let seat = self.slots.len() + client;
                let ways = (0..self.slots.len()).flat_map(|host| [(seat, host), (host, seat)]);
                self.block_for_a_while(ways.collect());
            }
            Fault::Clog => {
                let live = self.network.live();
                if !live.is_empty() {
                    self.cover("fault: clog");
                    let (no, side) = (self.random.pick(&live), self.random.below(2) as usize);
                    let until = self.now() + self.random.between(1_000, 3_000_000);
                    self.network.clog(no, side, until);
                }
            }
            Fault::PauseClient => {
                self.cover("fault: client pauses");
                let until = self.now() + self.random.between(1_000, 8_000_000);
                self.clients[client].paused_until = until;
            }
            Fault::Purge => self.purge(host),
            Fault::Isolate => {
                self.cover("fault: isolate");
                let others = (0..self.slots.len()).filter(|other| *other != host);
                self.block_for_a_while(others.flat_map(|o| [(host, o), (o, host)]).collect());
            }
            Fault::Split => {
                self.cover("fault: split");
                let (n, sides) = (self.slots.len(), self.random.bits());
                let apart = |a: &usize, b: &usize| (sides >> a & 1) != (sides >> b & 1);
                let pairs = (0..n).flat_map(|a| (0..n).map(move |b| (a, b)));
                let ways = pairs.filter(|(a, b)| apart(a, b)).collect();
                self.block_for_a_while(ways);
            }
            Fault::OneWay => {
                self.cover("fault: one way");
                let other = self.random.below(self.slots.len() as u64) as usize;
                self.block_for_a_while(vec![(host, other)]);
            }
            Fault::KillLeader => {
                if let Some(leader) = self.leader() {
                    self.cover("fault: kill leader");
                    self.end(leader, machine);
                }
            }
            Fault::KillMaster => {
                let masters = self.masters();
                if !masters.is_empty() {
                    self.cover("fault: kill a follower with observers");
                    let master = self.random.pick(&masters);
                    self.end(master, machine);
                }
            }
            Fault::CutLink => {
                let between = |world: &mut World, no| {
                    let n = world.slots.len();
                    world.network.conn(no).is_some_and(|c| c.ends.iter().all(|e| e.host < n))
                };
                let live = self.network.live();
                let live: Vec<_> = live.into_iter().filter(|no| between(self, *no)).collect();
                if !live.is_empty() {
                    self.cover("fault: cut link");
                    let no = self.random.pick(&live);
                    for side in 0..2 {
                        self.network.lose(&mut self.random, no, side, 20);
                        self.send(no, side, Parcel::End);
                    }
                }
            }
            _ => {}
        }
    }

    /// Blocks directions on the ports of learners and clients.
    pub(super) fn block_for_a_while(&mut self, ways: Vec<(usize, usize)>) {
        for (from, to) in &ways {
            self.network.block(Port::Learner, *from, *to);
            self.network.block(Port::Election, *from, *to);
        }
        let longest = self.params.block_us;
        self.soon(1_000, longest, What::Undo(Undo::Unblock(ways)));
    }

    pub(super) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Unblock(ways) => {
                for (from, to) in ways {
                    self.network.unblock(Port::Election, from, to);
                    if self.network.unblock(Port::Learner, from, to) {
                        self.release(from, to);
                    }
                }
            }
            Undo::Room(host) => {
                self.slots[host].full = false;
                self.slots[host].disk.set_space(None);
            }
        }
    }

    /// Lets go what waited for a direction, at once and in order.
    pub(super) fn release(&mut self, from: usize, to: usize) {
        for (conn, side, seq, parcel) in self.network.release(from, to) {
            self.arrive(conn, side, seq, parcel);
        }
        if self.network.pairs.get(&(from, to)).is_some_and(|pair| pair.queued.is_some()) {
            self.at(self.now(), What::Elect { from, to });
        }
    }

    /// Damage beyond a minority of the voters is beyond what an ensemble promises.
    pub(super) fn may_damage(&self, host: usize) -> bool {
        let voters = self.params.voters;
        let damaged = self.slots[..voters].iter().filter(|slot| slot.damaged).count();
        self.params.kind == Kind::One || host >= voters || damaged < (voters - 1) / 2
    }

    /// Flips a bit of a transaction that is surely on disk and not in the newest batch, in the log of
    /// a server that is down: it must be noticed, or not be needed.
    fn damage(&mut self, host: usize) {
        let Some(process) = &self.slots[host].process else { return };
        let (newest, txns) = process.newest_batch();
        let hurt = !self.slots[host].flips.is_empty() || self.slots[host].lost.is_some();
        if txns == 0 || hurt || !self.may_damage(host) {
            return;
        }
        self.end(host, false);
        let disk = self.slots[host].disk.clone();
        let mut records = Vec::new();
        for log in names::logs(&disk, &self.params.dirs().logs).unwrap_or_default() {
            let Ok(mut reader) = LogReader::open(&disk, &log.path) else { continue };
            while let Ok(Step::Record(record)) = reader.step() {
                if record.zxid.0 <= newest.0 - txns as i64 {
                    let length = record.entry.len() as u64;
                    records.push((log.path.clone(), record.offset, length));
                }
            }
        }
        // Mostly near the end, where it is still needed.
        let tail = records.split_off(records.len().saturating_sub(20));
        if tail.is_empty() {
            return;
        }
        let (path, offset, length) = tail[self.random.below(tail.len() as u64) as usize].clone();
        let at = offset + self.random.below(length + 13);
        let mask = 1 << self.random.below(8);
        if disk.flip(&path, at, mask).is_ok() {
            self.cover("fault: damage");
            self.slots[host].damaged = true;
            if self.params.kind == Kind::Ensemble && self.random.permille(300) {
                // What sets it aside is cut short.
                let ops = self.random.below(25);
                self.slots[host].cut_start = Some((ops, true));
            }
            self.slots[host].flips.push((path, at, mask));
        }
    }
}
