//! What of Java's own behaviour can be seen from outside.

/// `String.hashCode`: over UTF-16 units.
pub fn string_hash(s: &str) -> i32 {
    if s.is_ascii() {
        return s.bytes().fold(0, |hash: i32, b| hash.wrapping_mul(31).wrapping_add(b.into()));
    }
    s.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// `hashCode` of a record of strings, as Jute generates it (`Id`).
pub fn fields_hash(fields: &[&str]) -> i32 {
    fields.iter().fold(17, |hash: i32, f| hash.wrapping_mul(37).wrapping_add(string_hash(f)))
}

/// Buckets of a table that grew by adding up to `most` strings; it never shrinks again.
pub fn grown_buckets(most: usize) -> usize {
    let mut buckets = 16;
    while most > buckets * 3 / 4 {
        buckets *= 2;
    }
    buckets
}

/// Buckets of a table made by cloning a set of `len` strings: just enough.
pub fn cloned_buckets(len: usize) -> usize {
    if len == 0 { 16 } else { ((len as f32 / 0.75 + 1.0) as usize).next_power_of_two() }
}

/// Puts strings into the order in which a `HashSet` with that many buckets hands them out. Strings
/// that share a bucket stay in the order given, which is that of their adding. (Java makes a tree
/// of a bucket with eight strings or more; strings that collide so often are not imitated.)
///
/// Apache keeps a session's ephemerals in such sets, so this is the order in which they go when the
/// session ends, and watchers see it.
pub fn set_order(strings: &mut [String], buckets: usize) {
    strings.sort_by_cached_key(|s| bucket(string_hash(s), buckets));
}

/// The same for the keys of a map that grew by adding, whose hash is given.
pub fn map_order<T>(keys: &mut [T], hash: impl Fn(&T) -> i32) {
    let buckets = grown_buckets(keys.len());
    keys.sort_by_cached_key(|key| bucket(hash(key), buckets));
}

/// The bucket of a hash among a power of two of them, of which there are less than 2^32.
pub fn bucket(hash: i32, buckets: usize) -> u32 {
    let hash = hash as u32;
    (hash ^ hash >> 16) & (buckets as u32 - 1)
}
