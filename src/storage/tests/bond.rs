//! Snapshots and log in different directories, and directories that can't be written.

use super::*;
use crate::storage::bond::{NUMBER, PLACE};

fn place(data: &str, logs: &str) -> Dirs {
    Dirs::new(Path::new(data), Some(Path::new(logs)))
}

/// A start with this number for directories that have none, and the last transaction found.
fn start(disk: &SimDisk, dirs: &Dirs, id: u64) -> Result<i64> {
    let options = RecoveryOptions { new_id: Some(id), ..RecoveryOptions::default() };
    let mut found = recover(&disk.shared(), dirs, &options, Collect::default)?;
    while found.replay.next()?.is_some() {}
    Ok(found.replay.finish(true)?.last.0)
}

/// A server with a snapshot of nothing and a log of three transactions.
fn server(disk: &SimDisk, dirs: &Dirs, id: u64) {
    assert_eq!(start(disk, dirs, id).unwrap(), 0);
    let head = ImageHead::default();
    let (plain, shared) = (Compression::Plain, disk.shared());
    let w = SnapshotWriter::create(shared, &dirs.snapshots, Zxid(0), plain, &head).unwrap();
    w.finish(&sections(0)).unwrap();
    let mut log = TxnLog::new(disk.shared(), dirs.clone(), options(), Zxid(0));
    append(&mut log, 1..=3);
    commit(&mut log);
    disk.settle();
}

fn refused(disk: &SimDisk, dirs: &Dirs) -> String {
    match start(disk, dirs, 99) {
        Err(e @ Error::OtherLog { .. }) => e.to_string(),
        other => panic!("{other:?}"),
    }
}

fn rename_all(disk: &SimDisk, from: &Path, to: &Path) {
    disk.create_dir_all(to).unwrap();
    for (name, _) in disk.list(from).unwrap() {
        disk.rename(&from.join(&name), &to.join(&name)).unwrap();
    }
    disk.settle();
}

/// Apache, which snapshots at every start, had 50 of 50 nodes; here there were none.
#[test]
fn a_data_log_dir_that_is_not_named_any_more_is_missed() {
    let disk = SimDisk::new(1);
    let apart = place("/data", "/logs");
    server(&disk, &apart, 7);
    let why = refused(&disk, &place("/data", "/data"));
    for part in ["/data/version-2", "/logs/version-2", "dataLogDir=/logs"] {
        assert!(why.contains(part), "{why}");
    }
    // Another place, without the log, is no better; nor is the right one without its disk.
    refused(&disk, &place("/data", "/elsewhere"));
    rename_all(&disk, &apart.logs, Path::new("/mnt/version-2"));
    assert!(refused(&disk, &apart).contains("is its disk mounted?"));
    rename_all(&disk, Path::new("/mnt/version-2"), &apart.logs);
    assert_eq!(start(&disk, &apart, 8).unwrap(), 3);
}

#[test]
fn the_log_of_another_server_is_refused() {
    let disk = SimDisk::new(1);
    server(&disk, &place("/data1", "/logs1"), 7);
    server(&disk, &place("/data2", "/logs2"), 8);
    let why = refused(&disk, &place("/data1", "/logs2"));
    assert!(why.contains("/logs2/version-2 is the log of other snapshots"), "{why}");
    refused(&disk, &place("/data2", "/logs1"));
    assert_eq!(start(&disk, &place("/data2", "/logs2"), 9).unwrap(), 3);
}

#[test]
fn directories_may_be_moved_with_what_is_in_them() {
    let disk = SimDisk::new(1);
    server(&disk, &place("/data", "/logs"), 7);
    let moves = [
        place("/data", "/new/logs"),
        place("/new/data", "/new/logs"),
        // Into one, and apart again.
        place("/new/data", "/new/data"),
    ];
    let mut at = place("/data", "/logs");
    for to in moves {
        for (from, to) in [(&at.logs, &to.logs), (&at.snapshots, &to.snapshots)] {
            if from != to {
                rename_all(&disk, from, to);
            }
        }
        assert_eq!(start(&disk, &to, 8).unwrap(), 3, "{to:?}");
        assert_eq!(start(&disk, &to, 8).unwrap(), 3, "{to:?}");
        at = to;
    }
    // A log that was moved alone: the hint is to remove one file.
    let dir = &at.snapshots;
    disk.create_dir_all(Path::new("/logs/version-2")).unwrap();
    disk.rename(&dir.join("log.1"), Path::new("/logs/version-2/log.1")).unwrap();
    disk.rename(&dir.join("rookeeper.durable"), Path::new("/logs/version-2/rookeeper.durable"))
        .unwrap();
    let apart = place("/new/data", "/logs");
    assert!(refused(&disk, &apart).contains("remove /new/data/version-2/rookeeper.logdir"));
    disk.remove(&dir.join(PLACE)).unwrap();
    assert_eq!(start(&disk, &apart, 8).unwrap(), 3);
}

/// One directory needs no number, and Apache's two get one at our first start.
#[test]
fn apaches_directories_have_no_number_and_are_fine() {
    let disk = SimDisk::new(1);
    server(&disk, &place("/one", "/one"), 7);
    assert!(!disk.exists(Path::new("/one/version-2").join(PLACE).as_path()));
    let apart = place("/data", "/logs");
    server(&disk, &apart, 7);
    disk.remove(&apart.snapshots.join(PLACE)).unwrap();
    disk.remove(&apart.logs.join(NUMBER)).unwrap();
    disk.settle();
    // Whenever the power goes, the next start goes on.
    for step in 0.. {
        let disk = disk.fork(step);
        disk.cut_power_after(step);
        let done = start(&disk, &apart, 8).is_ok();
        disk.crash();
        assert_eq!(start(&disk, &apart, 9).unwrap(), 3, "{step}");
        refused(&disk, &place("/data", "/data"));
        if done {
            break;
        }
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_found_at_the_start() {
    for closed in ["/data/version-2", "/logs/version-2"] {
        let disk = SimDisk::new(1);
        let apart = place("/data", "/logs");
        server(&disk, &apart, 7);
        disk.close_dir(Path::new(closed));
        let why = start(&disk, &apart, 8).expect_err("unwritable").to_string();
        assert_eq!(why, format!("can't write in {closed}: permission denied"));
    }
}
