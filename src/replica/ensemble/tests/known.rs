//! Known failures around sessions and ephemerals, by JIRA id.

use super::*;

/// A request that is not waited for.
fn submit(world: &mut World, n: usize, conn: u64, session: SessionId, op: OpCode, body: Bytes) {
    let ids: Arc<[Id]> = Arc::from([Id::new("ip", "127.0.0.1")]);
    let conn = ConnId(conn);
    let request = Request { conn, session, xid: 9, opcode: op, body, ids, large: None };
    let now = world.now;
    let Server { member, state, clients, .. } = &mut world.servers[n];
    member.handle_request(now, state, request, clients);
}

fn ephemeral(path: &str) -> Bytes {
    let path = Some(path.to_owned());
    CreateRequest { path, data: None, acl: Some(open_acl()), flags: 1 }.to_bytes()
}

fn no_sessions(world: &World) -> bool {
    world.servers.iter().filter(|s| s.alive).all(|s| s.state.sessions().is_empty())
}

#[test]
fn zookeeper_1208_no_ephemeral_comes_behind_the_close_of_its_session() {
    // D1, ZOOKEEPER-1496: pipelined, at the leader and at a follower.
    for n in [0, 2] {
        let mut world = World::new();
        let (conn, session) = world.connect(n);
        submit(&mut world, n, conn, session, OpCode::CREATE, ephemeral("/before"));
        submit(&mut world, n, conn, session, OpCode::CLOSE_SESSION, Bytes::new());
        submit(&mut world, n, conn, session, OpCode::CREATE, ephemeral("/after"));
        world.settle();
        assert_eq!(world.has("/before"), [false; 3]);
        assert_eq!(world.has("/after"), [false; 3]);
        assert!(no_sessions(&world));
    }
}

#[test]
fn zookeeper_2926_a_local_session_that_closes_while_it_becomes_global_leaves_nothing() {
    // D2, ZOOKEEPER-3471, 2725.
    for n in [0, 2] {
        let mut world = World::with(LocalSessions { enabled: true, upgrading: true });
        let (conn, session) = world.connect(n);
        submit(&mut world, n, conn, session, OpCode::CREATE, ephemeral("/a"));
        submit(&mut world, n, conn, session, OpCode::CREATE, ephemeral("/b"));
        submit(&mut world, n, conn, session, OpCode::CLOSE_SESSION, Bytes::new());
        submit(&mut world, n, conn, session, OpCode::CREATE, ephemeral("/c"));
        world.settle();
        for path in ["/a", "/b", "/c"] {
            assert_eq!(world.has(path), [false; 3], "{path} at {n}");
        }
        assert!(no_sessions(&world), "at {n}");
    }
}

#[test]
fn zookeeper_710_whatever_comes_first_after_a_move_moves_the_session() {
    // D3, ZOOKEEPER-484, 907, 2886.
    let first: [(OpCode, fn() -> Bytes); 3] = [
        (OpCode::SYNC, || PathRecord { path: Some("/".to_owned()) }.to_bytes()),
        (OpCode::CREATE, || ephemeral("/first")),
        (OpCode::CLOSE_SESSION, Bytes::new),
    ];
    for (op, body) in first {
        let mut world = World::new();
        let (old, session) = world.connect(0);
        for n in [1, 2, 1] {
            let conn = world.renew(n, session);
            world.request(n, conn, session, op, body());
            let code = world.last_code(n, conn);
            assert!(code == 0 || code == Code::NODE_EXISTS.0, "{op:?} at {n}: {code}");
            if op == OpCode::CLOSE_SESSION {
                break;
            }
        }
        world.create(0, old, session, "/stale", 0);
        assert_eq!(world.has("/stale"), [false; 3]);
    }
}

#[test]
fn zookeeper_1049_many_sessions_that_end_at_once_take_no_other_with_them() {
    // D4, D6, ZOOKEEPER-1669.
    let mut world = World::new();
    for _ in 0..300 {
        let (conn, session) = world.connect(1);
        world.create(1, conn, session, &format!("/e-{conn}"), 1);
    }
    let (conn, session) = world.connect(0);
    world.create(0, conn, session, "/mine", 1);
    for _ in 0..10 {
        let now = world.now.mono;
        world.servers[0].member.touch(session, 4000, now);
        world.run_for(1000);
    }
    assert_eq!(world.has("/mine"), [true; 3]);
    assert!(!world.closed(0, conn));
    for server in &world.servers {
        assert_eq!(server.state.sessions().iter().count(), 1);
        assert_eq!(server.state.node("/").map(|n| n.children().count()), Some(2), "and /zookeeper");
    }
}

#[test]
fn zookeeper_2985_a_session_whose_client_never_heard_of_it_ends_on_time() {
    // D7, ZOOKEEPER-4508, 4921, 4923: its connection ends before the answer.
    let mut world = World::new();
    let (conn, session) = world.connect(1);
    world.servers[1].member.handle_disconnect(session, ConnId(conn));
    world.run_for(3500);
    assert!(!no_sessions(&world));
    world.run_for(2500);
    assert!(no_sessions(&world), "the end of the connection is no sign of life");
}

#[test]
fn d12_a_step_of_the_wall_clock_ends_no_session_and_keeps_none() {
    for step in [3_600_000, -3_600_000_i64] {
        let mut world = World::new();
        let (conn, session) = world.connect(1);
        world.create(1, conn, session, "/mine", 1);
        world.now.wall.0 += step;
        world.run_for(2000);
        assert_eq!(world.has("/mine"), [true; 3]);
        world.run_for(4000);
        assert_eq!(world.has("/mine"), [false; 3]);
    }
}

#[test]
fn zookeeper_1367_sessions_that_come_and_go_during_a_synchronisation_are_tracked() {
    // A4: a follower is cut off, sessions begin and end; it comes back, and leads.
    let mut world = World::new();
    let (ending, ending_session) = world.connect(1);
    world.create(1, ending, ending_session, "/ending", 1);
    world.cut.push(0);
    let (living, living_session) = world.connect(1);
    world.create(1, living, living_session, "/living", 1);
    world.request(1, ending, ending_session, OpCode::CLOSE_SESSION, Bytes::new());
    world.cut.clear();
    let keep = |world: &mut World, n: usize, ms: u64| {
        for _ in 0..ms / 500 {
            let now = world.now.mono;
            world.servers[n].member.touch(living_session, 4000, now);
            world.run_for(500);
        }
    };
    keep(&mut world, 1, 12_000);
    assert!(world.servers[0].member.is_serving());
    assert_eq!((world.has("/living"), world.has("/ending")), (vec![true; 3], vec![false; 3]));
    world.kill(2);
    world.run_for(1000);
    let leader = world.leader();
    let tracked = world.servers[leader].member.sessions();
    assert_eq!(tracked.check(living_session), Code::OK);
    assert_ne!(tracked.check(ending_session), Code::OK);
    world.run_for(6000);
    assert_eq!(world.has("/living"), [false; 2], "nobody is immortal");
}

#[test]
fn zookeeper_5010_an_ephemeral_is_everywhere_or_nowhere_when_its_leader_dies() {
    // A24, A25, ZOOKEEPER-2355: one follower has heard of the creation, or of the close.
    for close in [false, true] {
        let mut world = World::new();
        let (conn, session) = world.connect(2);
        if close {
            world.create(2, conn, session, "/mine", 1);
        }
        world.cut.push(1);
        match close {
            true => world.request(2, conn, session, OpCode::CLOSE_SESSION, Bytes::new()),
            false => world.create(2, conn, session, "/mine", 1),
        }
        world.kill(2);
        world.cut.clear();
        world.run_for(12_000);
        let has = world.has("/mine");
        assert!(has == [false; 2], "it was closed, or its client did not come back: {has:?}");
        assert!(no_sessions(&world));
        let digests: Vec<i64> = world.servers[..2].iter().map(|s| s.state.digest()).collect();
        assert_eq!(digests[0], digests[1]);
    }
}
