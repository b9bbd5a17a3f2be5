use super::*;
use crate::testing::finite_rng::Xorshift;
use crate::types::Zxid;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn change(kind: EventKind, path: &str) -> Change {
    let full: Arc<str> = path.into();
    let len = full.len();
    Change::new(kind, Zxid(1), full, len, None)
}

fn fire(table: &WatchTable, kind: EventKind, path: &str) -> Vec<u64> {
    let mut told = Vec::new();
    table.fire(&change(kind, path), &mut |conn, event| {
        assert_eq!(event, kind);
        told.push(conn.0);
    });
    told.sort_unstable();
    told
}

use EventKind::*;

#[test]
fn one_shot_watches_fire_once_each_in_its_table() {
    let table = WatchTable::new();
    table.add(ConnId(1), "/a", WatchKind::Data);
    table.add(ConnId(1), "/a", WatchKind::Data);
    table.add(ConnId(1), "/a", WatchKind::Child);
    table.add(ConnId(2), "/a", WatchKind::Exist);
    assert_eq!(table.watch_count(), 3);
    assert_eq!(fire(&table, DataChanged, "/ab"), []);
    assert_eq!(fire(&table, DataChanged, "/a/b"), []);
    assert_eq!(fire(&table, DataChanged, "/a"), [1, 2]);
    assert_eq!(fire(&table, DataChanged, "/a"), []);
    assert_eq!(fire(&table, ChildrenChanged, "/a"), [1]);
    assert_eq!(fire(&table, ChildrenChanged, "/a"), []);
    assert_eq!(table.watch_count(), 0);
}

#[test]
fn a_deletion_is_told_once_to_who_watches_data_and_children() {
    let table = WatchTable::new();
    table.add(ConnId(1), "/a", WatchKind::Data);
    table.add(ConnId(1), "/a", WatchKind::Child);
    table.add(ConnId(2), "/a", WatchKind::Child);
    table.add(ConnId(3), "/a", WatchKind::Persistent);
    table.add(ConnId(4), "/", WatchKind::Recursive);
    table.add(ConnId(4), "/a", WatchKind::Data);
    assert_eq!(fire(&table, Deleted, "/a"), [1, 2, 3, 4]);
    assert_eq!(fire(&table, Deleted, "/a"), [3, 4]);
}

#[test]
fn persistent_watches_stay_and_recursive_ones_reach_down_but_see_no_children_changed() {
    let table = WatchTable::new();
    table.add(ConnId(1), "/a", WatchKind::Persistent);
    table.add(ConnId(2), "/a", WatchKind::Recursive);
    table.add(ConnId(3), "/", WatchKind::Recursive);
    for _ in 0..2 {
        assert_eq!(fire(&table, Created, "/a"), [1, 2, 3]);
        assert_eq!(fire(&table, ChildrenChanged, "/a"), [1]);
        assert_eq!(fire(&table, DataChanged, "/a/b/c"), [2, 3]);
        assert_eq!(fire(&table, Deleted, "/ab"), [3]);
        assert_eq!(fire(&table, ChildrenChanged, "/"), []);
        assert_eq!(fire(&table, DataChanged, "/"), [3]);
    }
    // A standard watch beside a persistent one: one event, and only the standard one is used up.
    table.add(ConnId(1), "/a", WatchKind::Data);
    assert_eq!(fire(&table, DataChanged, "/a"), [1, 2, 3]);
    assert!(!table.contains(ConnId(1), "/a", WatcherType::Data));
    assert!(table.contains(ConnId(1), "/a", WatcherType::Persistent));
}

#[test]
fn what_remove_and_contains_mean() {
    let all = [
        WatcherType::Children,
        WatcherType::Data,
        WatcherType::Any,
        WatcherType::Persistent,
        WatcherType::Recursive,
    ];
    let check = |kind: WatchKind, expect: [bool; 5]| {
        for (which, expect) in all.into_iter().zip(expect) {
            let table = WatchTable::new();
            table.add(ConnId(7), "/a", kind);
            assert_eq!(table.contains(ConnId(7), "/a", which), expect, "{kind:?} {which:?}");
            assert!(!table.contains(ConnId(8), "/a", which));
            assert!(!table.remove(ConnId(7), "/a/", which));
            assert_eq!(table.remove(ConnId(7), "/a", which), expect, "{kind:?} {which:?}");
            assert!(!table.remove(ConnId(7), "/a", which));
            assert_eq!(table.watch_count() == 0, expect);
        }
    };
    check(WatchKind::Data, [false, true, true, false, false]);
    check(WatchKind::Exist, [false, true, true, false, false]);
    check(WatchKind::Child, [true, false, true, false, false]);
    check(WatchKind::Persistent, [false, false, true, true, false]);
    check(WatchKind::Recursive, [false, false, true, false, true]);
    assert_eq!(WatcherType::from_wire(0), None);
    assert_eq!(WatcherType::from_wire(6), None);
    assert!(all.iter().all(|t| WatcherType::from_wire(*t as i32) == Some(*t)));
}

#[test]
fn listings_show_the_data_table() {
    let table = WatchTable::new();
    table.add(ConnId(1), "/b", WatchKind::Data);
    table.add(ConnId(2), "/b", WatchKind::Persistent);
    table.add(ConnId(2), "/a", WatchKind::Recursive);
    table.add(ConnId(3), "/c", WatchKind::Child);
    assert_eq!(table.summary(), WatchSummary { connections: 2, paths: 2, watches: 3 });
    assert_eq!(table.watch_count(), 5);
    let a = ("/a".to_owned(), vec![ConnId(2)]);
    assert_eq!(table.by_path(), [a, ("/b".to_owned(), vec![ConnId(1), ConnId(2)])]);
    let one = (ConnId(1), vec!["/b".to_owned()]);
    let two = (ConnId(2), vec!["/a".to_owned(), "/b".to_owned()]);
    assert_eq!(table.by_connection(), [one, two]);
}

#[test]
fn odd_paths_are_only_strings() {
    let table = WatchTable::new();
    for path in ["", "/", "//", "a", "a/", "/a/", "\0"] {
        table.add(ConnId(1), path, WatchKind::Data);
    }
    assert_eq!(table.summary().paths, 7);
    assert_eq!(fire(&table, DataChanged, "/"), [1]);
    assert_eq!(table.summary().paths, 6);
    table.remove_conn(ConnId(1));
    assert_eq!(table.summary(), WatchSummary::default());
}

#[test]
fn a_recursive_watch_above_a_very_deep_path_is_found_in_linear_time() {
    let table = WatchTable::new();
    table.add(ConnId(1), "/a", WatchKind::Recursive);
    let deep = "/a".repeat(500_000);
    assert_eq!(fire(&table, Created, &deep), [1]);
}

#[test]
fn random_use_agrees_with_a_plain_set() {
    let paths = ["/", "/a", "/a/b", "/a/b/c", "/a/c", "/b", "/b/a"];
    let kinds = [
        WatchKind::Data,
        WatchKind::Exist,
        WatchKind::Child,
        WatchKind::Persistent,
        WatchKind::Recursive,
    ];
    for seed in 0..20 {
        let mut rng = Xorshift::new(seed);
        let table = WatchTable::new();
        let mut model = BTreeMap::<(&str, u64), Flags>::new();
        for _ in 0..3000 {
            let (path, conn) = (*rng.pick(&paths), rng.below(40));
            match rng.below(20) {
                0..12 => {
                    let kind = *rng.pick(&kinds);
                    table.add(ConnId(conn), path, kind);
                    *model.entry((path, conn)).or_default() |= kind.flags();
                }
                12..14 => {
                    let which = WatcherType::from_wire(1 + rng.below(5) as i32).expect("1 to 5");
                    let old = model.get(&(path, conn)).copied().unwrap_or(0);
                    let expect = old & which.flags() != 0;
                    assert_eq!(table.remove(ConnId(conn), path, which), expect);
                    model.insert((path, conn), old & !which.flags());
                }
                14 => {
                    table.remove_conn(ConnId(conn));
                    model.retain(|(_, c), _| *c != conn);
                }
                _ => {
                    let kind = *rng.pick(&[Created, Deleted, DataChanged, ChildrenChanged]);
                    let mut expect = BTreeSet::new();
                    for ((p, conn), flags) in &mut model {
                        let here = *p == path;
                        let above = *p == "/" || path.starts_with(&format!("{p}/"));
                        let (spent, lasting) = match kind {
                            ChildrenChanged => (CHILD, PERSISTENT),
                            Deleted => (DATA | CHILD, PERSISTENT | RECURSIVE),
                            _ => (DATA, PERSISTENT | RECURSIVE),
                        };
                        let told = here && *flags & (spent | lasting) != 0
                            || !here && above && kind != ChildrenChanged && *flags & RECURSIVE != 0;
                        if told {
                            expect.insert(*conn);
                        }
                        if here {
                            *flags &= !spent;
                        }
                    }
                    let told = fire(&table, kind, path);
                    assert_eq!(told, expect.into_iter().collect::<Vec<_>>(), "{kind:?} {path}");
                }
            }
            model.retain(|_, flags| *flags != 0);
            let data = model.values().filter(|f| **f & (DATA | PERSISTENT | RECURSIVE) != 0);
            let child = model.values().filter(|f| **f & (CHILD | PERSISTENT) != 0);
            assert_eq!(table.watch_count(), data.count() + child.count());
        }
    }
}

#[test]
fn lists_of_connections_do_not_grow_with_watches_that_fired() {
    let table = WatchTable::new();
    for n in 0..10_000 {
        let path = format!("/{}", n % 100);
        table.add(ConnId(1), &path, WatchKind::Data);
        fire(&table, DataChanged, &path);
    }
    let paths = table.conn_shard(ConnId(1)).lock().take(ConnId(1)).expect("known");
    assert!(paths.len() <= 20, "{}", paths.len());
}

#[test]
fn connections_may_come_and_go_at_the_same_time() {
    let table = WatchTable::new();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let table = &table;
            scope.spawn(move || {
                for round in 0..200 {
                    let conn = ConnId(thread * 1000 + round);
                    for n in 0..50 {
                        table.add(conn, &format!("/{}", n % 30), WatchKind::Data);
                        table.add(conn, &format!("/{}", n % 20), WatchKind::Persistent);
                    }
                    if round % 2 == 0 {
                        table.remove_conn(conn);
                    }
                }
            });
        }
    });
    assert_eq!(table.watch_count(), 400 * (30 + 20));
    assert_eq!(fire(&table, DataChanged, "/1").len(), 400);
    for conn in 0..4000 {
        table.remove_conn(ConnId(conn));
    }
    assert_eq!((table.watch_count(), table.summary()), (0, WatchSummary::default()));
}

/// A connection that watches more than it may is refused, and has room again when watches fire.
#[test]
fn watches_of_a_connection_are_bounded() {
    for max in [1_usize, 2, 15, 16, 17, 100, 1000] {
        let limits = WatchLimits { per_connection: max, ..WatchLimits::default() };
        let table = WatchTable::with_limits(limits);
        let path = |i: usize| format!("/{i}");
        let left = (0..4 * max + 100)
            .filter(|i| table.add(ConnId(1), &path(*i), WatchKind::Data))
            .collect::<Vec<_>>();
        let live = table.watch_count();
        assert_eq!(live, left.len());
        assert!(live >= max && live <= max + max / 8 + 2, "{live} of {max}");
        assert_eq!(table.refused(), 4 * max + 100 - live);
        assert!(table.add(ConnId(2), "/0", WatchKind::Data), "others are not concerned");
        for i in &left {
            assert!(table.add(ConnId(1), &path(*i), WatchKind::Child), "no further path");
            fire(&table, DataChanged, &path(*i));
        }
        // After a while, because looking again costs something.
        let again = (0..max + 2).filter(|i| {
            table.remove(ConnId(1), &path(*i), WatcherType::Any);
            table.add(ConnId(1), &format!("/again-{i}"), WatchKind::Data)
        });
        assert!(again.count() * 8 + 8 >= max * 7, "of {max}");
        table.remove_conn(ConnId(1));
        table.remove_conn(ConnId(2));
        assert_eq!(table.watch_count(), 0);
    }
}

#[test]
fn bytes_of_watched_paths_are_bounded() {
    let limits = WatchLimits { path_bytes: 64 << 10, ..WatchLimits::default() };
    let table = WatchTable::with_limits(limits);
    let path = |i: usize| format!("/{i:0100}");
    for round in 0..3 {
        let left: Vec<_> =
            (0..2000).filter(|i| table.add(ConnId(1), &path(*i), WatchKind::Exist)).collect();
        assert!((400..=648).contains(&left.len()), "{} in round {round}", left.len());
        for i in &left {
            assert!(table.add(ConnId(2), &path(*i), WatchKind::Exist), "a path counts once");
        }
        assert!(!table.add(ConnId(3), &"/".repeat(2000), WatchKind::Data));
        for i in &left {
            assert_eq!(fire(&table, Created, &path(*i)), [1, 2]);
        }
    }
    assert_eq!(table.watch_count(), 0);
}
