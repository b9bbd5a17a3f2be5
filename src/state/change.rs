//! What applying a transaction yields: the answer for the client and the changes for watches.

use std::sync::Arc;

use crate::types::{Acl, Code, SessionId, Stat, Zxid};

use super::watch::EventKind;

/// One thing that watches may be told, in the order in which Apache fires them (facts of
/// `DataTree.createNode`, `deleteNode`, `setData`).
///
/// A created or deleted node yields two changes: its own, then [`EventKind::ChildrenChanged`] of
/// its parent. Both share one path allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened at [`Change::path`].
    pub kind: EventKind,
    /// The transaction's zxid, for the header of the watch event.
    pub zxid: Zxid,
    full: Arc<str>,
    len: usize,
    acl: Option<Arc<[Acl]>>,
    data_len: usize,
}

impl Change {
    /// A change of the first `len` bytes of `full` as a path; 0 is the root.
    pub(super) fn new(
        kind: EventKind,
        zxid: Zxid,
        full: Arc<str>,
        len: usize,
        acl: Option<Arc<[Acl]>>,
    ) -> Change {
        Change { kind, zxid, full, len, acl, data_len: 0 }
    }

    /// The same of a node that has so many bytes of data now.
    pub(super) fn with_data_len(self, data_len: usize) -> Change {
        Change { data_len, ..self }
    }

    /// Bytes of data that the node has now; None for what is only told of it (its children changed).
    pub fn written(&self) -> Option<usize> {
        (self.kind != EventKind::ChildrenChanged).then_some(self.data_len)
    }

    /// The path that the event names; the root is "/".
    pub fn path(&self) -> &str {
        if self.len == 0 { "/" } else { &self.full[..self.len] }
    }

    /// The ACL that decides who may be told (READ, CVE-2024-23944): the node's own for created,
    /// deleted and changed nodes (as of the change), the parent's for changed children. None is
    /// the open ACL: everybody.
    pub fn acl(&self) -> Option<&[Acl]> {
        self.acl.as_deref()
    }
}

/// The outcome of one transaction (Apache `DataTree.ProcessTxnResult`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnResult {
    /// The transaction's zxid.
    pub zxid: Zxid,
    /// OK, or why nothing (or not everything) was done. For a multi: the first part's error.
    pub code: Code,
    /// The node created, deleted or changed.
    pub path: Option<Arc<str>>,
    /// After create2, createContainer, createTTL, setData and setACL.
    pub stat: Option<Stat>,
    /// One per part of a multi, in order; empty otherwise.
    pub multi: Vec<SubResult>,
    /// The session that a closeSession ended.
    pub closed_session: Option<SessionId>,
}

/// The outcome of one part of a multi.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubResult {
    /// The part's type; -1 for every part of a failed multi.
    pub opcode: i32,
    /// OK, also for the parts before the one that failed.
    pub code: Code,
    /// The node created, deleted, changed or checked.
    pub path: Option<Arc<str>>,
    /// As in [`TxnResult::stat`].
    pub stat: Option<Stat>,
}
