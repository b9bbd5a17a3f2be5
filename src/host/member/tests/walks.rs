//! Walks through the state: one at a time, in turn. The member is a leader, and the test its learners.

use super::*;
use crate::proto::quorum::{LearnerInfo, PROTOCOL_VERSION, ack_epoch};
use crate::zab::EncodedTxn;

/// The only voter, with observers 2 to 9, that serves.
fn leader() -> Bench {
    let observers: Vec<ServerId> = (2..=9).map(ServerId).collect();
    let membership = Membership::majority([ServerId(1)], observers);
    let mut options = zab::Options::new(ServerId(1), membership);
    options.commit_log_count = 2;
    let mut bench = Bench::of(options);
    bench.settle();
    for ms in 1..100 {
        bench.at(ms * 10);
    }
    assert!(bench.node.member.is_leading() && bench.node.member.is_serving());
    bench
}

impl Bench {
    fn on(&mut self, link: u64, event: LinkEvent) {
        self.node.member.peer_mut().handle_link(self.now.mono, LinkId(link), event);
        self.settle();
    }

    /// An observer comes that asks for a snapshot: its link has the number of its id.
    fn come(&mut self, id: u64) {
        let info = LearnerInfo {
            server: ServerId(id as i64),
            protocol: PROTOCOL_VERSION,
            config_version: 0,
            rookeeper: true,
            claim: None,
        };
        let mut data = bytes::BytesMut::new();
        info.write(&mut data);
        self.on(id, LinkEvent::Up);
        let hello = QuorumPacket::with_data(PacketKind::ObserverInfo, Zxid(0), data.freeze());
        self.on(id, LinkEvent::Packet(hello));
        self.on(id, LinkEvent::Packet(ack_epoch(Epoch(0), Zxid(-1))));
    }

    fn change(&mut self) -> Zxid {
        let zxid = self.node.member.peer().next_zxid().expect("it leads");
        let header =
            TxnHeader { session: SessionId(77), cxid: 0, zxid, time: WallTime(5), kind: -10 };
        let entry = TxnEntry { header, txn: Txn::CreateSession { timeout_ms: 4000 }, digest: None };
        let txn = EncodedTxn::new(zxid, entry.encode());
        self.node.member.peer_mut().propose(self.now.mono, txn).expect("it leads");
        self.settle();
        zxid
    }

    fn end_walk(&mut self) {
        drop(self.outside.state.end_snapshot());
        self.node.walk_ended(self.now, &mut self.outside);
        self.settle();
    }

    /// Whether a snapshot of its own begins.
    fn begin_own(&mut self) -> bool {
        self.node.begin_snapshot(self.now, &mut self.outside).is_some()
    }

    /// What went to the links since the last look: the link, and whether a walk began with it.
    fn streams(&mut self) -> Vec<(u64, bool)> {
        let streams = std::mem::take(&mut self.outside.streams);
        streams.into_iter().map(|(link, _, began)| (link.0, began)).collect()
    }
}

#[test]
fn while_a_walk_lasts_a_snapshot_that_is_due_takes_no_lock() {
    let mut bench = leader();
    bench.node.snapshot_due = true;
    assert!(bench.begin_own());
    bench.node.snapshot_due = true;
    let before = bench.outside.lent_alone;
    for _ in 0..10 {
        assert!(!bench.begin_own());
    }
    assert_eq!(bench.outside.lent_alone, before);
    bench.end_walk();
    assert!(bench.begin_own());
}

#[test]
fn learners_that_come_at_once_share_one_walk() {
    let mut bench = leader();
    bench.come(2);
    bench.come(3);
    assert_eq!(bench.streams(), [(2, true), (3, false)]);
    // Later too, as long as somebody reads the image, and what came after it is in memory.
    bench.outside.image = Some(2);
    bench.change();
    bench.end_walk();
    bench.at(5000);
    bench.come(4);
    assert_eq!(bench.streams(), [(4, false)]);
    // Nobody reads it any more: it goes at the next look, and the next learner has a walk.
    bench.outside.image = Some(0);
    bench.at(10_000);
    assert_eq!(bench.outside.image, None);
    bench.come(5);
    assert_eq!(bench.streams(), [(5, true)]);
}

#[test]
fn a_learner_waits_for_the_walk_under_way() {
    let mut bench = leader();
    bench.node.snapshot_due = true;
    assert!(bench.begin_own());
    bench.come(2);
    bench.come(3);
    assert_eq!(bench.streams(), []);
    let pings =
        |bench: &Bench| bench.outside.sent.iter().filter(|p| p.kind == PacketKind::Snap).count();
    assert_eq!(pings(&bench), 0, "SNAP is not said before there is an image to send");
    bench.end_walk();
    assert_eq!(bench.streams(), [(2, true), (3, false)]);
}

#[test]
fn own_snapshots_and_those_for_learners_take_turns() {
    let mut bench = leader();
    bench.come(2);
    assert_eq!(bench.streams(), [(2, true)]);
    // More has happened since than is in memory: the next learner needs a walk of its own.
    bench.outside.image = Some(1);
    for _ in 0..4 {
        bench.change();
    }
    bench.node.snapshot_due = true;
    bench.come(3);
    assert_eq!(bench.streams(), [], "one walk at a time");
    assert!(!bench.begin_own());
    bench.end_walk();
    assert_eq!(bench.streams(), [], "its own is due");
    assert!(bench.begin_own());
    bench.node.snapshot_due = true;
    bench.end_walk();
    assert_eq!(bench.streams(), [(3, true)], "now the learner");
    assert!(!bench.begin_own());
}
