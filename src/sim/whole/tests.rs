use super::*;
use crate::sim::invariants::Violation;

/// A short run of an ensemble: what a test has time for.
fn short(seed: u64, mutant: Option<Mutant>) -> Outcome {
    let mut params = Params::of_seed(Kind::Ensemble, seed);
    params.chaos_ms = 1_500;
    params.fault_ms = params.fault_ms.min(200);
    params.think_us = params.think_us.max(5_000);
    params.clients = params.clients.min(3);
    if let Some(mutant) = mutant {
        params.lean_towards(mutant);
    }
    run_with(params, seed, false)
}

/// The first seed under which a bug shows; the seeds are those a test has time for.
fn found(kind: Kind, mutant: Mutant, seeds: u64) -> Option<(u64, Violation)> {
    (0..seeds).find_map(|seed| Some((seed, run(kind, seed, Some(mutant), false).violation?)))
}

#[test]
fn a_server_alone_survives_what_a_disk_can_do() {
    for seed in 0..12 {
        let outcome = run(Kind::One, seed, None, false);
        assert_eq!(outcome.violation, None, "seed {seed}: {:?}", outcome.params);
        assert!(outcome.committed > 0, "seed {seed}");
    }
}

#[test]
fn a_seed_is_a_run() {
    let (first, second) = (run(Kind::One, 3, None, false), run(Kind::One, 3, None, false));
    assert_eq!((first.hash, first.events), (second.hash, second.events));
    assert_ne!(first.hash, run(Kind::One, 4, None, false).hash);
}

#[test]
fn a_reply_before_the_sync_is_found() {
    assert!(found(Kind::One, Mutant::ReplyBeforeSync, 12).is_some());
}

#[test]
fn a_snapshot_under_the_wrong_name_is_found() {
    assert!(found(Kind::One, Mutant::SnapshotMisnamed, 12).is_some());
}

#[test]
fn damage_taken_for_the_end_of_the_log_is_found() {
    assert!(found(Kind::One, Mutant::DamageIsTheEnd, 12).is_some());
}

#[test]
fn ephemerals_that_outlive_their_session_are_found() {
    assert!(found(Kind::One, Mutant::EphemeralsStay, 12).is_some());
}

#[test]
fn watch_events_behind_the_data_are_found() {
    assert!(found(Kind::One, Mutant::EventsLate, 12).is_some());
}

#[test]
fn an_ensemble_survives_and_forgets_nothing() {
    for seed in 0..4 {
        let outcome = short(seed, None);
        assert_eq!(outcome.violation, None, "seed {seed}: {:?}", outcome.params);
        assert!(outcome.coverage["leader established"] > 0, "seed {seed}");
    }
    let (first, second) = (short(5, None), short(5, None));
    assert_eq!((first.hash, first.events), (second.hash, second.events));
}

#[test]
fn bugs_of_an_ensemble_are_found() {
    let bugs = [
        Mutant::EphemeralsStay,
        Mutant::EventsLate,
        Mutant::ObserversForgotten,
        Mutant::LocalSessionsLogged,
        Mutant::Zab(zab::Mutant::AckBeforePersist),
        Mutant::Zab(zab::Mutant::DeliverOnProposal),
    ];
    for bug in bugs {
        let found = (0..48).find_map(|seed| short(seed, Some(bug)).violation);
        assert!(found.is_some(), "{bug:?}");
    }
}

#[test]
fn sessions_are_kept_and_ended_through_observers_of_followers() {
    let mut kept = 0;
    for seed in 0..2 {
        let mut params = Params::of_seed(Kind::Ensemble, seed);
        params.lean_towards(Mutant::ObserversForgotten);
        (params.mutant, params.clients, params.chaos_ms) = (None, 3, 300);
        (params.voters, params.observers, params.local) = (3, 2, None);
        (params.think_us, params.tick_ms) = (50_000, 100);
        let outcome = run_with(params, seed, false);
        assert_eq!(outcome.violation, None, "seed {seed}: {:?}", outcome.params);
        kept += outcome.coverage.get("session of an observer told to the leader").unwrap_or(&0);
    }
    assert!(kept > 0);
}

#[test]
fn members_without_a_quorum_serve_readers_who_come_back_to_write() {
    let mut read = 0;
    for seed in 0..2 {
        let mut params = Params::of_seed(Kind::Ensemble, seed);
        params.lean_towards(Mutant::ReadOnlySaysYes);
        (params.mutant, params.clients, params.think_us) = (None, 2, 50_000);
        (params.voters, params.observers, params.tick_ms) = (3, 0, 100);
        (params.faults, params.fault_ms) = (vec![(params::Fault::Isolate, 1)], 1_500);
        let outcome = run_with(params, seed, false);
        assert_eq!(outcome.violation, None, "seed {seed}: {:?}", outcome.params);
        read += outcome.coverage["read-only: read answered"];
    }
    assert!(read > 0);
}

/// Found by hand on a member: 400 acknowledged writes, and with another voter down none was left.
#[test]
fn a_newest_log_that_is_lost_cut_or_replaced_is_never_passed_over() {
    for (kind, noticed) in [(Kind::Ensemble, "damaged member resynced")] {
        let mut shown = std::collections::BTreeSet::new();
        let mut count = 0;
        for seed in 19..24 {
            let mut params = Params::of_seed(kind, seed);
            (params.clients, params.chaos_ms, params.fault_ms) = (3, 3_000, 200);
            (params.think_us, params.snap_count) = (5_000, 30);
            (params.read_only, params.purge_ms) = (false, 0);
            params.voters = if kind == Kind::One { 1 } else { 3 };
            let faults = [params::Fault::LoseLog, params::Fault::Kill, params::Fault::Isolate];
            params.faults = faults.into_iter().map(|fault| (fault, 1)).collect();
            let outcome = run_with(params, seed, false);
            assert_eq!(outcome.violation, None, "{kind:?}, seed {seed}");
            count += outcome.coverage.get(noticed).unwrap_or(&0);
            shown.extend(outcome.coverage.into_keys().filter(|key| key.contains("newest log")));
        }
        assert!(count > 4, "{kind:?}: {count}");
        assert!(shown.len() > 2, "{kind:?}: {shown:?}");
    }
}

#[test]
fn learners_that_read_slowly_share_images_and_hold_up_nothing() {
    let (mut begun, mut sent, mut own) = (0, 0, 0);
    for seed in 0..3 {
        let mut params = Params::of_seed(Kind::Ensemble, seed);
        (params.clients, params.chaos_ms, params.fault_ms) = (2, 3_000, 300);
        (params.voters, params.observers, params.observer_masters) = (3, 2, false);
        (params.faults, params.local) = (vec![(params::Fault::Kill, 1)], None);
        (params.think_us, params.data_max, params.commit_log_count) = (20_000, 1000, 500);
        (params.force_snapshot, params.snap_syncs_max) = (true, 10);
        (params.piece_bytes, params.piece_us, params.snap_count) = (500, 50_000, 10);
        let outcome = run_with(params, seed, false);
        assert_eq!(outcome.violation, None, "seed {seed}: {:?}", outcome.params);
        let count = |name: &str| outcome.coverage.get(name).copied().unwrap_or(0);
        begun += count("image begun");
        sent += count("snapshot sent");
        own += count("snapshot written");
    }
    assert!(begun > 0 && sent > begun && own > 0, "{begun} {sent} {own}");
}

#[test]
fn an_image_that_is_made_in_one_turn_is_found() {
    let found = (0..12).find_map(|seed| short(seed, Some(Mutant::ImageAtOnce)).violation);
    assert_eq!(found.map(|violation| violation.invariant), Some("ImageInOneTurn"));
}
