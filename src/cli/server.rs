//! `rookeeper server`: load the configuration, say what is odd about it, run.

use std::path::PathBuf;

use clap::Args;

use super::multicall::{ServerConfig, overrides};
use super::{exit, logging};
use crate::config::{
    Config, ConfigErrors, Loaded, Overrides, RealFiles, Severity, Source, load_defaults, load_file,
    load_positional,
};
use crate::server::RunOptions;

/// Arguments of `rookeeper server`.
#[derive(Args, Debug, Default)]
pub struct ServerArgs {
    /// zoo.cfg, or PORT DATADIR [TICKTIME [MAXCNXNS]]; nothing for port 2181 and ./rookeeper-data
    #[arg(value_name = "CONFIG", num_args = 0..=4)]
    pub config: Vec<String>,
    /// A line of zoo.cfg, such as tickTime=500; wins over the file
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Written once the server serves, and removed before: a JSON object with pid and client port
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// Runs a server until it is told to stop; the number is Apache's exit code.
pub fn run(args: ServerArgs, defines: &[String], log: Option<&str>) -> u8 {
    logging::start(log);
    let source = ServerConfig::of(&args.config);
    serve(&source, &overrides(defines, &args.set), args.ready_file)
}

/// The same for a call as `java` or `zkServer.sh`.
pub fn run_with(
    source: ServerConfig,
    defines: &[(String, String)],
    ready_file: Option<PathBuf>,
) -> u8 {
    logging::start(None);
    serve(&source, &Overrides { defines: defines.to_vec(), sets: Vec::new() }, ready_file)
}

/// Loads a configuration from wherever it comes.
///
/// # Errors
/// What [`load_file`] and its sisters say.
pub fn load(source: &ServerConfig, overrides: &Overrides) -> Result<Loaded, ConfigErrors> {
    match source {
        ServerConfig::Defaults => load_defaults(overrides, &RealFiles),
        ServerConfig::File(path) => load_file(path, overrides, &RealFiles),
        ServerConfig::Positional(args) => load_positional(args, overrides, &RealFiles),
    }
}

fn serve(source: &ServerConfig, overrides: &Overrides, ready_file: Option<PathBuf>) -> u8 {
    if let Some(path) = &ready_file {
        // One of an earlier run would be taken for this one's.
        let _ = std::fs::remove_file(path);
    }
    let loaded = match load(source, overrides) {
        Ok(loaded) => loaded,
        Err(errors) => {
            for warning in errors.warnings.iter().filter(|w| w.severity > Severity::Note) {
                err!("{warning}");
            }
            err!("{errors}");
            err!("Invalid config, exiting abnormally");
            return exit::INVALID_INVOCATION;
        }
    };
    for warning in &loaded.warnings {
        match warning.severity {
            Severity::Note => tracing::info!("{}", warning.one_line()),
            _ => tracing::warn!("{}", warning.one_line()),
        }
    }
    announce(&loaded.config);
    crate::server::run(loaded.config, RunOptions { ready_file })
}

fn announce(config: &Config) {
    let from = match &config.source {
        Source::File(path) => path.display().to_string(),
        Source::Positional => "the command line".to_owned(),
        Source::Builtin => "built-in defaults".to_owned(),
    };
    let data = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    tracing::info!(
        "rookeeper {} as ZooKeeper {}, configuration from {from}, data in {}",
        env!("CARGO_PKG_VERSION"),
        config.compat_version,
        data.display()
    );
}
