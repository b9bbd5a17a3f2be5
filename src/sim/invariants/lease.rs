//! LeaderLease (C9): a sync is answered only from a state that holds everything that was committed,
//! by anyone, before the sync was asked for; a deposed leader that doesn't know it yet can't answer.

use super::{Invariant, ensure};
use crate::sim::ghost::{Facts, Seen};

/// No state.
pub struct LeaderLease;

impl Invariant for LeaderLease {
    fn name(&self) -> &'static str {
        "LeaderLease"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Synced { asked_at } = seen else { return Ok(()) };
        let state = facts.ghost.states[host];
        ensure(state.zxid >= asked_at.zxid, || {
            format!("{host} answers a sync at {state:?}, {asked_at:?} was committed before it")
        })
    }
}
