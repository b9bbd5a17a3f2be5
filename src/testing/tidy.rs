//! Rules of the tree as tests: who may import whom, what only the shell may touch, how long a file
//! may be, and that every fixture is read by something.

use std::fs;
use std::path::{Path, PathBuf};

/// Folder, and the folders of the crate it may import; design rule "who may import whom".
const LAYERS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("proto", &["types"]),
    ("state", &["types", "proto", "auth"]),
    ("zab", &["types", "proto"]),
    ("auth", &["types"]),
    ("replica", &["types", "proto", "state", "zab", "auth", "config"]),
    ("storage", &["types", "proto"]),
    ("host", &["types", "proto", "state", "zab", "auth", "replica", "storage"]),
    ("config", &["types"]),
    ("ops", &["types", "config"]),
    (
        "server",
        &["types", "proto", "state", "zab", "auth", "replica", "storage", "host", "config", "ops"],
    ),
    ("client", &["types", "proto"]),
    ("cli", &["types", "proto", "state", "storage", "config", "ops", "server", "client"]),
    ("sim", &["types", "proto", "state", "zab", "auth", "replica", "storage", "host"]),
];

/// What the pure folders may not name, and why.
const BANNED: &[(&str, &str)] = &[
    ("tokio", "only the shell is async"),
    ("std::fs", "files belong to storage"),
    ("std::net", "sockets belong to the shell"),
    ("std::thread", "threads belong to the shell"),
    ("Instant::now", "time is handed in"),
    ("SystemTime", "time is handed in"),
    ("HashMap::new", "use types::map(), whose seed is ours"),
    ("HashSet::new", "use a seeded hasher"),
];

const PURE: &[&str] = &["types", "proto", "state", "zab", "auth", "replica", "host", "sim"];

/// Longest file, without its tests.
const LINES_MAX: usize = 800;

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut entries: Vec<_> = entries.map(|e| e.expect("entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for dir in ["src", "compat-tests", "benches"] {
        sources(&root.join(dir), &mut found);
    }
    let name = |p: &Path| p.strip_prefix(root).expect("below root").display().to_string();
    found.iter().map(|p| (name(p), fs::read_to_string(p).expect("utf-8 source"))).collect()
}

fn is_test(name: &str) -> bool {
    name.contains("/testing/")
        || name.ends_with("/tests.rs")
        || name.contains("/tests/")
        || name.ends_with("_tests.rs")
}

/// Code lines with their numbers: comments left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line.split("//").next().unwrap_or("").trim_end()))
        .filter(|(_, line)| !line.is_empty())
}

#[test]
fn folders_import_only_what_the_design_allows() {
    let mut wrong = Vec::new();
    for (name, text) in all_sources() {
        let Some(rest) = name.strip_prefix("src/") else { continue };
        let Some((folder, _)) = rest.split_once('/') else { continue };
        let Some((_, allowed)) = LAYERS.iter().find(|(f, _)| *f == folder) else { continue };
        if is_test(&name) {
            continue;
        }
        for (n, line) in code(&text) {
            for part in line.split("crate::").skip(1) {
                let module: String =
                    part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let known = LAYERS.iter().any(|(f, _)| *f == module);
                if known && module != folder && !allowed.contains(&module.as_str()) {
                    wrong.push(format!("{name}:{n}: {folder} imports {module}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_pure_folders_touch_no_file_socket_thread_or_clock() {
    let mut wrong = Vec::new();
    for (name, text) in all_sources() {
        let pure = PURE.iter().any(|f| name.starts_with(&format!("src/{f}/")));
        if !pure || is_test(&name) {
            continue;
        }
        for (n, line) in code(&text) {
            for (banned, why) in BANNED {
                if line.contains(banned) {
                    wrong.push(format!("{name}:{n}: {banned}: {why}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Those of the standard library panic when nobody reads: `| head`, a log collector that died.
#[test]
fn commands_and_servers_print_with_macros_of_their_own() {
    let mut wrong = Vec::new();
    for (name, text) in all_sources() {
        let theirs = ["src/cli/", "src/server/", "src/host/", "src/client/", "src/config/"];
        if !theirs.iter().any(|folder| name.starts_with(folder)) || is_test(&name) {
            continue;
        }
        for (n, line) in code(&text) {
            if ["print!(", "println!(", "dbg!("].iter().any(|mark| line.contains(mark)) {
                wrong.push(format!("{name}:{n}: use out! or err!, or the log"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_walkable() {
    let mut wrong = Vec::new();
    for (name, text) in all_sources() {
        let lines = text.lines().count();
        if !is_test(&name) && lines > LINES_MAX {
            wrong.push(format!("{name}: {lines} lines, at most {LINES_MAX}: split along a state"));
        }
        if !text.starts_with("//!") && !is_test(&name) && !name.starts_with("compat-tests/clients/")
        {
            wrong.push(format!("{name}: starts without a module comment"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_stub_is_left_behind() {
    let marks = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("#[ig", "nore")];
    let mut wrong = Vec::new();
    for (name, text) in all_sources() {
        for (n, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                wrong.push(format!("{name}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Files below `fixtures`, as names relative to it.
fn fixtures(dir: &Path, root: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            fixtures(&path, root, found);
        } else {
            found.push(path.strip_prefix(root).expect("below root").display().to_string());
        }
    }
}

#[test]
fn every_fixture_is_read_by_something() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut found = Vec::new();
    fixtures(&root, &root, &mut found);
    let sources: String = all_sources().into_iter().map(|(_, text)| text).collect();
    let mut orphans = Vec::new();
    for name in found {
        // A folder that a test walks counts for all that is in it.
        let read = Path::new(&name).ancestors().any(|part| {
            let part = part.display().to_string();
            !part.is_empty() && sources.contains(&format!("fixtures/{part}"))
        });
        if !read {
            orphans.push(name);
        }
    }
    assert!(orphans.is_empty(), "no test names these fixtures:\n{}", orphans.join("\n"));
}

/// `docs/EVIDENCE.md` names tests, cases and recordings that exist.
#[test]
fn what_is_called_evidence_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/EVIDENCE.md")).expect("the document");
    let sources: String = all_sources().into_iter().map(|(_, text)| text).collect();
    let mut missing = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let held = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        for name in held.split('`').skip(1).step_by(2) {
            let there = match name.ends_with(".txt") {
                true => root.join("fixtures").join(name).exists(),
                false => [format!("fn {name}("), format!("\"{name}\""), format!("\"{name}::")]
                    .iter()
                    .any(|form| sources.contains(form)),
            };
            if !there {
                missing.push(name.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}
