//! Whose accepted epoch counts, and what becomes of a learner whose own is later than the leader's.
//!
//! The next epoch is later than what the voters have accepted that came, and this server; nobody else's
//! word counts. An accepted epoch that no honest history leads to ([`Core::is_absurd`]) costs its link.
//!
//! A learner that has accepted a later epoch than the one a quorum follows in must refuse this one for
//! ever. It stays out, unless a later epoch can begin without any loss: then the leader leaves its own,
//! and begins the next above what that learner has accepted. That is where the learner cannot be
//! elected, whoever votes: its current epoch is earlier (every quorum has a member that has saved this
//! one), or it is this one and its log ends before what is committed; or where its log ends with a
//! transaction of this leader's. Only a rookeeper says so much of itself ([`Claim`]).

use super::{Introduction, Leader, Link, Phase, Stage};
use crate::proto::quorum::{Claim, ClaimedEnd, PacketKind, QuorumPacket};
use crate::proto::quorum::{leader_info, marked_leader_info};
use crate::types::{Epoch, Instant, LinkId, ServerId};
use crate::zab::action::*;
use crate::zab::core::{Core, EPOCH_LAST, mutant};
use crate::zab::warning::Warning;

impl Leader {
    pub(super) fn introduce(
        &mut self,
        core: &mut Core,
        now: Instant,
        link: LinkId,
        packet: &QuorumPacket,
    ) -> Result<(), LinkError> {
        let Introduction { info, accepted } = Introduction::read(core, packet)?;
        let mut server = info.server;
        if core.options.membership.is_voter(server)
            && core.is_absurd(accepted)
            && !mutant!(core, OutsiderEpochCounts)
        {
            let (said, accepted) = (accepted, core.accepted_epoch());
            core.warn(Warning::AbsurdEpoch { server, said, accepted });
            return Err(LinkError::AbsurdEpoch { said, accepted });
        }
        if server == ServerId(i64::MAX) {
            // An observer without an id of its own (Apache's OBSERVER_ID).
            server = ServerId(self.anonymous);
            self.anonymous -= 1;
        }
        let older = self.links.iter().find(|(id, l)| **id != link && l.server == server);
        if let Some(older) = older.map(|(id, _)| *id) {
            core.close(older, LinkError::Replaced);
            self.forget(core, older);
        }
        self.admit(core, link, server)?;
        let Some(l) = self.links.get_mut(&link) else { return Ok(()) };
        l.server = server;
        l.observer = packet.kind == PacketKind::ObserverInfo;
        l.rookeeper = info.rookeeper;
        l.claim = info.claim;
        l.stage = Stage::AwaitingEpoch;
        if self.epoch.is_some_and(|epoch| accepted < epoch) {
            // Whatever it once promised is not on its disk: it promises again.
            self.epoch_acks.remove(&server);
        }
        let Some(l) = self.links.get(&link) else { return Ok(()) };
        let counts = l.counts(core) || mutant!(core, ObserversCounted);
        let votes = l.votes(core);
        let Some(epoch) = self.epoch else {
            if votes || mutant!(core, OutsiderEpochCounts) {
                self.highest = self.highest.max(accepted);
            }
            if counts {
                self.came.insert(server);
            }
            self.advance(core, now);
            return Ok(());
        };
        if accepted > epoch && votes && self.gives_way(core, info.claim) {
            core.later = core.later.max(accepted);
            core.leave(Why::LaterEpoch { server, accepted });
            return Ok(());
        }
        if accepted > epoch && core.options.membership.is_member(server) && self.is_serving() {
            let claim = info.claim.map(|claim| (claim.current, claim.last));
            core.warn(Warning::StaysOut { server, accepted, epoch, claim });
        }
        // One that has accepted a later epoch hears this one too, and refuses it.
        if self.may_hear_epoch(votes) {
            self.send_epoch(core, link);
        }
        Ok(())
    }

    /// Whether a voter that has accepted a later epoch is worth leaving this one for.
    fn gives_way(&self, core: &Core, claim: Option<Claim>) -> bool {
        if !self.is_serving() || mutant!(core, LaterEpochDeposes) {
            // It may be needed for a quorum, and nobody is served.
            return true;
        }
        let (Some(epoch), Some(claim)) = (self.epoch, claim) else { return false };
        let ours = || match claim.end {
            ClaimedEnd::Print(print) => core.history.print_at(claim.last) == Some(print),
            _ => false,
        };
        claim.current < epoch
            || (claim.current == epoch && (claim.last < self.committed() || ours()))
    }

    /// A quorum has come: the epoch after all that its voters have accepted begins.
    pub(super) fn begin_epoch(&mut self, core: &mut Core, now: Instant) {
        let epoch = Epoch(self.highest.0 + 1);
        if epoch > EPOCH_LAST {
            return core.leave(Why::EpochsUsedUp { accepted: self.highest });
        }
        self.epoch = Some(epoch);
        self.phase = Phase::SavingAcceptedEpoch;
        core.number_first_config(now, epoch);
        core.save_accepted_epoch(now, epoch);
    }

    /// Those without a vote hear of an epoch once a quorum has accepted it. What they accept is not
    /// asked for when the next one is chosen, so it must not be later than that.
    fn may_hear_epoch(&self, votes: bool) -> bool {
        match self.phase {
            Phase::CollectingEpochs | Phase::SavingAcceptedEpoch => false,
            Phase::CollectingAcks => votes,
            Phase::Synchronising | Phase::Serving => true,
        }
    }

    /// Tells the epoch to all who wait for it and may hear it.
    pub(super) fn send_epochs(&mut self, core: &mut Core) {
        let waiting = self
            .links
            .iter()
            .filter(|(_, l)| l.stage == Stage::AwaitingEpoch && self.may_hear_epoch(l.votes(core)));
        for link in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.send_epoch(core, link);
        }
    }

    fn send_epoch(&mut self, core: &mut Core, link: LinkId) {
        if let (Some(epoch), Some(l)) = (self.epoch, self.links.get_mut(&link)) {
            l.stage = Stage::AwaitingAck;
            let marked = l.claim.is_some();
            core.send(link, if marked { marked_leader_info(epoch) } else { leader_info(epoch) });
        }
    }
}

impl Link {
    /// Whether it is a voter's: by the config in force, or by the one that was seen.
    fn votes(&self, core: &Core) -> bool {
        let voter = core.options.membership.is_voter(self.server) && self.counts(core);
        voter || mutant!(core, ObserversCounted)
    }
}
