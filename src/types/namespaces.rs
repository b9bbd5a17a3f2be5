//! Bytes read or written by the first part of a path (Apache's `read_per_namespace` and
//! `write_per_namespace`), cheap enough for every read: neighbours in time are mostly of one namespace.

use std::collections::BTreeMap;

/// Names beyond this are counted as [`OTHER`]: they come from clients.
const NAMES_MAX: usize = 1000;
/// See [`NAMES_MAX`].
const OTHER: &str = "other";
/// What Apache adds to a read for the stat, whether it is sent or not.
const STAT_BYTES: usize = 68;

/// Some values of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: i64,
    /// The smallest.
    pub min: i64,
    /// The largest.
    pub max: i64,
}

impl Tally {
    /// No values.
    pub const NONE: Tally = Tally { count: 0, sum: 0, min: i64::MAX, max: i64::MIN };

    /// One more.
    pub fn add(&mut self, value: i64) {
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }
}

/// A [`Tally`] for each first part of a path.
#[derive(Debug, Default)]
pub struct Namespaces {
    tallies: Vec<(Box<str>, Tally)>,
    index: BTreeMap<Box<str>, usize>,
    last: usize,
}

impl Namespaces {
    /// A node at `path` was read, with so many bytes of data or of children's names. The root has no
    /// namespace and isn't counted.
    pub fn read(&mut self, path: &str, bytes: usize) {
        self.add(path, bytes + STAT_BYTES);
    }

    /// A node at `path` was created or changed with so many bytes of data, or deleted (0).
    pub fn written(&mut self, path: &str, bytes: usize) {
        self.add(path, bytes);
    }

    fn add(&mut self, path: &str, bytes: usize) {
        let inner = path.strip_prefix('/').unwrap_or_default();
        let end = inner.bytes().position(|b| b == b'/').unwrap_or(inner.len());
        let name = &inner[..end];
        if name.is_empty() {
            return;
        }
        // Java counts the path's UTF-16 units.
        let length = if path.is_ascii() { path.len() } else { path.encode_utf16().count() };
        let value = i64::try_from(length + bytes).unwrap_or(i64::MAX);
        if self.tallies.get(self.last).is_none_or(|(known, _)| **known != *name) {
            self.last = self.find(name);
        }
        self.tallies[self.last].1.add(value);
    }

    /// The place of a name, made if need be.
    fn find(&mut self, name: &str) -> usize {
        if let Some(at) = self.index.get(name) {
            return *at;
        }
        if name != OTHER && self.tallies.len() >= NAMES_MAX {
            return self.find(OTHER);
        }
        let at = self.tallies.len();
        self.tallies.push((name.into(), Tally::NONE));
        self.index.insert(name.into(), at);
        at
    }

    /// Everything since the last time.
    pub fn take(&mut self) -> Vec<(Box<str>, Tally)> {
        self.index.clear();
        std::mem::take(&mut self.tallies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(namespaces: &mut Namespaces) -> Vec<String> {
        let show = |(name, t): (Box<str>, Tally)| {
            format!("{name} {} {} {}..{}", t.count, t.sum, t.min, t.max)
        };
        namespaces.take().into_iter().map(show).collect()
    }

    #[test]
    fn the_first_part_of_the_path_counts() {
        let mut namespaces = Namespaces::default();
        for (path, bytes) in [("/w", 3), ("/w/x/y", 0), ("/", 9), ("/e/ä", 1), ("/w", 0), ("", 1)]
        {
            namespaces.read(path, bytes);
        }
        assert_eq!(taken(&mut namespaces), ["w 3 217 70..74", "e 1 73 73..73"]);
        namespaces.written("/w/x", 5);
        assert_eq!(taken(&mut namespaces), ["w 1 9 9..9"]);
        assert!(taken(&mut namespaces).is_empty());
    }

    #[test]
    fn many_names_are_others() {
        let mut namespaces = Namespaces::default();
        for n in 0..NAMES_MAX + 10 {
            namespaces.written(&format!("/n{n}"), 0);
            namespaces.written("/n7/x", 0);
        }
        let taken = namespaces.take();
        assert_eq!(taken.len(), NAMES_MAX + 1);
        assert_eq!((&*taken[NAMES_MAX].0, taken[NAMES_MAX].1.count), (OTHER, 10));
    }
}
