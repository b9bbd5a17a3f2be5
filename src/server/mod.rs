//! The shell: the only folder with tokio, threads, sockets, a clock and randomness.
//!
//! - `node`: the node thread, the only writer of the state; `committer`: the log thread;
//!   `snapshotter`: the snapshot thread;
//! - `door`: the client port during the start; `client`: later, a task per connection; `lanes`: the threads they run on; `closings`: why connections end; `line`: the outbox that both sides share,
//!   with the ordering rule; `report`: four-letter words; `audit`: the audit log; `scrape`: the Prometheus endpoint;
//! - `election_link`, `quorum_link`, `ensemble`: the ports between servers;
//! - `descriptors`, `hold`, `load`, `secret`: what is taken and read at the start; `ready`: says that it is over; `accept`, `clock`, `inbox`, `lines`, `net`, `throttle`: small tools.

pub mod accept;
pub mod audit;
pub mod build;
pub mod client;
pub mod clock;
pub mod closings;
pub mod committer;
pub mod descriptors;
pub mod door;
pub mod election_link;
pub mod ensemble;
pub mod hold;
pub mod inbox;
pub mod lanes;
pub mod line;
pub mod lines;
pub mod load;
pub mod net;
pub mod node;
pub mod quorum_link;
pub mod ready;
pub mod report;
pub mod scrape;
pub mod secret;
pub mod session_log;
pub mod snapshotter;
pub mod standalone;
pub mod throttle;
pub mod watchdog;
mod words;

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Config;

use ensemble::server::EnsembleMember;
use standalone::Standalone;

/// What a run of a server needs beside its configuration.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Where to tell the process id and the bound ports, as JSON, once the server serves.
    pub ready_file: Option<PathBuf>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nobody could connect.
    #[error("no clientPort is configured; hint: add clientPort=2181 to the configuration")]
    NoClientPort,
    /// The port is taken, the name unknown, or the address not this machine's.
    #[error("can't listen on {why} ({keys}); hint: {}", why.hint())]
    Bind {
        /// The keys that choose the place.
        keys: &'static str,
        /// Where, and why not.
        why: net::Unbound,
    },
    /// The data can't be used.
    #[error(transparent)]
    Storage(#[from] crate::storage::Error),
    /// Another server writes there.
    #[error("{0}; hint: dataDir and dataLogDir choose the place")]
    InUse(hold::InUse),
    /// An empty data directory that may not be one.
    #[error(
        "the data directory {} is empty and zookeeper.db.autocreate is off; hint: create the file \
         `initialize` there if that is right",
        .0.display()
    )]
    Suspect(PathBuf),
    /// The configuration makes no member of an ensemble.
    #[error(transparent)]
    Setup(#[from] ensemble::setup::SetupError),
    /// The election port is taken.
    #[error(transparent)]
    ElectionPort(#[from] election_link::BindError),
    /// What is on disk does not fit together.
    #[error("{0}; the files in the data directory are from different times")]
    Zab(#[from] crate::zab::StartError),
    /// Clients could take the descriptors that files need.
    #[error(
        "the limit of open files is {limit}, and this server needs {needed} to serve the first \
         clients; hint: raise it with `ulimit -Hn` and `ulimit -n`, or with LimitNOFILE="
    )]
    Descriptors {
        /// What there is.
        limit: u64,
        /// What would do.
        needed: u64,
    },
    /// The secret of session passwords.
    #[error("the secret of session passwords: {0}")]
    Secret(std::io::Error),
    /// The system refused something a server can't do without.
    #[error("the system refused: {0}")]
    System(std::io::Error),
}

impl StartError {
    /// Apache's exit code for it.
    fn exit_code(&self) -> u8 {
        match self {
            StartError::Storage(_) | StartError::InUse(_) | StartError::Suspect(_) => 3,
            StartError::NoClientPort | StartError::Setup(_) => 2,
            StartError::ElectionPort(_) => 14,
            _ => 1,
        }
    }
}

/// Runs a server until SIGTERM or a fatal error; the number is Apache's exit code.
pub fn run(config: Config, options: RunOptions) -> u8 {
    if let Ok(seed) = clock::random_bytes::<8>() {
        crate::types::set_hash_seed(u64::from_le_bytes(seed));
    }
    // A panic on a thread that owns part of the state must not leave a server without it.
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        let name = std::thread::current().name().unwrap_or("").to_string();
        // A task between servers on a member's node thread costs its link alone.
        if tokio::task::try_id().is_none() && ["node", "log", "snapshot"].contains(&name.as_str()) {
            std::process::exit(1);
        }
    }));
    // Clients have threads of their own, and members talk to each other on the node thread: what is
    // left for the first one is to accept, elections, and snapshots sent to learners.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("can't start the runtime: {error}");
            return 1;
        }
    };
    let code = runtime.block_on(serve(Arc::new(config), options));
    runtime.shutdown_background();
    code
}

async fn serve(config: Arc<Config>, options: RunOptions) -> u8 {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("can't listen for signals");
        return 1;
    };
    let audit = |operation, result| {
        if config.operations.audit {
            let line = audit::server_line(operation, &audit::server_user(), result);
            tracing::info!(target: "audit", "{line}");
        }
    };
    let mut hold = hold::Hold::default();
    let started = tokio::select! {
        started = start(&config, &mut hold) => started,
        // What the start was doing ends with the process, as if it were killed: a restart begins anew.
        name = stopped(&mut term, &mut int) => {
            tracing::info!("stopping before clients were served: {name}");
            return 0;
        }
    };
    let server = match started {
        Ok(server) => server,
        Err(error) => {
            tracing::error!("{error}");
            audit("serverStart", "failure");
            return error.exit_code();
        }
    };
    audit("serverStart", "success");
    let mut ready = ready::Ready::new(options.ready_file, server.client());
    let mut serving = server.serving();
    loop {
        if let Some(serving) = &mut serving {
            ready.tell(*serving.borrow_and_update());
        } else {
            ready.tell(true);
        }
        tokio::select! {
            name = stopped(&mut term, &mut int) => {
                tracing::info!("stopping: {name}");
                break;
            }
            true = changed(&mut serving) => {}
        }
    }
    ready.end();
    audit("serverStop", "invoked");
    // The node thread closes its links on this runtime, so nothing here may block it.
    tokio::select! {
        stopped = tokio::task::spawn_blocking(move || server.stop()) => {
            if stopped.is_ok() {
                tracing::info!("stopped");
            }
            u8::from(stopped.is_err())
        }
        name = stopped(&mut term, &mut int) => {
            tracing::warn!("{name} again: ending without waiting; what was acknowledged is on disk");
            1
        }
    }
}

/// Waits for a signal to stop; its name.
async fn stopped(
    term: &mut tokio::signal::unix::Signal,
    int: &mut tokio::signal::unix::Signal,
) -> &'static str {
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

/// Waits for news of whether clients are served; never where that doesn't change. False: there will be
/// none.
async fn changed(serving: &mut Option<tokio::sync::watch::Receiver<bool>>) -> bool {
    match serving {
        Some(serving) => serving.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

/// Starts a server. Every step that touches a file is done on a thread for such work: a file system
/// that does not answer holds up neither signals nor probes.
async fn start(config: &Arc<Config>, hold: &mut hold::Hold) -> Result<Server, StartError> {
    take(config, hold).await?;
    let server = if config.is_distributed() {
        Server::Member(EnsembleMember::start(Arc::clone(config)).await?)
    } else {
        Server::Alone(Standalone::start(Arc::clone(config)).await?)
    };
    take(config, hold).await?;
    Ok(server)
}

async fn take(config: &Arc<Config>, hold: &mut hold::Hold) -> Result<(), StartError> {
    let (config, mut taken) = (Arc::clone(config), std::mem::take(hold));
    *hold = blocking(move || taken.take(&config).map(|()| taken)).await?;
    Ok(())
}

/// Does a step of the start that may wait for a disk.
async fn blocking<T: Send + 'static>(
    step: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    let done = tokio::task::spawn_blocking(step).await;
    done.map_err(|e| StartError::System(std::io::Error::other(e)))?
}

/// Either kind of server.
enum Server {
    Alone(Standalone),
    Member(EnsembleMember),
}

impl Server {
    fn client(&self) -> std::net::SocketAddr {
        match self {
            Server::Alone(server) => server.client,
            Server::Member(member) => member.client,
        }
    }

    /// Whether clients are served at present; None: always.
    fn serving(&self) -> Option<tokio::sync::watch::Receiver<bool>> {
        match self {
            Server::Alone(_) => None,
            Server::Member(member) => Some(member.serving.clone()),
        }
    }

    fn stop(mut self) {
        match &mut self {
            Server::Alone(server) => server.stop(),
            Server::Member(member) => member.stop(),
        }
    }
}

#[cfg(test)]
mod tests;
