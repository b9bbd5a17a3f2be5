//! What a follower does with what its leader sends.

use super::*;
use PacketKind::{Commit, Diff, NewLeader, Ping, Proposal, Snap, Trunc, UpToDate};

#[test]
fn a_learner_says_nothing_that_is_not_on_its_disk() {
    // A11, A12, A13, A27: ZOOKEEPER-3911, 3023, 4646, 4643, 4785, 2307, 4269.
    let mut b = Bench::new(1, history(1, 3)).follow();
    b.hear(leader_info(Epoch(2)));
    b.expect(&["disk: accepted 2"]);
    b.persist();
    b.expect(&["up: ACKEPOCH 1:3"]);
    b.tell(Diff, z(1, 4));
    b.tell(Proposal, z(1, 4));
    b.tell(Commit, z(1, 4));
    b.expect(&["disk: append 1:4"]);
    b.tell(NewLeader, z(2, 0));
    b.expect(&[]);
    b.persist_one();
    b.expect(&["disk: current 2"]);
    b.persist_one();
    b.expect(&["up: ACK 2:0"]);
    b.tell(UpToDate, Zxid(-1));
    b.expect(&["up: ACK 2:0", "apply 1:4", "serving under 3"]);
    b.tell(Proposal, z(2, 1));
    b.tell(Proposal, z(2, 2));
    b.expect(&["disk: append 2:1", "disk: append 2:2"]);
    b.persist_one();
    b.expect(&["up: ACK 2:1"]);
}

#[test]
fn zookeeper_4646_a_crash_before_the_ack_of_newleader_loses_no_promise() {
    // The same steps; where the disk stops the promise stops.
    for done in 0..3 {
        let mut b = Bench::new(1, history(1, 3)).accept(2);
        for (kind, zxid) in
            [(Diff, z(1, 4)), (Proposal, z(1, 4)), (Commit, z(1, 4)), (NewLeader, z(2, 0))]
        {
            b.tell(kind, zxid);
        }
        for _ in 0..done {
            b.persist_one();
        }
        assert_eq!(b.said().contains(&"up: ACK 2:0".to_owned()), done == 2);
    }
}

#[test]
fn zookeeper_4394_proposals_and_commits_come_in_any_order_around_newleader() {
    let mut b = Bench::new(1, history(1, 1)).accept(2);
    b.tell(Diff, z(1, 2));
    b.tell(Proposal, z(1, 2));
    b.tell(Commit, z(1, 2));
    b.tell(Proposal, z(1, 3));
    b.tell(NewLeader, z(2, 0));
    b.tell(Commit, z(1, 3));
    b.tell(Proposal, z(2, 1));
    b.said();
    b.persist();
    let said = b.said();
    let acks: Vec<_> = said.iter().filter(|s| s.contains("ACK")).collect();
    // A15, ZOOKEEPER-4685: the acknowledgement of NEWLEADER is the first.
    assert_eq!(acks[0], "up: ACK 2:0", "{said:?}");
    b.tell(UpToDate, Zxid(-1));
    b.expect(&["up: ACK 2:0", "apply 1:2", "apply 1:3", "serving under 3"]);
    b.tell(Commit, z(2, 1));
    b.expect(&["apply 2:1"]);
}

#[test]
fn zookeeper_4925_a_diff_with_a_hole_is_refused_at_its_first_step_too() {
    for (first, second) in [(z(1, 5), None), (z(1, 4), Some(z(1, 6))), (z(2, 2), None)] {
        let mut b = Bench::new(1, history(1, 3)).accept(3);
        b.tell(Diff, z(1, 6));
        b.tell(Proposal, first);
        if let Some(second) = second {
            b.tell(Proposal, second);
        }
        b.persist();
        let said = b.said().join("\n");
        assert!(said.contains("does not continue"), "{said}");
        assert!(!said.contains("ACK"), "{said}");
        // The next time it asks for everything (A20: synchronisation ends).
        let mut b = b.follow();
        b.hear(leader_info(Epoch(3)));
        b.expect(&["up: ACKEPOCH -1"]);
        b.tell(Snap, z(1, 6));
        b.link(b.up, LinkEvent::Image(ImageId(1)));
        b.expect(&["disk: install 1:6"]);
    }
}

#[test]
fn zookeeper_2872_a_snapshot_that_is_not_on_disk_is_not_claimed() {
    // A8, ZOOKEEPER-3642: the leader dies between SNAP and NEWLEADER.
    let mut b = Bench::new(1, history(1, 3)).accept(2);
    b.tell(Snap, z(1, 9));
    b.link(b.up, LinkEvent::Image(ImageId(1)));
    b.said();
    b.votes.clear();
    b.down();
    assert!(b.votes.is_empty(), "no vote while the disk owes an answer");
    b.persist();
    assert!(b.votes.is_empty(), "nor while the state does not agree with it");
    b.loaded();
    assert_eq!(b.newest_vote().zxid, z(1, 9), "durable now");
}

#[test]
fn zookeeper_5094_a_cut_is_on_disk_before_anything_is_said_or_applied() {
    // A9: TRUNC, commits, and the link drops before NEWLEADER.
    let mut b = Bench::new(1, history(1, 5)).accept(2);
    b.tell(Trunc, z(1, 3));
    b.tell(Proposal, z(1, 4));
    b.tell(Commit, z(1, 4));
    b.expect(&["disk: cut 1:3"]);
    b.persist_one();
    b.expect(&["load 1:3", "disk: append 1:4"]);
    b.votes.clear();
    b.down();
    assert!(b.votes.is_empty());
    b.persist();
    b.loaded();
    assert_eq!(b.newest_vote().zxid, z(1, 4), "exactly what is on disk");
    assert!(!b.said().iter().any(|s| s.starts_with("apply")), "nothing before a leader says so");
}

#[test]
fn k2_the_durable_mark_goes_down_with_a_cut() {
    // ClickHouse Keeper 102629: a proposal after TRUNC must not be acknowledged by an old mark.
    let mut b = Bench::new(1, history(1, 5)).accept(2);
    b.tell(Trunc, z(1, 3));
    b.persist_one();
    b.loaded();
    b.tell(NewLeader, z(2, 0));
    b.persist();
    b.tell(UpToDate, Zxid(-1));
    b.said();
    assert_eq!(b.peer.history().durable(), z(1, 3));
    b.tell(Proposal, z(2, 1));
    b.expect(&["disk: append 2:1"]);
    b.persist();
    b.expect(&["up: ACK 2:1"]);
}

#[test]
fn zookeeper_4541_writes_of_the_last_role_are_waited_for() {
    // A16, ZOOKEEPER-4712: one writer, and what it owes belongs to the history that is claimed.
    let mut b = Bench::new(1, history(1, 3)).accept(2);
    b.tell(Diff, z(1, 3));
    b.tell(NewLeader, z(2, 0));
    b.persist();
    b.tell(UpToDate, Zxid(-1));
    b.tell(Proposal, z(2, 1));
    b.votes.clear();
    b.down();
    assert!(b.votes.is_empty());
    b.persist();
    assert_eq!((b.newest_vote().zxid, b.newest_vote().peer_epoch), (z(2, 1), Epoch(2)));
}

#[test]
fn zookeeper_4882_a_voter_applies_no_further_than_its_disk() {
    let mut b = Bench::new(1, history(1, 3)).accept(2);
    b.tell(Diff, z(1, 3));
    b.tell(NewLeader, z(2, 0));
    b.persist();
    b.tell(UpToDate, Zxid(-1));
    b.said();
    b.tell(Proposal, z(2, 1));
    b.tell(Commit, z(2, 1));
    b.expect(&["disk: append 2:1"]);
    b.persist();
    b.expect(&["up: ACK 2:1", "apply 2:1"]);
}

#[test]
fn zookeeper_3526_a_cut_below_what_is_known_to_be_committed_ends_the_process() {
    let mut b = Bench::new(1, history(1, 3)).accept(2);
    b.tell(Diff, z(1, 3));
    b.tell(NewLeader, z(2, 0));
    b.persist();
    b.tell(UpToDate, Zxid(-1));
    b.tell(Proposal, z(2, 1));
    b.tell(Commit, z(2, 1));
    b.persist();
    b.down();
    let mut b = b.accept(3);
    b.tell(Trunc, z(1, 3));
    let said = b.said().join("\n");
    assert!(said.contains("exit: leader 3 truncates to"), "{said}");
    assert!(!said.contains("disk: cut"), "{said}");
}

#[test]
fn zookeeper_2355_a_proposal_without_its_commit_is_not_applied() {
    // A24, A25 (5010): the link breaks between PROPOSAL and COMMIT of a closeSession.
    let mut b = Bench::new(1, history(1, 3)).accept(2);
    b.tell(Diff, z(1, 3));
    b.tell(NewLeader, z(2, 0));
    b.persist();
    b.tell(UpToDate, Zxid(-1));
    b.tell(Proposal, z(2, 1));
    b.persist();
    b.said();
    b.down();
    assert!(!b.said().iter().any(|s| s.starts_with("apply")));
    // The next leader has it: it is part of the history that is acknowledged, and applied then.
    let mut b = b.accept(3);
    b.tell(Diff, z(2, 1));
    b.tell(NewLeader, z(3, 0));
    b.persist();
    b.said();
    b.tell(UpToDate, Zxid(-1));
    b.expect(&["up: ACK 3:0", "apply 2:1", "serving under 3"]);
}

#[test]
fn zookeeper_1653_a_crash_between_history_and_epoch_is_mended() {
    // A28, ZOOKEEPER-2354: transactions of epoch 2 are durable, currentEpoch=2 is not.
    let mut disk = history(2, 3);
    disk.current_epoch = Epoch(1);
    let mut b = Bench::new(1, disk.clone());
    b.expect(&["looking: started", "disk: current 2"]);
    assert!(b.votes.is_empty(), "not before it is mended on disk");
    b.persist();
    assert_eq!((b.newest_vote().zxid, b.newest_vote().peer_epoch), (z(2, 3), Epoch(2)));
    // A26, ZOOKEEPER-790: epochs that can't be from the same time as the log are refused.
    disk.accepted_epoch = Epoch(1);
    let members = Membership::majority((1..=3).map(ServerId), []);
    let start = Peer::new(Options::new(ServerId(1), members), disk, Instant(0));
    assert!(matches!(start, Err(StartError::AcceptedBelowLog { .. })));
}

#[test]
fn zookeeper_261_an_empty_or_damaged_member_does_not_vote() {
    let disk = DiskState { standing: Standing::MustResync, ..history(0, 0) };
    let mut b = Bench::new(1, disk);
    assert_eq!(b.newest_vote().zxid, Zxid(-1), "Apache counts no vote for this zxid");
    b.vote(2, ServerState::Looking, 2, Zxid::ZERO, 0);
    b.vote(3, ServerState::Looking, 3, Zxid::ZERO, 0);
    b.pass(1000);
    assert_eq!(b.peer.state(), ServerState::Looking);
    let mut b = b.follow();
    b.hear(leader_info(Epoch(2)));
    b.persist();
    b.expect(&["disk: accepted 2", "up: ACKEPOCH -1"]);
    b.tell(Diff, Zxid::ZERO);
    let said = b.said().join("\n");
    assert!(said.contains("a snapshot was needed"), "{said}");
    let mut b = b.follow();
    b.hear(leader_info(Epoch(2)));
    b.tell(Snap, z(1, 7));
    b.link(b.up, LinkEvent::Image(ImageId(1)));
    b.persist();
    b.loaded();
    b.tell(NewLeader, z(2, 0));
    b.persist();
    assert!(b.said().contains(&"resynced".to_owned()));
    assert_eq!(b.peer.standing(), Standing::Sound);
}

#[test]
fn zookeeper_1465_progress_keeps_a_long_synchronisation_alive() {
    // C6, ZOOKEEPER-1697, 1928, 2678: initLimit counts silence, not work.
    let mut b = Bench::new(1, history(1, 3)).accept(2);
    b.tell(Snap, z(1, 900));
    for _ in 0..20 {
        b.pass(9_000);
        b.link(b.up, LinkEvent::Progress);
    }
    assert_eq!(b.peer.leader(), Some(ServerId(3)));
    b.pass(10_000);
    let said = b.said().join("\n");
    assert!(said.contains("leader 3 is silent"), "{said}");
}

#[test]
fn a_lower_epoch_is_refused_and_an_equal_one_is_not_counted_again() {
    let mut b = Bench::new(1, history(4, 1)).follow();
    b.hear(leader_info(Epoch(3)));
    assert!(b.said().join("\n").contains("lower than the accepted epoch"));
    let mut disk = history(4, 1);
    disk.accepted_epoch = Epoch(5);
    let mut b = Bench::new(1, disk).follow();
    let mut ack = QuorumPacket::new(PacketKind::AckEpoch, Zxid(0));
    b.peer.handle_link(b.now, b.up, LinkEvent::Packet(leader_info(Epoch(5))));
    while let Some(action) = b.peer.poll_action() {
        if let Action::Send { packet, .. } = action {
            ack = packet;
        }
    }
    assert_eq!(crate::proto::quorum::ack_epoch_current(&ack), Ok(Epoch(-1)));
}

#[test]
fn an_unexpected_packet_costs_the_link_in_every_phase() {
    // Bad input of a leader: nothing is written for it, and the server looks for another.
    let steps: [(PacketKind, Zxid); 5] = [
        (Diff, z(1, 3)),
        (Proposal, z(1, 4)),
        (Commit, z(1, 4)),
        (NewLeader, z(2, 0)),
        (UpToDate, Zxid(-1)),
    ];
    for taken in 0..=steps.len() {
        for bad in [PacketKind::FollowerInfo, PacketKind::AckEpoch, PacketKind::LeaderInfo] {
            let mut b = Bench::new(1, history(1, 3)).accept(2);
            for (kind, zxid) in &steps[..taken] {
                b.tell(*kind, *zxid);
                b.persist();
            }
            b.said();
            b.tell(bad, z(2, 0));
            let said = b.said().join("\n");
            assert!(said.contains("leader 3: unexpected"), "after {taken}: {said}");
            assert!(said.contains("close up"), "after {taken}: {said}");
        }
    }
}

#[test]
fn a_link_that_was_given_up_is_heard_no_more() {
    let mut b = Bench::new(1, history(1, 3)).accept(2);
    let old = b.up;
    b.tell(PacketKind::FollowerInfo, z(2, 0));
    assert!(b.said().iter().any(|said| said.starts_with("close up")));
    // What its reader had taken from the socket, before and after the next link stands.
    let late = |b: &mut Bench| {
        for kind in [PacketKind::LeaderInfo, Diff, Proposal, NewLeader, Commit, UpToDate, Ping] {
            b.link(old, LinkEvent::Packet(QuorumPacket::new(kind, z(2, 0))));
        }
        b.link(old, LinkEvent::Down);
        b.expect(&[]);
    };
    late(&mut b);
    let mut b = b.follow();
    assert_ne!(b.up, old);
    late(&mut b);
    b.hear(leader_info(Epoch(3)));
    b.persist();
    b.said();
    late(&mut b);
    b.tell(Diff, z(1, 3));
    b.tell(NewLeader, z(3, 0));
    b.persist();
    assert!(b.said().contains(&"up: ACK 3:0".to_owned()));
}

#[test]
fn commits_of_something_else_cost_the_link() {
    for bad in [z(2, 2), z(1, 3), z(3, 1)] {
        let mut b = Bench::new(1, history(1, 3)).accept(2);
        b.tell(Diff, z(1, 3));
        b.tell(NewLeader, z(2, 0));
        b.persist();
        b.tell(UpToDate, Zxid(-1));
        b.tell(Proposal, z(2, 1));
        b.tell(Proposal, z(2, 2));
        b.persist();
        b.said();
        b.tell(Commit, bad);
        assert!(b.said().join("\n").contains("commit of"), "{bad}");
    }
}

#[test]
fn a_promise_in_a_ping_shortens_the_patience_and_an_empty_ping_restores_it() {
    let serving = || {
        let mut b = Bench::new(1, history(1, 3)).accept(2);
        b.tell(Diff, z(1, 3));
        b.tell(NewLeader, z(2, 0));
        b.persist();
        b.tell(UpToDate, Zxid(-1));
        b
    };
    let mut b = serving();
    b.hear(crate::proto::quorum::quick_ping(z(2, 0), 1000));
    b.pass(900);
    assert_eq!(b.peer.state(), ServerState::Following);
    b.pass(200);
    assert_eq!(b.peer.state(), ServerState::Looking);
    let mut b = serving();
    b.hear(crate::proto::quorum::quick_ping(z(2, 0), 1000));
    b.tell(Ping, z(2, 0));
    b.pass(4_900);
    assert_eq!(b.peer.state(), ServerState::Following, "Apache's time: five ticks");
    b.pass(200);
    assert_eq!(b.peer.state(), ServerState::Looking);
}

#[test]
fn zookeeper_1839_a_peer_stops_from_every_state() {
    // C5, ZOOKEEPER-2080, 2380, 2687, 2778, 2383.
    let stop = |mut b: Bench| {
        b.said();
        b.peer.shut_down(b.now);
        b.drain();
        assert_eq!(b.said().last().map(String::as_str), Some("stopped"));
        b.persist();
        b.pass(60_000);
        b.vote(2, ServerState::Looking, 2, z(9, 9), 9);
        b.link(LinkId(7), LinkEvent::Down);
        assert!(b.said().iter().all(|s| s.starts_with("load")), "what the disk did is looked at");
    };
    stop(Bench::new(1, history(1, 3)));
    stop(Bench::new(1, history(1, 3)).follow());
    stop(Bench::new(1, history(1, 3)).accept(2));
    let mut b = Bench::new(1, history(1, 5)).accept(2);
    b.tell(Trunc, z(1, 3));
    stop(b);
    stop(Bench::new(3, history(1, 3)).elected());
    stop(Bench::new(3, history(1, 3)).lead(2));
}

#[test]
fn an_observer_asks_follower_after_follower_and_then_the_leader() {
    let mut b = Bench::with(9, history(1, 3), |o| {
        o.observer_masters = true;
        o.connect_tries = 4;
    });
    b.vote(2, ServerState::Following, 3, z(1, 1), 1);
    b.vote(3, ServerState::Leading, 3, z(1, 1), 1);
    b.down();
    b.pass(500);
    b.down();
    b.pass(500);
    b.down();
    b.pass(500);
    let dials: Vec<String> = b.said().into_iter().filter(|s| s.starts_with("connect")).collect();
    assert_eq!(
        dials,
        ["connect to master 2", "connect to master 1", "connect to master 2", "connect 3"]
    );
    assert_eq!(b.peer.source(), Some(ServerId(3)));
}

#[test]
fn strangers_that_ask_while_the_disk_owes_answers_are_few() {
    let mut b = Bench::new(1, history(1, 3)).follow();
    b.hear(leader_info(Epoch(2)));
    b.down();
    for stranger in 100..1100 {
        b.vote(stranger, ServerState::Looking, stranger, z(1, 3), 1);
    }
    b.vote(2, ServerState::Looking, 2, z(1, 3), 1);
    let Role::Draining(waiting) = &b.peer.role else { panic!("the disk owes an answer") };
    assert_eq!(waiting.len(), 16 + 1);
    assert!(waiting.contains_key(&ServerId(2)), "a voter is always heard");
}
