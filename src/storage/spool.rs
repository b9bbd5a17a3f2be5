//! An image of the tree on its way to learners: written once by the snapshot thread, read from the
//! disk by any number of links at their own pace, gone with the last of them.
//!
//! The file has no name: it is opened a second time for reading and then removed, so that nothing is
//! left behind however the process ends. It is never durable, and need not be. `du` does not show
//! it; `df` does.

use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use parking_lot::Mutex;

use super::disk::{DiskFile, DiskRef, read_full};
use super::{IoContext, Result, names};
use crate::types::Zxid;

/// Bytes between two syncs. Nobody needs them durable, but a file system in ordered mode would have
/// the next sync of the log wait for all that was left to the end.
const SYNC_EVERY: u64 = 1 << 20;

/// The image is being written.
const GROWING: u8 = 0;
/// All of it is written.
const WHOLE: u8 = 1;
/// There will be no more of it.
const GIVEN_UP: u8 = 2;

/// An image that is shared by those who read it.
#[derive(Debug)]
pub struct Spool {
    zxid: Zxid,
    file: OnceLock<Mutex<Box<dyn DiskFile>>>,
    written: AtomicU64,
    end: AtomicU8,
    readers: AtomicUsize,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// There is more behind it.
    More,
    /// It was the last.
    Last,
    /// Nothing more is written yet.
    NotYet,
    /// The image was given up.
    Abandoned,
}

impl Spool {
    /// Of the tree as of `zxid`; nothing is written yet.
    pub fn new(zxid: Zxid) -> Arc<Spool> {
        Arc::new(Spool {
            zxid,
            file: OnceLock::new(),
            written: AtomicU64::new(0),
            end: AtomicU8::new(GROWING),
            readers: AtomicUsize::new(0),
        })
    }

    /// The last transaction in the image.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// Bytes of the image so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Whether the image was given up.
    pub fn is_given_up(&self) -> bool {
        self.end.load(Ordering::Acquire) == GIVEN_UP
    }

    /// Links that read it.
    pub fn readers(&self) -> usize {
        self.readers.load(Ordering::Acquire)
    }

    /// Appends up to `max` bytes of the image from the offset `at` to `out`.
    ///
    /// # Errors
    /// What the disk says.
    pub fn read(&self, at: u64, max: usize, out: &mut BytesMut) -> std::io::Result<Chunk> {
        // In this order: what is written before the end is known to be written.
        let end = self.end.load(Ordering::Acquire);
        let written = self.written.load(Ordering::Acquire);
        let left = usize::try_from(written.saturating_sub(at)).unwrap_or(usize::MAX);
        let n = left.min(max);
        match (n, end) {
            (_, GIVEN_UP) => return Ok(Chunk::Abandoned),
            (0, WHOLE) => return Ok(Chunk::Last),
            (0, _) => return Ok(Chunk::NotYet),
            _ => {}
        }
        let Some(file) = self.file.get() else { return Ok(Chunk::NotYet) };
        let before = out.len();
        out.resize(before + n, 0);
        let read = read_full(&**file.lock(), at, &mut out[before..])?;
        if read < n {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(if n == left && end == WHOLE { Chunk::Last } else { Chunk::More })
    }
}

/// A link's place in an image.
#[derive(Debug)]
pub struct SpoolReader {
    spool: Arc<Spool>,
    at: u64,
}

impl SpoolReader {
    /// At the beginning.
    pub fn new(spool: Arc<Spool>) -> SpoolReader {
        spool.readers.fetch_add(1, Ordering::AcqRel);
        SpoolReader { spool, at: 0 }
    }

    /// Appends up to `max` more bytes of the image to `out`.
    ///
    /// # Errors
    /// What the disk says.
    pub fn next(&mut self, max: usize, out: &mut BytesMut) -> std::io::Result<Chunk> {
        let before = out.len();
        let chunk = self.spool.read(self.at, max, out)?;
        self.at += (out.len() - before) as u64;
        Ok(chunk)
    }
}

impl Drop for SpoolReader {
    fn drop(&mut self) {
        self.spool.readers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Writes an image. Dropped before [`SpoolWriter::finish`], it has given the image up.
#[derive(Debug)]
pub struct SpoolWriter {
    spool: Arc<Spool>,
    file: Box<dyn DiskFile>,
    at: u64,
    synced: u64,
}

impl SpoolWriter {
    /// Makes the file in `dir` ([`super::Dirs::snapshots`]), and takes its name away.
    ///
    /// # Errors
    /// What the disk says; the image is given up then.
    pub fn create(disk: &DiskRef, dir: &Path, spool: Arc<Spool>) -> Result<SpoolWriter> {
        let name = format!("{}learners.{:x}", names::SNAPSHOT_TMP_PREFIX, spool.zxid.0);
        let path = dir.join(name);
        let made = (|| {
            let file = disk.create(&path).at("create", &path)?;
            let reader = disk.open(&path).at("open", &path)?;
            disk.remove(&path).at("remove", &path)?;
            Ok((file, reader))
        })();
        match made {
            Ok((file, reader)) => {
                let _ = spool.file.set(Mutex::new(reader));
                Ok(SpoolWriter { spool, file, at: 0, synced: 0 })
            }
            Err(error) => {
                spool.end.store(GIVEN_UP, Ordering::Release);
                Err(error)
            }
        }
    }

    /// The image.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Adds to the image. Those who read it may have it at once.
    ///
    /// # Errors
    /// What the disk says; the image can only be given up then.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let place = || std::path::PathBuf::from("the image for learners");
        self.file.write_at(self.at, bytes).at("write", &place())?;
        self.at += bytes.len() as u64;
        self.spool.written.store(self.at, Ordering::Release);
        if self.at - self.synced >= SYNC_EVERY {
            self.file.sync_data().at("sync", &place())?;
            self.synced = self.at;
        }
        Ok(())
    }

    /// That was all.
    pub fn finish(self) {
        self.spool.end.store(WHOLE, Ordering::Release);
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        let end = &self.spool.end;
        let _ = end.compare_exchange(GROWING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
    }
}
