//! LeaderLogCompleteness, PrimaryIntegrity, CommittedLogMonotonicity: a leader that becomes
//! established holds, and has delivered, everything that was ever committed.

use super::{Invariant, ensure};
use crate::sim::ghost::{Facts, Seen};

/// No state.
pub struct LeaderLogCompleteness;

impl Invariant for LeaderLogCompleteness {
    fn name(&self) -> &'static str {
        "LeaderLogCompleteness"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Established { epoch } = seen else { return Ok(()) };
        let end = facts.ghost.end();
        ensure(facts.disks[host].holds(end), || {
            format!("{host} leads epoch {epoch} without {end:?}, which is committed")
        })?;
        ensure(facts.ghost.states[host].zxid >= end.zxid, || {
            format!("{host} leads epoch {epoch} at {:?}, before {end:?}", facts.ghost.states[host])
        })
    }
}
