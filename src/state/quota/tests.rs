use super::*;

#[test]
fn limits_are_read_and_written_as_apache_writes_them() {
    let check = |text: &str, expect: (i64, i64, i64, i64), again: &str| {
        let track = StatsTrack::parse(text.as_bytes());
        let is = (track.count(), track.bytes(), track.count_hard_limit(), track.bytes_hard_limit());
        assert_eq!(is, expect, "{text}");
        assert_eq!(track.to_text(), again, "{text}");
    };
    check("count=5,bytes=7", (5, 7, -1, -1), "count=5,bytes=7");
    check(
        "count=5,bytes=7=;byteHardLimit=9;countHardLimit=8",
        (5, 7, 8, 9),
        "count=5,bytes=7=;byteHardLimit=9;countHardLimit=8",
    );
    check("", (-1, -1, -1, -1), "count=-1,bytes=-1");
    check("count=,bytes=3", (-1, 3, -1, -1), "count=-1,bytes=3");
    check("count=x;bytes=99999999999999999999", (-1, -1, -1, -1), "count=-1,bytes=-1");
    check(",;=", (-1, -1, -1, -1), "count=-1,bytes=-1=;=-1");
}

#[test]
fn the_paths_of_a_trie_are_those_that_have_a_quota() {
    let mut trie = QuotaTrie::new();
    for path in ["/a", "/a/b/c", "/x/y", ""] {
        trie.add(path);
    }
    trie.remove("/a");
    let mut paths = trie.paths();
    paths.sort();
    assert_eq!(paths, ["/a/b/c", "/x/y"]);
}

#[test]
fn the_nearest_prefix_by_whole_parts() {
    let mut trie = QuotaTrie::new();
    assert_eq!(trie.nearest("/a"), None);
    for path in ["/a", "/a/b/c", "/x/y", ""] {
        trie.add(path);
    }
    for (path, expect) in [
        ("/a", Some("/a")),
        ("/a/b", Some("/a")),
        ("/a/b/c/d", Some("/a/b/c")),
        ("/ab", None),
        ("/x", None),
        ("/x/y", Some("/x/y")),
        ("/", None),
        ("", None),
    ] {
        assert_eq!(trie.nearest(path), expect, "{path}");
    }
    trie.remove("/a/b/c");
    trie.remove("/a/b");
    trie.remove("/nothing");
    assert_eq!(trie.nearest("/a/b/c/d"), Some("/a"));
    trie.remove("/a");
    trie.remove("/x/y");
    assert_eq!((trie.nearest("/x/y"), trie.nodes.len()), (None, 1));
}

/// One quota that stays must not keep all that ever were.
#[test]
fn a_quota_that_is_removed_leaves_nothing_in_the_trie() {
    let mut trie = QuotaTrie::new();
    trie.add("/keep/this");
    for n in 0..1000 {
        let path = format!("/keep/a{n}/b/c");
        trie.add(&path);
        trie.add(&format!("{path}/d"));
        trie.remove(&path);
        assert_eq!(trie.nearest(&format!("{path}/d")), Some(&format!("{path}/d")[..]));
        trie.remove(&format!("{path}/d"));
    }
    assert_eq!(trie.paths(), ["/keep/this"]);
    assert_eq!(trie.nodes.len() - trie.vacant.len(), 3, "the root and the path that is left");
    assert!(trie.nodes.len() < 10, "numbers are used again: {}", trie.nodes.len());
}
