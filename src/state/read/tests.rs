use bytes::Bytes;

use super::*;
use crate::proto::jute::{Jute, Reader};
use crate::proto::records::*;
use crate::proto::txn::*;
use crate::state::testkit::*;
use crate::state::{Belongings, Census, Options, Progress};
use crate::types::{SessionId, Stat, open_acl};

fn state() -> StateMachine {
    let mut s = StateMachine::new(Options::default());
    let mut zxid = 0;
    let mut apply = |session, kind, txn| {
        zxid += 1;
        s.apply(&entry(zxid, session, kind, txn), &mut Vec::new());
    };
    apply(0x10, OpCode::CREATE_SESSION, Txn::CreateSession { timeout_ms: 1000 });
    for (path, data, list, ephemeral) in [
        ("/a", Some("data"), open_acl(), false),
        ("/a/b", None, acl(1), false),
        ("/a/c", Some(""), acl(16), false),
        ("/a/deny", Some("x"), acl(2), false),
        ("/e1", Some(""), open_acl(), true),
        ("/e2", Some(""), open_acl(), true),
        ("/a/e1", Some(""), open_acl(), true),
    ] {
        let create = CreateTxn {
            path: path.to_owned(),
            data: data.map(|d| Bytes::copy_from_slice(d.as_bytes())),
            acl: list,
            ephemeral,
            parent_cversion: -1,
        };
        apply(0x10, OpCode::CREATE, Txn::Create(create));
    }
    s
}

/// Permits by the bits alone, whoever asks.
fn by_bits(acl: &[Acl], wanted: Perms) -> bool {
    acl.iter().any(|a| a.perms.any(wanted))
}

fn body<T: Jute, R>(read: impl FnOnce(&mut BytesMut) -> Result<R, Code>) -> Result<T, Code> {
    let mut out = BytesMut::from(&b"before"[..]);
    match read(&mut out) {
        Ok(_) => {
            let mut r = Reader::new(out.freeze().slice(6..));
            let value = r.get().expect("decodes");
            assert_eq!(r.remaining(), 0);
            Ok(value)
        }
        Err(code) => {
            assert_eq!(&out[..], b"before");
            Err(code)
        }
    }
}

#[test]
fn data_and_stat() {
    let s = state();
    let get = |path: &str| body::<DataResponse, _>(|out| get_data(&s, path, &by_bits, out));
    let a = get("/a").expect("open");
    assert_eq!(
        (a.data.as_deref(), a.stat.num_children, a.stat.cversion),
        (Some(&b"data"[..]), 4, 4)
    );
    assert_eq!(get("/a/b").expect("readable").data, None);
    assert_eq!(get("/a/deny").unwrap_err(), Code::NO_AUTH);
    for path in ["/x", "a", "/a/", "//", "/a\0", "/a/b/c"] {
        assert_eq!(get(path).unwrap_err(), Code::NO_NODE, "{path}");
    }
    // The empty path is the root's other name.
    assert_eq!(get("").expect("root"), get("/").expect("root"));
    let exists = |path: &str| body::<Stat, _>(|out| exists(&s, path, &by_bits, out));
    assert_eq!(exists("/a").expect("open"), a.stat);
    assert_eq!(exists("/a/deny").unwrap_err(), Code::NO_AUTH);
    assert_eq!(exists("/a\0").unwrap_err(), Code::BAD_ARGUMENTS);
    assert_eq!(exists("/e1").expect("open").ephemeral_owner, 0x10);
}

#[test]
fn children() {
    let s = state();
    let sorted = |names: Option<Vec<String>>| {
        let mut names = names.expect("not null");
        names.sort();
        names
    };
    let r = body::<NamesResponse, _>(|out| get_children(&s, "/a", &by_bits, out)).expect("open");
    assert_eq!(sorted(r.names), ["b", "c", "deny", "e1"]);
    let r =
        body::<Children2Response, _>(|out| get_children2(&s, "/", &by_bits, out)).expect("open");
    assert_eq!(sorted(r.children), ["a", "e1", "e2", "zookeeper"]);
    assert_eq!((r.stat.num_children, r.stat.cversion), (4, 2));
    let r = body::<NamesResponse, _>(|out| get_children(&s, "/a/b", &by_bits, out)).expect("perms");
    assert_eq!(r.names, Some(vec![]));
    let denied = body::<NamesResponse, _>(|out| get_children(&s, "/a/deny", &by_bits, out));
    assert_eq!(denied.unwrap_err(), Code::NO_AUTH);
}

#[test]
fn acls_are_masked_for_who_may_not_change_them() {
    let s = state();
    let get = |path: &str| body::<AclResponse, _>(|out| get_acl(&s, path, &by_bits, out));
    let ids = |r: AclResponse| r.acl.expect("not null")[0].id.id().to_owned();
    assert_eq!(ids(get("/a").expect("open")), "anyone");
    assert_eq!(ids(get("/a/b").expect("READ")), "u1:x");
    assert_eq!(ids(get("/a/c").expect("ADMIN")), "u16:h");
    assert_eq!(get("/a/deny").unwrap_err(), Code::NO_AUTH);
    let plain = Acl { perms: Perms::READ, id: Id::new("ip", "1:2") };
    assert_eq!(mask(&plain), plain);
    let colons = Acl { perms: Perms::READ, id: Id::new("digest", "a:b:c") };
    assert_eq!(mask(&colons).id.id(), "a:x");
}

#[test]
fn ephemerals_by_plain_prefix_and_counts() {
    let s = state();
    let get = |session, prefix: Option<&str>| {
        let mut own = Belongings::begin(&s, SessionId(session));
        while own.step(&s, ephemerals_prefix(prefix), 2) != Progress::Done {
            own.settle();
        }
        let count = own.count();
        let mut r = Reader::new(own.into_pieces().flatten().collect());
        let mut names: Vec<String> = (0..count).map(|_| r.get().expect("a path")).collect();
        assert_eq!(r.remaining(), 0);
        names.sort();
        names
    };
    for all in [None, Some(""), Some("  "), Some("/")] {
        assert_eq!(get(0x10, all), ["/a/e1", "/e1", "/e2"]);
    }
    assert_eq!(get(0x10, Some("/e")), ["/e1", "/e2"]);
    assert_eq!(get(0x10, Some("/a/")), ["/a/e1"]);
    assert!(get(0x11, None).is_empty());
    assert_eq!(s.known_children_number("/"), Some(10));
    let count = |path: &str| {
        let node = s.node(path).expect("it is there");
        let mut census = Census::begin(&node);
        while census.step(&node, 1) != Progress::Done {}
        census.count()
    };
    assert_eq!(count("/a"), 4);
    assert_eq!(count("/e1"), 0);
}

#[test]
fn multi_reads_answer_each_for_itself() {
    let s = state();
    let read = |path: &str| ReadRequest { path: Some(path.to_owned()), watch: true };
    let ops = [Op::GetData(read("/a")), Op::GetData(read("/x")), Op::GetChildren(read("/a/deny"))];
    let mut out = BytesMut::new();
    assert_eq!(multi_read(&s, &ops, &by_bits, &mut out, &mut |_, _, _| {}), Some(Code::OK));
    let mut r = Reader::new(out.freeze());
    let header = |r: &mut Reader| {
        let h: MultiHeader = r.get().expect("header");
        (h.opcode, h.done, h.err)
    };
    assert_eq!(header(&mut r), (4, false, 0));
    assert_eq!(r.get::<DataResponse>().expect("data").data.as_deref(), Some(&b"data"[..]));
    assert_eq!((header(&mut r), r.i32()), ((-1, false, -101), Ok(-101)));
    assert_eq!((header(&mut r), r.i32()), ((-1, false, -102), Ok(-102)));
    assert_eq!((header(&mut r), r.remaining()), ((-1, true, -1), 0));
    // Nothing to read, or nothing that reads.
    let mut out = BytesMut::new();
    assert_eq!(
        (multi_read(&s, &[], &by_bits, &mut out, &mut |_, _, _| {}), out.len()),
        (Some(Code::OK), 9)
    );
    let delete = Op::Delete(DeleteRequest { path: Some("/a".into()), version: -1 });
    let mut out = BytesMut::new();
    let code = multi_read(&s, &[delete], &by_bits, &mut out, &mut |_, _, _| {});
    assert_eq!((code, out.len()), (Some(Code::MARSHALLING_ERROR), 9));
}

#[test]
fn results_of_a_multi() {
    let part = |opcode, code, path: Option<&str>, stat| SubResult {
        opcode,
        code,
        path: path.map(Into::into),
        stat,
    };
    let stat = Some(Stat { czxid: 5, ..Stat::default() });
    let parts = [
        part(1, Code::OK, Some("/a"), None),
        part(15, Code::OK, Some("/b"), stat),
        part(21, Code::OK, Some("/t"), stat),
        part(2, Code::OK, Some("/a"), None),
        part(5, Code::OK, Some("/b"), stat),
        part(13, Code::OK, Some("/b"), None),
        part(-1, Code::OK, None, None),
        part(-1, Code::RUNTIME_INCONSISTENCY, None, None),
    ];
    let mut out = BytesMut::new();
    assert!(write_multi_results(&parts, &mut out));
    let mut r = Reader::new(out.freeze());
    let mut header = |expect: (i32, i32), body: usize| {
        let h: MultiHeader = r.get().expect("header");
        assert_eq!((h.opcode, h.err, h.done), (expect.0, expect.1, false));
        for _ in 0..body {
            r.u8().expect("body");
        }
    };
    header((1, 0), 6);
    header((15, 0), 6 + 68);
    header((15, 0), 6 + 68);
    header((2, 0), 0);
    header((5, 0), 68);
    header((13, 0), 0);
    header((-1, 0), 4);
    header((-1, -2), 4);
    assert_eq!(r.get::<MultiHeader>().map(|h| h.done), Ok(true));
    let moved = [part(-1, Code::SESSION_MOVED, None, None)];
    assert!(!write_multi_results(&moved, &mut BytesMut::new()));
}

#[test]
fn watches_set_again_catch_up() {
    let s = state();
    let table = WatchTable::new();
    let list = |paths: &[&str]| Some(paths.iter().map(|p| (*p).to_owned()).collect());
    let request = SetWatches2 {
        relative_zxid: 4,
        data: list(&["/a", "/a/deny", "/gone"]),
        exist: list(&["/a", "/missing"]),
        child: list(&["/a/b", "/a", "/gone"]),
        persistent: list(&["/a"]),
        recursive: list(&["/gone"]),
    };
    let mut told = Vec::new();
    set_watches(&s, &table, ConnId(1), &request, &mut |kind, path| {
        told.push((kind, path.to_owned()));
    });
    let expect = [
        (EventKind::DataChanged, "/a/deny"),
        (EventKind::Deleted, "/gone"),
        (EventKind::Created, "/a"),
        (EventKind::ChildrenChanged, "/a"),
        (EventKind::Deleted, "/gone"),
    ];
    assert_eq!(told, expect.map(|(kind, path)| (kind, path.to_owned())));
    let watched = [("/a", 1), ("/missing", 1), ("/gone", 1)];
    let by_path = table.by_path();
    for (path, count) in watched {
        let conns = by_path.iter().find(|(p, _)| p == path).map(|(_, c)| c.len());
        assert_eq!(conns, Some(count), "{path}");
    }
    assert!(table.contains(ConnId(1), "/a/b", crate::state::watch::WatcherType::Children));
}
