//! Who lives and until when: the half of sessions that is not replicated (Apache
//! `SessionTrackerImpl`, `ExpiryQueue`).
//!
//! Sessions expire in buckets of one tick. Each is filed once and looked at when its bucket is due:
//! whoever was active meanwhile is filed again, so a touch costs nothing but a number.
//!
//! A server that stood still (its process was stopped, its machine frozen) has not read what clients
//! said meanwhile. When it finds itself late, nobody expires before that has been read.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::{Code, ConnId, Instant, Map, SessionId, map};

/// Who looks so much later than it was due has stood still, and is given as long again to hear what
/// was said meanwhile: by clients here, and by learners once they have been pinged.
const OVERSLEPT: Duration = Duration::from_millis(500);

/// Sessions that end at once, at most: the end of each is a transaction to be prepared. The others
/// follow in the next turns.
const EXPIRE_MAX: usize = 500;

/// A session of this server, or of the ensemble when this server leads it.
#[derive(Clone, Debug)]
struct Tracked {
    /// What the connection negotiated; a renewal may change it.
    timeout_ms: i32,
    /// The end of the bucket in which it expires unless it is touched, ms.
    deadline_ms: u64,
    closing: bool,
    /// Its connection here, if it has one.
    conn: Option<ConnId>,
}

/// All tracked sessions.
#[derive(Debug)]
pub struct Sessions {
    tick_ms: u64,
    tracked: Map<SessionId, Tracked>,
    buckets: BTreeMap<u64, Vec<SessionId>>,
    /// It was late: nobody expires before this.
    listens_until: Option<Instant>,
    /// Sessions of the first bucket are left over from the last look.
    unfinished: bool,
    next_id: i64,
}

impl Sessions {
    /// No sessions; new ones are numbered from `first_id`, buckets are `tick_ms` long.
    pub fn new(tick_ms: u32, first_id: i64) -> Sessions {
        Sessions {
            tick_ms: u64::from(tick_ms.max(1)),
            tracked: map(),
            buckets: BTreeMap::new(),
            listens_until: None,
            unfinished: false,
            next_id: first_id,
        }
    }

    /// The id of the first session of a server: its own id in the top byte, then a time (Apache
    /// `initializeNextSessionId`). `elapsed_ms` is any number that grows from start to start.
    pub fn first_id(server: i64, elapsed_ms: i64) -> i64 {
        let id = ((elapsed_ms << 24) as u64 >> 8) as i64 | server << 56;
        // The mark of container nodes can't be a session.
        if id == i64::MIN { id + 1 } else { id }
    }

    /// A number for a new session; never one that is in use, whatever the clock did between two
    /// starts.
    pub fn new_id(&mut self) -> SessionId {
        loop {
            let id = SessionId(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            let reserved = id == SessionId::NONE || id.0 == i64::MIN;
            if !reserved && !self.tracked.contains_key(&id) {
                return id;
            }
        }
    }

    /// The end of the bucket of a session that was active at `at`.
    fn deadline(&self, at: Instant, timeout_ms: i32) -> u64 {
        let due = at.as_millis() + timeout_ms.max(0) as u64;
        (due / self.tick_ms + 1) * self.tick_ms
    }

    /// Tracks a session from `at` on; one that is known gets a full timeout and no connection.
    pub fn track(&mut self, id: SessionId, timeout_ms: i32, at: Instant) {
        let deadline_ms = self.deadline(at, timeout_ms);
        self.buckets.entry(deadline_ms).or_default().push(id);
        let tracked = Tracked { timeout_ms, deadline_ms, closing: false, conn: None };
        self.tracked.insert(id, tracked);
    }

    /// Forgets a session; its connection, if it has one here.
    pub fn remove(&mut self, id: SessionId) -> Option<ConnId> {
        self.tracked.remove(&id)?.conn
    }

    /// Something was heard of a session at `at`, over a connection with this timeout. False when it
    /// is unknown or closing.
    pub fn touch(&mut self, id: SessionId, timeout_ms: i32, at: Instant) -> bool {
        let deadline_ms = self.deadline(at, timeout_ms);
        match self.tracked.get_mut(&id) {
            Some(session) if !session.closing => {
                session.timeout_ms = timeout_ms;
                session.deadline_ms = session.deadline_ms.max(deadline_ms);
                true
            }
            _ => false,
        }
    }

    /// Whether it is not tracked at all.
    pub fn is_unknown(&self, id: SessionId) -> bool {
        !self.tracked.contains_key(&id)
    }

    /// A tracked session's timeout.
    pub fn timeout_ms(&self, id: SessionId) -> Option<i32> {
        Some(self.tracked.get(&id)?.timeout_ms)
    }

    /// OK, or SESSIONEXPIRED when it is unknown or closing.
    pub fn check(&self, id: SessionId) -> Code {
        match self.tracked.get(&id) {
            Some(session) if !session.closing => Code::OK,
            _ => Code::SESSION_EXPIRED,
        }
    }

    /// Marks a session as closing; its connection here, if it has one. Nothing is accepted from it
    /// any more.
    pub fn set_closing(&mut self, id: SessionId) -> Option<ConnId> {
        let session = self.tracked.get_mut(&id)?;
        session.closing = true;
        session.conn
    }

    /// The connection that a session has here.
    pub fn conn(&self, id: SessionId) -> Option<ConnId> {
        self.tracked.get(&id)?.conn
    }

    /// Gives a session its connection.
    pub fn attach(&mut self, id: SessionId, conn: ConnId) {
        if let Some(session) = self.tracked.get_mut(&id) {
            session.conn = Some(conn);
        }
    }

    /// A connection is gone; the session lives on.
    pub fn detach(&mut self, id: SessionId, conn: ConnId) {
        if let Some(session) = self.tracked.get_mut(&id)
            && session.conn == Some(conn)
        {
            session.conn = None;
        }
    }

    /// When to call [`Sessions::expire`].
    pub fn next_due(&self) -> Option<Instant> {
        let due = self.buckets.keys().next().map(|ms| Instant::from_millis(*ms))?;
        Some(self.listens_until.map_or(due, |until| until.max(due)))
    }

    /// Whether sessions may expire at `now` for whose activity has not been asked.
    pub fn asks_for_activity(&self, now: Instant) -> bool {
        !self.unfinished && self.next_due().is_some_and(|due| due <= now)
    }

    /// The sessions that expire now, or some of them: then there are more at once. None yet if this
    /// server stood still. Those that were active since they were filed are filed again. They are
    /// marked as closing.
    pub fn expire(&mut self, now: Instant) -> Vec<SessionId> {
        let mut expired = Vec::new();
        match self.listens_until {
            Some(until) if now < until => return expired,
            Some(_) => self.listens_until = None,
            None if self.unfinished => {}
            None if self.next_due().is_some_and(|due| now >= due + OVERSLEPT) => {
                self.listens_until = Some(now + OVERSLEPT);
                return expired;
            }
            None => {}
        }
        while let Some(bucket) = self.buckets.first_entry() {
            if *bucket.key() > now.as_millis() {
                break;
            }
            let (due, mut ids) = bucket.remove_entry();
            let mut done = 0;
            for id in ids.iter().copied() {
                if expired.len() == EXPIRE_MAX {
                    break;
                }
                done += 1;
                let Some(session) = self.tracked.get_mut(&id) else { continue };
                if session.closing {
                    continue;
                }
                if session.deadline_ms > due {
                    let deadline = session.deadline_ms;
                    self.buckets.entry(deadline).or_default().push(id);
                } else {
                    session.closing = true;
                    expired.push(id);
                }
            }
            let rest = std::mem::replace(&mut self.unfinished, done < ids.len());
            if self.unfinished {
                self.buckets.insert(due, ids.split_off(done));
            }
            if self.unfinished || rest {
                // Another bucket that is due by now is due to be asked for first.
                break;
            }
        }
        expired
    }

    /// All sessions with the end of their bucket in ms on the monotonic clock, for `dump`.
    pub fn deadlines(&self) -> impl Iterator<Item = (SessionId, u64)> + '_ {
        self.tracked.iter().map(|(id, session)| (*id, session.deadline_ms))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tracked.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tracked.is_empty()
    }
}

#[cfg(test)]
mod tests;
