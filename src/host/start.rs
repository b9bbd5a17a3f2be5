//! What a member finds in its data directory: the state, and what Zab must know of the log.

use std::collections::VecDeque;
use std::path::Path;

use super::files::Options;
use super::load::{self, Builder};
use crate::state::StateMachine;
use crate::storage::bond;
use crate::storage::names::RESYNC_MARK;
use crate::storage::recovery::Origin;
use crate::storage::{self, LogOptions, Recovered, RecoveryOptions, TxnLog, epoch, recover};
use crate::types::{WallTime, Zxid};
use crate::zab::{DiskState, EncodedTxn, Standing};

/// A member's memory after its start.
pub struct Started {
    /// Everything that is logged, applied.
    pub state: StateMachine,
    /// For Zab.
    pub disk: DiskState,
    /// The log, to go on with.
    pub log: TxnLog,
    /// The directory was empty: `snapshot.0` should be written.
    pub fresh: bool,
    /// Where the state began.
    pub origin: Origin,
    /// The transaction that recovery began with: the snapshot's.
    pub recovered: Zxid,
    /// Transactions replayed from the log.
    pub replayed: u64,
    /// What was passed over, cut or removed; for the log.
    pub notes: Vec<String>,
}

/// Reads the data directory and repairs what a crash left, as far as that loses nothing that was
/// promised.
///
/// A member whose log or snapshots are damaged does not vote on what is left of them: they are set
/// aside, and it starts with nothing and [`Standing::MustResync`], which a mark on the disk keeps
/// over restarts. `new_builder` makes who builds the state, one per snapshot tried.
///
/// # Errors
/// What the disk says; damage only where it can't be set aside.
pub fn start<B: Builder>(
    options: &Options,
    log_options: LogOptions,
    commit_log_count: usize,
    now: WallTime,
    mut new_builder: impl FnMut() -> B,
) -> storage::Result<Started> {
    match recover_all(options, log_options, commit_log_count, &mut new_builder) {
        Err(error) if is_damage(options, &error) => {
            let aside = set_aside(options, &error, now)?;
            let mut started = recover_all(options, log_options, commit_log_count, new_builder)?;
            started.notes.insert(
                0,
                format!(
                    "{error}; all logs and snapshots are in {aside} now, and this member does not \
                     vote until it has got the ensemble's history from a leader"
                ),
            );
            Ok(started)
        }
        result => result,
    }
}

/// Whether a member must set aside what it has. Logs without a snapshot are damage where a crash came
/// in the middle of setting them aside, of which any part may have happened.
fn is_damage(options: &Options, error: &storage::Error) -> bool {
    match error {
        storage::Error::Corrupt { .. }
        | storage::Error::Missing { .. }
        | storage::Error::Gap { .. }
        | storage::Error::NoUsableSnapshot { .. } => true,
        storage::Error::NoSnapshotButLogs { .. } => must_resync(options),
        _ => false,
    }
}

/// Whether this member has lost its history, and knows it.
fn must_resync(options: &Options) -> bool {
    options.disk.exists(&options.dirs.snapshots.join(RESYNC_MARK))
}

/// Moves logs and snapshots out of the way; the epochs stay, because what was promised with them
/// still binds.
fn set_aside(options: &Options, why: &storage::Error, now: WallTime) -> storage::Result<String> {
    let disk = &*options.disk;
    let dirs = &options.dirs;
    // First of all: a crash on the way must not leave a voter with half of its files.
    let text = format!("{why}\n");
    epoch::write_atomic(disk, &dirs.snapshots, RESYNC_MARK, text.as_bytes())?;
    let name = format!("damaged-{}", now.0);
    let io = |op, path: &Path, source| storage::Error::Io { op, path: path.to_owned(), source };
    for dir in [&dirs.snapshots, &dirs.logs] {
        let aside = dir.join(&name);
        let files = disk.list(dir).map_err(|e| io("list", dir, e))?;
        let kept = [epoch::ACCEPTED, epoch::CURRENT, RESYNC_MARK, bond::PLACE, bond::NUMBER];
        let moving: Vec<_> =
            files.into_iter().filter(|(file, _)| !kept.contains(&file.as_str())).collect();
        if moving.is_empty() {
            continue;
        }
        disk.create_dir_all(&aside).map_err(|e| io("create", &aside, e))?;
        for (file, _) in moving {
            let from = dir.join(&file);
            disk.rename(&from, &aside.join(&file)).map_err(|e| io("rename", &from, e))?;
        }
        disk.sync_dir(&aside).map_err(|e| io("sync", &aside, e))?;
        disk.sync_dir(dir).map_err(|e| io("sync", dir, e))?;
    }
    Ok(dirs.logs.join(name).display().to_string())
}

/// Forgets that this member had lost its history: it holds a leader's again, durably.
///
/// # Errors
/// What the disk says.
pub fn resynced(options: &Options) -> storage::Result<()> {
    let path = options.dirs.snapshots.join(RESYNC_MARK);
    let io = |op, source| storage::Error::Io { op, path: path.clone(), source };
    if options.disk.exists(&path) {
        options.disk.remove(&path).map_err(|e| io("remove", e))?;
        options.disk.sync_dir(&options.dirs.snapshots).map_err(|e| io("sync", e))?;
    }
    Ok(())
}

fn recover_all<B: Builder>(
    options: &Options,
    log_options: LogOptions,
    commit_log_count: usize,
    new_builder: impl FnMut() -> B,
) -> storage::Result<Started> {
    let recovery = RecoveryOptions { read_only: false, ..options.recovery };
    let found = recover(&options.disk, &options.dirs, &recovery, new_builder)?;
    let Recovered { sink, origin, base, skipped, replay } = found;
    let mut notes: Vec<String> = Vec::new();
    for skipped in &skipped {
        notes.push(format!("{}: {}, passed over", skipped.path.display(), skipped.why));
    }
    let lost = must_resync(options);
    let standing = match origin {
        _ if lost => Standing::MustResync,
        Origin::Suspect => Standing::MustResync,
        Origin::Snapshot { .. } | Origin::Fresh | Origin::LogOnly => Standing::Sound,
    };
    let fresh = matches!(origin, Origin::Fresh | Origin::LogOnly);
    let mut recent: VecDeque<EncodedTxn> = VecDeque::new();
    let mut recent_after = base.zxid;
    let (mut state, end) = load::replay(sink, base, replay, |logged| {
        recent.push_back(EncodedTxn::new(logged.entry.header.zxid, logged.bytes.clone()));
        if recent.len() > commit_log_count
            && let Some(oldest) = recent.pop_front()
        {
            recent_after = oldest.zxid;
        }
    })?;
    notes.extend(end.notes);
    let epochs = epoch::load_epochs(&*options.disk, &options.dirs.snapshots, end.last)?;
    let log = TxnLog::new(options.disk.clone(), options.dirs.clone(), log_options, end.last);
    let disk = DiskState {
        accepted_epoch: epochs.accepted,
        current_epoch: epochs.current,
        last: end.last,
        recent: recent.into(),
        recent_after,
        standing,
    };
    if end.last == Zxid::ZERO {
        state.set_last_zxid(Zxid::ZERO);
    }
    Ok(Started {
        state,
        disk,
        log,
        fresh,
        origin,
        recovered: base.zxid,
        replayed: end.replayed,
        notes,
    })
}

#[cfg(test)]
mod tests;
