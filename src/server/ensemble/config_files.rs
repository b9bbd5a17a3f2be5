//! The files of a membership that changes at run time, as Apache names and writes them
//! (`QuorumPeerConfig.writeDynamicConfig`, `editStaticConfig`):
//!
//! - `<cfg>.dynamic.next`: the newest config that was proposed, with its version;
//! - `<cfg>.dynamic.<version>`: the config in force, without; then `<cfg>` itself names that file,
//!   and loses the lines it takes the place of;
//! - `<cfg>.bak`: the file as it was before its member lines were taken out.
//!
//! Unlike Apache's, the rewritten file keeps its comments and its order. Each file is replaced in one
//! step and synced. A directory that can't be written is reported and passed over, as in Apache: the
//! log holds every change.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::config::Config;
use crate::config::{QuorumConfig, Source, properties};
use crate::types::ServerId;

/// The files beside one configuration file.
#[derive(Clone, Debug)]
pub struct ConfigFiles {
    cfg: PathBuf,
    me: ServerId,
}

impl ConfigFiles {
    /// Those of this configuration; None when the membership doesn't change or there is no file.
    pub fn of(config: &Config) -> Option<ConfigFiles> {
        let Source::File(cfg) = &config.source else { return None };
        let me = ServerId(config.quorum.my_id?);
        config.quorum.reconfig_enabled.then(|| ConfigFiles { cfg: cfg.clone(), me })
    }

    /// Keeps a copy of a file that lists its members itself, before it is rewritten.
    pub fn back_up(&self, config: &Config) {
        if config.quorum.dynamic_file.is_some() {
            return;
        }
        let to = self.beside(".bak");
        report(&to, fs::read(&self.cfg).and_then(|text| replace(&to, &text)));
    }

    /// Keeps a config's text: the one in force, or the newest proposed one. One in force ends the
    /// proposed one, unless that is to be kept.
    pub fn save(&self, text: &Bytes, active: bool, keep_next: bool) {
        let text = String::from_utf8_lossy(text);
        let next = self.beside(".dynamic.next");
        let config = match QuorumConfig::parse(&text, true) {
            Ok(config) => config,
            Err(error) => return tracing::error!(%error, "a membership that can't be read"),
        };
        let lines = config.to_file_text();
        if !active {
            let text = format!("{lines}\nversion={:x}", config.version);
            return report(&next, replace(&next, text.as_bytes()));
        }
        let path = self.beside(&format!(".dynamic.{:x}", config.version));
        let saved = replace(&path, lines.as_bytes()).and_then(|()| {
            let path = fs::canonicalize(&path)?;
            let own = config.members.get(&self.me);
            let named = own.is_some_and(|member| member.client.is_some());
            let text = point_to(&fs::read(&self.cfg)?, &path, named);
            replace(&self.cfg, &text)?;
            if keep_next {
                return Ok(());
            }
            match fs::remove_file(&next) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        });
        report(&path, saved);
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.cfg.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    }
}

fn report(path: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        let path = path.display();
        tracing::error!("{path} can't be written: {error}; the log still holds the membership");
    }
}

/// Replaces a file's content in one step, synced.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut tmp = path.to_path_buf().into_os_string();
    tmp.push(".tmp");
    let tmp = PathBuf::from(tmp);
    let mut file = File::create(&tmp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&tmp, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

/// The text of a static file that names `dynamic` and has no lines that belong there; `named`: that
/// file says where clients connect.
fn point_to(text: &[u8], dynamic: &Path, named: bool) -> Vec<u8> {
    let gone = |key: &str| {
        ["server.", "group", "weight", "dynamicConfigFile", "peerType"]
            .iter()
            .any(|prefix| key.starts_with(prefix))
            || named && key.starts_with("clientPort")
    };
    let mut out = Vec::with_capacity(text.len());
    let mut lines = text.split_inclusive(|b| *b == b'\n');
    while let Some(line) = lines.next() {
        let mut whole = line.to_vec();
        while continues(&whole)
            && let Some(more) = lines.next()
        {
            whole.extend_from_slice(more);
        }
        let key = properties::parse(&whole).ok().and_then(|mut found| found.pop());
        if key.is_none_or(|property| !gone(property.key.trim())) {
            out.extend_from_slice(&whole);
        }
    }
    if out.last().is_some_and(|b| *b != b'\n') {
        out.push(b'\n');
    }
    out.extend_from_slice(format!("dynamicConfigFile={}\n", dynamic.display()).as_bytes());
    out
}

/// Whether a line goes on in the next one: an odd number of backslashes at its end, in no comment.
fn continues(line: &[u8]) -> bool {
    let text = line.trim_ascii();
    if text.starts_with(b"#") || text.starts_with(b"!") {
        return false;
    }
    let end = line.strip_suffix(b"\n").unwrap_or(line);
    let end = end.strip_suffix(b"\r").unwrap_or(end);
    end.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests;
