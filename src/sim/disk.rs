//! A server's disk, at the granularity of Zab's requests.
//!
//! What may go wrong, and nothing else: a crash loses any suffix of the requests that were not
//! reported as done (some of them may have become durable all the same); a request may take very
//! long; a sync may fail, and the host dies of it; after such a death, or any crash, the log may be
//! found damaged, which is noticed at the start. What was reported as durable stays so, unless the
//! world damages the log on purpose, and then it says so to the peer (`Standing::MustResync`): Zab
//! promises nothing if a quorum's disks lie.

use std::collections::VecDeque;
use std::rc::Rc;

use super::random::Random;
use crate::types::{Epoch, Zxid};
use crate::zab::{
    DiskOp, DiskState, EncodedTxn, ImageId, LogRead, Mutant, OpId, Persisted, Standing,
};

/// A place in a history, and a digest of everything up to it: equal entries mean equal prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Entry {
    /// The place.
    pub zxid: Zxid,
    /// The digest of all transactions up to and including it.
    pub chain: u64,
}

/// The digest after one more transaction.
pub fn chain(before: u64, zxid: Zxid, bytes: &[u8]) -> u64 {
    let mut h = before ^ (zxid.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for b in bytes {
        h = (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }
    h ^ (h >> 29)
}

/// A whole state: every transaction that made it. `zxid` is what it is labelled with, which may be
/// the start of an epoch without a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Image {
    /// The label.
    pub zxid: Zxid,
    /// What it consists of.
    pub entries: Rc<Vec<Entry>>,
}

impl Image {
    /// Applies a transaction.
    pub fn push(&mut self, txn: &EncodedTxn) {
        let chain = chain(self.end().chain, txn.zxid, &txn.bytes);
        Rc::make_mut(&mut self.entries).push(Entry { zxid: txn.zxid, chain });
        self.zxid = txn.zxid;
    }

    /// The last transaction, or nothing.
    pub fn end(&self) -> Entry {
        self.entries.last().copied().unwrap_or_default()
    }
}

/// One logged transaction with the digest of its prefix.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The transaction.
    pub txn: EncodedTxn,
    /// Its place and digest.
    pub entry: Entry,
}

/// A change to the disk; the world adds one of its own to Zab's.
#[derive(Clone, Debug)]
pub enum Change {
    /// What a peer asked for.
    Zab(DiskOp),
    /// A snapshot of the local state, as servers take them from time to time.
    Snapshot(Image),
}

/// What a change did, for the invariants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that can break anything.
    None,
    /// A transaction was appended after this zxid.
    Appended {
        /// Where the log ended.
        last: Zxid,
        /// What was appended.
        entry: Entry,
    },
    /// These are no longer there.
    Removed(Vec<Entry>),
}

/// One server's disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The durable `acceptedEpoch`.
    pub accepted: Epoch,
    /// The durable `currentEpoch`.
    pub current: Epoch,
    /// Durable snapshots, oldest first.
    pub snapshots: Vec<Image>,
    /// The durable log.
    pub log: Vec<Logged>,
    /// The log is complete after this.
    pub log_after: Entry,
    /// Requests under way, in order; those of the world have no number.
    pub queue: VecDeque<(Option<OpId>, Change)>,
    /// Whether the log can be trusted.
    pub standing: Standing,
    /// Snapshot streams received by the process.
    pub images: Vec<(ImageId, Image)>,
    /// How many snapshots a purge keeps; 0 for no purge.
    pub retain: usize,
    /// A bug of the storage.
    pub mutant: Option<Mutant>,
}

impl Disk {
    /// An empty disk, as `rookeeper` finds it the first time: an empty snapshot at zero.
    pub fn new(retain: usize, mutant: Option<Mutant>) -> Disk {
        Disk {
            accepted: Epoch(0),
            current: Epoch(0),
            snapshots: vec![Image::default()],
            log: Vec::new(),
            log_after: Entry::default(),
            queue: VecDeque::new(),
            standing: Standing::Sound,
            images: Vec::new(),
            retain,
            mutant,
        }
    }

    /// The end of what is durable.
    pub fn last(&self) -> Zxid {
        let snapshot = self.snapshots.last().map_or(Zxid::ZERO, |s| s.zxid);
        self.log.last().map_or(self.log_after.zxid, |l| l.entry.zxid).max(snapshot)
    }

    /// Whether this history is durable here: the transaction, and with it everything before.
    pub fn holds(&self, entry: Entry) -> bool {
        if entry == Entry::default() {
            return true;
        }
        if let Ok(at) = self.log.binary_search_by_key(&entry.zxid, |l| l.entry.zxid) {
            return self.log[at].entry == entry;
        }
        self.snapshots.iter().rev().any(|s| {
            s.entries
                .binary_search_by_key(&entry.zxid, |e| e.zxid)
                .is_ok_and(|at| s.entries[at] == entry)
        })
    }

    /// The state at `through`: the newest snapshot at or below it, and the log.
    pub fn replay(&self, through: Zxid) -> Image {
        let newest = match self.mutant {
            Some(Mutant::TruncKeepsSnapshot) => self.snapshots.last(),
            _ => self.snapshots.iter().rev().find(|s| s.zxid <= through),
        };
        let mut state = newest.cloned().unwrap_or_default();
        for logged in self.log.iter().filter(|l| l.entry.zxid <= through) {
            if logged.entry.zxid > state.zxid {
                state.push(&logged.txn);
            }
        }
        state
    }

    /// What a process finds when it starts.
    pub fn state(&self, recent_max: usize) -> DiskState {
        let start = self.log.len().saturating_sub(recent_max);
        let recent: Vec<_> = self.log[start..].iter().map(|l| l.txn.clone()).collect();
        let recent_after =
            if start > 0 { self.log[start - 1].entry.zxid } else { self.log_after.zxid };
        DiskState {
            accepted_epoch: self.accepted,
            current_epoch: self.current,
            last: self.last(),
            recent,
            recent_after,
            standing: self.standing,
        }
    }

    /// Reads the log for a learner whose log ends at `after`.
    pub fn read_log(&self, after: Zxid, through: Zxid) -> Option<LogRead> {
        let at = self.log.partition_point(|l| l.entry.zxid <= after);
        let (found, print) = match at {
            0 if self.log_after.zxid <= after => (self.log_after.zxid, None),
            0 => return None,
            n => (self.log[n - 1].entry.zxid, Some(self.log[n - 1].txn.print())),
        };
        let wanted = self.log[at..].iter().take_while(|l| l.entry.zxid <= through);
        Some(LogRead { found, print, txns: wanted.map(|l| l.txn.clone()).collect() })
    }

    /// Makes the oldest request durable. Returns what to report, if it was Zab's.
    pub fn complete_one(&mut self) -> Option<(Option<Persisted>, Effect)> {
        let (op, change) = self.queue.pop_front()?;
        let (impossible, effect) = self.apply(change);
        let report = op.map(|op| match impossible {
            Impossible::No => Persisted::Through(op),
            Impossible::Truncated => Persisted::Truncated { op, last: self.last() },
            Impossible::Yes => Persisted::CannotTruncate(op),
        });
        Some((report, effect))
    }

    /// Power is cut, or the process killed: some prefix of what was under way is durable.
    pub fn crash(&mut self, random: &mut Random) -> Vec<Effect> {
        let survivors = random.below(self.queue.len() as u64 + 1);
        let effects = (0..survivors).filter_map(|_| self.complete_one()).map(|(_, e)| e).collect();
        self.queue.clear();
        self.images.clear();
        effects
    }

    /// The end of the log turns out to be unreadable.
    pub fn damage(&mut self, random: &mut Random) {
        let keep = random.below(self.log.len() as u64 + 1) as usize;
        self.log.truncate(keep);
        self.standing = Standing::MustResync;
    }

    fn apply(&mut self, change: Change) -> (Impossible, Effect) {
        let effect = match change {
            Change::Zab(DiskOp::Append(txn)) => return (Impossible::No, self.append(txn)),
            Change::Zab(DiskOp::SaveAcceptedEpoch(epoch)) => {
                self.accepted = epoch;
                Effect::None
            }
            Change::Zab(DiskOp::SaveCurrentEpoch(epoch)) => {
                self.current = epoch;
                Effect::None
            }
            Change::Zab(DiskOp::SaveConfig { .. }) => Effect::None,
            Change::Zab(DiskOp::Truncate(to)) => return self.truncate(to),
            Change::Zab(DiskOp::InstallSnapshot { zxid, image }) => {
                let at = self.images.iter().position(|(id, _)| *id == image);
                let mut image = at.map(|at| self.images.swap_remove(at).1).unwrap_or_default();
                image.zxid = zxid;
                let mut removed = self.entries();
                removed.retain(|e| !image.entries.contains(e));
                if self.mutant == Some(Mutant::TruncKeepsSnapshot) {
                    // As in Apache, what was there stays, so that a cut below this is tried.
                    self.snapshots.retain(|s| s.zxid < zxid);
                    self.snapshots.push(image);
                } else {
                    self.log.clear();
                    self.log_after = Entry { zxid, chain: image.end().chain };
                    self.snapshots = vec![image];
                }
                Effect::Removed(removed)
            }
            Change::Snapshot(image) => {
                if self.snapshots.last().is_none_or(|s| s.zxid < image.zxid) {
                    self.snapshots.push(image);
                    self.purge();
                }
                Effect::None
            }
        };
        (Impossible::No, effect)
    }

    fn append(&mut self, txn: EncodedTxn) -> Effect {
        let before = self.log.last().map_or(self.log_after, |l| l.entry);
        let entry = Entry { zxid: txn.zxid, chain: chain(before.chain, txn.zxid, &txn.bytes) };
        self.log.push(Logged { txn, entry });
        Effect::Appended { last: before.zxid, entry }
    }

    fn truncate(&mut self, to: Zxid) -> (Impossible, Effect) {
        let reaches = self.log_after.zxid <= to || self.snapshots.iter().any(|s| s.zxid == to);
        if !reaches || !self.snapshots.iter().any(|s| s.zxid <= to) {
            return (Impossible::Yes, Effect::None);
        }
        let before = self.entries();
        if self.mutant != Some(Mutant::TruncKeepsSnapshot) {
            self.snapshots.retain(|s| s.zxid <= to);
        }
        self.log.retain(|l| l.entry.zxid <= to);
        if self.log_after.zxid > to {
            let end = self.snapshots.last().map_or(0, |s| s.end().chain);
            self.log_after = Entry { zxid: to, chain: end };
        }
        let removed = before.into_iter().filter(|e| e.zxid > to).collect();
        (Impossible::Truncated, Effect::Removed(removed))
    }

    /// Everything durable, in order.
    fn entries(&self) -> Vec<Entry> {
        self.replay(Zxid(i64::MAX)).entries.to_vec()
    }

    /// Deletes old snapshots, and the log that only they need.
    fn purge(&mut self) {
        if self.retain == 0 || self.snapshots.len() <= self.retain {
            return;
        }
        self.snapshots.drain(..self.snapshots.len() - self.retain);
        let oldest = self.snapshots[0].zxid;
        let gone = self.log.partition_point(|l| l.entry.zxid <= oldest);
        if gone > 0 {
            self.log_after = self.log[gone - 1].entry;
            self.log.drain(..gone);
        }
    }
}

/// Whether a truncation could be done.
enum Impossible {
    No,
    Truncated,
    Yes,
}
