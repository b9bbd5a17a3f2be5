use super::*;
use crate::state::testkit::*;
use crate::state::{Options, StateMachine};

#[test]
fn a_snapshot_is_the_state_at_its_beginning_whatever_happens_meanwhile() {
    for seed in 0..30 {
        let mut history = History::new(seed + 1000);
        history.nodes_max = 40 + seed as usize;
        let mut state = StateMachine::new(Options::default());
        let mut changes = Vec::new();
        let mut done = 0;
        while done < 12 {
            for _ in 0..history.rng.below(40) {
                state.apply(&history.next(), &mut changes);
            }
            let (at, zxid) = (history.model.clone(), state.last_zxid());
            let mut cursor = state.begin_snapshot().expect("none under way");
            assert!(state.begin_snapshot().is_none());
            let give_up = history.rng.one_in(5);
            let mut out = BytesMut::new();
            let mut finished = false;
            while !finished {
                for _ in 0..history.rng.below(6) {
                    state.apply(&history.next(), &mut changes);
                }
                let step = 1 + history.rng.below(4) as usize;
                finished = state.snapshot_next(&mut cursor, step, &mut out);
                if give_up && history.rng.one_in(10) {
                    break;
                }
            }
            state.end_snapshot();
            changes.clear();
            assert_eq!(check(&state), history.model.nodes, "seed {seed}");
            if !finished {
                assert!(state.snapshot_next(&mut cursor, 1, &mut out), "given up");
                continue;
            }
            let image = Image::read(&cursor, out);
            assert_eq!(image.zxid, zxid);
            assert_eq!(image.nodes.len(), at.nodes.len(), "seed {seed}: each node once");
            assert_eq!(image.dump(), at.nodes, "seed {seed} snapshot {done}");
            let loaded = image.load();
            assert_eq!(check(&loaded), at.nodes);
            assert_eq!(sessions(&loaded), at.sessions);
            assert_eq!((loaded.digest_mismatches(), loaded.last_zxid()), (0, zxid));
            done += 1;
        }
    }
}

#[test]
fn any_number_of_snapshots_given_up_leave_the_next_one_exact() {
    let mut history = History::new(5);
    let mut state = StateMachine::new(Options::default());
    let mut changes = Vec::new();
    for n in 0..700 {
        state.apply(&history.next(), &mut changes);
        let mut cursor = state.begin_snapshot().expect("none under way");
        if n % 100 == 99 {
            state.end_snapshot();
            assert_eq!(Image::of(&mut state).dump(), history.model.nodes, "{n}");
            continue;
        }
        state.snapshot_next(&mut cursor, n % 7, &mut BytesMut::new());
        state.end_snapshot();
    }
}

#[test]
fn a_snapshot_under_way_costs_nothing_once_it_has_ended() {
    let mut history = History::new(6);
    history.nodes_max = 300;
    let mut state = StateMachine::new(Options::default());
    let mut changes = Vec::new();
    for _ in 0..2000 {
        state.apply(&history.next(), &mut changes);
    }
    let mut cursor = state.begin_snapshot().expect("none under way");
    for _ in 0..1000 {
        state.apply(&history.next(), &mut changes);
    }
    let (kept, dead) = (|s: &StateMachine| s.tree.capture.as_ref().map(|c| c.kept.lock().len()), 0);
    assert!(kept(&state) > Some(10) && state.tree.trash.len() > dead);
    while !state.snapshot_next(&mut cursor, 1, &mut BytesMut::new()) {}
    assert_eq!(kept(&state), Some(0), "the walk has taken everything");
    state.end_snapshot();
    for _ in 0..100 {
        state.apply(&history.next(), &mut changes);
    }
    assert_eq!(state.tree.trash.len(), 0);
    check(&state);
}
