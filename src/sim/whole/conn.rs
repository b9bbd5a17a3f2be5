//! The server's side of client connections: what a connection's task does, without the sockets.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};

use crate::auth::Auth;
use crate::replica::conn::{Conn, Ended, Rules, Submit, Turn, Want};
use crate::replica::reads::View;
use crate::replica::{Deliver, reply};
use crate::state::watch::WatchTable;
use crate::state::{Change, EventKind, StateMachine};
use crate::types::{ConnId, Instant, Perms, SessionId};

/// One connection.
#[derive(Debug)]
pub struct Side {
    /// The value under test.
    pub conn: Conn,
    /// Received, not taken.
    pub input: BytesMut,
    /// The outbox.
    pub out: BytesMut,
    /// Answers of the node thread that the task has not seen.
    pub answered: usize,
    /// The session and its timeout, ms.
    pub session: Option<(SessionId, i32)>,
    /// The session is closing.
    pub closing: bool,
    /// Close once the outbox is written.
    pub close: Option<Ended>,
    /// The client's end is gone.
    pub eof: bool,
    /// When something was last received, on the server's clock.
    pub active: Instant,
    /// When it began.
    pub since: Instant,
    /// Its task is to run.
    pub scheduled: bool,
    /// It has ended; the node thread does not know yet.
    pub ended: bool,
}

/// What came of one run of a connection's task.
#[derive(Debug, Default)]
pub struct Ran {
    /// To be written.
    pub out: Bytes,
    /// For the node thread.
    pub submits: Vec<Submit>,
    /// The connection ends once `out` is written.
    pub end: Option<Ended>,
}

impl Side {
    /// A connection that has just been accepted.
    pub fn new(id: ConnId, now: Instant) -> Side {
        Side {
            conn: Conn::new(id, "10.0.0.1"),
            input: BytesMut::new(),
            out: BytesMut::new(),
            answered: 0,
            session: None,
            closing: false,
            close: None,
            eof: false,
            active: now,
            since: now,
            scheduled: false,
            ended: false,
        }
    }

    /// Goes on as far as it can.
    pub fn run(
        &mut self,
        now: Instant,
        rules: &Rules,
        state: &StateMachine,
        watches: &WatchTable,
    ) -> Ran {
        let mut ran = Ran::default();
        self.conn.answered(std::mem::take(&mut self.answered));
        if let Some((session, _)) = self.session
            && self.conn.session() != session
        {
            self.conn.connected(session);
        }
        if self.closing {
            self.conn.session_over();
        }
        let view = View { state, watches };
        let mut result = Ok(Want::Answers);
        if self.close.is_none() {
            loop {
                // What is tidied between the steps of a long read is tidied without the state.
                let tidies =
                    result == Ok(Want::Again) && !self.conn.reads_first(&self.input, rules);
                let view = (!tidies).then_some(view);
                let mut turn =
                    Turn::new(rules, now.as_millis(), view, &mut self.out, &mut ran.submits);
                result = self.conn.run(&mut self.input, &mut turn);
                let pieces = turn.pieces.take();
                for piece in pieces.iter().flat_map(|pieces| &pieces.list) {
                    self.out.extend_from_slice(piece);
                }
                if !matches!(result, Ok(Want::Room | Want::Again | Want::State)) {
                    break;
                }
                // Whatever there is can be written at once.
                let full = self.out.split();
                ran.out = [&ran.out[..], &full[..]].concat().into();
            }
        }
        match result {
            Ok(Want::End(why)) => ran.end = Some(why),
            Ok(_) if self.eof => ran.end = Some("the client is gone"),
            Ok(_) => ran.end = self.close,
            Err(why) => {
                self.out.clear();
                ran.end = Some(why);
            }
        }
        let rest = self.out.split();
        ran.out = [&ran.out[..], &rest[..]].concat().into();
        ran
    }
}

/// The node thread's way to the connections.
pub struct Outlets<'a> {
    /// All of them.
    pub sides: &'a mut BTreeMap<ConnId, Side>,
    /// Whose tasks are to run.
    pub woken: &'a mut BTreeSet<ConnId>,
    /// Schemes.
    pub auth: &'a Auth,
    /// A bug: events wait until the replies are out.
    pub late: Option<&'a mut Vec<(ConnId, BytesMut)>>,
}

impl Outlets<'_> {
    fn with(&mut self, conn: ConnId, act: impl FnOnce(&mut Side)) {
        if let Some(side) = self.sides.get_mut(&conn) {
            act(side);
            self.woken.insert(conn);
        }
    }
}

impl Deliver for Outlets<'_> {
    fn frame(&mut self, conn: ConnId, frame: &[u8], done: u32) {
        self.with(conn, |side| {
            side.out.extend_from_slice(frame);
            side.answered += done as usize;
        });
    }

    fn event(&mut self, conn: ConnId, kind: EventKind, change: &Change) {
        let Some(side) = self.sides.get_mut(&conn) else { return };
        let ids = side.conn.ids();
        if !change.acl().is_none_or(|acl| self.auth.check(acl, ids, Perms::READ)) {
            return;
        }
        let mut event = BytesMut::new();
        reply::write_event(&mut event, change.zxid, kind, change.path());
        match &mut self.late {
            Some(late) => late.push((conn, event)),
            None => self.with(conn, |side| side.out.extend_from_slice(&event)),
        }
    }

    fn connected(&mut self, conn: ConnId, session: SessionId, timeout_ms: i32) {
        self.with(conn, |side| side.session = Some((session, timeout_ms)));
    }

    fn closing(&mut self, conn: ConnId) {
        self.with(conn, |side| side.closing = true);
    }

    fn close(&mut self, conn: ConnId, why: &'static str) {
        self.with(conn, |side| side.close = Some(why));
    }
}
