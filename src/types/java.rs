//! What of Java's own behaviour can be seen from outside.

/// `String.hashCode`: over UTF-16 units.
pub fn string_hash(s: &str) -> i32 {
    s.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// Puts strings into the order in which a `HashSet` that was cloned hands them out: its table is
/// just large enough. Apache keeps a session's ephemerals in such sets, so this is the order in which
/// they go when the session ends, and watchers see it. Strings that share a bucket stay in the
/// order given.
pub fn copied_set_order(strings: &mut [String]) {
    let wanted = (strings.len() as f32 / 0.75 + 1.0) as usize;
    order(strings, wanted.next_power_of_two());
}

/// The same for a set that has grown by adding.
pub fn grown_set_order(strings: &mut [String]) {
    let mut buckets = 16;
    while strings.len() > buckets * 3 / 4 {
        buckets *= 2;
    }
    order(strings, buckets);
}

fn order(strings: &mut [String], buckets: usize) {
    strings.sort_by_cached_key(|s| {
        let hash = string_hash(s) as u32;
        (hash ^ hash >> 16) as usize & (buckets - 1)
    });
}
