//! I5, MemoryEqualsDisk: a voter's state holds nothing that isn't durable in its log, and on a
//! server that begins to serve it is a prefix of its log.

use super::{Invariant, ensure};
use crate::sim::ghost::{Facts, Seen};

/// No state.
pub struct MemoryEqualsDisk;

impl Invariant for MemoryEqualsDisk {
    fn name(&self) -> &'static str {
        "MemoryEqualsDisk"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let state = match seen {
            Seen::Delivered { after, .. } if facts.is_voter(host) => *after,
            Seen::Serving { .. } | Seen::Established { .. } => facts.ghost.states[host],
            _ => return Ok(()),
        };
        if !facts.is_voter(host) {
            return Ok(());
        }
        ensure(facts.disks[host].holds(state), || {
            format!("the state of {host} is at {state:?}, which is not durable there")
        })
    }
}
