//! The connections that watch one path: mostly one, sometimes ten thousand.

use hashbrown::HashTable;

use crate::types::ConnId;

/// Which watches a connection has left at a path.
pub(super) type Flags = u8;
/// Data table, one-shot: getData and exists.
pub(super) const DATA: Flags = 1;
/// Child table, one-shot: getChildren.
pub(super) const CHILD: Flags = 2;
/// Both tables, lasting.
pub(super) const PERSISTENT: Flags = 4;
/// Data table, lasting, and for everything below.
pub(super) const RECURSIVE: Flags = 8;

/// A connection's number and flags in one word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed(u64);

impl Packed {
    fn new(conn: ConnId, flags: Flags) -> Packed {
        Packed(conn.0 << 4 | u64::from(flags))
    }
    fn conn(self) -> ConnId {
        ConnId(self.0 >> 4)
    }
    fn flags(self) -> Flags {
        (self.0 & 15) as Flags
    }
    fn hash(self) -> u64 {
        hash(self.conn())
    }
}

/// Connection numbers are ours, not a client's: no seed is needed, and the order is the same in
/// every run.
fn hash(conn: ConnId) -> u64 {
    let h = conn.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    h ^ h >> 29
}

/// See the module. Connection numbers are below 2^60.
#[derive(Debug, Default)]
pub(super) enum Watchers {
    /// Nobody.
    #[default]
    None,
    /// The usual case.
    One(Packed),
    /// Up to [`Watchers::FEW`].
    Few(Box<Vec<Packed>>),
    /// Any number.
    Many(Box<HashTable<Packed>>),
    /// Nobody, in a vacant place: the next vacant one.
    Vacant(u32),
}

impl Watchers {
    const FEW: usize = 16;

    /// The flags of a connection; 0 when it does not watch.
    pub fn flags(&self, conn: ConnId) -> Flags {
        let found = match self {
            Watchers::None | Watchers::Vacant(_) => None,
            Watchers::One(one) => Some(*one).filter(|w| w.conn() == conn),
            Watchers::Few(few) => few.iter().copied().find(|w| w.conn() == conn),
            Watchers::Many(many) => many.find(hash(conn), |w| w.conn() == conn).copied(),
        };
        found.map_or(0, Packed::flags)
    }

    /// Sets the flags of a connection; 0 takes it out.
    pub fn set(&mut self, conn: ConnId, flags: Flags) {
        let new = Packed::new(conn, flags);
        match self {
            Watchers::None | Watchers::Vacant(_) if flags == 0 => {}
            Watchers::None | Watchers::Vacant(_) => *self = Watchers::One(new),
            Watchers::One(one) if one.conn() == conn => {
                *self = if flags == 0 { Watchers::None } else { Watchers::One(new) };
            }
            _ if flags == 0 => self.take_out(conn),
            Watchers::One(one) => *self = Watchers::Few(Box::new(vec![*one, new])),
            Watchers::Few(few) => {
                if let Some(there) = few.iter_mut().find(|w| w.conn() == conn) {
                    *there = new;
                } else if few.len() < Self::FEW {
                    few.push(new);
                } else {
                    let mut many = HashTable::with_capacity(Self::FEW * 2);
                    for w in few.iter().chain([&new]) {
                        many.insert_unique(w.hash(), *w, |w| w.hash());
                    }
                    *self = Watchers::Many(Box::new(many));
                }
            }
            Watchers::Many(many) => match many.find_mut(hash(conn), |w| w.conn() == conn) {
                Some(there) => *there = new,
                None => drop(many.insert_unique(hash(conn), new, |w| w.hash())),
            },
        }
    }

    fn take_out(&mut self, conn: ConnId) {
        match self {
            Watchers::None | Watchers::Vacant(_) | Watchers::One(_) => {}
            Watchers::Few(few) => few.retain(|w| w.conn() != conn),
            Watchers::Many(many) => {
                if let Ok(there) = many.find_entry(hash(conn), |w| w.conn() == conn) {
                    there.remove();
                }
            }
        }
    }

    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        match self {
            Watchers::None | Watchers::Vacant(_) => true,
            Watchers::One(_) => false,
            Watchers::Few(few) => few.is_empty(),
            Watchers::Many(many) => many.is_empty(),
        }
    }

    /// Visits all; what `each` returns are the new flags, 0 takes the connection out.
    pub fn update(&mut self, mut each: impl FnMut(ConnId, Flags) -> Flags) {
        let mut keep = |w: &mut Packed| {
            let flags = each(w.conn(), w.flags());
            *w = Packed::new(w.conn(), flags);
            flags != 0
        };
        match self {
            Watchers::None | Watchers::Vacant(_) => {}
            Watchers::One(one) => {
                if !keep(one) {
                    *self = Watchers::None;
                }
            }
            Watchers::Few(few) => few.retain_mut(keep),
            Watchers::Many(many) => many.retain(keep),
        }
    }

    /// Visits all.
    pub fn each(&self, mut each: impl FnMut(ConnId, Flags)) {
        let mut visit = |w: &Packed| each(w.conn(), w.flags());
        match self {
            Watchers::None | Watchers::Vacant(_) => {}
            Watchers::One(one) => visit(one),
            Watchers::Few(few) => few.iter().for_each(visit),
            Watchers::Many(many) => many.iter().for_each(visit),
        }
    }
}
