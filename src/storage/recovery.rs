//! From files to a state: the newest snapshot that can be read, then the log.
//!
//! Composed by the caller: this layer knows neither the tree nor how transactions change it. The
//! rules are Apache's (`FileTxnSnapLog.restore`), with its silences made errors; see
//! `docs/STORAGE.md`.

use std::path::PathBuf;

use super::bond;
use super::disk::DiskRef;
use super::epoch::take_initialize_marker;
use super::names::{self, Dirs};
use super::replay::Replay;
use super::snapshot::{self, SnapshotInfo};
use super::{Error, IoContext, Result, truncate};
use crate::proto::image::{ImageSink, ImageTail};
use crate::types::Zxid;

/// How many snapshots are tried.
const CANDIDATES_MAX: usize = 100;

/// Settings that recovery obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryOptions {
    /// `zookeeper.snapshot.trust.empty`: a log without a snapshot is replayed from its start.
    pub trust_empty: bool,
    /// `zookeeper.db.autocreate`: an empty directory is an empty database. Off: only with an
    /// `initialize` file.
    pub db_autocreate: bool,
    /// `zookeeper.datadir.autocreate`: missing directories are created.
    pub datadir_autocreate: bool,
    /// Change nothing: for tools that only look.
    pub read_only: bool,
    /// Any number: what binds snapshots and log in different directories that no number binds yet.
    pub new_id: Option<u64>,
}

impl Default for RecoveryOptions {
    fn default() -> Self {
        RecoveryOptions {
            trust_empty: false,
            db_autocreate: true,
            datadir_autocreate: true,
            read_only: false,
            new_id: None,
        }
    }
}

/// A snapshot that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// Where the state begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A snapshot, loaded into the sink.
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What it holds.
        info: SnapshotInfo,
    },
    /// An empty directory, and that's right: write `snapshot.0` before serving (Apache does), start
    /// at zxid 0.
    Fresh,
    /// An empty directory without permission to be one (`zookeeper.db.autocreate` off, no
    /// `initialize`): the member starts at zxid -1 and must not vote.
    Suspect,
    /// A log without a snapshot, trusted because the operator said so.
    LogOnly,
}

/// A loaded snapshot and the transactions to apply to it.
#[derive(Debug)]
pub struct Recovered<S> {
    /// The sink that holds the image; never fed unless the origin is a snapshot.
    pub sink: S,
    /// Where the state begins.
    pub origin: Origin,
    /// zxid of the image (from the file's name) and its digest, if any.
    pub base: ImageTail,
    /// Snapshots that were passed over, newest first.
    pub skipped: Vec<Skipped>,
    /// The transactions after the image.
    pub replay: Replay,
}

/// Loads the newest usable snapshot into a sink from `new_sink` (one per attempt) and opens the log
/// behind it.
///
/// # Errors
/// Every reason not to start, see [`Error`]; damage names file and offset.
pub fn recover<S: ImageSink>(
    disk: &DiskRef,
    dirs: &Dirs,
    options: &RecoveryOptions,
    mut new_sink: impl FnMut() -> S,
) -> Result<Recovered<S>> {
    dirs.prepare(&**disk, options.datadir_autocreate && !options.read_only)?;
    if !options.read_only {
        dirs.check_writable(&**disk)?;
        bond::check(&**disk, dirs, options.new_id)?;
        truncate::complete_install(&**disk, dirs)?;
        names::remove_leftovers(&**disk, &dirs.snapshots)?;
        disk.sync_dir(&dirs.snapshots).at("sync", &dirs.snapshots)?;
    }
    let mut skipped = Vec::new();
    let mut tried = 0;
    let mut invalid = 0;
    for named in names::snapshots(&**disk, &dirs.snapshots)?.iter().rev() {
        if tried == CANDIDATES_MAX {
            break;
        }
        if let Some(why) = snapshot::flaw(&**disk, named) {
            invalid += usize::from(named.zxid > Zxid::ZERO);
            let why = why.to_owned();
            skipped.push(Skipped { path: named.path.clone(), why });
            continue;
        }
        tried += 1;
        let mut sink = new_sink();
        match snapshot::read(&**disk, named, &mut sink) {
            Ok(info) => {
                let replay = Replay::open(disk.clone(), dirs.clone(), named.zxid)?;
                return Ok(Recovered {
                    sink,
                    origin: Origin::Snapshot { path: named.path.clone(), info },
                    base: ImageTail { zxid: named.zxid, digest: info.digest },
                    skipped,
                    replay,
                });
            }
            Err(e) => skipped.push(Skipped { path: named.path.clone(), why: e.to_string() }),
        }
    }
    let replay = Replay::open(disk.clone(), dirs.clone(), Zxid::ZERO)?;
    let origin = if tried > 0 {
        return Err(no_usable(dirs, &skipped));
    } else if replay.has_logs() {
        if !options.trust_empty {
            let dir = dirs.snapshots.clone();
            let flaw = skipped.first().map(|s| format!(" ({}: {})", s.path.display(), s.why));
            return Err(Error::NoSnapshotButLogs { dir, flaw: flaw.unwrap_or_default() });
        }
        Origin::LogOnly
    } else if invalid > 0 {
        // Apache starts empty here. A broken `snapshot.0` alone is what a kill during the very
        // first start leaves; any other was a database.
        return Err(no_usable(dirs, &skipped));
    } else if options.db_autocreate
        || !options.read_only && take_initialize_marker(&**disk, &dirs.logs)?
    {
        if !options.read_only {
            take_initialize_marker(&**disk, &dirs.logs)?;
        }
        Origin::Fresh
    } else {
        Origin::Suspect
    };
    Ok(Recovered { sink: new_sink(), origin, base: ImageTail::default(), skipped, replay })
}

fn no_usable(dirs: &Dirs, skipped: &[Skipped]) -> Error {
    Error::NoUsableSnapshot {
        dir: dirs.snapshots.clone(),
        count: skipped.len(),
        first: skipped
            .first()
            .map(|s| format!("{}: {}", s.path.display(), s.why))
            .unwrap_or_default(),
    }
}
