//! Snapshot and replay come to the same state, whatever the snapshot holds already.

use std::collections::BTreeMap;

use crate::proto::image::{ImageHead, ImageNode, OPEN_ACL_INDEX};
use crate::proto::txn::TxnEntry;
use crate::state::testkit::*;
use crate::state::*;
use crate::testing::finite_rng::Xorshift;
use crate::types::{Acl, Zxid, open_acl};

fn replay(state: &mut StateMachine, log: &[TxnEntry]) {
    let mut changes = Vec::new();
    log.iter().for_each(|e| drop(state.apply(e, &mut changes)));
}

#[test]
fn an_exact_snapshot_at_any_cut_and_the_log_after_it_make_the_same_state() {
    for seed in 100..104 {
        let mut history = History::new(seed);
        let log: Vec<TxnEntry> = (0..150).map(|_| history.next()).collect();
        for cut in 0..=log.len() {
            let mut before = StateMachine::new(Options::default());
            replay(&mut before, &log[..cut]);
            let mut state = Image::of(&mut before).load();
            assert_eq!(check(&state), dump(&before), "seed {seed} cut {cut}");
            replay(&mut state, &log[cut..]);
            assert_eq!(check(&state), history.model.nodes, "seed {seed} cut {cut}");
            assert_eq!(sessions(&state), history.model.sessions);
            assert_eq!(state.digest_mismatches(), 0);
        }
    }
}

/// ZOOKEEPER-4712: a log that lacks what was applied and never written.
#[test]
fn a_gap_in_the_log_shows_at_the_first_digest_behind_it() {
    let mut history = History::new(7);
    let log: Vec<TxnEntry> = (0..80).map(|_| history.next()).collect();
    let behind = log[50..].iter().find(|e| e.digest.is_some()).map(|e| e.header.zxid);
    let mut state = StateMachine::new(Options::default());
    replay(&mut state, &log[..30]);
    assert_eq!(state.first_digest_mismatch(), None);
    replay(&mut state, &log[50..]);
    assert!(behind.is_some());
    assert_eq!(state.first_digest_mismatch(), behind);
}

/// A snapshot as Apache writes it: sessions and ACLs as of `from`, then nodes one by one while the
/// log goes on up to `to`.
fn fuzzy(models: &[Model], from: usize, to: usize, rng: &mut Xorshift) -> Image {
    let mut acls = BTreeMap::<Vec<Acl>, i64>::new();
    for node in models[from].nodes.values().filter(|n| n.acl != open_acl()) {
        let next = acls.len() as i64 + 1;
        acls.entry(node.acl.clone()).or_insert(next);
    }
    let head = ImageHead {
        sessions: models[from].sessions.iter().map(|(id, t)| (*id, *t)).collect(),
        acls: acls.iter().map(|(list, n)| (*n, list.clone())).collect(),
    };
    let (mut now, mut nodes, mut stack) = (from, Vec::new(), vec![String::new()]);
    while let Some(path) = stack.pop() {
        if rng.one_in(2) && now < to {
            now += 1 + rng.below(3).min((to - now - 1) as u64) as usize;
        }
        let all = &models[now].nodes;
        let Some(node) = all.get(&path) else { continue };
        let acl = match node.acl == open_acl() {
            true => OPEN_ACL_INDEX,
            // A list that is newer than the head has a number that the head does not explain.
            false => acls.get(&node.acl).copied().unwrap_or(999),
        };
        let record = ImageNode { data: node.data.clone(), acl, stat: node.stat };
        nodes.push((path.clone(), record));
        let prefix = format!("{path}/");
        let below = all.keys().filter(|p| p.starts_with(&prefix));
        stack.extend(below.filter(|p| !p[prefix.len()..].contains('/')).cloned());
    }
    let zxid = Zxid(models[from].zxid);
    // Apache's trailer names a zxid at the end of the walk, where a comparison is possible.
    let end = &models[now];
    let digest = (now > from).then(|| (Zxid(end.zxid), digest_of(&end.nodes)));
    Image { head, zxid, digest, nodes }
}

// closeSession without a list of paths (`closeSessionTxn.enabled=false`) is left out: its replay
// cannot know the nodes that the snapshot has no more, and their parents' pzxid (ZOOKEEPER-3145).
#[test]
fn a_fuzzy_snapshot_and_the_log_from_before_it_make_the_same_state() {
    for seed in 200..240 {
        let mut history = History::new(seed);
        history.nodes_max = 25;
        let (mut models, mut log) = (vec![history.model.clone()], Vec::new());
        for _ in 0..200 {
            log.push(history.next());
            models.push(history.model.clone());
        }
        let mut rng = Xorshift::new(seed);
        for _ in 0..20 {
            let from = rng.below(150) as usize;
            let to = from + rng.below(50) as usize;
            let mut state = fuzzy(&models, from, to, &mut rng).load();
            replay(&mut state, &log[from..]);
            assert_eq!(check(&state), history.model.nodes, "seed {seed} {from}..{to}");
            assert_eq!(sessions(&state), history.model.sessions);
            assert_eq!(state.digest_mismatches(), 0, "seed {seed} {from}..{to}");
        }
    }
}
