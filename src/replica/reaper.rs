//! Containers that have lost their last child, and nodes whose time to live is over: found from
//! time to time, deleted by ordinary transactions (Apache `ContainerManager`). Runs where writes
//! are ordered: standalone, and on a leader.

use std::collections::VecDeque;
use std::time::Duration;

use crate::state::{NodeRef, StateMachine};
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

/// Nodes looked at in one turn, at most: there may be millions.
const LOOK_MAX: usize = 2000;

/// Where a search goes on.
#[derive(Clone, Copy, Debug)]
enum Search {
    /// With the containers from this number on.
    Containers(u32),
    /// With the TTL nodes from this number on.
    Ttls(u32),
}

/// See the module.
#[derive(Debug)]
pub struct Reaper {
    options: ReaperOptions,
    next_check: Instant,
    next_delete: Instant,
    queue: VecDeque<String>,
    /// A search that is not at its end, and when it began to wait.
    search: Option<(Search, Instant)>,
}

impl Reaper {
    /// The first search is one interval after `now`.
    pub fn new(options: ReaperOptions, now: Instant) -> Reaper {
        let next_check = now + Duration::from_millis(options.check_interval_ms);
        Reaper { options, next_check, next_delete: now, queue: VecDeque::new(), search: None }
    }

    /// When there is something to do next; None when it is off.
    pub fn next_due(&self) -> Option<Instant> {
        if self.options.check_interval_ms == 0 {
            None
        } else if !self.queue.is_empty() {
            Some(self.next_delete)
        } else {
            Some(self.search.map_or(self.next_check, |(_, since)| since))
        }
    }

    /// The path of a node to delete now, if any.
    pub fn poll(&mut self, now: Now, state: &StateMachine) -> Option<String> {
        let due = self.next_due()?;
        if due > now.mono {
            return None;
        }
        if self.queue.is_empty() {
            let from = match self.search.take() {
                Some((from, _)) => from,
                None => {
                    let interval = Duration::from_millis(self.options.check_interval_ms);
                    self.next_check = now.mono + interval;
                    Search::Containers(0)
                }
            };
            self.search = self.search(now, state, from).map(|next| (next, now.mono));
        }
        let path = self.queue.pop_front()?;
        let gap_ms = 60_000 / u64::from(self.options.max_per_minute.max(1));
        self.next_delete = now.mono + Duration::from_millis(gap_ms);
        Some(path)
    }

    /// Looks at some nodes from `from` on; where to go on, unless that was all. Numbers of nodes that
    /// are gone may be given to new ones meanwhile: those are looked at now or with the next search.
    fn search(&mut self, now: Now, state: &StateMachine, from: Search) -> Option<Search> {
        let idle_ms = |node: &NodeRef<'_>| now.wall.0.saturating_sub(node.stat().mtime);
        let mut left = LOOK_MAX;
        let mut ttls_from = 0;
        match from {
            Search::Ttls(from) => ttls_from = from,
            Search::Containers(from) => {
                for (id, node) in state.containers(from) {
                    if left == 0 {
                        return Some(Search::Containers(id));
                    }
                    left -= 1;
                    let never_used = self.options.max_never_used_ms;
                    let limit = i64::try_from(never_used).unwrap_or(i64::MAX);
                    let used_up =
                        node.stat().cversion > 0 || never_used != 0 && idle_ms(&node) > limit;
                    if node.num_children() == 0 && used_up {
                        self.queue.push_back(node.path());
                    }
                }
            }
        }
        for (id, node) in state.ttls(ttls_from) {
            if left == 0 {
                return Some(Search::Ttls(id));
            }
            left -= 1;
            let OwnerKind::Ttl(ttl_ms) = node.kind() else { continue };
            if node.num_children() == 0 && idle_ms(&node) > ttl_ms {
                self.queue.push_back(node.path());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::txn::{CreateExtendedTxn, Txn, TxnEntry, TxnHeader};
    use crate::state::Options;
    use crate::types::{SessionId, WallTime, Zxid, open_acl};

    #[test]
    fn a_search_through_many_containers_looks_at_few_in_a_turn_and_finds_all() {
        let mut state = StateMachine::new(Options::default());
        let all = 2 * LOOK_MAX + 7;
        for n in 0..all {
            let header = TxnHeader {
                session: SessionId(1),
                cxid: 0,
                zxid: Zxid(n as i64 + 1),
                time: WallTime(1000),
                kind: 19,
            };
            let create = CreateExtendedTxn {
                path: format!("/c{n}"),
                data: None,
                acl: open_acl(),
                parent_cversion: 0,
                ttl: None,
            };
            let txn = Txn::CreateExtended(create);
            state.apply(&TxnEntry { header, txn, digest: None }, &mut Vec::new());
        }
        let options =
            ReaperOptions { check_interval_ms: 1000, max_per_minute: 60_000, max_never_used_ms: 1 };
        let at = |ms| Now { mono: Instant::from_millis(ms), wall: WallTime(100_000) };
        let mut reaper = Reaper::new(options, Instant::from_millis(0));
        assert_eq!(reaper.poll(at(999), &state), None);
        let (mut found, mut ms) = (0, 1000);
        while reaper.search.is_some() || found == 0 || !reaper.queue.is_empty() {
            assert!(reaper.next_due() <= Some(Instant::from_millis(ms)));
            found += usize::from(reaper.poll(at(ms), &state).is_some());
            assert!(reaper.queue.len() < LOOK_MAX, "{}", reaper.queue.len());
            ms += 1;
        }
        assert_eq!(found, all);
    }
}
