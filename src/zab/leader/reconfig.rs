//! What a leader does when the membership changes (Apache `Leader.tryToCommit`,
//! `getDesignatedLeader`).

use std::collections::BTreeSet;

use super::{Leader, Stage};
use crate::proto::quorum::{commit_and_activate, inform_and_activate};
use crate::types::{Instant, ServerId};
use crate::zab::core::Core;
use crate::zab::membership::Membership;

/// Of a leader that the membership has no place for any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retiring {
    /// Who leads then.
    leader: ServerId,
    /// For how many ticks it waits for its followers to leave: that says that they have heard it.
    ticks: u32,
}

impl Leader {
    /// Whether a quorum of this membership follows in step, this server included.
    pub fn is_quorum_synced(&self, core: &Core, new: &Membership) -> bool {
        let me = core.me();
        let follows =
            |s| self.links.values().any(|l| l.server == s && !l.observer && l.stage.forwards());
        self.retiring.is_none() && new.quorum.current.is_met(|s| s == me || follows(s))
    }

    /// The oldest proposal changes the membership, and both quorums have it.
    pub(super) fn commit_reconfig(&mut self, core: &mut Core, now: Instant) {
        let Some(done) = self.proposals.pop_front() else { return };
        self.committed = done.zxid;
        let txn = core.history.find(done.zxid).cloned();
        let new = txn.as_ref().and_then(|txn| core.config_in(txn));
        let (Some(txn), Some(new)) = (txn, new) else { return };
        let leader = self.designated(core, &new, &done.acks);
        core.activate(now, new);
        for (link, l) in self.links.iter().filter(|(_, l)| l.stage.forwards()) {
            let packet = match l.observer {
                true => inform_and_activate(done.zxid, leader, &txn.bytes),
                false => commit_and_activate(done.zxid, leader),
            };
            core.send(*link, packet);
        }
        self.retire_for(core, leader);
    }

    /// A quorum has the history this leader began with, and what it had seen: that is in force now.
    pub(super) fn activate_initial(&mut self, core: &mut Core, now: Instant) {
        let Some(new) = core.seen.clone() else { return };
        let leader = self.designated(core, &new, &self.history_acks);
        core.activate(now, new);
        self.retire_for(core, leader);
    }

    /// Who leads under the new membership: this server if it votes there in the same place; otherwise
    /// the voter among those that acknowledged the change which has acknowledged most of what
    /// follows.
    fn designated(&self, core: &Core, new: &Membership, acks: &BTreeSet<ServerId>) -> ServerId {
        let me = core.me();
        if core.options.membership.keeps_leader(new, me) {
            return me;
        }
        let votes = |s: &&ServerId| **s != me && new.quorum.current.weight(**s) > 0;
        let mut candidates: BTreeSet<ServerId> = acks.iter().filter(votes).copied().collect();
        for later in &self.proposals {
            let best: BTreeSet<ServerId> = candidates.intersection(&later.acks).copied().collect();
            if best.is_empty() {
                break;
            }
            candidates = best;
        }
        candidates.first().copied().unwrap_or(me)
    }

    fn retire_for(&mut self, core: &mut Core, leader: ServerId) {
        if leader == core.me() {
            return;
        }
        // A learner that hasn't been told UPTODATE is told the new membership with it.
        self.retiring = Some(Retiring { leader, ticks: core.options.sync_limit.max(1) });
    }

    /// A leader that was taken out leaves when its followers have.
    pub(super) fn check_retired(&mut self, core: &mut Core) {
        let active = |l: &super::Link| l.stage == Stage::Active && !l.observer;
        if self.retiring.is_some() && !self.links.values().any(active) {
            self.retire(core);
        }
    }

    /// Nor does it wait for ever.
    pub(super) fn tick_retiring(&mut self, core: &mut Core) {
        let Some(retiring) = &mut self.retiring else { return };
        retiring.ticks = retiring.ticks.saturating_sub(1);
        if retiring.ticks == 0 || !self.has_quorum_of_links(core) {
            self.retire(core);
        }
    }

    fn retire(&self, core: &mut Core) {
        if let Some(retiring) = self.retiring {
            core.leave_for(retiring.leader);
        }
    }
}
