//! Small files.

use super::*;
use crate::storage::epoch::*;
use crate::types::{Epoch, ServerId};

fn disk() -> SimDisk {
    let disk = SimDisk::new(3);
    disk.create_dir_all(&dirs().logs).unwrap();
    disk
}

fn put(disk: &SimDisk, name: &str, text: &str) {
    let mut f = disk.create(&file(name)).unwrap();
    f.write_at(0, text.as_bytes()).unwrap();
}

fn loaded(disk: &SimDisk, last: i64) -> Result<(i64, i64)> {
    let e = load_epochs(disk, &dirs().snapshots, Zxid(last))?;
    Ok((e.accepted.0, e.current.0))
}

#[test]
fn missing_files_get_the_epoch_of_the_last_zxid() {
    let disk = disk();
    assert_eq!(loaded(&disk, 0x3_0000_0007).unwrap(), (3, 3));
    assert_eq!(read_small(&disk, &file(CURRENT)).unwrap().unwrap(), b"3");
    assert_eq!(read_small(&disk, &file(ACCEPTED)).unwrap().unwrap(), b"3");
    write_epoch(&disk, &dirs().snapshots, ACCEPTED, Epoch(5)).unwrap();
    assert_eq!(loaded(&disk, 0x3_0000_0007).unwrap(), (5, 3));
}

#[test]
fn a28_history_newer_than_the_current_epoch() {
    // Neither the temporary file nor a promise: refused, as by Apache.
    let disk = disk();
    put(&disk, CURRENT, "2");
    put(&disk, ACCEPTED, "2");
    assert!(matches!(loaded(&disk, 0x3_0000_0001), Err(Error::BadContent { .. })));
    // The promise to that epoch's leader.
    put(&disk, ACCEPTED, "3");
    assert_eq!(loaded(&disk, 0x3_0000_0001).unwrap(), (3, 3));
    // Apache's temporary file.
    put(&disk, CURRENT, "2");
    put(&disk, ACCEPTED, "4");
    put(&disk, "currentEpoch.tmp", "3");
    assert_eq!(loaded(&disk, 0x3_0000_0001).unwrap(), (4, 3));
}

#[test]
fn nonsense_is_refused() {
    let disk = disk();
    put(&disk, CURRENT, "three");
    assert!(matches!(loaded(&disk, 0), Err(Error::BadContent { .. })));
    put(&disk, CURRENT, "3");
    put(&disk, ACCEPTED, "2");
    assert!(matches!(loaded(&disk, 0), Err(Error::BadContent { .. })));
}

#[test]
fn myid_is_the_first_line() {
    let disk = disk();
    let data = Path::new("/data");
    assert_eq!(read_myid(&disk, data).unwrap(), None);
    let mut f = disk.create(&data.join("myid")).unwrap();
    f.write_at(0, b" 12 \nsecond").unwrap();
    assert_eq!(read_myid(&disk, data).unwrap(), Some(ServerId(12)));
}

#[test]
fn an_epoch_is_old_or_new_after_any_crash() {
    for seed in 0..200 {
        for steps in 0..5 {
            let disk = disk().fork(seed);
            write_epoch(&disk, &dirs().snapshots, ACCEPTED, Epoch(7)).unwrap();
            disk.cut_power_after(steps);
            let done = write_epoch(&disk, &dirs().snapshots, ACCEPTED, Epoch(8)).is_ok();
            disk.crash();
            let text = read_small(&disk, &file(ACCEPTED)).unwrap().unwrap();
            assert!(text == b"8" || !done && text == b"7", "{text:?} after {steps} steps");
        }
    }
}

#[test]
fn an_empty_directory_votes_only_if_allowed() {
    use recovery::Origin;
    let off = RecoveryOptions { db_autocreate: false, ..RecoveryOptions::default() };
    let origin = |disk: &SimDisk, options: &RecoveryOptions| {
        recover(&disk.shared(), &dirs(), options, Collect::default).unwrap().origin
    };
    let disk = disk();
    assert_eq!(origin(&disk, &RecoveryOptions::default()), Origin::Fresh);
    assert_eq!(origin(&disk, &off), Origin::Suspect);
    disk.create(Path::new("/data/initialize")).unwrap();
    assert_eq!(origin(&disk, &off), Origin::Fresh);
    assert!(!disk.exists(Path::new("/data/initialize")));
    assert_eq!(origin(&disk, &off), Origin::Suspect);
}
