//! How a learner is brought to the leader's history: a pure function of where its log ends and of
//! what the leader has in memory (Apache `LearnerHandler.syncFollower`).
//!
//! | the learner's last zxid | plan |
//! |---|---|
//! | below zero: it asks for a snapshot | SNAP |
//! | what the leader's state is at | DIFF, nothing to send |
//! | above everything committed, and a transaction | TRUNC to the newest committed |
//! | in the window, or right before it | DIFF and what comes after |
//! | inside the window's range, the start of an epoch | DIFF and what comes after |
//! | inside, not in it, the next is of the same epoch | TRUNC to the one before, and what comes after |
//! | inside, not in it, the next is of another epoch | SNAP |
//! | before the window | from the log on disk, if that can be; otherwise SNAP |
//! | an epoch's start above everything | SNAP |
//!
//! "Right before the window" is ours: the zxid at the floor is known to belong to the history, so a
//! learner that stands exactly there needs no snapshot.
//!
//! Why a learner at the start of epoch `e` (counter 0) may get a DIFF: only an *established* leader
//! gives that number to a state, so it stands for the whole initial history of `e`, which is
//! committed and therefore in every later leader's history.

use super::action::{EncodedTxn, LogRead};
use crate::proto::quorum::{Claim, ClaimedEnd};
use crate::types::Zxid;

/// What the leader has.
#[derive(Clone, Debug)]
pub struct Committed<'a> {
    /// The zxid right before the first of `zxids`; part of the history.
    pub floor: Zxid,
    /// The committed transactions in memory, in order. For a leader that isn't established all of
    /// its history counts: it will be committed if anything is.
    pub zxids: &'a [Zxid],
    /// What the leader's state counts as being at: the newest committed transaction, or the start of
    /// its epoch.
    pub processed: Zxid,
}

/// How a learner gets the leader's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Announce `announce`, send everything committed after `after`.
    Diff {
        /// The zxid of the DIFF packet.
        announce: Zxid,
        /// What the learner has.
        after: Zxid,
    },
    /// The learner cuts its log to `to`; then everything committed after it.
    Trunc {
        /// The zxid of the TRUNC packet.
        to: Zxid,
    },
    /// A snapshot, then everything after it.
    Snap,
    /// Read the log after `after` from disk first, and then decide by [`plan_from_log`].
    ReadLog {
        /// What the learner has.
        after: Zxid,
    },
}

/// What leaders may do.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// `zookeeper.forceSnapshotSync`.
    pub force_snapshot: bool,
    /// Whether the log on disk may be read.
    pub log_sync: bool,
    /// A mutant: whether the learner's zxid is in the history isn't looked at (A3).
    #[cfg(any(test, feature = "sim"))]
    pub skip_membership: bool,
}

/// The plan for a learner whose log ends at `peer`.
pub fn plan(has: &Committed<'_>, peer: Zxid, rules: Rules) -> Plan {
    if rules.force_snapshot || peer < Zxid::ZERO {
        return Plan::Snap;
    }
    let newest = has.zxids.last().copied().unwrap_or(has.floor);
    #[cfg(any(test, feature = "sim"))]
    if rules.skip_membership && peer <= newest {
        return Plan::Diff { announce: newest, after: peer };
    }
    if peer == has.processed {
        return Plan::Diff { announce: peer, after: newest };
    }
    let epoch_start = peer.counter() == 0;
    if peer > newest {
        return if epoch_start { Plan::Snap } else { Plan::Trunc { to: newest } };
    }
    if peer == has.floor {
        return Plan::Diff { announce: newest, after: peer };
    }
    let at = match has.zxids.binary_search(&peer) {
        Ok(_) => return Plan::Diff { announce: newest, after: peer },
        Err(at) => at,
    };
    if at == 0 {
        return if rules.log_sync { Plan::ReadLog { after: peer } } else { Plan::Snap };
    }
    if epoch_start {
        Plan::Diff { announce: newest, after: peer }
    } else if has.zxids[at].epoch() == peer.epoch() {
        Plan::Trunc { to: has.zxids[at - 1] }
    } else {
        // The learner may not have the transaction before: a TRUNC must not cross epochs.
        Plan::Snap
    }
}

/// The plan for a learner that says what it has at the end of its log, which is at `peer`: a DIFF only
/// where that is what the leader has there (`ours`), otherwise a snapshot. Equal zxids are no proof
/// where an ensemble was formed anew.
///
/// Where either side does not know, because it has a snapshot there and no transaction, it is a
/// snapshot too. To cut is the learner's decision, which compares; where the leader could not tell it
/// anything, it gets a snapshot. A learner that says nothing is an Apache server.
pub fn agreed(
    plan: Plan,
    peer: Zxid,
    claim: Option<Claim>,
    ours: impl Fn(Zxid) -> Option<u32>,
) -> Plan {
    let Some(claim) = claim else { return plan };
    let same = |end| matches!(end, ClaimedEnd::Print(print) if ours(peer) == Some(print));
    match (plan, claim.end) {
        (_, ClaimedEnd::Foreign) => Plan::Snap,
        (Plan::Diff { .. }, end) if peer > Zxid::ZERO && !same(end) => Plan::Snap,
        (Plan::Trunc { to }, _) if ours(to).is_none() => Plan::Snap,
        _ => plan,
    }
}

/// The plan for a learner that is before the window, with what the log on disk has after `peer`:
/// the transactions to send before those in memory, or None for a snapshot.
///
/// The range must be without a gap from `peer` to `floor` (A20, ZOOKEEPER-2846; A21,
/// ZOOKEEPER-2418), otherwise a snapshot is the only safe thing.
pub fn plan_from_log(
    read: &LogRead,
    peer: Zxid,
    floor: Zxid,
    newest: Zxid,
) -> Option<(Plan, Vec<EncodedTxn>)> {
    let mut last = read.found;
    if last > peer {
        return None;
    }
    for txn in &read.txns {
        if !txn.zxid.follows(last) || txn.zxid <= peer {
            return None;
        }
        last = txn.zxid;
    }
    if last < floor {
        return None;
    }
    let plan = if read.found == peer || peer.counter() == 0 {
        Plan::Diff { announce: newest, after: last }
    } else if read.txns.first().is_some_and(|t| t.zxid.epoch() == peer.epoch()) {
        Plan::Trunc { to: read.found }
    } else {
        return None;
    };
    Some((plan, read.txns.clone()))
}

#[cfg(test)]
mod tests;
