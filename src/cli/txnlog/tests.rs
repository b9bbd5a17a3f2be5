use super::*;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/data/apache-3.9.5");
const RECORDED: &str = include_str!("../../../fixtures/cli/txnlog-dump.apache-3.9.5.txt");

#[test]
fn a_dump_is_that_of_apaches_tool() {
    let path = Path::new(DATA).join("clean/data/version-2/log.1");
    let mut text = String::new();
    dump(&path, &mut |line| {
        text.push_str(line);
        text.push('\n');
    })
    .expect("reads");
    assert_eq!(text, RECORDED);
}

#[test]
fn a_torn_file_is_told_with_its_offset() {
    let path = Path::new(DATA).join("torn/data/version-2/log.1");
    let mut lines = 0;
    let why = dump(&path, &mut |_| lines += 1).expect_err("torn");
    let Failure::Damaged(why) = why else { panic!("{why:?}") };
    assert!(why.contains("at offset") && lines > 40, "{why}");
}

#[test]
fn directories_are_checked_as_a_server_reads_them() {
    for name in ["clean", "rolled", "epochs", "torn", "fuzzy"] {
        let dir = Path::new(DATA).join(name).join("data");
        assert_eq!(check_directory(&dir), Ok(()), "{name}");
    }
}

#[test]
fn short_dates_as_java_prints_them() {
    for (ms, text) in [
        (0, "1/1/70, 12:00:00 AM UTC"),
        (1_795_234_087_000, "11/21/26, 4:08:07 AM UTC"),
        (43_200_000, "1/1/70, 12:00:00 PM UTC"),
        (86_399_000, "1/1/70, 11:59:59 PM UTC"),
    ] {
        assert_eq!(short_date(ms), text);
    }
}

/// Damage and a wrong argument have different exit codes; nothing is fine that isn't there.
#[test]
fn what_is_not_there_is_not_damaged() {
    let run = |path: &Path| run(LogCommand::Check { path: path.to_owned() });
    let clean = Path::new(DATA).join("clean/data");
    assert_eq!(run(&clean), exit::OK);
    assert_eq!(run(&clean.join("version-2")), exit::OK);
    assert_eq!(run(&clean.join("log.7")), exit::INVALID_INVOCATION);
    assert_eq!(run(Path::new(env!("CARGO_MANIFEST_DIR"))), exit::INVALID_INVOCATION);
    assert_eq!(run(&clean.join("version-2/snapshot.0")), exit::CORRUPT);
}

/// A copy of a recorded data directory, with something done to its newest log.
fn changed(name: &str, f: impl FnOnce(&Path)) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("rookeeper-check-{name}-{}", std::process::id()));
    let version = dir.join("version-2");
    std::fs::create_dir_all(&version).expect("made");
    for file in ["snapshot.0", "log.1"] {
        let from = Path::new(DATA).join("clean/data/version-2").join(file);
        std::fs::copy(from, version.join(file)).expect("copied");
    }
    f(&version);
    dir
}

fn report(dir: &Path) -> String {
    match directory_report(dir) {
        Ok(text) => text,
        Err(Failure::Damaged(text)) => format!("DAMAGED {text}"),
        Err(Failure::Argument(text)) => format!("ARGUMENT {text}"),
    }
}

/// All of these were fine.
#[test]
fn a_directory_is_told_what_a_start_would_find() {
    let log = |version: &Path| version.join("log.1");
    let cut = |version: &Path, len: u64| {
        let file = std::fs::OpenOptions::new().write(true).open(log(version)).expect("opened");
        file.set_len(len).expect("cut");
    };
    // Apache's, without a mark: a start cuts and removes.
    let torn = changed("torn", |version| cut(version, 300));
    let text = report(&torn);
    assert!(text.contains("a server starts here after it has cut or removed\n"), "{text}");
    assert!(text.contains("log.1: torn write after 0x"), "{text}");
    let empty = changed("empty", |version| cut(version, 0));
    assert!(report(&empty).ends_with("log.1: holds no transaction"), "{}", report(&empty));
    // Ours, whose mark knows better.
    let whole = changed("marked", |version| {
        let dirs = Dirs { snapshots: version.to_owned(), logs: version.to_owned() };
        let disk = RealDisk::shared();
        let mut replay = storage::Replay::open(disk, dirs, Zxid(0)).expect("opened");
        while replay.next().expect("whole").is_some() {}
        replay.finish(true).expect("whole");
    });
    assert!(report(&whole).ends_with(", fine"), "{}", report(&whole));
    let version = whole.join("version-2");
    let bytes = std::fs::read(log(&version)).expect("read");
    cut(&version, bytes.len() as u64 - 1);
    assert!(report(&whole).contains("the file was longer"), "{}", report(&whole));
    cut(&version, 300);
    assert!(report(&whole).starts_with("DAMAGED"), "{}", report(&whole));
    assert!(file_report(&log(&version)).is_err());
    cut(&version, 0);
    assert!(report(&whole).starts_with("DAMAGED"), "{}", report(&whole));
    std::fs::remove_file(log(&version)).expect("removed");
    assert!(report(&whole).contains("log.1 is missing: at least "), "{}", report(&whole));
    assert_eq!(run(LogCommand::Check { path: whole.clone() }), exit::CORRUPT);
    std::fs::write(version.join("log.2"), &bytes).expect("written");
    assert!(report(&whole).contains("it begins with transaction 0x1"), "{}", report(&whole));
    assert!(file_report(&version.join("log.2")).is_err());
    // After a leader's snapshot there is a mark, and no log yet.
    std::fs::remove_file(version.join("log.2")).expect("removed");
    std::fs::remove_file(version.join("rookeeper.durable")).expect("removed");
    assert!(report(&whole).ends_with("no logs, last 0x0, fine"), "{}", report(&whole));
    for dir in [torn, empty, whole] {
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
