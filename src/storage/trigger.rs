//! When to roll the log and take a snapshot (Apache `SyncRequestProcessor.shouldSnapshot`).

/// Counts what was logged since the last roll. The threshold has a random part, so that the members
/// of an ensemble don't all take snapshots at once; the caller hands the randomness in.
#[derive(Clone, Debug)]
pub struct SnapTrigger {
    snap_count: u64,
    snap_bytes: Option<u64>,
    txns: u64,
    bytes: u64,
    txns_at: u64,
    bytes_at: u64,
}

impl SnapTrigger {
    /// `snap_count`: `zookeeper.snapCount` (at least 2 is used); `snap_bytes`:
    /// `zookeeper.snapSizeLimitInKb` in bytes, None when off. `random` is any 64-bit number.
    pub fn new(snap_count: u64, snap_bytes: Option<u64>, random: u64) -> SnapTrigger {
        let mut trigger = SnapTrigger {
            snap_count: snap_count.max(2),
            snap_bytes: snap_bytes.filter(|b| *b > 0),
            txns: 0,
            bytes: 0,
            txns_at: 0,
            bytes_at: 0,
        };
        trigger.reset(random);
        trigger
    }

    /// Counts logged transactions; true when it's time to roll and to take a snapshot.
    pub fn add(&mut self, txns: u64, bytes: u64) -> bool {
        self.txns += txns;
        self.bytes += bytes;
        self.txns > self.txns_at || self.snap_bytes.is_some() && self.bytes > self.bytes_at
    }

    /// Starts counting anew, with a new random part (`random` is any 64-bit number).
    pub fn reset(&mut self, random: u64) {
        self.txns = 0;
        self.bytes = 0;
        let half = self.snap_count / 2;
        self.txns_at = half + random % half;
        let half = (self.snap_bytes.unwrap_or(2) / 2).max(1);
        self.bytes_at = half + random.rotate_left(32) % half;
    }
}
