//! The replicated half of sessions: who exists and with which timeout. Expiry is the leader's
//! business and not known here.

use crate::types::{Map, SessionId, map};

/// Session ids and their timeouts, as transactions made them (Apache `sessionsWithTimeouts`).
#[derive(Clone, Debug)]
pub struct SessionTable {
    timeouts: Map<i64, i32>,
}

impl SessionTable {
    /// No sessions.
    pub(super) fn new() -> SessionTable {
        SessionTable { timeouts: map() }
    }

    /// The timeout of a session in milliseconds.
    pub fn get(&self, id: SessionId) -> Option<i32> {
        self.timeouts.get(&id.0).copied()
    }

    /// All sessions with their timeouts in milliseconds, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, i32)> + '_ {
        self.timeouts.iter().map(|(&id, &timeout_ms)| (SessionId(id), timeout_ms))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.timeouts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.timeouts.is_empty()
    }

    /// Adds a session or changes its timeout.
    pub(super) fn set(&mut self, id: i64, timeout_ms: i32) {
        self.timeouts.insert(id, timeout_ms);
    }

    /// Forgets a session; false when there was none.
    pub(super) fn remove(&mut self, id: i64) -> bool {
        self.timeouts.remove(&id).is_some()
    }

    /// Ids and timeouts, in no particular order.
    pub(super) fn listed(&self) -> Vec<(i64, i32)> {
        self.timeouts.iter().map(|(&id, &t)| (id, t)).collect()
    }
}
