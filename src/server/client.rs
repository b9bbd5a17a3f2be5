//! The client port: one small task per connection.
//!
//! A task is a state machine polled by hand: it reads what there is, lets its
//! [`Conn`](crate::replica::conn::Conn) run with at most one lock of the state, writes once, and
//! sleeps. A sleeping connection holds no buffer; a thread's few buffers go from one to the next.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::auth::address_text;
use crate::config::Config;
use crate::ops::Word;
use crate::ops::metrics::{Advanced, Counter};
use crate::replica::conn::{Conn, Ended, Pieces, Submit, Turn, Want};
use crate::replica::reads::View;
use crate::replica::share::Share;
use crate::types::{ConnId, Hasher, Instant, SessionId};

use super::accept::Failures;
use super::audit;
use super::closings::Closings;
use super::inbox::Inbox;
use super::lanes::LaneId;
use super::line::{Line, LineState};
use super::node::{Event, Shared};
use super::report::Reporter;
use super::throttle::ConnectThrottle;
use super::words::{Answer, Pages};

/// Why a connection is refused, besides `maxClientCnxns` and `maxCnxns`.
const NO_DESCRIPTOR: Ended = "too many connections for the limit of open files";
/// How often idle connections are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How long a connection may take a large reply while other large replies find no room, and how long
/// it may take nothing of it.
const GIVE_WAY: Duration = Duration::from_secs(10);
const GIVE_WAY_STILL: Duration = Duration::from_secs(2);
/// Watches of a connection that has ended that go under one lock.
const FORGET_MAX: usize = 4096;
/// Turns of one task before the others get theirs.
const TURNS_MAX: usize = 32;

/// What all client connections share.
pub struct Clients {
    /// State, watches, lines, rules.
    pub shared: Arc<Shared>,
    /// The way to the node thread.
    pub inbox: Arc<Inbox<Event>>,
    /// Connections per address; 0 is unlimited.
    per_address_max: usize,
    /// Connections in all; 0 is unlimited.
    connections_max: usize,
    /// Descriptors that connections may have, and how many have one.
    descriptors: u64,
    open: AtomicU64,
    /// How long a connection may be without a session.
    sessionless: Duration,
    keep_alive: bool,
    /// How often connections that wait for relief try again.
    stall: Duration,
    throttle: Mutex<ConnectThrottle>,
    /// Answers four-letter words.
    pub reporter: Arc<Reporter>,
    closings: Closings,
    addresses: DashMap<IpAddr, usize, Hasher>,
    next_id: AtomicU64,
}

impl Clients {
    /// With the limits of a configuration.
    pub fn new(
        config: &Config,
        shared: Arc<Shared>,
        inbox: Arc<Inbox<Event>>,
        reporter: Arc<Reporter>,
    ) -> Clients {
        let throttled = config.throttle.max_requests > 0;
        let stall = Duration::from_millis(config.throttle.stall_time_ms.max(1));
        Clients {
            throttle: Mutex::new(ConnectThrottle::new(
                &config.throttle,
                config.sessions.local_enabled,
                &shared.clock,
            )),
            shared,
            inbox,
            per_address_max: config.listen.max_client_cnxns as usize,
            connections_max: config.listen.max_cnxns as usize,
            descriptors: u64::MAX,
            open: AtomicU64::new(0),
            sessionless: Duration::from_millis(config.listen.sessionless_timeout_ms.max(1)),
            keep_alive: config.listen.tcp_keep_alive,
            stall: if throttled { stall.min(SWEEP) } else { SWEEP },
            reporter,
            closings: Closings::default(),
            addresses: DashMap::with_hasher(crate::types::hasher()),
            next_id: AtomicU64::new(1),
        }
    }

    /// The same, with no more connections at a time than this.
    #[must_use]
    pub fn with_descriptors(self, descriptors: u64) -> Clients {
        Clients { descriptors, ..self }
    }

    /// Accepts connections for ever.
    pub async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut failures = Failures::new("client port");
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    failures.none();
                    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
                    self.welcome(stream, remote);
                }
                Err(error) => failures.wait(&error).await,
            }
        }
    }

    /// Serves a connection, unless there are too many.
    pub fn welcome(self: &Arc<Self>, stream: TcpStream, remote: SocketAddr) {
        match self.admit(remote.ip()) {
            Ok(()) => self.start(stream, remote),
            Err(why) => self.refuse(&stream, remote, why),
        }
    }

    /// Gives an accepted connection to a lane.
    fn start(self: &Arc<Self>, stream: TcpStream, remote: SocketAddr) {
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!("a connection was lost: {error}");
                self.dismiss(remote.ip());
                return;
            }
        };
        let lane = self.shared.lanes.choose();
        let clients = Arc::clone(self);
        self.shared.lanes.handle(lane).spawn(async move {
            // Within the lane, so that its reactor is the one that knows the socket.
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(clients, stream, remote, lane).await,
                Err(error) => {
                    tracing::warn!("a connection was lost: {error}");
                    clients.dismiss(remote.ip());
                }
            }
        });
    }

    /// Counts a connection in.
    ///
    /// # Errors
    /// Of what there are too many.
    fn admit(&self, address: IpAddr) -> Result<(), Ended> {
        if self.connections_max > 0 && self.shared.lines.len() >= self.connections_max {
            return Err("too many connections (maxCnxns)");
        }
        // Only the loop that accepts counts up.
        if self.open.load(Ordering::Relaxed) >= self.descriptors {
            return Err(NO_DESCRIPTOR);
        }
        let mut count = self.addresses.entry(address).or_insert(0);
        if self.per_address_max > 0 && *count >= self.per_address_max {
            return Err("too many connections from one address (maxClientCnxns)");
        }
        *count += 1;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Counts a connection out, when its socket is closed.
    fn dismiss(&self, address: IpAddr) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.addresses.remove_if_mut(&address, |_, count| {
            *count -= 1;
            *count == 0
        });
    }

    /// As Apache: a reset, so that the client need not wait.
    fn refuse(&self, stream: &TcpStream, remote: SocketAddr, why: Ended) {
        let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        let before = self.shared.metrics.get(Counter::ConnectionRejected);
        self.shared.metrics.add(Counter::ConnectionRejected, 1);
        self.shared.metrics.count_closed(why);
        // A flood of connections must not become a flood of lines (S22).
        if before.is_power_of_two() || before == 0 {
            tracing::warn!(
                "a connection from {} is refused: {why} (maxClientCnxns is {}, maxCnxns is {}, the \
                 limit of open files leaves {}); {} refused so far",
                remote.ip(),
                self.per_address_max,
                self.connections_max,
                self.descriptors,
                before + 1
            );
        }
    }

    /// Closes connections that are idle: without a session in time (counted from the connection's
    /// start, so that sending a byte now and then does not help), or silent for longer than the
    /// session's timeout, which also catches clients that don't read.
    pub async fn sweep(self: Arc<Self>) {
        let mut last = self.shared.clock.mono();
        let refused = &self.shared.rules.load.replies_refused;
        let mut refused_before = 0;
        loop {
            tokio::time::sleep(self.stall).await;
            let now = self.shared.clock.mono();
            let idle_too = now.since(last) >= SWEEP;
            if idle_too {
                last = now;
            }
            let refused_now = refused.load(Ordering::Relaxed);
            let no_room = std::mem::replace(&mut refused_before, refused_now) != refused_now;
            for line in &self.shared.lines {
                let mut state = line.lock();
                let why = match state.session {
                    _ if no_room && gives_way(&line, now) => Some(GIVES_WAY),
                    _ if !idle_too => None,
                    None if now.since(line.since) > self.sessionless => {
                        self.shared.metrics.add(Counter::SessionlessConnectionsExpired, 1);
                        Some("no session was asked for in time")
                    }
                    Some((_, timeout_ms)) => {
                        let timeout = Duration::from_millis(timeout_ms.max(0) as u64);
                        let idle = now.since(line.last_active());
                        (idle > timeout + 2 * SWEEP).then_some("silent for too long")
                    }
                    None => None,
                };
                let wake = why.is_some() || state.waits_for_relief;
                state.kill = state.kill.or(why);
                drop(state);
                if wake {
                    line.wake();
                }
            }
        }
    }
}

/// Whether a connection has had its large reply for long enough.
fn gives_way(line: &Line, now: Instant) -> bool {
    let (has, still) = (line.has_much_for(now), now.since(line.last_active()));
    has > GIVE_WAY || has.min(still) > GIVE_WAY_STILL
}

/// Serves one connection until it ends.
async fn serve(clients: Arc<Clients>, stream: TcpStream, remote: SocketAddr, lane: LaneId) {
    let _ = stream.set_nodelay(true);
    if clients.keep_alive {
        let _ = socket2::SockRef::from(&stream).set_keepalive(true);
    }
    let id = ConnId(clients.next_id.fetch_add(1, Ordering::Relaxed));
    let now = clients.shared.clock.now();
    let load = &clients.shared.rules.load;
    let line = Arc::new(Line::new(id, remote, lane, now, load.reply_share()));
    let conn = Conn::new(id, &address_text(remote.ip()));
    line.lock().ids = Arc::clone(conn.ids());
    clients.shared.lines.insert(id, Arc::clone(&line));
    let mut task = Task {
        clients: &clients,
        stream,
        conn,
        line,
        input: BytesMut::new(),
        out: BytesMut::new(),
        share: load.reply_share(),
        pieces: None,
        pages: None,
        left: false,
        close: None,
        first: true,
        waiting: VecDeque::new(),
        counted: 0,
    };
    let why = std::future::poll_fn(|cx| task.poll(cx)).await;
    let (shared, closings) = (&clients.shared, &clients.closings);
    closings.note(&shared.metrics, remote, task.conn.session_asked(), why);
    let session = task.conn.session();
    let line = Arc::clone(&task.line);
    {
        // Before the client can see the end (as in Apache, `NIOServerCnxn.close`): who then asks
        // another server, or this one how many connections it has, finds this one gone.
        let state = clients.shared.state.read();
        clients.shared.lines.remove(&id);
        let mut left = clients.shared.watches.leave(id);
        let mut more = clients.shared.watches.forget(&mut left, FORGET_MAX);
        drop(state);
        while more {
            // Nobody finds the connection any more; a million watches would hold up all writes.
            let _state = clients.shared.state.read();
            more = clients.shared.watches.forget(&mut left, FORGET_MAX);
        }
    }
    drop(task);
    clients.inbox.send(Event::Closed { conn: id, line, session });
    clients.dismiss(remote.ip());
}

struct Task<'a> {
    clients: &'a Clients,
    stream: TcpStream,
    conn: Conn,
    line: Arc<Line>,
    /// Received, not taken.
    input: BytesMut,
    /// Taken from the line, not written.
    out: BytesMut,
    /// Counts it among all replies, if it is much.
    share: Share,
    /// The rest of a large reply, to be written behind it.
    pieces: Option<Pieces>,
    /// What gives the rest of the answer to a four-letter word.
    pages: Option<Box<Pages>>,
    /// There is more in the line, because something was to be written before it.
    left: bool,
    /// Close once everything is written.
    close: Option<Ended>,
    /// Nothing has been taken yet: a four-letter word may come.
    first: bool,
    /// When the requests that the node thread has were received, ms.
    waiting: VecDeque<u64>,
    /// Bytes of requests that are counted in for this connection.
    counted: usize,
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        let load = &self.clients.shared.rules.load;
        load.request_bytes.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// The other end has closed.
pub(super) const GONE: Ended = "the client is gone";
/// It was slow to take a large reply, and others waited for room.
pub(super) const GIVES_WAY: Ended =
    "the client takes its reply slowly while others wait for room (limits.replyBytes)";
/// A four-letter word was asked.
pub(super) const WORD: Ended = "a four-letter word is answered";

impl Task<'_> {
    /// Does all it can; ready when the connection has ended.
    fn poll(&mut self, cx: &mut Context) -> Poll<Ended> {
        for _ in 0..TURNS_MAX {
            let want = match self.turn() {
                Ok(want) => want,
                Err(why) => return Poll::Ready(why),
            };
            if let Err(why) = self.count() {
                return Poll::Ready(why);
            }
            self.count_replies();
            match self.flush(cx) {
                Poll::Ready(Ok(())) => {
                    if self.left {
                        continue;
                    }
                    if self.turn_page() {
                        // Others have their turn between two of them.
                        break;
                    }
                    if let Some(why) = self.close {
                        return Poll::Ready(why);
                    }
                    if want == Want::Room {
                        continue;
                    }
                    if want == Want::Again {
                        break;
                    }
                    if want == Want::Input || self.may_leave() {
                        match self.receive(cx) {
                            Poll::Ready(Ok(())) => continue,
                            Poll::Ready(Err(why)) => return Poll::Ready(why),
                            Poll::Pending => {}
                        }
                    }
                }
                Poll::Ready(Err(why)) => return Poll::Ready(why),
                Poll::Pending => {}
            }
            if self.line.sleep(cx.waker()) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether it must be noticed when the client goes: its greeting may wait through an election, and
    /// one that is served when its client has long been greeted elsewhere takes the session from there.
    fn may_leave(&self) -> bool {
        self.conn.is_connecting() && self.input.len() < BUFFER_BYTES
    }

    /// Counts what this connection has of requests, if it is much.
    fn count(&mut self) -> Result<(), Ended> {
        let rules = &self.clients.shared.rules;
        let held = self.input.len() + self.conn.held_bytes();
        let now = if held > rules.limits.request_bytes_free { held } else { 0 };
        if now == self.counted {
            return Ok(());
        }
        let total = &rules.load.request_bytes;
        let before = total.fetch_add(now, Ordering::Relaxed);
        total.fetch_sub(self.counted, Ordering::Relaxed);
        let grows = now > std::mem::replace(&mut self.counted, now);
        if grows && before + now > rules.limits.request_bytes_max {
            return Err("too many bytes of requests on the server (limits.requestBytes)");
        }
        Ok(())
    }

    /// Takes the next page of the answer to a four-letter word; false when there is none.
    fn turn_page(&mut self) -> bool {
        let Some(pages) = &mut self.pages else { return false };
        // What fits into one write goes with one: there are callers that read only once (kazoo's
        // `command`).
        let mut text = String::new();
        while text.len() < PAGES_WRITE {
            if !pages.next(&mut text) {
                self.pages = None;
                break;
            }
        }
        self.out.extend_from_slice(text.as_bytes());
        true
    }

    /// Counts what waits to be written, if it is much.
    fn count_replies(&mut self) {
        let free = self.clients.shared.rules.limits.reply_bytes_free;
        let now = if self.out.len() > free { self.out.len() } else { 0 };
        if now != self.share.bytes() {
            self.share.set(now);
        }
        self.line.has_much(now > 0 || self.pieces.is_some(), &self.clients.shared.clock);
    }

    /// Whether something is to be written before what is in the line.
    fn is_writing(&self) -> bool {
        !self.out.is_empty() || self.pieces.is_some()
    }

    /// Everything that needs neither to read nor to write the socket.
    fn turn(&mut self) -> Result<Want, Ended> {
        if self.first {
            if self.four_letter_word().is_some() {
                self.first = false;
                self.close = Some(WORD);
            } else {
                self.first = self.input.len() < 4;
            }
        }
        if self.close.is_some() {
            self.collect()?;
            return Ok(Want::Answers);
        }
        let mut submits = Vec::new();
        loop {
            let want = self.run(&mut submits)?;
            self.submit(&mut submits)?;
            match want {
                Want::State => {}
                Want::End(why) => {
                    self.close = self.close.or(Some(why));
                    return Ok(want);
                }
                want => return Ok(want),
            }
        }
    }

    /// One run of the connection's value, with the state locked if a read comes first. What it
    /// answers is in the outbox before the lock is released.
    fn run(&mut self, submits: &mut Vec<Submit>) -> Result<Want, Ended> {
        let (clients, shared) = (self.clients, &self.clients.shared);
        let now_ms = shared.clock.mono().as_millis();
        let mut reads = self.conn.reads_first(&self.input, &shared.rules);
        loop {
            let state = reads.then(|| shared.state.read());
            let view = state.as_deref().map(|state| View { state, watches: &shared.watches });
            let mut line = self.line.lock();
            settle(&mut line, &mut self.conn, &mut self.waiting, clients, now_ms)?;
            if let Some(why) = line.close {
                // Nothing more is answered: the session may be elsewhere, the state another.
                match &mut self.pieces {
                    Some(pieces) => pieces.list.push_back(std::mem::take(&mut line.out)),
                    None => self.out.extend_from_slice(&line.out),
                }
                line.out.clear();
                line.count_out(&shared.rules.limits);
                return Ok(Want::End(why));
            }
            if line.out.capacity() == 0 && (reads || !self.input.is_empty()) {
                line.out = take_buffer();
            }
            let mut namespaces =
                reads.then(|| shared.tallies.read.get(self.line.lane)).flatten().map(Mutex::lock);
            let mut out = std::mem::take(&mut line.out);
            let before = out.len();
            let mut turn = Turn::new(&shared.rules, now_ms, view, &mut out, submits);
            turn.unwritten = self.out.len() + self.pieces.as_ref().map_or(0, |p| p.share.bytes());
            turn.namespaces = namespaces.as_deref_mut();
            let want = self.conn.run(&mut self.input, &mut turn);
            let Turn { frames, answered, besides, last, throttled, auth_failed, pieces, .. } = turn;
            let mut sizes = std::mem::take(&mut line.sizes);
            sizes.merge(turn.sizes);
            drop(namespaces);
            let bytes = out.len() - before + pieces.as_ref().map_or(0, |p| p.share.bytes());
            self.left = self.is_writing() && !out.is_empty();
            if self.left {
                // Where it is bounded, until the client has read what it got before.
                give_buffer(std::mem::replace(&mut line.out, out));
            } else if self.is_writing() {
                give_buffer(out);
            } else {
                give_buffer(std::mem::replace(&mut self.out, out));
            }
            if pieces.is_some() {
                self.pieces = pieces;
            }
            line.count_out(&shared.rules.limits);
            self.close = self.close.or(line.close);
            if !Arc::ptr_eq(&line.ids, self.conn.ids()) {
                line.ids = Arc::clone(self.conn.ids());
            }
            line.waits_for_relief = want == Ok(Want::Relief);
            line.stats.received += frames;
            line.stats.sent += answered + besides;
            line.stats.queued = self.conn.outstanding() as u64;
            if let Some((opcode, xid)) = last {
                line.stats.last_op = Some(opcode);
                // Special xids (pings) are not the client's last request.
                if xid >= 0 {
                    line.stats.last_cxid = xid.into();
                }
            }
            if answered > 0 {
                line.stats.answered(answered, 0, now_ms);
                line.stats.last_zxid = view.map_or(line.stats.last_zxid, |v| v.state.last_zxid().0);
            }
            drop(line);
            drop(state);
            clients.reporter.counters.turn(frames, answered);
            clients.reporter.counters.response_sizes(sizes);
            clients.reporter.counters.sent_besides(besides);
            if reads {
                // Answered within the turn that they arrived in.
                shared.metrics.record_advanced_many(Advanced::ReadLatency, 0, answered);
            }
            for (counter, n) in
                [(Counter::ThrottledOps, throttled), (Counter::ResponseBytes, bytes as u64)]
            {
                if n > 0 {
                    shared.metrics.add(counter, n);
                }
            }
            if auth_failed > 0 {
                clients.reporter.counters.auth_failed.fetch_add(auth_failed, Ordering::Relaxed);
            }
            match want? {
                Want::State if !reads => reads = true,
                want => return Ok(want),
            }
        }
    }

    /// Takes what the node thread has left, without running the connection.
    fn collect(&mut self) -> Result<(), Ended> {
        let now_ms = self.clients.shared.clock.mono().as_millis();
        let mut line = self.line.lock();
        settle(&mut line, &mut self.conn, &mut self.waiting, self.clients, now_ms)?;
        self.close = self.close.or(line.close);
        self.left = self.is_writing() && !line.out.is_empty();
        if !self.is_writing() {
            std::mem::swap(&mut self.out, &mut line.out);
        }
        line.count_out(&self.clients.shared.rules.limits);
        Ok(())
    }

    fn submit(&mut self, submits: &mut Vec<Submit>) -> Result<(), Ended> {
        if submits.is_empty() {
            return Ok(());
        }
        let shared = &self.clients.shared;
        let now = shared.clock.mono();
        for submit in submits.iter() {
            self.waiting.push_back(now.as_millis());
            if let Submit::Connect(ask) = submit {
                shared.metrics.add(Counter::ConnectionRequestCount, 1);
                let is_new = ask.session == SessionId::NONE;
                shared.metrics.add(Counter::ConnectionRevalidateCount, u64::from(!is_new));
                if !self.clients.throttle.lock().admits(now, is_new) {
                    shared.metrics.add(Counter::ConnectionRejected, 1);
                    return Err("too many connections at once (connection_throttle_tokens)");
                }
            }
        }
        if shared.rules.audit {
            let mut line = self.line.lock();
            let audits = line.audits.get_or_insert_default();
            for submit in submits.iter() {
                audits.push_back(match submit {
                    Submit::Connect(_) => (audit::Subject::Nothing, Arc::clone(self.conn.ids())),
                    Submit::Request(r) => (audit::subject(r.opcode, &r.body), Arc::clone(&r.ids)),
                });
            }
        }
        self.clients.inbox.send_each(submits.drain(..).map(Event::Submit));
        Ok(())
    }

    /// Writes what there is; ready when all of it is written.
    fn flush(&mut self, cx: &mut Context) -> Poll<Result<(), Ended>> {
        loop {
            if self.out.is_empty() {
                let Some(pieces) = &mut self.pieces else { break };
                let Some(next) = pieces.list.pop_front() else {
                    self.pieces = None;
                    break;
                };
                let rest = pieces.share.bytes().saturating_sub(next.len());
                pieces.share.set(rest);
                give_buffer(std::mem::replace(&mut self.out, next));
                self.line.active(self.clients.shared.clock.mono());
                self.count_replies();
                continue;
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.out) {
                Poll::Ready(Ok(n)) if n == self.out.len() => self.out.clear(),
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.out.advance(n);
                    self.line.active(self.clients.shared.clock.mono());
                }
                Poll::Ready(_) => return Poll::Ready(Err(GONE)),
                Poll::Pending => return Poll::Pending,
            }
        }
        give_buffer(std::mem::take(&mut self.out));
        if self.share.bytes() > 0 {
            self.count_replies();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once from the socket. The buffer is only there while something is in it.
    fn receive(&mut self, cx: &mut Context) -> Poll<Result<(), Ended>> {
        if self.input.capacity() == 0 {
            self.input = take_buffer();
        } else if self.input.capacity() - self.input.len() < BUFFER_BYTES / 2 {
            // Grows with what has really come, not with what a length announces.
            self.input.reserve(self.input.len().max(BUFFER_BYTES));
        }
        let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        match read {
            Poll::Ready(Ok(n)) if n > 0 => {
                self.line.active(self.clients.shared.clock.mono());
                self.clients.shared.metrics.add(Counter::BytesReceivedCount, n as u64);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(_) => Poll::Ready(Err(GONE)),
            Poll::Pending => {
                if self.input.is_empty() {
                    give_buffer(std::mem::take(&mut self.input));
                } else if self.conn.is_connecting() {
                    // Thousands may wait for a leader, each with a little behind its greeting.
                    let early = BytesMut::from(&self.input[..]);
                    give_buffer(std::mem::replace(&mut self.input, early));
                }
                Poll::Pending
            }
        }
    }

    /// Answers a word; None when the connection does not begin with one. Nobody waits for the
    /// argument of `stmk`: it comes with the word, or there is none (as in Apache).
    fn four_letter_word(&mut self) -> Option<()> {
        let head: [u8; 4] = self.input.get(..4)?.try_into().ok()?;
        let word = Word::parse(head)?;
        let argument = self.input.get(4..4 + word.argument_length()).unwrap_or_default().to_vec();
        self.line.lock().stats.received += 1;
        let answer = self.clients.reporter.answer(word, &argument, self.clients, self.line.id);
        self.input.clear();
        match answer {
            Answer::Text(text) => self.out.extend_from_slice(text.as_bytes()),
            Answer::Pages(pages) => self.pages = Some(Box::new(pages)),
        }
        Some(())
    }
}

/// Brings the connection up to date with what the node thread has said.
fn settle(
    line: &mut LineState,
    conn: &mut Conn,
    waiting: &mut VecDeque<u64>,
    clients: &Clients,
    now_ms: u64,
) -> Result<(), Ended> {
    line.seen();
    if let Some(why) = line.kill {
        return Err(why);
    }
    clients.reporter.counters.sent_besides(std::mem::take(&mut line.events));
    let answered = std::mem::take(&mut line.answered);
    if answered > 0 {
        conn.answered(answered);
        for since in waiting.drain(..answered.min(waiting.len())) {
            let latency = now_ms.saturating_sub(since);
            clients.reporter.counters.answered(latency);
            let metric = i64::try_from(latency).unwrap_or(i64::MAX);
            clients.shared.metrics.record_advanced(Advanced::UpdateLatency, metric);
            line.stats.answered(1, latency, now_ms);
        }
        if waiting.is_empty() && waiting.capacity() > 64 {
            *waiting = VecDeque::new();
        }
    }
    if let Some((session, _)) = line.session
        && conn.session() != session
    {
        conn.connected(session);
    }
    if line.closing {
        conn.session_over();
    }
    Ok(())
}

/// Pages of the answer to a four-letter word are written together up to this many bytes.
const PAGES_WRITE: usize = 32 << 10;
/// Size of a pooled buffer.
const BUFFER_BYTES: usize = 16 << 10;
/// A buffer that has grown beyond this is not kept.
const BUFFER_BYTES_MAX: usize = 256 << 10;
/// Buffers kept by one thread.
const BUFFERS_MAX: usize = 16;

thread_local! {
    static BUFFERS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

fn take_buffer() -> BytesMut {
    let pooled = BUFFERS.with_borrow_mut(Vec::pop);
    pooled.unwrap_or_else(|| BytesMut::with_capacity(BUFFER_BYTES))
}

/// Gives a buffer back, emptied; small and huge ones are dropped.
fn give_buffer(mut buffer: BytesMut) {
    buffer.clear();
    // What was cut off its front is taken in again.
    if buffer.capacity() > BUFFER_BYTES_MAX || !buffer.try_reclaim(BUFFER_BYTES) {
        return;
    }
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.len() < BUFFERS_MAX {
            buffers.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests;
