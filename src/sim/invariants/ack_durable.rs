//! I2, AckDurable: an ACK is sent only when all that it covers is durable: the transaction, or for
//! NEWLEADER the whole log and the epoch.

use super::{Invariant, ensure};
use crate::proto::quorum::PacketKind;
use crate::sim::disk::Change;
use crate::sim::ghost::{Facts, Seen};
use crate::zab::DiskOp;

/// No state.
pub struct AckDurable;

impl Invariant for AckDurable {
    fn name(&self) -> &'static str {
        "AckDurable"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Sent { packet, epoch, learner: true } = seen else { return Ok(()) };
        if packet.kind != PacketKind::Ack {
            return Ok(());
        }
        let disk = &facts.disks[host];
        if packet.zxid.counter() != 0 {
            return ensure(disk.last() >= packet.zxid, || {
                format!("{host} acknowledges {}, durable is {}", packet.zxid, disk.last())
            });
        }
        if facts.ghost.joined[host] == Some(*epoch) {
            return Ok(());
        }
        ensure(disk.current >= *epoch, || {
            format!("{host} acknowledges epoch {epoch}, durable is {}", disk.current)
        })?;
        let owed = disk.queue.iter().any(|(_, c)| {
            matches!(c, Change::Zab(DiskOp::InstallSnapshot { .. } | DiskOp::Truncate(_)))
        });
        ensure(!owed, || format!("{host} acknowledges epoch {epoch} before its history is saved"))
    }
}
