//! Sessions that come to an observer from another member.
//!
//! An observer hears of a transaction when it is committed, not when it is proposed as a follower does.
//! So when the leader says that a session is valid, writes which that session has sent through another
//! member may be ordered and not yet known here; and a client that counts its xids from one again
//! would take the commit of such a write for the answer to its own ([`Forwarded`]). Therefore an
//! observer asks for a sync behind every revalidation and answers the connect request after it: by
//! then it has heard of everything that was ordered before, and what is ordered later for another
//! member is refused with SESSIONMOVED. Every leader and every follower with observers, Apache's too,
//! answers syncs behind the commits of what was proposed before them.
//!
//! [`Forwarded`]: super::forwarded::Forwarded

use std::sync::Arc;

use super::{Member, Ticket};
use crate::proto::jute::Jute;
use crate::proto::opcode::OpCode;
use crate::proto::quorum::{ForwardedRequest, PacketKind, QuorumPacket};
use crate::proto::records::PathRecord;
use crate::replica::Deliver;
use crate::state::StateMachine;
use crate::types::{SessionId, Zxid};

/// The sessions of an observer that are valid by the leader's word, in that order. One sync at a time
/// is under way for them, however many they are: those that come meanwhile share the next.
#[derive(Debug, Default)]
pub(super) struct Renewed {
    waiting: Vec<(SessionId, Ticket)>,
    /// How many of these the sync under way was sent behind; 0 is none.
    asked: usize,
    /// A bug for the simulator to find: they are answered at once.
    #[cfg(any(test, feature = "sim"))]
    at_once: bool,
}

impl Renewed {
    /// The leader is gone, and with it every answer.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.asked = 0;
    }
}

impl Member {
    /// The same, with the bug that an observer renews a session before it has heard of all that was
    /// ordered for it.
    #[cfg(any(test, feature = "sim"))]
    pub fn renewing_at_once(mut self) -> Member {
        self.renewed.at_once = true;
        self
    }

    /// Whether a session that is valid by the leader's word is renewed only behind a sync.
    pub(super) fn renews_after_sync(&self) -> bool {
        #[cfg(any(test, feature = "sim"))]
        if self.renewed.at_once {
            return false;
        }
        self.peer.is_observing()
    }

    /// The leader has said that a session may be renewed at this observer.
    pub(super) fn renew_after_sync(&mut self, session: SessionId, ticket: Ticket) {
        self.renewed.waiting.push((session, ticket));
        if self.renewed.asked == 0 {
            self.ask_for_renewed();
        }
    }

    fn ask_for_renewed(&mut self) {
        let Some((session, _)) = self.renewed.waiting.first() else { return };
        let body = PathRecord { path: Some("/".to_owned()) }.to_bytes();
        let (session, opcode) = (*session, OpCode::SYNC.0);
        let request = ForwardedRequest { session, cxid: 0, opcode, body };
        self.renewed.asked = self.renewed.waiting.len();
        self.forwarded.sync(Ticket::Renewed);
        self.peer.forward(QuorumPacket {
            kind: PacketKind::Request,
            zxid: Zxid(-1),
            data: Some(request.to_bytes()),
            auth: Some(Arc::from([])),
        });
    }

    /// Everything that was ordered before the sync is applied: the clients have their sessions, if
    /// these did not end meanwhile.
    pub(super) fn answer_renewed(&mut self, state: &StateMachine, out: &mut dyn Deliver) {
        let asked = std::mem::take(&mut self.renewed.asked);
        for (session, ticket) in self.renewed.waiting.drain(..asked).collect::<Vec<_>>() {
            let lives = state.sessions().get(session).is_some();
            self.answer_connect(session, ticket, lives, out);
        }
        self.ask_for_renewed();
    }
}
