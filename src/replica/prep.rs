//! The leader's brain: a request against the state as it will be, and out comes a transaction or
//! the reason why not (Apache `PrepRequestProcessor`).
//!
//! Every write takes a zxid before it is judged, so a refused one is a transaction too: an error.
//! The order of the checks is Apache's, because it decides which error a client sees.

mod close;

use std::sync::Arc;

use bytes::Bytes;

use super::overlay::{Node, NodeAcl, Overlay};
use crate::auth::{self, Auth};
use crate::proto::jute::{Jute, Reader};
use crate::proto::multi::{self, Op};
use crate::proto::opcode::OpCode;
use crate::proto::records::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, SetAclRequest,
    SetDataRequest,
};
use crate::proto::txn::{
    CreateExtendedTxn, CreateTxn, SubTxn, Txn, TxnDigest, TxnEntry, TxnHeader,
};
use crate::state::StateMachine;
use crate::state::digest;
use crate::types::{
    Acl, Code, CreateMode, Epoch, Id, OwnerKind, OwnerRules, Perms, SessionId, StatPersisted,
    WallTime, Zxid, path,
};

mod reconfig;

/// Settings of preparation.
#[derive(Clone, Debug)]
pub struct PrepOptions {
    /// TTL nodes exist, and how owners are read.
    pub owner_rules: OwnerRules,
    /// `zookeeper.digest.enabled`.
    pub digest: bool,
    /// `zookeeper.closeSessionTxn.enabled`.
    pub close_session_txn: bool,
    /// `zookeeper.enforceQuota`.
    pub enforce_quota: bool,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The session; 0 for the server itself.
    pub session: SessionId,
    /// The request's xid.
    pub cxid: i32,
    /// The connection's identities when the request was read.
    pub ids: Arc<[Id]>,
    /// OK, or why the session may not write (SESSIONEXPIRED, ...).
    pub session_check: Code,
    /// OK, or why the session may not own nodes.
    pub global_session_check: Code,
}

/// Prepares requests; see the module.
#[derive(Debug)]
pub struct Prep {
    options: PrepOptions,
    auth: Auth,
    overlay: Overlay,
    /// The last zxid given out.
    zxid: Zxid,
    /// The tree digest once everything outstanding is applied.
    digest: i64,
    /// Bytes by which the ACLs of the request at hand have grown.
    expanded: usize,
    /// First parts of the paths of requests that a quota has refused; see [`Prep::take_over_quota`].
    over_quota: Vec<Box<str>>,
}

/// Refusals by quota that are remembered until somebody asks.
const OVER_QUOTA_MAX: usize = 1000;

/// Bytes of paths in a closeSession transaction. Without them it says the same (as where
/// `closeSessionTxn.enabled` is off), and every reader takes it (ZOOKEEPER-4306).
const CLOSE_PATHS_BYTES_MAX: usize = 1 << 20;

/// What is known while one transaction is prepared.
struct Work<'a> {
    state: &'a StateMachine,
    caller: &'a Caller,
    zxid: Zxid,
    time: WallTime,
}

impl Prep {
    /// Prepares on top of `state`, whose last transaction is the last one there is.
    pub fn new(options: PrepOptions, auth: Auth, state: &StateMachine) -> Prep {
        let overlay = Overlay::default();
        let mut prep = Prep {
            options,
            auth,
            overlay,
            zxid: Zxid(0),
            digest: 0,
            expanded: 0,
            over_quota: Vec::new(),
        };
        prep.reset(state);
        prep
    }

    /// Starts again on top of `state`: nothing is outstanding.
    pub fn reset(&mut self, state: &StateMachine) {
        self.overlay.clear();
        self.zxid = state.last_zxid();
        self.digest = state.digest();
    }

    /// The last zxid given out.
    pub fn last_zxid(&self) -> Zxid {
        self.zxid
    }

    /// Outstanding changes.
    pub fn outstanding(&self) -> usize {
        self.overlay.len()
    }

    /// The first parts of the paths that a quota has refused since the last call, one for each
    /// request; for metrics, so no more than [`OVER_QUOTA_MAX`] of them.
    pub fn take_over_quota(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.over_quota)
    }

    /// The tree has applied everything up to `zxid`.
    pub fn forget(&mut self, zxid: Zxid) {
        self.overlay.forget(zxid);
    }

    /// The next zxid. A server alone that has used up the counter goes on with the next epoch's
    /// first, as the log demands; a leader has to step down, and does when it proposes this.
    fn next(&mut self) -> Zxid {
        self.zxid = if self.zxid.counter() == Zxid::COUNTER_MAX {
            Zxid::new(Epoch(self.zxid.epoch().0 + 1), 1)
        } else {
            self.zxid.next()
        };
        self.zxid
    }

    fn entry(&self, caller: &Caller, zxid: Zxid, time: WallTime, kind: i32, txn: Txn) -> TxnEntry {
        let digest = self.options.digest && !matches!(txn, Txn::Error(_));
        TxnEntry {
            header: TxnHeader { session: caller.session, cxid: caller.cxid, zxid, time, kind },
            txn,
            digest: digest.then_some(TxnDigest { version: TxnDigest::VERSION, tree: self.digest }),
        }
    }

    /// A new session.
    pub fn create_session(&mut self, caller: &Caller, time: WallTime, timeout_ms: i32) -> TxnEntry {
        let zxid = self.next();
        self.entry(caller, zxid, time, OpCode::CREATE_SESSION.0, Txn::CreateSession { timeout_ms })
    }

    /// The reaper's deletion of a container or TTL node.
    pub fn delete_container(
        &mut self,
        state: &StateMachine,
        caller: &Caller,
        time: WallTime,
        path: &str,
    ) -> TxnEntry {
        let zxid = self.next();
        let work = Work { state, caller, zxid, time };
        let outcome = (|| {
            let (_, node) = self.deletable(&work, path, None)?;
            if node.children > 0 {
                return Err(Code::NOT_EMPTY);
            }
            // Apache only refuses plain ephemerals here, and so may delete a persistent node that
            // has taken the name meanwhile, or a TTL node that was just written.
            let idle_ms = work.time.0.saturating_sub(node.stat.mtime);
            match self.options.owner_rules.kind(node.stat.ephemeral_owner) {
                OwnerKind::Container => {}
                OwnerKind::Ttl(ttl_ms) if idle_ms > ttl_ms => {}
                _ => return Err(Code::BAD_VERSION),
            }
            self.remove(&work, path);
            Ok(Txn::Delete { path: path.to_string() })
        })();
        self.finish(&work, OpCode::DELETE_CONTAINER, outcome)
    }

    fn finish(&self, work: &Work, opcode: OpCode, outcome: Result<Txn, Code>) -> TxnEntry {
        match outcome {
            Ok(txn) => self.entry(work.caller, work.zxid, work.time, opcode.0, txn),
            Err(code) => {
                let txn = Txn::Error(code);
                self.entry(work.caller, work.zxid, work.time, OpCode::ERROR.0, txn)
            }
        }
    }

    /// Prepares a client's write. The body has been found to decode ([`decodes`]).
    pub fn prepare(
        &mut self,
        state: &StateMachine,
        caller: &Caller,
        time: WallTime,
        opcode: OpCode,
        body: &Bytes,
    ) -> TxnEntry {
        let zxid = self.next();
        if self.overlay.is_empty() {
            // Where the prediction was wrong (as Apache's is at the last sequence number), it ends.
            self.digest = state.digest();
        }
        self.expanded = 0;
        let work = Work { state, caller, zxid, time };
        if opcode == OpCode::MULTI {
            let outcome = match multi::read_ops(&mut Reader::new(body.clone())) {
                Ok(ops) if ops.first().is_none_or(|op| !op.is_read()) => self.multi(&work, &ops),
                _ => Err(Code::MARSHALLING_ERROR),
            };
            return self.finish(&work, opcode, outcome);
        }
        let outcome = match read_op(opcode, body) {
            // A null path is only here found out by the check of its form.
            Some(SingleOp::Op(Op::SetData(SetDataRequest { path: None, .. }))) => {
                Err(match caller.session_check {
                    Code::OK => Code::BAD_ARGUMENTS,
                    code => code,
                })
            }
            Some(SingleOp::Op(op)) => self.op(&work, &op),
            Some(SingleOp::SetAcl(request)) => self.set_acl(&work, &request),
            Some(SingleOp::Reconfig) if !self.options.reconfig_enabled => {
                Err(Code::RECONFIG_DISABLED)
            }
            Some(SingleOp::Reconfig) => Err(match caller.session_check {
                Code::OK => Code::UNIMPLEMENTED,
                code => code,
            }),
            None => Err(Code::MARSHALLING_ERROR),
        };
        self.finish(&work, opcode, outcome)
    }

    /// All parts or none: at the first failure what the parts before it did is undone, and the
    /// transaction holds errors from there on (ZOOKEEPER-1624).
    fn multi(&mut self, work: &Work, ops: &[Op]) -> Result<Txn, Code> {
        // A null path anywhere: in Apache an exception of Java's, which fails the whole request.
        if ops.iter().any(|op| op.path().is_none()) {
            return Err(Code::MARSHALLING_ERROR);
        }
        let digest = self.digest;
        self.overlay.savepoint();
        let mut parts = Vec::with_capacity(ops.len());
        let mut failed = false;
        for op in ops {
            if failed {
                parts.push(error_part(Code::RUNTIME_INCONSISTENCY));
                continue;
            }
            match self.op(work, op) {
                Ok(txn) => parts.push(SubTxn { kind: op.opcode().0, txn }),
                // The same for a null id in an ACL.
                Err(Code::MARSHALLING_ERROR) => {
                    self.overlay.rollback();
                    self.digest = digest;
                    return Err(Code::MARSHALLING_ERROR);
                }
                Err(code) => {
                    failed = true;
                    parts.push(error_part(code));
                    self.overlay.rollback();
                    self.digest = digest;
                }
            }
        }
        if !failed {
            self.overlay.release();
        }
        Ok(Txn::Multi(parts))
    }

    fn op(&mut self, work: &Work, op: &Op) -> Result<Txn, Code> {
        match op {
            Op::Create(opcode, r) => {
                let container = *opcode == OpCode::CREATE_CONTAINER;
                self.create(work, &r.path, &r.data, &r.acl, r.flags, None, container)
            }
            Op::CreateTtl(r) => {
                self.create(work, &r.path, &r.data, &r.acl, r.flags, Some(r.ttl), false)
            }
            Op::Delete(r) => self.delete(work, r),
            Op::SetData(r) => self.set_data(work, r),
            Op::Check(r) => self.check(work, r),
            Op::GetData(_) | Op::GetChildren(_) => Err(Code::MARSHALLING_ERROR),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of four create requests")]
    fn create(
        &mut self,
        work: &Work,
        at: &Option<String>,
        data: &Option<Bytes>,
        acl: &Option<Vec<Acl>>,
        flags: i32,
        ttl: Option<i64>,
        container: bool,
    ) -> Result<Txn, Code> {
        let mode = CreateMode::from_flags(flags).ok_or(Code::BAD_ARGUMENTS)?;
        self.check_ttl(mode, ttl)?;
        ok(if mode.is_ephemeral() {
            work.caller.global_session_check
        } else {
            work.caller.session_check
        })?;
        let at = at.as_deref().ok_or(Code::MARSHALLING_ERROR)?;
        let parent_path = match path::parent(at) {
            Some(parent) if !at.contains('\0') => parent,
            _ => return Err(Code::BAD_ARGUMENTS),
        };
        let acl = self.fix_up(work, acl.as_deref())?;
        let mut parent = self.find(work, parent_path).ok_or(Code::NO_NODE)?;
        self.permit(work, &parent, Perms::CREATE)?;
        let counter = parent.stat.cversion;
        let full =
            if mode.is_sequential() { path::sequential(at, counter) } else { at.to_string() };
        if !path::is_valid(&full) {
            return Err(Code::BAD_ARGUMENTS);
        }
        if self.find(work, &full).is_some() {
            return Err(Code::NODE_EXISTS);
        }
        let kind = self.options.owner_rules.kind(parent.stat.ephemeral_owner);
        if matches!(kind, OwnerKind::Ephemeral(_)) {
            return Err(Code::NO_CHILDREN_FOR_EPHEMERALS);
        }
        let length = data.as_ref().map_or(0, |d| d.len());
        self.check_quota(work.state, &full, length as i64, 1)?;

        parent.stat.cversion = counter.wrapping_add(1);
        parent.stat.pzxid = work.zxid.0;
        parent.children += 1;
        let parent_path = parent_path.to_string();
        self.change(work, &parent_path, parent);
        let ephemeral = mode.is_ephemeral() && !container && ttl.is_none();
        let owner = match ttl {
            Some(ttl) => OwnerRules::ttl_owner(ttl),
            None if container => OwnerRules::CONTAINER,
            None if ephemeral => work.caller.session.0,
            None => 0,
        };
        self.insert(work, &full, data.as_deref(), &acl, owner, ephemeral);
        let parent_cversion = counter.wrapping_add(1);
        let data = data.clone();
        Ok(if container || ttl.is_some() {
            Txn::CreateExtended(CreateExtendedTxn { path: full, data, acl, parent_cversion, ttl })
        } else {
            Txn::Create(CreateTxn { path: full, data, acl, ephemeral, parent_cversion })
        })
    }

    fn check_ttl(&self, mode: CreateMode, ttl: Option<i64>) -> Result<(), Code> {
        if mode.is_ttl() && !self.options.owner_rules.extended_types {
            return Err(Code::UNIMPLEMENTED);
        }
        match (mode.is_ttl(), ttl) {
            (true, Some(ttl)) if (1..=OwnerRules::TTL_MAX).contains(&ttl) => Ok(()),
            (false, None) => Ok(()),
            _ => Err(Code::BAD_ARGUMENTS),
        }
    }

    fn insert(
        &mut self,
        work: &Work,
        at: &str,
        data: Option<&[u8]>,
        acl: &[Acl],
        owner: i64,
        ephemeral: bool,
    ) {
        let zxid = work.zxid.0;
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: work.time.0,
            mtime: work.time.0,
            ephemeral_owner: owner,
            ..StatPersisted::default()
        };
        let counted = self.options.digest && !digest::is_exempt(at);
        let prefix = counted.then(|| digest::prefix(at, data));
        let node = Node {
            stat,
            children: 0,
            acl: NodeAcl::Outstanding(acl.into()),
            data_len: data.map_or(0, <[u8]>::len),
            prefix,
            digest: prefix.map_or(0, |prefix| digest::with_stat(prefix, &stat)),
        };
        self.digest = self.digest.wrapping_add(i64::from(node.digest));
        if ephemeral {
            self.overlay.put_ephemeral(work.zxid, at, node, work.caller.session);
        } else {
            self.overlay.put(work.zxid, at, Some(node));
        }
    }

    fn delete(&mut self, work: &Work, r: &DeleteRequest) -> Result<Txn, Code> {
        ok(work.caller.session_check)?;
        let at = r.path.as_deref().ok_or(Code::MARSHALLING_ERROR)?;
        let (_, node) = self.deletable(work, at, Some(work.caller))?;
        expect_version(node.stat.version, r.version)?;
        if node.children > 0 {
            return Err(Code::NOT_EMPTY);
        }
        self.remove(work, at);
        Ok(Txn::Delete { path: at.to_string() })
    }

    /// The parent and the node, if the path may be deleted at all.
    fn deletable(
        &self,
        work: &Work,
        at: &str,
        caller: Option<&Caller>,
    ) -> Result<(Node, Node), Code> {
        let parent_path = match path::parent(at) {
            Some(parent) if !at.contains('\0') && !path::SPECIAL.contains(&at) => parent,
            _ => return Err(Code::BAD_ARGUMENTS),
        };
        let parent = self.find(work, parent_path).ok_or(Code::NO_NODE)?;
        if caller.is_some() {
            self.permit(work, &parent, Perms::DELETE)?;
        }
        let node = self.find(work, at).ok_or(Code::NO_NODE)?;
        Ok((parent, node))
    }

    fn remove(&mut self, work: &Work, at: &str) {
        let parent_path = path::parent(at).unwrap_or("/");
        if let Some(mut parent) = self.find(work, parent_path) {
            parent.stat.pzxid = work.zxid.0;
            parent.children -= 1;
            self.change(work, parent_path, parent);
        }
        if let Some(node) = self.find(work, at) {
            self.digest = self.digest.wrapping_sub(i64::from(node.digest));
        }
        self.overlay.put(work.zxid, at, None);
    }

    fn set_data(&mut self, work: &Work, r: &SetDataRequest) -> Result<Txn, Code> {
        ok(work.caller.session_check)?;
        let at = valid(&r.path)?;
        let mut node = self.find(work, at).ok_or(Code::NO_NODE)?;
        self.permit(work, &node, Perms::WRITE)?;
        let length = r.data.as_ref().map_or(0, |d| d.len());
        let more = length as i64 - node.data_len as i64;
        if more != 0 {
            self.check_quota(work.state, at, more, 0)?;
        }
        expect_version(node.stat.version, r.version)?;
        let version = node.stat.version.wrapping_add(1);
        node.stat.version = version;
        node.stat.mzxid = work.zxid.0;
        node.stat.mtime = work.time.0;
        node.data_len = length;
        if self.options.digest && !digest::is_exempt(at) {
            node.prefix = Some(digest::prefix(at, r.data.as_deref()));
        }
        self.change(work, at, node);
        Ok(Txn::SetData { path: at.to_string(), data: r.data.clone(), version })
    }

    /// The list to be stored. All of a multi may not become much larger than it came.
    fn fix_up(&mut self, work: &Work, asked: Option<&[Acl]>) -> Result<Vec<Acl>, Code> {
        let fixed = self.auth.fix_up(asked, &work.caller.ids)?;
        let before = auth::encoded_len(asked.unwrap_or_default());
        self.expanded += auth::encoded_len(&fixed).saturating_sub(before);
        if self.expanded > auth::EXPANDED_MAX { Err(Code::INVALID_ACL) } else { Ok(fixed) }
    }

    fn set_acl(&mut self, work: &Work, r: &SetAclRequest) -> Result<Txn, Code> {
        ok(work.caller.session_check)?;
        if r.path.is_none() {
            return Err(Code::BAD_ARGUMENTS);
        }
        let at = valid(&r.path)?;
        let acl = self.fix_up(work, r.acl.as_deref())?;
        let mut node = self.find(work, at).ok_or(Code::NO_NODE)?;
        self.permit(work, &node, Perms::ADMIN)?;
        expect_version(node.stat.aversion, r.version)?;
        let version = node.stat.aversion.wrapping_add(1);
        node.stat.aversion = version;
        node.acl = NodeAcl::Outstanding(acl.as_slice().into());
        self.change(work, at, node);
        Ok(Txn::SetAcl { path: at.to_string(), acl, version })
    }

    fn check(&mut self, work: &Work, r: &CheckVersionRequest) -> Result<Txn, Code> {
        ok(work.caller.session_check)?;
        let at = valid(&r.path)?;
        let node = self.find(work, at).ok_or(Code::NO_NODE)?;
        self.permit(work, &node, Perms::READ)?;
        expect_version(node.stat.version, r.version)?;
        // Apache logs the version plus one; it has no effect.
        let version = node.stat.version.wrapping_add(1);
        Ok(Txn::Check { path: at.to_string(), version })
    }

    /// A node as it will be; the root may be "" as well.
    fn find(&self, work: &Work, at: &str) -> Option<Node> {
        if let Some(outstanding) = self.overlay.get(at) {
            return outstanding.cloned();
        }
        let node = work.state.node(at)?;
        if self.overlay.is_closed(node.stat().ephemeral_owner) {
            return None;
        }
        let counted = self.options.digest && !digest::is_exempt(at);
        let prefix = counted.then(|| node.digest_prefix());
        let stat = node.stat();
        Some(Node {
            stat,
            children: node.num_children() as i64,
            acl: NodeAcl::Stored(node.acl_id()),
            data_len: node.data().map_or(0, <[u8]>::len),
            prefix,
            digest: prefix.map_or(0, |prefix| digest::with_stat(prefix, &stat)),
        })
    }

    /// Puts a changed node back, and its new digest into the tree's.
    fn change(&mut self, work: &Work, at: &str, mut node: Node) {
        let new = node.prefix.map_or(0, |prefix| digest::with_stat(prefix, &node.stat));
        self.digest = self.digest.wrapping_sub(i64::from(node.digest)).wrapping_add(i64::from(new));
        node.digest = new;
        self.overlay.put(work.zxid, at, Some(node));
    }

    fn permit(&self, work: &Work, node: &Node, wanted: Perms) -> Result<(), Code> {
        let allowed = match &node.acl {
            NodeAcl::Stored(crate::state::AclId::OPEN) => true,
            NodeAcl::Stored(crate::state::AclId::MISSING) => return Err(Code::MARSHALLING_ERROR),
            NodeAcl::Stored(id) => {
                self.auth.check(work.state.acl_by_id(*id), &work.caller.ids, wanted)
            }
            NodeAcl::Outstanding(acl) => self.auth.check(acl, &work.caller.ids, wanted),
        };
        if allowed { Ok(()) } else { Err(Code::NO_AUTH) }
    }

    /// Hard limits refuse when `zookeeper.enforceQuota` says so; they count what is applied, not
    /// what is outstanding (Apache `ZooKeeperServer.checkQuota`).
    fn check_quota(
        &mut self,
        state: &StateMachine,
        at: &str,
        bytes: i64,
        count: i64,
    ) -> Result<(), Code> {
        if !self.options.enforce_quota {
            return Ok(());
        }
        let Some(quota) = state.quota_of(at) else { return Ok(()) };
        let over = |limit: i64, value: i64| limit >= 0 && value > limit;
        let bytes_over = bytes != 0 && over(quota.bytes_hard_limit, quota.bytes + bytes);
        if count > 0 && over(quota.count_hard_limit, quota.count + count) || bytes_over {
            let namespace = at.split('/').nth(1).unwrap_or_default();
            if self.over_quota.len() < OVER_QUOTA_MAX {
                self.over_quota.push(namespace.into());
            }
            return Err(Code::QUOTA_EXCEEDED);
        }
        Ok(())
    }
}

fn ok(code: Code) -> Result<(), Code> {
    if code == Code::OK { Ok(()) } else { Err(code) }
}

fn valid(at: &Option<String>) -> Result<&str, Code> {
    let at = at.as_deref().ok_or(Code::MARSHALLING_ERROR)?;
    if path::is_valid(at) { Ok(at) } else { Err(Code::BAD_ARGUMENTS) }
}

fn expect_version(current: i32, expected: i32) -> Result<(), Code> {
    if expected == -1 || expected == current { Ok(()) } else { Err(Code::BAD_VERSION) }
}

fn error_part(code: Code) -> SubTxn {
    SubTxn { kind: OpCode::ERROR.0, txn: Txn::Error(code) }
}

enum SingleOp {
    Op(Op),
    SetAcl(SetAclRequest),
    Reconfig,
}

fn read_op(opcode: OpCode, body: &Bytes) -> Option<SingleOp> {
    let body = body.clone();
    Some(SingleOp::Op(match opcode {
        OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER => {
            Op::Create(opcode, CreateRequest::from_bytes(body).ok()?)
        }
        OpCode::CREATE_TTL => Op::CreateTtl(CreateTtlRequest::from_bytes(body).ok()?),
        OpCode::DELETE => Op::Delete(DeleteRequest::from_bytes(body).ok()?),
        OpCode::SET_DATA => Op::SetData(SetDataRequest::from_bytes(body).ok()?),
        OpCode::SET_ACL => return Some(SingleOp::SetAcl(SetAclRequest::from_bytes(body).ok()?)),
        OpCode::RECONFIG => {
            crate::proto::records::ReconfigRequest::from_bytes(body).ok()?;
            return Some(SingleOp::Reconfig);
        }
        _ => return None,
    }))
}

/// Whether a request makes an ephemeral node, by itself or as part of a multi: a local session
/// becomes global with it. TTL nodes and containers have no owner.
pub fn makes_ephemeral(opcode: OpCode, body: &Bytes) -> bool {
    let makes = |op: &Op| match op {
        Op::Create(OpCode::CREATE | OpCode::CREATE2, r) => {
            CreateMode::from_flags(r.flags).is_some_and(CreateMode::is_ephemeral)
        }
        _ => false,
    };
    match opcode {
        OpCode::CREATE | OpCode::CREATE2 => {
            matches!(read_op(opcode, body), Some(SingleOp::Op(op)) if makes(&op))
        }
        OpCode::MULTI => {
            multi::read_ops(&mut Reader::new(body.clone())).is_ok_and(|ops| ops.iter().any(makes))
        }
        _ => false,
    }
}

/// Whether a write's body decodes, found without building anything. One that doesn't is answered
/// MARSHALLINGERROR where it arrived, without a transaction (Apache since 3.9.0); only a multi still
/// takes a zxid, unless what is wrong with it is a null ACL (an exception of another kind in Apache).
pub fn decodes(opcode: OpCode, body: &[u8]) -> bool {
    let mut skip = Skip(body);
    let whole = match opcode {
        OpCode::MULTI => (!skip.null_acl_in_multi().unwrap_or(false)).then_some(()),
        OpCode::CLOSE_SESSION => Some(()),
        OpCode::SYNC => skip.buffer(),
        OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER => skip.create(4),
        OpCode::CREATE_TTL => skip.create(12),
        OpCode::DELETE => skip.buffer().and_then(|()| skip.bytes(4)),
        OpCode::SET_DATA => skip.buffer().and_then(|()| skip.buffer()).and_then(|()| skip.bytes(4)),
        OpCode::SET_ACL => skip.buffer().and_then(|()| skip.acl()).and_then(|()| skip.bytes(4)),
        OpCode::RECONFIG => (0..3).try_for_each(|_| skip.buffer()).and_then(|()| skip.bytes(8)),
        _ => None,
    };
    whole.is_some()
}

/// Steps over the fields of a record; None when they are not all there.
struct Skip<'a>(&'a [u8]);

impl Skip<'_> {
    /// Whether the first thing wrong with a multi is a create (not createTTL) whose ACL is null.
    fn null_acl_in_multi(&mut self) -> Option<bool> {
        let mut reads = None;
        loop {
            let opcode = OpCode(self.int()?);
            let (&done, rest) = self.0.split_first()?;
            self.0 = rest;
            self.int()?;
            let is_read = matches!(opcode, OpCode::GET_DATA | OpCode::GET_CHILDREN);
            if done != 0 || reads.replace(is_read).is_some_and(|before| before != is_read) {
                return Some(false);
            }
            self.buffer()?;
            match opcode {
                OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER => {
                    self.buffer()?;
                    let is_null = self.0.starts_with(&(-1i32).to_be_bytes());
                    self.acl()?;
                    let mode = CreateMode::from_flags(self.int()?)?;
                    if is_null || mode.is_ttl() {
                        return Some(is_null);
                    }
                }
                OpCode::CREATE_TTL => {
                    self.buffer()?;
                    self.acl()?;
                    self.bytes(12)?;
                }
                OpCode::DELETE | OpCode::CHECK => self.bytes(4)?,
                OpCode::SET_DATA => {
                    self.buffer()?;
                    self.bytes(4)?;
                }
                OpCode::GET_DATA | OpCode::GET_CHILDREN => self.bytes(1)?,
                _ => return Some(false),
            }
        }
    }

    fn bytes(&mut self, n: usize) -> Option<()> {
        self.0 = self.0.get(n..)?;
        Some(())
    }

    fn int(&mut self) -> Option<i32> {
        let (int, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*int))
    }

    /// A string or a buffer.
    fn buffer(&mut self) -> Option<()> {
        match self.int()? {
            -1 => Some(()),
            length => self.bytes(usize::try_from(length).ok()?),
        }
    }

    fn acl(&mut self) -> Option<()> {
        match self.int()? {
            -1 => Some(()),
            count => (0..usize::try_from(count).ok()?).try_for_each(|_| {
                self.bytes(4)?;
                self.buffer()?;
                self.buffer()
            }),
        }
    }

    fn create(&mut self, tail: usize) -> Option<()> {
        self.buffer()?;
        self.buffer()?;
        self.acl()?;
        self.bytes(tail)
    }
}

#[cfg(test)]
pub(crate) mod tests;
