//! Random histories against the model.

use crate::state::testkit::*;
use crate::state::*;
use crate::types::Code;

#[test]
fn a_random_history_ends_as_in_the_model() {
    for seed in 0..30 {
        let mut history = History::new(seed);
        history.lists = seed % 2 == 0;
        let mut state = StateMachine::new(Options::default());
        let mut changes = Vec::new();
        for n in 0..500 {
            let e = history.next();
            changes.clear();
            let result = state.apply(&e, &mut changes);
            assert_eq!(state.last_zxid(), e.header.zxid);
            assert_eq!(state.digest_mismatches(), 0, "seed {seed} txn {n}: {e:?}");
            let refused = matches!(e.txn, crate::proto::txn::Txn::Error(_))
                || result.multi.iter().any(|part| part.opcode == -1);
            assert_eq!(result.code != Code::OK, refused, "seed {seed} txn {n}: {e:?}");
            if n % 25 == 0 {
                assert_eq!(check(&state), history.model.nodes, "seed {seed} txn {n}");
                assert_eq!(sessions(&state), history.model.sessions);
            }
        }
        assert_eq!(check(&state), history.model.nodes);
    }
}

/// In pieces of one deletion each, closeSession does what it does at once: the same events, the
/// same nodes, under its zxid throughout; and no snapshot begins in the middle.
#[test]
fn a_session_may_end_in_pieces() {
    let mut pieces = 0;
    for seed in 0..30 {
        let mut history = History::new(seed);
        history.lists = seed % 2 == 0;
        let mut whole = StateMachine::new(Options::default());
        let mut state = StateMachine::new(Options::default());
        let (mut expected, mut changes) = (Vec::new(), Vec::new());
        for n in 0..500 {
            let e = history.next();
            expected.clear();
            changes.clear();
            let wanted = whole.apply(&e, &mut expected);
            let result = loop {
                match state.apply_some(&e, 1, &mut changes) {
                    Some(result) => break result,
                    None => {
                        pieces += 1;
                        assert!(state.is_within_txn() && state.begin_snapshot().is_none());
                        assert_eq!(state.last_zxid(), e.header.zxid);
                    }
                }
            };
            assert!(!state.is_within_txn());
            assert_eq!(format!("{result:?}"), format!("{wanted:?}"));
            let texts = |all: &[Change]| all.iter().map(|c| format!("{c:?}")).collect::<Vec<_>>();
            assert_eq!(texts(&changes), texts(&expected), "seed {seed} txn {n}");
            assert_eq!(state.digest_mismatches(), 0, "seed {seed} txn {n}: {e:?}");
            if matches!(e.txn, crate::proto::txn::Txn::CloseSession { .. }) {
                assert_eq!(check(&state), history.model.nodes, "seed {seed} txn {n}");
            }
        }
    }
    assert!(pieces > 100, "{pieces}");
}

#[test]
fn the_state_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<StateMachine>();
    shared::<watch::WatchTable>();
    shared::<Change>();
    shared::<SnapshotCursor>();
}
