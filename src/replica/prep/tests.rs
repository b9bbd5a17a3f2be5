//! Requests in, transactions out: transcripts in `fixtures/prep`.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::*;
use crate::proto::jute::Write as _;
use crate::proto::multi::write_ops;
use crate::state::Options;
use crate::testing::finite_rng::Xorshift;

struct Subject {
    options: PrepOptions,
    auth: crate::auth::Options,
    state: StateMachine,
    prep: Prep,
    queue: VecDeque<TxnEntry>,
    session: i64,
    check: Code,
    ids: Vec<Id>,
    time: i64,
}

fn options() -> PrepOptions {
    PrepOptions {
        owner_rules: OwnerRules::default(),
        digest: true,
        close_session_txn: true,
        enforce_quota: false,
        reconfig_enabled: false,
    }
}

impl Subject {
    fn new() -> Subject {
        let state = StateMachine::new(Options::default());
        let auth = crate::auth::Options {
            digest: Some(crate::auth::DigestAlgorithm::Sha1),
            ..Default::default()
        };
        Subject {
            options: options(),
            prep: Prep::new(options(), Auth::new(auth.clone()), &state),
            auth,
            state,
            queue: VecDeque::new(),
            session: 1,
            check: Code::OK,
            ids: vec![Id::new("ip", "10.0.0.1")],
            time: 1000,
        }
    }

    fn caller(&self) -> Caller {
        Caller {
            session: SessionId(self.session),
            cxid: 7,
            ids: Arc::from(self.ids.clone()),
            session_check: self.check,
            global_session_check: self.check,
        }
    }

    fn run(&mut self, commands: &str) -> String {
        let mut out = String::new();
        let mut lines = commands.lines();
        while let Some(line) = lines.next() {
            let words = split(line);
            match words[0].as_str() {
                "options" => self.set_options(&words[1..]),
                "session" => {
                    self.session = words[1].parse().unwrap();
                    self.check = match words.get(2).map(String::as_str) {
                        Some("closing") => Code::SESSION_EXPIRED,
                        _ => Code::OK,
                    };
                }
                "ids" => self.ids = words[1..].iter().map(|word| id(word)).collect(),
                "time" => self.time = words[1].parse().unwrap(),
                "apply" => self.apply(&mut out),
                "stat" => {
                    let stat = self.state.node(&words[1]).map(|node| node.stat());
                    writeln!(out, "{stat:?}").unwrap();
                }
                "multi" => {
                    let body = lines.by_ref().take_while(|line| *line != "end");
                    let ops: Vec<Op> = body.map(|line| op(&split(line))).collect();
                    let mut bytes = BytesMut::new();
                    write_ops(&mut bytes, &ops);
                    let entry = self.prepare(OpCode::MULTI, bytes.freeze());
                    self.push(entry, &mut out);
                }
                _ => {
                    let entry = self.single(&words);
                    self.push(entry, &mut out);
                }
            }
        }
        out
    }

    fn set_options(&mut self, words: &[String]) {
        for word in words {
            match word.as_str() {
                "ttl" => self.options.owner_rules.extended_types = true,
                "quota" => self.options.enforce_quota = true,
                "reconfig" => self.options.reconfig_enabled = true,
                "no-digest" => self.options.digest = false,
                "no-close-txn" => self.options.close_session_txn = false,
                "skip-acl" => self.auth.skip_acl = true,
                other => panic!("option {other}"),
            }
        }
        self.state = StateMachine::new(Options {
            owner_rules: self.options.owner_rules,
            digest: self.options.digest,
        });
        let auth = Auth::new(self.auth.clone());
        self.prep = Prep::new(self.options.clone(), auth, &self.state);
    }

    fn prepare(&mut self, opcode: OpCode, body: Bytes) -> TxnEntry {
        let (caller, time) = (self.caller(), WallTime(self.time));
        self.prep.prepare(&self.state, &caller, time, opcode, &body)
    }

    fn single(&mut self, words: &[String]) -> TxnEntry {
        let (caller, time) = (self.caller(), WallTime(self.time));
        match words[0].as_str() {
            "open" => self.prep.create_session(&caller, time, words[1].parse().unwrap()),
            "close" => self.prep.close_session(&self.state, &caller, time),
            "reap" => {
                let mut caller = caller;
                caller.session = SessionId::NONE;
                self.prep.delete_container(&self.state, &caller, time, &words[1])
            }
            "raw" => {
                let bytes: Vec<u8> = (0..words[2].len() / 2)
                    .map(|i| u8::from_str_radix(&words[2][2 * i..2 * i + 2], 16).unwrap())
                    .collect();
                self.prepare(OpCode(words[1].parse().unwrap()), bytes.into())
            }
            "reconfig" => {
                let request = crate::proto::records::ReconfigRequest::default();
                self.prepare(OpCode::RECONFIG, request.to_bytes())
            }
            "setacl" => {
                let (path, rest) = (nullable(&words[1]), &words[2..]);
                let acl = acls(&rest[0]);
                let version = rest.get(1).map_or(-1, |v| v.parse().unwrap());
                self.prepare(OpCode::SET_ACL, SetAclRequest { path, acl, version }.to_bytes())
            }
            _ => {
                let op = op(words);
                let mut bytes = BytesMut::new();
                match &op {
                    Op::Create(_, r) => bytes.put(r),
                    Op::CreateTtl(r) => bytes.put(r),
                    Op::Delete(r) => bytes.put(r),
                    Op::SetData(r) => bytes.put(r),
                    Op::Check(r) => bytes.put(r),
                    Op::GetData(r) | Op::GetChildren(r) => bytes.put(r),
                }
                self.prepare(op.opcode(), bytes.freeze())
            }
        }
    }

    fn push(&mut self, entry: TxnEntry, out: &mut String) {
        let digest = match (&entry.txn, entry.digest) {
            (Txn::Error(_), None) => "",
            (Txn::Error(_), Some(_)) => " an error with a digest",
            (_, None) if self.options.digest => " no digest",
            _ => "",
        };
        writeln!(out, "{} {}{digest}", entry.header.zxid, shown(entry.header.kind, &entry.txn))
            .unwrap();
        self.queue.push_back(entry);
    }

    fn apply(&mut self, out: &mut String) {
        let mut changes = Vec::new();
        while let Some(entry) = self.queue.pop_front() {
            let result = self.state.apply(&entry, &mut changes);
            let codes: Vec<i32> = result.multi.iter().map(|part| part.code.0).collect();
            write!(out, "{} {}", entry.header.zxid, result.code.label()).unwrap();
            if let Txn::Multi(_) = entry.txn {
                write!(out, " {codes:?}").unwrap();
            }
            out.push('\n');
            self.prep.forget(entry.header.zxid);
        }
        assert_eq!(self.prep.outstanding(), 0, "everything is forgotten once applied");
        let wrong = self.state.digest_mismatches();
        writeln!(out, "digest mismatches: {wrong}").unwrap();
    }
}

fn shown(kind: i32, txn: &Txn) -> String {
    let name = OpCode(kind).label();
    let acl = |acl: &[Acl]| {
        let all: Vec<String> =
            acl.iter().map(|a| format!("{}:{}:{}", a.id.scheme(), a.id.id(), a.perms.0)).collect();
        all.join(",")
    };
    let data = |d: &Option<Bytes>| match d {
        None => "null".to_string(),
        Some(d) => format!("'{}'", String::from_utf8_lossy(d)),
    };
    match txn {
        Txn::CreateSession { timeout_ms } => format!("{name} {timeout_ms}"),
        Txn::CloseSession { paths } => format!("{name} {paths:?}"),
        Txn::Create(c) => format!(
            "{name} {:?} {} {} ephemeral={} parent_cversion={}",
            c.path,
            data(&c.data),
            acl(&c.acl),
            c.ephemeral,
            c.parent_cversion
        ),
        Txn::CreateExtended(c) => format!(
            "{name} {:?} {} {} ttl={:?} parent_cversion={}",
            c.path,
            data(&c.data),
            acl(&c.acl),
            c.ttl,
            c.parent_cversion
        ),
        Txn::Delete { path } => format!("{name} {path:?}"),
        Txn::SetData { path, data: d, version } => {
            format!("{name} {path:?} {} v{version}", data(d))
        }
        Txn::SetAcl { path, acl: a, version } => format!("{name} {path:?} {} v{version}", acl(a)),
        Txn::Check { path, version } => format!("{name} {path:?} v{version}"),
        Txn::Multi(parts) => {
            let parts: Vec<String> =
                parts.iter().map(|part| format!("\n    {}", shown(part.kind, &part.txn))).collect();
            format!("{name}{}", parts.concat())
        }
        Txn::Error(code) => format!("{name} {code}"),
    }
}

/// Words by spaces; `''` is the empty word, `\u{..}` a character.
pub(crate) fn split(line: &str) -> Vec<String> {
    line.split_whitespace()
        .map(|word| {
            if word == "''" {
                return String::new();
            }
            let mut text = String::new();
            let mut rest = word;
            while let Some((before, after)) = rest.split_once("\\u{") {
                let (hex, after) = after.split_once('}').expect("a closing brace");
                text.push_str(before);
                text.push(char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap());
                rest = after;
            }
            text + rest
        })
        .collect()
}

fn nullable(word: &str) -> Option<String> {
    (word != "null").then(|| word.to_string())
}

fn id(word: &str) -> Id {
    let (scheme, id) = word.split_once(':').expect("scheme:id");
    Id::new(scheme, id)
}

/// `scheme:id:perms`, comma separated; `null`, `none` for an empty list.
pub(crate) fn acls(word: &str) -> Option<Vec<Acl>> {
    match word {
        "null" => None,
        "none" => Some(Vec::new()),
        list => Some(
            list.split(',')
                .map(|entry| {
                    let (who, perms) = entry.rsplit_once(':').expect("id:perms");
                    Acl { perms: Perms(perms.parse().unwrap()), id: id(who) }
                })
                .collect(),
        ),
    }
}

/// A write operation in words, as the transcripts of requests spell it.
pub(crate) fn op(words: &[String]) -> Op {
    let path = nullable(&words[1]);
    let named = |name: &str| words.iter().find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
    let plain: Vec<&String> = words[2..]
        .iter()
        .filter(|w| !["flags=", "acl=", "op=", "ttl="].iter().any(|named| w.starts_with(named)))
        .collect();
    let version = |at: usize| plain.get(at).map_or(-1, |v| v.parse().unwrap());
    let data = plain.first().and_then(|w| nullable(w)).map(Bytes::from);
    match words[0].as_str() {
        "create" => {
            let flags = named("flags").map_or(0, |f| f.parse().unwrap());
            let acl = acls(named("acl").unwrap_or("world:anyone:31"));
            if let Some(ttl) = named("ttl") {
                let ttl = ttl.parse().unwrap();
                return Op::CreateTtl(CreateTtlRequest { path, data, acl, flags, ttl });
            }
            let opcode = match named("op") {
                None => OpCode::CREATE,
                Some("create2") => OpCode::CREATE2,
                Some("container") => OpCode::CREATE_CONTAINER,
                Some(other) => panic!("op {other}"),
            };
            Op::Create(opcode, CreateRequest { path, data, acl, flags })
        }
        "delete" => Op::Delete(DeleteRequest { path, version: version(0) }),
        "set" => Op::SetData(SetDataRequest { path, data, version: version(1) }),
        "check" => Op::Check(CheckVersionRequest { path, version: version(0) }),
        other => panic!("operation {other}"),
    }
}

#[test]
fn transcripts() {
    crate::testing::datadriven::run("prep", || {
        let mut subject = Subject::new();
        move |commands: &str| subject.run(commands)
    });
}

/// Whatever is asked, in whatever batches it is applied: what preparation predicts is what the tree
/// becomes, and a failed multi leaves no trace.
#[test]
fn predictions_come_true() {
    for seed in 0..200_u64 {
        let mut rng = Xorshift::new(seed);
        let mut subject = Subject::new();
        let mut out = String::new();
        for _ in 0..60 {
            subject.session = 1 + rng.below(3) as i64;
            let entry = if rng.below(5) == 0 {
                let ops: Vec<Op> = (0..rng.below(5)).map(|_| random_op(&mut rng)).collect();
                let mut bytes = BytesMut::new();
                write_ops(&mut bytes, &ops);
                subject.prepare(OpCode::MULTI, bytes.freeze())
            } else if rng.below(20) == 0 {
                let (caller, time) = (subject.caller(), WallTime(subject.time));
                subject.prep.close_session(&subject.state, &caller, time)
            } else {
                let op = random_op(&mut rng);
                let mut bytes = BytesMut::new();
                match &op {
                    Op::Create(_, r) => bytes.put(r),
                    Op::Delete(r) => bytes.put(r),
                    Op::SetData(r) => bytes.put(r),
                    _ => continue,
                }
                subject.prepare(op.opcode(), bytes.freeze())
            };
            subject.time += 1;
            subject.queue.push_back(entry);
            if rng.below(4) == 0 {
                // Apply a part: the overlay and the tree must agree in between as well.
                let part = rng.below(subject.queue.len() as u64 + 1) as usize;
                let mut changes = Vec::new();
                for entry in subject.queue.drain(..part) {
                    let result = subject.state.apply(&entry, &mut changes);
                    if !matches!(entry.txn, Txn::Error(_) | Txn::Multi(_)) {
                        assert_eq!(result.code, Code::OK, "seed {seed}: {entry:?}");
                    }
                    subject.prep.forget(entry.header.zxid);
                }
            }
        }
        subject.apply(&mut out);
        assert_eq!(subject.state.digest_mismatches(), 0, "seed {seed}");
        assert_eq!(subject.prep.digest, subject.state.digest(), "seed {seed}");
    }
}

fn random_op(rng: &mut Xorshift) -> Op {
    let paths = ["/a", "/b", "/a/c", "/a/d", "/a/c/e", "/b/f", "/zookeeper/g"];
    let path = Some(paths[rng.below(paths.len() as u64) as usize].to_string());
    let data = (rng.below(4) > 0).then(|| Bytes::from(vec![b'x'; rng.below(40) as usize]));
    let version = if rng.below(3) == 0 { rng.below(3) as i32 } else { -1 };
    match rng.below(8) {
        0..=3 => {
            let flags = rng.below(4) as i32;
            let acl = Some(crate::types::open_acl());
            let opcode =
                [OpCode::CREATE, OpCode::CREATE2, OpCode::CREATE_CONTAINER][rng.below(3) as usize];
            Op::Create(opcode, CreateRequest { path, data, acl, flags })
        }
        4 | 5 => Op::Delete(DeleteRequest { path, version }),
        6 => Op::SetData(SetDataRequest { path, data, version }),
        _ => Op::Check(CheckVersionRequest { path, version }),
    }
}

/// The quick check says the same as the decoder, for every prefix and every changed byte.
#[test]
fn what_decodes_is_found_without_decoding() {
    let acl = crate::types::open_acl();
    let create =
        CreateRequest { path: Some("/a".into()), data: None, acl: Some(acl.clone()), flags: 0 };
    let ttl = CreateTtlRequest {
        path: Some("/a".into()),
        data: Some(Bytes::from_static(b"x")),
        acl: None,
        flags: 5,
        ttl: 1,
    };
    let set_acl = SetAclRequest { path: None, acl: Some(acl), version: 1 };
    let cases = [
        (OpCode::CREATE, create.to_bytes()),
        (OpCode::CREATE_TTL, ttl.to_bytes()),
        (OpCode::SET_ACL, set_acl.to_bytes()),
        (OpCode::DELETE, DeleteRequest { path: Some("/a".into()), version: 1 }.to_bytes()),
        (OpCode::SET_DATA, SetDataRequest::default().to_bytes()),
        (OpCode::RECONFIG, crate::proto::records::ReconfigRequest::default().to_bytes()),
    ];
    for (opcode, bytes) in cases {
        for end in 0..=bytes.len() {
            let cut = bytes.slice(..end);
            assert_eq!(decodes(opcode, &cut), read_op(opcode, &cut).is_some(), "{opcode:?} {end}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff, bytes[at] ^ 0x80] {
                let mut changed = bytes.to_vec();
                changed[at] = value;
                let changed = Bytes::from(changed);
                let decoded = read_op(opcode, &changed).is_some();
                assert_eq!(decodes(opcode, &changed), decoded, "{opcode:?} {at} {value}");
            }
        }
    }
}

/// Four billion transactions are half a day of hard work: the log must go on behind them.
#[test]
fn the_counter_of_a_server_alone_rolls_over_into_the_next_epoch() {
    let mut subject = Subject::new();
    subject.state.set_last_zxid(Zxid(0xffff_fffe));
    subject.prep.reset(&subject.state);
    let mut out = String::new();
    subject.run("open 1000\nopen 1000\nopen 1000").lines().for_each(|line| {
        out.push_str(line.split(' ').next().unwrap());
        out.push(' ');
    });
    assert_eq!(out, "0xffffffff 0x100000001 0x100000002 ");
    let zxids: Vec<Zxid> = subject.queue.iter().map(|entry| entry.header.zxid).collect();
    assert!(zxids.windows(2).all(|pair| pair[1].follows(pair[0])));
}

/// What Apache was recorded to get, damaged: what is said to decode does, and nothing else.
#[test]
fn damaged_bodies_of_writes() {
    let mut frames = 0;
    for message in crate::testing::recorded::recorded("client").iter().filter(|m| m.forth) {
        let Some(opcode) = message.opcode.map(OpCode) else { continue };
        let multi = opcode == OpCode::MULTI;
        let read = |body: &Bytes| match multi {
            true => multi::read_ops(&mut Reader::new(body.clone())).is_ok(),
            false => read_op(opcode, body).is_some(),
        };
        if !multi && read_op(opcode, &Bytes::from_static(&[0; 64])).is_none() {
            continue;
        }
        frames += 1;
        crate::testing::recorded::every_damage(&message.bytes[12..], &mut |bytes, _| {
            let body = Bytes::copy_from_slice(bytes);
            let (said, is) = (decodes(opcode, bytes), read(&body));
            // A multi that doesn't decode is answered by a transaction, unless an ACL is null.
            assert!(said == is || multi, "{opcode:?} {bytes:?}");
        });
    }
    assert!(frames > 50, "{frames}");
}
