//! A member of an ensemble: the parts put together, started and stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::RwLock;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::config_files::ConfigFiles;
use super::disk;
use super::node::{Node, NodeRuntime};
use super::setup::Setup;
use super::shell::Shell;
use crate::config::dynamic::HostPort;
use crate::config::{Config, Endpoint, host, session_secret};
use crate::host::start;
use crate::ops::Metrics;
use crate::ops::stats::Mode;
use crate::replica::ensemble::{LocalSessions, Member};
use crate::replica::membership::{self, Rules};
use crate::replica::password::Passwords;
use crate::replica::session::Sessions;
use crate::server::build::{Build, LoadTimes};
use crate::server::client::Clients;
use crate::server::clock::Clock;
use crate::server::descriptors::Plan;
use crate::server::door::Door;
use crate::server::inbox::Inbox;
use crate::server::lanes::Lanes;
use crate::server::node::{Event, Shared, Tallies, View};
use crate::server::report::Reporter;
use crate::server::session_log::SessionLog;
use crate::server::snapshotter::Snapshotter;
use crate::server::standalone::{bind, client_port, purge, replica_options, rules, watch_limits};
use crate::server::{StartError, blocking, load, net, secret};
use crate::state::StateMachine;
use crate::state::watch::WatchTable;
use crate::storage::disk::DiskRef;
use crate::storage::{LogOptions, RealDisk};
use crate::types::{Zxid, path};
use crate::zab::Membership;

/// A running member.
pub struct EnsembleMember {
    /// Where clients connect.
    pub client: SocketAddr,
    /// Whether clients are served: in a quorum, or read-only.
    pub serving: watch::Receiver<bool>,
    inbox: Arc<Inbox<Event>>,
    node: Option<JoinHandle<()>>,
    lanes: Lanes,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// The config that the log has, where it is newer than the files: they could not be written. It may not
/// be committed. Files without a version are somebody's decision, and count for more.
fn logged_config(
    state: &StateMachine,
    version: i64,
    kept: Option<Membership>,
) -> Option<Membership> {
    let data = state.node(path::CONFIG)?.data().map(Bytes::copy_from_slice);
    let logged = data.and_then(|data| (membership::READER.read)(&data));
    let newest = kept.as_ref().map_or(version, |kept| kept.version.max(version));
    logged.filter(|logged| version > 0 && logged.version > newest).or(kept)
}

/// Accepts clients, where the membership says. An address that can't be bound leaves the port where
/// it is; Apache then has none.
async fn accept(
    clients: Arc<Clients>,
    listener: TcpListener,
    mut endpoint: Endpoint,
    backlog: Option<u32>,
    mut addresses: watch::Receiver<Option<HostPort>>,
) {
    let mut accepting = AbortOnDrop(tokio::spawn(Arc::clone(&clients).accept(listener)));
    while addresses.changed().await.is_ok() {
        let Some(HostPort { host, port }) = addresses.borrow_and_update().clone() else { continue };
        let wanted = Endpoint { host: host::to_listen_on(&host), port };
        if wanted == endpoint {
            continue;
        }
        match bind(&wanted, backlog).await {
            Ok(listener) => {
                tracing::info!("clients connect at {wanted} from now on");
                accepting = AbortOnDrop(tokio::spawn(Arc::clone(&clients).accept(listener)));
                endpoint = wanted;
            }
            Err(why) => tracing::error!(
                "clients can't connect at a new address: {why}; hint: {}",
                why.hint()
            ),
        }
    }
    std::future::pending::<()>().await;
    drop(accepting);
}

/// A task that ends with its owner.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn disk_options(config: &Config, disk: &DiskRef) -> disk::Options {
    disk::Options {
        disk: Arc::clone(disk),
        dirs: load::dirs(config),
        state: load::state_options(config),
        recovery: load::recovery(config),
        compression: load::compression(config),
        last_processed: config.storage.serialize_last_zxid,
        snapshot_size_factor: config.storage.snapshot_size_factor,
        snap_count: config.storage.snap_count.into(),
        snap_bytes: config.storage.snap_size_limit_bytes,
    }
}

/// Apache's algorithm, which every member knows, unless all members have been given a secret.
fn passwords(config: &Config) -> Result<Passwords, StartError> {
    match &config.sessions.secret_file {
        None => Ok(Passwords::Apache),
        Some(path) => {
            let refuse = |error| StartError::Secret(secret::named(path, error));
            let text = std::fs::read(path).map_err(refuse)?;
            let secret = session_secret(&text).map_err(|why| refuse(std::io::Error::other(why)))?;
            Ok(Passwords::Secret { secret: secret.to_vec(), taken_over: Default::default() })
        }
    }
}

impl EnsembleMember {
    /// Recovers the state from disk, opens the ports, and looks for a leader.
    ///
    /// # Errors
    /// Every reason not to start.
    pub async fn start(config: Arc<Config>) -> Result<EnsembleMember, StartError> {
        let descriptors = Plan::make(&config)?;
        let disk: DiskRef = RealDisk::shared();
        let clock = Clock::start();
        let mut setup = Setup::new(&config)?.with_limits(&descriptors.peer_limits());
        let endpoint = config.listen.client.clone().ok_or(StartError::NoClientPort)?;
        // Bound before anything else is touched: a second server on one directory stops here.
        let listener = client_port(&config).await?;
        let client = listener.local_addr().map_err(StartError::System)?;
        let scrapes = crate::server::scrape::listen(&config).await?;
        let metrics = Arc::new(Metrics::new(config.metrics.prometheus.is_some()));
        let reporter = Arc::new(Reporter::new(
            Arc::clone(&config),
            Arc::clone(&disk),
            Arc::clone(&metrics),
            client.port(),
            clock.mono().as_millis(),
        ));
        let door = Door::new(listener, Arc::clone(&reporter), descriptors.clients);
        let reserved = net::reserve(&setup.links.listen, setup.links.listen_on_all).await;
        setup.peer.port_held = reserved.0.is_empty();
        let disk_options = disk_options(&config, &disk);
        let (started, times, passwords, configs) = {
            let (config, options) = (Arc::clone(&config), disk_options.clone());
            let recent = setup.peer.commit_log_count;
            blocking(move || {
                let times = LoadTimes::start(clock);
                let log_options = LogOptions {
                    prealloc_bytes: config.storage.preallocate_bytes,
                    size_limit_bytes: config.storage.log_size_limit_bytes,
                    force_sync: config.storage.force_sync,
                };
                let mut started =
                    start::start(&options, log_options, recent, clock.wall(), || {
                        Build::new(options.state, &times)
                    })?;
                if started.fresh {
                    load::write_snapshot(&options.disk, &config, &mut started.state)?;
                }
                let configs = ConfigFiles::of(&config);
                if let Some(configs) = &configs {
                    configs.back_up(&config);
                }
                Ok((started, times, passwords(&config)?, configs))
            })
            .await?
        };
        let last = started.disk.last;
        load::say(&started.origin, &started.notes, started.replayed, last, &started.state, &times);
        let start::Started { mut state, disk: disk_state, log, replayed, .. } = started;
        let me = setup.peer.id;
        let text = setup.peer.membership.text.to_vec();
        let version = Zxid(setup.peer.membership.version);
        let now = clock.now();
        if setup.peer.reconfig.is_some() {
            let kept = setup.peer.seen.take();
            setup.peer.seen = logged_config(&state, setup.peer.membership.version, kept);
        }
        state.init_config(&text, version, now.wall, &mut Vec::new());
        let first_id = Sessions::first_id(me.0, now.wall.0);
        let options = replica_options(&config, passwords, first_id);
        setup.peer.tick = Duration::from_millis(config.timing.tick_time_ms.into());
        let mut member = Member::new(options, setup.peer.clone(), disk_state, &state, now)?
            .with_local_sessions(LocalSessions {
                enabled: config.sessions.local_enabled,
                upgrading: config.sessions.local_upgrading_enabled,
            });
        if config.quorum.reconfig_enabled {
            member = member.with_reconfig(Rules {
                multi_address: config.quorum.multi_address,
                standalone_enabled: config.quorum.standalone_enabled,
            });
        }
        if config.sessions.read_only_mode {
            member = member.with_read_only_mode(now);
        }
        let state = Arc::new(RwLock::new(state));
        let lanes = Lanes::start(config.listen.worker_threads).map_err(StartError::System)?;
        let shared = Arc::new(Shared {
            view: RwLock::new(View {
                serving: false,
                mode: Mode::Follower,
                peer_state: Some("leader election".to_owned()),
                quorum: None,
                leader: None,
                observer_master: None,
                synced_observers: None,
                membership: None,
            }),
            state: Arc::clone(&state),
            watches: WatchTable::with_limits(watch_limits(&config)),
            lines: DashMap::with_hasher(crate::types::hasher()),
            lanes: Arc::clone(&lanes.entries),
            rules: rules(&config, false),
            metrics,
            tallies: Tallies::new(lanes.entries.count()),
            clock,
            sessions_log: SessionLog::default(),
        });
        times.record(&shared.metrics);
        let inbox: Arc<Inbox<Event>> = Arc::new(Inbox::default());
        let done = Arc::clone(&inbox);
        let snapshotter = Snapshotter::start(
            Arc::clone(&disk),
            Arc::clone(&config),
            Arc::clone(&state),
            Arc::clone(&shared.metrics),
            move || done.send(Event::SnapshotDone),
        )
        .map_err(StartError::System)?;
        let delivering = Arc::clone(&inbox);
        let runtime = NodeRuntime::new().map_err(StartError::System)?;
        let links = runtime.handle().cloned().unwrap_or_else(Handle::current);
        let shell = Shell::start(
            &setup,
            links,
            disk_options,
            log,
            configs,
            reserved,
            move || clock.mono(),
            move |event| delivering.send(Event::Quorum(event)),
        )
        .await?;
        let (client_addresses, addresses) = watch::channel(None);
        let (serves, serving) = watch::channel(false);
        let node = Node {
            shared: Arc::clone(&shared),
            inbox: Arc::clone(&inbox),
            member,
            shell,
            snapshotter,
            snapshot_due: replayed > u64::from(config.storage.snap_count) / 2,
            config: (text, version),
            leader_serves: config.quorum.leader_serves,
            warn_above: Duration::from_millis(config.storage.fsync_warning_threshold_ms),
            runtime,
            serves,
            client_addresses,
        };
        let node = node.start().map_err(StartError::System)?;
        let clients = Clients::new(&config, shared, Arc::clone(&inbox), reporter);
        let clients = Arc::new(clients.with_descriptors(descriptors.clients));
        let sweep = tokio::spawn(Arc::clone(&clients).sweep());
        let purge = tokio::spawn(purge(Arc::clone(&config), disk));
        let scrape = crate::server::scrape::serve(scrapes, &clients);
        let backlog = config.listen.backlog;
        let (listener, visitors) = door.open().await.map_err(StartError::System)?;
        for (stream, remote) in visitors {
            clients.welcome(stream, remote);
        }
        let accept = tokio::spawn(accept(clients, listener, endpoint, backlog, addresses));
        let tasks = [accept, sweep, purge].into_iter().chain(scrape).collect();
        Ok(EnsembleMember { client, serving, inbox, node: Some(node), lanes, tasks })
    }

    /// Leaves the ensemble; what was acknowledged is durable already.
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
