//! A session that a client was told is gone has an end in the log; one that only its server knows
//! has no beginning there, unless an ephemeral needed it.

use crate::sim::model::Model;
use crate::sim::whole::world::World;

impl World {
    pub(super) fn check_sessions(&mut self, model: &Model) {
        let refused: Vec<i64> =
            self.clients.iter().flat_map(|client| client.refused.iter().copied()).collect();
        for session in refused {
            if model.sessions.contains_key(&session) {
                let text = format!("session 0x{session:x} was refused, but has not ended");
                self.fail("SessionKept", text);
            }
        }
        let Some(upgrading) = self.params.local else { return };
        for (session, zxid) in self.known.created.clone() {
            let needed = self.clients.iter().any(|client| client.made_ephemerals(session));
            if !upgrading || !needed {
                let text = format!("local session 0x{session:x} is in the log at 0x{zxid:x}");
                return self.fail("LocalSession", text);
            }
            self.cover("local session upgraded");
        }
    }
}
