//! What a member finds in its data directory: the state, and what Zab must know of the log.

use std::collections::VecDeque;

use super::disk::Options;
use crate::state::{StateLoader, StateMachine};
use crate::storage::recovery::Origin;
use crate::storage::{self, LogOptions, RecoveryOptions, TxnLog, epoch, recover};
use crate::types::Zxid;
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
    /// Transactions replayed from the log.
    pub replayed: u64,
    /// What was passed over, cut or removed; for the log.
    pub notes: Vec<String>,
}

/// Reads the data directory and repairs what a crash left, as far as that loses nothing that was
/// promised.
///
/// A damaged log is an error: the caller sets the files aside if told to, and starts again with
/// nothing and [`Standing::MustResync`].
pub fn start(
    options: &Options,
    log_options: LogOptions,
    commit_log_count: usize,
) -> storage::Result<Started> {
    let new_sink = || StateLoader::new(options.state);
    let recovery = RecoveryOptions { read_only: false, ..options.recovery };
    let mut found = recover(&options.disk, &options.dirs, &recovery, new_sink)?;
    let mut notes: Vec<String> = Vec::new();
    for skipped in &found.skipped {
        notes.push(format!("{}: {}, passed over", skipped.path.display(), skipped.why));
    }
    let standing = match found.origin {
        Origin::Suspect => Standing::MustResync,
        Origin::Snapshot { .. } | Origin::Fresh | Origin::LogOnly => Standing::Sound,
    };
    let fresh = matches!(found.origin, Origin::Fresh | Origin::LogOnly | Origin::Suspect);
    let mut state = found.sink.finish(found.base.zxid, found.base.digest);
    let mut recent: VecDeque<EncodedTxn> = VecDeque::new();
    let mut recent_after = found.base.zxid;
    let mut changes = Vec::new();
    while let Some(logged) = found.replay.next()? {
        state.apply(&logged.entry, &mut changes);
        changes.clear();
        recent.push_back(EncodedTxn::new(logged.entry.header.zxid, logged.bytes));
        if recent.len() > commit_log_count
            && let Some(oldest) = recent.pop_front()
        {
            recent_after = oldest.zxid;
        }
    }
    let end = found.replay.finish(true)?;
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
    Ok(Started { state, disk, log, fresh, replayed: end.replayed, notes })
}
