//! Who owns what: ephemerals by session, containers, TTL nodes. All of it follows from the owner
//! fields of the nodes.

use std::collections::BTreeSet;

use crate::types::{Map, OwnerKind, OwnerRules, map};

/// Numbers of nodes by kind, in an order that does not depend on a seed.
#[derive(Debug)]
pub(super) struct Owners {
    rules: OwnerRules,
    ephemerals: Map<i64, BTreeSet<u32>>,
    /// Of all sessions.
    pub ephemerals_count: usize,
    pub containers: BTreeSet<u32>,
    pub ttls: BTreeSet<u32>,
}

impl Owners {
    /// No owners.
    pub fn new(rules: OwnerRules) -> Owners {
        Owners {
            rules,
            ephemerals: map(),
            ephemerals_count: 0,
            containers: BTreeSet::new(),
            ttls: BTreeSet::new(),
        }
    }

    /// Notes a node with this owner field.
    pub fn add(&mut self, id: u32, owner: i64) {
        match self.rules.kind(owner) {
            OwnerKind::Persistent => {}
            OwnerKind::Container => drop(self.containers.insert(id)),
            OwnerKind::Ttl(_) => drop(self.ttls.insert(id)),
            OwnerKind::Ephemeral(session) => {
                if self.ephemerals.entry(session.0).or_default().insert(id) {
                    self.ephemerals_count += 1;
                }
            }
        }
    }

    /// Forgets a node with this owner field.
    pub fn remove(&mut self, id: u32, owner: i64) {
        match self.rules.kind(owner) {
            OwnerKind::Persistent => {}
            OwnerKind::Container => drop(self.containers.remove(&id)),
            OwnerKind::Ttl(_) => drop(self.ttls.remove(&id)),
            OwnerKind::Ephemeral(session) => {
                let Some(set) = self.ephemerals.get_mut(&session.0) else { return };
                if set.remove(&id) {
                    self.ephemerals_count -= 1;
                }
                if set.is_empty() {
                    self.ephemerals.remove(&session.0);
                }
            }
        }
    }

    /// A session's ephemerals.
    pub fn of(&self, session: i64) -> impl Iterator<Item = u32> + '_ {
        self.ephemerals.get(&session).into_iter().flatten().copied()
    }

    /// Whether a session owns anything.
    pub fn any(&self, session: i64) -> bool {
        self.ephemerals.contains_key(&session)
    }

    /// Sessions that own something, and how much.
    pub fn sessions(&self) -> impl Iterator<Item = (i64, usize)> + '_ {
        self.ephemerals.iter().map(|(&session, set)| (session, set.len()))
    }
}
