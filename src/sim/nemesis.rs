//! What goes wrong: one fault at a time is chosen by the weights of the seed, and what it does is
//! undone some time later, or at the heal.

use super::host::{Host, Input};
use super::network::{Message, Port};
use super::swarm::Fault;
use super::world::{Undo, What, World};
use crate::zab::Standing;

impl<H: Host> World<H> {
    /// Makes something go wrong, and plans the next.
    pub(super) fn fault(&mut self) {
        if !self.chaos {
            return;
        }
        let next = self.random.between(1, 2 * self.params.fault_ms * 1000);
        self.at(self.now() + next, What::Fault);
        let total: u64 = self.faults().iter().map(|(_, w)| w).sum();
        let mut at = self.random.below(total);
        let mut chosen = None;
        for (fault, weight) in self.faults() {
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
        let n = self.slots.len();
        let host = self.random.below(n as u64) as usize;
        let other = (host + 1 + self.random.below(n.max(2) as u64 - 1) as usize) % n;
        match fault {
            Fault::Kill => self.kill_for_a_while(host, false, "fault: kill"),
            Fault::PowerLoss => self.kill_for_a_while(host, true, "fault: power loss"),
            Fault::PowerLossOfAll => {
                for host in 0..n {
                    self.kill_for_a_while(host, true, "fault: power loss of all");
                }
            }
            Fault::KillLeader => {
                if let Some(leader) = self.leader() {
                    self.kill_for_a_while(leader, false, "fault: kill leader");
                }
            }
            Fault::ShutDown => self.shut_down(host),
            Fault::Pause => {
                self.cover("fault: pause");
                let long = self.params.tick_ms * u64::from(self.params.sync_limit) * 3;
                let until = self.now() + self.random.between(1, long) * 1000;
                self.slots[host].paused_until = until;
            }
            Fault::Isolate => self.isolate(host, &[Port::Learner, Port::Election]),
            Fault::LearnerPort => self.isolate(host, &[Port::Learner]),
            Fault::ElectionPort => self.isolate(host, &[Port::Election]),
            Fault::Split => self.split(),
            Fault::OneWay => {
                self.cover("fault: one way");
                self.block_for_a_while(vec![
                    (Port::Learner, host, other),
                    (Port::Election, host, other),
                ]);
            }
            Fault::CutLink => self.cut(true),
            Fault::HalfOpen => self.cut(false),
            Fault::Clog => self.clog(),
            Fault::StallDisk => {
                self.cover("fault: disk stalls");
                let long = self.params.tick_ms * u64::from(self.params.sync_limit) * 2;
                let until = self.now() + self.random.between(1, long) * 1000;
                self.slots[host].stalled_until = until;
            }
            Fault::FailDisk => self.slots[host].fail_sync = true,
            Fault::DamageLog => self.damage(host),
            Fault::HoldPort => {
                self.cover("fault: quorum port held");
                let answers = self.random.permille(500);
                self.hold_port(host, answers);
                let end = self.now() + self.random.between(1_000, 8_000_000);
                self.at(end, What::Undo(Undo::Port(host)));
            }
            Fault::AcceptLater => self.accept_later(host),
            Fault::Stranger => self.stranger(host),
            Fault::StrangeVote => self.strange_vote(host, other),
        }
    }

    pub(super) fn kill_for_a_while(&mut self, host: usize, power: bool, name: &'static str) {
        if self.slots[host].value.is_none() {
            return;
        }
        self.cover(name);
        self.kill(host, power);
        let back = self.now() + self.random.between(1_000, 4_000_000);
        self.at(back, What::Restart { host });
    }

    /// A clean stop: the peer says good-bye, then the process ends.
    pub fn shut_down(&mut self, host: usize) {
        if self.slots[host].value.is_none() || self.slots[host].paused_until > self.now() {
            return;
        }
        self.cover("fault: shut down");
        self.feed(host, Input::ShutDown);
        self.kill_for_a_while(host, false, "stopped");
    }

    fn block_for_a_while(&mut self, ways: Vec<(Port, usize, usize)>) {
        for (port, from, to) in &ways {
            self.network.block(*port, *from, *to);
        }
        let end = self.now() + self.random.between(1_000, 6_000_000);
        self.at(end, What::Undo(Undo::Unblock(ways)));
    }

    fn isolate(&mut self, host: usize, ports: &[Port]) {
        self.cover(match ports {
            [Port::Learner] => "fault: learner port",
            [Port::Election] => "fault: election port",
            _ => "fault: isolate",
        });
        let others = (0..self.slots.len()).filter(|o| *o != host);
        let ways =
            others.flat_map(|o| ports.iter().flat_map(move |p| [(*p, host, o), (*p, o, host)]));
        let ways = ways.collect();
        self.block_for_a_while(ways);
    }

    fn split(&mut self) {
        self.cover("fault: split");
        let n = self.slots.len();
        let sides = self.random.bits();
        let apart = |a: usize, b: usize| (sides >> a & 1) != (sides >> b & 1);
        let pairs = (0..n).flat_map(|a| (0..n).map(move |b| (a, b)));
        let ways = pairs
            .filter(|(a, b)| apart(*a, *b))
            .flat_map(|(a, b)| [(Port::Learner, a, b), (Port::Election, a, b)]);
        let ways = ways.collect();
        self.block_for_a_while(ways);
    }

    fn cut(&mut self, noticed: bool) {
        let live = self.network.live();
        if live.is_empty() {
            return;
        }
        self.cover(if noticed { "fault: cut link" } else { "fault: half-open link" });
        let no = self.random.pick(&live);
        for side in 0..2 {
            self.network.lose(&mut self.random, no, side, 20);
            if noticed || self.random.permille(300) {
                self.send(no, side, Message::End);
            }
        }
    }

    fn clog(&mut self) {
        let live = self.network.live();
        if live.is_empty() {
            return;
        }
        self.cover("fault: clog");
        let (no, side) = (self.random.pick(&live), self.random.below(2) as usize);
        let until = self.now() + self.random.between(1_000, 5_000_000);
        self.network.clog(no, side, until);
    }

    /// Damages the log of a minority at most, and only one that is down: it is noticed at the start.
    fn damage(&mut self, host: usize) {
        let voters = self.params.voters as usize;
        let bad = |h: &usize| self.disks[*h].standing == Standing::MustResync;
        let damaged = (0..voters).filter(bad).count();
        if (host < voters && damaged + 1 > (voters - 1) / 2) || self.slots[host].value.is_none() {
            return;
        }
        self.kill_for_a_while(host, false, "fault: damage log");
        let mut random = self.random.fork();
        self.disks[host].damage(&mut random);
    }
}
