//! The snapshot thread: walks the state in short bursts under the read lock and writes what it saw
//! at one transaction, while the server goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use crate::config::Config;
use crate::host::snapshot::Walk;
use crate::ops::metrics::{Basic, Metrics};
use crate::state::{SnapshotCursor, StateMachine};
use crate::storage::Error;
use crate::storage::disk::DiskRef;
use crate::storage::spool::Spool;

use super::inbox::Inbox;
use super::load;

/// Nodes per burst: some tens of microseconds under the read lock.
const BURST_NODES: usize = 256;
/// The longest pause after a burst.
const PAUSE_MAX: Duration = Duration::from_micros(500);
/// Dead nodes freed while the state is held alone: some tens of microseconds.
const COLLECT_NODES: usize = 256;
/// How often is looked whether an image for learners can go.
const IMAGES_LOOKED_AT: Duration = Duration::from_secs(1);

/// What the snapshot thread counts.
#[derive(Debug, Default)]
pub struct SnapshotStats {
    /// Snapshots written.
    pub count: AtomicU64,
    /// Time of the last one, ms.
    pub last_ms: AtomicU64,
    /// Its zxid; -1 before the first.
    pub last_zxid: AtomicI64,
}

/// Whether the thread is at work, and whether it is to give up.
#[derive(Debug, Default)]
struct Work {
    /// Orders that are not done, and how many there ever were.
    ordered: Mutex<(usize, u64)>,
    idle: Condvar,
    /// Orders through this number are to be given up.
    cancelled: AtomicU64,
    /// Somebody waits for that.
    waited_for: AtomicBool,
    /// The server stops: no pauses any more.
    hurry: AtomicBool,
}

impl Work {
    fn is_cancelled(&self, number: u64) -> bool {
        self.cancelled.load(Ordering::Relaxed) >= number
    }
}

enum What {
    /// A snapshot of the server's own.
    Write(SnapshotCursor),
    /// An image for learners.
    Spool(SnapshotCursor, Arc<Spool>),
    /// Drop a state that another has taken the place of: it takes a second for ten million nodes.
    Drop(Box<StateMachine>),
    Stop,
}

struct Order {
    number: u64,
    what: What,
}

/// The handle to the snapshot thread.
pub struct Snapshotter {
    inbox: Arc<Inbox<Order>>,
    work: Arc<Work>,
    /// What it has counted.
    pub stats: Arc<SnapshotStats>,
    thread: Option<JoinHandle<()>>,
}

impl Snapshotter {
    /// Starts the thread; it sleeps until there is a snapshot to write.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        disk: DiskRef,
        config: Arc<Config>,
        state: Arc<RwLock<StateMachine>>,
        metrics: Arc<Metrics>,
        done: impl Fn() + Send + 'static,
    ) -> std::io::Result<Snapshotter> {
        let inbox: Arc<Inbox<Order>> = Arc::new(Inbox::default());
        let stats = Arc::new(SnapshotStats::default());
        stats.last_zxid.store(-1, Ordering::Relaxed);
        let work = Arc::new(Work::default());
        let (orders, counted) = (Arc::clone(&inbox), Arc::clone(&stats));
        let doing = Arc::clone(&work);
        let mut desk =
            Desk { disk, config, state, metrics, counted, work: doing, images: Vec::new() };
        let thread = std::thread::Builder::new().name("snapshot".into()).spawn(move || {
            let mut taken = Vec::new();
            loop {
                let patience = (!desk.images.is_empty()).then_some(IMAGES_LOOKED_AT);
                orders.take(&mut taken, patience);
                for order in taken.drain(..) {
                    match order.what {
                        What::Write(cursor) => desk.write(order.number, cursor),
                        What::Spool(cursor, spool) => desk.spool(order.number, cursor, spool),
                        What::Drop(state) => {
                            drop(state);
                            continue;
                        }
                        What::Stop => return,
                    }
                    desk.work.ordered.lock().0 -= 1;
                    desk.work.idle.notify_all();
                    done();
                }
                // The last to let an image go has the file system free it, which may take long.
                desk.images.retain(|image| Arc::strong_count(image) > 1);
            }
        })?;
        Ok(Snapshotter { inbox, work, stats, thread: Some(thread) })
    }

    fn order(&self, what: impl FnOnce() -> What) {
        let number = {
            let mut ordered = self.work.ordered.lock();
            *ordered = (ordered.0 + 1, ordered.1 + 1);
            ordered.1
        };
        self.inbox.send(Order { number, what: what() });
    }

    /// Writes the snapshot that `cursor` has begun, in the background.
    pub fn write(&self, cursor: SnapshotCursor) {
        self.order(|| What::Write(cursor));
    }

    /// Writes the image for learners that `cursor` has begun, in the background.
    pub fn spool(&self, cursor: SnapshotCursor, spool: Arc<Spool>) {
        self.order(|| What::Spool(cursor, spool));
    }

    /// Drops a state in the background.
    pub fn drop_state(&self, state: StateMachine) {
        self.inbox.send(Order { number: 0, what: What::Drop(Box::new(state)) });
    }

    /// Has the walk under way given up soon.
    pub fn give_up(&self) {
        let ordered = self.work.ordered.lock().1;
        self.work.cancelled.store(ordered, Ordering::Relaxed);
    }

    /// Gives up the walk under way and waits for that: what a snapshot would hold is about to be
    /// removed from the disk, and it must not bring it back.
    pub fn cancel(&self) {
        self.work.waited_for.store(true, Ordering::Relaxed);
        self.give_up();
        let mut ordered = self.work.ordered.lock();
        self.work.idle.wait_while(&mut ordered, |ordered| ordered.0 > 0);
        self.work.waited_for.store(false, Ordering::Relaxed);
    }

    /// Ends the thread after the snapshot under way.
    pub fn stop(&mut self) {
        self.work.hurry.store(true, Ordering::Relaxed);
        self.inbox.send(Order { number: 0, what: What::Stop });
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the snapshot thread panicked");
        }
    }
}

/// What the thread works with.
struct Desk {
    disk: DiskRef,
    config: Arc<Config>,
    state: Arc<RwLock<StateMachine>>,
    metrics: Arc<Metrics>,
    counted: Arc<SnapshotStats>,
    work: Arc<Work>,
    /// Images that somebody may be reading.
    images: Vec<Arc<Spool>>,
}

impl Desk {
    fn write(&self, number: u64, cursor: SnapshotCursor) {
        let start = Instant::now();
        let zxid = cursor.zxid();
        let (dirs, how) = (load::dirs(&self.config), load::snapshots(&self.config));
        let begun = Walk::new(Arc::clone(&self.disk), &dirs.snapshots, how, cursor);
        match self.end(begun.and_then(|walk| self.walk(number, walk))) {
            Ok(false) => tracing::info!("snapshot {zxid} was given up"),
            Ok(true) => {
                self.counted.count.fetch_add(1, Ordering::Relaxed);
                let ms = start.elapsed().as_millis() as u64;
                self.counted.last_ms.store(ms, Ordering::Relaxed);
                let taken = i64::try_from(ms).unwrap_or(i64::MAX);
                self.metrics.record(Basic::SnapshotTime, taken);
                self.counted.last_zxid.store(zxid.0, Ordering::Relaxed);
                tracing::info!("wrote snapshot {zxid} in {ms} ms");
            }
            // The log still has everything: the server goes on without this snapshot.
            Err(error) => tracing::error!("snapshot {zxid} was not written: {error}"),
        }
    }

    fn spool(&mut self, number: u64, cursor: SnapshotCursor, spool: Arc<Spool>) {
        let start = Instant::now();
        let zxid = cursor.zxid();
        let dirs = load::dirs(&self.config);
        let image = Arc::clone(&spool);
        let begun = Walk::for_learners(&self.disk, &dirs.snapshots, spool, cursor);
        match self.end(begun.and_then(|walk| self.walk(number, walk))) {
            Ok(false) => tracing::info!("the image {zxid} for learners was given up"),
            Ok(true) => {
                let ms = start.elapsed().as_millis();
                tracing::info!("the image {zxid} for learners was whole in {ms} ms");
            }
            // They come again.
            Err(error) => {
                tracing::error!("the image {zxid} for learners was not written: {error}");
            }
        }
        self.images.push(image);
    }

    /// Ends what the cursor has begun, and gives back what was kept for it, bit by bit: all of that
    /// at once would hold up the node thread.
    fn end<T>(&self, result: T) -> T {
        let kept = self.state.write().end_snapshot();
        drop(kept);
        // Whoever cancels a walk has another state soon.
        while !self.work.waited_for.load(Ordering::Relaxed) {
            let begin = Instant::now();
            if !self.state.write().collect_dead(COLLECT_NODES) {
                break;
            }
            self.pause(begin.elapsed());
        }
        result
    }

    /// Walks to the end; false when it was given up.
    fn walk(&self, number: u64, mut walk: Walk) -> Result<bool, Error> {
        let mut done = false;
        while !done {
            if self.work.is_cancelled(number) || walk.is_in_vain() {
                walk.abandon()?;
                return Ok(false);
            }
            let begin = Instant::now();
            done = walk.encode(&self.state.read(), BURST_NODES);
            if let Err(error) = walk.write() {
                let _ = walk.abandon();
                return Err(error);
            }
            self.pause(begin.elapsed());
        }
        walk.finish()?;
        Ok(true)
    }

    /// As long as it has worked: half of a core is left to others, and a thread that sleeps often
    /// is given the core at once when it wakes, rather than being interrupted within the lock.
    fn pause(&self, worked: Duration) {
        if !self.work.hurry.load(Ordering::Relaxed) {
            std::thread::sleep(worked.min(PAUSE_MAX));
        }
    }
}
