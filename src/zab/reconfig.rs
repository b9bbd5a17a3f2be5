//! What every role does when the membership changes (Apache `QuorumPeer.processReconfig`,
//! `setLastSeenQuorumVerifier`, `setQuorumVerifier`).
//!
//! A config is *seen* with the proposal that holds it, or with NEWLEADER; from then on both its quorum
//! and the one in force are asked, for elections too. It is *active* when that proposal is committed.
//! Whoever acknowledges the proposal has it on disk, so every later leader, which a quorum of the old
//! rule elects, knows of it, and needs the new quorum as well. Both steps are saved before anything
//! that rests on them is said, because the disk does in order what it is asked.
//!
//! Apache's learner puts into force at UPTODATE whatever NEWLEADER carried, which may be a proposal
//! that is not committed; here such a config is only seen.

use bytes::Bytes;

use super::action::*;
use super::core::Core;
use super::election::Vote;
use super::membership::Membership;
use crate::proto::election::Notification;
use crate::types::{Epoch, Instant, ServerId, Zxid};

impl Core {
    /// The text of the newest config this server knows of.
    pub fn last_seen(&self) -> Bytes {
        self.seen.as_ref().unwrap_or(&self.options.membership).text.clone()
    }

    /// A config's text, where the membership may change.
    pub fn read_config(&self, text: &Bytes) -> Option<Membership> {
        self.options.reconfig.and_then(|reader| (reader.read)(text))
    }

    /// The config in a transaction, where the membership may change.
    pub fn config_in(&self, txn: &EncodedTxn) -> Option<Membership> {
        let reader = self.options.reconfig.filter(|_| txn.reconfig)?;
        (reader.text_of)(&txn.bytes).and_then(|text| (reader.read)(&text))
    }

    /// A proposal is about to be logged; whether it changes the membership.
    pub fn note_proposal(&mut self, now: Instant, txn: &EncodedTxn) -> bool {
        let Some(new) = self.config_in(txn) else { return false };
        self.see(now, new);
        true
    }

    /// From now on this config's quorum is asked as well.
    pub fn see(&mut self, now: Instant, new: Membership) {
        let newest = self.seen.as_ref().unwrap_or(&self.options.membership).version;
        if new.version <= newest {
            return;
        }
        // The one before is in force where this one was proposed: nobody changes what is not.
        if let Some(before) = self.seen.clone()
            && self.history.find(Zxid(before.version)).is_some()
        {
            self.activate(now, before);
        }
        self.save_config(now, new.text.clone(), false);
        self.act(Action::ConfigSeen(new.text.clone()));
        self.options.membership.quorum.next = Some(new.quorum.current.clone());
        self.seen = Some(new);
    }

    /// The config that was seen is not in the history of the leader: it was given up.
    pub fn unsee(&mut self, now: Instant) {
        if self.seen.take().is_some() {
            self.options.membership.quorum.next = None;
            let text = self.options.membership.text.clone();
            self.save_config(now, text, true);
        }
    }

    /// Puts a config into force, unless it is not newer. The one before, if so.
    pub fn activate(&mut self, now: Instant, new: Membership) -> Option<Membership> {
        if new.version <= self.options.membership.version {
            return None;
        }
        let (text, version) = (new.text.clone(), new.version);
        self.seen = self.seen.take().filter(|seen| seen.version > version);
        let old = std::mem::replace(&mut self.options.membership, new);
        self.options.membership.quorum.next = self.seen.as_ref().map(|s| s.quorum.current.clone());
        self.save_config(now, text.clone(), true);
        self.act(Action::ConfigActive { text, version });
        Some(old)
    }

    /// Whoever searches for a leader takes over a newer config that a member, by the one here or by
    /// that one, has in force; its version then.
    pub fn adopt(&mut self, now: Instant, from: ServerId, said: &Notification) -> Option<i64> {
        let new = self.read_config(said.config.as_ref()?)?;
        let version = new.version;
        let speaks = |m: &Membership| m.is_member(from);
        if self.is_absurd(Zxid(version).epoch())
            || !(speaks(&self.options.membership) || speaks(&new))
        {
            return None;
        }
        self.activate(now, new).map(|_| version)
    }

    /// The change under way, if a log that ends at `last` has it.
    pub fn logged_change(&self, last: Zxid) -> Option<&Membership> {
        self.seen.as_ref().filter(|seen| Zxid(seen.version) <= last)
    }

    /// The change that is in the log of a voter under the membership in force here, as one of those
    /// voters says.
    pub fn change_of(&self, from: ServerId, said: &Notification) -> Option<Membership> {
        let members = &self.options.membership;
        let pending = said.pending.as_ref().filter(|_| members.quorum.current.is_voter(from))?;
        let theirs = self.read_config(said.config.as_ref()?)?;
        let change = self.read_config(pending)?;
        (theirs.version == members.version && change.version > members.version).then_some(change)
    }

    /// A config that came from a static file has no version. The first leader gives it its epoch's
    /// zxid, so that it counts for more than what other files may say (ZOOKEEPER-1783).
    pub fn number_first_config(&mut self, now: Instant, epoch: Epoch) {
        let current = &self.options.membership;
        if self.options.reconfig.is_some() && current.version == 0 && self.seen.is_none() {
            let numbered = current.with_version(epoch.0 << 32);
            self.see(now, numbered);
        }
    }

    /// Leaves the role for the one that the changed membership gives this server under `leader`,
    /// without an election.
    pub fn leave_for(&mut self, leader: ServerId) {
        let (zxid, peer_epoch) = (self.history.last(), self.current_epoch());
        self.suggested = Some(Vote { leader, zxid, peer_epoch });
        self.leave(Why::Reconfigured);
    }
}
