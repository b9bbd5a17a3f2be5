//! CommittedLogDurability: neither a truncation nor a snapshot takes a committed transaction from a
//! quorum. (A single server may lose one: its leader told it to cut off a proposal that was
//! outstanding, and it was committed by the word of others before the cut was made.)

use super::{Invariant, ensure};
use crate::sim::ghost::{Facts, Seen};
use crate::zab::Standing;

/// No state.
pub struct CommittedLogDurability;

impl Invariant for CommittedLogDurability {
    fn name(&self) -> &'static str {
        "CommittedLogDurability"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Removed(entries) = seen else { return Ok(()) };
        let committed = entries.iter().filter(|e| facts.ghost.find(e.zxid) == Some(**e));
        for entry in committed {
            let has = |h: usize| {
                let disk = &facts.disks[h];
                disk.standing == Standing::MustResync || disk.holds(*entry)
            };
            let holders: Vec<usize> = (0..facts.disks.len()).filter(|h| has(*h)).collect();
            let quorum = &facts.membership.quorum;
            ensure(quorum.is_met(|s| holders.contains(&(s.0 as usize - 1))), || {
                format!("{host} removes {entry:?}, which is committed and left on {holders:?}")
            })?;
        }
        Ok(())
    }
}
