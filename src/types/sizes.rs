//! The last, smallest and largest of some sizes (Apache `BufferStats`).

/// Sizes in bytes; -1 each before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The last.
    pub last: i64,
    /// The smallest.
    pub min: i64,
    /// The largest.
    pub max: i64,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes { last: -1, min: -1, max: -1 }
    }
}

impl Sizes {
    /// Takes one more size in.
    pub fn record(&mut self, size: i64) {
        self.last = size;
        self.min = if self.min < 0 { size } else { self.min.min(size) };
        self.max = self.max.max(size);
    }

    /// Takes in what was recorded later elsewhere.
    pub fn merge(&mut self, later: Sizes) {
        if later.last >= 0 {
            self.min = if self.min < 0 { later.min } else { self.min.min(later.min) };
            self.max = self.max.max(later.max);
            self.last = later.last;
        }
    }
}
