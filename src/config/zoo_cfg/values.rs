//! Checked values by key, with the table's defaults behind them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::diagnostic::Origin;
use super::super::table;
use super::Setting;

/// Values that have passed their row's check.
#[derive(Debug, Default)]
pub struct Values {
    map: BTreeMap<String, (String, Origin)>,
}

impl Values {
    /// Stores a value that its row has accepted.
    pub fn set(&mut self, key: &str, value: &str, origin: Origin) {
        self.map.insert(key.to_owned(), (value.to_owned(), origin));
    }

    /// Where a key was set; `None` when it wasn't.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.map.get(key).map(|(_, origin)| origin)
    }

    /// All that was set, in order of key.
    pub fn settings(&self) -> Vec<Setting> {
        let setting = |(key, (value, origin)): (&String, &(String, Origin))| Setting {
            key: key.clone(),
            value: value.clone(),
            origin: origin.clone(),
        };
        self.map.iter().map(setting).collect()
    }

    /// True when a key was set to something.
    pub fn is_set(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|(value, _)| !value.is_empty())
    }

    /// The keys of a family that were set, in order of name.
    pub fn family<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.map
            .range(prefix.to_owned()..)
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, (value, _))| (key.as_str(), value.as_str()))
    }

    fn raw(&self, key: &str) -> &str {
        match self.map.get(key) {
            Some((value, _)) => value,
            None => {
                let row = table::find(key);
                debug_assert!(row.is_some_and(|r| !r.is_family()), "{key} is not in the table");
                row.map_or("", |r| r.default)
            }
        }
    }

    /// A text; `None` when empty.
    pub fn text(&self, key: &str) -> Option<String> {
        Some(self.raw(key)).filter(|v| !v.is_empty()).map(str::to_owned)
    }

    /// A path; `None` when empty.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// `true` or `yes`.
    pub fn bool(&self, key: &str) -> bool {
        let value = self.raw(key);
        value.eq_ignore_ascii_case("true") || value == "yes"
    }

    /// A number; the row's check and `default` make sure that it is one, and its range.
    pub fn int(&self, key: &str) -> i64 {
        table::int(self.raw(key)).unwrap_or(0)
    }

    /// A number within `u32`; the row's range makes sure it fits.
    pub fn u32(&self, key: &str) -> u32 {
        u32::try_from(self.int(key).max(0)).unwrap_or(u32::MAX)
    }

    /// A number within `u64`; negative ones are 0.
    pub fn u64(&self, key: &str) -> u64 {
        u64::try_from(self.int(key).max(0)).unwrap_or(0)
    }

    /// A number within `usize`; negative ones are 0.
    pub fn usize(&self, key: &str) -> usize {
        usize::try_from(self.int(key).max(0)).unwrap_or(usize::MAX)
    }

    /// A number, `None` when it isn't positive or not set.
    pub fn positive(&self, key: &str) -> Option<u64> {
        Some(self.u64(key)).filter(|n| *n > 0)
    }

    /// A port; the row's range makes sure it fits.
    pub fn port(&self, key: &str) -> u16 {
        u16::try_from(self.int(key)).unwrap_or(0)
    }

    /// A fraction.
    pub fn float(&self, key: &str) -> f64 {
        self.raw(key).parse().unwrap_or(0.0)
    }

    /// A list separated by commas, trimmed, without empty parts.
    pub fn list(&self, key: &str) -> Vec<String> {
        let parts = self.raw(key).split(',').map(str::trim);
        parts.filter(|p| !p.is_empty()).map(str::to_owned).collect()
    }
}
