//! The end of this server's log, as far as it is in memory: recent transactions in order and
//! without a gap, and how far they are durable and delivered.
//!
//! ```text
//!            floor        delivered        durable          last
//!   (older)    |  t  t  t  t  |  t  t  t  t   |  t  t  t  t   |
//!              '-- kept for DIFFs --'-- not applied yet ---'--- being written
//! ```
//!
//! `delivered` is how far the local state has them. It and `durable` are independent: an observer
//! may apply before it has written, a voter never does.

use std::collections::VecDeque;

use super::action::EncodedTxn;
use crate::types::Zxid;

/// The window.
#[derive(Clone, Debug)]
pub struct History {
    floor: Zxid,
    /// The transaction at the floor, if it was here once.
    at_floor: Option<EncodedTxn>,
    txns: VecDeque<EncodedTxn>,
    delivered: Zxid,
    /// How many of `txns` are delivered: a prefix.
    delivered_len: usize,
    durable: Zxid,
    retain: usize,
}

impl History {
    /// A window that ends at `last`, all durable and delivered. `recent` are the transactions after
    /// `floor`; if they don't connect to `last` without a gap, only the part that does is kept.
    pub fn new(floor: Zxid, recent: Vec<EncodedTxn>, last: Zxid, retain: usize) -> History {
        let mut history = History::empty(last, retain);
        if recent.last().is_none_or(|t| t.zxid != last) {
            return history;
        }
        let mut start = recent.len() - 1;
        while start > 0 && recent[start].zxid.follows(recent[start - 1].zxid) {
            start -= 1;
        }
        history.floor = if start > 0 { recent[start - 1].zxid } else { floor };
        history.txns = recent.into_iter().skip(start).collect();
        if history.txns.front().is_some_and(|t| !t.zxid.follows(history.floor)) {
            // What came before the first is not proven: the first itself becomes the floor.
            history.at_floor = history.txns.pop_front();
            history.floor = history.at_floor.as_ref().map_or(last, |t| t.zxid);
        }
        history.delivered_len = history.txns.len();
        history.trim();
        history
    }

    fn empty(at: Zxid, retain: usize) -> History {
        History {
            floor: at,
            at_floor: None,
            txns: VecDeque::new(),
            delivered: at,
            delivered_len: 0,
            durable: at,
            retain,
        }
    }

    /// The zxid right before the first transaction kept.
    pub fn floor(&self) -> Zxid {
        self.floor
    }

    /// Where the log ends, durable or not.
    pub fn last(&self) -> Zxid {
        self.txns.back().map_or(self.floor, |t| t.zxid)
    }

    /// How far the log is durable.
    pub fn durable(&self) -> Zxid {
        self.durable
    }

    /// How far the local state has applied it.
    pub fn delivered(&self) -> Zxid {
        self.delivered
    }

    /// The transactions kept, oldest first.
    pub fn txns(&self) -> impl DoubleEndedIterator<Item = &EncodedTxn> {
        self.txns.iter()
    }

    /// The transactions kept that come after `zxid`.
    pub fn after(&self, zxid: Zxid) -> impl Iterator<Item = &EncodedTxn> {
        self.txns.range(self.txns.partition_point(|t| t.zxid <= zxid)..)
    }

    /// The transaction with exactly this zxid, if it is kept.
    pub fn find(&self, zxid: Zxid) -> Option<&EncodedTxn> {
        self.txns.binary_search_by_key(&zxid, |t| t.zxid).ok().map(|at| &self.txns[at])
    }

    /// [`EncodedTxn::print`] of the transaction with exactly this zxid, the one at the floor included.
    pub fn print_at(&self, zxid: Zxid) -> Option<u32> {
        let at_floor = self.at_floor.as_ref().filter(|t| t.zxid == zxid);
        self.find(zxid).or(at_floor).map(EncodedTxn::print)
    }

    /// Adds a transaction at the end. It must follow what is there.
    pub fn push(&mut self, txn: EncodedTxn) {
        debug_assert!(txn.zxid > self.last(), "{} after {}", txn.zxid, self.last());
        self.txns.push_back(txn);
    }

    /// Everything through `zxid` is durable now.
    pub fn set_durable(&mut self, zxid: Zxid) {
        self.durable = self.durable.max(zxid);
    }

    /// Hands the transactions through `zxid` that were not delivered to `take`, in order, and counts
    /// them as delivered.
    pub fn deliver_through(&mut self, zxid: Zxid, mut take: impl FnMut(EncodedTxn)) {
        // Mostly one or none: a search would take longer.
        while let Some(txn) = self.txns.get(self.delivered_len).filter(|txn| txn.zxid <= zxid) {
            take(txn.clone());
            self.delivered = txn.zxid;
            self.delivered_len += 1;
        }
        self.trim();
    }

    /// The log on disk ends at `zxid` after a truncation: forgets everything above. Returns whether the state
    /// has applied some of it and must be rebuilt.
    pub fn truncate(&mut self, zxid: Zxid) -> bool {
        while self.txns.back().is_some_and(|t| t.zxid > zxid) {
            self.txns.pop_back();
        }
        let rebuild = self.delivered > zxid;
        if self.floor > zxid {
            (self.floor, self.at_floor) = (zxid, None);
        }
        self.delivered = self.delivered.min(zxid);
        self.delivered_len = self.delivered_len.min(self.txns.len());
        self.durable = self.durable.min(zxid);
        rebuild
    }

    /// Begins anew from a snapshot at `zxid`, which isn't durable yet.
    pub fn reset(&mut self, zxid: Zxid) {
        *self = History::empty(zxid, self.retain);
        self.durable = Zxid::ZERO;
    }

    /// Undoes the lowering of `durable` by a truncation (a mutant, K2).
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn raise_durable(&mut self, zxid: Zxid) {
        self.durable = zxid;
    }

    fn trim(&mut self) {
        while self.delivered_len > self.retain {
            if let Some(txn) = self.txns.pop_front() {
                self.floor = txn.zxid;
                self.at_floor = Some(txn);
            }
            self.delivered_len -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
