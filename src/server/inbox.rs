//! A queue that one thread drains whole: the hand-over into the node thread and the log thread.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Many senders, one receiver that takes everything at once, either a thread ([`Inbox::take`]) or a
/// task ([`Inbox::poll_take`]). Sending while the receiver is busy costs a short lock and no system
/// call. What bounds it is what bounds the senders: requests are limited per connection and in all
/// before they get here.
#[derive(Debug)]
pub struct Inbox<T> {
    queue: Mutex<Queue<T>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct Queue<T> {
    items: Vec<T>,
    /// Of the task that sleeps until something is sent.
    reader: Option<Waker>,
}

impl<T> Default for Inbox<T> {
    fn default() -> Inbox<T> {
        let queue = Queue { items: Vec::new(), reader: None };
        Inbox { queue: Mutex::new(queue), arrived: Condvar::new() }
    }
}

impl<T> Inbox<T> {
    /// Adds one.
    pub fn send(&self, item: T) {
        let mut queue = self.queue.lock();
        queue.items.push(item);
        // The receiver only sleeps when it has found the queue empty.
        let first = queue.items.len() == 1;
        self.wake(queue, first);
    }

    /// Adds each of `more`.
    pub fn send_each(&self, more: impl Iterator<Item = T>) {
        let mut queue = self.queue.lock();
        let first = queue.items.is_empty();
        queue.items.extend(more);
        let first = first && !queue.items.is_empty();
        self.wake(queue, first);
    }

    /// Adds all of `more`, leaving it empty with its capacity.
    pub fn send_all(&self, more: &mut Vec<T>) {
        if more.is_empty() {
            return;
        }
        let mut queue = self.queue.lock();
        let first = queue.items.is_empty();
        queue.items.append(more);
        self.wake(queue, first);
    }

    /// Wakes the receiver if these are the first items it has not seen.
    fn wake(&self, mut queue: MutexGuard<'_, Queue<T>>, first: bool) {
        if !first {
            return;
        }
        let reader = queue.reader.take();
        drop(queue);
        match reader {
            Some(reader) => reader.wake(),
            None => {
                self.arrived.notify_one();
            }
        }
    }

    /// Takes everything into `taken`, which must be empty; waits for something if there is
    /// nothing, at most for `patience` (None: as long as it takes).
    pub fn take(&self, taken: &mut Vec<T>, patience: Option<Duration>) {
        debug_assert!(taken.is_empty(), "what was taken before is done with");
        let mut queue = self.queue.lock();
        if queue.items.is_empty() {
            match patience {
                Some(patience) if patience.is_zero() => {}
                Some(patience) => {
                    let empty = |queue: &mut Queue<T>| queue.items.is_empty();
                    self.arrived.wait_while_for(&mut queue, empty, patience);
                }
                None => self.arrived.wait_while(&mut queue, |queue| queue.items.is_empty()),
            }
        }
        std::mem::swap(&mut queue.items, taken);
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.queue.lock().items.is_empty()
    }

    /// The same for a task: ready when something was taken; otherwise the task is woken by what is
    /// sent next.
    pub fn poll_take(&self, cx: &Context<'_>, taken: &mut Vec<T>) -> Poll<()> {
        debug_assert!(taken.is_empty(), "what was taken before is done with");
        let mut queue = self.queue.lock();
        if queue.items.is_empty() {
            if !queue.reader.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                queue.reader = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        queue.reader = None;
        std::mem::swap(&mut queue.items, taken);
        Poll::Ready(())
    }
}
