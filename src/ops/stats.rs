//! One plain value with everything that four-letter words and the admin server show.
//!
//! The shell fills it; what a word doesn't need may stay empty (see [`super::Word::needs`]). Numbers
//! are Apache's: -1 is "never" for sizes, times are ms.

use super::environment::Environment;
use super::format;
use super::process::Process;
pub use crate::types::Sizes;

/// What this server is at the moment, as `Mode:` and `zk_server_state` say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Alone.
    #[default]
    Standalone,
    /// Leads.
    Leader,
    /// Follows.
    Follower,
    /// Observes.
    Observer,
    /// Serves readers without a quorum.
    ReadOnly,
}

impl Mode {
    /// Apache's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Standalone => "standalone",
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
            Mode::ReadOnly => "read-only",
        }
    }
}

/// A running server's numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stats {
    /// False while the server looks for a leader: most words then say so and nothing else.
    pub serving: bool,
    /// The version with hash and date (`CompatVersion::banner`).
    pub banner: String,
    /// What this server is.
    pub mode: Mode,
    /// `leading - broadcast` and the like; `None` standalone (`zk_peer_state`).
    pub peer_state: Option<String>,
    /// The server an observer learns from (`zk_observer_master_id`).
    pub observer_master_id: Option<i64>,
    /// Request latencies since the last reset.
    pub latency: Latency,
    /// Packets from clients since the last reset.
    pub packets_received: u64,
    /// Packets to clients since the last reset.
    pub packets_sent: u64,
    /// Client connections, the asking one included.
    pub connections_alive: u64,
    /// Requests that wait for an answer.
    pub outstanding_requests: u64,
    /// Last applied zxid.
    pub last_zxid: i64,
    /// Nodes in the tree.
    pub node_count: u64,
    /// Bytes of paths and data.
    pub data_size: u64,
    /// Watches of both tables.
    pub watch_count: u64,
    /// Ephemeral nodes.
    pub ephemerals_count: u64,
    /// Global sessions.
    pub global_sessions: u64,
    /// Local sessions.
    pub local_sessions: u64,
    /// Time since the server began to serve, in ms.
    pub uptime_ms: u64,
    /// Open file descriptors of the process.
    pub open_files: i64,
    /// How many it may have.
    pub max_files: i64,
    /// The process; only for Prometheus.
    pub process: Process,
    /// Sizes of replies.
    pub response_sizes: Sizes,
    /// Failed authentications.
    pub auth_failed: u64,
    /// Probability that a new connection is dropped by throttling.
    pub connection_drop_probability: f64,
    /// TLS handshakes going on.
    pub outstanding_tls_handshakes: u64,
    /// Connections without client certificate from elsewhere.
    pub non_mtls_remote: u64,
    /// Connections without client certificate from this host.
    pub non_mtls_local: u64,
    /// What only members of an ensemble have.
    pub quorum: Option<QuorumStats>,
    /// What only a leader has.
    pub leader: Option<LeaderStats>,
    /// Observers attached to this follower.
    pub synced_observers: Option<u64>,
    /// Usage and limits of quotas by top namespace.
    pub quotas: Vec<QuotaStats>,
    /// Settings for `conf`.
    pub conf: Conf,
    /// Lines for `envi`.
    pub environment: Environment,
    /// Memory of the process.
    pub memory: Memory,
    /// Bytes below `dataDir`; only for `conf` and `dirs`.
    pub data_dir_size: u64,
    /// Bytes below `dataLogDir`; only for `conf` and `dirs`.
    pub log_dir_size: u64,
    /// Trace mask (`gtmk`, `stmk`); no effect here.
    pub trace_mask: i64,
    /// Sessions; only for `dump`.
    pub sessions: Sessions,
    /// Sessions that have or had ephemerals; only for `dump`.
    pub ephemeral_owners: usize,
    /// When connections expire; only for `dump`.
    pub connection_expiry: ExpirySets,
    /// Data watches; only for `wchs`.
    pub watch_totals: WatchTotals,
    /// Digests by zxid; only for `hash`.
    pub digests: Vec<(i64, i64)>,
}

/// What `wchs` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchTotals {
    /// Connections that watch something.
    pub connections: usize,
    /// Paths that are watched.
    pub paths: usize,
    /// Pairs of both.
    pub watches: usize,
}

/// Latencies in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// Smallest; 0 without requests.
    pub min_ms: u64,
    /// Largest.
    pub max_ms: u64,
    /// Sum.
    pub total_ms: u64,
    /// Requests.
    pub count: u64,
}

impl Latency {
    /// The mean, 0 without requests.
    pub fn average(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.total_ms as f64 / self.count as f64 }
    }
}

/// Numbers of a member of an ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuorumStats {
    /// Voters.
    pub quorum_size: u64,
}

/// Numbers of a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeaderStats {
    /// Learners connected.
    pub learners: u64,
    /// Voting followers in sync.
    pub synced_followers: u64,
    /// Followers in sync that don't vote.
    pub synced_non_voting_followers: u64,
    /// Observers in sync.
    pub synced_observers: u64,
    /// `sync` requests waiting.
    pub pending_syncs: u64,
    /// Time since it began to lead, in ms.
    pub leader_uptime_ms: u64,
    /// Sizes of proposals.
    pub proposal_sizes: Sizes,
}

/// One quota by top namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuotaStats {
    /// First part of the path, without slash.
    pub namespace: String,
    /// Limit of nodes.
    pub count_limit: i64,
    /// Limit of bytes.
    pub bytes_limit: i64,
    /// Nodes.
    pub count_usage: i64,
    /// Bytes.
    pub bytes_usage: i64,
}

/// Settings as `conf` shows them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conf {
    /// The bound client port; -1 without.
    pub client_port: i32,
    /// The bound TLS client port; -1 without.
    pub secure_client_port: i32,
    /// Snapshot directory, with `version-2`.
    pub data_dir: String,
    /// Log directory, with `version-2`.
    pub data_log_dir: String,
    /// `tickTime`.
    pub tick_time: i64,
    /// `maxClientCnxns`.
    pub max_client_cnxns: i64,
    /// `minSessionTimeout`.
    pub min_session_timeout: i64,
    /// `maxSessionTimeout`.
    pub max_session_timeout: i64,
    /// `clientPortListenBacklog`, -1 when not set.
    pub backlog: i64,
    /// `myid`, 0 standalone.
    pub server_id: i64,
    /// What only members of an ensemble have.
    pub quorum: Option<QuorumConf>,
}

/// The part of `conf` that only members of an ensemble have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuorumConf {
    /// `initLimit`.
    pub init_limit: i64,
    /// `syncLimit`.
    pub sync_limit: i64,
    /// Election ports, joined by `|`.
    pub election_port: String,
    /// Quorum ports, joined by `|`.
    pub quorum_port: String,
    /// True for an observer.
    pub observer: bool,
    /// The membership's text; `None` in read-only mode.
    pub membership: Option<String>,
}

/// Memory in megabytes, in Java's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Unused part of what the process has.
    pub free_mb: u64,
    /// What it may have.
    pub max_mb: u64,
    /// What it has.
    pub total_mb: u64,
}

/// One client connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connection {
    /// `/1.2.3.4:5678`, see [`format::address`].
    pub remote: String,
    /// 1 while it is read, plus 4 while something waits to be written; 0 for the asking one.
    pub interest_ops: u32,
    /// Requests that wait for an answer.
    pub queued: u64,
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// What is known only once there is a session.
    pub session: Option<ConnectionSession>,
}

/// The part of a connection that comes with its session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectionSession {
    /// Session id.
    pub id: i64,
    /// Label of the last operation: `SESS`, `PING`, `CREA`, .. `NA` before the first.
    pub last_operation: String,
    /// When it was made, wall clock in ms.
    pub established_ms: i64,
    /// Session timeout in ms.
    pub timeout_ms: i64,
    /// Xid of the last request; not shown below 0.
    pub last_cxid: i64,
    /// Zxid of the last reply.
    pub last_zxid: i64,
    /// When the last reply was sent, monotonic ms.
    pub last_response_ms: i64,
    /// Latency of the last request in ms.
    pub last_latency_ms: u64,
    /// Latencies of all requests.
    pub latency: Latency,
}

/// What expires when: buckets by wall-clock time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpirySets {
    /// Buckets in order of time (wall clock, ms) with their members' lines.
    pub buckets: Vec<(i64, Vec<String>)>,
}

impl ExpirySets {
    /// The lines of Apache's `ExpiryQueue.dump`.
    pub(super) fn dump(&self, out: &mut String) {
        let members: usize = self.buckets.iter().map(|(_, m)| m.len()).sum();
        out.push_str(&format!("Sets ({})/({members}):\n", self.buckets.len()));
        for (at_ms, members) in &self.buckets {
            out.push_str(&format!("{} expire at {}:\n", members.len(), format::date(*at_ms)));
            for member in members {
                out.push_str(&format!("\t{member}\n"));
            }
        }
    }
}

/// The sessions as `dump` shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sessions {
    /// This server expires sessions: standalone and leader.
    Tracked {
        /// Global sessions, as `0x<id>`.
        global: ExpirySets,
        /// Local sessions, where enabled.
        local: Option<ExpirySets>,
    },
    /// The leader does.
    Learned {
        /// Id and timeout in ms.
        global: Vec<(i64, i64)>,
        /// Local sessions, where enabled.
        local: Option<ExpirySets>,
    },
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions::Tracked { global: ExpirySets::default(), local: None }
    }
}

/// A gauge's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gauge {
    /// A whole number.
    Int(i64),
    /// A fraction.
    Double(f64),
}

impl Gauge {
    /// As a fraction, for Prometheus.
    pub fn as_f64(self) -> f64 {
        match self {
            Gauge::Int(n) => n as f64,
            Gauge::Double(n) => n,
        }
    }
}

impl std::fmt::Display for Gauge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Gauge::Int(n) => write!(f, "{n}"),
            Gauge::Double(n) => f.write_str(&format::rounded(*n)),
        }
    }
}

fn int(n: u64) -> Gauge {
    Gauge::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

impl Stats {
    /// The gauges of `ZooKeeperServer.registerMetrics` and its subclasses. The classic ones come
    /// first: there are monitoring scripts that read 2048 bytes of `mntr` and no more.
    pub fn gauges(&self) -> Vec<(&'static str, Gauge)> {
        let mut out = vec![
            ("avg_latency", Gauge::Double(self.latency.average())),
            ("max_latency", int(self.latency.max_ms)),
            ("min_latency", int(self.latency.min_ms)),
            ("packets_received", int(self.packets_received)),
            ("packets_sent", int(self.packets_sent)),
            ("num_alive_connections", int(self.connections_alive)),
            ("outstanding_requests", int(self.outstanding_requests)),
            ("znode_count", int(self.node_count)),
            ("watch_count", int(self.watch_count)),
            ("ephemerals_count", int(self.ephemerals_count)),
            ("approximate_data_size", int(self.data_size)),
            ("open_file_descriptor_count", Gauge::Int(self.open_files)),
            ("max_file_descriptor_count", Gauge::Int(self.max_files)),
        ];
        if let Some(leader) = &self.leader {
            out.extend([
                ("learners", int(leader.learners)),
                ("synced_followers", int(leader.synced_followers)),
                ("synced_non_voting_followers", int(leader.synced_non_voting_followers)),
                ("synced_observers", int(leader.synced_observers)),
                ("pending_syncs", int(leader.pending_syncs)),
                ("leader_uptime", int(leader.leader_uptime_ms)),
                ("last_proposal_size", Gauge::Int(leader.proposal_sizes.last)),
                ("max_proposal_size", Gauge::Int(leader.proposal_sizes.max)),
                ("min_proposal_size", Gauge::Int(leader.proposal_sizes.min)),
            ]);
        } else if let Some(observers) = self.synced_observers {
            out.push(("synced_observers", int(observers)));
        }
        if let Some(quorum) = &self.quorum {
            out.push(("quorum_size", int(quorum.quorum_size)));
        }
        out.extend([
            ("global_sessions", int(self.global_sessions)),
            ("local_sessions", int(self.local_sessions)),
            ("uptime", int(self.uptime_ms)),
            ("last_client_response_size", Gauge::Int(self.response_sizes.last)),
            ("max_client_response_size", Gauge::Int(self.response_sizes.max)),
            ("min_client_response_size", Gauge::Int(self.response_sizes.min)),
            ("auth_failed_count", int(self.auth_failed)),
            ("connection_drop_probability", Gauge::Double(self.connection_drop_probability)),
            ("outstanding_tls_handshake", int(self.outstanding_tls_handshakes)),
            ("non_mtls_remote_conn_count", int(self.non_mtls_remote)),
            ("non_mtls_local_conn_count", int(self.non_mtls_local)),
        ]);
        out
    }

    /// The gauges that exist once per top namespace with a quota: namespace, name, value.
    pub fn namespace_gauges(&self) -> Vec<(&str, &'static str, Gauge)> {
        let of = |q: &'_ QuotaStats| {
            [
                ("quota_count_limit_per_namespace", Gauge::Int(q.count_limit)),
                ("quota_bytes_limit_per_namespace", Gauge::Int(q.bytes_limit)),
                ("quota_count_usage_per_namespace", Gauge::Int(q.count_usage)),
                ("quota_bytes_usage_per_namespace", Gauge::Int(q.bytes_usage)),
            ]
        };
        self.quotas
            .iter()
            .flat_map(|q| of(q).map(|(name, value)| (q.namespace.as_str(), name, value)))
            .collect()
    }
}
