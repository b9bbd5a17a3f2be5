use bytes::Bytes;

use super::*;
use crate::proto::txn::{CreateTxn, Txn, TxnHeader};
use crate::types::{SessionId, Stat, WallTime, Zxid, open_acl};

const SESSION: i64 = 0x0100_0000_0000_0001;

fn entry(zxid: i64, cxid: i32, kind: i32, txn: Txn) -> TxnEntry {
    let header = TxnHeader {
        session: SessionId(SESSION),
        cxid,
        zxid: Zxid(zxid),
        time: WallTime(1000 + zxid),
        kind,
    };
    TxnEntry { header, txn, digest: None }
}

fn create(path: &str, parent_cversion: i32) -> Txn {
    Txn::Create(CreateTxn {
        path: path.into(),
        data: Some(Bytes::from_static(b"x")),
        acl: open_acl(),
        ephemeral: false,
        parent_cversion,
    })
}

/// A session, /a at 2, its data set at 3.
fn witness() -> Witness {
    let mut witness = Witness::default();
    for e in [
        entry(1, 0, -10, Txn::CreateSession { timeout_ms: 1000 }),
        entry(2, 1, 1, create("/a", 1)),
        entry(3, 2, 5, Txn::SetData { path: "/a".into(), data: None, version: 1 }),
    ] {
        witness.commit(e.header.zxid.0, &e.encode()).expect("first of its zxid");
    }
    witness
}

fn reply(xid: i32, opcode: OpCode, request: Bytes, zxid: i64, body: Bytes) -> Item {
    Item::Reply(Reply {
        xid,
        opcode,
        request,
        zxid,
        err: Code::OK,
        body,
        invoked: xid as u64 * 10,
        returned: xid as u64 * 10 + 5,
    })
}

fn created(zxid: i64) -> Item {
    reply(1, OpCode::CREATE, Bytes::new(), zxid, PathRecord { path: Some("/a".into()) }.to_bytes())
}

fn get(xid: i32, zxid: i64, data: Option<&'static [u8]>, version: i32, watch: bool) -> Item {
    let stat = Stat {
        czxid: 2,
        mzxid: if version == 0 { 2 } else { 3 },
        pzxid: 2,
        ctime: 1002,
        mtime: if version == 0 { 1002 } else { 1003 },
        version,
        data_length: data.map_or(0, |d| d.len() as i32),
        ..Stat::default()
    };
    let body = DataResponse { data: data.map(Bytes::from_static), stat }.to_bytes();
    let request = ReadRequest { path: Some("/a".into()), watch }.to_bytes();
    reply(xid, OpCode::GET_DATA, request, zxid, body)
}

#[track_caller]
fn check(items: Vec<Item>, violation: &str) {
    let connection = Connection { session: SESSION, items, ..Connection::default() };
    let found = witness().check(&[connection], OwnerRules::default());
    if violation.is_empty() {
        assert!(found.is_empty(), "{found:?}");
    } else {
        assert!(found.iter().any(|f| f.starts_with(violation)), "{violation} not in {found:?}");
    }
}

#[test]
fn right_histories_pass_and_wrong_ones_are_named() {
    check(vec![created(2), get(3, 2, Some(b"x"), 0, false), get(4, 3, None, 1, false)], "");
    check(vec![get(3, 2, None, 1, false)], "ReadAtZxid");
    check(vec![get(3, 3, Some(b"x"), 0, false)], "ReadAtZxid");
    check(vec![get(4, 3, None, 1, false), get(5, 2, Some(b"x"), 0, false)], "SessionOrder");
    let lost = reply(9, OpCode::DELETE, Bytes::new(), 3, Bytes::new());
    check(vec![lost], "CommittedLogDurability");
    let other = PathRecord { path: Some("/b".into()) }.to_bytes();
    check(vec![reply(1, OpCode::CREATE, Bytes::new(), 2, other)], "WriteReply");
}

#[test]
fn watches_fire_once_and_before_the_data() {
    let event = || Item::Event(3, 3, "/a".into());
    let first = || get(3, 2, Some(b"x"), 0, true);
    check(vec![first(), event(), get(4, 3, None, 1, false)], "");
    check(vec![first(), get(4, 3, None, 1, false)], "WatchBeforeData");
    check(vec![first(), event(), event()], "WatchUnique");
    check(vec![event()], "WatchUnique");
    check(vec![first()], "");
}

#[test]
fn two_transactions_with_one_zxid_are_a_violation() {
    let mut witness = witness();
    let other = entry(2, 7, 1, create("/other", 1)).encode();
    assert!(witness.commit(2, &other).is_err());
}

fn refused(xid: i32, opcode: OpCode, err: Code) -> Item {
    let Item::Reply(refused) = reply(xid, opcode, Bytes::new(), 3, Bytes::new()) else {
        unreachable!("a reply is a reply")
    };
    Item::Reply(Reply { err, ..refused })
}

#[test]
fn what_was_refused_unordered_is_not_in_the_log() {
    check(vec![refused(9, OpCode::CREATE, Code::EPHEMERAL_ON_LOCAL_SESSION)], "");
    check(vec![refused(2, OpCode::SET_DATA, Code::NOT_READ_ONLY)], "WriteReply");
}

#[test]
fn a_session_ends_once_it_has_begun_and_takes_exactly_its_own_nodes() {
    let end = |paths: &[&str]| {
        let paths = Some(paths.iter().map(|path| (*path).to_owned()).collect());
        let mut witness = witness();
        let close = entry(4, 0, -11, Txn::CloseSession { paths });
        witness.commit(4, &close.encode()).expect("first of its zxid");
        witness
    };
    let rules = OwnerRules::default();
    assert_eq!(end(&[]).check(&[], rules), Vec::<String>::new());
    assert!(end(&["/a"]).check(&[], rules)[0].starts_with("EphemeralsOnce"));
    let mut witness = Witness::default();
    let close = entry(1, 0, -11, Txn::CloseSession { paths: None });
    witness.commit(1, &close.encode()).expect("first of its zxid");
    assert!(witness.check(&[], rules)[0].starts_with("SessionLife"));
}

#[test]
fn readers_without_a_quorum_are_judged_by_their_own_log() {
    let of =
        |items| Connection { session: SESSION, read_only: true, items, ..Connection::default() };
    let rules = OwnerRules::default();
    // What it shows at 3 has never been committed.
    let own = witness();
    let committed = Witness {
        log: own.log.range(..3).map(|(z, e)| (*z, e.clone())).collect(),
        ..Witness::default()
    };
    let right = of(vec![get(3, 3, None, 1, false)]);
    assert_eq!(committed.check(&[right.clone()], rules), Vec::<String>::new());
    assert_eq!(own.check_readers(&[right], rules), Vec::<String>::new());
    let wrong = of(vec![get(3, 3, Some(b"x"), 0, false)]);
    assert!(own.check_readers(&[wrong], rules)[0].starts_with("ReadAtZxid"));
    let moves = of(vec![get(3, 2, Some(b"x"), 0, false), get(4, 3, None, 1, false)]);
    assert!(committed.check(&[moves], rules)[0].starts_with("ReadOnly"));
}
