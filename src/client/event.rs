//! What a client is told without asking: watch events and the state of its connection.

use bytes::Bytes;

/// What happened (Apache `Watcher.Event.EventType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Nothing happened to a node: the state of the connection changed.
    None,
    /// The node was created.
    NodeCreated,
    /// The node was deleted.
    NodeDeleted,
    /// The node's data was set.
    NodeDataChanged,
    /// A child was created or deleted.
    NodeChildrenChanged,
    /// A data or exists watch was removed by this client.
    DataWatchRemoved,
    /// A child watch was removed by this client.
    ChildWatchRemoved,
    /// A persistent watch was removed by this client.
    PersistentWatchRemoved,
}

impl EventKind {
    /// The kind of a number on the wire; None for unknown numbers.
    pub fn from_wire(kind: i32) -> Option<EventKind> {
        Some(match kind {
            -1 => EventKind::None,
            1 => EventKind::NodeCreated,
            2 => EventKind::NodeDeleted,
            3 => EventKind::NodeDataChanged,
            4 => EventKind::NodeChildrenChanged,
            5 => EventKind::DataWatchRemoved,
            6 => EventKind::ChildWatchRemoved,
            7 => EventKind::PersistentWatchRemoved,
            _ => return None,
        })
    }
}

/// The state of a client's connection (Apache `KeeperState`, with the start and the end added).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not connected yet.
    Connecting,
    /// Connected to a serving server.
    SyncConnected,
    /// Connected to a server in read-only mode.
    ConnectedReadOnly,
    /// Not connected; the client is trying. Watches are kept.
    Disconnected,
    /// The session is over.
    Expired,
    /// The server refused an identity; the client is closed.
    AuthFailed,
    /// Closed by the user.
    Closed,
}

impl State {
    /// Whether requests are answered.
    pub fn is_connected(self) -> bool {
        matches!(self, State::SyncConnected | State::ConnectedReadOnly)
    }

    /// Whether the client will never be connected again.
    pub fn is_over(self) -> bool {
        matches!(self, State::Expired | State::AuthFailed | State::Closed)
    }
}

/// A watch event, or a change of the connection's state (then `kind` is [`EventKind::None`] and
/// `path` is None).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The connection's state; [`State::SyncConnected`] for every watch event from a server.
    pub state: State,
    /// The node, without the chroot.
    pub path: Option<String>,
    /// The transaction that caused it; -1 when the server does not say (before 3.9, and for events
    /// caught up on at reconnection).
    pub zxid: i64,
}

/// Where a client's events arrive. When nobody takes them and the channel (1,024) is full, the
/// client stops reading replies until there is room; dropping this discards all events instead.
pub type Events = tokio::sync::mpsc::Receiver<Event>;

/// What is known of the session now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The connection's state.
    pub state: State,
    /// The session's id, 0 before the first connection.
    pub session: i64,
    /// The session's password, 16 bytes.
    pub passwd: Bytes,
    /// Negotiated, in milliseconds.
    pub timeout_ms: i32,
    /// The server connected to, `address:port`; the last one when disconnected.
    pub server: String,
}
