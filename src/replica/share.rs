//! One part of a number of bytes that all connections together may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that somebody has of a total; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Share {
    /// None yet of this total.
    pub fn new(total: &Arc<AtomicUsize>) -> Share {
        Share { total: Arc::clone(total), bytes: 0 }
    }

    /// What it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it `bytes`, whatever others have; returns what all have then.
    pub fn set(&mut self, bytes: usize) -> usize {
        let before = std::mem::replace(&mut self.bytes, bytes);
        // Wrapping: less is the addition of a negative number.
        let change = bytes.wrapping_sub(before);
        self.total.fetch_add(change, Ordering::Relaxed).wrapping_add(change)
    }

    /// Makes it at least `bytes`, unless all would then have more than `max`. Who is alone may.
    pub fn grow(&mut self, bytes: usize, max: usize) -> bool {
        let before = self.bytes;
        if bytes <= before {
            return true;
        }
        let all = self.set(bytes);
        if all > max && all > bytes {
            self.set(before);
            return false;
        }
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}
