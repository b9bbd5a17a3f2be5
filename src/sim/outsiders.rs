//! What servers say that have no say, and members that come back from another time: epochs far ahead,
//! and the history of an ensemble that was formed anew without them.

use super::disk::Disk;
use super::ghost::Ghost;
use super::host::{Host, Input};
use super::invariants;
use super::world::World;
use crate::proto::election::{NOTIFICATION_VERSION, Notification, ServerState};
use crate::proto::jute::Jute;
use crate::proto::quorum::{LearnerInfo, PROTOCOL_VERSION, PacketKind, QuorumPacket};
use crate::types::{Epoch, LinkId, ServerId, Zxid};
use crate::zab::LinkEvent;

/// An epoch right before the end of what a zxid can hold.
const LAST: i64 = 0x7fff_fffc;

impl<H: Host> World<H> {
    /// A killed server took part in discoveries that came to nothing, in as many epochs.
    pub(super) fn accept_later(&mut self, host: usize) {
        // Who has no vote hears of no epoch that a quorum has not accepted.
        if self.slots[host].value.is_none() || host >= self.params.voters as usize {
            return;
        }
        self.kill_for_a_while(host, false, "fault: later epochs accepted");
        let more = self.random.between(1, 30) as i64;
        self.disks[host].accepted.0 += more;
    }

    /// Somebody introduces itself to a leader: no member, an observer, or a voter whose epoch is
    /// absurd. It says nothing after that.
    pub(super) fn stranger(&mut self, host: usize) {
        if !self.slots[host].listening || self.slots[host].paused_until > self.now() {
            return;
        }
        self.cover("fault: stranger");
        let n = self.params.servers() as i64;
        let server = match self.random.below(4) {
            0 => ServerId(i64::MAX),
            1 => ServerId(self.random.between(1, n as u64) as i64),
            _ => ServerId(n + 1 + self.random.below(3) as i64),
        };
        let voter = server.0 <= self.params.voters as i64;
        let near = self.disks[host].accepted.0 + self.random.between(1, 1000) as i64;
        let epoch = if voter || self.random.permille(500) { LAST } else { near };
        let kinds = [PacketKind::FollowerInfo, PacketKind::ObserverInfo];
        let kind = self.random.pick(&kinds);
        self.introduce(host, server, kind, Epoch(epoch));
    }

    /// A new link to a server brings this introduction, and nothing else.
    pub fn introduce(&mut self, host: usize, server: ServerId, kind: PacketKind, epoch: Epoch) {
        let slot = &mut self.slots[host];
        let link = LinkId(slot.next_inbound);
        slot.next_inbound += 1;
        let (protocol, config_version) = (PROTOCOL_VERSION, 0);
        let info = LearnerInfo { server, protocol, config_version, rookeeper: true, claim: None };
        let packet = QuorumPacket::with_data(kind, Zxid::new(epoch, 0), info.to_bytes());
        self.feed(host, Input::Link(link, LinkEvent::Up));
        self.feed(host, Input::Link(link, LinkEvent::Packet(packet)));
    }

    /// A vote of no member, or one of a member that no honest history can have led to.
    pub(super) fn strange_vote(&mut self, host: usize, other: usize) {
        if self.slots[host].paused_until > self.now() {
            return;
        }
        self.cover("fault: strange vote");
        let member = self.random.permille(500);
        let n = self.params.servers() as i64;
        let from = if member { other as i64 + 1 } else { n + 1 };
        let leader = ServerId(self.random.between(1, n as u64 + 1) as i64);
        let states = [ServerState::Looking, ServerState::Following, ServerState::Leading];
        let (epoch, round) = match self.random.below(3) {
            0 => (LAST, 1),
            1 => (LAST, i64::MAX),
            _ => (i64::MAX, i64::MAX - 1),
        };
        let notification = Notification {
            state: self.random.pick(&states),
            leader,
            zxid: Zxid::new(Epoch(LAST), 7),
            round,
            peer_epoch: Epoch(epoch),
            version: NOTIFICATION_VERSION,
            config: Some(Default::default()),
            pending: None,
        };
        self.feed(host, Input::Notification(ServerId(from), notification));
    }

    /// All members stop; all but one voter lose what they had, and form an ensemble anew as their
    /// operator told them to. Then the one that was away comes back, with the history of before.
    ///
    /// From here on the history of the new ensemble is the one that counts.
    pub fn form_anew(&mut self) {
        let n = self.slots.len();
        (0..n).for_each(|host| self.kill(host, false));
        // What was still to be started is, before anything is wiped.
        self.run_until(self.now() + 5_000_000);
        (0..n).for_each(|host| self.kill(host, false));
        if self.violation.is_some() {
            return;
        }
        let old = self.random.below(self.params.voters) as usize;
        self.disks[old].accepted.0 += self.random.pick(&[0, 0, 1, 2, 10]);
        for host in (0..n).filter(|host| *host != old) {
            self.disks[host] = Disk::new(self.params.retain, self.params.mutant);
        }
        // An epoch that runs out of numbers ends its leader too, which would say nothing here.
        self.params.counter_limit = u32::MAX;
        self.forget_history();
        (0..n).filter(|host| *host != old).for_each(|host| self.boot(host));
        let lives = self.random.pick(&[1, 1, 2, 3, 5, 10]);
        for life in 0..lives {
            if life > 0
                && let Some(leader) = self.leader()
            {
                self.kill(leader, false);
                self.boot(leader);
            }
            let writes = self.random.between(1, 12);
            if !self.serve_some(writes) {
                return self.fail("Liveness", "the ensemble that was formed anew".to_owned());
            }
        }
        self.come_back(old);
    }

    /// What was committed counts no longer.
    pub(super) fn forget_history(&mut self) {
        self.ghost = Ghost::of(self.slots.len());
        self.invariants = invariants::all();
    }

    /// Whether a server takes learners.
    #[cfg(test)]
    pub(super) fn listens(&self, host: usize) -> bool {
        self.slots[host].listening
    }

    /// Takes so many writes; whether it did.
    fn serve_some(&mut self, writes: u64) -> bool {
        if !self.run_while_not(60_000_000, |w| w.leader().is_some()) {
            return false;
        }
        let goal = self.committed().len() + writes as usize;
        for _ in 0..60 {
            if let Some(leader) = self.leader() {
                (0..writes).for_each(|_| {
                    self.write(leader);
                });
            }
            if self.run_while_not(1_000_000, |w| w.committed().len() >= goal) {
                return true;
            }
        }
        false
    }

    /// The member of before starts. Where its epoch is later than the leader's it changes nothing;
    /// where it is not, it ends with what the others have.
    fn come_back(&mut self, old: usize) {
        let Some(leader) = self.leader() else { return };
        let epoch = self.ghost.leads[leader];
        let (accepted, current) = (Some(self.disks[old].accepted), Some(self.disks[old].current));
        let last = self.disks[old].last();
        let (out, ours) = (accepted > epoch, self.committed().last().map(|e| e.zxid));
        self.boot(old);
        if out && current > epoch {
            self.cover("formed anew: one stays out");
            for _ in 0..20 {
                self.run_until(self.now() + 1_000_000);
                self.write(leader);
                if self.ghost.leads[leader] != epoch {
                    return self.fail(
                        "ServingQuorum",
                        format!("{old}, which is of another history, took {leader} down"),
                    );
                }
            }
        } else if out && current == epoch && Some(last) >= ours {
            self.cover("formed anew: one in the same epoch");
            self.run_until(self.now() + 20_000_000);
        } else {
            self.cover("formed anew: one comes back");
            self.settle();
        }
    }
}
