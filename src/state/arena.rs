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

const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;

/// See the module.
#[derive(Debug)]
pub(super) struct Arena<T> {
    chunks: Vec<Box<[T; CHUNK]>>,
    /// Slots ever used; those at and after it are untouched.
    used: u32,
    /// Head of the list of vacated slots.
    free: u32,
}

impl<T: Slot> Arena<T> {
    /// An empty one.
    pub fn new() -> Arena<T> {
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
        if id as usize == self.chunks.len() * CHUNK {
            let chunk: Box<[T]> = (0..CHUNK).map(|_| T::vacant()).collect();
            match chunk.try_into() {
                Ok(chunk) => self.chunks.push(chunk),
                Err(_) => unreachable!("collected exactly one chunk"),
            }
        }
        self.used += 1;
        self[id] = value;
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

impl<T> std::ops::Index<u32> for Arena<T> {
    type Output = T;
    #[inline]
    fn index(&self, id: u32) -> &T {
        &self.chunks[(id >> CHUNK_BITS) as usize][id as usize & (CHUNK - 1)]
    }
}

impl<T> std::ops::IndexMut<u32> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, id: u32) -> &mut T {
        &mut self.chunks[(id >> CHUNK_BITS) as usize][id as usize & (CHUNK - 1)]
    }
}
