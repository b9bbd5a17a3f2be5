//! What a follower does with the packets of its observers (Apache `ObserverMaster`): it asks its
//! leader in their name, and hands the answers on.

use super::{Member, Ticket};
use crate::proto::jute::Jute;
use crate::proto::opcode::OpCode;
use crate::proto::quorum::{
    ForwardedRequest, PacketKind, QuorumPacket, revalidated, touched_sessions,
};
use crate::replica::Deliver;
use crate::state::StateMachine;
use crate::types::{LinkId, SessionId};

/// Sessions that an observer may name in a ping before this follower has applied their creation.
const NEW_SESSIONS_MAX: usize = 1000;

impl Member {
    /// A packet of an observer: REQUEST, REVALIDATE, or the answer to a ping. To the leader its
    /// sessions are sessions of this server.
    pub(super) fn handle_observer(
        &mut self,
        state: &StateMachine,
        link: LinkId,
        packet: QuorumPacket,
    ) {
        match packet.kind {
            PacketKind::Request => {
                let Ok(request) = ForwardedRequest::from_bytes(packet.payload()) else { return };
                if OpCode(request.opcode) == OpCode::SYNC {
                    self.forwarded.sync(Ticket::Observer(link));
                }
                self.peer.forward(packet);
            }
            PacketKind::Revalidate => {
                let Ok(asked) = touched_sessions(packet.payload()) else { return };
                if let [(session, _)] = asked[..] {
                    self.forwarded.revalidate(session, Ticket::Observer(link));
                    self.peer.forward(packet);
                }
            }
            PacketKind::Ping => {
                let Ok(touched) = touched_sessions(packet.payload()) else { return };
                // What is no session would be kept for the leader's next ping, however many they are; but
                // one whose creation is committed may not be applied here yet.
                let room = state.sessions().len() + NEW_SESSIONS_MAX;
                for (session, timeout_ms) in touched {
                    if self.touched.len() < room || state.sessions().get(session).is_some() {
                        self.touched.insert(session, timeout_ms);
                    }
                }
            }
            _ => {}
        }
    }

    /// The leader has answered an observer's question about a session.
    pub(super) fn revalidated(
        &mut self,
        link: LinkId,
        session: SessionId,
        valid: bool,
        out: &mut dyn Deliver,
    ) {
        if valid && let Some(conn) = self.conns.remove(&session) {
            out.close(conn, "the session has moved to an observer");
        }
        self.peer.answer_learner(link, revalidated(session, valid));
    }
}
