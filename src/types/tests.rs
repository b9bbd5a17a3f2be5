use super::*;

#[test]
fn zxids_split_into_epoch_and_counter_and_follow_each_other() {
    let z = Zxid::new(Epoch(5), 7);
    assert_eq!((z.epoch(), z.counter(), z.0), (Epoch(5), 7, 0x5_0000_0007));
    let check = |a: i64, b: i64, expect: bool| {
        assert_eq!(Zxid(b).follows(Zxid(a)), expect, "{a:x} then {b:x}");
    };
    check(0x5_0000_0007, 0x5_0000_0008, true);
    check(0x5_0000_0007, 0x5_0000_0009, false);
    check(0x5_0000_0007, 0x6_0000_0001, true);
    check(0x5_0000_0007, 0x6_0000_0002, false);
    check(0x5_0000_0007, 0x5_0000_0007, false);
    check(0x5_ffff_ffff, 0x6_0000_0000, false);
    check(0, 1, true);
}

#[test]
fn paths_are_legal_as_in_apache() {
    for good in ["/", "/a", "/a/b", "/a b", "/ünï", "/...", "/a.b", "/.a", "/\u{ffef}"] {
        assert!(path::is_valid(good), "{good:?}");
    }
    for bad in [
        "",
        "a",
        "//",
        "/a/",
        "/a//b",
        "/.",
        "/..",
        "/a/./b",
        "/a/../b",
        "/\0",
        "/\u{1f}",
        "/\u{7f}",
        "/\u{9f}",
        "/\u{e000}",
        "/\u{f8ff}",
        "/\u{fff0}",
        "/\u{ffff}",
        "/\u{1f600}",
    ] {
        assert!(!path::is_valid(bad), "{bad:?}");
    }
    assert_eq!(path::parent("/a/b"), Some("/a"));
    assert_eq!(path::parent("/a"), Some("/"));
    assert_eq!(path::parent("abc"), None);
    assert_eq!(path::sequential("/a/", 7), "/a/0000000007");
    assert_eq!(path::sequential("/a", i32::MIN), "/a-2147483648");
    assert!(path::is_within("/a/b", "/a") && !path::is_within("/ab", "/a"));
}

#[test]
fn owners_tell_their_kind() {
    let plain = OwnerRules::default();
    let extended = OwnerRules { extended_types: true, emulate_353: false };
    let session = 0x0100_0000_0000_0001;
    assert_eq!(plain.kind(session), OwnerKind::Ephemeral(SessionId(session)));
    assert_eq!(plain.kind(i64::MIN), OwnerKind::Container);
    let ttl = OwnerRules::ttl_owner(5);
    assert_eq!(extended.kind(ttl), OwnerKind::Ttl(5));
    assert_eq!(plain.kind(ttl), OwnerKind::Ephemeral(SessionId(ttl)));
}

#[test]
fn java_orders_strings_by_hash() {
    assert_eq!(java::string_hash("hello"), 99_162_322);
    assert_eq!(java::string_hash(""), 0);
    // Seen on Apache 3.9.5: the order in which ephemerals go.
    let check = |names: &[&str], expect: &[&str]| {
        let mut names: Vec<String> = names.iter().map(|s| s.to_string()).collect();
        java::set_order(&mut names, java::grown_buckets(expect.len()));
        java::set_order(&mut names, java::cloned_buckets(expect.len()));
        assert_eq!(names, expect);
    };
    check(&["/e1", "/e2"], &["/e2", "/e1"]);
    check(&["/e1", "/e2", "/e3", "/e4", "/e5"], &["/e1", "/e2", "/e3", "/e4", "/e5"]);
    let mut names = ["/e1", "/e12"].map(String::from);
    java::set_order(&mut names, java::grown_buckets(2));
    assert_eq!(names, ["/e12", "/e1"]);
}
