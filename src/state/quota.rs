//! Quotas: which paths have one, and the form of the nodes that say so
//! (Apache `Quotas`, `StatsTrack`, `PathTrie`).
//!
//! Limits of `/a/b` are the data of `/zookeeper/quota/a/b/zookeeper_limits`, usage is the data of
//! `.../zookeeper_stats`. The server keeps the usage up to date in place, without a transaction and
//! without touching the node's stat. A change is charged to the nearest quota only; a quota of the
//! root is ignored.

use crate::types::path::QUOTA;
use crate::types::{Map, map};

use super::StateMachine;

/// Name of the nodes with limits.
pub(super) const LIMITS: &str = "zookeeper_limits";
/// Name of the nodes with usage.
pub(super) const STATS: &str = "zookeeper_stats";

/// A path's quota: limits and what is used of them. -1 is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaView {
    /// The path with the quota, the nearest above (or at) the one asked for.
    pub prefix: String,
    /// Soft limit of the number of nodes, the prefix itself included.
    pub count_limit: i64,
    /// Soft limit of the data, bytes.
    pub bytes_limit: i64,
    /// Hard limit of the number of nodes; before the soft one when set.
    pub count_hard_limit: i64,
    /// Hard limit of the data, bytes; before the soft one when set.
    pub bytes_hard_limit: i64,
    /// Nodes there are.
    pub count: i64,
    /// Bytes of data there are.
    pub bytes: i64,
}

/// All quotas below one top-level node, added up as Apache does (`QuotaMetricsUtils`): a limit that
/// is not set counts as -1.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NamespaceQuota {
    /// Limit of the number of nodes: the hard one, else the soft one.
    pub count_limit: i64,
    /// Limit of the data in bytes, likewise.
    pub bytes_limit: i64,
    /// Nodes there are.
    pub count: i64,
    /// Bytes of data there are.
    pub bytes: i64,
}

/// Of more quotas than these no sums are made: whoever reads them holds the state for long.
pub const QUOTAS_SUMMED_MAX: usize = 2000;

/// The content of a limits or a stats node: `count=<n>,bytes=<n>`, then optionally
/// `=;byteHardLimit=<n>;countHardLimit=<n>` (the odd `=` keeps old parsers working).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StatsTrack {
    /// In order of the keys.
    pairs: std::collections::BTreeMap<String, i64>,
}

impl StatsTrack {
    /// Reads what can be read; unreadable numbers count as -1.
    pub fn parse(data: &[u8]) -> StatsTrack {
        let text = String::from_utf8_lossy(data);
        let mut pairs = std::collections::BTreeMap::new();
        for pair in text.split([',', ';']).filter(|pair| !pair.is_empty()) {
            let mut halves = pair.split('=');
            let key = halves.next().unwrap_or_default().to_owned();
            let value = halves.next().and_then(|v| v.trim().parse().ok()).unwrap_or(-1);
            pairs.insert(key, value);
        }
        StatsTrack { pairs }
    }

    fn get(&self, key: &str) -> i64 {
        self.pairs.get(key).copied().unwrap_or(-1)
    }

    /// Number of nodes, or its soft limit.
    pub fn count(&self) -> i64 {
        self.get("count")
    }

    /// Bytes of data, or their soft limit.
    pub fn bytes(&self) -> i64 {
        self.get("bytes")
    }

    /// Hard limit of the number of nodes.
    pub fn count_hard_limit(&self) -> i64 {
        self.get("countHardLimit")
    }

    /// Hard limit of the bytes.
    pub fn bytes_hard_limit(&self) -> i64 {
        self.get("byteHardLimit")
    }

    fn set_usage(&mut self, count: i64, bytes: i64) {
        self.pairs.insert("count".to_owned(), count);
        self.pairs.insert("bytes".to_owned(), bytes);
    }

    /// The node's content.
    pub fn to_text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.count(), self.bytes());
        let mut first = true;
        for (key, value) in &self.pairs {
            if key == "count" || key == "bytes" {
                continue;
            }
            if std::mem::take(&mut first) {
                text.push('=');
            }
            text.push_str(&format!(";{key}={value}"));
        }
        text
    }
}

/// The paths that have a quota.
#[derive(Debug)]
pub(super) struct QuotaTrie {
    nodes: Vec<TrieNode>,
    /// Numbers of nodes that are free.
    vacant: Vec<u32>,
    quotas: usize,
}

#[derive(Debug)]
struct TrieNode {
    children: Map<Box<str>, u32>,
    has_quota: bool,
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

impl QuotaTrie {
    /// No quotas.
    pub fn new() -> QuotaTrie {
        let root = TrieNode { children: map(), has_quota: false };
        QuotaTrie { nodes: vec![root], vacant: Vec::new(), quotas: 0 }
    }

    /// Adds a path; the root is ignored.
    pub fn add(&mut self, path: &str) {
        let mut at = 0;
        for part in parts(path) {
            at = match self.nodes[at].children.get(part) {
                Some(&child) => child as usize,
                None => {
                    let child = self.vacant.pop().unwrap_or_else(|| {
                        self.nodes.push(TrieNode { children: map(), has_quota: false });
                        self.nodes.len() as u32 - 1
                    });
                    self.nodes[at].children.insert(part.into(), child);
                    child as usize
                }
            };
        }
        if at != 0 && !std::mem::replace(&mut self.nodes[at].has_quota, true) {
            self.quotas += 1;
        }
    }

    /// Removes a path, and the nodes that lead to no quota any more: clients may make quotas and
    /// remove them without end.
    pub fn remove(&mut self, path: &str) {
        let mut way = Vec::new();
        let mut at = 0;
        for part in parts(path) {
            let Some(&child) = self.nodes[at].children.get(part) else { return };
            way.push((at, part));
            at = child as usize;
        }
        if !std::mem::replace(&mut self.nodes[at].has_quota, false) {
            return;
        }
        self.quotas -= 1;
        if self.quotas == 0 {
            *self = QuotaTrie::new();
            return;
        }
        while let Some((parent, part)) = way.pop() {
            if self.nodes[at].has_quota || !self.nodes[at].children.is_empty() {
                break;
            }
            self.nodes[parent].children.remove(part);
            self.vacant.push(at as u32);
            at = parent;
        }
    }

    /// The paths that have a quota, in no order.
    pub fn paths(&self) -> Vec<String> {
        let (mut paths, mut open) = (Vec::new(), vec![(0, String::new())]);
        while let Some((at, path)) = open.pop() {
            let children = self.nodes[at].children.iter();
            open.extend(children.map(|(name, &child)| (child as usize, format!("{path}/{name}"))));
            if self.nodes[at].has_quota {
                paths.push(path);
            }
        }
        paths
    }

    /// The longest prefix of `path` with a quota.
    #[inline]
    pub fn nearest<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.quotas == 0 { None } else { self.search(path) }
    }

    fn search<'p>(&self, path: &'p str) -> Option<&'p str> {
        let (mut at, mut end, mut found) = (0, 0, 0);
        for part in path.split('/').skip(1) {
            match self.nodes[at].children.get(part) {
                Some(&child) => at = child as usize,
                None => break,
            }
            end += 1 + part.len();
            if self.nodes[at].has_quota {
                found = end;
            }
        }
        (found > 0).then(|| &path[..found])
    }
}

/// The path whose quota lies in the node `parent` of "/zookeeper/quota", None for the root's.
pub(super) fn subject(parent: &str) -> Option<&str> {
    parent.strip_prefix(QUOTA).filter(|rest| rest.starts_with('/'))
}

impl StateMachine {
    /// What a node with limits or usage says.
    fn track(&self, prefix: &str, name: &str) -> StatsTrack {
        let node = self.tree.find(&format!("{QUOTA}{prefix}/{name}"));
        let data = node.and_then(|id| self.tree.nodes[id].data());
        StatsTrack::parse(data.unwrap_or_default())
    }

    /// Limits and usage of all quotas by the first part of their paths, in order of name. Nothing
    /// when there are more than [`QUOTAS_SUMMED_MAX`] of them.
    pub fn quotas_by_namespace(&self) -> Vec<(String, NamespaceQuota)> {
        // Nodes on the way to deep quotas are walked too.
        let nodes = self.quotas.nodes.len() - self.quotas.vacant.len();
        if self.quotas.quotas > QUOTAS_SUMMED_MAX || nodes > 4 * QUOTAS_SUMMED_MAX {
            return Vec::new();
        }
        let mut sums: std::collections::BTreeMap<String, NamespaceQuota> = Default::default();
        for path in self.quotas.paths() {
            let (limits, usage) = (self.track(&path, LIMITS), self.track(&path, STATS));
            let either = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
            let sum =
                sums.entry(path.split('/').nth(1).unwrap_or_default().to_owned()).or_default();
            for (sum, more) in [
                (&mut sum.count_limit, either(limits.count_hard_limit(), limits.count())),
                (&mut sum.bytes_limit, either(limits.bytes_hard_limit(), limits.bytes())),
                (&mut sum.count, usage.count()),
                (&mut sum.bytes, usage.bytes()),
            ] {
                *sum = sum.wrapping_add(more);
            }
        }
        sums.into_iter().collect()
    }

    /// The quota that `path` falls under (the nearest; the root's is ignored), whether the node
    /// exists or not.
    pub fn quota_of(&self, path: &str) -> Option<QuotaView> {
        let prefix = self.quotas.nearest(path)?;
        let (limits, usage) = (self.track(prefix, LIMITS), self.track(prefix, STATS));
        Some(QuotaView {
            prefix: prefix.to_owned(),
            count_limit: limits.count(),
            bytes_limit: limits.bytes(),
            count_hard_limit: limits.count_hard_limit(),
            bytes_hard_limit: limits.bytes_hard_limit(),
            count: usage.count(),
            bytes: usage.bytes(),
        })
    }

    /// Charges a change of `path` to the nearest quota.
    pub(super) fn charge(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(prefix) = self.quotas.nearest(path) else { return };
        let stats = format!("{QUOTA}{prefix}/{STATS}");
        let Some(id) = self.tree.find(&stats) else { return };
        let mut track = StatsTrack::parse(self.tree.nodes[id].data().unwrap_or_default());
        track.set_usage(track.count().wrapping_add(count), track.bytes().wrapping_add(bytes));
        self.put_usage(id, &stats, &track);
    }

    /// Counts what is at and below `path` anew, if there is a node for the result. The count of a
    /// path that does not exist is 0.
    pub(super) fn recount(&mut self, path: &str) {
        let stats = format!("{QUOTA}{path}/{STATS}");
        let Some(id) = self.tree.find(&stats) else { return };
        let (mut count, mut bytes) = (0, 0);
        if let Some(top) = self.tree.find(path) {
            let mut add = |id| {
                count += 1;
                bytes += self.tree.data_len(id) as i64;
            };
            add(top);
            self.tree.each_below(top, add);
        }
        let mut track = StatsTrack::default();
        track.set_usage(count, bytes);
        self.put_usage(id, &stats, &track);
    }

    /// Writes usage in place: the stat stays as it is.
    fn put_usage(&mut self, id: u32, path: &str, track: &StatsTrack) {
        let stat = self.tree.stat(id);
        self.tree.set_data(id, path, Some(track.to_text().as_bytes()), &stat);
    }

    /// Finds all limits after a snapshot was loaded, and counts anew.
    pub(super) fn rebuild_quotas(&mut self) {
        self.quotas = QuotaTrie::new();
        let Some(top) = self.tree.find(QUOTA) else { return };
        let mut limits = Vec::new();
        self.tree.each_below(top, |id| {
            let node = &self.tree.nodes[id];
            if node.name() == LIMITS.as_bytes() && node.children == 0 {
                limits.push(self.tree.path(id));
            }
        });
        for path in limits {
            let parent = &path[..path.len() - LIMITS.len() - 1];
            if let Some(subject) = subject(parent) {
                self.quotas.add(subject);
                self.recount(subject);
            }
        }
    }
}

#[cfg(test)]
mod tests;
