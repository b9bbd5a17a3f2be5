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

/// The disks of all voters have done what they were asked for.
fn disks_go_on(world: &mut World) {
    for n in 0..3 {
        for done in world.servers[n].slow_disk.take().expect("slow") {
            let now = world.now.mono;
            world.servers[n].member.peer_mut().handle_persisted(now, done);
        }
    }
    world.settle();
}

#[test]
fn a_write_that_was_on_its_way_elsewhere_is_not_the_answer_at_an_observer() {
    // With observers of followers, and of the leader.
    for indirect in [true, false] {
        let mut world = World::of(1, LocalSessions::default());
        if !indirect {
            leave_followers(&mut world);
        }
        let elsewhere = (0..3).find(|n| *n != world.leader() && *n != master(&world)).expect("one");
        let (conn, session) = world.connect(elsewhere);
        for n in 0..3 {
            world.servers[n].slow_disk = Some(Vec::new());
        }
        // The client moves with this on its way, and counts its xids from the same again.
        world.create(elsewhere, conn, session, "/old", 0);
        let there = world.renew(OBSERVER, session);
        let before = world.servers[OBSERVER].clients.sessions.contains_key(&there);
        if before {
            world.create(OBSERVER, there, session, "/new", 0);
        }
        disks_go_on(&mut world);
        if !before {
            world.create(OBSERVER, there, session, "/new", 0);
        }
        assert_eq!(world.has("/old"), [true; 4], "nobody gave it up");
        let frames = &world.servers[OBSERVER].clients.frames[&there];
        let path = &frames.last().expect("a reply")[24..];
        assert_eq!(String::from_utf8_lossy(path), "/new", "indirect: {indirect}");
        assert_eq!(world.has("/new"), [true; 4]);
    }
}

#[test]
fn a_session_that_ends_while_it_is_renewed_at_an_observer_is_not_renewed() {
    let mut world = World::of(1, LocalSessions::default());
    let elsewhere = (0..3).find(|n| *n != world.leader() && *n != master(&world)).expect("one");
    let (conn, session) = world.connect(elsewhere);
    for n in 0..3 {
        world.servers[n].slow_disk = Some(Vec::new());
    }
    world.create(elsewhere, conn, session, "/old", 0);
    let there = world.renew(OBSERVER, session);
    let second = world.renew(OBSERVER, session);
    assert!(!world.closed(OBSERVER, there));
    world.request(elsewhere, conn, session, OpCode::CLOSE_SESSION, Bytes::new());
    disks_go_on(&mut world);
    assert!(world.closed(OBSERVER, there) && world.closed(OBSERVER, second));
}

#[test]
fn many_sessions_are_renewed_at_an_observer_at_once() {
    let mut world = World::of(1, LocalSessions::default());
    let sessions: Vec<_> = (0..50).map(|n| world.connect(n % 3).1).collect();
    let leader = world.leader();
    let (conn, session) = world.connect(leader);
    for n in 0..3 {
        world.servers[n].slow_disk = Some(Vec::new());
    }
    world.create(leader, conn, session, "/held", 0);
    let conns: Vec<_> = sessions.iter().map(|s| world.renew(OBSERVER, *s)).collect();
    assert_eq!(world.servers[OBSERVER].member.outstanding(), 1, "one sync for the first");
    disks_go_on(&mut world);
    for (conn, session) in conns.into_iter().zip(sessions) {
        assert_eq!(world.servers[OBSERVER].clients.sessions.get(&conn), Some(&session));
        world.create(OBSERVER, conn, session, &format!("/{conn}"), 0);
        assert_eq!(world.last_code(OBSERVER, conn), 0);
    }
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
    leave_followers(&mut world);
    assert_eq!(master(&world), world.leader());
}

/// The observer finds no follower, and goes to the leader.
fn leave_followers(world: &mut World) {
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
}

#[test]
fn a_follower_keeps_of_what_observers_say_few_sessions_that_it_does_not_know() {
    let mut world = World::of(1, LocalSessions::default());
    let follower = master(&world);
    let (_, session) = world.connect(OBSERVER);
    let now = world.now;
    let Server { member, state, clients, .. } = &mut world.servers[follower];
    let link = member.peer().learners()[0].link;
    let claimed = (0..50_000).map(|n| (SessionId(n), 4000)).chain([(session, 4000)]);
    let answer = QuorumPacket::with_data(PacketKind::Ping, Zxid(0), encode_touched(claimed));
    member.handle_learner(now, state, link, answer, clients);
    assert!(member.touched.contains_key(&session), "the leader hears of it in the next ping");
    let known = state.sessions().len();
    assert!(member.touched.len() <= known + 1 + 1000, "{} are kept", member.touched.len());
}
