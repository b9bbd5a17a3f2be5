//! What a leader, or a follower with observers, does with what its learners send.

use super::*;
use PacketKind::{
    Ack, Commit, Diff, FollowerInfo, NewLeader, ObserverInfo, Proposal, Request, UpToDate,
};

#[test]
fn zookeeper_335_an_epoch_is_begun_by_a_quorum_and_saved_before_it_is_said() {
    // A26, ZOOKEEPER-790, 1343, 582: nothing advances before there is a quorum.
    let mut b = Bench::new(3, history(1, 3)).elected();
    b.pass(2000);
    b.expect(&[]);
    b.introduce(2, 1, FollowerInfo);
    b.expect(&["disk: accepted 2"]);
    b.persist();
    b.expect(&["2: LEADERINFO 2:0"]);
    b.ack_epoch(2, 1, z(1, 3));
    b.expect(&["disk: current 2", "2: DIFF 1:3", "2: NEWLEADER 2:0"]);
    b.from(2, Ack, z(2, 0));
    b.expect(&[]);
    b.persist();
    b.expect(&["leading 2", "2: UPTODATE -1", "2: PING 2:0"]);
}

#[test]
fn a_leader_to_be_whose_voters_find_a_better_one_waits_for_nobody() {
    // Server 2 refused connections, so its vote was not waited for; it comes a moment later, is ahead,
    // and the others hear it before they have settled.
    let mut b = Bench::new(3, history(1, 3)).elected();
    // A vote of before, which was late.
    b.vote(1, ServerState::Looking, 1, z(1, 2), 1);
    b.vote(2, ServerState::Looking, 2, z(1, 9), 1);
    b.expect(&[]);
    b.vote(1, ServerState::Looking, 2, z(1, 9), 1);
    assert!(b.said().contains(&"looking: server 2 has got the votes".to_owned()));
    // Once a quorum has come, votes are nothing to it.
    let mut b = Bench::new(3, history(1, 3)).elected();
    b.introduce(2, 1, FollowerInfo);
    b.said();
    b.vote(1, ServerState::Looking, 2, z(1, 9), 1);
    b.vote(2, ServerState::Looking, 2, z(1, 9), 1);
    b.expect(&[]);
}

#[test]
fn zookeeper_2959_observers_are_never_counted() {
    // A29, ZOOKEEPER-769, 764.
    let mut b = Bench::new(3, history(1, 3)).elected();
    b.introduce(9, 7, ObserverInfo);
    b.expect(&[]);
    b.introduce(2, 7, FollowerInfo);
    b.persist();
    b.expect(&["disk: accepted 8", "2: LEADERINFO 8:0"]);
    b.ack_epoch(2, 1, z(1, 3));
    b.persist();
    b.ack_epoch(9, 1, z(1, 3));
    b.said();
    b.from(9, Ack, z(8, 0));
    b.expect(&[]);
    b.from(2, Ack, z(8, 0));
    assert!(b.peer.is_serving());
    b.said();
    let zxid = b.propose();
    b.persist();
    b.from(9, Ack, zxid);
    assert!(!b.said().iter().any(|s| s.contains("COMMIT")), "its word is nothing");
    b.from(2, Ack, zxid);
    b.expect(&["2: COMMIT 8:1", "9: INFORM 8:1", "apply 8:1"]);
}

#[test]
fn zookeeper_4685_an_early_ack_is_kept_not_counted() {
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    b.introduce(1, 1, FollowerInfo);
    b.ack_epoch(1, 1, z(1, 3));
    b.link(LinkId(2), LinkEvent::Down);
    b.said();
    let zxid = b.propose();
    b.persist();
    b.said();
    // Its current epoch is not saved: it could still be led elsewhere without this.
    b.from(1, Ack, zxid);
    b.expect(&[]);
    b.from(1, Ack, z(2, 0));
    b.expect(&["1: UPTODATE -1", "1: PING 2:1", "1: COMMIT 2:1", "apply 2:1"]);
}

#[test]
fn early_acks_are_kept_of_what_is_proposed_and_of_nothing_else() {
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    b.introduce(1, 1, FollowerInfo);
    b.ack_epoch(1, 1, z(1, 3));
    b.link(LinkId(2), LinkEvent::Down);
    let zxid = b.propose();
    b.persist();
    b.said();
    for counter in 1..=10_000 {
        // Once what is proposed, and much that is not.
        b.from(1, Ack, z(2, counter));
        b.from(1, Ack, zxid);
        b.from(1, Ack, z(1, counter));
    }
    let Role::Leading(leader) = &b.peer.role else { panic!("it leads") };
    assert_eq!(leader.early_acks(), 1);
    b.from(1, Ack, z(2, 0));
    b.expect(&["1: UPTODATE -1", "1: PING 2:1", "1: COMMIT 2:1", "apply 2:1"]);
    // What was acknowledged before it was proposed is not acknowledged.
    let next = b.propose();
    b.persist();
    assert_eq!(next, z(2, 2));
    assert!(!b.said().iter().any(|said| said.contains("COMMIT")), "nobody has it but the leader");
}

#[test]
fn who_acknowledges_early_is_not_overdue_when_others_committed_it() {
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    b.introduce(1, 1, FollowerInfo);
    b.ack_epoch(1, 1, z(1, 3));
    let zxid = b.propose();
    b.persist();
    b.from(1, Ack, zxid);
    b.from(2, Ack, zxid);
    b.from(1, Ack, z(2, 0));
    b.said();
    for _ in 0..30 {
        b.pass(500);
        b.from(1, PacketKind::Ping, zxid);
        b.from(2, PacketKind::Ping, zxid);
    }
    assert!(!b.said().iter().any(|said| said.starts_with("close")), "it answers");
}

#[test]
fn guests_are_few_and_make_room_for_members_and_for_each_other() {
    let mut b = Bench::with(3, history(1, 3), |o| o.guests_max = 2).lead(2);
    for server in [20, 21] {
        b.introduce(server, 1, FollowerInfo);
    }
    // One that is synchronised stays.
    b.ack_epoch(20, 1, z(1, 3));
    b.from(20, Ack, z(2, 0));
    b.said();
    b.introduce(22, 1, ObserverInfo);
    let said = b.said();
    assert!(said[0].starts_with("close 21: there are 2 learners that are not"), "{said:?}");
    assert_eq!(said[1..], ["22: LEADERINFO 2:0"]);
    b.ack_epoch(22, 1, z(1, 3));
    b.from(22, Ack, z(2, 0));
    b.said();
    b.introduce(23, 1, ObserverInfo);
    assert!(b.said()[0].starts_with("close 23: there are 2 learners"), "those that work stay");
    // The same guest again takes its own place.
    b.introduce_on(122, 22, 1, ObserverInfo);
    b.expect(&["close 22: replaced by a newer link", "122: LEADERINFO 2:0"]);
    // Members come in whoever is there.
    b.introduce(1, 1, FollowerInfo);
    b.introduce(9, 1, ObserverInfo);
    b.expect(&["1: LEADERINFO 2:0", "9: LEADERINFO 2:0"]);
    // While the epoch is collected nobody is synchronised.
    let mut b = Bench::with(3, history(1, 3), |o| o.guests_max = 2).elected();
    for server in 20..1000 {
        b.introduce(server, 1, FollowerInfo);
    }
    assert_eq!(b.peer.learners().len(), 2);
}

#[test]
fn zookeeper_3104_newleader_comes_behind_everything_that_the_snapshot_stands_for() {
    let mut b = Bench::with(3, history(1, 3), |o| o.force_snapshot_sync = true).lead(2);
    let committed = b.propose();
    b.persist();
    b.from(2, Ack, committed);
    let outstanding = b.propose();
    b.said();
    b.introduce(1, 1, FollowerInfo);
    b.ack_epoch(1, 1, z(1, 1));
    assert_eq!((committed, outstanding), (z(2, 1), z(2, 2)));
    // A35, ZOOKEEPER-1549, 1558: what is not committed is not in the snapshot, and has no COMMIT.
    b.expect(&[
        "1: LEADERINFO 2:0",
        "1: SNAP 2:1",
        "1: snapshot at 2:1",
        "1: PROPOSAL 2:2",
        "1: NEWLEADER 2:0",
    ]);
}

#[test]
fn zookeeper_962_what_is_proposed_during_a_synchronisation_follows_it() {
    // A2, ZOOKEEPER-1264, 1282; A6, 1551 for observers.
    for (kind, wanted) in [
        (FollowerInfo, vec!["1: PROPOSAL 2:1", "1: COMMIT 2:1"]),
        (ObserverInfo, vec!["1: INFORM 2:1"]),
    ] {
        let mut b = Bench::new(3, history(1, 3)).lead(2);
        b.introduce(1, 1, kind);
        b.ack_epoch(1, 1, z(1, 2));
        b.expect(&[
            "1: LEADERINFO 2:0",
            "1: DIFF 1:3",
            "1: PROPOSAL 1:3",
            "1: COMMIT 1:3",
            "1: NEWLEADER 2:0",
        ]);
        let zxid = b.propose();
        b.persist();
        b.from(2, Ack, zxid);
        let to_it: Vec<_> = b.said().into_iter().filter(|s| s.starts_with("1:")).collect();
        assert_eq!(to_it, wanted, "before it has acknowledged NEWLEADER");
        b.from(1, Ack, z(2, 0));
        assert!(b.said().contains(&"1: UPTODATE -1".to_owned()));
    }
}

#[test]
fn zookeeper_1277_the_counter_does_not_run_over() {
    let mut b = Bench::with(3, history(1, 3), |o| o.counter_limit = 3).lead(2);
    assert_eq!((b.propose(), b.propose()), (z(2, 1), z(2, 2)));
    let last = b.peer.propose(b.now, txn(z(2, 3)));
    b.drain();
    assert_eq!(last, Err(ProposeError::RolledOver));
    assert!(b.said().join("\n").contains("rolled over"));
    assert_eq!(b.peer.state(), ServerState::Looking);
}

#[test]
fn zookeeper_3240_a_learner_that_falls_silent_is_dropped() {
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    b.introduce(1, 1, FollowerInfo);
    b.ack_epoch(1, 1, z(1, 3));
    b.from(1, Ack, z(2, 0));
    b.from(1, PacketKind::Ping, z(2, 0));
    for _ in 0..4 {
        b.pass(1000);
        b.from(2, PacketKind::Ping, z(2, 0));
    }
    b.pass(1500);
    let said = b.said().join("\n");
    assert!(said.contains("close 1: silent for too long"), "{said}");
    assert!(!said.contains("close 2"), "{said}");
    // And one that answers pings but acknowledges nothing.
    b.propose();
    b.persist();
    for _ in 0..6 {
        b.pass(1000);
        b.from(2, PacketKind::Ping, z(2, 0));
    }
    let said = b.said().join("\n");
    assert!(said.contains("close 2: proposal 0x200000001 not acknowledged in time"), "{said}");
    assert!(said.contains("looking: no quorum of followers in step"), "{said}");
}

#[test]
fn zookeeper_2247_a_leader_whose_disk_stands_still_steps_down() {
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    b.propose();
    for _ in 0..6 {
        b.pass(1000);
        b.from(2, PacketKind::Ping, z(2, 0));
    }
    assert!(b.said().join("\n").contains("the disk has not answered"));
    assert!(b.votes.iter().all(|(_, n)| n.state != ServerState::Looking || n.peer_epoch.0 < 2));
}

#[test]
fn zookeeper_1154_a_returning_server_is_cut_to_the_history() {
    // A1, ZOOKEEPER-1156: it logged a proposal that nobody else has.
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    b.introduce(1, 1, FollowerInfo);
    b.ack_epoch(1, 1, z(1, 4));
    b.expect(&["1: LEADERINFO 2:0", "1: TRUNC 1:3", "1: NEWLEADER 2:0"]);
}

#[test]
fn a_server_that_is_cut_no_longer_vouches_for_what_it_loses() {
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    let zxid = b.propose();
    b.from(2, Ack, zxid);
    b.link(LinkId(2), LinkEvent::Down);
    b.introduce(2, 2, FollowerInfo);
    b.said();
    // It comes back with another history than the one it acknowledged.
    b.ack_epoch(2, 2, z(1, 4));
    b.expect(&["2: TRUNC 1:3", "2: PROPOSAL 2:1", "2: NEWLEADER 2:0"]);
    b.persist();
    b.expect(&[]);
    b.from(2, Ack, z(2, 0));
    b.expect(&["2: UPTODATE -1", "2: PING 2:1"]);
    b.from(2, Ack, zxid);
    b.expect(&["2: COMMIT 2:1", "apply 2:1"]);
}

#[test]
fn a_follower_that_is_ahead_makes_a_leader_to_be_give_up() {
    let mut b = Bench::new(3, history(1, 3)).elected();
    b.introduce(2, 1, FollowerInfo);
    b.persist();
    b.ack_epoch(2, 1, z(1, 4));
    assert!(b.said().join("\n").contains("looking: follower 2 is ahead"));
}

#[test]
fn a_leader_is_quick_only_while_all_its_learners_are_ours() {
    let pings = |b: &mut Bench| {
        let mut promised = Vec::new();
        b.now = b.now + Duration::from_secs(1);
        b.peer.handle_timeout(b.now);
        while let Some(action) = b.peer.poll_action() {
            if let Action::Send { packet, .. } = action
                && packet.kind == PacketKind::Ping
            {
                promised.push(crate::proto::quorum::promised_silence(&packet));
            }
        }
        promised
    };
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    assert_eq!(pings(&mut b), [Some(2000)], "a quarter of five seconds, at least two");
    // An observer of Apache's: its LearnerInfo ends where Apache's ends.
    b.link(LinkId(9), LinkEvent::Up);
    let info = LearnerInfo {
        server: ServerId(9),
        protocol: PROTOCOL_VERSION,
        config_version: 0,
        rookeeper: false,
        claim: None,
    };
    let packet = QuorumPacket::with_data(ObserverInfo, z(1, 0), info.to_bytes());
    b.link(LinkId(9), LinkEvent::Packet(packet));
    assert_eq!(pings(&mut b), [None]);
    b.link(LinkId(9), LinkEvent::Down);
    assert_eq!(pings(&mut b), [Some(2000)]);
}

#[test]
fn bad_introductions_cost_their_link_and_nothing_else() {
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    let info = |server: i64, protocol, config_version| LearnerInfo {
        server: ServerId(server),
        protocol,
        config_version,
        rookeeper: false,
        claim: None,
    };
    let cases = [
        (info(3, PROTOCOL_VERSION, 0).to_bytes(), z(1, 0), "own id"),
        (info(1, 0x9999, 0).to_bytes(), z(1, 0), "learner protocol 0x9999"),
        (info(1, PROTOCOL_VERSION, 5).to_bytes(), z(1, 0), "config version 0x5 is newer"),
        (info(1, PROTOCOL_VERSION, 0).to_bytes().slice(..8), z(1, 0), "learner protocol 0x0"),
        (Bytes::new(), z(1, 0), "learner protocol 0x0"),
        (info(1, PROTOCOL_VERSION, 0).to_bytes(), Zxid(-5), "out of range"),
        (info(1, PROTOCOL_VERSION, 0).to_bytes(), Zxid(i64::MAX), "out of range"),
    ];
    for (n, (data, zxid, why)) in cases.into_iter().enumerate() {
        let link = LinkId(100 + n as u64);
        b.link(link, LinkEvent::Up);
        let packet = QuorumPacket::with_data(FollowerInfo, zxid, data);
        b.link(link, LinkEvent::Packet(packet));
        let said = b.said().join("\n");
        assert!(said.starts_with(&format!("close {}: ", link.0)) && said.contains(why), "{said}");
    }
    for (n, kind) in [Ack, Request, Proposal, Commit, Diff, NewLeader, UpToDate].iter().enumerate()
    {
        let link = 200 + n as u64;
        b.link(LinkId(link), LinkEvent::Up);
        b.from(link, *kind, z(2, 0));
        let said = b.said().join("\n");
        assert!(said.contains(&format!("close {link}: unexpected {}", kind.name())), "{said}");
    }
    assert!(b.peer.is_serving());
    assert_eq!(b.peer.learners().len(), 1);
}

#[test]
fn a_second_link_of_the_same_server_takes_the_place_of_the_first() {
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    b.introduce_on(50, 2, 2, FollowerInfo);
    let said = b.said().join("\n");
    assert!(said.contains("close 2: replaced by a newer link"), "{said}");
    // What is left of the first one says nothing any more.
    b.from(2, Ack, z(2, 1));
    b.expect(&[]);
    // S18: a server with two links acknowledges once.
    b.ack_epoch(50, 2, z(1, 3));
    b.from(50, Ack, z(2, 0));
    b.said();
    let zxid = b.propose();
    b.from(50, Ack, zxid);
    b.from(50, Ack, zxid);
    assert!(b.said().iter().all(|s| !s.starts_with("apply")), "its own disk has not answered");
}

#[test]
fn a_learner_that_stalls_inside_its_snapshot_is_dropped_and_one_that_moves_is_not() {
    let mut b = Bench::with(3, history(1, 3), |o| o.force_snapshot_sync = true).lead(2);
    b.introduce(1, 1, FollowerInfo);
    b.ack_epoch(1, 1, z(1, 1));
    for _ in 0..40 {
        b.pass(1000);
        b.from(2, PacketKind::Ping, z(2, 0));
        b.link(LinkId(1), LinkEvent::Progress);
    }
    assert!(!b.said().join("\n").contains("close 1"));
    for _ in 0..17 {
        b.pass(1000);
        b.from(2, PacketKind::Ping, z(2, 0));
    }
    let said = b.said().join("\n");
    assert!(said.contains("close 1: silent for too long"), "{said}");
    assert!(b.peer.is_serving());
}

// A follower with observers.

fn master() -> Bench {
    let mut b = Bench::with(1, history(1, 3), |o| o.observer_masters = true).accept(2);
    b.tell(Diff, z(1, 3));
    b.tell(NewLeader, z(2, 0));
    b.persist();
    b.said();
    b.tell(UpToDate, Zxid(-1));
    b.expect(&["up: ACK 2:0", "serving under 3", "listen for observers"]);
    b
}

#[test]
fn a_follower_takes_few_guests_and_every_member() {
    let mut b = master();
    let max = b.peer.options().guests_max as i64;
    for server in 100..100 + 3 * max {
        b.introduce(server, 1, ObserverInfo);
    }
    assert_eq!(b.peer.learners().len() as i64, max);
    b.said();
    b.introduce(9, 1, ObserverInfo);
    b.expect(&["9: LEADERINFO 2:0"]);
}

#[test]
fn a_follower_brings_an_observer_to_what_is_committed() {
    let mut b = master();
    b.tell(Proposal, z(2, 1));
    b.persist();
    b.tell(Commit, z(2, 1));
    b.tell(Proposal, z(2, 2));
    b.persist();
    b.said();
    b.introduce(9, 1, ObserverInfo);
    b.expect(&["9: LEADERINFO 2:0"]);
    b.ack_epoch(9, 1, z(1, 2));
    b.expect(&[
        "9: DIFF 2:1",
        "9: PROPOSAL 1:3",
        "9: COMMIT 1:3",
        "9: PROPOSAL 2:1",
        "9: COMMIT 2:1",
        "9: NEWLEADER 2:0",
    ]);
    b.tell(Commit, z(2, 2));
    b.expect(&["apply 2:2", "9: INFORM 2:2"]);
    b.from(9, Ack, z(2, 0));
    b.expect(&["9: UPTODATE -1", "9: PING 2:2"]);
    b.from(9, Ack, z(2, 0));
    b.from(9, Request, Zxid(-1));
    b.expect(&["from 9: REQUEST"]);
    assert!(b.peer.learners()[0].synced);
    b.down();
    let said = b.said();
    assert!(said.contains(&"close 9: this server left its role".to_owned()), "{said:?}");
    assert!(said.contains(&"stop listening".to_owned()), "{said:?}");
}

#[test]
fn an_observer_that_knows_more_waits_and_is_not_cut() {
    let mut b = master();
    b.introduce(9, 2, ObserverInfo);
    b.said();
    // It comes from another follower, which had heard of two commits.
    b.ack_epoch(9, 2, z(2, 2));
    b.expect(&[]);
    for c in 1..=2 {
        b.tell(Proposal, z(2, c));
        b.persist();
        b.tell(Commit, z(2, c));
    }
    let to_it: Vec<_> = b.said().into_iter().filter(|s| s.starts_with("9:")).collect();
    assert_eq!(to_it, ["9: DIFF 2:2", "9: NEWLEADER 2:0"]);
}

#[test]
fn a_follower_takes_observers_only() {
    let mut b = master();
    b.introduce(2, 1, FollowerInfo);
    let said = b.said().join("\n");
    assert!(said.contains("close 2: unexpected FOLLOWERINFO"), "{said}");
    b.introduce_on(40, 1, 1, ObserverInfo);
    assert!(b.said().join("\n").contains("own id"));
    // Without the setting nobody is taken.
    let mut b = Bench::new(1, history(1, 3)).accept(2);
    b.introduce(9, 1, ObserverInfo);
    assert!(b.said().join("\n").contains("close 9: this server does not lead"));
}

#[test]
fn beyond_the_limit_an_observer_is_refused_and_a_voter_is_not() {
    // Apache LearnerSyncThrottler: closed, to come again.
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    b.peer.core.options.snap_syncs_max = 1;
    b.peer.core.options.diff_syncs_max = 1;
    for (kind, last, what) in [("snapshot", Zxid(-1), "SNAP"), ("difference", z(1, 3), "DIFF")] {
        for id in [7, 8] {
            b.introduce(id, 1, ObserverInfo);
            b.said();
            b.ack_epoch(id as u64, 1, last);
            let said = b.said();
            let closed = format!(
                "close {id}: 1 learners are being brought up by a {kind} already, of 1 allowed"
            );
            assert_eq!(said.contains(&closed), id == 8, "{said:?}");
            assert_eq!(said.iter().any(|s| s.starts_with(&format!("{id}: {what}"))), id == 7);
        }
        b.introduce(1, 1, FollowerInfo);
        b.said();
        b.ack_epoch(1, 1, last);
        assert!(b.said().iter().any(|s| s.starts_with(&format!("1: {what}"))), "it has a vote");
        // What has acknowledged NEWLEADER is being brought up no longer; nor is what has gone.
        b.from(7, Ack, z(2, 0));
        b.link(LinkId(1), LinkEvent::Down);
        b.introduce(8, 1, ObserverInfo);
        b.ack_epoch(8, 1, last);
        assert!(b.said().iter().any(|s| s.starts_with(&format!("8: {what}"))));
        b.link(LinkId(7), LinkEvent::Down);
        b.link(LinkId(8), LinkEvent::Down);
        b.said();
    }
}

#[test]
fn a_learner_waits_for_a_walk_or_gets_an_image_that_its_log_does_not_exceed() {
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    b.peer.set_snapshots(Instant(0), true, None);
    b.drain();
    b.introduce(7, 1, ObserverInfo);
    b.ack_epoch(7, 1, Zxid(-1));
    assert!(!b.said().iter().any(|s| s.contains("SNAP")), "a walk is under way");
    // There is an image, of before the newest transaction.
    let zxid = b.propose();
    b.persist();
    b.from(2, Ack, zxid);
    b.said();
    b.peer.set_snapshots(Instant(0), true, Some(z(2, 0)));
    b.drain();
    let new = ["7: SNAP 2:0", "7: snapshot at 2:0", "7: PROPOSAL 2:1", "7: COMMIT 2:1"];
    assert_eq!(b.said()[..4], new);
    // A voter's word may have committed it: it needs an image that has it.
    b.introduce(1, 1, FollowerInfo);
    b.ack_epoch(1, 1, Zxid(-1));
    assert!(!b.said().iter().any(|s| s.contains("SNAP")));
    b.peer.set_snapshots(Instant(0), false, Some(z(2, 0)));
    b.drain();
    assert_eq!(b.said()[..2], ["1: SNAP 2:1", "1: snapshot at 2:1"]);
}
