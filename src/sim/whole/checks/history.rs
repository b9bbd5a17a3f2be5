//! What clients were told, against the committed log (`sim::witness`).

use crate::sim::model::Model;
use crate::sim::whole::world::World;
use crate::sim::witness::Connection;

impl World {
    /// Compares every reply and every watch event with the log.
    pub(super) fn check_history(&mut self) {
        let histories: Vec<Connection> =
            self.clients.iter().flat_map(|client| client.histories().cloned()).collect();
        if let Some(first) = self.witness.check(&histories, self.rules()).into_iter().next() {
            self.fail("Witness", first);
        }
    }

    /// The reference model after everything committed.
    pub(super) fn witness_model(&mut self) -> Option<Model> {
        match self.witness.model(self.rules()) {
            Ok(model) => Some(model),
            Err(what) => {
                self.fail("Witness", what);
                None
            }
        }
    }
}
