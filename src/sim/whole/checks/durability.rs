//! What was committed is there after every start, and nothing else under its number.

use crate::sim::whole::alone::Found;
use crate::sim::whole::world::World;

impl World {
    /// A server has started on what it found.
    pub(in crate::sim::whole) fn check_found(&mut self, host: usize, found: &Found) {
        if found.mismatches > 0 {
            let text = format!("{host} recovered another state than its transactions say");
            return self.fail("Digest", text);
        }
        if let Some(session) = found.dead.first() {
            let text = format!("{host} found nodes of session 0x{:x}, which is gone", session.0);
            return self.fail("EphemeralOwnership", text);
        }
        if found.last.0 < self.committed {
            let text = format!(
                "{host} recovered up to {}, but 0x{:x} was committed",
                found.last, self.committed
            );
            return self.fail("CommittedLogDurability", text);
        }
        if let Err(what) = self.witness_log(host, found.base) {
            return self.fail("Recovery", format!("{host}: {what}"));
        }
        self.check_digest(host, found.last, found.digest);
    }
}
