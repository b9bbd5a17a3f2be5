use super::*;
use crate::proto::txn::{CreateTxn, Txn, TxnHeader};
use crate::types::{SessionId, StatPersisted, WallTime, Zxid, open_acl};

fn create(zxid: i64) -> TxnEntry {
    let header =
        TxnHeader { session: SessionId(7), cxid: 0, zxid: Zxid(zxid), time: WallTime(1), kind: 1 };
    let txn = CreateTxn {
        path: format!("/log-{zxid}"),
        data: None,
        acl: open_acl(),
        ephemeral: false,
        parent_cversion: zxid as i32,
    };
    TxnEntry { header, txn: Txn::Create(txn), digest: None }
}

/// So many nodes of an image and so many transactions behind it.
fn feed<B: Builder>(mut builder: B, nodes: usize, txns: i64) -> StateMachine {
    builder.session(9, 4000);
    builder.acl(1, open_acl());
    let stat = StatPersisted { czxid: 1, version: 2, ..StatPersisted::default() };
    builder.node("", NodeView { data: Some(b""), acl: -1, stat }).expect("the root");
    for n in 0..nodes {
        let data = vec![n as u8; n % 200];
        let node = NodeView { data: (n % 7 > 0).then_some(&data[..]), acl: 1, stat };
        builder.node(&format!("/n{n}"), node).expect("the root is above it");
    }
    builder.end().expect("all were accepted");
    builder.begin(ImageTail { zxid: Zxid(10), digest: None });
    (11..11 + txns).for_each(|zxid| builder.txn(create(zxid)));
    builder.finish()
}

#[test]
fn another_thread_builds_the_same_state() {
    let times = LoadTimes::start(Clock::start());
    for (nodes, txns) in [(0, 0), (3, 1), (BATCH_NODES * 20 + 5, 0), (2000, 700)] {
        let (options, times) = (Options::default(), &times);
        let ours = feed(Build::new(options, times), nodes, txns);
        let inline = feed(Inline::new(options), nodes, txns);
        assert_eq!(ours.digest(), inline.digest(), "{nodes} nodes, {txns} transactions");
        assert_eq!(ours.node_count(), inline.node_count());
        assert_eq!(ours.last_zxid(), inline.last_zxid());
        assert_eq!(ours.approximate_data_size(), inline.approximate_data_size());
    }
    let metrics = Metrics::new(false);
    times.record(&metrics);
}

#[test]
fn without_an_image_the_log_is_enough() {
    let times = LoadTimes::start(Clock::start());
    let mut build = Build::new(Options::default(), &times);
    build.begin(ImageTail::default());
    (1..=3).for_each(|zxid| build.txn(create(zxid)));
    assert_eq!(build.finish().last_zxid(), Zxid(3));
    let mut nothing = Build::new(Options::default(), &times);
    nothing.begin(ImageTail::default());
    assert_eq!(nothing.finish().node_count(), StateMachine::new(Options::default()).node_count());
}

/// Where a node has no parent the snapshot is no good: that must be known before the log is read.
#[test]
fn what_the_builder_refuses_is_known_at_the_end() {
    let times = LoadTimes::start(Clock::start());
    let mut build = Build::new(Options::default(), &times);
    let node = NodeView { data: None, acl: -1, stat: StatPersisted::default() };
    build.node("", node).expect("the root");
    build.node("/a/b", node).expect("not looked at yet");
    let why = build.end().expect_err("no parent");
    assert!(why.contains("/a/b"), "{why}");
}
