//! `rookeeper config check|explain|defaults|show`: a configuration without a server.

use std::path::PathBuf;

use clap::Subcommand;

use super::exit;
use super::multicall::overrides;
use crate::config::table::{self, KEYS, Key, Place, Status};
use crate::config::{Diagnostic, Loaded, RealFiles, Severity, load_file};

/// Commands about configurations.
#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// Say all that is wrong or odd about a zoo.cfg; exit code 2 when a server would not start
    Check {
        /// The file
        file: PathBuf,
        /// A line of zoo.cfg; wins over the file
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Say what a key or a Java system property means and what is done with it
    Explain {
        /// Its name in zoo.cfg, or with zookeeper. in front
        key: String,
    },
    /// List all keys with their defaults, in the form of a zoo.cfg
    Defaults,
    /// Show what a zoo.cfg comes to: every key that is set, and where
    Show {
        /// The file
        file: PathBuf,
        /// A line of zoo.cfg; wins over the file
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Also keys that are not set, with their defaults
        #[arg(long)]
        all: bool,
    },
}

/// Does it; the number is the exit code.
pub fn run(command: ConfigCommand, defines: &[String]) -> u8 {
    match command {
        ConfigCommand::Check { file, set } => {
            match load_file(&file, &overrides(defines, &set), &RealFiles) {
                Ok(loaded) => {
                    print_all(&loaded.warnings);
                    let real = loaded.warnings.iter().filter(|w| w.severity > Severity::Note);
                    out!("{}: fine, {}", file.display(), counted(real.count(), "warning"));
                    exit::OK
                }
                Err(errors) => {
                    print_all(&errors.warnings);
                    print_all(&errors.errors);
                    out!("{}: {}", file.display(), counted(errors.errors.len(), "error"));
                    exit::INVALID_INVOCATION
                }
            }
        }
        ConfigCommand::Explain { key } => match explain(&key) {
            Ok(text) => {
                super::say(&text);
                exit::OK
            }
            Err(diagnostic) => {
                err!("{diagnostic}");
                exit::INVALID_INVOCATION
            }
        },
        ConfigCommand::Defaults => {
            super::say(&defaults());
            exit::OK
        }
        ConfigCommand::Show { file, set, all } => {
            match load_file(&file, &overrides(defines, &set), &RealFiles) {
                Ok(loaded) => {
                    super::say(&show(&loaded, all));
                    exit::OK
                }
                Err(errors) => {
                    err!("{errors}");
                    exit::INVALID_INVOCATION
                }
            }
        }
    }
}

/// `no errors`, `1 error`, `2 errors`.
fn counted(n: usize, what: &str) -> String {
    match n {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

fn print_all(list: &[Diagnostic]) {
    for diagnostic in list {
        super::say(&format!("{diagnostic}\n"));
    }
}

fn status(key: &Key) -> String {
    match key.status {
        Status::Honoured => "honoured".to_owned(),
        Status::Ignored(why) => format!("no effect: {why}"),
        Status::NotYet(why) => format!("no effect yet: {why}"),
        Status::Refused(why) => format!("refused unless left at its default: {why}"),
    }
}

/// All about a key, one `name: value` a line.
fn explain(name: &str) -> Result<String, Diagnostic> {
    let bare = name.strip_prefix("zookeeper.").unwrap_or(name);
    let key = table::find(name).or_else(|| table::find(bare)).ok_or_else(|| {
        Diagnostic::new(
            Severity::Error,
            format!("unknown key {name}"),
            "Apache ZooKeeper 3.9 doesn't know it either",
        )
        .hint(match table::nearest(bare) {
            Some(near) => format!("did you mean {near}?"),
            None => "rookeeper config defaults lists all keys".to_owned(),
        })
    })?;
    let place = match key.place {
        Place::File | Place::Property | Place::PropertyOrBare => "zoo.cfg",
        Place::Bare => "zoo.cfg (rookeeper only)",
    };
    let property = key.property().map(|p| format!(", -D{p}=..")).unwrap_or_default();
    let default = if key.default.is_empty() { "none" } else { key.default };
    Ok(format!(
        "{}: {}\n  where:   {place}{property}\n  value:   {}\n  default: {default}\n  status:  {}\n",
        key.name,
        key.doc,
        key.kind.expects(),
        status(key)
    ))
}

/// A zoo.cfg in which every line is a comment.
fn defaults() -> String {
    let mut out = String::new();
    for key in KEYS {
        let property = key.property().map(|p| format!(" (-D{p})")).unwrap_or_default();
        out.push_str(&format!("# {}{property}; {}\n", key.doc, status(key)));
        out.push_str(&format!("#{}={}\n\n", key.name, key.default));
    }
    out
}

/// True for values that don't belong on a screen.
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    (key.contains("password") && !key.ends_with("path")) || key.ends_with("superdigest")
}

fn show(loaded: &Loaded, all: bool) -> String {
    let mut out = String::new();
    for setting in &loaded.settings {
        let value = if is_secret(&setting.key) { "***" } else { setting.value.as_str() };
        out.push_str(&format!("{}={value}    # {}\n", setting.key, setting.origin));
    }
    if all {
        let unset = KEYS
            .iter()
            .filter(|k| !k.is_family() && !k.default.is_empty())
            .filter(|k| !loaded.settings.iter().any(|s| s.key == k.name));
        for key in unset {
            out.push_str(&format!("{}={}    # default\n", key.name, key.default));
        }
    }
    if let Some(members) = &loaded.config.quorum.config {
        out.push_str(&format!("# members, as servers tell each other:\n{members}\n"));
    }
    out
}

#[cfg(test)]
mod tests;
