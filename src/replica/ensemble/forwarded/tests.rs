use super::*;

const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);

#[test]
fn a_commit_finds_the_oldest_request_of_its_session() {
    let mut f = Forwarded::default();
    f.write(A, 1, Zxid(10), "a1");
    f.write(B, 1, Zxid(10), "b1");
    f.write(A, 2, Zxid(11), "a2");
    assert_eq!(f.outstanding(), 3);
    assert_eq!(f.committed(A, 2, Zxid(12)), None, "not the oldest: it was asked elsewhere");
    assert_eq!(f.committed(B, 1, Zxid(12)), Some("b1"));
    assert_eq!(f.committed(A, 1, Zxid(12)), Some("a1"));
    assert_eq!(f.committed(A, 1, Zxid(12)), None);
    assert_eq!(f.committed(A, 2, Zxid(12)), Some("a2"));
    assert_eq!(f.outstanding(), 0);
}

#[test]
fn a_commit_of_what_was_ordered_before_is_not_the_answer() {
    let mut f = Forwarded::default();
    // Through another member the session has sent requests 1 and 2; here it begins at 1 again.
    f.write(A, 1, Zxid(11), "a1");
    assert_eq!(f.committed(A, 1, Zxid(10)), None, "proposed before we asked");
    assert_eq!(f.committed(A, 2, Zxid(11)), None);
    assert_eq!(f.committed(A, 1, Zxid(12)), Some("a1"));
}

#[test]
fn syncs_are_answered_in_order_and_revalidations_by_session() {
    let mut f = Forwarded::default();
    f.sync("first");
    f.sync("second");
    f.revalidate(A, "old connection");
    f.revalidate(A, "new connection");
    assert_eq!(f.synced(), Some("first"));
    assert_eq!(f.revalidated(B), None);
    assert_eq!(f.revalidated(A), Some("old connection"));
    assert_eq!(f.revalidated(A), Some("new connection"));
    assert_eq!(f.revalidated(A), None);
    assert_eq!(f.synced(), Some("second"));
    assert_eq!(f.synced(), None);
    f.sync("lost");
    f.clear();
    assert_eq!((f.synced(), f.outstanding()), (None, 0));
}
