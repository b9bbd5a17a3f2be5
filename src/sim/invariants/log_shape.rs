//! I6, LogShape: within an epoch zxids go up by one, and a new epoch begins at counter 1.

use super::{Invariant, ensure};
use crate::sim::ghost::{Facts, Seen};

/// No state.
pub struct LogShape;

impl Invariant for LogShape {
    fn name(&self) -> &'static str {
        "LogShape"
    }

    fn check(&mut self, _: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Appended { last, entry } = seen else { return Ok(()) };
        ensure(entry.zxid.follows(*last), || format!("{host} logs {} after {last}", entry.zxid))
    }
}
