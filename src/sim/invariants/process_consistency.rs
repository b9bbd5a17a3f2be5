//! ProcessConsistency: whoever acknowledges NEWLEADER has, of earlier epochs, exactly what its leader
//! has.

use super::{Invariant, ensure};
use crate::proto::quorum::PacketKind;
use crate::sim::disk::{Disk, Entry};
use crate::sim::ghost::{Facts, Seen};
use crate::types::{Epoch, Zxid};

/// No state.
pub struct ProcessConsistency;

/// The last transaction of an epoch before this one.
fn before(disk: &Disk, epoch: Epoch) -> Entry {
    let start = Zxid::new(epoch, 0);
    let state = disk.replay(Zxid(i64::MAX));
    let at = state.entries.partition_point(|e| e.zxid < start);
    if at == 0 { Entry::default() } else { state.entries[at - 1] }
}

impl Invariant for ProcessConsistency {
    fn name(&self) -> &'static str {
        "ProcessConsistency"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Sent { packet, epoch, learner: true } = seen else { return Ok(()) };
        let joined = facts.ghost.joined[host] == Some(*epoch);
        if packet.kind != PacketKind::Ack || packet.zxid.counter() != 0 || joined {
            return Ok(());
        }
        // Two may try to lead the same epoch; at most one of them can become established.
        let claims = &facts.ghost.claims;
        let leaders: Vec<_> = (0..claims.len()).filter(|l| claims[*l] == Some(*epoch)).collect();
        let mine = before(&facts.disks[host], *epoch);
        let same = leaders.iter().any(|l| before(&facts.disks[*l], *epoch) == mine);
        ensure(leaders.is_empty() || same, || {
            format!("{host} joins epoch {epoch} with {mine:?}, unlike its leader {leaders:?}")
        })
    }
}
