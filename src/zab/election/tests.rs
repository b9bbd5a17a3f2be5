use bytes::Bytes;

use super::*;

const WAITS: Waits = Waits {
    finalize: Duration::from_millis(200),
    repeat_min: Duration::from_millis(200),
    repeat_max: Duration::from_millis(1000),
};

fn members(voters: i64) -> Membership {
    Membership::majority((1..=voters).map(ServerId), [ServerId(9)])
}

fn vote(leader: i64, epoch: i64, zxid: i64) -> Vote {
    Vote { leader: ServerId(leader), zxid: Zxid(zxid), peer_epoch: Epoch(epoch) }
}

fn message(state: ServerState, round: i64, vote: Vote) -> Notification {
    Notification {
        state,
        leader: vote.leader,
        zxid: vote.zxid,
        round,
        peer_epoch: vote.peer_epoch,
        version: 2,
        config: Some(Bytes::new()),
        pending: None,
    }
}

fn looking(round: i64, vote: Vote) -> Notification {
    message(ServerState::Looking, round, vote)
}

fn election(me: i64, own: Vote) -> Election {
    Election::new(Instant(0), ServerId(me), Part::Voter, 1, own, WAITS)
}

#[test]
fn the_vote_order_is_epoch_then_zxid_then_id() {
    let m = members(3);
    let order = [vote(3, 1, 5), vote(1, 1, 6), vote(2, 1, 6), vote(1, 2, 1), vote(2, 2, 1)];
    for (i, a) in order.iter().enumerate() {
        for (j, b) in order.iter().enumerate() {
            assert_eq!(a.beats(b, &m), i > j, "{a:?} against {b:?}");
        }
        assert!(a.beats(&Vote::NONE, &m));
    }
    assert!(!vote(9, 9, 9).beats(&vote(1, 1, 1), &m), "an observer weighs nothing");
}

#[test]
fn a_quorum_waits_and_everyone_does_not() {
    let m = members(3);
    let mut e = election(3, vote(3, 1, 5));
    assert_eq!(e.start(Instant(0), &m), Step::Broadcast);
    let mine = looking(1, vote(3, 1, 5));
    assert_eq!(e.handle(Instant(10), ServerId(1), &mine, &m), Step::Wait);
    assert_eq!(e.poll_timeout(), Instant::from_millis(200), "the repetition comes first");
    let mut all = e.clone();
    assert_eq!(all.handle(Instant(20), ServerId(2), &mine, &m), Step::Elected(vote(3, 1, 5)));
    assert_eq!(e.handle_timeout(Instant::from_millis(200), &m), Step::Broadcast);
    assert_eq!(e.poll_timeout(), Instant(200_010));
    assert_eq!(e.handle_timeout(Instant(200_010), &m), Step::Elected(vote(3, 1, 5)));
}

#[test]
fn a_better_vote_restarts_the_wait() {
    let m = members(5);
    let mut e = election(3, vote(3, 1, 5));
    for from in [1, 2] {
        e.handle(Instant(0), ServerId(from), &looking(1, vote(3, 1, 5)), &m);
    }
    let better = looking(1, vote(4, 1, 7));
    assert_eq!(e.handle(Instant(10), ServerId(4), &better, &m), Step::Broadcast);
    assert_eq!(e.proposal(), vote(4, 1, 7));
    assert_eq!(e.handle_timeout(Instant(200_000), &m), Step::Broadcast, "only the repetition");
}

#[test]
fn rounds_are_adopted_upwards_and_answered_downwards() {
    let m = members(3);
    let mut e = election(2, vote(2, 1, 5));
    let ahead = looking(4, vote(1, 1, 4));
    assert_eq!(e.handle(Instant(0), ServerId(1), &ahead, &m), Step::Broadcast);
    assert_eq!((e.round(), e.proposal()), (4, vote(2, 1, 5)), "the own vote is better");
    let behind = looking(3, vote(3, 9, 9));
    assert_eq!(e.handle(Instant(0), ServerId(3), &behind, &m), Step::Answer(ServerId(3)));
    assert_eq!(e.proposal(), vote(2, 1, 5), "a vote of an old round isn't counted");
}

#[test]
fn strangers_observers_and_the_mute_are_not_counted() {
    let m = members(3);
    let mut e = election(1, vote(1, 1, 5));
    for (from, n) in [
        (9, looking(1, vote(3, 8, 8))),
        (7, looking(1, vote(3, 8, 8))),
        (2, looking(1, vote(9, 8, 8))),
        (2, looking(1, Vote { zxid: Zxid(-1), ..vote(2, 8, 0) })),
        (2, message(ServerState::Observing, 1, vote(3, 8, 8))),
    ] {
        assert_eq!(e.handle(Instant(0), ServerId(from), &n, &m), Step::Wait, "{n:?}");
        assert_eq!(e.proposal(), vote(1, 1, 5));
    }
}

#[test]
fn a_settled_ensemble_is_joined_only_when_its_leader_confirms() {
    let m = members(3);
    let following = message(ServerState::Following, 7, vote(3, 2, 9));
    // ZOOKEEPER-1732, 1805: other members may remember another zxid and round.
    let leading = message(ServerState::Leading, 5, vote(3, 2, 4));
    let mut e = election(1, vote(1, 1, 5));
    assert_eq!(e.handle(Instant(0), ServerId(2), &following, &m), Step::Wait);
    let joined = e.handle(Instant(0), ServerId(3), &leading, &m);
    assert_eq!(joined, Step::Elected(vote(3, 2, 4)));
    assert_eq!(e.round(), 5);
    let mut e = election(1, vote(1, 1, 5));
    let other = message(ServerState::Leading, 7, vote(3, 1, 9));
    e.handle(Instant(0), ServerId(2), &following, &m);
    assert_eq!(e.handle(Instant(0), ServerId(3), &other, &m), Step::Wait, "another epoch");
}

#[test]
fn a_dead_leader_is_not_elected_from_memory() {
    let m = members(5);
    let mut e = election(1, vote(1, 1, 5));
    for from in [2, 3, 4] {
        let memory = message(ServerState::Following, 1, vote(5, 2, 9));
        assert_eq!(e.handle(Instant(0), ServerId(from), &memory, &m), Step::Wait);
    }
    // And a restarted leader doesn't believe its followers' memory of itself.
    let mut e = election(5, vote(5, 2, 9));
    for from in [1, 2, 3, 4] {
        let memory = message(ServerState::Following, 4, vote(5, 2, 9));
        assert_eq!(e.handle(Instant(0), ServerId(from), &memory, &m), Step::Wait);
    }
}

#[test]
fn the_mute_join_but_never_vote() {
    let m = members(3);
    let mut e = Election::new(Instant(0), ServerId(1), Part::Mute, 1, vote(1, 0, 0), WAITS);
    assert_eq!(e.start(Instant(0), &m), Step::Broadcast);
    assert_eq!(e.notification(&m).zxid, Zxid(-1));
    for from in [2, 3] {
        let n = looking(1, vote(3, 1, 5));
        assert_eq!(e.handle(Instant(0), ServerId(from), &n, &m), Step::Wait);
    }
    e.handle(Instant(0), ServerId(2), &message(ServerState::Following, 1, vote(3, 1, 5)), &m);
    let leading = message(ServerState::Leading, 1, vote(3, 1, 5));
    assert_eq!(e.handle(Instant(0), ServerId(3), &leading, &m), Step::Elected(vote(3, 1, 5)));
}

#[test]
fn an_observer_follows_the_election_of_others() {
    let m = members(3);
    let mut e = Election::new(Instant(0), ServerId(9), Part::Observer, 1, Vote::NONE, WAITS);
    let n = looking(1, vote(3, 1, 5));
    assert_eq!(e.handle(Instant(0), ServerId(3), &n, &m), Step::Broadcast);
    assert_eq!(e.handle(Instant(0), ServerId(2), &n, &m), Step::Wait);
    assert_eq!(e.handle_timeout(Instant::from_millis(201), &m), Step::Elected(vote(3, 1, 5)));
}

#[test]
fn a_single_voter_elects_itself_at_once() {
    let m = members(1);
    let mut e = election(1, vote(1, 0, 0));
    assert_eq!(e.start(Instant(0), &m), Step::Elected(vote(1, 0, 0)));
}

/// One that stands back, with as much as everyone.
fn standing_back(me: i64) -> Election {
    let mut e = election(me, vote(me, 1, 5));
    e.stand_back();
    e
}

#[test]
fn a_server_that_stands_back_votes_for_others_that_have_all_it_has() {
    let m = members(3);
    let mut e = standing_back(3);
    assert_eq!(e.start(Instant(0), &m), Step::Broadcast);
    let said = e.notification(&m);
    assert_eq!((said.leader, said.zxid), (Vote::NONE.leader, Zxid(5)), "it votes for nobody");
    // Others answer that with their vote, and take part in its round.
    let mut other = election(2, vote(2, 1, 5));
    assert_eq!(other.handle(Instant(0), ServerId(3), &said, &m), Step::Answer(ServerId(3)));
    let later = Notification { round: 4, ..said };
    assert_eq!(other.handle(Instant(0), ServerId(3), &later, &m), Step::Broadcast);
    assert_eq!(other.round(), 4);
    // Two that stand back say nothing to each other.
    let undecided = standing_back(2).notification(&m);
    assert_eq!(e.handle(Instant(0), ServerId(2), &undecided, &m), Step::Wait);

    let less = looking(1, vote(2, 1, 4));
    assert_eq!(e.handle(Instant(0), ServerId(2), &less, &m), Step::Wait);
    assert_eq!(e.proposal().leader, Vote::NONE.leader, "it has more");
    let enough = looking(1, vote(1, 1, 5));
    assert_eq!(e.handle(Instant(0), ServerId(1), &enough, &m), Step::Broadcast);
    assert_eq!(e.proposal(), vote(1, 1, 5));
    // And when it can lead again, it stands.
    assert_eq!(e.come_forward(&m), Step::Broadcast);
    assert_eq!(e.proposal(), vote(3, 1, 5));
    assert_eq!(e.come_forward(&m), Step::Wait, "once");
}

#[test]
fn a_server_that_stands_back_takes_no_agreement_on_itself() {
    let m = members(3);
    let mut e = standing_back(3);
    e.start(Instant(0), &m);
    for from in [1, 2] {
        let for_me = looking(1, vote(3, 1, 5));
        assert_eq!(e.handle(Instant(0), ServerId(from), &for_me, &m), Step::Wait);
        let following = message(ServerState::Following, 1, vote(3, 1, 5));
        assert_eq!(e.handle(Instant(0), ServerId(from), &following, &m), Step::Wait);
    }
    let long = Instant::from_millis(60_000);
    assert!(!matches!(e.handle_timeout(long, &m), Step::Elected(_)));
    // A leader that others follow is followed.
    let leading = message(ServerState::Leading, 1, vote(2, 1, 5));
    e.handle(long, ServerId(2), &leading, &m);
    let following = message(ServerState::Following, 1, vote(2, 1, 5));
    assert_eq!(e.handle(long, ServerId(1), &following, &m), Step::Elected(vote(2, 1, 5)));
}
