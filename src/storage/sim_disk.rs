//! A disk that lies as real ones do: what is written and what is durable are kept apart.
//!
//! - Content: 512-byte sectors. A crash keeps, of the sectors and the length changed since the last
//!   sync, any subset (or a prefix, or all, or none: the mode is drawn too); a preallocated sector
//!   that isn't kept reads as zeros.
//! - Directory entries: creations, renames and removals since the directory's last sync are kept or
//!   lost one by one; a rename is atomic.
//! - Faults on request: a sync that fails and drops what it should have written, although reads go
//!   on showing it (as Linux does after a write-back error); a disk that is full after so many
//!   bytes; flipped bits; power that goes after so many operations, in the middle of a write too.
//!
//! Bytes that were synced, under a name whose directory was synced, are never lost: Zab promises
//! nothing when a quorum's disks lie about that.
//!
//! Cloning gives another handle on the same disk. Everything follows from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile, DiskRef};

const SECTOR: u64 = 512;
type Sector = Arc<[u8; SECTOR as usize]>;

/// A small generator of its own, so that a disk is reproducible whatever else a simulation draws
/// (splitmix64).
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// From a seed.
    pub fn new(seed: u64) -> Draw {
        Draw(seed)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is at least 1.
    pub fn below(&mut self, n: u64) -> u64 {
        self.any() % n
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Debug, Default)]
struct Content {
    sectors: BTreeMap<u64, Sector>,
    len: u64,
}

impl Content {
    fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let n = (self.len.saturating_sub(offset)).min(buf.len() as u64) as usize;
        buf[..n].fill(0);
        let first = offset / SECTOR;
        for (index, sector) in self.sectors.range(first..=(offset + n as u64) / SECTOR) {
            let start = (index * SECTOR).max(offset);
            let end = ((index + 1) * SECTOR).min(offset + n as u64);
            if start < end {
                let from = (start - index * SECTOR) as usize;
                let to = (end - index * SECTOR) as usize;
                buf[(start - offset) as usize..(end - offset) as usize]
                    .copy_from_slice(&sector[from..to]);
            }
        }
        n
    }

    fn write(&mut self, offset: u64, bytes: &[u8], dirty: &mut BTreeSet<u64>) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (index, within) = (at / SECTOR, (at % SECTOR) as usize);
            let n = (SECTOR as usize - within).min(bytes.len() - done);
            let sector =
                self.sectors.entry(index).or_insert_with(|| Arc::new([0; SECTOR as usize]));
            Arc::make_mut(sector)[within..within + n].copy_from_slice(&bytes[done..done + n]);
            dirty.insert(index);
            done += n;
        }
        self.len = self.len.max(offset + bytes.len() as u64);
    }

    /// Drops what lies behind the length.
    fn clip(&mut self) {
        let len = self.len;
        self.sectors.retain(|index, _| index * SECTOR < len);
        if len % SECTOR != 0
            && let Some(last) = self.sectors.get_mut(&(len / SECTOR))
        {
            Arc::make_mut(last)[(len % SECTOR) as usize..].fill(0);
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    live: Content,
    durable: Content,
    dirty: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
enum DirOp {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl DirOp {
    fn dir(&self) -> Option<&Path> {
        match self {
            DirOp::Create(path, _) | DirOp::Remove(path) => path.parent(),
            DirOp::Rename(_, to) => to.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            DirOp::Create(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            DirOp::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            DirOp::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Inner {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    live: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    pending: Vec<DirOp>,
    dirs: BTreeSet<PathBuf>,
    ops: u64,
    power_until: Option<u64>,
    space_left: Option<u64>,
    fail_syncs: u32,
    closed: BTreeSet<PathBuf>,
    draw: Draw,
}

/// The disk.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<Inner>>);

fn dead() -> io::Error {
    io::Error::other("no power")
}

impl Inner {
    /// Counts an operation that changes something; an error once the power is gone.
    fn op(&mut self) -> io::Result<()> {
        if self.power_until.is_some_and(|until| self.ops >= until) {
            return Err(dead());
        }
        self.ops += 1;
        Ok(())
    }

    /// Counts a change of the names beside `path`.
    fn name_op(&mut self, path: &Path) -> io::Result<()> {
        self.op()?;
        match path.parent().is_some_and(|dir| self.closed.contains(dir)) {
            true => Err(io::ErrorKind::PermissionDenied.into()),
            false => Ok(()),
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.power_until.is_some_and(|until| self.ops >= until) { Err(dead()) } else { Ok(()) }
    }

    fn lookup(&self, path: &Path) -> io::Result<u64> {
        self.live.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What one file is after a crash.
    fn crash_inode(&mut self, id: u64) {
        let Some(mut inode) = self.inodes.remove(&id) else { return };
        let draw = &mut self.draw;
        let mut kept = inode.durable.clone();
        let dirty: Vec<u64> = inode.dirty.iter().copied().collect();
        // None, all, a prefix, or any subset.
        let mode = draw.below(4);
        let prefix = draw.below(dirty.len() as u64 + 1) as usize;
        let (old, new) = (inode.durable.len, inode.live.len);
        kept.len = match draw.below(4) {
            _ if mode == 0 => old,
            _ if mode == 1 => new,
            0 => old,
            // A length in between, while a file grows; shrinking is one step of the metadata.
            1 if new > old => old + draw.below(new - old + 1),
            _ => new,
        };
        let cut_lost = new < old && kept.len == old;
        for (i, index) in dirty.iter().enumerate() {
            let keep = match mode {
                _ if cut_lost && index * SECTOR + SECTOR > new => false,
                0 => false,
                1 => true,
                2 => i < prefix,
                _ => draw.one_in(2),
            };
            if keep {
                match inode.live.sectors.get(index) {
                    Some(sector) => kept.sectors.insert(*index, sector.clone()),
                    None => kept.sectors.remove(index),
                };
            }
        }
        kept.clip();
        inode.durable = kept.clone();
        inode.live = kept;
        inode.dirty.clear();
        self.inodes.insert(id, inode);
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Inner {
            inodes: BTreeMap::new(),
            next_inode: 1,
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            dirs: BTreeSet::new(),
            ops: 0,
            power_until: None,
            space_left: None,
            fail_syncs: 0,
            closed: BTreeSet::new(),
            draw: Draw::new(seed),
        })))
    }

    /// As a shared trait object.
    pub fn shared(&self) -> DiskRef {
        Arc::new(self.clone())
    }

    /// An independent disk with the same content and state, that draws from `seed` from now on.
    pub fn fork(&self, seed: u64) -> SimDisk {
        let mut inner = self.0.lock().clone();
        inner.draw = Draw::new(seed);
        SimDisk(Arc::new(Mutex::new(inner)))
    }

    /// Operations that changed, or tried to make durable, anything.
    pub fn ops(&self) -> u64 {
        self.0.lock().ops
    }

    /// Lets `more` operations happen; the next one and everything after it fails until
    /// [`SimDisk::crash`]. A write that would be the last happens in full, unsynced.
    pub fn cut_power_after(&self, more: u64) {
        let mut inner = self.0.lock();
        inner.power_until = Some(inner.ops + more);
    }

    /// Whether operations still happen, see [`SimDisk::cut_power_after`].
    pub fn has_power(&self) -> bool {
        self.0.lock().alive().is_ok()
    }

    /// The power goes and comes back: what wasn't durable is kept or lost as drawn. Open files of
    /// before must not be used any more.
    pub fn crash(&self) {
        let mut inner = self.0.lock();
        let inner = &mut *inner;
        for op in std::mem::take(&mut inner.pending) {
            if inner.draw.one_in(2) {
                op.apply(&mut inner.durable);
            }
        }
        inner.live = inner.durable.clone();
        let used: BTreeSet<u64> = inner.live.values().copied().collect();
        inner.inodes.retain(|id, _| used.contains(id));
        for id in used {
            inner.crash_inode(id);
        }
        inner.power_until = None;
        inner.space_left = None;
        inner.fail_syncs = 0;
    }

    /// The process ends and comes back; the disk's cache stays.
    pub fn restart_process(&self) {
        let mut inner = self.0.lock();
        inner.power_until = None;
        inner.fail_syncs = 0;
    }

    /// The next `n` syncs of files fail, and what they should have written is forgotten by the
    /// cache: reads show it until the power goes.
    pub fn fail_syncs(&self, n: u32) {
        self.0.lock().fail_syncs = n;
    }

    /// `bytes` more can be written, then the disk is full; None: there's always space.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.0.lock().space_left = bytes;
    }

    /// From now on nothing can be made, renamed or removed in a directory.
    pub fn close_dir(&self, dir: &Path) {
        self.0.lock().closed.insert(dir.to_owned());
    }

    /// Flips bits of a file, durably.
    ///
    /// # Errors
    /// No such file.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let mut byte = [0];
        let mut inner = self.0.lock();
        let id = inner.lookup(path)?;
        if let Some(inode) = inner.inodes.get_mut(&id) {
            inode.live.read(offset, &mut byte);
            let mut scratch = BTreeSet::new();
            inode.live.write(offset, &[byte[0] ^ mask], &mut scratch);
            inode.durable.write(offset, &[byte[0] ^ mask], &mut scratch);
        }
        Ok(())
    }

    /// Everything as it is now, and durable: the start of an experiment.
    pub fn settle(&self) {
        let mut inner = self.0.lock();
        inner.pending.clear();
        inner.durable = inner.live.clone();
        for inode in inner.inodes.values_mut() {
            inode.durable = inode.live.clone();
            inode.dirty.clear();
        }
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.0.lock();
        inner.name_op(path)?;
        if let Some(id) = inner.live.get(path).copied() {
            if let Some(inode) = inner.inodes.get_mut(&id) {
                let all: Vec<u64> = inode.live.sectors.keys().copied().collect();
                inode.dirty.extend(all);
                inode.live = Content::default();
            }
            return Ok(Box::new(SimFile { disk: self.clone(), id, writable: true }));
        }
        let parent = path.parent().map(Path::to_owned).unwrap_or_default();
        if !inner.dirs.contains(&parent) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let id = inner.next_inode;
        inner.next_inode += 1;
        inner.inodes.insert(id, Inode::default());
        inner.live.insert(path.to_owned(), id);
        inner.pending.push(DirOp::Create(path.to_owned(), id));
        Ok(Box::new(SimFile { disk: self.clone(), id, writable: true }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inner = self.0.lock();
        inner.alive()?;
        let id = inner.lookup(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), id, writable: false }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inner = self.0.lock();
        inner.alive()?;
        let id = inner.lookup(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), id, writable: true }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let inner = self.0.lock();
        inner.alive()?;
        if !inner.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let name = |p: &PathBuf| p.file_name().and_then(|n| n.to_str()).map(str::to_owned);
        Ok(inner
            .live
            .iter()
            .filter(|(path, _)| path.parent() == Some(dir))
            .filter_map(|(path, id)| {
                Some((name(path)?, inner.inodes.get(id).map_or(0, |i| i.live.len)))
            })
            .collect())
    }

    fn exists(&self, path: &Path) -> bool {
        let inner = self.0.lock();
        inner.live.contains_key(path) || inner.dirs.contains(path)
    }

    /// Directories are durable at once: they're made when a server is set up.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.0.lock();
        inner.op()?;
        inner.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.0.lock();
        inner.name_op(to)?;
        inner.lookup(from)?;
        let op = DirOp::Rename(from.to_owned(), to.to_owned());
        op.apply(&mut inner.live);
        inner.pending.push(op);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.0.lock();
        inner.name_op(path)?;
        inner.lookup(path)?;
        let op = DirOp::Remove(path.to_owned());
        op.apply(&mut inner.live);
        inner.pending.push(op);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.0.lock();
        inner.op()?;
        let inner = &mut *inner;
        let durable = &mut inner.durable;
        inner.pending.retain(|op| {
            let here = op.dir() == Some(dir);
            if here {
                op.apply(durable);
            }
            !here
        });
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: u64,
    writable: bool,
}

impl SimFile {
    /// Counts the operation and finds the file.
    fn change<T>(&self, f: impl FnOnce(&mut Inode, &mut Option<u64>) -> T) -> io::Result<T> {
        let mut inner = self.disk.0.lock();
        inner.op()?;
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let inner = &mut *inner;
        let inode = inner.inodes.get_mut(&self.id).ok_or_else(dead)?;
        Ok(f(inode, &mut inner.space_left))
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let inner = self.disk.0.lock();
        inner.alive()?;
        Ok(inner.inodes.get(&self.id).ok_or_else(dead)?.live.read(offset, buf))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(|inode, space| {
            let n = space.unwrap_or(u64::MAX).min(bytes.len() as u64);
            if let Some(space) = space {
                *space -= n;
            }
            inode.live.write(offset, &bytes[..n as usize], &mut inode.dirty);
            if n < bytes.len() as u64 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        })?
    }

    fn sync_data(&mut self) -> io::Result<()> {
        {
            let mut inner = self.disk.0.lock();
            if inner.fail_syncs > 0 {
                inner.op()?;
                inner.fail_syncs -= 1;
                if let Some(inode) = inner.inodes.get_mut(&self.id) {
                    inode.dirty.clear();
                }
                return Err(io::Error::other("injected sync failure"));
            }
        }
        self.change(|inode, _| {
            // Only what is dirty: what an earlier failed sync forgot isn't written.
            for index in std::mem::take(&mut inode.dirty) {
                match inode.live.sectors.get(&index) {
                    Some(sector) => inode.durable.sectors.insert(index, sector.clone()),
                    None => inode.durable.sectors.remove(&index),
                };
            }
            inode.durable.len = inode.live.len;
            inode.durable.clip();
        })
    }

    fn len(&self) -> io::Result<u64> {
        let inner = self.disk.0.lock();
        Ok(inner.inodes.get(&self.id).ok_or_else(dead)?.live.len)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.change(|inode, _| {
            if len < inode.live.len {
                let first = len / SECTOR;
                let gone: Vec<u64> = inode.live.sectors.range(first..).map(|(i, _)| *i).collect();
                inode.dirty.extend(gone);
            }
            inode.live.len = len;
            inode.live.clip();
        })
    }
}
