//! Subcommands of the one binary; each file: arguments, run, exit code.
//!
//! Called as `zkServer.sh`, `zkCli.sh` or `java`, the binary takes those programs' arguments (see
//! [`multicall`]); everything else is parsed by clap.

#[macro_use]
mod output;

pub mod bench;
pub mod config;
pub mod init;
pub mod logging;
pub mod multicall;
pub mod purge;
pub mod scripts;
pub mod server;
pub mod snapshot;
pub mod txnlog;
pub mod words;
pub mod zkcli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use multicall::Invocation;
use output::say;

/// Apache's exit codes (`org.apache.zookeeper.server.ExitCode`).
pub mod exit {
    /// Finished.
    pub const OK: u8 = 0;
    /// Anything not foreseen.
    pub const UNEXPECTED: u8 = 1;
    /// Bad arguments or configuration.
    pub const INVALID_INVOCATION: u8 = 2;
    /// The data directory can't be used.
    pub const DATA_DIR: u8 = 3;
    /// No server answers (client commands).
    pub const NO_CONNECTION: u8 = 6;
    /// A file is damaged (offline tools).
    pub const CORRUPT: u8 = 8;
}

/// A coordination server that ZooKeeper clients can't tell from Apache ZooKeeper.
///
/// Without a command it runs a standalone server on port 2181 with its data in ./rookeeper-data.
#[derive(Parser, Debug)]
#[command(name = "rookeeper", version)]
pub struct Cli {
    /// What to do; `server` when left out
    #[command(subcommand)]
    pub command: Option<Command>,
    /// A Java system property, such as -Dzookeeper.snapCount=5000; may stand anywhere
    #[arg(short = 'D', value_name = "KEY=VALUE", global = true)]
    pub define: Vec<String>,
    /// Level or filter of the log: error, warn, info, debug, or as in RUST_LOG
    #[arg(long, value_name = "FILTER", global = true)]
    pub log: Option<String>,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a server: with zoo.cfg, with PORT DATADIR [TICKTIME [MAXCNXNS]], or with defaults
    Server(server::ServerArgs),
    /// Check, explain or show a configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Send a four-letter word to a server
    #[command(name = "4lw")]
    FourLetterWord(words::WordArgs),
    /// Say what mode servers are in
    Status(words::StatusArgs),
    /// Make data directories, myid and the initialize file of a new member
    Init(init::InitArgs),
    /// Apache's zkCli.sh: the same words, output and exit codes
    Zkcli(zkcli::ZkCliArgs),
    /// Read transaction logs, without a server
    #[command(subcommand)]
    Log(txnlog::LogCommand),
    /// Read snapshots, without a server
    #[command(subcommand)]
    Snapshot(snapshot::SnapshotCommand),
    /// Delete old snapshots and the logs that only they need
    Purge(purge::PurgeArgs),
    /// Measure a server, or compare with Apache ZooKeeper
    Bench(Box<bench::BenchArgs>),
    /// Say which version this is
    Version,
}

/// The whole program: parses this process's arguments and does what they say.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let variables = multicall::Variables::of_this_process();
    let code = match multicall::read(&args, &variables) {
        Invocation::Native => native(&args),
        Invocation::Rewritten(args) => native(&args),
        Invocation::Server { config, defines } => server::run_with(config, &defines, None),
        Invocation::Script(script) => scripts::run(script),
        Invocation::Word { address, word } => words::send(&word, &address),
        Invocation::ZkCli(arguments) => zkcli::run(&arguments),
        Invocation::Version => version_info(),
        Invocation::DigestAuth(credentials) => digest(&credentials),
        Invocation::ForeignJava(args) => scripts::exec_java(&args),
        Invocation::Invalid(why) => {
            err!("{why}");
            exit::INVALID_INVOCATION
        }
    };
    ExitCode::from(code)
}

fn native(args: &[String]) -> u8 {
    let cli = match Cli::try_parse_from(multicall::defines_first(args)) {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are "errors" to clap, and go to standard output.
            let code = if e.use_stderr() { exit::INVALID_INVOCATION } else { exit::OK };
            return match e.print() {
                Ok(()) => code,
                Err(_) => exit::UNEXPECTED,
            };
        }
    };
    run(cli)
}

/// Does what the arguments say; the number is the exit code.
pub fn run(cli: Cli) -> u8 {
    match cli.command {
        None => server::run(server::ServerArgs::default(), &cli.define, cli.log.as_deref()),
        Some(Command::Server(args)) => server::run(args, &cli.define, cli.log.as_deref()),
        Some(Command::Config(command)) => config::run(command, &cli.define),
        Some(Command::FourLetterWord(args)) => words::run(args),
        Some(Command::Status(args)) => words::status(args),
        Some(Command::Init(args)) => init::run(args, &cli.define),
        Some(Command::Bench(args)) => bench::run(*args),
        Some(Command::Log(command)) => txnlog::run(command),
        Some(Command::Snapshot(command)) => snapshot::run(command),
        Some(Command::Purge(args)) => purge::run(args),
        Some(Command::Zkcli(args)) => zkcli::run(&args.arguments),
        Some(Command::Version) => {
            out!(
                "rookeeper {} (as Apache ZooKeeper {})",
                env!("CARGO_PKG_VERSION"),
                crate::config::CompatVersion::NEWEST
            );
            exit::OK
        }
    }
}

/// `VersionInfoMain`.
fn version_info() -> u8 {
    out!("Apache ZooKeeper, version {} 01/01/2026 00:00 UTC", crate::config::CompatVersion::NEWEST);
    exit::OK
}

/// `DigestAuthenticationProvider user:password ..`: prints the digest id of each.
fn digest(credentials: &[String]) -> u8 {
    use base64::Engine;
    use sha1::{Digest, Sha1};
    for credential in credentials {
        let user = credential.split(':').next().unwrap_or("");
        let hash = Sha1::digest(credential.as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        out!("{credential}->{user}:{hash}");
    }
    exit::OK
}

#[cfg(test)]
mod tests;
