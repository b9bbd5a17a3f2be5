//! A leader's history: everything committed before is in it, and it is committed from now on
//! (LeaderLogCompleteness). And what a member finds at its start.

use crate::sim::whole::alone::Found;
use crate::sim::whole::member::History;
use crate::sim::whole::process::Brain;
use crate::sim::whole::world::{Slot, World};
use crate::storage::log_reader::{LogReader, Step};
use crate::storage::names;
use crate::types::Zxid;
use crate::zab::RoleChange;

impl World {
    /// The member that leads and serves, in the highest epoch.
    pub fn leader(&self) -> Option<usize> {
        let leads = |slot: &Slot| match &slot.process.as_ref()?.brain {
            Brain::Member(host) if host.node.member.is_leading() => {
                Some(host.node.member.peer().epoch())
            }
            _ => None,
        };
        let leading = self.slots.iter().enumerate().filter_map(|(h, slot)| Some((leads(slot)?, h)));
        leading.max().map(|(_, host)| host)
    }

    /// A member has taken another part.
    pub(in crate::sim::whole) fn check_role(
        &mut self,
        host: usize,
        change: &RoleChange,
        serving: bool,
    ) {
        self.say(|| format!("{host} is {change:?}, serving: {serving}"));
        let RoleChange::Leading { epoch, serving: true } = change else { return };
        self.mix(epoch.0 as u64);
        self.cover("leader established");
        let Some(process) = &mut self.slots[host].process else { return };
        let Some(member) = process.member() else { return };
        let mut history = member.future_history();
        // What it has proposed since is another matter.
        history.split_off(&Zxid::new(*epoch, 0).0);
        // Nobody can have committed anything in this epoch before its leader is established.
        let lost = self.witness.zxids().find(|zxid| !history.contains(zxid));
        if let Some(lost) = lost {
            let text = format!("{host} leads in epoch {epoch} without 0x{lost:x}");
            return self.fail("LeaderLogCompleteness", text);
        }
        for zxid in history {
            if !self.witness.contains(zxid) {
                if zxid < self.committed {
                    let text = format!(
                        "{host} leads in epoch {epoch} with 0x{zxid:x}, which was passed over \
                         before 0x{:x}",
                        self.committed
                    );
                    return self.fail("TotalOrder", text);
                }
                self.commit_proposed(zxid);
            }
        }
    }

    /// A member has started on what it found.
    pub(in crate::sim::whole) fn check_member_found(&mut self, host: usize, found: &Found) {
        if found.mismatches > 0 {
            let text = format!("{host} recovered another state than its transactions say");
            return self.fail("Digest", text);
        }
        let slot = &mut self.slots[host];
        slot.flips.clear();
        let before = match slot.installing.take() {
            Some((zxid, history)) if zxid == found.base => history,
            _ => std::mem::take(&mut slot.history),
        };
        let mut history: History = before.range(..=found.base.0).copied().collect();
        let disk = slot.disk.clone();
        for log in names::logs(&disk, &self.params.dirs().logs).unwrap_or_default() {
            let Ok(mut reader) = LogReader::open(&disk, &log.path) else { continue };
            while let Ok(Step::Record(record)) = reader.step() {
                if record.zxid <= found.last {
                    history.insert(record.zxid.0);
                }
            }
        }
        if let Some(process) = &mut self.slots[host].process
            && let Some(member) = process.member()
        {
            member.history = history;
        }
        self.check_digest(host, found.last, found.digest);
    }
}
