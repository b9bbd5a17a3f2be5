//! The whole state of a server equals the reference model's: nodes, data, ACLs, stats, sessions.

use crate::sim::model::Model;
use crate::sim::whole::world::World;
use crate::types::path;

impl World {
    pub(super) fn check_tree(&mut self, host: usize, model: &Model) {
        let Some(process) = &self.slots[host].process else {
            return self.fail("Serves", format!("{host} is down at the end"));
        };
        let state = process.state.read();
        let mut wrong = None;
        for (at, node) in &model.nodes {
            if at == path::CONFIG {
                continue;
            }
            let Some(found) = state.node(at) else {
                wrong = Some(format!("{at} is missing"));
                break;
            };
            let children = found.children().map(|name| name.to_string()).collect();
            if found.data() != node.data.as_deref()
                || found.acl() != node.acl
                || found.stat() != node.stat
                || node.children != children
            {
                wrong = Some(format!(
                    "{at} is {:?} {:?}, should be {:?} {:?}",
                    found.stat(),
                    children,
                    node.stat,
                    node.children
                ));
                break;
            }
        }
        // The root counts twice.
        if wrong.is_none() && state.node_count() != model.nodes.len() + 1 {
            wrong =
                Some(format!("{} nodes, {} expected", state.node_count(), model.nodes.len() + 1));
        }
        if wrong.is_none() && state.sessions().len() != model.sessions.len() {
            wrong = Some(format!("sessions: {:?}", model.sessions));
        }
        drop(state);
        if let Some(what) = wrong {
            self.fail("TreeEqualsModel", format!("{host}: {what}"));
        }
    }
}
