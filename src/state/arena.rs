//! Storage of equally sized things by number, in chunks, so that growing never copies what is
//! there: the cost of one more is the same at a thousand and at ten million.

/// No such thing.
pub(super) const NONE: u32 = u32::MAX;

/// What an arena can hold: a value that can carry a link while it is vacant.
pub(super) trait Slot {
    /// A vacant one.
    fn vacant() -> Self;
    /// The next vacant one.
    fn link(&self) -> u32;
    /// Makes it vacant, giving up what it owns.
    fn vacate(&mut self, link: u32);
}

/// See the module. A chunk has `1 << BITS` slots.
#[derive(Debug)]
pub(super) struct Arena<T, const BITS: u32> {
    /// All full but the last.
    chunks: Vec<Vec<T>>,
    /// Slots ever used.
    used: u32,
    /// Head of the list of vacated slots.
    free: u32,
}

impl<T: Slot, const BITS: u32> Arena<T, BITS> {
    /// An empty one.
    pub fn new() -> Self {
        Arena { chunks: Vec::new(), used: 0, free: NONE }
    }

    /// Puts `value` somewhere.
    ///
    /// # Panics
    /// Beyond 2^32 - 1 values: memory ends long before.
    pub fn insert(&mut self, value: T) -> u32 {
        if self.free != NONE {
            let id = self.free;
            self.free = self[id].link();
            self[id] = value;
            return id;
        }
        let id = self.used;
        assert!(id < NONE, "arena is full");
        if id as usize == self.chunks.len() << BITS {
            self.chunks.push(Vec::with_capacity(1 << BITS));
        }
        self.used += 1;
        self.chunks[(id >> BITS) as usize].push(value);
        id
    }

    /// Vacates a slot.
    pub fn remove(&mut self, id: u32) {
        let link = self.free;
        self[id].vacate(link);
        self.free = id;
    }

    /// Slots ever used: ids are below it.
    pub fn bound(&self) -> u32 {
        self.used
    }
}

impl<T, const BITS: u32> std::ops::Index<u32> for Arena<T, BITS> {
    type Output = T;
    #[inline]
    fn index(&self, id: u32) -> &T {
        &self.chunks[(id >> BITS) as usize][id as usize & ((1 << BITS) - 1)]
    }
}

impl<T, const BITS: u32> std::ops::IndexMut<u32> for Arena<T, BITS> {
    #[inline]
    fn index_mut(&mut self, id: u32) -> &mut T {
        &mut self.chunks[(id >> BITS) as usize][id as usize & ((1 << BITS) - 1)]
    }
}
