//! Clients that pipeline everything on every member, and check what they are told as it comes.
//!
//! Each client owns a register (`/r/I`, written by it alone with growing numbers) and reads those of
//! the others. So without a model of the tree it is known that
//! - replies come in the order of the requests, and their zxids never go back;
//! - a client reads its own writes, and exactly those that it sent before;
//! - what a client has seen it never sees undone, wherever its session moves;
//! - behind a sync it sees everything that anybody was promised before;
//! - an event comes before any reply that shows the new data;
//! - sequence numbers grow; ephemerals are gone when closeSession is answered.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{failed, same_trees};
use crate::differential::generate::Rng;
use crate::harness::client::{self, Incoming, RawClient, Session};
use crate::harness::jute::{Reader, Writer};
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Ensemble, Kind};
use crate::harness::tools::{self, Level};

/// Clients; each has a register.
const CLIENTS: usize = 6;
/// Requests in one write to the socket, at most.
const BATCH_MAX: usize = 32;
/// Requests that a client leaves unanswered before it reads.
const UNREAD_MAX: usize = 96;
/// How long a member may be silent before its client goes elsewhere.
const SILENCE: Duration = Duration::from_secs(8);
/// How long a client looks for a member that takes its session.
const HOMELESS: Duration = Duration::from_secs(60);
/// As long as the servers allow: no fault here is longer.
const TIMEOUT_MS: i32 = 20_000;

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("ensemble", "pipelines_on_all_members", Level::Quick, || storm(&[]));
    suite.add("ensemble", "pipelines_while_members_fail", Level::Quick, || {
        storm(&[
            Fault::KillLeader,
            Fault::StopLeader,
            Fault::KillFollower,
            Fault::FreezeLeader,
            Fault::FreezeFollower,
            Fault::StopFollower,
        ])
    });
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// SIGKILL.
    KillLeader,
    KillFollower,
    /// SIGTERM.
    StopLeader,
    StopFollower,
    /// SIGSTOP for a while.
    FreezeLeader,
    FreezeFollower,
}

/// What all clients share.
struct Shared {
    members: Vec<SocketAddr>,
    /// The newest number of each register whose write was acknowledged.
    acknowledged: Vec<AtomicU64>,
    answered: AtomicU64,
    moves: AtomicU64,
    stop: AtomicBool,
    /// A connection may end only if a client ends it.
    calm: bool,
    wrong: Mutex<Vec<String>>,
}

fn storm(faults: &[Fault]) -> Outcome {
    let asked = std::env::var("ROOKEEPER_SEED").ok().and_then(|s| s.parse().ok());
    let seed: u64 = asked.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |d| d.as_micros() as u64 % 1_000_000)
    });
    let seconds = match tools::level() {
        Level::Quick => 10,
        Level::Ci => 60,
        Level::Full => 600,
    };
    let asked = std::env::var("ROOKEEPER_SECONDS").ok().and_then(|s| s.parse().ok());
    let duration = Duration::from_secs(asked.unwrap_or(seconds));
    println!("    seed {seed} (ROOKEEPER_SEED), {} s (ROOKEEPER_SECONDS)", duration.as_secs());
    let dir = TempDir::new("storm");
    let mut ensemble = Ensemble::new(&vec![Kind::Rookeeper; 4], dir.path(), &[3]);
    ensemble.start()?;
    let mut first = Session::open(ensemble.members[0].address(), TIMEOUT_MS)?;
    for path in ["/r", "/s", "/q", "/e"] {
        first.create(path, b"", 0)?;
    }
    for i in 0..CLIENTS {
        first.create(&format!("/r/{i}"), b"0", 0)?;
    }
    let shared = Shared {
        members: ensemble.members.iter().map(|m| m.address()).collect(),
        acknowledged: (0..CLIENTS).map(|_| AtomicU64::new(0)).collect(),
        answered: AtomicU64::new(0),
        moves: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        calm: faults.is_empty(),
        wrong: Mutex::new(Vec::new()),
    };
    let from = first.last_zxid;
    first.close();
    let mut rng = Rng::new(seed);
    let mut done = Vec::new();
    let faulted = std::thread::scope(|scope| {
        for i in 0..CLIENTS {
            let (shared, seed) = (&shared, rng.next());
            scope.spawn(move || Client::new(shared, i, seed, from).work());
        }
        let result = torment(&mut ensemble, &shared, faults, duration, &mut rng, &mut done);
        shared.stop.store(true, Ordering::Relaxed);
        result
    });
    let wrong = std::mem::take(&mut *shared.wrong.lock().unwrap_or_else(|e| e.into_inner()));
    if !wrong.is_empty() {
        let text = format!("seed {seed}, faults {done:?}:\n{}", wrong.join("\n"));
        return Err(failed(&ensemble, &text));
    }
    faulted.map_err(|e| failed(&ensemble, &format!("seed {seed}, faults {done:?}: {e:?}")))?;
    same_trees(&ensemble)?;
    same_digests(&ensemble)?;
    let mut last = Session::open(ensemble.members[0].address(), TIMEOUT_MS)?;
    for (i, acknowledged) in shared.acknowledged.iter().enumerate() {
        let want = acknowledged.load(Ordering::Relaxed);
        let data = last.get(&format!("/r/{i}"))?.map_err(|e| format!("/r/{i}: error {e}"))?;
        if number(&data).is_none_or(|n| n < want) {
            let text = format!("seed {seed}: /r/{i} is {data:?}, acknowledged was {want}");
            return Err(failed(&ensemble, &text));
        }
    }
    last.close();
    Ok(format!(
        "{} requests answered, {} connections, {} faults, seed {seed}",
        shared.answered.load(Ordering::Relaxed),
        shared.moves.load(Ordering::Relaxed),
        done.len(),
    ))
}

/// Does one fault after the other until the time is over; all members serve again at the end.
fn torment(
    ensemble: &mut Ensemble,
    shared: &Shared,
    faults: &[Fault],
    duration: Duration,
    rng: &mut Rng,
    done: &mut Vec<(Fault, usize)>,
) -> Result<(), Stop> {
    let end = Instant::now() + duration;
    let broken = || !shared.wrong.lock().unwrap_or_else(|e| e.into_inner()).is_empty();
    let rest = |time: Duration| {
        let end = Instant::now() + time;
        while Instant::now() < end && !broken() {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let mut next = rng.below(faults.len().max(1));
    while Instant::now() < end && !broken() {
        rest(Duration::from_millis(300 + rng.below(700) as u64));
        if faults.is_empty() {
            continue;
        }
        let fault = faults[next % faults.len()];
        next += 1;
        let Some(leader) = ensemble.leader() else { continue };
        let follower = (leader + 1 + rng.below(2)) % 3;
        let victim = match fault {
            Fault::KillLeader | Fault::StopLeader | Fault::FreezeLeader => leader,
            // Every now and then it is the observer.
            _ if rng.one_in(4) => 3,
            _ => follower,
        };
        done.push((fault, victim + 1));
        let member = &mut ensemble.members[victim];
        match fault {
            Fault::KillLeader | Fault::KillFollower => member.kill9(),
            Fault::StopLeader | Fault::StopFollower => {
                if !member.stop() {
                    return Err(Stop::failed("SIGTERM does not end a member"));
                }
            }
            Fault::FreezeLeader | Fault::FreezeFollower => member.signal(Signal::STOP),
        }
        rest(Duration::from_millis(100 + rng.below(3000) as u64));
        let member = &mut ensemble.members[victim];
        match fault {
            Fault::FreezeLeader | Fault::FreezeFollower => member.signal(Signal::CONT),
            _ => member.launch()?,
        }
        ensemble.wait_serving()?;
    }
    Ok(())
}

/// The digests of the same zxid must be the same everywhere, and none may have been found wrong.
fn same_digests(ensemble: &Ensemble) -> Result<(), Stop> {
    let mut known: std::collections::BTreeMap<String, String> = Default::default();
    for member in &ensemble.members {
        for line in member.four("hash")?.lines() {
            let Some((zxid, digest)) = line.split_once(": ") else { continue };
            let first = known.entry(zxid.to_string()).or_insert_with(|| digest.to_string());
            if first != digest {
                let text = format!("at {zxid} the digest is {digest} and {first}");
                return Err(failed(ensemble, &text));
            }
        }
        let counters = member.four("mntr")?;
        let mismatches = counters.lines().find(|l| l.starts_with("zk_digest_mismatches_count"));
        if mismatches.is_some_and(|l| !l.ends_with("\t0")) {
            return Err(failed(ensemble, "a member has found its digest wrong"));
        }
    }
    Ok(())
}

fn number(data: &[u8]) -> Option<u64> {
    std::str::from_utf8(data).ok()?.parse().ok()
}

/// What a reply must be like.
#[derive(Clone, Debug)]
enum What {
    /// Own register was set to this.
    Set(u64),
    /// A register was read.
    Get { of: usize, at_least: u64, exactly: Option<u64>, watch: bool, multi: bool },
    /// A sequential node of ours was created.
    Sequence,
    /// This must succeed.
    Good,
    /// This must not exist any more.
    Gone,
    /// Whatever it is.
    Any,
    /// The last.
    Close,
}

struct Client<'a> {
    shared: &'a Shared,
    me: usize,
    rng: Rng,
    conn: Option<RawClient>,
    at: usize,
    session: i64,
    password: Vec<u8>,
    /// closeSession was sent: whether the session still lives is unknown.
    closing: bool,
    last_zxid: i64,
    next_xid: i32,
    pending: VecDeque<(i32, What)>,
    auths: usize,
    /// The newest number sent to the own register.
    sent: u64,
    /// What the own register holds behind everything sent on this connection.
    own: Option<u64>,
    /// The newest number seen of each register.
    seen: Vec<u64>,
    /// What each register was when it got the watch that stands.
    watched: Vec<Option<u64>>,
    sequence: i64,
    /// Sequential nodes that were made and not deleted.
    litter: Vec<String>,
    ephemerals: Vec<String>,
    /// Ephemerals of sessions that were closed.
    gone: Vec<String>,
    made: u64,
    /// The last that was sent and received.
    log: VecDeque<String>,
}

/// The connection is over.
struct Over;

impl<'a> Client<'a> {
    fn new(shared: &'a Shared, me: usize, seed: u64, last_zxid: i64) -> Client<'a> {
        Client {
            shared,
            me,
            rng: Rng::new(seed),
            conn: None,
            at: 0,
            session: 0,
            password: vec![0; 16],
            closing: false,
            last_zxid,
            next_xid: 1,
            pending: VecDeque::new(),
            auths: 0,
            sent: 0,
            own: Some(0),
            seen: vec![0; CLIENTS],
            watched: vec![None; CLIENTS],
            sequence: -1,
            litter: Vec::new(),
            ephemerals: Vec::new(),
            gone: Vec::new(),
            made: 0,
            log: VecDeque::new(),
        }
    }

    fn work(mut self) {
        while !self.stopped() {
            let ended = match self.conn {
                None => self.connect(),
                Some(_) => self.round(),
            };
            if ended.is_err() {
                self.drop_connection();
            }
        }
        while self.conn.is_some() && !self.pending.is_empty() && self.read_one().is_ok() {}
    }

    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    fn wrong(&self, text: impl std::fmt::Display) -> Over {
        let log = self.log.iter().map(|l| format!("      {l}")).collect::<Vec<_>>().join("\n");
        let text = format!("client {} at member {}: {text}\n{log}", self.me, self.at + 1);
        let mut wrong = self.shared.wrong.lock().unwrap_or_else(|e| e.into_inner());
        if wrong.len() < 3 {
            wrong.push(text);
        }
        self.shared.stop.store(true, Ordering::Relaxed);
        Over
    }

    fn note(&mut self, line: String) {
        if self.log.len() >= 80 {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }

    fn drop_connection(&mut self) {
        if let Some(conn) = self.conn.take() {
            conn.shut_down();
        }
        self.note("dropped".to_string());
        self.pending.clear();
        self.auths = 0;
        self.own = None;
    }

    /// Finds a member that takes the session.
    fn connect(&mut self) -> Result<(), Over> {
        let end = Instant::now() + HOMELESS;
        while !self.stopped() {
            if Instant::now() > end {
                return Err(self.wrong("no member takes the session"));
            }
            self.at = self.rng.below(self.shared.members.len());
            let Ok(mut conn) = RawClient::connect(self.shared.members[self.at]) else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            let (zxid, password) = (self.last_zxid, Some(&self.password[..]));
            let ask = client::connect_request(0, zxid, TIMEOUT_MS, self.session, password, Some(0));
            conn.send(&client::frame(&ask));
            let Incoming::Frame(payload) = conn.receive(Duration::from_secs(3)) else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            let Some(answer) = client::connect_response(&payload) else {
                return Err(self.wrong(format!("connect answered {payload:?}")));
            };
            self.note(format!("connected 0x{:x} to member {}", answer.session, self.at + 1));
            if answer.session == 0 {
                if self.session == 0 || !self.closing {
                    return Err(self.wrong(format!("session 0x{:x} is lost", self.session)));
                }
                self.forget_session();
                continue;
            }
            self.closing = false;
            self.session = answer.session;
            self.password = answer.passwd;
            self.conn = Some(conn);
            self.shared.moves.fetch_add(1, Ordering::Relaxed);
            return self.watch_again();
        }
        Err(Over)
    }

    fn forget_session(&mut self) {
        self.session = 0;
        self.password = vec![0; 16];
        self.closing = false;
        self.watched.fill(None);
        self.gone.append(&mut self.ephemerals);
    }

    /// setWatches, as clients do when they have moved.
    fn watch_again(&mut self) -> Result<(), Over> {
        let paths: Vec<String> = (0..CLIENTS)
            .filter(|i| self.watched[*i].is_some())
            .map(|i| format!("/r/{i}"))
            .collect();
        if paths.is_empty() {
            return Ok(());
        }
        let mut w = Writer::new();
        w.long(self.last_zxid).int(paths.len() as i32);
        for path in &paths {
            w.string(path);
        }
        w.int(0).int(0);
        self.pending.push_back((-8, What::Good));
        self.send(&client::frame(&client::request(-8, 101, &w.bytes)))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Over> {
        if self.conn.as_mut().is_some_and(|conn| conn.send(bytes)) { Ok(()) } else { self.lost() }
    }

    /// The member has closed the connection, or says nothing.
    fn lost(&mut self) -> Result<(), Over> {
        if self.shared.calm && !self.closing && !self.stopped() {
            return Err(self.wrong(format!("connection lost with {:?} out", self.pending.front())));
        }
        Err(Over)
    }

    /// Sends a batch; reads some or all of what is out.
    fn round(&mut self) -> Result<(), Over> {
        let mut bytes = Vec::new();
        let count = 1 + self.rng.below(BATCH_MAX);
        for _ in 0..count {
            self.request(&mut bytes);
        }
        let close = self.rng.one_in(60);
        if close {
            self.push(&mut bytes, -11, &[], What::Close);
            self.closing = true;
        }
        self.send(&bytes)?;
        let leave = if close || self.rng.one_in(2) { 0 } else { self.rng.below(UNREAD_MAX) };
        while self.pending.len() > leave {
            self.read_one()?;
        }
        if close {
            self.forget_session();
            return Err(Over);
        }
        if self.rng.one_in(12) {
            // Elsewhere, with or without an answer to everything.
            if self.rng.one_in(2) {
                while !self.pending.is_empty() {
                    self.read_one()?;
                }
            }
            return Err(Over);
        }
        Ok(())
    }

    fn push(&mut self, bytes: &mut Vec<u8>, opcode: i32, body: &[u8], what: What) {
        let xid = match opcode {
            11 => -2,
            _ => {
                self.next_xid += 1;
                self.next_xid
            }
        };
        self.note(format!("> {xid} op {opcode} {what:?}"));
        bytes.extend(client::frame(&client::request(xid, opcode, body)));
        self.pending.push_back((xid, what));
    }

    fn get(&mut self, bytes: &mut Vec<u8>, of: usize, at_least: u64) {
        let exactly = if of == self.me { self.own } else { None };
        let (watch, multi) = (self.rng.one_in(3), self.rng.one_in(5));
        let mut w = Writer::new();
        let path = format!("/r/{of}");
        if multi {
            w.int(4).bool(false).int(-1).string(&path).bool(false).int(-1).bool(true).int(-1);
            let what = What::Get { of, at_least, exactly, watch: false, multi };
            return self.push(bytes, 22, &w.bytes, what);
        }
        w.string(&path).bool(watch);
        self.push(bytes, 4, &w.bytes, What::Get { of, at_least, exactly, watch, multi });
    }

    fn create(&mut self, bytes: &mut Vec<u8>, path: &str, flags: i32, what: What) {
        let opcode = if self.rng.one_in(2) { 1 } else { 15 };
        let mut w = Writer::new();
        let size = if self.rng.one_in(40) { 100_000 } else { 3 };
        w.string(path).buffer(Some(&vec![b'x'; size])).int(1).int(31);
        w.string("world").string("anyone").int(flags);
        self.push(bytes, opcode, &w.bytes, what);
    }

    fn request(&mut self, bytes: &mut Vec<u8>) {
        let me = format!("/r/{}", self.me);
        let some = format!("/s/{}", self.rng.below(4));
        let of = self.rng.below(CLIENTS);
        let mut w = Writer::new();
        match self.rng.below(40) {
            0..=5 => {
                self.sent += 1;
                w.string(&me).buffer(Some(self.sent.to_string().as_bytes())).int(-1);
                self.own = Some(self.sent);
                self.push(bytes, 5, &w.bytes, What::Set(self.sent));
            }
            6..=7 => {
                // multi: check, setData
                self.sent += 1;
                w.int(13).bool(false).int(-1).string("/r").int(-1);
                w.int(5).bool(false).int(-1).string(&me);
                w.buffer(Some(self.sent.to_string().as_bytes())).int(-1);
                w.int(-1).bool(true).int(-1);
                self.own = Some(self.sent);
                self.push(bytes, 14, &w.bytes, What::Set(self.sent));
            }
            8..=13 => self.get(bytes, of, 0),
            14..=17 => {
                let at_least = self.shared.acknowledged[of].load(Ordering::SeqCst);
                w.string("/");
                self.push(bytes, 9, &w.bytes, What::Good);
                if self.rng.one_in(3) {
                    self.request_small(bytes, &some);
                }
                self.get(bytes, of, at_least);
            }
            18 if !self.litter.is_empty() => {
                w.string(&self.litter.swap_remove(0)).int(-1);
                self.push(bytes, 2, &w.bytes, What::Any);
            }
            18..=19 => {
                let path = format!("/q/{}-", self.me);
                self.create(bytes, &path, 2, What::Sequence);
            }
            20 => {
                self.made += 1;
                let path = format!("/e/{}-{}", self.me, self.made);
                self.create(bytes, &path, 1, What::Good);
                self.ephemerals.push(path);
            }
            21 if !self.gone.is_empty() => {
                w.string("/");
                self.push(bytes, 9, &w.bytes, What::Good);
                let mut w = Writer::new();
                let path = self.gone.swap_remove(0);
                w.string(&path).bool(false);
                self.push(bytes, 3, &w.bytes, What::Gone);
            }
            22 => {
                let mut w = Writer::new();
                w.int(0)
                    .string("digest")
                    .buffer(Some(format!("u{}:p", self.rng.below(3)).as_bytes()));
                self.auths += 1;
                self.note("> auth".to_string());
                bytes.extend(client::frame(&client::request(-4, 100, &w.bytes)));
            }
            23 => {
                // A multi that fails in the middle.
                w.int(5).bool(false).int(-1).string(&me).buffer(Some(b"0")).int(-1);
                w.int(13).bool(false).int(-1).string("/none").int(3);
                w.int(-1).bool(true).int(-1);
                self.push(bytes, 14, &w.bytes, What::Any);
            }
            _ => self.request_small(bytes, &some),
        }
    }

    /// Something that may fail, about a node that all use.
    fn request_small(&mut self, bytes: &mut Vec<u8>, path: &str) {
        let mut w = Writer::new();
        match self.rng.below(16) {
            0..=1 => self.create(bytes, path, 0, What::Any),
            2 => {
                w.string(path).int(-1);
                self.push(bytes, 2, &w.bytes, What::Any);
            }
            3 => {
                w.string(path).buffer(Some(b"y")).int(self.rng.below(4) as i32 - 1);
                self.push(bytes, 5, &w.bytes, What::Any);
            }
            4 => {
                w.string(path).bool(true);
                self.push(bytes, 3, &w.bytes, What::Any);
            }
            5 => {
                w.string("/s").bool(true);
                self.push(bytes, 8, &w.bytes, What::Good);
            }
            6 => {
                w.string("/s").bool(false);
                self.push(bytes, 12, &w.bytes, What::Good);
            }
            7 => {
                w.string("/r");
                self.push(bytes, 6, &w.bytes, What::Good);
            }
            8 => self.push(bytes, 11, &[], What::Good),
            9 => {
                w.string(path).int(self.rng.below(2) as i32);
                self.push(bytes, 106, &w.bytes, What::Good);
            }
            10 => {
                let opcode = if self.rng.one_in(2) { 17 } else { 18 };
                w.string(path).int(3);
                self.push(bytes, opcode, &w.bytes, What::Any);
            }
            11 => {
                w.string("/e");
                self.push(bytes, 103, &w.bytes, What::Good);
            }
            12 => {
                w.string("/s");
                self.push(bytes, 104, &w.bytes, What::Good);
            }
            13 => self.push(bytes, 107, &[], What::Good),
            14 => {
                w.string("/s").int(1).int(31).string("world").string("anyone").int(-1);
                self.push(bytes, 7, &w.bytes, What::Good);
            }
            _ => {
                w.string("/");
                self.push(bytes, 9, &w.bytes, What::Good);
            }
        }
    }

    /// Takes one frame.
    fn read_one(&mut self) -> Result<(), Over> {
        let Some(conn) = &mut self.conn else { return Err(Over) };
        match conn.receive(SILENCE) {
            Incoming::Frame(payload) => self.take(&payload),
            Incoming::Closed | Incoming::Silence => self.lost(),
        }
    }

    fn take(&mut self, payload: &[u8]) -> Result<(), Over> {
        let mut r = Reader::new(payload);
        let (Ok(xid), Ok(zxid), Ok(code)) = (r.int(), r.long(), r.int()) else {
            return Err(self.wrong(format!("a frame of {} bytes", payload.len())));
        };
        if xid == -1 {
            let (kind, _, path) = (r.int(), r.int(), r.buffer());
            let path = path.ok().flatten().map(|p| String::from_utf8_lossy(p).into_owned());
            self.note(format!("! {kind:?} {path:?}"));
            let of = path.as_deref().and_then(|p| p.strip_prefix("/r/")?.parse::<usize>().ok());
            if let Some(watched) = of.and_then(|of| self.watched.get_mut(of)) {
                *watched = None;
            }
            return Ok(());
        }
        if xid == -4 {
            self.auths -= 1;
            return if code == 0 { Ok(()) } else { Err(self.wrong("auth failed")) };
        }
        self.note(format!("< {xid} {zxid:x} {code}"));
        let (expected, what) = match self.pending.pop_front() {
            Some(pending) => pending,
            None => return Err(self.wrong(format!("reply {xid} to nothing"))),
        };
        if xid != expected {
            return Err(self.wrong(format!("reply {xid} where {expected} comes next")));
        }
        if zxid < self.last_zxid {
            return Err(self.wrong(format!("zxid {zxid:x} after {:x}", self.last_zxid)));
        }
        self.last_zxid = zxid;
        self.shared.answered.fetch_add(1, Ordering::Relaxed);
        match what {
            What::Any => Ok(()),
            What::Gone if code == -101 => Ok(()),
            What::Gone => Err(self.wrong("an ephemeral outlived closeSession")),
            _ if code != 0 => Err(self.wrong(format!("{what:?} answered {code}"))),
            What::Good | What::Close => Ok(()),
            What::Set(n) => {
                self.shared.acknowledged[self.me].fetch_max(n, Ordering::SeqCst);
                Ok(())
            }
            What::Sequence => {
                let path = r.buffer().ok().flatten().unwrap_or_default();
                let digits = path.get(path.len().saturating_sub(10)..).and_then(number);
                let digits = digits.map_or(-1, |n| n as i64);
                if digits <= self.sequence {
                    let before = self.sequence;
                    return Err(self.wrong(format!("sequence {digits} after {before}")));
                }
                self.sequence = digits;
                self.litter.push(String::from_utf8_lossy(path).into_owned());
                Ok(())
            }
            What::Get { of, at_least, exactly, watch, multi } => {
                if multi {
                    let _ = (r.int(), r.byte(), r.int());
                }
                let Some(n) = r.buffer().ok().flatten().and_then(number) else {
                    return Err(self.wrong("a register without a number"));
                };
                self.check(of, n, at_least, exactly, watch)
            }
        }
    }

    fn check(
        &mut self,
        of: usize,
        n: u64,
        at_least: u64,
        exactly: Option<u64>,
        watch: bool,
    ) -> Result<(), Over> {
        if n < at_least {
            return Err(self.wrong(format!("/r/{of} is {n} behind a sync after {at_least}")));
        }
        if n < self.seen[of] {
            let seen = self.seen[of];
            return Err(self.wrong(format!("/r/{of} goes back from {seen} to {n}")));
        }
        if let Some(own) = exactly
            && own != n
        {
            return Err(self.wrong(format!("own register is {n} where {own} was written")));
        }
        if of == self.me && n > self.sent {
            return Err(self.wrong(format!("own register is {n}, never written")));
        }
        if let Some(old) = self.watched[of]
            && old != n
        {
            return Err(self.wrong(format!("/r/{of} went from {old} to {n} without an event")));
        }
        self.seen[of] = n;
        if watch {
            self.watched[of] = Some(n);
        }
        Ok(())
    }
}
