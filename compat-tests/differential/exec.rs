//! Runs a program against one server and writes the transcript.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::limits;
use super::render::{self, Names};
use super::script::{self, Op, Shape, Token};
use super::words;
use crate::harness::client::{self, Incoming, RawClient, Session};
use crate::harness::four;
use crate::harness::jute::{Reader, hex, unhex};
use crate::harness::runner::Stop;
use crate::harness::server::Server;

/// How long an answer may take before the transcript says "silent".
const PATIENCE: Duration = Duration::from_secs(6);

struct Conn {
    client: Option<RawClient>,
    /// Which member it is connected to.
    at: usize,
    session: i64,
    passwd: Vec<u8>,
    timeout_ms: i32,
    last_zxid: i64,
    next_xid: i32,
    handshaken: bool,
    ended: bool,
    pending: Vec<(i32, Shape)>,
}

/// The answers, one list of lines per step.
pub type Transcript = Vec<Vec<String>>;

/// One program on one server.
pub struct Executor<'a> {
    server: &'a mut Server,
    /// Where connections go, in turn: the server's own address, or those of its whole ensemble.
    members: Vec<SocketAddr>,
    dials: usize,
    names: Names,
    conns: BTreeMap<String, Conn>,
    /// Every session that was ever given, in order, with its password: also those whose name is
    /// another's now.
    sessions: Vec<(i64, Vec<u8>)>,
    newest: i64,
    out: Vec<String>,
}

/// Runs all steps. The server must be serving. `clean` ends every session and removes every node
/// afterwards, for a server that is used again.
pub fn run(steps: &[String], server: &mut Server, clean: bool) -> Result<Transcript, Stop> {
    let members = vec![server.address()];
    run_spread(steps, server, members, clean)
}

/// The same on an ensemble: every new connection goes to the next of `members`, among them `server`
/// itself. All are waited for before anything is asked of one, so what they answer is determined.
pub fn run_spread(
    steps: &[String],
    server: &mut Server,
    members: Vec<SocketAddr>,
    clean: bool,
) -> Result<Transcript, Stop> {
    let base = current_zxid(server)?;
    if !clean {
        // Until that connection is gone, it counts (`maxClientCnxns`, `cons`).
        std::thread::sleep(Duration::from_millis(20));
    }
    let names = Names { base, ..Names::default() };
    let mut executor = Executor {
        server,
        members,
        dials: 0,
        names,
        conns: BTreeMap::new(),
        sessions: Vec::new(),
        newest: base,
        out: Vec::new(),
    };
    let mut transcript = Vec::new();
    let mut i = 0;
    while i < steps.len() {
        let words = script::tokens(&steps[i])?;
        if words.first().is_some_and(|w| w.text() == "pipe") {
            let end = steps[i..]
                .iter()
                .position(|s| s == "end")
                .map(|n| i + n)
                .ok_or_else(|| Stop::failed("pipe without end"))?;
            for _ in i..end {
                transcript.push(Vec::new());
            }
            let name = words.get(1).map(Token::text).unwrap_or_default();
            let mut ops = Vec::new();
            for step in &steps[i + 1..end] {
                let words = script::tokens(step)?;
                ops.push(script::op(&words[1..]).map_err(|e| format!("{step}: {e}"))?);
            }
            executor.wait_for_members()?;
            executor.operations(&name, ops)?;
            i = end;
        } else {
            executor.step(&words).map_err(|e| match e {
                Stop::Failed(text) => Stop::failed(format!("step `{}`: {text}", steps[i])),
                other => other,
            })?;
        }
        // Blanks at a line's end would not survive an editor.
        let lines = std::mem::take(&mut executor.out);
        transcript.push(lines.into_iter().map(|l| l.trim_end().to_string()).collect());
        i += 1;
    }
    if clean {
        executor.clean()?;
    }
    Ok(transcript)
}

/// The newest zxid, from `srvr`.
fn current_zxid(server: &Server) -> Result<i64, Stop> {
    let text = server.four("srvr")?;
    shown_zxid(&text)
        .ok_or_else(|| Stop::failed(format!("srvr shows no zxid:\n{text}\n{}", server.log_tail())))
}

fn shown_zxid(srvr: &str) -> Option<i64> {
    let hex = srvr.lines().find_map(|l| l.strip_prefix("Zxid: 0x"))?;
    u64::from_str_radix(hex, 16).ok().map(|z| z as i64)
}

impl Executor<'_> {
    fn step(&mut self, words: &[Token]) -> Result<(), Stop> {
        self.wait_for_members()?;
        let first = words.first().map(Token::text).unwrap_or_default();
        let second = words.get(1).map(Token::text).unwrap_or_default();
        let options: BTreeMap<String, String> = words
            .iter()
            .skip(2)
            .filter_map(|w| w.text().split_once('=').map(|(k, v)| (k.to_string(), v.to_string())))
            .collect();
        match first.as_str() {
            "connect" => self.connect(&second, &options, false),
            "reconnect" => {
                self.drop_connection(&second);
                self.connect(&second, &options, true)
            }
            "attach" => {
                let of = words.get(2).map(Token::text).unwrap_or_default();
                let mut options = options;
                options.entry("sid".into()).or_insert(of.clone());
                options.entry("pw".into()).or_insert(of);
                self.connect(&second, &options, false)
            }
            "open" => {
                let client = self.dial(0)?;
                self.conns.insert(second, fresh(Some(client)));
                Ok(())
            }
            "drop" => {
                self.drop_connection(&second);
                self.look_at_others("")
            }
            "4lw" => {
                std::thread::sleep(Duration::from_millis(40));
                let word = words[1..].iter().map(Token::text).collect::<Vec<_>>().join(" ");
                // "stmk" is followed by eight bytes: `4lw stmk hex:..`.
                let bytes = match word.split_once(" hex:") {
                    Some((w, digits)) => {
                        let mut all = w.as_bytes().to_vec();
                        all.extend(unhex(digits).unwrap_or_default());
                        all
                    }
                    None => {
                        let first = word.split(' ').next().unwrap_or_default();
                        first.replace("\\n", "\n").into_bytes()
                    }
                };
                let text = four::ask(self.server.address(), &bytes)?;
                self.out.extend(words::normalise(&word, &text, &self.names));
                Ok(())
            }
            "restart" | "kill" => {
                if first == "kill" {
                    self.server.kill9();
                } else {
                    self.server.stop();
                }
                for conn in self.conns.values_mut() {
                    conn.client = None;
                }
                self.server.start()?;
                self.out.push("serving".to_string());
                Ok(())
            }
            "expire" => self.expire(&second),
            "repeat" => {
                for _ in 0..second.parse().unwrap_or(1) {
                    self.out.clear();
                    self.step(&words[2..])?;
                }
                Ok(())
            }
            "dumptree" => self.dump_tree(),
            _ if second == "waitGone" => {
                let path = words.get(2).cloned().ok_or_else(|| Stop::failed("a path"))?;
                self.wait_gone(&first, &path)
            }
            _ => {
                let op = script::op(&words[1..]).map_err(Stop::failed)?;
                self.operations(&first, vec![op])
            }
        }
    }

    fn dial(&self, at: usize) -> Result<RawClient, Stop> {
        RawClient::connect(self.members[at])
            .map_err(|e| Stop::failed(format!("cannot connect: {e}\n{}", self.server.log_tail())))
    }

    /// The member that the next connection goes to: the one where the session is, if it is in use,
    /// because nobody else closes that connection.
    fn next_member(&mut self, session: i64) -> usize {
        let mut in_use = self.conns.values().filter(|c| c.client.is_some() && session != 0);
        if let Some(other) = in_use.find(|c| c.session == session) {
            return other.at;
        }
        self.dials += 1;
        self.dials % self.members.len()
    }

    /// Waits until every member has what any has shown.
    fn wait_for_members(&self) -> Result<(), Stop> {
        if self.members.len() == 1 {
            return Ok(());
        }
        let end = Instant::now() + PATIENCE;
        for address in &self.members {
            while shown_zxid(&four::ask(*address, b"srvr")?).is_none_or(|z| z < self.newest) {
                if Instant::now() > end {
                    return Err(Stop::failed(format!("{address} never gets to {:x}", self.newest)));
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        Ok(())
    }

    fn drop_connection(&mut self, name: &str) {
        if let Some(conn) = self.conns.get_mut(name) {
            if let Some(client) = conn.client.take() {
                client.shut_down();
            }
            conn.pending.clear();
        }
    }

    fn connect(
        &mut self,
        name: &str,
        options: &BTreeMap<String, String>,
        own: bool,
    ) -> Result<(), Stop> {
        let old = self.conns.get(name);
        let (mut session, mut passwd, mut timeout, mut zxid) = (0, Some(vec![0u8; 16]), 10000, 0);
        let mut next_xid = 1;
        if let Some(old) = old.filter(|_| own) {
            session = old.session;
            passwd = Some(old.passwd.clone());
            timeout = old.timeout_ms;
            zxid = old.last_zxid;
            next_xid = old.next_xid;
        }
        let number = |v: &str| v.parse::<i64>().map_err(|_| Stop::failed(format!("number: {v}")));
        for (key, value) in options {
            match key.as_str() {
                "timeout" => timeout = number(value)? as i32,
                "sid" => {
                    session = match self.conns.get(value) {
                        Some(conn) => conn.session,
                        None => number(value)?,
                    }
                }
                "pw" => {
                    passwd = match value.as_str() {
                        "zero" => Some(vec![0; 16]),
                        "wrong" => Some(vec![7; 16]),
                        "null" => None,
                        "empty" => Some(vec![]),
                        name => match self.conns.get(name) {
                            Some(conn) => Some(conn.passwd.clone()),
                            None => unhex(value),
                        },
                    }
                }
                "zxid" => {
                    zxid = match value.strip_prefix('+') {
                        Some(n) => self.newest + number(n)?,
                        None => number(value)?,
                    }
                }
                _ => {}
            }
        }
        let ro = match options.get("ro").map(String::as_str) {
            Some("none") => None,
            Some(n) => Some(number(n)? as u8),
            None => Some(0),
        };
        let proto = options.get("proto").map(|p| number(p)).transpose()?.unwrap_or(0) as i32;
        let at = self.next_member(session);
        let mut client = self.dial(at)?;
        client.send(&client::frame(&client::connect_request(
            proto,
            zxid,
            timeout,
            session,
            passwd.as_deref(),
            ro,
        )));
        let mut conn = fresh(None);
        conn.at = at;
        conn.next_xid = next_xid;
        match client.receive(PATIENCE) {
            Incoming::Frame(payload) => match client::connect_response(&payload) {
                Some(c) if c.session != 0 => {
                    self.names.sessions.entry(c.session).or_insert_with(|| name.to_string());
                    self.out.push(format!(
                        "{name} connected {} timeout={} passwd={} ro={}{}",
                        self.names.session(c.session),
                        c.timeout_ms,
                        c.passwd.len(),
                        c.read_only.map_or("none".to_string(), |b| b.to_string()),
                        if c.protocol == 0 { "" } else { " protocol not 0" },
                    ));
                    if self.sessions.iter().all(|(session, _)| *session != c.session) {
                        self.sessions.push((c.session, c.passwd.clone()));
                    }
                    conn.session = c.session;
                    conn.passwd = c.passwd;
                    conn.timeout_ms = timeout;
                    conn.last_zxid = zxid;
                    conn.handshaken = true;
                    conn.client = Some(client);
                }
                Some(c) => {
                    self.out.push(format!(
                        "{name} refused timeout={} passwd={} ro={}",
                        c.timeout_ms,
                        hex(&c.passwd),
                        c.read_only.map_or("none".to_string(), |b| b.to_string()),
                    ));
                    match client.receive(PATIENCE) {
                        Incoming::Closed => self.out.push(format!("{name} closed")),
                        other => self.out.push(format!("{name} not closed: {other:?}")),
                    }
                }
                None => self.out.push(format!("{name} undecodable answer {}", hex(&payload))),
            },
            Incoming::Closed => self.out.push(format!("{name} closed")),
            Incoming::Silence => self.out.push(format!("{name} silent")),
        }
        if own && conn.client.is_none() {
            // Refused: the old identity stays known, for another try.
            if let Some(old) = self.conns.get(name) {
                conn.session = old.session;
                conn.passwd = old.passwd.clone();
                conn.timeout_ms = old.timeout_ms;
                conn.last_zxid = old.last_zxid;
            }
        }
        self.conns.insert(name.to_string(), conn);
        // The server closes the session's former connection, at its leisure.
        let mut others = self.conns.iter().filter(|(n, _)| n.as_str() != name);
        let former = others.find(|(_, c)| c.client.is_some() && c.session == session);
        if let Some(former) = former.filter(|_| session != 0).map(|(n, _)| n.clone()) {
            self.read(&former, PATIENCE, true);
        }
        self.look_at_others(name)
    }

    fn operations(&mut self, name: &str, ops: Vec<Op>) -> Result<(), Stop> {
        let base = self.names.base;
        let conn = self
            .conns
            .get_mut(name)
            .ok_or_else(|| Stop::failed(format!("no session named {name}")))?;
        if conn.client.is_none() {
            self.out.push(format!("{name} not connected"));
            return Ok(());
        }
        let risky = ops.iter().any(|op| op.risky);
        let visible = ops.iter().any(|op| op.write);
        let unanswered = ops.iter().any(|op| op.raw.is_some());
        let mut bytes = Vec::new();
        for op in ops {
            if let Some(raw) = op.raw {
                bytes.extend(raw);
                continue;
            }
            let xid = op.xid.unwrap_or_else(|| {
                conn.next_xid += 1;
                conn.next_xid - 1
            });
            let body = with_zxid(&op, base, conn.last_zxid);
            bytes.extend(client::frame(&client::request(xid, op.opcode, &body)));
            let expected = if op.opcode == 11 { -2 } else { xid };
            conn.pending.push((expected, op.shape));
            if op.opcode == -11 {
                conn.ended = true;
            }
        }
        if risky {
            self.send(name, &bytes);
            let patience = if unanswered { Duration::from_millis(400) } else { PATIENCE };
            self.read(name, patience, unanswered);
        } else {
            let conn = self.conns.get_mut(name).expect("looked up above");
            bytes.extend(client::frame(&client::request(-2, 11, &[])));
            conn.pending.push((-2, Shape::SilentPing));
            self.send(name, &bytes);
            self.read(name, PATIENCE, false);
        }
        if risky {
            // An answer behind which the server closes: a ping now might still be answered.
            let last = self.out.last().map(String::as_str).unwrap_or_default();
            if last.ends_with("UNIMPLEMENTED -1") || last.contains("AUTHFAILED") {
                self.read(name, Duration::from_secs(2), true);
            }
            self.ping(name);
        }
        if visible {
            self.look_at_others(name)?;
        }
        Ok(())
    }

    fn send(&mut self, name: &str, bytes: &[u8]) {
        if let Some(client) = self.conns.get_mut(name).and_then(|c| c.client.as_mut()) {
            client.send(bytes);
        }
    }

    fn ping(&mut self, name: &str) {
        let Some(conn) = self.conns.get_mut(name) else { return };
        if conn.client.is_none() || !conn.handshaken {
            return;
        }
        conn.pending.push((-2, Shape::SilentPing));
        self.send(name, &client::frame(&client::request(-2, 11, &[])));
        self.read(name, PATIENCE, false);
    }

    /// Everything that has reached the other connections by now: a ping's answer comes behind it.
    fn look_at_others(&mut self, but: &str) -> Result<(), Stop> {
        self.wait_for_members()?;
        let others: Vec<String> = self
            .conns
            .iter()
            .filter(|(n, c)| n.as_str() != but && c.client.is_some() && c.handshaken)
            .map(|(n, _)| n.clone())
            .collect();
        for name in &others {
            let conn = self.conns.get_mut(name).expect("listed above");
            conn.pending.push((-2, Shape::SilentPing));
            self.send(name, &client::frame(&client::request(-2, 11, &[])));
        }
        for name in &others {
            self.read(name, PATIENCE, false);
        }
        Ok(())
    }

    /// Reads until nothing is awaited any more, the connection closes, or nothing comes.
    fn read(&mut self, name: &str, patience: Duration, until_quiet: bool) {
        loop {
            let conn = self.conns.get_mut(name).expect("a known session");
            if conn.pending.is_empty() && !until_quiet {
                return;
            }
            let Some(client) = conn.client.as_mut() else { return };
            match client.receive(patience) {
                Incoming::Frame(payload) => self.frame(name, &payload),
                Incoming::Closed => {
                    conn.client = None;
                    let lost = conn.pending.iter().filter(|(_, s)| *s != Shape::SilentPing).count();
                    conn.pending.clear();
                    let lost =
                        if lost > 0 { format!(" ({lost} unanswered)") } else { String::new() };
                    self.out.push(format!("{name} closed{lost}"));
                    return;
                }
                Incoming::Silence => {
                    if !conn.pending.is_empty() {
                        conn.pending.clear();
                        self.out.push(format!("{name} silent"));
                    }
                    return;
                }
            }
        }
    }

    fn frame(&mut self, name: &str, payload: &[u8]) {
        let conn = self.conns.get_mut(name).expect("a known session");
        let mut r = Reader::new(payload);
        let (Ok(xid), Ok(zxid), Ok(err)) = (r.int(), r.long(), r.int()) else {
            self.out.push(format!("{name} < short frame {}", hex(payload)));
            return;
        };
        if !conn.handshaken {
            self.out.push(format!("{name} < frame of {} bytes", payload.len()));
            return;
        }
        if zxid > 0 {
            conn.last_zxid = conn.last_zxid.max(zxid);
            self.newest = self.newest.max(zxid);
        }
        let at = conn.pending.iter().position(|(x, _)| *x == xid);
        if xid == -1 && at.is_none() {
            self.out.push(format!("{name} ! {}", render::event(&self.names, zxid, err, r.rest())));
            return;
        }
        let (shape, note) = match at {
            Some(0) => (conn.pending.remove(0).1, ""),
            Some(n) => (conn.pending.remove(n).1, " (early)"),
            None => (Shape::Raw, " (unasked)"),
        };
        if shape == Shape::SilentPing {
            if err != 0 {
                self.out.push(format!("{name} < ping: {}", render::code(err)));
            }
            return;
        }
        let xid = if at.is_some() && (-8..0).contains(&xid) || at.is_none() {
            format!("xid={xid} ")
        } else {
            String::new()
        };
        let body = if err == 0 || (shape == Shape::Multi && !r.rest().is_empty()) {
            self.names.body(shape, r.rest())
        } else if r.rest().is_empty() {
            String::new()
        } else {
            format!("body={}", hex(r.rest()))
        };
        let line = format!("{name} < {xid}{} {} {body}", render::code(err), self.names.zxid(zxid));
        self.out.push(format!("{}{note}", line.trim_end()));
    }

    fn expire(&mut self, name: &str) -> Result<(), Stop> {
        self.drop_connection(name);
        let session = self.conns.get(name).map(|c| c.session).unwrap_or(0);
        let id = format!("0x{:x}", session as u64);
        let end = Instant::now() + Duration::from_secs(40);
        while Instant::now() < end {
            let text = self.server.four("dump")?;
            if !text.lines().any(|l| l.trim().trim_end_matches(':') == id) {
                self.out.push(format!("{name} expired"));
                return self.look_at_others("");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.out.push(format!("{name} never expired"));
        Ok(())
    }

    fn wait_gone(&mut self, name: &str, path: &Token) -> Result<(), Stop> {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            let mut events = std::mem::take(&mut self.out);
            let words =
                script::tokens(&format!("exists {} 0", script::quote(path.bytes.as_deref())))?;
            let op = script::op(&words).map_err(Stop::failed)?;
            self.operations(name, vec![op])?;
            let mut now = std::mem::take(&mut self.out);
            let answer = now.pop().unwrap_or_default();
            events.append(&mut now);
            self.out = events;
            if answer.contains("NONODE") {
                self.out.push(answer);
                return self.look_at_others(name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.out.push(format!("{} is still there", path.text()));
        Ok(())
    }

    /// Every node with data, ACL and Stat, in path order, seen by the super user.
    fn dump_tree(&mut self) -> Result<(), Stop> {
        let mut helper = Session::open(self.server.address(), 10000)?;
        self.names.sessions.entry(helper.connected.session).or_insert_with(|| "~".to_string());
        helper.become_super()?;
        let mut paths = vec!["/".to_string()];
        while let Some(path) = paths.pop() {
            let mut w = crate::harness::jute::Writer::new();
            w.string(&path);
            let (acl_err, acl) = helper.call(6, &w.bytes)?;
            w.bool(false);
            let (err, data) = helper.call(4, &w.bytes)?;
            let data =
                if err == 0 { self.names.body(Shape::DataStat, &data) } else { render::code(err) };
            let acl = if acl_err == 0 {
                let text = self.names.body(Shape::AclStat, &acl);
                text.split(" {").next().unwrap_or_default().to_string()
            } else {
                render::code(acl_err)
            };
            self.out.push(format!("{} {acl} {data}", script::quote(Some(path.as_bytes()))));
            let children = helper.children(&path)?.unwrap_or_default();
            for child in children.iter().rev() {
                let parent = if path == "/" { "" } else { &path };
                paths.push(format!("{parent}/{child}"));
            }
        }
        helper.close();
        Ok(())
    }

    /// Ends every session and removes every node. A session that stayed behind would expire within
    /// a later program, on one server sooner than on the other, and shift its zxids.
    fn clean(&mut self) -> Result<(), Stop> {
        let address = self.server.address();
        for conn in self.conns.values_mut() {
            if let Some(client) = conn.client.take() {
                client.shut_down();
            }
        }
        for (session, passwd) in &self.sessions {
            let mut s = Session::open_as(address, 10_000, 0, *session, passwd)?;
            // Refused: it has ended already.
            if s.connected.session != 0 {
                s.call(-11, &[])?;
            }
        }
        let left = self.server.four("dump")?;
        if left.lines().any(|l| l.trim_start().starts_with("0x")) {
            return Err(Stop::failed(format!("sessions outlive their program:\n{left}")));
        }
        let mut helper = Session::open(address, 10000)?;
        helper.become_super()?;
        let kept = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
        let mut paths = vec!["/".to_string()];
        let mut doomed = Vec::new();
        while let Some(path) = paths.pop() {
            for child in helper.children(&path)?.unwrap_or_default() {
                let parent = if path == "/" { "" } else { &path };
                paths.push(format!("{parent}/{child}"));
            }
            if !kept.contains(&path.as_str()) && !limits::holds(&path) {
                doomed.push(path);
            }
        }
        for path in doomed.iter().rev() {
            helper.delete(path)?;
        }
        let mut w = crate::harness::jute::Writer::new();
        w.string("/").int(1).int(31).string("world").string("anyone").int(-1);
        helper.call(7, &w.bytes)?;
        helper.close();
        Ok(())
    }
}

fn fresh(client: Option<RawClient>) -> Conn {
    Conn {
        client,
        at: 0,
        session: 0,
        passwd: vec![0; 16],
        timeout_ms: 10000,
        last_zxid: 0,
        next_xid: 1,
        handshaken: false,
        ended: false,
        pending: Vec::new(),
    }
}

/// Puts the absolute zxid into a setWatches record (see `script.rs`).
fn with_zxid(op: &Op, base: i64, seen: i64) -> Vec<u8> {
    if !matches!(op.opcode, 101 | 105) || !op.body.starts_with(b"ZXID0000") {
        return op.body.clone();
    }
    let len = *op.body.last().unwrap_or(&0) as usize;
    let end = op.body.len() - 1 - len;
    let text = String::from_utf8_lossy(&op.body[end..op.body.len() - 1]).into_owned();
    let zxid = if text == "seen" {
        seen
    } else if text.starts_with(['+', '-']) {
        base + text.parse::<i64>().unwrap_or(0)
    } else {
        text.parse().unwrap_or(0)
    };
    let mut body = zxid.to_be_bytes().to_vec();
    body.extend_from_slice(&op.body[8..end]);
    body
}
