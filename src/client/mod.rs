//! A small client of our own, for the shell, the tests and the benches.
//!
//! - [`Client`]: a session as users know it: it connects to one of several servers, renews its
//!   session after a disconnect, registers its watches again, and offers every operation typed;
//! - [`Event`]: watch events and changes of the connection's state, in the order in which the
//!   server sent them relative to one another, through one channel;
//! - [`pipe`]: the opposite of comfort: one connection, preallocated requests, no runtime, for load
//!   generators.
//!
//! What this module must not know: anything of the server's insides. It works against every
//! ZooKeeper server from 3.4 on, as far as the server has the operation.
//!
//! ```no_run
//! # async fn f() -> Result<(), rookeeper::client::Error> {
//! use rookeeper::client::{Client, Options};
//! use rookeeper::types::{CreateMode, open_acl};
//!
//! let (client, mut events) = Client::connect(Options::new("a:2181,b:2181/app")?).await?;
//! client.create("/x", Some(b"1"), open_acl(), CreateMode::Persistent).await?;
//! let (data, stat) = client.get("/x", true).await?;
//! client.set("/x", Some(b"2"), stat.version).await?;
//! let event = events.recv().await; // NodeDataChanged /x
//! client.close().await;
//! # Ok(()) }
//! ```

mod api;
mod connect;
mod driver;
mod error;
mod event;
mod multi;
pub mod pipe;
mod watches;

pub use api::{Client, ReconfigChange};
pub use connect::{ConnectString, Host, four_letter};
pub use driver::Reply;
pub use error::Error;
pub use event::{Event, EventKind, Events, State, Status};
pub use multi::OpResult;
pub use watches::{AddWatchMode, WatcherType};

use std::time::Duration;

use bytes::Bytes;

/// No check of the version: matches every version of a node.
pub const ANY_VERSION: i32 = -1;

/// How a client connects and behaves; see the fields.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to, and the chroot.
    pub connect: ConnectString,
    /// Asked for; the server clamps it. Pings go out after a third of it, a server silent for two
    /// thirds is given up.
    pub session_timeout: Duration,
    /// Longest wait for one server's answer to the connection and the handshake; None means the
    /// session timeout divided by the number of servers, as in Apache's client.
    pub connect_timeout: Option<Duration>,
    /// Whether a server in read-only mode will do, until a full one is found.
    pub read_only: bool,
    /// Whether to start at a random server of the list.
    pub shuffle: bool,
    /// An existing session to renew: id, and password of 16 bytes.
    pub renew: Option<(i64, Bytes)>,
    /// Identities to present on every connection: scheme and the scheme's data.
    pub auth: Vec<(String, Bytes)>,
    /// Longest reply that is accepted, in bytes; a longer one ends the connection.
    pub reply_bytes_max: usize,
    /// Pause between two rounds over all servers.
    pub retry: Duration,
}

impl Options {
    /// The defaults, for a connect string such as `a:2181,b:2181/chroot`: 30 s session timeout,
    /// no read-only servers, replies of at most 64 MiB.
    ///
    /// # Errors
    /// [`Error::ConnectString`] when the text is none.
    pub fn new(connect: &str) -> Result<Options, Error> {
        Ok(Options {
            connect: connect.parse()?,
            session_timeout: Duration::from_secs(30),
            connect_timeout: None,
            read_only: false,
            shuffle: true,
            renew: None,
            auth: Vec::new(),
            reply_bytes_max: 64 << 20,
            retry: Duration::from_millis(300),
        })
    }
}

#[cfg(test)]
mod tests;
