//! A session that a client was told is gone has an end in the log.

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
    }
}
