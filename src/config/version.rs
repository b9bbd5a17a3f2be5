//! The Apache release that rookeeper says it is.

use std::fmt;
use std::str::FromStr;

/// A ZooKeeper release such as `3.9.5`: what `srvr`, `stat`, `mntr` and `envi` report.
///
/// Set by `compat.version`. Tools parse it, so the shape is checked: three numbers, and an optional
/// qualifier after a hyphen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompatVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
    /// `SNAPSHOT` in `3.9.5-SNAPSHOT`.
    pub qualifier: Option<String>,
}

/// The hash in the version banner: forty hexadecimal digits as tools expect. It is the word
/// "rookeeper" in hexadecimal, because we aren't built from any commit of Apache's.
pub const BANNER_HASH: &str = "726f6f6b65657065720000000000000000000000";

impl CompatVersion {
    /// The newest Apache 3.9 release known to this build.
    pub const NEWEST: &'static str = "3.9.5";

    /// True for releases from 3.7 on, whose banner has the date as `yyyy-MM-dd`; before, it was
    /// `MM/dd/yyyy` (ZOOKEEPER-3475 changed the plug-in that writes it).
    pub fn has_iso_date(&self) -> bool {
        (self.major, self.minor) >= (3, 7)
    }

    /// `3.9.5-<hash>, built on 2026-01-01 00:00 UTC`: the value of `zk_version` and of the first line
    /// of `srvr`.
    pub fn banner(&self) -> String {
        let date = if self.has_iso_date() { "2026-01-01" } else { "01/01/2026" };
        format!("{self}-{BANNER_HASH}, built on {date} 00:00 UTC")
    }
}

impl Default for CompatVersion {
    fn default() -> Self {
        CompatVersion { major: 3, minor: 9, patch: 5, qualifier: None }
    }
}

impl fmt::Display for CompatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        match &self.qualifier {
            Some(qualifier) => write!(f, "-{qualifier}"),
            None => Ok(()),
        }
    }
}

impl FromStr for CompatVersion {
    type Err = String;

    /// Parses `X.Y.Z` or `X.Y.Z-qualifier`; the error is the reason in words.
    fn from_str(text: &str) -> Result<Self, String> {
        let (numbers, qualifier) = match text.split_once('-') {
            Some((numbers, qualifier)) => (numbers, Some(qualifier)),
            None => (text, None),
        };
        let parts: Vec<&str> = numbers.split('.').collect();
        let [major, minor, patch] = parts.as_slice() else {
            return Err("a version is three numbers, such as 3.9.5".to_owned());
        };
        let number = |s: &str| {
            (!s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()))
                .then(|| s.parse::<u32>().ok())
                .flatten()
                .ok_or_else(|| format!("{s:?} in a version is not a number"))
        };
        let qualifier = match qualifier {
            Some(q)
                if q.is_empty() || !q.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') =>
            {
                return Err("the qualifier of a version is letters, digits and dots".to_owned());
            }
            other => other.map(str::to_owned),
        };
        let version = CompatVersion {
            major: number(major)?,
            minor: number(minor)?,
            patch: number(patch)?,
            qualifier,
        };
        if version.major != 3 || version.minor < 4 {
            return Err("the protocol is that of releases 3.4 to 3.9".to_owned());
        }
        Ok(version)
    }
}
