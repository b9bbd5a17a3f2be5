//! What a leader is told of sessions that are used elsewhere: every answer to a ping names all that
//! were heard of since the last one, also at observers of the follower that answers; and nobody's
//! session ends within its timeout of that.

use std::collections::{BTreeMap, BTreeSet};

use crate::proto::quorum::{QuorumPacket, touched_sessions};
use crate::sim::whole::process::Process;
use crate::sim::whole::world::World;
use crate::state::StateMachine;
use crate::types::{Instant, SessionId};

/// The world's knowledge of one member, not the member's own.
#[derive(Debug, Default)]
pub struct Touches {
    /// The time of the turn, on the member's clock.
    pub now: Instant,
    /// When it last answered a ping, or began to serve.
    since: Instant,
    /// What its observers have told it since then.
    from_observers: BTreeSet<SessionId>,
    /// What learners have told it: when, and the session's timeout in ms.
    reported: BTreeMap<SessionId, (Instant, i32)>,
    /// Sessions used at observers that a follower has told its leader of.
    pub passed_on: u64,
}

impl Touches {
    /// It serves from now on, in another part than before.
    pub fn begin(&mut self) {
        self.since = self.now;
        self.from_observers.clear();
    }

    /// A learner has answered a ping.
    pub fn told(&mut self, packet: &QuorumPacket) {
        for (session, timeout_ms) in touched_sessions(packet.payload()).unwrap_or_default() {
            self.from_observers.insert(session);
            self.reported.insert(session, (self.now, timeout_ms));
        }
    }

    /// It answers a ping; an error says which session it has forgotten.
    ///
    /// # Errors
    /// A session that was used and is not in the answer.
    pub fn answers(
        &mut self,
        heard: &BTreeMap<SessionId, (Instant, i32)>,
        state: &StateMachine,
        packet: &QuorumPacket,
    ) -> Result<(), String> {
        let named = touched_sessions(packet.payload()).map_err(|e| e.to_string())?;
        let named: BTreeSet<SessionId> = named.into_iter().map(|(session, _)| session).collect();
        // Of sessions that are not global (yet) nobody is told.
        let own = heard.iter().filter(|(session, (at, _))| {
            *at >= self.since && state.sessions().get(**session).is_some()
        });
        let own = own.map(|(session, _)| *session);
        let forgotten = own.chain(self.from_observers.iter().copied()).find(|s| !named.contains(s));
        self.passed_on += self.from_observers.len() as u64;
        self.begin();
        match forgotten {
            Some(session) => Err(format!(
                "the leader is not told that session 0x{:x} was used here or at an observer",
                session.0
            )),
            None => Ok(()),
        }
    }

    /// How long ago a learner spoke of a session, in ms, and the session's timeout.
    fn silence(&self, session: SessionId, now: Instant) -> Option<(u128, i32)> {
        let (at, timeout_ms) = self.reported.get(&session)?;
        Some((now.since(*at).as_millis(), *timeout_ms))
    }
}

/// How long ago a process itself heard of a session, in ms, and the session's timeout.
fn silence_here(process: &Process, session: SessionId, now: Instant) -> Option<(u128, i32)> {
    let (at, timeout_ms) = process.heard.get(&session)?;
    Some((now.since(*at).as_millis(), *timeout_ms))
}

impl World {
    /// A session's end was proposed, or a local one ended, because it was silent.
    pub(in crate::sim::whole) fn check_expiry(&mut self, host: usize, session: SessionId) {
        let now = self.clock(host).mono;
        let Some(process) = &mut self.slots[host].process else { return };
        let here = silence_here(process, session, now);
        let there = process.member().and_then(|member| member.touches.silence(session, now));
        let early = [here, there].into_iter().flatten().find(|(ms, t)| *ms < *t as u128);
        if let Some((ms, timeout_ms)) = early {
            let text = format!(
                "{host}: session 0x{:x} of {timeout_ms} ms ended after {ms} ms of silence",
                session.0
            );
            return self.fail("NoEarlyExpiry", text);
        }
        if there.is_some() && here.is_none_or(|(ms, _)| there.is_some_and(|(t, _)| t < ms)) {
            self.cover("session of a learner expired");
        }
    }
}
