//! A queue that one thread drains whole: the hand-over into the node thread and the log thread.

use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// Many senders, one receiver that takes everything at once. Sending while the receiver is busy
/// costs a short lock and no system call. What bounds it is what bounds the senders: requests are
/// limited per connection and in all before they get here.
#[derive(Debug)]
pub struct Inbox<T> {
    items: Mutex<Vec<T>>,
    arrived: Condvar,
}

impl<T> Default for Inbox<T> {
    fn default() -> Inbox<T> {
        Inbox { items: Mutex::new(Vec::new()), arrived: Condvar::new() }
    }
}

impl<T> Inbox<T> {
    /// Adds one.
    pub fn send(&self, item: T) {
        let mut items = self.items.lock();
        items.push(item);
        // The receiver only sleeps when it has found the queue empty.
        let wake = items.len() == 1;
        drop(items);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Adds each of `more`.
    pub fn send_each(&self, more: impl Iterator<Item = T>) {
        let mut items = self.items.lock();
        let wake = items.is_empty();
        items.extend(more);
        let wake = wake && !items.is_empty();
        drop(items);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Adds all of `more`, leaving it empty with its capacity.
    pub fn send_all(&self, more: &mut Vec<T>) {
        if more.is_empty() {
            return;
        }
        let mut items = self.items.lock();
        let wake = items.is_empty();
        items.append(more);
        drop(items);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Takes everything into `taken`, which must be empty; waits for something if there is
    /// nothing, at most for `patience` (None: as long as it takes).
    pub fn take(&self, taken: &mut Vec<T>, patience: Option<Duration>) {
        debug_assert!(taken.is_empty(), "what was taken before is done with");
        let mut items = self.items.lock();
        if items.is_empty() {
            match patience {
                Some(patience) if patience.is_zero() => {}
                Some(patience) => {
                    self.arrived.wait_while_for(&mut items, |items| items.is_empty(), patience);
                }
                None => self.arrived.wait_while(&mut items, |items| items.is_empty()),
            }
        }
        std::mem::swap(&mut *items, taken);
    }
}
