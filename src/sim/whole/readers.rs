//! Members beside leaders and their followers: observers that learn from a follower, and those
//! without a quorum that serve readers, with what they show.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};

use super::member::History;
use super::process::Brain;
use super::world::World;
use crate::sim::network::ConnNo;
use crate::types::{Code, Zxid};

/// What a member in read-only mode shows: the same as long as it is in it.
#[derive(Clone, Debug)]
pub struct View {
    at: Zxid,
    history: Arc<History>,
}

impl World {
    /// A turn of a member is over: is it in read-only mode, and for whom?
    pub(super) fn watch_reader(&mut self, host: usize) {
        let slot = &mut self.slots[host];
        let Some(process) = &mut slot.process else { return };
        let reads = process.is_read_only();
        process.rules.load.read_only.store(reads, Ordering::Relaxed);
        if !reads {
            slot.view = None;
            return;
        }
        let at = process.last_zxid();
        let open = process.sides.iter().filter(|(_, side)| side.session.is_some());
        let open: Vec<ConnNo> = open.map(|(id, _)| ConnNo(id.0)).collect();
        let begins = slot.view.is_none();
        if begins && let Some(member) = process.member() {
            let mut history = member.future_history();
            history.split_off(&(at.0 + 1));
            slot.view = Some(View { at, history: Arc::new(history) });
        }
        let Some(view) = slot.view.clone() else { return };
        for no in open {
            self.readers.entry(no).or_insert_with(|| Arc::clone(&view.history));
        }
        if begins {
            self.say(|| format!("{host} serves readers at {at}"));
            self.cover("read-only: begins");
            if view.history.iter().any(|zxid| !self.witness.contains(*zxid)) {
                self.cover("read-only: with what was not committed");
            }
        } else if at != view.at {
            let text = format!("{host} went from {} to {at} in read-only mode", view.at);
            self.fail("ReadersFrozen", text);
        }
    }

    /// A member in read-only mode.
    pub(super) fn a_reader(&self) -> Option<usize> {
        self.slots.iter().position(|slot| slot.view.is_some())
    }

    /// A member has taken another part: an observer may have another source.
    pub(super) fn note_source(&mut self, host: usize) {
        if host < self.params.voters || !self.params.observer_masters {
            return;
        }
        let Some(process) = &self.slots[host].process else { return };
        let Brain::Member(member) = &process.brain else { return };
        let peer = member.node.member.peer();
        if !peer.is_serving() {
            return;
        }
        let Some(source) = peer.source() else { return };
        let indirect = peer.leader() != Some(source);
        let before = self.slots[host].source.replace(source.0 as usize - 1);
        self.say(|| format!("{host} learns from server {source}"));
        self.cover(if indirect {
            "observer learns from a follower"
        } else {
            "observer falls back to the leader"
        });
        if indirect && before.is_some_and(|before| before != source.0 as usize - 1) {
            self.cover("observer changes its master");
        }
    }

    /// The followers that observers learn from.
    pub(super) fn masters(&self) -> Vec<usize> {
        let mut found = Vec::new();
        for host in self.params.voters..self.slots.len() {
            if self.standing(host) == "observer of a follower"
                && let Some(source) = self.slots[host].source
            {
                found.push(source);
            }
        }
        found
    }
}

/// A bug: whoever may not write is told that it has.
pub(super) fn say_yes(frames: &Bytes) -> Bytes {
    let mut out = BytesMut::from(&frames[..]);
    let mut at = 0;
    while let Some(head) = out.get(at..at + 4) {
        let length = head.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b));
        let code = at + 4 + 12;
        if length >= 16 && out.get(code..code + 4) == Some(&Code::NOT_READ_ONLY.0.to_be_bytes()) {
            out[code..code + 4].fill(0);
        }
        at += 4 + length;
    }
    out.freeze()
}
