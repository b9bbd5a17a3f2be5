//! A server alone: the parts put together, started and stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::RwLock;
use tokio::net::TcpListener;

use crate::auth::{self, Auth};
use crate::config::{AuthProvider, Config, Endpoint};
use crate::ops::Metrics;
use crate::replica::conn::{Load, Rules};
use crate::replica::limits::{Limits, reply_bytes_max};
use crate::replica::password::Passwords;
use crate::replica::prep::PrepOptions;
use crate::replica::reaper::ReaperOptions;
use crate::replica::session::Sessions;
use crate::replica::{Options, Replica};
use crate::state::StateMachine;
use crate::state::watch::{WatchLimits, WatchTable};
use crate::storage::disk::DiskRef;
use crate::storage::{LogOptions, RealDisk, TxnLog};

use super::build::LoadTimes;
use super::client::Clients;
use super::clock::Clock;
use super::committer::{Committer, CommitterOptions};
use super::descriptors::Plan;
use super::door::Door;
use super::inbox::Inbox;
use super::lanes::Lanes;
use super::node::{Event, Node, Shared, Tallies, View};
use super::report::Reporter;
use super::session_log::SessionLog;
use super::snapshotter::Snapshotter;
use super::{StartError, load, net, secret};

/// The id in the top byte of a standalone server's session ids (Apache
/// `createSessionTrackerServerId`).
const STANDALONE_ID: i64 = 1;

/// A running server.
pub struct Standalone {
    /// Where clients connect.
    pub client: SocketAddr,
    inbox: Arc<Inbox<Event>>,
    node: Option<JoinHandle<()>>,
    lanes: Lanes,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// The schemes that a configuration registers.
pub fn auth_options(config: &Config) -> auth::Options {
    let access = &config.access;
    let has = |provider: &AuthProvider| access.providers.contains(provider);
    auth::Options {
        skip_acl: access.skip_acl,
        digest: access.digest_enabled.then_some(access.digest_algorithm),
        super_digest: access.super_digest.clone(),
        sasl: has(&AuthProvider::Sasl),
        let_any_sasl_user_do: access.let_any_sasl_user_do.clone(),
        x509: has(&AuthProvider::X509),
        x509_super_user: access.x509_super_user.clone(),
        ensemble: has(&AuthProvider::Ensemble).then(|| match &access.ensemble_auth_names {
            None => auth::EnsembleNames::Any,
            Some(names) => auth::EnsembleNames::Only(names.clone()),
        }),
    }
}

/// The bounds that a configuration sets.
pub fn limits(config: &Config) -> Limits {
    Limits {
        frame_bytes_max: config.limits.jute_max_buffer_bytes,
        global_outstanding_max: config.limits.global_outstanding,
        throttle_requests_max: config.throttle.max_requests as usize,
        throttled_op_wait_ms: config.throttle.throttled_op_wait_ms,
        large_request_bytes: config.limits.large_request_threshold_bytes,
        large_requests_bytes_max: config.limits.large_request_max_bytes,
        request_bytes_max: config.limits.request_bytes,
        reply_bytes_max: reply_bytes_max(config.limits.jute_max_buffer_bytes),
        all_replies_bytes_max: config.limits.reply_bytes,
        ..Limits::default()
    }
}

/// What clients may have watched.
pub fn watch_limits(config: &Config) -> WatchLimits {
    WatchLimits {
        per_connection: config.limits.watches_per_connection,
        path_bytes: config.limits.watch_bytes,
    }
}

/// The schemes of which a client needs one; empty when it needs none.
pub fn enforced_schemes(config: &Config) -> Vec<String> {
    if config.access.enforce_auth { config.access.enforced_schemes.clone() } else { Vec::new() }
}

/// What is asked of client connections; a globalOutstandingLimit is shared by the members of an
/// ensemble larger than two.
pub fn rules(config: &Config, standalone: bool) -> Rules {
    let mut limits = limits(config);
    let members = config.quorum.config.as_ref().map_or(1, |c| c.voters().count());
    if !standalone && members > 2 {
        limits.global_outstanding_max = (limits.global_outstanding_max / (members - 1)).max(1);
    }
    Rules {
        limits,
        auth: Auth::new(auth_options(config)),
        standalone,
        enforced_schemes: enforced_schemes(config),
        local_sessions: !standalone && config.sessions.local_enabled,
        audit: config.operations.audit,
        load: Load::default(),
    }
}

/// Removes old snapshots and logs from time to time (`autopurge.purgeInterval`), the first time at
/// once, as Apache does.
pub async fn purge(config: Arc<Config>, disk: DiskRef) {
    let Some(interval_ms) = config.storage.purge_interval_ms.filter(|ms| *ms > 0) else { return };
    loop {
        let (config, disk) = (Arc::clone(&config), Arc::clone(&disk));
        let done = tokio::task::spawn_blocking(move || {
            let retain = config.storage.purge_retain_count;
            crate::storage::purge::purge(&*disk, &load::dirs(&config), retain)
        });
        match done.await {
            Ok(Ok(purged)) if purged.removed.is_empty() => {}
            Ok(Ok(purged)) => tracing::info!("purged {} old files", purged.removed.len()),
            Ok(Err(error)) => tracing::error!("purging old files failed: {error}"),
            Err(error) => tracing::error!("purging old files failed: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(interval_ms)).await;
    }
}

/// What the replica needs of a configuration.
pub fn replica_options(config: &Config, passwords: Passwords, first_session_id: i64) -> Options {
    let to_i32 = |ms: u32| i32::try_from(ms).unwrap_or(i32::MAX);
    Options {
        prep: PrepOptions {
            owner_rules: load::state_options(config).owner_rules,
            digest: config.tree.digest,
            close_session_txn: config.sessions.close_session_txn,
            enforce_quota: config.access.enforce_quota,
            reconfig_enabled: config.quorum.reconfig_enabled,
        },
        auth: auth_options(config),
        passwords,
        first_session_id,
        tick_ms: config.timing.tick_time_ms,
        timeout_min_ms: to_i32(config.timing.min_session_timeout_ms),
        timeout_max_ms: to_i32(config.timing.max_session_timeout_ms),
        reaper: ReaperOptions {
            check_interval_ms: config.tree.container_check_interval_ms,
            max_per_minute: config.tree.container_max_per_minute,
            max_never_used_ms: config.tree.container_max_never_used_ms,
        },
    }
}

/// Binds a port for clients or scrapes: on all addresses of the machine where the endpoint names none.
///
/// # Errors
/// Why not.
pub async fn bind(endpoint: &Endpoint, backlog: Option<u32>) -> Result<TcpListener, net::Unbound> {
    let any = endpoint.host.is_none();
    let at = net::HostPort::new(endpoint.host.as_deref().unwrap_or("0.0.0.0"), endpoint.port);
    let place = net::place(&at, any).await?;
    place.listen(i32::try_from(backlog.unwrap_or(1024)).unwrap_or(i32::MAX))
}

/// Binds the client port.
///
/// # Errors
/// [`StartError::NoClientPort`], or why it can't be bound.
pub async fn client_port(config: &Config) -> Result<TcpListener, StartError> {
    let endpoint = config.listen.client.as_ref().ok_or(StartError::NoClientPort)?;
    let keys = "clientPort and clientPortAddress";
    let bound = bind(endpoint, config.listen.backlog).await;
    bound.map_err(|why| StartError::Bind { keys, why })
}

impl Standalone {
    /// Recovers the state from disk and serves it.
    ///
    /// # Errors
    /// Every reason not to start.
    pub async fn start(config: Arc<Config>) -> Result<Standalone, StartError> {
        let descriptors = Plan::make(&config)?;
        let disk: DiskRef = RealDisk::shared();
        let clock = Clock::start();
        // Bound before anything else is touched: a second server on one directory stops here.
        let listener = client_port(&config).await?;
        let client = listener.local_addr().map_err(StartError::System)?;
        let scrapes = super::scrape::listen(&config).await?;
        let metrics = Arc::new(Metrics::new(config.metrics.prometheus.is_some()));
        let reporter = Arc::new(Reporter::new(
            Arc::clone(&config),
            Arc::clone(&disk),
            Arc::clone(&metrics),
            client.port(),
            clock.mono().as_millis(),
        ));
        let door = Door::new(listener, Arc::clone(&reporter), descriptors.clients);
        let loaded = {
            let (disk, config) = (Arc::clone(&disk), Arc::clone(&config));
            super::blocking(move || load_state(&disk, &config, &clock)).await?
        };
        let (state, last, snapshot_due, times, passwords) = loaded;
        let first_id = Sessions::first_id(STANDALONE_ID, clock.wall().0);
        let options = replica_options(&config, passwords, first_id);
        let replica = Replica::standalone(options, &state, clock.now());
        let lanes = Lanes::start(config.listen.worker_threads).map_err(StartError::System)?;
        let shared = Arc::new(Shared {
            view: RwLock::new(View::standalone()),
            state: Arc::new(RwLock::new(state)),
            watches: WatchTable::with_limits(watch_limits(&config)),
            lines: DashMap::with_hasher(crate::types::hasher()),
            lanes: Arc::clone(&lanes.entries),
            rules: rules(&config, true),
            metrics,
            tallies: Tallies::new(lanes.entries.count()),
            clock,
            sessions_log: SessionLog::default(),
        });
        times.record(&shared.metrics);
        let inbox: Arc<Inbox<Event>> = Arc::new(Inbox::default());
        let committer = start_committer(&config, &disk, clock, last, &inbox)?;
        let done = Arc::clone(&inbox);
        let snapshotter = Snapshotter::start(
            Arc::clone(&disk),
            Arc::clone(&config),
            Arc::clone(&shared.state),
            Arc::clone(&shared.metrics),
            move || done.send(Event::SnapshotDone),
        )
        .map_err(StartError::System)?;
        let node = Node {
            shared: Arc::clone(&shared),
            inbox: Arc::clone(&inbox),
            replica,
            committer,
            snapshotter,
            snapshot_due,
            snapshotting: false,
        };
        let node = node.start().map_err(StartError::System)?;
        let clients = Clients::new(&config, shared, Arc::clone(&inbox), reporter);
        let clients = Arc::new(clients.with_descriptors(descriptors.clients));
        let sweep = tokio::spawn(Arc::clone(&clients).sweep());
        let purge = tokio::spawn(purge(Arc::clone(&config), disk));
        let scrape = super::scrape::serve(scrapes, &clients);
        let (listener, visitors) = door.open().await.map_err(StartError::System)?;
        for (stream, remote) in visitors {
            clients.welcome(stream, remote);
        }
        let accept = tokio::spawn(clients.accept(listener));
        let tasks = [accept, sweep, purge].into_iter().chain(scrape).collect();
        Ok(Standalone { client, inbox, node: Some(node), lanes, tasks })
    }

    /// Stops serving; what was acknowledged is durable already.
    pub fn stop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        self.inbox.send(Event::Stop);
        if let Some(node) = self.node.take()
            && node.join().is_err()
        {
            tracing::error!("the node thread panicked");
        }
        self.lanes.stop();
    }
}

type State = (StateMachine, crate::types::Zxid, bool, LoadTimes, Passwords);

fn load_state(disk: &DiskRef, config: &Config, clock: &Clock) -> Result<State, StartError> {
    let (mut loaded, times) = load::load(disk, config, clock)?;
    if loaded.last.0 < 0 {
        return Err(StartError::Suspect(config.data_dir.clone()));
    }
    if loaded.is_fresh() {
        load::write_snapshot(disk, config, &mut loaded.state)?;
    }
    let replayed = loaded.replayed;
    let due = replayed > u64::from(config.storage.snap_count) / 2;
    let passwords =
        secret::standalone(&config.data_dir, &loaded.state).map_err(StartError::Secret)?;
    Ok((loaded.state, loaded.last, due, times, passwords))
}

fn start_committer(
    config: &Config,
    disk: &DiskRef,
    clock: Clock,
    last: crate::types::Zxid,
    inbox: &Arc<Inbox<Event>>,
) -> Result<Committer, StartError> {
    let storage = &config.storage;
    let log_options = LogOptions {
        prealloc_bytes: storage.preallocate_bytes,
        size_limit_bytes: storage.log_size_limit_bytes,
        force_sync: storage.force_sync,
    };
    let log = TxnLog::new(Arc::clone(disk), load::dirs(config), log_options, last);
    let options = CommitterOptions {
        batch_max: storage.max_batch_size.max(1),
        flush_delay: Duration::from_millis(storage.flush_delay_ms),
        warn_above: Duration::from_millis(storage.fsync_warning_threshold_ms),
        snap_count: storage.snap_count.into(),
        snap_bytes: storage.snap_size_limit_bytes,
    };
    let done = Arc::clone(inbox);
    Committer::start(
        log,
        options,
        clock,
        move |logged| done.send(Event::Logged(logged)),
        |error| {
            tracing::error!(
                "{error}; nobody knows now what is on disk, so the server stops. Nothing that was \
                 acknowledged is lost: mend the disk and start again"
            );
            std::process::exit(1);
        },
    )
    .map_err(StartError::System)
}
