use super::*;
use crate::proto::txn::{CreateTxn, Txn, TxnHeader};
use crate::types::{SessionId, StatPersisted, WallTime, open_acl};

fn create(zxid: i64) -> TxnEntry {
    let header =
        TxnHeader { session: SessionId(7), cxid: 0, zxid: Zxid(zxid), time: WallTime(1), kind: 1 };
    let txn = CreateTxn {
        path: format!("/n{zxid}"),
        data: None,
        acl: open_acl(),
        ephemeral: false,
        parent_cversion: zxid as i32,
    };
    TxnEntry { header, txn: Txn::Create(txn), digest: None }
}

#[test]
fn transactions_follow_the_image_however_many_there_are() {
    for count in [0, 1, TXNS_TOGETHER as i64, TXNS_TOGETHER as i64 * 2 + 3] {
        let mut builder = Inline::new(Options::default());
        let root = NodeView { data: Some(b"x"), acl: -1, stat: StatPersisted::default() };
        builder.node("", root).expect("the root");
        builder.begin(ImageTail { zxid: Zxid(4), digest: None });
        (5..5 + count).for_each(|zxid| builder.txn(create(zxid)));
        let state = builder.finish();
        assert_eq!(state.last_zxid(), Zxid(4 + count));
        assert_eq!(state.node_count(), 5 + count as usize);
        assert_eq!(state.node("/").expect("there").data(), Some(&b"x"[..]));
    }
}

#[test]
fn nothing_at_all_is_a_new_state() {
    let (built, new) =
        (Inline::new(Options::default()).finish(), StateMachine::new(Options::default()));
    assert_eq!((built.digest(), built.node_count()), (new.digest(), new.node_count()));
    assert_eq!(built.last_zxid(), Zxid::ZERO);
}
