//! Tests of the storage layer over the lying disk. The "tree" is a list of transactions: a snapshot
//! holds one node for each, so a state tells its whole history.

mod bond;
mod crash;
mod epochs;
mod fixtures;
mod fuzz;
mod log;
mod marks;
mod probes;
mod recorded;
mod snapshots;

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use super::disk::DiskRef;
use super::sim_disk::SimDisk;
use super::*;
use crate::proto::image::{ImageHead, ImageSink, NodeView, write_node_body};
use crate::proto::txn::{CreateTxn, Txn, TxnDigest, TxnEntry, TxnHeader};
use crate::types::{Acl, Instant, SessionId, StatPersisted, WallTime, open_acl};

/// A history: zxid and a tag that tells apart what different leaders gave the same zxid.
type History = Vec<(i64, u32)>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Collect {
    history: History,
    sessions: Vec<(i64, i32)>,
    acls: usize,
}

fn node_path((zxid, tag): (i64, u32)) -> String {
    format!("/{zxid:x}-{tag}")
}

fn parse_path(path: &str) -> Option<(i64, u32)> {
    let (zxid, tag) = path.strip_prefix('/')?.split_once('-')?;
    Some((i64::from_str_radix(zxid, 16).ok()?, tag.parse().ok()?))
}

impl ImageSink for Collect {
    fn session(&mut self, id: i64, timeout_ms: i32) {
        self.sessions.push((id, timeout_ms));
    }
    fn acl(&mut self, _: i64, _: Vec<Acl>) {
        self.acls += 1;
    }
    fn node(&mut self, path: &str, _: NodeView<'_>) -> std::result::Result<(), String> {
        if !path.is_empty() {
            self.history.push(parse_path(path).ok_or("what is this?")?);
        }
        Ok(())
    }
}

fn entry(zxid: i64, tag: u32, size: usize) -> TxnEntry {
    let data: Vec<u8> = (0..size).map(|i| (i as u8).wrapping_mul(7) ^ zxid as u8).collect();
    TxnEntry {
        header: TxnHeader {
            session: SessionId(0x1000),
            cxid: 1,
            zxid: Zxid(zxid),
            time: WallTime(1_700_000_000_000),
            kind: 1,
        },
        txn: Txn::Create(CreateTxn {
            path: node_path((zxid, tag)),
            data: Some(Bytes::from(data)),
            acl: open_acl(),
            ephemeral: false,
            parent_cversion: 1,
        }),
        digest: Some(TxnDigest { version: 2, tree: zxid }),
    }
}

fn dirs() -> Dirs {
    Dirs::new(Path::new("/data"), None)
}

fn file(name: &str) -> PathBuf {
    dirs().logs.join(name)
}

fn options() -> LogOptions {
    LogOptions { prealloc_bytes: 8 << 10, ..LogOptions::default() }
}

fn no_clock() -> Instant {
    Instant::default()
}

fn write_snapshot(
    disk: &SimDisk,
    zxid: i64,
    history: &[(i64, u32)],
    compression: Compression,
) -> Result<SnapshotWriter> {
    let head = ImageHead { sessions: vec![(1, 4000), (2, 30000)], acls: vec![(1, open_acl())] };
    let dir = dirs().snapshots;
    let mut w = SnapshotWriter::create(disk.shared(), &dir, Zxid(zxid), compression, &head)?;
    let mut out = BytesMut::new();
    let stat = StatPersisted::default();
    image_stream::write_node_path("", &mut out);
    write_node_body(&mut out, Some(b""), -1, &stat);
    for txn in history {
        image_stream::write_node_path(&node_path(*txn), &mut out);
        write_node_body(&mut out, Some(b"some data"), 1, &stat);
    }
    w.nodes(&out)?;
    Ok(w)
}

fn sections(zxid: i64) -> snapshot::Sections {
    snapshot::Sections { digest: Some((Zxid(zxid), 77)), last_processed: Some(Zxid(zxid)) }
}

fn snapshot_of(disk: &SimDisk, zxid: i64, history: &[(i64, u32)]) {
    let w = write_snapshot(disk, zxid, history, Compression::Plain).unwrap();
    w.finish(&sections(zxid)).unwrap();
}

fn history(range: std::ops::RangeInclusive<i64>) -> History {
    range.map(|z| (z, 0)).collect()
}

/// Recovers, replays, repairs.
fn load(disk: &SimDisk) -> Result<(Collect, ReplayEnd)> {
    load_with(disk, &RecoveryOptions::default())
}

fn load_with(disk: &SimDisk, options: &RecoveryOptions) -> Result<(Collect, ReplayEnd)> {
    let mut r = recover(&disk.shared(), &dirs(), options, Collect::default)?;
    while let Some(logged) = r.replay.next()? {
        assert_eq!(logged.bytes, logged.entry.encode());
        if let Txn::Create(create) = &logged.entry.txn {
            r.sink.history.push(parse_path(&create.path).unwrap());
        }
    }
    let end = r.replay.finish(!options.read_only)?;
    Ok((r.sink, end))
}

fn new_log(disk: &SimDisk, last: i64) -> TxnLog {
    TxnLog::new(disk.shared(), dirs(), options(), Zxid(last))
}

fn append(log: &mut TxnLog, range: std::ops::RangeInclusive<i64>) {
    for zxid in range {
        log.append(Zxid(zxid), &entry(zxid, 0, 40).encode()).unwrap();
    }
}

fn commit(log: &mut TxnLog) {
    log.commit(&mut no_clock).unwrap();
}

/// The directory of reliability's probes: snapshot 0 and logs 1-10, 11-20, 21-30; written one
/// record per batch. `marks`: as rookeeper writes it, otherwise as Apache would have.
fn probe_disk(marks: bool) -> SimDisk {
    let disk = SimDisk::new(1);
    disk.create_dir_all(&dirs().logs).unwrap();
    snapshot_of(&disk, 0, &[]);
    let mut log = new_log(&disk, 0);
    for zxid in 1..=30 {
        append(&mut log, zxid..=zxid);
        commit(&mut log);
        if zxid % 10 == 0 {
            log.roll().unwrap();
        }
    }
    if !marks {
        disk.remove(&file(mark::DURABLE_NAME)).unwrap();
        for name in ["log.1", "log.b", "log.15"] {
            let end = positions(&disk, name).last().unwrap().1;
            let mut f = disk.open_write(&file(name)).unwrap();
            f.write_at(end, &[0; 48]).unwrap();
        }
    }
    disk.settle();
    disk
}

/// Begin and end of each record of a log, by zxid order.
fn positions(disk: &SimDisk, name: &str) -> Vec<(u64, u64)> {
    let mut reader = log_reader::LogReader::open(disk, &file(name)).unwrap();
    let mut found = Vec::new();
    while let log_reader::Step::Record(r) = reader.step().unwrap() {
        found.push((r.offset, r.offset + r.entry.len() as u64 + 13));
    }
    found
}

fn poke(disk: &SimDisk, name: &str, offset: u64, bytes: &[u8]) {
    disk.open_write(&file(name)).unwrap().write_at(offset, bytes).unwrap();
    disk.settle();
}

fn cut(disk: &SimDisk, name: &str, len: u64) {
    disk.open_write(&file(name)).unwrap().set_len(len).unwrap();
    disk.settle();
}

fn assert_corrupt(disk: &SimDisk, name: &str, at: u64) {
    match load(disk) {
        Err(Error::Corrupt { path, offset, .. }) => {
            assert_eq!((path, offset), (file(name), at));
        }
        other => panic!("expected damage in {name} at {at}, got {other:?}"),
    }
}

fn assert_loads(disk: &SimDisk, last: i64) {
    let (state, end) = load(disk).unwrap();
    assert_eq!(state.history, history(1..=last));
    assert_eq!(end.last, Zxid(last));
    // What it did to the directory loads again, and a new log goes on from there.
    let mut log = new_log(disk, last);
    append(&mut log, last + 1..=last + 2);
    commit(&mut log);
    disk.settle();
    assert_eq!(load(disk).unwrap().0.history, history(1..=last + 2));
}
