//! The one list of every key and system property of Apache ZooKeeper 3.9, and of our own.
//!
//! A row says what a key is called, how Java reaches it, its type, default, and what rookeeper does
//! with it. Parsing, `rookeeper config explain|defaults` and `docs/OPERATIONS.md` all read this
//! table; a key that isn't here is unknown.

mod keys;

use crate::types::DigestAlgorithm;

pub use keys::KEYS;

/// How a key is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A key that `QuorumPeerConfig` reads from the file itself.
    File,
    /// System property `zookeeper.<name>`; a line `<name>=` of the file sets it.
    Property,
    /// System property without prefix. Java can't set it in the file; we can.
    Bare,
    /// Both `zookeeper.<name>` and `<name>` are looked at.
    PropertyOrBare,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true` or `false`, in any case, nothing else.
    Bool,
    /// `yes` or `no` (and nothing else counts as the other one in Java).
    YesNo,
    /// A whole number from..=to; decimal, or hexadecimal after `0x`.
    Int(i64, i64),
    /// A decimal fraction.
    Float,
    /// Any text.
    Text,
    /// A file or directory.
    Path,
    /// A host name or address.
    Host,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A time with an optional unit (`ms s m h d`); plain numbers are hours.
    Hours,
    /// A version such as 3.9.5.
    Version,
    /// A name that Java has for a hash ([`DigestAlgorithm::of_java`]).
    Digest,
}

impl Kind {
    /// What a value of this kind looks like, for error messages.
    pub fn expects(&self) -> String {
        match self {
            Kind::Bool => "true or false".to_owned(),
            Kind::YesNo => "yes or no".to_owned(),
            Kind::Int(0, 65535) => "a port number from 0 to 65535".to_owned(),
            Kind::Int(from, to) if *to == i64::MAX || *to == i64::from(i32::MAX) => {
                format!("a whole number from {from}")
            }
            Kind::Int(from, to) => format!("a whole number from {from} to {to}"),
            Kind::Float => "a number such as 0.33".to_owned(),
            Kind::Text => "text".to_owned(),
            Kind::Path => "a path".to_owned(),
            Kind::Host => "a host name or address".to_owned(),
            Kind::Word(words) => format!("one of {}", words.join(", ")),
            Kind::Hours => "hours, or a number with a unit: 500ms, 30s, 10m, 12h, 1d".to_owned(),
            Kind::Version => "a version such as 3.9.5".to_owned(),
            Kind::Digest => {
                let names: Vec<&str> = DigestAlgorithm::names().collect();
                format!("one of {}", names.join(", "))
            }
        }
    }

    /// `Ok` when `text` is a value of this kind; else why not.
    pub fn check(&self, text: &str) -> Result<(), String> {
        match self {
            Kind::Bool if !matches!(text.to_ascii_lowercase().as_str(), "true" | "false") => {
                Err("a boolean is true or false".to_owned())
            }
            Kind::YesNo if !matches!(text, "yes" | "no") => {
                Err("this switch is yes or no, in lower case".to_owned())
            }
            Kind::Int(from, to) => match int(text) {
                None => Err("it is not a whole number".to_owned()),
                Some(n) if n < *from => Err(format!("it is smaller than {from}")),
                Some(n) if n > *to => Err(format!("it is larger than {to}")),
                Some(_) => Ok(()),
            },
            Kind::Float => match text.parse::<f64>() {
                Ok(n) if n.is_finite() => Ok(()),
                _ => Err("it is not a number".to_owned()),
            },
            Kind::Path if text.is_empty() => Err("the path is empty".to_owned()),
            Kind::Word(words) if !words.iter().any(|w| w.eq_ignore_ascii_case(text)) => {
                Err("it is none of the known words".to_owned())
            }
            Kind::Hours => match hours_ms(text) {
                Some(_) => Ok(()),
                None => Err("it is not a time".to_owned()),
            },
            Kind::Version => text.parse::<super::CompatVersion>().map(|_| ()),
            Kind::Digest if DigestAlgorithm::of_java(text).is_none() => {
                Err("Java knows no hash of this name".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// A whole number as Java's `Integer.decode` and `parseInt` take it together: a sign, then decimal
/// digits or hexadecimal ones after `0x`.
pub fn int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) if !hex.starts_with(['+', '-']) => i128::from_str_radix(hex, 16).ok()?,
        Some(_) => return None,
        None => digits.parse::<i128>().ok()?,
    };
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// `12`, `12h`, `500ms` in milliseconds; 0 or less is 0 (off).
pub fn hours_ms(text: &str) -> Option<u64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_ms = match unit {
        "" | "h" => 3_600_000,
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let number: i64 = number.trim().parse().ok()?;
    u64::try_from(number.max(0)).ok()?.checked_mul(unit_ms)
}

/// What rookeeper does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It has Apache's effect.
    Honoured,
    /// It has no effect, for this reason; said once in the log when it is set.
    Ignored(&'static str),
    /// Its feature isn't built yet; a warning when it is set to something but its default.
    NotYet(&'static str),
    /// The server doesn't start when it is set to something but its default, for this reason.
    Refused(&'static str),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name in zoo.cfg. `prefix*` stands for all keys that begin so.
    pub name: &'static str,
    /// How it is reached.
    pub place: Place,
    /// The type of its value.
    pub kind: Kind,
    /// The value without any setting; empty where there is none.
    pub default: &'static str,
    /// What rookeeper does with it.
    pub status: Status,
    /// One sentence: meaning and unit.
    pub doc: &'static str,
}

impl Key {
    /// The Java system property of this key; `None` for those that only the file can set.
    pub fn property(&self) -> Option<String> {
        match self.place {
            Place::File => None,
            Place::Property | Place::PropertyOrBare => Some(format!("zookeeper.{}", self.name)),
            Place::Bare => Some(self.name.to_owned()),
        }
    }

    /// `Ok` when `text` is a value of this key; else why not. What Java reads from the file itself is
    /// decimal there, and so here; a system property may be hexadecimal.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub fn check(&self, text: &str) -> Result<(), String> {
        let is_number = matches!(self.kind, Kind::Int(..));
        if is_number && self.place == Place::File && text.contains(['x', 'X']) {
            return Err("it is not a decimal number".to_owned());
        }
        self.kind.check(text)
    }

    /// True for a row that stands for a family of keys.
    pub fn is_family(&self) -> bool {
        self.name.ends_with('*')
    }

    /// True when `name` is this key or one of its family.
    pub fn covers(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => self.name == name,
        }
    }
}

/// The row of a key by its zoo.cfg name: the key itself, else the family with the longest prefix.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.name == name).or_else(|| {
        KEYS.iter().filter(|k| k.is_family() && k.covers(name)).max_by_key(|k| k.name.len())
    })
}

/// The known key most like `name`, when one is near enough to be meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let best = KEYS
        .iter()
        .filter(|k| !k.is_family())
        .map(|k| {
            let row = k.name.to_ascii_lowercase();
            // The last part counts as well: `purgeInterval` means `autopurge.purgeInterval`.
            let tail = row.rsplit('.').next().unwrap_or(&row);
            let tail_distance =
                if tail.len() > 5 { distance(&lower, tail) + 1 } else { usize::MAX };
            (distance(&lower, &row).min(tail_distance), k.name)
        })
        .min_by_key(|(d, name)| (*d, name.len()))?;
    let allowed = (name.chars().count() / 3).clamp(1, 4);
    (best.0 <= allowed).then_some(best.1)
}

/// Edits between two words: insert, delete, replace, swap neighbours. Looks at 80 characters of `a`.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(80).collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests;
