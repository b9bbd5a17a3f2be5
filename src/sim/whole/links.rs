//! What travels: bytes between clients and servers, in pieces that end anywhere.

use bytes::Bytes;

use super::client::Phase;
use super::conn::Side;
use super::process::NodeEvent;
use super::world::{Parcel, What, World};
use super::{Mutant, readers, workload};
use crate::proto::opcode::OpCode;
use crate::sim::network::{Arrival, ConnNo, End, Port};
use crate::types::{ConnId, LinkId, SessionId};

/// A connection without a session ends after this, µs.
const SESSIONLESS_US: u64 = 10_000_000;

impl World {
    /// The place of a client in the network.
    fn seat(&self, client: usize) -> usize {
        self.slots.len() + client
    }

    pub(super) fn delay(&mut self) -> u64 {
        let (from, to) = self.params.delay_us;
        // Mostly short, sometimes long.
        let to = if self.random.permille(900) { from + to.saturating_sub(from) / 10 } else { to };
        self.random.between(from, to.max(from))
    }

    /// Sends a parcel from one end of a connection.
    pub(super) fn send(&mut self, conn: ConnNo, side: usize, parcel: Parcel) {
        let delay = self.delay();
        let now = self.now();
        let sent = self.network.send(&mut self.random, now, conn, side, (delay, delay));
        if let Some((at, seq)) = sent {
            self.at(at, What::Arrive { conn, side, seq, parcel });
        }
    }

    /// Sends bytes, mostly whole, sometimes in pieces that end anywhere.
    pub(super) fn send_bytes(&mut self, conn: ConnNo, side: usize, mut bytes: Bytes) {
        while self.random.permille(100) && bytes.len() > 1 {
            let first = bytes.split_to(self.random.between(1, bytes.len() as u64 - 1) as usize);
            self.send(conn, side, Parcel::Bytes(first));
        }
        if !bytes.is_empty() {
            self.send(conn, side, Parcel::Bytes(bytes));
        }
    }

    /// One end closes its connection, or its process is gone.
    pub(super) fn hang_up(&mut self, conn: ConnNo, side: usize, lost: u64) {
        if let Some(c) = self.network.conn(conn) {
            c.ends[side].open = false;
        }
        if lost > 0 {
            self.network.lose(&mut self.random, conn, side, lost);
        }
        self.send(conn, side, Parcel::End);
        self.network.sweep();
    }

    pub(super) fn arrive(&mut self, conn: ConnNo, side: usize, seq: u64, parcel: Parcel) {
        match self.network.arrive(conn, side, seq, parcel) {
            Arrival::Deliver(end, parcel) => self.hear(conn, end, parcel),
            Arrival::Refused => {
                let to = self.network.conn(conn).map(|c| c.ends[1 - side].host);
                let off = to.and_then(|host| self.slots.get(host)).is_some_and(|slot| slot.off);
                if !off {
                    // The machine answers for the process that is gone.
                    self.send(conn, 1 - side, Parcel::End);
                }
            }
            Arrival::Early(parcel) => {
                self.at(self.now() + 1, What::Arrive { conn, side, seq, parcel });
            }
            Arrival::Nothing => {}
        }
    }

    fn hear(&mut self, conn: ConnNo, end: End, parcel: Parcel) {
        let length = match &parcel {
            Parcel::Bytes(bytes) => {
                bytes.iter().fold(bytes.len() as u64, |h, b| h.rotate_left(5) ^ u64::from(*b))
            }
            Parcel::Packet(bytes) | Parcel::Piece(bytes, _) => bytes.len() as u64,
            Parcel::End => 0,
        };
        self.mix(conn.0 << 1 ^ length);
        if end.link != LinkId(0) {
            return self.member_hears(conn, end, parcel);
        }
        if end.host < self.slots.len() {
            return self.server_hears(conn, end, parcel);
        }
        let client = end.host - self.slots.len();
        match parcel {
            Parcel::Bytes(bytes) => {
                if self.clients[client].link() != Some(conn) {
                    return;
                }
                let now = self.now();
                let server = self.network.conn(conn).map_or(0, |c| c.ends[1].host);
                let me = &mut self.clients[client];
                let (before, refused) = (me.session, me.refused.len());
                let asking = matches!(me.phase, Phase::Asking(_));
                match me.receive(now, &bytes) {
                    Ok(None) => {}
                    Ok(Some(answer)) => self.send_bytes(conn, 0, answer),
                    Err(what) => self.fail("ClientOrder", format!("client {client}: {what}")),
                }
                let me = &self.clients[client];
                if me.refused.len() > refused {
                    self.check_refused(client, server, before);
                } else if asking && matches!(me.phase, Phase::Open(_)) {
                    self.welcomed(client, server, before);
                }
            }
            Parcel::Packet(_) | Parcel::Piece(..) => {}
            Parcel::End => {
                self.close_end(conn, 0);
                if self.clients[client].link() == Some(conn) {
                    self.clients[client].lost();
                }
            }
        }
    }

    pub(super) fn close_end(&mut self, conn: ConnNo, side: usize) {
        if let Some(c) = self.network.conn(conn) {
            c.ends[side].open = false;
        }
        self.network.sweep();
    }

    // Servers.

    fn server_hears(&mut self, conn: ConnNo, end: End, parcel: Parcel) {
        if !self.alive(end.host, end.life) {
            return;
        }
        let now = self.clock(end.host).mono;
        let id = ConnId(conn.0);
        let Some(process) = &mut self.slots[end.host].process else { return };
        match parcel {
            Parcel::Bytes(bytes) => process.receive(id, now, &bytes),
            Parcel::Packet(_) | Parcel::Piece(..) => {}
            Parcel::End => {
                if let Some(side) = process.sides.get_mut(&id) {
                    side.eof = true;
                    process.woken.insert(id);
                }
                self.close_end(conn, 1);
            }
        }
        self.run_tasks(end.host);
    }

    /// Schedules the tasks of connections that have something to do.
    pub(super) fn run_tasks(&mut self, host: usize) {
        let life = self.slots[host].life;
        let Some(process) = &mut self.slots[host].process else { return };
        let mut waking = Vec::new();
        for conn in std::mem::take(&mut process.woken) {
            if let Some(side) = process.sides.get_mut(&conn)
                && !side.scheduled
            {
                side.scheduled = true;
                waking.push(conn);
            }
        }
        for conn in waking {
            self.soon(1, 40, What::Task { host, life, conn });
        }
    }

    /// A connection's task runs.
    pub(super) fn task(&mut self, host: usize, conn: ConnId) {
        let now = self.clock(host).mono;
        let Some(process) = &mut self.slots[host].process else { return };
        let Some(side) = process.sides.get_mut(&conn) else { return };
        side.scheduled = false;
        if side.ended {
            return;
        }
        let state = process.state.read();
        let ran = side.run(now, &process.rules, &state, &process.watches);
        drop(state);
        let no = ConnNo(conn.0);
        let mut bytes = ran.out;
        if self.params.mutant == Some(Mutant::ReadOnlySaysYes) {
            bytes = readers::say_yes(&bytes);
        }
        if !bytes.is_empty() {
            self.send_bytes(no, 1, bytes);
        }
        for submit in ran.submits {
            self.tell(host, NodeEvent::Submit(submit));
        }
        if let Some(why) = ran.end {
            self.end_side(host, conn, why);
        }
    }

    /// The server closes a connection.
    fn end_side(&mut self, host: usize, conn: ConnId, why: &'static str) {
        self.say(|| format!("{host} ends connection {}: {why}", conn.0));
        if let Some(side) = self.slots[host].process.as_mut().and_then(|p| p.sides.get_mut(&conn)) {
            side.ended = true;
        }
        self.hang_up(ConnNo(conn.0), 1, 0);
        // What still waits for it is dropped; the node thread removes it.
        self.tell(host, NodeEvent::Closed(conn));
    }

    /// Closes connections that are idle, as `server::client` does.
    pub(super) fn sweep(&mut self, host: usize) {
        let now = self.clock(host).mono;
        let Some(process) = &self.slots[host].process else { return };
        let idle = |side: &Side| {
            !side.ended
                && match side.session {
                    None => now.0.saturating_sub(side.since.0) > SESSIONLESS_US,
                    Some((_, timeout_ms)) => {
                        now.0.saturating_sub(side.active.0) > timeout_ms as u64 * 1000 + 2_000_000
                    }
                }
        };
        let dead = process.sides.iter().filter(|(_, side)| idle(side)).map(|(id, _)| *id);
        for conn in dead.collect::<Vec<_>>() {
            self.cover("idle connection closed");
            self.end_side(host, conn, "silent for too long");
        }
    }

    // Clients.

    /// A client acts, and plans when it does so again.
    pub(super) fn think(&mut self, client: usize) {
        let mean = self.params.think_us;
        self.soon(1, 2 * mean, What::Think { client });
        let now = self.now();
        let me = &self.clients[client];
        let silent = self.keeping.as_ref().is_some_and(|silent| silent.contains(&client));
        if me.paused_until > now || silent {
            return;
        }
        let patience = me.timeout_ms as u64 * 1000;
        match me.phase {
            Phase::Retired | Phase::Dialling => {}
            Phase::Apart => {
                self.clients[client].phase = Phase::Dialling;
                let host = self.choose_server(client);
                let delay = self.delay();
                self.at(now + delay, What::Dialled { client, host });
            }
            Phase::Asking(no) if now - me.heard > patience => self.leave(client, no),
            Phase::Asking(no) if me.turned_away => {
                self.cover("read-only: new session refused");
                self.leave(client, no);
            }
            Phase::Asking(_) => {}
            // Somewhere there may be a server that writes.
            Phase::Open(no) if me.reads_only() && self.random.permille(20) => {
                self.leave(client, no);
            }
            Phase::Open(no) if self.seeks_a_reader(client) && self.random.permille(30) => {
                self.leave(client, no);
            }
            // Two thirds of the timeout in silence: try another connection.
            Phase::Open(no) if now - me.heard > patience * 2 / 3 => self.leave(client, no),
            Phase::Open(no) => self.ask(client, no),
        }
    }

    /// Whether there is a member without a quorum for a client that is content with one.
    fn seeks_a_reader(&self, client: usize) -> bool {
        let me = &self.clients[client];
        self.chaos && me.may_read_only && !me.reads_only() && self.a_reader().is_some()
    }

    /// Where a client connects to next: anywhere, or, where sessions may be local, often where its
    /// own is; one that is content without a quorum often there.
    fn choose_server(&mut self, client: usize) -> usize {
        let any = self.random.below(self.slots.len() as u64) as usize;
        if self.seeks_a_reader(client) && self.random.permille(500) {
            return self.a_reader().unwrap_or(any);
        }
        match self.clients[client].home {
            Some((home, _)) if self.params.local.is_some() && self.random.permille(400) => home,
            _ => any,
        }
    }

    fn leave(&mut self, client: usize, no: ConnNo) {
        self.say(|| format!("client {client} leaves connection {}", no.0));
        self.hang_up(no, 0, 4);
        self.clients[client].lost();
    }

    fn ask(&mut self, client: usize, no: ConnNo) {
        let now = self.now();
        let me = &self.clients[client];
        let room = self.params.pipeline.saturating_sub(me.outstanding());
        let patience = me.timeout_ms as u64 * 1000;
        if me.closing {
            return;
        }
        if self.keeping.is_some() {
            if now - me.sent > patience / 3 {
                let bytes = self.clients[client].ask(now, OpCode::PING, Bytes::new());
                self.send_bytes(no, 0, bytes);
            }
            return;
        }
        if room == 0 || now - me.sent > patience / 3 {
            if now - me.sent > patience / 3 {
                let bytes = self.clients[client].ask(now, OpCode::PING, Bytes::new());
                self.send_bytes(no, 0, bytes);
            }
            return;
        }
        // A session that owns nodes is a global one, and of no use without a quorum.
        let ephemerals = !me.may_read_only;
        let burst = self.random.between(1, room as u64);
        for _ in 0..burst {
            let r = &mut self.random;
            let (opcode, body) = if self.probing {
                workload::probe(r)
            } else if self.chaos && r.permille(3) {
                (OpCode::CLOSE_SESSION, Bytes::new())
            } else if r.permille(self.params.reads) {
                workload::read(r, &self.params)
            } else {
                workload::write(r, &self.params, ephemerals)
            };
            let bytes = self.clients[client].ask(now, opcode, body);
            self.send_bytes(no, 0, bytes);
            if opcode == OpCode::CLOSE_SESSION {
                self.cover("session closed");
                break;
            }
        }
        if self.chaos && self.random.permille(self.params.moves) {
            self.cover("client moves");
            self.leave(client, no);
        }
    }

    /// Whether a client and a server can reach each other.
    fn reaches(&self, client: usize, host: usize) -> bool {
        let seat = self.seat(client);
        !self.network.is_blocked(Port::Learner, seat, host)
            && !self.network.is_blocked(Port::Learner, host, seat)
    }

    pub(super) fn dialled(&mut self, client: usize, host: usize) {
        if self.clients[client].phase != Phase::Dialling {
            return;
        }
        if self.slots[host].process.is_none() || !self.reaches(client, host) {
            self.clients[client].phase = Phase::Apart;
            return;
        }
        let life = self.slots[host].life;
        let seat = self.seat(client);
        let end = |host, life| End { host, life, link: LinkId(0), open: true };
        let no = self.network.connect([end(seat, 0), end(host, life)]);
        let now = self.clock(host).mono;
        if let Some(process) = &mut self.slots[host].process {
            process.sides.insert(ConnId(no.0), Side::new(ConnId(no.0), now));
        }
        let session = SessionId(self.clients[client].session);
        self.say(|| format!("client {client} connects to {host} as {}: {session:?}", no.0));
        let now = self.now();
        let hello = self.clients[client].connected(now, no);
        self.send_bytes(no, 0, hello);
    }

    /// A client goes for good, without a word.
    pub(super) fn retire(&mut self, client: usize) {
        if let Some(no) = self.clients[client].link() {
            self.hang_up(no, 0, 4);
        }
        self.clients[client].lost();
        self.clients[client].phase = Phase::Retired;
    }
}
