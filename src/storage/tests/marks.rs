//! The durable mark: a newest log that is missing, cut, or not the file that was written.

use super::*;
use crate::storage::mark::Durable;

/// A server's directory with a log of these transactions, a batch each, and the log still open.
fn written(last: i64) -> (SimDisk, TxnLog) {
    let disk = SimDisk::new(5);
    disk.create_dir_all(&dirs().logs).unwrap();
    snapshot_of(&disk, 0, &[]);
    let mut log = new_log(&disk, 0);
    for zxid in 1..=last {
        append(&mut log, zxid..=zxid);
        commit(&mut log);
    }
    (disk, log)
}

fn mark_of(disk: &SimDisk) -> Durable {
    Durable::load(disk, &dirs().logs).expect("a mark")
}

fn content(disk: &SimDisk, name: &str) -> Vec<u8> {
    let opened = disk.open(&file(name)).unwrap();
    let mut bytes = vec![0; opened.len().unwrap() as usize];
    disk::read_full(&*opened, 0, &mut bytes).unwrap();
    bytes
}

fn put(disk: &SimDisk, name: &str, bytes: &[u8]) {
    disk.create(&file(name)).unwrap().write_at(0, bytes).unwrap();
    disk.settle();
}

fn remove(disk: &SimDisk, name: &str) {
    disk.remove(&file(name)).unwrap();
    disk.settle();
}

fn assert_missing(disk: &SimDisk, name: &str) {
    match load(disk) {
        Err(Error::Missing { path, what }) => {
            assert_eq!(path, file(name));
            assert!(what.contains("remove /data/version-2/rookeeper.durable"), "{what}");
        }
        other => panic!("expected {name} to be missed, got {other:?}"),
    }
}

#[test]
fn a_killed_process_leaves_the_mark_of_its_last_batch() {
    for last in 1..=6 {
        let (disk, _) = written(last);
        disk.restart_process();
        let (_, end) = *positions(&disk, "log.1").last().unwrap();
        let mark = mark_of(&disk);
        let len = disk.list(&dirs().logs).unwrap()[0].1;
        assert_eq!((mark.log, mark.bytes, mark.last, mark.len), (Zxid(1), end, Zxid(last), len));
    }
}

#[test]
fn a_lost_newest_log_is_missed_after_a_kill_and_after_a_power_cut() {
    for seed in 0..20 {
        let (disk, _) = written(1 + seed as i64 % 6);
        let disk = disk.fork(seed);
        if seed % 2 == 0 {
            disk.crash();
        }
        remove(&disk, "log.1");
        assert_missing(&disk, "log.1");
    }
    // Also where a snapshot reaches into it: what came behind the snapshot is gone.
    let (disk, _) = written(6);
    snapshot_of(&disk, 6, &history(1..=6));
    remove(&disk, "log.1");
    assert_missing(&disk, "log.1");
    // And where nothing but the mark is left.
    remove(&disk, "snapshot.6");
    remove(&disk, "snapshot.0");
    assert_missing(&disk, "log.1");
    remove(&disk, mark::DURABLE_NAME);
    assert_eq!(load(&disk).unwrap().1.last, Zxid(0));
}

#[test]
fn a_cut_newest_log_is_damage_after_a_kill_and_after_a_power_cut() {
    let (whole, _) = written(6);
    let ends: Vec<u64> = positions(&whole, "log.1").iter().map(|p| p.1).collect();
    let mut cuts: Vec<u64> = (0..ends[5]).step_by(7).chain(ends.iter().copied()).collect();
    cuts.extend([ends[5] + 48, ends[5] + 1000]);
    for at in cuts {
        for power in [false, true] {
            let disk = whole.fork(at);
            if power {
                disk.crash();
            }
            cut(&disk, "log.1", at);
            assert!(matches!(load(&disk), Err(Error::Corrupt { .. })), "cut at {at}, {power}");
        }
    }
}

#[test]
fn an_older_copy_of_the_newest_log_is_damage() {
    let (disk, mut log) = written(3);
    let copy = content(&disk, "log.1");
    append(&mut log, 4..=6);
    commit(&mut log);
    disk.restart_process();
    put(&disk, "log.1", &copy);
    assert_corrupt(&disk, "log.1", positions(&disk, "log.1")[2].1);
}

#[test]
fn another_file_under_the_newest_logs_name_is_damage() {
    // The log before it, also where a snapshot hides that its transactions are old.
    let disk = probe_disk(true);
    let before = content(&disk, "log.b");
    put(&disk, "log.15", &before);
    assert!(matches!(load(&disk), Err(Error::Corrupt { .. })));
    snapshot_of(&disk, 20, &history(1..=20));
    remove(&disk, mark::DURABLE_NAME);
    assert_corrupt(&disk, "log.15", 16);
    // Another server's, with as many transactions of the same sizes.
    let (disk, _) = written(6);
    let theirs = SimDisk::new(6);
    theirs.create_dir_all(&dirs().logs).unwrap();
    let mut log = new_log(&theirs, 0);
    for zxid in 1..=6 {
        log.append(Zxid(zxid), &entry(zxid, 7, 0).encode()).unwrap();
        commit(&mut log);
    }
    let sizes = (positions(&disk, "log.1"), positions(&theirs, "log.1"));
    put(&disk, "log.1", &content(&theirs, "log.1"));
    if sizes.0 == sizes.1 {
        assert_corrupt(&disk, "log.1", sizes.0[5].0);
    } else {
        assert!(matches!(load(&disk), Err(Error::Corrupt { .. })));
    }
}

#[test]
fn a_start_marks_what_it_has_read_and_made_durable() {
    // Apache's directory: nothing of ours in it.
    let disk = probe_disk(false);
    assert_eq!(load(&disk).unwrap().1.last, Zxid(30));
    let mark = mark_of(&disk);
    assert_eq!((mark.log, mark.last), (Zxid(21), Zxid(30)));
    disk.crash();
    remove(&disk, "log.15");
    assert_missing(&disk, "log.15");
    // A torn tail that a start has cut is not missed by the next one.
    let (disk, _) = written(6);
    let (at, _) = positions(&disk, "log.1")[5];
    put(&disk, mark::DURABLE_NAME, &[]);
    poke(&disk, "log.1", at + 20, &[0; 30]);
    for _ in 0..3 {
        assert_eq!(load(&disk).unwrap().1.last, Zxid(5));
        disk.crash();
    }
    assert_eq!((mark_of(&disk).bytes, mark_of(&disk).len), (at, at));
}

/// What Apache does with a directory of ours: it snapshots, writes logs of its own, purges ours.
#[test]
fn apache_may_have_run_on_the_directory_in_between() {
    let (disk, _) = written(6);
    disk.restart_process();
    let ours = content(&disk, mark::DURABLE_NAME);
    snapshot_of(&disk, 6, &history(1..=6));
    let mut theirs = new_log(&disk, 6);
    append(&mut theirs, 7..=9);
    commit(&mut theirs);
    drop(theirs);
    put(&disk, mark::DURABLE_NAME, &ours);
    assert_eq!(load(&disk.fork(1)).unwrap().0.history, history(1..=9));
    // It has snapshots enough to need no log of ours any more.
    remove(&disk, "log.1");
    remove(&disk, "snapshot.0");
    assert_loads(&disk, 9);
}

#[test]
fn an_older_backup_beside_a_mark_is_told_what_to_do() {
    let disk = SimDisk::new(1);
    disk.create_dir_all(&dirs().logs).unwrap();
    snapshot_of(&disk, 6, &history(1..=6));
    // A snapshot alone, in an empty directory.
    assert_eq!(load(&disk.fork(1)).unwrap().1.last, Zxid(6));
    let (other, _) = written(9);
    put(&disk, mark::DURABLE_NAME, &content(&other, mark::DURABLE_NAME));
    assert_missing(&disk, "log.1");
    remove(&disk, mark::DURABLE_NAME);
    assert_eq!(load(&disk).unwrap().1.last, Zxid(6));
}

#[test]
fn the_mark_of_an_earlier_release_is_read() {
    let (disk, _) = written(6);
    let mark = mark_of(&disk);
    let mut old = b"RKDURBL1".to_vec();
    old.extend_from_slice(&mark.log.0.to_be_bytes());
    old.extend_from_slice(&mark.bytes.to_be_bytes());
    old.extend_from_slice(&mark.last.0.to_be_bytes());
    let sum = simd_adler32::adler32(&&old[..]);
    old.extend_from_slice(&sum.to_be_bytes());
    put(&disk, mark::DURABLE_NAME, &old);
    assert_eq!(mark_of(&disk), Durable { len: 0, sum: 0, ..mark });
    assert_eq!(load(&disk.fork(1)).unwrap().1.last, Zxid(6));
    remove(&disk, "log.1");
    assert_missing(&disk, "log.1");
}

#[test]
fn a_snapshot_that_is_none_is_named_with_its_flaw() {
    let (disk, _) = written(3);
    for (len, flaw) in [(0, "the file is empty"), (30, "its end is missing")] {
        cut(&disk, "snapshot.0", len);
        let why = load(&disk).expect_err("no snapshot").to_string();
        assert!(why.contains(&format!("(/data/version-2/snapshot.0: {flaw})")), "{why}");
    }
}

/// After a leader's snapshot the mark names a log that is not there yet.
#[test]
fn tools_read_a_directory_as_a_start_does() {
    let disk = probe_disk(true);
    let found = inspect::directory(&disk.shared(), &dirs()).unwrap();
    assert_eq!((found.logs, found.txns, found.last), (3, 30, Zxid(30)));
    let theirs = history(1..=40);
    let w = write_snapshot(&disk, 40, &theirs, Compression::Plain).unwrap();
    w.finish_install(&sections(40), &dirs()).unwrap();
    let found = inspect::directory(&disk.shared(), &dirs()).unwrap();
    assert_eq!((found.logs, found.last, found.notes), (0, Zxid(40), vec![]));
    // The log directory alone says nothing of what is in snapshots elsewhere.
    remove(&disk, "snapshot.28");
    assert_eq!(inspect::directory(&disk.shared(), &dirs()).unwrap().logs, 0);
    let (disk, _) = written(3);
    remove(&disk, "log.1");
    remove(&disk, "snapshot.0");
    assert!(inspect::directory(&disk.shared(), &dirs()).is_err());
}
