//! What must not survive a link that broke: a learner that comes back may hold less than it did, and
//! whom a learner comes back to may hold less than it knows.

use super::*;
use PacketKind::{
    Ack, Commit, Diff, FollowerInfo, NewLeader, ObserverInfo, Proposal, Snap, Trunc, UpToDate,
};

/// Follows server 3 in epoch 2, and knows that its first transaction is committed.
fn knows_a_commit(id: i64) -> Bench {
    let mut b = Bench::new(id, history(1, 3)).accept(2);
    b.tell(Diff, z(1, 3));
    b.tell(NewLeader, z(2, 0));
    b.persist();
    b.tell(UpToDate, Zxid(-1));
    b.tell(Proposal, z(2, 1));
    b.tell(Commit, z(2, 1));
    b.persist();
    b.down();
    b
}

/// Has taken a snapshot of the very start of epoch 2, and one proposal that is not committed.
fn holds_an_epochs_start() -> Bench {
    let mut b = Bench::new(1, history(0, 0)).accept(2);
    b.tell(Snap, z(2, 0));
    b.link(b.up, LinkEvent::Image(ImageId(1)));
    b.persist();
    b.loaded();
    b.tell(NewLeader, z(2, 0));
    b.persist();
    b.tell(UpToDate, Zxid(-1));
    assert!(b.peer.is_serving());
    b.tell(Proposal, z(2, 1));
    b.persist();
    b.down();
    b
}

#[test]
fn a_snapshot_below_what_is_known_to_be_committed_ends_the_process() {
    let mut b = knows_a_commit(1).accept(3);
    b.tell(Snap, z(1, 3));
    let said = b.said().join("\n");
    assert!(said.contains("exit: leader 3 sends a snapshot of"), "{said}");
    b.link(b.up, LinkEvent::Image(ImageId(1)));
    let said = b.said().join("\n");
    assert!(!said.contains("disk: install"), "{said}");
}

#[test]
fn a_source_of_the_same_epoch_that_is_behind_is_left_and_not_taken_for_a_loss() {
    // An observer asks the next follower, which has not heard of the commit; a leader of Apache's has
    // not applied it yet.
    for kind in [Snap, Trunc] {
        for id in [1, 9] {
            let mut b = knows_a_commit(id).accept(2);
            b.tell(kind, z(1, 3));
            let said = b.said().join("\n");
            assert!(!said.contains("exit"), "{said}");
            assert!(said.contains("close up: "), "{said}");
            assert!(said.contains("looking: leader 3: "), "{said}");
            b.link(b.up, LinkEvent::Image(ImageId(1)));
            assert_eq!(b.peer.last_logged(), z(2, 1));
        }
    }
}

#[test]
fn an_epochs_start_is_no_transaction_that_a_leader_could_cut_off() {
    // Its leader fell; the next has the whole initial history of epoch 2, and nothing of epoch 2.
    let mut b = holds_an_epochs_start().accept(3);
    b.tell(Trunc, z(1, 3));
    b.expect(&["disk: cut 1:3"]);
    let mut b = holds_an_epochs_start().accept(3);
    b.tell(Snap, z(1, 3));
    b.link(b.up, LinkEvent::Image(ImageId(2)));
    b.expect(&["disk: install 1:3"]);
}

#[test]
fn a_snapshot_of_an_epochs_start_hides_no_commit_that_was_known_before() {
    let mut b = knows_a_commit(1).accept(3);
    b.tell(Snap, z(3, 0));
    b.link(b.up, LinkEvent::Image(ImageId(1)));
    b.persist();
    b.loaded();
    b.tell(NewLeader, z(3, 0));
    b.persist();
    b.tell(UpToDate, Zxid(-1));
    b.down();
    let mut b = b.accept(4);
    b.tell(Snap, z(1, 3));
    assert!(b.said().join("\n").contains("exit: leader 3 sends a snapshot of"));
}

#[test]
fn a_server_that_comes_back_with_less_vouches_for_nothing_above_it() {
    // Its disk has lost what it had acknowledged; a DIFF brings it again.
    for last in [z(1, 3), z(2, 1)] {
        let mut b = Bench::new(3, history(1, 3)).lead(2);
        let (first, second) = (b.propose(), b.propose());
        b.from(2, Ack, first);
        b.from(2, Ack, second);
        b.link(LinkId(2), LinkEvent::Down);
        b.introduce(2, 2, FollowerInfo);
        b.said();
        if last == z(2, 1) {
            // With the first of the two, which thereby is committed.
            b.persist_one();
            b.said();
        }
        b.ack_epoch(2, 2, last);
        let said = b.said();
        assert!(said.contains(&"2: PROPOSAL 2:2".to_owned()), "{said:?}");
        b.persist();
        let said = b.said();
        assert!(!said.contains(&"apply 2:2".to_owned()), "only this server has it: {said:?}");
        b.from(2, Ack, z(2, 0));
        b.from(2, Ack, first);
        b.from(2, Ack, second);
        assert!(b.said().contains(&"apply 2:2".to_owned()));
    }
}

#[test]
fn newleader_is_acknowledged_anew_by_who_is_brought_up_to_date_anew() {
    // Server 2 acknowledged it, lost its link and perhaps its disk before the leader's own epoch was
    // saved: this leader alone is no quorum.
    let mut b = Bench::new(3, history(1, 3)).elected();
    b.introduce(2, 1, FollowerInfo);
    b.persist();
    b.ack_epoch(2, 1, z(1, 3));
    b.from(2, Ack, z(2, 0));
    b.link(LinkId(2), LinkEvent::Down);
    b.introduce(2, 2, FollowerInfo);
    b.ack_epoch(2, -1, z(1, 1));
    b.persist();
    let said = b.said();
    assert!(!said.contains(&"leading 2".to_owned()), "{said:?}");
    b.from(2, Ack, z(2, 0));
    assert!(b.said().contains(&"leading 2".to_owned()));
}

#[test]
fn who_comes_back_without_the_epoch_it_promised_promises_again() {
    let mut b = Bench::with(3, history(1, 3), |o| {
        o.membership = Membership::majority((1..=5).map(ServerId), []);
    });
    let (zxid, epoch) = (b.peer.last_logged(), b.peer.current_epoch().0);
    for from in [1, 2, 4, 5] {
        b.vote(from, ServerState::Looking, 3, zxid, epoch);
    }
    b.introduce(1, 1, FollowerInfo);
    b.introduce(2, 1, FollowerInfo);
    b.persist();
    b.ack_epoch(1, 1, zxid);
    b.link(LinkId(1), LinkEvent::Down);
    // Its file of the accepted epoch is older than its promise.
    b.introduce(1, 1, FollowerInfo);
    b.said();
    b.ack_epoch(2, 1, zxid);
    b.expect(&[]);
    b.ack_epoch(1, 1, zxid);
    assert!(b.said().contains(&"disk: current 2".to_owned()));
}

#[test]
fn an_observer_that_comes_back_is_not_counted_for_what_it_acknowledged_as_a_voter() {
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    let first = b.propose();
    b.from(2, Ack, first);
    b.link(LinkId(2), LinkEvent::Down);
    b.introduce(2, 2, ObserverInfo);
    b.ack_epoch(2, 2, z(1, 3));
    b.persist();
    assert!(!b.said().contains(&"apply 2:1".to_owned()));
}
