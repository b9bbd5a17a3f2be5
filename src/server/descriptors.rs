//! Descriptors (open files, sockets): what this server needs for itself, what it has for peers that
//! are no members, and how many connections of clients that leaves.
//!
//! A log that can't be rolled, a snapshot or an epoch that can't be saved end the process, so clients
//! must never be able to take the descriptors for these. (In Apache they can.) The counts are upper
//! bounds, generous where the system or a library opens files of its own.

use rustix::process::{Resource, getrlimit, setrlimit};

use super::StartError;
use crate::config::Config;
use crate::replica::limits::PeerLimits;

/// Logs (the one in use, the next, one being read for a learner), snapshots (written, loaded),
/// epochs, configurations, the directories that are synced, listed and purged, the ready file.
const FILES: u64 = 24;
/// A reactor: epoll, its clone, an eventfd, the receiver of signals.
const REACTOR: u64 = 4;
/// A thread for clients: its reactor, and the directories that `mntr` lists.
const LANE: u64 = REACTOR + 2;
/// The metrics port: its connections, and the directories that each answer lists.
const METRICS: u64 = 1 + 16 * 3;
/// A member: at the election port its connection, the one that takes its place, a dial and what the
/// resolver opens; at the learner port the same.
const MEMBER: u64 = 12;
/// Dials to strangers at the election port.
const STRANGERS_DIALLED: u64 = 64;
/// Fewer connections of clients are of no use to anybody.
const CLIENTS_MIN: u64 = 8;
/// Fewer peers that are no members don't do: a member that says hello is one of them at first.
const PEERS_MIN: u64 = 32;
/// With fewer connections than this the start of the server says how to get more.
const CLIENTS_FEW: u64 = 1000;

/// What the number of descriptors depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Open at the start: what the process was given, and its first reactor.
    pub open: u64,
    /// Threads for clients.
    pub lanes: u64,
    /// Members of the ensemble, 0 for a server alone.
    pub members: u64,
    /// Addresses at which a member listens, over all ports.
    pub addresses: u64,
    /// Whether there is a metrics port.
    pub metrics: bool,
}

/// Who may have how many descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The limit of the process.
    pub limit: u64,
    /// Kept for files, ports, reactors and members.
    pub own: u64,
    /// Kept for peers that are no members, or have not said who they are.
    pub peers: u64,
    /// Connections of clients.
    pub clients: u64,
}

impl Needs {
    fn of(config: &Config) -> Needs {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let lanes = config.listen.worker_threads.filter(|n| *n > 0).unwrap_or_else(cores) as u64;
        let open = std::fs::read_dir("/proc/self/fd").map_or(16, |entries| entries.count() as u64);
        let metrics = config.metrics.prometheus.is_some();
        let quorum = config.quorum.config.as_ref().filter(|_| config.is_distributed());
        let members = quorum.map_or(0, |quorum| quorum.members.len() as u64);
        let me = quorum.and_then(|quorum| {
            quorum.members.get(&crate::types::ServerId(config.quorum.my_id.unwrap_or_default()))
        });
        // The learner port, the election port, the one for observers; twice while they move.
        let addresses = me.map_or(0, |me| me.addresses.len() as u64 * 6);
        Needs { open, lanes, members, addresses, metrics }
    }

    /// What the server needs for itself.
    fn own(&self) -> u64 {
        let alone = self.open + FILES + self.lanes * LANE + 2;
        let metrics = if self.metrics { METRICS } else { 0 };
        let between = match self.members {
            0 => 0,
            members => REACTOR + self.addresses + members * MEMBER + STRANGERS_DIALLED,
        };
        alone + metrics + between
    }

    /// Shares out `limit` descriptors.
    ///
    /// # Errors
    /// How many would be needed at least.
    pub fn share(&self, limit: u64) -> Result<Plan, u64> {
        let own = self.own();
        let peers_min = if self.members > 0 { PEERS_MIN } else { 0 };
        let needed = own + peers_min + CLIENTS_MIN;
        if limit < needed {
            return Err(needed);
        }
        let rest = limit - own;
        // A quarter, until they have what they may have anyhow.
        let peers = (rest / 4).clamp(PEERS_MIN, of(&PeerLimits::default())).min(rest - CLIENTS_MIN);
        let peers = if self.members > 0 { peers } else { 0 };
        Ok(Plan { limit, own, peers, clients: rest - peers })
    }
}

/// Descriptors that peers without membership can have under these limits.
fn of(limits: &PeerLimits) -> u64 {
    let PeerLimits { waiting_links_max, guests_max, greetings_max, strangers_max, .. } = limits;
    (waiting_links_max + guests_max + greetings_max + strangers_max) as u64
}

impl Plan {
    /// Raises the limit of the process as far as it may, shares it out, and says so.
    ///
    /// # Errors
    /// [`StartError::Descriptors`] when there are too few to serve with.
    pub fn make(config: &Config) -> Result<Plan, StartError> {
        let before = getrlimit(Resource::Nofile).current;
        let limit = raise();
        let plan = Needs::of(config)
            .share(limit)
            .map_err(|needed| StartError::Descriptors { limit, needed })?;
        let Plan { limit, own, peers, clients } = plan;
        let raised = match before {
            Some(before) if before < limit => format!(" (raised from {before})"),
            _ => String::new(),
        };
        tracing::info!(
            "open files: the limit is {limit}{raised}; {own} are kept for this server and {peers} \
             for peers, so {clients} clients may be connected at a time"
        );
        let wanted = u64::from(config.listen.max_cnxns);
        if clients < CLIENTS_FEW || clients < wanted {
            tracing::warn!(
                "no more than {clients} clients may be connected at a time because of the limit of \
                 open files (maxCnxns is {wanted}); hint: raise it with `ulimit -Hn` or \
                 LimitNOFILE="
            );
        }
        Ok(plan)
    }

    /// The bounds on peers, no higher than this leaves descriptors for.
    pub fn peer_limits(&self) -> PeerLimits {
        let most = PeerLimits::default();
        let all = of(&most);
        let part = |max: usize| {
            let part = max as u64 * self.peers / all;
            usize::try_from(part).unwrap_or(max).clamp(1, max)
        };
        PeerLimits {
            waiting_links_max: part(most.waiting_links_max),
            guests_max: part(most.guests_max),
            greetings_max: part(most.greetings_max),
            strangers_max: part(most.strangers_max),
            ..most
        }
    }
}

/// Raises the soft limit to the hard one; the limit that is in force then.
fn raise() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
        // Refused where the hard limit is above what the system has; then the soft one stays.
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = getrlimit(Resource::Nofile);
        }
    }
    limit.current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Needs = Needs { open: 10, lanes: 2, members: 0, addresses: 0, metrics: false };
    const MEMBER_OF_5: Needs =
        Needs { open: 10, lanes: 8, members: 5, addresses: 6, metrics: true };

    #[test]
    fn clients_get_what_is_left_and_never_the_reserve() {
        for needs in [ALONE, MEMBER_OF_5] {
            for limit in 0..5000 {
                let Ok(plan) = needs.share(limit) else {
                    assert!(limit < needs.own() + PEERS_MIN + CLIENTS_MIN, "{limit}");
                    continue;
                };
                assert_eq!(plan.own + plan.peers + plan.clients, limit);
                assert!(plan.clients >= CLIENTS_MIN && plan.own == needs.own());
                let limits = plan.peer_limits();
                assert!(of(&limits) <= plan.peers || needs.members == 0, "{limit}: {limits:?}");
            }
            let most = needs.share(1 << 20).expect("plenty");
            assert_eq!(most.peers, if needs.members > 0 { 576 } else { 0 });
            assert!(needs.members == 0 || most.peer_limits() == PeerLimits::default());
        }
    }

    #[test]
    fn too_few_descriptors_are_refused_with_what_is_needed() {
        assert_eq!(ALONE.share(20), Err(10 + 24 + 12 + 2 + 8));
        assert_eq!(ALONE.share(56).map(|plan| plan.clients), Ok(8));
        assert_eq!(ALONE.share(1024).map(|plan| plan.clients), Ok(976));
    }
}
