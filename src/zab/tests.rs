//! Transcripts of one peer: what it is told, and what it does about it. The names are those of the
//! failures that each of them once was, by JIRA id.

mod epochs;
mod leader;
mod learner;
mod reconfig;
mod returns;

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::proto::jute::Jute;
use crate::proto::quorum::{LearnerInfo, PROTOCOL_VERSION, ack_epoch, leader_info};

fn z(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

fn txn(zxid: Zxid) -> EncodedTxn {
    EncodedTxn::new(zxid, Bytes::copy_from_slice(&zxid.0.to_be_bytes()))
}

fn one_line(text: &Bytes) -> String {
    String::from_utf8_lossy(text).replace('\n', " ")
}

fn short(zxid: Zxid) -> String {
    match zxid {
        Zxid(-1) => "-1".to_owned(),
        zxid => format!("{}:{}", zxid.epoch(), zxid.counter()),
    }
}

/// A disk with the transactions 1 to `n` of an epoch that was accepted and joined.
fn history(epoch: i64, n: u32) -> DiskState {
    DiskState {
        accepted_epoch: Epoch(epoch),
        current_epoch: Epoch(epoch),
        last: z(epoch, n),
        recent: (1..=n).map(|c| txn(z(epoch, c))).collect(),
        recent_after: Zxid::ZERO,
        standing: Standing::Sound,
    }
}

/// A peer, and what it has asked for.
struct Bench {
    peer: Peer,
    now: Instant,
    ops: VecDeque<(OpId, DiskOp)>,
    said: Vec<String>,
    votes: Vec<(ServerId, Notification)>,
    warnings: Vec<Warning>,
    up: LinkId,
}

impl Bench {
    /// Server `id` of three voters and the observer 9, which has just started.
    fn new(id: i64, disk: DiskState) -> Bench {
        Bench::with(id, disk, |_| {})
    }

    fn with(id: i64, disk: DiskState, change: impl FnOnce(&mut Options)) -> Bench {
        let members = Membership::majority((1..=3).map(ServerId), [ServerId(9)]);
        let mut options = Options::new(ServerId(id), members);
        options.tick = Duration::from_secs(1);
        change(&mut options);
        let now = Instant::from_millis(1000);
        let peer = Peer::new(options, disk, now).expect("the disk fits");
        let (ops, said, votes, warnings) = Default::default();
        let mut bench = Bench { peer, now, ops, said, votes, warnings, up: LinkId(0) };
        bench.drain();
        bench
    }

    fn drain(&mut self) {
        while let Some(action) = self.peer.poll_action() {
            let name = |link: LinkId| match link.0 < LINK_OUTBOUND {
                true => link.0.to_string(),
                false => "up".to_owned(),
            };
            self.said.push(match action {
                Action::SendNotification { to, notification } => {
                    self.votes.push((to, notification));
                    continue;
                }
                Action::Connect { link, to } => {
                    self.up = link;
                    format!("connect {to}")
                }
                Action::ConnectToMaster { link, to } => {
                    self.up = link;
                    format!("connect to master {to}")
                }
                Action::Listen => "listen".to_owned(),
                Action::ListenForObservers => "listen for observers".to_owned(),
                Action::StopListening => "stop listening".to_owned(),
                Action::Send { link, packet } => {
                    format!("{}: {} {}", name(link), packet.kind.name(), short(packet.zxid))
                }
                Action::SendSnapshot { link, zxid } => {
                    format!("{}: snapshot at {}", name(link), short(zxid))
                }
                Action::CloseLink { link, why } => format!("close {}: {why}", name(link)),
                Action::Disk { op, what } => {
                    let text = match &what {
                        DiskOp::Append(txn) => format!("disk: append {}", short(txn.zxid)),
                        DiskOp::SaveAcceptedEpoch(e) => format!("disk: accepted {e}"),
                        DiskOp::SaveCurrentEpoch(e) => format!("disk: current {e}"),
                        DiskOp::Truncate(to) => format!("disk: cut {}", short(*to)),
                        DiskOp::SaveConfig { text, active, keep_next } => {
                            let what = match (active, keep_next) {
                                (true, true) => "config beside the next",
                                (true, false) => "config",
                                _ => "next config",
                            };
                            format!("disk: {what} {}", one_line(text))
                        }
                        DiskOp::InstallSnapshot { zxid, .. } => {
                            format!("disk: install {}", short(*zxid))
                        }
                    };
                    self.ops.push_back((op, what));
                    text
                }
                Action::ReadLog { after, through, .. } => {
                    format!("read log {} to {}", short(after), short(through))
                }
                Action::LoadState { through } => format!("load {}", short(through)),
                Action::Deliver { txn, committed: true } => format!("apply {}", short(txn.zxid)),
                Action::Deliver { txn, .. } => format!("apply {} uncommitted", short(txn.zxid)),
                Action::RoleChanged(change) => match change {
                    RoleChange::Looking(why) => format!("looking: {why}"),
                    RoleChange::Following { leader, serving: true, .. } => {
                        format!("serving under {leader}")
                    }
                    RoleChange::Leading { epoch, serving: true } => format!("leading {epoch}"),
                    RoleChange::Stopped => "stopped".to_owned(),
                    _ => continue,
                },
                Action::Exit(why) => format!("exit: {why}"),
                Action::Warn(warning) => {
                    self.warnings.push(warning);
                    continue;
                }
                Action::Resynced => "resynced".to_owned(),
                Action::Synced { token } => format!("synced {token}"),
                Action::FromLearner { link, packet, .. } => {
                    format!("from {}: {}", name(link), packet.kind.name())
                }
                Action::FromLeader(packet) => format!("from up: {}", packet.kind.name()),
                Action::AnswerPing { .. } => "answer ping".to_owned(),
                Action::ConfigSeen(_) => continue,
                Action::ConfigActive { text, .. } => format!("active {}", one_line(&text)),
            });
        }
    }

    /// What it did since the last question.
    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    #[track_caller]
    fn expect(&mut self, wanted: &[&str]) {
        assert_eq!(self.said(), wanted);
    }

    /// The disk has done everything that it was asked for.
    fn persist(&mut self) {
        while self.persist_one() {}
    }

    /// The disk has done the oldest thing it was asked for.
    fn persist_one(&mut self) -> bool {
        let Some((op, what)) = self.ops.pop_front() else { return false };
        let done = match what {
            DiskOp::Truncate(last) => Persisted::Truncated { op, last },
            _ => Persisted::Through(op),
        };
        self.peer.handle_persisted(self.now, done);
        self.drain();
        true
    }

    fn loaded(&mut self) {
        self.peer.handle_loaded(self.now);
        self.drain();
    }

    fn link(&mut self, link: LinkId, event: LinkEvent) {
        self.peer.handle_link(self.now, link, event);
        self.drain();
    }

    /// A packet of the leader.
    fn hear(&mut self, packet: QuorumPacket) {
        self.link(self.up, LinkEvent::Packet(packet));
    }

    /// A bare packet, or a PROPOSAL with its transaction, of the leader.
    fn tell(&mut self, kind: PacketKind, zxid: Zxid) {
        self.hear(match kind {
            PacketKind::Proposal | PacketKind::Inform => {
                QuorumPacket::with_data(kind, zxid, txn(zxid).bytes)
            }
            _ => QuorumPacket::new(kind, zxid),
        });
    }

    fn down(&mut self) {
        self.link(self.up, LinkEvent::Down);
    }

    fn vote(&mut self, from: i64, state: ServerState, leader: i64, zxid: Zxid, epoch: i64) {
        let notification = Notification {
            state,
            leader: ServerId(leader),
            zxid,
            round: 1,
            peer_epoch: Epoch(epoch),
            version: 2,
            config: Some(Bytes::new()),
            pending: None,
        };
        self.peer.handle_notification(self.now, ServerId(from), notification);
        self.drain();
    }

    /// Lets time pass, in steps of 100 ms.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.now = self.now + Duration::from_millis(100);
            if self.peer.poll_timeout().is_some_and(|due| due <= self.now) {
                self.peer.handle_timeout(self.now);
                self.drain();
            }
        }
    }

    /// The newest vote for itself or another that it told a server.
    fn newest_vote(&self) -> &Notification {
        &self.votes.last().expect("it has voted").1
    }

    // As a follower of server 3.

    /// Joins the ensemble that server 3 leads and server 2 follows; the link stands.
    fn follow(mut self) -> Bench {
        self.vote(2, ServerState::Following, 3, z(1, 1), 1);
        self.vote(3, ServerState::Leading, 3, z(1, 1), 1);
        // A server that was refused waits a little.
        self.pass(100);
        self.link(self.up, LinkEvent::Up);
        self.said();
        self
    }

    /// The same, with the epoch accepted.
    fn accept(self, epoch: i64) -> Bench {
        let mut bench = self.follow();
        bench.hear(leader_info(Epoch(epoch)));
        bench.persist();
        bench.said();
        bench
    }

    // As the leader, server 3.

    /// Both others have voted for this server.
    fn elected(mut self) -> Bench {
        let (zxid, epoch) = (self.peer.last_logged(), self.peer.current_epoch().0);
        for from in [1, 2] {
            self.vote(from, ServerState::Looking, 3, zxid, epoch);
        }
        self.said();
        self
    }

    /// A learner introduces itself on the link of its number.
    fn introduce(&mut self, server: i64, accepted: i64, kind: PacketKind) {
        self.introduce_on(server as u64, server, accepted, kind);
    }

    fn introduce_on(&mut self, link: u64, server: i64, accepted: i64, kind: PacketKind) {
        let info = LearnerInfo {
            server: ServerId(server),
            protocol: PROTOCOL_VERSION,
            config_version: 0,
            rookeeper: true,
            claim: None,
        };
        self.link(LinkId(link), LinkEvent::Up);
        let packet = QuorumPacket::with_data(kind, z(accepted, 0), info.to_bytes());
        self.link(LinkId(link), LinkEvent::Packet(packet));
    }

    fn from(&mut self, link: u64, kind: PacketKind, zxid: Zxid) {
        self.link(LinkId(link), LinkEvent::Packet(QuorumPacket::new(kind, zxid)));
    }

    fn ack_epoch(&mut self, link: u64, current: i64, last: Zxid) {
        self.link(LinkId(link), LinkEvent::Packet(ack_epoch(Epoch(current), last)));
    }

    /// Leads epoch `epoch`, with server 2 alone.
    fn lead(self, epoch: i64) -> Bench {
        let mut bench = self.elected();
        let (last, current) = (bench.peer.last_logged(), bench.peer.current_epoch().0);
        bench.introduce(2, epoch - 1, PacketKind::FollowerInfo);
        bench.persist();
        bench.ack_epoch(2, current, last);
        bench.persist();
        bench.from(2, PacketKind::Ack, z(epoch, 0));
        assert!(bench.peer.is_serving());
        bench.said();
        bench
    }

    fn propose(&mut self) -> Zxid {
        let zxid = self.peer.next_zxid().expect("it leads");
        self.peer.propose(self.now, txn(zxid)).expect("taken");
        self.drain();
        zxid
    }
}
