//! The watches a client holds, so that they can be registered again after a reconnection.
//!
//! The server keeps watches by connection; the session's are the client's to remember (Apache
//! `ZKWatchManager`). Paths here are the server's, with the chroot.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};

use super::EventKind;
use crate::proto::jute::{Jute, Write};
use crate::proto::opcode::OpCode;
use crate::proto::records::{SetWatches, SetWatches2};
use crate::types::Code;

/// Which watches to remove (Apache `Watcher.WatcherType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatcherType {
    /// Left by getChildren.
    Children = 1,
    /// Left by getData and exists.
    Data = 2,
    /// All of the path.
    Any = 3,
    /// Persistent; servers from 3.9 on.
    Persistent = 4,
    /// Persistent recursive; servers from 3.9 on.
    PersistentRecursive = 5,
}

/// The mode of a watch that stays (Apache `AddWatchMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddWatchMode {
    /// Data and children of one node.
    Persistent = 0,
    /// A node and everything below it.
    PersistentRecursive = 1,
}

/// What a successful reply does to the watches; the path is the server's.
#[derive(Clone, Debug, Default)]
pub(super) enum Effect {
    #[default]
    None,
    /// getData with a watch.
    Data(String),
    /// exists with a watch: of a missing node too.
    Exists(String),
    /// getChildren with a watch.
    Children(String),
    /// addWatch.
    Add(String, AddWatchMode),
    /// removeWatches.
    Remove(String, WatcherType),
}

/// All watches of a client.
#[derive(Debug, Default)]
pub(super) struct Watches {
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

impl Watches {
    /// Records what the reply with `code` has done; returns the events that the client makes up
    /// itself, for watches it removed.
    pub(super) fn apply(&mut self, effect: Effect, code: Code) -> Vec<(EventKind, String)> {
        let ok = code == Code::OK;
        match effect {
            Effect::Data(path) if ok => _ = self.data.insert(path),
            Effect::Exists(path) if ok => _ = self.data.insert(path),
            Effect::Exists(path) if code == Code::NO_NODE => _ = self.exist.insert(path),
            Effect::Children(path) if ok => _ = self.child.insert(path),
            Effect::Add(path, AddWatchMode::Persistent) if ok => _ = self.persistent.insert(path),
            Effect::Add(path, AddWatchMode::PersistentRecursive) if ok => {
                _ = self.recursive.insert(path);
            }
            Effect::Remove(path, kind) if ok => return self.remove(path, kind),
            _ => {}
        }
        Vec::new()
    }

    /// Forgets watches of `kind`, and says what Apache's client would report.
    pub(super) fn remove(&mut self, path: String, kind: WatcherType) -> Vec<(EventKind, String)> {
        let any = kind == WatcherType::Any;
        let mut events = Vec::new();
        if any || kind == WatcherType::Children {
            if self.child.remove(&path) {
                events.push((EventKind::ChildWatchRemoved, path.clone()));
            }
        }
        if any || kind == WatcherType::Data {
            let data = self.data.remove(&path);
            if self.exist.remove(&path) || data {
                events.push((EventKind::DataWatchRemoved, path.clone()));
            }
        }
        if any || kind == WatcherType::Persistent || kind == WatcherType::PersistentRecursive {
            let persistent =
                kind != WatcherType::PersistentRecursive && self.persistent.remove(&path);
            let recursive = kind != WatcherType::Persistent && self.recursive.remove(&path);
            if persistent || recursive {
                events.push((EventKind::PersistentWatchRemoved, path));
            }
        }
        events
    }

    /// Whether there is one of `kind` at `path`.
    #[cfg(test)]
    pub(super) fn contains(&self, path: &str, kind: WatcherType) -> bool {
        let data = self.data.contains(path) || self.exist.contains(path);
        let child = self.child.contains(path);
        let persistent = self.persistent.contains(path);
        let recursive = self.recursive.contains(path);
        match kind {
            WatcherType::Children => child,
            WatcherType::Data => data,
            WatcherType::Any => data || child || persistent || recursive,
            WatcherType::Persistent => persistent,
            WatcherType::PersistentRecursive => recursive,
        }
    }

    /// A watch event arrived: one-shot watches it used up are gone.
    pub(super) fn fired(&mut self, kind: EventKind, path: &str) {
        if matches!(
            kind,
            EventKind::NodeCreated | EventKind::NodeDataChanged | EventKind::NodeDeleted
        ) {
            self.data.remove(path);
            self.exist.remove(path);
        }
        if matches!(kind, EventKind::NodeChildrenChanged | EventKind::NodeDeleted) {
            self.child.remove(path);
        }
    }

    /// The requests that register everything again at a server, relative to `last_zxid`: bodies of
    /// at most about 128 KiB, as Apache's client sends them. `setWatches2` only where needed, for
    /// servers before 3.6.
    pub(super) fn requests(&self, last_zxid: i64) -> Vec<(OpCode, Bytes)> {
        const BODY_BYTES: usize = 128 << 10;
        let sets = [&self.data, &self.exist, &self.child, &self.persistent, &self.recursive];
        let mut all = sets.iter().enumerate().flat_map(|(i, set)| set.iter().map(move |p| (i, p)));
        let mut requests = Vec::new();
        loop {
            let mut lists: [Vec<String>; 5] = Default::default();
            let mut bytes = 0;
            for (i, path) in all.by_ref() {
                bytes += path.len() + 4;
                lists[i].push(path.clone());
                if bytes >= BODY_BYTES {
                    break;
                }
            }
            if bytes == 0 {
                return requests;
            }
            requests.push(encode(lists, last_zxid));
        }
    }
}

fn encode(lists: [Vec<String>; 5], relative_zxid: i64) -> (OpCode, Bytes) {
    let [data, exist, child, persistent, recursive] = lists;
    if persistent.is_empty() && recursive.is_empty() {
        let (data, exist, child) = (Some(data), Some(exist), Some(child));
        let body = SetWatches { relative_zxid, data, exist, child };
        return (OpCode::SET_WATCHES, body.to_bytes());
    }
    let mut w = BytesMut::new();
    w.put(&SetWatches2 {
        relative_zxid,
        data: Some(data),
        exist: Some(exist),
        child: Some(child),
        persistent: Some(persistent),
        recursive: Some(recursive),
    });
    (OpCode::SET_WATCHES2, w.freeze())
}
