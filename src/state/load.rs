//! Building a state from a snapshot.

use crate::proto::image::{ImageNode, ImageSink};
use crate::types::{Acl, Zxid};

use super::{Options, StateMachine};

/// Receives an image and becomes a state. Tolerant of what Apache's fuzzy snapshots hold.
#[derive(Debug)]
pub struct StateLoader {
    state: StateMachine,
}

#[allow(unused_variables)]
impl StateLoader {
    /// An empty one.
    pub fn new(options: Options) -> StateLoader {
        StateLoader { state: StateMachine::new(options) }
    }

    /// The state at `zxid` (of the file's name, or its trailer). A `digest` of that zxid is
    /// compared at once, one of a later zxid (a fuzzy snapshot) when replay gets there, and until
    /// then transactions' digests are not compared.
    pub fn finish(self, zxid: Zxid, digest: Option<(Zxid, i64)>) -> StateMachine {
        todo!()
    }
}

#[allow(unused_variables)]
impl ImageSink for StateLoader {
    fn session(&mut self, id: i64, timeout_ms: i32) {
        todo!()
    }
    fn acl(&mut self, index: i64, acl: Vec<Acl>) {
        todo!()
    }
    fn node(&mut self, path: &str, node: ImageNode) -> Result<(), String> {
        todo!()
    }
}
