//! The versioned membership: who votes, who observes. Addresses are the shell's matter; the text
//! that travels in notifications and NEWLEADER is opaque here.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::quorum::{Quorum, Rule};
use crate::types::ServerId;

/// Who belongs to the ensemble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The config's version: the zxid of the reconfig that made it, 0 at first.
    pub version: i64,
    /// Who must agree.
    pub quorum: Quorum,
    /// Members without a vote.
    pub observers: BTreeSet<ServerId>,
    /// The config's text (Apache `QuorumVerifier.toString`), sent in notifications and NEWLEADER.
    pub text: Bytes,
}

impl Membership {
    /// A majority of `voters`, some observers, and an empty text.
    pub fn majority(
        voters: impl IntoIterator<Item = ServerId>,
        observers: impl IntoIterator<Item = ServerId>,
    ) -> Membership {
        Membership {
            version: 0,
            quorum: Quorum::of(Rule::majority(voters)),
            observers: observers.into_iter().collect(),
            text: Bytes::new(),
        }
    }

    /// Whether this server has a vote.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.quorum.is_voter(server)
    }

    /// Whether this server belongs to the ensemble at all.
    pub fn is_member(&self, server: ServerId) -> bool {
        self.is_voter(server) || self.observers.contains(&server)
    }
}
