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

use super::inbox::Inbox;
use super::load;

/// Nodes per burst: some tens of microseconds under the read lock.
const BURST_NODES: usize = 256;
/// The longest pause after a burst.
const PAUSE_MAX: Duration = Duration::from_micros(500);

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
    ordered: Mutex<usize>,
    idle: Condvar,
    cancelled: AtomicBool,
    /// The server stops: no pauses any more.
    hurry: AtomicBool,
}

enum Order {
    Write(SnapshotCursor),
    Stop,
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
        let thread = std::thread::Builder::new().name("snapshot".into()).spawn(move || {
            let mut taken = Vec::new();
            loop {
                orders.take(&mut taken, None);
                for order in taken.drain(..) {
                    let Order::Write(cursor) = order else { return };
                    let start = Instant::now();
                    let zxid = cursor.zxid();
                    match write(&disk, &config, &state, cursor, &doing) {
                        Ok(false) => tracing::info!("snapshot {zxid} was given up"),
                        Ok(true) => {
                            counted.count.fetch_add(1, Ordering::Relaxed);
                            let ms = start.elapsed().as_millis() as u64;
                            counted.last_ms.store(ms, Ordering::Relaxed);
                            let taken = i64::try_from(ms).unwrap_or(i64::MAX);
                            metrics.record(Basic::SnapshotTime, taken);
                            counted.last_zxid.store(zxid.0, Ordering::Relaxed);
                            tracing::info!("wrote snapshot {zxid} in {ms} ms");
                        }
                        // The log still has everything: the server goes on without this snapshot.
                        Err(error) => tracing::error!("snapshot {zxid} was not written: {error}"),
                    }
                    *doing.ordered.lock() -= 1;
                    doing.idle.notify_all();
                    done();
                }
            }
        })?;
        Ok(Snapshotter { inbox, work, stats, thread: Some(thread) })
    }

    /// Writes the snapshot that `cursor` has begun, in the background.
    pub fn write(&self, cursor: SnapshotCursor) {
        *self.work.ordered.lock() += 1;
        self.inbox.send(Order::Write(cursor));
    }

    /// Gives up the snapshot under way and waits for that: what it would hold is about to be
    /// removed from the disk, and it must not bring it back.
    pub fn cancel(&self) {
        self.work.cancelled.store(true, Ordering::Relaxed);
        let mut ordered = self.work.ordered.lock();
        self.work.idle.wait_while(&mut ordered, |ordered| *ordered > 0);
        self.work.cancelled.store(false, Ordering::Relaxed);
    }

    /// Ends the thread after the snapshot under way.
    pub fn stop(&mut self) {
        self.work.hurry.store(true, Ordering::Relaxed);
        self.inbox.send(Order::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the snapshot thread panicked");
        }
    }
}

fn write(
    disk: &DiskRef,
    config: &Config,
    state: &RwLock<StateMachine>,
    cursor: SnapshotCursor,
    work: &Work,
) -> Result<bool, Error> {
    let result = walk(disk, config, state, cursor, work);
    state.write().end_snapshot();
    result
}

fn walk(
    disk: &DiskRef,
    config: &Config,
    state: &RwLock<StateMachine>,
    cursor: SnapshotCursor,
    work: &Work,
) -> Result<bool, Error> {
    let dirs = load::dirs(config);
    let mut walk = Walk::new(Arc::clone(disk), &dirs.snapshots, load::snapshots(config), cursor)?;
    let mut done = false;
    while !done {
        if work.cancelled.load(Ordering::Relaxed) {
            walk.abandon()?;
            return Ok(false);
        }
        let begin = Instant::now();
        done = walk.encode(&state.read(), BURST_NODES);
        if let Err(error) = walk.write() {
            let _ = walk.abandon();
            return Err(error);
        }
        // As long as it has worked: half of a core is left to others, and a thread that sleeps often
        // is given the core at once when it wakes, rather than being interrupted within the lock.
        if !work.hurry.load(Ordering::Relaxed) {
            std::thread::sleep(begin.elapsed().min(PAUSE_MAX));
        }
    }
    walk.finish()?;
    Ok(true)
}
