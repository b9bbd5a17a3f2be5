//! Which sets of voters are enough (Apache `quorum.flexible`): a majority, or weighted groups; and
//! while the membership changes, both the old and the new rule.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::ServerId;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// More than half of the voters.
    Majority(BTreeSet<ServerId>),
    /// More than half of the groups that weigh anything, each by more than half of its weight
    /// (`group.N`, `weight.N`).
    Groups(Vec<BTreeMap<ServerId, u64>>),
}

impl Rule {
    /// The majority of these voters.
    pub fn majority(voters: impl IntoIterator<Item = ServerId>) -> Rule {
        Rule::Majority(voters.into_iter().collect())
    }

    /// Whether the members for which `has` is true are enough.
    pub fn is_met(&self, has: impl Fn(ServerId) -> bool) -> bool {
        match self {
            Rule::Majority(voters) => voters.iter().filter(|v| has(**v)).count() > voters.len() / 2,
            Rule::Groups(groups) => {
                let weighs = |g: &&BTreeMap<ServerId, u64>| g.values().any(|w| *w > 0);
                let counted = groups.iter().filter(weighs).count();
                let won = groups.iter().filter(weighs).filter(|g| {
                    let sum: u64 = g.iter().filter(|(v, _)| has(**v)).map(|(_, w)| w).sum();
                    sum > g.values().sum::<u64>() / 2
                });
                won.count() > counted / 2
            }
        }
    }

    /// Whether this member has a vote.
    pub fn is_voter(&self, server: ServerId) -> bool {
        match self {
            Rule::Majority(voters) => voters.contains(&server),
            Rule::Groups(groups) => groups.iter().any(|g| g.contains_key(&server)),
        }
    }

    /// The weight of a voter; one of weight 0 votes, but is never elected.
    pub fn weight(&self, server: ServerId) -> u64 {
        match self {
            Rule::Majority(voters) => voters.contains(&server).into(),
            Rule::Groups(groups) => {
                groups.iter().find_map(|g| g.get(&server)).copied().unwrap_or(0)
            }
        }
    }

    /// The voters, in order.
    pub fn voters(&self) -> BTreeSet<ServerId> {
        match self {
            Rule::Majority(voters) => voters.clone(),
            Rule::Groups(groups) => groups.iter().flat_map(|g| g.keys().copied()).collect(),
        }
    }
}

/// The rule in force, and during a reconfiguration the one to come, which must be met as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// In force.
    pub current: Rule,
    /// To come.
    pub next: Option<Rule>,
}

impl Quorum {
    /// A single rule.
    pub fn of(current: Rule) -> Quorum {
        Quorum { current, next: None }
    }

    /// Whether the members for which `has` is true are enough by every rule.
    pub fn is_met(&self, has: impl Fn(ServerId) -> bool) -> bool {
        self.current.is_met(&has) && self.next.as_ref().is_none_or(|n| n.is_met(&has))
    }

    /// Whether this set is enough by every rule.
    pub fn is_met_by(&self, set: &BTreeSet<ServerId>) -> bool {
        self.is_met(|s| set.contains(&s))
    }

    /// Whether this member has a vote by any rule.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.current.is_voter(server) || self.next.as_ref().is_some_and(|n| n.is_voter(server))
    }

    /// Everyone with a vote by any rule, in order.
    pub fn voters(&self) -> BTreeSet<ServerId> {
        let mut voters = self.current.voters();
        voters.extend(self.next.iter().flat_map(Rule::voters));
        voters
    }
}

#[cfg(test)]
mod tests;
