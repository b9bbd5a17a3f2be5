//! The writer: bytes, padding, batches, rolls, failures.

use super::*;

fn disk() -> SimDisk {
    let disk = SimDisk::new(3);
    disk.create_dir_all(&dirs().logs).unwrap();
    disk
}

fn bytes_of(disk: &SimDisk, name: &str, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    let file = disk.open(&file(name)).unwrap();
    let got = disk::read_full(&*file, 0, &mut bytes).unwrap();
    bytes.truncate(got);
    bytes
}

#[test]
fn bytes_are_apaches() {
    let disk = disk();
    let mut log = TxnLog::new(disk.shared(), dirs(), LogOptions::default(), Zxid(0));
    let txn = TxnEntry {
        header: TxnHeader {
            session: SessionId(0x0102),
            cxid: 3,
            zxid: Zxid(1),
            time: WallTime(4),
            kind: -10,
        },
        txn: Txn::CreateSession { timeout_ms: 30_000 },
        digest: Some(TxnDigest { version: 2, tree: 5 }),
    };
    log.append(Zxid(1), &txn.encode()).unwrap();
    assert!(!disk.exists(&file("log.1")), "nothing is written before the commit");
    commit(&mut log);
    let mut expect = b"ZKLG".to_vec();
    expect.extend_from_slice(&[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    let entry = txn.encode();
    expect.extend_from_slice(&[0; 4]);
    expect.extend_from_slice(&simd_adler32::adler32(&&entry[..]).to_be_bytes());
    expect.extend_from_slice(&[0, 0, 0, 48]);
    expect.extend_from_slice(&entry);
    expect.push(b'B');
    // A zero length follows: the end, for Apache.
    expect.extend_from_slice(&[0; 12]);
    assert_eq!(bytes_of(&disk, "log.1", expect.len()), expect);
    // The first extension happens at offset 16.
    assert_eq!(disk.list(&dirs().logs).unwrap()[0], ("log.1".into(), 67_108_880));
}

#[test]
fn padding_grows_as_apaches() {
    let disk = disk();
    let options = LogOptions { prealloc_bytes: 64 << 10, ..LogOptions::default() };
    let mut log = TxnLog::new(disk.shared(), dirs(), options, Zxid(0));
    let len = |disk: &SimDisk| disk.list(&dirs().logs).unwrap()[0].1;
    let mut zxid = 0;
    while log.current_file().map_or(0, |f| f.1) + 4096 < (64 << 10) + 16 {
        zxid += 1;
        log.append(Zxid(zxid), &entry(zxid, 0, 1000).encode()).unwrap();
        commit(&mut log);
        assert_eq!(len(&disk), (64 << 10) + 16);
    }
    append(&mut log, zxid + 1..=zxid + 1);
    commit(&mut log);
    assert_eq!(len(&disk), (128 << 10) + 16);
    // Rolled, it keeps its padding.
    log.roll().unwrap();
    assert_eq!(len(&disk), (128 << 10) + 16);
    // A batch larger than the padding.
    log.append(Zxid(zxid + 2), &entry(zxid + 2, 0, 300 << 10).encode()).unwrap();
    append(&mut log, zxid + 3..=zxid + 3);
    commit(&mut log);
    snapshot_of(&disk, 0, &[]);
    assert_eq!(load(&disk).unwrap().1.last, Zxid(zxid + 3));
}

#[test]
fn without_preallocation_the_file_is_what_was_written() {
    let disk = disk();
    let options = LogOptions { prealloc_bytes: 0, ..LogOptions::default() };
    let mut log = TxnLog::new(disk.shared(), dirs(), options, Zxid(0));
    append(&mut log, 1..=3);
    commit(&mut log);
    append(&mut log, 4..=5);
    commit(&mut log);
    let end = positions(&disk, "log.1").last().unwrap().1;
    assert_eq!(disk.list(&dirs().logs).unwrap()[0].1, end + mark::BATCH_MARK_LEN as u64);
    snapshot_of(&disk, 0, &[]);
    assert_loads(&disk, 5);
}

#[test]
fn a_batch_is_one_sync_and_its_time_is_told() {
    let disk = disk();
    let mut log = new_log(&disk, 0);
    append(&mut log, 1..=1);
    commit(&mut log);
    let before = disk.ops();
    append(&mut log, 2..=20);
    let mut now = 0;
    let done = log.commit(&mut || {
        now += 250;
        Instant(now)
    });
    let done = done.unwrap().unwrap();
    assert_eq!((done.last, done.txns), (Zxid(20), 19));
    assert_eq!(done.sync_time.as_micros(), 250);
    assert_eq!(disk.ops() - before, 3, "one write, one sync, and one write of the durable mark");
    assert_eq!(log.commit(&mut no_clock).unwrap(), None);
}

#[test]
fn order_is_kept() {
    let disk = disk();
    let mut log = new_log(&disk, 5);
    let bytes = entry(7, 0, 1).encode();
    for zxid in [7, 5, 4, 0x1_0000_0002] {
        assert!(matches!(log.append(Zxid(zxid), &bytes), Err(Error::OutOfOrder { .. })));
    }
    append(&mut log, 6..=6);
    log.append(Zxid(0x3_0000_0001), &entry(0x3_0000_0001, 0, 1).encode()).unwrap();
    log.append(Zxid(0x3_0000_0002), &entry(0x3_0000_0002, 0, 1).encode()).unwrap();
    commit(&mut log);
    snapshot_of(&disk, 5, &[]);
    assert_eq!(load(&disk).unwrap().1.last, Zxid(0x3_0000_0002));
}

#[test]
fn rolls_on_request_and_by_size() {
    let disk = disk();
    let options = LogOptions { size_limit_bytes: Some(500), ..options() };
    let mut log = TxnLog::new(disk.shared(), dirs(), options, Zxid(0));
    for zxid in 1..=20 {
        append(&mut log, zxid..=zxid);
        commit(&mut log);
    }
    append(&mut log, 21..=22);
    log.roll().unwrap();
    append(&mut log, 23..=23);
    commit(&mut log);
    assert_eq!(log.current_file().unwrap().0, file("log.17"));
    let logs = names::logs(&disk, &dirs().logs).unwrap();
    assert!(logs.len() >= 5, "{logs:?}");
    snapshot_of(&disk, 0, &[]);
    disk.settle();
    assert_loads(&disk, 23);
}

#[test]
fn a_failed_sync_poisons_and_what_the_cache_shows_is_rewritten() {
    let disk = disk();
    snapshot_of(&disk, 0, &[]);
    let mut log = new_log(&disk, 0);
    append(&mut log, 1..=3);
    commit(&mut log);
    append(&mut log, 4..=5);
    disk.fail_syncs(1);
    assert!(matches!(log.commit(&mut no_clock), Err(Error::Io { op: "sync", .. })));
    assert!(matches!(log.commit(&mut no_clock), Err(Error::Poisoned)));
    assert!(matches!(log.append(Zxid(6), b""), Err(Error::Poisoned)));
    assert!(matches!(log.truncate(Zxid(1)), Err(Error::Poisoned)));
    // The process starts anew on the same cache, which shows 4 and 5 although the disk has not.
    disk.restart_process();
    assert_eq!(load(&disk).unwrap().1.last, Zxid(5));
    // So they must be durable now: whoever votes with 5 claims it.
    disk.crash();
    assert_eq!(load(&disk).unwrap().1.last, Zxid(5));
}

#[test]
fn a_full_disk_poisons_and_loses_nothing_committed() {
    for space in 0..400 {
        let disk = disk();
        snapshot_of(&disk, 0, &[]);
        let mut log = new_log(&disk, 0);
        append(&mut log, 1..=3);
        commit(&mut log);
        disk.set_space(Some(space));
        append(&mut log, 4..=6);
        if log.commit(&mut no_clock).is_ok() {
            continue;
        }
        assert!(log.is_poisoned());
        disk.restart_process();
        disk.set_space(None);
        let last = load(&disk).unwrap().1.last.0;
        assert!((3..=6).contains(&last));
        assert_loads(&disk, last);
    }
}

#[test]
fn torn_middle_of_the_last_batch_is_a_tail_and_of_an_earlier_batch_is_not() {
    // Two batches of several sectors; zero one sector at a time.
    let whole = disk();
    snapshot_of(&whole, 0, &[]);
    let mut log = new_log(&whole, 0);
    let batch = |log: &mut TxnLog, range: std::ops::RangeInclusive<i64>| {
        for zxid in range {
            log.append(Zxid(zxid), &entry(zxid, 0, 300).encode()).unwrap();
        }
        commit(log);
    };
    batch(&mut log, 1..=10);
    let mark = bytes_of(&whole, mark::DURABLE_NAME, 512);
    batch(&mut log, 11..=20);
    // The power goes before the mark of the second batch is written back.
    poke(&whole, mark::DURABLE_NAME, 0, &mark);
    let at = positions(&whole, "log.1");
    let second = at[10].0;
    for sector in 0..at[19].1.div_ceil(512) {
        let disk = whole.fork(sector);
        poke(&disk, "log.1", sector * 512, &[0; 512]);
        if (sector + 1) * 512 <= second {
            assert!(matches!(load(&disk), Err(Error::Corrupt { .. })), "sector {sector}");
        } else if sector * 512 >= second {
            // Zeros from here to the end of the sector: the first record that touches it.
            let last = at.iter().filter(|p| p.1 <= sector * 512).count() as i64;
            assert_loads(&disk, last);
        }
    }
}

#[test]
fn no_force_sync_syncs_nothing() {
    let disk = disk();
    let options = LogOptions { force_sync: false, ..options() };
    let mut log = TxnLog::new(disk.shared(), dirs(), options, Zxid(0));
    append(&mut log, 1..=1);
    commit(&mut log);
    let before = disk.ops();
    append(&mut log, 2..=2);
    commit(&mut log);
    assert_eq!(disk.ops() - before, 1);
}

#[test]
fn the_real_disk_does_the_same() {
    let dir = std::env::temp_dir().join(format!("rookeeper-storage-{}", std::process::id()));
    let dirs = Dirs::new(&dir, None);
    let disk = RealDisk::shared();
    let start = recover(&disk, &dirs, &RecoveryOptions::default(), Collect::default).unwrap();
    assert_eq!(start.origin, recovery::Origin::Fresh);
    let head = ImageHead::default();
    let zero = Zxid::ZERO;
    let mut w =
        SnapshotWriter::create(disk.clone(), &dirs.snapshots, zero, Compression::Plain, &head)
            .unwrap();
    let mut out = BytesMut::new();
    image_stream::write_node_path("", &mut out);
    write_node_body(&mut out, None, -1, &StatPersisted::default());
    w.nodes(&out).unwrap();
    w.finish(&sections(0)).unwrap();
    let mut log = TxnLog::new(disk.clone(), dirs.clone(), LogOptions::default(), zero);
    append(&mut log, 1..=100);
    commit(&mut log);
    append(&mut log, 101..=101);
    commit(&mut log);
    drop(log);
    let mut r = recover(&disk, &dirs, &RecoveryOptions::default(), Collect::default).unwrap();
    let mut n = 0;
    while r.replay.next().unwrap().is_some() {
        n += 1;
    }
    assert_eq!(r.replay.finish(true).unwrap().last, Zxid(101));
    assert_eq!(n, 101);
    let mut log = TxnLog::new(disk.clone(), dirs.clone(), LogOptions::default(), Zxid(101));
    log.truncate(Zxid(50)).unwrap();
    let mut r = recover(&disk, &dirs, &RecoveryOptions::default(), Collect::default).unwrap();
    while r.replay.next().unwrap().is_some() {}
    assert_eq!(r.replay.finish(true).unwrap().last, Zxid(50));
    assert!(names::dir_size(&*disk, &dirs.logs).unwrap() > 0);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn trigger_has_half_fixed_and_half_random() {
    for random in [0, 1, 49, 50, u64::MAX, 0x1234_5678_9abc_def0] {
        let mut t = trigger::SnapTrigger::new(100, None, random);
        let n = (1..).find(|_| t.add(1, 1000)).unwrap();
        assert!((51..=100).contains(&n), "{n}");
        t.reset(random);
        assert_eq!((1..).find(|_| t.add(1, 1000)).unwrap(), n);
        let mut t = trigger::SnapTrigger::new(1 << 40, Some(1000), random);
        let n = (1..).find(|_| t.add(1, 1)).unwrap();
        assert!((501..=1000).contains(&n), "{n}");
    }
}
