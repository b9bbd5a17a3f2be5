//! Drives Apache servers and keeps the directories they leave behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{dump, folder, long_lived};
use crate::differential::exec;
use crate::harness::apache;
use crate::harness::client::Session;
use crate::harness::ports::{TempDir, copy_dir};
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::{Ensemble, Kind, Server};

/// How the server ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// SIGTERM.
    Stop,
    /// SIGKILL.
    Kill,
    /// SIGKILL, and the last record of the log is cut in two.
    Torn,
}

/// One directory to make.
pub struct Case {
    name: &'static str,
    version: &'static str,
    properties: &'static [(&'static str, &'static str)],
    end: End,
    load: bool,
}

impl Case {
    /// Its folder below `fixtures/data`.
    pub fn folder(&self) -> String {
        format!("apache-{}/{}", self.version, self.name)
    }
}

const fn case(name: &'static str, end: End) -> Case {
    Case { name, version: apache::REFERENCE, properties: &[], end, load: false }
}

const SMALL: &[(&str, &str)] = &[("zookeeper.snapCount", "12")];
const FUZZY: &[(&str, &str)] = &[("zookeeper.snapCount", "150")];
const GZ: &[(&str, &str)] =
    &[("zookeeper.snapCount", "12"), ("zookeeper.snapshot.compression.method", "gz")];
const SNAPPY: &[(&str, &str)] =
    &[("zookeeper.snapCount", "12"), ("zookeeper.snapshot.compression.method", "snappy")];
const NO_DIGEST: &[(&str, &str)] =
    &[("zookeeper.snapCount", "12"), ("zookeeper.digest.enabled", "false")];

/// All directories that one standalone server makes.
pub const CASES: &[Case] = &[
    case("clean", End::Stop),
    case("killed", End::Kill),
    case("torn", End::Torn),
    Case { properties: SMALL, ..case("rolled", End::Stop) },
    Case { properties: FUZZY, load: true, ..case("fuzzy", End::Kill) },
    Case { properties: GZ, ..case("gz", End::Stop) },
    Case { properties: SNAPPY, ..case("snappy", End::Stop) },
    Case { properties: NO_DIGEST, ..case("no-digest", End::Stop) },
    Case { version: "3.8.4", properties: SMALL, ..case("rolled", End::Kill) },
    Case { version: "3.7.2", properties: SMALL, ..case("rolled", End::Kill) },
    Case { version: "3.6.4", properties: SMALL, ..case("rolled", End::Kill) },
    Case { version: "3.5.10", properties: SMALL, ..case("rolled", End::Kill) },
];

/// What clients do before the server ends: every kind of transaction.
pub const STEPS: &[&str] = &[
    "connect a timeout=3600000",
    "connect b timeout=3600000",
    "a auth digest bob:pw",
    "a create /p \"1\" open 0",
    "a create /null ~ open 0",
    "a create /empty \"\" open 0",
    "a create /e1 \"mine\" open 1",
    "b create /e2 \"yours\" open 1",
    "a create /p/s- \"a\" open 2",
    "a create /p/s- \"b\" open 2",
    "a create /p/s- \"c\" open 3",
    "a create2 /two \"2\" open 0",
    "a createContainer /c \"c\" open 4",
    "a create /c/k \"k\" open 0",
    "a createContainer /c2 ~ open 4",
    "a createTTL /ttl \"t\" open 5 86400000",
    "a createTTL /ttl/s- \"t\" open 6 1099511627775",
    "a create /bob \"secret\" 31:auth:,1:world:anyone 0",
    "a create /ip ~ 31:ip:127.0.0.1,1:ip:10.0.0.0/8 0",
    "a setData /p \"2\" -1",
    "a setData /p \"3\" 1",
    "a setData /p \"x\" 99",
    "a setACL /two read -1",
    "a setACL /two open -1",
    "a delete /p/s-0000000001 -1",
    "a delete /none -1",
    "a multi [ create /m \"m\" open 0 ; create /m/k ~ open 0 ; setData /m \"n\" 0 ; check /m 1 ; delete /m/k -1 ]",
    "a multi [ create /f ~ open 0 ; delete /none -1 ]",
    "a multi [ create /m/e ~ open 1 ; create /m/s- ~ open 2 ]",
    "a create \"/\\u{4e2d}\\u{6587}\" \"u\" open 0",
    "a create /zookeeper/quota/p ~ open 0",
    "a create /zookeeper/quota/p/zookeeper_limits \"count=5,bytes=-1\" open 0",
    "a create /zookeeper/quota/p/zookeeper_stats \"count=0,bytes=0\" open 0",
    "a create /p/late \"l\" open 0",
    "connect gone timeout=3600000",
    "gone create /g1 ~ open 1",
    "gone create /g2 ~ open 1",
    "gone closeSession",
    "b setData /e2 \"\\x00\\xff\" -1",
    "a setData /null ~ -1",
    "a delete /empty -1",
    "a create /last \"end\" open 0",
];

/// The steps that a release understands.
fn steps(version: &str) -> Vec<String> {
    let old = version.starts_with("3.5.") || version.starts_with("3.4.");
    let kept = |s: &&&str| !(old && (s.contains("createTTL") && s.contains("109951")));
    STEPS.iter().filter(kept).map(|s| s.to_string()).collect()
}

/// Makes one directory and what Apache shows of it.
pub fn record(case: &Case) -> Outcome {
    crate::harness::tools::need("java")?;
    let dir = TempDir::new("make");
    let kind = Kind::Apache(case.version.to_string());
    let mut server = small(long_lived(Server::new(kind, dir.path())));
    for (key, value) in case.properties {
        server = server.property(key, value);
    }
    server.start()?;
    exec::run(&steps(case.version), &mut server, false)?;
    if case.load {
        load(&server)?;
    }
    if case.end == End::Stop {
        server.stop();
    }
    server.kill9();
    if case.end == End::Torn {
        tear(&server.data_dir())?;
    }
    // Apache with digests on cannot read a snapshot written with digests off.
    let kept: Vec<(&str, &str)> =
        case.properties.iter().filter(|(k, _)| k.contains("digest")).copied().collect();
    keep(&server.data_dir(), &case.folder(), case.version, &kept)
}

/// Small log files, so that kept directories stay light.
fn small(server: Server) -> Server {
    server.property("zookeeper.preAllocSize", "4").property("zookeeper.forceSync", "yes")
}

/// Several writers at once, over many nodes, while snapshots are taken.
fn load(server: &Server) -> Result<(), Stop> {
    let address = server.address();
    let writers: Vec<_> = (0..4)
        .map(|w| {
            std::thread::spawn(move || -> Result<(), String> {
                let mut s = Session::open(address, 3_600_000)?;
                s.create(&format!("/load{w}"), b"", 0)?;
                for i in 0..150 {
                    let path = format!("/load{w}/n{}", i % 90);
                    if s.create(&path, b"v", 0)? == -110 {
                        if i % 3 == 0 {
                            s.delete(&path)?;
                        } else {
                            s.set(&path, format!("v{i}").as_bytes())?;
                        }
                    }
                    if i % 10 == 0 {
                        s.create(&format!("/load{w}/e-"), b"", 3)?;
                    }
                }
                s.abandon();
                Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.join().map_err(|_| Stop::failed("a writer panicked"))??;
    }
    Ok(())
}

/// The newest log file.
fn newest_log(data: &Path) -> Result<PathBuf, Stop> {
    let mut logs: Vec<(u64, PathBuf)> = std::fs::read_dir(data.join("version-2"))?
        .flatten()
        .filter_map(|e| {
            let name = e.file_name().to_string_lossy().into_owned();
            let zxid = u64::from_str_radix(name.strip_prefix("log.")?, 16).ok()?;
            Some((zxid, e.path()))
        })
        .collect();
    logs.sort();
    logs.pop().map(|(_, p)| p).ok_or_else(|| Stop::failed("no log"))
}

/// Cuts the last record in two: half of it is there, zeros follow as in a preallocated file.
fn tear(data: &Path) -> Result<(), Stop> {
    let path = newest_log(data)?;
    let mut bytes = std::fs::read(&path)?;
    let mut at = 16;
    let mut last = None;
    while at + 12 <= bytes.len() {
        let b = &bytes[at + 8..at + 12];
        let len = u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize;
        if len == 0 {
            break;
        }
        last = Some((at, 12 + len + 1));
        at += 12 + len + 1;
    }
    let (start, len) = last.ok_or_else(|| Stop::failed("an empty log"))?;
    bytes[start + len / 2..].fill(0);
    std::fs::write(&path, bytes)?;
    Ok(())
}

/// Keeps a copy of a data directory, with what Apache shows after starting on another copy.
fn keep(data: &Path, name: &str, made_by: &str, properties: &[(&str, &str)]) -> Outcome {
    let target = folder().join(name);
    let _ = std::fs::remove_dir_all(&target);
    copy_dir(data, &target.join("data"))?;
    for extra in ["zookeeper_server.pid"] {
        let _ = std::fs::remove_file(target.join("data").join(extra));
    }
    let dir = TempDir::new("expected");
    copy_dir(data, &dir.join("data"))?;
    let kind = if properties.is_empty() { Kind::Hosted } else { Kind::apache() };
    let mut server = long_lived(Server::new(kind, dir.path()));
    let mut lines = String::new();
    for (key, value) in properties {
        server = server.property(key, value);
        lines.push_str(&format!("#prop {key}={value}\n"));
    }
    server.start()?;
    let text = format!(
        "# Made by Apache ZooKeeper {made_by}; shown by {} after a start on it.\n{lines}{}",
        apache::REFERENCE,
        dump::dump(&server)?
    );
    std::fs::write(target.join("expected.txt"), &text)?;
    Ok(format!("{} lines", text.lines().count()))
}

/// The directory of a member that lived through several leaders.
pub fn record_epochs() -> Outcome {
    crate::harness::tools::need("java")?;
    let dir = TempDir::new("epochs");
    let kinds = vec![Kind::apache(); 3];
    let mut ensemble = Ensemble::new(&kinds, dir.path(), &[]).line("maxSessionTimeout", 86_400_000);
    for member in &mut ensemble.members {
        member.properties.retain(|(k, _)| k != "zookeeper.preAllocSize");
        member.properties.push(("zookeeper.preAllocSize".into(), "4".into()));
        member.properties.push(("zookeeper.snapCount".into(), "30".into()));
    }
    ensemble.start()?;
    let first: Vec<String> = STEPS.iter().map(|s| s.to_string()).collect();
    exec::run(&first, &mut ensemble.members[0], false)?;
    for round in 0..2 {
        let leader = ensemble.leader().ok_or_else(|| Stop::failed("no leader"))?;
        ensemble.members[leader].kill9();
        std::thread::sleep(Duration::from_millis(500));
        ensemble.wait_serving()?;
        let steps: Vec<String> = [
            "connect n timeout=3600000".to_string(),
            format!("n create /epoch{round} \"r\" open 0"),
            format!("n create /epoch{round}/e \"r\" open 1"),
            "n setData /p \"again\" -1".to_string(),
        ]
        .to_vec();
        let other = (0..3).find(|i| *i != leader).expect("three members");
        exec::run(&steps, &mut ensemble.members[other], false)?;
        ensemble.members[leader].start()?;
    }
    let kept = 0;
    for member in &mut ensemble.members {
        member.stop();
    }
    keep(
        &ensemble.members[kept].data_dir(),
        &format!("apache-{}/epochs", apache::REFERENCE),
        apache::REFERENCE,
        &[],
    )
}
