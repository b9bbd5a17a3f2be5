//! Epochs and histories of those who have no say, and of members that come back from another time.

use super::*;
use crate::proto::quorum::{Claim, ClaimedEnd, truncation};
use PacketKind::{Diff, FollowerInfo, NewLeader, ObserverInfo, Snap};

const LAST: i64 = 0x7fff_fffc;

impl Bench {
    /// A rookeeper introduces itself, and says what it has.
    fn claim(&mut self, server: i64, accepted: i64, claim: Claim) {
        let (protocol, config_version) = (PROTOCOL_VERSION, 0);
        let server = ServerId(server);
        let claim = Some(claim);
        let info = LearnerInfo { server, protocol, config_version, rookeeper: true, claim };
        let link = LinkId(server.0 as u64);
        self.link(link, LinkEvent::Up);
        let packet = QuorumPacket::with_data(FollowerInfo, z(accepted, 0), info.to_bytes());
        self.link(link, LinkEvent::Packet(packet));
    }

    fn warned(&mut self) -> String {
        let warnings = std::mem::take(&mut self.warnings);
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }
}

/// What a member says whose log ends at `last`, as the tests' transactions are.
fn has(current: i64, last: Zxid) -> Claim {
    Claim { current: Epoch(current), last, end: ClaimedEnd::Print(txn(last).print()) }
}

/// The same with another transaction there.
fn has_other(current: i64, last: Zxid) -> Claim {
    let end = ClaimedEnd::Print(txn(last).print() ^ 1);
    Claim { current: Epoch(current), last, end }
}

#[test]
fn the_epoch_of_who_has_no_vote_is_not_counted() {
    // A stranger as a follower, as an observer, an observer with its own id and one without.
    for (server, kind) in [
        (77, FollowerInfo),
        (77, ObserverInfo),
        (9, ObserverInfo),
        (9, FollowerInfo),
        (i64::MAX, ObserverInfo),
    ] {
        let mut b = Bench::new(3, history(1, 3)).elected();
        b.introduce_on(50, server, LAST, kind);
        b.introduce(2, 1, FollowerInfo);
        b.expect(&["disk: accepted 2"]);
    }
    // A voter that says it observes has no say in an election either.
    let mut b = Bench::new(3, history(1, 3)).elected();
    b.introduce(1, 7, ObserverInfo);
    b.introduce(2, 1, FollowerInfo);
    b.expect(&["disk: accepted 2"]);
}

#[test]
fn a_voters_absurd_epoch_costs_its_link_and_is_said_by_name() {
    let mut b = Bench::new(3, history(1, 3)).elected();
    b.introduce(1, LAST, FollowerInfo);
    b.expect(&["close 1: epoch 2147483644 is absurd after 1, the accepted epoch here"]);
    let warned = b.warned();
    assert!(warned.contains("server 1 says epoch 2147483644"), "{warned}");
    // It is said once.
    b.introduce(1, LAST, FollowerInfo);
    assert_eq!(b.warned(), "");
    b.said();
    b.introduce(2, 1, FollowerInfo);
    b.expect(&["disk: accepted 2"]);
    // What half a year of elections could lead to is taken.
    let mut b = Bench::new(3, history(1, 3)).elected();
    b.introduce(2, 1 + (1 << 24), FollowerInfo);
    b.expect(&["disk: accepted 16777218"]);
}

#[test]
fn both_memberships_voters_count_during_a_change() {
    let next = Membership { version: 5, ..Membership::majority([3, 4].map(ServerId), []) };
    let mut b = Bench::with(3, history(1, 3), |o| o.seen = Some(next)).elected();
    b.vote(4, ServerState::Looking, 3, z(1, 3), 1);
    b.said();
    b.introduce(4, 6, FollowerInfo);
    b.introduce(5, 9, FollowerInfo);
    b.introduce(2, 1, FollowerInfo);
    b.expect(&["disk: accepted 7"]);
}

#[test]
fn who_has_no_vote_hears_of_an_epoch_once_a_quorum_has_accepted_it() {
    let mut b = Bench::new(3, history(1, 3)).elected();
    b.introduce(9, 1, ObserverInfo);
    b.introduce(2, 1, FollowerInfo);
    b.persist();
    b.expect(&["disk: accepted 2", "2: LEADERINFO 2:0"]);
    b.ack_epoch(2, 1, z(1, 3));
    assert!(b.said().contains(&"9: LEADERINFO 2:0".to_owned()));
}

#[test]
fn the_last_epoch_is_followed_by_none() {
    let last = i64::from(i32::MAX) - 1;
    let disk = DiskState { accepted_epoch: Epoch(last), ..history(1, 3) };
    let mut b = Bench::new(3, disk).elected();
    b.introduce(2, 1, FollowerInfo);
    let said = b.said().join("\n");
    assert!(said.contains("looking: no epoch comes after 2147483646"), "{said}");
    assert!(!said.contains("disk: accepted"), "{said}");
    // One that no zxid can hold does not start.
    for absurd in [-1, 1 << 31, 1 << 40] {
        let members = Membership::majority((1..=3).map(ServerId), []);
        let disk = DiskState { accepted_epoch: Epoch(absurd), ..DiskState::default() };
        let peer = Peer::new(Options::new(ServerId(1), members), disk, Instant(0));
        let refused = matches!(peer, Err(StartError::EpochOutOfRange(e)) if e == Epoch(absurd));
        assert!(refused || absurd < 0, "{absurd}");
    }
}

#[test]
fn a_learner_refuses_an_absurd_epoch_of_its_leader() {
    let mut b = Bench::new(1, history(1, 3)).follow();
    b.hear(leader_info(Epoch(LAST)));
    let said = b.said().join("\n");
    assert!(said.contains("looking: leader 3: epoch 2147483644 is absurd after 1"), "{said}");
    assert!(!said.contains("disk: accepted"), "{said}");
    assert!(b.warned().contains("server 3 says epoch 2147483644"));
    // A server that has nothing has nothing to compare with.
    let mut b = Bench::new(1, DiskState::default()).follow();
    b.hear(leader_info(Epoch(1 << 25)));
    b.expect(&["disk: accepted 33554432"]);
}

#[test]
fn votes_that_no_honest_member_casts_move_nothing() {
    let vote = |b: &mut Bench, from: i64, state, round, epoch: i64| {
        let notification = Notification {
            state,
            leader: ServerId(2),
            zxid: Zxid::new(Epoch(epoch & 0x7fff_ffff), 1),
            round,
            peer_epoch: Epoch(epoch),
            version: 2,
            config: Some(Bytes::new()),
            pending: None,
        };
        b.peer.handle_notification(b.now, ServerId(from), notification);
        b.drain();
    };
    let looking = ServerState::Looking;
    let mut b = Bench::new(1, history(1, 3));
    for (from, state, round, epoch) in [
        (2, looking, 1, LAST),
        (2, looking, i64::MAX, 1),
        (2, ServerState::Leading, 1, i64::MAX),
        (77, looking, i64::MAX, i64::MAX),
        (9, looking, 1 << 50, LAST),
    ] {
        vote(&mut b, from, state, round, epoch);
        let own = b.newest_vote();
        assert_eq!((own.leader, own.round, own.peer_epoch), (ServerId(1), 1, Epoch(1)));
    }
    let warned = b.warned();
    assert!(warned.contains("server 2 says epoch 2147483644"), "{warned}");
    assert!(warned.contains("server 2 votes in round 9223372036854775807"), "{warned}");
    assert!(!warned.contains("server 77") && !warned.contains("server 9"), "{warned}");
    // Nor do they take a leader's voters from it.
    let mut b = Bench::new(3, history(1, 3)).elected();
    for from in [1, 2] {
        vote(&mut b, from, looking, 1, LAST);
    }
    b.expect(&[]);
}

#[test]
fn a_member_with_a_later_history_stays_out_and_takes_nobody_down() {
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    // Of a later epoch; of this one with more; of this one with other transactions.
    for claim in [has(5, z(5, 1)), has(2, z(2, 1)), has_other(2, z(1, 3))] {
        b.claim(1, 5, claim);
        assert!(b.peer.is_serving(), "{claim:?}");
        b.expect(&["1: LEADERINFO 2:0"]);
        b.link(LinkId(1), LinkEvent::Down);
    }
    let warned = b.warned();
    assert!(warned.starts_with("server 1 stays out: it has accepted epoch 5"), "{warned}");
    assert!(warned.contains("a snapshot"), "{warned}");
    assert_eq!(warned.lines().count(), 1, "said once: {warned}");
    // Apache's members say nothing of themselves, observers and strangers can wait.
    for (server, kind) in [(1, FollowerInfo), (9, ObserverInfo), (77, FollowerInfo)] {
        b.introduce(server, 5, kind);
        assert!(b.peer.is_serving());
        assert!(b.said().contains(&format!("{server}: LEADERINFO 2:0")));
    }
}

#[test]
fn a_member_that_can_not_be_elected_is_let_in_by_a_later_epoch() {
    let unknown = Claim { current: Epoch(-1), last: Zxid(-1), end: ClaimedEnd::Unknown };
    // Of an earlier epoch, with the end of this one's history, before its end, with nothing that counts.
    for claim in [has_other(1, z(1, 9)), has(2, z(1, 3)), has_other(2, z(1, 2)), unknown] {
        let mut b = Bench::new(3, history(1, 3)).lead(2);
        b.claim(1, 7, claim);
        let said = b.said().join("\n");
        assert!(said.contains("looking: server 1 has accepted epoch 7, so a later"), "{said}");
        // The next epoch is later even if that member does not come in time.
        b.vote(2, ServerState::Looking, 3, z(1, 3), 2);
        b.pass(3000);
        if b.peer.leader() != Some(ServerId(3)) {
            let mut n = b.newest_vote().clone();
            n.leader = ServerId(3);
            b.peer.handle_notification(b.now, ServerId(2), n);
            b.drain();
            b.pass(3000);
        }
        assert_eq!(b.peer.leader(), Some(ServerId(3)));
        b.said();
        b.introduce(2, 2, FollowerInfo);
        b.expect(&["disk: accepted 8"]);
    }
}

#[test]
fn a_leader_that_does_not_serve_makes_room_for_a_later_epoch() {
    let mut b = Bench::new(3, history(1, 3)).elected();
    b.introduce(2, 1, FollowerInfo);
    b.said();
    b.introduce(1, 7, FollowerInfo);
    assert!(b.said().join("\n").contains("looking: server 1 has accepted epoch 7"));
}

#[test]
fn a_learner_that_stays_out_says_so_once() {
    let disk = DiskState { accepted_epoch: Epoch(7), current_epoch: Epoch(6), ..history(1, 3) };
    let mut b = Bench::new(1, disk).follow();
    b.hear(leader_info(Epoch(2)));
    assert!(b.said().join("\n").contains("epoch 2 is lower than the accepted epoch 7"));
    let warned = b.warned();
    assert!(warned.starts_with("this server stays out: leader 3 leads epoch 2"), "{warned}");
    let mut b = b.follow();
    b.hear(leader_info(Epoch(2)));
    assert_eq!(b.warned(), "");
}

#[test]
fn a_diff_is_laid_only_on_the_same_transaction() {
    for (claim, opening) in [
        (has(1, z(1, 2)), "1: DIFF 1:3"),
        (has_other(1, z(1, 2)), "1: SNAP 2:0"),
        (has_other(1, z(1, 3)), "1: SNAP 2:0"),
        (Claim { end: ClaimedEnd::Unknown, ..has(1, z(1, 2)) }, "1: SNAP 2:0"),
        (Claim { end: ClaimedEnd::Unknown, ..has(1, Zxid::ZERO) }, "1: DIFF 1:3"),
        (Claim { end: ClaimedEnd::Foreign, ..has(1, z(1, 2)) }, "1: SNAP 2:0"),
    ] {
        let mut b = Bench::new(3, history(1, 3)).lead(2);
        b.claim(1, 1, claim);
        b.said();
        b.ack_epoch(1, 1, claim.last);
        assert_eq!(b.said()[0], opening, "{claim:?}");
        let differs = claim.end != ClaimedEnd::Unknown && opening.contains("SNAP");
        assert_eq!(b.warned().contains("server 1 has other"), differs);
    }
}

#[test]
fn a_diff_from_the_log_on_disk_is_laid_only_on_the_same_transaction() {
    for (print, opening) in [(txn(z(1, 1)).print(), "1: DIFF 1:3"), (1, "1: SNAP 2:0")] {
        let disk = DiskState { recent: vec![txn(z(1, 3))], recent_after: z(1, 2), ..history(1, 3) };
        let mut b = Bench::new(3, disk).lead(2);
        b.claim(1, 1, has(1, z(1, 1)));
        b.ack_epoch(1, 1, z(1, 1));
        assert!(b.said().contains(&"read log 1:1 to 1:3".to_owned()));
        let found =
            LogRead { found: z(1, 1), print: Some(print), txns: vec![txn(z(1, 2)), txn(z(1, 3))] };
        b.peer.handle_log_read(b.now, ReadId(1), Some(found));
        b.drain();
        assert_eq!(b.said()[0], opening);
    }
}

#[test]
fn a_cut_names_the_transaction_at_its_end() {
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    b.claim(1, 1, has(1, z(1, 5)));
    b.said();
    let print = txn(z(1, 3)).print();
    b.peer.handle_link(b.now, LinkId(1), LinkEvent::Packet(ack_epoch(Epoch(1), z(1, 5))));
    let mut sent = Vec::new();
    while let Some(action) = b.peer.poll_action() {
        if let Action::Send { packet, .. } = action {
            sent.push(packet);
        }
    }
    assert_eq!(sent[0], truncation(z(1, 3), print));
    // An Apache server's is bare.
    let mut b = Bench::new(3, history(1, 3)).lead(2);
    b.introduce(1, 1, FollowerInfo);
    b.peer.handle_link(b.now, LinkId(1), LinkEvent::Packet(ack_epoch(Epoch(1), z(1, 5))));
    let sent = std::iter::from_fn(|| b.peer.poll_action());
    let bare = QuorumPacket::new(PacketKind::Trunc, z(1, 3));
    assert!(sent.into_iter().any(|a| a == Action::Send { link: LinkId(1), packet: bare.clone() }));
}

#[test]
fn a_learner_cuts_nothing_that_would_leave_another_history() {
    let same = truncation(z(1, 2), txn(z(1, 2)).print());
    let mut b = Bench::new(1, history(1, 3)).accept(2);
    b.hear(same);
    b.expect(&["disk: cut 1:2"]);
    // Another transaction there; none at all; and at this server's own end.
    for to in [z(1, 2), z(0, 7), z(1, 3)] {
        let mut b = Bench::new(1, history(1, 3)).accept(2);
        b.hear(truncation(to, 1));
        let said = b.said().join("\n");
        assert!(said.contains("another here than the leader's"), "{said}");
        assert!(!said.contains("disk: cut"), "{said}");
        // A rookeeper was told so with the introduction: what this server has still counts.
        let mut b = b.follow();
        b.hear(crate::proto::quorum::marked_leader_info(Epoch(3)));
        b.persist();
        assert!(b.said().contains(&"up: ACKEPOCH 1:3".to_owned()));
        b.tell(Diff, z(1, 3));
        assert!(b.said().join("\n").contains("a snapshot was needed"));
        // Apache's leader is asked by zxid -1.
        let mut b = b.follow();
        b.hear(leader_info(Epoch(4)));
        b.persist();
        assert!(b.said().contains(&"up: ACKEPOCH -1".to_owned()));
        b.tell(Snap, z(1, 3));
        b.link(b.up, LinkEvent::Image(ImageId(1)));
        b.persist();
        b.tell(NewLeader, z(4, 0));
        b.persist();
        assert!(b.said().contains(&"up: ACK 4:0".to_owned()));
    }
}

#[test]
fn an_id_below_zero_is_nobodys() {
    // It would take the place of who has not introduced itself yet, or of an observer without an id.
    for id in [i64::MIN, -1] {
        let mut b = Bench::new(3, history(1, 3)).lead(2);
        b.introduce_on(50, i64::MAX, 1, ObserverInfo);
        b.link(LinkId(51), LinkEvent::Up);
        b.said();
        b.introduce_on(52, id, 1, FollowerInfo);
        b.expect(&[&format!("close 52: server id {id} is out of range")]);
    }
}

#[test]
fn a_config_is_taken_over_of_a_member_only() {
    use crate::zab::ConfigReader;
    // The text is the version, and the voters of it are 1, 4 and 5.
    fn read(text: &Bytes) -> Option<Membership> {
        let version = std::str::from_utf8(text).ok()?.parse().ok()?;
        let members = Membership::majority([1, 4, 5].map(ServerId), []);
        Some(Membership { version, text: text.clone(), ..members })
    }
    for (from, version, taken) in [
        (4, z(1, 2), true),
        (2, z(1, 2), true),
        (77, z(1, 2), false),
        (2, z(LAST, 2), false),
        (4, z(LAST, 2), false),
    ] {
        let reader = ConfigReader { read, text_of: |_| None };
        let mut b = Bench::with(1, history(1, 3), |o| o.reconfig = Some(reader));
        let mut said = b.newest_vote().clone();
        said.config = Some(Bytes::from(version.0.to_string()));
        b.peer.handle_notification(b.now, ServerId(from), said);
        b.drain();
        let in_force = b.peer.options().membership.version == version.0;
        assert_eq!(in_force, taken, "{from} {version:?}");
    }
}
