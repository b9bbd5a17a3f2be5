//! A whole standalone server made of values, spoken to by frames: transcripts in `fixtures/conn`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use super::*;
use crate::proto::multi::{Op, write_ops};
use crate::proto::records::*;
use crate::replica::password::Passwords;
use crate::replica::prep::PrepOptions;
use crate::replica::prep::tests::{acls, op, split};
use crate::replica::reaper::ReaperOptions;
use crate::replica::{Action, Deliver, Options, Replica, reply};
use crate::state::watch::{WatchLimits, WatchTable};
use crate::state::{Change, EventKind, StateMachine};
use crate::types::{Instant, Now, OwnerRules, Perms, Stat, WallTime, open_acl};

/// A connection and what the shell keeps of it.
struct Side {
    name: String,
    conn: Conn,
    input: BytesMut,
    out: BytesMut,
    ops: BTreeMap<i32, VecDeque<OpCode>>,
    answered: usize,
    session: Option<(SessionId, i32)>,
    closing: bool,
    close: Option<Ended>,
    gone: bool,
    greeted: bool,
    password: Bytes,
    xid: i32,
}

struct Outs<'a> {
    sides: &'a mut BTreeMap<u64, Side>,
    auth: &'a Auth,
}

impl Outs<'_> {
    fn with(&mut self, conn: ConnId, act: impl FnOnce(&mut Side)) {
        if let Some(side) = self.sides.get_mut(&conn.0).filter(|side| !side.gone) {
            act(side);
        }
    }
}

impl Deliver for Outs<'_> {
    fn frame(&mut self, conn: ConnId, frame: &[u8], done: u32) {
        self.with(conn, |side| {
            side.out.extend_from_slice(frame);
            side.answered += done as usize;
        });
    }
    fn event(&mut self, conn: ConnId, kind: EventKind, change: &Change) {
        let auth = self.auth;
        self.with(conn, |side| {
            if change.acl().is_none_or(|acl| auth.check(acl, side.conn.ids(), Perms::READ)) {
                reply::write_event(&mut side.out, change.zxid, kind, change.path());
            }
        });
    }
    fn connected(&mut self, conn: ConnId, session: SessionId, timeout_ms: i32) {
        self.with(conn, |side| side.session = Some((session, timeout_ms)));
    }
    fn closing(&mut self, conn: ConnId) {
        self.with(conn, |side| side.closing = true);
    }
    fn close(&mut self, conn: ConnId, why: &'static str) {
        self.with(conn, |side| side.close = Some(why));
    }
}

pub(crate) struct Subject {
    rules: Rules,
    state: StateMachine,
    watches: WatchTable,
    replica: Replica,
    sides: BTreeMap<u64, Side>,
    names: BTreeMap<String, u64>,
    now: Now,
    hold: bool,
    appended: Zxid,
    log: String,
}

const SUPER: &str = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

impl Subject {
    pub(crate) fn new() -> Subject {
        let owner_rules = OwnerRules { extended_types: true, emulate_353: false };
        let state = StateMachine::new(crate::state::Options { owner_rules, digest: true });
        let auth = crate::auth::Options {
            digest: Some(crate::auth::DigestAlgorithm::Sha1),
            super_digest: Some(SUPER.to_string()),
            ensemble: Some(crate::auth::EnsembleNames::Only(vec!["home".to_string()])),
            ..Default::default()
        };
        let options = Options {
            prep: PrepOptions {
                owner_rules,
                digest: true,
                close_session_txn: true,
                enforce_quota: false,
                reconfig_enabled: false,
            },
            auth: auth.clone(),
            passwords: Passwords::Secret {
                secret: b"secret".to_vec(),
                taken_over: BTreeSet::new(),
            },
            first_session_id: 0x100,
            tick_ms: 1000,
            timeout_min_ms: 2000,
            timeout_max_ms: 20_000,
            reaper: ReaperOptions {
                check_interval_ms: 60_000,
                max_per_minute: 10_000,
                max_never_used_ms: 0,
            },
        };
        let now = Now { mono: Instant::from_millis(100_000), wall: WallTime(5000) };
        Subject {
            rules: Rules { auth: Auth::new(auth), standalone: true, ..Rules::default() },
            replica: Replica::standalone(options, &state, now),
            state,
            watches: WatchTable::new(),
            sides: BTreeMap::new(),
            names: BTreeMap::new(),
            now,
            hold: false,
            appended: Zxid::ZERO,
            log: String::new(),
        }
    }

    pub(crate) fn run(&mut self, commands: &str) -> String {
        let mut lines = commands.lines();
        while let Some(line) = lines.next() {
            let words = split(line);
            match words[0].as_str() {
                "hold" => self.hold = true,
                "persist" => {
                    self.hold = false;
                    self.pump();
                    self.hold = words.get(1).is_some();
                }
                "tick" => self.tick(words[1].parse().expect("ms")),
                "gone" => self.gone(&words[1]),
                "limits" => self.limits(&words[1..]),
                "outstanding" => {
                    let n = words[1].parse().expect("number");
                    self.rules.load.outstanding.store(n, Ordering::Relaxed);
                    self.pump();
                }
                name => {
                    let mut bytes = BytesMut::new();
                    let rest = line[name.len()..].to_string();
                    for command in rest.split(';') {
                        self.command(name, &split(command), &mut lines, &mut bytes);
                    }
                    self.send(name, &bytes);
                }
            }
            self.print();
        }
        std::mem::take(&mut self.log)
    }

    fn limits(&mut self, words: &[String]) {
        for word in words {
            let (key, value) = word.split_once('=').expect("key=value");
            let n: usize = value.parse().unwrap_or(0);
            let limits = &mut self.rules.limits;
            match key {
                "frame" => limits.frame_bytes_max = n,
                "queue" => limits.queued_requests_max = n,
                "queue-bytes" => limits.queued_bytes_max = n,
                "watches" => {
                    let limits = WatchLimits { per_connection: n, ..WatchLimits::default() };
                    self.watches = WatchTable::with_limits(limits);
                }
                "global" => limits.global_outstanding_max = n,
                "throttle" => limits.throttle_requests_max = n,
                "wait" => limits.throttled_op_wait_ms = n as u64,
                "large" => limits.large_request_bytes = Some(n),
                "large-total" => limits.large_requests_bytes_max = n,
                "high-water" => limits.output_high_water_bytes = n,
                "enforce" => {
                    self.rules.enforced_schemes = Some(value)
                        .filter(|v| !v.is_empty())
                        .map(str::to_string)
                        .into_iter()
                        .collect();
                }
                other => panic!("limit {other}"),
            }
        }
    }

    /// Lets time pass, in steps: a server that does not look for long takes itself for one that stood
    /// still.
    fn tick(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(250);
            left -= step;
            self.now.mono = self.now.mono + std::time::Duration::from_millis(step);
            self.now.wall.0 += step as i64;
            let mut outs = Outs { sides: &mut self.sides, auth: &self.rules.auth };
            self.replica.handle_timeout(self.now, &self.state, &mut outs);
        }
        self.pump();
    }

    fn gone(&mut self, name: &str) {
        let id = self.names[name];
        let side = self.sides.get_mut(&id).expect("known");
        side.gone = true;
        let session = side.conn.session();
        self.watches.remove_conn(ConnId(id));
        self.replica.handle_disconnect(session, ConnId(id));
    }

    fn side(&mut self, name: &str) -> &mut Side {
        let next = self.sides.len() as u64 + 1;
        let id = *self.names.entry(name.to_string()).or_insert(next);
        self.sides.entry(id).or_insert_with(|| Side {
            name: name.to_string(),
            conn: Conn::new(ConnId(id), "10.0.0.1"),
            input: BytesMut::new(),
            out: BytesMut::new(),
            ops: BTreeMap::new(),
            answered: 0,
            session: None,
            closing: false,
            close: None,
            gone: false,
            greeted: false,
            password: Bytes::new(),
            xid: 0,
        })
    }

    fn command(
        &mut self,
        name: &str,
        words: &[String],
        lines: &mut std::str::Lines,
        bytes: &mut BytesMut,
    ) {
        if words[0] == "raw" {
            bytes.extend_from_slice(&unhex(&words[1]));
            return;
        }
        if words[0] == "connect" {
            let ask = self.connect(&words[1..]);
            self.side(name);
            let at = crate::proto::frame::begin(bytes);
            bytes.put(&ask);
            crate::proto::frame::end(bytes, at);
            return;
        }
        let mut body = BytesMut::new();
        let mut ops = Vec::new();
        if words[0].starts_with("multi") {
            ops = lines
                .by_ref()
                .take_while(|line| *line != "end")
                .map(|l| read_op(&split(l)))
                .collect();
        }
        let (xid, opcode) = request(words, &ops, &mut body);
        let side = self.side(name);
        let xid = xid.unwrap_or_else(|| {
            side.xid += 1;
            side.xid
        });
        side.ops.entry(xid).or_default().push_back(opcode);
        let at = crate::proto::frame::begin(bytes);
        bytes.i32(xid);
        bytes.i32(opcode.0);
        bytes.extend_from_slice(&body);
        crate::proto::frame::end(bytes, at);
    }

    fn connect(&mut self, words: &[String]) -> ConnectRequest {
        let mut ask = ConnectRequest {
            timeout_ms: 4000,
            passwd: Some(Bytes::from_static(&[0; 16])),
            read_only: Some(false),
            ..Default::default()
        };
        for word in words {
            match word.split_once('=') {
                Some(("timeout", ms)) => ask.timeout_ms = ms.parse().expect("ms"),
                Some(("zxid", zxid)) => ask.last_zxid = zxid.parse().expect("zxid"),
                Some(("session", id)) => ask.session = id.parse().expect("id"),
                Some(("protocol", n)) => ask.protocol = n.parse().expect("number"),
                Some(("resume", name)) => {
                    let side = &self.sides[&self.names[name]];
                    ask.session = side.session.map_or(0, |(id, _)| id.0);
                    ask.passwd = Some(side.password.clone());
                }
                Some(("passwd", "null")) => ask.passwd = None,
                Some(("passwd", hex)) => ask.passwd = Some(unhex(hex).into()),
                None if word == "old" => ask.read_only = None,
                None if word == "ro" => ask.read_only = Some(true),
                _ => panic!("{word}"),
            }
        }
        ask
    }

    fn send(&mut self, name: &str, bytes: &[u8]) {
        let side = self.side(name);
        if side.close.is_none() {
            side.input.extend_from_slice(bytes);
        }
        self.pump();
    }

    /// Lets everything run until nothing moves.
    fn pump(&mut self) {
        loop {
            let mut submits = Vec::new();
            for side in self.sides.values_mut() {
                side.conn.answered(std::mem::take(&mut side.answered));
                if side.gone || side.close.is_some() {
                    continue;
                }
                if let Some((session, _)) = side.session
                    && side.conn.session() != session
                {
                    side.conn.connected(session);
                }
                if side.closing {
                    side.conn.session_over();
                }
                let view = View { state: &self.state, watches: &self.watches };
                let now_ms = self.now.mono.as_millis();
                let mut want = Ok(Want::Answers);
                loop {
                    let tidies =
                        want == Ok(Want::Again) && !side.conn.reads_first(&side.input, &self.rules);
                    let view = (!tidies).then_some(view);
                    let mut turn =
                        Turn::new(&self.rules, now_ms, view, &mut side.out, &mut submits);
                    want = side.conn.run(&mut side.input, &mut turn);
                    let pieces = turn.pieces.take();
                    for piece in pieces.iter().flat_map(|pieces| &pieces.list) {
                        side.out.extend_from_slice(piece);
                    }
                    if pieces.is_none() && !matches!(want, Ok(Want::Again | Want::State)) {
                        break;
                    }
                }
                match want {
                    Ok(Want::End(why)) => side.close = Some(why),
                    Ok(_) => {}
                    Err(why) => {
                        side.out.clear();
                        side.close = Some(why);
                    }
                }
            }
            let idle = submits.is_empty();
            let mut outs = Outs { sides: &mut self.sides, auth: &self.rules.auth };
            for submit in submits {
                match submit {
                    Submit::Connect(ask) => {
                        self.replica.handle_connect(self.now, &self.state, ask, &mut outs);
                    }
                    Submit::Request(request) => {
                        self.replica.handle_request(self.now, &self.state, request, &mut outs);
                    }
                }
            }
            while let Some(Action::Append { zxid, .. }) = self.replica.poll_action() {
                self.appended = zxid;
            }
            if !self.hold {
                self.replica.handle_persisted(self.appended);
            }
            let applied = self.replica.has_committed();
            while self.replica.apply(&mut self.state, &self.watches, &mut outs, 100) {}
            if idle && !applied && self.sides.values().all(|side| side.answered == 0) {
                return;
            }
            if idle && !applied {
                // Answers without a transaction (a renewal): once more.
                continue;
            }
        }
    }

    /// What each connection has received since the last look.
    fn print(&mut self) {
        for side in self.sides.values_mut() {
            let mut out = std::mem::take(&mut side.out);
            while out.len() >= 4 {
                let length = out.get_u32() as usize;
                let frame = out.split_to(length).freeze();
                let text = shown(side, frame);
                writeln!(self.log, "{}: {text}", side.name).expect("a string");
            }
            if let Some(why) = side.close
                && !side.gone
            {
                writeln!(self.log, "{}: closed, {why}", side.name).expect("a string");
                side.gone = true;
                let (id, session) = (side.conn.id, side.conn.session());
                self.watches.remove_conn(id);
                self.replica.handle_disconnect(session, id);
            }
        }
        assert_eq!(self.state.digest_mismatches(), 0, "predictions come true");
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex"))
        .collect()
}

fn read_op(words: &[String]) -> Op {
    let read = || ReadRequest { path: Some(words[1].clone()), watch: words.len() > 2 };
    match words[0].as_str() {
        "get" => Op::GetData(read()),
        "children" => Op::GetChildren(read()),
        _ => op(words),
    }
}

/// The body of a request, its operation, and its xid where that is special.
fn request(words: &[String], ops: &[Op], body: &mut BytesMut) -> (Option<i32>, OpCode) {
    let mut words = words;
    let mut xid = None;
    if let Some(special) = words[0].strip_prefix('@') {
        xid = Some(special.parse().expect("xid"));
        words = &words[1..];
    }
    let path = words.get(1).filter(|w| *w != "null").cloned();
    let watch = words.get(2).is_some_and(|w| w == "watch");
    let read = ReadRequest { path: path.clone(), watch };
    let opcode = match words[0].as_str() {
        "ping" => {
            xid = xid.or(Some(-2));
            OpCode::PING
        }
        "get" => {
            body.put(&read);
            OpCode::GET_DATA
        }
        "exists" => {
            body.put(&read);
            OpCode::EXISTS
        }
        "children" => {
            body.put(&read);
            OpCode::GET_CHILDREN
        }
        "children2" => {
            body.put(&read);
            OpCode::GET_CHILDREN2
        }
        name @ ("getacl" | "sync" | "ephemerals" | "count" | "deletecontainer") => {
            body.put(&PathRecord { path });
            match name {
                "getacl" => OpCode::GET_ACL,
                "sync" => OpCode::SYNC,
                "ephemerals" => OpCode::GET_EPHEMERALS,
                "count" => OpCode::GET_ALL_CHILDREN_NUMBER,
                _ => OpCode::DELETE_CONTAINER,
            }
        }
        "setacl" => {
            let acl = acls(&words[2]);
            body.put(&SetAclRequest { path, acl, version: -1 });
            OpCode::SET_ACL
        }
        "whoami" => OpCode::WHO_AM_I,
        "close" => OpCode::CLOSE_SESSION,
        name @ ("addwatch" | "removewatch" | "checkwatch") => {
            let kind = words[2].parse().expect("number");
            body.put(&WatchRequest { path, kind });
            match name {
                "addwatch" => OpCode::ADD_WATCH,
                "removewatch" => OpCode::REMOVE_WATCHES,
                _ => OpCode::CHECK_WATCHES,
            }
        }
        name @ ("setwatches" | "setwatches2") => {
            xid = xid.or(Some(-8));
            let list = |key: &str| {
                let found = words.iter().find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
                match found {
                    Some("null") => None,
                    Some(paths) => Some(paths.split(',').map(str::to_string).collect()),
                    None => Some(Vec::new()),
                }
            };
            body.i64(words[1].parse().expect("zxid"));
            for key in ["data", "exist", "child"] {
                body.put::<Option<Vec<String>>>(&list(key));
            }
            if name == "setwatches" {
                return (xid, OpCode::SET_WATCHES);
            }
            for key in ["persistent", "recursive"] {
                body.put::<Option<Vec<String>>>(&list(key));
            }
            OpCode::SET_WATCHES2
        }
        "auth" => {
            xid = xid.or(Some(-4));
            let scheme = path;
            let auth = words.get(2).filter(|w| *w != "null").map(|w| Bytes::from(w.clone()));
            body.put(&AuthPacket { kind: 0, scheme, auth });
            OpCode::AUTH
        }
        "sasl" => {
            let token = path.map(Bytes::from);
            body.put(&SaslToken { token });
            OpCode::SASL
        }
        "multi" => {
            write_ops(body, ops);
            OpCode::MULTI
        }
        "multiread" => {
            write_ops(body, ops);
            OpCode::MULTI_READ
        }
        "op" => {
            if let Some(hex) = words.get(2) {
                body.extend_from_slice(&unhex(hex));
            }
            OpCode(words[1].parse().expect("number"))
        }
        "reconfig" => {
            body.put(&ReconfigRequest { config_version: -1, ..Default::default() });
            OpCode::RECONFIG
        }
        _ => {
            let op = op(words);
            match &op {
                Op::Create(_, r) => body.put(r),
                Op::CreateTtl(r) => body.put(r),
                Op::Delete(r) => body.put(r),
                Op::SetData(r) => body.put(r),
                Op::Check(r) => body.put(r),
                Op::GetData(_) | Op::GetChildren(_) => {}
            }
            op.opcode()
        }
    };
    (xid, opcode)
}

fn stat(s: &Stat) -> String {
    format!(
        "stat(cz={} mz={} pz={} v={} cv={} av={} owner={:#x} len={} n={})",
        s.czxid,
        s.mzxid,
        s.pzxid,
        s.version,
        s.cversion,
        s.aversion,
        s.ephemeral_owner,
        s.data_length,
        s.num_children
    )
}

fn data(data: &Option<Bytes>) -> String {
    match data {
        None => "null".to_string(),
        Some(data) => format!("'{}'", String::from_utf8_lossy(data)),
    }
}

/// A received frame in words.
fn shown(side: &mut Side, frame: Bytes) -> String {
    let mut r = Reader::new(frame.clone());
    if !side.greeted {
        side.greeted = true;
        let response: ConnectResponse = r.get().expect("a connect response");
        side.password = response.passwd.clone().unwrap_or_default();
        let zeros = side.password.iter().all(|b| *b == 0);
        return format!(
            "session {:#x} timeout={} password {} read_only={:?} ({} bytes)",
            response.session,
            response.timeout_ms,
            if zeros { "zeros" } else { "given" },
            response.read_only,
            frame.len()
        );
    }
    let header: ReplyHeader = r.get().expect("a header");
    if header.xid == -1 {
        let event: WatcherEvent = r.get().expect("an event");
        let kind =
            ["None", "Created", "Deleted", "DataChanged", "ChildrenChanged"][event.kind as usize];
        return format!("event {kind} {} zxid={}", event.path.unwrap_or_default(), header.zxid);
    }
    let opcode = side.ops.get_mut(&header.xid).and_then(VecDeque::pop_front);
    let opcode = opcode.unwrap_or(OpCode::ERROR);
    let name = opcode.label();
    let mut text = format!("{} {name} zxid={}", header.xid, header.zxid);
    if header.err != 0 {
        write!(text, " {}", Code(header.err)).expect("a string");
    }
    if r.remaining() > 0 {
        let body = body_shown(opcode, &mut r);
        write!(text, " {body}").expect("a string");
    }
    assert_eq!(r.remaining(), 0, "{text}: surplus bytes");
    text
}

fn body_shown(opcode: OpCode, r: &mut Reader) -> String {
    match opcode {
        OpCode::CREATE | OpCode::SYNC => {
            format!("{:?}", r.get::<PathRecord>().expect("path").path)
        }
        OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
            let response: Create2Response = r.get().expect("create2");
            format!("{:?} {}", response.path, stat(&response.stat))
        }
        OpCode::EXISTS | OpCode::SET_DATA | OpCode::SET_ACL => {
            stat(&r.get::<StatResponse>().expect("stat").stat)
        }
        OpCode::GET_DATA => {
            let response: DataResponse = r.get().expect("data");
            format!("{} {}", data(&response.data), stat(&response.stat))
        }
        OpCode::GET_CHILDREN | OpCode::GET_EPHEMERALS => {
            let mut names = r.get::<NamesResponse>().expect("names").names.unwrap_or_default();
            names.sort();
            format!("{names:?}")
        }
        OpCode::GET_CHILDREN2 => {
            let response: Children2Response = r.get().expect("children");
            let mut names = response.children.unwrap_or_default();
            names.sort();
            format!("{names:?} {}", stat(&response.stat))
        }
        OpCode::GET_ACL => {
            let response: AclResponse = r.get().expect("acl");
            let entries: Vec<String> = response
                .acl
                .unwrap_or_default()
                .iter()
                .map(|a| format!("{}:{}:{}", a.id.scheme(), a.id.id(), a.perms.0))
                .collect();
            format!("{entries:?}")
        }
        OpCode::GET_ALL_CHILDREN_NUMBER => {
            r.get::<CountResponse>().expect("count").total.to_string()
        }
        OpCode::ADD_WATCH => format!("err={}", r.get::<ErrorResponse>().expect("error").err),
        OpCode::SASL => format!("token {:?}", r.get::<SaslToken>().expect("token").token),
        OpCode::WHO_AM_I => {
            let clients = r.get::<WhoAmIResponse>().expect("clients").clients.unwrap_or_default();
            let all: Vec<String> = clients
                .iter()
                .map(|c| {
                    let of = |s: &Option<String>| s.clone().unwrap_or_default();
                    format!("{}={}", of(&c.scheme), of(&c.user))
                })
                .collect();
            format!("{all:?}")
        }
        OpCode::MULTI | OpCode::MULTI_READ => {
            let mut parts = Vec::new();
            loop {
                let header: MultiHeader = r.get().expect("a multi header");
                if header.done {
                    break;
                }
                if header.opcode == -1 {
                    let code = r.get::<ErrorResponse>().expect("error").err;
                    assert_eq!(code, header.err);
                    parts.push(Code(code).to_string());
                    continue;
                }
                let opcode = OpCode(header.opcode);
                let body = match opcode {
                    OpCode::DELETE | OpCode::CHECK => String::new(),
                    _ => body_shown(opcode, r),
                };
                parts.push(format!("{} {body}", opcode.label()).trim_end().to_string());
            }
            format!("{parts:?}")
        }
        _ => format!("{} bytes", {
            let n = r.remaining();
            while r.u8().is_ok() {}
            n
        }),
    }
}

#[test]
fn transcripts() {
    crate::testing::datadriven::run("conn", || {
        let mut subject = Subject::new();
        move |commands: &str| subject.run(commands)
    });
}

/// The frames of a lively connection, to be cut and damaged.
fn lively() -> Vec<u8> {
    let mut subject = Subject::new();
    let mut bytes = BytesMut::new();
    for line in [
        "connect",
        // First, since its reply does not wait for those before it.
        "auth digest u:p",
        "create /a x",
        "get /a watch",
        "set /a y",
        "get /a",
        "children2 / watch",
        "setwatches2 0 data=/a exist=/b child=/ persistent=/p recursive=/r",
        "create /a/s- z flags=3",
        "whoami",
        "getacl /a",
        "sync /a",
        "addwatch /a 1",
        "delete /a 7",
        "ping",
        "close",
    ] {
        subject.command("A", &split(line), &mut "".lines(), &mut bytes);
    }
    bytes.to_vec()
}

fn answer_to(pieces: &[&[u8]]) -> (Vec<u8>, Option<Ended>) {
    let mut subject = Subject::new();
    for piece in pieces {
        subject.send("A", piece);
    }
    let side = &subject.sides[&1];
    assert_eq!(subject.state.digest_mismatches(), 0);
    (side.out.to_vec(), side.close)
}

/// S4: however the bytes come, the answers are the same.
#[test]
fn frames_may_be_cut_anywhere() {
    let frames = lively();
    let whole = answer_to(&[&frames]);
    assert!(whole.0.len() > 500 && whole.1.is_some(), "it says a lot and then good-bye");
    let bytes: Vec<&[u8]> = frames.chunks(1).collect();
    assert_eq!(answer_to(&bytes), whole);
    for at in 1..frames.len() {
        let (head, tail) = frames.split_at(at);
        assert_eq!(answer_to(&[head, tail]), whole, "cut at {at}");
    }
}

/// S1, S2, S15: whatever byte is wrong, nothing panics, and an answer or an end comes of it.
#[test]
fn damaged_frames_do_no_harm() {
    let frames = lively();
    for at in 0..frames.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            if frames[at] == value {
                continue;
            }
            let mut damaged = frames.clone();
            damaged[at] = value;
            answer_to(&[&damaged]);
        }
    }
    for end in 0..frames.len() {
        answer_to(&[&frames[..end]]);
    }
}

/// S5: a client that asks and does not read is not answered beyond the high-water mark.
#[test]
fn output_is_bounded_while_the_client_does_not_read() {
    let mut subject = Subject::new();
    subject.rules.limits.output_high_water_bytes = 10_000;
    subject.run("A connect\nA create /a x");
    let mut big = BytesMut::new();
    let request =
        SetDataRequest { path: Some("/a".into()), data: Some(vec![7; 5000].into()), version: -1 };
    let at = crate::proto::frame::begin(&mut big);
    big.i32(99);
    big.i32(OpCode::SET_DATA.0);
    big.put(&request);
    crate::proto::frame::end(&mut big, at);
    subject.send("A", &big);
    let mut gets = BytesMut::new();
    for _ in 0..500 {
        subject.command("A", &split("get /a"), &mut "".lines(), &mut gets);
    }
    subject.send("A", &gets);
    let side = &subject.sides[&1];
    assert!(
        side.out.len() < 20_000,
        "{} bytes wait for a client that does not read",
        side.out.len()
    );
    let mut answered = 0;
    for _ in 0..1000 {
        let side = subject.sides.get_mut(&1).expect("the connection");
        answered += side.out.len() / 5000;
        side.out.clear();
        subject.pump();
    }
    assert!(answered >= 500, "all are answered once it reads: {answered}");
}

/// A member hears of the commit of a write before the round that confirms an earlier sync is over.
#[test]
fn nothing_is_submitted_behind_a_sync() {
    let rules = Rules { standalone: false, ..Subject::new().rules };
    let mut conn = Conn::new(ConnId(1), "127.0.0.1");
    let (mut input, mut out, mut submit) = (BytesMut::new(), BytesMut::new(), Vec::new());
    let connect = ConnectRequest { timeout_ms: 4000, ..ConnectRequest::default() }.to_bytes();
    let header = |xid: i32, opcode: OpCode| [xid.to_be_bytes(), opcode.0.to_be_bytes()].concat();
    let root = PathRecord { path: Some("/".to_owned()) }.to_bytes();
    let set = SetDataRequest { path: Some("/".to_owned()), data: None, version: -1 }.to_bytes();
    let frames = [
        connect.to_vec(),
        [header(1, OpCode::SYNC), root.to_vec()].concat(),
        [header(2, OpCode::SET_DATA), set.to_vec()].concat(),
        [header(3, OpCode::SYNC), root.to_vec()].concat(),
    ];
    for frame in &frames {
        input.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        input.extend_from_slice(frame);
    }
    let mut xids = |conn: &mut Conn| {
        let mut turn = Turn::new(&rules, 0, None, &mut out, &mut submit);
        conn.run(&mut input, &mut turn).expect("valid frames");
        let xid = |one| if let Submit::Request(request) = one { Some(request.xid) } else { None };
        submit.drain(..).filter_map(xid).collect::<Vec<_>>()
    };
    assert_eq!(xids(&mut conn), []);
    conn.connected(SessionId(1));
    conn.answered(1);
    assert_eq!(xids(&mut conn), [1]);
    conn.answered(1);
    assert_eq!(xids(&mut conn), [2, 3], "a sync itself need not wait for the writes before it");
}

#[test]
fn what_is_queued_behind_a_read_in_steps_waits_for_its_answer() {
    let mut subject = Stepped::new();
    subject.create("/n", b"x".to_vec());
    let set = SetDataRequest { path: Some("/n".to_owned()), data: None, version: -1 }.to_bytes();
    let root = PathRecord { path: Some("/".to_owned()) }.to_bytes();
    subject.ask(1, OpCode::SET_DATA, &set);
    subject.ask(2, OpCode::GET_ALL_CHILDREN_NUMBER, &root);
    subject.ask(3, OpCode::SET_DATA, &set);
    subject.ask(4, OpCode::EXISTS, &[&root[..], &[0]].concat());
    let mut answered = Vec::new();
    let mut submitted = Vec::new();
    for _ in 0..20 {
        let reads = subject.conn.reads_first(&subject.input, &subject.rules);
        let view = View { state: &subject.state, watches: &subject.watches };
        let (mut out, mut submits) = (BytesMut::new(), Vec::new());
        let mut turn = Turn::new(&subject.rules, 0, reads.then_some(view), &mut out, &mut submits);
        subject.conn.run(&mut subject.input, &mut turn).expect("it goes on");
        let pieces = turn.pieces.take().map(|pieces| pieces.list).unwrap_or_default();
        for frame in std::iter::once(out).chain(pieces).filter(|frame| !frame.is_empty()) {
            answered.push(one_frame(frame).0);
        }
        for submit in submits {
            let Submit::Request(request) = submit else { panic!("{submit:?}") };
            submitted.push((request.xid, answered.clone()));
            answered.push(request.xid);
            subject.conn.answered(1);
        }
    }
    assert_eq!(answered, [1, 2, 3, 4]);
    assert_eq!(submitted, [(1, vec![]), (3, vec![1, 2])]);
}

/// The node thread answers some requests of local sessions itself, at once.
#[test]
fn what_a_member_may_answer_at_once_waits_for_the_writes_before_it() {
    let rules = Rules { local_sessions: true, ..Subject::new().rules };
    let mut conn = Conn::new(ConnId(1), "127.0.0.1");
    let (mut input, mut out, mut submit) = (BytesMut::new(), BytesMut::new(), Vec::new());
    let connect = ConnectRequest { timeout_ms: 4000, ..ConnectRequest::default() }.to_bytes();
    let create = |xid: i32, flags: i32| {
        let path = Some("/a".to_owned());
        let body = CreateRequest { path, data: None, acl: Some(open_acl()), flags }.to_bytes();
        [&xid.to_be_bytes(), &OpCode::CREATE.0.to_be_bytes(), &body[..]].concat()
    };
    let close = [4i32.to_be_bytes(), OpCode::CLOSE_SESSION.0.to_be_bytes()].concat();
    for frame in [connect.to_vec(), create(1, 0), create(2, 1), create(3, 0), close] {
        input.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        input.extend_from_slice(&frame);
    }
    let mut xids = |conn: &mut Conn, answered: usize| {
        conn.answered(answered);
        let mut turn = Turn::new(&rules, 0, None, &mut out, &mut submit);
        conn.run(&mut input, &mut turn).expect("valid frames");
        let xid = |one| if let Submit::Request(request) = one { Some(request.xid) } else { None };
        submit.drain(..).filter_map(xid).collect::<Vec<_>>()
    };
    assert_eq!(xids(&mut conn, 0), []);
    conn.connected(SessionId(1));
    assert_eq!(xids(&mut conn, 1), [1]);
    assert_eq!(xids(&mut conn, 1), [2, 3], "an ephemeral, when nothing is out");
    assert_eq!(xids(&mut conn, 1), []);
    assert_eq!(xids(&mut conn, 1), [4], "the good-bye behind everything");
}

/// One connection on a state of its own, run step by step.
struct Stepped {
    rules: Rules,
    state: StateMachine,
    watches: WatchTable,
    conn: Conn,
    input: BytesMut,
    zxid: i64,
}

impl Stepped {
    fn new() -> Stepped {
        let mut new = Stepped {
            rules: Rules { standalone: true, ..Rules::default() },
            state: StateMachine::new(crate::state::Options::default()),
            watches: WatchTable::new(),
            conn: Conn::new(ConnId(1), "10.0.0.1"),
            input: BytesMut::new(),
            zxid: 0,
        };
        new.open(ConnId(1));
        new
    }

    fn open(&mut self, id: ConnId) {
        self.conn = Conn::new(id, "10.0.0.1");
        self.conn.phase = Phase::Connecting;
        self.conn.connected(SessionId(1));
    }

    fn create(&mut self, path: &str, data: Vec<u8>) {
        self.zxid += 1;
        let (path, data) = (path.to_owned(), Some(data.into()));
        let create = crate::proto::txn::CreateTxn {
            path,
            data,
            acl: open_acl(),
            ephemeral: false,
            parent_cversion: -1,
        };
        let txn = crate::proto::txn::Txn::Create(create);
        let header = crate::proto::txn::TxnHeader {
            session: SessionId(1),
            cxid: 0,
            zxid: Zxid(self.zxid),
            time: WallTime(0),
            kind: OpCode::CREATE.0,
        };
        let entry = crate::proto::txn::TxnEntry { header, txn, digest: None };
        self.state.apply(&entry, &mut Vec::new());
    }

    fn ask(&mut self, xid: i32, opcode: OpCode, body: &[u8]) {
        let at = crate::proto::frame::begin(&mut self.input);
        self.input.i32(xid);
        self.input.i32(opcode.0);
        self.input.extend_from_slice(body);
        crate::proto::frame::end(&mut self.input, at);
    }

    /// One run, with the state unless something is to be done without; what it gave.
    fn run(&mut self) -> (Want, BytesMut, Option<Pieces>) {
        let reads = self.conn.long.is_none() || self.conn.reads_first(&self.input, &self.rules);
        let view = View { state: &self.state, watches: &self.watches };
        let (mut out, mut submits) = (BytesMut::new(), Vec::new());
        let mut turn = Turn::new(&self.rules, 0, reads.then_some(view), &mut out, &mut submits);
        let want = self.conn.run(&mut self.input, &mut turn).expect("it goes on");
        let pieces = turn.pieces.take();
        (want, out, pieces)
    }

    /// Runs to the end: how many steps it took, the most bytes that one made, and all of them.
    fn finish(&mut self) -> (usize, usize, BytesMut) {
        let (mut steps, mut most, mut all) = (0, 0, BytesMut::new());
        loop {
            let (want, out, pieces) = self.run();
            steps += 1;
            most = most.max(self.conn.long.as_ref().map_or(0, |long| long.held_bytes()));
            all.extend_from_slice(&out);
            for piece in pieces.iter().flat_map(|pieces| &pieces.list) {
                all.extend_from_slice(piece);
            }
            if want == Want::Input {
                return (steps, most, all);
            }
            assert!(matches!(want, Want::Again | Want::State | Want::Room), "{want:?}");
        }
    }
}

fn many_reads(ops: &[Op]) -> BytesMut {
    let mut body = BytesMut::new();
    write_ops(&mut body, ops);
    body
}

fn get(path: &str) -> Op {
    Op::GetData(ReadRequest { path: Some(path.into()), watch: false })
}

/// The xid, zxid, code and body of the one frame.
fn one_frame(mut all: BytesMut) -> (i32, i64, Code, Reader) {
    let length = all.get_u32() as usize;
    assert_eq!(all.len(), length, "one whole frame");
    let mut r = Reader::new(all.freeze());
    let header: ReplyHeader = r.get().expect("a header");
    (header.xid, header.zxid, Code(header.err), r)
}

#[test]
fn a_multi_read_above_the_bound_of_a_reply_is_refused_before_it_is_built() {
    let mut subject = Stepped::new();
    subject.create("/n", vec![7; 1 << 20]);
    for count in [100, 2000, 5000] {
        let ops: Vec<Op> = (0..count).map(|_| get("/n")).collect();
        subject.ask(5, OpCode::MULTI_READ, &many_reads(&ops));
        let (_, most, all) = subject.finish();
        let (xid, zxid, code, r) = one_frame(all);
        assert_eq!((xid, zxid, code, r.remaining()), (5, 1, Code::MARSHALLING_ERROR, 0));
        assert_eq!(most, 0, "nothing was built of {count} MiB");
    }
    // What fits is answered, and the connection goes on.
    let ops: Vec<Op> = (0..60).map(|_| get("/n")).collect();
    subject.ask(6, OpCode::MULTI_READ, &many_reads(&ops));
    let (steps, _, all) = subject.finish();
    assert!(steps > 60, "{steps}: a step builds one part of a megabyte");
    let (xid, _, code, mut r) = one_frame(all);
    assert_eq!((xid, code), (6, Code::OK));
    for _ in 0..60 {
        let header: MultiHeader = r.get().expect("a part");
        assert_eq!((header.opcode, header.err), (OpCode::GET_DATA.0, 0));
        let part: DataResponse = r.get().expect("its data");
        assert_eq!(part.data.map(|data| data.len()), Some(1 << 20));
    }
    assert!(r.get::<MultiHeader>().expect("the end").done);
    assert_eq!(r.remaining(), 0);
    assert_eq!(subject.rules.load.reply_bytes.load(Ordering::Relaxed), 0, "all is given back");
}

#[test]
fn a_long_multi_read_answers_as_a_short_one_does() {
    let mut subject = Stepped::new();
    subject.create("/n", b"x".to_vec());
    subject.create("/p", Vec::new());
    for n in 0..5000 {
        subject.create(&format!("/p/{n}"), Vec::new());
    }
    let list = |path: &str| Op::GetChildren(ReadRequest { path: Some(path.into()), watch: false });
    let some = [get("/n"), get("/missing"), list("/"), list("/p"), list("/missing")];
    let ops: Vec<Op> = some.iter().cycle().take(1000).cloned().collect();
    let body = many_reads(&ops);
    assert!(body.len() > 16 << 10);
    subject.ask(1, OpCode::MULTI_READ, &body);
    let (_, _, all) = subject.finish();
    let (_, _, code, mut r) = one_frame(all);
    assert_eq!(code, Code::OK);
    for op in &ops {
        let header: MultiHeader = r.get().expect("a part");
        match (op, op.path()) {
            (_, Some("/missing")) => {
                assert_eq!((header.opcode, header.err), (-1, Code::NO_NODE.0));
                assert_eq!(r.i32(), Ok(Code::NO_NODE.0));
            }
            (Op::GetData(_), _) => {
                let part: DataResponse = r.get().expect("data");
                assert_eq!(part.data.as_deref(), Some(&b"x"[..]));
            }
            (_, path) => {
                let names: Vec<String> = r.vec().expect("names").expect("not null");
                assert_eq!(names.len(), if path == Some("/p") { 5000 } else { 3 });
            }
        }
    }
    assert!(r.get::<MultiHeader>().expect("the end").done);
    // A null path ends it, with what there is; writes are refused.
    let null = Op::GetData(ReadRequest { path: None, watch: false });
    let ops: Vec<Op> = (0..999).map(|_| get("/n")).chain([null]).collect();
    subject.ask(2, OpCode::MULTI_READ, &many_reads(&ops));
    let (_, _, code, r) = one_frame(subject.finish().2);
    assert_eq!((code, r.remaining()), (Code::MARSHALLING_ERROR, 999 * (9 + 5 + 68) + 9));
    let check = Op::Check(CheckVersionRequest { path: Some("/n".into()), version: 0 });
    let ops: Vec<Op> = std::iter::repeat_n(check, 1000).collect();
    subject.ask(3, OpCode::MULTI_READ, &many_reads(&ops));
    let (_, _, code, r) = one_frame(subject.finish().2);
    assert_eq!((code, r.remaining()), (Code::MARSHALLING_ERROR, 9));
}

#[test]
fn children_of_a_huge_parent_are_listed_in_steps_and_watched_at_the_last() {
    let mut subject = Stepped::new();
    subject.create("/p", Vec::new());
    for n in 0..20_000 {
        subject.create(&format!("/p/{n:08}"), Vec::new());
    }
    let request = ReadRequest { path: Some("/p".into()), watch: true }.to_bytes();
    subject.ask(1, OpCode::GET_CHILDREN2, &request);
    // What comes behind it waits.
    let ping = BytesMut::new();
    subject.ask(-2, OpCode::PING, &ping);
    let (want, out, _) = subject.run();
    assert_eq!((want, out.len()), (Want::Again, 0), "one step is not enough");
    subject.create("/p/late", Vec::new());
    assert_eq!(subject.watches.watch_count(), 0, "the event would come before the list");
    let (steps, _, mut all) = subject.finish();
    assert!(steps > 8, "{steps}");
    assert_eq!(subject.watches.watch_count(), 1);
    let length = u32::from_be_bytes([all[0], all[1], all[2], all[3]]) as usize;
    let pong = all.split_off(4 + length);
    let (_, zxid, code, mut r) = one_frame(all);
    assert_eq!((zxid, code), (subject.zxid, Code::OK));
    let mut names: Vec<String> = r.vec().expect("names").expect("not null");
    names.sort_unstable();
    assert_eq!((names.len(), names[20_000].as_str()), (20_001, "late"), "exact at the last step");
    assert_eq!(r.get::<Stat>().expect("a stat").num_children, 20_001);
    assert_eq!(one_frame(pong).0, -2);
}

#[test]
fn watches_set_anew_by_the_thousand_are_left_in_steps() {
    let mut subject = Stepped::new();
    subject.create("/n", Vec::new());
    let paths: Vec<String> = (0..20_000).map(|n| format!("/{n}")).collect();
    let list = |paths: &[String]| Some(paths.to_vec());
    let request = SetWatches2 {
        relative_zxid: 1,
        data: list(&["/n".into(), "/gone".into()]),
        exist: list(&paths),
        child: list(&[]),
        persistent: list(&["/n".into()]),
        recursive: list(&[]),
    };
    subject.ask(7, OpCode::SET_WATCHES2, &request.to_bytes());
    let (steps, _, mut all) = subject.finish();
    assert!(steps > 20_000 / 512, "{steps}");
    let length = u32::from_be_bytes([all[0], all[1], all[2], all[3]]) as usize;
    let reply = all.split_off(4 + length);
    assert_eq!(one_frame(all).0, -1, "what was missed comes first");
    let (xid, _, code, _) = one_frame(reply);
    assert_eq!((xid, code), (7, Code::OK));
    // The data watch on "/n" and the persistent one are one flag each at one path.
    let summary = subject.watches.summary();
    assert_eq!((summary.connections, summary.paths), (1, 20_001));
}

/// Large replies that find no room wait with nothing in their hands, and have it when others have
/// taken theirs.
#[test]
fn large_replies_wait_for_room_and_hold_none_meanwhile() {
    let mut subject = Stepped::new();
    subject.rules.limits.all_replies_bytes_max = 4 << 20;
    subject.create("/n", vec![7; 1 << 20]);
    let request = ReadRequest { path: Some("/n".into()), watch: false }.to_bytes();
    let (mut held, mut waiting) = (Vec::new(), Vec::new());
    for id in 1..=10 {
        subject.open(ConnId(id));
        subject.ask(1, OpCode::GET_DATA, &request);
        let (want, out, pieces) = subject.run();
        match pieces {
            Some(pieces) => held.push((out, pieces)),
            None => {
                assert_eq!((want, out.len()), (Want::Relief, 0));
                let conn = Conn::new(ConnId(0), "");
                waiting.push(std::mem::replace(&mut subject.conn, conn));
            }
        }
    }
    // A megabyte and its stat: three fit.
    assert_eq!((held.len(), waiting.len()), (3, 7));
    let all = subject.rules.load.reply_bytes.load(Ordering::Relaxed);
    assert!(all <= 4 << 20, "{all}");
    // Small reads are answered meanwhile.
    subject.open(ConnId(11));
    let small = ReadRequest { path: Some("/".into()), watch: false }.to_bytes();
    subject.ask(1, OpCode::EXISTS, &small);
    assert!(subject.run().1.len() > 68);
    held.clear();
    let mut served = 0;
    for conn in waiting {
        subject.conn = conn;
        let (_, _, pieces) = subject.run();
        served += usize::from(pieces.is_some());
    }
    assert_eq!(served, 7, "each is taken at once");
    assert_eq!(subject.rules.load.reply_bytes.load(Ordering::Relaxed), 0);
}
