//! Leadership1, Leadership2: at most one established leader in each epoch, at any time and over
//! time.

use std::collections::BTreeMap;

use super::{Invariant, ensure};
use crate::sim::ghost::{Facts, Seen};
use crate::types::Epoch;

/// Who was established in each epoch.
#[derive(Default)]
pub struct Leadership(BTreeMap<Epoch, usize>);

impl Invariant for Leadership {
    fn name(&self) -> &'static str {
        "Leadership"
    }

    fn check(&mut self, _: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Established { epoch } = seen else { return Ok(()) };
        let other = self.0.insert(*epoch, host);
        ensure(other.is_none(), || format!("{other:?} and {host} both lead epoch {epoch}"))
    }
}
