use bytes::Bytes;

use super::*;
use crate::types::Epoch;

fn z(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

fn txn(zxid: Zxid) -> EncodedTxn {
    EncodedTxn::new(zxid, Bytes::from(zxid.0.to_string()))
}

#[test]
fn only_what_connects_is_kept() {
    let recent = vec![txn(z(1, 1)), txn(z(1, 3)), txn(z(1, 4)), txn(z(2, 1))];
    let history = History::new(Zxid::ZERO, recent.clone(), z(2, 1), 10);
    assert_eq!((history.floor(), history.last()), (z(1, 3), z(2, 1)));
    assert_eq!(history.txns().count(), 2, "1|3 doesn't follow 1|1, so 1|3 is only known by name");
    let history = History::new(Zxid::ZERO, recent, z(2, 2), 10);
    assert_eq!((history.floor(), history.txns().count()), (z(2, 2), 0));
}

#[test]
fn delivered_transactions_are_trimmed_and_others_are_not() {
    let mut history = History::new(Zxid::ZERO, vec![], Zxid::ZERO, 2);
    for i in 1..=5 {
        history.push(txn(z(1, i)));
    }
    assert_eq!(history.txns().count(), 5);
    assert_eq!(delivered(&mut history, z(1, 3)), [z(1, 1), z(1, 2), z(1, 3)]);
    assert!(delivered(&mut history, z(1, 3)).is_empty());
    assert_eq!((history.floor(), history.delivered(), history.last()), (z(1, 1), z(1, 3), z(1, 5)));
    assert_eq!(history.after(z(1, 3)).count(), 2);
    assert!(history.find(z(1, 1)).is_none() && history.find(z(1, 2)).is_some());
}

#[test]
fn truncation_lowers_every_mark() {
    let mut history = History::new(Zxid::ZERO, vec![], Zxid::ZERO, 10);
    for i in 1..=5 {
        history.push(txn(z(1, i)));
    }
    history.set_durable(z(1, 5));
    delivered(&mut history, z(1, 2));
    assert!(!history.truncate(z(1, 3)), "what was delivered stands");
    assert_eq!(
        (history.last(), history.durable(), history.delivered()),
        (z(1, 3), z(1, 3), z(1, 2))
    );
    assert!(history.truncate(z(1, 1)), "the state has to be rebuilt");
    assert_eq!(
        (history.last(), history.durable(), history.delivered()),
        (z(1, 1), z(1, 1), z(1, 1))
    );
    history.push(txn(z(2, 1)));
    assert_eq!(delivered(&mut history, z(2, 1)), [z(2, 1)]);
}

#[test]
fn truncation_below_the_window_leaves_an_empty_one() {
    let mut history = History::new(z(1, 5), vec![txn(z(1, 6))], z(1, 6), 10);
    assert!(history.truncate(z(1, 2)));
    assert_eq!((history.floor(), history.last(), history.durable()), (z(1, 2), z(1, 2), z(1, 2)));
    history.reset(z(3, 0));
    assert_eq!((history.last(), history.durable()), (z(3, 0), Zxid::ZERO));
}

fn delivered(history: &mut History, through: Zxid) -> Vec<Zxid> {
    let mut zxids = Vec::new();
    history.deliver_through(through, |txn| zxids.push(txn.zxid));
    zxids
}
