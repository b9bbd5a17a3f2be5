//! The hash table from paths to nodes: holds numbers only, the tree itself is the keys.
//!
//! Extendible hashing: a directory indexed by the top bits of the hash leads to small open
//! addressed segments. Growing splits one full segment (some ten microseconds), never the whole
//! table, so that no insertion is slower at ten million nodes than at ten thousand.
//!
//! ```text
//! hash  = dddddddd ........ .....hhh hhhhhhhh     d: directory, h: home slot of a full segment
//! slot  = hash << 32 | id + 1, or 0 when empty; linear probing, deletion by shifting back
//! ```

/// See the module.
#[derive(Debug)]
pub(super) struct Index {
    directory: Vec<u32>,
    /// log2 of the directory's length.
    depth: u32,
    segments: Vec<Segment>,
    /// Where a segment's slots are while it is split; kept, so that splitting frees nothing and
    /// leaves no holes.
    scratch: Vec<u64>,
}

#[derive(Debug)]
struct Segment {
    slots: Box<[u64]>,
    len: usize,
    /// How many top bits all hashes in it share.
    depth: u32,
}

/// Slots of the first segment.
const SLOTS_MIN: usize = 64;
/// Slots at which a segment is split rather than doubled.
const SLOTS_SPLIT: usize = 2048;
/// Beyond this depth segments double instead: only equal hashes get there.
const DEPTH_MAX: u32 = 21;

impl Segment {
    fn new(slots: usize, depth: u32) -> Segment {
        Segment { slots: vec![0; slots].into_boxed_slice(), len: 0, depth }
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    fn is_full(&self) -> bool {
        (self.len + 1) * 5 > self.slots.len() * 4
    }

    /// Puts a slot's content where it belongs; there must be room.
    fn put(&mut self, slot: u64) {
        let mask = self.mask();
        let mut at = (slot >> 32) as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
        self.len += 1;
    }

    fn remove(&mut self, slot: u64) -> bool {
        let mask = self.mask();
        let mut hole = (slot >> 32) as usize & mask;
        while self.slots[hole] != slot {
            if self.slots[hole] == 0 {
                return false;
            }
            hole = (hole + 1) & mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let moved = self.slots[at];
            if moved == 0 {
                break;
            }
            let home = (moved >> 32) as usize & mask;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.slots[hole] = moved;
                hole = at;
            }
        }
        self.slots[hole] = 0;
        self.len -= 1;
        true
    }
}

impl Index {
    /// An empty one.
    pub fn new() -> Index {
        Index {
            directory: vec![0],
            depth: 0,
            segments: vec![Segment::new(SLOTS_MIN, 0)],
            scratch: Vec::new(),
        }
    }

    #[inline]
    fn segment(&self, hash: u32) -> usize {
        self.directory[(u64::from(hash) >> (32 - self.depth)) as usize] as usize
    }

    /// The id with this hash that `is` accepts.
    #[inline]
    pub fn find(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let segment = &self.segments[self.segment(hash)];
        let mask = segment.mask();
        let mut at = hash as usize & mask;
        loop {
            let slot = segment.slots[at];
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == hash {
                let id = (slot as u32) - 1;
                if is(id) {
                    return Some(id);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds an id; the caller knows that it is not there.
    pub fn insert(&mut self, hash: u32, id: u32) {
        let mut at = self.segment(hash);
        while self.segments[at].is_full() {
            self.make_room(at, hash);
            at = self.segment(hash);
        }
        self.segments[at].put(u64::from(hash) << 32 | u64::from(id + 1));
    }

    /// Removes an id; false when it is not there.
    pub fn remove(&mut self, hash: u32, id: u32) -> bool {
        let at = self.segment(hash);
        self.segments[at].remove(u64::from(hash) << 32 | u64::from(id + 1))
    }

    fn make_room(&mut self, at: usize, hash: u32) {
        let old = &mut self.segments[at];
        let depth = old.depth;
        if old.slots.len() < SLOTS_SPLIT || depth >= DEPTH_MAX {
            let double = Segment::new(old.slots.len() * 2, depth);
            let full = std::mem::replace(old, double);
            full.slots.iter().filter(|slot| **slot != 0).for_each(|slot| old.put(*slot));
            return;
        }
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&s| [s, s]).collect();
            self.depth += 1;
        }
        let old = &mut self.segments[at];
        self.scratch.clear();
        self.scratch.extend(old.slots.iter().filter(|slot| **slot != 0));
        old.slots.fill(0);
        (old.len, old.depth) = (0, depth + 1);
        let mut other = Segment::new(SLOTS_SPLIT, depth + 1);
        for &slot in &self.scratch {
            let upper = (slot >> 32) as u32 >> (31 - depth) & 1 == 1;
            if upper { other.put(slot) } else { old.put(slot) }
        }
        // The directory entries of the old segment are one run; its upper half becomes the new's.
        let run = 1_usize << (self.depth - depth);
        let start = ((u64::from(hash) >> (32 - depth)) as usize) << (self.depth - depth);
        let new = self.segments.len() as u32;
        self.segments.push(other);
        self.directory[start + run / 2..start + run].fill(new);
    }

    /// Ids that are held.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.segments.iter().map(|s| s.len).sum()
    }
}

#[cfg(test)]
mod tests;
