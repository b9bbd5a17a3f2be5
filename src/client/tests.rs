//! The client against a scripted server: what it sends is decoded and checked, what it is answered
//! is written by hand.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::proto::frame;
use crate::proto::jute::{Jute, Reader, Write};
use crate::proto::opcode::OpCode;
use crate::proto::records::*;
use crate::types::{Code, CreateMode, Stat, open_acl};

#[test]
fn connect_strings() {
    let check = |text: &str, expect: &str| {
        let got = match text.parse::<ConnectString>() {
            Ok(c) => {
                let hosts: Vec<String> = c.hosts.iter().map(Host::to_string).collect();
                format!("{} {}", hosts.join(" "), c.chroot)
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "{text}");
    };
    check("a", "a:2181 ");
    check("a:1,b:2/x/y", "a:1 b:2 /x/y");
    check("a:1, b/", "a:1 b:2181 ");
    check("[::1]:5,[::2]", "[::1]:5 [::2]:2181 ");
    check("::1", "[::1]:2181 ");
    check("", "invalid connect string \"\": no server named");
    check("a:x", "invalid connect string \"a:x\": a port must be a number up to 65535");
    check("a/x/", "invalid connect string \"a/x/\": the chroot is not a valid path");
}

#[test]
fn chroot_is_stripped() {
    let check = |chroot: &str, path: &str, expect: &str| {
        assert_eq!(driver::strip_chroot(chroot, path.to_owned()), expect);
    };
    check("", "/a", "/a");
    check("/a", "/a", "/");
    check("/a", "/a/b", "/b");
    check("/a", "/ab", "/ab");
}

#[test]
fn watches_are_registered_again_in_bounded_requests() {
    let mut watches = watches::Watches::default();
    assert!(watches.requests(5).is_empty());
    watches.apply(watches::Effect::Exists("/e".into()), Code::NO_NODE);
    watches.apply(watches::Effect::Exists("/d".into()), Code::OK);
    watches.apply(watches::Effect::Data("/missing".into()), Code::NO_NODE);
    watches.apply(watches::Effect::Children("/c".into()), Code::OK);
    let requests = watches.requests(5);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].0, OpCode::SET_WATCHES);
    let sent = SetWatches::from_bytes(requests[0].1.clone()).unwrap();
    let names = |list: &[&str]| Some(list.iter().map(|s| s.to_string()).collect::<Vec<_>>());
    assert_eq!(
        sent,
        SetWatches {
            relative_zxid: 5,
            data: names(&["/d"]),
            exist: names(&["/e"]),
            child: names(&["/c"]),
        }
    );
    watches.fired(EventKind::NodeCreated, "/e");
    watches.fired(EventKind::NodeDeleted, "/c");
    watches.fired(EventKind::NodeChildrenChanged, "/d");
    assert!(watches.contains("/d", WatcherType::Data));
    assert!(!watches.contains("/e", WatcherType::Any));
    watches.apply(watches::Effect::Add("/r".into(), AddWatchMode::PersistentRecursive), Code::OK);
    assert_eq!(watches.requests(5)[0].0, OpCode::SET_WATCHES2);
    let removed = watches.remove("/r".into(), WatcherType::Any);
    assert_eq!(removed, [(EventKind::PersistentWatchRemoved, "/r".to_owned())]);
    for i in 0..3000 {
        watches.apply(watches::Effect::Data(format!("/{i:0100}")), Code::OK);
    }
    let requests = watches.requests(5);
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|(_, body)| body.len() < 132 << 10));
}

/// The server's end of one connection.
struct Peer {
    stream: TcpStream,
    input: BytesMut,
}

impl Peer {
    async fn accept(listener: &TcpListener, session: i64) -> (Peer, ConnectRequest) {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = Peer { stream, input: BytesMut::new() };
        let request = ConnectRequest::from_bytes(peer.frame().await.unwrap()).unwrap();
        let response = ConnectResponse {
            timeout_ms: if session == 0 { 0 } else { request.timeout_ms },
            session,
            passwd: Some(Bytes::from_static(&[7; 16])),
            read_only: Some(false),
            ..ConnectResponse::default()
        };
        peer.send(&response.to_bytes()).await;
        (peer, request)
    }

    /// The next frame, None at the end of the connection.
    async fn frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = frame::next_frame(&mut self.input, 1 << 20).unwrap() {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn request<T: Jute>(&mut self, opcode: OpCode) -> (i32, T) {
        let mut r = Reader::new(self.frame().await.unwrap());
        let header: RequestHeader = r.get().unwrap();
        assert_eq!(OpCode(header.opcode), opcode);
        (header.xid, r.get().unwrap())
    }

    async fn reply(&mut self, xid: i32, zxid: i64, code: Code, body: &impl Jute) {
        let mut w = BytesMut::new();
        w.put(&ReplyHeader { xid, zxid, err: code.0 });
        w.put(body);
        self.send(&w).await;
    }

    async fn send(&mut self, body: &[u8]) {
        let mut w = BytesMut::new();
        w.i32(body.len() as i32);
        w.extend_from_slice(body);
        self.stream.write_all(&w).await.unwrap();
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

async fn listen(chroot: &str) -> (TcpListener, Options) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options::new(&format!("{}{chroot}", listener.local_addr().unwrap())).unwrap();
    (listener, options)
}

#[test]
fn requests_replies_and_chroot() {
    run(async {
        let (listener, options) = listen("/app").await;
        let server = async {
            let (mut peer, connect) = Peer::accept(&listener, 0x10).await;
            assert_eq!((connect.session, connect.timeout_ms), (0, 30_000));
            let (xid, create) = peer.request::<CreateRequest>(OpCode::CREATE).await;
            assert_eq!((xid, create.path.as_deref()), (1, Some("/app/x")));
            assert_eq!((create.data.as_deref(), create.flags), (Some(&b"1"[..]), 0));
            let path = PathRecord { path: Some("/app/x".into()) };
            peer.reply(xid, 9, Code::OK, &path).await;
            let (xid, get) = peer.request::<ReadRequest>(OpCode::GET_DATA).await;
            assert_eq!(get, ReadRequest { path: Some("/app/y".into()), watch: true });
            peer.reply(xid, 9, Code::NO_NODE, &()).await;
            let (xid, ()) = peer.request(OpCode::CLOSE_SESSION).await;
            peer.reply(xid, 10, Code::OK, &()).await;
        };
        let user = async {
            let (client, mut events) = Client::connect(options).await.unwrap();
            assert_eq!(client.status().session, 0x10);
            let created = client.create("/x", Some(b"1"), open_acl(), CreateMode::Persistent).await;
            assert_eq!(created.unwrap(), "/x");
            let error = client.get("/y", true).await.unwrap_err();
            assert_eq!(error, Error::Code { code: Code::NO_NODE, path: "/y".into() });
            assert_eq!(error.to_string(), "NoNode(-101) for /y");
            let error = client.get("y", true).await.unwrap_err();
            assert_eq!(error, Error::InvalidPath { path: "y".into() });
            client.close().await;
            assert_eq!(events.recv().await.unwrap().state, State::SyncConnected);
            assert_eq!(events.recv().await.unwrap().state, State::Closed);
            assert_eq!(events.recv().await, None);
            assert_eq!(client.sync("/").await, Err(Error::Closed));
        };
        tokio::join!(server, user);
    });
}

#[test]
fn a_lost_connection_is_renewed_with_auth_and_watches() {
    run(async {
        let (listener, mut options) = listen("").await;
        options.auth.push(("digest".into(), Bytes::from_static(b"u:p")));
        let server = async {
            let (mut peer, _) = Peer::accept(&listener, 0x10).await;
            let (xid, _) = peer.request::<AuthPacket>(OpCode::AUTH).await;
            peer.reply(xid, 0, Code::OK, &()).await;
            let (xid, _) = peer.request::<ReadRequest>(OpCode::EXISTS).await;
            peer.reply(xid, 77, Code::NO_NODE, &()).await;
            // The next request finds the connection gone.
            let (_, _) = peer.request::<ReadRequest>(OpCode::GET_DATA).await;
            drop(peer);
            let (mut peer, connect) = Peer::accept(&listener, 0x10).await;
            assert_eq!((connect.session, connect.last_zxid), (0x10, 77));
            assert_eq!(connect.passwd.as_deref(), Some(&[7; 16][..]));
            let (xid, auth) = peer.request::<AuthPacket>(OpCode::AUTH).await;
            assert_eq!(auth.auth.as_deref(), Some(&b"u:p"[..]));
            peer.reply(xid, 0, Code::OK, &()).await;
            let (xid, watches) = peer.request::<SetWatches>(OpCode::SET_WATCHES).await;
            assert_eq!(watches.exist, Some(vec!["/w".into()]));
            let event = WatcherEvent { kind: 1, state: 3, path: Some("/w".into()) };
            peer.reply(-1, -1, Code::OK, &event).await;
            peer.reply(xid, 80, Code::OK, &()).await;
            assert_eq!(peer.request::<()>(OpCode::CLOSE_SESSION).await.0, 3);
        };
        let user = async {
            let (client, mut events) = Client::connect(options).await.unwrap();
            assert_eq!(client.exists("/w", true).await, Ok(None));
            assert_eq!(client.get("/x", false).await, Err(Error::ConnectionLoss));
            let mut seen = Vec::new();
            for _ in 0..4 {
                let event = events.recv().await.unwrap();
                seen.push((event.kind, event.state, event.path));
            }
            assert_eq!(
                seen,
                [
                    (EventKind::None, State::SyncConnected, None),
                    (EventKind::None, State::Disconnected, None),
                    (EventKind::None, State::SyncConnected, None),
                    (EventKind::NodeCreated, State::SyncConnected, Some("/w".into())),
                ]
            );
            client.close().await;
        };
        tokio::join!(server, user);
    });
}

#[test]
fn an_expired_session_ends_the_client() {
    run(async {
        let (listener, mut options) = listen("").await;
        options.renew = Some((0x99, Bytes::from_static(&[1; 16])));
        let (_, result) = tokio::join!(Peer::accept(&listener, 0), Client::connect(options));
        assert_eq!(result.unwrap_err(), Error::SessionExpired);
    });
}

#[test]
fn a_refused_identity_ends_the_client() {
    run(async {
        let (listener, options) = listen("").await;
        let server = async {
            let (mut peer, _) = Peer::accept(&listener, 1).await;
            let (xid, _) = peer.request::<AuthPacket>(OpCode::AUTH).await;
            peer.reply(xid, 0, Code::AUTH_FAILED, &()).await;
        };
        let user = async {
            let (client, _events) = Client::connect(options).await.unwrap();
            assert_eq!(client.add_auth("no", &b"x"[..]).await, Err(Error::AuthFailed));
            assert_eq!(client.sync("/").await, Err(Error::AuthFailed));
        };
        tokio::join!(server, user);
    });
}

#[test]
fn multi_results() {
    let mut w = BytesMut::new();
    let header = |opcode| MultiHeader { opcode, done: false, err: 0 };
    w.put(&header(1));
    w.put(&PathRecord { path: Some("/a".into()) });
    w.put(&header(5));
    w.put(&StatResponse { stat: Stat { version: 3, ..Stat::default() } });
    w.put(&header(2));
    crate::proto::multi::write_error(&mut w, Code::NO_NODE);
    crate::proto::multi::write_end(&mut w);
    let results = multi::read_results(&mut Reader::new(w.freeze())).unwrap();
    assert_eq!(
        results,
        [
            OpResult::Created("/a".into()),
            OpResult::Set(Stat { version: 3, ..Stat::default() }),
            OpResult::Deleted,
            OpResult::Error(Code::NO_NODE),
        ]
    );
}

#[test]
fn damaged_results_of_multis() {
    let all = crate::testing::recorded::recorded("client");
    let replies = all.iter().filter(|m| !m.forth && matches!(m.opcode, Some(14 | 22)));
    let mut read = 0;
    for body in replies.map(|m| &m.bytes[20..]).filter(|body| !body.is_empty()) {
        let results = |bytes: &[u8]| {
            multi::read_results(&mut Reader::new(Bytes::copy_from_slice(bytes))).is_ok()
        };
        assert!(results(body));
        read += 1;
        crate::testing::recorded::every_damage(body, &mut |bytes, _| {
            results(bytes);
        });
    }
    assert!(read > 10, "{read}");
}

#[test]
fn prepared_requests_have_slots() {
    let body = ReadRequest { path: Some("/n0000".into()), watch: false };
    let request = pipe::Prepared::new(OpCode::GET_DATA, &body);
    assert_eq!(request.find("0000"), Some(4 + 8 + 4 + 2));
    assert_eq!(request.find_all("0000").len(), 1);
    assert_eq!(request.len(), 4 + 8 + 4 + 6 + 1);
}
