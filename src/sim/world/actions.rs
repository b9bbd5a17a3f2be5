//! What hosts ask for, carried out.

use super::*;

/// How long a leader to be tries to open its quorum port before it says that it can't: as long as its
/// followers try to connect.
const LISTEN_PATIENCE_US: u64 = 500_000;

impl<H: Host> World<H> {
    pub(super) fn execute(&mut self, host: usize, action: Action) {
        if self.score.wants() {
            let text = describe_action(&action);
            self.score.line(self.now, "action", self.view(host), text);
        }
        let life = self.slots[host].life;
        match action {
            Action::SendNotification { to, notification } => {
                self.see(host, &Seen::Voted(&notification));
                let to = to.0 as usize - 1;
                if to < self.slots.len() && to != host {
                    self.notify(host, to, notification);
                }
            }
            Action::Connect { link, to } | Action::ConnectToMaster { link, to } => {
                self.slots[host].lines.insert(link, Line::Dialling);
                let at = self.now + self.delay();
                self.at(at, What::Dial { host, life, link, to: to.0 as usize - 1 });
            }
            Action::Listen => self.listen(host),
            Action::ListenForObservers => self.slots[host].listening = true,
            Action::StopListening => {
                self.slots[host].listening = false;
                self.slots[host].wants_port = None;
            }
            Action::Send { link, packet } => self.send_packet(host, link, packet),
            Action::SendSnapshot { link, .. } => {
                let image = self.slots[host].value.as_mut().map(H::stream).unwrap_or_default();
                if let Some(Line::Conn(no, side)) = self.slots[host].lines.get(&link).copied() {
                    for _ in 0..self.random.below(4) {
                        self.send(no, side, Message::Piece);
                    }
                    self.send(no, side, Message::Image(image));
                }
            }
            Action::CloseLink { link, why } => self.close(host, link, &why),
            Action::Disk { op, what } => self.ask_disk(host, Some(op), Change::Zab(what)),
            Action::ReadLog { read, after, through } => {
                let at = self.now + self.disk_time();
                self.at(at, What::ReadLog { host, life, read, after, through });
            }
            Action::LoadState { through } => {
                let at = self.now + self.disk_time();
                self.at(at, What::Load { host, life, through });
            }
            Action::Deliver { txn, committed } => self.delivered(host, &txn, committed),
            Action::RoleChanged(change) => self.role_changed(host, &change),
            Action::Synced { token } => {
                if let Some(asked_at) = self.slots[host].syncs.remove(&token) {
                    self.cover("sync answered");
                    self.see(host, &Seen::Synced { asked_at });
                }
            }
            Action::Resynced => {
                self.cover("damaged log resynced");
                self.disks[host].standing = Default::default();
            }
            Action::Warn(warning) => self.warned(host, &warning),
            Action::Exit(reason) => self.fail("Exit", format!("{host}: {reason}")),
            Action::FromLearner { .. }
            | Action::FromLeader(_)
            | Action::AnswerPing { .. }
            | Action::ConfigSeen(_)
            | Action::ConfigActive { .. } => {}
        }
    }

    /// Opens the quorum port; one that another program holds for as long as followers try to connect
    /// is reported to the server.
    fn listen(&mut self, host: usize) {
        let slot = &mut self.slots[host];
        slot.listens += 1;
        slot.listening = !slot.port_held;
        slot.wants_port = slot.port_held.then_some(slot.listens);
        if slot.port_held {
            self.cover("quorum port held");
            let (life, listens) = (self.slots[host].life, self.slots[host].listens);
            let at = self.now + LISTEN_PATIENCE_US;
            self.at(at, What::PortHeld { host, life, listens });
        }
    }

    /// Another program takes a server's quorum port, or has it when that one starts. Whether the
    /// server notices before it needs the port is a matter of chance.
    pub(in crate::sim) fn hold_port(&mut self, host: usize, answers: bool) {
        if !self.slots[host].listening {
            self.slots[host].port_held = true;
            self.slots[host].holder_answers = answers;
            self.find_port_held(host);
        }
    }

    pub(super) fn find_port_held(&mut self, host: usize) {
        if self.slots[host].port_held && self.random.permille(700) {
            let (life, listens) = (self.slots[host].life, self.slots[host].listens);
            let at = self.now + self.random.between(1, 100_000);
            self.at(at, What::PortHeld { host, life, listens });
        }
    }

    /// The other program gives the port up.
    pub(in crate::sim) fn free_port(&mut self, host: usize) {
        let slot = &mut self.slots[host];
        if std::mem::take(&mut slot.port_held) {
            slot.listening |= slot.wants_port.take().is_some();
            self.feed(host, Input::PortHeld(false));
        }
    }

    fn warned(&mut self, host: usize, warning: &crate::zab::Warning) {
        use crate::zab::Warning;
        self.score.line(self.now, "warn", self.view(host), warning.to_string());
        self.cover(match warning {
            Warning::StaysOut { .. } => "warning: a server stays out",
            Warning::LeftOut { .. } => "warning: left out",
            Warning::AbsurdEpoch { .. } => "warning: absurd epoch",
            Warning::AbsurdRound { .. } => "warning: absurd round",
            Warning::HistoryDiffers { .. } => "warning: history differs",
        });
    }

    pub(super) fn role_changed(&mut self, host: usize, change: &RoleChange) {
        self.score.line(self.now, "role", self.view(host), format!("{change:?}"));
        match change {
            RoleChange::Leading { epoch, serving: true } => {
                self.cover("established");
                // All of this leader's history is committed now.
                let state = self.slots[host].value.as_ref().map(H::image).unwrap_or_default();
                self.ghost.leads[host] = Some(*epoch);
                self.see(host, &Seen::Established { epoch: *epoch });
                let known = self.ghost.committed.len();
                for entry in state.entries.get(known..).unwrap_or_default() {
                    self.commit(host, *entry, *epoch);
                }
                self.see(host, &Seen::Serving { epoch: *epoch });
                self.slots[host].syncs.clear();
            }
            RoleChange::Leading { epoch, serving: false } if *epoch > Epoch(0) => {
                self.ghost.claims[host] = Some(*epoch);
            }
            RoleChange::Following { epoch, serving: true, .. } => {
                self.see(host, &Seen::Serving { epoch: *epoch });
            }
            RoleChange::Looking(why) => {
                self.cover(match why {
                    crate::zab::Why::Started => "looking: started",
                    crate::zab::Why::LeaderGone(_) => "looking: leader gone",
                    crate::zab::Why::LeaderUnreachable(_) => "looking: leader unreachable",
                    crate::zab::Why::LeaderLooks(_) => "looking: leader looks",
                    crate::zab::Why::LeaderSilent(_) => "looking: leader silent",
                    crate::zab::Why::LeaderMisbehaved { .. } => "looking: leader misbehaved",
                    crate::zab::Why::QuorumLost => "looking: quorum lost",
                    crate::zab::Why::NotEstablished => "looking: not established",
                    crate::zab::Why::Outvoted(_) => "looking: outvoted",
                    crate::zab::Why::PortHeld => "looking: quorum port held",
                    crate::zab::Why::FollowerAhead(_) => "looking: follower ahead",
                    crate::zab::Why::LaterEpoch { .. } => "looking: later epoch",
                    crate::zab::Why::EpochsUsedUp { .. } => "looking: epochs used up",
                    crate::zab::Why::DiskStalled(_) => "looking: disk stalled",
                    crate::zab::Why::Reconfigured => "looking: reconfigured",
                    crate::zab::Why::NewerConfig(_) => "looking: newer config",
                    crate::zab::Why::RolledOver => "looking: rolled over",
                });
                (self.ghost.leads[host], self.ghost.joined[host]) = (None, None);
                self.ghost.claims[host] = None;
                self.slots[host].syncs.clear();
            }
            _ => {}
        }
    }

    pub(super) fn delivered(&mut self, host: usize, txn: &crate::zab::EncodedTxn, committed: bool) {
        let before = self.ghost.states[host];
        let after = Entry { zxid: txn.zxid, chain: chain(before.chain, txn.zxid, &txn.bytes) };
        let known = self.ghost.find(after.zxid).is_some();
        // A leader that becomes established says so right after delivering its history: what of
        // that is new is committed there.
        let established = self.ghost.leads[host].is_some();
        let serving = self.slots[host].value.as_ref().is_some_and(|v| v.peer().is_serving());
        let leading = self.slots[host]
            .value
            .as_ref()
            .is_some_and(|v| v.peer().state() == ServerState::Leading);
        let checked = committed && !(leading && !established && serving);
        self.see(host, &Seen::Delivered { before, after, committed: checked });
        if checked && !known && self.violation.is_none() {
            let epoch = self.slots[host].value.as_ref().map_or(Epoch(0), |v| v.peer().epoch());
            self.commit(host, after, epoch);
        }
        self.ghost.states[host] = after;
    }

    pub(super) fn commit(&mut self, host: usize, entry: Entry, epoch: Epoch) {
        self.mix(entry.chain);
        self.cover("committed");
        self.ghost.committed.push(entry);
        self.see(host, &Seen::Committed { entry, epoch });
    }
}
