//! The leader fell in the moment in which it committed a change, and those who have most of its
//! history vote under the membership to come alone.

use super::*;

const OLD: &str = "voters 1 2 3;observers 4 5";

/// Server `id` started anew: its log has 1:1 to 1:`n`, of which 1:2 is `change`.
fn started(id: i64, members: &str, change_to: &str, n: u32) -> Bench {
    let mut disk = history(1, n);
    let mut seen = None;
    if n >= 2 {
        disk.recent[1] = change(change_to, z(1, 2));
        seen = Some(config(change_to, z(1, 2)));
    }
    Bench::with(id, disk, |o| {
        o.membership = config(members, z(1, 0));
        o.seen = seen;
        o.reconfig = Some(READER);
    })
}

/// Passes the votes on until everybody has found whom to follow, or nothing more comes of it.
fn elect(servers: &mut [Bench]) {
    for _ in 0..50 {
        for at in 0..servers.len() {
            let from = servers[at].peer.id();
            for (to, notification) in std::mem::take(&mut servers[at].votes) {
                if let Some(other) = servers.iter_mut().find(|b| b.peer.id() == to) {
                    other.peer.handle_notification(other.now, from, notification);
                    other.drain();
                }
            }
        }
        if servers.iter().all(|b| b.peer.leader().is_some()) {
            return;
        }
        if servers.iter().all(|b| b.votes.is_empty()) {
            servers.iter_mut().for_each(|b| b.pass(200));
        }
    }
}

fn leaders(servers: &[Bench]) -> Vec<Option<i64>> {
    servers.iter().map(|b| b.peer.leader().map(|leader| leader.0)).collect()
}

#[test]
fn a_voter_to_be_leads_when_no_voter_has_as_much() {
    // As seed 66 of the storm had it: 4 alone votes, and proposes 1:2, by which 1, 2 and 5 vote as well; it is
    // committed, for all that 4 knows. It falls with 1:4 unwritten, which 2 and 5 have; 1 was away.
    let (now, next) = ("voters 4;observers 1 2 3 5", "voters 1 2 4 5;observers 3");
    let with = |id, n| started(id, now, next, n);
    let mut all = [with(1, 1), with(2, 4), with(4, 3), with(5, 4)];
    elect(&mut all);
    assert_eq!(leaders(&all), [Some(5); 4]);
    let [.., four, mut five] = all;
    assert!(four.said.contains(&"connect 5".to_owned()), "{:?}", four.said);
    five.said();
    five.introduce(1, 1, ObserverInfo);
    five.introduce(2, 1, FollowerInfo);
    five.persist();
    five.expect(&[]);
    // Three of the new four, but not the old one.
    five.introduce(4, 1, FollowerInfo);
    five.persist();
    five.ack_epoch(1, 1, z(1, 1));
    five.ack_epoch(2, 1, z(1, 4));
    five.said();
    five.ack_epoch(4, 1, z(1, 3));
    five.persist();
    let said = five.said();
    assert!(said.contains(&"4: PROPOSAL 1:4".to_owned()), "nothing is cut: {said:?}");
    five.from(1, Ack, z(2, 0));
    five.from(2, Ack, z(2, 0));
    assert!(!five.peer.is_serving());
    five.from(4, Ack, z(2, 0));
    assert!(five.peer.is_serving());
    assert_eq!(five.version(), z(1, 2).0);
    // It stays: it had no place that it could have changed.
    let next = five.propose();
    five.persist();
    five.said();
    five.from(2, Ack, next);
    five.from(4, Ack, next);
    assert!(five.said().contains(&"apply 2:1".to_owned()));
}

#[test]
fn voters_hear_of_the_change_from_one_that_has_it() {
    // 3, which led, is gone; of the other two that vote, 2 has never heard of 4 and 5.
    let with = |id, n| started(id, OLD, "voters 3 4 5", n);
    let mut all = [with(1, 3), with(2, 1), with(4, 4), with(5, 2)];
    elect(&mut all);
    assert_eq!(leaders(&all), [Some(4); 4]);
    let [_, two, ..] = &all;
    assert!(!two.peer.is_reconfiguring(), "what it heard does not bind it");
}

#[test]
fn without_a_voter_that_has_the_change_only_voters_are_elected() {
    // No quorum has 1:2: whatever follows it is not committed.
    let with = |id, n| started(id, OLD, "voters 3 4 5", n);
    let mut all = [with(1, 1), with(2, 1), with(4, 4), with(5, 2)];
    elect(&mut all);
    assert_eq!(leaders(&all)[..2], [Some(2); 2]);
    // 4 alone says so, and 2 does not take its word.
    let mut two = with(2, 1);
    two.said();
    let told = Notification {
        state: ServerState::Looking,
        leader: ServerId(4),
        zxid: z(1, 4),
        round: 1,
        peer_epoch: Epoch(1),
        version: 2,
        config: Some(config(OLD, z(1, 0)).text),
        pending: Some(config("voters 3 4 5", z(1, 2)).text),
    };
    two.peer.handle_notification(two.now, ServerId(4), told);
    two.drain();
    assert_eq!(two.newest_vote().leader, ServerId(2));
}

#[test]
fn a_voter_that_has_as_much_goes_first() {
    let with = |id, n| started(id, OLD, "voters 3 4 5", n);
    let mut all = [with(1, 4), with(2, 1), with(4, 4), with(5, 2)];
    elect(&mut all);
    assert_eq!(leaders(&all), [Some(1); 4]);
}
