//! Where the members of a membership that changes are reached.

use super::setup;
use super::setup::Setup;
use crate::config::QuorumConfig;
use crate::server::election_link::PeerAddress;
use crate::server::net::HostPort;
use crate::types::{Map, ServerId, map};

/// The members in force, and beside them those of a proposal: they must hear of it.
#[derive(Clone, Debug)]
pub struct Members {
    me: ServerId,
    /// The membership may change.
    enabled: bool,
    active: QuorumConfig,
    seen: Option<QuorumConfig>,
    /// `observerMasterPort`.
    master_port: Option<u16>,
}

impl Members {
    /// As they are at the start.
    pub fn new(setup: &Setup) -> Members {
        let seen = setup.peer.seen.as_ref().and_then(|seen| parse(&seen.text));
        Members {
            me: setup.peer.id,
            enabled: setup.peer.reconfig.is_some(),
            active: setup.members.clone(),
            seen,
            master_port: setup.master_port,
        }
    }

    /// A proposal; whether anything changes.
    pub fn see(&mut self, text: &[u8]) -> bool {
        let seen = parse(text).filter(|_| self.enabled);
        let news = seen.is_some();
        self.seen = seen.or(self.seen.take());
        news
    }

    /// A membership is in force; whether anything changes.
    pub fn activate(&mut self, text: &[u8]) -> bool {
        let Some(active) = parse(text).filter(|_| self.enabled) else { return false };
        self.seen = self.seen.take().filter(|seen| seen.version > active.version);
        self.active = active;
        true
    }

    /// The other members, for the election port.
    pub fn election_peers(&self) -> Vec<PeerAddress> {
        let mut peers = setup::election_peers(&self.active, self.me);
        for more in self.seen.iter().flat_map(|seen| setup::election_peers(seen, self.me)) {
            match peers.iter_mut().find(|peer| peer.id == more.id) {
                Some(peer) => add(&mut peer.addresses, more.addresses),
                None => peers.push(more),
            }
        }
        peers
    }

    /// Where each member's learner port is.
    pub fn learner_ports(&self) -> Map<ServerId, Vec<HostPort>> {
        let mut ports = setup::learner_ports(&self.active);
        for (id, more) in self.seen.iter().flat_map(setup::learner_ports) {
            add(ports.entry(id).or_default(), more);
        }
        ports
    }

    /// Where each voter serves observers.
    pub fn master_ports(&self) -> Map<ServerId, Vec<HostPort>> {
        self.master_port.map_or_else(map, |port| setup::master_ports(&self.active, port))
    }

    /// Where this member's election port is to be.
    pub fn own_election(&self) -> Option<Vec<HostPort>> {
        self.active.members.get(&self.me).map(setup::election_addresses)
    }

    /// Where this member's learner port is to be, and the one for observers.
    pub fn own_ports(&self) -> Option<(Vec<HostPort>, Vec<HostPort>)> {
        let learners = setup::learner_ports(&self.active).remove(&self.me)?;
        Some((learners, self.master_ports().remove(&self.me).unwrap_or_default()))
    }
}

fn parse(text: &[u8]) -> Option<QuorumConfig> {
    QuorumConfig::parse(std::str::from_utf8(text).ok()?, true).ok()
}

fn add(addresses: &mut Vec<HostPort>, more: Vec<HostPort>) {
    for address in more {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
}
