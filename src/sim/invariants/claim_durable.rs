//! I4, ClaimDurable: the zxid that a server claims for itself, in a vote or an ACKEPOCH, is durable.

use super::{Invariant, ensure};
use crate::proto::election::ServerState;
use crate::proto::quorum::PacketKind;
use crate::sim::ghost::{Facts, Seen};

/// No state.
pub struct ClaimDurable;

impl Invariant for ClaimDurable {
    fn name(&self) -> &'static str {
        "ClaimDurable"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let claim = match seen {
            Seen::Voted(n) if n.state == ServerState::Looking && n.leader.0 == host as i64 + 1 => {
                n.zxid
            }
            Seen::Sent { packet, learner: true, .. } if packet.kind == PacketKind::AckEpoch => {
                packet.zxid
            }
            _ => return Ok(()),
        };
        let last = facts.disks[host].last();
        ensure(claim <= last, || format!("{host} claims {claim}, durable is {last}"))
    }
}
