//! What guests (learners that are no members) have in process. Their requests and syncs would wait here
//! without end if more were read while these are not done; a member's clients are bounded by that
//! member, and its acknowledgements must not wait.

use std::collections::VecDeque;

use crate::types::Zxid;

/// Syncs in process at which guests wait.
const SYNCS_MAX: usize = 10_000;
/// Bytes that wait to be written to the leader at which the guests of a follower wait.
const TO_LEADER_MAX: u64 = 16 << 20;

/// What a turn looks like when guests may get room back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// The last transaction that is proposed.
    pub last: Zxid,
    /// The last that is committed and applied, or about to be.
    pub delivered: Zxid,
    /// Syncs that wait for an answer.
    pub syncs: usize,
    /// Bytes that wait to be written to this server's leader.
    pub to_leader: u64,
}

/// The rooms of packets of guests; `R` gives room back when dropped.
#[derive(Debug)]
pub struct Guests<R> {
    /// Of packets of this turn.
    fresh: Vec<R>,
    /// With the transaction after which what came with it is done.
    held: VecDeque<(Zxid, R)>,
}

impl<R> Default for Guests<R> {
    fn default() -> Guests<R> {
        Guests { fresh: Vec::new(), held: VecDeque::new() }
    }
}

impl<R> Guests<R> {
    /// Packets were handed to the member.
    pub fn add(&mut self, room: R) {
        self.fresh.push(room);
    }

    /// Whether nobody waits for anything.
    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.held.is_empty()
    }

    /// The end of a turn: gives back the room of what is done. What this turn's packets asked for is
    /// proposed by now.
    pub fn settle(&mut self, now: &Progress) {
        self.held.extend(self.fresh.drain(..).map(|room| (now.last, room)));
        if now.syncs >= SYNCS_MAX || now.to_leader >= TO_LEADER_MAX {
            return;
        }
        while self.held.front().is_some_and(|(after, _)| *after <= now.delivered) {
            self.held.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn guests_get_room_back_when_what_they_asked_is_done() {
        let room = Rc::new(());
        let in_process = || Rc::strong_count(&room) - 1;
        let mut guests = Guests::default();
        let mut turn = |packets: usize, now: Progress| {
            (0..packets).for_each(|_| guests.add(Rc::clone(&room)));
            guests.settle(&now);
            in_process()
        };
        let at = |last, delivered| Progress {
            last: Zxid(last),
            delivered: Zxid(delivered),
            ..Progress::default()
        };
        assert_eq!(turn(3, at(5, 5)), 0, "pings and acknowledgements are done at once");
        assert_eq!(turn(2, at(7, 5)), 2);
        assert_eq!(turn(1, at(9, 6)), 3);
        assert_eq!(turn(0, at(20, 7)), 1, "whatever others have in process");
        assert_eq!(turn(0, at(20, 9)), 0);
        assert_eq!(turn(1, Progress { syncs: SYNCS_MAX, ..at(20, 20) }), 1);
        assert_eq!(turn(1, Progress { to_leader: TO_LEADER_MAX, ..at(20, 20) }), 2);
        assert_eq!(turn(0, at(20, 20)), 0);
    }
}
