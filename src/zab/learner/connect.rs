//! Whom a learner connects to: its leader, or, as an observer with `observerMasterPort`, one follower
//! after the other.

use std::time::Duration;

use super::{Learner, Phase};
use crate::types::{Instant, ServerId};
use crate::zab::action::*;
use crate::zab::core::Core;

impl Learner {
    pub(super) fn connect(&mut self, core: &mut Core, now: Instant) {
        self.tries_left = self.tries_left.saturating_sub(1);
        self.phase = Phase::Connecting { retry_at: None };
        self.link = core.new_link();
        self.open = true;
        self.source = self.choose_source(core, now).unwrap_or(self.leader);
        core.act(match self.source == self.leader {
            true => Action::Connect { link: self.link, to: self.source },
            false => Action::ConnectToMaster { link: self.link, to: self.source },
        });
    }

    /// The follower that an observer asks next. When none has taken it for a while, the leader
    /// itself is asked.
    fn choose_source(&mut self, core: &Core, now: Instant) -> Option<ServerId> {
        if !self.observer || !core.options.observer_masters {
            return None;
        }
        let mut followers = core.options.membership.quorum.voters();
        followers.remove(&self.leader);
        let turn = core.master_turn.wrapping_add(self.asked);
        let chosen = followers.iter().nth(turn.checked_rem(followers.len())?);
        if self.tries_left == 0 || now >= self.began + core.options.init_time() / 4 {
            return None;
        }
        self.asked += 1;
        chosen.copied()
    }

    fn retry_after(&self, core: &Core) -> Duration {
        // Followers open their ports when they serve, not all at once as a leader does.
        core.options.connect_retry * (1 + self.asked as u32 / 2).min(10)
    }

    pub(super) fn link_down(&mut self, core: &mut Core, now: Instant) {
        self.open = false;
        if !matches!(self.phase, Phase::Connecting { .. }) {
            core.leave(Why::LeaderGone(self.source));
        } else if self.tries_left == 0 {
            core.leave(Why::LeaderUnreachable(self.leader));
        } else {
            // The leader may not have opened its port yet.
            let retry_at = Some(now + self.retry_after(core));
            self.phase = Phase::Connecting { retry_at };
        }
    }
}
