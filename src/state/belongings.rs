//! A session's ephemerals, collected in steps between which the state may change.

use bytes::BytesMut;

use crate::proto::jute::Write as _;
use crate::types::{SessionId, java};

use super::StateMachine;
use super::listing::{PIECE_BYTES, Progress};
use super::removals::Seen;

/// See the module. What others delete meanwhile is left out; the session itself creates nothing: its
/// requests wait for this one.
#[derive(Debug)]
pub struct Belongings {
    seen: Seen,
    session: i64,
    /// In the order of the numbers.
    found: Vec<Belonging>,
    /// The next number to be looked at.
    from: u32,
    is_collected: bool,
    /// Looked at, those left out included.
    total: usize,
    /// The most that the session ever had.
    most: usize,
    bytes: usize,
    order: Order,
}

/// An ephemeral.
#[derive(Debug)]
struct Belonging {
    id: u32,
    /// Its place in the order of adding.
    at: u32,
    hash: i32,
    /// None: it was deleted meanwhile.
    path: Option<Box<str>>,
}

/// The order in which they are told: that of Apache's copy of its hash set. It is made part by part.
#[derive(Debug, Default)]
struct Order {
    /// Buckets of the copied set and of the session's own.
    buckets: (usize, usize),
    /// Places in `found` by ranges of buckets, last range first.
    parts: Vec<Vec<u32>>,
    is_begun: bool,
    pieces: Vec<BytesMut>,
    count: usize,
}

/// Ephemerals in one part, about.
const PART: usize = 1024;

impl Belongings {
    /// Begins with those of a session.
    pub fn begin(state: &StateMachine, session: SessionId) -> Belongings {
        Belongings {
            seen: state.tree.removals.seen(),
            session: session.0,
            found: Vec::new(),
            from: 0,
            is_collected: false,
            total: 0,
            most: 0,
            bytes: 0,
            order: Order::default(),
        }
    }

    /// Bytes of the paths with their lengths.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that it holds, about.
    pub fn held_bytes(&self) -> usize {
        2 * self.bytes + 32 * self.found.len()
    }

    /// Whether [`Belongings::settle`] has something to do.
    pub fn is_unsettled(&self) -> bool {
        self.is_collected && !(self.order.is_begun && self.order.parts.is_empty())
    }

    /// How many there are; of a list that is done.
    pub fn count(&self) -> usize {
        self.order.count
    }

    /// Goes on by up to `max` ephemerals and about [`PIECE_BYTES`] of their paths; those that do not
    /// start with `prefix` are left out.
    pub fn step(&mut self, state: &StateMachine, prefix: &str, max: usize) -> Progress {
        let Some(removals) = state.tree.removals.since(&mut self.seen) else {
            return Progress::Restart;
        };
        for removal in removals {
            if let Ok(at) = self.found.binary_search_by_key(&removal.id, |one| one.id)
                && let Some(path) = self.found[at].path.take()
            {
                self.bytes -= 4 + path.len();
                self.order = Order::default();
            }
        }
        if !self.is_collected {
            let enough = self.bytes + PIECE_BYTES;
            let (more, most) = state.owners.placed_from(self.session, self.from);
            self.most = most;
            for (n, (id, at)) in more.enumerate() {
                if n >= max || self.bytes >= enough {
                    return Progress::More;
                }
                self.from = id + 1;
                self.total += 1;
                let path = state.tree.path(id);
                if path.starts_with(prefix) {
                    self.bytes += 4 + path.len();
                    let hash = java::string_hash(&path);
                    self.found.push(Belonging { id, at, hash, path: Some(path.into()) });
                }
            }
            self.is_collected = true;
        }
        let is_ordered = self.order.is_begun && self.order.parts.is_empty();
        if is_ordered { Progress::Done } else { Progress::Settle }
    }

    /// Puts some of what is collected in order; needs no lock.
    pub fn settle(&mut self) {
        if !self.is_collected {
            return;
        }
        let Belongings { found, order, most, total, .. } = self;
        if !order.is_begun {
            // The set is copied whole, whatever the prefix.
            let count = found.iter().filter(|one| one.path.is_some()).count();
            order.buckets = (java::cloned_buckets(*total), java::grown_buckets(*most));
            order.parts = vec![Vec::new(); 1 + count / PART];
            for (at, one) in found.iter().enumerate().filter(|(_, one)| one.path.is_some()) {
                let bucket = java::bucket(one.hash, order.buckets.0) as usize;
                let part = bucket * order.parts.len() / order.buckets.0;
                let last = order.parts.len() - 1;
                order.parts[last - part].push(at as u32);
            }
            order.is_begun = true;
            return;
        }
        let Some(mut part) = order.parts.pop() else { return };
        part.sort_unstable_by_key(|at| {
            let one = &found[*at as usize];
            let bucket = |buckets| java::bucket(one.hash, buckets);
            (bucket(order.buckets.0), bucket(order.buckets.1), one.at)
        });
        for at in part {
            let Some(path) = &found[at as usize].path else { continue };
            let is_full =
                order.pieces.last().is_none_or(|p: &BytesMut| p.len() + path.len() > PIECE_BYTES);
            if is_full {
                order.pieces.push(BytesMut::with_capacity(PIECE_BYTES.max(4 + path.len())));
            }
            if let Some(piece) = order.pieces.last_mut() {
                piece.str(path);
                order.count += 1;
            }
        }
    }

    /// The paths as they go to the wire, without their number before them.
    pub fn into_pieces(self) -> impl Iterator<Item = BytesMut> {
        self.order.pieces.into_iter()
    }
}
