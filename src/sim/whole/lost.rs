//! The newest log of a server that is down is lost, cut, or replaced by another file: what clients
//! were told is in it, and nothing that is left in the directory says so but the durable mark.

use std::path::PathBuf;

use super::world::World;
use crate::storage::Disk;
use crate::storage::disk::read_full;
use crate::storage::log_reader::{LogReader, Step};
use crate::storage::names::{self, LOG_PREFIX, Named};
use crate::storage::sim_disk::SimDisk;

/// A log as it was, for the operator who finds it again.
#[derive(Clone, Debug)]
pub struct Kept {
    path: PathBuf,
    bytes: Vec<u8>,
}

fn content(disk: &SimDisk, path: &PathBuf) -> Option<Vec<u8>> {
    let file = disk.open(path).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok()?];
    read_full(&*file, 0, &mut bytes).ok()?;
    Some(bytes)
}

/// Where each record of a log ends.
fn ends(disk: &SimDisk, log: &Named) -> Vec<u64> {
    let mut ends = Vec::new();
    if let Ok(mut reader) = LogReader::open(disk, &log.path) {
        while let Ok(Step::Record(record)) = reader.step() {
            ends.push(record.end());
        }
    }
    ends
}

/// Makes a file hold exactly this, durably.
fn put(disk: &SimDisk, path: &PathBuf, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = disk.create(path)?;
    file.write_at(0, bytes)?;
    file.sync_data()?;
    path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))
}

impl World {
    /// Ends a server, and its newest log is not what it was when it starts again. After a loss of
    /// power the durable mark may be as old as the file's last growth: what only a newer one shows,
    /// an older copy of a file without a step in its length, is beyond what can be noticed then.
    pub(super) fn lose_log(&mut self, host: usize) {
        let running = self.slots[host].process.is_some();
        if !running || !self.slots[host].flips.is_empty() || !self.may_damage(host) {
            return;
        }
        let machine = self.random.permille(400);
        self.end(host, machine);
        // Who does this has another machine's tools: a full or cut disk does not stop it halfway.
        self.slots[host].cut = None;
        self.slots[host].disk.restart_process();
        self.slots[host].disk.set_space(None);
        let disk = self.slots[host].disk.clone();
        let logs = names::logs(&disk, &self.params.dirs().logs).unwrap_or_default();
        let Some((newest, older)) = logs.split_last() else { return };
        let Some(bytes) = content(&disk, &newest.path) else { return };
        let what = self.random.below(4);
        let ends = ends(&disk, newest);
        let less = ends.get(self.random.below(ends.len().max(1) as u64) as usize).copied();
        let done = match (what, less, older.last()) {
            (1, ..) if !machine || self.params.prealloc > 0 => {
                let len = self.random.below(ends.last().map_or(1, |end| *end));
                put(&disk, &newest.path, &bytes[..len as usize]).map(|()| "fault: newest log cut")
            }
            (2, Some(end), _) if !machine => {
                let mut older = bytes.clone();
                older[end as usize..].fill(0);
                put(&disk, &newest.path, &older).map(|()| "fault: newest log from a copy")
            }
            (3, _, Some(before)) => {
                let other = content(&disk, &before.path).unwrap_or_default();
                put(&disk, &newest.path, &other).map(|()| "fault: newest log swapped")
            }
            _ => disk
                .remove(&newest.path)
                .and_then(|()| disk.sync_dir(&self.params.dirs().logs))
                .map(|()| "fault: newest log lost"),
        };
        let Ok(what) = done else { return };
        self.cover(what);
        self.say(|| format!("{host}: {what}, {LOG_PREFIX}{:x}", newest.zxid.0));
        self.slots[host].damaged = true;
        self.slots[host].lost = Some(Kept { path: newest.path.clone(), bytes });
    }

    /// The operator has found the log again.
    pub(super) fn bring_back(&mut self, host: usize) {
        let slot = &mut self.slots[host];
        let Some(kept) = slot.lost.take() else { return };
        slot.cut = None;
        slot.disk.restart_process();
        slot.disk.set_space(None);
        if let Err(error) = put(&slot.disk, &kept.path, &kept.bytes) {
            self.fail(
                "Starts",
                format!("{host}: {} does not come back: {error}", kept.path.display()),
            );
        }
    }
}
