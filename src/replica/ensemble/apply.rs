//! What was delivered goes into the state, and what comes of it to the clients of this server.

use super::{Delivery, Member, Ticket};
use crate::proto::opcode::OpCode;
use crate::proto::txn::Txn;
use crate::replica::{Deliver, EndCause, SessionEnd, reply, turn};
use crate::state::watch::WatchTable;
use crate::state::{StateMachine, TxnResult};
use crate::types::Code;

impl Member {
    /// Whether there is something for [`Member::apply`].
    pub fn has_deliveries(&self) -> bool {
        !self.deliveries.is_empty()
    }

    /// Whether little is to be applied, and a client of this server waits for some of it.
    pub fn owes_few_answers(&self, few: usize) -> bool {
        let owed = |delivery: &Delivery| match delivery {
            Delivery::Txn { ticket, .. } => ticket.is_some(),
            Delivery::Synced(_) => true,
        };
        self.deliveries.len() <= few && self.deliveries.iter().any(owed)
    }

    /// Applies what was delivered, at most `max` (a deletion by closeSession counts as one); true
    /// when there is more.
    pub fn apply(
        &mut self,
        state: &mut StateMachine,
        watches: &WatchTable,
        out: &mut dyn Deliver,
        max: usize,
    ) -> bool {
        let mut left = max;
        while left > 0 && self.has_deliveries() {
            let told = self.apply_one(state, watches, out, left);
            left -= told.clamp(1, left);
        }
        if !state.is_within_txn() {
            self.applied = state.last_zxid();
        }
        self.has_deliveries()
    }

    /// Applies the oldest delivery, or of a closeSession at most `max` deletions. Returns how many
    /// nodes were changed.
    fn apply_one(
        &mut self,
        state: &mut StateMachine,
        watches: &WatchTable,
        out: &mut dyn Deliver,
        max: usize,
    ) -> usize {
        let Some(Delivery::Txn { entry, .. }) = self.deliveries.front() else {
            match self.deliveries.pop_front() {
                Some(Delivery::Synced(Ticket::Renewed)) => self.answer_renewed(state, out),
                Some(Delivery::Synced(ticket)) => self.answer_sync(state, ticket, out),
                _ => {}
            }
            return 0;
        };
        let turn::Applied { result, nodes, session, closes } =
            turn::apply(entry, state, watches, out, max, &mut self.changes);
        let Some(result) = result else { return nodes };
        let Some(Delivery::Txn { ticket, entry }) = self.deliveries.pop_front() else {
            return nodes;
        };
        match ticket {
            None | Some(Ticket::Upgrade | Ticket::Observer(_) | Ticket::Renewed) => {}
            Some(Ticket::Request { conn, .. }) if moved(&result) => {
                // Never answered: the client is at another server (SESSIONMOVED).
                out.close(conn, "the session has moved to another server");
            }
            Some(Ticket::Request { conn, xid, opcode, .. }) => {
                if closes {
                    out.session_ended(SessionEnd::by(&entry, EndCause::Client(conn)));
                }
                self.scratch.clear();
                match entry.txn {
                    Txn::SetData { data, .. } if opcode == OpCode::RECONFIG => {
                        reply::write_reconfig(&mut self.scratch, xid, &result, data);
                    }
                    _ => reply::write_result(&mut self.scratch, opcode, xid, &result),
                }
                out.frame(conn, &self.scratch, 1);
            }
            Some(ticket @ Ticket::Connect { conn, .. }) => {
                self.answer_connect(session, ticket, true, out);
                out.session_made(conn, result.zxid);
            }
        }
        if closes {
            self.sessions.remove(session);
            self.owners.remove(&session);
            if let Some(conn) = self.conns.remove(&session) {
                out.close(conn, "the session is closed");
            }
        }
        nodes
    }
}

/// Whether a result says that the session belongs to another server now.
fn moved(result: &TxnResult) -> bool {
    result.code == Code::SESSION_MOVED
        || result.multi.iter().any(|part| part.code == Code::SESSION_MOVED)
}
