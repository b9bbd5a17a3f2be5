//! I1, DurableQuorum: when something is committed, it and everything before it is durable on a
//! quorum, each of whose members has durably joined the epoch. A member whose log was damaged after
//! it had acknowledged counts: it will not vote before it has it again.

use super::{Invariant, ensure};
use crate::sim::ghost::{Facts, Seen};
use crate::zab::Standing;

/// No state.
pub struct DurableQuorum;

impl Invariant for DurableQuorum {
    fn name(&self) -> &'static str {
        "DurableQuorum"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Committed { entry, epoch } = seen else { return Ok(()) };
        let has = |h: usize| {
            let disk = &facts.disks[h];
            disk.standing == Standing::MustResync || disk.holds(*entry) && disk.current >= *epoch
        };
        let holders: Vec<usize> = (0..facts.disks.len()).filter(|h| has(*h)).collect();
        ensure(facts.membership.quorum.is_met(|s| holders.contains(&(s.0 as usize - 1))), || {
            format!("{host} commits {entry:?} in epoch {epoch}, durable only on {holders:?}")
        })
    }
}
