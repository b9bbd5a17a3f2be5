//! `rookeeper init`: what a new member needs on disk, as `zkServer-initialize.sh` makes it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit;
use super::multicall::{ServerConfig, overrides};

/// Arguments of `rookeeper init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// zoo.cfg, which names the directories; ./rookeeper-data without
    pub config: Option<PathBuf>,
    /// Directory of the data, instead of the file's
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub data_dir: Option<PathBuf>,
    /// Number of this server, the N of its server.N line
    #[arg(long, value_name = "N")]
    pub myid: Option<i64>,
    /// Delete what is there
    #[arg(long)]
    pub force: bool,
}

/// Makes the directories; the number is the exit code.
pub fn run(args: InitArgs, defines: &[String]) -> u8 {
    let (data, log) = match directories(&args, defines) {
        Ok(both) => both,
        Err(text) => {
            err!("{text}");
            return exit::INVALID_INVOCATION;
        }
    };
    let stranger = args.myid.zip(args.config.as_deref()).and_then(|(id, file)| stranger(id, file));
    match prepare(&data, &log, args.myid, args.force) {
        Ok(()) => {
            out!("data in {}, log in {}", data.display(), log.display());
            if let Some(text) = &stranger {
                err!("{text}");
            }
            if args.myid.is_none() {
                out!("no myid: fine for a standalone server, a member needs --myid N");
            }
            exit::OK
        }
        Err(e) => {
            err!("error: the data directory can't be made\n  at {}: {e}", data.display());
            if e.kind() == io::ErrorKind::AlreadyExists {
                err!("  hint: --force deletes what is there");
            }
            exit::DATA_DIR
        }
    }
}

fn directories(args: &InitArgs, defines: &[String]) -> Result<(PathBuf, PathBuf), String> {
    if let Some(dir) = &args.data_dir {
        return Ok((dir.clone(), dir.clone()));
    }
    let Some(path) = &args.config else {
        let dir = PathBuf::from(crate::config::zoo_cfg::DEFAULT_DATA_DIR);
        return Ok((dir.clone(), dir));
    };
    // Nothing but the two directories matters here, so a missing myid isn't an error: it is what
    // this command is for. Members and limits are taken out.
    let text = fs::read(path)
        .map_err(|e| format!("error: {} can't be read\n  because {e}", path.display()))?;
    let lines = crate::config::properties::parse(&text).map_err(|e| format!("error: {e}"))?;
    let last = |key: &str| {
        lines.iter().rev().find(|l| l.key.trim() == key).map(|l| PathBuf::from(l.value.trim()))
    };
    match last("dataDir") {
        Some(data) => {
            let log = last("dataLogDir").unwrap_or_else(|| data.clone());
            Ok((data, log))
        }
        None => {
            match super::server::load(&ServerConfig::File(path.clone()), &overrides(defines, &[])) {
                Ok(loaded) => Ok((loaded.config.data_dir, loaded.config.data_log_dir)),
                Err(errors) => Err(errors.to_string()),
            }
        }
    }
}

/// A warning when the file has members, and none with this number.
fn stranger(myid: i64, file: &Path) -> Option<String> {
    let lines = crate::config::properties::parse(&fs::read(file).ok()?).ok()?;
    let members: Vec<&str> =
        lines.iter().filter_map(|line| line.key.trim().strip_prefix("server.")).collect();
    if members.is_empty() || members.iter().any(|n| n.parse() == Ok(myid)) {
        return None;
    }
    Some(format!(
        "warning: there is no server.{myid} line\n  at {}\n  hint: the members are {}",
        file.display(),
        members.join(", ")
    ))
}

fn prepare(data: &Path, log: &Path, myid: Option<i64>, force: bool) -> io::Result<()> {
    for dir in [data, log] {
        let versioned = dir.join("version-2");
        if versioned.exists() {
            if !force {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    format!("{} is there already", versioned.display()),
                ));
            }
            fs::remove_dir_all(&versioned)?;
        }
    }
    fs::create_dir_all(data.join("version-2"))?;
    fs::create_dir_all(log.join("version-2"))?;
    if let Some(id) = myid {
        fs::write(data.join("myid"), format!("{id}\n"))?;
    }
    fs::write(data.join("initialize"), "")
}

#[cfg(test)]
mod tests;
