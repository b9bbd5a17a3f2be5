//! `rookeeper snapshot dump|check`: snapshots without a server (Apache's `SnapshotFormatter`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Subcommand;

use super::txnlog::{Failure, version_dir};
use crate::ops::format::date;
use crate::proto::image::{ImageNode, ImageSink, NodeView};
use crate::storage::disk::RealDisk;
use crate::storage::names::{self, Named};
use crate::storage::snapshot::{self, NullSink, SnapshotInfo};
use crate::types::{Acl, Zxid};

/// Commands about snapshots.
#[derive(Subcommand, Debug)]
pub enum SnapshotCommand {
    /// Print every node and session, as Apache's zkSnapShotToolkit does
    Dump {
        /// snapshot.<zxid>, or a directory: the newest in it
        path: PathBuf,
        /// Print the data, too, in base64
        #[arg(short, long)]
        data: bool,
    },
    /// Read everything and say what is damaged; exit code 8 when something is
    Check {
        /// snapshot.<zxid>, or a data directory: all in it
        path: PathBuf,
    },
}

/// Does it; the number is the exit code.
pub fn run(command: SnapshotCommand) -> u8 {
    let done = match command {
        SnapshotCommand::Dump { path, data } => files(&path).and_then(|files| match files.last() {
            Some(newest) => dump(newest, data).map(|text| super::say(&text)),
            None => Err(none_in(&path)),
        }),
        SnapshotCommand::Check { path } => files(&path).and_then(|files| match files.is_empty() {
            true => Err(none_in(&path)),
            false => check(&files).map_err(Failure::Damaged),
        }),
    };
    Failure::tell(done)
}

fn none_in(path: &Path) -> Failure {
    Failure::Argument(format!("there is no snapshot in {}", path.display()))
}

/// The snapshots of a directory, oldest first, or the one that was named.
fn files(path: &Path) -> Result<Vec<Named>, Failure> {
    if path.is_dir() {
        return names::snapshots(&RealDisk, &version_dir(path)).map_err(Failure::of);
    }
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
    let bare = name.trim_end_matches(".gz").trim_end_matches(".snappy");
    let zxid = names::zxid_of(bare, "snapshot.").unwrap_or(Zxid(0));
    let unreadable = |e| Failure::Argument(format!("can't read {}: {e}", path.display()));
    let len = std::fs::metadata(path).map_err(unreadable)?.len();
    Ok(vec![Named { zxid, path: path.to_path_buf(), len }])
}

fn check(files: &[Named]) -> Result<(), String> {
    let mut damaged = Vec::new();
    for named in files {
        let name = named.path.display();
        match snapshot::read(&RealDisk, named, &mut NullSink) {
            // What a server does not even try.
            Ok(_) if !snapshot::looks_whole(&RealDisk, named) => {
                damaged.push(format!("{name}: the end is missing"));
            }
            Ok(info) => {
                let digest = match info.digest {
                    Some((zxid, digest)) => format!(", digest {digest} at 0x{:x}", zxid.0),
                    None => String::new(),
                };
                out!("{name}: {} nodes{digest}, fine", info.nodes);
            }
            Err(e) => damaged.push(e.to_string()),
        }
    }
    if damaged.is_empty() { Ok(()) } else { Err(damaged.join("\nerror: ")) }
}

/// What a dump needs of a snapshot.
#[derive(Default)]
struct Contents {
    sessions: Vec<(i64, i32)>,
    /// By the parts of the path, so that parents come first and siblings in order.
    nodes: BTreeMap<Vec<String>, ImageNode>,
}

impl ImageSink for Contents {
    fn session(&mut self, id: i64, timeout_ms: i32) {
        self.sessions.push((id, timeout_ms));
    }

    fn acl(&mut self, _: i64, _: Vec<Acl>) {}

    fn node(&mut self, path: &str, node: NodeView<'_>) -> Result<(), String> {
        self.nodes.insert(path.split('/').skip(1).map(str::to_owned).collect(), node.into());
        Ok(())
    }
}

/// The text of Apache's tool; siblings are in order here, and in that of a hash table there.
fn dump(named: &Named, with_data: bool) -> Result<String, Failure> {
    let mut contents = Contents::default();
    let info: SnapshotInfo =
        snapshot::read(&RealDisk, named, &mut contents).map_err(Failure::of)?;
    // The root counts twice there: it is known by two names.
    let mut out = format!("ZNode Details (count={}):\n", contents.nodes.len() + 1);
    let mut ephemerals: BTreeMap<i64, u64> = BTreeMap::new();
    for (path, node) in &contents.nodes {
        let s = &node.stat;
        *ephemerals.entry(s.ephemeral_owner).or_default() += 1;
        out.push_str(&format!(
            "----\n/{}\n  cZxid = {:#016x}\n  ctime = {}\n  mZxid = {:#016x}\n  mtime = {}\n  \
             pZxid = {:#016x}\n  cversion = {}\n  dataVersion = {}\n  aclVersion = {}\n  \
             ephemeralOwner = {:#016x}\n",
            path.join("/"),
            s.czxid,
            date(s.ctime),
            s.mzxid,
            date(s.mtime),
            s.pzxid,
            s.cversion,
            s.version,
            s.aversion,
            s.ephemeral_owner,
        ));
        let bytes = node.data.as_deref().unwrap_or_default();
        if with_data {
            out.push_str(&format!("  data = {}\n", BASE64.encode(bytes)));
        } else {
            out.push_str(&format!("  dataLength = {}\n", bytes.len()));
        }
    }
    out.push_str("----\nSession Details (sid, timeout, ephemeralCount):\n");
    for (id, timeout) in &contents.sessions {
        let count = ephemerals.get(id).copied().unwrap_or(0);
        out.push_str(&format!("{id:#016x}, {timeout}, {count}\n"));
    }
    let last = info.last_processed.unwrap_or(named.zxid);
    out.push_str(&format!("----\nLast zxid: 0x{:x}\n", last.0));
    Ok(out)
}

#[cfg(test)]
mod tests;
