//! What clients were told, against the committed log (`sim::witness`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sim::model::Model;
use crate::sim::network::ConnNo;
use crate::sim::whole::member::History;
use crate::sim::whole::world::World;
use crate::sim::witness::{Connection, Witness};

impl World {
    /// Compares every reply and every watch event with the log.
    pub(super) fn check_history(&mut self) {
        let histories: Vec<Connection> =
            self.clients.iter().flat_map(|client| client.histories().cloned()).collect();
        if let Some(first) = self.witness.check(&histories, self.rules()).into_iter().next() {
            self.fail("Witness", first);
        }
    }

    /// Compares what members without a quorum showed with their own histories.
    pub(super) fn check_readers(&mut self) {
        let mut views: BTreeMap<Arc<History>, Vec<Connection>> = BTreeMap::new();
        let all = self.clients.iter().flat_map(|client| client.histories());
        let reads = all.filter(|connection| connection.read_only && !connection.items.is_empty());
        for connection in reads.cloned().collect::<Vec<_>>() {
            let Some(view) = self.readers.get(&ConnNo(connection.no)) else {
                let text = format!("connection {} has no view", connection.no);
                self.fail("ReadersWitness", text);
                return;
            };
            views.entry(Arc::clone(view)).or_default().push(connection);
        }
        for (view, connections) in views {
            let mut witness = Witness::new(self.params.counts_anew);
            for zxid in &*view {
                if let Some(entry) = self.proposed.get(zxid) {
                    // Each once: there can be no second one.
                    let _ = witness.commit(*zxid, entry);
                }
            }
            let found = witness.check_readers(&connections, self.rules());
            if let Some(first) = found.into_iter().next() {
                return self.fail("ReadersWitness", first);
            }
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
