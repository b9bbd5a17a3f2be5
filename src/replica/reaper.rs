//! Containers that have lost their last child, and nodes whose time to live is over: found from
//! time to time, deleted by ordinary transactions (Apache `ContainerManager`). Runs where writes
//! are ordered: standalone, and on a leader.

use std::collections::VecDeque;
use std::time::Duration;

use crate::state::StateMachine;
use crate::types::{Instant, Now, OwnerKind};

/// Settings of the reaper.
#[derive(Clone, Copy, Debug)]
pub struct ReaperOptions {
    /// Time between two searches, ms; 0 switches it off (`znode.container.checkIntervalMs`).
    pub check_interval_ms: u64,
    /// Deletions a minute at most (`znode.container.maxPerMinute`).
    pub max_per_minute: u32,
    /// A container that never had a child is deleted after this many ms; 0 is never
    /// (`znode.container.maxNeverUsedIntervalMs`).
    pub max_never_used_ms: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Reaper {
    options: ReaperOptions,
    next_check: Instant,
    next_delete: Instant,
    queue: VecDeque<String>,
}

impl Reaper {
    /// The first search is one interval after `now`.
    pub fn new(options: ReaperOptions, now: Instant) -> Reaper {
        let next_check = now + Duration::from_millis(options.check_interval_ms);
        Reaper { options, next_check, next_delete: now, queue: VecDeque::new() }
    }

    /// When there is something to do next; None when it is off.
    pub fn next_due(&self) -> Option<Instant> {
        if self.options.check_interval_ms == 0 {
            None
        } else if self.queue.is_empty() {
            Some(self.next_check)
        } else {
            Some(self.next_delete)
        }
    }

    /// The path of a node to delete now, if any.
    pub fn poll(&mut self, now: Now, state: &StateMachine) -> Option<String> {
        let due = self.next_due()?;
        if due > now.mono {
            return None;
        }
        if self.queue.is_empty() {
            self.next_check = now.mono + Duration::from_millis(self.options.check_interval_ms);
            self.search(now, state);
        }
        let path = self.queue.pop_front()?;
        let gap_ms = 60_000 / u64::from(self.options.max_per_minute.max(1));
        self.next_delete = now.mono + Duration::from_millis(gap_ms);
        Some(path)
    }

    fn search(&mut self, now: Now, state: &StateMachine) {
        for path in state.containers() {
            let Some(node) = state.node(&path) else { continue };
            let never_used = self.options.max_never_used_ms;
            let idle_ms = now.wall.0.saturating_sub(node.stat().mtime);
            let used_up = node.stat().cversion > 0
                || never_used != 0 && idle_ms > i64::try_from(never_used).unwrap_or(i64::MAX);
            if node.num_children() == 0 && used_up {
                self.queue.push_back(path);
            }
        }
        for path in state.ttls() {
            let Some(node) = state.node(&path) else { continue };
            let OwnerKind::Ttl(ttl_ms) = node.kind() else { continue };
            let idle_ms = now.wall.0.saturating_sub(node.stat().mtime);
            if node.num_children() == 0 && idle_ms > ttl_ms {
                self.queue.push_back(path);
            }
        }
    }
}
