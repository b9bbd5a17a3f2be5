//! The versioned membership: who votes, who observes. Addresses are the shell's matter: here they are
//! only compared. The text that travels in notifications and NEWLEADER, and in transactions that
//! change the membership, is read by a [`ConfigReader`].

use std::collections::{BTreeMap, BTreeSet};

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
    /// Where each member takes learners, as written: a leader whose place changes steps down.
    pub places: BTreeMap<ServerId, String>,
    /// The config's text (Apache `QuorumVerifier.toString`), sent in notifications and NEWLEADER.
    pub text: Bytes,
}

/// How to read what members say of the membership; a peer without one never changes its own
/// (`reconfigEnabled`).
#[derive(Clone, Copy, Debug)]
pub struct ConfigReader {
    /// A config's text.
    pub read: fn(&Bytes) -> Option<Membership>,
    /// The text in a transaction that changes the membership ([`EncodedTxn::reconfig`]).
    ///
    /// [`EncodedTxn::reconfig`]: super::EncodedTxn::reconfig
    pub text_of: fn(&Bytes) -> Option<Bytes>,
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
            places: BTreeMap::new(),
            text: Bytes::new(),
        }
    }

    /// Whether this server has a vote.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.quorum.is_voter(server)
    }

    /// Whether this server only observes. One that isn't in the config does not: it follows, and its
    /// word is not counted (Apache's non-voting participant).
    pub fn is_observer(&self, server: ServerId) -> bool {
        !self.is_voter(server) && self.observers.contains(&server)
    }

    /// The same members under another version, which is the text's last line.
    pub fn with_version(&self, version: i64) -> Membership {
        let text = String::from_utf8_lossy(&self.text);
        let text = match text.rfind("version=") {
            Some(at) => format!("{}version={version:x}", &text[..at]),
            None => text.into_owned(),
        };
        Membership { version, text: Bytes::from(text), ..self.clone() }
    }

    /// Whether `leader` may go on leading under `new`: it votes there, in the same place if it had one.
    pub fn keeps_leader(&self, new: &Membership, leader: ServerId) -> bool {
        let stays = || self.places.get(&leader) == new.places.get(&leader);
        new.quorum.current.is_voter(leader) && (!self.quorum.current.is_voter(leader) || stays())
    }

    /// Whether this server belongs to the ensemble at all.
    pub fn is_member(&self, server: ServerId) -> bool {
        self.is_voter(server) || self.observers.contains(&server)
    }
}
