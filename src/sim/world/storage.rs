//! What the hosts' disks are asked and answer.

use super::*;

impl<H: Host> World<H> {
    pub(super) fn disk_time(&mut self) -> u64 {
        let (from, to) = self.params.disk_us;
        let to = if self.random.permille(950) { from + (to.saturating_sub(from)) / 10 } else { to };
        self.random.between(from, to.max(from))
    }

    pub(super) fn ask_disk(&mut self, host: usize, op: Option<OpId>, change: Change) {
        if let Change::Zab(op) = &change {
            if let DiskOp::Append(txn) = op {
                let digest = chain(0, txn.zxid, &txn.bytes);
                let known = self.ghost.proposed.get(&txn.zxid) == Some(&(host, digest));
                if self.ghost.leads[host].is_some() && !known {
                    self.proposed(host, txn.zxid, digest);
                }
            }
            self.see(host, &Seen::Asked(op));
        }
        self.disks[host].queue.push_back((op, change));
        self.start_disk(host);
    }

    pub(super) fn proposed(&mut self, host: usize, zxid: Zxid, digest: u64) {
        self.see(host, &Seen::Proposed { zxid, digest });
        self.ghost.proposed.insert(zxid, (host, digest));
    }

    pub(super) fn start_disk(&mut self, host: usize) {
        if !self.slots[host].disk_busy && !self.disks[host].queue.is_empty() {
            self.slots[host].disk_busy = true;
            let at = self.now.max(self.slots[host].stalled_until) + self.disk_time();
            let life = self.slots[host].life;
            self.at(at, What::Disk { host, life });
        }
    }

    pub(super) fn disk_done(&mut self, host: usize, life: u64) {
        if !self.alive(host, life) {
            return;
        }
        let until = self.slots[host].stalled_until.max(self.slots[host].paused_until);
        if until > self.now {
            // In the far future when a script holds the disk; releasing it schedules anew.
            return self.at(until, What::Disk { host, life });
        }
        self.slots[host].disk_busy = false;
        if std::mem::take(&mut self.slots[host].fail_sync) {
            self.cover("sync failed");
            self.kill(host, false);
            let back = self.now + self.random.between(1_000, 2_000_000);
            return self.at(back, What::Restart { host });
        }
        // Neighbouring appends share a sync.
        let queued = self.disks[host].queue.len() as u64;
        let batch = self.random.between(1, queued.max(1));
        let mut through = None;
        for _ in 0..batch {
            let Some((report, effect)) = self.disks[host].complete_one() else { break };
            self.see_effect(host, &effect);
            match report {
                Some(Persisted::Through(op)) => through = Some(op),
                Some(other) => {
                    if let Some(op) = through.take() {
                        self.feed(host, Input::Persisted(Persisted::Through(op)));
                    }
                    if matches!(other, Persisted::CannotTruncate(_)) {
                        self.cover("can't truncate");
                    }
                    if self.alive(host, life) {
                        self.feed(host, Input::Persisted(other));
                    }
                }
                None => {}
            }
            if !self.alive(host, life) || self.violation.is_some() {
                return;
            }
        }
        if let Some(op) = through {
            self.feed(host, Input::Persisted(Persisted::Through(op)));
        }
        if self.alive(host, life) {
            self.start_disk(host);
        }
    }

    // Clients and snapshots.
}
