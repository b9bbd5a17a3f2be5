//! What must be true in every run: one file each, named as in the TLA+ specifications
//! (`protocol-spec/Zab.tla`, `system-spec/zk-3.7/ZkV3_7_0.tla`) or by its number in
//! `docs/ZAB.md`.

mod ack_durable;
mod ack_order;
mod claim_durable;
mod committed_log_durability;
mod durable_quorum;
mod epoch_durable;
mod integrity;
mod leader_log_completeness;
mod leadership;
mod lease;
mod log_shape;
mod memory_equals_disk;
mod prefix_consistency;
mod primary_order;
mod process_consistency;

use super::ghost::{Facts, Seen};

/// One property.
pub trait Invariant {
    /// Its name in the specification.
    fn name(&self) -> &'static str;
    /// Looks at what `host` just did; an error is a violation, with what is wrong.
    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String>;
}

/// A broken property.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {what}")]
pub struct Violation {
    /// Which property, or what the world itself demands.
    pub invariant: &'static str,
    /// What is wrong.
    pub what: String,
}

/// All of them.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(leadership::Leadership::default()),
        Box::new(prefix_consistency::PrefixConsistency),
        Box::new(integrity::Integrity),
        Box::new(primary_order::PrimaryOrder::default()),
        Box::new(leader_log_completeness::LeaderLogCompleteness),
        Box::new(process_consistency::ProcessConsistency),
        Box::new(committed_log_durability::CommittedLogDurability),
        Box::new(durable_quorum::DurableQuorum),
        Box::new(ack_durable::AckDurable),
        Box::new(ack_order::AckOrder),
        Box::new(epoch_durable::EpochDurable::default()),
        Box::new(claim_durable::ClaimDurable),
        Box::new(memory_equals_disk::MemoryEqualsDisk),
        Box::new(log_shape::LogShape),
        Box::new(lease::LeaderLease),
    ]
}

/// An error unless `condition` holds.
fn ensure(condition: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(what()) }
}
