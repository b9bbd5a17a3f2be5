//! Observers that learn from followers.

use super::*;

const OBSERVER: usize = 3;

/// The follower that the observer learns from.
fn master(world: &World) -> usize {
    let source = world.servers[OBSERVER].member.peer().source().expect("it observes");
    source.0 as usize - 1
}

fn sync_at(world: &mut World, n: usize, conn: u64, session: SessionId) {
    let body = PathRecord { path: Some("/".to_owned()) };
    let before = world.servers[n].clients.frames[&conn].len();
    world.request(n, conn, session, OpCode::SYNC, body.to_bytes());
    assert_eq!(world.servers[n].clients.frames[&conn].len(), before + 1, "answered at {n}");
    assert_eq!(world.last_code(n, conn), 0);
}

#[test]
fn requests_of_an_observer_go_up_through_a_follower_and_come_back() {
    let mut world = World::of(1, LocalSessions::default());
    let follower = master(&world);
    assert_ne!(follower, world.leader());
    assert!(world.servers[OBSERVER].member.is_serving());
    let views = world.servers[follower].member.peer().learners();
    assert_eq!((views.len(), views[0].observer, views[0].synced), (1, true, true));
    let leader = world.leader();
    assert!(world.servers[leader].member.peer().learners().iter().all(|l| !l.observer));
    for n in [OBSERVER, follower, leader] {
        let (conn, session) = world.connect(n);
        world.create(n, conn, session, &format!("/from-{n}"), 1);
        assert_eq!(world.last_code(n, conn), 0);
        world.create(n, conn, session, &format!("/from-{n}"), 0);
        assert_eq!(world.last_code(n, conn), Code::NODE_EXISTS.0);
        sync_at(&mut world, n, conn, session);
        assert_eq!(world.has(&format!("/from-{n}")), [true; 4]);
        world.request(n, conn, session, OpCode::CLOSE_SESSION, Bytes::new());
        assert!(world.closed(n, conn));
        assert_eq!(world.has(&format!("/from-{n}")), [false; 4]);
    }
}

#[test]
fn sessions_move_between_an_observer_and_its_follower() {
    let mut world = World::of(1, LocalSessions::default());
    let follower = master(&world);
    let (conn, session) = world.connect(OBSERVER);
    world.create(OBSERVER, conn, session, "/mine", 1);
    let there = world.renew(follower, session);
    world.create(follower, there, session, "/a", 0);
    assert_eq!(world.last_code(follower, there), 0);
    let back = world.renew(OBSERVER, session);
    assert!(world.closed(follower, there), "to the leader both are the same learner");
    world.create(OBSERVER, back, session, "/b", 0);
    assert_eq!(world.last_code(OBSERVER, back), 0);
    let unknown = world.renew(OBSERVER, SessionId(0x77));
    assert!(world.closed(OBSERVER, unknown));
}

#[test]
fn a_session_at_an_observer_lives_by_reads_and_ends_without_them() {
    let mut world = World::of(1, LocalSessions::default());
    let (idle, idle_session) = world.connect(OBSERVER);
    let (used, used_session) = world.connect(OBSERVER);
    world.create(OBSERVER, idle, idle_session, "/idle", 1);
    world.create(OBSERVER, used, used_session, "/used", 1);
    for _ in 0..8 {
        let now = world.now.mono;
        world.servers[OBSERVER].member.touch(used_session, 4000, now);
        world.run_for(1000);
    }
    assert_eq!((world.has("/idle"), world.has("/used")), (vec![false; 4], vec![true; 4]));
}

#[test]
fn an_observer_moves_to_another_follower_and_its_sessions_live_on() {
    let mut world = World::of(1, LocalSessions::default());
    let (first, leader) = (master(&world), world.leader());
    let (conn, session) = world.connect(OBSERVER);
    world.create(OBSERVER, conn, session, "/mine", 1);
    world.kill(first);
    world.run_for(1000);
    let second = master(&world);
    assert!(second != first && second != leader, "the other follower");
    assert!(world.servers[OBSERVER].member.is_serving());
    let conn = world.renew(OBSERVER, session);
    world.create(OBSERVER, conn, session, "/after", 0);
    assert_eq!(world.last_code(OBSERVER, conn), 0);
    // Without followers the leader, if it still leads, would do; this one has no quorum.
    world.kill(second);
    world.run_for(3000);
    assert!(!world.servers[OBSERVER].member.is_serving());
}

#[test]
fn an_observer_finds_the_leader_when_no_follower_takes_it() {
    let mut world = World::of(1, LocalSessions::default());
    let leader = world.leader();
    for n in 0..3 {
        // As if their port were taken.
        world.servers[n].for_observers = false;
    }
    let link = *world.servers[OBSERVER].links.keys().next().expect("a link");
    let (to, other) = world.servers[OBSERVER].links.remove(&link).expect("its link");
    world.servers[to].links.remove(&other);
    world.link(to, other, LinkEvent::Down);
    world.link(OBSERVER, link, LinkEvent::Down);
    world.run_for(1000);
    assert!(!world.servers[OBSERVER].member.is_serving());
    world.run_for(4000);
    assert!(world.servers[OBSERVER].member.is_serving());
    assert_eq!(master(&world), leader);
}

#[test]
fn a_follower_keeps_of_what_observers_say_only_sessions_that_there_are() {
    let mut world = World::of(1, LocalSessions::default());
    let follower = master(&world);
    let (_, session) = world.connect(OBSERVER);
    let now = world.now;
    let Server { member, state, clients, .. } = &mut world.servers[follower];
    let link = member.peer().learners()[0].link;
    let claimed = (0..50_000).map(|n| (SessionId(n), 4000)).chain([(session, 4000)]);
    let answer = QuorumPacket::with_data(PacketKind::Ping, Zxid(0), encode_touched(claimed));
    member.handle_learner(now, state, link, answer, clients);
    assert_eq!(member.touched.len(), 1, "the leader hears of the one in the next ping");
}
