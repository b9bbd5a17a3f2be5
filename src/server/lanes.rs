//! The threads that serve client connections: each has a reactor of its own, and a connection stays
//! on the one it was given to.
//!
//! A request that arrives alone wakes one thread, which reads, answers and sleeps again. A scheduler
//! that moves tasks between threads would wake a second one each time, to look for work that is not
//! there; see `docs/decisions/008`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Where a lane is told which of its sleeping tasks to wake.
#[derive(Debug, Default)]
pub struct Post {
    letters: Mutex<Letters>,
}

#[derive(Debug, Default)]
struct Letters {
    wakers: Vec<Waker>,
    /// Of the task that empties this.
    reader: Option<Waker>,
}

impl Post {
    /// Has the lane wake all of these, with one system call at most; leaves the vector empty.
    fn wake_all(&self, wakers: &mut Vec<Waker>) {
        let mut letters = self.letters.lock();
        // The reader only sleeps when it has found nothing.
        let first = letters.wakers.is_empty();
        letters.wakers.append(wakers);
        let reader = if first { letters.reader.take() } else { None };
        drop(letters);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// Wakes the lane's tasks from within its thread, where that costs no system call.
async fn deliver(post: Arc<Post>) {
    let mut wakers = Vec::new();
    std::future::poll_fn(|cx| -> Poll<()> {
        let mut letters = post.letters.lock();
        std::mem::swap(&mut letters.wakers, &mut wakers);
        letters.reader = Some(cx.waker().clone());
        drop(letters);
        wakers.drain(..).for_each(Waker::wake);
        if wakers.capacity() > KEPT_MAX {
            wakers = Vec::new();
        }
        Poll::Pending
    })
    .await;
}

/// Room that an empty list of wakers may keep.
const KEPT_MAX: usize = 4096;

/// Which lane of a [`Shared`](super::node::Shared) a connection is on.
pub type LaneId = usize;

/// How connections get to their lanes.
#[derive(Debug)]
pub struct Entries {
    lanes: Vec<(Handle, Arc<Post>)>,
    next: AtomicUsize,
}

impl Entries {
    /// The lane for the next connection, in turn: connections are alike, and come in numbers.
    pub fn choose(&self) -> LaneId {
        self.next.fetch_add(1, Ordering::Relaxed) % self.lanes.len()
    }

    /// How many lanes there are.
    pub fn count(&self) -> usize {
        self.lanes.len()
    }

    /// The runtime of a lane.
    pub fn handle(&self, lane: LaneId) -> &Handle {
        &self.lanes[lane].0
    }
}

/// Tasks of connections that are to be woken, gathered by lane.
#[derive(Debug)]
pub struct Wakes {
    entries: Arc<Entries>,
    lanes: Vec<Vec<Waker>>,
    count: usize,
}

impl Wakes {
    /// None yet.
    pub fn new(entries: &Arc<Entries>) -> Wakes {
        let lanes = entries.lanes.iter().map(|_| Vec::new()).collect();
        Wakes { entries: Arc::clone(entries), lanes, count: 0 }
    }

    /// Adds one.
    pub fn push(&mut self, lane: LaneId, waker: Waker) {
        self.lanes[lane].push(waker);
        self.count += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Wakes them.
    pub fn wake(&mut self) {
        if self.count == 0 {
            return;
        }
        self.count = 0;
        for (wakers, (_, post)) in self.lanes.iter_mut().zip(&self.entries.lanes) {
            if !wakers.is_empty() {
                post.wake_all(wakers);
            }
        }
    }
}

/// The threads, which end with this.
#[derive(Debug)]
pub struct Lanes {
    /// The way in.
    pub entries: Arc<Entries>,
    threads: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Lanes {
    /// Starts `threads` of them, or one for each core.
    ///
    /// # Errors
    /// When the system has no thread or no reactor to give.
    pub fn start(threads: Option<usize>) -> std::io::Result<Lanes> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let count = threads.filter(|n| *n > 0).unwrap_or_else(cores);
        let (mut lanes, mut running) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let post = Arc::new(Post::default());
            runtime.spawn(deliver(Arc::clone(&post)));
            lanes.push((runtime.handle().clone(), post));
            let (stop, stopped) = oneshot::channel();
            let thread = std::thread::Builder::new().name("client".into()).spawn(move || {
                // Ends with an error when the other end is dropped, which means the same.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
            running.push((stop, thread));
        }
        let entries = Arc::new(Entries { lanes, next: AtomicUsize::new(0) });
        Ok(Lanes { entries, threads: running })
    }

    /// Closes all connections and ends the threads.
    pub fn stop(&mut self) {
        for (stop, thread) in self.threads.drain(..) {
            let _ = stop.send(());
            if thread.join().is_err() {
                tracing::error!("a client thread panicked");
            }
        }
    }
}
