use bytes::{Bytes, BytesMut};

use super::jute::{DecodeError, Jute, Reader, Write};
use super::multi::{self, Op};
use super::opcode::{Class, OpCode};
use super::records::*;
use super::txn::*;
use super::{frame, image};
use crate::types::*;

/// Decodes what it encodes, and every proper prefix is an error and never a panic.
mod damage;

fn round_trip<T: Jute + PartialEq + std::fmt::Debug>(value: &T) {
    let bytes = value.to_bytes();
    assert_eq!(&T::from_bytes(bytes.clone()).expect("decodes"), value);
    for n in 0..bytes.len() {
        assert!(T::from_bytes(bytes.slice(..n)).is_err(), "prefix of {n} bytes of {value:?}");
    }
}

#[test]
fn records_round_trip_and_reject_every_prefix() {
    let acl = Some(open_acl());
    let path = Some("/a".to_string());
    round_trip(&RequestHeader { xid: 1, opcode: 4 });
    round_trip(&ReplyHeader { xid: 1, zxid: -1, err: -6 });
    round_trip(&CreateRequest {
        path: path.clone(),
        data: Some(Bytes::from_static(b"x")),
        acl: acl.clone(),
        flags: 3,
    });
    round_trip(&CreateRequest::default());
    round_trip(&CreateTtlRequest { path: path.clone(), data: None, acl, flags: 5, ttl: 9 });
    round_trip(&SetDataRequest { path: path.clone(), data: Some(Bytes::new()), version: -1 });
    round_trip(&ReadRequest { path: path.clone(), watch: true });
    round_trip(&SetWatches2 {
        relative_zxid: 7,
        data: Some(vec!["/a".into()]),
        exist: None,
        child: Some(vec![]),
        persistent: Some(vec!["/b".into(), "/c".into()]),
        recursive: Some(vec![]),
    });
    round_trip(&DataResponse { data: None, stat: Stat { czxid: 1, ..Stat::default() } });
    round_trip(&image::ImageNode { data: None, acl: -1, stat: StatPersisted::default() });
    assert_eq!(Stat::default().to_bytes().len(), 68);
    assert_eq!(StatPersisted::default().to_bytes().len(), 60);
}

#[test]
fn connect_request_has_an_optional_last_byte() {
    let mut request =
        ConnectRequest { passwd: Some(Bytes::from(vec![0; 16])), ..Default::default() };
    assert_eq!(request.to_bytes().len(), 44);
    assert_eq!(ConnectRequest::from_bytes(request.to_bytes()), Ok(request.clone()));
    request.read_only = Some(true);
    assert_eq!(request.to_bytes().len(), 45);
    assert_eq!(ConnectRequest::from_bytes(request.to_bytes()), Ok(request));
}

#[test]
fn lengths_are_checked_before_anything_is_allocated() {
    for count in [i32::MAX, 1 << 20, 2] {
        let mut w = BytesMut::new();
        w.i32(count);
        w.i32(1);
        assert!(Reader::new(w.clone().freeze()).vec::<String>().is_err());
        assert!(Reader::new(w.clone().freeze()).buffer().is_err() || count <= 4);
    }
    let bytes = Bytes::from_static(&[0xff, 0xff, 0xff, 0xfe]);
    assert!(matches!(
        Reader::new(bytes.clone()).string(),
        Err(DecodeError::Length { length: -2, .. })
    ));
    assert!(Reader::new(bytes).vec::<i32>().is_err());
}

#[test]
fn strings_are_written_as_java_writes_them() {
    let check = |s: &str, expect: &[u8]| {
        let mut w = BytesMut::new();
        w.str(s);
        assert_eq!(&w[4..], expect);
        assert_eq!(w[3] as usize, expect.len());
    };
    check("aé", "aé".as_bytes());
    check("a\u{1f600}b", &[b'a', 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80, b'b']);
    let bad = Bytes::from_static(&[0, 0, 0, 2, 0xff, b'a']);
    assert_eq!(Reader::new(bad).string(), Ok(Some("\u{fffd}a".to_string())));
}

#[test]
fn frames_are_cut_at_their_length_and_bad_lengths_are_errors() {
    let mut input = BytesMut::from(&[0, 0, 0, 2, 1, 2, 0, 0, 0, 1][..]);
    assert_eq!(frame::next_frame(&mut input, 2), Ok(Some(Bytes::from_static(&[1, 2]))));
    assert_eq!(frame::next_frame(&mut input, 2), Ok(None));
    for length in [0_i32, -1, i32::MIN, 3, i32::MAX] {
        let mut input = BytesMut::from(&length.to_be_bytes()[..]);
        assert!(frame::next_frame(&mut input, 2).is_err(), "{length}");
    }
}

#[test]
fn multis_round_trip_and_refuse_what_apache_refuses() {
    let path = Some("/a".to_string());
    let create = CreateRequest { path: path.clone(), acl: Some(open_acl()), ..Default::default() };
    let ops = vec![
        Op::Create(OpCode::CREATE2, create.clone()),
        Op::Delete(DeleteRequest { path: path.clone(), version: 1 }),
        Op::Check(CheckVersionRequest { path: path.clone(), version: 1 }),
    ];
    let mut w = BytesMut::new();
    multi::write_ops(&mut w, &ops);
    let bytes = w.freeze();
    assert_eq!(multi::read_ops(&mut Reader::new(bytes.clone())), Ok(ops));
    for n in 0..bytes.len() {
        assert!(multi::read_ops(&mut Reader::new(bytes.slice(..n))).is_err());
    }
    let refuse = |ops: &[Op]| {
        let mut w = BytesMut::new();
        multi::write_ops(&mut w, ops);
        assert!(multi::read_ops(&mut Reader::new(w.freeze())).is_err());
    };
    refuse(&[Op::Create(OpCode::CREATE, CreateRequest { flags: 9, ..create.clone() })]);
    let read = Op::GetData(ReadRequest { path, watch: false });
    refuse(&[Op::Create(OpCode::CREATE, create), read]);
}

#[test]
fn txns_round_trip_with_and_without_digest() {
    let sub = SubTxn { kind: 2, txn: Txn::Delete { path: "/a".into() } };
    let cases = [
        (-10, Txn::CreateSession { timeout_ms: 10_000 }),
        (-11, Txn::CloseSession { paths: Some(vec!["/e".into()]) }),
        (
            1,
            Txn::Create(CreateTxn {
                path: "/a".into(),
                data: None,
                acl: open_acl(),
                ephemeral: true,
                parent_cversion: 3,
            }),
        ),
        (
            21,
            Txn::CreateExtended(CreateExtendedTxn {
                path: "/a".into(),
                data: Some(Bytes::new()),
                acl: open_acl(),
                parent_cversion: 3,
                ttl: Some(5),
            }),
        ),
        (2, Txn::Delete { path: "/a".into() }),
        (5, Txn::SetData { path: "/a".into(), data: None, version: 2 }),
        (7, Txn::SetAcl { path: "/a".into(), acl: open_acl(), version: 2 }),
        (14, Txn::Multi(vec![sub, SubTxn { kind: -1, txn: Txn::Error(Code::OK) }])),
        (-1, Txn::Error(Code::NO_NODE)),
    ];
    for (kind, txn) in cases {
        for digest in [None, Some(TxnDigest { version: 2, tree: -5 })] {
            let header = TxnHeader {
                session: SessionId(9),
                cxid: 8,
                zxid: Zxid(7),
                time: WallTime(6),
                kind,
            };
            let entry = TxnEntry { header, txn: txn.clone(), digest };
            assert_eq!(TxnEntry::decode(entry.encode()), Ok(entry));
        }
    }
}

#[test]
fn an_old_close_session_has_no_record() {
    let header = TxnHeader { kind: -11, ..TxnHeader::default() };
    let entry = TxnEntry { header, txn: Txn::CloseSession { paths: None }, digest: None };
    assert_eq!(entry.encode().len(), TxnHeader::LEN);
    assert_eq!(TxnEntry::decode(entry.encode()), Ok(entry));
}

#[test]
fn opcodes_of_the_wire_have_their_class() {
    for (opcode, class) in [
        (1, Class::Write),
        (4, Class::Read),
        (9, Class::Sync),
        (13, Class::Invalid),
        (20, Class::Invalid),
        (-10, Class::Invalid),
        (-11, Class::Write),
        (100, Class::Connection),
        (99, Class::Invalid),
        (0, Class::Invalid),
    ] {
        assert_eq!(OpCode(opcode).class(), class, "{opcode}");
    }
}
