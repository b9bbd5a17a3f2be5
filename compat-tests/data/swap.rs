//! One data directory, two programs in turn.

use super::{dump, long_lived, make};
use crate::differential::exec;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Kind, Server};
use crate::harness::tools::{self, Level};

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    let settings: &[(&str, &[(&str, &str)])] = &[
        ("plain", &[]),
        ("small-snapshots", &[("zookeeper.snapCount", "12")]),
        ("gz", &[("zookeeper.snapCount", "12"), ("zookeeper.snapshot.compression.method", "gz")]),
        (
            "snappy",
            &[("zookeeper.snapCount", "12"), ("zookeeper.snapshot.compression.method", "snappy")],
        ),
    ];
    for (name, properties) in settings {
        for kill in [false, true] {
            let how = if kill { "killed" } else { "stopped" };
            suite.add("swap", format!("{name}-{how}"), Level::Quick, move || {
                tools::need("java")?;
                swap(properties, kill, &[Kind::Rookeeper, Kind::apache(), Kind::Rookeeper])
            });
        }
    }
    suite.add("swap", "apache-only", Level::Full, || {
        tools::need("java")?;
        swap(&[("zookeeper.snapCount", "12")], true, &[Kind::apache(), Kind::apache()])
    });
}

/// Runs the programs one after another on one directory: each must show what the one before left,
/// then writes more.
fn swap(properties: &[(&str, &str)], kill: bool, kinds: &[Kind]) -> Outcome {
    let dir = TempDir::new("swap");
    let mut left: Option<String> = None;
    for (round, kind) in kinds.iter().enumerate() {
        let mut server = long_lived(Server::new(kind.clone(), dir.path()))
            .property("zookeeper.forceSync", "yes");
        for (key, value) in properties {
            server = server.property(key, value);
        }
        server.start()?;
        let shown = dump::dump(&server)?;
        if let Some(left) = &left
            && tree(left) != tree(&shown)
        {
            let only = |a: &str, b: &str| -> String {
                let b: Vec<&str> = b.lines().collect();
                a.lines().filter(|l| !b.contains(l)).take(8).collect::<Vec<_>>().join("\n  ")
            };
            return Err(Stop::failed(format!(
                "{} shows something else than {} left\nleft:\n  {}\nshown:\n  {}\n{}",
                kind.name(),
                kinds[round - 1].name(),
                only(left, &shown),
                only(&shown, left),
                server.log_tail()
            )));
        }
        let mntr = server.four("mntr")?;
        let mismatches = mntr.lines().find(|l| l.starts_with("zk_digest_mismatches_count"));
        if mismatches.is_some_and(|l| !l.ends_with("\t0")) {
            return Err(Stop::failed(format!("{}: {mismatches:?}", kind.name())));
        }
        let steps: Vec<String> = if round == 0 {
            make::STEPS.iter().map(|s| s.to_string()).collect()
        } else {
            more(round)
        };
        exec::run(&steps, &mut server, false)?;
        // The dump's own session is a transaction like any other; it was closed.
        left = Some(dump::dump(&server)?);
        if kill {
            server.kill9();
        } else if !server.stop() {
            return Err(Stop::failed(format!("{} does not stop", kind.name())));
        }
    }
    Ok(String::new())
}

fn more(round: usize) -> Vec<String> {
    let mut steps = vec![format!("connect r{round} timeout=3600000")];
    for i in 0..20 {
        steps.push(format!("r{round} create /round{round}-{i} \"d\" open {}", i % 4));
    }
    steps.push(format!("r{round} setData /p \"{round}\" -1"));
    steps.push(format!("r{round} delete /round{round}-0 -1"));
    steps
}

/// The lines that must be the same: nodes and sessions. The zxid moves with the dump's own session.
fn tree(dump: &str) -> Vec<&str> {
    dump.lines().filter(|l| !l.starts_with("zxid ")).collect()
}
