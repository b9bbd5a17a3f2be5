use super::*;
use crate::proto::jute::Jute;
use crate::types::{Epoch, Instant};
use crate::zab::{OpId, Why};

fn txn(zxid: i64, time: i64) -> EncodedTxn {
    let header = TxnHeader { zxid: Zxid(zxid), time: WallTime(time), ..TxnHeader::default() };
    let mut bytes = bytes::BytesMut::new();
    header.write(&mut bytes);
    EncodedTxn::new(Zxid(zxid), bytes.freeze())
}

fn append(zxid: i64, time: i64) -> Action {
    Action::Disk { op: OpId(1), what: DiskOp::Append(txn(zxid, time)) }
}

fn deliver(zxid: i64, time: i64) -> Action {
    Action::Deliver { txn: txn(zxid, time), committed: true }
}

fn at(ms: u64) -> Now {
    Now { mono: Instant::default() + Duration::from_millis(ms), wall: WallTime(ms as i64) }
}

fn lines(metrics: &Metrics) -> Map<String, String> {
    let mut found = map();
    metrics.dump(&mut |name, value| {
        found.insert(name.to_owned(), value.to_string());
    });
    found
}

/// What Zab has counted when it has brought these learners up, and one more gets a snapshot.
fn brought(syncs: SyncCounts) -> zab::Stats {
    zab::Stats { syncs, syncing: [1, 0], ..zab::Stats::default() }
}

#[test]
fn a_leader_counts_proposals_commits_and_acks() {
    let metrics = Arc::new(Metrics::new(false));
    let mut figures = Figures::new(Arc::clone(&metrics), Duration::from_secs(1));
    figures.role(at(0), &RoleChange::Leading { epoch: Epoch(1), serving: true });
    let (link, server) = (LinkId(7), ServerId(3));
    figures.learners(&[LearnerView { link, server, observer: false, synced: true }]);
    for (zxid, time) in [(999, 10), (1000, 20)] {
        figures.action(&append(zxid, time));
    }
    let ack = |zxid| QuorumPacket::new(PacketKind::Ack, Zxid(zxid));
    figures.packet(WallTime(25), link, &ack(999));
    figures.packet(WallTime(26), link, &ack(1000));
    figures.action(&deliver(999, 10));
    figures.action(&deliver(1000, 20));
    figures.end_turn(
        WallTime(30),
        &brought(SyncCounts { trunc: 1, snap: 2, ..SyncCounts::default() }),
    );
    figures.end_turn(
        WallTime(90),
        &brought(SyncCounts { trunc: 1, snap: 2, ..SyncCounts::default() }),
    );
    let lines = lines(&metrics);
    for (name, value) in [
        ("proposal_count", "2"),
        ("commit_count", "2"),
        ("learner_proposal_received_count", "0"),
        ("cnt_quorum_ack_latency", "2"),
        ("max_quorum_ack_latency", "20"),
        ("max_propagation_latency", "20"),
        ("cnt_3_ack_latency", "1"),
        ("max_3_ack_latency", "6"),
        ("diff_count", "1"),
        ("cnt_inflight_snap_count", "1"),
        ("snap_count", "2"),
    ] {
        let found = lines.get(name).map(String::as_str);
        assert_eq!(found, Some(value), "{name}");
    }
    assert_eq!(figures.proposal_sizes.last, TxnHeader::LEN as i64);
}

#[test]
fn a_follower_counts_what_it_hears_and_how_long_it_took_to_follow() {
    let metrics = Arc::new(Metrics::new(false));
    let mut figures = Figures::new(Arc::clone(&metrics), Duration::from_secs(1));
    figures.role(at(0), &RoleChange::Looking(Why::Started));
    for (ms, epoch, serving) in [(100, 0, false), (150, 1, false), (400, 1, true)] {
        let (leader, epoch) = (ServerId(1), Epoch(epoch));
        let change = RoleChange::Following { leader, epoch, serving, observer: false };
        figures.role(at(ms), &change);
    }
    figures.action(&append(5, 410));
    figures.end_turn(WallTime(412), &zab::Stats::default());
    figures.action(&deliver(5, 410));
    figures.end_turn(WallTime(415), &zab::Stats::default());
    let lines = lines(&metrics);
    for (name, value) in [
        ("max_follower_sync_time", "300"),
        ("learner_proposal_received_count", "1"),
        ("learner_commit_received_count", "1"),
        ("max_proposal_latency", "2"),
        ("max_commit_propagation_latency", "5"),
        ("proposal_count", "0"),
        ("commit_count", "0"),
    ] {
        let found = lines.get(name).map(String::as_str);
        assert_eq!(found, Some(value), "{name}");
    }
}

#[test]
fn a_leader_counts_what_waits_for_a_learner() {
    let metrics = Arc::new(Metrics::new(false));
    let mut figures = Figures::new(Arc::clone(&metrics), Duration::from_secs(1));
    let (link, server) = (LinkId(7), ServerId(3));
    let send = || Action::Send { link, packet: QuorumPacket::new(PacketKind::Commit, Zxid(1)) };
    let learners = [LearnerView { link, server, observer: false, synced: true }];
    figures.action(&send());
    figures.role(at(0), &RoleChange::Leading { epoch: Epoch(1), serving: true });
    for _ in 0..2 {
        (0..3).for_each(|_| figures.action(&send()));
        figures.end_turn(WallTime(30), &zab::Stats::default());
    }
    figures.learners(&learners);
    figures.learners(&learners);
    let found = lines(&metrics);
    for (name, value) in [
        ("cnt_3_learner_handler_qp_size", "6"),
        ("sum_3_learner_handler_qp_size", "6"),
        ("max_3_learner_handler_qp_size", "2"),
        ("cnt_3_learner_handler_qp_time_ms", "1"),
    ] {
        assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
    }
    figures.action(&send());
    figures.end_turn(WallTime(30), &zab::Stats::default());
    figures.learners(&[]);
    assert_eq!(lines(&metrics), found, "a learner that is gone");
}
