//! Known failures, played out: what once went wrong elsewhere, by its JIRA id, on an ensemble in
//! which nothing else does.

use super::super::host::{Host, PeerHost};
use super::super::network::Port;
use super::super::swarm::Params;
use super::super::world::World;

/// Converged, with `writes` committed.
fn calm(voters: u64, observers: u64, writes: usize) -> World<PeerHost> {
    let mut world = World::<PeerHost>::new(Params::calm(voters, observers), 1);
    assert!(world.run_while_not(2_000_000, World::has_converged), "no leader");
    write(&mut world, writes);
    world
}

/// Writes at the leader, until everyone has them.
fn write(world: &mut World<PeerHost>, writes: usize) {
    let goal = world.committed().len() + writes;
    let leader = world.leader().expect("one leads");
    for _ in 0..writes {
        world.write(leader);
    }
    assert!(world.run_while_not(2_000_000, |w| w.committed().len() >= goal), "not committed");
    world.run_until(world.now() + 50_000);
}

fn converge(world: &mut World<PeerHost>) {
    let done = world.run_while_not(30_000_000, World::has_converged);
    assert_eq!(world.violation, None);
    assert!(done, "not converged");
}

#[test]
fn a_leader_that_stands_still_is_left_in_a_quarter_of_sync_limit() {
    let mut world = calm(3, 1, 3);
    let old = world.leader().expect("one leads");
    let stopped = world.now();
    world.slots[old].paused_until = stopped + 60_000_000;
    assert!(world.run_while_not(10_000_000, |w| w.leader() != Some(old)));
    let took = (world.now() - stopped) / 1000;
    assert!((2000..2600).contains(&took), "left after {took} ms");
    // It wakes, and follows.
    world.slots[old].paused_until = 0;
    write(&mut world, 3);
    world.run_until(stopped + 61_000_000);
    converge(&mut world);
}

#[test]
fn a_follower_that_stood_still_does_not_leave_its_leader() {
    let mut world = calm(3, 0, 3);
    let leader = world.leader().expect("one leads");
    let follower = (leader + 1) % 3;
    world.slots[follower].paused_until = world.now() + 4_000_000;
    world.run_until(world.now() + 8_000_000);
    assert!(world.has_converged());
    let elections = world.host(follower).map(|h| h.peer().stats().elections);
    assert_eq!(elections, Some(1));
}

/// Cuts a server off from all others, both ways and on both ports.
fn isolate(world: &mut World<PeerHost>, host: usize) -> Vec<(Port, usize, usize)> {
    let mut ways = Vec::new();
    for other in (0..world.slots.len()).filter(|other| *other != host) {
        for port in [Port::Learner, Port::Election] {
            ways.extend([(port, host, other), (port, other, host)]);
        }
    }
    for (port, from, to) in &ways {
        world.network.block(*port, *from, *to);
    }
    ways
}

/// Another than `old` leads.
fn another_leads(world: &mut World<PeerHost>, old: usize) -> usize {
    let found = world.run_while_not(20_000_000, |w| w.leader().is_some_and(|l| l != old));
    assert_eq!(world.violation, None);
    assert!(found, "nobody else leads");
    world.leader().expect("found")
}

fn restart_all(world: &mut World<PeerHost>) {
    for host in 0..world.slots.len() {
        world.kill(host, true);
    }
    for host in 0..world.slots.len() {
        world.boot(host);
    }
    converge(world);
}

#[test]
fn zookeeper_2845_what_an_isolated_leader_logged_is_cut_off_for_good() {
    // A1, A5, A7: ZOOKEEPER-1154, 1156, 1489, 2678.
    let mut world = calm(3, 0, 5);
    let old = world.leader().expect("one leads");
    let ways = isolate(&mut world, old);
    world.write(old);
    world.run_until(world.now() + 50_000);
    another_leads(&mut world, old);
    let before = world.committed().len();
    write(&mut world, 3);
    world.unblock(&ways);
    converge(&mut world);
    // The log goes on behind the cut, and is read again whole.
    write(&mut world, 3);
    restart_all(&mut world);
    assert_eq!(world.committed().len(), before + 6, "without what the old leader had logged");
}

#[test]
fn zookeeper_962_a_server_that_comes_back_during_writes_misses_none() {
    // A2, A6: ZOOKEEPER-1264, 1282, 1551; by DIFF, from the log on disk, and by SNAP.
    for (window, log_sync, force_snapshot) in
        [(500, true, false), (3, true, false), (3, false, false), (500, true, true)]
    {
        let mut params = Params::calm(3, 1);
        params.commit_log_count = window;
        params.log_sync = log_sync;
        params.force_snapshot = force_snapshot;
        let mut world = World::<PeerHost>::new(params, 1);
        converge(&mut world);
        let leader = world.leader().expect("one leads");
        for host in [(leader + 1) % 3, 3] {
            write(&mut world, 5);
            world.kill(host, false);
            write(&mut world, 10);
            world.boot(host);
            for _ in 0..200 {
                world.write(leader);
                world.run_until(world.now() + 1_000);
            }
            converge(&mut world);
        }
        restart_all(&mut world);
    }
}

#[test]
fn zookeeper_4352_members_that_come_one_by_one_get_everything() {
    // A3, A23: ZOOKEEPER-1319; scale-up with a change of the leader in between.
    let mut world = World::<PeerHost>::stopped(Params::calm(3, 0), 1);
    world.boot(0);
    world.boot(1);
    assert!(world.run_while_not(5_000_000, |w| w.leader().is_some()));
    let first = world.leader().expect("one leads");
    for _ in 0..5 {
        world.write(first);
    }
    assert!(world.run_while_not(2_000_000, |w| w.committed().len() == 5));
    world.kill(first, false);
    world.boot(2);
    assert_eq!(another_leads(&mut world, first), 1 - first, "the one with the history");
    world.boot(first);
    converge(&mut world);
    write(&mut world, 3);
    restart_all(&mut world);
}

#[test]
fn zookeeper_4925_a_leader_that_was_behind_passes_on_no_hole() {
    // A17, A20, A21: ZOOKEEPER-2846, 2418.
    let mut params = Params::calm(3, 0);
    params.commit_log_count = 2;
    let mut world = World::<PeerHost>::new(params, 1);
    converge(&mut world);
    let old = world.leader().expect("one leads");
    let (first, second) = ((old + 1) % 3, (old + 2) % 3);
    world.kill(first, false);
    write(&mut world, 7);
    world.boot(first);
    converge(&mut world);
    world.kill(second, false);
    write(&mut world, 7);
    world.kill(old, false);
    world.boot(second);
    assert_eq!(another_leads(&mut world, old), first);
    world.boot(old);
    converge(&mut world);
    restart_all(&mut world);
}

#[test]
fn zookeeper_1277_writes_go_on_over_the_end_of_an_epoch() {
    let mut params = Params::calm(3, 0);
    params.counter_limit = 6;
    let mut world = World::<PeerHost>::new(params, 1);
    converge(&mut world);
    for _ in 0..200 {
        if let Some(leader) = world.leader() {
            world.write(leader);
        }
        world.run_until(world.now() + 20_000);
    }
    converge(&mut world);
    assert!(world.committed().len() > 20, "{} committed", world.committed().len());
}

#[test]
fn zookeeper_1514_members_that_restart_join_again_whatever_they_remember() {
    // C3: ZOOKEEPER-1419, 1732, 1805, 1818, 3109, 3537; each alone, then two at a time.
    let mut world = calm(5, 0, 3);
    for round in 0..10 {
        let first = round % 5;
        world.kill(first, round % 2 == 0);
        if round >= 5 {
            world.kill((first + 2) % 5, false);
        }
        world.run_until(world.now() + 3_500_000);
        world.boot(first);
        world.boot((first + 2) % 5);
        let begun = world.now();
        converge(&mut world);
        assert!(world.now() - begun < 5_000_000, "round {round}");
        write(&mut world, 2);
    }
}

#[test]
fn zookeeper_2164_machines_that_are_off_delay_nobody() {
    // C4: ZOOKEEPER-3756. One of five is gone without a word; another returns.
    let mut world = calm(5, 0, 3);
    let leader = world.leader().expect("one leads");
    let others: Vec<usize> = (0..5).filter(|host| *host != leader).collect();
    world.kill(others[0], true);
    world.kill(others[1], false);
    world.run_until(world.now() + 100_000);
    world.boot(others[1]);
    let serves = |w: &World<PeerHost>| w.host(others[1]).is_some_and(|h| h.peer().is_serving());
    assert!(world.run_while_not(1_500_000, serves), "it waits for the dead");
    // And the leader goes too: the three that are left don't wait for the two.
    world.kill(leader, false);
    let begun = world.now();
    another_leads(&mut world, leader);
    assert!(world.now() - begun < 1_500_000, "{} ms", (world.now() - begun) / 1000);
}

#[test]
fn c9_a_leader_that_was_replaced_in_its_sleep_answers_no_sync() {
    let mut world = calm(3, 0, 3);
    let old = world.leader().expect("one leads");
    let wakes = world.now() + 8_000_000;
    world.slots[old].paused_until = wakes;
    another_leads(&mut world, old);
    write(&mut world, 5);
    world.run_until(wakes - 1);
    world.slots[old].paused_until = 0;
    // The first thing it does, before it has read anything.
    world.sync(old);
    world.run_until(wakes + 2_000_000);
    // The invariant LeaderLease would have objected.
    assert_eq!(world.violation, None);
}

/// The member with the highest id can't open its quorum port: another leads at once, and while the
/// port is held the first one follows.
#[test]
fn a_member_whose_quorum_port_is_held_lets_another_lead() {
    let mut world = World::<PeerHost>::stopped(Params::calm(3, 0), 1);
    world.hold_port(2, false);
    (0..3).for_each(|host| world.boot(host));
    assert!(world.run_while_not(3_000_000, World::has_converged), "nobody leads");
    assert_eq!(world.leader(), Some(1));
    write(&mut world, 3);
    // It held the port before: now it may lead.
    world.free_port(2);
    world.kill(1, false);
    assert_eq!(another_leads(&mut world, 1), 2);
}

/// A port that is taken from a leader to be does not end the ensemble's service, however long it is
/// held; and a member that alone can lead does so as soon as the port is free.
#[test]
fn a_held_quorum_port_costs_seconds_and_not_the_service() {
    let mut world = calm(3, 0, 3);
    assert_eq!(world.leader(), Some(2));
    world.kill(2, false);
    world.hold_port(2, false);
    let fallen = world.now();
    world.boot(2);
    another_leads(&mut world, 2);
    assert!(world.now() - fallen < 3_000_000, "{} ms", (world.now() - fallen) / 1000);
    converge(&mut world);
    // 2 has what 1 has not, and nobody else is there: only 2 can lead.
    world.kill(0, false);
    write(&mut world, 3);
    let leader = world.leader().expect("one leads");
    assert_eq!(leader, 1);
    world.kill(1, false);
    world.boot(0);
    world.run_until(world.now() + 10_000_000);
    assert_eq!(world.leader(), None, "0 lacks what 1 and 2 have committed");
    world.free_port(2);
    assert!(world.run_while_not(3_000_000, |w| w.leader() == Some(2)), "2 can lead now");
    world.boot(1);
    converge(&mut world);
}

/// The program that holds the port of the one whom all elect takes their links, and says nothing on them:
/// they leave when that one looks for a leader again, not after `initLimit`.
#[test]
fn a_stranger_at_the_quorum_port_is_not_waited_for() {
    for seed in 0..20 {
        let mut world = World::<PeerHost>::stopped(Params::calm(3, 0), seed);
        world.hold_port(2, true);
        (0..3).for_each(|host| world.boot(host));
        assert!(world.run_while_not(3_000_000, World::has_converged), "nobody leads, seed {seed}");
        assert_ne!(world.leader(), Some(2));
    }
}
