//! Whole trees, read through clients and compared between members.

use std::collections::BTreeMap;

use crate::harness::client::Session;
use crate::harness::jute::{Reader, Writer, hex};
use crate::harness::runner::Stop;
use crate::harness::server::Ensemble;

/// Path to data, ACL-independent stat and child names, as the wire has them.
pub type Tree = BTreeMap<String, String>;

/// Reads the whole tree of one member, after a sync.
pub fn read(ensemble: &Ensemble, member: usize) -> Result<Tree, Stop> {
    let server = &ensemble.members[member];
    let mut session = Session::open(server.address(), 30_000)?;
    let mut w = Writer::new();
    w.string("/");
    session.call(9, &w.bytes)?;
    let mut tree = Tree::new();
    let mut left = vec!["/".to_string()];
    while let Some(path) = left.pop() {
        let mut w = Writer::new();
        w.string(&path).bool(false);
        let (err, body) = session.call(4, &w.bytes)?;
        if err != 0 {
            return Err(Stop::failed(format!("getData {path} at member {}: {err}", member + 1)));
        }
        let children = session.children(&path)?.unwrap_or_default();
        for child in &children {
            left.push(if path == "/" { format!("/{child}") } else { format!("{path}/{child}") });
        }
        // Each server writes its configuration into its own tree, with its own clock.
        let value = match path.as_str() {
            "/zookeeper/config" => hex(Reader::new(&body).buffer().ok().flatten().unwrap_or(&[])),
            _ => hex(&body),
        };
        tree.insert(path, value);
    }
    session.close();
    Ok(tree)
}

/// Whether all running members have the same tree; each `acknowledged` path must be in it.
///
/// Sessions that their clients left behind expire meanwhile, and their nodes with them, so trees that
/// differ are read again for a while.
pub fn all_equal(ensemble: &mut Ensemble, acknowledged: &[String]) -> Result<usize, Stop> {
    let mut outcome = compare(ensemble, acknowledged);
    for _ in 0..20 {
        if outcome.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
        outcome = compare(ensemble, acknowledged);
    }
    outcome
}

fn compare(ensemble: &Ensemble, acknowledged: &[String]) -> Result<usize, Stop> {
    let running: Vec<usize> =
        (0..ensemble.members.len()).filter(|m| ensemble.members[*m].pid().is_some()).collect();
    let first = read(ensemble, running[0])?;
    for &member in &running[1..] {
        let other = read(ensemble, member)?;
        for (path, value) in &first {
            if other.get(path) != Some(value) {
                return Err(Stop::failed(format!(
                    "{path}: member {} has {value}, member {} has {:?}\n{}",
                    running[0] + 1,
                    member + 1,
                    other.get(path),
                    ensemble.log_tails()
                )));
            }
        }
        if let Some(path) = other.keys().find(|path| !first.contains_key(*path)) {
            return Err(Stop::failed(format!("{path}: only at member {}", member + 1)));
        }
    }
    if let Some(path) = acknowledged.iter().find(|path| !first.contains_key(*path)) {
        return Err(Stop::failed(format!(
            "{path} was acknowledged and is lost\n{}",
            ensemble.log_tails()
        )));
    }
    Ok(first.len())
}
