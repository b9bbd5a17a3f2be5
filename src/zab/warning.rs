//! What an operator should know of a member: said once for each cause, by
//! [`Action::Warn`](super::Action::Warn).

use crate::types::{Epoch, ServerId, Zxid};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A leader that serves: a learner has accepted a later epoch, and letting it in could cost what
    /// the quorum has, or is not known to cost nothing.
    #[error(
        "server {server} stays out: it has accepted epoch {accepted}{}, and a quorum follows this \
         leader in epoch {epoch}. If what that server holds is not needed, stop it, move its \
         version-2 directories (dataDir, dataLogDir) away and start it without an initialize file: \
         it takes a snapshot. If it is what the ensemble should hold, stop the others and do so with \
         theirs",
        known(*claim)
    )]
    StaysOut {
        /// Who.
        server: ServerId,
        /// What it has accepted.
        accepted: Epoch,
        /// The leader's epoch.
        epoch: Epoch,
        /// Its current epoch and the end of its log, from a rookeeper.
        claim: Option<(Epoch, Zxid)>,
    },
    /// The other side of it.
    #[error(
        "this server stays out: leader {leader} leads epoch {epoch}, and this server has accepted \
         epoch {accepted} (its current epoch is {current}, its log ends at {last}). If what this \
         server holds is not needed, stop it, move its version-2 directories (dataDir, dataLogDir) \
         away and start it without an initialize file: it takes a snapshot. If it is what the \
         ensemble should hold, stop the others and do so with theirs"
    )]
    LeftOut {
        /// Who leads.
        leader: ServerId,
        /// The leader's epoch.
        epoch: Epoch,
        /// What this server has accepted.
        accepted: Epoch,
        /// Its current epoch.
        current: Epoch,
        /// The end of its log.
        last: Zxid,
    },
    /// A voter, or a leader, says an epoch that no honest history leads to.
    #[error(
        "server {server} says epoch {said}, which is absurd after {accepted}, the accepted epoch of \
         this server: it is not heard. See acceptedEpoch and currentEpoch in its data directory; if \
         its log is sound, stop it and write the epoch of its last zxid into both"
    )]
    AbsurdEpoch {
        /// Who.
        server: ServerId,
        /// What it says.
        said: Epoch,
        /// What this server has accepted.
        accepted: Epoch,
    },
    /// A voter's vote has a round that no honest member comes to.
    #[error("server {server} votes in round {round}, which is absurd: it is not heard")]
    AbsurdRound {
        /// Who.
        server: ServerId,
        /// Which.
        round: i64,
    },
    /// A learner's history is not the leader's, though zxids are equal.
    #[error(
        "server {server} has other transactions before {at} than this leader: it gets a snapshot, and \
         what it had is gone. (Were the data of some members removed while it was away?)"
    )]
    HistoryDiffers {
        /// Who.
        server: ServerId,
        /// What it says its log ends at.
        at: Zxid,
    },
}

fn known(claim: Option<(Epoch, Zxid)>) -> String {
    claim.map_or_else(String::new, |(current, last)| {
        format!(" (its current epoch is {current}, its log ends at {last})")
    })
}

impl Warning {
    /// Whom it is about, and which of the causes: another of these is not said again.
    pub(super) fn cause(&self) -> (ServerId, u8) {
        match self {
            Warning::StaysOut { server, .. } => (*server, 0),
            Warning::LeftOut { leader, .. } => (*leader, 1),
            Warning::AbsurdEpoch { server, .. } => (*server, 2),
            Warning::AbsurdRound { server, .. } => (*server, 3),
            Warning::HistoryDiffers { server, .. } => (*server, 4),
        }
    }
}
