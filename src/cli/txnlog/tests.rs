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
