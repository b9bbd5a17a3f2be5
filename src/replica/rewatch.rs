//! A setWatches of many paths, gone through path by path: nothing of it is kept but its bytes.

use bytes::Bytes;

use super::reads::View;
use crate::proto::jute::Reader;
use crate::proto::opcode::OpCode;
use crate::state::EventKind;
use crate::state::read::{self, WatchList};
use crate::types::ConnId;

/// See the module.
#[derive(Debug)]
pub(super) struct Rewatch {
    reader: Reader,
    /// What the client has seen.
    seen: i64,
    lists: &'static [WatchList],
    /// Paths of the first of the lists that are still to come.
    left: usize,
    whole: bool,
}

const LISTS: &[WatchList] = &[
    WatchList::Data,
    WatchList::Exist,
    WatchList::Child,
    WatchList::Persistent,
    WatchList::Recursive,
];

impl Rewatch {
    /// Of the body of a setWatches or setWatches2; None when it does not decode, or a list or a path
    /// is null.
    pub fn new(opcode: OpCode, body: Bytes) -> Option<Rewatch> {
        let lists = if opcode == OpCode::SET_WATCHES2 { LISTS } else { &LISTS[..3] };
        let mut reader = Reader::new(body);
        let seen = reader.i64().ok()?;
        let mut ahead = reader.clone();
        for _ in lists {
            let count = usize::try_from(ahead.i32().ok()?).ok()?;
            for _ in 0..count {
                ahead.str().ok()??;
            }
        }
        let left = Self::count(&mut reader);
        Some(Rewatch { reader, seen, lists, left, whole: true })
    }

    fn count(reader: &mut Reader) -> usize {
        reader.i32().ok().and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
    }

    /// Whether every watch was left.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Deals with the next path; false when there is none.
    pub fn next(
        &mut self,
        view: View,
        conn: ConnId,
        event: &mut dyn FnMut(EventKind, &str),
    ) -> bool {
        while self.left == 0 {
            let Some((_, rest)) = self.lists.split_first() else { return false };
            self.lists = rest;
            if !rest.is_empty() {
                self.left = Self::count(&mut self.reader);
            }
        }
        self.left -= 1;
        let Some(list) = self.lists.first() else { return false };
        let Ok(Some(path)) = self.reader.str() else { return false };
        let of = (*list, &*path);
        self.whole &= read::set_watch(view.state, view.watches, conn, of, self.seen, event);
        true
    }
}
