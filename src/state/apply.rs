//! Applying transactions (Apache `DataTree.processTxn`): one arm per kind, total, and idempotent
//! on replay.
//!
//! A transaction may meet a state that holds later ones already: Apache's snapshots are fuzzy, and
//! the log is replayed from before them. Hence the rules that look odd otherwise:
//!
//! - creating a node that exists takes over the ACL and moves the parent's cversion and pzxid
//!   forward, if they are behind (ZOOKEEPER-1573, 3249, 4846);
//! - deleting a node that does not exist still moves the parent's pzxid forward (ZOOKEEPER-3145);
//! - cversion and pzxid never go back;
//! - deleting a node with children removes what is below: all of it was created later, and will be
//!   created again.

use std::sync::Arc;

use crate::proto::opcode::OpCode;
use crate::proto::txn::{SubTxn, Txn, TxnDigest, TxnEntry, TxnHeader};
use crate::types::path::CONFIG;
use crate::types::{Acl, Code, OwnerRules, SessionId, Stat, WallTime, Zxid, read_acl};

use super::acl::AclId;
use super::change::{Change, SubResult, TxnResult};
use super::tree::{Place, ROOT};
use super::watch::EventKind;
use super::znode::Node;
use super::{StateMachine, quota};

/// How many dead nodes of the last snapshot are freed with each transaction.
const COLLECT_PER_TXN: usize = 32;

/// When, and by whom.
#[derive(Clone, Copy)]
struct By {
    zxid: i64,
    time: i64,
    session: i64,
}

/// What is created.
struct New<'a> {
    path: &'a str,
    data: Option<&'a [u8]>,
    acl: &'a [Acl],
    owner: i64,
    parent_cversion: i32,
}

/// What one operation came to.
#[derive(Default)]
struct Outcome {
    code: Code,
    path: Option<Arc<str>>,
    stat: Option<Stat>,
}

impl Outcome {
    fn failed(code: Code) -> Outcome {
        Outcome { code, ..Outcome::default() }
    }
}

impl StateMachine {
    /// Applies a transaction and appends what watches may be told to `changes`.
    ///
    /// Total: whatever a log may hold has a result, and the zxid always moves forward. A multi is
    /// applied whole, so no snapshot can begin inside one (ZOOKEEPER-3127).
    pub fn apply(&mut self, entry: &TxnEntry, changes: &mut Vec<Change>) -> TxnResult {
        let header = &entry.header;
        let mut result = TxnResult { zxid: header.zxid, ..TxnResult::default() };
        match &entry.txn {
            Txn::Multi(parts) => {
                result.multi = self.apply_multi(header, parts, changes);
                let failed = result.multi.iter().find(|part| part.code != Code::OK);
                result.code = failed.map_or(Code::OK, |part| part.code);
            }
            txn => {
                let outcome = self.apply_one(header, header.kind, txn, changes);
                (result.code, result.path, result.stat) =
                    (outcome.code, outcome.path, outcome.stat);
                if matches!(txn, Txn::CloseSession { .. }) {
                    result.closed_session = Some(header.session);
                }
            }
        }
        self.last_zxid = self.last_zxid.max(header.zxid);
        if self.options.digest {
            self.check_digest(header.zxid, entry.digest);
        }
        self.tree.collect(COLLECT_PER_TXN);
        result
    }

    /// Applies a transaction as [`StateMachine::apply`] does, but of a closeSession no more than
    /// `max` deletions: None says that there is more to be done, so call again with the same entry.
    ///
    /// In between readers see some of the session's nodes gone and some not, as they do in Apache,
    /// which holds no lock for a whole transaction either; they see it under the transaction's
    /// zxid, so that whoever has seen a part of it is never served by a server without it. No
    /// snapshot can begin, and the digest is compared at the end.
    pub fn apply_some(
        &mut self,
        entry: &TxnEntry,
        max: usize,
        changes: &mut Vec<Change>,
    ) -> Option<TxnResult> {
        if let Txn::CloseSession { paths } = &entry.txn
            && !self.close_some(&entry.header, paths.as_deref().unwrap_or_default(), max, changes)
        {
            self.last_zxid = self.last_zxid.max(entry.header.zxid);
            return None;
        }
        Some(self.apply(entry, changes))
    }

    /// Whether [`StateMachine::apply_some`] is in the middle of a transaction.
    pub fn is_within_txn(&self) -> bool {
        self.closing.is_some()
    }

    /// Deletes up to `max` nodes of a session that ends; true when [`StateMachine::apply`] may do
    /// the rest.
    fn close_some(
        &mut self,
        header: &TxnHeader,
        paths: &[String],
        max: usize,
        changes: &mut Vec<Change>,
    ) -> bool {
        let done = self.closing.unwrap_or(0);
        let listed = paths.get(done..).unwrap_or_default();
        if listed.len() <= max {
            return true;
        }
        self.delete_all(header.zxid.0, &listed[..max], changes);
        self.closing = Some(done + max);
        false
    }

    /// A multi in which any part is an error was refused: nothing is done, and every part is
    /// answered as an error, those before the failed one with OK.
    fn apply_multi(
        &mut self,
        header: &TxnHeader,
        parts: &[SubTxn],
        changes: &mut Vec<Change>,
    ) -> Vec<SubResult> {
        let error = |part: &SubTxn| match part.txn {
            Txn::Error(code) => Some(code),
            _ => None,
        };
        if parts.iter().any(|part| error(part).is_some()) {
            let mut after = false;
            let answer = |part: &SubTxn| {
                let code = error(part);
                let default = if after { Code::RUNTIME_INCONSISTENCY } else { Code::OK };
                after |= code.is_some();
                let code = code.unwrap_or(default);
                SubResult { opcode: OpCode::ERROR.0, code, path: None, stat: None }
            };
            return parts.iter().map(answer).collect();
        }
        let mut results = Vec::with_capacity(parts.len());
        for SubTxn { kind, txn } in parts {
            let Outcome { code, path, stat } = self.apply_one(header, *kind, txn, changes);
            results.push(SubResult { opcode: *kind, code, path, stat });
        }
        results
    }

    fn apply_one(
        &mut self,
        header: &TxnHeader,
        kind: i32,
        txn: &Txn,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let by = By { zxid: header.zxid.0, time: header.time.0, session: header.session.0 };
        match txn {
            Txn::Create(c) => {
                let new = New {
                    path: &c.path,
                    data: c.data.as_deref(),
                    acl: &c.acl,
                    owner: if c.ephemeral { by.session } else { 0 },
                    parent_cversion: c.parent_cversion,
                };
                self.create(by, new, OpCode(kind) != OpCode::CREATE, changes)
            }
            Txn::CreateExtended(c) => {
                let owner = match c.ttl {
                    None => OwnerRules::CONTAINER,
                    Some(ttl @ 1..=OwnerRules::TTL_MAX) => OwnerRules::ttl_owner(ttl),
                    // No server lets it in: rather a node that stays than one that is not there.
                    Some(_) => 0,
                };
                let new = New {
                    path: &c.path,
                    data: c.data.as_deref(),
                    acl: &c.acl,
                    owner,
                    parent_cversion: c.parent_cversion,
                };
                self.create(by, new, true, changes)
            }
            Txn::Delete { path } => self.delete(by.zxid, path, changes),
            Txn::SetData { path, data, version } => {
                self.set_data(by, path, data.as_deref(), *version, changes)
            }
            Txn::SetAcl { path, acl, version } => self.set_acl(path, acl, *version),
            Txn::Check { path, .. } => {
                Outcome { path: Some(path.as_str().into()), ..Outcome::default() }
            }
            Txn::CreateSession { timeout_ms } => {
                self.sessions.set(by.session, *timeout_ms);
                Outcome::default()
            }
            Txn::CloseSession { paths } => {
                let done = self.closing.take().unwrap_or(0);
                let paths = paths.as_deref().and_then(|paths| paths.get(done..));
                self.close_session(by.session, by.zxid, paths, changes);
                self.sessions.remove(by.session);
                Outcome::default()
            }
            Txn::Error(code) => Outcome::failed(*code),
            // The decoder refuses a multi within a multi.
            Txn::Multi(_) => Outcome::failed(Code::MARSHALLING_ERROR),
        }
    }

    fn create(&mut self, by: By, new: New, want_stat: bool, changes: &mut Vec<Change>) -> Outcome {
        let Some(place) = self.tree.place(new.path) else { return Outcome::failed(Code::NO_NODE) };
        if place.name.is_empty() || place.name.len() > Node::NAME_MAX {
            // No server lets it in: "/" exists, and the decoder's limits are lower.
            return Outcome::failed(Code::BAD_ARGUMENTS);
        }
        let path: Arc<str> = new.path.into();
        let mut parent = self.tree.stat(place.parent);
        let next = match new.parent_cversion {
            -1 => parent.cversion.wrapping_add(1),
            given => given,
        };
        if next > parent.cversion {
            parent.cversion = next;
            parent.pzxid = parent.pzxid.max(by.zxid);
            self.tree.set_stat(place.parent, place.parent_path, &parent);
        }
        let acl = self.acls.intern(new.acl);
        if let Some(existing) = self.tree.at(&place) {
            let old = self.tree.set_acl(existing, acl);
            self.acls.release(old);
            return Outcome { code: Code::NODE_EXISTS, path: Some(path), stat: None };
        }
        let stat = crate::types::StatPersisted {
            czxid: by.zxid,
            mzxid: by.zxid,
            pzxid: by.zxid,
            ctime: by.time,
            mtime: by.time,
            ephemeral_owner: new.owner,
            ..Default::default()
        };
        let id = self.tree.insert(&place, new.path, new.data, acl, &stat);
        self.owners.add(id, new.owner);
        self.quota_of_created(place.parent_path, place.name);
        let len = new.data.map_or(0, <[u8]>::len);
        self.charge(new.path, 1, len as i64);
        let (zxid, own) = (Zxid(by.zxid), self.acls.share(acl));
        let above = self.acls.share(self.tree.nodes[place.parent].acl);
        let created = Change::new(EventKind::Created, zxid, path.clone(), path.len(), own);
        changes.push(created.with_data_len(len));
        let at = place.parent_path.len();
        changes.push(Change::new(EventKind::ChildrenChanged, zxid, path.clone(), at, above));
        let stat = want_stat.then(|| stat.to_client(len, 0, self.options.owner_rules));
        Outcome { code: Code::OK, path: Some(path), stat }
    }

    fn quota_of_created(&mut self, parent_path: &str, name: &str) {
        let Some(subject) = quota::subject(parent_path) else { return };
        if name == quota::LIMITS {
            self.quotas.add(subject);
        } else if name == quota::STATS {
            self.recount(subject);
        }
    }

    /// Deletes nodes of which most have the same parents.
    fn delete_all(&mut self, zxid: i64, paths: &[String], changes: &mut Vec<Change>) {
        // What is deleted is never the parent of itself, so what is near stays right.
        let mut near = None;
        for path in paths {
            if let Some(place) = self.tree.place_near(path, &mut near) {
                self.delete_at(zxid, path, &place, changes);
            }
        }
    }

    fn delete(&mut self, zxid: i64, path: &str, changes: &mut Vec<Change>) -> Outcome {
        let Some(place) = self.tree.place(path) else { return Outcome::failed(Code::NO_NODE) };
        self.delete_at(zxid, path, &place, changes)
    }

    fn delete_at(
        &mut self,
        zxid: i64,
        path: &str,
        place: &Place,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let mut parent = self.tree.stat(place.parent);
        if zxid > parent.pzxid {
            parent.pzxid = zxid;
            self.tree.set_stat(place.parent, place.parent_path, &parent);
        }
        let Some(id) = self.tree.at(place) else { return Outcome::failed(Code::NO_NODE) };
        let own = self.acls.share(self.tree.nodes[id].acl);
        let above = self.acls.share(self.tree.nodes[place.parent].acl);
        if self.tree.nodes[id].children > 0 {
            let below = self.tree.subtree(id, place.hash);
            for (id, hash) in below.into_iter().skip(1).rev() {
                self.remove_node(id, hash, &self.tree.path(id));
            }
        }
        self.remove_node(id, place.hash, path);
        let (zxid, path): (Zxid, Arc<str>) = (Zxid(zxid), path.into());
        changes.push(Change::new(EventKind::Deleted, zxid, path.clone(), path.len(), own));
        let at = place.parent_path.len();
        changes.push(Change::new(EventKind::ChildrenChanged, zxid, path.clone(), at, above));
        Outcome { path: Some(path), ..Outcome::default() }
    }

    /// Removes a node without children, and what else knew of it.
    fn remove_node(&mut self, id: u32, hash: u64, path: &str) {
        let owner = self.tree.stat(id).ephemeral_owner;
        let (acl, len) = (self.tree.nodes[id].acl, self.tree.data_len(id));
        self.owners.remove(id, owner);
        self.tree.remove(id, hash, path);
        self.acls.release(acl);
        if let Some((parent, quota::LIMITS)) = path.rsplit_once('/')
            && let Some(subject) = quota::subject(parent)
        {
            self.quotas.remove(subject);
        }
        self.charge(path, -1, -(len as i64));
    }

    fn set_data(
        &mut self,
        by: By,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let Some(id) = self.tree.find(path) else { return Outcome::failed(Code::NO_NODE) };
        let mut stat = self.tree.stat(id);
        (stat.mzxid, stat.mtime, stat.version) = (by.zxid, by.time, version);
        let (old, new) = (self.tree.data_len(id), data.map_or(0, <[u8]>::len));
        self.tree.set_data(id, path, data, &stat);
        self.charge(path, 0, new as i64 - old as i64);
        let node = &self.tree.nodes[id];
        let (acl, path): (_, Arc<str>) = (self.acls.share(node.acl), path.into());
        let children = node.children as usize;
        let change =
            Change::new(EventKind::DataChanged, Zxid(by.zxid), path.clone(), path.len(), acl);
        changes.push(change.with_data_len(new));
        let stat = stat.to_client(new, children, self.options.owner_rules);
        Outcome { code: Code::OK, path: Some(path), stat: Some(stat) }
    }

    fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Outcome {
        let Some(id) = self.tree.find(path) else { return Outcome::failed(Code::NO_NODE) };
        let new = self.acls.intern(acl);
        let old = self.tree.set_acl(id, new);
        self.acls.release(old);
        let mut stat = self.tree.stat(id);
        stat.aversion = version;
        self.tree.set_stat(id, path, &stat);
        let stat = self.client_stat(id);
        Outcome { code: Code::OK, path: Some(path.into()), stat: Some(stat) }
    }

    /// Deletes the listed paths, whoever owns them (ZOOKEEPER-3145), then whatever else the
    /// session owns here.
    fn close_session(
        &mut self,
        session: i64,
        zxid: i64,
        paths: Option<&[String]>,
        changes: &mut Vec<Change>,
    ) {
        #[cfg(any(test, feature = "sim"))]
        if self.leaves_ephemerals {
            return;
        }
        self.delete_all(zxid, paths.unwrap_or_default(), changes);
        for path in self.ephemerals_of(SessionId(session)) {
            self.delete(zxid, &path, changes);
        }
        self.owners.end(session);
    }

    /// Deletes the ephemerals of sessions that are not in the table, as of the last zxid; to be
    /// called once after recovery. Returns those sessions, in order.
    pub fn kill_dead_sessions(&mut self, changes: &mut Vec<Change>) -> Vec<SessionId> {
        let owning = self.owners.sessions().map(|(session, count)| (SessionId(session), count));
        let mut dead: Vec<SessionId> = owning
            .filter(|(session, count)| *count > 0 && self.sessions.get(*session).is_none())
            .map(|(session, _)| session)
            .collect();
        dead.sort_unstable();
        for session in &dead {
            self.close_session(session.0, self.last_zxid.0, None, changes);
        }
        if !dead.is_empty() && self.digest_log.last.0 > Zxid::ZERO {
            // No transaction said so, but the next snapshot shall.
            self.digest_log.last.1 = self.tree.digest;
        }
        dead
    }

    /// Writes the ensemble's configuration into "/zookeeper/config" without a transaction (Apache
    /// `initConfigInZKDatabase`): version -1, mzxid = `version`, mtime = `now`. Creates the node
    /// when an old snapshot lacks it.
    pub fn init_config(
        &mut self,
        text: &[u8],
        version: Zxid,
        now: WallTime,
        changes: &mut Vec<Change>,
    ) {
        self.ensure_config();
        let by = By { zxid: version.0, time: now.0, session: 0 };
        self.set_data(by, CONFIG, Some(text), -1, changes);
    }

    /// Adds "/zookeeper/config" where it is missing: readable for all, aversion -1.
    pub(super) fn ensure_config(&mut self) {
        let Some(place) = self.tree.place(CONFIG) else { return };
        if place.parent == ROOT || self.tree.at(&place).is_some() {
            return;
        }
        let stat = crate::types::StatPersisted { aversion: -1, ..Default::default() };
        let acl: AclId = self.acls.intern(&read_acl());
        self.tree.insert(&place, CONFIG, Some(b""), acl, &stat);
    }

    /// Compares the tree with what the transaction, or a loaded snapshot, says it is now.
    fn check_digest(&mut self, zxid: Zxid, said: Option<TxnDigest>) {
        let digest = self.tree.digest;
        match self.digest_ahead {
            // A fuzzy snapshot is being caught up with: nothing to compare before its zxid.
            Some((at, _)) if zxid < at => return,
            Some((at, expected)) => {
                self.digest_ahead = None;
                if at == zxid && expected != digest {
                    self.count_mismatch(zxid);
                }
            }
            None => {
                let said = said.filter(|said| said.version == TxnDigest::VERSION);
                if said.is_some_and(|said| said.tree != digest) {
                    self.count_mismatch(zxid);
                }
            }
        }
        self.digest_log.note(zxid, digest);
    }

    pub(super) fn count_mismatch(&mut self, zxid: Zxid) {
        self.digest_mismatches += 1;
        self.first_mismatch.get_or_insert(zxid);
        self.new_mismatch.get_or_insert(zxid);
    }
}

#[cfg(test)]
mod tests;
