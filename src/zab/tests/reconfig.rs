//! The membership changes (`reconfigEnabled`). Configs are written "voters 1 2 3;observers 9;moved 2;
//! version=100000000" here: a member that moved has another learner port.

mod ahead;
mod storm;

use super::*;
use PacketKind::{
    Ack, Commit, CommitAndActivate, Diff, FollowerInfo, NewLeader, ObserverInfo, Proposal, UpToDate,
};
use std::collections::BTreeMap;

use crate::proto::quorum::{commit_and_activate, designated_leader};
use crate::zab::quorum::{Quorum, Rule};

/// A transaction of type 16 begins with 28 bytes that don't matter.
const HEADER: usize = 32;

fn read(text: &Bytes) -> Option<Membership> {
    let said = std::str::from_utf8(text).ok()?;
    let ids = |name: &str| -> Vec<ServerId> {
        let part = said.split(';').find_map(|part| part.strip_prefix(name)).unwrap_or_default();
        part.split_whitespace().map(|id| ServerId(id.parse().expect("an id"))).collect()
    };
    let version = i64::from_str_radix(said.rsplit_once("version=")?.1, 16).ok()?;
    let moved: BTreeMap<_, _> = ids("moved").iter().map(|id| (*id, "moved".to_owned())).collect();
    Some(Membership {
        version,
        quorum: Quorum::of(Rule::majority(ids("voters"))),
        observers: ids("observers").into_iter().collect(),
        places: moved,
        text: text.clone(),
    })
}

fn text_of(txn: &Bytes) -> Option<Bytes> {
    (txn.len() > HEADER).then(|| txn.slice(HEADER..))
}

const READER: ConfigReader = ConfigReader { read, text_of };

fn config(members: &str, version: Zxid) -> Membership {
    let text = Bytes::from(format!("{members};version={:x}", version.0));
    read(&text).expect("well-formed")
}

fn change(members: &str, zxid: Zxid) -> EncodedTxn {
    let mut bytes = vec![0; HEADER];
    bytes[31] = 16;
    bytes.extend_from_slice(&config(members, zxid).text);
    EncodedTxn::new(zxid, bytes.into())
}

const THREE: &str = "voters 1 2 3;observers 9";

/// Server `id`, in an ensemble that has had its first leader.
fn bench(id: i64) -> Bench {
    bench_of(id, history(1, 3), THREE)
}

fn bench_of(id: i64, disk: DiskState, members: &str) -> Bench {
    Bench::with(id, disk, |o| {
        o.membership = config(members, z(1, 0));
        o.reconfig = Some(READER);
    })
}

impl Bench {
    fn reconfigure(&mut self, members: &str) -> Zxid {
        let zxid = self.peer.next_zxid().expect("it leads");
        self.peer.propose(self.now, change(members, zxid)).expect("taken");
        self.drain();
        zxid
    }

    /// Server `server` follows on the link of its number, and is in step.
    fn join(&mut self, server: i64, kind: PacketKind, epoch: i64) {
        self.introduce(server, epoch - 1, kind);
        self.ack_epoch(server as u64, 1, z(1, 3));
        self.persist();
        self.from(server as u64, Ack, z(epoch, 0));
        self.said();
    }

    fn hear_change(&mut self, members: &str, zxid: Zxid) {
        self.hear(QuorumPacket::with_data(Proposal, zxid, change(members, zxid).bytes));
    }

    /// Serves under server 3 in epoch 2.
    fn serve(self) -> Bench {
        let text = self.peer.options().membership.text.clone();
        let mut bench = self.accept(2);
        bench.tell(Diff, z(1, 3));
        bench.hear(QuorumPacket::with_data(NewLeader, z(2, 0), text));
        bench.persist();
        bench.tell(UpToDate, Zxid(-1));
        assert!(bench.peer.is_serving());
        bench.said();
        bench
    }

    fn version(&self) -> i64 {
        self.peer.options().membership.version
    }

    fn notify(&mut self, from: i64, state: ServerState, leader: i64, config: &Membership) {
        let notification = Notification {
            state,
            leader: ServerId(leader),
            zxid: z(1, 3),
            round: 1,
            peer_epoch: Epoch(1),
            version: 2,
            config: Some(config.text.clone()),
            pending: None,
        };
        self.peer.handle_notification(self.now, ServerId(from), notification);
        self.drain();
    }
}

#[test]
fn a_change_needs_the_quorums_of_both_memberships() {
    let mut b = bench(3).lead(2);
    b.join(4, FollowerInfo, 2);
    let zxid = b.reconfigure("voters 1 2 3 4;observers 9");
    let text = "voters 1 2 3 4;observers 9;version=200000001";
    b.expect(&[
        "2: PROPOSAL 2:1",
        "4: PROPOSAL 2:1",
        &format!("disk: next config {text}"),
        "disk: append 2:1",
    ]);
    assert!(b.peer.is_reconfiguring());
    b.persist();
    b.from(2, Ack, zxid);
    // Two of three, but two of four.
    b.expect(&[]);
    let later = b.propose();
    b.said();
    b.from(4, Ack, zxid);
    b.expect(&[
        &format!("disk: config {text}"),
        &format!("active {text}"),
        "2: COMMITANDACTIVATE 2:1",
        "4: COMMITANDACTIVATE 2:1",
        "apply 2:1",
    ]);
    assert!(!b.peer.is_reconfiguring());
    // The new member counts from now on.
    b.persist();
    b.from(4, Ack, later);
    b.expect(&[]);
    b.from(2, Ack, later);
    b.expect(&["2: COMMIT 2:2", "4: COMMIT 2:2", "apply 2:2"]);
}

#[test]
fn a_minority_of_the_new_members_cannot_commit() {
    let mut b = bench(3).lead(2);
    b.join(1, FollowerInfo, 2);
    b.join(4, FollowerInfo, 2);
    let before = b.propose();
    let zxid = b.reconfigure("voters 3 4 5");
    assert!(b.peer.is_quorum_synced(&config("voters 3 4 5", zxid)));
    assert!(!b.peer.is_quorum_synced(&config("voters 4 5 6", zxid)));
    b.persist();
    b.said();
    for link in [1, 2] {
        b.from(link, Ack, before);
        b.from(link, Ack, zxid);
    }
    let said = b.said();
    assert!(said.contains(&"1: COMMIT 2:1".to_owned()), "what came before needs the old: {said:?}");
    assert!(!said.iter().any(|s| s.contains("ACTIVATE")), "{said:?}");
    b.from(4, Ack, zxid);
    assert!(b.said().contains(&"1: COMMITANDACTIVATE 2:2".to_owned()));
}

#[test]
fn a_follower_that_is_taken_out_stays_and_is_not_counted() {
    let mut b = bench(3).lead(2);
    b.join(1, FollowerInfo, 2);
    let zxid = b.reconfigure("voters 2 3;observers 9");
    b.persist();
    b.from(2, Ack, zxid);
    let said = b.said();
    assert!(said.contains(&"1: COMMITANDACTIVATE 2:1".to_owned()), "{said:?}");
    assert_eq!(b.peer.learners().len(), 2);
    let later = b.propose();
    b.persist();
    b.said();
    b.from(1, Ack, later);
    b.expect(&[]);
    b.from(2, Ack, later);
    b.expect(&["1: COMMIT 2:2", "2: COMMIT 2:2", "apply 2:2"]);
}

#[test]
fn a_follower_that_is_taken_out_goes_on_as_one() {
    let mut b = bench(1).serve();
    b.hear_change("voters 2 3", z(2, 1));
    b.persist();
    b.said();
    b.hear(commit_and_activate(z(2, 1), ServerId(3)));
    b.expect(&[
        "apply 2:1",
        "disk: config voters 2 3;version=200000001",
        "active voters 2 3;version=200000001",
    ]);
    assert!(b.peer.is_serving());
    assert_eq!(b.peer.state(), ServerState::Following);
    b.tell(Proposal, z(2, 2));
    b.persist();
    assert!(b.said().contains(&"up: ACK 2:2".to_owned()), "as Apache's non-voting participant");
}

#[test]
fn the_config_is_saved_before_its_proposal_is_acknowledged() {
    let mut b = bench(1).serve();
    b.hear_change("voters 1 2 3 4", z(2, 1));
    b.expect(&["disk: next config voters 1 2 3 4;version=200000001", "disk: append 2:1"]);
    b.persist_one();
    b.expect(&[]);
    b.persist_one();
    b.expect(&["up: ACK 2:1"]);
    assert_eq!(b.version(), z(1, 0).0, "not in force");
    assert_eq!(b.newest_of_vote(), z(1, 0).0);
}

impl Bench {
    /// The version in what it tells a server that searches.
    fn newest_of_vote(&mut self) -> i64 {
        self.vote(7, ServerState::Looking, 7, z(1, 3), 1);
        let text = self.newest_vote().config.clone().expect("version 2");
        read(&text).expect("its own").version
    }
}

#[test]
fn a_leader_that_is_taken_out_hands_over_when_it_was_heard() {
    let mut b = bench(3).lead(2);
    b.join(1, FollowerInfo, 2);
    let zxid = b.reconfigure("voters 1 2;observers 3 9");
    let lost = b.propose();
    b.persist();
    b.from(1, Ack, zxid);
    b.said();
    b.from(2, Ack, lost);
    b.from(2, Ack, zxid);
    let said = b.said();
    let told = "2: COMMITANDACTIVATE 2:1".to_owned();
    assert!(said.contains(&told) && said.contains(&"apply 2:1".to_owned()), "{said:?}");
    assert!(!said.iter().any(|s| s.contains("2:2")), "nothing more is committed: {said:?}");
    let next = b.peer.next_zxid().unwrap_or_default();
    assert_eq!(b.peer.propose(b.now, txn(next)), Err(ProposeError::NotLeading));
    b.link(LinkId(1), LinkEvent::Down);
    b.expect(&[]);
    b.link(LinkId(2), LinkEvent::Down);
    // Server 2 has acknowledged the most.
    b.persist();
    let said = b.said();
    let wanted = ["stop listening", "looking: the membership has changed", "connect 2"];
    assert!(wanted.iter().all(|w| said.contains(&(*w).to_owned())), "{said:?}");
    b.link(b.up, LinkEvent::Up);
    b.expect(&["up: OBSERVERINFO 2:0"]);
}

#[test]
fn a_retiring_leader_answers_no_sync_behind_one_that_it_dropped() {
    // Answers to syncs carry no number: were one left out, a follower would take each for the one
    // before. What a retiring leader leaves out it leaves out to its end, and the links end with it.
    let mut b = bench(3).lead(2);
    b.join(1, FollowerInfo, 2);
    let zxid = b.reconfigure("voters 1 2;observers 3 9");
    b.persist();
    assert!(b.peer.sync(b.now, 1));
    b.drain();
    b.from(1, Ack, zxid);
    b.from(2, Ack, zxid);
    let mut synced = Vec::new();
    for token in 2..6 {
        assert!(!b.peer.sync(b.now, token), "it retires");
        for link in [1, 2] {
            b.from(link, PacketKind::Ping, zxid);
        }
        synced.extend(b.said().into_iter().filter(|said| said.starts_with("synced")));
    }
    assert_eq!(synced, ["synced 1"]);
    b.pass(9000);
    let said = b.said();
    assert!(said.contains(&"close 1: this server left its role".to_owned()), "{said:?}");
    assert!(!said.iter().any(|s| s.starts_with("synced")), "{said:?}");
}

#[test]
fn a_leader_that_nobody_leaves_does_not_wait_for_ever() {
    let mut b = bench(3).lead(2);
    b.join(1, FollowerInfo, 2);
    let zxid = b.reconfigure("voters 1 2");
    b.persist();
    b.from(1, Ack, zxid);
    b.from(2, Ack, zxid);
    b.said();
    b.pass(9000);
    assert!(b.said().contains(&"looking: the membership has changed".to_owned()));
}

#[test]
fn a_leader_whose_port_moves_hands_over_too() {
    let mut b = bench(3).lead(2);
    b.join(1, FollowerInfo, 2);
    let zxid = b.reconfigure("voters 1 2 3;moved 3");
    b.persist();
    b.from(1, Ack, zxid);
    assert!(b.said().contains(&"1: COMMITANDACTIVATE 2:1".to_owned()));
    assert_eq!(b.peer.propose(b.now, txn(z(2, 2))), Err(ProposeError::NotLeading));
}

#[test]
fn the_designated_leader_leads_without_an_election_and_others_go_to_it() {
    for (id, wanted) in [(2, "listen"), (1, "connect 2")] {
        let mut b = bench(id).serve();
        b.hear_change("voters 1 2", z(2, 1));
        b.persist();
        b.said();
        b.hear(commit_and_activate(z(2, 1), ServerId(2)));
        b.persist();
        let said = b.said();
        assert!(said.contains(&"apply 2:1".to_owned()), "{said:?}");
        assert!(said.contains(&"looking: the membership has changed".to_owned()), "{said:?}");
        assert_eq!(said.last().map(String::as_str), Some(wanted), "{said:?}");
        assert_eq!(b.peer.leader(), Some(ServerId(2)));
    }
}

#[test]
fn a_member_whose_part_changes_comes_back_in_the_other() {
    let mut b = bench(1).serve();
    b.hear_change("voters 2 3;observers 1", z(2, 1));
    b.persist();
    b.hear(commit_and_activate(z(2, 1), ServerId(3)));
    b.persist();
    assert!(b.said().contains(&"connect 3".to_owned()));
    b.link(b.up, LinkEvent::Up);
    b.expect(&["up: OBSERVERINFO 2:0"]);

    let mut b = bench(9).serve();
    let bytes = change("voters 1 2 3 9", z(2, 1)).bytes;
    b.hear(crate::proto::quorum::inform_and_activate(z(2, 1), ServerId(3), &bytes));
    b.persist();
    b.said();
    b.link(b.up, LinkEvent::Up);
    b.expect(&["up: FOLLOWERINFO 2:0"]);
}

/// A server of three that has this change in its log as 1:4, and nothing behind it.
fn with_logged(me: i64, text: &str) -> Bench {
    let mut disk = history(1, 3);
    disk.recent.push(change(text, z(1, 4)));
    disk.last = z(1, 4);
    Bench::with(me, disk, |o| {
        o.membership = config(THREE, z(1, 0));
        o.seen = Some(config(text, z(1, 4)));
        o.reconfig = Some(READER);
    })
}

#[test]
fn after_a_crash_between_proposal_and_commit_both_quorums_elect() {
    // Server 3 had proposed that 4 and 5 take the places of 1 and 2, and fell; 1 has it on disk.
    let mut b = with_logged(1, "voters 3 4 5");
    b.vote(2, ServerState::Looking, 1, z(1, 4), 1);
    b.pass(1000);
    assert!(b.peer.is_electing(), "two of the old three are not enough");
    b.vote(4, ServerState::Looking, 1, z(1, 4), 1);
    b.pass(1000);
    assert!(b.peer.is_electing());
    b.vote(5, ServerState::Looking, 1, z(1, 4), 1);
    b.pass(1000);
    assert_eq!(b.peer.leader(), Some(ServerId(1)), "two of each");
    b.said();
    // It completes the change: it isn't in the new membership, so another leads then.
    b.introduce(2, 1, FollowerInfo);
    b.introduce(4, 1, FollowerInfo);
    b.persist();
    b.expect(&[]);
    b.introduce(5, 1, FollowerInfo);
    b.persist();
    for link in [2, 4, 5] {
        b.ack_epoch(link, 1, z(1, 4));
    }
    b.persist();
    for link in [2, 4] {
        b.from(link, Ack, z(2, 0));
    }
    assert!(!b.peer.is_serving());
    b.said();
    b.from(5, Ack, z(2, 0));
    let said = b.said();
    let active = "active voters 3 4 5;version=100000004".to_owned();
    assert!(said.contains(&active), "{said:?}");
    for link in [2, 4, 5] {
        assert!(said.contains(&format!("{link}: UPTODATE -1")), "{said:?}");
    }
    assert_eq!(b.version(), z(1, 4).0);
    for link in [2, 4, 5] {
        b.link(LinkId(link), LinkEvent::Down);
    }
    b.persist();
    assert!(b.said().contains(&"connect 4".to_owned()));
}

#[test]
fn a_voter_to_be_helps_to_elect_and_what_it_has_more_is_cut() {
    // The leader fell with its proposal unwritten; 4, which is to vote, has it and one more.
    let seen = config("voters 3 4", z(1, 4));
    let started = |id: i64, n: u32| {
        let mut disk = history(1, 3);
        if n > 3 {
            disk.recent.push(change("voters 3 4", z(1, 4)));
            disk.recent.extend((5..=n).map(|c| txn(z(1, c))));
            disk.last = z(1, n);
        }
        Bench::with(id, disk, |o| {
            o.membership = config("voters 3;observers 4", z(1, 0));
            o.seen = Some(seen.clone());
            o.reconfig = Some(READER);
        })
    };
    let mut four = started(4, 5);
    four.vote(3, ServerState::Looking, 3, z(1, 3), 1);
    four.pass(300);
    assert_eq!(four.peer.leader(), Some(ServerId(3)));
    let mut three = started(3, 3);
    three.vote(4, ServerState::Looking, 3, z(1, 3), 1);
    three.pass(300);
    three.said();
    three.introduce(4, 1, ObserverInfo);
    three.persist();
    three.said();
    three.ack_epoch(4, 1, z(1, 5));
    three.expect(&["disk: current 2", "4: TRUNC 1:3", "4: NEWLEADER 2:0"]);
    three.persist();
    three.from(4, Ack, z(2, 0));
    assert!(three.peer.is_serving());
    assert_eq!(three.version(), z(1, 4).0, "the change it had begun");
}

#[test]
fn what_the_new_quorum_alone_may_have_committed_is_not_cut() {
    // The leader that committed the change, and 1:5 after it by 4 alone, is gone; 3 has the change.
    let mut disk = history(1, 3);
    disk.recent.push(change("voters 3 4", z(1, 4)));
    disk.last = z(1, 4);
    let mut three = Bench::with(3, disk, |o| {
        o.membership = config("voters 3;observers 4", z(1, 0));
        o.seen = Some(config("voters 3 4", z(1, 4)));
        o.reconfig = Some(READER);
    });
    three.vote(4, ServerState::Looking, 3, z(1, 4), 1);
    three.pass(300);
    three.said();
    three.introduce(4, 1, ObserverInfo);
    three.persist();
    three.said();
    three.ack_epoch(4, 1, z(1, 5));
    let said = three.said();
    assert!(said.iter().any(|s| s.starts_with("close 4")), "{said:?}");
    assert!(!three.peer.is_serving());
}

#[test]
fn a_second_change_puts_the_first_into_force_where_only_its_proposal_was_heard() {
    // Server 1 had logged the first change when its link broke: what it knows of the second must not
    // make it forget the first, or it would elect by rules two changes apart.
    let mut one = with_logged(1, "voters 1 2 3 4 5").accept(2);
    one.tell(Diff, z(1, 4));
    let second = change(THREE, z(2, 1));
    one.hear(QuorumPacket::with_data(Proposal, z(2, 1), second.bytes));
    assert_eq!(one.version(), z(1, 4).0);
}

#[test]
fn zookeeper_1783_the_first_leader_numbers_a_config_without_version() {
    let mut b = Bench::with(3, history(1, 3), |o| {
        o.membership = config(THREE, Zxid(0));
        o.reconfig = Some(READER);
    })
    .elected();
    b.introduce(2, 1, FollowerInfo);
    let text = format!("{THREE};version=200000000");
    b.expect(&[&format!("disk: next config {text}"), "disk: accepted 2"]);
    b.persist();
    b.ack_epoch(2, 1, z(1, 3));
    b.persist();
    b.said();
    b.from(2, Ack, z(2, 0));
    let said = b.said();
    assert_eq!(said[..2], [format!("disk: config {text}"), format!("active {text}")], "{said:?}");
    assert!(said.contains(&"leading 2".to_owned()));

    // A learner takes it with UPTODATE.
    let mut b = Bench::with(1, history(1, 3), |o| {
        o.membership = config(THREE, Zxid(0));
        o.reconfig = Some(READER);
    })
    .accept(2);
    b.tell(Diff, z(1, 3));
    let numbered = config(THREE, z(2, 0));
    b.hear(QuorumPacket::with_data(NewLeader, z(2, 0), numbered.text.clone()));
    b.expect(&[&format!("disk: next config {text}"), "disk: current 2"]);
    b.persist();
    b.expect(&["up: ACK 2:0"]);
    assert_eq!(b.version(), 0);
    b.tell(UpToDate, Zxid(-1));
    let said = b.said();
    assert_eq!(said[..2], [format!("disk: config {text}"), format!("active {text}")], "{said:?}");
    assert!(b.peer.is_serving());
}

#[test]
fn a_proposal_in_newleader_is_seen_but_not_in_force() {
    // Apache's leader sends the config that it has seen, its learner puts that into force.
    let mut b = bench(1).accept(2);
    b.tell(Diff, z(1, 3));
    b.hear_change("voters 1 2 3 4", z(2, 1));
    let seen = config("voters 1 2 3 4", z(2, 1));
    b.hear(QuorumPacket::with_data(NewLeader, z(2, 0), seen.text.clone()));
    b.persist();
    b.tell(UpToDate, Zxid(-1));
    assert!(b.peer.is_serving() && b.peer.is_reconfiguring());
    assert_eq!(b.version(), z(1, 0).0);
    b.hear(commit_and_activate(z(2, 1), ServerId(3)));
    assert_eq!(b.version(), z(2, 1).0);
}

#[test]
fn a_change_under_way_outlives_an_older_configs_coming_into_force() {
    // The leader was established with a config that the learner puts into force with UPTODATE; it has
    // acknowledged the next one by then, so a start must find it.
    let mut b = bench(1).accept(2);
    b.tell(Diff, z(1, 3));
    b.hear(QuorumPacket::with_data(NewLeader, z(2, 0), config(THREE, z(2, 0)).text));
    b.persist();
    b.hear_change("voters 1", z(2, 1));
    b.persist();
    b.said();
    b.tell(UpToDate, Zxid(-1));
    let said = b.said();
    let kept = format!("disk: config beside the next {THREE};version=200000000");
    assert!(said.contains(&kept), "{said:?}");
    assert!(b.peer.is_reconfiguring());
    b.hear(commit_and_activate(z(2, 1), ServerId(3)));
    let said = b.said();
    assert!(said.contains(&"disk: config voters 1;version=200000001".to_owned()), "{said:?}");
}

#[test]
fn a_change_that_the_new_leader_does_not_have_is_given_up() {
    let mut b = Bench::with(1, history(1, 3), |o| {
        o.membership = config(THREE, z(1, 0));
        o.seen = Some(config("voters 1 2 3 4", z(1, 4)));
        o.reconfig = Some(READER);
    })
    .accept(2);
    assert!(b.peer.is_reconfiguring());
    b.tell(Diff, z(1, 3));
    b.hear(QuorumPacket::with_data(NewLeader, z(2, 0), config(THREE, z(1, 0)).text));
    let kept = format!("disk: config {THREE};version=100000000");
    b.expect(&[&kept, "disk: current 2"]);
    assert!(!b.peer.is_reconfiguring());
}

#[test]
fn who_searches_takes_over_a_newer_membership() {
    // A joiner knows itself and one other; then it hears of the real members.
    let mut b = bench_of(4, DiskState::default(), "voters 1 4");
    b.said();
    let real = config(THREE, z(1, 7));
    b.notify(1, ServerState::Following, 3, &real);
    b.persist();
    let text = format!("{THREE};version=100000007");
    b.expect(&[
        &format!("disk: config {text}"),
        &format!("active {text}"),
        "looking: config version 0x100000007 is newer",
    ]);
    b.notify(2, ServerState::Following, 3, &real);
    b.notify(3, ServerState::Leading, 3, &real);
    b.said();
    b.link(b.up, LinkEvent::Up);
    // It follows without a vote.
    b.expect(&["up: FOLLOWERINFO 0:0"]);
    assert_eq!(b.peer.state(), ServerState::Following);
    // An older one changes nothing.
    let mut b = bench(1);
    b.said();
    b.notify(2, ServerState::Looking, 2, &config("voters 1 2", Zxid(0)));
    assert_eq!(b.version(), z(1, 0).0);
}

#[test]
fn a_joiner_reads_the_membership_with_uptodate() {
    let mut b = Bench::with(4, DiskState::default(), |o| {
        o.membership = config("voters 1 2 3 4", Zxid(0));
        o.reconfig = Some(READER);
    });
    for (from, state) in
        [(1, ServerState::Following), (2, ServerState::Following), (3, ServerState::Leading)]
    {
        b.vote(from, state, 3, z(1, 3), 1);
    }
    b.link(b.up, LinkEvent::Up);
    b.hear(leader_info(Epoch(2)));
    b.persist();
    b.tell(Diff, Zxid(0));
    b.hear(QuorumPacket::with_data(NewLeader, z(2, 0), config(THREE, z(1, 0)).text));
    b.persist();
    b.tell(UpToDate, Zxid(-1));
    assert!(b.peer.is_serving());
    assert!(!b.peer.options().membership.is_member(ServerId(4)));
    // And becomes a voter by its commit.
    b.hear_change("voters 1 2 3 4", z(2, 1));
    b.persist();
    b.hear(commit_and_activate(z(2, 1), ServerId(3)));
    assert!(b.peer.is_serving());
    assert!(b.peer.options().membership.is_voter(ServerId(4)));
}

#[test]
fn observers_get_the_change_whole() {
    let mut b = bench(3).lead(2);
    b.join(9, ObserverInfo, 2);
    let zxid = b.reconfigure("voters 1 2 3;observers 8 9");
    b.persist();
    b.from(2, Ack, zxid);
    assert!(b.said().contains(&"9: INFORMANDACTIVATE 2:1".to_owned()));
}

#[test]
fn where_the_membership_never_changes_a_change_is_a_transaction_like_others() {
    let mut b = Bench::new(1, history(1, 3)).accept(2);
    b.tell(Diff, z(1, 3));
    b.tell(NewLeader, z(2, 0));
    b.persist();
    b.tell(UpToDate, Zxid(-1));
    b.said();
    b.hear_change("voters 2 3", z(2, 1));
    b.persist();
    b.hear(commit_and_activate(z(2, 1), ServerId(2)));
    b.expect(&["disk: append 2:1", "up: ACK 2:1", "apply 2:1"]);
    let packet = commit_and_activate(z(2, 1), ServerId(2));
    assert_eq!((packet.kind, designated_leader(&packet)), (CommitAndActivate, Ok(ServerId(2))));
    let mut leader = Bench::new(3, history(1, 3)).lead(2);
    let zxid = leader.reconfigure("voters 1 2");
    leader.persist();
    leader.from(2, Ack, zxid);
    assert!(leader.said().contains(&format!("2: {} 2:1", Commit.name())));
}
