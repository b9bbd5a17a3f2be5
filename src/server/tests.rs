//! The shell with real sockets and threads: the ordering rule, back-pressure, bad input, restarts.

use std::io::{Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::standalone::Standalone;
use crate::config::{Overrides, RealFiles, load_file};
use crate::proto::jute::{Jute, Reader, Write};
use crate::proto::opcode::OpCode;
use crate::proto::records::*;
use crate::types::{Code, open_acl};

/// A server on a free port with a directory of its own.
struct Server {
    runtime: tokio::runtime::Runtime,
    server: Standalone,
}

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("rookeeper-{}-{name}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Server {
    fn start(dir: &Path, more: &str) -> Server {
        let file = dir.join("zoo.cfg");
        let text = format!(
            "clientPort=0\nclientPortAddress=127.0.0.1\ndataDir={}\ntickTime=1000\n{more}\n",
            dir.join("data").display()
        );
        std::fs::write(&file, text).expect("writable");
        let loaded = load_file(&file, &Overrides::default(), &RealFiles).expect("a configuration");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let server = runtime.block_on(Standalone::start(Arc::new(loaded.config))).expect("starts");
        Server { runtime, server }
    }

    fn address(&self) -> SocketAddr {
        self.server.client
    }

    fn stop(mut self) {
        self.server.stop();
        self.runtime.shutdown_background();
    }
}

/// A client made of one socket.
struct Raw {
    stream: TcpStream,
    session: i64,
    password: Bytes,
}

impl Raw {
    fn dial(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Raw { stream, session: 0, password: Bytes::from_static(&[0; 16]) }
    }

    fn connect(address: SocketAddr) -> Raw {
        let mut raw = Raw::dial(address);
        assert!(raw.greet(0, Bytes::from_static(&[0; 16])), "a new session");
        raw
    }

    /// The handshake; false when the session is refused.
    fn greet(&mut self, session: i64, password: Bytes) -> bool {
        let request = ConnectRequest {
            timeout_ms: 10_000,
            session,
            passwd: Some(password),
            read_only: Some(false),
            ..Default::default()
        };
        let mut out = BytesMut::new();
        let at = crate::proto::frame::begin(&mut out);
        out.put(&request);
        crate::proto::frame::end(&mut out, at);
        self.stream.write_all(&out).expect("written");
        let response = ConnectResponse::from_bytes(self.frame().expect("a response")).expect("one");
        self.session = response.session;
        self.password = response.passwd.unwrap_or_default();
        self.session != 0
    }

    fn send(&mut self, requests: &[(i32, OpCode, Bytes)]) {
        self.offer(requests).expect("written");
    }

    /// Sends to a server that may refuse before it has taken all.
    fn offer(&mut self, requests: &[(i32, OpCode, Bytes)]) -> std::io::Result<()> {
        let mut out = BytesMut::new();
        for (xid, opcode, body) in requests {
            let at = crate::proto::frame::begin(&mut out);
            out.i32(*xid);
            out.i32(opcode.0);
            out.extend_from_slice(body);
            crate::proto::frame::end(&mut out, at);
        }
        self.stream.write_all(&out)
    }

    /// The next frame; None at the end of the stream.
    fn frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).ok()?;
        Some(frame.into())
    }

    /// The next frame's header, and what follows it.
    fn reply(&mut self) -> (ReplyHeader, Reader) {
        let mut reader = Reader::new(self.frame().expect("a reply"));
        let header = reader.get().expect("a header");
        (header, reader)
    }

    fn call(&mut self, opcode: OpCode, body: &impl Jute) -> (ReplyHeader, Reader) {
        self.send(&[(1, opcode, body.to_bytes())]);
        self.reply()
    }

    fn create(&mut self, path: &str, data: &[u8]) {
        let (header, _) = self.call(OpCode::CREATE, &create(path, data));
        assert_eq!(Code(header.err), Code::OK, "create {path}");
    }

    fn get(&mut self, path: &str) -> Vec<u8> {
        let (header, mut r) = self.call(OpCode::GET_DATA, &read(path, false));
        assert_eq!(Code(header.err), Code::OK, "get {path}");
        r.get::<DataResponse>().expect("data").data.expect("not null").to_vec()
    }
}

fn create(path: &str, data: &[u8]) -> CreateRequest {
    CreateRequest {
        path: Some(path.into()),
        data: Some(Bytes::copy_from_slice(data)),
        acl: Some(open_acl()),
        flags: 0,
    }
}

fn read(path: &str, watch: bool) -> ReadRequest {
    ReadRequest { path: Some(path.into()), watch }
}

fn set(path: &str, data: &[u8]) -> SetDataRequest {
    let data = Some(Bytes::copy_from_slice(data));
    SetDataRequest { path: Some(path.into()), data, version: -1 }
}

/// The rule of `line`: with several readers and a busy writer, no reply shows a change before the
/// watch event that announces it, and no connection's zxids go back.
#[test]
fn an_event_comes_before_what_it_announces() {
    let dir = Dir::new("ordering");
    let server = Server::start(&dir.0, "");
    let address = server.address();
    Raw::connect(address).create("/n", b"0");
    let writer = thread::spawn(move || {
        let mut raw = Raw::connect(address);
        for round in 0..150_u32 {
            let sets: Vec<_> = (0..10)
                .map(|i| {
                    let value = (round * 10 + i + 1).to_string();
                    (1, OpCode::SET_DATA, set("/n", value.as_bytes()).to_bytes())
                })
                .collect();
            raw.send(&sets);
            for _ in &sets {
                assert_eq!(raw.reply().0.err, 0);
            }
        }
    });
    let readers: Vec<_> = (0..4).map(|_| thread::spawn(move || watch_closely(address))).collect();
    writer.join().expect("the writer");
    let seen: u64 = readers.into_iter().map(|r| r.join().expect("a reader")).sum();
    assert!(seen > 0, "events were seen");
    server.stop();
}

/// Reads "/n" until it has its last value; returns the number of events.
fn watch_closely(address: SocketAddr) -> u64 {
    let mut raw = Raw::connect(address);
    let (mut events, mut last_zxid) = (0, 0);
    // The value under which a watch stands, if one does.
    let mut armed: Option<String> = None;
    loop {
        let mut requests = vec![(7, OpCode::GET_DATA, read("/n", true).to_bytes())];
        requests.extend((0..9).map(|_| (8, OpCode::GET_DATA, read("/n", false).to_bytes())));
        raw.send(&requests);
        let (mut answers, mut done) = (0, false);
        while answers < requests.len() {
            let (header, mut r) = raw.reply();
            assert!(header.zxid >= last_zxid, "{} after {last_zxid}", header.zxid);
            last_zxid = header.zxid;
            if header.xid == -1 {
                assert!(armed.take().is_some(), "an event of a watch that does not stand");
                events += 1;
                continue;
            }
            answers += 1;
            let data = r.get::<DataResponse>().expect("data").data.expect("not null");
            let value = String::from_utf8(data.to_vec()).expect("digits");
            if let Some(before) = &armed {
                assert_eq!(&value, before, "the change was shown before its event");
            }
            if header.xid == 7 {
                armed = Some(value.clone());
            }
            done = value == "1500";
        }
        if done {
            return events;
        }
    }
}

/// A client's own writes and reads, all sent at once, are answered in order and as of their place.
#[test]
fn pipelined_reads_see_the_writes_before_them_and_none_after() {
    let dir = Dir::new("pipeline");
    let server = Server::start(&dir.0, "globalOutstandingLimit=10");
    let mut raw = Raw::connect(server.address());
    raw.create("/n", b"");
    let mut requests = Vec::new();
    for i in 0..300_i32 {
        let value = i.to_string();
        requests.push((2 * i + 1, OpCode::SET_DATA, set("/n", value.as_bytes()).to_bytes()));
        requests.push((2 * i + 2, OpCode::GET_DATA, read("/n", false).to_bytes()));
    }
    raw.send(&requests);
    for i in 0..300_i32 {
        assert_eq!(raw.reply().0.xid, 2 * i + 1);
        let (header, mut r) = raw.reply();
        assert_eq!(header.xid, 2 * i + 2);
        let data = r.get::<DataResponse>().expect("data").data.expect("not null");
        assert_eq!(data, i.to_string().as_bytes());
    }
    server.stop();
}

/// S1, S2, S15: what can't be a client is closed, and the others notice nothing.
#[test]
fn bad_input_closes_one_connection() {
    let dir = Dir::new("bad");
    let server = Server::start(&dir.0, "");
    let mut good = Raw::connect(server.address());
    good.create("/good", b"x");
    let hex: &[&[u8]] = &[
        &[0, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0, 0x10, 0, 0],
        &[0, 0, 0, 1, 0],
        &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
    ];
    for bytes in hex {
        let mut raw = Raw::dial(server.address());
        raw.stream.write_all(bytes).expect("written");
        assert!(raw.frame().is_none(), "{bytes:x?} is closed without an answer");
        assert_eq!(good.get("/good"), b"x");
    }
    // After the handshake, too.
    for bytes in hex {
        let mut raw = Raw::connect(server.address());
        raw.stream.write_all(bytes).expect("written");
        let _ = raw.stream.shutdown(Shutdown::Write);
        while raw.frame().is_some() {}
        assert_eq!(good.get("/good"), b"x");
    }
    // Half a handshake, then nothing.
    let mut raw = Raw::dial(server.address());
    raw.stream.write_all(&[0, 0, 0, 45, 0, 0]).expect("written");
    raw.stream.shutdown(Shutdown::Write).expect("shut");
    assert!(raw.frame().is_none());
    assert_eq!(good.get("/good"), b"x");
    server.stop();
}

/// The largest frame is taken, one byte more is not.
#[test]
fn the_frame_limit_is_exact() {
    let dir = Dir::new("limit");
    let server = Server::start(&dir.0, "");
    for (surplus, taken) in [(0, true), (1, false)] {
        let mut raw = Raw::connect(server.address());
        let empty = 8 + create("/x", b"").to_bytes().len();
        let body = create("/x", &vec![b'x'; 0xfffff - empty + surplus]).to_bytes();
        assert_eq!(body.len() + 8, 0xfffff + surplus);
        let sent = raw.offer(&[(1, OpCode::CREATE, body)]);
        assert_eq!(sent.is_ok() && raw.frame().is_some(), taken);
    }
    server.stop();
}

/// S5: who asks for more than it reads is not answered beyond a bound, holds up nobody, and gets
/// everything once it reads.
#[test]
fn a_client_that_does_not_read_waits_for_itself() {
    let dir = Dir::new("slow");
    let server = Server::start(&dir.0, "");
    let mut slow = Raw::connect(server.address());
    slow.create("/big", &vec![7; 500_000]);
    let gets: Vec<_> =
        (0..100).map(|i| (i, OpCode::GET_DATA, read("/big", false).to_bytes())).collect();
    slow.send(&gets);
    let mut other = Raw::connect(server.address());
    other.create("/small", b"s");
    for _ in 0..100 {
        assert_eq!(other.get("/small"), b"s");
    }
    for i in 0..100 {
        let (header, mut r) = slow.reply();
        assert_eq!(header.xid, i);
        assert_eq!(r.get::<DataResponse>().expect("data").data.expect("data").len(), 500_000);
    }
    server.stop();
}

/// What was acknowledged is there after a stop; sessions can be renewed with their password alone.
#[test]
fn data_and_sessions_survive_a_restart() {
    let dir = Dir::new("restart");
    let server = Server::start(&dir.0, "");
    let mut raw = Raw::connect(server.address());
    raw.create("/kept", b"1");
    let mut ephemeral = create("/mine", b"2");
    ephemeral.flags = 1;
    assert_eq!(raw.call(OpCode::CREATE, &ephemeral).0.err, 0);
    let (session, password) = (raw.session, raw.password.clone());
    server.stop();

    let server = Server::start(&dir.0, "4lw.commands.whitelist=mntr");
    let mut wrong = Raw::dial(server.address());
    let guess = crate::replica::password::apache(crate::types::SessionId(session));
    assert!(!wrong.greet(session, Bytes::copy_from_slice(&guess)), "a computed password");
    assert!(wrong.frame().is_none(), "refused and closed");
    let mut again = Raw::dial(server.address());
    assert!(again.greet(session, password.clone()), "the session goes on");
    assert_eq!(again.get("/kept"), b"1");
    assert_eq!(again.get("/mine"), b"2");
    // A third connection takes the session over; the second is closed.
    let mut third = Raw::dial(server.address());
    assert!(third.greet(session, password), "the session moves");
    let mut operator = Raw::dial(server.address());
    operator.stream.write_all(b"mntr").expect("written");
    let mut mntr = String::new();
    operator.stream.read_to_string(&mut mntr).expect("text");
    assert!(mntr.contains("zk_connection_revalidate_count\t3\n"), "{mntr}");
    assert!(again.frame().is_none(), "the old connection is closed");
    assert_eq!(third.call(OpCode::CLOSE_SESSION, &()).0.err, 0);
    assert!(third.frame().is_none(), "good-bye");
    let mut last = Raw::connect(server.address());
    assert_eq!(Code(last.call(OpCode::EXISTS, &read("/mine", false)).0.err), Code::NO_NODE);
    server.stop();
}

/// maxClientCnxns counts per address and is given back.
#[test]
fn connections_per_address_are_limited() {
    let dir = Dir::new("many");
    let server = Server::start(&dir.0, "maxClientCnxns=3");
    let mut kept: Vec<Raw> = (0..3).map(|_| Raw::connect(server.address())).collect();
    let mut refused = Raw::dial(server.address());
    assert!(refused.frame().is_none(), "the fourth is closed");
    drop(kept.pop());
    // The end of a connection is noticed in its own time.
    loop {
        let mut raw = Raw::dial(server.address());
        if raw.stream.write_all(b"srvr").is_ok() {
            let mut text = String::new();
            if raw.stream.read_to_string(&mut text).is_ok() && text.contains("Mode: standalone") {
                break;
            }
        }
        thread::yield_now();
    }
    server.stop();
}

/// Four-letter words come before a handshake and never after one.
#[test]
fn four_letter_words_are_answered_and_closed() {
    let dir = Dir::new("words");
    let server = Server::start(&dir.0, "4lw.commands.whitelist=ruok,stat");
    let ask = |bytes: &[u8]| {
        let mut raw = Raw::dial(server.address());
        raw.stream.write_all(bytes).expect("written");
        let mut text = String::new();
        let _ = raw.stream.read_to_string(&mut text);
        text
    };
    assert_eq!(ask(b"ruok"), "imok");
    assert!(ask(b"srvr").starts_with("Zookeeper version:"));
    assert!(ask(b"stat").contains("Clients:"));
    for word in ["conf", "stmk"] {
        let refused = format!("{word} is not executed because it is not in the whitelist.\n");
        assert_eq!(ask(word.as_bytes()), refused);
    }
    let mut raw = Raw::connect(server.address());
    raw.stream.write_all(b"ruok").expect("written");
    assert!(raw.frame().is_none(), "after the handshake it is a length");
    server.stop();
}

/// The numbers of `q` and `hard` are what Apache 3.9.5 said after the same requests; a second quota
/// below `soft` is added as `QuotaMetricsUtils` adds it.
#[test]
fn quotas_are_told_by_namespace() {
    let dir = Dir::new("quotas");
    let server = Server::start(&dir.0, "4lw.commands.whitelist=mntr\nenforceQuota=true");
    let mut raw = Raw::connect(server.address());
    let limit = |raw: &mut Raw, path: &str, limits: &[u8]| {
        let node = format!("/zookeeper/quota{path}");
        raw.create(&node, b"");
        raw.create(&format!("{node}/zookeeper_limits"), limits);
        raw.create(&format!("{node}/zookeeper_stats"), b"count=0,bytes=0");
    };
    for (path, limits) in [
        ("/q", &b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=3"[..]),
        ("/hard", b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=-1"),
        ("/soft", b"count=5,bytes=-1"),
    ] {
        raw.create(path, b"");
        limit(&mut raw, path, limits);
    }
    raw.create("/q/deep", b"");
    raw.create("/q/a", b"x");
    for path in ["/q/b", "/q/c", "/q/d"] {
        let (header, _) = raw.call(OpCode::CREATE, &create(path, b"y"));
        assert_eq!(header.err, crate::types::Code::QUOTA_EXCEEDED.0, "{path}");
    }
    raw.call(OpCode::SET_DATA, &set("/q/deep", b"01234"));
    raw.call(OpCode::SET_DATA, &set("/hard", b"0123456789abcdef"));
    // Below a namespace that has a quota already, more add up.
    raw.create("/soft/sub", b"123");
    raw.create("/zookeeper/quota/soft/sub", b"");
    raw.create("/zookeeper/quota/soft/sub/zookeeper_limits", b"count=2,bytes=9");
    let mut words = Raw::dial(server.address());
    words.stream.write_all(b"mntr").expect("written");
    let mut text = String::new();
    words.stream.read_to_string(&mut text).expect("an answer");
    for (namespace, name, value) in [
        ("q", "count_limit", "3"),
        ("q", "bytes_limit", "-1"),
        ("q", "count_usage", "3"),
        ("q", "bytes_usage", "6"),
        ("q", "exceeded_error", "3"),
        ("hard", "count_limit", "-1"),
        ("hard", "bytes_limit", "10"),
        ("hard", "count_usage", "1"),
        ("hard", "bytes_usage", "0"),
        ("hard", "exceeded_error", "1"),
        ("soft", "count_limit", "7"),
        ("soft", "bytes_limit", "8"),
    ] {
        let line = format!("zk_{namespace}_quota_{name}_per_namespace\t{value}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    server.stop();
}

/// Apache closes without a word when the eight bytes of the mask are not there.
#[test]
fn nobody_waits_for_the_mask_of_stmk() {
    let dir = Dir::new("stmk");
    let server = Server::start(&dir.0, "4lw.commands.whitelist=stmk");
    for (bytes, answer) in
        [(&b"stmk"[..], ""), (b"stmk\0\0\0", ""), (b"stmk\0\0\0\0\0\0\0\x02", "2")]
    {
        let mut raw = Raw::dial(server.address());
        raw.stream.write_all(bytes).expect("written");
        let mut text = String::new();
        raw.stream.read_to_string(&mut text).expect("closed by the server");
        assert_eq!(text, answer, "{bytes:?}");
    }
    server.stop();
}

/// Clients come and go in threads while others work: nothing is lost, nothing stays behind.
#[test]
fn sessions_come_and_go_under_load() {
    let dir = Dir::new("churn");
    let server = Server::start(&dir.0, "maxClientCnxns=0");
    let address = server.address();
    let threads: Vec<_> = (0..4)
        .map(|t| {
            thread::spawn(move || {
                for i in 0..40 {
                    let mut raw = Raw::connect(address);
                    let mut request = create(&format!("/e-{t}-{i}"), b"x");
                    request.flags = 1;
                    assert_eq!(raw.call(OpCode::CREATE, &request).0.err, 0);
                    let (header, _) = raw.call(OpCode::EXISTS, &read("/nothing", true));
                    assert_eq!(Code(header.err), Code::NO_NODE);
                    assert_eq!(raw.call(OpCode::CLOSE_SESSION, &()).0.err, 0);
                    assert!(raw.frame().is_none());
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().expect("a thread"));
    let mut raw = Raw::connect(address);
    let (_, mut r) = raw.call(OpCode::GET_CHILDREN, &read("/", false));
    assert_eq!(r.get::<NamesResponse>().expect("names").names, Some(vec!["zookeeper".to_string()]));
    server.stop();
}

/// A client that watches and does not read is closed when the events that wait for it are more than
/// all connections may have waiting, long before its own bound of 64 MiB.
#[test]
fn who_is_sent_more_than_all_may_have_waiting_is_closed() {
    let dir = Dir::new("replies");
    let server = Server::start(&dir.0, "limits.replyBytes=1048576");
    let path = format!("/{}", "n".repeat(10_000));
    let mut writer = Raw::connect(server.address());
    writer.create(&path, b"0");
    let mut watcher = Raw::connect(server.address());
    let request = WatchRequest { path: Some(path.clone()), kind: 0 };
    let (header, _) = watcher.call(OpCode::ADD_WATCH, &request);
    assert_eq!(Code(header.err), Code::OK);
    // Of 40 MB the sockets take a part.
    let changes = 4000;
    for _ in 0..changes / 100 {
        let sets: Vec<_> =
            (0..100).map(|_| (1, OpCode::SET_DATA, set(&path, b"1").to_bytes())).collect();
        writer.send(&sets);
        for _ in &sets {
            assert_eq!(Code(writer.reply().0.err), Code::OK);
        }
    }
    let told = std::iter::from_fn(|| watcher.frame()).take(changes).count();
    assert!(told < changes, "{told} events");
    assert_eq!(writer.get(&path), b"1");
    server.stop();
}
