//! What the world knows of sessions, to judge what clients are told of theirs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::params::Kind;
use super::world::World;
use crate::proto::jute::Reader;
use crate::proto::opcode::OpCode;
use crate::proto::txn::TxnHeader;
use crate::types::SessionId;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Global sessions, by the transaction that made them.
    pub created: BTreeMap<i64, i64>,
    /// Sessions whose end was proposed.
    pub closes: BTreeSet<i64>,
}

fn header(entry: &Bytes) -> Option<TxnHeader> {
    Reader::new(entry.clone()).get().ok()
}

impl Known {
    /// Some member has logged this for the first time.
    pub fn proposed(&mut self, entry: &Bytes) {
        if let Some(header) = header(entry)
            && OpCode(header.kind) == OpCode::CLOSE_SESSION
        {
            self.closes.insert(header.session.0);
        }
    }

    /// A quorum has this.
    pub fn committed(&mut self, entry: &Bytes) {
        if let Some(header) = header(entry)
            && OpCode(header.kind) == OpCode::CREATE_SESSION
        {
            self.created.entry(header.session.0).or_insert(header.zxid.0);
        }
    }
}

impl World {
    /// A client has got its session at a server: made, or renewed.
    pub(super) fn welcomed(&mut self, client: usize, host: usize, before: i64) {
        let me = &mut self.clients[client];
        let (session, reads) = (me.session, me.reads_only());
        if before != session {
            me.home = Some((host, self.slots[host].life));
        }
        if reads {
            return self.cover("read-only: session");
        }
        if me.was_reader && std::mem::take(&mut me.was_reader) {
            self.cover("read-only: client writes again");
        }
        if self.params.local.is_some() && !self.known.created.contains_key(&session) {
            let what = if before == session { "local session renewed" } else { "local session" };
            self.cover(what);
        }
    }

    /// A client was told by a server that its session is gone.
    pub(super) fn check_refused(&mut self, client: usize, host: usize, session: i64) {
        self.say(|| format!("{host} refuses session 0x{session:x} of client {client}"));
        if self.params.kind == Kind::One {
            return;
        }
        let standing = self.standing(host);
        let me = &self.clients[client];
        let (seen, home, upgraded) = (me.last_zxid(), me.home, me.made_ephemerals(session));
        if standing == "read-only" || me.refused_by_reader {
            // It knows what it knows: a session may be younger.
            return self.cover("read-only: session refused");
        }
        if let Some(created) = self.known.created.get(&session) {
            // A client that has seen its session's beginning is not let in by who has not.
            if seen >= *created && !self.known.closes.contains(&session) {
                let text = format!("{host} refuses session 0x{session:x}, which has not ended");
                return self.fail("SessionKept", text);
            }
            return self.cover(match standing {
                "leader" => "expired session refused by a leader",
                "follower" => "expired session refused by a follower",
                _ => "expired session refused by an observer",
            });
        }
        if self.params.local.is_none() {
            let text = format!("{host} refuses session 0x{session:x}, which it never made");
            return self.fail("SessionKept", text);
        }
        if home != Some((host, self.slots[host].life)) {
            return self.cover("local session refused elsewhere");
        }
        let now = self.clock(host).mono;
        let process = self.slots[host].process.as_ref();
        let heard = process.and_then(|p| p.heard.get(&SessionId(session))).copied();
        if let Some((at, timeout_ms)) = heard
            && now.since(at).as_millis() < timeout_ms as u128
            && !upgraded
        {
            let text = format!(
                "{host} has forgotten its local session 0x{session:x} of {timeout_ms} ms after {} ms",
                now.since(at).as_millis()
            );
            self.fail("SessionKept", text);
        }
    }

    /// What a server is for its clients.
    pub(super) fn standing(&self, host: usize) -> &'static str {
        use super::process::Brain;
        let Some(process) = &self.slots[host].process else { return "down" };
        let Brain::Member(member) = &process.brain else { return "alone" };
        let peer = member.node.member.peer();
        match () {
            () if process.is_read_only() => "read-only",
            () if process.is_leading() => "leader",
            () if !process.is_serving() => "idle",
            () if host < self.params.voters => "follower",
            () if peer.source() == peer.leader() => "observer",
            () => "observer of a follower",
        }
    }
}
