//! What travels between hosts: links, dialling, votes.

use super::*;

impl<H: Host> World<H> {
    pub(super) fn send_packet(&mut self, host: usize, link: LinkId, packet: QuorumPacket) {
        let learner = link.0 >= LINK_OUTBOUND;
        let epoch = self.slots[host].value.as_ref().map_or(Epoch(0), |v| v.peer().epoch());
        self.see(host, &Seen::Sent { packet: &packet, epoch, learner });
        self.cover(packet.kind.name());
        if packet.kind == PacketKind::Ack && learner && packet.zxid.counter() == 0 {
            self.ghost.joined[host] = Some(epoch);
        }
        if packet.kind == PacketKind::Proposal && !learner {
            let digest = chain(0, packet.zxid, &packet.payload());
            match self.ghost.proposed.get(&packet.zxid).copied() {
                Some((_, d)) if d == digest => {}
                Some(_) => {
                    self.fail("OneTxnPerZxid", format!("{host} sends another {}", packet.zxid));
                }
                None => self.proposed(host, packet.zxid, digest),
            }
        }
        if let Some(Line::Conn(no, side)) = self.slots[host].lines.get(&link).copied() {
            self.send(no, side, Message::Packet(packet));
        }
    }

    pub(super) fn close(&mut self, host: usize, link: LinkId, why: &LinkError) {
        if matches!(why, LinkError::Gap { .. } | LinkError::CommitOutOfOrder { .. }) {
            self.cover("protocol violation noticed");
        }
        let Some(Line::Conn(no, side)) = self.slots[host].lines.remove(&link) else { return };
        if self.random.permille(250) {
            // What its reader had taken from the socket is still heard: by nobody, it should be.
            self.cover("closed link still read");
            let late = if self.random.permille(200) { 400_000 } else { 1_000 };
            let at = self.now + self.random.between(1, late);
            return self.at(at, What::HangUp { host, life: self.slots[host].life, no, side });
        }
        self.hang_up(no, side);
    }

    pub(super) fn hang_up(&mut self, no: ConnNo, side: usize) {
        if let Some(conn) = self.network.conn(no) {
            conn.ends[side].open = false;
        }
        self.network.lose(&mut self.random, no, side, 3);
        self.send(no, side, Message::End);
        self.network.sweep();
    }

    // The network.

    pub(super) fn delay(&mut self) -> u64 {
        let (from, to) = self.params.delay_us;
        // Mostly short, sometimes long.
        let to = if self.random.permille(900) { from + (to.saturating_sub(from)) / 10 } else { to };
        self.random.between(from, to.max(from))
    }

    pub(in crate::sim) fn send(&mut self, conn: ConnNo, side: usize, message: Message) {
        let delay = self.delay();
        let sent = self.network.send(&mut self.random, self.now, conn, side, (delay, delay));
        if let Some((at, seq)) = sent {
            self.at(at, What::Arrive { conn, side, seq, message });
        }
    }

    pub(super) fn arrive(&mut self, conn: ConnNo, side: usize, seq: u64, message: Message) {
        if let Some(c) = self.network.conn(conn) {
            let to = c.ends[1 - side];
            let until = self.slots[to.host].paused_until;
            if to.open && until > self.now {
                return self.at(until, What::Arrive { conn, side, seq, message });
            }
        }
        match self.network.arrive(conn, side, seq, message) {
            Arrival::Deliver(end, message) => {
                if self.alive(end.host, end.life) {
                    self.hear(conn, end, message);
                }
            }
            Arrival::Refused => {
                let Some(to) = self.network.conn(conn).map(|c| c.ends[1 - side]) else { return };
                if !self.slots[to.host].machine_off {
                    // The machine answers for the process that is gone: the sender hears of it.
                    self.cover("reset");
                    self.send(conn, 1 - side, Message::End);
                }
            }
            Arrival::Early(message) => {
                self.at(self.now + 1, What::Arrive { conn, side, seq, message });
            }
            Arrival::Nothing => {}
        }
    }

    pub(super) fn hear(&mut self, conn: ConnNo, end: End, message: Message) {
        let event = match message {
            Message::Packet(packet) => LinkEvent::Packet(packet),
            Message::Piece => LinkEvent::Progress,
            Message::Image(image) => {
                let slot = &mut self.slots[end.host];
                slot.next_image += 1;
                let id = ImageId(slot.next_image);
                self.disks[end.host].images.push((id, image));
                LinkEvent::Image(id)
            }
            Message::End => {
                if let Some(c) = self.network.conn(conn) {
                    for e in &mut c.ends {
                        if e.host == end.host && e.link == end.link {
                            e.open = false;
                        }
                    }
                }
                self.slots[end.host].lines.remove(&end.link);
                self.network.sweep();
                LinkEvent::Down
            }
        };
        self.feed(end.host, Input::Link(end.link, event));
    }

    pub(super) fn dial(&mut self, host: usize, life: u64, link: LinkId, to: usize) {
        if !self.alive(host, life) || !self.slots[host].lines.contains_key(&link) {
            return;
        }
        let there = self.network.is_blocked(Port::Learner, host, to);
        let back = self.network.is_blocked(Port::Learner, to, host);
        if there || back {
            // A black hole: the connect times out.
            self.cover("connect timed out");
            let at = self.now + self.random.between(500_000, 2_000_000);
            return self.at(at, What::Dialled { host, life, link, conn: None });
        }
        let at = self.now + self.delay();
        if self.slots[to].port_held && !self.slots[to].listening && self.slots[to].holder_answers {
            self.cover("connected to another program");
            let ends = [
                End { host, life, link, open: true },
                End { host: to, life: u64::MAX, link: LinkId(0), open: true },
            ];
            let conn = self.network.connect(ends);
            return self.at(at, What::Dialled { host, life, link, conn: Some(conn) });
        }
        if !self.slots[to].listening || self.slots[to].value.is_none() {
            self.cover("connect refused");
            return self.at(at, What::Dialled { host, life, link, conn: None });
        }
        if self.slots[to].paused_until > self.now {
            let until = self.slots[to].paused_until;
            return self.at(until, What::Dial { host, life, link, to });
        }
        let inbound = LinkId(self.slots[to].next_inbound);
        self.slots[to].next_inbound += 1;
        let ends = [
            End { host, life, link, open: true },
            End { host: to, life: self.slots[to].life, link: inbound, open: true },
        ];
        let conn = self.network.connect(ends);
        self.slots[to].lines.insert(inbound, Line::Conn(conn, 1));
        self.at(at, What::Dialled { host, life, link, conn: Some(conn) });
        self.feed(to, Input::Link(inbound, LinkEvent::Up));
    }

    pub(super) fn notify(&mut self, from: usize, to: usize, n: Notification) {
        let pair = self.network.pairs.entry((from, to)).or_default();
        if pair.queued.replace(n).is_some() {
            // The older one was still in the queue of one.
            *self.coverage.entry("notification replaced").or_default() += 1;
        }
        if !std::mem::replace(&mut pair.scheduled, true) {
            let at = self.now + self.delay();
            self.at(at, What::Elect { from, to });
        }
    }

    pub(super) fn elect(&mut self, from: usize, to: usize) {
        let blocked = self.network.is_blocked(Port::Election, from, to);
        let until = self.slots[to].paused_until;
        let up = self.slots[to].value.is_some();
        let loss = self.random.permille(self.params.election_loss);
        let pair = self.network.pairs.entry((from, to)).or_default();
        pair.scheduled = false;
        if blocked {
            return;
        }
        if until > self.now && up {
            pair.scheduled = true;
            return self.at(until, What::Elect { from, to });
        }
        let Some(n) = pair.queued.take() else { return };
        pair.last = Some(n.clone());
        if !up || loss {
            if loss {
                self.cover("notification lost");
                let at = self.now + self.random.between(10_000, 1_000_000);
                self.at(at, What::Repeat { from, to });
            }
            return;
        }
        self.cover("notification");
        self.feed(to, Input::Notification(ServerId(from as i64 + 1), n));
    }

    // Disks.
}
