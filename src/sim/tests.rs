use super::*;

#[test]
fn a_calm_ensemble_elects_and_commits() {
    for (voters, observers) in [(1, 0), (3, 0), (3, 2), (5, 1)] {
        let mut world = World::<PeerHost>::new(Params::calm(voters, observers), 1);
        let done = world.run_while_not(2_000_000, World::has_converged);
        assert_eq!(world.violation, None);
        assert!(done, "{voters} voters and {observers} observers don't agree on a leader");
        for _ in 0..10 {
            let leader = world.leader().expect("converged");
            world.write(leader);
            world.write(0);
        }
        let done =
            world.run_while_not(1_000_000, |w| w.committed().len() == 20 && w.has_converged());
        assert_eq!(world.violation, None);
        assert!(done, "{} committed", world.committed().len());
    }
}

mod outsiders;
mod scenarios;
