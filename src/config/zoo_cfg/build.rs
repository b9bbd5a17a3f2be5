//! Checked values to a [`Config`]: the rules that need more than one key
//! (`QuorumPeerConfig.parseProperties` after its loop).

use super::super::diagnostic::{Diagnostic, Severity};
use super::super::files::Files;
use super::super::host;
use super::super::settings::*;
use super::super::table;
use super::super::version::CompatVersion;
use super::Draft;

const DEFAULT_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider";
const NULL_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.NullMetricsProvider";
const PROMETHEUS_PROVIDER: &str =
    "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
const AUTH_PACKAGE: &str = "org.apache.zookeeper.server.auth.";

impl Draft {
    /// The configuration; `None`, or errors in `self`, when it can't be used.
    pub(super) fn build(&mut self, files: &dyn Files) -> Option<Config> {
        let timing = self.timing();
        let mut listen = self.listen(files);
        let access = self.access();
        let metrics = self.metrics();
        self.sasl_rules();
        let Some(data_dir) = self.values.path("dataDir") else {
            self.invalid(
                "dataDir",
                "dataDir is not set",
                "every server keeps its data somewhere",
                "add a line such as dataDir=/var/lib/zookeeper",
            );
            return None;
        };
        let storage = self.storage();
        let quorum = self.quorum(&data_dir, &mut listen, &timing, files);
        if listen.client.is_none() && !self.values.is_set("clientPortAddress") {
            let why = match listen.secure_client {
                Some(_) => "secureClientPort alone serves nobody: TLS isn't built yet",
                None => "no client could connect",
            };
            self.invalid("clientPort", "clientPort is not set", why, "add clientPort=2181");
        }
        let v = &self.values;
        let version = v.text("compat.version").and_then(|t| t.parse::<CompatVersion>().ok());
        let max_buffer = v.usize("jute.maxbuffer");
        let extra = if v.is_set("jute.maxbuffer.extrasize") {
            v.usize("jute.maxbuffer.extrasize")
        } else {
            max_buffer
        };
        Some(Config {
            source: self.source.clone(),
            text: self.text.clone(),
            compat_version: version.unwrap_or_default(),
            data_log_dir: v.path("dataLogDir").unwrap_or_else(|| data_dir.clone()),
            data_dir,
            timing,
            listen,
            limits: Limits {
                jute_max_buffer_bytes: max_buffer,
                jute_extra_size_bytes: extra.max(1024),
                global_outstanding: v.usize("globalOutstandingLimit"),
                large_request_threshold_bytes: v
                    .positive("largeRequestThreshold")
                    .and_then(|n| usize::try_from(n).ok()),
                large_request_max_bytes: v.usize("largeRequestMaxBytes"),
                request_bytes: v.usize("limits.requestBytes"),
                reply_bytes: v.usize("limits.replyBytes"),
                watches_per_connection: v.usize("limits.watchesPerConnection"),
                watch_bytes: v.usize("limits.watchBytes"),
            },
            storage,
            sessions: Sessions {
                local_enabled: v.bool("localSessionsEnabled"),
                local_upgrading_enabled: v.bool("localSessionsUpgradingEnabled"),
                read_only_mode: v.bool("readonlymode.enabled"),
                close_session_txn: v.bool("closeSessionTxn.enabled"),
                secret_file: v.path("session.secretFile"),
            },
            access,
            tree: Tree {
                extended_types: v.bool("extendedTypesEnabled"),
                emulate_353_ttl: v.bool("emulate353TTLNodes"),
                digest: v.bool("digest.enabled"),
                container_check_interval_ms: v.u64("znode.container.checkIntervalMs"),
                container_max_per_minute: v.u32("znode.container.maxPerMinute"),
                container_max_never_used_ms: v.u64("znode.container.maxNeverUsedIntervalMs"),
            },
            throttle: Throttle {
                max_requests: v.u32("request_throttle_max_requests"),
                stall_time_ms: v.u64("request_throttle_stall_time"),
                drop_stale: v.bool("request_throttle_drop_stale"),
                stale_connection_check: v.bool("request_stale_connection_check"),
                stale_latency_check: v.bool("request_stale_latency_check"),
                throttled_op_wait_ms: v.u64("throttled_op_wait_time"),
                connection_tokens: v.u32("connection_throttle_tokens"),
                connection_fill_time_ms: v.u64("connection_throttle_fill_time"),
                connection_fill_count: v.u32("connection_throttle_fill_count"),
                connection_freeze_time_ms: v.int("connection_throttle_freeze_time"),
                connection_drop_increase: v.float("connection_throttle_drop_increase"),
                connection_drop_decrease: v.float("connection_throttle_drop_decrease"),
                connection_decrease_ratio: v.float("connection_throttle_decrease_ratio"),
                connection_weights: v.bool("connection_throttle_weight_enabled"),
                global_session_weight: v.u32("connection_throttle_global_session_weight"),
                local_session_weight: v.u32("connection_throttle_local_session_weight"),
                renew_session_weight: v.u32("connection_throttle_renew_session_weight"),
            },
            quorum,
            four_letter: FourLetter { whitelist: self.whitelist() },
            admin: Admin {
                enabled: v.bool("admin.enableServer"),
                listen: Endpoint {
                    host: v.text("admin.serverAddress").and_then(|h| host::to_listen_on(&h)),
                    port: v.port("admin.serverPort"),
                },
                idle_timeout_ms: v.u64("admin.idleTimeout"),
                command_url: v.text("admin.commandURL").unwrap_or_default(),
                port_unification: v.bool("admin.portUnification"),
                force_https: v.bool("admin.forceHttps"),
                need_client_auth: v.bool("admin.needClientAuth"),
                snapshot_enabled: v.bool("admin.snapshot.enabled"),
                restore_enabled: v.bool("admin.restore.enabled"),
                rate_limit_interval_ms: v.u64("admin.rateLimiterIntervalInMS"),
            },
            metrics,
            tls: Tls {
                client: self.tls_store("ssl.", "client.certReload"),
                quorum: self.tls_store("ssl.quorum.", "sslQuorumReloadCertFiles"),
                fips_mode: v.bool("fips-mode"),
                auth_provider: v.text("ssl.authProvider").unwrap_or_default(),
                outstanding_handshake_limit: v
                    .positive("netty.server.outstandingHandshake.limit")
                    .and_then(|n| u32::try_from(n).ok()),
            },
            sasl: Sasl {
                jaas_file: v.path("java.security.auth.login.config"),
                server_section: v.text("sasl.serverconfig").unwrap_or_default(),
                quorum_enabled: v.bool("quorum.auth.enableSasl"),
                quorum_learner_required: v.bool("quorum.auth.learnerRequireSasl"),
                quorum_server_required: v.bool("quorum.auth.serverRequireSasl"),
                quorum_learner_section: v
                    .text("quorum.auth.learner.saslLoginContext")
                    .unwrap_or_default(),
                quorum_server_section: v
                    .text("quorum.auth.server.saslLoginContext")
                    .unwrap_or_default(),
                quorum_service_principal: v
                    .text("quorum.auth.kerberos.servicePrincipal")
                    .unwrap_or_default(),
                remove_host_from_principal: v.bool("kerberos.removeHostFromPrincipal"),
                remove_realm_from_principal: v.bool("kerberos.removeRealmFromPrincipal"),
                auth_to_local: v.text("security.auth_to_local").unwrap_or_default(),
            },
            operations: Operations {
                audit: v.bool("audit.enable"),
                pause_monitor: v.bool("jvm.pause.monitor"),
                pause_warn_ms: v.u64("jvm.pause.warn-threshold.ms"),
                pause_info_ms: v.u64("jvm.pause.info-threshold.ms"),
                pause_sleep_ms: v.u64("jvm.pause.sleep.time.ms"),
            },
            properties: self.properties.clone(),
        })
    }

    fn timing(&mut self) -> Timing {
        let tick = self.values.u32("tickTime");
        let bound = |key: &str, ticks: u32| match self.values.int(key) {
            -1 => tick.saturating_mul(ticks),
            _ => self.values.u32(key),
        };
        let timing = Timing {
            tick_time_ms: tick,
            min_session_timeout_ms: bound("minSessionTimeout", 2),
            max_session_timeout_ms: bound("maxSessionTimeout", 20),
        };
        if timing.min_session_timeout_ms > timing.max_session_timeout_ms {
            let key = if self.values.is_set("minSessionTimeout") {
                "minSessionTimeout"
            } else {
                "maxSessionTimeout"
            };
            self.invalid(
                key,
                "minSessionTimeout must not be larger than maxSessionTimeout",
                &format!(
                    "they come to {} ms and {} ms",
                    timing.min_session_timeout_ms, timing.max_session_timeout_ms
                ),
                "when not set, they are 2 and 20 times tickTime",
            );
        }
        timing
    }

    fn listen(&mut self, files: &dyn Files) -> Listen {
        let client = self.endpoint("clientPort", "clientPortAddress", files);
        let secure_client = self.endpoint("secureClientPort", "secureClientPortAddress", files);
        let v = &self.values;
        Listen {
            client,
            secure_client,
            backlog: u32::try_from(v.int("clientPortListenBacklog")).ok(),
            max_client_cnxns: v.u32("maxClientCnxns"),
            max_cnxns: v.u32("maxCnxns"),
            tcp_keep_alive: v.bool("clientTcpKeepAlive"),
            sessionless_timeout_ms: v.u64("nio.sessionlessCnxnTimeout"),
            worker_threads: v
                .positive("nio.numWorkerThreads")
                .and_then(|n| usize::try_from(n).ok()),
            client_port_unification: v.bool("client.portUnification"),
        }
    }

    fn endpoint(&mut self, port: &str, address: &str, files: &dyn Files) -> Option<Endpoint> {
        if self.values.is_set(port) {
            let name = self.values.text(address);
            if let Some(name) = &name
                && let Err(error) = host::address(name, files)
            {
                self.invalid(
                    address,
                    &format!("{address}={name} is no address of a machine"),
                    &error.to_string(),
                    "name a host that is known, or an address: IPv6 ones may be in brackets",
                );
            }
            let host = name.and_then(|name| host::to_listen_on(&name));
            return Some(Endpoint { host, port: self.values.port(port) });
        }
        if self.values.is_set(address) {
            self.invalid(
                address,
                &format!("{address} is set but {port} is not set"),
                "an address without a port can't be listened on",
                &format!("add {port}=2181 or remove {address}"),
            );
        }
        None
    }

    fn storage(&mut self) -> Storage {
        let (retain, commit_log, snap_count, factor) = (
            self.at_least("autopurge.snapRetainCount", 3),
            self.at_least("commitLogCount", 500),
            self.at_least("snapCount", 2),
            self.values.float("snapshotSizeFactor"),
        );
        let factor = if factor > 1.0 {
            let origin = self.values.origin("snapshotSizeFactor").cloned();
            self.warn(
                Diagnostic::new(
                    Severity::Warning,
                    "snapshotSizeFactor is taken as 0.33",
                    "it is a share of a snapshot, 1 at most",
                )
                .at(origin)
                .key("snapshotSizeFactor"),
            );
            0.33
        } else {
            factor
        };
        let v = &self.values;
        let kilobytes = |key: &str| v.positive(key).map(|n| n.saturating_mul(1024));
        let flush_delay_ms = v.u64("flushDelay");
        Storage {
            force_sync: v.bool("forceSync"),
            fsync_warning_threshold_ms: v.u64("fsync.warningthresholdms"),
            preallocate_bytes: v.u64("preAllocSize").saturating_mul(1024),
            snap_count: u32::try_from(snap_count).unwrap_or(u32::MAX),
            snap_size_limit_bytes: kilobytes("snapSizeLimitInKb"),
            log_size_limit_bytes: kilobytes("txnLogSizeLimitInKb"),
            flush_delay_ms,
            max_write_queue_poll_ms: if v.is_set("maxWriteQueuePollTime") {
                v.u64("maxWriteQueuePollTime")
            } else {
                flush_delay_ms / 3
            },
            max_batch_size: v.usize("maxBatchSize"),
            snapshot_compression: match v.text("snapshot.compression.method").as_deref() {
                Some("gz") => Compression::Gzip,
                Some("snappy") => Compression::Snappy,
                _ => Compression::None,
            },
            trust_empty_snapshot: v.bool("snapshot.trust.empty"),
            snapshot_size_factor: factor,
            commit_log_count: usize::try_from(commit_log).unwrap_or(500),
            autocreate_dirs: v.bool("datadir.autocreate"),
            autocreate_db: v.bool("db.autocreate"),
            serialize_last_zxid: v.bool("serializeLastProcessedZxid.enabled"),
            purge_retain_count: usize::try_from(retain).unwrap_or(3),
            purge_interval_ms: v
                .text("autopurge.purgeInterval")
                .and_then(|t| table::hours_ms(&t))
                .filter(|ms| *ms > 0),
        }
    }

    /// A number that Apache raises to a minimum, with a warning.
    fn at_least(&mut self, key: &str, min: i64) -> i64 {
        let value = self.values.int(key);
        if value < min {
            let origin = self.values.origin(key).cloned();
            self.warn(
                Diagnostic::new(
                    Severity::Warning,
                    format!("{key}={value} is raised to {min}"),
                    format!("{min} is the least that works"),
                )
                .at(origin)
                .key(key),
            );
        }
        value.max(min)
    }

    fn access(&mut self) -> Access {
        let mut providers = Vec::new();
        let classes: Vec<(String, String)> = self
            .values
            .family("authProvider.")
            .map(|(key, class)| (key.to_owned(), class.to_owned()))
            .collect();
        for (key, class) in classes {
            match class.strip_prefix(AUTH_PACKAGE) {
                Some("SASLAuthenticationProvider") => providers.push(AuthProvider::Sasl),
                Some("X509AuthenticationProvider") => providers.push(AuthProvider::X509),
                Some("EnsembleAuthenticationProvider") => providers.push(AuthProvider::Ensemble),
                Some("DigestAuthenticationProvider") => providers.push(AuthProvider::Digest),
                Some("IPAuthenticationProvider") => providers.push(AuthProvider::Ip),
                Some("KeyAuthenticationProvider") => providers.push(AuthProvider::Key),
                _ => {
                    let origin = self.values.origin(&key).cloned();
                    self.warn(
                        Diagnostic::new(
                            Severity::Warning,
                            format!("{key}={class} has no effect"),
                            "Java classes can't be loaded here; ACLs of its scheme will be invalid",
                        )
                        .at(origin)
                        .key(key)
                        .hint("known are the SASL, X509, Ensemble, Digest, IP and Key providers of Apache"),
                    );
                }
            }
        }
        providers.sort_unstable();
        providers.dedup();
        self.warn_of_providers(&providers);
        let sasl_required = self.values.bool("sessionRequireClientSASLAuth");
        let mut enforced_schemes = self.values.list("enforce.auth.schemes");
        if sasl_required && !enforced_schemes.iter().any(|s| s == "sasl") {
            enforced_schemes.push("sasl".to_owned());
        }
        let enforce_auth = self.values.bool("enforce.auth.enabled") || sasl_required;
        if enforce_auth && enforced_schemes.is_empty() {
            self.invalid(
                "enforce.auth.enabled",
                "enforce.auth.enabled is true but enforce.auth.schemes is not set",
                "nobody could connect",
                "add a line such as enforce.auth.schemes=digest",
            );
        }
        let v = &self.values;
        let mut super_users: Vec<String> = v.text("superUser").into_iter().collect();
        super_users.extend(v.family("superUser.").map(|(_, user)| user.to_owned()));
        let algorithm = v.text("DigestAuthenticationProvider.digestAlg").unwrap_or_default();
        Access {
            skip_acl: v.bool("skipACL"),
            eager_acl_check: v.bool("enableEagerACLCheck"),
            digest_enabled: v.bool("DigestAuthenticationProvider.enabled"),
            digest_algorithm: DigestAlgorithm::of_java(&algorithm).unwrap_or_default(),
            super_digest: v.text("DigestAuthenticationProvider.superDigest"),
            super_users,
            x509_super_user: v.text("X509AuthenticationProvider.superUser"),
            sasl_super_password: v.text("SASLAuthenticationProvider.superPassword"),
            let_any_sasl_user_do: v.text("letAnySaslUserDoX"),
            enforce_auth,
            enforced_schemes,
            allow_sasl_failed_clients: v.bool("allowSaslFailedClients"),
            ensemble_auth_names: v.origin("ensembleAuthName").map(|_| v.list("ensembleAuthName")),
            providers,
            enforce_quota: v.bool("enforceQuota"),
        }
    }

    /// Says which of the providers are known and not there.
    fn warn_of_providers(&mut self, providers: &[AuthProvider]) {
        for (provider, name, scheme) in [
            (AuthProvider::Sasl, "SASLAuthenticationProvider", "sasl"),
            (AuthProvider::X509, "X509AuthenticationProvider", "x509"),
            (AuthProvider::Key, "KeyAuthenticationProvider", "key"),
        ] {
            if !providers.contains(&provider) {
                continue;
            }
            let class = format!("{AUTH_PACKAGE}{name}");
            let given = self.values.family("authProvider.").find(|(_, given)| *given == class);
            let key = given.map_or("", |(key, _)| key).to_owned();
            let origin = self.values.origin(&key).cloned();
            let why = match provider {
                AuthProvider::Key => {
                    "it is Apache's sample of a provider; ACLs of its scheme are \
                                      invalid here"
                }
                _ => "the provider isn't built yet, so nobody can have an identity of its scheme",
            };
            let what = format!("nobody can log in with the scheme {scheme}");
            let warning = Diagnostic::new(Severity::Warning, what, why).at(origin);
            self.warn(warning.key(key));
        }
    }

    fn whitelist(&self) -> Whitelist {
        let mut words = self.values.list("4lw.commands.whitelist");
        if words.iter().any(|w| w == "*") {
            return Whitelist::All;
        }
        let mut always = vec!["srvr"];
        if self.values.bool("readonlymode.enabled") {
            always.push("isro");
        }
        for word in always {
            if !words.iter().any(|w| w == word) {
                words.push(word.to_owned());
            }
        }
        Whitelist::Only(words)
    }

    fn metrics(&mut self) -> Metrics {
        let class = self.values.text("metricsProvider.className").unwrap_or_default();
        match class.as_str() {
            DEFAULT_PROVIDER | NULL_PROVIDER => Metrics { prometheus: None },
            PROMETHEUS_PROVIDER => {
                let v = &self.values;
                let host = v.text("metricsProvider.httpHost").and_then(|h| host::to_listen_on(&h));
                let endpoint = |key: &str| {
                    let port = u16::try_from(v.int(key)).ok()?;
                    Some(Endpoint { host: host.clone(), port })
                };
                Metrics {
                    prometheus: Some(Prometheus {
                        http: endpoint("metricsProvider.httpPort"),
                        https: endpoint("metricsProvider.httpsPort"),
                        export_process_info: v.bool("metricsProvider.exportJvmInfo"),
                    }),
                }
            }
            _ => {
                self.invalid(
                    "metricsProvider.className",
                    &format!("the metrics provider {class} does not exist"),
                    "Java classes can't be loaded here",
                    &format!("use {PROMETHEUS_PROVIDER}, or leave the line out"),
                );
                Metrics { prometheus: None }
            }
        }
    }

    fn sasl_rules(&mut self) {
        let enabled = self.values.bool("quorum.auth.enableSasl");
        let learner = self.values.bool("quorum.auth.learnerRequireSasl");
        let server = self.values.bool("quorum.auth.serverRequireSasl");
        for (broken, off, on) in [
            (learner && !enabled, "enableSasl", "learnerRequireSasl"),
            (server && !enabled, "enableSasl", "serverRequireSasl"),
            (server && !learner, "learnerRequireSasl", "serverRequireSasl"),
        ] {
            if broken {
                self.invalid(
                    &format!("quorum.auth.{on}"),
                    &format!("quorum.auth.{off} is disabled, so cannot enable quorum.auth.{on}"),
                    "one needs the other",
                    &format!("add quorum.auth.{off}=true"),
                );
            }
        }
    }

    fn tls_store(&self, prefix: &str, reload: &str) -> TlsStore {
        let v = &self.values;
        let name = |suffix: &str| format!("{prefix}{suffix}");
        TlsStore {
            key_store: v.path(&name("keyStore.location")),
            key_store_password: v.text(&name("keyStore.password")),
            key_store_password_file: v.path(&name("keyStore.passwordPath")),
            key_store_type: v.text(&name("keyStore.type")),
            trust_store: v.path(&name("trustStore.location")),
            trust_store_password: v.text(&name("trustStore.password")),
            trust_store_password_file: v.path(&name("trustStore.passwordPath")),
            trust_store_type: v.text(&name("trustStore.type")),
            protocol: v.text(&name("protocol")),
            enabled_protocols: v.list(&name("enabledProtocols")),
            cipher_suites: v.list(&name("ciphersuites")),
            client_auth: match v
                .text(&name("clientAuth"))
                .map(|w| w.to_ascii_lowercase())
                .as_deref()
            {
                Some("none") => ClientAuth::None,
                Some("want") => ClientAuth::Want,
                _ => ClientAuth::Need,
            },
            hostname_verification: v.bool(&name("hostnameVerification")),
            client_hostname_verification: v.bool(&name("clientHostnameVerification")),
            crl: v.bool(&name("crl")),
            ocsp: v.bool(&name("ocsp")),
            handshake_detection_timeout_ms: v.u64(&name("handshakeDetectionTimeoutMillis")),
            reload: v.bool(reload),
        }
    }
}
