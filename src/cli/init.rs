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
            eprintln!("{text}");
            return exit::INVALID_INVOCATION;
        }
    };
    match prepare(&data, &log, args.myid, args.force) {
        Ok(()) => {
            println!("data in {}, log in {}", data.display(), log.display());
            if args.myid.is_none() {
                println!("no myid: fine for a standalone server, a member needs --myid N");
            }
            exit::OK
        }
        Err(e) => {
            eprintln!("error: the data directory can't be made\n  at {}: {e}", data.display());
            if e.kind() == io::ErrorKind::AlreadyExists {
                eprintln!("  hint: --force deletes what is there");
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
