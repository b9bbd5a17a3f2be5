use std::path::Path;

use super::*;

/// A data directory with snapshots of nothing and a log for each.
fn data(name: &str, zxids: &[i64]) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("rookeeper-purge-{name}-{}", std::process::id()));
    let whole = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/data/apache-3.9.5/epochs/data/version-2/snapshot.100000029"
    );
    let version = dir.join("version-2");
    std::fs::create_dir_all(&version).expect("made");
    for zxid in zxids {
        std::fs::copy(whole, version.join(format!("snapshot.{zxid:x}"))).expect("copied");
        std::fs::write(version.join(format!("log.{:x}", zxid + 1)), [0; 10]).expect("written");
    }
    dir
}

fn files(dir: &Path) -> Vec<String> {
    let list = std::fs::read_dir(dir.join("version-2")).expect("listed");
    let mut names: Vec<String> =
        list.map(|entry| entry.expect("read").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

fn args(dir: &Path, dry_run: bool) -> PurgeArgs {
    PurgeArgs { log_dir: dir.to_owned(), snapshot_dir: None, count: 3, dry_run }
}

#[test]
fn a_dry_run_says_what_would_go_and_removes_nothing() {
    let dir = data("dry", &[0, 5, 9, 12]);
    let len = std::fs::metadata(dir.join("version-2/snapshot.0")).expect("there").len();
    let before = files(&dir);
    let text = carry_out(&args(&dir, true)).expect("planned");
    let at = dir.join("version-2").display().to_string();
    let expect = format!(
        "Would remove file: {at}/snapshot.0\n\
         would go: snapshots: 1, logs: 0, bytes: {len}\n\
         would stay: snapshots: 3, logs: 4, bytes: {}\n",
        3 * len + 40
    );
    assert_eq!(text, expect);
    assert_eq!(files(&dir), before);
    std::fs::remove_dir_all(dir).expect("removed");
}

/// Of `dataDir/version-2` it looked for the `version-2` inside.
#[test]
fn a_version_2_directory_may_be_named_itself() {
    let dir = data("inner", &[0, 5, 9, 12, 20]);
    let text = carry_out(&args(&dir.join("version-2"), false)).expect("purged");
    assert!(text.contains("\nremoved: snapshots: 2, logs: 1, bytes: "), "{text}");
    assert!(text.contains("\nkept: snapshots: 3, logs: 4, bytes: "), "{text}");
    assert_eq!(
        files(&dir),
        ["log.15", "log.6", "log.a", "log.d", "snapshot.14", "snapshot.9", "snapshot.c"]
    );
    let text = carry_out(&args(&dir, false)).expect("purged");
    assert!(text.starts_with("removed: snapshots: 0, logs: 0, bytes: 0\n"), "{text}");
    // Too few that can be read, and none at all.
    std::fs::write(dir.join("version-2/snapshot.14"), []).expect("emptied");
    let text = carry_out(&args(&dir, false)).expect("purged");
    assert!(text.ends_with("fewer than 3 snapshots can be read: 2 can\n"), "{text}");
    std::fs::remove_dir_all(&dir).expect("removed");
    assert!(carry_out(&args(&dir, false)).is_err());
}
