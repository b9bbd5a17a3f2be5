//! CommittedLogDurability: neither a truncation nor a snapshot removes a committed transaction.

use super::{Invariant, ensure};
use crate::sim::ghost::{Facts, Seen};

/// No state.
pub struct CommittedLogDurability;

impl Invariant for CommittedLogDurability {
    fn name(&self) -> &'static str {
        "CommittedLogDurability"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Removed(entries) = seen else { return Ok(()) };
        let lost = entries.iter().find(|e| facts.ghost.find(e.zxid) == Some(**e));
        ensure(lost.is_none(), || format!("{host} removes {lost:?}, which is committed"))
    }
}
