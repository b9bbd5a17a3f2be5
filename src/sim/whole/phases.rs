//! The phases of a run: chaos; then everything is healed, and before deadlines every client must be
//! served, also after one more loss of power everywhere; then the clients vanish, and with them
//! their sessions and their nodes must.

use super::params::Kind;
use super::process::Process;
use super::world::{Slot, What, World};
use crate::types::{OwnerRules, Zxid};

/// Within this a healed server serves every client, µs.
const SERVES_US: u64 = 60_000_000;

impl World {
    /// A whole run.
    pub fn run(&mut self) {
        for host in 0..self.slots.len() {
            self.boot(host);
            if self.params.purge_ms > 0 {
                let mean = self.params.purge_ms * 1000;
                self.soon(1, 2 * mean, What::Purge { host });
            }
        }
        for client in 0..self.clients.len() {
            self.soon(1, 50_000, What::Think { client });
        }
        self.chaos = true;
        let first = self.params.fault_ms * 2000;
        self.soon(1, first, What::Fault);
        self.run_until(self.params.chaos_ms * 1000);
        self.heal();
        self.must_serve("after the heal");
        self.cycle();
        self.must_serve("after a restart of all");
        self.must_keep();
        self.must_forget();
        if self.violation.is_none() {
            self.check_all();
        }
        for host in 0..self.slots.len() {
            self.harvest(host);
        }
        for client in &self.clients {
            *self.coverage.entry("replies").or_default() += client.replies;
            *self.coverage.entry("watch events").or_default() += client.events;
            *self.coverage.entry("sessions refused").or_default() += client.refused.len() as u64;
            *self.coverage.entry("read-only: read answered").or_default() += client.old_reads;
            *self.coverage.entry("read-only: write refused").or_default() += client.refused_writes;
            let refused = client.refused_ephemerals;
            *self.coverage.entry("ephemeral of a local session refused").or_default() += refused;
        }
    }

    /// Ends every fault, starts everyone.
    pub fn heal(&mut self) {
        self.say(|| "heal".to_owned());
        self.chaos = false;
        self.network.unblock_all();
        let seats = self.slots.len() + self.clients.len();
        for from in 0..seats {
            for to in 0..seats {
                self.release(from, to);
            }
        }
        let now = self.now();
        for client in &mut self.clients {
            client.paused_until = client.paused_until.min(now);
        }
        for host in 0..self.slots.len() {
            let slot = &mut self.slots[host];
            slot.paused_until = slot.paused_until.min(now);
            slot.stalled_until = slot.stalled_until.min(now);
            (slot.cut, slot.cut_start, slot.full, slot.fails) = (None, None, false, false);
            slot.disk.restart_process();
            slot.disk.set_space(None);
            if slot.process.is_none() && self.params.kind == Kind::One {
                self.repair(host);
            }
            self.boot(host);
        }
    }

    /// Every client must have a write answered.
    fn must_serve(&mut self, when: &str) {
        for client in &mut self.clients {
            client.answered = 0;
        }
        self.probing = true;
        let served = |world: &World| world.clients.iter().all(|c| c.answered > 0);
        if !self.run_while_not(SERVES_US, served) && self.violation.is_none() {
            let (at, client) = self.clients.iter().enumerate().find(|c| c.1.answered == 0).unzip();
            let phase = client.map(|c| c.phase);
            let text = format!("client {at:?} ({phase:?}) is not served {when}");
            self.fail("Serves", text);
        }
        self.probing = false;
    }

    /// All machines lose power once more.
    fn cycle(&mut self) {
        if self.violation.is_some() {
            return;
        }
        for host in 0..self.slots.len() {
            // Damage that nobody has met is mended while nobody reads.
            self.end(host, true);
            if self.params.kind == Kind::One {
                self.repair(host);
            }
        }
    }

    /// Whether all servers are at the same transaction. A leader counts as being at its epoch's start
    /// when it begins, the others where they were until there is a transaction: then their trees say.
    fn agree(&self) -> bool {
        let at = |slot: &Slot| {
            let state = slot.process.as_ref()?.state.read();
            Some((state.last_zxid(), state.digest()))
        };
        let all: Option<Vec<(Zxid, i64)>> = self.slots.iter().map(at).collect();
        let Some(all) = all else { return false };
        let begun: Vec<Zxid> =
            all.iter().map(|(zxid, _)| *zxid).filter(|zxid| zxid.counter() > 0).collect();
        let same = begun.windows(2).all(|two| two[0] == two[1]);
        let ahead = |zxid: Zxid| begun.first().is_none_or(|begun| zxid >= *begun);
        same && all.iter().all(|(zxid, digest)| ahead(*zxid) && *digest == all[0].1)
    }

    /// Clients vanish: their sessions expire, and their nodes go.
    fn must_forget(&mut self) {
        if self.violation.is_some() {
            return;
        }
        for client in 0..self.clients.len() {
            self.retire(client);
        }
        // The longest timeout, a tick to be noticed, the slowest clock, and some disk time.
        let long = self.params.tick_ms * 23 * 1000 + 3_000_000;
        let long = if self.params.kind == Kind::One { long } else { long + 20_000_000 };
        let left = |process: &Process| {
            let state = process.state.read();
            let local = process.local_sessions().map_or(0, |local| local.len());
            state.sessions().len() + state.ephemerals_count() + local
        };
        let gone = |world: &World| {
            let done = |p: &Process| left(p) == 0 && p.is_serving() && !p.is_read_only();
            world.slots.iter().all(|slot| slot.process.as_ref().is_some_and(done)) && world.agree()
        };
        if !self.run_while_not(long, gone) && self.violation.is_none() {
            let mut sessions = Vec::new();
            for slot in &self.slots {
                if let Some(process) = &slot.process {
                    let state = process.state.read();
                    sessions.push((
                        state.sessions().len(),
                        state.ephemerals_count(),
                        process.is_serving(),
                        state.last_zxid(),
                    ));
                }
            }
            let text = format!("sessions, ephemerals, serving, at: {sessions:?}");
            self.fail("SessionsEnd", text);
        }
        // What is on its way arrives; nodes that nobody needs are still being reaped.
        let end = self.now() + 500_000;
        self.run_until(end);
        let all = |world: &World| {
            let last = world.slots.first().and_then(|slot| slot.process.as_ref());
            world.agree() && last.is_some_and(|p| p.last_zxid().0 >= world.committed)
        };
        if !self.run_while_not(10_000_000, all) && self.violation.is_none() {
            self.fail("Agreement", "the servers do not come to the same transaction".to_owned());
        }
    }

    /// How owner fields are read.
    pub(super) fn rules(&self) -> OwnerRules {
        self.params.owner_rules()
    }
}
