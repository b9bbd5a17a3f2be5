//! The membership: server lines here or in the dynamic file, `myid`, role, client address
//! (`QuorumPeerConfig.setupQuorumPeerConfig`).

use std::io;
use std::path::{Path, PathBuf};

use crate::types::ServerId;

use super::super::diagnostic::{Diagnostic, Origin, Severity};
use super::super::dynamic::{DynamicError, HostPort, QuorumConfig, Role, parse_role};
use super::super::files::Files;
use super::super::host;
use super::super::properties;
use super::super::settings::{Endpoint, Listen, Quorum, Source, Timing, session_secret};
use super::super::table;
use super::Draft;

impl Draft {
    pub(super) fn quorum(
        &mut self,
        data_dir: &Path,
        listen: &mut Listen,
        timing: &Timing,
        files: &dyn Files,
    ) -> Quorum {
        let multi_address = self.values.bool("multiAddress.enabled");
        let dynamic_file = self.values.path("dynamicConfigFile");
        let mut config = match &dynamic_file {
            Some(path) => self.dynamic_file(path, multi_address, files),
            None => self.inline(multi_address),
        };
        let next_config = self.next_file(multi_address, files);
        let my_id = match self.source {
            Source::File(_) => self.my_id(data_dir, files),
            Source::Positional | Source::Builtin => None,
        };
        let mut role = Role::Participant;
        if let Some(config) = &mut config {
            self.membership_rules(config);
            role = self.role(config, my_id);
            if let Some(id) = my_id {
                self.client_address(config, ServerId(id), listen, files);
            }
        } else if !self.values.bool("standaloneEnabled") && self.errors.is_empty() {
            self.invalid(
                "standaloneEnabled",
                "there must be a participant when standaloneEnabled=false",
                "there is no server line",
                "add server lines, or leave standaloneEnabled out",
            );
        }
        let v = &self.values;
        let init_limit_ticks = v.u32("initLimit");
        let sync_limit_ticks = v.u32("syncLimit");
        let quorum = Quorum {
            config,
            next_config,
            my_id,
            role,
            init_limit_ticks,
            sync_limit_ticks,
            connect_limit_ticks: match v.u32("connectToLearnerMasterLimit") {
                0 => init_limit_ticks,
                ticks => ticks,
            },
            standalone_enabled: v.bool("standaloneEnabled"),
            reconfig_enabled: v.bool("reconfigEnabled"),
            dynamic_file,
            listen_on_all_ips: v.bool("quorumListenOnAllIPs"),
            multi_address,
            reachability_timeout_ms: v.u64("multiAddress.reachabilityCheckTimeoutMs"),
            reachability_check: v.bool("multiAddress.reachabilityCheckEnabled"),
            observer_master_port: Some(v.port("observerMasterPort")).filter(|p| *p > 0),
            observer_master_size_limit_bytes: v.u64("observerMaster.sizeLimit"),
            observer_sync_enabled: if v.is_set("observer.syncEnabled") {
                v.bool("observer.syncEnabled")
            } else {
                v.bool("syncEnabled")
            },
            observer_reconnect_delay_ms: v.u64("observer.reconnectDelayMs"),
            observer_election_delay_ms: v.u64("observer.election.DelayMs"),
            leader_serves: v.bool("leaderServes"),
            election_connect_timeout_ms: v.u64("cnxTimeout"),
            election_hello_timeout_ms: v.positive("quorumCnxnTimeoutMs").unwrap_or(
                u64::from(timing.tick_time_ms).saturating_mul(u64::from(sync_limit_ticks)),
            ),
            election_bind_retry: v.u32("electionPortBindRetry"),
            notification_min_ms: v.u64("fastleader.minNotificationInterval"),
            notification_max_ms: v.u64("fastleader.maxNotificationInterval"),
            leader_connect_delay_ms: v.u64("leaderConnectDelayDuringRetryMs"),
            max_wait_for_epoch_ms: v.positive("leader.maxTimeToWaitForEpoch"),
            max_concurrent_snap_syncs: v.usize("leader.maxConcurrentSnapSyncs"),
            max_concurrent_diff_syncs: v.usize("leader.maxConcurrentDiffSyncs"),
            force_snapshot_sync: v.bool("forceSnapshotSync"),
            tcp_keep_alive: v.bool("tcpKeepAlive"),
            ssl: v.bool("sslQuorum"),
            port_unification: v.bool("portUnification"),
        };
        self.distributed_rules(&quorum, data_dir, files);
        quorum
    }

    /// Members that are given a secret for the passwords of sessions need it at the start.
    fn secret_file(&mut self, files: &dyn Files) {
        let Some(path) = self.values.path("session.secretFile") else { return };
        let secret = files.read(&path).map_err(|error| error.to_string());
        if let Err(why) = secret.and_then(|bytes| session_secret(&bytes).map(|_| ())) {
            self.invalid(
                "session.secretFile",
                &format!("there is no secret in {}", path.display()),
                &why,
                "put the same 16 random bytes or more into this file on all members",
            );
        }
    }

    fn dynamic_error(&mut self, error: DynamicError, origin: Option<Origin>) {
        self.error(
            Diagnostic::new(
                Severity::Error,
                format!("{}={} can't be used", error.key, error.value),
                error.why,
            )
            .at(origin)
            .key(error.key)
            .hint(error.hint),
        );
    }

    /// Server, group and weight lines of the static file; `None` when there are none.
    fn inline(&mut self, multi_address: bool) -> Option<QuorumConfig> {
        let lines = self.member_lines();
        if lines.is_empty() {
            return None;
        }
        let pairs = lines.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        match QuorumConfig::from_lines(pairs, multi_address) {
            Ok(config) => Some(config),
            Err(e) => {
                let origin = self.values.origin(&e.key).cloned();
                self.dynamic_error(e, origin);
                None
            }
        }
    }

    fn member_lines(&self) -> Vec<(String, String)> {
        ["group", "server.", "weight"]
            .into_iter()
            .flat_map(|prefix| self.values.family(prefix))
            .filter(|(key, _)| table::find(key).is_some_and(|row| row.is_family()))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    fn dynamic_file(
        &mut self,
        path: &Path,
        multi_address: bool,
        files: &dyn Files,
    ) -> Option<QuorumConfig> {
        for (key, _) in self.member_lines() {
            self.invalid(
                &key,
                &format!("{key} must be in the dynamic configuration file"),
                "dynamicConfigFile is set, and members are listed in one place only",
                &format!("move the line to {}", path.display()),
            );
        }
        let name = path.display().to_string();
        let bytes = match files.read(path) {
            Ok(bytes) => bytes,
            Err(e) => {
                self.invalid(
                    "dynamicConfigFile",
                    &format!("the dynamic configuration file {name} can't be read"),
                    &e.to_string(),
                    "name an existing file",
                );
                return None;
            }
        };
        self.member_file(&name, &bytes, version_of(path), multi_address)
    }

    /// A file that may hold server, group and weight lines only.
    fn member_file(
        &mut self,
        name: &str,
        bytes: &[u8],
        version: Option<i64>,
        multi_address: bool,
    ) -> Option<QuorumConfig> {
        let at = |line: usize| Some(Origin::Line { file: name.to_owned(), line });
        let lines = match properties::parse(bytes) {
            Ok(lines) => properties::last_wins(lines),
            Err(e) => {
                let what = "the file can't be parsed";
                let why = "\\u must be followed by four hexadecimal digits";
                self.error(Diagnostic::new(Severity::Error, what, why).at(at(e.line)));
                return None;
            }
        };
        let mut fine = true;
        for line in &lines {
            let key = line.key.trim();
            let known = ["server.", "group", "weight"].iter().any(|p| key.starts_with(p));
            let is_next = version.is_none() && key == "version";
            if !known && !is_next {
                let why = if key == "version" {
                    "the version is in the file's name"
                } else {
                    "a dynamic file has server, group and weight lines only"
                };
                self.error(
                    Diagnostic::new(
                        Severity::Error,
                        format!("{key} must not be in the dynamic configuration file"),
                        why,
                    )
                    .at(at(line.line))
                    .key(key)
                    .hint("move the line to the static file, or remove it"),
                );
                fine = false;
            }
        }
        if !fine {
            return None;
        }
        let pairs = lines.iter().map(|l| (l.key.trim(), l.value.trim()));
        match QuorumConfig::from_lines(pairs, multi_address) {
            Ok(mut config) => {
                config.version = version.unwrap_or(config.version);
                Some(config)
            }
            Err(e) => {
                let line = lines.iter().find(|l| l.key.trim() == e.key).map_or(1, |l| l.line);
                self.dynamic_error(e, at(line));
                None
            }
        }
    }

    /// `<cfg>.dynamic.next`: a configuration that was proposed when the server stopped.
    fn next_file(&mut self, multi_address: bool, files: &dyn Files) -> Option<QuorumConfig> {
        let Source::File(path) = &self.source else { return None };
        let mut name = path.clone().into_os_string();
        name.push(".dynamic.next");
        let name = PathBuf::from(name);
        let bytes = files.read(&name).ok()?;
        self.member_file(&name.display().to_string(), &bytes, None, multi_address)
    }

    /// The first line of `myid`; like Apache's, it takes no blanks. A directory of that name is no
    /// `myid`.
    fn my_id(&mut self, data_dir: &Path, files: &dyn Files) -> Option<i64> {
        let path = data_dir.join("myid");
        let file = path.display().to_string();
        let bytes = match files.read(&path) {
            Ok(bytes) => bytes,
            Err(e) if is_no_file(&e) => {
                return None;
            }
            Err(e) => {
                self.error(
                    Diagnostic::new(Severity::Error, "myid can't be read", e.to_string())
                        .at(Some(Origin::File { file }))
                        .hint("the user that runs the server must be able to read it"),
                );
                return None;
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let first = text.split(['\n', '\r']).next().unwrap_or("");
        let id = first.parse();
        if id.is_err() {
            let hint = match first.trim().parse::<i64>() {
                Ok(id) => format!("write {id} without blanks around it"),
                Err(_) => "write the number alone on the first line".to_owned(),
            };
            self.error(
                Diagnostic::new(
                    Severity::Error,
                    format!("server id {first:?} is not a number"),
                    "the first line of myid is the N of this server's server.N line",
                )
                .at(Some(Origin::Line { file, line: 1 }))
                .hint(hint),
            );
        }
        id.ok()
    }

    /// `QuorumPeerConfig.parseDynamicConfig`.
    fn membership_rules(&mut self, config: &QuorumConfig) {
        let standalone = self.values.bool("standaloneEnabled");
        let voters = config.voters().count();
        let observers = config.observers().count();
        let origin = config
            .members
            .keys()
            .next()
            .and_then(|id| self.values.origin(&format!("server.{id}")))
            .or_else(|| self.values.origin("dynamicConfigFile"))
            .cloned();
        let error = |what: &str, why: &str, hint: &str| {
            Diagnostic::new(Severity::Error, what, why).at(origin.clone()).hint(hint)
        };
        let warning = |what: &str, why: &str| {
            Diagnostic::new(Severity::Warning, what, why).at(origin.clone())
        };
        match voters {
            0 if !standalone => self.error(error(
                "there must be a participant when standaloneEnabled=false",
                "nobody could be elected",
                "make one server line a participant",
            )),
            0 if observers > 0 => self.error(error(
                "observers without participants are an invalid configuration",
                "nobody could be elected",
                "make one server line a participant",
            )),
            0 => {}
            1 if standalone && observers > 0 => self.error(error(
                "observers without a quorum are an invalid configuration",
                "one participant and standaloneEnabled=true is a standalone server",
                "set standaloneEnabled=false, or add participants",
            )),
            1 if standalone => self.warn(warning(
                "only one server is specified, so this is a standalone server",
                "standaloneEnabled is true",
            )),
            1 | 2 => self.warn(warning(
                "no server failure will be tolerated",
                "at least 3 participants are needed for that",
            )),
            n if n % 2 == 0 => self.warn(warning(
                "an odd number of participants is better",
                "one more of an even number tolerates no more failures",
            )),
            _ => {}
        }
    }

    fn role(&mut self, config: &QuorumConfig, my_id: Option<i64>) -> Role {
        let stated = self.values.text("peerType").unwrap_or_default();
        let stated = parse_role(&stated).unwrap_or_default();
        let Some(member) = my_id.and_then(|id| config.members.get(&ServerId(id))) else {
            return stated;
        };
        if member.role != stated {
            let origin = self.values.origin("peerType").cloned();
            self.warn(
                Diagnostic::new(
                    Severity::Warning,
                    format!("this server is {}, as its server line says", member.role),
                    format!("peerType is {stated}"),
                )
                .at(origin)
                .key("peerType"),
            );
        }
        member.role
    }

    /// The client address of the server line and of the static file must agree; whichever is there
    /// counts for both. Compared are addresses and not texts (Apache `setupClientPort`).
    fn client_address(
        &mut self,
        config: &mut QuorumConfig,
        id: ServerId,
        listen: &mut Listen,
        files: &dyn Files,
    ) {
        let Some(member) = config.members.get_mut(&id) else { return };
        match (&member.client, &listen.client) {
            (None, None) => {}
            (None, Some(endpoint)) => {
                member.client = Some(HostPort {
                    host: endpoint.host.clone().unwrap_or_else(|| "0.0.0.0".to_owned()),
                    port: endpoint.port,
                });
                member.client_from_static = true;
            }
            (Some(client), stated) => {
                let client = client.clone();
                let from_line =
                    Endpoint { host: host::to_listen_on(&client.host), port: client.port };
                let clash = match stated {
                    None => false,
                    Some(Endpoint { host: None, port }) => *port != client.port,
                    Some(Endpoint { host: Some(stated), port }) => {
                        let of_line = host::address(&client.host, files).ok();
                        let same = host::address(stated, files).is_ok_and(|a| Some(a) == of_line);
                        *port != client.port || !same
                    }
                };
                if clash {
                    let stated = stated.as_ref().map_or_else(String::new, ToString::to_string);
                    self.invalid(
                        "clientPort",
                        "clientPort and the server line name different client addresses",
                        &format!("they are {stated} and {client}"),
                        &format!("remove clientPort, or change server.{id}"),
                    );
                }
                listen.client = Some(from_line);
            }
        }
    }

    /// `QuorumPeerConfig.checkValidity`.
    fn distributed_rules(&mut self, quorum: &Quorum, data_dir: &Path, files: &dyn Files) {
        let Some(config) = &quorum.config else { return };
        if quorum.standalone_enabled && config.voters().count() <= 1 {
            return;
        }
        self.secret_file(files);
        for (key, value, typical) in [
            ("initLimit", quorum.init_limit_ticks, "initLimit=10"),
            ("syncLimit", quorum.sync_limit_ticks, "syncLimit=5"),
        ] {
            if value == 0 {
                self.invalid(
                    key,
                    &format!("{key} is not set"),
                    "an ensemble needs it",
                    &format!("add a line such as {typical}"),
                );
            }
        }
        let path = data_dir.join("myid").display().to_string();
        let ids: Vec<String> = config.members.keys().map(ToString::to_string).collect();
        match quorum.my_id {
            None if self.errors.is_empty() => {
                self.error(
                    Diagnostic::new(
                        Severity::Error,
                        "myid file is missing",
                        "it says which of the server lines is this server",
                    )
                    .at(Some(Origin::File { file: path }))
                    .hint(format!("write one of {} to it", ids.join(", "))),
                );
            }
            Some(id) if !config.members.contains_key(&ServerId(id)) => self.error(
                Diagnostic::new(
                    Severity::Error,
                    format!("my id {id} is not in the peer list"),
                    format!("there is no server.{id} line"),
                )
                .at(Some(Origin::Line { file: path, line: 1 }))
                .hint(format!("the members are {}", ids.join(", "))),
            ),
            _ => {}
        }
    }
}

/// Whether nothing is to be read because there is no such file (as Java's `File.isFile` says).
fn is_no_file(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | IsADirectory | NotADirectory)
}

/// The version in the name of a dynamic file: hexadecimal after the last dot; 0 without.
fn version_of(path: &Path) -> Option<i64> {
    let name = path.file_name()?.to_str()?;
    let version = name.rsplit_once('.').and_then(|(_, hex)| i64::from_str_radix(hex, 16).ok());
    Some(version.unwrap_or(0))
}
