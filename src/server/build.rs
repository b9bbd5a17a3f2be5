//! The builder of a start: a thread of its own makes the state, while the one that called reads,
//! checks and decodes the snapshot and then the log.

use std::cell::Cell;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::host::load::{Builder, Inline, TXNS_TOGETHER};
use crate::ops::Metrics;
use crate::ops::metrics::Basic;
use crate::proto::image::{ImageSink, ImageTail, NodeView};
use crate::proto::txn::TxnEntry;
use crate::state::{NodeBatch, Options, StateMachine};
use crate::types::{Acl, Instant};

use super::clock::Clock;

/// Progress of a long start is said this often.
const PROGRESS: Duration = Duration::from_secs(2);
/// Nodes handed over at once.
const BATCH_NODES: usize = 512;
/// Bytes handed over at once, a single larger node apart.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that may wait between the two threads.
const BATCHES_MAX: usize = 16;

/// What a start took, for `mntr`.
#[derive(Debug)]
pub struct LoadTimes {
    clock: Clock,
    begun: Instant,
    image: Cell<Option<Instant>>,
    done: Cell<Option<Instant>>,
    txns: Cell<u64>,
}

impl LoadTimes {
    /// The start begins now.
    pub fn start(clock: Clock) -> LoadTimes {
        LoadTimes {
            clock,
            begun: clock.mono(),
            image: Cell::new(None),
            done: Cell::new(None),
            txns: Cell::new(0),
        }
    }

    /// How long reading the snapshot took, and how long replaying the log, in ms; zero for what was
    /// not there.
    pub fn parts_ms(&self) -> (u128, u128) {
        let image = self.image.get().unwrap_or(self.begun);
        let done = self.done.get().unwrap_or(image);
        (image.since(self.begun).as_millis(), done.since(image).as_millis())
    }

    /// Adds what was measured to the metrics.
    pub fn record(&self, metrics: &Metrics) {
        let (Some(image), Some(done)) = (self.image.get(), self.done.get()) else { return };
        let ms = |took: Duration| i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        metrics.record(Basic::DbInitTime, ms(done.since(self.begun)));
        metrics.record(Basic::StartupSnapLoadTime, ms(image.since(self.begun)));
        if self.txns.get() == 0 {
            // As in Apache, a start without a log to replay is no sample of replaying.
            return;
        }
        metrics.record(Basic::StartupTxnsLoadTime, ms(done.since(image)));
        let txns = i64::try_from(self.txns.get()).unwrap_or(i64::MAX);
        metrics.record(Basic::StartupTxnsLoaded, txns);
    }
}

/// A part of a state on its way to the thread that builds.
enum Piece {
    Session(i64, i32),
    Acl(i64, Vec<Acl>),
    Nodes(NodeBatch),
    /// Asks for a word that all nodes have been accepted.
    Whole,
    Begin(ImageTail),
    Txns(Vec<TxnEntry>),
}

/// See the module. Says how far it is.
pub struct Build<'a> {
    options: Options,
    times: &'a LoadTimes,
    building: Option<Building>,
    base: Option<ImageTail>,
    batch: NodeBatch,
    txns: Vec<TxnEntry>,
    nodes: u64,
    said: Instant,
}

/// The thread, from the first piece on.
struct Building {
    pieces: SyncSender<Piece>,
    /// Batches that can be filled again: memory that has been touched already.
    spent: Receiver<NodeBatch>,
    whole: Receiver<()>,
    thread: JoinHandle<Result<Inline, String>>,
}

impl<'a> Build<'a> {
    /// Nothing yet; no thread either.
    pub fn new(options: Options, times: &'a LoadTimes) -> Build<'a> {
        Build {
            options,
            times,
            building: None,
            base: None,
            batch: NodeBatch::with_capacity(options, 0),
            txns: Vec::new(),
            nodes: 0,
            said: times.clock.mono(),
        }
    }

    /// Hands a piece over; the builder's reason when it has given up.
    fn send(&mut self, piece: Piece) -> Result<(), String> {
        if self.building.is_none() {
            self.building = Some(start(self.options)?);
        }
        match &self.building {
            Some(building) if building.pieces.send(piece).is_ok() => Ok(()),
            _ => self.join().map(drop),
        }
    }

    /// Waits for the builder's end; None when it never began.
    fn join(&mut self) -> Result<Option<Inline>, String> {
        let Some(Building { pieces, thread, .. }) = self.building.take() else { return Ok(None) };
        drop(pieces);
        match thread.join() {
            Ok(result) => result.map(Some),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let spent = self.building.as_ref().and_then(|building| building.spent.try_recv().ok());
        let next = spent.unwrap_or_else(|| NodeBatch::with_capacity(self.options, BATCH_NODES));
        let batch = std::mem::replace(&mut self.batch, next);
        self.send(Piece::Nodes(batch))
    }

    fn flush_txns(&mut self) {
        let txns = std::mem::replace(&mut self.txns, Vec::with_capacity(TXNS_TOGETHER));
        if let Err(why) = self.send(Piece::Txns(txns)) {
            // Of a snapshot something may be refused; a transaction has a result, whatever it is.
            panic!("nothing is refused behind the image, but: {why}");
        }
    }

    /// Whether something is to be said again.
    fn is_time(&mut self) -> bool {
        let now = self.times.clock.mono();
        let due = now.since(self.said) > PROGRESS;
        if due {
            self.said = now;
        }
        due
    }
}

fn start(options: Options) -> Result<Building, String> {
    let (pieces, to_build) = sync_channel(BATCHES_MAX);
    let (give_back, spent) = channel();
    let (say_whole, whole) = channel();
    let inline = Inline::new(options);
    let thread = std::thread::Builder::new()
        .name("load".into())
        .spawn(move || build(inline, &to_build, &give_back, &say_whole))
        .map_err(|error| format!("can't start a thread: {error}"))?;
    Ok(Building { pieces, spent, whole, thread })
}

/// Puts the pieces together, in order.
fn build(
    mut inline: Inline,
    pieces: &Receiver<Piece>,
    spent: &Sender<NodeBatch>,
    whole: &Sender<()>,
) -> Result<Inline, String> {
    for piece in pieces {
        match piece {
            Piece::Session(id, timeout_ms) => inline.session(id, timeout_ms),
            Piece::Acl(index, acl) => inline.acl(index, acl),
            Piece::Nodes(mut batch) => {
                inline.nodes(&batch)?;
                batch.clear();
                // Nobody waits for it at the end.
                let _ = spent.send(batch);
            }
            Piece::Whole => {
                let _ = whole.send(());
            }
            Piece::Begin(base) => inline.begin(base),
            Piece::Txns(txns) => inline.txns(&txns),
        }
    }
    Ok(inline)
}

impl ImageSink for Build<'_> {
    // A builder that has given up is noticed with the next batch of nodes, or at the end.
    fn session(&mut self, id: i64, timeout_ms: i32) {
        let _ = self.send(Piece::Session(id, timeout_ms));
    }

    fn acl(&mut self, index: i64, acl: Vec<Acl>) {
        let _ = self.send(Piece::Acl(index, acl));
    }

    fn node(&mut self, path: &str, node: NodeView<'_>) -> Result<(), String> {
        self.nodes += 1;
        self.batch.push(path, &node);
        if self.batch.len() < BATCH_NODES && self.batch.bytes() < BATCH_BYTES {
            return Ok(());
        }
        if self.is_time() {
            tracing::info!("loading the snapshot: {} nodes so far", self.nodes);
        }
        self.flush()
    }

    /// Waits until the builder has accepted every node: where it does not, an older snapshot is tried.
    fn end(&mut self) -> Result<(), String> {
        self.flush()?;
        self.send(Piece::Whole)?;
        match &self.building {
            Some(building) if building.whole.recv().is_ok() => Ok(()),
            _ => self.join().map(drop),
        }
    }
}

impl Builder for Build<'_> {
    fn begin(&mut self, base: ImageTail) {
        self.times.image.set(Some(self.times.clock.mono()));
        self.base = Some(base);
        if self.building.is_some() {
            self.begin_txns();
        }
    }

    fn txn(&mut self, entry: TxnEntry) {
        self.begin_txns();
        self.txns.push(entry);
        let txns = &self.times.txns;
        txns.set(txns.get() + 1);
        if self.txns.len() == TXNS_TOGETHER {
            if self.is_time() {
                tracing::info!("replaying the log: {} transactions so far", self.times.txns.get());
            }
            self.flush_txns();
        }
    }

    fn finish(mut self) -> StateMachine {
        if !self.txns.is_empty() {
            self.flush_txns();
        }
        let inline = match self.join() {
            Ok(inline) => inline.unwrap_or_else(|| Inline::new(self.options)),
            Err(why) => panic!("nothing is refused behind the image, but: {why}"),
        };
        let state = inline.finish();
        self.times.done.set(Some(self.times.clock.mono()));
        state
    }
}

impl Build<'_> {
    /// Tells the thread that there is no more of the image.
    fn begin_txns(&mut self) {
        if let Some(base) = self.base.take()
            && let Err(why) = self.send(Piece::Begin(base))
        {
            panic!("nothing is refused behind the image, but: {why}");
        }
    }
}

#[cfg(test)]
mod tests;
