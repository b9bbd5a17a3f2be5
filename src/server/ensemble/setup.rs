//! From the configuration to what the parts of an ensemble member need.

use std::time::Duration;

use crate::config::{Config, QuorumConfig, Role};
use crate::replica::limits::PeerLimits;
use crate::replica::membership::{self, membership};
use crate::server::election_link::{self, PeerAddress};
use crate::server::net::HostPort;
use crate::server::quorum_link;
use crate::types::{Map, ServerId, map};
use crate::zab;

/// Apache reads at most this much beyond `jute.maxbuffer` between servers, or that once more (`zookeeper.jute.maxbuffer.extrasize`, ZOOKEEPER-3496): the largest request
/// still has a header.
const RECORD_EXTRA: usize = 1 << 20;

/// How long a leader's port may stay closed, in `leaderConnectDelayDuringRetryMs`.
const CONNECT_DELAYS: u32 = 10;
/// Attempts to reach it within that time.
const CONNECT_TRIES: u32 = 100;

/// A configuration that does not make a member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// There is no `myid` file.
    #[error("no myid file in the data directory")]
    NoId,
    /// There are no `server.N` lines.
    #[error("no server lines in the configuration")]
    NoMembers,
    /// The id is not among the `server.N` lines.
    #[error("my id {0} is not in the peer list")]
    NotAMember(ServerId),
}

/// What the parts need.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Of the Zab peer.
    pub peer: zab::Options,
    /// Of the election port.
    pub election: election_link::Options,
    /// Of the learner port.
    pub links: quorum_link::Options,
    /// Where each member's learner port is.
    pub learner_ports: Map<ServerId, Vec<HostPort>>,
    /// Where each voter serves observers while it follows; empty without `observerMasterPort`.
    pub master_ports: Map<ServerId, Vec<HostPort>>,
    /// The members as they are at the start.
    pub members: QuorumConfig,
    /// `observerMasterPort`.
    pub master_port: Option<u16>,
    /// How long one attempt to reach a leader may take.
    pub dial_limit: Duration,
}

/// Where a member's election port is.
pub fn election_addresses(member: &crate::config::Member) -> Vec<HostPort> {
    member.addresses.iter().map(|a| HostPort::new(a.host.clone(), a.election_port)).collect()
}

/// The members other than `me`, for the election port.
pub fn election_peers(config: &QuorumConfig, me: ServerId) -> Vec<PeerAddress> {
    let others = config.members.values().filter(|member| member.id != me);
    others.map(|m| PeerAddress { id: m.id, addresses: election_addresses(m) }).collect()
}

/// Where each member's learner port is.
pub fn learner_ports(config: &QuorumConfig) -> Map<ServerId, Vec<HostPort>> {
    let mut ports = map();
    for member in config.members.values() {
        let addresses = member.addresses.iter();
        let addresses = addresses.map(|a| HostPort::new(a.host.clone(), a.quorum_port)).collect();
        ports.insert(member.id, addresses);
    }
    ports
}

/// Where each voter serves observers while it follows: its host with `observerMasterPort`.
pub fn master_ports(config: &QuorumConfig, port: u16) -> Map<ServerId, Vec<HostPort>> {
    let mut ports = map();
    for member in config.voters() {
        let hosts = member.addresses.iter().map(|a| HostPort::new(a.host.clone(), port));
        ports.insert(member.id, hosts.collect());
    }
    ports
}

impl Setup {
    /// The same, with these bounds on what peers can make this member hold.
    #[must_use]
    pub fn with_limits(mut self, limits: &PeerLimits) -> Setup {
        self.peer.guests_max = limits.guests_max;
        self.links.limits = limits.clone();
        self.election.limits = limits.clone();
        self
    }

    /// Reads what concerns an ensemble out of a configuration.
    pub fn new(config: &Config) -> Result<Setup, SetupError> {
        let quorum = &config.quorum;
        let members = quorum.config.as_ref().ok_or(SetupError::NoMembers)?;
        let me = ServerId(quorum.my_id.ok_or(SetupError::NoId)?);
        let own = members.members.get(&me).ok_or(SetupError::NotAMember(me))?;
        let tick = Duration::from_millis(config.timing.tick_time_ms.into());
        let ms = Duration::from_millis;

        let mut members_of_zab = membership(members);
        if quorum.role == Role::Observer {
            members_of_zab.observers.insert(me);
        }
        let mut peer = zab::Options::new(me, members_of_zab);
        peer.tick = tick;
        if quorum.reconfig_enabled {
            peer.reconfig = Some(membership::READER);
            peer.seen = quorum.next_config.as_ref().map(membership);
        }
        peer.init_limit = quorum.init_limit_ticks;
        peer.sync_limit = quorum.sync_limit_ticks;
        peer.notification_min = ms(quorum.notification_min_ms);
        peer.notification_max = ms(quorum.notification_max_ms).min(peer.notification_max);
        peer.notification_max = peer.notification_max.max(peer.notification_min);
        // Five attempts 100 ms apart in Apache; the same time and more, in smaller steps, because a
        // new leader's port is open a few milliseconds after its election.
        let connect_time = ms(quorum.leader_connect_delay_ms) * CONNECT_DELAYS;
        peer.connect_retry = connect_time / CONNECT_TRIES;
        peer.connect_tries = CONNECT_TRIES;
        peer.establish_patience = peer.init_time();
        peer.force_snapshot_sync = quorum.force_snapshot_sync;
        peer.snap_syncs_max = quorum.max_concurrent_snap_syncs;
        peer.diff_syncs_max = quorum.max_concurrent_diff_syncs;
        peer.log_sync = config.storage.snapshot_size_factor >= 0.0;

        let addresses = election_addresses(own);
        let election = election_link::Options {
            me,
            listen: addresses.clone(),
            listen_on_all: quorum.listen_on_all_ips,
            advertised: addresses,
            peers: election_peers(members, me),
            connect_timeout: ms(quorum.election_connect_timeout_ms),
            hello_timeout: ms(quorum.election_hello_timeout_ms),
            bind_attempts: quorum.election_bind_retry,
            keep_alive: quorum.tcp_keep_alive,
            limits: PeerLimits::default(),
        };
        let learner_ports = learner_ports(members);
        let master_ports = match quorum.observer_master_port {
            Some(port) => master_ports(members, port),
            None => map(),
        };
        peer.observer_masters = !master_ports.is_empty();
        let links = quorum_link::Options {
            listen: learner_ports[&me].clone(),
            listen_for_observers: master_ports.get(&me).cloned().unwrap_or_default(),
            observer_behind_max: quorum.observer_master_size_limit_bytes,
            listen_on_all: quorum.listen_on_all_ips,
            first_packet: peer.init_time(),
            listen_patience: connect_time,
            record_max: config.jute_max_buffer() + RECORD_EXTRA.max(config.jute_max_buffer()),
            keep_alive: quorum.tcp_keep_alive,
            limits: PeerLimits::default(),
        };
        let connect_ticks = match quorum.connect_limit_ticks {
            0 => quorum.init_limit_ticks,
            ticks => ticks,
        };
        let dial_limit = tick * connect_ticks.max(1);
        let (members, master_port) = (members.clone(), quorum.observer_master_port);
        Ok(Setup {
            peer,
            election,
            links,
            learner_ports,
            master_ports,
            members,
            master_port,
            dial_limit,
        })
    }
}
