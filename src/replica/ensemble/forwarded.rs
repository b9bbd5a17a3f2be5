//! What a learner has asked its leader and waits for: writes, syncs, revalidations of sessions.
//!
//! Writes come back as commits in the order of all writes; a commit belongs to a request of ours if
//! session and xid are those of the oldest one of that session that waits (Apache
//! `CommitProcessor`), and it was ordered after we asked. Apache leaves out the last: a client that
//! moves with writes on their way, and then counts its xids from one again as many do, would be told
//! that a write is done which is not even ordered. Anything else was asked through another member.
//! Syncs come back in the order they were asked, revalidations by session.

use std::collections::VecDeque;

use crate::types::{Map, SessionId, Zxid, map};

/// See the module; `T` is what the caller needs to answer.
#[derive(Debug)]
pub struct Forwarded<T> {
    writes: Map<SessionId, VecDeque<Write<T>>>,
    syncs: VecDeque<T>,
    revalidations: Map<SessionId, VecDeque<T>>,
    outstanding: usize,
}

#[derive(Debug)]
struct Write<T> {
    cxid: i32,
    /// The last transaction that was proposed to this server before it asked.
    after: Zxid,
    ticket: T,
}

impl<T> Default for Forwarded<T> {
    fn default() -> Forwarded<T> {
        Forwarded { writes: map(), syncs: VecDeque::new(), revalidations: map(), outstanding: 0 }
    }
}

impl<T> Forwarded<T> {
    /// A write was sent; `after` is the last transaction that had been proposed to this server.
    pub fn write(&mut self, session: SessionId, cxid: i32, after: Zxid, ticket: T) {
        self.writes.entry(session).or_default().push_back(Write { cxid, after, ticket });
        self.outstanding += 1;
    }

    /// A transaction of this origin was committed: whose request it was, if one of ours.
    pub fn committed(&mut self, session: SessionId, cxid: i32, zxid: Zxid) -> Option<T> {
        let waiting = self.writes.get_mut(&session)?;
        let oldest = waiting.front()?;
        if oldest.cxid != cxid || zxid <= oldest.after {
            return None;
        }
        let Write { ticket, .. } = waiting.pop_front()?;
        if waiting.is_empty() {
            self.writes.remove(&session);
        }
        self.outstanding -= 1;
        Some(ticket)
    }

    /// A sync was sent.
    pub fn sync(&mut self, ticket: T) {
        self.syncs.push_back(ticket);
        self.outstanding += 1;
    }

    /// The leader has answered the oldest sync.
    pub fn synced(&mut self) -> Option<T> {
        let ticket = self.syncs.pop_front()?;
        self.outstanding -= 1;
        Some(ticket)
    }

    /// The leader was asked about a session. It is asked for each connection: between two of them the
    /// session may have been elsewhere.
    pub fn revalidate(&mut self, session: SessionId, ticket: T) {
        self.revalidations.entry(session).or_default().push_back(ticket);
    }

    /// The leader has answered about a session: the oldest that waits for that.
    pub fn revalidated(&mut self, session: SessionId) -> Option<T> {
        let waiting = self.revalidations.get_mut(&session)?;
        let ticket = waiting.pop_front();
        if waiting.is_empty() {
            self.revalidations.remove(&session);
        }
        ticket
    }

    /// Writes and syncs that wait.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// The leader is gone, and with it every answer.
    pub fn clear(&mut self) {
        *self = Forwarded::default();
    }
}

#[cfg(test)]
mod tests;
