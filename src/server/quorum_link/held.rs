//! What links hold of memory that the other end decides on: one account over all of them.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::types::LinkId;

/// One over this part of the bound: what guests may hold before one of them gives way in place of a
/// member.
const GUESTS_PART: u64 = 4;

/// The sum over all links.
#[derive(Debug)]
pub(super) struct Account {
    sum: AtomicU64,
    max: u64,
}

/// One link's part of it, in bytes: what waits to be written to it and what has half arrived.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<Part>);

#[derive(Debug, Default)]
struct Part {
    bytes: u64,
    /// The link is gone, and counted out.
    gone: bool,
}

/// A link that may have to give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Which.
    pub link: LinkId,
    /// Whether it is a member's.
    pub member: bool,
    /// What it holds.
    pub bytes: u64,
}

impl Account {
    /// Nothing is held; at most `max` bytes may be.
    pub(super) fn new(max: u64) -> Account {
        Account { sum: AtomicU64::new(0), max }
    }

    /// Counts bytes in for a link; true when all links together hold too much now.
    pub(super) fn add(&self, held: &Held, bytes: u64) -> bool {
        let mut part = held.0.lock();
        if part.gone {
            return false;
        }
        part.bytes += bytes;
        self.sum.fetch_add(bytes, Ordering::Relaxed) + bytes > self.max
    }

    /// Counts bytes out.
    pub(super) fn sub(&self, held: &Held, bytes: u64) {
        let mut part = held.0.lock();
        if !part.gone {
            part.bytes -= bytes;
            self.sum.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Counts a link out for good.
    pub(super) fn end(&self, held: &Held) {
        let mut part = held.0.lock();
        if !std::mem::replace(&mut part.gone, true) {
            self.sum.fetch_sub(part.bytes, Ordering::Relaxed);
        }
    }

    /// The most that may be held.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// Who gives way, if there is too much: the guest that holds most, while guests hold more than
    /// their part; otherwise the link that holds most.
    pub(super) fn victim(&self, links: impl Iterator<Item = Candidate>) -> Option<Candidate> {
        if self.sum.load(Ordering::Relaxed) <= self.max {
            return None;
        }
        let (mut guests, mut most_of_guests, mut most) = (0, None::<Candidate>, None::<Candidate>);
        let larger = |a: Option<Candidate>, b: Candidate| match a {
            Some(a) if a.bytes >= b.bytes => Some(a),
            _ => Some(b),
        };
        for link in links {
            if !link.member {
                guests += link.bytes;
                most_of_guests = larger(most_of_guests, link);
            }
            most = larger(most, link);
        }
        if guests > self.max / GUESTS_PART { most_of_guests } else { most }
    }
}

impl Held {
    /// What the link holds.
    pub(super) fn bytes(&self) -> u64 {
        self.0.lock().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bound_over_all_links_and_who_has_most_gives_way() {
        let account = Account::new(100);
        let held: Vec<Held> = (0..4).map(|_| Held::default()).collect();
        let candidates = |members: usize| {
            held.iter().enumerate().map(move |(n, held)| Candidate {
                link: LinkId(n as u64),
                member: n < members,
                bytes: held.bytes(),
            })
        };
        for (held, bytes) in held.iter().zip([60, 10, 20, 8]) {
            assert!(!account.add(held, bytes));
        }
        assert_eq!(account.victim(candidates(2)), None);
        assert!(account.add(&held[1], 5), "103 of 100");
        // Two guests have 28, more than a quarter: the larger one gives way, not the member with 60.
        assert_eq!(account.victim(candidates(2)).map(|c| c.link), Some(LinkId(2)));
        // One guest has 8: who has most gives way.
        assert_eq!(account.victim(candidates(3)).map(|c| c.link), Some(LinkId(0)));
        account.end(&held[0]);
        assert_eq!(account.victim(candidates(3)), None);
        // What its tasks still say of it changes nothing.
        account.sub(&held[0], 60);
        assert!(!account.add(&held[0], 1000));
        account.end(&held[0]);
        assert!(!account.add(&held[3], 57), "15, 20, 8 and 57 are 100");
        assert!(account.add(&held[3], 1));
    }
}
