//! Transaction ids: an epoch in the high half, a counter in the low half.

use std::fmt;

/// The number of a leadership, as in `currentEpoch` and `acceptedEpoch`; the high half of a zxid.
///
/// 64 bits wide because Apache keeps it in a Java long; -1 means "none" in an ACKEPOCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub i64);

/// A transaction id. Ordered as Apache orders it: as a signed 64-bit number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zxid(pub i64);

impl Zxid {
    /// Before every transaction.
    pub const ZERO: Zxid = Zxid(0);
    /// The last counter an epoch can use; the leader steps down when it gets there
    /// (ZOOKEEPER-1277).
    pub const COUNTER_MAX: u32 = u32::MAX;

    /// The zxid of `counter` in `epoch`.
    pub const fn new(epoch: Epoch, counter: u32) -> Zxid {
        Zxid((epoch.0 << 32) | counter as i64)
    }

    /// The leadership it belongs to.
    pub const fn epoch(self) -> Epoch {
        Epoch(self.0 >> 32)
    }

    /// The position within its epoch; 0 is the epoch's start and no transaction.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The next zxid of the same epoch. At [`Zxid::COUNTER_MAX`] this would leave the epoch: the
    /// caller must have stepped down before.
    pub const fn next(self) -> Zxid {
        Zxid(self.0 + 1)
    }

    /// Whether `self` may directly follow `before` in a log: the next counter of the same epoch, or
    /// the first of a later one.
    pub fn follows(self, before: Zxid) -> bool {
        self.0 == before.0 + 1 && self.epoch() == before.epoch()
            || self.epoch() > before.epoch() && self.counter() == 1
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
