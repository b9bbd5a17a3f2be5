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
    match prepare(&data, &log, args.myid, args.force) {
        Ok(()) => {
            out!("data in {}, log in {}", data.display(), log.display());
            let present = args.myid.is_some() || data.join("myid").is_file();
            match args.config.as_deref().map(members).filter(|members| !members.is_empty()) {
                Some(members) => {
                    if let Some(text) = advice(args.myid, present, &members) {
                        err!("{text}");
                    }
                }
                None if !present => {
                    out!("no myid: fine for a standalone server, a member needs --myid N");
                }
                None => {}
            }
            exit::OK
        }
        Err(Unmade::There(dir)) => {
            err!("error: there is data already\n  at {}", dir.display());
            err!("  hint: --force deletes what is there");
            exit::DATA_DIR
        }
        Err(Unmade::Failed(path, e)) => {
            err!("error: the data directory can't be made\n  at {}: {e}", path.display());
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
        .map_err(|e| format!("error: the file can't be read\n  at {}: {e}", path.display()))?;
    let lines = crate::config::properties::parse(&text).map_err(|e| {
        format!("error: the file can't be parsed\n  at {}:{}: {e}", path.display(), e.line)
    })?;
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

/// The numbers of the members in a zoo.cfg, or in the dynamic file that it names; empty when there
/// are none.
fn members(file: &Path) -> Vec<String> {
    let lines = |path: &Path| {
        let bytes = fs::read(path).ok();
        bytes.and_then(|bytes| crate::config::properties::parse(&bytes).ok()).unwrap_or_default()
    };
    let mut all = lines(file);
    let dynamic = all.iter().rev().find(|line| line.key.trim() == "dynamicConfigFile");
    if let Some(path) = dynamic.map(|line| PathBuf::from(line.value.trim())) {
        all.extend(lines(&path));
    }
    let numbers = all.iter().filter_map(|line| line.key.trim().strip_prefix("server."));
    let mut numbers: Vec<String> = numbers.map(str::to_owned).collect();
    numbers.sort();
    numbers.dedup();
    numbers
}

/// What is to be said when `members` is not empty and the server would not start as one of them.
fn advice(myid: Option<i64>, present: bool, members: &[String]) -> Option<String> {
    let all = members.join(", ");
    match myid {
        Some(id) if !members.iter().any(|n| n.parse() == Ok(id)) => {
            Some(format!("warning: there is no server.{id} line\n  hint: the members are {all}"))
        }
        None if !present => Some(format!(
            "warning: there is no myid yet, and the file has server lines\n  hint: --myid N says which of \
             the members {all} this server is"
        )),
        _ => None,
    }
}

/// Why the directories were not made.
#[derive(Debug)]
enum Unmade {
    /// This one holds data, and may not be emptied.
    There(PathBuf),
    /// What failed, and where.
    Failed(PathBuf, io::Error),
}

fn prepare(data: &Path, log: &Path, myid: Option<i64>, force: bool) -> Result<(), Unmade> {
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |error| Unmade::Failed(path, error)
    };
    for dir in [data, log] {
        let versioned = dir.join("version-2");
        match fs::read_dir(&versioned).map(Iterator::count) {
            Ok(1..) if !force => return Err(Unmade::There(versioned)),
            Ok(_) => fs::remove_dir_all(&versioned).map_err(at(&versioned))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Unmade::Failed(versioned, e)),
        }
    }
    for dir in [data, log] {
        let versioned = dir.join("version-2");
        fs::create_dir_all(&versioned).map_err(at(&versioned))?;
    }
    let write = |name: &str, text: &str| {
        let path = data.join(name);
        fs::write(&path, text).map_err(at(&path))
    };
    if let Some(id) = myid {
        write("myid", &format!("{id}\n"))?;
    }
    write("initialize", "")
}

#[cfg(test)]
mod tests;
