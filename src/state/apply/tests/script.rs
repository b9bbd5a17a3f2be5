//! Transcripts: transactions in, results, changes and tree dumps out (`fixtures/state`).

use std::fmt::Write as _;

use bytes::Bytes;

use crate::proto::opcode::OpCode;
use crate::proto::txn::*;
use crate::state::testkit::*;
use crate::state::*;
use crate::types::*;

/// A state under a script.
struct Script {
    state: StateMachine,
    zxid: i64,
}

/// A command's words; `key=value` words can stand anywhere.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn plain(&self, n: usize) -> &'a str {
        self.0.iter().filter(|w| !w.contains('=')).nth(n).copied().expect("a word is missing")
    }
    fn value(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find_map(|w| w.strip_prefix(key)?.strip_prefix('='))
    }
    fn number(&self, key: &str, default: i64) -> i64 {
        self.value(key).map_or(default, |v| number(v))
    }
}

fn number(text: &str) -> i64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).expect("hex") as i64,
        None => text.parse().expect("a number"),
    }
}

fn stat(s: &Stat) -> String {
    format!(
        "c={:x}@{} m={:x}@{} p={:x} v={} cv={} av={} owner={:x} len={} children={}",
        s.czxid,
        s.ctime,
        s.mzxid,
        s.mtime,
        s.pzxid,
        s.version,
        s.cversion,
        s.aversion,
        s.ephemeral_owner,
        s.data_length,
        s.num_children
    )
}

impl Script {
    fn new() -> Script {
        Script { state: StateMachine::new(Options::default()), zxid: 0 }
    }

    fn data(words: &Words) -> Option<Bytes> {
        match words.value("data") {
            Some("null") => None,
            data => Some(Bytes::copy_from_slice(data.unwrap_or("").as_bytes())),
        }
    }

    /// The transaction of one line: type, session, body.
    fn txn(&self, line: &str) -> (OpCode, i64, Txn) {
        let words = Words(line.split_whitespace().collect());
        let session = words.number("session", 0);
        let path = || words.plain(1).to_owned();
        let acl = || acl(words.number("acl", 0) as u64);
        let parent_cversion = || {
            // What a leader would say, unless the script says otherwise.
            let parent = path::parent(words.plain(1)).and_then(|p| self.state.node(p));
            words.number("cv", parent.map_or(1, |p| i64::from(p.stat().cversion) + 1)) as i32
        };
        let version = words.number("v", 1) as i32;
        let extended = |ttl| {
            let (data, parent_cversion) = (Self::data(&words), parent_cversion());
            let (path, acl) = (path(), acl());
            Txn::CreateExtended(CreateExtendedTxn { path, data, acl, parent_cversion, ttl })
        };
        match words.plain(0) {
            kind @ ("create" | "create2") => {
                let opcode = if kind == "create" { OpCode::CREATE } else { OpCode::CREATE2 };
                let create = CreateTxn {
                    path: path(),
                    data: Self::data(&words),
                    acl: acl(),
                    ephemeral: session != 0,
                    parent_cversion: parent_cversion(),
                };
                (opcode, session, Txn::Create(create))
            }
            "container" => (OpCode::CREATE_CONTAINER, session, extended(None)),
            "ttl" => (OpCode::CREATE_TTL, session, extended(Some(words.number("ms", 1)))),
            "delete" => (OpCode::DELETE, session, Txn::Delete { path: path() }),
            "set" => {
                let txn = Txn::SetData { path: path(), data: Self::data(&words), version };
                (OpCode::SET_DATA, session, txn)
            }
            "setacl" => {
                (OpCode::SET_ACL, session, Txn::SetAcl { path: path(), acl: acl(), version })
            }
            "check" => (OpCode::CHECK, session, Txn::Check { path: path(), version }),
            "session" => {
                let timeout_ms = words.number("timeout", 1000) as i32;
                (OpCode::CREATE_SESSION, number(words.plain(1)), Txn::CreateSession { timeout_ms })
            }
            "close" => {
                let paths = words.value("paths");
                let paths = paths.map(|p| p.split(',').filter(|p| !p.is_empty()));
                let paths = paths.map(|p| p.map(str::to_owned).collect());
                (OpCode::CLOSE_SESSION, number(words.plain(1)), Txn::CloseSession { paths })
            }
            "error" => (OpCode::ERROR, session, Txn::Error(Code(number(words.plain(1)) as i32))),
            other => panic!("unknown command {other}"),
        }
    }

    fn apply(&mut self, lines: &[&str], out: &mut String) {
        let words = Words(lines[0].split_whitespace().collect());
        self.zxid = words.number("zxid", self.zxid + 1);
        let e = if lines[0].starts_with("multi") {
            let part = |line: &&str| {
                let (kind, _, txn) = self.txn(line);
                SubTxn { kind: kind.0, txn }
            };
            let session = words.number("session", 0);
            entry(
                self.zxid,
                session,
                OpCode::MULTI,
                Txn::Multi(lines[1..].iter().map(part).collect()),
            )
        } else {
            let (kind, session, txn) = self.txn(lines[0]);
            entry(self.zxid, session, kind, txn)
        };
        let mut changes = Vec::new();
        let result = self.state.apply(&e, &mut changes);
        write!(out, "{:?} {:?}", result.zxid, result.code).expect("string");
        if let Some(path) = &result.path {
            write!(out, " {path}").expect("string");
        }
        if let Some(s) = &result.stat {
            write!(out, " {}", stat(s)).expect("string");
        }
        if let Some(session) = result.closed_session {
            write!(out, " closed {session}").expect("string");
        }
        out.push('\n');
        for part in &result.multi {
            let path = part.path.as_deref().unwrap_or("-");
            let stat = part.stat.as_ref().map_or_else(String::new, stat);
            writeln!(out, "  part {} {:?} {path} {stat}", part.opcode, part.code).expect("string");
        }
        self.changes(&changes, out);
    }

    fn changes(&self, changes: &[Change], out: &mut String) {
        for c in changes {
            let acl = c.acl().map_or_else(
                || "open".to_owned(),
                |acl| acl.iter().map(|a| a.id.id()).collect::<Vec<_>>().join(" "),
            );
            writeln!(out, "  {:?} {} for {acl}", c.kind, c.path()).expect("string");
        }
    }

    fn tree(&self, top: &str, out: &mut String) {
        for (path, n) in check(&self.state) {
            if !path::is_within(&path, top) && top != "/" {
                continue;
            }
            let node = self.state.node(&path).expect("dumped");
            let data = n.data.as_deref().map_or_else(
                || "null".to_owned(),
                |data| format!("{:?}", String::from_utf8_lossy(data)),
            );
            let path = if path.is_empty() { "/" } else { &path };
            let (s, p) = (node.client_stat(), node.stat());
            writeln!(out, "{path} {data} {} pcv={}", stat(&s), p.cversion).expect("string");
        }
    }

    fn run(&mut self, input: &str) -> String {
        let mut out = String::new();
        let mut lines = input.lines().peekable();
        while let Some(line) = lines.next() {
            let words = Words(line.split_whitespace().collect());
            match words.plain(0) {
                "tree" => self.tree(words.plain(1), &mut out),
                "digest" => writeln!(out, "{}", self.state.digest()).expect("string"),
                "count" => writeln!(
                    out,
                    "nodes={} size={} ephemerals={} containers={} ttls={} sessions={}",
                    self.state.node_count(),
                    self.state.approximate_data_size(),
                    self.state.ephemerals_count(),
                    self.state.containers(0).count(),
                    self.state.ttls(0).count(),
                    self.state.sessions().len(),
                )
                .expect("string"),
                "below" => {
                    let count = self.state.all_children_number(words.plain(1));
                    writeln!(out, "{count:?}").expect("string");
                }
                "quota" => {
                    let quota = self.state.quota_of(words.plain(1));
                    writeln!(out, "{quota:?}").expect("string");
                }
                "reload" => {
                    self.state = Image::of(&mut self.state).load();
                    let tail = (self.state.last_zxid(), self.state.digest_mismatches());
                    writeln!(out, "{tail:?}").expect("string");
                }
                "kill-dead" => {
                    let mut changes = Vec::new();
                    let dead = self.state.kill_dead_sessions(&mut changes);
                    writeln!(out, "{dead:?}").expect("string");
                    self.changes(&changes, &mut out);
                }
                "config" => {
                    let (version, now) = (words.number("zxid", 0), WallTime(5));
                    let text = words.value("data").unwrap_or("").as_bytes();
                    let mut changes = Vec::new();
                    self.state.init_config(text, Zxid(version), now, &mut changes);
                    self.changes(&changes, &mut out);
                }
                _ => {
                    let mut whole = vec![line];
                    while let Some(part) = lines.next_if(|l| l.starts_with("  ")) {
                        whole.push(part);
                    }
                    self.apply(&whole, &mut out);
                }
            }
        }
        check(&self.state);
        out
    }
}

#[test]
fn transcripts() {
    crate::testing::datadriven::run("state", || {
        let mut script = Script::new();
        move |input: &str| script.run(input)
    });
}
