//! Watches: which connection wants to be told of what (Apache `WatchManager`).

use crate::types::ConnId;

use super::Change;

/// What a watch event says; the number is the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum EventKind {
    /// NodeCreated.
    Created = 1,
    /// NodeDeleted.
    Deleted = 2,
    /// NodeDataChanged.
    DataChanged = 3,
    /// NodeChildrenChanged.
    ChildrenChanged = 4,
}

/// A watch to be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchKind {
    /// By getData, or exists on a node: fires once.
    Data,
    /// By exists on a missing node: fires once; the same table as [`WatchKind::Data`].
    Exist,
    /// By getChildren: fires once.
    Child,
    /// addWatch mode 0.
    Persistent,
    /// addWatch mode 1: the node and everything below it, but no ChildrenChanged.
    Recursive,
}

/// Which watches removeWatches and checkWatches mean; the number is the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum WatcherType {
    /// One-shot child watches.
    Children = 1,
    /// One-shot data and exist watches.
    Data = 2,
    /// All of the connection's at the path.
    Any = 3,
    /// Persistent ones.
    Persistent = 4,
    /// Persistent recursive ones.
    Recursive = 5,
}

impl WatcherType {
    /// The type of a request; None is MARSHALLINGERROR.
    pub fn from_wire(n: i32) -> Option<WatcherType> {
        Some(match n {
            1 => WatcherType::Children,
            2 => WatcherType::Data,
            3 => WatcherType::Any,
            4 => WatcherType::Persistent,
            5 => WatcherType::Recursive,
            _ => return None,
        })
    }
}

/// What `wchs` prints; the data table alone, as in Apache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WatchSummary {
    /// Connections that watch something.
    pub connections: usize,
    /// Paths that are watched.
    pub paths: usize,
    /// Pairs of both.
    pub watches: usize,
}

/// All watches of a server. Many readers register at once; the writer fires.
#[derive(Debug, Default)]
pub struct WatchTable {}

#[allow(unused_variables)]
impl WatchTable {
    /// No watches.
    pub fn new() -> WatchTable {
        WatchTable {}
    }

    /// Leaves a watch; leaving it twice is the same as once. Any string may be watched.
    pub fn add(&self, conn: ConnId, path: &str, kind: WatchKind) {
        todo!()
    }

    /// Takes watches back; false is NOWATCHER.
    pub fn remove(&self, conn: ConnId, path: &str, which: WatcherType) -> bool {
        todo!()
    }

    /// Whether there is such a watch.
    pub fn contains(&self, conn: ConnId, path: &str, which: WatcherType) -> bool {
        todo!()
    }

    /// Forgets all watches of a connection that is closing; nothing may be added for it any more.
    pub fn remove_conn(&self, conn: ConnId) {
        todo!()
    }

    /// Tells `event` whom a change concerns, each connection at most once, and drops the one-shot
    /// watches that fired. The event's path is the change's. The caller checks the change's ACL: a
    /// one-shot watch is used up even if its owner may not be told.
    pub fn fire(&self, change: &Change, event: &mut dyn FnMut(ConnId, EventKind)) {
        todo!()
    }

    /// Watches in both tables: what `mntr` calls watch_count.
    pub fn watch_count(&self) -> usize {
        todo!()
    }

    /// What `wchs` prints.
    pub fn summary(&self) -> WatchSummary {
        todo!()
    }

    /// What `wchp` prints: paths of the data table and who watches them, in order.
    pub fn by_path(&self) -> Vec<(String, Vec<ConnId>)> {
        todo!()
    }

    /// What `wchc` prints: connections and what they watch in the data table, in order.
    pub fn by_connection(&self) -> Vec<(ConnId, Vec<String>)> {
        todo!()
    }
}
