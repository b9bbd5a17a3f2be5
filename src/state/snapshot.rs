//! Snapshots without a pause.

use std::sync::Arc;

use crate::proto::image::{ImageHead, ImageTail};
use crate::types::{Acl, Zxid};

/// How far a snapshot has come, and what it says beside the nodes.
#[derive(Debug)]
pub struct SnapshotCursor {
    sessions: Vec<(i64, i32)>,
    acls: Vec<(i64, Arc<[Acl]>)>,
    tail: ImageTail,
}

impl SnapshotCursor {
    /// A step ends early once it has appended this many bytes.
    pub const STEP_BYTES: usize = 1 << 20;

    /// Sessions and ACLs as of the beginning.
    pub fn head(&self) -> ImageHead {
        ImageHead {
            sessions: self.sessions.clone(),
            acls: self.acls.iter().map(|(n, list)| (*n, list.to_vec())).collect(),
        }
    }

    /// Zxid and digest as of the beginning. The digest is that after the last applied transaction,
    /// so (0, 0) for a server that has seen none, as in Apache.
    pub fn tail(&self) -> ImageTail {
        self.tail
    }

    /// The last transaction in the snapshot: its name.
    pub fn zxid(&self) -> Zxid {
        self.tail.zxid
    }
}
