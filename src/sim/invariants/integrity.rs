//! Integrity: what is delivered was proposed by a leader; and I7, OneTxnPerZxid: a zxid is proposed
//! once, so that it means the same bytes everywhere.

use super::{Invariant, ensure};
use crate::sim::ghost::{Facts, Seen};

/// No state: the proposals are the world's.
pub struct Integrity;

impl Invariant for Integrity {
    fn name(&self) -> &'static str {
        "Integrity"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Delivered { after, .. } => {
                ensure(facts.ghost.proposed.contains_key(&after.zxid), || {
                    format!("{host} delivers {}, which nobody proposed", after.zxid)
                })
            }
            Seen::Proposed { zxid, digest } => match facts.ghost.proposed.get(zxid) {
                Some((other, bytes)) => {
                    Err(format!("{host} proposes {zxid} ({digest:x}), as {other} did ({bytes:x})"))
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
