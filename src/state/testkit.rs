//! What the tests of the state share: a dumb model, a generator of histories, a check of every
//! invariant, and snapshots in memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};

use crate::proto::image::{ImageHead, ImageNode, ImageSink, OPEN_ACL_INDEX};
use crate::proto::jute::Reader;
use crate::proto::opcode::OpCode;
use crate::proto::txn::*;
use crate::testing::finite_rng::Xorshift;
use crate::types::*;

use super::*;

/// A node as everybody sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dumped {
    pub data: Option<Bytes>,
    pub acl: Vec<Acl>,
    pub stat: StatPersisted,
}

/// Path to node, the root as "".
pub type Dump = BTreeMap<String, Dumped>;

pub fn dump(s: &StateMachine) -> Dump {
    let one = |id| {
        let node = NodeRef { state: s, id };
        let path = if id == ROOT { String::new() } else { node.path() };
        assert_eq!(s.node(&path).expect("a path leads to its node").id, id);
        assert_eq!(node.digest(), node_digest(&path, node.data(), &node.stat()));
        let data = node.data().map(Bytes::copy_from_slice);
        (path, Dumped { data, acl: node.acl().to_vec(), stat: node.stat() })
    };
    let mut all = Dump::from([one(ROOT)]);
    s.tree.each_below(ROOT, |id| drop(all.insert(one(id).0, one(id).1)));
    all
}

pub fn sessions(s: &StateMachine) -> BTreeMap<i64, i32> {
    s.sessions().iter().map(|(id, t)| (id.0, t)).collect()
}

pub fn digest_of(dump: &Dump) -> i64 {
    let each = dump.iter().map(|(path, n)| node_digest(path, n.data.as_deref(), &n.stat));
    each.fold(0_i64, |sum, d| sum.wrapping_add(d.into()))
}

/// Checks everything that is kept beside the nodes against the nodes.
pub fn check(s: &StateMachine) -> Dump {
    let all = dump(s);
    assert_eq!(s.digest(), digest_of(&all), "digest");
    assert_eq!(s.node_count(), all.len() + 1);
    assert_eq!(s.tree.indexed(), all.len() - 1);
    let size = |(path, n): (&String, &Dumped)| {
        path.encode_utf16().count() as u64 + n.data.as_ref().map_or(0, |d| d.len() as u64)
    };
    assert_eq!(s.approximate_data_size(), 1 + all.iter().map(size).sum::<u64>());
    let rules = s.options().owner_rules;
    let mut uses = BTreeMap::<AclId, u32>::new();
    let mut owned = BTreeMap::<i64, BTreeSet<String>>::new();
    let (mut containers, mut ttls) = (BTreeSet::new(), BTreeSet::new());
    for (path, n) in &all {
        let node = s.node(path).expect("dumped");
        *uses.entry(node.acl_id()).or_default() += 1;
        let names: BTreeSet<&str> = node.children().collect();
        let prefix = format!("{path}/");
        let below = all.range(prefix.clone()..).map(|(p, _)| p);
        let below = below.take_while(|p| p.starts_with(&prefix));
        let expected: BTreeSet<&str> =
            below.map(|p| &p[prefix.len()..]).filter(|p| !p.contains('/')).collect();
        assert_eq!(names, expected, "children of {path:?}");
        assert_eq!(node.num_children(), names.len(), "children of {path:?}");
        match rules.kind(n.stat.ephemeral_owner) {
            OwnerKind::Persistent => {}
            OwnerKind::Container => drop(containers.insert(path.clone())),
            OwnerKind::Ttl(_) => drop(ttls.insert(path.clone())),
            OwnerKind::Ephemeral(session) => {
                owned.entry(session.0).or_default().insert(path.clone());
            }
        }
    }
    for id in s.acls.used_ids() {
        assert_eq!(s.acls.uses(id), uses.get(&id).copied().unwrap_or(0), "uses of {id:?}");
    }
    for id in uses.keys().filter(|id| **id > AclId::MISSING) {
        assert!(s.acls.used_ids().contains(id), "{id:?} is used and not there");
    }
    assert_eq!(s.containers(0).map(|(_, n)| n.path()).collect::<BTreeSet<_>>(), containers);
    assert_eq!(s.ttls(0).map(|(_, n)| n.path()).collect::<BTreeSet<_>>(), ttls);
    let of = |(session, count): (SessionId, usize)| {
        let paths: BTreeSet<String> = s.ephemerals_of(session).into_iter().collect();
        assert_eq!(paths.len(), count);
        (session.0, paths)
    };
    let owning = s.sessions_with_ephemerals().filter(|(_, count)| *count > 0);
    assert_eq!(owning.map(of).collect::<BTreeMap<_, _>>(), owned);
    assert_eq!(s.ephemerals_count(), owned.values().map(BTreeSet::len).sum::<usize>());
    all
}

/// A transaction without a digest.
pub fn entry(zxid: i64, session: i64, kind: OpCode, txn: Txn) -> TxnEntry {
    let time = WallTime(1_000_000 + zxid * 10);
    let header =
        TxnHeader { session: SessionId(session), cxid: 1, zxid: Zxid(zxid), time, kind: kind.0 };
    TxnEntry { header, txn, digest: None }
}

pub fn acl(n: u64) -> Vec<Acl> {
    match n {
        0 => open_acl(),
        n => vec![Acl { perms: Perms(n as i32 & 31), id: Id::new("digest", format!("u{n}:h")) }],
    }
}

/// The tree as a sorted map, obviously right for histories that a leader makes.
#[derive(Clone, Debug)]
pub struct Model {
    pub nodes: Dump,
    pub sessions: BTreeMap<i64, i32>,
    pub zxid: i64,
}

impl Model {
    pub fn new() -> Model {
        let s = StateMachine::new(Options::default());
        Model { nodes: dump(&s), sessions: BTreeMap::new(), zxid: 0 }
    }

    pub fn has_children(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        self.nodes.range(prefix.clone()..).next().is_some_and(|(p, _)| p.starts_with(&prefix))
    }

    pub fn apply(&mut self, e: &TxnEntry) {
        self.zxid = e.header.zxid.0;
        match &e.txn {
            Txn::Multi(parts) => {
                if parts.iter().all(|p| !matches!(p.txn, Txn::Error(_))) {
                    parts.iter().for_each(|p| self.one(&e.header, &p.txn));
                }
            }
            txn => self.one(&e.header, txn),
        }
    }

    fn create(
        &mut self,
        h: &TxnHeader,
        path: &str,
        data: &Option<Bytes>,
        acl: &[Acl],
        owner: i64,
        cversion: i32,
    ) {
        let parent = self.nodes.get_mut(path.rsplit_once('/').expect("slash").0).expect("parent");
        parent.stat.cversion = cversion;
        parent.stat.pzxid = h.zxid.0;
        let (z, t) = (h.zxid.0, h.time.0);
        let stat = StatPersisted {
            czxid: z,
            mzxid: z,
            pzxid: z,
            ctime: t,
            mtime: t,
            ephemeral_owner: owner,
            ..Default::default()
        };
        let node = Dumped { data: data.clone(), acl: acl.to_vec(), stat };
        assert!(self.nodes.insert(path.to_owned(), node).is_none());
    }

    fn delete(&mut self, zxid: i64, path: &str) {
        self.nodes.remove(path).expect("node");
        let parent = self.nodes.get_mut(path.rsplit_once('/').expect("slash").0).expect("parent");
        parent.stat.pzxid = zxid;
    }

    fn one(&mut self, h: &TxnHeader, txn: &Txn) {
        match txn {
            Txn::Create(c) => {
                let owner = if c.ephemeral { h.session.0 } else { 0 };
                self.create(h, &c.path, &c.data, &c.acl, owner, c.parent_cversion);
            }
            Txn::CreateExtended(c) => {
                let owner = c.ttl.map_or(OwnerRules::CONTAINER, OwnerRules::ttl_owner);
                self.create(h, &c.path, &c.data, &c.acl, owner, c.parent_cversion);
            }
            Txn::Delete { path } => self.delete(h.zxid.0, path),
            Txn::SetData { path, data, version } => {
                let node = self.nodes.get_mut(path).expect("node");
                node.data.clone_from(data);
                (node.stat.version, node.stat.mzxid) = (*version, h.zxid.0);
                node.stat.mtime = h.time.0;
            }
            Txn::SetAcl { path, acl, version } => {
                let node = self.nodes.get_mut(path).expect("node");
                node.acl.clone_from(acl);
                node.stat.aversion = *version;
            }
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(h.session.0, *timeout_ms);
            }
            Txn::CloseSession { .. } => {
                for path in self.ephemerals(h.session.0) {
                    self.delete(h.zxid.0, &path);
                }
                self.sessions.remove(&h.session.0);
            }
            Txn::Check { .. } | Txn::Error(_) => {}
            Txn::Multi(_) => panic!("nested"),
        }
    }

    pub fn ephemerals(&self, session: i64) -> Vec<String> {
        let own = self.nodes.iter().filter(|(_, n)| n.stat.ephemeral_owner == session);
        own.map(|(path, _)| path.clone()).collect()
    }
}

/// Makes transactions as a leader would, on a model that follows.
pub struct History {
    pub rng: Xorshift,
    pub model: Model,
    /// Nodes there may be before deletions become more likely.
    pub nodes_max: usize,
    /// closeSession lists paths.
    pub lists: bool,
}

impl History {
    pub fn new(seed: u64) -> History {
        History { rng: Xorshift::new(seed), model: Model::new(), nodes_max: 60, lists: true }
    }

    fn path(&mut self) -> String {
        let n = self.rng.below(self.model.nodes.len() as u64) as usize;
        self.model.nodes.keys().nth(n).expect("within").clone()
    }

    fn data(&mut self) -> Option<Bytes> {
        match self.rng.below(6) {
            0 => None,
            1 => Some(Bytes::new()),
            n => Some(vec![n as u8; (n * 7) as usize].into()),
        }
    }

    fn session(&mut self) -> Option<i64> {
        let all: Vec<i64> = self.model.sessions.keys().copied().collect();
        (!all.is_empty()).then(|| *self.rng.pick(&all))
    }

    /// One operation that the model permits, as type, session and body.
    fn op(&mut self) -> Option<(OpCode, i64, Txn)> {
        let path = self.path();
        let node = self.model.nodes[&path].clone();
        let full = self.model.nodes.len() > self.nodes_max;
        match self.rng.below(if full { 7 } else { 12 }) {
            0..3 => {
                let special = path::SPECIAL.contains(&path.as_str()) || path.is_empty();
                let kind = *self.rng.pick(&[OpCode::DELETE, OpCode::DELETE_CONTAINER]);
                (!special && !self.model.has_children(&path)).then_some((
                    kind,
                    0,
                    Txn::Delete { path },
                ))
            }
            3 | 4 => {
                let path = if path.is_empty() { "/zookeeper".to_owned() } else { path };
                let version = self.model.nodes[&path].stat.version + 1;
                let txn = Txn::SetData { path, data: self.data(), version };
                Some((OpCode::SET_DATA, 0, txn))
            }
            5 | 6 => {
                let path = if path.is_empty() { "/zookeeper".to_owned() } else { path };
                let version = self.model.nodes[&path].stat.aversion + 1;
                let acl = acl(self.rng.below(5));
                Some((OpCode::SET_ACL, 0, Txn::SetAcl { path, acl, version }))
            }
            kind => {
                if matches!(
                    OwnerRules::default().kind(node.stat.ephemeral_owner),
                    OwnerKind::Ephemeral(_)
                ) {
                    return None;
                }
                let parent_cversion = node.stat.cversion + 1;
                let name = match self.rng.below(3) {
                    0 => format!("s{:010}", node.stat.cversion),
                    _ => format!("n{}", self.rng.below(8)),
                };
                let path = format!("{path}/{name}");
                if self.model.nodes.contains_key(&path) || path.len() > 40 {
                    return None;
                }
                let (data, acl) = (self.data(), acl(self.rng.below(5)));
                let session = self.session();
                match (kind, session) {
                    (7, _) => Some((
                        OpCode::CREATE_CONTAINER,
                        0,
                        Txn::CreateExtended(CreateExtendedTxn {
                            path,
                            data,
                            acl,
                            parent_cversion,
                            ttl: None,
                        }),
                    )),
                    (8 | 9, Some(session)) => Some((
                        *self.rng.pick(&[OpCode::CREATE, OpCode::CREATE2]),
                        session,
                        Txn::Create(CreateTxn {
                            path,
                            data,
                            acl,
                            ephemeral: true,
                            parent_cversion,
                        }),
                    )),
                    _ => Some((
                        *self.rng.pick(&[OpCode::CREATE, OpCode::CREATE2]),
                        0,
                        Txn::Create(CreateTxn {
                            path,
                            data,
                            acl,
                            ephemeral: false,
                            parent_cversion,
                        }),
                    )),
                }
            }
        }
    }

    fn body(&mut self) -> (OpCode, i64, Txn) {
        match self.rng.below(30) {
            0 => {
                let session = 0x100 + self.rng.below(6) as i64;
                let timeout_ms = self.rng.below(9000) as i32;
                (OpCode::CREATE_SESSION, session, Txn::CreateSession { timeout_ms })
            }
            1 => {
                let session = self.session().unwrap_or(77);
                let paths = self.lists.then(|| self.model.ephemerals(session));
                (OpCode::CLOSE_SESSION, session, Txn::CloseSession { paths })
            }
            2 => (OpCode::ERROR, 0, Txn::Error(Code::NO_NODE)),
            3 => {
                let code = |c| SubTxn { kind: -1, txn: Txn::Error(c) };
                let path = "/refused".to_owned();
                let first = SubTxn { kind: 2, txn: Txn::Delete { path } };
                let parts = vec![first, code(Code::BAD_VERSION), code(Code(-2))];
                (OpCode::MULTI, 0, Txn::Multi(parts))
            }
            4..8 => {
                // Parts see each other's effects.
                let (before, session) = (self.model.clone(), self.session().unwrap_or(0));
                let zxid = before.zxid + 1;
                let mut parts = Vec::new();
                for _ in 0..self.rng.below(5) {
                    let Some((kind, owner, txn)) = self.op() else { continue };
                    if owner == 0 || owner == session {
                        self.model.apply(&entry(zxid, session, kind, txn.clone()));
                        parts.push(SubTxn { kind: kind.0, txn });
                    }
                }
                let path = "/zookeeper".to_owned();
                parts.push(SubTxn { kind: 13, txn: Txn::Check { path, version: 1 } });
                self.model = before;
                (OpCode::MULTI, session, Txn::Multi(parts))
            }
            _ => loop {
                if let Some(op) = self.op() {
                    return op;
                }
            },
        }
    }

    /// The next transaction, with the digest that the model has after it.
    pub fn next(&mut self) -> TxnEntry {
        let (kind, session, txn) = self.body();
        let mut e = entry(self.model.zxid + 1, session, kind, txn);
        self.model.apply(&e);
        if kind != OpCode::ERROR {
            e.digest =
                Some(TxnDigest { version: TxnDigest::VERSION, tree: digest_of(&self.model.nodes) });
        }
        e
    }
}

/// A whole snapshot in memory.
pub struct Image {
    pub head: ImageHead,
    pub zxid: Zxid,
    pub digest: Option<(Zxid, i64)>,
    pub nodes: Vec<(String, ImageNode)>,
}

impl Image {
    pub fn read(cursor: &SnapshotCursor, bytes: BytesMut) -> Image {
        let mut r = Reader::new(bytes.freeze());
        let mut nodes = Vec::new();
        while r.remaining() > 0 {
            nodes.push((r.get().expect("path"), r.get().expect("node")));
        }
        let tail = cursor.tail();
        Image { head: cursor.head(), zxid: tail.zxid, digest: tail.digest, nodes }
    }

    /// Of a state that does not change meanwhile.
    pub fn of(s: &mut StateMachine) -> Image {
        let mut cursor = s.begin_snapshot().expect("none under way");
        let mut out = BytesMut::new();
        while !s.snapshot_next(&mut cursor, 100, &mut out) {}
        s.end_snapshot();
        Image::read(&cursor, out)
    }

    pub fn load(&self) -> StateMachine {
        let mut loader = StateLoader::new(Options::default());
        self.head.sessions.iter().for_each(|(id, t)| loader.session(*id, *t));
        self.head.acls.iter().for_each(|(n, list)| loader.acl(*n, list.clone()));
        for (path, node) in &self.nodes {
            loader.node(path, node.view()).expect("parents come first");
        }
        loader.finish(self.zxid, self.digest)
    }

    /// Its nodes as a dump; every ACL must be listed.
    pub fn dump(&self) -> Dump {
        let acls: BTreeMap<i64, Vec<Acl>> = self.head.acls.iter().cloned().collect();
        let one = |(path, n): &(String, ImageNode)| {
            let acl = if n.acl == OPEN_ACL_INDEX { open_acl() } else { acls[&n.acl].clone() };
            (path.clone(), Dumped { data: n.data.clone(), acl, stat: n.stat })
        };
        self.nodes.iter().map(one).collect()
    }
}
