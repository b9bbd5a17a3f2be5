//! `zoo.cfg`, `-D`, `--set` and positional arguments to a [`Config`]; as Apache's
//! `QuorumPeerConfig`, `ServerConfig` and system properties together.
//!
//! Precedence, lowest first: the table's defaults; `-D` for a property; the lines of the file, the
//! last one of a key winning (a line for a property overwrites `-D`, as in Java); `--set`, which is
//! a line after the last. The exception are the properties that Java can't set in the file
//! (`jute.maxbuffer` and others): for them `-D` wins over the file.

mod build;
mod members;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::diagnostic::{ConfigErrors, Diagnostic, Origin, Severity, Warning};
use super::files::Files;
use super::properties::{self, Property};
use super::settings::{Config, Source};
use super::table::{self, Place, Status};
use values::Values;

/// The command line's share of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// `-D key=value`: Java system properties, in order.
    pub defines: Vec<(String, String)>,
    /// `--set key=value`: lines after the last one of the file, in order.
    pub sets: Vec<(String, String)>,
}

/// A configuration and what is to be said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Unknown keys, keys without effect, odd memberships; in the order found.
    pub warnings: Vec<Warning>,
    /// The known keys that were set, in order of name.
    pub settings: Vec<Setting>,
}

/// A known key and the value it was set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name in zoo.cfg.
    pub key: String,
    /// Its value as written, trimmed.
    pub value: String,
    /// Where it was set.
    pub origin: Origin,
}

/// Where the data goes when nothing says where, relative to the current directory.
pub const DEFAULT_DATA_DIR: &str = "./rookeeper-data";
/// The client port when there is no configuration at all.
pub const DEFAULT_CLIENT_PORT: &str = "2181";
/// `tickTime` in ms when there is no configuration at all: that of Apache's sample.
pub const DEFAULT_TICK_TIME: &str = "2000";

/// Loads a zoo.cfg and the files it names.
///
/// # Errors
/// Everything Apache would refuse, and broken values it would silently replace by a default.
pub fn load_file(
    path: &Path,
    overrides: &Overrides,
    files: &dyn Files,
) -> Result<Loaded, ConfigErrors> {
    let name = path.display().to_string();
    let mut draft = Draft::new(Source::File(path.to_path_buf()));
    match files.read(path) {
        Err(e) => {
            draft.error(
                Diagnostic::new(
                    Severity::Error,
                    "the configuration file can't be read",
                    e.to_string(),
                )
                .at(Some(Origin::File { file: name }))
                .hint(
                    match path.to_str().is_some_and(|name| name.parse::<u16>().is_ok()) {
                        true => "a port needs a data directory behind it: PORT DATADIR",
                        false => "name an existing file, or start without one to use the defaults",
                    },
                ),
            );
        }
        Ok(bytes) => {
            draft.text = bytes.iter().map(|b| char::from(*b)).collect();
            match properties::parse(&bytes) {
                Err(e) => draft.error(
                    Diagnostic::new(
                        Severity::Error,
                        "the file can't be parsed",
                        "\\u must be followed by four hexadecimal digits",
                    )
                    .at(Some(Origin::Line { file: name, line: e.line }))
                    .hint("a lone backslash is written \\\\"),
                ),
                Ok(lines) => {
                    draft.warn_of_repetitions(&name, &lines);
                    for line in properties::last_wins(lines) {
                        let origin = Origin::Line { file: name.clone(), line: line.line };
                        draft.lines.push((line.key, line.value, origin));
                    }
                }
            }
        }
    }
    draft.finish(overrides, files)
}

/// `PORT DATADIR [TICKTIME [MAXCNXNS]]`, as Apache's `ZooKeeperServerMain` takes them: no limit of
/// connections unless given.
///
/// # Errors
/// Wrong number of arguments, or values of the wrong type.
pub fn load_positional(
    args: &[String],
    overrides: &Overrides,
    files: &dyn Files,
) -> Result<Loaded, ConfigErrors> {
    let mut draft = Draft::new(Source::Positional);
    if args.len() < 2 || args.len() > 4 {
        draft.error(
            Diagnostic::new(
                Severity::Error,
                "wrong number of arguments",
                format!("there are {}", args.len()),
            )
            .at(Some(Origin::Positional))
            .hint("PORT DATADIR [TICKTIME [MAXCNXNS]]"),
        );
    }
    let keys = ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];
    for (key, value) in keys.iter().zip(args) {
        draft.lines.push(((*key).to_owned(), value.clone(), Origin::Positional));
    }
    if args.len() < 4 {
        draft.lines.push((keys[3].to_owned(), "0".to_owned(), Origin::Positional));
    }
    draft.finish(overrides, files)
}

/// The embedded default: port 2181, data in `./rookeeper-data`, ticks of 2 s.
///
/// # Errors
/// Only what `overrides` brings in.
pub fn load_defaults(overrides: &Overrides, files: &dyn Files) -> Result<Loaded, ConfigErrors> {
    let mut draft = Draft::new(Source::Builtin);
    for (key, value) in [
        ("clientPort", DEFAULT_CLIENT_PORT),
        ("dataDir", DEFAULT_DATA_DIR),
        ("tickTime", DEFAULT_TICK_TIME),
    ] {
        draft.lines.push((key.to_owned(), value.to_owned(), Origin::Positional));
    }
    draft.finish(overrides, files)
}

/// A configuration while it is put together.
struct Draft {
    source: Source,
    text: String,
    lines: Vec<(String, String, Origin)>,
    values: Values,
    properties: BTreeMap<String, String>,
    warnings: Vec<Warning>,
    errors: Vec<Diagnostic>,
}

/// Whether a value goes on behind a `#` that was meant to begin a comment.
fn has_comment(value: &str) -> bool {
    value.contains(" #") || value.contains("\t#")
}

/// `-D` keys that begin so are Java's own business.
const JAVA_PREFIXES: &[&str] =
    &["java.", "javax.", "sun.", "jdk.", "com.", "org.", "file.", "user.", "os.", "line.", "path."];

impl Draft {
    fn new(source: Source) -> Draft {
        Draft {
            source,
            text: String::new(),
            lines: Vec::new(),
            values: Values::default(),
            properties: BTreeMap::new(),
            warnings: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn error(&mut self, diagnostic: Diagnostic) {
        self.errors.push(diagnostic);
    }

    fn warn(&mut self, diagnostic: Diagnostic) {
        self.warnings.push(diagnostic);
    }

    /// Says which keys are in a file more than once: only the last line counts.
    fn warn_of_repetitions(&mut self, file: &str, lines: &[Property]) {
        let mut told = BTreeSet::new();
        for last in lines.iter().rev() {
            let key = last.key.trim();
            let others = lines.iter().filter(|l| l.key.trim() == key && l.line != last.line);
            let others: Vec<String> = others.map(|l| l.line.to_string()).collect();
            if others.is_empty() || !told.insert(key) {
                continue;
            }
            self.warn(
                Diagnostic::new(
                    Severity::Warning,
                    format!("{key} is given more than once"),
                    format!("this line counts, and not that of line {}", others.join(", ")),
                )
                .at(Some(Origin::Line { file: file.to_owned(), line: last.line }))
                .key(key)
                .hint("remove all of them but one"),
            );
        }
    }

    /// Says what looks as in a shell, and is taken as it stands.
    fn warn_of_text(&mut self, row: &table::Key, key: &str, value: &str, origin: &Origin) {
        let mut say = |what: String, why: &str, hint: &str| {
            let warning = Diagnostic::new(Severity::Warning, what, why);
            self.warn(warning.at(Some(origin.clone())).key(key).hint(hint));
        };
        if has_comment(value) {
            say(
                format!("the value of {key} holds a #"),
                "what follows it is part of the value, and no comment",
                "write the comment on a line of its own",
            );
        }
        if row.kind == table::Kind::Path && (value.starts_with('~') || value.contains('$')) {
            say(
                format!("{key}={value} is taken as it stands"),
                "neither ~ nor a variable is replaced here, nor in Apache",
                "write the path in full",
            );
        } else if matches!(key, "dataDir" | "dataLogDir")
            && !value.starts_with(['/', '.'])
            && *origin != Origin::Positional
        {
            say(
                format!("{key}={value} is a relative path"),
                "it is looked for in the directory that the server is started in",
                "write the path in full, or put ./ before it",
            );
        }
    }

    /// A missing or contradictory value, with the origin of `key` where it has one.
    fn invalid(&mut self, key: &str, what: &str, why: &str, hint: &str) {
        let origin = self.values.origin(key).cloned();
        let error = Diagnostic::new(Severity::Error, what, why);
        self.error(error.at(origin).key(key).hint(hint));
    }

    fn finish(mut self, overrides: &Overrides, files: &dyn Files) -> Result<Loaded, ConfigErrors> {
        for (key, value) in &overrides.sets {
            self.lines.retain(|(k, _, _)| k.trim() != key.trim());
            self.lines.push((key.clone(), value.clone(), Origin::Set));
        }
        // Bare names first: Java looks at the name with prefix before the one without.
        let (bare, prefixed): (Vec<_>, Vec<_>) =
            overrides.defines.iter().partition(|(k, _)| !k.starts_with("zookeeper."));
        for (key, value) in bare.into_iter().chain(prefixed) {
            self.define(key.trim(), value.trim());
        }
        for (key, value, origin) in std::mem::take(&mut self.lines) {
            self.line(key.trim(), value.trim(), origin);
        }
        if !self.errors.is_empty() {
            return Err(ConfigErrors { errors: self.errors, warnings: self.warnings });
        }
        let config = self.build(files);
        match config {
            Some(config) if self.errors.is_empty() => {
                let settings = self.values.settings();
                Ok(Loaded { config, warnings: self.warnings, settings })
            }
            _ => Err(ConfigErrors { errors: self.errors, warnings: self.warnings }),
        }
    }

    /// A system property.
    fn define(&mut self, name: &str, value: &str) {
        self.properties.insert(name.to_owned(), value.to_owned());
        let stripped = name.strip_prefix("zookeeper.");
        if stripped.is_none() && JAVA_PREFIXES.iter().any(|p| name.starts_with(p)) {
            if table::find(name).is_some_and(|k| k.place == Place::Bare) {
                self.accept(name, value, Origin::Define);
            }
            return;
        }
        let key = stripped.unwrap_or(name);
        match table::find(key) {
            Some(row) if row.place == Place::File => {
                let why = "this key is read from the configuration file only, as in Apache";
                self.warn(
                    Diagnostic::new(Severity::Warning, format!("-D {name} has no effect"), why)
                        .at(Some(Origin::Define))
                        .key(name)
                        .hint(format!("use --set {key}={value}")),
                );
            }
            Some(row) => {
                let as_java = match row.place {
                    Place::File => false,
                    Place::Property => stripped.is_some(),
                    Place::Bare => stripped.is_none(),
                    Place::PropertyOrBare => true,
                };
                if !as_java {
                    let place = match row.property() {
                        Some(property) => format!("Apache reads it only from -D {property}=.."),
                        None => "Apache reads it only from the configuration file".to_owned(),
                    };
                    self.warn(
                        Diagnostic::new(
                            Severity::Note,
                            format!("-D {name} is taken as {key}"),
                            place,
                        )
                        .at(Some(Origin::Define))
                        .key(name)
                        .hint(format!("use --set {key}={value}")),
                    );
                }
                self.accept(key, value, Origin::Define);
            }
            None if stripped.is_some() => self.unknown(key, Origin::Define),
            None if table::nearest(key).is_some() => self.unknown(key, Origin::Define),
            None => {}
        }
    }

    /// A line of the file.
    fn line(&mut self, key: &str, value: &str, origin: Origin) {
        match table::find(key) {
            Some(row) => {
                // Java can't set these in the file, so a -D isn't overwritten by it.
                if row.place == Place::Bare && self.values.origin(key) == Some(&Origin::Define) {
                    return;
                }
                match row.property() {
                    Some(_) if row.place == Place::Bare => {
                        self.properties.insert(key.to_owned(), value.to_owned());
                    }
                    Some(_) => {
                        self.properties.insert(format!("zookeeper.{key}"), value.to_owned());
                    }
                    None => {}
                }
                self.accept(key, value, origin);
            }
            None => {
                self.properties.insert(format!("zookeeper.{key}"), value.to_owned());
                self.unknown(key, origin);
            }
        }
    }

    fn unknown(&mut self, key: &str, origin: Origin) {
        let hint = match key.strip_prefix("zookeeper.").filter(|rest| table::find(rest).is_some()) {
            Some(rest) => format!("in the file the prefix is left out: {rest}"),
            None => match table::nearest(key) {
                Some(near) => format!("did you mean {near}?"),
                None => "rookeeper config defaults lists all keys".to_owned(),
            },
        };
        self.warn(
            Diagnostic::new(
                Severity::Warning,
                format!("unknown key {key}"),
                "it has no effect, neither here nor in Apache ZooKeeper",
            )
            .at(Some(origin))
            .key(key)
            .hint(hint),
        );
    }

    /// A known key: checks its value and says once what has no effect.
    fn accept(&mut self, key: &str, value: &str, origin: Origin) {
        let Some(row) = table::find(key) else { return };
        if let Err(why) = row.check(value) {
            let hint = match has_comment(value) {
                true => "write the comment on a line of its own".to_owned(),
                false => format!("{key} is {}: {}", row.kind.expects(), row.doc),
            };
            self.error(
                Diagnostic::new(Severity::Error, format!("{key}={value} can't be used"), why)
                    .at(Some(origin))
                    .key(key)
                    .hint(hint),
            );
            return;
        }
        self.warn_of_text(row, key, value, &origin);
        // A feature that is switched off needs nothing built; that of syncEnabled is to switch off.
        let off = row.kind == table::Kind::Bool
            && value.eq_ignore_ascii_case("false")
            && !key.ends_with("syncEnabled");
        let changed = !off && !value.eq_ignore_ascii_case(row.default);
        self.warnings.retain(|w| {
            w.key.as_deref() != Some(key)
                || w.severity != Severity::Note
                || w.what.starts_with("-D")
        });
        match row.status {
            Status::Honoured => {}
            Status::Ignored(why) => self.warn(
                Diagnostic::new(Severity::Note, format!("{key} has no effect"), why)
                    .at(Some(origin.clone()))
                    .key(key),
            ),
            Status::NotYet(why) if changed => self.warn(
                Diagnostic::new(Severity::Warning, format!("{key} has no effect yet"), why)
                    .at(Some(origin.clone()))
                    .key(key),
            ),
            Status::Refused(why) if changed => self.error(
                Diagnostic::new(Severity::Error, format!("{key}={value} is not supported"), why)
                    .at(Some(origin.clone()))
                    .key(key)
                    .hint(format!("remove {key}")),
            ),
            Status::NotYet(_) | Status::Refused(_) => {}
        }
        self.values.set(key, value, origin);
    }
}

#[cfg(test)]
mod odd_tests;
#[cfg(test)]
mod tests;
