//! A while in which nothing goes wrong and nobody asks for anything: clients only ping, through
//! whichever member they are connected to, and keep their sessions. Some are silent instead: their
//! sessions end in time, once, with what they own, and they are told when they come back.

use std::collections::BTreeSet;

use super::client::Phase;
use super::process::Process;
use super::workload;
use super::world::World;
use crate::proto::opcode::OpCode;
use crate::types::{OwnerKind, SessionId};

impl World {
    /// The whole while.
    pub(super) fn must_keep(&mut self) {
        if self.violation.is_some() {
            return;
        }
        self.keeping = Some(BTreeSet::new());
        // What a timeout of two ticks can bear.
        let limit = self.params.tick_ms * 1000 / 50;
        let (from, to) = self.params.delay_us;
        self.params.delay_us = (from.min(limit), to.min(limit));
        self.params.think_us = self.params.think_us.min(self.params.tick_ms * 1000 / 40);
        if !self.all_come_to_rest() {
            return;
        }
        for client in 0..self.clients.len() {
            if let Phase::Open(no) = self.clients[client].phase {
                let body = workload::own(client);
                let now = self.now();
                let bytes = self.clients[client].ask(now, OpCode::CREATE, body);
                self.send_bytes(no, 0, bytes);
            }
        }
        if !self.all_come_to_rest() {
            return;
        }
        let silent = (0..self.clients.len()).filter(|_| self.random.permille(400));
        let silent: BTreeSet<usize> = silent.collect::<Vec<_>>().into_iter().collect();
        let kept: Vec<(usize, i64, &'static str)> = (0..self.clients.len())
            .filter(|client| !silent.contains(client))
            .map(|client| (client, self.clients[client].session, self.at_whom(client)))
            .collect();
        let gone: Vec<(usize, i64, &'static str)> = silent
            .iter()
            .map(|client| (*client, self.clients[*client].session, self.at_whom(*client)))
            .collect();
        self.say(|| format!("clients {kept:?} keep their sessions, {gone:?} are silent"));
        self.keeping = Some(silent);
        // The longest timeout on the slowest clock, the ticks until it is noticed, and the disks.
        let end = self.now() + self.params.tick_ms * 26 * 1000 + 2_000_000;
        self.run_until(end);
        for (client, session, standing) in kept {
            self.check_kept(client, session, standing);
        }
        for (client, session, standing) in &gone {
            self.check_gone(*client, *session, standing);
        }
        if self.violation.is_some() {
            return;
        }
        self.keeping = Some(BTreeSet::new());
        let told = |world: &World| {
            gone.iter().all(|(client, session, _)| {
                let client = &world.clients[*client];
                client.refused.contains(session) && client.session != 0
            })
        };
        if !self.run_while_not(30_000_000, told) && self.violation.is_none() {
            self.fail("ExpiredIsTold", format!("one of {gone:?} is not told that it has expired"));
        }
        self.keeping = None;
    }

    /// Runs until every client has its session and every answer.
    fn all_come_to_rest(&mut self) -> bool {
        let rests = |world: &World| {
            let open = |c: &super::client::Client| {
                matches!(c.phase, Phase::Open(_)) && !c.reads_only() && c.outstanding() == 0
            };
            world.clients.iter().all(open)
                && world.slots.iter().all(|slot| {
                    let process = slot.process.as_ref();
                    process.is_some_and(|p| p.is_serving() && !p.is_read_only())
                })
        };
        let done = self.run_while_not(30_000_000, rests);
        if !done && self.violation.is_none() {
            let phases: Vec<Phase> = self.clients.iter().map(|client| client.phase).collect();
            self.fail("Serves", format!("clients do not come to rest: {phases:?}"));
        }
        done && self.violation.is_none()
    }

    /// What the server is that a client is connected to.
    fn at_whom(&mut self, client: usize) -> &'static str {
        let no = self.clients[client].link();
        let host = no.and_then(|no| self.network.conn(no)).map(|conn| conn.ends[1].host);
        host.map_or("nobody", |host| self.standing(host))
    }

    fn check_kept(&mut self, client: usize, session: i64, standing: &'static str) {
        if self.clients[client].session != session {
            let text = format!("client {client} at a {standing} pinged and lost 0x{session:x}");
            // Local sessions don't follow a client that has to move.
            if self.known.created.contains_key(&session) || self.params.local.is_none() {
                self.fail("SessionKept", text);
            }
            return;
        }
        self.cover(match standing {
            "follower" => "session kept at a follower",
            "observer" => "session kept at an observer",
            "observer of a follower" => "session kept at an observer of a follower",
            _ => "session kept at a leader",
        });
    }

    fn check_gone(&mut self, client: usize, session: i64, standing: &'static str) {
        let id = SessionId(session);
        let rules = self.rules();
        let lives = |process: &Process| {
            let state = process.state.read();
            let local = process.local_sessions().is_some_and(|local| !local.is_unknown(id));
            let own = state.node(&workload::own_path(client));
            let owner = own.map(|node| rules.kind(node.stat().ephemeral_owner));
            local || state.sessions().get(id).is_some() || owner == Some(OwnerKind::Ephemeral(id))
        };
        let living = |slot: &super::world::Slot| slot.process.as_ref().is_some_and(lives);
        if let Some(host) = self.slots.iter().position(living) {
            let text = format!(
                "{host} still has session 0x{session:x} of client {client}, silent at a {standing}"
            );
            return self.fail("ExpiresInTime", text);
        }
        self.cover(match standing {
            "follower" => "silent session ended at a follower",
            "observer" => "silent session ended at an observer",
            "observer of a follower" => "silent session ended at an observer of a follower",
            _ => "silent session ended at a leader",
        });
    }
}
