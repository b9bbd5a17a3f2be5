use super::*;
use crate::cli::exit;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/data/apache-3.9.5");
const RECORDED: &str = include_str!("../../../fixtures/cli/snapshot-dump.apache-3.9.5.txt");

/// The head, and the blocks between the rules in order.
fn blocks(text: &str) -> (&str, Vec<String>) {
    let mut parts = text.split("----\n");
    let head = parts.next().expect("a head");
    let mut blocks: Vec<String> = parts
        .map(|block| {
            // Sessions come in the order of a hash table there.
            let mut lines: Vec<&str> = block.lines().collect();
            if block.starts_with("Session") {
                lines.sort_unstable();
            }
            lines.join("\n")
        })
        .collect();
    blocks.sort();
    (head, blocks)
}

#[test]
fn a_dump_is_that_of_apaches_tool_but_for_the_order() {
    let path = Path::new(DATA).join("epochs/data/version-2/snapshot.100000029");
    let named = files(&path).expect("named").remove(0);
    let text = dump(&named, true).expect("reads");
    assert_eq!(blocks(&text), blocks(RECORDED));
    let first: Vec<&str> =
        text.split("----\n").filter_map(|b| b.lines().next()).skip(1).take(4).collect();
    assert_eq!(first, ["/", "/bob", "/c", "/c/k"]);
}

#[test]
fn directories_are_checked() {
    for name in ["clean", "gz", "snappy", "epochs"] {
        let list = files(&Path::new(DATA).join(name).join("data")).expect("listed");
        assert!(!list.is_empty());
        assert_eq!(check(&list), Ok(()), "{name}");
    }
}

#[test]
fn what_is_not_there_is_not_damaged() {
    let run = |path: &Path| run(SnapshotCommand::Check { path: path.to_owned() });
    let clean = Path::new(DATA).join("clean/data");
    assert_eq!(run(&clean), exit::OK);
    assert_eq!(run(&clean.join("snapshot.7")), exit::INVALID_INVOCATION);
    assert_eq!(run(Path::new(env!("CARGO_MANIFEST_DIR"))), exit::INVALID_INVOCATION);
    assert_eq!(run(&clean.join("version-2/log.1")), exit::CORRUPT);
}

/// The offset is that of the record that can't be read, also when the file ends there.
#[test]
fn damage_is_told_with_its_offset() {
    let whole = std::fs::read(Path::new(DATA).join("epochs/data/version-2/snapshot.100000029"));
    let whole = whole.expect("read");
    let dir = std::env::temp_dir().join(format!("rookeeper-damaged-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("made");
    let path = dir.join("snapshot.1");
    for cut in [20, 100, whole.len() / 2] {
        std::fs::write(&path, &whole[..cut]).expect("written");
        let why = check(&files(&path).expect("named")).expect_err("cut");
        let offset = why.split("offset ").nth(1).and_then(|rest| rest.split(':').next());
        let offset: usize = offset.expect("an offset").parse().expect("a number");
        assert!(offset >= 16 && offset <= cut, "{why}");
    }
    std::fs::remove_dir_all(dir).expect("removed");
}
