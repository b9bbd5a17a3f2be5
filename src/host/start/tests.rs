use std::path::Path;

use super::*;
use crate::host::snapshot::{self, SnapshotOptions};
use crate::proto::txn::{CreateTxn, Txn, TxnEntry, TxnHeader};
use crate::state;
use crate::storage::sim_disk::SimDisk;
use crate::storage::{Compression, Dirs, Disk};
use crate::types::{Instant, SessionId, open_acl};

fn start(
    options: &Options,
    log_options: LogOptions,
    commit_log_count: usize,
    now: WallTime,
) -> storage::Result<Started> {
    let inline = || load::Inline::new(options.state);
    super::start(options, log_options, commit_log_count, now, inline)
}

fn options(disk: &SimDisk) -> Options {
    Options {
        disk: disk.shared(),
        dirs: Dirs::new(Path::new("/data"), None),
        state: state::Options::default(),
        recovery: RecoveryOptions::default(),
        compression: Compression::Plain,
        last_processed: true,
        snapshot_size_factor: 0.33,
        snap_count: 100,
        snap_bytes: None,
    }
}

fn log_options() -> LogOptions {
    LogOptions { prealloc_bytes: 4096, ..LogOptions::default() }
}

fn create(zxid: i64) -> TxnEntry {
    let header =
        TxnHeader { session: SessionId(7), cxid: 0, zxid: Zxid(zxid), time: WallTime(1), kind: 1 };
    let txn = CreateTxn {
        path: format!("/n{zxid:x}"),
        data: None,
        acl: open_acl(),
        ephemeral: false,
        parent_cversion: zxid as i32,
    };
    TxnEntry { header, txn: Txn::Create(txn), digest: None }
}

/// A snapshot, and a log with damage in its middle.
fn damaged() -> SimDisk {
    let disk = SimDisk::new(1);
    let options = options(&disk);
    let begun = start(&options, log_options(), 10, WallTime(1)).expect("an empty disk");
    let (mut state, mut log) = (begun.state, begun.log);
    let how = SnapshotOptions { compression: Compression::Plain, last_processed: true };
    snapshot::write(disk.shared(), &options.dirs.snapshots, how, &mut state).expect("snapshot.0");
    for zxid in 1..=6 {
        log.append(Zxid(zxid), &create(zxid).encode()).expect("in order");
        log.commit(&mut || Instant::default()).expect("a sound disk");
    }
    disk.flip(&options.dirs.logs.join("log.1"), 100, 0x10).expect("the log");
    disk.settle();
    disk
}

/// Found by reading when whole members came under the simulator: a crash could leave the logs
/// without the snapshot, and then the member refused to start for ever.
#[test]
fn a_power_cut_while_setting_aside_is_finished_by_the_next_start() {
    let damaged = damaged();
    let mut cuts = 0;
    for ops in 0.. {
        let mut whole = false;
        for seed in 0..8 {
            let disk = damaged.fork(seed);
            let options = options(&disk);
            disk.cut_power_after(ops);
            whole = start(&options, log_options(), 10, WallTime(99)).is_ok();
            if whole {
                break;
            }
            cuts += 1;
            disk.crash();
            let again = start(&options, log_options(), 10, WallTime(100));
            let again = again.unwrap_or_else(|e| panic!("{ops} operations, seed {seed}: {e}"));
            assert_eq!(again.disk.standing, Standing::MustResync, "{ops} operations, seed {seed}");
            assert_eq!(again.disk.last, Zxid::ZERO);
        }
        if whole {
            break;
        }
    }
    assert!(cuts > 50, "{cuts}");
    assert!(damaged.exists(Path::new("/data/version-2/log.1")));
}
