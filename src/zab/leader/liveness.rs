//! Who is alive: pings, silence, a leader's own quorum, and the syncs that a round of pings confirms.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::action::*;
use super::super::core::Core;
use super::super::election::Vote;
use super::{Leader, Link, Phase, Stage};
use crate::proto::election::Notification;
use crate::proto::quorum::{PacketKind, QuorumPacket, quick_ping};
use crate::types::{Instant, LinkId, ServerId, Zxid};

/// Syncs that wait for a round of pings, so that one round serves all that came before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Syncs {
    /// Token and the zxid that must be delivered, in the order of the requests.
    pub(super) waiting: VecDeque<(u64, Zxid, u64)>,
    /// Rounds begun, and completed.
    pub(super) begun: u64,
    pub(super) confirmed: u64,
    /// For the round under way: how many answers each link must have given.
    pub(super) expected: BTreeMap<LinkId, u64>,
}

impl Leader {
    /// Voters with a link that isn't silent, and this server, are enough.
    pub(super) fn has_quorum_of_links(&self, core: &Core) -> bool {
        let me = core.me();
        core.options
            .membership
            .quorum
            .is_met(|s| s == me || self.links.values().any(|l| l.server == s && l.counts(core)))
    }

    pub(super) fn check_alone(&mut self, core: &mut Core, now: Instant) {
        if self.is_serving() || self.has_quorum_of_links(core) {
            self.alone_since = None;
            return;
        }
        let since = *self.alone_since.get_or_insert(now);
        if now >= since + core.options.establish_patience {
            core.leave(Why::NotEstablished);
        }
    }

    /// A voter looks for a leader and says for whom it votes. Within a round a vote only ever gets
    /// better, so one that is better than the vote this server was elected by is lost for it; when
    /// too many are, nobody will come, and there is another leader to follow. (Apache waits for
    /// `initLimit`, or `leader.maxTimeToWaitForEpoch`.)
    pub fn handle_vote(&mut self, core: &mut Core, from: ServerId, n: &Notification) {
        let vote = Vote { leader: n.leader, zxid: n.zxid, peer_epoch: n.peer_epoch };
        let members = &core.options.membership;
        let mute = n.zxid == Zxid(-1);
        let better = n.round == core.round && vote.beats(&core.vote, members);
        if self.phase != Phase::CollectingEpochs || mute || !better {
            return;
        }
        self.lost_votes.insert(from);
        if !members.quorum.is_met(|s| !self.lost_votes.contains(&s)) {
            core.leave(Why::Outvoted(vote.leader));
        }
    }

    pub(super) fn drop_silent(&mut self, core: &mut Core, now: Instant) {
        let limit = core.options.sync_time();
        let verdict = |l: &Link| {
            if l.deadline < now {
                return Some(LinkError::Silent);
            }
            let (zxid, since) = l.watched?;
            (l.stage == Stage::Active && since + limit < now).then_some(LinkError::AckOverdue(zxid))
        };
        let silent = self.links.iter().filter_map(|(id, l)| verdict(l).map(|why| (*id, why)));
        for (link, why) in silent.collect::<Vec<_>>() {
            core.close(link, why);
            self.forget(core, link);
        }
    }

    pub(super) fn ping_all(&mut self, core: &mut Core) {
        let active = self.links.iter().filter(|(_, l)| l.stage == Stage::Active);
        for link in active.map(|(link, _)| *link).collect::<Vec<_>>() {
            self.ping(core, link);
        }
    }

    pub(super) fn ping(&mut self, core: &mut Core, link: LinkId) {
        let silence = i32::try_from(core.options.quick_silence().as_millis()).unwrap_or(i32::MAX);
        let packet = match self.is_quick() {
            true => quick_ping(self.last_proposed, silence),
            false => QuorumPacket::new(PacketKind::Ping, self.last_proposed),
        };
        if let Some(l) = self.links.get_mut(&link) {
            l.pings_sent += 1;
            core.send(link, packet);
        }
    }

    /// Whether every learner is a rookeeper, so that all of them may leave a silent leader sooner
    /// than Apache's would. One that isn't, even an observer, keeps Apache's times for all: a learner
    /// that leaves alone finds nobody.
    pub(super) fn is_quick(&self) -> bool {
        self.links.values().all(|l| l.rookeeper || l.stage == Stage::Introducing)
    }

    // Syncs, confirmed by a quorum (better than Apache, whose leader answers at once: C9).

    pub(super) fn begin_round(&mut self, core: &mut Core) {
        self.ping_all(core);
        self.syncs.begun = self.syncs.confirmed + 1;
        let active = self.links.iter().filter(|(_, l)| l.stage == Stage::Active && !l.observer);
        self.syncs.expected = active.map(|(id, l)| (*id, l.pings_sent)).collect();
        self.check_round(core);
    }

    pub(super) fn check_round(&mut self, core: &mut Core) {
        if self.syncs.begun == self.syncs.confirmed {
            return;
        }
        let me = core.me();
        let answered = |(id, sent): (&LinkId, &u64)| {
            let l = self.links.get(id)?;
            (l.pings_answered >= *sent).then_some(l.server)
        };
        let mut heard: BTreeSet<ServerId> =
            self.syncs.expected.iter().filter_map(answered).collect();
        heard.insert(me);
        if !core.options.membership.quorum.is_met_by(&heard) {
            return;
        }
        self.syncs.confirmed = self.syncs.begun;
        self.syncs.expected.clear();
        self.answer_syncs(core);
        if !self.syncs.waiting.is_empty()
            && self.syncs.waiting.iter().any(|w| w.2 > self.syncs.begun)
        {
            self.begin_round(core);
        }
    }

    pub(super) fn answer_syncs(&mut self, core: &mut Core) {
        let delivered = core.history.delivered().max(Zxid::new(self.epoch.unwrap_or_default(), 0));
        while let Some((token, zxid, round)) = self.syncs.waiting.front().copied()
            && round <= self.syncs.confirmed
            && zxid <= delivered
        {
            self.syncs.waiting.pop_front();
            core.act(Action::Synced { token });
        }
    }
}
