//! Bringing one learner to the leader's history: carries out what [`sync::plan`] decided.
//!
//! On the wire: DIFF, TRUNC or SNAP with its stream; each committed transaction as PROPOSAL and
//! COMMIT, to observers too; for followers the outstanding proposals without COMMIT; then NEWLEADER.
//! Everything a snapshot contains, and everything after it that was committed, comes before
//! NEWLEADER (A10, ZOOKEEPER-3104), because with its answer the learner promises to hold it.

use super::super::action::*;
use super::super::core::{Core, SyncKind, mutant};
use super::super::sync::{self, Committed, Plan, Rules};
use super::super::warning::Warning;
use super::{Leader, Stage};
use crate::proto::quorum::{ClaimedEnd, PacketKind, QuorumPacket, truncation};
use crate::types::{LinkId, ServerId, Zxid};

impl Leader {
    /// What is committed, or will be with this leader's history.
    fn committed_or_initial(&self, core: &Core) -> Zxid {
        if self.is_serving() { self.committed } else { core.history.last() }
    }

    /// Begins with a learner whose log ends at `last`.
    pub(super) fn transfer(&mut self, core: &mut Core, link: LinkId, last: Zxid) {
        let committed = self.committed_or_initial(core);
        let zxids: Vec<Zxid> =
            core.history.txns().map(|t| t.zxid).take_while(|z| *z <= committed).collect();
        let processed = if self.is_serving() {
            committed.max(Zxid::new(self.epoch.unwrap_or_default(), 0))
        } else {
            committed
        };
        let has = Committed { floor: core.history.floor(), zxids: &zxids, processed };
        let rules = Rules {
            force_snapshot: core.options.force_snapshot_sync,
            log_sync: core.options.log_sync,
            #[cfg(any(test, feature = "sim"))]
            skip_membership: mutant!(core, DiffWithoutMembership),
        };
        let plan = sync::plan(&has, last, rules);
        let plan = self.agreed(core, link, plan, last, None);
        if plan != Plan::Snap && !self.admit_sync(core, link, SyncKind::Diff) {
            return;
        }
        match plan {
            Plan::Diff { announce, after } => {
                core.stats.syncs.diff += 1;
                self.open(core, link, (PacketKind::Diff, None), announce, &[], after);
            }
            Plan::Trunc { to } => {
                let print = core.history.print_at(to);
                self.open(core, link, (PacketKind::Trunc, print), to, &[], to);
            }
            Plan::Snap => self.await_snapshot(core, link, last),
            Plan::ReadLog { after } => {
                let read = core.new_read();
                self.set_stage(link, Stage::ReadingLog { last, read });
                core.act(Action::ReadLog { read, after, through: committed });
            }
        }
    }

    /// Goes on when the log on disk was read for a learner whose log ends at `last`.
    pub(super) fn transfer_from_log(
        &mut self,
        core: &mut Core,
        link: LinkId,
        last: Zxid,
        found: Option<LogRead>,
    ) {
        let newest = self.committed_or_initial(core);
        let floor = core.history.floor();
        let at = found.as_ref().and_then(|read| Some((read.found, read.print?)));
        let planned = found.and_then(|read| sync::plan_from_log(&read, last, floor, newest));
        let (plan, txns) = planned.unwrap_or((Plan::Snap, Vec::new()));
        match self.agreed(core, link, plan, last, at) {
            Plan::Diff { announce, after } => {
                core.stats.syncs.log += 1;
                self.open(core, link, (PacketKind::Diff, None), announce, &txns, after);
            }
            Plan::Trunc { to } => {
                core.stats.syncs.log += 1;
                let after = txns.last().map_or(to, |t| t.zxid);
                self.open(
                    core,
                    link,
                    (PacketKind::Trunc, at.map(|(_, print)| print)),
                    to,
                    &txns,
                    after,
                );
            }
            _ => self.await_snapshot(core, link, last),
        }
    }

    /// The plan, or a snapshot where the learner says that its history is another
    /// ([`sync::agreed`]). `read` is what the log on disk has where the reading began.
    fn agreed(
        &self,
        core: &mut Core,
        link: LinkId,
        plan: Plan,
        last: Zxid,
        read: Option<(Zxid, u32)>,
    ) -> Plan {
        let Some(l) = self.links.get(&link) else { return plan };
        if mutant!(core, DiffWithoutDigest) {
            return plan;
        }
        let agreed = sync::agreed(plan, last, l.claim, |zxid| core.print_at(read, zxid));
        let foreign = match l.claim.map(|claim| claim.end) {
            Some(ClaimedEnd::Foreign) => true,
            Some(ClaimedEnd::Print(theirs)) => {
                core.print_at(read, last).is_some_and(|ours| ours != theirs)
            }
            _ => false,
        };
        if foreign {
            core.warn(Warning::HistoryDiffers { server: l.server, at: last });
        }
        agreed
    }

    /// Counts a learner among those that are being brought up, or closes its link when there are too
    /// many: whether it may go on. Whoever has a vote may.
    fn admit_sync(&mut self, core: &mut Core, link: LinkId, kind: SyncKind) -> bool {
        let others =
            self.links.iter().filter(|(id, l)| **id != link && l.sync == Some(kind)).count();
        let Some(l) = self.links.get_mut(&link) else { return false };
        let votes = core.options.membership.is_voter(l.server);
        match core.may_sync(kind, others) {
            Err(why) if !votes => {
                core.close(link, why);
                self.forget(core, link);
                false
            }
            _ => {
                l.sync = Some(kind);
                core.count_syncing(self.links.values().map(|l| l.sync));
                true
            }
        }
    }

    /// Sends a snapshot as soon as there is one, or a walk can begin. What a voter gets holds
    /// everything that is committed: an image of less would make it forget what was committed by its
    /// word. (The leader's own disk may be behind the quorum, so the state may have to get there.)
    /// An observer's word does not count, so it may have an image that is older, but not older than
    /// its own log.
    fn await_snapshot(&mut self, core: &mut Core, link: LinkId, last: Zxid) {
        if !self.admit_sync(core, link, SyncKind::Snap) {
            return;
        }
        self.uncount(link, Zxid::ZERO);
        let counts = self.links.get(&link).is_none_or(|l| l.counts(core));
        let committed = self.committed_or_initial(core);
        let at_least = if counts { committed } else { committed.min(last) };
        self.set_stage(link, Stage::AwaitingSnapshot { at_least });
        self.send_waiting_snapshots(core);
    }

    /// The learner is about to forget the end of its log. What it acknowledged of outstanding
    /// proposals mustn't count any more, or they could be committed by the word of a server that no
    /// longer has them. Apache doesn't do this: its leader tells a follower that reconnects with
    /// outstanding proposals to cut them off, and commits them with its earlier acknowledgement.
    fn uncount(&mut self, link: LinkId, after: Zxid) {
        if let Some(server) = self.links.get(&link).map(|l| l.server) {
            self.uncount_server(server, after);
        }
    }

    fn uncount_server(&mut self, server: ServerId, after: Zxid) {
        for proposal in self.proposals.iter_mut().filter(|p| p.zxid > after) {
            proposal.acks.remove(&server);
        }
    }

    /// What a link acknowledged before NEWLEADER and is not committed; it counts from here on, or not
    /// at all.
    pub(super) fn take_early(&mut self, link: LinkId) -> Vec<Zxid> {
        let early =
            self.proposals.iter_mut().filter_map(|p| p.early.remove(&link).then_some(p.zxid));
        early.collect()
    }

    /// Acknowledgements that wait for the one of NEWLEADER.
    #[cfg(test)]
    pub fn early_acks(&self) -> usize {
        self.proposals.iter().map(|p| p.early.len()).sum()
    }

    /// A server comes (back) with a log that ends at `last`. What it acknowledged above that on
    /// another link its disk has lost; and it will acknowledge NEWLEADER again, which is also where
    /// it says that the epoch is still saved.
    pub(super) fn take_back(&mut self, server: ServerId, last: Zxid) {
        self.uncount_server(server, last);
        self.history_acks.remove(&server);
    }

    /// Goes on with those that wait for a snapshot, as far as that is possible.
    pub(in super::super) fn send_waiting_snapshots(&mut self, core: &mut Core) {
        let waiting = self.links.iter().filter_map(|(id, l)| match l.stage {
            Stage::AwaitingSnapshot { at_least } => Some((*id, at_least)),
            _ => None,
        });
        for (link, at_least) in waiting.collect::<Vec<_>>() {
            let mut at = core.history.delivered();
            if self.is_serving() {
                at = at.max(Zxid::new(self.epoch.unwrap_or_default(), 0));
            } else {
                // The whole history, though it isn't committed yet. Nobody is served from it.
                core.deliver_through(core.history.last(), false);
                at = core.history.last();
            }
            let image = core.usable_image(at_least, at, self.is_serving());
            if image.is_none() && (at < at_least || core.snapshots.held) {
                continue;
            }
            let at = image.unwrap_or(at);
            core.stats.syncs.snap += 1;
            core.send_bare(link, PacketKind::Snap, at);
            if mutant!(core, NewLeaderEarly) {
                self.send_new_leader(core, link);
            }
            core.act(Action::SendSnapshot { link, zxid: at });
            self.finish(core, link, &[], at);
        }
    }

    /// Sends the opening, for a TRUNC with the print of the transaction at its end, and the rest.
    fn open(
        &mut self,
        core: &mut Core,
        link: LinkId,
        (kind, print): (PacketKind, Option<u32>),
        zxid: Zxid,
        first: &[EncodedTxn],
        after: Zxid,
    ) {
        if kind == PacketKind::Trunc && first.is_empty() {
            match core.history.after(after).next() {
                None => core.stats.syncs.trunc += 1,
                Some(_) => core.stats.syncs.trunc_diff += 1,
            }
        }
        if kind == PacketKind::Trunc {
            self.uncount(link, zxid);
        }
        let says = self.links.get(&link).is_some_and(|l| l.claim.is_some());
        match print.filter(|_| says && !mutant!(core, DiffWithoutDigest)) {
            Some(print) => core.send(link, truncation(zxid, print)),
            None => core.send_bare(link, kind, zxid),
        }
        if mutant!(core, NewLeaderEarly) {
            self.send_new_leader(core, link);
        }
        self.finish(core, link, first, after);
    }

    /// Sends `first`, then what the window has after `after`, then NEWLEADER; from here on the
    /// learner gets every broadcast.
    fn finish(&mut self, core: &mut Core, link: LinkId, first: &[EncodedTxn], after: Zxid) {
        let committed = self.committed_or_initial(core);
        let observer = self.links.get(&link).is_none_or(|l| l.observer);
        let mut txns: Vec<EncodedTxn> = first.to_vec();
        txns.extend(core.history.after(after).cloned());
        if mutant!(core, SyncSkipsNewest) && txns.last().is_some_and(|t| t.zxid <= committed) {
            txns.pop();
        }
        for txn in txns {
            let zxid = txn.zxid;
            if zxid > committed && observer {
                // An observer gets these by INFORM when they are committed.
                break;
            }
            core.send(link, QuorumPacket::with_data(PacketKind::Proposal, zxid, txn.bytes));
            if zxid <= committed {
                core.send_bare(link, PacketKind::Commit, zxid);
            }
        }
        if !mutant!(core, NewLeaderEarly) {
            self.send_new_leader(core, link);
        }
        self.set_stage(link, Stage::Syncing);
    }

    fn send_new_leader(&self, core: &mut Core, link: LinkId) {
        let zxid = Zxid::new(self.epoch.unwrap_or_default(), 0);
        let text = core.last_seen();
        core.send(link, QuorumPacket::with_data(PacketKind::NewLeader, zxid, text));
    }

    fn set_stage(&mut self, link: LinkId, stage: Stage) {
        if let Some(l) = self.links.get_mut(&link) {
            l.stage = stage;
        }
    }
}
