use super::*;
use crate::proto::txn::{CreateTxn, Txn, TxnEntry, TxnHeader};
use crate::state::{Options, StateLoader};
use crate::storage::image_stream::{Framing, ImageDecoder};
use crate::types::{Perms, SessionId, WallTime, open_acl, read_acl};

struct TestCell(RwLock<(u64, StateMachine)>);

impl StateCell for TestCell {
    fn with_shared(&self, f: &mut dyn FnMut(u64, &StateMachine)) {
        let guard = self.0.read();
        f(guard.0, &guard.1);
    }
    fn with_alone(&self, f: &mut dyn FnMut(u64, &mut StateMachine)) {
        let mut guard = self.0.write();
        let (generation, state) = &mut *guard;
        f(*generation, state);
    }
}

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

fn cell() -> Arc<dyn StateCell> {
    let mut state = StateMachine::new(Options::default());
    apply(&mut state, -10, 1, Txn::CreateSession { timeout_ms: 4000 });
    for n in 0..3000 {
        let parent = if n % 10 == 0 { String::new() } else { format!("/n{}", n - n % 10) };
        create(&mut state, n + 2, &format!("{parent}/n{n}"));
    }
    Arc::new(TestCell(RwLock::new((1, state))))
}

fn receive(source: &mut dyn SnapshotSource, zxid: Zxid) -> (StateMachine, usize) {
    let mut loader = StateLoader::new(Options::default());
    let mut stream = ImageDecoder::new(Framing::Link, 1 << 20);
    let (mut input, mut pieces, mut done) = (BytesMut::new(), 0, false);
    while !done {
        pieces += 1;
        match source.next(&mut input) {
            Piece::More => {}
            Piece::Last => {
                image_stream::write_end(&mut input);
                image_stream::write_link_signature(&mut input);
            }
            Piece::Abandoned => panic!("abandoned"),
        }
        done = stream.feed(&mut input, &mut loader).expect("valid");
    }
    (loader.finish(zxid, None), pieces)
}

#[test]
fn a_walk_and_an_image_made_at_once_give_the_same_state() {
    let cell = cell();
    let (zxid, mut walk) = begin(&cell);
    let (same_zxid, mut encoded) = begin(&cell);
    assert_eq!(zxid, same_zxid);
    let mut digest = 0;
    // Later transactions are in neither.
    cell.with_alone(&mut |_, state| {
        digest = state.digest();
        create(state, 4000, "/later");
        apply(state, 2, 4001, Txn::Delete { path: "/n0/n9".to_owned() });
    });
    for source in [&mut walk, &mut encoded] {
        let (state, pieces) = receive(&mut **source, zxid);
        assert_eq!((state.digest(), state.last_zxid()), (digest, zxid));
        assert!(state.node("/later").is_none() && state.node("/n0/n9").is_some());
        assert_eq!(state.sessions().get(SessionId(7)), Some(4000));
        assert!(pieces > 1);
    }
    drop(walk);
    let (_, walk) = begin(&cell);
    drop(walk);
}

#[test]
fn a_walk_stops_when_another_state_takes_the_place() {
    let inner = Arc::new(TestCell(RwLock::new((1, StateMachine::new(Options::default())))));
    let cell: Arc<dyn StateCell> = inner.clone();
    let (_, mut walk) = begin(&cell);
    *inner.0.write() = (2, StateMachine::new(Options::default()));
    assert_eq!(walk.next(&mut BytesMut::new()), Piece::Abandoned);
}
