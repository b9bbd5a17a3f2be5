//! Values everyone shares; no dependencies inside the crate.
//!
//! Newtypes for every number that could be mixed up with another, paths and their rules, stats,
//! ACLs and the protocol's error codes. Nothing here reads a clock or touches a file.

mod acl;
mod code;
mod digest_algorithm;
mod id;
pub mod java;
mod namespaces;
pub mod path;
mod sizes;
mod stat;
mod time;
mod zxid;

pub use acl::{Acl, Id, Perms, open_acl, read_acl};
pub use code::Code;
pub use digest_algorithm::DigestAlgorithm;
pub use id::{ConnId, LinkId, ServerId, SessionId, Xid};
pub use namespaces::{Namespaces, Tally};
pub use sizes::Sizes;
pub use stat::{CreateMode, OwnerKind, OwnerRules, Stat, StatPersisted};
pub use time::{Instant, Now, WallTime};
pub use zxid::{Epoch, Zxid};

/// The hasher of every map keyed by something a client can choose. The seed is random in
/// production (against crafted keys) and fixed in the simulator; see [`set_hash_seed`].
pub type Hasher = foldhash::fast::FixedState;

/// A hash map with the crate's seeded hasher; iteration order depends on the seed, so nothing that
/// reaches a wire or a file may depend on it.
pub type Map<K, V> = std::collections::HashMap<K, V, Hasher>;

static HASH_SEED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0x5eed);

/// Sets the seed that [`hasher`] hands out from now on; called once by the shell with a random
/// number, never by the simulator.
pub fn set_hash_seed(seed: u64) {
    HASH_SEED.store(seed, std::sync::atomic::Ordering::Relaxed);
}

/// A hasher with the process's seed.
pub fn hasher() -> Hasher {
    foldhash::fast::FixedState::with_seed(HASH_SEED.load(std::sync::atomic::Ordering::Relaxed))
}

/// An empty [`Map`] with the process's seed.
pub fn map<K, V>() -> Map<K, V> {
    Map::with_hasher(hasher())
}

#[cfg(test)]
mod tests;
