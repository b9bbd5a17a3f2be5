//! A learner introduces itself, hears the leader's epoch, and accepts it or stays out.

use super::{Learner, Phase};
use crate::proto::jute::Jute;
use crate::proto::quorum::{
    Claim, ClaimedEnd, LearnerInfo, PROTOCOL_VERSION, PacketKind, QuorumPacket, ack_epoch,
};
use crate::types::{Epoch, Instant, Zxid};
use crate::zab::action::*;
use crate::zab::core::{Core, mutant};
use crate::zab::options::Standing;
use crate::zab::warning::Warning;

impl Learner {
    pub(super) fn introduce(&mut self, core: &mut Core, now: Instant) {
        if !matches!(self.phase, Phase::Connecting { .. }) {
            return;
        }
        self.phase = Phase::AwaitingEpoch;
        self.reached = true;
        self.deadline = now + core.options.init_time();
        let info = LearnerInfo {
            server: core.me(),
            protocol: PROTOCOL_VERSION,
            config_version: core.options.membership.version,
            rookeeper: true,
            claim: Some(self.claim(core)),
        };
        let kind = if self.observer { PacketKind::ObserverInfo } else { PacketKind::FollowerInfo };
        let zxid = Zxid::new(core.accepted_epoch(), 0);
        core.send(self.link, QuorumPacket::with_data(kind, zxid, info.to_bytes()));
    }

    /// What this server has, for a leader that compares it with its own.
    fn claim(&self, core: &Core) -> Claim {
        if core.standing == Standing::MustResync {
            return Claim { current: Epoch(-1), last: Zxid(-1), end: ClaimedEnd::Unknown };
        }
        let last = self.claimed(core);
        let end = match core.history.print_at(last) {
            _ if core.foreign => ClaimedEnd::Foreign,
            Some(print) => ClaimedEnd::Print(print),
            None => ClaimedEnd::Unknown,
        };
        Claim { current: core.current_epoch(), last, end }
    }

    /// Whether only a snapshot will do: the leader is another rookeeper, and was told so.
    pub(super) fn owes_snapshot(&self, core: &Core) -> bool {
        core.foreign && self.rookeeper
    }

    pub(super) fn take_epoch(
        &mut self,
        core: &mut Core,
        now: Instant,
        offered: Epoch,
    ) -> Result<(), LinkError> {
        let accepted = core.accepted_epoch();
        let (leader, epoch) = (self.leader, offered);
        if offered < accepted {
            let (current, last) = (core.current_epoch(), self.claimed(core));
            core.warn(Warning::LeftOut { leader, epoch, accepted, current, last });
            return Err(LinkError::EpochWentBack { offered, accepted });
        }
        if offered.0 > i64::from(i32::MAX) {
            return Err(LinkError::BadEpoch(offered));
        }
        if core.is_absurd(offered) && !core.is_new() {
            core.warn(Warning::AbsurdEpoch { server: leader, said: offered, accepted });
            return Err(LinkError::AbsurdEpoch { said: offered, accepted });
        }
        self.epoch = Some(offered);
        self.announce(core);
        if offered == accepted {
            // It was accepted before: the answer must not be counted a second time.
            self.ack_epoch(core, Epoch(-1));
        } else {
            self.phase = Phase::SavingAcceptedEpoch;
            if mutant!(core, AcceptedEpochNotSaved) {
                self.ack_epoch(core, core.current_epoch());
            } else {
                core.save_accepted_epoch(now, offered);
            }
        }
        Ok(())
    }

    /// Answers LEADERINFO. A server that needs a snapshot claims zxid -1: it gets one, and isn't
    /// counted. One whose history is only another than its leader's has told a rookeeper so, and is
    /// counted for what it has.
    pub(super) fn ack_epoch(&mut self, core: &mut Core, current: Epoch) {
        self.phase = Phase::AwaitingSync;
        let asks = core.ask_snapshot || (core.foreign && !self.rookeeper);
        let packet = match core.standing {
            Standing::Sound if !asks => ack_epoch(current, self.claimed(core)),
            _ => ack_epoch(Epoch(-1), Zxid(-1)),
        };
        core.send(self.link, packet);
    }
}
