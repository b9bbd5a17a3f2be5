//! The network between servers: what TCP does, and what it can't.
//!
//! Within a connection nothing is lost or reordered; a connection ends, and then a prefix of what was
//! sent has arrived. The two ends learn of it at different times, or never. A blocked direction holds
//! its messages back, as retransmission does, and lets them go in order when it opens. Order is lost
//! only by reconnecting: the receiver may still read the old connection while the new one carries
//! newer packets.
//!
//! Election links are different by design: one queue of capacity one for each pair, the newest
//! message wins, and the last one is repeated on a new connection. So there loss and duplication
//! are legal.

use std::collections::{BTreeMap, VecDeque};

use super::disk::Image;
use super::random::Random;
use crate::proto::election::Notification;
use crate::proto::quorum::QuorumPacket;
use crate::types::LinkId;

/// Names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnNo(pub u64);

/// Which of the two kinds of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// Learners and their leader.
    Learner,
    /// Elections.
    Election,
}

/// What travels on a connection.
#[derive(Clone, Debug)]
pub enum Message {
    /// A packet.
    Packet(QuorumPacket),
    /// A piece of a snapshot stream.
    Piece,
    /// The last piece.
    Image(Image),
    /// The connection ends here.
    End,
}

/// What can travel on a connection.
pub trait Travels {
    /// Whether it is the end of the connection.
    fn is_end(&self) -> bool;
}

impl Travels for Message {
    fn is_end(&self) -> bool {
        matches!(self, Message::End)
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Which host, by index.
    pub host: usize,
    /// Which of its lives.
    pub life: u64,
    /// The host's own number for it.
    pub link: LinkId,
    /// Whether the host believes in it.
    pub open: bool,
}

/// One direction of a connection.
#[derive(Clone, Debug)]
pub struct Way<M> {
    /// When the last message sent will arrive.
    arrives: u64,
    /// How many were sent.
    sent: u64,
    /// How many have come to the end of the way, heard or lost.
    done: u64,
    /// Messages from this number on are lost; but not the end itself.
    lost_from: Option<u64>,
    /// What waits while the direction is blocked.
    held: VecDeque<(u64, M)>,
    /// Nothing moves before this.
    clogged_until: u64,
}

impl<M> Default for Way<M> {
    fn default() -> Way<M> {
        Way {
            arrives: 0,
            sent: 0,
            done: 0,
            lost_from: None,
            held: VecDeque::new(),
            clogged_until: 0,
        }
    }
}

/// A connection: end 0 dialled.
#[derive(Clone, Debug)]
pub struct Conn<M> {
    /// The two ends.
    pub ends: [End; 2],
    /// From end 0 to 1, and from 1 to 0.
    ways: [Way<M>; 2],
}

/// A pair of servers on the election port, in one direction.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// What is to be sent: at most one, the newest.
    pub queued: Option<Notification>,
    /// What was sent last, to be repeated.
    pub last: Option<Notification>,
    /// Whether an arrival is scheduled.
    pub scheduled: bool,
}

/// The network.
#[derive(Clone, Debug)]
pub struct Network<M = Message> {
    servers: usize,
    conns: BTreeMap<ConnNo, Conn<M>>,
    next: u64,
    /// How many reasons block a direction, by port.
    blocked: BTreeMap<(Port, usize, usize), u32>,
    /// The election port, by sender and receiver.
    pub pairs: BTreeMap<(usize, usize), Pair>,
}

/// What becomes of an arriving message.
#[derive(Clone, Debug)]
pub enum Arrival<M = Message> {
    /// It is for this end.
    Deliver(End, M),
    /// One sent before it hasn't come yet.
    Early(M),
    /// It was lost, or waits.
    Nothing,
    /// The receiving end doesn't exist any more: its machine says so to the sender.
    Refused,
}

impl<M: Travels> Network<M> {
    /// A network in which everything works.
    pub fn new(servers: usize) -> Network<M> {
        Network {
            servers,
            conns: BTreeMap::new(),
            next: 0,
            blocked: BTreeMap::new(),
            pairs: BTreeMap::new(),
        }
    }

    /// Makes a connection.
    pub fn connect(&mut self, ends: [End; 2]) -> ConnNo {
        self.next += 1;
        self.conns.insert(ConnNo(self.next), Conn { ends, ways: Default::default() });
        ConnNo(self.next)
    }

    /// A connection, if it still exists.
    pub fn conn(&mut self, no: ConnNo) -> Option<&mut Conn<M>> {
        self.conns.get_mut(&no)
    }

    /// Connections with an end that somebody believes in.
    pub fn live(&self) -> Vec<ConnNo> {
        let live = self.conns.iter().filter(|(_, c)| c.ends.iter().any(|e| e.open));
        live.map(|(no, _)| *no).collect()
    }

    /// The connections of a host, with the end that is its own.
    pub fn of_host(&self, host: usize) -> Vec<(ConnNo, usize)> {
        let mut found = Vec::new();
        for (no, conn) in &self.conns {
            for (side, end) in conn.ends.iter().enumerate() {
                if end.host == host && end.open {
                    found.push((*no, side));
                }
            }
        }
        found
    }

    /// Forgets connections that nobody believes in. Their messages are gone with them.
    pub fn sweep(&mut self) {
        self.conns.retain(|_, c| c.ends.iter().any(|e| e.open));
    }

    /// Sends a message from end `side`: when it will arrive, and its number.
    pub fn send(
        &mut self,
        random: &mut Random,
        now: u64,
        no: ConnNo,
        side: usize,
        delay: (u64, u64),
    ) -> Option<(u64, u64)> {
        let conn = self.conns.get_mut(&no)?;
        let way = &mut conn.ways[side];
        let soonest = now.max(way.clogged_until) + random.between(delay.0, delay.1);
        way.arrives = way.arrives.max(soonest);
        way.sent += 1;
        Some((way.arrives, way.sent))
    }

    /// A message has come to the end of its way.
    pub fn arrive(&mut self, no: ConnNo, side: usize, seq: u64, message: M) -> Arrival<M> {
        let Some(conn) = self.conns.get_mut(&no) else { return Arrival::Nothing };
        let (from, to) = (conn.ends[side], conn.ends[1 - side]);
        let is_blocked = self.blocked.contains_key(&(Port::Learner, from.host, to.host));
        let way = &mut conn.ways[side];
        if is_blocked || !way.held.is_empty() {
            way.held.push_back((seq, message));
            return Arrival::Nothing;
        }
        if seq != way.done + 1 {
            return Arrival::Early(message);
        }
        way.done = seq;
        let lost = way.lost_from.is_some_and(|n| seq >= n);
        if lost && !message.is_end() {
            return Arrival::Nothing;
        }
        if to.open { Arrival::Deliver(to, message) } else { Arrival::Refused }
    }

    /// Loses everything sent from end `side` after some point that hasn't arrived yet; `unarrived`
    /// bounds how many that may be.
    pub fn lose(&mut self, random: &mut Random, no: ConnNo, side: usize, unarrived: u64) {
        if let Some(conn) = self.conns.get_mut(&no) {
            let way = &mut conn.ways[side];
            let from = way.sent + 1 - random.between(0, unarrived.min(way.sent - way.done));
            way.lost_from = Some(way.lost_from.map_or(from, |l| l.min(from)));
        }
    }

    /// Nothing sent from end `side` arrives before `until`.
    pub fn clog(&mut self, no: ConnNo, side: usize, until: u64) {
        if let Some(conn) = self.conns.get_mut(&no) {
            conn.ways[side].clogged_until = until;
        }
    }

    /// Blocks a direction, once more.
    pub fn block(&mut self, port: Port, from: usize, to: usize) {
        if from != to {
            *self.blocked.entry((port, from, to)).or_default() += 1;
        }
    }

    /// Removes one reason; returns whether it is open now.
    pub fn unblock(&mut self, port: Port, from: usize, to: usize) -> bool {
        let Some(count) = self.blocked.get_mut(&(port, from, to)) else { return true };
        *count -= 1;
        if *count == 0 {
            self.blocked.remove(&(port, from, to));
            return true;
        }
        false
    }

    /// Whether a direction is blocked.
    pub fn is_blocked(&self, port: Port, from: usize, to: usize) -> bool {
        self.blocked.contains_key(&(port, from, to))
    }

    /// What waited for a direction that is open now, in order.
    pub fn release(&mut self, from: usize, to: usize) -> Vec<(ConnNo, usize, u64, M)> {
        let mut released = Vec::new();
        for (no, conn) in &mut self.conns {
            for side in 0..2 {
                if conn.ends[side].host == from && conn.ends[1 - side].host == to {
                    let held = std::mem::take(&mut conn.ways[side].held);
                    released.extend(held.into_iter().map(|(seq, m)| (*no, side, seq, m)));
                }
            }
        }
        released
    }

    /// Opens every direction.
    pub fn unblock_all(&mut self) {
        self.blocked.clear();
    }

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        self.servers
    }
}
