//! Snapshots (Apache `FileSnap`, `SnapStream`): header, image, seals; plain, gz or snappy.
//!
//! Stricter than Apache in how they come to be: written under another name, synced, renamed, the
//! directory synced. So a name `snapshot.*` of ours always stands for a whole snapshot.

use std::io::{self, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use bytes::{Buf, BytesMut};
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::disk::{Disk, DiskFile, DiskRef, read_full};
use super::image_stream::{FILE_RECORD_MAX, Framing, ImageDecoder, write_end, write_head};
use super::names::{self, Dirs, Named, snapshot_name};
use super::{Adler, Error, IoContext, Result, snappy_java, truncate};
use crate::proto::image::{ImageHead, ImageSink, NodeView};
use crate::proto::jute::{Reader, Write};
use crate::types::{Acl, Zxid};

/// "ZKSN".
pub const SNAPSHOT_MAGIC: i32 = 0x5A4B_534E;
const SNAPSHOT_VERSION: i32 = 2;
/// The dbid that Apache writes into snapshots.
const SNAPSHOT_DBID: i64 = -1;
const HEADER_LEN: usize = 16;
/// Version of the digest since Apache 3.6.
const DIGEST_VERSION: i32 = 2;
/// A plain snapshot ends with a seal's "/".
const PLAIN_END: [u8; 5] = [0, 0, 0, 1, b'/'];
const GZ_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BUFFER: usize = 256 << 10;
/// A snapshot is synced after so many bytes while it is written.
const SYNC_EVERY: u64 = 1 << 20;
/// More than all optional sections can take.
const SECTIONS_MAX: u64 = 64 << 10;

/// `zookeeper.snapshot.compression.method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// "": none.
    #[default]
    Plain,
    /// "gz".
    Gz,
    /// "snappy".
    Snappy,
}

impl Compression {
    /// From the value of the setting; None when there's no such method.
    pub fn from_setting(method: &str) -> Option<Compression> {
        Some(match method {
            "" => Compression::Plain,
            "gz" => Compression::Gz,
            "snappy" => Compression::Snappy,
            _ => return None,
        })
    }

    /// The end of the file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            Compression::Plain => "",
            Compression::Gz => ".gz",
            Compression::Snappy => ".snappy",
        }
    }

    /// As the name of a file says.
    pub fn of(path: &Path) -> Compression {
        match path.extension().and_then(|e| e.to_str()) {
            Some("gz") => Compression::Gz,
            Some("snappy") => Compression::Snappy,
            _ => Compression::Plain,
        }
    }
}

/// What stands behind the nodes of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sections {
    /// The tree digest and the zxid it belongs to; None when digests are off.
    pub digest: Option<(Zxid, i64)>,
    /// The last transaction applied (`zookeeper.serializeLastProcessedZxid.enabled`, since 3.9).
    pub last_processed: Option<Zxid>,
}

/// Appends to a file through a buffer.
#[derive(Debug)]
struct Sink {
    file: Box<dyn DiskFile>,
    at: u64,
    /// Up to here it is on the disk already.
    synced: u64,
    buf: Vec<u8>,
}

impl Sink {
    fn drain(&mut self) -> io::Result<()> {
        self.file.write_at(self.at, &self.buf)?;
        self.at += self.buf.len() as u64;
        self.buf.clear();
        self.keep_up()
    }

    /// Syncs every so often. A file system in ordered mode writes new data of all files before it
    /// commits, so hundreds of megabytes left to the end would hold up a sync of the log meanwhile.
    fn keep_up(&mut self) -> io::Result<()> {
        if self.at - self.synced >= SYNC_EVERY {
            self.file.sync_data()?;
            self.synced = self.at;
        }
        Ok(())
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buf.len() + bytes.len() > BUFFER {
            self.drain()?;
        }
        if bytes.len() >= BUFFER {
            self.file.write_at(self.at, bytes)?;
            self.at += bytes.len() as u64;
            self.keep_up()?;
        } else {
            self.buf.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain()
    }
}

#[derive(Debug)]
enum Output {
    Plain(Sink),
    Gz(GzEncoder<Sink>),
    Snappy(snappy_java::Writer<Sink>),
}

impl Output {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Output::Plain(w) => w.write_all(bytes),
            Output::Gz(w) => w.write_all(bytes),
            Output::Snappy(w) => w.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<Sink> {
        let mut sink = match self {
            Output::Plain(w) => w,
            Output::Gz(w) => w.finish()?,
            Output::Snappy(w) => w.finish()?,
        };
        sink.drain()?;
        Ok(sink)
    }
}

/// Writes one snapshot. Dropped before [`SnapshotWriter::finish`], it leaves a file that no reader
/// takes for a snapshot and the next start removes.
#[derive(Debug)]
pub struct SnapshotWriter {
    disk: DiskRef,
    dir: PathBuf,
    tmp: PathBuf,
    zxid: Zxid,
    compression: Compression,
    output: Output,
    adler: Adler,
    written: u64,
}

/// A finished snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its final path.
    pub path: PathBuf,
    /// Bytes on disk.
    pub file_bytes: u64,
    /// Bytes before compression.
    pub image_bytes: u64,
}

impl SnapshotWriter {
    /// Begins the snapshot of the state after `zxid` in `dir` ([`Dirs::snapshots`]).
    pub fn create(
        disk: DiskRef,
        dir: &Path,
        zxid: Zxid,
        compression: Compression,
        head: &ImageHead,
    ) -> Result<SnapshotWriter> {
        let final_name = snapshot_name(zxid, compression);
        let rest = final_name.strip_prefix(names::SNAPSHOT_PREFIX).unwrap_or_default();
        let tmp = dir.join(format!("{}{rest}", names::SNAPSHOT_TMP_PREFIX));
        let file = disk.create(&tmp).at("create", &tmp)?;
        let sink = Sink { file, at: 0, synced: 0, buf: Vec::with_capacity(BUFFER) };
        let output = match compression {
            Compression::Plain => Output::Plain(sink),
            Compression::Gz => Output::Gz(GzEncoder::new(sink, flate2::Compression::default())),
            Compression::Snappy => Output::Snappy(snappy_java::Writer::new(sink)),
        };
        let mut writer = SnapshotWriter {
            disk,
            dir: dir.to_owned(),
            tmp,
            zxid,
            compression,
            output,
            adler: Adler::default(),
            written: 0,
        };
        let mut out = BytesMut::with_capacity(4096);
        out.i32(SNAPSHOT_MAGIC);
        out.i32(SNAPSHOT_VERSION);
        out.i64(SNAPSHOT_DBID);
        write_head(head, &mut out);
        writer.put(&out)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.adler.write(bytes);
        self.written += bytes.len() as u64;
        self.output.write_all(bytes).at("write", &self.tmp)
    }

    /// Adds encoded nodes: path and body each, the root (path "") first, parents before children.
    /// A chunk may end anywhere.
    pub fn nodes(&mut self, encoded: &[u8]) -> Result<()> {
        self.put(encoded)
    }

    fn seal(&mut self) -> Result<()> {
        let mut out = BytesMut::with_capacity(16);
        out.i64(self.adler.finish());
        out.str("/");
        self.put(&out)
    }

    fn complete(mut self, sections: &Sections) -> Result<(Complete, u64)> {
        let mut out = BytesMut::with_capacity(32);
        write_end(&mut out);
        self.put(&out)?;
        self.seal()?;
        if let Some((zxid, digest)) = sections.digest {
            out.clear();
            out.i64(zxid.0);
            out.i32(DIGEST_VERSION);
            out.i64(digest);
            self.put(&out)?;
            self.seal()?;
        }
        if let Some(zxid) = sections.last_processed {
            out.clear();
            out.i64(zxid.0);
            self.put(&out)?;
            self.seal()?;
        }
        let mut sink = self.output.finish().at("write", &self.tmp)?;
        sink.file.sync_data().at("sync", &self.tmp)?;
        let rest = Complete {
            disk: self.disk,
            dir: self.dir,
            tmp: self.tmp,
            zxid: self.zxid,
            compression: self.compression,
            written: self.written,
        };
        Ok((rest, sink.at))
    }

    /// Ends the snapshot; on return it is durable under its final name.
    ///
    /// # Errors
    /// The unfinished file is removed if that works; no snapshot came to be.
    pub fn finish(self, sections: &Sections) -> Result<Written> {
        let (disk, tmp) = (self.disk.clone(), self.tmp.clone());
        let done = (|| {
            let (rest, file_bytes) = self.complete(sections)?;
            let path = rest.dir.join(snapshot_name(rest.zxid, rest.compression));
            rest.disk.rename(&rest.tmp, &path).at("rename", &rest.tmp)?;
            rest.disk.sync_dir(&rest.dir).at("sync", &rest.dir)?;
            Ok(Written { path, file_bytes, image_bytes: rest.written })
        })();
        if done.is_err() {
            let _ = disk.remove(&tmp);
        }
        done
    }

    /// Ends a snapshot received from the leader, which replaces the history here: on return it is
    /// durable, and everything beyond it on disk is gone. A crash at any moment leaves the old
    /// history or the new. Afterwards: [`super::TxnLog::reset`].
    pub fn finish_install(self, sections: &Sections, dirs: &Dirs) -> Result<Written> {
        let (rest, file_bytes) = self.complete(sections)?;
        let name = snapshot_name(rest.zxid, rest.compression);
        let suffix = name.strip_prefix(names::SNAPSHOT_PREFIX).unwrap_or_default();
        let waiting = rest.dir.join(format!("{}{suffix}", names::INSTALL_PREFIX));
        rest.disk.rename(&rest.tmp, &waiting).at("rename", &rest.tmp)?;
        rest.disk.sync_dir(&rest.dir).at("sync", &rest.dir)?;
        truncate::complete_install(&*rest.disk, dirs)?;
        Ok(Written { path: rest.dir.join(name), file_bytes, image_bytes: rest.written })
    }

    /// Gives the snapshot up and removes the unfinished file.
    pub fn abandon(self) -> Result<()> {
        self.disk.remove(&self.tmp).at("remove", &self.tmp)
    }
}

/// A writer whose file is complete and synced, still under its temporary name.
struct Complete {
    disk: DiskRef,
    dir: PathBuf,
    tmp: PathBuf,
    zxid: Zxid,
    compression: Compression,
    written: u64,
}

/// What a snapshot turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SnapshotInfo {
    /// Nodes in it.
    pub nodes: u64,
    /// The tree digest and the zxid it belongs to.
    pub digest: Option<(Zxid, i64)>,
    /// The last transaction surely in it, where Apache 3.9 wrote it.
    pub last_processed: Option<Zxid>,
}

/// A sink that keeps nothing: for checking a snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullSink;

impl ImageSink for NullSink {
    fn session(&mut self, _: i64, _: i32) {}
    fn acl(&mut self, _: i64, _: Vec<Acl>) {}
    fn node(&mut self, _: &str, _: NodeView<'_>) -> std::result::Result<(), String> {
        Ok(())
    }
}

/// Apache's quick test: only a file that passes is tried at all (`SnapStream.isValidSnapshot`). What is
/// wrong, or None.
pub fn flaw(disk: &dyn Disk, named: &Named) -> Option<&'static str> {
    let Ok(file) = disk.open(&named.path) else { return Some("it can't be opened") };
    if named.len == 0 {
        return Some("the file is empty");
    }
    let starts_with = |magic: &[u8]| {
        let mut start = vec![0; magic.len()];
        read_full(&*file, 0, &mut start).is_ok_and(|n| n == magic.len()) && start == magic
    };
    let (whole, flaw) = match Compression::of(&named.path) {
        Compression::Gz => (starts_with(&GZ_MAGIC), "it is not gzip"),
        Compression::Snappy => (starts_with(&snappy_java::MAGIC), "it is not snappy"),
        Compression::Plain => {
            let mut end = [0; 5];
            let whole = named.len >= 10
                && read_full(&*file, named.len - 5, &mut end).is_ok_and(|n| n == 5)
                && end == PLAIN_END;
            (whole, "its end is missing")
        }
    };
    (!whole).then_some(flaw)
}

/// Whether a file passes the quick test.
pub fn looks_whole(disk: &dyn Disk, named: &Named) -> bool {
    flaw(disk, named).is_none()
}

struct FileRead {
    file: Box<dyn DiskFile>,
    at: u64,
}

impl Read for FileRead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(self.at, buf)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Reads a snapshot into `sink`, checking every seal.
///
/// # Errors
/// [`Error::Corrupt`] with the offset in the uncompressed image; the sink has received a part then
/// and must be thrown away.
pub fn read(disk: &dyn Disk, named: &Named, sink: &mut dyn ImageSink) -> Result<SnapshotInfo> {
    let path = &named.path;
    let file = FileRead { file: disk.open(path).at("open", path)?, at: 0 };
    let mut input: Box<dyn Read> = match Compression::of(path) {
        Compression::Plain => Box::new(file),
        Compression::Gz => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, file))),
        Compression::Snappy => {
            Box::new(snappy_java::Reader::new(BufReader::with_capacity(BUFFER, file)))
        }
    };
    let corrupt = |(offset, what)| Error::Corrupt { path: path.clone(), offset, what };
    let info = read_image(&mut *input, sink).map_err(corrupt)?;
    // Apache's may hold more than the transaction in its name, none may hold less.
    match info.last_processed {
        Some(last) if last < named.zxid => Err(corrupt((
            0,
            format!("it ends with transaction {last}: an older snapshot under this name?"),
        ))),
        _ => Ok(info),
    }
}

fn read_image(
    input: &mut dyn Read,
    sink: &mut dyn ImageSink,
) -> std::result::Result<SnapshotInfo, (u64, String)> {
    let mut decoder = ImageDecoder::new(Framing::File, FILE_RECORD_MAX);
    let mut buf = BytesMut::new();
    let mut header = false;
    loop {
        if !header && buf.len() >= HEADER_LEN {
            if buf[..4] != SNAPSHOT_MAGIC.to_be_bytes() {
                return Err((0, "no ZKSN header".into()));
            }
            decoder.prefix(&buf[..HEADER_LEN]);
            buf.advance(HEADER_LEN);
            header = true;
        }
        let fed = if header { decoder.feed(&mut buf, sink) } else { Ok(false) };
        let at = decoder.consumed();
        if fed.map_err(|e| (at, e.to_string()))? {
            break;
        }
        let have = buf.len();
        buf.resize(have + BUFFER, 0);
        let n = input.read(&mut buf[have..]).map_err(|e| (at, e.to_string()))?;
        buf.truncate(have + n);
        if n == 0 {
            return Err((at, "the file ends within the image".into()));
        }
    }
    let at = decoder.consumed();
    let mut rest = buf.to_vec();
    input.take(SECTIONS_MAX).read_to_end(&mut rest).map_err(|e| (at, e.to_string()))?;
    let sections = read_sections(rest, decoder.checksum()).map_err(|e| (at, e))?;
    Ok(SnapshotInfo {
        nodes: decoder.nodes(),
        digest: sections.digest,
        last_processed: sections.last_processed,
    })
}

/// Reads the seal of the image and the optional sections, in every combination that some release
/// writes: Apache tells them apart by position alone and trips when flags differ; the seals tell.
fn read_sections(bytes: Vec<u8>, adler: Adler) -> std::result::Result<Sections, String> {
    let mut at = Sealed { bytes: bytes.into(), adler };
    if !at.seal(0) {
        return Err("the checksum of the image does not match".into());
    }
    let mut sections = Sections::default();
    if at.bytes.is_empty() {
        return Ok(sections);
    }
    if let Some((len, digest)) = at.digest() {
        let mut ahead = at.clone();
        if ahead.seal(len) {
            sections.digest = digest;
            at = ahead;
        }
    }
    if at.bytes.is_empty() {
        return Ok(sections);
    }
    let zxid = Reader::new(at.bytes.clone()).i64().ok();
    match zxid {
        Some(zxid) if at.seal(8) => sections.last_processed = Some(Zxid(zxid)),
        _ => return Err("the checksum of the sections behind the image does not match".into()),
    }
    Ok(sections)
}

#[derive(Clone)]
struct Sealed {
    bytes: bytes::Bytes,
    adler: Adler,
}

impl Sealed {
    /// Whether a right seal stands after `section` bytes; moves behind it.
    fn seal(&mut self, section: usize) -> bool {
        let end = section + 13;
        if self.bytes.len() < end {
            return false;
        }
        self.adler.write(&self.bytes[..section]);
        let mut seal = &self.bytes[section..end];
        if seal.get_i64() != self.adler.finish() || seal != PLAIN_END {
            return false;
        }
        self.adler.write(&self.bytes[section..end]);
        self.bytes.advance(end);
        true
    }

    /// The length of a digest section here and its content; digests before version 2 are text and
    /// of no use.
    #[allow(clippy::type_complexity)]
    fn digest(&self) -> Option<(usize, Option<(Zxid, i64)>)> {
        let mut r = Reader::new(self.bytes.clone());
        let zxid = Zxid(r.i64().ok()?);
        let version = r.i32().ok()?;
        let digest = if version < DIGEST_VERSION {
            r.string().ok()?;
            None
        } else {
            Some((zxid, r.i64().ok()?))
        };
        Some((r.offset(), digest))
    }
}
