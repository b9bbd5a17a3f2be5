//! The committed log as witness: what clients were told is compared with it, in linear time.
//!
//! Every transaction carries session, cxid and zxid, and every reply a zxid. So nothing needs to be
//! searched: the log is replayed through [`super::model`], and each reply is compared at its zxid.
//! A write without a reply is looked up: it happened if it is in the log, and never otherwise.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::model::{Effect, Model, Outcome};
use crate::proto::jute::Jute;
use crate::proto::opcode::{Class, OpCode};
use crate::proto::records::{
    AclResponse, Children2Response, Create2Response, CreateRequest, DataResponse, NamesResponse,
    PathRecord, ReadRequest, SetWatches2, StatResponse, WatchRequest,
};
use crate::proto::txn::{Txn, TxnEntry};
use crate::types::{Code, OwnerRules};

/// A reply as a client got it.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The request's xid.
    pub xid: i32,
    /// The request's operation.
    pub opcode: OpCode,
    /// The request's body.
    pub request: Bytes,
    /// The reply header's zxid.
    pub zxid: i64,
    /// The reply header's code.
    pub err: Code,
    /// The reply's body.
    pub body: Bytes,
    /// When it was asked, on the simulator's clock.
    pub invoked: u64,
    /// When the reply came.
    pub returned: u64,
}

/// What arrives on a connection, in order.
#[derive(Clone, Debug)]
pub enum Item {
    /// A reply.
    Reply(Reply),
    /// A watch event: header zxid, type, path.
    Event(i64, i32, String),
}

/// One connection's whole life as its client saw it.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The session it carried.
    pub session: i64,
    /// Which connection, where that matters.
    pub no: u64,
    /// Its server had no quorum.
    pub read_only: bool,
    /// Everything received, in order.
    pub items: Vec<Item>,
}

/// The committed log, put together from what any server committed.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    /// Clients count their xids from one again on each connection, so that a session may use one
    /// twice: then a reply to a write belongs to the transaction of its zxid.
    counts_anew: bool,
    log: BTreeMap<i64, Bytes>,
}

impl Witness {
    /// A log of nothing, whose clients may count their xids anew on each connection.
    pub fn new(counts_anew: bool) -> Witness {
        Witness { counts_anew, log: BTreeMap::new() }
    }

    /// Takes a committed transaction; a different one at the same zxid is a violation (I7).
    pub fn commit(&mut self, zxid: i64, bytes: &Bytes) -> Result<(), String> {
        match self.log.get(&zxid) {
            Some(known) if known != bytes => {
                Err(format!("OneTxnPerZxid: two transactions were committed as 0x{zxid:x}"))
            }
            Some(_) => Ok(()),
            None => {
                self.log.insert(zxid, bytes.clone());
                Ok(())
            }
        }
    }

    /// The zxids of all transactions known, ascending.
    pub fn zxids(&self) -> impl Iterator<Item = i64> + '_ {
        self.log.keys().copied()
    }

    /// Whether a transaction is known.
    pub fn contains(&self, zxid: i64) -> bool {
        self.log.contains_key(&zxid)
    }

    /// Transactions known.
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// Whether nothing was committed.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// The reference model after the whole log.
    ///
    /// # Errors
    /// A transaction that does not decode.
    pub fn model(&self, rules: OwnerRules) -> Result<Model, String> {
        let mut model = Model::new(rules);
        for (zxid, bytes) in &self.log {
            let entry = TxnEntry::decode(bytes.clone())
                .map_err(|e| format!("0x{zxid:x} does not decode: {e}"))?;
            model.apply(&entry);
        }
        Ok(model)
    }

    /// Compares everything clients saw with the log; the violations in words, none when all is
    /// right.
    pub fn check(&self, connections: &[Connection], rules: OwnerRules) -> Vec<String> {
        Checker::replay(self, rules).check(connections)
    }

    /// Compares what a server without a quorum showed with its own log, which this is.
    pub fn check_readers(&self, connections: &[Connection], rules: OwnerRules) -> Vec<String> {
        let mut checker = Checker::replay(self, rules);
        let mut reads: Vec<(i64, &Reply)> = Vec::new();
        for connection in connections {
            checker.watches(connection);
            for item in &connection.items {
                if let Item::Reply(reply) = item
                    && reply.opcode.class() == Class::Read
                {
                    reads.push((reply.zxid, reply));
                }
            }
        }
        checker.reads(reads);
        checker.violations
    }
}

/// `(mzxid, pzxid)` of a node from some zxid on, None while it does not exist.
type Version = (i64, Option<(i64, i64)>);

struct Checker {
    counts_anew: bool,
    outcomes: BTreeMap<(i64, i32), Vec<(i64, Outcome)>>,
    /// Transactions that were the answer to a request.
    answers: BTreeSet<i64>,
    created: BTreeSet<i64>,
    effects: BTreeMap<i64, Vec<(Effect, String)>>,
    versions: BTreeMap<String, Vec<Version>>,
    models: Model,
    entries: Vec<TxnEntry>,
    violations: Vec<String>,
}

impl Checker {
    fn replay(witness: &Witness, rules: OwnerRules) -> Checker {
        let mut checker = Checker {
            counts_anew: witness.counts_anew,
            outcomes: BTreeMap::new(),
            answers: BTreeSet::new(),
            created: BTreeSet::new(),
            effects: BTreeMap::new(),
            versions: BTreeMap::new(),
            models: Model::new(rules),
            entries: Vec::new(),
            violations: Vec::new(),
        };
        let mut model = Model::new(rules);
        for (at, node) in &model.nodes {
            let fresh = (0, Some((node.stat.mzxid, node.stat.pzxid)));
            checker.versions.insert(at.clone(), vec![fresh]);
        }
        for (zxid, bytes) in &witness.log {
            let entry = match TxnEntry::decode(bytes.clone()) {
                Ok(entry) => entry,
                Err(e) => {
                    checker.violations.push(format!("0x{zxid:x} does not decode: {e}"));
                    continue;
                }
            };
            checker.sessions(&model, &entry);
            let (outcome, effects) = model.apply(&entry);
            for (_, at) in &effects {
                let now = model.nodes.get(at).map(|n| (n.stat.mzxid, n.stat.pzxid));
                checker.versions.entry(at.clone()).or_default().push((*zxid, now));
            }
            if let Some(orphan) = model.orphans().first() {
                let text =
                    format!("EphemeralOwnership: {orphan} has no live session at 0x{zxid:x}");
                checker.violations.push(text);
            }
            let key = (entry.header.session.0, entry.header.cxid);
            let opcode = OpCode(entry.header.kind);
            if entry.header.session.0 != 0
                && opcode != OpCode::CREATE_SESSION
                && opcode != OpCode::CLOSE_SESSION
                && !checker.counts_anew
                && checker.outcomes.contains_key(&key)
            {
                let text = format!("ExactlyOnce: session 0x{:x} cxid {} twice", key.0, key.1);
                checker.violations.push(text);
            }
            checker.outcomes.entry(key).or_default().push((*zxid, outcome));
            checker.effects.insert(*zxid, effects);
            checker.entries.push(entry);
        }
        checker
    }

    /// A session ends after it has begun, and its end names what it owns: every ephemeral goes once.
    fn sessions(&mut self, before: &Model, entry: &TxnEntry) {
        let session = entry.header.session;
        match &entry.txn {
            Txn::CreateSession { .. } => drop(self.created.insert(session.0)),
            Txn::CloseSession { paths } => {
                let mut named = paths.clone().unwrap_or_default();
                named.sort();
                let owned = before.owned_by(session);
                if !self.created.contains(&session.0) {
                    self.violations.push(format!(
                        "SessionLife: session 0x{:x} ends at {} and has not begun",
                        session.0, entry.header.zxid
                    ));
                } else if paths.is_some() && named != owned {
                    self.violations.push(format!(
                        "EphemeralsOnce: session 0x{:x} ends at {} with {named:?}, it owns {owned:?}",
                        session.0, entry.header.zxid
                    ));
                }
            }
            _ => {}
        }
    }

    fn check(mut self, connections: &[Connection]) -> Vec<String> {
        let mut reads: Vec<(i64, &Reply)> = Vec::new();
        let mut writes: Vec<(u64, u64, i64)> = Vec::new();
        let mut syncs: Vec<(u64, i64)> = Vec::new();
        for connection in connections {
            self.session_order(connection);
            if !connection.read_only {
                self.watches(connection);
            }
            for item in &connection.items {
                let Item::Reply(reply) = item else { continue };
                match reply.opcode.class() {
                    Class::Write if reply.zxid > 0 => {
                        if let Some(zxid) = self.write(connection.session, reply) {
                            writes.push((reply.invoked, reply.returned, zxid));
                        }
                    }
                    Class::Read if connection.read_only => {}
                    Class::Read => reads.push((reply.zxid, reply)),
                    Class::Sync if reply.err == Code::OK => {
                        syncs.push((reply.invoked, reply.zxid));
                    }
                    _ => {}
                }
            }
        }
        self.syncs(syncs, &writes);
        self.linearizable_writes(&mut writes);
        self.reads(reads);
        self.violations
    }

    fn session_order(&mut self, connection: &Connection) {
        let mut last = 0;
        for item in &connection.items {
            let Item::Reply(reply) = item else { continue };
            if reply.zxid < last && reply.zxid > 0 {
                self.violations.push(format!(
                    "SessionOrder: session 0x{:x} went from 0x{last:x} back to 0x{:x}",
                    connection.session, reply.zxid
                ));
            }
            if connection.read_only && last > 0 && reply.zxid > last {
                self.violations.push(format!(
                    "ReadOnly: session 0x{:x} saw 0x{:x} after 0x{last:x} without a quorum",
                    connection.session, reply.zxid
                ));
            }
            last = last.max(reply.zxid);
        }
    }

    /// A reply to a write must be what the log says; returns the write's zxid.
    fn write(&mut self, session: i64, reply: &Reply) -> Option<i64> {
        let all = self.outcomes.get(&(session, reply.xid)).map_or(&[][..], Vec::as_slice);
        let ordered = match self.counts_anew {
            true => all.iter().find(|(zxid, _)| *zxid == reply.zxid),
            false => all.last(),
        };
        if [Code::NOT_READ_ONLY, Code::EPHEMERAL_ON_LOCAL_SESSION].contains(&reply.err) {
            if let Some((zxid, _)) = ordered.filter(|_| !self.counts_anew) {
                self.violations.push(format!(
                    "WriteReply: session 0x{session:x} xid {} was refused, but is in the log at \
                     0x{zxid:x}",
                    reply.xid
                ));
            }
            return None;
        }
        let Some((zxid, outcome)) = ordered else {
            if reply.opcode == OpCode::CLOSE_SESSION && !self.created.contains(&session) {
                // Only its server has ever known the session.
                return None;
            }
            self.violations.push(format!(
                "CommittedLogDurability: session 0x{session:x} xid {} {} was answered with 0x{:x} \
                 but is not in the log",
                reply.xid,
                reply.opcode.label(),
                reply.zxid
            ));
            return None;
        };
        let (zxid, outcome) = (*zxid, outcome.clone());
        let first = self.answers.insert(zxid);
        let mut wrong = |what: String| {
            self.violations.push(format!(
                "WriteReply: session 0x{session:x} xid {} {} at 0x{zxid:x}: {what}",
                reply.xid,
                reply.opcode.label()
            ));
        };
        if !first {
            wrong("it was the answer to another request".into());
        }
        let asked = CreateRequest::from_bytes(reply.request.clone()).ok().and_then(|r| r.path);
        if reply.opcode == OpCode::CREATE
            && let (Some(asked), Some(made)) = (asked, &outcome.path)
            && !made.starts_with(&asked)
        {
            wrong(format!("asked for {asked}, and {made} was made"));
        }
        if reply.zxid < zxid {
            wrong(format!("reply carries the older 0x{:x}", reply.zxid));
        }
        if reply.err != outcome.code {
            wrong(format!("answered {}, the log says {}", reply.err, outcome.code));
        } else if reply.err == Code::OK {
            let body = reply.body.clone();
            let ok = match reply.opcode {
                OpCode::CREATE => {
                    PathRecord::from_bytes(body) == Ok(PathRecord { path: outcome.path.clone() })
                }
                OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
                    let stat = outcome.stat.unwrap_or_default();
                    let expect = Create2Response { path: outcome.path.clone(), stat };
                    Create2Response::from_bytes(body) == Ok(expect)
                }
                OpCode::SET_DATA | OpCode::SET_ACL => {
                    let stat = outcome.stat.unwrap_or_default();
                    StatResponse::from_bytes(body) == Ok(StatResponse { stat })
                }
                _ => true,
            };
            if !ok {
                wrong(format!("the body is not {outcome:?}"));
            }
        }
        Some(zxid)
    }

    /// A write invoked after another one was answered has a larger zxid.
    fn linearizable_writes(&mut self, writes: &mut [(u64, u64, i64)]) {
        writes.sort_by_key(|w| w.0);
        let mut done: Vec<(u64, i64)> = writes.iter().map(|w| (w.1, w.2)).collect();
        done.sort_unstable();
        let (mut at, mut newest) = (0, 0);
        for (invoked, _, zxid) in writes.iter() {
            while at < done.len() && done[at].0 < *invoked {
                newest = newest.max(done[at].1);
                at += 1;
            }
            if *zxid <= newest {
                self.violations.push(format!(
                    "LinearizableWrites: 0x{zxid:x} was invoked after 0x{newest:x} was answered"
                ));
            }
        }
    }

    /// A sync's answer comes from a server that has every write answered before it was asked.
    fn syncs(&mut self, mut syncs: Vec<(u64, i64)>, writes: &[(u64, u64, i64)]) {
        syncs.sort_unstable();
        let mut done: Vec<(u64, i64)> = writes.iter().map(|w| (w.1, w.2)).collect();
        done.sort_unstable();
        let (mut at, mut newest) = (0, 0);
        for (invoked, zxid) in syncs {
            while at < done.len() && done[at].0 < invoked {
                newest = newest.max(done[at].1);
                at += 1;
            }
            if zxid < newest {
                self.violations.push(format!(
                    "SyncedRead: a sync was answered at 0x{zxid:x} after 0x{newest:x} was"
                ));
            }
        }
    }

    /// A read with zxid Z shows the state at Z, exactly.
    fn reads(&mut self, mut reads: Vec<(i64, &Reply)>) {
        reads.sort_by_key(|r| r.0);
        let mut entries = std::mem::take(&mut self.entries).into_iter().peekable();
        for (zxid, reply) in reads {
            while entries.peek().is_some_and(|e| e.header.zxid.0 <= zxid) {
                if let Some(entry) = entries.next() {
                    self.models.apply(&entry);
                }
            }
            if let Err(what) = read_matches(&self.models, reply) {
                self.violations.push(format!(
                    "ReadAtZxid: xid {} {} at 0x{zxid:x}: {what}",
                    reply.xid,
                    reply.opcode.label()
                ));
            }
        }
    }

    /// Every watch fires exactly once, with the right event, before any reply that could show the
    /// change; persistent ones fire every time.
    fn watches(&mut self, connection: &Connection) {
        let mut table = WatchModel::default();
        let mut expected: VecDeque<(i64, i32, String)> = VecDeque::new();
        let mut replayed: Vec<(i32, String)> = Vec::new();
        let mut at = 0_i64;
        for item in &connection.items {
            let zxid = match item {
                Item::Event(-1, kind, path) => {
                    replayed.push((*kind, path.clone()));
                    continue;
                }
                Item::Event(zxid, ..) => *zxid,
                Item::Reply(reply) => reply.zxid,
            };
            if zxid > at {
                let range = (std::ops::Bound::Excluded(at), std::ops::Bound::Included(zxid));
                for (zxid, effects) in self.effects.range(range) {
                    table.fire(*zxid, effects, &mut expected);
                }
                at = zxid;
            }
            match item {
                Item::Event(zxid, kind, path) => {
                    let found =
                        expected.iter().position(|e| e.0 == *zxid && e.1 == *kind && e.2 == *path);
                    match found.and_then(|i| expected.remove(i)) {
                        Some(_) => {}
                        None => self.violations.push(format!(
                            "WatchUnique: session 0x{:x} got event {kind} of {path} at 0x{zxid:x} \
                             without a watch for it",
                            connection.session
                        )),
                    }
                }
                Item::Reply(reply) => {
                    if let Some((zxid, kind, path)) = expected.iter().find(|e| e.0 <= at) {
                        self.violations.push(format!(
                            "WatchBeforeData: session 0x{:x} got a reply at 0x{at:x} before event \
                             {kind} of {path} at 0x{zxid:x}",
                            connection.session
                        ));
                        expected.retain(|e| e.0 > at);
                    }
                    self.register(&mut table, reply, &mut replayed);
                }
            }
        }
    }

    fn exists_at(&self, path: &str, zxid: i64) -> Option<(i64, i64)> {
        let versions = self.versions.get(path)?;
        let after = versions.partition_point(|v| v.0 <= zxid);
        versions[..after].last().and_then(|v| v.1)
    }

    /// Puts the watches that a reply leaves into the table; a setWatches must have replayed what
    /// its rules say.
    fn register(
        &mut self,
        table: &mut WatchModel,
        reply: &Reply,
        replayed: &mut Vec<(i32, String)>,
    ) {
        let body = reply.request.clone();
        match reply.opcode {
            OpCode::GET_DATA | OpCode::EXISTS | OpCode::GET_CHILDREN | OpCode::GET_CHILDREN2 => {
                let Ok(ReadRequest { path: Some(path), watch: true }) =
                    ReadRequest::from_bytes(body)
                else {
                    return;
                };
                let exists = reply.opcode == OpCode::EXISTS && reply.err == Code::NO_NODE;
                if reply.err == Code::OK || exists {
                    let child =
                        matches!(reply.opcode, OpCode::GET_CHILDREN | OpCode::GET_CHILDREN2);
                    if child {
                        table.child.insert(path)
                    } else {
                        table.data.insert(path)
                    };
                }
            }
            OpCode::ADD_WATCH if reply.err == Code::OK => {
                match WatchRequest::from_bytes(body) {
                    Ok(WatchRequest { path: Some(path), kind: 0 }) => table.persistent.insert(path),
                    Ok(WatchRequest { path: Some(path), .. }) => table.recursive.insert(path),
                    _ => false,
                };
            }
            OpCode::SET_WATCHES2 if reply.err == Code::OK => {
                let Ok(set) = SetWatches2::from_bytes(body) else { return };
                let mut expect = Vec::new();
                for path in set.data.unwrap_or_default() {
                    match self.exists_at(&path, reply.zxid) {
                        None => expect.push((2, path)),
                        Some((mzxid, _)) if mzxid > set.relative_zxid => expect.push((3, path)),
                        Some(_) => drop(table.data.insert(path)),
                    }
                }
                for path in set.exist.unwrap_or_default() {
                    match self.exists_at(&path, reply.zxid) {
                        Some(_) => expect.push((1, path)),
                        None => drop(table.data.insert(path)),
                    }
                }
                for path in set.child.unwrap_or_default() {
                    match self.exists_at(&path, reply.zxid) {
                        None => expect.push((2, path)),
                        Some((_, pzxid)) if pzxid > set.relative_zxid => expect.push((4, path)),
                        Some(_) => drop(table.child.insert(path)),
                    }
                }
                table.persistent.extend(set.persistent.unwrap_or_default());
                table.recursive.extend(set.recursive.unwrap_or_default());
                expect.sort();
                replayed.sort();
                if expect != *replayed {
                    self.violations.push(format!(
                        "SetWatches: at 0x{:x} replayed {replayed:?}, the rules say {expect:?}",
                        reply.zxid
                    ));
                }
                replayed.clear();
            }
            _ => {}
        }
    }
}

/// The watches of one connection.
#[derive(Default)]
struct WatchModel {
    data: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

impl WatchModel {
    fn fire(
        &mut self,
        zxid: i64,
        effects: &[(Effect, String)],
        expected: &mut VecDeque<(i64, i32, String)>,
    ) {
        for (effect, path) in effects {
            let persistent = self.persistent.contains(path);
            let recursive =
                || self.recursive.iter().any(|r| crate::types::path::is_within(path, r));
            let (kind, fires) = match effect {
                Effect::Created => (1, self.data.remove(path) | persistent || recursive()),
                Effect::DataChanged => (3, self.data.remove(path) | persistent || recursive()),
                Effect::Deleted => {
                    let one_shot = self.data.remove(path) | self.child.remove(path);
                    (2, one_shot | persistent || recursive())
                }
                Effect::ChildrenChanged => (4, self.child.remove(path) | persistent),
            };
            if fires {
                expected.push_back((zxid, kind, path.clone()));
            }
        }
    }
}

/// Compares one reply of a read with the model.
fn read_matches(model: &Model, reply: &Reply) -> Result<(), String> {
    let body = reply.body.clone();
    let path = match reply.opcode {
        OpCode::EXISTS | OpCode::GET_DATA | OpCode::GET_CHILDREN | OpCode::GET_CHILDREN2 => {
            ReadRequest::from_bytes(reply.request.clone()).ok().and_then(|r| r.path)
        }
        OpCode::GET_ACL => PathRecord::from_bytes(reply.request.clone()).ok().and_then(|r| r.path),
        _ => return Ok(()),
    };
    let Some(path) = path else { return Ok(()) };
    if reply.err == Code::SESSION_EXPIRED {
        // The session was closing: nothing is answered any more.
        return Ok(());
    }
    let Some(node) = model.nodes.get(&path) else {
        return if reply.err == Code::NO_NODE {
            Ok(())
        } else {
            Err(format!("{path} does not exist, the reply says {}", reply.err))
        };
    };
    if reply.err == Code::NO_AUTH {
        return Ok(());
    }
    if reply.err != Code::OK {
        return Err(format!("{path} exists, the reply says {}", reply.err));
    }
    let stat = model.stat(&path).unwrap_or_default();
    let sorted = |names: Option<Vec<String>>| -> BTreeSet<String> {
        names.unwrap_or_default().into_iter().collect()
    };
    let decode = |e| format!("does not decode: {e}");
    let (same, got) = match reply.opcode {
        OpCode::EXISTS => {
            let got = StatResponse::from_bytes(body).map_err(decode)?;
            (got.stat == stat, format!("{got:?}"))
        }
        OpCode::GET_DATA => {
            let got = DataResponse::from_bytes(body).map_err(decode)?;
            (got.data == node.data && got.stat == stat, format!("{got:?}"))
        }
        OpCode::GET_ACL => {
            let got = AclResponse::from_bytes(body).map_err(decode)?;
            (got.stat == stat, format!("{got:?}"))
        }
        OpCode::GET_CHILDREN => {
            let got = NamesResponse::from_bytes(body).map_err(decode)?;
            (sorted(got.names.clone()) == node.children, format!("{got:?}"))
        }
        _ => {
            let got = Children2Response::from_bytes(body).map_err(decode)?;
            let same = sorted(got.children.clone()) == node.children && got.stat == stat;
            (same, format!("{got:?}"))
        }
    };
    if same { Ok(()) } else { Err(format!("{path} is {stat:?}, the reply says {got}")) }
}

#[cfg(test)]
mod tests;
