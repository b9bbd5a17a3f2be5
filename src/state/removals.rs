//! What went out of the lists of children lately: how a walk that lets go of the state between its
//! steps learns that a node it stands on, or has passed, is gone.
//!
//! A deletion appends twelve bytes to a ring of a fixed size; nobody registers. A walk remembers how
//! far it has read, and starts again when the ring has lapped it.

use std::sync::Arc;

/// One node that was deleted, or that was taken out of its list after it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removal {
    pub parent: u32,
    pub id: u32,
    /// The node behind it in the list; `id` itself when it is dead and still linked.
    pub next: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Removals {
    ring: Vec<Removal>,
    count: u64,
    /// Stands for the tree: numbers of nodes mean nothing in another.
    tree: Arc<()>,
}

/// How far a walk has read.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    tree: Arc<()>,
    count: u64,
}

impl Removals {
    /// Removals that are remembered.
    const KEPT: u64 = 1 << 14;

    pub fn new() -> Removals {
        Removals { ring: Vec::new(), count: 0, tree: Arc::new(()) }
    }

    #[inline]
    pub fn push(&mut self, removal: Removal) {
        let at = (self.count % Self::KEPT) as usize;
        match self.ring.get_mut(at) {
            Some(place) => *place = removal,
            None => self.ring.push(removal),
        }
        self.count += 1;
    }

    /// For a walk that begins now.
    pub fn seen(&self) -> Seen {
        Seen { tree: Arc::clone(&self.tree), count: self.count }
    }

    /// What was removed since the walk last asked, oldest first. None: that is not known any more, or
    /// the tree is another.
    pub fn since(&self, seen: &mut Seen) -> Option<impl Iterator<Item = Removal> + '_> {
        if !Arc::ptr_eq(&self.tree, &seen.tree) || self.count - seen.count > Self::KEPT {
            return None;
        }
        let new = std::mem::replace(&mut seen.count, self.count)..self.count;
        Some(new.map(|n| self.ring[(n % Self::KEPT) as usize]))
    }
}
