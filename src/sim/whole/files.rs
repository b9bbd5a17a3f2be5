//! Log threads, snapshot threads, starts, and how processes end.

use super::alone;
use super::member::{self, Door, Heard, NotStarted};
use super::process::{Brain, NodeEvent};
use super::world::{What, World};
use super::{Kind, Mutant};
use crate::host::snapshot::Walk;
use crate::storage::names::{self, SNAPSHOT_PREFIX};
use crate::storage::{Disk, Error, Replay, purge};
use crate::types::{ServerId, Zxid};

impl World {
    fn disk_time(&mut self, host: usize) -> u64 {
        let (from, to) = self.params.disk_us;
        let to = if self.random.permille(900) { from + to.saturating_sub(from) / 10 } else { to };
        let time = self.random.between(from, to.max(from));
        self.slots[host].stalled_until.saturating_sub(self.now()) + time
    }

    // The log thread.

    /// Wakes the log thread if there is something to do.
    pub(super) fn start_log(&mut self, host: usize) {
        let life = self.slots[host].life;
        let Some(process) = &self.slots[host].process else { return };
        let wanted = match &process.brain {
            Brain::Alone(alone) => alone.reports.is_none() && !alone.requests.is_empty(),
            Brain::Member(member) => !member.working && !member.jobs.is_empty(),
        };
        if wanted && !self.slots[host].logging {
            self.slots[host].logging = true;
            // What was asked for is durable early or late in the disk's time.
            let time = if self.random.permille(500) { self.disk_time(host) } else { 20 };
            self.soon(1, time, What::Log { host, life });
        }
    }

    /// The log thread takes what has gathered, and makes it durable.
    pub(super) fn log(&mut self, host: usize) {
        let stalled = self.slots[host].stalled_until;
        let life = self.slots[host].life;
        if stalled > self.now() {
            return self.at(stalled, What::Log { host, life });
        }
        self.slots[host].logging = false;
        let now = self.clock(host).mono;
        let draw = self.random.bits();
        let Some(process) = &mut self.slots[host].process else { return };
        let done = match &mut process.brain {
            Brain::Alone(alone) => {
                if alone.reports.is_some() || alone.requests.is_empty() {
                    return;
                }
                alone.work(now).map(|reports| alone.reports = Some(reports))
            }
            Brain::Member(member) => {
                if member.working || member.jobs.is_empty() {
                    return;
                }
                member.working = true;
                let gathered = member.jobs.len();
                // Mostly everything, sometimes what had come before the rest.
                let max = if draw % 4 == 0 { draw as usize / 4 % gathered } else { gathered };
                member.work(max)
            }
        };
        match done {
            Ok(()) => {
                let time = self.disk_time(host);
                self.at(self.now() + time, What::Logged { host, life });
            }
            Err(error) => self.disk_failed(host, &error),
        }
    }

    /// The log thread says what is durable.
    pub(super) fn logged(&mut self, host: usize) {
        let Some(process) = &mut self.slots[host].process else { return };
        match &mut process.brain {
            Brain::Alone(alone) => {
                for done in alone.reports.take().unwrap_or_default() {
                    process.inbox.push_back(NodeEvent::Logged(done));
                }
            }
            Brain::Member(member) => {
                member.working = false;
                for report in member.take_reports() {
                    process.inbox.push_back(NodeEvent::Quorum(Heard::Report(report)));
                }
            }
        }
        self.wake(host);
        self.start_log(host);
    }

    // The snapshot thread.

    /// Begins a snapshot that is due.
    pub(super) fn start_snapshot(&mut self, host: usize) {
        let (life, how, dirs) =
            (self.slots[host].life, self.params.snapshots(), self.params.dirs());
        let now = self.clock(host);
        let disk = self.slots[host].disk.shared();
        let Some(process) = &mut self.slots[host].process else { return };
        if process.walk.is_some() {
            return;
        }
        let Some(cursor) = process.begin_snapshot(now) else { return };
        match Walk::new(disk, &dirs.snapshots, how, cursor) {
            Ok(walk) => {
                process.walk = Some(walk);
                self.soon(1, 100, What::Burst { host, life });
            }
            Err(error) => self.snapshot_failed(host, &error),
        }
    }

    /// The snapshot thread goes on.
    pub(super) fn burst(&mut self, host: usize) {
        let (life, nodes) = (self.slots[host].life, self.params.burst);
        let Some(process) = &mut self.slots[host].process else { return };
        let Some(mut walk) = process.walk.take() else { return };
        if walk.is_in_vain() {
            self.cover("image given up: nobody reads it");
            return self.give_up(host, walk);
        }
        let last = walk.encode(&process.state.read(), nodes);
        if let Err(error) = walk.write() {
            let _ = walk.abandon();
            return self.snapshot_failed(host, &error);
        }
        if !last {
            process.walk = Some(walk);
            let time = self.disk_time(host) / 4 + 1;
            return self.at(self.now() + time, What::Burst { host, life });
        }
        let (zxid, own) = (walk.zxid(), walk.is_own());
        if let Err(error) = walk.finish() {
            return self.snapshot_failed(host, &error);
        }
        self.cover(if own { "snapshot written" } else { "image written" });
        self.say(|| format!("{host} has written snapshot {zxid}, its own: {own}"));
        if own && self.params.mutant == Some(Mutant::SnapshotMisnamed) {
            self.misname(host, zxid);
        }
        self.end_walk(host);
    }

    fn end_walk(&mut self, host: usize) {
        if let Some(process) = &mut self.slots[host].process {
            drop(process.state.write().end_snapshot());
            process.walk = None;
        }
        self.tell(host, NodeEvent::WalkDone);
        self.start_snapshot(host);
    }

    fn give_up(&mut self, host: usize, walk: Walk) {
        match walk.abandon() {
            Ok(()) => self.end_walk(host),
            Err(error) => self.snapshot_failed(host, &error),
        }
    }

    /// The snapshot thread gives up the snapshot of the server's own, if that is what it does.
    pub(super) fn give_up_own(&mut self, host: usize) {
        let Some(process) = &mut self.slots[host].process else { return };
        if let Some(walk) = process.walk.take_if(|walk| walk.is_own()) {
            self.cover("own snapshot given up for learners");
            self.give_up(host, walk);
        }
    }

    /// A snapshot that fails is given up: the log still has everything.
    pub(super) fn snapshot_failed(&mut self, host: usize, error: &Error) {
        if !self.slots[host].disk.has_power() {
            return self.disk_failed(host, error);
        }
        self.cover("snapshot failed");
        if let Some(process) = &mut self.slots[host].process {
            drop(process.state.write().end_snapshot());
            process.walk = None;
        }
        self.tell(host, NodeEvent::WalkDone);
    }

    fn misname(&mut self, host: usize, zxid: Zxid) {
        let disk = self.slots[host].disk.clone();
        let dir = self.params.dirs().snapshots;
        let name = |zxid| names::snapshot_name(zxid, self.params.compression);
        let _ = disk.rename(&dir.join(name(zxid)), &dir.join(name(zxid.next())));
        let _ = disk.sync_dir(&dir);
    }

    /// Removes old files.
    pub(super) fn purge(&mut self, host: usize) {
        if self.slots[host].process.is_none() {
            return;
        }
        let disk = self.slots[host].disk.clone();
        match purge::purge(&disk, &self.params.dirs(), purge::RETAIN_MIN) {
            Ok(purged) if purged.removed.is_empty() => {}
            Ok(_) => self.cover("purge"),
            Err(error) if !disk.has_power() => self.disk_failed(host, &error),
            Err(error) => self.fail("Purge", format!("{host}: {error}")),
        }
    }

    // Ends and starts.

    /// A thread of the server has met a disk error: the process ends, perhaps with its machine.
    pub(super) fn disk_failed(&mut self, host: usize, error: &Error) {
        let io = matches!(error, Error::Io { .. });
        let (power, full, fails) = {
            let slot = &self.slots[host];
            (slot.disk.has_power(), slot.full, slot.fails)
        };
        if !power {
            let machine = self.slots[host].cut.unwrap_or(true);
            self.cover(if machine {
                "power lost at an operation"
            } else {
                "killed at an operation"
            });
            return self.end(host, machine);
        }
        if io && (full || fails) {
            self.cover(if full { "stopped by a full disk" } else { "stopped by a failed sync" });
            self.slots[host].fails = false;
            return self.end(host, false);
        }
        self.fail("DiskWork", format!("{host}: {error}"));
    }

    /// A process ends. With `machine`, what its disk had not made durable is at risk, and nobody
    /// tells the other ends of its connections.
    pub(super) fn end(&mut self, host: usize, machine: bool) {
        self.say(|| format!("{host} ends, with its machine: {machine}"));
        self.harvest(host);
        let slot = &mut self.slots[host];
        slot.off = machine;
        if let Some(mut process) = slot.process.take() {
            if let Some(member) = process.member() {
                slot.history = std::mem::take(&mut member.history);
                slot.installing = member.installing.take();
            }
            slot.life += 1;
            (slot.door, slot.logging, slot.view) = (Door::Shut, false, None);
            slot.lines.clear();
            slot.turning = false;
            slot.timer_at = None;
            for (no, side) in self.network.of_host(host) {
                if machine {
                    if let Some(conn) = self.network.conn(no) {
                        conn.ends[side].open = false;
                    }
                    self.network.lose(&mut self.random, no, side, 8);
                } else {
                    self.hang_up(no, side, 8);
                }
            }
            self.network.sweep();
            self.forget_votes(host);
        }
        let slot = &mut self.slots[host];
        (slot.cut, slot.fails) = (None, false);
        if machine {
            slot.disk.crash();
            slot.full = false;
        } else {
            slot.disk.restart_process();
        }
        let until = if self.chaos { 3_000_000 } else { 200_000 };
        self.soon(1_000, until, What::Restart { host });
    }

    /// A clean stop: what was asked of the log is done first.
    pub(super) fn stop(&mut self, host: usize) {
        let now = self.clock(host).mono;
        let Some(process) = &mut self.slots[host].process else { return };
        let stopped = match &mut process.brain {
            Brain::Alone(alone) => alone.stop(now),
            Brain::Member(_) => {
                let now = self.clock(host);
                if let Some(process) = &mut self.slots[host].process {
                    process.shut_down_member(now);
                }
                self.after_turn(host);
                let process = self.slots[host].process.as_mut();
                process.and_then(|p| p.member()).map_or(Ok(()), |member| member.stop())
            }
        };
        if let Err(error) = stopped {
            return self.disk_failed(host, &error);
        }
        self.end(host, false);
    }

    /// Starts a server that is down.
    pub(super) fn boot(&mut self, host: usize) {
        if self.slots[host].process.is_some() {
            return;
        }
        if self.slots[host].paused_until > self.now() {
            let until = self.slots[host].paused_until;
            return self.at(until, What::Restart { host });
        }
        let disk = self.slots[host].disk.clone();
        if let Some((ops, machine)) = self.slots[host].cut_start.take() {
            disk.cut_power_after(ops);
            self.slots[host].cut = Some(machine);
        }
        let now = self.clock(host);
        let fork = self.random.fork();
        let booted = match self.params.kind {
            Kind::One => {
                alone::boot(&self.params, &disk.shared(), now, fork).map_err(NotStarted::Disk)
            }
            Kind::Ensemble => {
                let me = ServerId(host as i64 + 1);
                member::boot(&self.params, me, &disk.shared(), now, fork)
            }
        };
        let (mut process, found) = match booted {
            Ok(booted) => booted,
            Err(NotStarted::Disk(error)) => return self.boot_failed(host, &error),
            Err(NotStarted::Start(error)) => {
                return self.fail("Starts", format!("{host} does not start: {error}"));
            }
        };
        if !disk.has_power() {
            // With its very last operation.
            self.cover("died while starting");
            let machine = self.slots[host].cut.unwrap_or(true);
            return self.end(host, machine);
        }
        self.cover("start");
        self.say(|| format!("{host} starts at {}", found.last));
        if self.params.mutant == Some(Mutant::EphemeralsStay) {
            process.state.write().leave_ephemerals();
        }
        process.snapshot_due |= self.random.permille(50);
        let slot = &mut self.slots[host];
        slot.life += 1;
        slot.turning = false;
        slot.timer_at = None;
        slot.process = Some(process);
        slot.lost = None;
        slot.off = false;
        let life = slot.life;
        match self.params.kind {
            Kind::One => self.check_found(host, &found),
            Kind::Ensemble => {
                self.check_member_found(host, &found);
                self.repeat_votes(host);
                self.after_turn(host);
            }
        }
        self.soon(1, 1_000_000, What::Sweep { host, life });
        self.wake(host);
        self.start_snapshot(host);
    }

    fn boot_failed(&mut self, host: usize, error: &Error) {
        self.say(|| format!("{host} does not start: {error}"));
        if !self.slots[host].disk.has_power() {
            self.cover("died while starting");
            let machine = self.slots[host].cut.unwrap_or(true);
            return self.end(host, machine);
        }
        let slot = &self.slots[host];
        let io = matches!(error, Error::Io { .. });
        if io && (slot.full || slot.fails) {
            self.cover("start refused by the disk");
            return self.end(host, false);
        }
        let damage =
            matches!(error, Error::Corrupt { .. } | Error::Missing { .. } | Error::Gap { .. });
        let damage = damage && self.params.kind == Kind::One;
        if damage && slot.lost.is_some() {
            self.cover("lost log refused");
            self.bring_back(host);
            return self.soon(1_000, 100_000, What::Restart { host });
        }
        if damage && !slot.flips.is_empty() {
            self.cover("damage refused");
            if self.params.mutant == Some(Mutant::DamageIsTheEnd) {
                self.cut_at_damage(host, error);
            } else {
                self.repair(host);
            }
            return self.soon(1_000, 100_000, What::Restart { host });
        }
        self.fail("Starts", format!("{host} does not start: {error}"));
    }

    /// The operator brings the right bits back.
    pub(super) fn repair(&mut self, host: usize) {
        self.bring_back(host);
        let slot = &mut self.slots[host];
        for (path, offset, mask) in std::mem::take(&mut slot.flips) {
            // A file that is gone needs no repair.
            let _ = slot.disk.flip(&path, offset, mask);
        }
    }

    /// What a server with this bug would have done.
    fn cut_at_damage(&mut self, host: usize, error: &Error) {
        let Error::Corrupt { path, offset, .. } = error else { return self.repair(host) };
        self.slots[host].cut = None;
        self.slots[host].disk.restart_process();
        let disk = self.slots[host].disk.clone();
        let logs = names::logs(&disk, &self.params.dirs().logs).unwrap_or_default();
        for later in logs.iter().filter(|log| log.path > *path) {
            let _ = disk.remove(&later.path);
        }
        let _ = disk.remove(&self.params.dirs().logs.join("rookeeper.durable"));
        if let Ok(mut file) = disk.open_write(path) {
            let _ = file.set_len(*offset);
        }
        disk.settle();
        self.slots[host].flips.clear();
    }

    /// Everything that the log holds behind the newest snapshot, into the witness.
    pub(super) fn witness_log(&mut self, host: usize, base: Zxid) -> Result<(), String> {
        let disk = self.slots[host].disk.shared();
        let mut replay = Replay::open(disk, self.params.dirs(), base).map_err(|e| e.to_string())?;
        while let Some(logged) = replay.next().map_err(|e| e.to_string())? {
            let zxid = logged.entry.header.zxid.0;
            self.witness.commit(zxid, &logged.bytes)?;
            self.committed = self.committed.max(zxid);
        }
        Ok(())
    }

    /// The zxids of the snapshots on a disk, for tests.
    pub fn snapshots(&self, host: usize) -> Vec<Zxid> {
        let dir = self.params.dirs().snapshots;
        let found = names::snapshots(&self.slots[host].disk, &dir).unwrap_or_default();
        debug_assert!(found.iter().all(|s| s.path.to_string_lossy().contains(SNAPSHOT_PREFIX)));
        found.iter().map(|s| s.zxid).collect()
    }
}
