//! A follower that serves observers in its leader's place (Apache `ObserverMaster`).
//!
//! To its observers it is a leader that needs nobody: it offers the epoch it follows in, brings each
//! to what is committed here, and passes on every commit as INFORM. What they ask goes up to the
//! leader as if it were asked here.
//!
//! An observer that comes from another master may know commits that have not arrived here. It waits
//! for them: what it holds of the present epoch is committed, and must not be cut off.

use std::collections::BTreeMap;

use crate::proto::quorum::{
    Claim, PacketKind, QuorumPacket, ack_epoch_current, inform_and_activate, leader_info,
    marked_leader_info, quick_ping, truncation,
};
use crate::types::{Epoch, Instant, LinkId, ServerId, Zxid};
use crate::zab::action::*;
use crate::zab::core::{Core, SyncKind};
use crate::zab::leader::guests::make_room;
use crate::zab::leader::{Introduction, LearnerView};
use crate::zab::sync::{self, Committed, Plan, Rules};

/// How far an observer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Introducing,
    /// LEADERINFO was sent.
    AwaitingAck,
    /// It knows more than is committed here.
    AwaitingCommit {
        last: Zxid,
    },
    /// The log on disk is being read for it.
    ReadingLog {
        last: Zxid,
        read: ReadId,
    },
    /// It gets a snapshot when a walk can begin, or of an image that holds no less than this.
    AwaitingSnapshot {
        last: Zxid,
    },
    /// Everything through NEWLEADER is sent; commits follow as they come.
    Syncing,
    /// UPTODATE was sent.
    Active,
}

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Stage::Introducing => "introducing",
            Stage::AwaitingAck => "awaiting ACKEPOCH",
            Stage::AwaitingCommit { .. } => "awaiting a commit",
            Stage::ReadingLog { .. } => "reading the log",
            Stage::AwaitingSnapshot { .. } => "awaiting a snapshot",
            Stage::Syncing => "syncing",
            Stage::Active => "active",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Link {
    server: ServerId,
    rookeeper: bool,
    claim: Option<Claim>,
    stage: Stage,
    /// How it is being brought up, until it has acknowledged NEWLEADER.
    sync: Option<SyncKind>,
    /// When it counts as silent.
    deadline: Instant,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Master {
    epoch: Epoch,
    committed: Zxid,
    links: BTreeMap<LinkId, Link>,
    ping_at: Instant,
    anonymous: i64,
}

impl Master {
    /// Opens the port: this server follows in `epoch`, and `committed` is committed.
    pub fn new(core: &mut Core, now: Instant, epoch: Epoch, committed: Zxid) -> Master {
        core.act(Action::ListenForObservers);
        let ping_at = now + core.options.ping_period(false);
        Master { epoch, committed, links: BTreeMap::new(), ping_at, anonymous: -1 }
    }

    // Getters.

    pub fn has_link(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    pub fn observers(&self) -> Vec<LearnerView> {
        let known = self.links.iter().filter(|(_, l)| l.stage != Stage::Introducing);
        let view = |(link, l): (&LinkId, &Link)| LearnerView {
            link: *link,
            server: l.server,
            observer: true,
            synced: l.stage == Stage::Active,
        };
        known.map(view).collect()
    }

    pub fn poll_timeout(&self) -> Instant {
        self.ping_at
    }

    // Events.

    pub fn handle_link(&mut self, core: &mut Core, now: Instant, link: LinkId, event: LinkEvent) {
        let deadline = now + core.options.init_time() + core.options.sync_time();
        match event {
            LinkEvent::Up => {
                let (server, stage) = (ServerId(i64::MIN), Stage::Introducing);
                let new =
                    Link { server, rookeeper: false, claim: None, stage, sync: None, deadline };
                self.links.insert(link, new);
            }
            LinkEvent::Packet(packet) => {
                if let Err(why) = self.handle_packet(core, now, link, packet) {
                    core.close(link, why);
                    self.links.remove(&link);
                }
            }
            LinkEvent::Down => {
                self.links.remove(&link);
                core.count_syncing(self.links.values().map(|l| l.sync));
            }
            LinkEvent::Progress => {
                self.links.entry(link).and_modify(|l| l.deadline = deadline);
            }
            LinkEvent::Image(_) => {}
        }
    }

    pub fn handle_log_read(&mut self, core: &mut Core, read: ReadId, found: Option<LogRead>) {
        let reading = |l: &Link| match l.stage {
            Stage::ReadingLog { last, read: r } if r == read => Some(last),
            _ => None,
        };
        let link = self.links.iter().find_map(|(id, l)| reading(l).map(|last| (*id, last)));
        let Some((link, last)) = link else { return };
        let floor = core.history.floor();
        let at = found.as_ref().and_then(|read| Some((read.found, read.print?)));
        let planned = found.and_then(|r| sync::plan_from_log(&r, last, floor, self.committed));
        let (plan, txns) = planned.unwrap_or((Plan::Snap, Vec::new()));
        match self.agreed(core, link, plan, last, at) {
            plan @ (Plan::Diff { .. } | Plan::Trunc { .. }) => {
                core.stats.syncs.log += 1;
                self.open(core, link, plan, &txns, at);
            }
            _ => self.await_snapshot(core, link, last),
        }
    }

    /// Counts an observer among those that are being brought up, or closes its link when there are
    /// too many: whether it may go on.
    fn admit_sync(&mut self, core: &mut Core, link: LinkId, kind: SyncKind) -> bool {
        let others =
            self.links.iter().filter(|(id, l)| **id != link && l.sync == Some(kind)).count();
        if let Err(why) = core.may_sync(kind, others) {
            core.close(link, why);
            self.links.remove(&link);
            return false;
        }
        self.links.entry(link).and_modify(|l| l.sync = Some(kind));
        core.count_syncing(self.links.values().map(|l| l.sync));
        true
    }

    fn await_snapshot(&mut self, core: &mut Core, link: LinkId, last: Zxid) {
        if self.admit_sync(core, link, SyncKind::Snap) {
            self.set_stage(link, Stage::AwaitingSnapshot { last });
            self.send_waiting_snapshots(core);
        }
    }

    /// Goes on with those that wait for a snapshot, as far as that is possible.
    pub fn send_waiting_snapshots(&mut self, core: &mut Core) {
        let waiting = self.links.iter().filter_map(|(id, l)| match l.stage {
            Stage::AwaitingSnapshot { last } => Some((*id, last)),
            _ => None,
        });
        for (link, last) in waiting.collect::<Vec<_>>() {
            let at = core.history.delivered();
            let image = core.usable_image(last.min(at), at, true);
            if let Some(zxid) = image.or_else(|| (!core.snapshots.held).then_some(at)) {
                core.stats.syncs.snap += 1;
                core.send_bare(link, PacketKind::Snap, zxid);
                core.act(Action::SendSnapshot { link, zxid });
                self.finish(core, link, zxid, &[]);
            }
        }
    }

    /// Everything through `zxid` is committed now; with `leader`, the membership changes by it.
    pub fn commit(&mut self, core: &mut Core, zxid: Zxid, leader: Option<ServerId>) {
        self.committed = zxid;
        let data = core.history.find(zxid).map(|t| t.bytes.clone());
        let packet = match (leader, data) {
            (Some(leader), Some(data)) => inform_and_activate(zxid, leader, &data),
            (_, data) => QuorumPacket { kind: PacketKind::Inform, zxid, data, auth: None },
        };
        for (link, l) in &self.links {
            if matches!(l.stage, Stage::Syncing | Stage::Active) {
                core.send(*link, packet.clone());
            }
        }
        let ready = |(id, l): (&LinkId, &Link)| match l.stage {
            Stage::AwaitingCommit { last } if last <= zxid => Some((*id, last)),
            _ => None,
        };
        for (link, last) in self.links.iter().filter_map(ready).collect::<Vec<_>>() {
            self.transfer(core, link, last);
        }
    }

    pub fn handle_timeout(&mut self, core: &mut Core, now: Instant) {
        if now < self.ping_at {
            return;
        }
        self.ping_at = now + core.options.ping_period(self.is_quick());
        let silent = self.links.iter().filter(|(_, l)| l.deadline < now).map(|(id, _)| *id);
        for link in silent.collect::<Vec<_>>() {
            core.close(link, LinkError::Silent);
            self.links.remove(&link);
        }
        let active = self.links.iter().filter(|(_, l)| l.stage == Stage::Active);
        for link in active.map(|(link, _)| *link).collect::<Vec<_>>() {
            self.ping(core, link);
        }
    }

    /// Closes every link and the port.
    pub fn end(&mut self, core: &mut Core) {
        for link in std::mem::take(&mut self.links).into_keys() {
            core.close(link, LinkError::RoleEnded);
        }
        core.count_syncing(std::iter::empty());
        core.act(Action::StopListening);
    }

    // Packets.

    fn handle_packet(
        &mut self,
        core: &mut Core,
        now: Instant,
        link: LinkId,
        packet: QuorumPacket,
    ) -> Result<(), LinkError> {
        let Some(l) = self.links.get_mut(&link) else { return Ok(()) };
        let limit = core.options.sync_time();
        l.deadline = match l.stage {
            Stage::Active => now + limit,
            _ => now + limit + core.options.init_time(),
        };
        let (server, end) = (l.server, Zxid::new(self.epoch, 0));
        match (l.stage, packet.kind) {
            (Stage::Introducing, PacketKind::ObserverInfo) => self.introduce(core, link, &packet),
            (Stage::AwaitingAck, PacketKind::AckEpoch) => {
                ack_epoch_current(&packet)
                    .map_err(|_| LinkError::Undecodable(packet.kind.name()))?;
                self.begin(core, link, packet.zxid);
                Ok(())
            }
            (Stage::Syncing, PacketKind::Ack) if packet.zxid == end => {
                (l.stage, l.sync) = (Stage::Active, None);
                core.count_syncing(self.links.values().map(|l| l.sync));
                core.send_bare(link, PacketKind::UpToDate, Zxid(-1));
                if self.is_quick() {
                    self.ping(core, link);
                }
                Ok(())
            }
            // The acknowledgement of UPTODATE. Observers acknowledge nothing else.
            (Stage::Active, PacketKind::Ack) if packet.zxid.counter() == 0 => Ok(()),
            (Stage::Active, PacketKind::Ping | PacketKind::Request | PacketKind::Revalidate) => {
                core.act(Action::FromLearner { link, server, packet });
                Ok(())
            }
            (stage, kind) => {
                Err(LinkError::Unexpected { packet: kind.name(), phase: stage.name() })
            }
        }
    }

    fn introduce(
        &mut self,
        core: &mut Core,
        link: LinkId,
        packet: &QuorumPacket,
    ) -> Result<(), LinkError> {
        let Introduction { info, .. } = Introduction::read(core, packet)?;
        let mut server = info.server;
        if server == ServerId(i64::MAX) {
            server = ServerId(self.anonymous);
            self.anonymous -= 1;
        }
        let older = self.links.iter().find(|(id, l)| **id != link && l.server == server);
        if let Some(older) = older.map(|(id, _)| *id) {
            core.close(older, LinkError::Replaced);
            self.links.remove(&older);
        }
        let is_guest = |server| !core.options.membership.is_member(server);
        if is_guest(server) {
            let known = self.links.iter().filter(|(id, l)| {
                **id != link && l.stage != Stage::Introducing && is_guest(l.server)
            });
            let guests = known.map(|(id, l)| (*id, l.stage == Stage::Active));
            let max = core.options.guests_max;
            if let Some(oldest) = make_room(guests, max)? {
                core.close(oldest, LinkError::TooManyGuests(max));
                self.links.remove(&oldest);
            }
        }
        if let Some(l) = self.links.get_mut(&link) {
            (l.server, l.rookeeper, l.claim) = (server, info.rookeeper, info.claim);
            l.stage = Stage::AwaitingAck;
            core.send(
                link,
                match l.claim {
                    Some(_) => marked_leader_info(self.epoch),
                    None => leader_info(self.epoch),
                },
            );
        }
        Ok(())
    }

    // Synchronising.

    /// Begins with an observer whose log ends at `last`.
    fn begin(&mut self, core: &mut Core, link: LinkId, last: Zxid) {
        if last.epoch() == self.epoch && last > self.committed && last.counter() > 0 {
            self.set_stage(link, Stage::AwaitingCommit { last });
        } else {
            self.transfer(core, link, last);
        }
    }

    fn transfer(&mut self, core: &mut Core, link: LinkId, last: Zxid) {
        let through = self.committed;
        let zxids: Vec<Zxid> =
            core.history.txns().map(|t| t.zxid).take_while(|z| *z <= through).collect();
        let processed = through.max(Zxid::new(self.epoch, 0));
        let has = Committed { floor: core.history.floor(), zxids: &zxids, processed };
        let rules = Rules {
            force_snapshot: core.options.force_snapshot_sync,
            log_sync: core.options.log_sync,
            #[cfg(any(test, feature = "sim"))]
            skip_membership: false,
        };
        let plan = sync::plan(&has, last, rules);
        let plan = self.agreed(core, link, plan, last, None);
        if plan != Plan::Snap && !self.admit_sync(core, link, SyncKind::Diff) {
            return;
        }
        match plan {
            Plan::Snap => self.await_snapshot(core, link, last),
            Plan::ReadLog { after } => {
                let read = core.new_read();
                self.set_stage(link, Stage::ReadingLog { last, read });
                core.act(Action::ReadLog { read, after, through });
            }
            plan => self.open(core, link, plan, &[], None),
        }
    }

    /// As a leader's: `read` is what the log on disk has where the reading began.
    fn agreed(
        &self,
        core: &Core,
        link: LinkId,
        plan: Plan,
        last: Zxid,
        read: Option<(Zxid, u32)>,
    ) -> Plan {
        let claim = self.links.get(&link).and_then(|l| l.claim);
        sync::agreed(plan, last, claim, |zxid| core.print_at(read, zxid))
    }

    /// Sends the opening, `first` from the log on disk, then what is committed after it, and
    /// NEWLEADER; from here on the observer gets every commit.
    fn open(
        &mut self,
        core: &mut Core,
        link: LinkId,
        plan: Plan,
        first: &[EncodedTxn],
        read: Option<(Zxid, u32)>,
    ) {
        let after = match plan {
            Plan::Diff { announce, after } => {
                core.stats.syncs.diff += u64::from(first.is_empty());
                core.send_bare(link, PacketKind::Diff, announce);
                after
            }
            Plan::Trunc { to } => {
                core.stats.syncs.trunc += u64::from(first.is_empty());
                let says = self.links.get(&link).is_some_and(|l| l.claim.is_some());
                match core.print_at(read, to).filter(|_| says) {
                    Some(print) => core.send(link, truncation(to, print)),
                    None => core.send_bare(link, PacketKind::Trunc, to),
                }
                to
            }
            // Neither is opened like this.
            Plan::Snap | Plan::ReadLog { .. } => return,
        };
        self.finish(core, link, after, first);
    }

    /// Sends `first`, then what is committed after it or after `after`, then NEWLEADER.
    fn finish(&mut self, core: &mut Core, link: LinkId, after: Zxid, first: &[EncodedTxn]) {
        let after = first.last().map_or(after, |t| t.zxid);
        let committed = core.history.after(after).take_while(|t| t.zxid <= self.committed);
        let txns: Vec<EncodedTxn> = first.iter().chain(committed).cloned().collect();
        for EncodedTxn { zxid, bytes, .. } in txns {
            core.send(link, QuorumPacket::with_data(PacketKind::Proposal, zxid, bytes));
            core.send_bare(link, PacketKind::Commit, zxid);
        }
        let text = core.last_seen();
        let zxid = Zxid::new(self.epoch, 0);
        core.send(link, QuorumPacket::with_data(PacketKind::NewLeader, zxid, text));
        self.set_stage(link, Stage::Syncing);
    }

    fn set_stage(&mut self, link: LinkId, stage: Stage) {
        if let Some(l) = self.links.get_mut(&link) {
            l.stage = stage;
        }
    }

    // Pings.

    fn is_quick(&self) -> bool {
        self.links.values().all(|l| l.rookeeper || l.stage == Stage::Introducing)
    }

    fn ping(&self, core: &mut Core, link: LinkId) {
        let silence = i32::try_from(core.options.quick_silence().as_millis()).unwrap_or(i32::MAX);
        let packet = match self.is_quick() {
            true => quick_ping(self.committed, silence),
            false => QuorumPacket::new(PacketKind::Ping, self.committed),
        };
        core.send(link, packet);
    }
}
