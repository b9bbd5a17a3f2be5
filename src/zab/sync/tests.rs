use std::collections::BTreeSet;

use bytes::Bytes;

use super::*;
use crate::types::Epoch;

const RULES: Rules = Rules { force_snapshot: false, log_sync: true, skip_membership: false };

fn z(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

fn txn(zxid: Zxid) -> EncodedTxn {
    EncodedTxn::new(zxid, Bytes::new())
}

/// Apache's own table, row by row, with its names.
#[test]
fn the_table() {
    let zxids = [z(1, 2), z(1, 3), z(2, 1), z(3, 1), z(3, 2)];
    let has = Committed { floor: z(1, 1), zxids: &zxids, processed: z(3, 2) };
    let check = |peer, expect| assert_eq!(plan(&has, peer, RULES), expect, "{peer}");
    let newest = z(3, 2);
    check(z(3, 2), Plan::Diff { announce: newest, after: newest });
    check(z(3, 3), Plan::Trunc { to: newest });
    check(z(4, 1), Plan::Trunc { to: newest });
    check(z(4, 0), Plan::Snap);
    check(z(1, 3), Plan::Diff { announce: newest, after: z(1, 3) });
    check(z(1, 1), Plan::Diff { announce: newest, after: z(1, 1) });
    check(z(3, 0), Plan::Diff { announce: newest, after: z(3, 0) });
    check(z(2, 0), Plan::Diff { announce: newest, after: z(2, 0) });
    check(z(1, 4), Plan::Snap);
    check(z(2, 2), Plan::Snap);
    check(z(1, 0), Plan::ReadLog { after: z(1, 0) });
    check(Zxid::ZERO, Plan::ReadLog { after: Zxid::ZERO });
    check(Zxid(-1), Plan::Snap);
    let forced = Rules { force_snapshot: true, ..RULES };
    assert_eq!(plan(&has, newest, forced), Plan::Snap);
    let memory = Rules { log_sync: false, ..RULES };
    assert_eq!(plan(&has, Zxid::ZERO, memory), Plan::Snap);
}

#[test]
fn an_empty_window_knows_only_its_floor() {
    let has = Committed { floor: z(4, 9), zxids: &[], processed: z(5, 0) };
    let check = |peer, expect| assert_eq!(plan(&has, peer, RULES), expect, "{peer}");
    check(z(5, 0), Plan::Diff { announce: z(5, 0), after: z(4, 9) });
    check(z(4, 9), Plan::Diff { announce: z(4, 9), after: z(4, 9) });
    check(z(5, 2), Plan::Trunc { to: z(4, 9) });
    check(z(4, 10), Plan::Trunc { to: z(4, 9) });
    check(z(4, 8), Plan::ReadLog { after: z(4, 8) });
    check(z(6, 0), Plan::Snap);
    let fresh = Committed { floor: Zxid::ZERO, zxids: &[], processed: Zxid::ZERO };
    let nothing = Plan::Diff { announce: Zxid::ZERO, after: Zxid::ZERO };
    assert_eq!(plan(&fresh, Zxid::ZERO, RULES), nothing);
    assert_eq!(plan(&fresh, Zxid(-1), RULES), Plan::Snap);
}

/// A3 (ZOOKEEPER-1319): the leader has data and an empty window, the learner has nothing.
#[test]
fn zookeeper_1319_an_empty_learner_never_gets_an_empty_diff() {
    let has = Committed { floor: z(1, 7), zxids: &[], processed: z(1, 7) };
    assert_eq!(plan(&has, Zxid::ZERO, RULES), Plan::ReadLog { after: Zxid::ZERO });
    let refused = LogRead { found: z(1, 3), print: None, txns: vec![] };
    assert_eq!(plan_from_log(&refused, Zxid::ZERO, z(1, 7), z(1, 7)), None);
}

/// Every leader's history over two small epochs, every window onto it, every learner that such an
/// ensemble can have: after the plan the learner holds exactly the leader's history.
#[test]
fn every_small_case_ends_with_the_leaders_history() {
    let mut modes = BTreeSet::new();
    for e1 in 0..=3_u32 {
        for e2 in 0..=3_u32 {
            let history: Vec<Zxid> =
                (1..=e1).map(|c| z(1, c)).chain((1..=e2).map(|c| z(2, c))).collect();
            for learner in learners(e1, e2) {
                for cut in 0..=history.len() {
                    check_one(&history, cut, &learner, &mut modes);
                }
            }
        }
    }
    assert_eq!(modes.len(), 4, "every kind of plan occurred: {modes:?}");
}

/// Logs that a learner can have while the leader's history is `e1` transactions of epoch 1 and then
/// `e2` of epoch 2: a prefix of it, a prefix with more of the same epoch that nobody committed, or a
/// snapshot of the leader at the start of epoch 2.
fn learners(e1: u32, e2: u32) -> Vec<(Vec<Zxid>, Zxid)> {
    let mut all = Vec::new();
    for c in 0..=e1 + 2 {
        let log: Vec<_> = (1..=c).map(|c| z(1, c)).collect();
        all.push((log.clone(), log.last().copied().unwrap_or(Zxid::ZERO)));
    }
    for c in 1..=e2 + 2 {
        let log: Vec<_> = (1..=e1).map(|c| z(1, c)).chain((1..=c).map(|c| z(2, c))).collect();
        all.push((log, z(2, c)));
    }
    if e2 > 0 {
        all.push(((1..=e1).map(|c| z(1, c)).collect(), z(2, 0)));
    }
    all
}

fn check_one(
    history: &[Zxid],
    cut: usize,
    (log, claim): &(Vec<Zxid>, Zxid),
    modes: &mut BTreeSet<&'static str>,
) {
    let before = |at: usize| if at == 0 { Zxid::ZERO } else { history[at - 1] };
    let processed = history.last().copied().unwrap_or(Zxid::ZERO);
    let has = Committed { floor: before(cut), zxids: &history[cut..], processed };
    let mut plan = plan(&has, *claim, RULES);
    let mut first = Vec::new();
    if let Plan::ReadLog { after } = plan {
        // The whole log is on disk.
        let at = history.partition_point(|z| *z <= after);
        let txns = history[at..].iter().map(|z| txn(*z)).collect();
        let read = LogRead { found: before(at), print: None, txns };
        modes.insert("log");
        match plan_from_log(&read, *claim, has.floor, processed) {
            Some((p, txns)) => {
                plan = p;
                first = txns.iter().map(|t| t.zxid).collect();
            }
            None => plan = Plan::Snap,
        }
    }
    let mut result = log.clone();
    let after = match plan {
        Plan::Snap => {
            modes.insert("snap");
            return;
        }
        Plan::Diff { after, .. } => {
            modes.insert("diff");
            after
        }
        Plan::Trunc { to } => {
            modes.insert("trunc");
            assert!(to == Zxid::ZERO || log.contains(&to), "{to} isn't in {log:?}");
            result.retain(|z| *z <= to);
            to
        }
        Plan::ReadLog { .. } => unreachable!(),
    };
    let last = first.last().copied().unwrap_or(after);
    result.extend(first);
    result.extend(history.iter().filter(|z| **z > last.max(after)));
    assert_eq!(result, history, "from {log:?} (claims {claim}) by {plan:?}, window cut at {cut}");
}

#[test]
fn a_gap_in_the_log_on_disk_means_a_snapshot() {
    let read = |found, zxids: &[Zxid]| LogRead {
        found,
        print: None,
        txns: zxids.iter().map(|z| txn(*z)).collect(),
    };
    let good = read(z(1, 1), &[z(1, 2), z(1, 3)]);
    assert!(plan_from_log(&good, z(1, 1), z(1, 3), z(1, 5)).is_some());
    let gap = read(z(1, 1), &[z(1, 3)]);
    assert_eq!(plan_from_log(&gap, z(1, 1), z(1, 3), z(1, 5)), None, "ZOOKEEPER-2846");
    assert_eq!(plan_from_log(&good, z(1, 1), z(1, 4), z(1, 5)), None, "ZOOKEEPER-2418: the seam");
    let jump = read(z(1, 1), &[z(2, 2)]);
    assert_eq!(plan_from_log(&jump, z(1, 1), z(2, 2), z(2, 2)), None);
    let unknown = read(z(1, 1), &[z(2, 1)]);
    assert_eq!(plan_from_log(&unknown, z(1, 4), z(2, 1), z(2, 1)), None, "across epochs");
}
