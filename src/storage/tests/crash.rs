//! Traces of operations, with the power cut after every step, images of the disk drawn at random,
//! loaded, and compared with what a crash may leave.
//!
//! `ROOKEEPER_CRASH_IMAGES=n` asks for at least n images instead of the short run's; the seed of a
//! failure is in its message.

use super::*;
use crate::storage::sim_disk::Draw;
use crate::storage::truncate::complete_install;
use crate::types::Epoch;

/// What may be found after a crash: any history that has `least` as a prefix and is a prefix of
/// `most`; or exactly `other`.
#[derive(Clone, Debug, Default)]
struct Allowed {
    least: History,
    most: History,
    other: Option<History>,
    epochs: Vec<i64>,
}

impl Allowed {
    fn check(&self, found: &History, context: &str) {
        let within = found.starts_with(&self.least) && self.most.starts_with(found);
        let ok = within || self.other.as_ref() == Some(found);
        assert!(ok, "{context}: found {found:x?}, allowed {self:x?}");
    }
}

struct Run {
    disk: SimDisk,
    log: TxnLog,
    draw: Draw,
    history: History,
    pending: History,
    allowed: Allowed,
    tag: u32,
    epoch: i64,
    done: usize,
    /// What was done, for the message of a failure.
    trace: Vec<String>,
}

impl Run {
    /// A fresh server's directory; the first operations are durable before the power can go.
    fn new(seed: u64) -> Run {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(&dirs().logs).unwrap();
        snapshot_of(&disk, 0, &[]);
        epoch::write_epoch(&disk, &dirs().snapshots, epoch::CURRENT, Epoch(0)).unwrap();
        Run {
            log: new_log(&disk, 0),
            disk,
            draw: Draw::new(seed ^ 0xabcd),
            history: vec![],
            pending: vec![],
            allowed: Allowed { epochs: vec![0], ..Allowed::default() },
            tag: 0,
            epoch: 0,
            done: 0,
            trace: vec![],
        }
    }

    fn settle(&mut self) {
        self.history.append(&mut self.pending);
        self.allowed.least = self.history.clone();
        self.allowed.most = self.history.clone();
        self.allowed.other = None;
        self.allowed.epochs = vec![self.epoch];
    }

    fn last(&self) -> i64 {
        self.history.iter().chain(&self.pending).last().map_or(0, |t| t.0)
    }

    /// One operation of the trace.
    fn step(&mut self) -> Result<()> {
        match self.draw.below(16) {
            0..=8 => {
                for _ in 0..1 + self.draw.below(6) {
                    let mut zxid = self.last() + 1;
                    if self.draw.one_in(20) {
                        zxid = ((zxid >> 32) + 1 + self.draw.below(2) as i64) << 32 | 1;
                    }
                    let size = if self.draw.one_in(3) { 900 } else { self.draw.below(90) };
                    let bytes = entry(zxid, self.tag, size as usize).encode();
                    self.log.append(Zxid(zxid), &bytes)?;
                    self.pending.push((zxid, self.tag));
                    self.allowed.most.push((zxid, self.tag));
                }
                self.trace.push(format!("append up to {:x}", self.last()));
                self.log.commit(&mut no_clock)?;
            }
            9 | 10 => {
                self.trace.push("roll".into());
                self.log.roll()?;
            }
            11 | 12 => {
                let compression = match self.draw.below(3) {
                    0 => Compression::Plain,
                    1 => Compression::Gz,
                    _ => Compression::Snappy,
                };
                let zxid = self.last();
                self.trace.push(format!("snapshot {zxid:x} {compression:?}"));
                write_snapshot(&self.disk, zxid, &self.history, compression)?
                    .finish(&sections(zxid))?;
            }
            13 => self.truncate()?,
            14 => {
                if self.draw.one_in(2) {
                    self.install()?;
                } else {
                    self.epoch += 1;
                    self.trace.push(format!("epoch {}", self.epoch));
                    self.allowed.epochs.push(self.epoch);
                    let epoch = Epoch(self.epoch);
                    epoch::write_epoch(&self.disk, &dirs().snapshots, epoch::CURRENT, epoch)?;
                }
            }
            _ => {
                let retain = 1 + self.draw.below(3) as usize;
                self.trace.push(format!("purge {retain}"));
                purge::purge(&self.disk, &dirs(), retain)?;
            }
        }
        self.settle();
        Ok(())
    }

    fn truncate(&mut self) -> Result<()> {
        if self.history.is_empty() {
            return Ok(());
        }
        let keep = self.draw.below(self.history.len() as u64 + 1) as usize;
        let zxid = keep.checked_sub(1).map_or(0, |i| self.history[i].0);
        self.allowed.least.truncate(keep);
        self.trace.push(format!("truncate {zxid:x}"));
        match self.log.truncate(Zxid(zxid)) {
            Ok(()) => {
                self.history.truncate(keep);
                // Another leader gives the same zxids to other transactions.
                self.tag += 1;
                Ok(())
            }
            Err(Error::NotHere { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// A leader's snapshot: some prefix of ours, and then other transactions.
    fn install(&mut self) -> Result<()> {
        let keep = self.draw.below(self.history.len() as u64 + 1) as usize;
        let mut theirs: History = self.history[..keep].to_vec();
        self.tag += 1;
        for _ in 0..self.draw.below(5) {
            let zxid = theirs.last().map_or(0, |t| t.0) + 1;
            theirs.push((zxid, self.tag));
        }
        let zxid = theirs.last().map_or(0, |t| t.0);
        self.allowed.other = Some(theirs.clone());
        self.trace.push(format!("install {theirs:x?}"));
        write_snapshot(&self.disk, zxid, &theirs, Compression::Plain)?
            .finish_install(&sections(zxid), &dirs())?;
        self.log.reset(Zxid(zxid));
        self.history = theirs;
        Ok(())
    }
}

/// Loads, checks, and sees that the server can go on and be killed again.
fn check(disk: &SimDisk, allowed: &Allowed, draw: &mut Draw, context: &str) {
    // Recovery is itself interrupted, some times.
    while draw.one_in(3) {
        let again = disk.fork(draw.any());
        again.cut_power_after(draw.below(8));
        let _ = load(&again);
        again.crash();
        let (state, _) = load(&again).unwrap_or_else(|e| panic!("{context}, twice: {e}"));
        allowed.check(&state.history, context);
    }
    let (state, end) = load(disk).unwrap_or_else(|e| panic!("{context}: {e}"));
    allowed.check(&state.history, context);
    assert_eq!(end.last.0, state.history.last().map_or(0, |t| t.0), "{context}");
    let text = epoch::read_small(disk, &file(epoch::CURRENT)).unwrap().unwrap();
    let found: i64 = String::from_utf8(text).unwrap().parse().unwrap();
    assert!(allowed.epochs.contains(&found), "{context}: epoch {found}");
    // What was loaded was made durable: another power cut right away changes nothing.
    disk.crash();
    let (again, _) = load(disk).unwrap_or_else(|e| panic!("{context}, again: {e}"));
    assert_eq!(again.history, state.history, "{context}");
    // It goes on.
    let mut log = new_log(disk, end.last.0);
    let next = end.last.next();
    log.append(next, &entry(next.0, 99, 20).encode()).unwrap();
    commit(&mut log);
    disk.crash();
    let (more, _) = load(disk).unwrap_or_else(|e| panic!("{context}, after going on: {e}"));
    assert_eq!(more.history.len(), state.history.len() + 1, "{context}");
}

/// Runs a trace until the power goes after `steps` operations of the disk; false if it didn't.
fn run(seed: u64, steps: u64, length: usize, image: u64) -> bool {
    let mut run = Run::new(seed);
    run.disk.cut_power_after(steps);
    while run.done < length {
        if run.step().is_err() {
            break;
        }
        run.done += 1;
    }
    let finished = run.done == length;
    let disk = run.disk.fork(seed.wrapping_mul(1_000_003) ^ image);
    disk.crash();
    let context = format!("seed {seed}, power cut after {steps}, image {image}, {:?}", run.trace);
    let mut draw = Draw::new(image ^ 0x77);
    check(&disk, &run.allowed, &mut draw, &context);
    !finished
}

#[test]
fn every_image_a_power_cut_can_leave_loads_as_an_allowed_state() {
    let wanted: u64 =
        std::env::var("ROOKEEPER_CRASH_IMAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(4000);
    let first: u64 =
        std::env::var("ROOKEEPER_CRASH_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut images = 0;
    for seed in first.. {
        for steps in 0.. {
            let mut cut = false;
            for image in 0..3 {
                cut = run(seed, steps, 14, image);
                images += 1;
            }
            if !cut {
                break;
            }
        }
        if images >= wanted {
            break;
        }
    }
}

/// kill -9: the process ends after any step, the cache of the system stays.
#[test]
fn a_killed_process_loses_nothing_written() {
    for seed in 1000..1006 {
        for steps in 0.. {
            let mut run = Run::new(seed);
            run.disk.cut_power_after(steps);
            while run.done < 14 && run.step().is_ok() {
                run.done += 1;
            }
            let finished = run.done == 14;
            run.disk.restart_process();
            let context = format!("seed {seed}, killed after {steps}");
            check(&run.disk, &run.allowed, &mut Draw::new(steps), &context);
            if finished {
                break;
            }
        }
    }
}

/// The log against a vector, with the file ending after every byte.
#[test]
fn log_is_a_vector_with_a_crash_at_every_byte() {
    for seed in 0..3 {
        let mut draw = Draw::new(seed);
        let whole = SimDisk::new(seed);
        whole.create_dir_all(&dirs().logs).unwrap();
        snapshot_of(&whole, 0, &[]);
        let mut log = TxnLog::new(
            whole.shared(),
            dirs(),
            LogOptions { prealloc_bytes: 0, ..LogOptions::default() },
            Zxid(0),
        );
        let mut zxid = 0;
        for _ in 0..6 {
            for _ in 0..1 + draw.below(4) {
                zxid += 1;
                let bytes = entry(zxid, 0, draw.below(60) as usize).encode();
                log.append(Zxid(zxid), &bytes).unwrap();
            }
            commit(&mut log);
        }
        let _ = whole.remove(&file(mark::DURABLE_NAME));
        whole.settle();
        let ends: Vec<u64> = positions(&whole, "log.1").iter().map(|p| p.1).collect();
        let len = whole.list(&dirs().logs).unwrap()[0].1;
        for at in 0..=len {
            let disk = whole.fork(at);
            cut(&disk, "log.1", at);
            let (state, _) = load(&disk).unwrap();
            let whole_records = ends.iter().filter(|end| **end <= at).count();
            assert_eq!(state.history.len(), whole_records, "cut at {at}");
        }
    }
}

#[test]
fn an_install_is_decided_by_one_rename() {
    for seed in 0..40 {
        for steps in 0.. {
            let disk = probe_disk(true).fork(seed);
            let theirs: History = (1..=17).map(|z| (z, u32::from(z > 12))).collect();
            let mut w = write_snapshot(&disk, 17, &theirs, Compression::Plain).unwrap();
            w.nodes(&[]).unwrap();
            disk.cut_power_after(steps);
            let done = w.finish_install(&sections(17), &dirs()).is_ok();
            disk.crash();
            let (state, end) = load(&disk).unwrap();
            assert!(
                state.history == theirs || !done && state.history == history(1..=30),
                "{:?}",
                state.history
            );
            assert_eq!(end.last.0, if state.history == theirs { 17 } else { 30 });
            assert_eq!(complete_install(&disk, &dirs()).unwrap(), None);
            if done {
                break;
            }
        }
    }
}
