//! What a learner does when the membership changes.

use bytes::Bytes;

use super::Learner;
use crate::types::{Instant, ServerId, Zxid};
use crate::zab::action::*;
use crate::zab::core::Core;

impl Learner {
    /// NEWLEADER carries the config that the leader has seen last.
    pub(super) fn take_offer(&mut self, core: &mut Core, now: Instant, text: Bytes) {
        let Some(new) = core.read_config(&text) else {
            return core.act(Action::ConfigSeen(text));
        };
        let given_up = core.seen.as_ref().is_some_and(|seen| {
            seen.version > new.version && core.history.find(Zxid(seen.version)).is_none()
        });
        if given_up {
            core.unsee(now);
        }
        core.see(now, new.clone());
        self.offered = Some(new);
    }

    /// UPTODATE: that config is in force, as far as it is committed. False when this server has to
    /// look again under it.
    pub(super) fn take_membership(&mut self, core: &mut Core, now: Instant) -> bool {
        let Some(new) = self.offered.take() else { return true };
        let version = Zxid(new.version);
        let under_way = version > self.committed && Some(version.epoch()) == self.epoch;
        if version.counter() != 0 && under_way {
            // A proposal of this epoch: its commit will say so. An older one is in force since the
            // leader is established, even if nobody's history has it any more.
            return true;
        }
        let Some(old) = core.activate(now, new) else {
            let stays = self.observer == core.options.membership.is_observer(core.me());
            if !stays {
                core.leave(Why::Reconfigured);
            }
            return stays;
        };
        let now_in_force = &core.options.membership;
        let same_leader = !old.is_voter(self.leader) || old.keeps_leader(now_in_force, self.leader);
        if self.observer == now_in_force.is_observer(core.me())
            && now_in_force.is_voter(self.leader)
            && same_leader
        {
            return true;
        }
        core.leave(Why::Reconfigured);
        false
    }

    /// The commit of a change: the new config is in force, under `leader`.
    pub(super) fn commit_change(
        &mut self,
        core: &mut Core,
        now: Instant,
        zxid: Zxid,
        leader: ServerId,
    ) -> Result<(), LinkError> {
        let new = core.history.find(zxid).and_then(|txn| core.config_in(txn));
        self.take_commit(core, zxid, Some(leader))?;
        if new.and_then(|new| core.activate(now, new)).is_none() {
            return Ok(());
        }
        let observer = core.options.membership.is_observer(core.me());
        if observer != self.observer || leader != self.leader {
            core.leave_for(leader);
        }
        Ok(())
    }
}
