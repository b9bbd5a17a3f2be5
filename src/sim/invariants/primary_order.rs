//! LocalPrimaryOrder: a leader's proposals are numbered in order, from 1, within its epoch.
//! GlobalPrimaryOrder: nothing of a lower epoch is delivered after something of a higher one.

use std::collections::BTreeMap;

use super::{Invariant, ensure};
use crate::sim::ghost::{Facts, Seen};
use crate::types::{Epoch, Zxid};

/// The last counter of each epoch, and who uses it.
#[derive(Default)]
pub struct PrimaryOrder(BTreeMap<Epoch, (usize, u32)>);

impl Invariant for PrimaryOrder {
    fn name(&self) -> &'static str {
        "PrimaryOrder"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Proposed { zxid, .. } => {
                let leads = facts.ghost.leads[host];
                ensure(leads == Some(zxid.epoch()), || {
                    format!("{host} proposes {zxid}, but leads {leads:?}")
                })?;
                let (other, last) = *self.0.get(&zxid.epoch()).unwrap_or(&(host, 0));
                self.0.insert(zxid.epoch(), (host, zxid.counter()));
                ensure(other == host && zxid.counter() == last + 1, || {
                    format!("{host} proposes {zxid} after counter {last} of {other}")
                })
            }
            Seen::Delivered { before, after, .. } => {
                ensure(after.zxid > before.zxid && after.zxid > Zxid::ZERO, || {
                    format!("{host} delivers {} after {}", after.zxid, before.zxid)
                })
            }
            _ => Ok(()),
        }
    }
}
