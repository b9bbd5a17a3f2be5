//! LeaderLogCompleteness, PrimaryIntegrity, CommittedLogMonotonicity: a leader that becomes
//! established holds, and has delivered, everything that was committed in lower epochs. (Of higher
//! ones it may not know: a leader that stood still can find the acknowledgements that establish it
//! after another has taken over. It can't commit anything of its own then.)

use super::{Invariant, ensure};
use crate::sim::disk::Entry;
use crate::sim::ghost::{Facts, Seen};
use crate::types::Zxid;

/// No state.
pub struct LeaderLogCompleteness;

impl Invariant for LeaderLogCompleteness {
    fn name(&self) -> &'static str {
        "LeaderLogCompleteness"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Established { epoch } = seen else { return Ok(()) };
        let committed = &facts.ghost.committed;
        let lower = committed.partition_point(|e| e.zxid < Zxid::new(*epoch, 0));
        let end = if lower == 0 { Entry::default() } else { committed[lower - 1] };
        ensure(facts.disks[host].holds(end), || {
            format!("{host} leads epoch {epoch} without {end:?}, which is committed")
        })?;
        ensure(facts.ghost.states[host].zxid >= end.zxid, || {
            format!("{host} leads epoch {epoch} at {:?}, before {end:?}", facts.ghost.states[host])
        })
    }
}
