//! PrefixConsistency, and with it Agreement and TotalOrder: what any server delivers as committed is
//! the next piece of one common history, with the same bytes.

use super::{Invariant, ensure};
use crate::sim::disk::Entry;
use crate::sim::ghost::{Facts, Seen};

/// No state: the common history is the world's.
pub struct PrefixConsistency;

impl Invariant for PrefixConsistency {
    fn name(&self) -> &'static str {
        "PrefixConsistency"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let ghost = facts.ghost;
        match seen {
            Seen::Delivered { before, after, committed: true } => {
                let expected = match ghost.find(after.zxid) {
                    Some(known) => known,
                    None => {
                        ensure(*before == ghost.end(), || {
                            format!(
                                "{host} delivers {after:?} after {before:?}, not after the \
                                     committed {:?}",
                                ghost.end()
                            )
                        })?;
                        *after
                    }
                };
                ensure(expected == *after, || {
                    format!("{host} delivers {after:?} after {before:?}, committed is {expected:?}")
                })
            }
            Seen::Serving { .. } => {
                let state = ghost.states[host];
                let known = state == Entry::default() || ghost.find(state.zxid) == Some(state);
                ensure(known, || format!("{host} serves {state:?}, which isn't committed"))
            }
            _ => Ok(()),
        }
    }
}
