//! A reference model of ZooKeeper's tree and sessions: slow, plain, sharing no code with `state`.
//!
//! It applies transactions in zxid order and answers what a read or a write must have answered at
//! that moment. Used by the witness checker ([`super::witness`]); an error in the model and the
//! same error in `state` are unlikely to be made twice, because everything here is a `BTreeMap` and
//! recomputed from scratch.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::proto::txn::{Txn, TxnEntry};
use crate::types::{
    Acl, Code, OwnerKind, OwnerRules, SessionId, Stat, StatPersisted, open_acl, path, read_acl,
};

/// A node of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelNode {
    /// Null and empty differ.
    pub data: Option<Bytes>,
    /// As stored.
    pub acl: Vec<Acl>,
    /// As persisted.
    pub stat: StatPersisted,
    /// Names of the children.
    pub children: BTreeSet<String>,
}

/// The model's state after the transaction `zxid`.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// By path; the root is "/".
    pub nodes: BTreeMap<String, ModelNode>,
    /// Session to timeout in ms.
    pub sessions: BTreeMap<i64, i32>,
    /// The last transaction applied.
    pub zxid: i64,
    rules: OwnerRules,
}

/// What a transaction did to one path, for the checker of watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The node came to be.
    Created,
    /// The node is gone.
    Deleted,
    /// Its data was set.
    DataChanged,
    /// A child came or went.
    ChildrenChanged,
}

/// The outcome of a transaction for the one who asked for it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Outcome {
    /// The code.
    pub code: Code,
    /// For creates.
    pub path: Option<String>,
    /// For create2, setData and setACL.
    pub stat: Option<Stat>,
    /// For multis, one per part with the part's type.
    pub parts: Vec<(i32, Outcome)>,
}

impl Model {
    /// A fresh tree.
    pub fn new(rules: OwnerRules) -> Model {
        let mut model = Model { nodes: BTreeMap::new(), sessions: BTreeMap::new(), zxid: 0, rules };
        let node = |acl: Vec<Acl>, aversion| ModelNode {
            data: Some(Bytes::new()),
            acl,
            stat: StatPersisted { aversion, ..StatPersisted::default() },
            children: BTreeSet::new(),
        };
        for special in path::SPECIAL {
            let config = special == path::CONFIG;
            let fresh = if config { node(read_acl(), -1) } else { node(open_acl(), 0) };
            model.nodes.insert(special.to_string(), fresh);
            if special != "/" {
                model.link(special);
            }
        }
        model
    }

    fn link(&mut self, child: &str) {
        if let Some(parent) = path::parent(child).and_then(|p| self.nodes.get_mut(p)) {
            parent.children.insert(path::name(child).to_string());
        }
    }

    /// The client's stat of a node.
    pub fn stat(&self, at: &str) -> Option<Stat> {
        let node = self.nodes.get(at)?;
        let length = node.data.as_ref().map_or(0, |d| d.len());
        Some(node.stat.to_client(length, node.children.len(), self.rules))
    }

    /// Applies a transaction; returns what the asker must see and what watchers must see.
    pub fn apply(&mut self, entry: &TxnEntry) -> (Outcome, Vec<(Effect, String)>) {
        let mut effects = Vec::new();
        let outcome = self.apply_txn(entry, entry.header.kind, &entry.txn, &mut effects);
        self.zxid = entry.header.zxid.0;
        (outcome, effects)
    }

    fn apply_txn(
        &mut self,
        entry: &TxnEntry,
        kind: i32,
        txn: &Txn,
        effects: &mut Vec<(Effect, String)>,
    ) -> Outcome {
        let header = &entry.header;
        match txn {
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(header.session.0, *timeout_ms);
                Outcome::default()
            }
            Txn::CloseSession { paths } => {
                self.sessions.remove(&header.session.0);
                let mut doomed: Vec<String> = paths.clone().unwrap_or_default();
                for (at, node) in &self.nodes {
                    let owner = self.rules.kind(node.stat.ephemeral_owner);
                    if owner == OwnerKind::Ephemeral(header.session) && !doomed.contains(at) {
                        doomed.push(at.clone());
                    }
                }
                for at in doomed {
                    self.delete(&at, header.zxid.0, effects);
                }
                Outcome::default()
            }
            Txn::Create(c) => {
                let owner = if c.ephemeral { header.session.0 } else { 0 };
                self.create(entry, &c.path, &c.data, &c.acl, owner, c.parent_cversion, effects)
            }
            Txn::CreateExtended(c) => {
                let owner = c.ttl.map_or(OwnerRules::CONTAINER, OwnerRules::ttl_owner);
                self.create(entry, &c.path, &c.data, &c.acl, owner, c.parent_cversion, effects)
            }
            Txn::Delete { path } => {
                let code = self.delete(path, header.zxid.0, effects);
                Outcome { code, path: Some(path.clone()), ..Outcome::default() }
            }
            Txn::SetData { path, data, version } => {
                let Some(node) = self.nodes.get_mut(path) else {
                    return Outcome { code: Code::NO_NODE, ..Outcome::default() };
                };
                node.data = data.clone();
                node.stat.version = *version;
                node.stat.mzxid = header.zxid.0;
                node.stat.mtime = header.time.0;
                effects.push((Effect::DataChanged, path.clone()));
                Outcome { stat: self.stat(path), ..Outcome::default() }
            }
            Txn::SetAcl { path, acl, version } => {
                let Some(node) = self.nodes.get_mut(path) else {
                    return Outcome { code: Code::NO_NODE, ..Outcome::default() };
                };
                node.acl = acl.clone();
                node.stat.aversion = *version;
                Outcome { stat: self.stat(path), ..Outcome::default() }
            }
            Txn::Check { .. } => Outcome::default(),
            Txn::Error(code) => Outcome { code: *code, ..Outcome::default() },
            Txn::Multi(parts) => {
                debug_assert_ne!(kind, -1, "a multi is no error");
                let failed = parts.iter().position(|p| matches!(p.txn, Txn::Error(_)));
                let mut outcome = Outcome::default();
                for (at, part) in parts.iter().enumerate() {
                    let result = match (&failed, &part.txn) {
                        (None, txn) => self.apply_txn(entry, part.kind, txn, effects),
                        (Some(_), Txn::Error(code)) => {
                            Outcome { code: *code, ..Outcome::default() }
                        }
                        (Some(first), _) => {
                            let later = at > *first;
                            let code = if later { Code::RUNTIME_INCONSISTENCY } else { Code::OK };
                            Outcome { code, ..Outcome::default() }
                        }
                    };
                    outcome.parts.push((if failed.is_some() { -1 } else { part.kind }, result));
                }
                outcome
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of three kinds of create")]
    fn create(
        &mut self,
        entry: &TxnEntry,
        at: &str,
        data: &Option<Bytes>,
        acl: &[Acl],
        owner: i64,
        parent_cversion: i32,
        effects: &mut Vec<(Effect, String)>,
    ) -> Outcome {
        let header = &entry.header;
        let parent_path = path::parent(at).unwrap_or("/").to_string();
        let taken = self.nodes.contains_key(at);
        let Some(parent) = self.nodes.get_mut(&parent_path) else {
            return Outcome { code: Code::NO_NODE, ..Outcome::default() };
        };
        if taken {
            return Outcome { code: Code::NODE_EXISTS, ..Outcome::default() };
        }
        if parent_cversion > parent.stat.cversion {
            parent.stat.cversion = parent_cversion;
            parent.stat.pzxid = header.zxid.0;
        }
        parent.children.insert(path::name(at).to_string());
        let stat = StatPersisted {
            czxid: header.zxid.0,
            mzxid: header.zxid.0,
            pzxid: header.zxid.0,
            ctime: header.time.0,
            mtime: header.time.0,
            ephemeral_owner: owner,
            ..StatPersisted::default()
        };
        let node =
            ModelNode { data: data.clone(), acl: acl.to_vec(), stat, children: BTreeSet::new() };
        self.nodes.insert(at.to_string(), node);
        effects.push((Effect::Created, at.to_string()));
        effects.push((Effect::ChildrenChanged, parent_path));
        Outcome { path: Some(at.to_string()), stat: self.stat(at), ..Outcome::default() }
    }

    fn delete(&mut self, at: &str, zxid: i64, effects: &mut Vec<(Effect, String)>) -> Code {
        let parent_path = path::parent(at).unwrap_or("/").to_string();
        if let Some(parent) = self.nodes.get_mut(&parent_path) {
            parent.children.remove(path::name(at));
            parent.stat.pzxid = parent.stat.pzxid.max(zxid);
        }
        if self.nodes.remove(at).is_none() {
            return Code::NO_NODE;
        }
        effects.push((Effect::Deleted, at.to_string()));
        effects.push((Effect::ChildrenChanged, parent_path));
        Code::OK
    }

    /// The ephemerals of a session, sorted.
    pub fn owned_by(&self, session: SessionId) -> Vec<String> {
        let owner = OwnerKind::Ephemeral(session);
        let own = self
            .nodes
            .iter()
            .filter(|(_, node)| self.rules.kind(node.stat.ephemeral_owner) == owner);
        own.map(|(at, _)| at.clone()).collect()
    }

    /// Ephemerals whose session does not live: always empty in a right history (I10).
    pub fn orphans(&self) -> Vec<&str> {
        self.nodes
            .iter()
            .filter(|(_, node)| match self.rules.kind(node.stat.ephemeral_owner) {
                OwnerKind::Ephemeral(session) => !self.sessions.contains_key(&session.0),
                _ => false,
            })
            .map(|(at, _)| at.as_str())
            .collect()
    }
}
