//! What a server finds in its data directory: the newest usable snapshot, then the log.

use crate::proto::image::{ImageSink, ImageTail, NodeView};
use crate::proto::txn::TxnEntry;
use crate::state::{NodeBatch, Options, StateLoader, StateMachine};
use crate::storage::disk::DiskRef;
use crate::storage::recovery::{Origin, Skipped};
use crate::storage::{Dirs, Error, Logged, Recovered, RecoveryOptions, ReplayEnd, recover};
use crate::types::{Acl, SessionId, Zxid};

/// Makes a state of an image and the transactions behind it: [`Inline`], or on another thread.
pub trait Builder: ImageSink {
    /// The image is whole, or there is none: only transactions follow.
    fn begin(&mut self, base: ImageTail);
    /// The next transaction.
    fn txn(&mut self, entry: TxnEntry);
    /// The state with everything applied.
    fn finish(self) -> StateMachine;
}

/// Transactions that a [`Builder`] gathers before it applies them.
pub const TXNS_TOGETHER: usize = 256;

/// The builder that does everything at once, where it is called.
#[derive(Debug)]
pub struct Inline {
    stage: Stage,
    txns: Vec<TxnEntry>,
}

#[derive(Debug)]
enum Stage {
    Image(Box<StateLoader>),
    Log(Box<StateMachine>),
}

impl Inline {
    /// Without anything.
    pub fn new(options: Options) -> Inline {
        Inline { stage: Stage::Image(Box::new(StateLoader::new(options))), txns: Vec::new() }
    }

    /// Adds nodes to the image.
    ///
    /// # Errors
    /// As [`ImageSink::node`].
    pub fn nodes(&mut self, batch: &NodeBatch) -> Result<(), String> {
        self.loader().nodes(batch)
    }

    /// Applies transactions.
    pub fn txns(&mut self, txns: &[TxnEntry]) {
        if let Stage::Log(state) = &mut self.stage {
            state.replay(txns);
        }
    }

    fn loader(&mut self) -> &mut StateLoader {
        match &mut self.stage {
            Stage::Image(loader) => loader,
            Stage::Log(_) => panic!("a node behind the image: a caller's bug"),
        }
    }
}

impl ImageSink for Inline {
    fn session(&mut self, id: i64, timeout_ms: i32) {
        self.loader().session(id, timeout_ms);
    }
    fn acl(&mut self, index: i64, acl: Vec<Acl>) {
        self.loader().acl(index, acl);
    }
    fn node(&mut self, path: &str, node: NodeView<'_>) -> Result<(), String> {
        self.loader().node(path, node)
    }
}

impl Builder for Inline {
    fn begin(&mut self, base: ImageTail) {
        let none = StateLoader::new(Options::default());
        let loader = std::mem::replace(self.loader(), none);
        self.stage = Stage::Log(Box::new(loader.finish(base.zxid, base.digest)));
    }

    fn txn(&mut self, entry: TxnEntry) {
        self.txns.push(entry);
        if self.txns.len() == TXNS_TOGETHER {
            let txns = std::mem::take(&mut self.txns);
            self.txns(&txns);
        }
    }

    fn finish(mut self) -> StateMachine {
        if matches!(self.stage, Stage::Image(_)) {
            self.begin(ImageTail::default());
        }
        let txns = std::mem::take(&mut self.txns);
        self.txns(&txns);
        match self.stage {
            Stage::Log(state) => *state,
            Stage::Image(_) => unreachable!("begun above"),
        }
    }
}

/// A recovered state and what the shell must know of it.
#[derive(Debug)]
pub struct Loaded {
    /// As of the last transaction on disk.
    pub state: StateMachine,
    /// The last transaction, -1 when the database may not be used (no `initialize` file).
    pub last: Zxid,
    /// Where the state began.
    pub origin: Origin,
    /// The transaction it began with: the snapshot's.
    pub base: Zxid,
    /// Transactions replayed from the log.
    pub replayed: u64,
    /// Snapshots that were passed over.
    pub skipped: Vec<Skipped>,
    /// What was cut or removed from the log.
    pub notes: Vec<String>,
    /// Sessions that were gone although their ephemerals were there; now those are gone too.
    pub dead: Vec<SessionId>,
}

impl Loaded {
    /// Whether there was nothing on disk, and that is right.
    pub fn is_fresh(&self) -> bool {
        matches!(self.origin, Origin::Fresh)
    }
}

/// Replays the log behind a recovered image, telling `each` of every transaction; then repairs torn
/// tails.
///
/// # Errors
/// Damage and holes, with file and offset.
pub(super) fn replay<B: Builder>(
    mut builder: B,
    base: ImageTail,
    mut replay: crate::storage::Replay,
    mut each: impl FnMut(&Logged),
) -> Result<(StateMachine, ReplayEnd), Error> {
    builder.begin(base);
    while let Some(logged) = replay.next()? {
        each(&logged);
        builder.txn(logged.entry);
    }
    let end = replay.finish(true)?;
    Ok((builder.finish(), end))
}

/// Loads what is on disk, for a server alone: repairs torn tails, removes ephemerals of sessions that
/// are gone. `new_builder` makes who builds the state, one per snapshot tried.
///
/// # Errors
/// Every reason not to start; damage names file and offset.
pub fn load<B: Builder>(
    disk: &DiskRef,
    dirs: &Dirs,
    recovery: &RecoveryOptions,
    new_builder: impl FnMut() -> B,
) -> Result<Loaded, Error> {
    let found = recover(disk, dirs, recovery, new_builder)?;
    let Recovered { sink, origin, base, skipped, replay: log } = found;
    let (mut state, end) = replay(sink, base, log, |_| ())?;
    let dead = state.kill_dead_sessions(&mut Vec::new());
    let suspect = matches!(origin, Origin::Suspect);
    Ok(Loaded {
        state,
        last: if suspect { Zxid(-1) } else { end.last },
        origin,
        base: base.zxid,
        replayed: end.replayed,
        skipped,
        notes: end.notes,
        dead,
    })
}

#[cfg(test)]
mod tests;
