//! Who owns what: ephemerals by session, containers, TTL nodes. All of it follows from the owner
//! fields of the nodes.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{Map, OwnerKind, OwnerRules, map};

/// A session's ephemerals. Apache keeps them in a hash set, whose order clients see when the session
/// ends; what that order follows from is kept here: when each was added, and how large the set has
/// been. Like Apache's, an emptied one stays until its session ends (`dump` shows it).
#[derive(Debug, Default)]
struct Own {
    /// Nodes with their places in the order of adding.
    added: BTreeMap<u32, u32>,
    next: u32,
    /// The largest number there ever was.
    most: usize,
}

/// Numbers of nodes by kind, in an order that does not depend on a seed.
#[derive(Debug)]
pub(super) struct Owners {
    rules: OwnerRules,
    ephemerals: Map<i64, Own>,
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
                let own = self.ephemerals.entry(session.0).or_default();
                own.next += 1;
                if own.added.insert(id, own.next).is_none() {
                    self.ephemerals_count += 1;
                }
                own.most = own.most.max(own.added.len());
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
                let Some(own) = self.ephemerals.get_mut(&session.0) else { return };
                if own.added.remove(&id).is_some() {
                    self.ephemerals_count -= 1;
                }
            }
        }
    }

    /// The session is over; its nodes are gone.
    pub fn end(&mut self, session: i64) {
        self.ephemerals.remove(&session);
    }

    /// A session's ephemerals in the order of their adding, and the most it ever had at a time.
    pub fn of(&self, session: i64) -> (Vec<u32>, usize) {
        let (placed, most) = self.placed(session);
        let mut all: Vec<(u32, u32)> = placed.map(|(id, at)| (at, id)).collect();
        all.sort_unstable();
        (all.into_iter().map(|(_, id)| id).collect(), most)
    }

    /// The same in the order of their numbers, each with its place.
    pub fn placed(&self, session: i64) -> (impl Iterator<Item = (u32, u32)> + '_, usize) {
        self.placed_from(session, 0)
    }

    /// The same from the number `from` on.
    pub fn placed_from(
        &self,
        session: i64,
        from: u32,
    ) -> (impl Iterator<Item = (u32, u32)> + '_, usize) {
        let own = self.ephemerals.get(&session);
        let added = own.into_iter().flat_map(move |own| own.added.range(from..));
        (added.map(|(&id, &at)| (id, at)), own.map_or(0, |own| own.most))
    }

    /// Sessions that own or owned something, and how much.
    pub fn sessions(&self) -> impl Iterator<Item = (i64, usize)> + '_ {
        self.ephemerals.iter().map(|(&session, own)| (session, own.added.len()))
    }
}
