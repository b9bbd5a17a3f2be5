//! Local sessions: known only to the server they are connected to (Apache
//! `UpgradeableSessionTracker`, `LocalSessionTracker`).

use std::sync::Arc;

use super::{Asked, Member, Ticket};
use crate::proto::jute::Jute;
use crate::proto::opcode::OpCode;
use crate::replica::session::Sessions;
use crate::replica::{Deliver, EndCause, SessionEnd, reply};
use crate::state::StateMachine;
use crate::types::{Code, ConnId, Now, SessionId, Zxid};

/// Sessions that only the server knows which they are connected to (`localSessionsEnabled`,
/// `localSessionsUpgradingEnabled`): no transaction begins or ends them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalSessions {
    /// New sessions are local.
    pub enabled: bool,
    /// One becomes global with its first ephemeral; otherwise that is refused.
    pub upgrading: bool,
}

impl Member {
    /// The local sessions of this server, where there are any.
    pub fn local_sessions(&self) -> Option<&Sessions> {
        self.local_rules.enabled.then_some(&self.local)
    }

    /// Makes a local session global: a session of its id is created before what comes next.
    pub(super) fn upgrade(
        &mut self,
        now: Now,
        state: &StateMachine,
        session: SessionId,
        out: &mut dyn Deliver,
    ) {
        let Some(timeout_ms) = self.local.timeout_ms(session) else { return };
        self.local.remove(session);
        let body = timeout_ms.to_bytes();
        let asked = Asked { session, cxid: 0, opcode: OpCode::CREATE_SESSION, body };
        self.order(now, state, asked, Arc::from([]), Ticket::Upgrade, out);
    }

    /// Ends a local session, because its client said so or because it was silent.
    pub(super) fn end_local(
        &mut self,
        session: SessionId,
        asked: Option<(ConnId, i32)>,
        state: &StateMachine,
        out: &mut dyn Deliver,
    ) {
        let timeout_ms = self.local.timeout_ms(session).unwrap_or_default();
        let cause = asked.map_or(EndCause::Silence(timeout_ms), |(conn, _)| EndCause::Client(conn));
        out.session_ended(SessionEnd { session, cause, ephemerals: Some(0) });
        self.local.remove(session);
        if let Some((conn, xid)) = asked {
            self.answer_code(conn, xid, state.last_zxid(), Code::OK, out);
        }
        if let Some(conn) = self.conns.remove(&session) {
            out.close(conn, "the session is closed");
        }
    }

    pub(super) fn answer_code(
        &mut self,
        conn: ConnId,
        xid: i32,
        zxid: Zxid,
        code: Code,
        out: &mut dyn Deliver,
    ) {
        self.scratch.clear();
        reply::write_reply(&mut self.scratch, xid, zxid, code, |_| {});
        out.frame(conn, &self.scratch, 1);
    }

    /// Whether an unknown session may be a local one: of this server, or of another's.
    pub(super) fn may_be_local(&self, session: SessionId) -> bool {
        let foreign = (session.0 >> 56) as u8 != self.peer.id().0 as u8;
        let own = self.local.check(session) == Code::OK;
        self.local_rules.enabled && (foreign || own) && self.sessions.is_unknown(session)
    }
}
