//! Read-only mode: a member that finds no leader for a while serves readers from what it has
//! (Apache `ReadOnlyZooKeeperServer`, `readonlymode.enabled`).
//!
//! ```text
//!   LOOKING --- the grace has passed, no leader ---> read-only --- a leader is found ---> Idle, ...
//! ```
//!
//! Only clients that said so are served, and only in local sessions: nobody could order a
//! transaction. Without local sessions a new one is refused in Apache's odd way, a bare reply
//! header where a connect response is expected. What it shows may be old, and may contain
//! transactions of its log that the ensemble never committed.

use std::time::Duration;

use super::{Member, Role};
use crate::replica::Deliver;
use crate::state::StateMachine;
use crate::types::{Code, ConnId, Now, SessionId};
use crate::zab::RoleChange;

/// The shortest time without a leader after which readers are served, ms (Apache's bound).
const GRACE_MS_MIN: u32 = 2000;

impl Member {
    /// The same, serving readers while it has no quorum. Call it before anything else.
    pub fn with_read_only_mode(mut self, now: Now) -> Member {
        let grace = GRACE_MS_MIN.max(self.options.tick_ms);
        let grace = Duration::from_millis(grace.into());
        self.read_only_after = Some(grace);
        self.read_only_at = Some(now.mono + grace);
        self
    }

    /// Whether readers are served because there is no quorum.
    pub fn is_read_only(&self) -> bool {
        self.role == Role::ReadOnly
    }

    /// Why a connection gets no session from a server in read-only mode, if it gets none. A global
    /// session stays with the ensemble: its client goes on looking for a member that has a quorum.
    pub(super) fn read_only_refuses(
        &self,
        state: &StateMachine,
        session: SessionId,
        read_only: Option<bool>,
    ) -> Option<&'static str> {
        if self.role != Role::ReadOnly {
            None
        } else if read_only != Some(true) {
            Some("this server is in read-only mode, and the client wants to write")
        } else if state.sessions().get(session).is_some() {
            Some("this server is in read-only mode, and the session is a global one")
        } else {
            None
        }
    }

    /// Whether a session that this server does not know may be renewed: not where sessions are
    /// local. Where they are global Apache leaves the question to the leader, and here there is none.
    pub(super) fn read_only_renews(&self) -> bool {
        !self.local_rules.enabled
    }

    /// A new session where sessions are global (Apache answers createSession as any other write).
    /// The connection is closed when it has been without a session for long enough.
    pub(super) fn refuse_new_session(
        &mut self,
        conn: ConnId,
        state: &StateMachine,
        out: &mut dyn Deliver,
    ) {
        self.answer_code(conn, 0, state.last_zxid(), Code::NOT_READ_ONLY, out);
    }

    /// Zab's part has changed: the time without a leader begins, or is over.
    pub(super) fn plan_read_only(&mut self, now: Now, change: &RoleChange) {
        self.read_only_at = match change {
            RoleChange::Looking(_) => self.read_only_after.map(|grace| now.mono + grace),
            _ => None,
        };
    }

    /// Begins to serve readers if it is time. While the state is being rebuilt it is put off.
    pub(super) fn begin_read_only(&mut self, now: Now) {
        let Some(grace) = self.read_only_after else { return };
        if self.read_only_at.is_none_or(|at| at > now.mono) {
            return;
        }
        let ready = self.role == Role::Idle && self.peer.is_electing();
        self.read_only_at = (!ready).then_some(now.mono + grace);
        if ready {
            self.role = Role::ReadOnly;
        }
    }
}
