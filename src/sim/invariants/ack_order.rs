//! AckOrder (ZOOKEEPER-4685): a learner acknowledges NEWLEADER before any proposal of the epoch.

use super::{Invariant, ensure};
use crate::proto::quorum::PacketKind;
use crate::sim::ghost::{Facts, Seen};

/// No state.
pub struct AckOrder;

impl Invariant for AckOrder {
    fn name(&self) -> &'static str {
        "AckOrder"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Sent { packet, epoch, learner: true } = seen else { return Ok(()) };
        if packet.kind != PacketKind::Ack || packet.zxid.counter() == 0 {
            return Ok(());
        }
        ensure(facts.ghost.joined[host] == Some(*epoch), || {
            format!("{host} acknowledges {} before NEWLEADER of epoch {epoch}", packet.zxid)
        })
    }
}
