//! What must be true, one file each: on the way, where it happens, and at the end.

mod durability;
mod history;
mod leader;
mod sessions;
pub mod touches;
mod tree;

use super::world::World;
use crate::types::Zxid;

impl World {
    /// Everything that can be said when a run is over.
    pub(super) fn check_all(&mut self) {
        let Some(model) = self.witness_model() else { return };
        for host in 0..self.slots.len() {
            self.check_tree(host, &model);
        }
        self.check_sessions(&model);
        self.check_history();
        self.check_readers();
    }

    /// Equal transactions, equal digests; and each transaction says which digest comes after it.
    pub(super) fn check_digest(&mut self, host: usize, zxid: Zxid, digest: i64) {
        let Some(process) = &self.slots[host].process else { return };
        let mismatches = process.state.read().digest_mismatches();
        if mismatches > 0 {
            self.fail("Digest", format!("{host} has another state than {zxid} says"));
        }
        match self.digests.insert(zxid.0, digest) {
            Some(known) if known != digest => {
                let text = format!("{host} has digest {digest:x} at {zxid}, others {known:x}");
                self.fail("StateDigest", text);
            }
            _ => {}
        }
    }
}
