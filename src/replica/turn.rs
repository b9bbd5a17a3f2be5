//! What is the same about applying a transaction alone and in an ensemble: the state changes, then
//! watches fire. Who is answered differs, and is not known here.

use crate::proto::opcode::OpCode;
use crate::proto::txn::TxnEntry;
use crate::state::watch::WatchTable;
use crate::state::{Change, EventKind, StateMachine, TxnResult};
use crate::types::SessionId;

use super::Deliver;

/// A transaction that was applied, whole or in part.
#[derive(Debug)]
pub(super) struct Applied {
    /// None while deletions of a closeSession are left.
    pub(super) result: Option<TxnResult>,
    /// How many nodes were changed now.
    pub(super) nodes: usize,
    /// Whose transaction it is.
    pub(super) session: SessionId,
    /// Whether it ends the session.
    pub(super) closes: bool,
}

/// Applies a committed transaction, or of a closeSession at most `max` more deletions, and tells
/// `out` what changed. `changes` is scratch space.
pub(super) fn apply(
    entry: &TxnEntry,
    state: &mut StateMachine,
    watches: &WatchTable,
    out: &mut dyn Deliver,
    max: usize,
    changes: &mut Vec<Change>,
) -> Applied {
    changes.clear();
    let result = state.apply_some(entry, max, changes);
    for change in changes.iter() {
        out.changed(change);
        watches.fire(change, &mut |conn, kind| out.event(conn, kind, change));
    }
    let session = entry.header.session;
    let closes = OpCode(entry.header.kind) == OpCode::CLOSE_SESSION;
    if closes {
        for change in changes.iter().filter(|c| c.kind == EventKind::Deleted) {
            out.ephemeral_deleted(session, change.path());
        }
    }
    // A created or deleted node is a change of its parent as well.
    Applied { result, nodes: changes.len() / 2, session, closes }
}
