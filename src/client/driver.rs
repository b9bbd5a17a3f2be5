//! The task behind a client: one connection at a time, requests in, replies and events out.
//!
//! ```text
//! Connecting --handshake--> connected --lost--> Connecting (Disconnected) ...
//!      |                        |
//!      +--- session 0: Expired  +--- closeSession: Closed, refused identity: AuthFailed
//! ```

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::watches::{Effect, Watches};
use super::{Error, Event, EventKind, Host, Options, State, Status, WatcherType, four_letter};
use crate::proto::frame;
use crate::proto::jute::{Jute, Reader, Write};
use crate::proto::opcode::OpCode;
use crate::proto::records::{
    AuthPacket, ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader, WatcherEvent,
};
use crate::types::{Code, Xid};

/// A server's answer, whatever its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The last transaction the server had applied.
    pub zxid: i64,
    /// The result.
    pub code: Code,
    /// What follows the header; normally empty when the code is not OK.
    pub body: Bytes,
}

/// The longest pause between two pings, whatever the session timeout.
const PING_MAX: Duration = Duration::from_secs(10);
/// Bytes waiting to be sent above which no further requests are taken.
const OUT_BYTES_MAX: usize = 1 << 20;
/// Requests held back while there is no connection.
const QUEUED_MAX: usize = 1024;

/// What a handle asks of the driver.
pub(super) enum Command {
    /// A request: a whole frame whose xid is still to be filled in.
    Request { frame: BytesMut, effect: Effect, done: oneshot::Sender<Result<Reply, Error>> },
    /// A further identity.
    Auth { scheme: String, auth: Bytes, done: oneshot::Sender<Result<(), Error>> },
    /// Forgets watches without asking a server; answers whether there were any.
    RemoveLocally { path: String, kind: WatcherType, done: oneshot::Sender<bool> },
    /// Breaks the connection, for tests of reconnection.
    Disconnect,
    /// Ends the session.
    Close { done: oneshot::Sender<()> },
}

impl Command {
    fn fail(self, error: Error) {
        match self {
            Command::Request { done, .. } => drop(done.send(Err(error))),
            Command::Auth { done, .. } => drop(done.send(Err(error))),
            Command::RemoveLocally { done, .. } => _ = done.send(false),
            Command::Close { done } => _ = done.send(()),
            Command::Disconnect => {}
        }
    }
}

/// Why a connection, or the client, is over.
enum End {
    Lost,
    /// Leave this server for a better one.
    Moved,
    Expired,
    AuthFailed,
    Closed(Option<oneshot::Sender<()>>),
}

struct Pending {
    xid: i32,
    effect: Effect,
    done: oneshot::Sender<Result<Reply, Error>>,
}

/// One established connection.
struct Connection {
    stream: TcpStream,
    input: BytesMut,
    out: BytesMut,
    pending: VecDeque<Pending>,
    auths: VecDeque<Option<oneshot::Sender<Result<(), Error>>>>,
    heard: Instant,
    sent: Instant,
    /// closeSession is under way.
    closing: Option<Option<oneshot::Sender<()>>>,
}

/// The driver of one client; [`Driver::run`] lasts as long as the client.
pub(super) struct Driver {
    pub(super) options: Options,
    pub(super) inbox: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) status: watch::Sender<Status>,
    watches: Watches,
    queued: VecDeque<Command>,
    undelivered: VecDeque<Event>,
    last_zxid: i64,
    next_xid: i32,
    /// Whether the session is a real one: sessions of read-only servers cannot be renewed.
    seen_full_server: bool,
    next_host: usize,
}

impl Driver {
    pub(super) fn new(
        options: Options,
        inbox: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        status: watch::Sender<Status>,
    ) -> Driver {
        let next_host = match options.shuffle {
            true => RandomState::new().hash_one(0) as usize % options.connect.hosts.len(),
            false => 0,
        };
        Driver {
            seen_full_server: options.renew.is_some(),
            options,
            inbox,
            events,
            status,
            watches: Watches::default(),
            queued: VecDeque::new(),
            undelivered: VecDeque::new(),
            last_zxid: 0,
            next_xid: 1,
            next_host,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let end = match self.connect().await {
                Ok(connection) => self.serve(connection).await,
                Err(end) => end,
            };
            let (state, error) = match end {
                End::Lost | End::Moved => {
                    self.change_state(State::Disconnected).await;
                    continue;
                }
                End::Expired => (State::Expired, Error::SessionExpired),
                End::AuthFailed => (State::AuthFailed, Error::AuthFailed),
                End::Closed(done) => {
                    self.status.send_modify(|status| status.state = State::Closed);
                    if let Some(done) = done {
                        let _ = done.send(());
                    }
                    (State::Closed, Error::Closed)
                }
            };
            self.inbox.close();
            self.queued.drain(..).for_each(|command| command.fail(error.clone()));
            while let Ok(command) = self.inbox.try_recv() {
                command.fail(error.clone());
            }
            self.change_state(state).await;
            return;
        }
    }

    /// Tells the new state, once.
    async fn change_state(&mut self, state: State) {
        let before = self.status.borrow().state;
        self.status.send_modify(|status| status.state = state);
        if before == state && state == State::Disconnected {
            return;
        }
        if before == State::Connecting && state == State::Disconnected {
            return;
        }
        self.deliver(Event { kind: EventKind::None, state, path: None, zxid: -1 });
        if state.is_over() {
            for event in std::mem::take(&mut self.undelivered) {
                let _ = self.events.try_send(event);
            }
        }
    }

    fn deliver(&mut self, event: Event) {
        if !self.undelivered.is_empty() {
            return self.undelivered.push_back(event);
        }
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.undelivered.push_back(event);
        }
    }

    /// Tries one server after the other until one takes the session.
    async fn connect(&mut self) -> Result<Connection, End> {
        let hosts = self.options.connect.hosts.clone();
        let mut failed = 0;
        loop {
            let host = hosts[self.next_host % hosts.len()].clone();
            self.next_host = self.next_host.wrapping_add(1);
            let patience = self
                .options
                .connect_timeout
                .unwrap_or(self.options.session_timeout / hosts.len() as u32);
            let request = self.connect_request();
            let max = self.options.reply_bytes_max;
            let attempt = async {
                timeout(patience, open(&host, request, max))
                    .await
                    .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut)))
            };
            match self.while_waiting(attempt).await? {
                Ok((stream, address, input, response)) => {
                    return self.established(stream, address, input, response).await;
                }
                Err(error) => {
                    tracing::debug!(%host, %error, "connection attempt failed");
                    failed += 1;
                }
            }
            if failed % hosts.len() == 0 {
                self.queued.drain(..).for_each(|command| command.fail(Error::ConnectionLoss));
                self.change_state(State::Disconnected).await;
                let pause = self.options.retry;
                self.while_waiting(sleep(pause)).await?;
            }
        }
    }

    /// Waits for `future`, and meanwhile keeps requests and honours the wish to close.
    async fn while_waiting<T>(&mut self, future: impl Future<Output = T>) -> Result<T, End> {
        tokio::pin!(future);
        loop {
            tokio::select! {
                value = &mut future => return Ok(value),
                command = self.inbox.recv(), if self.queued.len() < QUEUED_MAX => match command {
                    None => return Err(End::Closed(None)),
                    Some(Command::Close { done }) => return Err(End::Closed(Some(done))),
                    Some(Command::Disconnect) => {}
                    Some(Command::RemoveLocally { path, kind, done }) => {
                        self.remove_locally(path, kind, done);
                    }
                    Some(command) => self.queued.push_back(command),
                },
            }
        }
    }

    fn connect_request(&self) -> ConnectRequest {
        let status = self.status.borrow();
        let session = if self.seen_full_server { status.session } else { 0 };
        ConnectRequest {
            protocol: 0,
            last_zxid: self.last_zxid,
            timeout_ms: i32::try_from(self.options.session_timeout.as_millis()).unwrap_or(i32::MAX),
            session,
            passwd: Some(match session {
                0 => Bytes::from_static(&[0; 16]),
                _ => status.passwd.clone(),
            }),
            read_only: Some(self.options.read_only),
        }
    }

    /// The server took the session: present identities and watches, then go on.
    async fn established(
        &mut self,
        stream: TcpStream,
        address: SocketAddr,
        input: BytesMut,
        response: ConnectResponse,
    ) -> Result<Connection, End> {
        if response.timeout_ms <= 0 {
            return Err(End::Expired);
        }
        let read_only = response.read_only == Some(true);
        self.seen_full_server |= !read_only;
        self.status.send_modify(|status| {
            status.session = response.session;
            status.passwd = response.passwd.unwrap_or_default();
            status.timeout_ms = response.timeout_ms;
            status.server = address.to_string();
        });
        let now = Instant::now();
        let mut connection = Connection {
            stream,
            input,
            out: BytesMut::new(),
            pending: VecDeque::new(),
            auths: VecDeque::new(),
            heard: now,
            sent: now,
            closing: None,
        };
        for (scheme, auth) in self.options.auth.clone() {
            connection.present(scheme, auth, None);
        }
        for (opcode, body) in self.watches.requests(self.last_zxid) {
            connection.put(Xid::SET_WATCHES.0, opcode, &body);
        }
        let state = if read_only { State::ConnectedReadOnly } else { State::SyncConnected };
        self.change_state(state).await;
        for command in std::mem::take(&mut self.queued) {
            self.command(command, &mut connection)?;
        }
        Ok(connection)
    }

    async fn serve(&mut self, mut connection: Connection) -> End {
        let timeout = Duration::from_millis(self.status.borrow().timeout_ms.max(1) as u64);
        let end = loop {
            match self.turn(&mut connection, timeout).await {
                Ok(()) => {}
                Err(end) => break end,
            }
        };
        for pending in connection.pending {
            drop(pending.done.send(Err(match end {
                End::Expired => Error::SessionExpired,
                End::AuthFailed => Error::AuthFailed,
                End::Closed(_) => Error::Closed,
                End::Lost | End::Moved => Error::ConnectionLoss,
            })));
        }
        for done in connection.auths.into_iter().flatten() {
            drop(done.send(Err(match end {
                End::AuthFailed => Error::AuthFailed,
                _ => Error::ConnectionLoss,
            })));
        }
        match (end, connection.closing) {
            (End::Lost, Some(done)) => End::Closed(done),
            (end, _) => end,
        }
    }

    /// Waits for the next thing to do and does it.
    async fn turn(&mut self, c: &mut Connection, timeout: Duration) -> Result<(), End> {
        let ping_at = c.sent + (timeout / 3).min(PING_MAX);
        let give_up_at = c.heard + timeout * 2 / 3;
        let may_read = self.undelivered.is_empty();
        let read_only = self.status.borrow().state == State::ConnectedReadOnly;
        let (mut reader, mut writer) = c.stream.split();
        tokio::select! {
            command = self.inbox.recv(), if c.out.len() < OUT_BYTES_MAX && c.closing.is_none() => {
                let command = command.unwrap_or(Command::Close { done: oneshot::channel().0 });
                self.command(command, c)?;
                while c.out.len() < OUT_BYTES_MAX && c.closing.is_none() {
                    let Ok(command) = self.inbox.try_recv() else { break };
                    self.command(command, c)?;
                }
                // The usual case, without another turn of the loop; what is left waits for the
                // socket.
                if let Ok(n) = c.stream.try_write(&c.out) {
                    bytes::Buf::advance(&mut c.out, n);
                }
                c.sent = Instant::now();
            }
            read = reader.read_buf(&mut c.input), if may_read => {
                if !matches!(read, Ok(1..)) {
                    return Err(End::Lost);
                }
                c.heard = Instant::now();
                self.read_frames(c)?;
            }
            written = writer.write_buf(&mut c.out), if !c.out.is_empty() => {
                if written.is_err() {
                    return Err(End::Lost);
                }
                c.sent = Instant::now();
            }
            permit = self.events.clone().reserve_owned(), if !may_read => {
                match (permit, self.undelivered.pop_front()) {
                    (Ok(permit), Some(event)) => drop(permit.send(event)),
                    _ => self.undelivered.clear(),
                }
            }
            () = sleep_until(ping_at.min(give_up_at)) => {
                let now = Instant::now();
                if now >= give_up_at && may_read {
                    return Err(End::Lost);
                }
                if now >= ping_at {
                    c.put(Xid::PING.0, OpCode::PING, &[]);
                    c.sent = now;
                }
                if now >= give_up_at {
                    c.heard = now;
                }
                if read_only && self.full_server_answers().await {
                    return Err(End::Moved);
                }
            }
        }
        Ok(())
    }

    /// Whether the next server of the list is not in read-only mode, asked when connected to one
    /// that is; then that one is tried first.
    async fn full_server_answers(&mut self) -> bool {
        let hosts = &self.options.connect.hosts;
        let host = hosts[self.next_host % hosts.len()].to_string();
        let answer = four_letter(&host, "isro", Duration::from_millis(500)).await;
        let full = answer.is_ok_and(|answer| answer.trim() == "rw");
        if !full {
            self.next_host = self.next_host.wrapping_add(1);
        }
        full
    }

    fn remove_locally(&mut self, path: String, kind: WatcherType, done: oneshot::Sender<bool>) {
        let events = self.watches.remove(path, kind);
        let _ = done.send(!events.is_empty());
        for (kind, path) in events {
            self.deliver_watch(kind, path, -1);
        }
    }

    fn command(&mut self, command: Command, c: &mut Connection) -> Result<(), End> {
        match command {
            Command::Request { mut frame, effect, done } => {
                let xid = self.next_xid;
                self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
                frame[4..8].copy_from_slice(&xid.to_be_bytes());
                c.out.extend_from_slice(&frame);
                c.pending.push_back(Pending { xid, effect, done });
            }
            Command::Auth { scheme, auth, done } => {
                self.options.auth.push((scheme.clone(), auth.clone()));
                c.present(scheme, auth, Some(done));
            }
            Command::RemoveLocally { path, kind, done } => self.remove_locally(path, kind, done),
            Command::Disconnect => return Err(End::Lost),
            Command::Close { done } => {
                let xid = self.next_xid;
                c.put(xid, OpCode::CLOSE_SESSION, &[]);
                c.pending.push_back(Pending {
                    xid,
                    effect: Effect::None,
                    done: oneshot::channel().0,
                });
                c.closing = Some(Some(done));
            }
        }
        Ok(())
    }

    fn read_frames(&mut self, c: &mut Connection) -> Result<(), End> {
        loop {
            match frame::next_frame(&mut c.input, self.options.reply_bytes_max) {
                Ok(Some(frame)) => self.frame(frame, c)?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    tracing::warn!(%error, "closing the connection");
                    return Err(End::Lost);
                }
            }
        }
    }

    fn frame(&mut self, frame: Bytes, c: &mut Connection) -> Result<(), End> {
        let mut r = Reader::new(frame);
        let Ok(header) = r.get::<ReplyHeader>() else { return Err(End::Lost) };
        if header.zxid > 0 {
            self.last_zxid = header.zxid;
        }
        match Xid(header.xid) {
            Xid::PING | Xid::SET_WATCHES => {}
            Xid::AUTH => match (c.auths.pop_front().flatten(), Code(header.err)) {
                (done, Code::OK) => {
                    done.map(|done| done.send(Ok(())));
                }
                (done, _) => {
                    done.map(|done| done.send(Err(Error::AuthFailed)));
                    return Err(End::AuthFailed);
                }
            },
            Xid::WATCH_EVENT => {
                let Ok(event) = r.get::<WatcherEvent>() else { return Err(End::Lost) };
                let path = event.path.unwrap_or_default();
                if let Some(kind) = EventKind::from_wire(event.kind) {
                    self.watches.fired(kind, &path);
                    self.deliver_watch(kind, path, header.zxid);
                }
            }
            Xid(xid) => {
                let Some(pending) = c.pending.pop_front() else { return Err(End::Lost) };
                if pending.xid != xid {
                    tracing::warn!(xid, expected = pending.xid, "reply out of order");
                    c.pending.push_front(pending);
                    return Err(End::Lost);
                }
                let code = Code(header.err);
                for (kind, path) in self.watches.apply(pending.effect, code) {
                    self.deliver_watch(kind, path, -1);
                }
                let reply = Reply { zxid: header.zxid, code, body: r.rest() };
                drop(pending.done.send(Ok(reply)));
                if c.pending.is_empty() && c.closing.is_some() {
                    return Err(End::Lost);
                }
            }
        }
        Ok(())
    }

    fn deliver_watch(&mut self, kind: EventKind, path: String, zxid: i64) {
        let path = Some(strip_chroot(&self.options.connect.chroot, path));
        self.deliver(Event { kind, state: State::SyncConnected, path, zxid });
    }
}

impl Connection {
    /// Adds a request to what is to be sent.
    fn put(&mut self, xid: i32, opcode: OpCode, body: &[u8]) {
        let at = frame::begin(&mut self.out);
        self.out.put(&RequestHeader { xid, opcode: opcode.0 });
        self.out.extend_from_slice(body);
        frame::end(&mut self.out, at);
    }

    fn present(
        &mut self,
        scheme: String,
        auth: Bytes,
        done: Option<oneshot::Sender<Result<(), Error>>>,
    ) {
        let packet = AuthPacket { kind: 0, scheme: Some(scheme), auth: Some(auth) };
        self.put(Xid::AUTH.0, OpCode::AUTH, &packet.to_bytes());
        self.auths.push_back(done);
    }
}

/// A server's path as the user of a chroot sees it.
pub(super) fn strip_chroot(chroot: &str, path: String) -> String {
    match path.strip_prefix(chroot) {
        Some("") => "/".to_owned(),
        Some(rest) if rest.starts_with('/') => rest.to_owned(),
        _ => path,
    }
}

/// Connects to the first address of `host` that answers, and shakes hands.
async fn open(
    host: &Host,
    request: ConnectRequest,
    max: usize,
) -> std::io::Result<(TcpStream, SocketAddr, BytesMut, ConnectResponse)> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in tokio::net::lookup_host((host.name.as_str(), host.port)).await? {
        match handshake(address, &request, max).await {
            Ok((stream, input, response)) => return Ok((stream, address, input, response)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn handshake(
    address: SocketAddr,
    request: &ConnectRequest,
    max: usize,
) -> std::io::Result<(TcpStream, BytesMut, ConnectResponse)> {
    let invalid = |what: String| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut out = BytesMut::new();
    let at = frame::begin(&mut out);
    out.put(request);
    frame::end(&mut out, at);
    stream.write_all(&out).await?;
    let mut input = BytesMut::with_capacity(4096);
    loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let frame = frame::next_frame(&mut input, max).map_err(|e| invalid(e.to_string()))?;
        if let Some(frame) = frame {
            let response =
                ConnectResponse::from_bytes(frame).map_err(|e| invalid(e.to_string()))?;
            return Ok((stream, input, response));
        }
    }
}
