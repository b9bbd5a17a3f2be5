//! What a learner says and applies once it is durable.

use super::Learner;
use crate::proto::quorum::PacketKind;
use crate::zab::action::*;
use crate::zab::core::Core;

impl Learner {
    /// One acknowledgement for each proposal: a leader looks each zxid up, and commits in order.
    pub(super) fn ack_durable(&mut self, core: &mut Core) {
        if !self.phase.has_acked() {
            return;
        }
        while let Some(zxid) = self.to_ack.front().copied()
            && zxid <= core.history.durable()
        {
            self.to_ack.pop_front();
            core.send_bare(self.link, PacketKind::Ack, zxid);
        }
    }

    /// Applies what is committed; on a voter no further than it is durable (A18, ZOOKEEPER-4882).
    pub(super) fn deliver(&mut self, core: &mut Core) {
        core.know_committed(self.committed);
        let through =
            if self.observer { self.committed } else { self.committed.min(core.history.durable()) };
        core.deliver_through(through, true);
        self.pass_syncs(core);
    }

    /// Passes on the answers to syncs before which everything is delivered.
    pub(super) fn pass_syncs(&mut self, core: &mut Core) {
        let delivered = core.history.delivered();
        while self.held_syncs.front().is_some_and(|(zxid, _)| *zxid <= delivered)
            && let Some((_, packet)) = self.held_syncs.pop_front()
        {
            core.act(Action::FromLeader(packet));
        }
    }
}
