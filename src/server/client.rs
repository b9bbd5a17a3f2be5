//! The client port: one task per connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use dashmap::DashMap;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::auth::address_text;
use crate::ops::Word;
use crate::replica::conn::{Conn, Rules, Submit};
use crate::types::{ConnId, Hasher, Zxid};

use super::inbox::Inbox;
use super::line::Line;
use super::node::{Event, Shared};
use super::report::Reporter;

/// First size of a connection's input buffer, bytes.
const INPUT_BYTES: usize = 4096;
/// An empty buffer larger than this is given back.
const KEEP_BYTES_MAX: usize = 64 << 10;
/// Pause after a failed accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What all client connections share.
pub struct Clients {
    /// State, watches, lines.
    pub shared: Arc<Shared>,
    /// The way to the node thread.
    pub inbox: Arc<Inbox<Event>>,
    /// Bounds and schemes.
    pub rules: Rules,
    /// Connections per address; 0 is unlimited.
    pub per_address_max: usize,
    /// Connections in all; 0 is unlimited.
    pub connections_max: usize,
    /// How long a connection may be without a session.
    pub sessionless: Duration,
    /// Answers four-letter words.
    pub reporter: Reporter,
    /// Connections by address.
    pub addresses: DashMap<IpAddr, usize, Hasher>,
    /// The next connection's number.
    pub next_id: AtomicU64,
}

impl Clients {
    /// Accepts connections for ever.
    pub async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    let clients = Arc::clone(&self);
                    tokio::spawn(async move { clients.serve(stream, remote).await });
                }
                Err(error) => {
                    tracing::warn!("can't accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Counts a connection in; false when there are too many.
    fn admit(&self, address: IpAddr) -> bool {
        if self.connections_max > 0 && self.shared.lines.len() >= self.connections_max {
            return false;
        }
        let mut count = self.addresses.entry(address).or_insert(0);
        if self.per_address_max > 0 && *count >= self.per_address_max {
            return false;
        }
        *count += 1;
        true
    }

    fn dismiss(&self, address: IpAddr) {
        self.addresses.remove_if_mut(&address, |_, count| {
            *count -= 1;
            *count == 0
        });
    }

    async fn serve(&self, stream: TcpStream, remote: SocketAddr) {
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        if !self.admit(remote.ip()) {
            // As Apache: a reset, so that the client need not wait.
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            self.reporter.counters.rejected.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                "too many connections from {} (maxClientCnxns is {}, maxCnxns is {})",
                remote.ip(),
                self.per_address_max,
                self.connections_max
            );
            return;
        }
        let _ = stream.set_nodelay(true);
        let id = ConnId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let now = self.shared.clock.now();
        let line = Arc::new(Line::new(id, remote, now.wall, now.mono));
        let conn = Conn::new(id, address_text(remote.ip()));
        line.lock().ids = Arc::clone(conn.ids());
        self.shared.lines.insert(id, Arc::clone(&line));
        let mut task = Task {
            clients: self,
            conn,
            line,
            input: BytesMut::new(),
            out: BytesMut::new(),
            submits: Vec::new(),
            events: Vec::new(),
            waiting: std::collections::VecDeque::new(),
        };
        let why = task.run(stream).await;
        tracing::debug!("connection {} from {remote} is closed: {why}", id.0);
        let session = task.conn.session();
        self.inbox.send(Event::Closed { conn: id, session });
        self.dismiss(remote.ip());
    }
}

struct Task<'a> {
    clients: &'a Clients,
    conn: Conn,
    line: Arc<Line>,
    input: BytesMut,
    out: BytesMut,
    submits: Vec<Submit>,
    events: Vec<Event>,
    /// When the requests that the node thread has were received, ms.
    waiting: std::collections::VecDeque<u64>,
}

impl Task<'_> {
    async fn run(&mut self, mut stream: TcpStream) -> &'static str {
        let (mut reader, writer) = stream.split();
        let mut first = true;
        loop {
            let close = match self.step(&mut first) {
                Ok(close) => close,
                Err(why) => return why,
            };
            while !self.out.is_empty() {
                match writer.try_write(&self.out) {
                    Ok(n) => self.out.advance(n),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => return "the client is gone",
                }
            }
            if self.out.is_empty() {
                if let Some(why) = close {
                    return why;
                }
                if self.out.capacity() > KEEP_BYTES_MAX {
                    self.out = BytesMut::new();
                }
            }
            if self.input.is_empty() && self.input.capacity() > KEEP_BYTES_MAX {
                self.input = BytesMut::new();
            }
            let more = self.out.is_empty()
                && close.is_none()
                && self.conn.wants_input(&self.clients.rules.limits);
            let blocked = !self.out.is_empty();
            let sessionless = self.conn.session().0 == 0;
            if more && self.input.capacity() - self.input.len() < INPUT_BYTES / 2 {
                self.input.reserve(INPUT_BYTES);
            }
            let wait = async {
                tokio::select! {
                    biased;
                    n = reader.read_buf(&mut self.input), if more => match n {
                        Ok(0) | Err(_) => Err("the client is gone"),
                        Ok(_) => Ok(true),
                    },
                    ready = writer.writable(), if blocked => match ready {
                        Ok(()) => Ok(false),
                        Err(_) => Err("the client is gone"),
                    },
                    () = self.line.woken() => Ok(false),
                }
            };
            let result = if sessionless {
                match tokio::time::timeout(self.clients.sessionless, wait).await {
                    Ok(result) => result,
                    Err(_) => return "no session was asked for in time",
                }
            } else {
                wait.await
            };
            match result {
                Ok(true) => self.line.active(self.clients.shared.clock.mono()),
                Ok(false) => {}
                Err(why) => return why,
            }
        }
    }

    /// Everything that can be done without waiting. Some(why): close once the output is written.
    fn step(&mut self, first: &mut bool) -> Result<Option<&'static str>, &'static str> {
        let clients = self.clients;
        let shared = &clients.shared;
        if *first {
            match self.four_letter_word() {
                Some(true) => return Ok(Some("a four-letter word is answered")),
                Some(false) => return Ok(None),
                None => *first = self.input.len() < 4,
            }
        }
        let now_ms = shared.clock.mono().as_millis();
        let mut close = self.collect(now_ms);
        loop {
            // Requests.
            let ids = Arc::clone(self.conn.ids());
            let before = self.out.len();
            let last = || -> Zxid { shared.state.read().last_zxid() };
            let frames = self.conn.receive(
                &mut self.input,
                &clients.rules,
                last,
                &mut self.out,
                &mut self.submits,
            )?;
            clients.reporter.counters.received.fetch_add(frames as u64, Ordering::Relaxed);
            if !Arc::ptr_eq(&ids, self.conn.ids()) || self.out.len() > before {
                self.line.lock().ids = Arc::clone(self.conn.ids());
            }
            let reads = self.conn.advance(&clients.rules, &mut self.submits);
            self.submit(now_ms);
            let mut answered = 0;
            if reads {
                let state = shared.state.read();
                let mut line = self.line.lock();
                let mut last_op = None;
                let out = &mut line.out;
                answered = self.conn.run_reads(
                    &state,
                    &shared.watches,
                    &clients.rules,
                    out,
                    |opcode, xid| last_op = Some((opcode, xid)),
                );
                drop(state);
                line.stats.sent += answered as u64;
                line.stats.received += frames as u64;
                if let Some((opcode, xid)) = last_op {
                    line.stats.last_op = Some(opcode);
                    line.stats.last_cxid = xid.into();
                    line.stats.last_response_ms = now_ms;
                }
                clients.reporter.counters.answered(answered as u64, 0);
            } else if frames > 0 {
                self.line.lock().stats.received += frames as u64;
            }
            close = self.collect(now_ms).or(close);
            if let Some(why) = self.conn.ended() {
                close = close.or(Some(why));
            }
            let full = self.out.len() >= clients.rules.limits.output_high_water_bytes;
            if close.is_some() || full || frames == 0 && answered == 0 {
                break;
            }
        }
        if close.is_none() {
            self.wake_again();
        }
        Ok(close)
    }

    /// When output was cut short by its bound, there may be reads left: come back for them.
    fn wake_again(&mut self) {
        if self.out.len() >= self.clients.rules.limits.output_high_water_bytes {
            self.line.wake();
        }
    }

    /// Takes what the node thread has left.
    fn collect(&mut self, now_ms: u64) -> Option<&'static str> {
        let mut line = self.line.lock();
        line.seen();
        if self.out.is_empty() {
            std::mem::swap(&mut self.out, &mut line.out);
        } else if !line.out.is_empty() {
            self.out.extend_from_slice(&line.out);
            line.out.clear();
        }
        let answered = std::mem::take(&mut line.answered);
        if answered > 0 {
            self.conn.answered(answered);
            for since in self.waiting.drain(..answered.min(self.waiting.len())) {
                let latency = now_ms.saturating_sub(since);
                self.clients.reporter.counters.answered(1, latency);
                line.stats.latency.total_ms += latency;
                line.stats.latency.count += 1;
                line.stats.latency.max_ms = line.stats.latency.max_ms.max(latency);
                line.stats.last_latency_ms = latency;
                line.stats.last_response_ms = now_ms;
            }
        }
        if let Some((session, _)) = line.session
            && self.conn.session() != session
        {
            self.conn.connected(session);
        }
        if line.closing {
            self.conn.session_over();
        }
        line.stats.queued = self.conn.outstanding() as u64;
        line.close
    }

    fn submit(&mut self, now_ms: u64) {
        if self.submits.is_empty() {
            return;
        }
        for submit in self.submits.drain(..) {
            if let Submit::Request(request) = &submit {
                let mut line = self.line.lock();
                line.stats.last_op = Some(request.opcode);
                line.stats.last_cxid = request.xid.into();
            }
            self.waiting.push_back(now_ms);
            self.events.push(Event::Submit(submit));
        }
        self.clients.inbox.send_all(&mut self.events);
    }

    /// Some(true): answered. Some(false): more bytes are needed. None: not a word.
    fn four_letter_word(&mut self) -> Option<bool> {
        let head: [u8; 4] = self.input.get(..4)?.try_into().ok()?;
        let word = Word::parse(head)?;
        let argument = self.input.get(4..4 + word.argument_length());
        if argument.is_none() {
            return Some(false);
        }
        let argument = argument.unwrap_or_default().to_vec();
        let text = self.clients.reporter.answer(word, &argument, self.clients, self.line.id);
        self.input.clear();
        self.out.extend_from_slice(text.as_bytes());
        Some(true)
    }
}
