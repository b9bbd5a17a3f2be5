//! Known failures, played out: what once went wrong elsewhere, by its JIRA id, on an ensemble in
//! which nothing else does.

use super::super::host::{Host, PeerHost};
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
