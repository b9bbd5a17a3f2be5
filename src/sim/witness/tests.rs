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
    let connection = Connection { session: SESSION, items };
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
