//! The damage that was measured on Apache, and known failures of its issues, one test each.

use super::*;

/// Zxid 15 is the fifth record of log.b.
const FIFTEENTH: usize = 4;

#[test]
fn p1_zeroed_length_in_the_middle_is_damage() {
    for marks in [false, true] {
        let disk = probe_disk(marks);
        let at = positions(&disk, "log.b")[FIFTEENTH].0;
        poke(&disk, "log.b", at + 8, &[0; 4]);
        assert_corrupt(&disk, "log.b", at);
    }
}

#[test]
fn p1_in_the_newest_log_too() {
    for marks in [false, true] {
        let disk = probe_disk(marks);
        let at = positions(&disk, "log.15")[4].0;
        poke(&disk, "log.15", at + 8, &[0; 4]);
        assert_corrupt(&disk, "log.15", at);
        // A whole zeroed sector, and a whole zeroed record, are no end either.
        let disk = probe_disk(marks);
        let (at, end) = positions(&disk, "log.15")[4];
        poke(&disk, "log.15", at, &vec![0; (end - at) as usize]);
        assert_corrupt(&disk, "log.15", at);
    }
}

#[test]
fn p2_flipped_end_of_record_is_damage() {
    for marks in [false, true] {
        let disk = probe_disk(marks);
        let (at, end) = positions(&disk, "log.b")[FIFTEENTH];
        disk.flip(&file("log.b"), end - 1, 1).unwrap();
        assert_corrupt(&disk, "log.b", at);
    }
}

#[test]
fn p3_flipped_payload_is_damage() {
    for marks in [false, true] {
        let disk = probe_disk(marks);
        let at = positions(&disk, "log.b")[FIFTEENTH].0;
        disk.flip(&file("log.b"), at + 30, 0x10).unwrap();
        assert_corrupt(&disk, "log.b", at);
    }
}

#[test]
fn p4_last_record_with_zeros_inside_is_a_tail() {
    for marks in [false, true] {
        let disk = probe_disk(marks);
        let (at, end) = *positions(&disk, "log.15").last().unwrap();
        // Known to be durable, it would be damage; a power cut before the mark was written back.
        let _ = disk.remove(&file(mark::DURABLE_NAME));
        poke(&disk, "log.15", at + 40, &vec![0; (end - 1 - at - 40) as usize]);
        assert_loads(&disk, 29);
        // Apache would refuse to start on the torn record: it's gone.
        assert!(disk.list(&dirs().logs).unwrap().contains(&("log.15".to_owned(), at)));
    }
}

#[test]
fn p4_damage_to_what_is_known_to_be_durable_is_no_tail() {
    let disk = probe_disk(true);
    let at = positions(&disk, "log.15").last().unwrap().0;
    disk.flip(&file("log.15"), at + 30, 1).unwrap();
    assert_corrupt(&disk, "log.15", at);
}

#[test]
fn p5_last_record_cut_short_is_a_tail() {
    let (at, end) = *positions(&probe_disk(false), "log.15").last().unwrap();
    for len in at..end {
        let disk = probe_disk(false);
        cut(&disk, "log.15", len);
        assert_loads(&disk, 29);
    }
}

#[test]
fn p6_truncate_crashing_anywhere_never_resurrects() {
    for marks in [false, true] {
        let mut step = 0;
        loop {
            let disk = probe_disk(marks).fork(step);
            disk.cut_power_after(step);
            let done = new_log(&disk, 30).truncate(Zxid(15)).is_ok();
            disk.crash();
            let (state, end) = load(&disk).unwrap();
            let last = end.last.0;
            assert!((15..=30).contains(&last));
            assert_eq!(state.history, history(1..=last));
            if done {
                assert_eq!(last, 15);
                break;
            }
            step += 1;
        }
        assert!(step >= 3, "files went one by one, got {step} steps");
    }
}

#[test]
fn p7_truncate_below_a_snapshot_removes_it() {
    let disk = probe_disk(true);
    snapshot_of(&disk, 20, &history(1..=20));
    disk.settle();
    new_log(&disk, 30).truncate(Zxid(15)).unwrap();
    assert_loads(&disk, 15);
}

#[test]
fn p7_truncate_without_an_older_snapshot_changes_nothing() {
    let disk = probe_disk(true);
    snapshot_of(&disk, 20, &history(1..=20));
    disk.remove(&file("snapshot.0")).unwrap();
    let mut log = new_log(&disk, 30);
    let refused = log.truncate(Zxid(15));
    assert!(matches!(refused, Err(Error::NotHere { .. })), "{refused:?}");
    assert!(!log.is_poisoned());
    assert_eq!(load(&disk).unwrap().0.history, history(1..=30));
    let refused = log.truncate(Zxid(0x1_0000_0001));
    assert!(matches!(refused, Err(Error::NotHere { .. })), "{refused:?}");
}

#[test]
fn p7_a_fuzzy_snapshot_that_holds_more_than_its_name_goes_as_well() {
    let disk = probe_disk(true);
    // Apache began it at 12 and it holds transactions up to 20.
    let w = write_snapshot(&disk, 12, &history(1..=20), Compression::Plain).unwrap();
    w.finish(&sections(20)).unwrap();
    new_log(&disk, 30).truncate(Zxid(15)).unwrap();
    assert_loads(&disk, 15);
}

#[test]
fn p8_missing_middle_log_is_a_gap() {
    let disk = probe_disk(false);
    disk.remove(&file("log.b")).unwrap();
    match load(&disk) {
        Err(Error::Gap { path, after, found, .. }) => {
            assert_eq!((path, after.0, found.0), (file("log.15"), 10, 21));
        }
        other => panic!("{other:?}"),
    }
}

/// The first transaction of an epoch follows any of an earlier one, so its zxid doesn't show that
/// something is missing before it (found by the simulator of whole ensembles, seed 132).
#[test]
fn damage_at_the_end_of_an_epoch_is_no_torn_tail() {
    let first = 1 << 32 | 1;
    let whole = SimDisk::new(1);
    whole.create_dir_all(&dirs().logs).unwrap();
    snapshot_of(&whole, 0, &[]);
    let mut log = new_log(&whole, 0);
    for zxid in (1..=10).chain(first..=first + 2) {
        if zxid == first {
            log.roll().unwrap();
        }
        append(&mut log, zxid..=zxid);
        commit(&mut log);
    }
    whole.settle();
    let records = positions(&whole, "log.1");
    for marks in [true, false] {
        let whole = whole.fork(1);
        if !marks {
            whole.remove(&file(mark::DURABLE_NAME)).unwrap();
            poke(&whole, "log.1", records[9].1, &[0; 48]);
        }
        for (i, (at, end)) in records.iter().enumerate() {
            for (offset, mask) in (*at..*end).flat_map(|o| (0..8).map(move |b| (o, 1 << b))) {
                let disk = whole.fork(offset);
                disk.flip(&file("log.1"), offset, mask).unwrap();
                disk.settle();
                if marks || i < 9 {
                    assert_corrupt(&disk, "log.1", *at);
                } else {
                    // Apache's last record: nothing behind it says that it was once whole.
                    assert_eq!(load(&disk).unwrap().1.last, Zxid(first + 2));
                }
            }
        }
    }
    // Not needed behind a snapshot, as far as anybody can tell.
    snapshot_of(&whole, 10, &history(1..=10));
    whole.flip(&file("log.1"), records[9].0 + 8, 0x40).unwrap();
    whole.settle();
    assert_eq!(load(&whole).unwrap().1.last, Zxid(first + 2));
}

#[test]
fn p9_empty_newest_log() {
    let disk = probe_disk(false);
    cut(&disk, "log.15", 0);
    assert_loads(&disk, 20);
}

#[test]
fn p10_partial_header_of_the_newest_log() {
    for len in 0..=16 {
        let disk = probe_disk(false);
        cut(&disk, "log.15", len);
        assert_loads(&disk, 20);
    }
}

#[test]
fn p11_huge_or_negative_length_is_damage() {
    for length in [i32::MAX, i32::MIN, -1, 1 << 24, 31] {
        let disk = probe_disk(false);
        let at = positions(&disk, "log.b")[FIFTEENTH].0;
        poke(&disk, "log.b", at + 8, &length.to_be_bytes());
        assert_corrupt(&disk, "log.b", at);
    }
}

/// ZOOKEEPER-1621: any prefix of the last log is what a crash may leave.
#[test]
fn b1_any_prefix_of_the_last_log_starts() {
    let whole = probe_disk(false);
    let ends: Vec<u64> = positions(&whole, "log.15").iter().map(|p| p.1).collect();
    for len in 0..*ends.last().unwrap() + 100 {
        let disk = whole.fork(len);
        cut(&disk, "log.15", len);
        let last = 20 + ends.iter().filter(|end| **end <= len).count() as i64;
        assert_loads(&disk, last);
    }
}

/// ZOOKEEPER-1069: a stop right after a start, at every step.
#[test]
fn b2_start_and_stop_at_every_step() {
    for step in 0.. {
        let disk = probe_disk(true).fork(step);
        cut(&disk, "log.15", positions(&disk, "log.15")[3].1 - 5);
        let _ = disk.remove(&file(mark::DURABLE_NAME));
        disk.settle();
        disk.cut_power_after(step);
        let done = load(&disk).is_ok();
        disk.crash();
        assert_loads(&disk, 23);
        if done {
            break;
        }
    }
}

/// ZOOKEEPER-596, 882: the claim in an election is the last valid transaction, not the file's name
/// and not the snapshot's.
#[test]
fn b3_last_zxid_is_the_last_valid_durable_one() {
    let disk = probe_disk(false);
    cut(&disk, "log.15", positions(&disk, "log.15")[6].1 - 1);
    assert_eq!(load(&disk).unwrap().1.last, Zxid(26));
    snapshot_of(&disk, 28, &history(1..=28));
    assert_eq!(load(&disk).unwrap().1.last, Zxid(28));
}

/// ZOOKEEPER-2325, 3056, 3644, 3781: logs without a snapshot aren't ignored.
#[test]
fn b4_logs_without_a_snapshot_are_refused() {
    let disk = probe_disk(true);
    disk.remove(&file("snapshot.0")).unwrap();
    assert!(matches!(load(&disk), Err(Error::NoSnapshotButLogs { .. })));
    let trust = RecoveryOptions { trust_empty: true, ..RecoveryOptions::default() };
    assert_eq!(load_with(&disk, &trust).unwrap().0.history, history(1..=30));
    // Told to trust, still not over a hole.
    disk.remove(&file("log.1")).unwrap();
    assert!(matches!(load_with(&disk, &trust), Err(Error::Gap { .. })));
    // An emptied snapshot is as good as none.
    let disk = probe_disk(true);
    cut(&disk, "snapshot.0", 0);
    assert!(matches!(load(&disk), Err(Error::NoSnapshotButLogs { .. })));
    // Emptied snapshots and no logs: it was a database, don't start afresh.
    let disk = SimDisk::new(1);
    disk.create_dir_all(&dirs().logs).unwrap();
    snapshot_of(&disk, 20, &history(1..=20));
    cut(&disk, "snapshot.14", 0);
    assert!(matches!(load(&disk), Err(Error::NoUsableSnapshot { .. })));
}

/// ZOOKEEPER-1797, 2574, 3231: purge counts only snapshots that can be read, and keeps their logs.
#[test]
fn b5_purge_keeps_valid_snapshots_and_their_logs() {
    let disk = probe_disk(true);
    for zxid in [5, 12, 17, 22, 27, 29] {
        snapshot_of(&disk, zxid, &history(1..=zxid));
    }
    disk.flip(&file("snapshot.1d"), 60, 1).unwrap();
    cut(&disk, "snapshot.1b", 3);
    let purged = purge::purge(&disk, &dirs(), 3).unwrap();
    assert_eq!(purged.kept_snapshots, 3);
    let left: Vec<String> = disk.list(&dirs().logs).unwrap().into_iter().map(|f| f.0).collect();
    assert_eq!(
        left,
        [
            "log.15",
            "log.b",
            "rookeeper.durable",
            "snapshot.11",
            "snapshot.16",
            "snapshot.1b",
            "snapshot.1d",
            "snapshot.c"
        ]
    );
    // Each of the kept ones can be the one that is used.
    for (name, until) in [("snapshot.16", 30), ("snapshot.11", 30), ("snapshot.c", 30)] {
        assert_eq!(load(&disk).unwrap().0.history, history(1..=until));
        disk.remove(&file(name)).unwrap();
    }
    // Fewer valid ones than asked for: nothing goes.
    let disk = probe_disk(true);
    assert_eq!(purge::purge(&disk, &dirs(), 3).unwrap().removed, Vec::<PathBuf>::new());
}

/// ZOOKEEPER-3082: no space during a snapshot.
#[test]
fn b6_snapshot_on_a_full_disk_leaves_nothing_that_is_chosen() {
    let long: History = history(1..=30);
    for space in [0, 10, 100, 300, 700] {
        let disk = probe_disk(true);
        disk.set_space(Some(space));
        let failed = write_snapshot(&disk, 30, &long, Compression::Plain)
            .and_then(|w| w.finish(&sections(30)));
        assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
        disk.set_space(None);
        let left = disk.list(&dirs().logs).unwrap();
        assert!(left.iter().all(|(name, _)| !name.contains("snapshot.1e")), "{left:?}");
        assert_loads(&disk, 30);
    }
}
