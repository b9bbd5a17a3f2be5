//! What is said about a configuration: warnings and errors in three lines (what, why, hint).

use std::fmt;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file: its name as given, and the line number from 1.
    Line {
        /// The file's name as the operator gave it.
        file: String,
        /// Line number, from 1; a continued line counts from its first part.
        line: usize,
    },
    /// A file as a whole (missing, unreadable).
    File {
        /// The file's name.
        file: String,
    },
    /// `-D key=value` on the command line.
    Define,
    /// `--set key=value` on the command line.
    Set,
    /// A positional argument (`PORT DATADIR [TICKTIME [MAXCNXNS]]`).
    Positional,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line { file, line } => write!(f, "{file}:{line}"),
            Origin::File { file } => f.write_str(file),
            Origin::Define => f.write_str("command line (-D)"),
            Origin::Set => f.write_str("command line (--set)"),
            Origin::Positional => f.write_str("command line"),
        }
    }
}

/// How much a [`Diagnostic`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing: a known key that has no effect here, with the reason.
    Note,
    /// Probably not what the operator meant; the server starts.
    Warning,
    /// The server can't start with this.
    Error,
}

/// One finding about a configuration. Its text is three lines: what, why (with file and line), hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// Where the value came from; `None` when something is missing.
    pub origin: Option<Origin>,
    /// The key it is about, as written.
    pub key: Option<String>,
    /// What is wrong, lower case, no full stop.
    pub what: String,
    /// Why it is wrong, or what happens because of it.
    pub why: String,
    /// What the operator can do; empty when there is nothing to do.
    pub hint: String,
}

/// A [`Diagnostic`] that doesn't stop the server.
pub type Warning = Diagnostic;

impl Diagnostic {
    /// Starts a diagnostic without origin or hint.
    pub fn new(severity: Severity, what: impl Into<String>, why: impl Into<String>) -> Self {
        Diagnostic {
            severity,
            origin: None,
            key: None,
            what: what.into(),
            why: why.into(),
            hint: String::new(),
        }
    }

    /// Adds where it came from.
    #[must_use]
    pub fn at(mut self, origin: Option<Origin>) -> Self {
        self.origin = origin;
        self
    }

    /// Adds the key it is about.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same finding on one line, for logs.
    pub fn one_line(&self) -> String {
        let mut out = String::new();
        if let Some(origin) = &self.origin {
            out.push_str(&format!("{origin}: "));
        }
        out.push_str(&self.what);
        if !self.why.is_empty() {
            out.push_str(&format!("; {}", self.why));
        }
        if !self.hint.is_empty() {
            out.push_str(&format!("; hint: {}", self.hint));
        }
        out
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{word}: {}", self.what)?;
        match (&self.origin, self.why.is_empty()) {
            (Some(origin), false) => write!(f, "\n  at {origin}: {}", self.why)?,
            (Some(origin), true) => write!(f, "\n  at {origin}")?,
            (None, false) => write!(f, "\n  because {}", self.why)?,
            (None, true) => {}
        }
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint)?;
        }
        Ok(())
    }
}

/// Everything that keeps a configuration from being used; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors {
    /// The errors, in the order of the file.
    pub errors: Vec<Diagnostic>,
    /// The warnings found up to then.
    pub warnings: Vec<Warning>,
}
