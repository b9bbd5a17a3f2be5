use super::*;
use crate::host::snapshot::{SnapshotOptions, Walk};
use crate::proto::txn::{CreateTxn, Txn, TxnEntry, TxnHeader};
use crate::state::{Options, StateLoader, StateMachine};
use crate::storage::disk::DiskRef;
use crate::storage::image_stream::{self, Framing, ImageDecoder};
use crate::storage::sim_disk::SimDisk;
use crate::storage::{Compression, Dirs, Disk};
use crate::types::{Perms, SessionId, WallTime, Zxid, open_acl, read_acl};
use bytes::Bytes;
use std::path::Path;

fn apply(state: &mut StateMachine, kind: i32, zxid: i64, txn: Txn) {
    let header = TxnHeader {
        session: SessionId(7),
        cxid: 0,
        zxid: Zxid(zxid),
        time: WallTime(1000 + zxid),
        kind,
    };
    state.apply(&TxnEntry { header, txn, digest: None }, &mut Vec::new());
}

fn create(state: &mut StateMachine, zxid: i64, path: &str) {
    let mut acl = if zxid % 2 == 0 { open_acl() } else { read_acl() };
    if zxid % 3 == 0 {
        acl[0].perms = Perms(5);
    }
    let data = (zxid % 5 != 0).then(|| Bytes::from(vec![zxid as u8; 700]));
    let txn = CreateTxn {
        path: path.to_owned(),
        data,
        acl,
        ephemeral: zxid % 7 == 0,
        parent_cversion: zxid as i32,
    };
    apply(state, 1, zxid, Txn::Create(txn));
}

fn tree() -> StateMachine {
    let mut state = StateMachine::new(Options::default());
    apply(&mut state, -10, 1, Txn::CreateSession { timeout_ms: 4000 });
    for n in 0..3000 {
        let parent = if n % 10 == 0 { String::new() } else { format!("/n{}", n - n % 10) };
        create(&mut state, n + 2, &format!("{parent}/n{n}"));
    }
    state
}

fn disk() -> (DiskRef, Dirs) {
    let dirs = Dirs::new(Path::new("/data"), None);
    let disk = SimDisk::new(1);
    disk.create_dir_all(&dirs.snapshots).expect("a directory");
    (disk.shared(), dirs)
}

fn begin(state: &mut StateMachine, disk: &DiskRef, dirs: &Dirs) -> (Arc<Spool>, Walk) {
    let cursor = state.begin_snapshot().expect("no other walk");
    let spool = Spool::new(cursor.zxid());
    let walk = Walk::for_learners(disk, &dirs.snapshots, Arc::clone(&spool), cursor);
    (spool, walk.expect("a file"))
}

fn write_all(state: &mut StateMachine, mut walk: Walk) {
    while !walk.encode(state, 100) {
        walk.write().expect("written");
    }
    walk.write().expect("written");
    walk.finish().expect("finished");
    drop(state.end_snapshot());
}

/// A learner that gets an image.
struct Receiving {
    loader: StateLoader,
    stream: ImageDecoder,
    input: BytesMut,
}

impl Receiving {
    fn new() -> Receiving {
        let stream = ImageDecoder::new(Framing::Link, 1 << 20);
        Receiving { loader: StateLoader::new(Options::default()), stream, input: BytesMut::new() }
    }

    /// True at the end.
    fn take(&mut self, source: &mut Reading) -> bool {
        match source.next(&mut self.input) {
            Piece::More | Piece::NotYet => {}
            Piece::Last => {
                image_stream::write_end(&mut self.input);
                image_stream::write_link_signature(&mut self.input);
            }
            Piece::Abandoned => panic!("abandoned"),
        }
        self.stream.feed(&mut self.input, &mut self.loader).expect("valid")
    }
}

#[test]
fn learners_read_one_image_each_at_its_own_pace() {
    let (disk, dirs) = disk();
    let mut state = tree();
    let (zxid, digest) = (state.last_zxid(), state.digest());
    let (spool, mut walk) = begin(&mut state, &disk, &dirs);
    assert!(disk.list(&dirs.snapshots).expect("listed").is_empty(), "the file has no name");
    let mut fast = (Reading::new(&spool, 5000), Receiving::new());
    let mut slow = (Reading::new(&spool, 900), Receiving::new());
    // Later transactions are in neither.
    create(&mut state, 4000, "/later");
    apply(&mut state, 2, 4001, Txn::Delete { path: "/n0/n9".to_owned() });
    // One keeps up with the walk, the other does not.
    let mut ended = false;
    while !ended {
        ended = walk.encode(&state, 100);
        walk.write().expect("written");
        fast.1.take(&mut fast.0);
    }
    walk.finish().expect("finished");
    drop(state.end_snapshot());
    while !fast.1.take(&mut fast.0) {}
    // Whoever reads slowly holds up no other walk.
    let (other, walk) = begin(&mut state, &disk, &dirs);
    write_all(&mut state, walk);
    assert_eq!((other.zxid(), other.readers(), spool.readers()), (Zxid(4001), 0, 2));
    while !slow.1.take(&mut slow.0) {}
    for (_, receiving) in [fast, slow] {
        let got = receiving.loader.finish(zxid, None);
        assert_eq!((got.digest(), got.last_zxid()), (digest, zxid));
        assert!(got.node("/later").is_none() && got.node("/n0/n9").is_some());
        assert_eq!(got.sessions().get(SessionId(7)), Some(4000));
    }
    assert_eq!(spool.readers(), 0);
}

#[test]
fn an_image_that_is_given_up_ends_the_links_that_read_it() {
    let (disk, dirs) = disk();
    let mut state = tree();
    let (spool, mut walk) = begin(&mut state, &disk, &dirs);
    assert!(walk.is_in_vain(), "nobody reads it yet");
    let mut reading = Reading::new(&spool, 100_000);
    assert!(!walk.is_in_vain());
    walk.encode(&state, 100);
    walk.write().expect("written");
    let mut out = BytesMut::new();
    while reading.next(&mut out) == Piece::More {}
    assert_eq!(reading.next(&mut out), Piece::NotYet);
    walk.abandon().expect("abandoned");
    assert!(spool.is_given_up());
    assert_eq!(reading.next(&mut out), Piece::Abandoned);
}

#[test]
fn a_walk_through_a_state_that_was_replaced_comes_to_nothing() {
    let (disk, dirs) = disk();
    let mut state = tree();
    let (spool, mut walk) = begin(&mut state, &disk, &dirs);
    let options = SnapshotOptions { compression: Compression::Plain, last_processed: true };
    walk.encode(&state, 10);
    state = tree();
    assert!(walk.encode(&state, 10), "there is nothing to walk through");
    walk.finish().expect("no error");
    assert!(spool.is_given_up());
    let mut state = tree();
    let cursor = state.begin_snapshot().expect("no other walk");
    let mut own = Walk::new(Arc::clone(&disk), &dirs.snapshots, options, cursor).expect("a file");
    own.encode(&state, 10);
    assert!(own.encode(&tree(), 10));
    own.finish().expect("no error");
    assert!(disk.list(&dirs.snapshots).expect("listed").is_empty(), "no snapshot came of it");
}

#[test]
fn a_disk_that_fails_gives_the_image_up() {
    let dirs = Dirs::new(Path::new("/nowhere"), None);
    let mut state = tree();
    let cursor = state.begin_snapshot().expect("no other walk");
    let spool = Spool::new(cursor.zxid());
    let disk = SimDisk::new(1).shared();
    let walk = Walk::for_learners(&disk, &dirs.snapshots, Arc::clone(&spool), cursor);
    assert!(walk.is_err() && spool.is_given_up());
    let mut reading = Reading::new(&spool, 100);
    assert_eq!(reading.next(&mut BytesMut::new()), Piece::Abandoned);
}
