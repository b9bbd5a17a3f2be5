//! The shell: the only folder with tokio, threads, sockets, a clock and randomness.

pub mod election_link;
pub mod ensemble;
pub mod net;
pub mod quorum_link;

use std::path::PathBuf;

use crate::config::Config;

/// What a run of a server needs beside its configuration.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Where to tell the process id and the bound ports, as JSON, once the server serves.
    pub ready_file: Option<PathBuf>,
}

/// Runs a server until SIGTERM or a fatal error; the number is Apache's exit code.
pub fn run(config: Config, _options: RunOptions) -> u8 {
    tracing::error!("this build has no server to run with {:?}", config.source);
    1
}
