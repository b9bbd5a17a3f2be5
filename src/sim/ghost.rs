//! What nobody in the ensemble knows: the one committed history, who proposed what, who led when.
//! Invariants compare what the servers do with it.

use std::collections::BTreeMap;

use super::disk::{Disk, Entry};
use super::swarm::Params;
use crate::proto::election::Notification;
use crate::proto::quorum::QuorumPacket;
use crate::types::{Epoch, Zxid};
use crate::zab::{DiskOp, Membership};

/// The world's own knowledge.
#[derive(Clone, Debug, Default)]
pub struct Ghost {
    /// Everything that was ever committed, in order.
    pub committed: Vec<Entry>,
    /// Who proposed a zxid, and a digest of its bytes.
    pub proposed: BTreeMap<Zxid, (usize, u64)>,
    /// Where each server's state ends.
    pub states: Vec<Entry>,
    /// The epoch each server leads as an established leader.
    pub leads: Vec<Option<Epoch>>,
    /// The epoch each server leads, or would like to.
    pub claims: Vec<Option<Epoch>>,
    /// The epoch each server has acknowledged NEWLEADER in, in this life.
    pub joined: Vec<Option<Epoch>>,
}

impl Ghost {
    /// Of so many servers, none of which has anything.
    pub fn of(n: usize) -> Ghost {
        Ghost {
            states: vec![Entry::default(); n],
            leads: vec![None; n],
            claims: vec![None; n],
            joined: vec![None; n],
            ..Ghost::default()
        }
    }

    /// The newest committed transaction.
    pub fn end(&self) -> Entry {
        self.committed.last().copied().unwrap_or_default()
    }

    /// The committed transaction with this zxid.
    pub fn find(&self, zxid: Zxid) -> Option<Entry> {
        self.committed.binary_search_by_key(&zxid, |e| e.zxid).ok().map(|at| self.committed[at])
    }
}

/// Something that happened, as the invariants see it. Servers are numbered from 0.
#[derive(Clone, Debug)]
pub enum Seen<'a> {
    /// A leader proposed this, with a digest of its bytes.
    Proposed {
        /// Its place.
        zxid: Zxid,
        /// Of its bytes.
        digest: u64,
    },
    /// A leader became established.
    Established {
        /// In this epoch.
        epoch: Epoch,
    },
    /// A learner began to serve.
    Serving {
        /// In this epoch.
        epoch: Epoch,
    },
    /// A transaction was applied to a state.
    Delivered {
        /// Where the state ended before.
        before: Entry,
        /// Where it ends now.
        after: Entry,
        /// Whether it was said to be committed.
        committed: bool,
    },
    /// The committed history has grown by this.
    Committed {
        /// The new end.
        entry: Entry,
        /// The epoch of the leader that said so.
        epoch: Epoch,
    },
    /// A packet was sent.
    Sent {
        /// Which.
        packet: &'a QuorumPacket,
        /// The epoch that the sender is in.
        epoch: Epoch,
        /// Whether the sender follows or observes.
        learner: bool,
    },
    /// A vote was sent.
    Voted(&'a Notification),
    /// A transaction is in the log on disk.
    Appended {
        /// Where the log ended before.
        last: Zxid,
        /// What was appended.
        entry: Entry,
    },
    /// These are not on disk any more.
    Removed(&'a [Entry]),
    /// A request reached the disk's queue.
    Asked(&'a DiskOp),
    /// Something on disk became durable, or the server restarted.
    DiskChanged,
    /// The server was started.
    Booted,
    /// A sync was answered that had been asked for when the committed history ended here.
    Synced {
        /// The end of it then.
        asked_at: Entry,
    },
}

/// What an invariant may look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The run.
    pub params: &'a Params,
    /// Everyone.
    pub membership: &'a Membership,
    /// What the world knows.
    pub ghost: &'a Ghost,
    /// What is durable where.
    pub disks: &'a [Disk],
}

impl Facts<'_> {
    /// Whether a server has a vote.
    pub fn is_voter(&self, host: usize) -> bool {
        (host as u64) < self.params.voters
    }
}
