//! Reads whose answer may be large, in steps: each takes the lock for some thousand nodes or one
//! node's data, and lets go of it. The answer is bounded before it is built, lies in pieces, and goes
//! to the outbox under the lock of its last step, under which it is exact:
//!
//! - getChildren lists what is there at the last step, and leaves its watch under the same lock;
//! - every part of a multiRead is exact at its own step, none is newer than the header's zxid, and
//!   the events of what a part shows are in the outbox before it. Parts may be of different times, as
//!   in Apache, which takes no lock around them;
//! - setWatches looks at each path and leaves its watch, or tells what was missed, under one lock.
//!
//! All replies together are bounded. Who finds no room gives up what it has built, so that nobody
//! waits for somebody who waits, and begins again when there is room for as much.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};

use super::conn::{Ended, Turn};
use super::reads::{self, Asker, View};
use super::reply::{write_event, write_reply};
use super::rewatch::Rewatch;
use super::share::Share;
use crate::proto::frame;
use crate::proto::jute::{Reader, Write, wire_length};
use crate::proto::multi::{self, Op};
use crate::proto::opcode::OpCode;
use crate::proto::records::PathRecord;
use crate::state::read::{self, Size};
use crate::state::{Belongings, Census, Listing, NodeRef, PIECE_BYTES, Progress};
use crate::types::{Acl, Code, Id, Perms, Zxid};

/// Children, ephemerals or nodes that one step looks at.
const STEP_NODES: usize = 2048;
/// Parts of a multiRead, or paths of a setWatches, that one step looks at.
const STEP_PARTS: usize = 512;

/// A large reply in pieces, and its share of all replies.
#[derive(Debug)]
pub struct Pieces {
    /// What is to be written, after what is in [`Turn::out`].
    pub list: VecDeque<BytesMut>,
    /// Counts them until they are gone.
    pub share: Share,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more to do.
    More,
    /// What waits for the client must be written first.
    Room,
    /// All replies together take too much room; some must be taken by their clients first.
    Relief,
    /// It is answered. Some: nothing more may follow.
    Done(Option<Ended>),
}

/// Why a step does not answer.
enum Pause {
    More,
    /// The walk must begin again.
    Restart,
    /// Other replies leave no room for so many bytes.
    NoRoom(usize),
    /// The whole request is answered with an error.
    Refused(Code),
}

impl From<Code> for Pause {
    fn from(code: Code) -> Pause {
        Pause::Refused(code)
    }
}

/// The body of a reply.
struct Body {
    code: Code,
    pieces: Vec<BytesMut>,
}

impl Body {
    fn of(pieces: Vec<BytesMut>) -> Body {
        Body { code: Code::OK, pieces }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Long {
    xid: i32,
    opcode: OpCode,
    body: Bytes,
    ids: Arc<[Id]>,
    work: Work,
    share: Share,
    /// To be had before it begins: it was refused less.
    reserve: usize,
}

#[derive(Debug)]
enum Work {
    /// Not begun.
    Fresh,
    /// The request does not decode; parts of it are answered (the end of a multi) or nothing.
    Bad(Vec<BytesMut>),
    Names(Listing),
    Count(Census),
    Ephemerals(Belongings),
    Multi(Multi),
    Watches(Rewatch),
}

/// A multiRead under way.
#[derive(Debug)]
struct Multi {
    reader: Reader,
    /// What the parts take at least, while that is looked at; None: they are being built.
    measured: Option<usize>,
    /// The part that is being listed.
    listing: Option<(Op, Listing)>,
    pieces: Vec<BytesMut>,
    bytes: usize,
}

/// What a step of a read has at hand.
struct Desk<'a, 'b, 'c> {
    view: View<'a>,
    asker: Asker<'a>,
    turn: &'b mut Turn<'c>,
}

impl Desk<'_, '_, '_> {
    fn allowed(&self, acl: &[Acl], wanted: Perms) -> bool {
        self.turn.rules.auth.check(acl, self.asker.ids, wanted)
    }

    fn node(&self, path: &str) -> Result<NodeRef<'_>, Code> {
        read::permitted(self.view.state, path, Perms::READ, &|acl, wanted| {
            self.allowed(acl, wanted)
        })
    }

    /// The bytes of one reply are within their bound, and all replies within theirs.
    fn admit(&self, share: &mut Share, reply: usize, held: usize) -> Result<(), Pause> {
        let limits = &self.turn.rules.limits;
        if reply > limits.reply_bytes_max {
            return Err(Pause::Refused(TOO_LARGE));
        }
        match share.grow(held, limits.all_replies_bytes_max) {
            true => Ok(()),
            false => Err(Pause::NoRoom(held)),
        }
    }

    fn told(&mut self, path: &str, bytes: usize) {
        if let Some(namespaces) = self.turn.namespaces.as_deref_mut() {
            namespaces.read(path, bytes);
        }
    }
}

/// The answer to a request whose reply would be larger than a reply may be. Clients of all languages
/// know it, and none tries again by itself (`compat-tests/known-gaps.toml`).
pub(super) const TOO_LARGE: Code = Code::MARSHALLING_ERROR;

/// The last piece, or a new one if it has no room for `bytes`.
fn piece(pieces: &mut Vec<BytesMut>, bytes: usize) -> &mut BytesMut {
    if pieces.last().is_none_or(|last| last.len() + bytes > PIECE_BYTES) {
        pieces.push(BytesMut::with_capacity(bytes.max(PIECE_BYTES)));
    }
    let last = pieces.len() - 1;
    &mut pieces[last]
}

impl Long {
    /// A request that is not answered at one go.
    pub fn new((xid, opcode, body): (i32, OpCode, Bytes), ids: Arc<[Id]>, share: Share) -> Long {
        Long { xid, opcode, body, ids, work: Work::Fresh, share, reserve: 0 }
    }

    /// The request's bytes.
    pub fn request_bytes(&self) -> usize {
        self.body.len()
    }

    /// Bytes of the reply that it holds.
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.share.bytes()
    }

    /// The identities that the request came with.
    pub fn ids(&self) -> &Arc<[Id]> {
        &self.ids
    }

    /// Whether there is something to do without the lock: [`Long::settle`].
    pub fn is_unsettled(&self) -> bool {
        match &self.work {
            Work::Fresh => [OpCode::MULTI_READ, OpCode::SET_WATCHES, OpCode::SET_WATCHES2]
                .contains(&self.opcode),
            Work::Names(listing) => listing.is_unsettled(),
            Work::Ephemerals(own) => own.is_unsettled(),
            Work::Multi(Multi { listing: Some((_, listing)), .. }) => listing.is_unsettled(),
            _ => false,
        }
    }

    /// Does what needs no lock: decodes the whole request, or tidies what was collected.
    pub fn settle(&mut self) {
        match &mut self.work {
            Work::Fresh if self.opcode == OpCode::MULTI_READ => {
                self.work = match multi_is_sound(&self.body) {
                    Ok(true) => Work::Multi(Multi {
                        reader: Reader::new(self.body.clone()),
                        measured: Some(0),
                        listing: None,
                        pieces: Vec::new(),
                        bytes: 0,
                    }),
                    Ok(false) => {
                        let mut end = BytesMut::new();
                        multi::write_end(&mut end);
                        Work::Bad(vec![end])
                    }
                    Err(()) => Work::Bad(Vec::new()),
                };
            }
            Work::Fresh => {
                let rewatch = Rewatch::new(self.opcode, self.body.clone());
                self.work = rewatch.map_or(Work::Bad(Vec::new()), Work::Watches);
            }
            Work::Names(listing) => listing.settle(),
            Work::Ephemerals(own) => own.settle(),
            Work::Multi(Multi { listing: Some((_, listing)), .. }) => listing.settle(),
            _ => {}
        }
    }

    /// Goes on by one step, with the state locked.
    pub fn step(&mut self, view: View, asker: Asker, turn: &mut Turn) -> Step {
        if asker.session_over {
            write_reply(turn.out, self.xid, view.state.last_zxid(), Code::SESSION_EXPIRED, |_| {});
            return Step::Done(None);
        }
        let mut desk = Desk { view, asker, turn };
        if let Work::Watches(rewatch) = &mut self.work {
            return rewatch_step(rewatch, self.xid, &mut desk);
        }
        if desk.turn.unwritten > 0 {
            return Step::Room;
        }
        let body = match desk.admit(&mut self.share, 0, self.reserve) {
            Ok(()) => self.work(&mut desk),
            Err(pause) => Err(pause),
        };
        match body {
            Ok(body) => self.deliver(body, &mut desk),
            Err(Pause::Refused(code)) => {
                self.work = Work::Fresh;
                let zxid = view.state.last_zxid();
                write_reply(desk.turn.out, self.xid, zxid, code, |_| {});
                Step::Done(None)
            }
            Err(Pause::More) => Step::More,
            Err(Pause::Restart) => {
                self.work = Work::Fresh;
                Step::More
            }
            Err(Pause::NoRoom(bytes)) => {
                let most = desk.turn.rules.limits.reply_bytes_max;
                self.reserve = self.reserve.max((bytes + bytes / 2).min(most.max(bytes)));
                self.work = Work::Fresh;
                self.share.set(0);
                desk.turn.rules.load.replies_refused.fetch_add(1, Ordering::Relaxed);
                Step::Relief
            }
        }
    }

    fn work(&mut self, desk: &mut Desk) -> Result<Body, Pause> {
        match self.opcode {
            _ if matches!(self.work, Work::Bad(_)) => {
                let work = std::mem::replace(&mut self.work, Work::Fresh);
                let pieces = if let Work::Bad(pieces) = work { pieces } else { Vec::new() };
                Ok(Body { code: Code::MARSHALLING_ERROR, pieces })
            }
            OpCode::GET_DATA => self.data(desk),
            OpCode::GET_CHILDREN | OpCode::GET_CHILDREN2 => self.names(desk),
            OpCode::GET_EPHEMERALS => self.ephemerals(desk),
            OpCode::GET_ALL_CHILDREN_NUMBER => self.count(desk),
            _ => self.multi(desk),
        }
    }

    /// Puts a whole reply where the client gets it.
    fn deliver(&mut self, body: Body, desk: &mut Desk) -> Step {
        let (zxid, turn) = (desk.view.state.last_zxid(), &mut *desk.turn);
        let bytes: usize = body.pieces.iter().map(BytesMut::len).sum();
        let is_large = bytes > read::AT_ONCE_BYTES;
        if bytes > turn.rules.limits.reply_bytes_max {
            write_reply(turn.out, self.xid, zxid, TOO_LARGE, |_| {});
            return Step::Done(None);
        }
        let at = frame::begin(turn.out);
        turn.out.i32(self.xid);
        turn.out.i64(zxid.0);
        turn.out.i32(body.code.0);
        if is_large {
            let length = wire_length(turn.out.len() - at - 4 + bytes);
            turn.out[at..at + 4].copy_from_slice(&length.to_be_bytes());
            let mut share = std::mem::replace(&mut self.share, turn.rules.load.reply_share());
            share.set(bytes);
            turn.pieces = Some(Pieces { list: body.pieces.into(), share });
        } else {
            body.pieces.iter().for_each(|piece| turn.out.extend_from_slice(piece));
            frame::end(turn.out, at);
        }
        Step::Done(None)
    }

    fn data(&mut self, desk: &mut Desk) -> Result<Body, Pause> {
        let (path, watch) = reads::path_and_watch(&self.body)?;
        let state = desk.view.state;
        let node =
            read::permitted(state, &path, Perms::READ, &|acl, wanted| desk.allowed(acl, wanted))?;
        let data = node.data();
        let length = data.map_or(0, <[u8]>::len);
        let bytes = 4 + length + reads::STAT_LEN;
        desk.admit(&mut self.share, bytes, bytes)?;
        let mut out = BytesMut::with_capacity(bytes);
        out.buffer(data);
        out.put(&node.client_stat());
        reads::leave(desk.view, desk.asker.conn, self.opcode, &path, watch, Ok(()))?;
        desk.told(&path, length);
        Ok(Body::of(vec![out]))
    }

    fn names(&mut self, desk: &mut Desk) -> Result<Body, Pause> {
        let (path, watch) = reads::path_and_watch(&self.body)?;
        let node = desk.node(&path)?;
        if !matches!(self.work, Work::Names(_)) {
            self.work = Work::Names(Listing::begin(&node));
        }
        let Work::Names(listing) = &mut self.work else { return Err(Pause::Restart) };
        let progress = listing.step(&node, STEP_NODES);
        desk.admit(&mut self.share, listing.bytes(), listing.held_bytes())?;
        go_on(progress)?;
        let stat = (self.opcode == OpCode::GET_CHILDREN2).then(|| node.client_stat());
        reads::leave(desk.view, desk.asker.conn, self.opcode, &path, watch, Ok(()))?;
        let (count, bytes) = (listing.count(), listing.bytes());
        let mut first = BytesMut::with_capacity(4);
        first.count(count);
        let work = std::mem::replace(&mut self.work, Work::Fresh);
        let Work::Names(listing) = work else { return Err(Pause::Restart) };
        let mut pieces = vec![first];
        pieces.extend(listing.into_pieces());
        if let Some(stat) = stat {
            piece(&mut pieces, reads::STAT_LEN).put(&stat);
        }
        desk.told(&path, bytes - 4 * count);
        Ok(Body::of(pieces))
    }

    fn ephemerals(&mut self, desk: &mut Desk) -> Result<Body, Pause> {
        let request = Reader::new(self.body.clone()).get::<PathRecord>();
        let request = request.map_err(|_| Code::MARSHALLING_ERROR)?;
        let prefix = read::ephemerals_prefix(request.path.as_deref());
        let state = desk.view.state;
        if !matches!(self.work, Work::Ephemerals(_)) {
            self.work = Work::Ephemerals(Belongings::begin(state, desk.asker.session));
        }
        let Work::Ephemerals(own) = &mut self.work else { return Err(Pause::Restart) };
        let progress = own.step(state, prefix, STEP_NODES);
        desk.admit(&mut self.share, own.bytes(), own.held_bytes())?;
        go_on(progress)?;
        let mut first = BytesMut::with_capacity(4);
        first.count(own.count());
        let work = std::mem::replace(&mut self.work, Work::Fresh);
        let Work::Ephemerals(own) = work else { return Err(Pause::Restart) };
        let mut pieces = vec![first];
        pieces.extend(own.into_pieces());
        Ok(Body::of(pieces))
    }

    fn count(&mut self, desk: &mut Desk) -> Result<Body, Pause> {
        let path = reads::path_of(&self.body)?;
        let node = desk.node(&path)?;
        let count = match desk.view.state.known_children_number(&path) {
            Some(count) => count,
            None => {
                if !matches!(self.work, Work::Count(_)) {
                    self.work = Work::Count(Census::begin(&node));
                }
                let Work::Count(census) = &mut self.work else { return Err(Pause::Restart) };
                go_on(census.step(&node, STEP_NODES))?;
                census.count()
            }
        };
        let mut out = BytesMut::with_capacity(4);
        out.i32(i32::try_from(count).unwrap_or(i32::MAX));
        Ok(Body::of(vec![out]))
    }

    fn multi(&mut self, desk: &mut Desk) -> Result<Body, Pause> {
        let Work::Multi(multi) = &mut self.work else { return Err(Pause::Restart) };
        let code = match multi.measured {
            Some(_) => multi.measure(desk, &self.body, &mut self.share),
            None => multi.build(desk, &mut self.share),
        }?;
        let mut pieces = std::mem::take(&mut multi.pieces);
        multi::write_end(piece(&mut pieces, 9));
        Ok(Body { code, pieces })
    }
}

/// Whether all of a multiRead decodes and nothing but reads is in it; false: it is one of writes.
fn multi_is_sound(body: &Bytes) -> Result<bool, ()> {
    let mut r = Reader::new(body.clone());
    let mut reads = None;
    while let Some(op) = multi::next_op(&mut r).map_err(|_| ())? {
        if *reads.get_or_insert(op.is_read()) != op.is_read() {
            return Err(());
        }
    }
    Ok(reads.unwrap_or(true))
}

fn go_on(progress: Progress) -> Result<(), Pause> {
    match progress {
        Progress::Done => Ok(()),
        Progress::More | Progress::Settle => Err(Pause::More),
        Progress::Restart => Err(Pause::Restart),
    }
}

impl Multi {
    /// Adds up what the parts take at least; when that fits, they are built from the next step on.
    fn measure(&mut self, desk: &mut Desk, body: &Bytes, share: &mut Share) -> Result<Code, Pause> {
        let mut sum = self.measured.unwrap_or(0);
        for _ in 0..STEP_PARTS {
            let op = multi::next_op(&mut self.reader).map_err(|_| Code::MARSHALLING_ERROR)?;
            let Some(op) = op else {
                desk.admit(share, sum, sum)?;
                self.measured = None;
                self.reader = Reader::new(body.clone());
                return Err(Pause::More);
            };
            let Some(path) = op.path() else { continue };
            let least = desk.node(path).map_or(13, |node| match op {
                Op::GetData(_) => 9 + 4 + node.data().map_or(0, <[u8]>::len) + reads::STAT_LEN,
                _ => 9 + 4 + 5 * node.num_children(),
            });
            sum += least;
            desk.admit(share, sum, 0)?;
        }
        self.measured = Some(sum);
        Err(Pause::More)
    }

    /// Answers some more parts; the code of the whole once that was the last.
    fn build(&mut self, desk: &mut Desk, share: &mut Share) -> Result<Code, Pause> {
        let enough = self.bytes + PIECE_BYTES;
        let mut children = 0;
        for _ in 0..STEP_PARTS {
            if self.bytes >= enough || children >= STEP_NODES {
                return Err(Pause::More);
            }
            if self.listing.is_some() {
                self.list(desk, share)?;
                return Err(Pause::More);
            }
            let op = multi::next_op(&mut self.reader).map_err(|_| Code::MARSHALLING_ERROR)?;
            let Some(op) = op else { return Ok(Code::OK) };
            let Some(path) = op.path() else { return Ok(Code::MARSHALLING_ERROR) };
            match desk.node(path) {
                Err(code) => self.error(code, desk, share)?,
                Ok(node) if matches!(op, Op::GetData(_)) => {
                    let length = node.data().map_or(0, <[u8]>::len);
                    let bytes = 9 + 4 + length + reads::STAT_LEN;
                    desk.admit(share, self.bytes + bytes, self.bytes + bytes)?;
                    let out = piece(&mut self.pieces, bytes);
                    multi::write_result(out, OpCode::GET_DATA);
                    out.buffer(node.data());
                    out.put(&node.client_stat());
                    self.bytes += bytes;
                    desk.told(path, length);
                }
                Ok(node) => {
                    children += node.num_children();
                    let mut out = BytesMut::new();
                    multi::write_result(&mut out, OpCode::GET_CHILDREN);
                    let before = out.len();
                    let read = read::get_children(
                        desk.view.state,
                        path,
                        &|a, w| desk.allowed(a, w),
                        &mut out,
                    );
                    if read == Ok(Size::Large) {
                        let listing = Listing::begin(&node);
                        self.listing = Some((op, listing));
                        continue;
                    }
                    desk.admit(share, self.bytes + out.len(), self.bytes + out.len())?;
                    piece(&mut self.pieces, out.len()).extend_from_slice(&out);
                    self.bytes += out.len();
                    let names = out.len() - before - 4 - 4 * node.num_children();
                    desk.told(path, names);
                }
            }
        }
        Err(Pause::More)
    }

    fn error(&mut self, code: Code, desk: &mut Desk, share: &mut Share) -> Result<(), Pause> {
        multi::write_error(piece(&mut self.pieces, 13), code);
        self.bytes += 13;
        desk.admit(share, self.bytes, self.bytes)
    }

    /// Goes on with the part that lists many children.
    fn list(&mut self, desk: &mut Desk, share: &mut Share) -> Result<(), Pause> {
        let Some((op, mut listing)) = self.listing.take() else { return Ok(()) };
        let path = op.path().unwrap_or_default();
        let node = match desk.node(path) {
            Ok(node) => node,
            Err(code) => return self.error(code, desk, share),
        };
        let progress = listing.step(&node, STEP_NODES);
        let (bytes, held) = (self.bytes + listing.bytes(), self.bytes + listing.held_bytes());
        desk.admit(share, bytes, held)?;
        match progress {
            Progress::Done => {}
            Progress::Restart => {
                let listing = Listing::begin(&node);
                self.listing = Some((op, listing));
                return Ok(());
            }
            Progress::More | Progress::Settle => {
                self.listing = Some((op, listing));
                return Ok(());
            }
        }
        let out = piece(&mut self.pieces, 13);
        multi::write_result(out, OpCode::GET_CHILDREN);
        out.count(listing.count());
        self.bytes = bytes + 13;
        desk.told(path, listing.bytes() - 4 * listing.count());
        self.pieces.extend(listing.into_pieces());
        Ok(())
    }
}

/// Some more paths of a setWatches.
fn rewatch_step(rewatch: &mut Rewatch, xid: i32, desk: &mut Desk) -> Step {
    let (view, conn) = (desk.view, desk.asker.conn);
    for _ in 0..STEP_PARTS {
        if desk.turn.is_full() {
            return Step::Room;
        }
        let turn = &mut *desk.turn;
        let event = &mut |kind, path: &str| {
            write_event(turn.out, Zxid(-1), kind, path);
            turn.besides += 1;
        };
        if rewatch.next(view, conn, event) {
            continue;
        }
        let whole = rewatch.is_whole();
        let code = if whole { Code::OK } else { reads::TOO_MANY_WATCHES };
        write_reply(turn.out, xid, view.state.last_zxid(), code, |_| {});
        return Step::Done((!whole).then_some(reads::WATCHES_TOO_MANY));
    }
    Step::More
}
