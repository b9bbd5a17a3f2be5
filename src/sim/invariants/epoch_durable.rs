//! I3, EpochDurable: the accepted epoch is durable before ACKEPOCH; neither epoch ever goes back; on
//! disk the accepted epoch is never below the current one, or below that of the log.

use super::{Invariant, ensure};
use crate::proto::quorum::PacketKind;
use crate::sim::ghost::{Facts, Seen};
use crate::types::Epoch;

/// The highest durable epochs of each server: accepted, current.
#[derive(Default)]
pub struct EpochDurable(Vec<(Epoch, Epoch)>);

impl Invariant for EpochDurable {
    fn name(&self) -> &'static str {
        "EpochDurable"
    }

    fn check(&mut self, facts: Facts<'_>, host: usize, seen: &Seen<'_>) -> Result<(), String> {
        let disk = &facts.disks[host];
        match seen {
            Seen::Sent { packet, epoch, learner: true } if packet.kind == PacketKind::AckEpoch => {
                ensure(disk.accepted >= *epoch, || {
                    format!("{host} accepts epoch {epoch}, durable is {}", disk.accepted)
                })
            }
            Seen::DiskChanged | Seen::Booted => {
                self.0.resize(facts.disks.len(), Default::default());
                let (accepted, current) = self.0[host];
                self.0[host] = (disk.accepted, disk.current);
                ensure(disk.accepted >= accepted && disk.current >= current, || {
                    format!(
                        "the epochs of {host} went back from {accepted}, {current} to {}, {}",
                        disk.accepted, disk.current
                    )
                })?;
                ensure(
                    disk.accepted >= disk.current && disk.accepted >= disk.last().epoch(),
                    || {
                        format!(
                            "{host} has accepted epoch {}, current {}, last {}",
                            disk.accepted,
                            disk.current,
                            disk.last()
                        )
                    },
                )
            }
            _ => Ok(()),
        }
    }
}
