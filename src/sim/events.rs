//! What will happen in a world, in order: by time, and by when it was put there.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The queue of a world.
#[derive(Debug)]
pub(super) struct Events<W> {
    heap: BinaryHeap<Reverse<Scheduled<W>>>,
    seq: u64,
}

impl<W> Default for Events<W> {
    fn default() -> Events<W> {
        Events { heap: BinaryHeap::new(), seq: 0 }
    }
}

impl<W> Events<W> {
    /// Puts in what happens at `at`, in microseconds of the world.
    pub(super) fn put(&mut self, at: u64, what: W) {
        self.seq += 1;
        self.heap.push(Reverse(Scheduled { at, seq: self.seq, what }));
    }

    /// Takes out what is next, with its time.
    pub(super) fn pop(&mut self) -> Option<(u64, W)> {
        self.heap.pop().map(|Reverse(next)| (next.at, next.what))
    }

    /// Whether something is there, and due by `time`.
    pub(super) fn are_due(&self, time: u64) -> bool {
        self.heap.peek().is_some_and(|next| next.0.at <= time)
    }
}

#[derive(Debug)]
struct Scheduled<W> {
    at: u64,
    seq: u64,
    what: W,
}

impl<W> PartialEq for Scheduled<W> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}

impl<W> Eq for Scheduled<W> {}

impl<W> PartialOrd for Scheduled<W> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<W> Ord for Scheduled<W> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}
