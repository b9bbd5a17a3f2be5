//! One learner, told by hand what its leader says.

use std::time::Duration;

use bytes::Bytes;

use crate::proto::election::{Notification, ServerState};
use crate::proto::quorum::{PacketKind, QuorumPacket, ack_epoch_current};
use crate::types::{Epoch, Instant, LinkId, ServerId, Zxid};
use crate::zab::{
    Action, DiskOp, DiskState, EncodedTxn, LinkEvent, Membership, Options, Peer, Persisted,
    RoleChange,
};

/// A learner with a disk that answers at once.
struct Learner {
    peer: Peer,
    now: Instant,
    link: LinkId,
    sent: Vec<QuorumPacket>,
    delivered: Vec<Zxid>,
    serving: bool,
    closed: bool,
    /// What the disk was asked for, in order.
    asked: Vec<String>,
}

fn txn(zxid: Zxid) -> EncodedTxn {
    EncodedTxn::new(zxid, Bytes::from_static(b"a transaction"))
}

impl Learner {
    /// A member of three that finds the other two led by server 3, and has introduced itself.
    fn joining(accepted: i64, current: i64, last: Zxid) -> Learner {
        let ids: Vec<ServerId> = (1..=3).map(ServerId).collect();
        let disk = DiskState {
            accepted_epoch: Epoch(accepted),
            current_epoch: Epoch(current),
            last,
            recent_after: last,
            ..DiskState::default()
        };
        let now = Instant::from_millis(1000);
        let options = Options::new(ServerId(1), Membership::majority(ids, []));
        let peer = Peer::new(options, disk, now).expect("a disk that fits together");
        let mut learner = Learner {
            peer,
            now,
            link: LinkId(0),
            sent: Vec::new(),
            delivered: Vec::new(),
            serving: false,
            closed: false,
            asked: Vec::new(),
        };
        learner.drain();
        for (from, state) in [(2, ServerState::Following), (3, ServerState::Leading)] {
            let vote = Notification {
                state,
                leader: ServerId(3),
                zxid: Zxid::new(Epoch(accepted), 1),
                round: 1,
                peer_epoch: Epoch(accepted),
                version: 2,
                config: Some(Bytes::new()),
                pending: None,
            };
            learner.peer.handle_notification(learner.now, ServerId(from), vote);
            learner.drain();
        }
        learner.now = learner.now + Duration::from_secs(1);
        learner.peer.handle_timeout(learner.now);
        learner.drain();
        assert_ne!(learner.link, LinkId(0), "it calls its leader");
        learner.peer.handle_link(learner.now, learner.link, LinkEvent::Up);
        learner.drain();
        assert_eq!(learner.sent.pop().map(|p| p.kind), Some(PacketKind::FollowerInfo));
        learner
    }

    fn drain(&mut self) {
        while let Some(action) = self.peer.poll_action() {
            match action {
                Action::Connect { link, to } => {
                    assert_eq!(to, ServerId(3));
                    self.link = link;
                }
                Action::Send { packet, .. } => self.sent.push(packet),
                Action::CloseLink { .. } => self.closed = true,
                Action::Deliver { txn, .. } => self.delivered.push(txn.zxid),
                Action::RoleChanged(RoleChange::Following { serving, .. }) => {
                    self.serving = serving;
                }
                Action::LoadState { .. } => self.peer.handle_loaded(self.now),
                Action::Disk { op, what } => {
                    let done = match what {
                        DiskOp::Truncate(last) => Persisted::Truncated { op, last },
                        _ => Persisted::Through(op),
                    };
                    self.asked.push(match what {
                        DiskOp::Append(txn) => format!("append {:#x}", txn.zxid.0),
                        DiskOp::SaveAcceptedEpoch(epoch) => format!("accept {}", epoch.0),
                        DiskOp::SaveCurrentEpoch(epoch) => format!("current {}", epoch.0),
                        DiskOp::Truncate(last) => format!("truncate {:#x}", last.0),
                        DiskOp::InstallSnapshot { .. } => "install".to_owned(),
                        DiskOp::SaveConfig { .. } => "config".to_owned(),
                    });
                    self.peer.handle_persisted(self.now, done);
                }
                _ => {}
            }
        }
    }

    /// The leader says something; what the learner answers.
    fn hear(&mut self, kind: PacketKind, zxid: Zxid, data: Option<Bytes>) -> Vec<QuorumPacket> {
        let packet = match data {
            Some(data) => QuorumPacket::with_data(kind, zxid, data),
            None => QuorumPacket::new(kind, zxid),
        };
        self.peer.handle_link(self.now, self.link, LinkEvent::Packet(packet));
        self.drain();
        std::mem::take(&mut self.sent)
    }

    /// LEADERINFO of an epoch.
    fn offered(&mut self, epoch: i64) -> Vec<QuorumPacket> {
        let version = Bytes::from_static(&[0, 1, 0, 0]);
        self.hear(PacketKind::LeaderInfo, Zxid::new(Epoch(epoch), 0), Some(version))
    }

    fn synchronised(&mut self, epoch: i64, kind: PacketKind, zxid: Zxid) -> Vec<QuorumPacket> {
        self.offered(epoch);
        self.hear(kind, zxid, None);
        let start = Zxid::new(Epoch(epoch), 0);
        let mut said = self.hear(PacketKind::NewLeader, start, Some(Bytes::new()));
        said.extend(self.hear(PacketKind::UpToDate, start, None));
        assert!(self.serving && !self.closed);
        said
    }
}

fn at(epoch: i64, counter: u32) -> Zxid {
    Zxid(epoch << 32 | i64::from(counter))
}

/// Trap 25: an epoch that was accepted before is acknowledged with -1, so that it does not count
/// twice; a new one is saved first, and answered with the current one.
#[test]
fn an_epoch_accepted_before_is_acknowledged_with_minus_one() {
    let mut again = Learner::joining(5, 4, at(4, 9));
    let said = again.offered(5);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].kind, PacketKind::AckEpoch);
    assert_eq!(ack_epoch_current(&said[0]), Ok(Epoch(-1)));
    assert_eq!(said[0].zxid, at(4, 9));
    assert!(again.asked.is_empty(), "{:?}", again.asked);

    let mut first = Learner::joining(5, 4, at(4, 9));
    let said = first.offered(6);
    assert_eq!(ack_epoch_current(&said[0]), Ok(Epoch(4)));
    assert_eq!(first.asked, ["accept 6"]);
}

/// Trap 43: an established leader does not compare epochs; the learner must.
#[test]
fn a_leader_of_a_lower_epoch_is_refused() {
    let mut learner = Learner::joining(5, 4, at(4, 9));
    assert!(learner.offered(4).is_empty());
    assert!(learner.closed && learner.asked.is_empty());
    assert_eq!(learner.peer.state(), ServerState::Looking);
}

/// Traps 25 and 26: the current epoch is saved when the history is there, before NEWLEADER is
/// acknowledged; the acknowledgement of UPTODATE has no counter.
#[test]
fn the_current_epoch_is_saved_after_the_history_and_before_the_acknowledgement() {
    let mut learner = Learner::joining(5, 4, at(4, 9));
    learner.offered(6);
    learner.hear(PacketKind::Diff, at(4, 10), None);
    learner.hear(PacketKind::Proposal, at(4, 10), Some(txn(at(4, 10)).bytes));
    learner.hear(PacketKind::Commit, at(4, 10), None);
    assert_eq!(learner.asked.last().map(String::as_str), Some("append 0x40000000a"));
    let said = learner.hear(PacketKind::NewLeader, at(6, 0), Some(Bytes::new()));
    assert_eq!(learner.asked.last().map(String::as_str), Some("current 6"));
    let acks: Vec<_> = said.iter().map(|p| (p.kind, p.zxid)).collect();
    assert_eq!(acks, [(PacketKind::Ack, at(6, 0))]);
    let said = learner.hear(PacketKind::UpToDate, at(6, 0), None);
    for packet in said.iter().filter(|p| p.kind == PacketKind::Ack) {
        assert_eq!(packet.zxid, at(6, 0), "the low 32 bits are 0");
    }
    assert!(learner.serving);
    assert_eq!(learner.delivered, [at(4, 10)]);
}

/// Trap 43: a history may end in an older epoch than the log of who joins.
#[test]
fn a_truncation_may_reach_into_an_older_epoch() {
    let mut learner = Learner::joining(5, 5, at(5, 3));
    learner.synchronised(6, PacketKind::Trunc, at(4, 9));
    assert!(learner.asked.contains(&"truncate 0x400000009".to_owned()), "{:?}", learner.asked);
    assert_eq!(learner.peer.last_logged(), at(4, 9));
}

/// Trap 46: the first transaction of an epoch does not follow the last one of the epoch before.
#[test]
fn the_first_transaction_of_an_epoch_jumps() {
    let mut learner = Learner::joining(5, 4, at(4, 9));
    learner.synchronised(6, PacketKind::Diff, at(4, 9));
    let said = learner.hear(PacketKind::Proposal, at(6, 1), Some(txn(at(6, 1)).bytes));
    assert_eq!(
        said.iter().map(|p| (p.kind, p.zxid)).collect::<Vec<_>>(),
        [(PacketKind::Ack, at(6, 1))]
    );
    learner.hear(PacketKind::Commit, at(6, 1), None);
    assert_eq!(learner.delivered, [at(6, 1)]);
    // But nothing is left out after it.
    learner.hear(PacketKind::Proposal, at(6, 3), Some(txn(at(6, 3)).bytes));
    assert!(learner.closed);
}
