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

#[test]
fn the_state_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<StateMachine>();
    shared::<watch::WatchTable>();
    shared::<Change>();
    shared::<SnapshotCursor>();
}
