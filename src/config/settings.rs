//! The typed, immutable result: everything a server needs to know before it starts.
//!
//! Units are in the names. Every field names the zoo.cfg key it comes from; defaults are Apache's
//! and live in [`super::table`], nowhere else. Hosts stay names here: the shell resolves them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::dynamic::QuorumConfig;
use super::version::CompatVersion;
pub use crate::types::DigestAlgorithm;

/// A place to listen or to dial: `host` is `None` for "all addresses".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Host name or literal address without brackets; `None` is the wildcard.
    pub host: Option<String>,
    /// TCP port; 0 lets the system choose.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            None => write!(f, "0.0.0.0:{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

/// How the configuration was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A zoo.cfg.
    File(PathBuf),
    /// `PORT DATADIR [TICKTIME [MAXCNXNS]]`.
    Positional,
    /// Nothing: the embedded default.
    Builtin,
}

/// A whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where it came from.
    pub source: Source,
    /// The text it was made of (`initial_configuration` of the admin server); empty without a file.
    pub text: String,
    /// The Apache release we report (`compat.version`).
    pub compat_version: CompatVersion,
    /// Where snapshots, `myid` and the epochs are (`dataDir`).
    pub data_dir: PathBuf,
    /// Where the transaction log is (`dataLogDir`); `data_dir` when not set.
    pub data_log_dir: PathBuf,
    /// Ticks and session timeouts.
    pub timing: Timing,
    /// Client ports and their limits.
    pub listen: Listen,
    /// Bounds on requests and buffers.
    pub limits: Limits,
    /// Transaction log, snapshots, purging.
    pub storage: Storage,
    /// Local sessions, read-only mode, session passwords.
    pub sessions: Sessions,
    /// ACLs, authentication, quotas.
    pub access: Access,
    /// Containers, TTL nodes, digests: how the tree behaves.
    pub tree: Tree,
    /// Request and connection throttling.
    pub throttle: Throttle,
    /// Members, roles and the protocol between servers.
    pub quorum: Quorum,
    /// Four-letter words.
    pub four_letter: FourLetter,
    /// The HTTP admin server.
    pub admin: Admin,
    /// The metrics provider.
    pub metrics: Metrics,
    /// Certificates.
    pub tls: Tls,
    /// SASL for clients and between servers.
    pub sasl: Sasl,
    /// Audit log, pause monitor and other switches for operators.
    pub operations: Operations,
    /// Every setting as a Java system property, sorted: what `-D` and the file's lines for
    /// properties came to.
    pub properties: BTreeMap<String, String>,
}

impl Config {
    /// True when this server takes part in an ensemble (`QuorumPeerConfig.isDistributed`): there are
    /// `server.N` lines, and more than one voter or `standaloneEnabled=false`.
    pub fn is_distributed(&self) -> bool {
        self.quorum
            .config
            .as_ref()
            .is_some_and(|config| !self.quorum.standalone_enabled || config.voters().count() > 1)
    }

    /// The largest accepted request frame and answered record in bytes: `jute.maxbuffer`.
    pub fn jute_max_buffer(&self) -> usize {
        self.limits.jute_max_buffer_bytes
    }
}

/// Ticks and session timeouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Length of a tick in ms, 1 or more (`tickTime`).
    pub tick_time_ms: u32,
    /// Lower bound of a session timeout in ms (`minSessionTimeout`; 2 ticks when not set).
    pub min_session_timeout_ms: u32,
    /// Upper bound of a session timeout in ms (`maxSessionTimeout`; 20 ticks when not set).
    pub max_session_timeout_ms: u32,
}

/// Client ports and their limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Plain client port; `None` when not configured, port 0 lets the system choose (`clientPort`).
    pub client: Option<Endpoint>,
    /// TLS client port (`secureClientPort`).
    pub secure_client: Option<Endpoint>,
    /// Backlog of both; `None` leaves it to the system (`clientPortListenBacklog`).
    pub backlog: Option<u32>,
    /// Connections per client address; 0 is unlimited (`maxClientCnxns`).
    pub max_client_cnxns: u32,
    /// Connections altogether; 0 is unlimited (`maxCnxns`).
    pub max_cnxns: u32,
    /// SO_KEEPALIVE on client connections (`clientTcpKeepAlive`).
    pub tcp_keep_alive: bool,
    /// How long a connection without a session may live, in ms (`nio.sessionlessCnxnTimeout`).
    pub sessionless_timeout_ms: u64,
    /// Threads for client connections; `None` is one per core (`nio.numWorkerThreads`).
    pub worker_threads: Option<usize>,
    /// The plain port takes TLS, too (`client.portUnification`).
    pub client_port_unification: bool,
}

/// Bounds on requests and buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest buffer in a record, in bytes (`jute.maxbuffer`).
    pub jute_max_buffer_bytes: usize,
    /// What a record read from disk or a peer may have beyond that, in bytes
    /// (`jute.maxbuffer.extrasize`).
    pub jute_extra_size_bytes: usize,
    /// Requests waiting before connections are no longer read (`globalOutstandingLimit`).
    pub global_outstanding: usize,
    /// A request larger than this counts as large; `None` is off (`largeRequestThreshold`).
    pub large_request_threshold_bytes: Option<usize>,
    /// Sum of large requests in flight, in bytes (`largeRequestMaxBytes`).
    pub large_request_max_bytes: usize,
    /// Bytes of requests that all connections may have waiting or in process (`limits.requestBytes`,
    /// ours).
    pub request_bytes: usize,
    /// Bytes of replies and watch events that all connections may have waiting (`limits.replyBytes`,
    /// ours).
    pub reply_bytes: usize,
    /// Paths that one connection may watch (`limits.watchesPerConnection`, ours).
    pub watches_per_connection: usize,
    /// Bytes of all watched paths (`limits.watchBytes`, ours).
    pub watch_bytes: usize,
}

/// Transaction log, snapshots, purging.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// Whether a commit waits for fsync (`forceSync`; `no` gives up durability).
    pub force_sync: bool,
    /// A sync slower than this is counted and logged, in ms (`fsync.warningthresholdms`).
    pub fsync_warning_threshold_ms: u64,
    /// A log file grows by this much at a time, in bytes; 0 is off (`preAllocSize`).
    pub preallocate_bytes: u64,
    /// Transactions between snapshots, 2 or more (`snapCount`).
    pub snap_count: u32,
    /// Log bytes between snapshots; `None` is off (`snapSizeLimitInKb`).
    pub snap_size_limit_bytes: Option<u64>,
    /// A log file is rolled at this size; `None` is off (`txnLogSizeLimitInKb`).
    pub log_size_limit_bytes: Option<u64>,
    /// Wait before a sync so that more may join, in ms (`flushDelay`).
    pub flush_delay_ms: u64,
    /// How long the log thread waits for another request, in ms (`maxWriteQueuePollTime`).
    pub max_write_queue_poll_ms: u64,
    /// Transactions per sync (`maxBatchSize`).
    pub max_batch_size: usize,
    /// How new snapshots are compressed (`snapshot.compression.method`).
    pub snapshot_compression: Compression,
    /// Start with a log but no snapshot (`snapshot.trust.empty`).
    pub trust_empty_snapshot: bool,
    /// A learner gets the log instead of a snapshot when the log is smaller than this share of it;
    /// negative is never (`snapshotSizeFactor`).
    pub snapshot_size_factor: f64,
    /// Committed transactions kept in memory for learners, 500 or more (`commitLogCount`).
    pub commit_log_count: usize,
    /// Create `dataDir` and `dataLogDir` when missing (`datadir.autocreate`).
    pub autocreate_dirs: bool,
    /// Start with an empty database where there is none; else wait for one (`db.autocreate`).
    pub autocreate_db: bool,
    /// Write the last zxid at the end of a snapshot (`serializeLastProcessedZxid.enabled`).
    pub serialize_last_zxid: bool,
    /// Snapshots kept by purging, 3 or more (`autopurge.snapRetainCount`).
    pub purge_retain_count: usize,
    /// Time between purges in ms; `None` is off (`autopurge.purgeInterval`).
    pub purge_interval_ms: Option<u64>,
}

/// How a snapshot is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Plain.
    None,
    /// `.gz`.
    Gzip,
    /// `.snappy`.
    Snappy,
}

/// Local sessions, read-only mode, session passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    /// New sessions are local to the server (`localSessionsEnabled`).
    pub local_enabled: bool,
    /// A local session becomes global with its first ephemeral (`localSessionsUpgradingEnabled`).
    pub local_upgrading_enabled: bool,
    /// A server without a quorum serves readers (`readonlymode.enabled`).
    pub read_only_mode: bool,
    /// The log carries the list of ephemerals of a closed session (`closeSessionTxn.enabled`).
    pub close_session_txn: bool,
    /// File with the secret that session passwords are made of (`session.secretFile`, ours); `None`
    /// is a secret of our own standalone, Apache's algorithm in an ensemble.
    pub secret_file: Option<PathBuf>,
}

/// ACLs, authentication, quotas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// ACLs are not checked (`skipACL=yes`).
    pub skip_acl: bool,
    /// Members check ACLs before they forward a write (`enableEagerACLCheck`).
    pub eager_acl_check: bool,
    /// The digest scheme exists (`DigestAuthenticationProvider.enabled`).
    pub digest_enabled: bool,
    /// Hash of the digest scheme (`DigestAuthenticationProvider.digestAlg`).
    pub digest_algorithm: DigestAlgorithm,
    /// `user:hash` of the one who may do everything (`DigestAuthenticationProvider.superDigest`).
    pub super_digest: Option<String>,
    /// SASL name that is super (`superUser`, `superUser.x`).
    pub super_users: Vec<String>,
    /// DN that is super (`X509AuthenticationProvider.superUser`).
    pub x509_super_user: Option<String>,
    /// Password of the SASL user `super` (`SASLAuthenticationProvider.superPassword`).
    pub sasl_super_password: Option<String>,
    /// An id that any SASL user matches (`letAnySaslUserDoX`).
    pub let_any_sasl_user_do: Option<String>,
    /// A session must authenticate with one of `enforced_schemes` (`enforce.auth.enabled`, or
    /// `sessionRequireClientSASLAuth` for sasl).
    pub enforce_auth: bool,
    /// Schemes of which one is needed (`enforce.auth.schemes`).
    pub enforced_schemes: Vec<String>,
    /// Clients whose SASL login failed may go on without (`allowSaslFailedClients`).
    pub allow_sasl_failed_clients: bool,
    /// Names that the `ensemble` scheme lets in; `None`, when not set, is every name
    /// (`ensembleAuthName`).
    pub ensemble_auth_names: Option<Vec<String>>,
    /// Further schemes that are registered (`authProvider.*`).
    pub providers: Vec<AuthProvider>,
    /// Hard quotas are enforced (`enforceQuota`).
    pub enforce_quota: bool,
}

/// A scheme of Apache's that has to be named to exist (`authProvider.*=<class>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthProvider {
    /// `org.apache.zookeeper.server.auth.SASLAuthenticationProvider`: sasl ids in ACLs.
    Sasl,
    /// `org.apache.zookeeper.server.auth.X509AuthenticationProvider`.
    X509,
    /// `org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider`.
    Ensemble,
    /// `org.apache.zookeeper.server.auth.DigestAuthenticationProvider` (there already).
    Digest,
    /// `org.apache.zookeeper.server.auth.IPAuthenticationProvider` (there already).
    Ip,
    /// `org.apache.zookeeper.server.auth.KeyAuthenticationProvider` (Apache's sample).
    Key,
}

/// Containers, TTL nodes, digests: how the tree behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// TTL nodes are allowed (`extendedTypesEnabled`).
    pub extended_types: bool,
    /// TTL nodes in the encoding of 3.5.3 (`emulate353TTLNodes`).
    pub emulate_353_ttl: bool,
    /// Digests of the tree and in transactions (`digest.enabled`).
    pub digest: bool,
    /// Time between looks for empty containers and expired nodes, in ms
    /// (`znode.container.checkIntervalMs`).
    pub container_check_interval_ms: u64,
    /// Containers removed per minute (`znode.container.maxPerMinute`).
    pub container_max_per_minute: u32,
    /// A container never used goes after this, in ms; 0 is never
    /// (`znode.container.maxNeverUsedIntervalMs`).
    pub container_max_never_used_ms: u64,
}

/// Request and connection throttling.
#[derive(Debug, Clone, PartialEq)]
pub struct Throttle {
    /// Requests in process before new ones stall; 0 is off (`request_throttle_max_requests`).
    pub max_requests: u32,
    /// Length of a stall in ms (`request_throttle_stall_time`).
    pub stall_time_ms: u64,
    /// Requests of closed connections are dropped while stalling (`request_throttle_drop_stale`).
    pub drop_stale: bool,
    /// A request is stale when its connection is closed (`request_stale_connection_check`).
    pub stale_connection_check: bool,
    /// A request is stale when older than its session's timeout (`request_stale_latency_check`).
    pub stale_latency_check: bool,
    /// An operation that waited longer is answered THROTTLEDOP; 0 is off, ms
    /// (`throttled_op_wait_time`).
    pub throttled_op_wait_ms: u64,
    /// Tokens of the connection bucket; 0 is off (`connection_throttle_tokens`).
    pub connection_tokens: u32,
    /// The bucket is filled this often, in ms (`connection_throttle_fill_time`).
    pub connection_fill_time_ms: u64,
    /// By this many tokens (`connection_throttle_fill_count`).
    pub connection_fill_count: u32,
    /// Time between changes of the dropping probability in ms; negative is off
    /// (`connection_throttle_freeze_time`).
    pub connection_freeze_time_ms: i64,
    /// `connection_throttle_drop_increase`.
    pub connection_drop_increase: f64,
    /// `connection_throttle_drop_decrease`.
    pub connection_drop_decrease: f64,
    /// `connection_throttle_decrease_ratio`.
    pub connection_decrease_ratio: f64,
    /// Connections cost by kind of session (`connection_throttle_weight_enabled`).
    pub connection_weights: bool,
    /// `connection_throttle_global_session_weight`.
    pub global_session_weight: u32,
    /// `connection_throttle_local_session_weight`.
    pub local_session_weight: u32,
    /// `connection_throttle_renew_session_weight`.
    pub renew_session_weight: u32,
}

/// Members, roles and the protocol between servers.
#[derive(Debug, Clone, PartialEq)]
pub struct Quorum {
    /// The members; `None` without `server.N` lines.
    pub config: Option<QuorumConfig>,
    /// A newer configuration this server had heard of when it stopped (`<cfg>.dynamic.next`).
    pub next_config: Option<QuorumConfig>,
    /// This server's id from `dataDir/myid`; `None` without that file.
    pub my_id: Option<i64>,
    /// This server votes or observes, after the server lines have been asked.
    pub role: super::dynamic::Role,
    /// Ticks to connect to and synchronise with a leader (`initLimit`).
    pub init_limit_ticks: u32,
    /// Ticks without a word before a peer is given up (`syncLimit`).
    pub sync_limit_ticks: u32,
    /// Ticks to connect to a learner master; `initLimit` when not set
    /// (`connectToLearnerMasterLimit`).
    pub connect_limit_ticks: u32,
    /// One `server` line still means standalone (`standaloneEnabled`).
    pub standalone_enabled: bool,
    /// The membership may be changed at run time (`reconfigEnabled`).
    pub reconfig_enabled: bool,
    /// The file of the dynamic configuration (`dynamicConfigFile`).
    pub dynamic_file: Option<PathBuf>,
    /// Quorum and election ports listen on all addresses (`quorumListenOnAllIPs`).
    pub listen_on_all_ips: bool,
    /// Several addresses per member (`multiAddress.enabled`).
    pub multi_address: bool,
    /// Time to find out which address answers, in ms (`multiAddress.reachabilityCheckTimeoutMs`).
    pub reachability_timeout_ms: u64,
    /// Find out at all (`multiAddress.reachabilityCheckEnabled`).
    pub reachability_check: bool,
    /// Port where followers serve observers; `None` is off (`observerMasterPort`).
    pub observer_master_port: Option<u16>,
    /// Bytes of committed packets kept for observers (`observerMaster.sizeLimit`).
    pub observer_master_size_limit_bytes: u64,
    /// Observers keep log and snapshots (`syncEnabled`, `observer.syncEnabled`).
    pub observer_sync_enabled: bool,
    /// Upper bound of an observer's random wait before it reconnects, in ms
    /// (`observer.reconnectDelayMs`).
    pub observer_reconnect_delay_ms: u64,
    /// Upper bound of an observer's random wait before it looks for a leader, in ms
    /// (`observer.election.DelayMs`).
    pub observer_election_delay_ms: u64,
    /// The leader serves clients (`leaderServes`).
    pub leader_serves: bool,
    /// Time to connect to an election port in ms (`cnxTimeout`).
    pub election_connect_timeout_ms: u64,
    /// Time for a hello on the election port in ms; tick times syncLimit when not set
    /// (`quorumCnxnTimeoutMs`).
    pub election_hello_timeout_ms: u64,
    /// Attempts to bind the election port; 0 is for ever (`electionPortBindRetry`).
    pub election_bind_retry: u32,
    /// First wait between notifications in ms (`fastleader.minNotificationInterval`).
    pub notification_min_ms: u64,
    /// Last wait between notifications in ms (`fastleader.maxNotificationInterval`).
    pub notification_max_ms: u64,
    /// Wait between attempts to connect to the leader in ms (`leaderConnectDelayDuringRetryMs`).
    pub leader_connect_delay_ms: u64,
    /// A leader-to-be gives up waiting for an epoch after this, ms; `None` is never
    /// (`leader.maxTimeToWaitForEpoch`).
    pub max_wait_for_epoch_ms: Option<u64>,
    /// Snapshots sent at the same time (`leader.maxConcurrentSnapSyncs`).
    pub max_concurrent_snap_syncs: usize,
    /// Differences sent at the same time (`leader.maxConcurrentDiffSyncs`).
    pub max_concurrent_diff_syncs: usize,
    /// Every learner gets a snapshot (`forceSnapshotSync`).
    pub force_snapshot_sync: bool,
    /// SO_KEEPALIVE between servers (`tcpKeepAlive`).
    pub tcp_keep_alive: bool,
    /// TLS for connections to peers (`sslQuorum`).
    pub ssl: bool,
    /// Both plain and TLS connections from peers are taken (`portUnification`).
    pub port_unification: bool,
}

/// Four-letter words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FourLetter {
    /// Which words are answered (`4lw.commands.whitelist`).
    pub whitelist: Whitelist,
}

/// Which four-letter words are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whitelist {
    /// `*`.
    All,
    /// These; `srvr` always, `isro` where read-only mode is enabled.
    Only(Vec<String>),
}

impl Whitelist {
    /// True when `word` is answered.
    pub fn allows(&self, word: &str) -> bool {
        match self {
            Whitelist::All => true,
            Whitelist::Only(words) => words.iter().any(|w| w == word),
        }
    }
}

/// The HTTP admin server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// It runs (`admin.enableServer`).
    pub enabled: bool,
    /// Where (`admin.serverAddress`, `admin.serverPort`).
    pub listen: Endpoint,
    /// Idle connections are closed after this, in ms (`admin.idleTimeout`).
    pub idle_timeout_ms: u64,
    /// Path of the commands (`admin.commandURL`).
    pub command_url: String,
    /// TLS and plain on its port (`admin.portUnification`).
    pub port_unification: bool,
    /// TLS only (`admin.forceHttps`).
    pub force_https: bool,
    /// Clients need a certificate (`admin.needClientAuth`).
    pub need_client_auth: bool,
    /// `snapshot` may be called (`admin.snapshot.enabled`).
    pub snapshot_enabled: bool,
    /// `restore` may be called (`admin.restore.enabled`).
    pub restore_enabled: bool,
    /// At most one of each per this time, in ms (`admin.rateLimiterIntervalInMS`).
    pub rate_limit_interval_ms: u64,
}

/// The metrics provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Prometheus endpoint; `None` with Apache's default provider
    /// (`metricsProvider.className` and `metricsProvider.*`).
    pub prometheus: Option<Prometheus>,
}

/// Options of Apache's PrometheusMetricsProvider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prometheus {
    /// Plain HTTP endpoint (`metricsProvider.httpHost`, `metricsProvider.httpPort`).
    pub http: Option<Endpoint>,
    /// TLS endpoint (`metricsProvider.httpsPort`).
    pub https: Option<Endpoint>,
    /// Process metrics are exported, too (`metricsProvider.exportJvmInfo`).
    pub export_process_info: bool,
}

/// Certificates of one use (`ssl.*` for clients, `ssl.quorum.*` between servers).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsStore {
    /// `keyStore.location`.
    pub key_store: Option<PathBuf>,
    /// `keyStore.password`.
    pub key_store_password: Option<String>,
    /// `keyStore.passwordPath`; wins over the password.
    pub key_store_password_file: Option<PathBuf>,
    /// `keyStore.type`: JKS, PEM, PKCS12; `None` goes by the file's name.
    pub key_store_type: Option<String>,
    /// `trustStore.location`.
    pub trust_store: Option<PathBuf>,
    /// `trustStore.password`.
    pub trust_store_password: Option<String>,
    /// `trustStore.passwordPath`; wins over the password.
    pub trust_store_password_file: Option<PathBuf>,
    /// `trustStore.type`.
    pub trust_store_type: Option<String>,
    /// `protocol`.
    pub protocol: Option<String>,
    /// `enabledProtocols`; empty is the default.
    pub enabled_protocols: Vec<String>,
    /// `ciphersuites`; empty is the default.
    pub cipher_suites: Vec<String>,
    /// `clientAuth`.
    pub client_auth: ClientAuth,
    /// `hostnameVerification`.
    pub hostname_verification: bool,
    /// `clientHostnameVerification`.
    pub client_hostname_verification: bool,
    /// `crl`.
    pub crl: bool,
    /// `ocsp`.
    pub ocsp: bool,
    /// `handshakeDetectionTimeoutMillis`.
    pub handshake_detection_timeout_ms: u64,
    /// Watch the files and use new ones (`client.certReload`, `sslQuorumReloadCertFiles`).
    pub reload: bool,
}

/// Whether the other side has to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// Not asked for.
    None,
    /// Asked for, not needed.
    Want,
    /// Needed; the default.
    #[default]
    Need,
}

/// All certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// For the client port (`ssl.*`).
    pub client: TlsStore,
    /// Between servers, and for the admin server (`ssl.quorum.*`).
    pub quorum: TlsStore,
    /// FIPS rules: no DIGEST-MD5, TLS 1.2 by default (`fips-mode`).
    pub fips_mode: bool,
    /// Scheme that authenticates certificates (`ssl.authProvider`).
    pub auth_provider: String,
    /// Handshakes at the same time; `None` is unlimited (`netty.server.outstandingHandshake.limit`).
    pub outstanding_handshake_limit: Option<u32>,
}

/// SASL for clients and between servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    /// The JAAS file (`java.security.auth.login.config`).
    pub jaas_file: Option<PathBuf>,
    /// Section of the JAAS file for clients (`sasl.serverconfig`).
    pub server_section: String,
    /// SASL between servers (`quorum.auth.enableSasl`).
    pub quorum_enabled: bool,
    /// Learners must authenticate (`quorum.auth.learnerRequireSasl`).
    pub quorum_learner_required: bool,
    /// Servers refuse those who don't (`quorum.auth.serverRequireSasl`).
    pub quorum_server_required: bool,
    /// JAAS section of a learner (`quorum.auth.learner.saslLoginContext`).
    pub quorum_learner_section: String,
    /// JAAS section of a server (`quorum.auth.server.saslLoginContext`).
    pub quorum_server_section: String,
    /// `quorum.auth.kerberos.servicePrincipal`.
    pub quorum_service_principal: String,
    /// Short names lose the host (`kerberos.removeHostFromPrincipal`).
    pub remove_host_from_principal: bool,
    /// Short names lose the realm (`kerberos.removeRealmFromPrincipal`).
    pub remove_realm_from_principal: bool,
    /// `security.auth_to_local`.
    pub auth_to_local: String,
}

/// Audit log, pause monitor and other switches for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operations {
    /// An audit log is written (`audit.enable`).
    pub audit: bool,
    /// Look for pauses of the process (`jvm.pause.monitor`).
    pub pause_monitor: bool,
    /// A pause longer than this is a warning, ms (`jvm.pause.warn-threshold.ms`).
    pub pause_warn_ms: u64,
    /// A pause longer than this is logged, ms (`jvm.pause.info-threshold.ms`).
    pub pause_info_ms: u64,
    /// How long the monitor sleeps, ms (`jvm.pause.sleep.time.ms`).
    pub pause_sleep_ms: u64,
}

/// The secret in the content of a `session.secretFile`: without blanks around it, 16 bytes or more.
///
/// # Errors
/// It is shorter.
pub fn session_secret(content: &[u8]) -> Result<&[u8], String> {
    match content.trim_ascii() {
        secret if secret.len() < 16 => Err("it holds fewer than 16 bytes".to_owned()),
        secret => Ok(secret),
    }
}
