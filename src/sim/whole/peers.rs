//! Links and votes between members, over the same network as the clients' connections.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::member::{Door, Heard, History, Out};
use super::process::NodeEvent;
use super::world::{Parcel, What, World};
use crate::host::files::{self, Report};
use crate::host::transfer::{Piece, SnapshotSource};
use crate::proto::election::Notification;
use crate::proto::quorum::{PacketKind, QuorumPacket};
use crate::sim::network::{ConnNo, End, Port};
use crate::state::StateLoader;
use crate::storage::image_stream::{self, Framing, ImageDecoder};
use crate::types::{LinkId, ServerId, Zxid};
use crate::zab::{LinkEvent, ReadId};

/// Largest payload between members.
const RECORD_MAX: usize = 16 << 20;

/// A member's number for a link, and what stands for it.
pub enum Line {
    /// Not yet.
    Dialling,
    /// A connection.
    Up(PeerLine),
}

/// A link that stands.
pub struct PeerLine {
    conn: ConnNo,
    side: usize,
    /// Zab knows of it.
    told: bool,
    outgoing: VecDeque<Outgoing>,
    streaming: bool,
    image: Option<Receiving>,
}

enum Outgoing {
    Packet(Bytes),
    Stream(Box<dyn SnapshotSource>, Arc<History>),
}

/// A snapshot that arrives.
struct Receiving {
    decoder: ImageDecoder,
    sink: Box<StateLoader>,
    input: BytesMut,
}

impl PeerLine {
    fn new(conn: ConnNo, side: usize, told: bool) -> Line {
        let (outgoing, streaming, image) = Default::default();
        Line::Up(PeerLine { conn, side, told, outgoing, streaming, image })
    }
}

impl World {
    /// Does what a member asks of other members.
    pub(super) fn do_outs(&mut self, host: usize) {
        let life = self.slots[host].life;
        let Some(member) = self.slots[host].process.as_mut().and_then(|p| p.member()) else {
            return;
        };
        for out in std::mem::take(&mut member.outs) {
            match out {
                Out::Notify(to, notification) => {
                    self.notify(host, to.0 as usize - 1, notification);
                }
                Out::Dial(link, to, door) => {
                    self.slots[host].lines.insert(link, Line::Dialling);
                    let to = to.0 as usize - 1;
                    let at = self.now() + self.delay();
                    self.at(at, What::Dial { host, life, link, to, door });
                }
                Out::Listen(door) => self.slots[host].door = door,
                Out::Send(link, bytes) => self.queue(host, link, Outgoing::Packet(bytes)),
                Out::Stream(link, source, at) => {
                    let process = self.slots[host].process.as_mut();
                    let history = process.and_then(|p| p.member()).map(|m| m.future_history());
                    let mut history = history.unwrap_or_default();
                    history.split_off(&(at.0 + 1));
                    self.cover("snapshot sent");
                    let behind = self.slots[host].process.as_ref().map(|p| p.last_zxid() > at);
                    if behind == Some(true) {
                        self.cover("snapshot sent of an older image");
                    }
                    self.queue(host, link, Outgoing::Stream(source, Arc::new(history)));
                }
                Out::Close(link) => {
                    if let Some(Line::Up(line)) = self.slots[host].lines.remove(&link) {
                        self.hang_up(line.conn, line.side, 3);
                    }
                }
                Out::ReadLog(read, after, through) => {
                    self.soon(100, 20_000, What::ReadLog { host, life, read, after, through });
                }
            }
        }
    }

    pub(super) fn read_log(&mut self, host: usize, read: ReadId, after: Zxid, through: Zxid) {
        let Some(member) = self.slots[host].process.as_mut().and_then(|p| p.member()) else {
            return;
        };
        let found = files::read_range(&member.options, after, through).unwrap_or_default();
        self.tell(host, NodeEvent::Quorum(Heard::Report(Report::Read(read, found))));
    }

    fn tell_link(&mut self, host: usize, link: LinkId, event: LinkEvent) {
        self.tell(host, NodeEvent::Quorum(Heard::Link(link, event)));
    }

    // Sending.

    fn queue(&mut self, host: usize, link: LinkId, what: Outgoing) {
        if let Some(Line::Up(line)) = self.slots[host].lines.get_mut(&link) {
            line.outgoing.push_back(what);
            self.pump(host, link);
        }
    }

    /// Sends what waits, up to a snapshot.
    fn pump(&mut self, host: usize, link: LinkId) {
        loop {
            let life = self.slots[host].life;
            let Some(Line::Up(line)) = self.slots[host].lines.get_mut(&link) else { return };
            if line.streaming {
                return;
            }
            match line.outgoing.pop_front() {
                None => return,
                Some(Outgoing::Packet(bytes)) => {
                    let (conn, side) = (line.conn, line.side);
                    self.send(conn, side, Parcel::Packet(bytes));
                }
                Some(stream) => {
                    line.streaming = true;
                    line.outgoing.push_front(stream);
                    return self.soon(10, 2_000, What::Pump { host, life, link });
                }
            }
        }
    }

    /// The next piece of a snapshot.
    pub(super) fn pump_stream(&mut self, host: usize, link: LinkId) {
        let life = self.slots[host].life;
        let Some(Line::Up(line)) = self.slots[host].lines.get_mut(&link) else { return };
        let (conn, side) = (line.conn, line.side);
        let Some(Outgoing::Stream(source, history)) = line.outgoing.front_mut() else { return };
        let mut out = BytesMut::new();
        match source.next(&mut out) {
            Piece::More => {
                self.send(conn, side, Parcel::Piece(out.freeze(), None));
                let slow = self.params.piece_us;
                self.soon(10, slow, What::Pump { host, life, link });
            }
            Piece::NotYet => return self.soon(500, 2_000, What::Pump { host, life, link }),
            Piece::Last => {
                image_stream::write_end(&mut out);
                image_stream::write_link_signature(&mut out);
                let history = Arc::clone(history);
                line.outgoing.pop_front();
                line.streaming = false;
                // In two pieces, so that the end may be lost.
                let rest = out.split_off(out.len() / 2);
                self.send(conn, side, Parcel::Piece(out.freeze(), None));
                self.send(conn, side, Parcel::Piece(rest.freeze(), Some(history)));
                self.pump(host, link);
            }
            Piece::Abandoned => {
                self.cover("snapshot abandoned");
                self.slots[host].lines.remove(&link);
                self.hang_up(conn, side, 3);
                return self.tell_link(host, link, LinkEvent::Down);
            }
        }
        self.tell_link(host, link, LinkEvent::Progress);
    }

    // Receiving.

    /// Something has arrived on a link.
    pub(super) fn member_hears(&mut self, conn: ConnNo, end: End, parcel: Parcel) {
        let (host, link) = (end.host, end.link);
        if !self.alive(host, end.life) {
            return;
        }
        let options = self.params.state();
        let Some(Line::Up(line)) = self.slots[host].lines.get_mut(&link) else { return };
        match parcel {
            Parcel::Packet(bytes) => {
                let first = !std::mem::replace(&mut line.told, true);
                let mut input = BytesMut::from(&bytes[..]);
                let packet = match QuorumPacket::split_from(&mut input, RECORD_MAX) {
                    Ok(Some(packet)) => packet,
                    other => return self.fail("Codec", format!("{host}: {other:?}")),
                };
                if packet.kind == PacketKind::Snap && line.side == 0 {
                    line.image = Some(Receiving {
                        decoder: ImageDecoder::new(Framing::Link, RECORD_MAX),
                        sink: Box::new(StateLoader::new(options)),
                        input: BytesMut::new(),
                    });
                }
                if first {
                    self.tell_link(host, link, LinkEvent::Up);
                }
                self.cover(packet.kind.name());
                self.tell_link(host, link, LinkEvent::Packet(packet));
            }
            Parcel::Piece(bytes, history) => {
                let Some(mut image) = line.image.take() else { return };
                image.input.extend_from_slice(&bytes);
                match image.decoder.feed(&mut image.input, &mut *image.sink) {
                    Ok(true) => {
                        let history = history.map(|h| (*h).clone()).unwrap_or_default();
                        let heard = Heard::Image(link, image.sink, history);
                        self.tell(host, NodeEvent::Quorum(heard));
                    }
                    Ok(false) => {
                        line.image = Some(image);
                        self.tell_link(host, link, LinkEvent::Progress);
                    }
                    Err(error) => self.fail("Codec", format!("{host}: an image: {error}")),
                }
            }
            Parcel::End => {
                let side = line.side;
                self.close_end(conn, side);
                self.slots[host].lines.remove(&link);
                self.tell_link(host, link, LinkEvent::Down);
            }
            Parcel::Bytes(_) => {}
        }
    }

    // Connecting.

    pub(super) fn dial(&mut self, host: usize, life: u64, link: LinkId, to: usize, door: Door) {
        let dialling = matches!(self.slots[host].lines.get(&link), Some(Line::Dialling));
        if !self.alive(host, life) || !dialling {
            return;
        }
        let blocked = self.network.is_blocked(Port::Learner, host, to)
            || self.network.is_blocked(Port::Learner, to, host);
        if blocked {
            // A black hole: the connect times out.
            return self.soon(300_000, 1_000_000, What::DialFailed { host, life, link });
        }
        if self.slots[to].door != door || self.slots[to].process.is_none() {
            return self.soon(50, 1_000, What::DialFailed { host, life, link });
        }
        let inbound = LinkId(self.slots[to].next_inbound);
        self.slots[to].next_inbound += 1;
        let there = self.slots[to].life;
        let end = |host, life, link| End { host, life, link, open: true };
        let conn = self.network.connect([end(host, life, link), end(to, there, inbound)]);
        self.slots[host].lines.insert(link, PeerLine::new(conn, 0, true));
        self.slots[to].lines.insert(inbound, PeerLine::new(conn, 1, false));
        self.tell_link(host, link, LinkEvent::Up);
    }

    pub(super) fn dial_failed(&mut self, host: usize, life: u64, link: LinkId) {
        let dialling = matches!(self.slots[host].lines.get(&link), Some(Line::Dialling));
        if self.alive(host, life) && dialling {
            self.slots[host].lines.remove(&link);
            self.tell_link(host, link, LinkEvent::Down);
        }
    }

    // Votes: the newest wins, and is said again on a new connection.

    fn notify(&mut self, from: usize, to: usize, notification: Notification) {
        let pair = self.network.pairs.entry((from, to)).or_default();
        pair.queued = Some(notification);
        if !std::mem::replace(&mut pair.scheduled, true) {
            let at = self.now() + self.delay();
            self.at(at, What::Elect { from, to });
        }
    }

    pub(super) fn elect(&mut self, from: usize, to: usize) {
        let blocked = self.network.is_blocked(Port::Election, from, to);
        let up = self.slots[to].process.is_some();
        let pair = self.network.pairs.entry((from, to)).or_default();
        pair.scheduled = false;
        if blocked {
            return;
        }
        let Some(notification) = pair.queued.take() else { return };
        pair.last = Some(notification.clone());
        if up {
            let vote = Heard::Vote(ServerId(from as i64 + 1), notification.encode());
            self.tell(to, NodeEvent::Quorum(vote));
        }
    }

    pub(super) fn repeat(&mut self, from: usize, to: usize) {
        let pair = self.network.pairs.entry((from, to)).or_default();
        if let Some(last) = pair.last.clone()
            && pair.queued.is_none()
        {
            self.notify(from, to, last);
        }
    }

    /// The others connect to a member that has started, and say their last votes again.
    pub(super) fn repeat_votes(&mut self, to: usize) {
        for from in 0..self.slots.len() {
            self.soon(1_000, 50_000, What::Repeat { from, to });
        }
    }

    /// A process has ended: its votes are gone, and those for it.
    pub(super) fn forget_votes(&mut self, host: usize) {
        for (pair, votes) in &mut self.network.pairs {
            if pair.0 == host {
                (votes.queued, votes.last) = (None, None);
            } else if pair.1 == host {
                votes.queued = None;
            }
        }
    }

    /// Adds what a member has counted to the coverage; called when it ends.
    pub(super) fn harvest(&mut self, host: usize) {
        let Some(member) = self.slots[host].process.as_mut().and_then(|p| p.member()) else {
            return;
        };
        let (syncs, elections) = member.stats();
        let passed_on = std::mem::take(&mut member.touches.passed_on);
        let waited = std::mem::take(&mut member.node.waited);
        for (name, n) in [
            ("sync by DIFF", syncs.diff),
            ("sync by DIFF from the log", syncs.log),
            ("sync by TRUNC", syncs.trunc),
            ("sync by TRUNC and DIFF", syncs.trunc_diff),
            ("sync by SNAP", syncs.snap),
            ("elections", elections),
            ("session of an observer told to the leader", passed_on),
            ("greeting waited for a leader", waited.served),
            ("greeting refused after a wait", waited.refused),
        ] {
            *self.coverage.entry(name).or_default() += n;
        }
    }
}
