//! Members that come back from another time, and strangers, on ensembles in which nothing else goes
//! wrong.

use super::super::disk::Disk;
use super::super::host::{Host, PeerHost};
use super::super::swarm::Params;
use super::super::world::World;
use crate::proto::quorum::PacketKind;
use crate::types::{Epoch, ServerId};

const LAST: Epoch = Epoch(0x7fff_fffc);

fn write(world: &mut World<PeerHost>, writes: usize) {
    let goal = world.committed().len() + writes;
    let leader = world.leader().expect("one leads");
    for _ in 0..writes {
        world.write(leader);
    }
    assert!(world.run_while_not(5_000_000, |w| w.committed().len() >= goal), "not committed");
}

/// Three members; every one starts `times` times, with a write each, and then all stop.
fn restarted(times: usize) -> World<PeerHost> {
    let mut world = World::<PeerHost>::new(Params::calm(3, 0), 1);
    for _ in 0..times {
        assert!(world.run_while_not(10_000_000, World::has_converged));
        write(&mut world, 1);
        assert!(world.run_while_not(10_000_000, World::has_converged));
        (0..3).for_each(|host| world.kill(host, false));
        (0..3).for_each(|host| world.boot(host));
    }
    (0..3).for_each(|host| world.kill(host, false));
    world
}

/// Members 1 and 2 lose what they had and form the ensemble anew.
fn wipe_two(world: &mut World<PeerHost>) {
    for host in 0..2 {
        *world.disk(host) = Disk::new(0, None);
    }
    world.forget_history();
    (0..2).for_each(|host| world.boot(host));
    assert!(world.run_while_not(10_000_000, |w| w.leader().is_some()));
}

#[test]
fn a_member_of_the_ensemble_before_takes_nothing_from_the_one_formed_anew() {
    let mut world = restarted(5);
    wipe_two(&mut world);
    write(&mut world, 3);
    let (leader, epoch) = (world.leader(), world.disk(0).current);
    world.boot(2);
    for _ in 0..30 {
        world.run_until(world.now() + 1_000_000);
        write(&mut world, 1);
    }
    assert_eq!((world.violation.clone(), world.leader()), (None, leader));
    assert_eq!(world.disk(0).current, epoch, "the leader is the same, in the same epoch");
    assert!(!world.host(2).expect("it runs").peer().is_serving());
    // Once the others' epochs are as late it is one of them, with their history.
    let later = world.disk(2).accepted;
    while world.disk(0).current < later {
        world.kill(2, false);
        let leader = world.leader().expect("one leads");
        world.kill(leader, false);
        world.boot(leader);
        assert!(world.run_while_not(10_000_000, |w| w.leader().is_some()));
        write(&mut world, 1);
    }
    world.boot(2);
    assert!(world.run_while_not(30_000_000, World::has_converged), "{:?}", world.violation);
}

#[test]
fn a_history_with_equal_zxids_is_replaced_by_a_snapshot() {
    // One epoch before and one after: (1, 1) and so on mean something else on member 3.
    for (before, after) in [(2, 4), (4, 4), (4, 2)] {
        let mut world = World::<PeerHost>::new(Params::calm(3, 0), 1);
        assert!(world.run_while_not(10_000_000, World::has_converged));
        write(&mut world, before);
        assert!(world.run_while_not(10_000_000, World::has_converged));
        (0..3).for_each(|host| world.kill(host, false));
        wipe_two(&mut world);
        write(&mut world, after);
        world.boot(2);
        let done = world.run_while_not(30_000_000, World::has_converged);
        assert_eq!(world.violation, None, "{before} before, {after} after");
        assert!(done, "{before} before, {after} after");
    }
}

#[test]
fn no_strangers_epoch_ends_what_members_can_count() {
    let mut world = World::<PeerHost>::new(Params::calm(3, 1), 1);
    for round in 0..6 {
        assert!(world.run_while_not(20_000_000, World::has_converged), "round {round}");
        let leader = world.leader().expect("one leads");
        for server in [ServerId(77), ServerId(4), ServerId(i64::MAX)] {
            for kind in [PacketKind::FollowerInfo, PacketKind::ObserverInfo] {
                world.introduce(leader, server, kind, LAST);
            }
        }
        world.kill(leader, false);
        // The next leader is told before anybody else has come to it.
        let begins = |w: &World<PeerHost>| (0..3).any(|h| h != leader && w.listens(h));
        assert!(world.run_while_not(20_000_000, begins));
        for host in (0..3).filter(|host| *host != leader) {
            if world.listens(host) {
                world.introduce(host, ServerId(77), PacketKind::FollowerInfo, LAST);
            }
        }
        world.boot(leader);
    }
    assert!(world.run_while_not(20_000_000, World::has_converged));
    assert!(world.disk(0).accepted < Epoch(100), "{:?}", world.disk(0).accepted);
}

#[test]
fn a_voter_that_has_accepted_later_epochs_and_nothing_more_is_let_in() {
    let mut world = World::<PeerHost>::new(Params::calm(3, 0), 1);
    assert!(world.run_while_not(10_000_000, World::has_converged));
    write(&mut world, 2);
    world.kill(0, false);
    world.run_until(world.now() + 100_000);
    write(&mut world, 2);
    world.disk(0).accepted = Epoch(40);
    world.boot(0);
    let done = world.run_while_not(30_000_000, World::has_converged);
    assert_eq!(world.violation, None);
    assert!(done && world.disk(1).current > Epoch(40));
}
