//! Fills an [`crate::ops::Stats`] for four-letter words: numbers from the shared state, lists only
//! where a word needs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::config::{Config, MemberAddress, QuorumConfig, Role, Whitelist};
use crate::ops::four_letter;
use crate::ops::process::Process;
use crate::ops::stats::{
    Conf, Connection, ConnectionSession, ExpirySets, Latency, Memory, Mode, QuorumConf, QuotaStats,
    Sessions, Stats, WatchTotals,
};
use crate::ops::{Effect, Environment, Metrics, Word, format};
use crate::state::NamespaceQuota;
use crate::state::watch::WatchSummary;
use crate::storage::disk::DiskRef;
use crate::storage::names::dir_size;
use crate::types::{ConnId, SessionId, Sizes};

use super::client::Clients;
use super::load;
use super::node::Event;
use super::words::{Answer, Pages};

/// Longest wait for the node thread to answer an operator.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);

/// Counters of the whole server.
#[derive(Debug)]
pub struct Counters {
    /// Packets received from clients.
    pub received: AtomicU64,
    /// Packets sent to clients.
    pub sent: AtomicU64,
    /// Auth packets that failed.
    pub auth_failed: AtomicU64,
    latency_count: AtomicU64,
    latency_total: AtomicU64,
    latency_max: AtomicU64,
    latency_min: AtomicU64,
    trace_mask: AtomicI64,
    response_last: AtomicI64,
    response_min: AtomicI64,
    response_max: AtomicI64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            auth_failed: AtomicU64::new(0),
            latency_count: AtomicU64::new(0),
            latency_total: AtomicU64::new(0),
            latency_max: AtomicU64::new(0),
            latency_min: AtomicU64::new(u64::MAX),
            // Apache's default mask.
            trace_mask: AtomicI64::new(0b1_0011_0010),
            response_last: AtomicI64::new(-1),
            response_min: AtomicI64::new(i64::MAX),
            response_max: AtomicI64::new(-1),
        }
    }
}

impl Counters {
    /// One turn of a connection took `frames` and answered so many requests at once.
    pub fn turn(&self, frames: u64, answered: u64) {
        if frames > 0 {
            self.received.fetch_add(frames, Ordering::Relaxed);
        }
        if answered > 0 {
            self.sent.fetch_add(answered, Ordering::Relaxed);
            self.latency_count.fetch_add(answered, Ordering::Relaxed);
            self.latency_min.store(0, Ordering::Relaxed);
        }
    }

    /// A turn's replies had these sizes. Most turns change neither bound, and only look.
    pub fn response_sizes(&self, sizes: Sizes) {
        if sizes.last < 0 {
            return;
        }
        if sizes.min < self.response_min.load(Ordering::Relaxed) {
            self.response_min.fetch_min(sizes.min, Ordering::Relaxed);
        }
        if sizes.max > self.response_max.load(Ordering::Relaxed) {
            self.response_max.fetch_max(sizes.max, Ordering::Relaxed);
        }
        self.response_last.store(sizes.last, Ordering::Relaxed);
    }

    /// The sizes of replies since the last reset, as operators are shown them.
    fn shown_response_sizes(&self) -> Sizes {
        let last = self.response_last.load(Ordering::Relaxed);
        if last < 0 {
            return Sizes::default();
        }
        let (min, max) = (&self.response_min, &self.response_max);
        Sizes { last, min: min.load(Ordering::Relaxed), max: max.load(Ordering::Relaxed) }
    }

    /// So many packets were sent that are no answers to requests.
    pub fn sent_besides(&self, count: u64) {
        if count > 0 {
            self.sent.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The node thread answered a request after `latency_ms`.
    pub fn answered(&self, latency_ms: u64) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.latency_count.fetch_add(1, Ordering::Relaxed);
        self.latency_total.fetch_add(latency_ms, Ordering::Relaxed);
        self.latency_max.fetch_max(latency_ms, Ordering::Relaxed);
        self.latency_min.fetch_min(latency_ms, Ordering::Relaxed);
    }

    fn reset(&self) {
        for counter in [
            &self.received,
            &self.sent,
            &self.latency_count,
            &self.latency_total,
            &self.latency_max,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        self.latency_min.store(u64::MAX, Ordering::Relaxed);
        self.response_last.store(-1, Ordering::Relaxed);
        self.response_min.store(i64::MAX, Ordering::Relaxed);
        self.response_max.store(-1, Ordering::Relaxed);
    }
}

/// Answers operators.
#[derive(Debug)]
pub struct Reporter {
    /// Counters of the whole server.
    pub counters: Counters,
    metrics: Arc<Metrics>,
    config: Arc<Config>,
    disk: DiskRef,
    environment: Environment,
    client_port: u16,
    started_ms: u64,
}

impl Reporter {
    /// For a server that listens on `client_port` and began to serve at `started_ms` (monotonic).
    pub fn new(
        config: Arc<Config>,
        disk: DiskRef,
        metrics: Arc<Metrics>,
        client_port: u16,
        started_ms: u64,
    ) -> Reporter {
        let environment = Environment::of_this_process(&config.compat_version.banner());
        Reporter {
            counters: Counters::default(),
            metrics,
            config,
            disk,
            environment,
            client_port,
            started_ms,
        }
    }

    /// The answer to a four-letter word, asked on the connection `asking`.
    pub fn answer(&self, word: Word, argument: &[u8], clients: &Clients, asking: ConnId) -> Answer {
        if !self.allows(word) {
            return Answer::Text(four_letter::not_whitelisted(word));
        }
        if matches!(word, Word::Mntr) || matches!(word.effect(argument), Effect::ResetServer) {
            clients.shared.tallies.flush(&self.metrics);
        }
        let stats = self.stats(word, clients);
        if word.is_long() && stats.serving {
            return Answer::Pages(Pages::new(word, stats, Arc::clone(&clients.shared), asking));
        }
        let text = four_letter::answer(word, argument, &stats, &self.metrics);
        match word.effect(argument) {
            Effect::None => {}
            // Refused, by the text.
            Effect::ResetConnections | Effect::ResetServer if !stats.serving => {}
            Effect::ResetConnections => {
                for line in &clients.shared.lines {
                    let mut line = line.lock();
                    line.stats = super::line::LineStats::reset();
                }
            }
            Effect::ResetServer => {
                self.counters.reset();
                self.metrics.reset();
            }
            Effect::SetTraceMask(mask) => {
                self.counters.trace_mask.store(mask, Ordering::Relaxed);
            }
        }
        Answer::Text(text)
    }

    /// The answer to a four-letter word while the server starts: it has no state to tell of yet.
    pub fn answer_early(&self, word: Word, argument: &[u8]) -> String {
        if !self.allows(word) {
            return four_letter::not_whitelisted(word);
        }
        if let Effect::SetTraceMask(mask) = word.effect(argument) {
            self.counters.trace_mask.store(mask, Ordering::Relaxed);
        }
        let mut stats = Stats {
            environment: self.environment.clone(),
            trace_mask: self.counters.trace_mask.load(Ordering::Relaxed),
            ..Stats::default()
        };
        if word == Word::Envi {
            stats.memory = Memory::of_this_process();
        }
        four_letter::answer(word, argument, &stats, &self.metrics)
    }

    fn allows(&self, word: Word) -> bool {
        match &self.config.four_letter.whitelist {
            Whitelist::All => word != Word::Telnet,
            list => word.is_allowed(list),
        }
    }

    /// The text of the Prometheus endpoint; empty without it.
    pub fn exposition(&self, clients: &Clients) -> String {
        clients.shared.tallies.flush(&self.metrics);
        let mut stats = self.stats(Word::Mntr, clients);
        stats.process = Process::of_this_one(stats.open_files, stats.max_files);
        self.metrics.exposition(&stats).unwrap_or_default()
    }

    fn stats(&self, word: Word, clients: &Clients) -> Stats {
        let needs = word.needs();
        let counters = &self.counters;
        let shared = &clients.shared;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let now_ms = shared.clock.mono().as_millis();
        let outstanding: u64 = shared.lines.iter().map(|line| line.lock().stats.queued).sum();
        let view = shared.view.read().clone();
        let mut stats = Stats {
            serving: view.serving,
            banner: self.config.compat_version.banner(),
            mode: view.mode,
            peer_state: view.peer_state,
            quorum: view.quorum,
            leader: view.leader,
            observer_master_id: view.observer_master,
            synced_observers: view.synced_observers,
            latency: Latency {
                min_ms: match load(&counters.latency_min) {
                    u64::MAX => 0,
                    min => min,
                },
                max_ms: load(&counters.latency_max),
                total_ms: load(&counters.latency_total),
                count: load(&counters.latency_count),
            },
            packets_received: load(&counters.received),
            packets_sent: load(&counters.sent),
            connections_alive: shared.lines.len() as u64,
            outstanding_requests: outstanding,
            auth_failed: load(&counters.auth_failed),
            response_sizes: counters.shown_response_sizes(),
            watch_count: shared.watches.watch_count() as u64,
            uptime_ms: now_ms.saturating_sub(self.started_ms),
            environment: self.environment.clone(),
            trace_mask: counters.trace_mask.load(Ordering::Relaxed),
            conf: self.conf(view.membership.as_deref()),
            local_sessions: shared.rules.load.local_sessions.load(Ordering::Relaxed) as u64,
            ..Stats::default()
        };
        {
            let state = shared.state.read();
            stats.last_zxid = state.last_zxid().0;
            stats.node_count = state.node_count() as u64;
            stats.data_size = state.approximate_data_size();
            stats.ephemerals_count = state.ephemerals_count() as u64;
            stats.global_sessions = state.sessions().len() as u64;
            if needs.quotas {
                let sums = state.quotas_by_namespace().into_iter();
                stats.quotas = sums.map(quota_stats).collect();
            }
            if needs.digests {
                stats.digests = state.digest_log().map(|(zxid, d)| (zxid.0, d)).collect();
            }
            if needs.sessions {
                stats.ephemeral_owners = state.sessions_with_ephemerals().count();
            }
        }
        if stats.mode == Mode::ReadOnly
            && let Some(quorum) = &mut stats.conf.quorum
        {
            quorum.membership = None;
        }
        if word == Word::Envi {
            stats.memory = Memory::of_this_process();
        }
        if needs.sizes {
            let dirs = load::dirs(&self.config);
            stats.data_dir_size = dir_size(&*self.disk, &dirs.snapshots).unwrap_or(0);
            stats.log_dir_size = dir_size(&*self.disk, &dirs.logs).unwrap_or(0);
        }
        if needs.files {
            (stats.open_files, stats.max_files) = (open_files(), max_files());
        }
        if needs.sessions {
            self.sessions(&mut stats, clients);
        }
        if needs.watches {
            let WatchSummary { connections, paths, watches } = shared.watches.summary();
            stats.watch_totals = WatchTotals { connections, paths, watches };
        }
        stats
    }

    /// Sessions and connections by when they expire, in wall-clock time.
    fn sessions(&self, stats: &mut Stats, clients: &Clients) {
        let clock = clients.shared.clock;
        let offset = clock.wall().0 - clock.mono().as_millis() as i64;
        stats.sessions = if matches!(stats.mode, Mode::Follower | Mode::Observer | Mode::ReadOnly) {
            // Only the leader knows when they expire.
            let state = clients.shared.state.read();
            let mut global: Vec<(i64, i64)> =
                state.sessions().iter().map(|(id, ms)| (id.0, ms.into())).collect();
            global.sort_unstable();
            let local = self.config.sessions.local_enabled;
            let local = local.then(|| self.expiring_sessions(clients, offset).1).flatten();
            Sessions::Learned { global, local }
        } else {
            let (global, local) = self.expiring_sessions(clients, offset);
            Sessions::Tracked { global, local }
        };
        let mut buckets = std::collections::BTreeMap::<i64, Vec<String>>::new();
        for line in &clients.shared.lines {
            let session = line.lock().session;
            let timeout_ms = session.map_or(10_000, |(_, timeout)| i64::from(timeout));
            let at = line.last_active().as_millis() as i64 + timeout_ms + offset;
            let rounded = (at / 10_000 + 1) * 10_000;
            let id = session.map_or(0, |(id, _)| id.0);
            let text = format!("ip: {} sessionId: 0x{id:x}", format::address(line.remote));
            buckets.entry(rounded).or_default().push(text);
        }
        stats.connection_expiry = ExpirySets { buckets: buckets.into_iter().collect() };
    }

    /// Sessions by when they expire, global ones and local ones, asked of the node thread.
    fn expiring_sessions(
        &self,
        clients: &Clients,
        offset: i64,
    ) -> (ExpirySets, Option<ExpirySets>) {
        let (answer, answers) = mpsc::channel();
        clients.inbox.send(Event::Look(Box::new(move |global, local| {
            let global: Vec<_> = global.deadlines().collect();
            let local: Option<Vec<_>> = local.map(|sessions| sessions.deadlines().collect());
            // The asker may have given up.
            let _ = answer.send((global, local));
        })));
        let sets = |deadlines: Vec<(SessionId, u64)>| {
            let mut buckets = std::collections::BTreeMap::<i64, Vec<String>>::new();
            for (session, deadline_ms) in deadlines {
                let at = deadline_ms as i64 + offset;
                buckets.entry(at).or_default().push(format!("0x{:x}", session.0));
            }
            ExpirySets { buckets: buckets.into_iter().collect() }
        };
        let (global, local) = answers.recv_timeout(LOOK_PATIENCE).unwrap_or_default();
        (sets(global), local.map(sets))
    }

    fn conf(&self, membership: Option<&str>) -> Conf {
        let config = &self.config;
        let dirs = load::dirs(config);
        let absolute = |path: &std::path::Path| {
            std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
        };
        Conf {
            client_port: self.client_port.into(),
            secure_client_port: -1,
            data_dir: absolute(&dirs.snapshots),
            data_log_dir: absolute(&dirs.logs),
            tick_time: config.timing.tick_time_ms.into(),
            max_client_cnxns: config.listen.max_client_cnxns.into(),
            min_session_timeout: config.timing.min_session_timeout_ms.into(),
            max_session_timeout: config.timing.max_session_timeout_ms.into(),
            backlog: config.listen.backlog.map_or(-1, i64::from),
            // Apache's standalone server has no id, whatever myid says.
            server_id: config.quorum.my_id.filter(|_| config.is_distributed()).unwrap_or(0),
            quorum: self.quorum_conf(membership),
        }
    }

    /// `changed` is the membership's text, where it has changed since the start.
    fn quorum_conf(&self, changed: Option<&str>) -> Option<QuorumConf> {
        let quorum = &self.config.quorum;
        let first = quorum.config.as_ref().filter(|_| self.config.is_distributed())?;
        let changed = changed.and_then(|text| QuorumConfig::parse(text, true).ok());
        let members = changed.as_ref().unwrap_or(first);
        let id = crate::types::ServerId(quorum.my_id?);
        let me = members.members.get(&id).or_else(|| first.members.get(&id))?;
        let ports = |port: fn(&MemberAddress) -> u16| {
            let ports: Vec<String> = me.addresses.iter().map(|a| port(a).to_string()).collect();
            ports.join("|")
        };
        Some(QuorumConf {
            init_limit: quorum.init_limit_ticks.into(),
            sync_limit: quorum.sync_limit_ticks.into(),
            election_port: ports(|a| a.election_port),
            quorum_port: ports(|a| a.quorum_port),
            observer: me.role == Role::Observer,
            membership: Some(members.to_string()),
        })
    }
}

fn quota_stats((namespace, sum): (String, NamespaceQuota)) -> QuotaStats {
    QuotaStats {
        namespace,
        count_limit: sum.count_limit,
        bytes_limit: sum.bytes_limit,
        count_usage: sum.count,
        bytes_usage: sum.bytes,
    }
}

pub(super) fn connection(line: &super::line::Line, asking: ConnId) -> Connection {
    let state = line.lock();
    let stats = &state.stats;
    Connection {
        remote: format::address(line.remote),
        interest_ops: match line.id == asking {
            true => 0,
            false if state.out.is_empty() => 1,
            false => 5,
        },
        queued: stats.queued,
        received: stats.received,
        sent: stats.sent,
        session: state.session.map(|(session, timeout_ms)| ConnectionSession {
            id: session.0,
            // Java's null until the first answer, as after a renewal.
            last_operation: match stats.last_op {
                Some(op) => op.lop(),
                None if stats.last_cxid < 0 => "NA",
                None => "null",
            }
            .to_string(),
            established_ms: line.established.0,
            timeout_ms: timeout_ms.into(),
            last_cxid: stats.last_cxid,
            last_zxid: stats.last_zxid,
            last_response_ms: stats.last_response_ms as i64,
            last_latency_ms: stats.last_latency_ms,
            latency: stats.latency,
        }),
    }
}

fn open_files() -> i64 {
    std::fs::read_dir("/proc/self/fd").map_or(-1, |entries| entries.count() as i64)
}

fn max_files() -> i64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}
