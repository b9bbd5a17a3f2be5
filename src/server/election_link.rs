//! The election port: one TCP connection per pair of members, newest message wins (Apache
//! `QuorumCnxManager`).
//!
//! Responsible for carrying opaque payloads between members. Does not know what a vote is.
//!
//! - **The larger id dials.** A member with the smaller id dials too, but only to say hello; the
//!   larger one then closes that connection and dials back.
//! - **One waiting message per peer.** A newer one replaces it: only the last word counts in an
//!   election. The last message sent is sent again on every new connection, so duplicates are
//!   normal and losses are repaired.
//! - **Nobody waits for anybody.** Each peer is dialled by a task of its own, each hello is read by
//!   a task of its own under a deadline. A dead peer delays only itself.
//! - **While a message waits it is tried again**, at growing intervals up to [`REDIAL_MAX`]. Apache
//!   waits for the election's next time-out, which grows to a minute.
//!
//! Bad input (a wrong hello, a length out of range) closes that one connection.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;

use super::accept::{Failures, gone};
use super::lines::Lines;
use super::net::{self, HostPort, Tasks};
use crate::proto::election::{FRAME_MAX, Hello, frame, split_frame};
use crate::replica::limits::PeerLimits;
use crate::types::{Map, ServerId, map};

/// Strangers that are dialled at the same time: they say themselves where.
const STRANGERS_DIALLED: usize = 4;
/// The first wait between attempts to reach a peer for which a message waits.
const REDIAL_MIN: Duration = Duration::from_millis(50);
/// The wait after a reset: the peer has just died, the next attempt will say so.
const RESET_PAUSE: Duration = Duration::from_millis(5);
/// The last of those waits.
const REDIAL_MAX: Duration = Duration::from_secs(3);
/// How long a larger peer has to dial back before it hears another hello.
const DIAL_BACK: Duration = Duration::from_millis(500);
/// A hello that comes so soon after a connection was made has crossed it.
const CROSSING: Duration = Duration::from_millis(200);
/// Between attempts to bind the port, as Apache.
const BIND_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between attempts to bind the rest of several addresses.
const BIND_PAUSE_MAX: Duration = Duration::from_secs(60);
/// What an observer without an id calls itself (Apache `QuorumPeer.OBSERVER_ID`).
const ANONYMOUS: ServerId = ServerId(i64::MAX);

/// A member to exchange messages with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its id.
    pub id: ServerId,
    /// Its election addresses; more than one with `multiAddress.enabled`.
    pub addresses: Vec<HostPort>,
}

/// How the port works.
#[derive(Clone, Debug)]
pub struct Options {
    /// This member.
    pub me: ServerId,
    /// Where to listen: this member's own election addresses.
    pub listen: Vec<HostPort>,
    /// `quorumListenOnAllIPs`: only the ports of `listen` count.
    pub listen_on_all: bool,
    /// What the hello says; more than one address makes it the hello of multi-address ensembles.
    pub advertised: Vec<HostPort>,
    /// The other members.
    pub peers: Vec<PeerAddress>,
    /// `cnxTimeout`: for one attempt to connect.
    pub connect_timeout: Duration,
    /// `quorumCnxnTimeoutMs`: for a hello to arrive.
    pub hello_timeout: Duration,
    /// `electionPortBindRetry`: attempts to bind, 0 for no end.
    pub bind_attempts: u32,
    /// `tcpKeepAlive`.
    pub keep_alive: bool,
    /// What others can make this port hold. A stranger is a peer outside the membership: a joiner, an
    /// observer without an id, and whoever else found the port.
    pub limits: PeerLimits,
}

/// None of this member's election addresses could be bound: the process ends with code 14 (Apache
/// `ExitCode.UNABLE_TO_BIND_QUORUM_PORT`).
#[derive(Debug, thiserror::Error)]
#[error(
    "can't listen on the election port after {attempts} attempts (electionPortBindRetry, 0 for no end): \
     {}",
    net::Unbound::describe(unbound)
)]
pub struct BindError {
    /// Each address with the last reason.
    pub unbound: Vec<net::Unbound>,
    /// How often all of them were tried.
    pub attempts: u32,
}

/// A message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who sent it, or says it is; negative for observers without an id.
    pub from: ServerId,
    /// A notification, not looked at.
    pub payload: Bytes,
}

/// Messages that have arrived; read by the node thread.
pub struct Inbox {
    /// With whether a member, or this server, sent it.
    queue: Mutex<VecDeque<(Received, bool)>>,
    limits: PeerLimits,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Inbox {
    /// An empty inbox that calls `wake` when a message comes into it while it is empty.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Inbox> {
        let (queue, limits) = (Mutex::new(VecDeque::new()), PeerLimits::default());
        Arc::new(Inbox { queue, limits, wake: Box::new(wake) })
    }

    /// The oldest message.
    pub fn take(&self) -> Option<Received> {
        self.queue.lock().pop_front().map(|(message, _)| message)
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.queue.lock().is_empty()
    }

    /// Has the reader look, though no message came.
    pub fn poke(&self) {
        (self.wake)();
    }

    /// Strangers share what they may have here: each of them can call itself by many numbers.
    fn put(&self, message: Received, member: bool) {
        let mut queue = self.queue.lock();
        let was_empty = queue.is_empty();
        let from = message.from;
        let rival = |(m, of_member): &(Received, bool)| match member {
            true => *of_member && m.from == from,
            false => !of_member,
        };
        let max = match member {
            true => self.limits.notifications_per_member_max,
            false => self.limits.notifications_of_strangers_max,
        };
        if queue.iter().filter(|m| rival(m)).count() >= max
            && let Some(oldest) = queue.iter().position(rival)
        {
            queue.remove(oldest);
        }
        queue.push_back((message, member));
        drop(queue);
        if was_empty {
            (self.wake)();
        }
    }
}

/// A connection in use.
struct Link {
    /// Tells it from its predecessors.
    generation: u64,
    reader: AbortHandle,
    writer: AbortHandle,
    /// A message waits.
    wake: Arc<Notify>,
    since: tokio::time::Instant,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

#[derive(Default)]
struct Peer {
    /// As configured; empty for a stranger.
    configured: Vec<HostPort>,
    /// As its hello said.
    said: Vec<HostPort>,
    /// In the configuration.
    member: bool,
    waiting: Option<Bytes>,
    last: Option<Bytes>,
    link: Option<Link>,
    dialling: bool,
    /// Dial even if no message waits: it asked for it.
    asked: bool,
    /// The last attempt to reach it was refused: nothing listens there.
    refused: bool,
    /// Ends the dialler's pause: a connection came or went.
    changed: Arc<Notify>,
}

struct Shared {
    options: Options,
    inbox: Arc<Inbox>,
    tasks: Tasks,
    peers: Mutex<Map<ServerId, Peer>>,
    greetings: Mutex<VecDeque<AbortHandle>>,
    generations: AtomicU64,
    anonymous: AtomicU64,
    stranger_dials: Semaphore,
    /// Of the lines that strangers cause.
    lines: Lines,
    /// This member's own addresses: those of the options, until the membership says otherwise.
    own: Mutex<Vec<HostPort>>,
    /// Those who accept at them.
    accepting: Mutex<Vec<AbortHandle>>,
}

/// The election port of this member. Dropping it does not stop it: call
/// [`ElectionLinks::shut_down`].
#[derive(Clone)]
pub struct ElectionLinks {
    shared: Arc<Shared>,
    local: Vec<SocketAddr>,
}

impl ElectionLinks {
    /// Binds the port and starts listening. Nobody is dialled before there is a message for them.
    pub async fn start(options: Options, inbox: Arc<Inbox>) -> Result<ElectionLinks, BindError> {
        let (listeners, rest) = bind(&options, &options.listen).await?;
        let local = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
        let shared = Arc::new(Shared {
            inbox,
            tasks: Tasks::new(Handle::current()),
            peers: Mutex::new(map()),
            greetings: Mutex::new(VecDeque::new()),
            generations: AtomicU64::new(0),
            anonymous: AtomicU64::new(0),
            stranger_dials: Semaphore::new(STRANGERS_DIALLED),
            lines: Lines::default(),
            own: Mutex::new(options.advertised.clone()),
            accepting: Mutex::new(Vec::new()),
            options,
        });
        shared.set_peers(shared.options.peers.clone());
        shared.accept_at(listeners, rest);
        Ok(ElectionLinks { shared, local })
    }

    /// Where it listens.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.local
    }

    /// Sends a message, replacing one that still waits for the same peer. Never blocks; may be
    /// called from any thread. A message to oneself arrives in the inbox; one to an unknown peer
    /// that is not connected is dropped.
    pub fn send(&self, to: ServerId, payload: Bytes) {
        let shared = &self.shared;
        if to == shared.options.me {
            return shared.inbox.put(Received { from: to, payload }, true);
        }
        let mut peers = shared.peers.lock();
        let Some(peer) = peers.get_mut(&to) else { return };
        peer.waiting = Some(payload);
        match &peer.link {
            Some(link) => link.wake.notify_one(),
            None => shared.dial(to, peer),
        }
    }

    /// This member's port is somewhere else from now on, where it says so to others. An address that
    /// can't be bound is tried again.
    pub fn move_to(&self, own: Vec<HostPort>) {
        let shared = Arc::clone(&self.shared);
        if std::mem::replace(&mut *shared.own.lock(), own.clone()) == own {
            return;
        }
        shared.accepting.lock().drain(..).for_each(|task| task.abort());
        let moving = Arc::clone(&shared);
        let task = shared.tasks.spawn(async move {
            let options = Options { bind_attempts: 0, ..moving.options.clone() };
            match bind(&options, &own).await {
                Ok((listeners, rest)) => moving.accept_at(listeners, rest),
                Err(error) => tracing::error!("{error}"),
            }
        });
        shared.accepting.lock().push(task);
    }

    /// Replaces the configuration; connections to peers that are no longer in it are closed.
    pub fn set_peers(&self, peers: Vec<PeerAddress>) {
        self.shared.set_peers(peers);
    }

    /// Peers with a connection, for operators and tests.
    pub fn connected(&self) -> Vec<ServerId> {
        let peers = self.shared.peers.lock();
        let mut ids: Vec<_> =
            peers.iter().filter(|(_, p)| p.link.is_some()).map(|(id, _)| *id).collect();
        ids.sort();
        ids
    }

    /// Members whose port refuses connections. The inbox's wake is called when this changes.
    pub fn unreachable(&self) -> BTreeSet<ServerId> {
        let peers = self.shared.peers.lock();
        peers.iter().filter(|(_, p)| p.member && p.refused).map(|(id, _)| *id).collect()
    }

    /// Members to which no connection of the election port stands.
    pub fn unconnected(&self) -> BTreeSet<ServerId> {
        let peers = self.shared.peers.lock();
        peers.iter().filter(|(_, p)| p.member && p.link.is_none()).map(|(id, _)| *id).collect()
    }

    /// Closes the port and every connection.
    pub async fn shut_down(&self) {
        self.shared.tasks.shut_down().await;
        self.shared.peers.lock().clear();
    }
}

/// Listens on those of the addresses that can be had; the rest is given back. While there is none it
/// tries again, as often as the options say: Apache tries each by itself, and ends when all have failed.
async fn bind(
    options: &Options,
    at: &[HostPort],
) -> Result<(Vec<TcpListener>, Vec<net::Unbound>), BindError> {
    let mut attempts: u32 = 0;
    loop {
        attempts = attempts.saturating_add(1);
        let (listeners, unbound) = net::listen(at, options.listen_on_all).await;
        if !listeners.is_empty() {
            return Ok((listeners, unbound));
        }
        if options.bind_attempts != 0 && attempts >= options.bind_attempts {
            return Err(BindError { unbound, attempts });
        }
        if attempts.is_power_of_two() {
            let why = net::Unbound::describe(&unbound);
            tracing::warn!("the election port can't be bound yet ({attempts} attempts): {why}");
        }
        tokio::time::sleep(BIND_PAUSE).await;
    }
}

/// Takes connections for ever: a failure to accept is the system's, and passes.
async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut failures = Failures::new("election port");
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                failures.none();
                let greeting = Arc::clone(&shared);
                let task = shared.tasks.spawn(async move { greeting.greet(stream, address).await });
                let oldest = {
                    let mut greetings = shared.greetings.lock();
                    greetings.retain(|task| !task.is_finished());
                    greetings.push_back(task);
                    let full = greetings.len() > shared.options.limits.greetings_max;
                    full.then(|| greetings.pop_front()).flatten()
                };
                if let Some(oldest) = oldest {
                    oldest.abort();
                    gone(&[oldest]).await;
                }
            }
            Err(error) => failures.wait(&error).await,
        }
    }
}

async fn read_hello(stream: &mut TcpStream) -> io::Result<(Hello, BytesMut)> {
    let mut input = BytesMut::with_capacity(256);
    loop {
        if let Some(hello) = Hello::split_from(&mut input).map_err(io::Error::other)? {
            return Ok((hello, input));
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

impl Shared {
    /// Takes connections at these, and goes on to try the rest of this member's addresses.
    fn accept_at(self: &Arc<Self>, listeners: Vec<TcpListener>, rest: Vec<net::Unbound>) {
        let mut accepting = self.accepting.lock();
        accepting.clear();
        accepting.extend(listeners.into_iter().map(|listener| self.accept_on(listener)));
        if !rest.is_empty() {
            let shared = Arc::clone(self);
            accepting.push(self.tasks.spawn(async move { shared.bind_rest(rest).await }));
        }
    }

    fn accept_on(self: &Arc<Self>, listener: TcpListener) -> AbortHandle {
        let shared = Arc::clone(self);
        self.tasks.spawn(async move { accept(shared, listener).await })
    }

    /// Tries the addresses that could not be bound at first, at growing intervals: one of several that
    /// does not resolve, or whose interface is not up yet, costs the others nothing.
    async fn bind_rest(self: Arc<Self>, mut rest: Vec<net::Unbound>) {
        let why = net::Unbound::describe(&rest);
        tracing::warn!("this member is not reached for elections at {why}");
        let mut pause = BIND_PAUSE;
        while !rest.is_empty() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BIND_PAUSE_MAX);
            let addresses: Vec<HostPort> = rest.into_iter().map(|unbound| unbound.at).collect();
            let (listeners, unbound) = net::listen(&addresses, self.options.listen_on_all).await;
            for listener in listeners {
                if let Ok(address) = listener.local_addr() {
                    tracing::info!("this member is reached for elections at {address} too");
                }
                let task = self.accept_on(listener);
                self.accepting.lock().push(task);
            }
            rest = unbound;
        }
    }

    fn set_peers(self: &Arc<Self>, configured: Vec<PeerAddress>) {
        let mut peers = self.peers.lock();
        peers.retain(|id, peer| !peer.member || configured.iter().any(|c| c.id == *id));
        for PeerAddress { id, addresses } in configured {
            if id != self.options.me {
                let peer = peers.entry(id).or_default();
                peer.configured = addresses;
                peer.member = true;
            }
        }
    }

    /// Reads the hello of a new connection, and keeps it, or dials back.
    async fn greet(self: Arc<Self>, mut stream: TcpStream, address: SocketAddr) {
        let hello = tokio::time::timeout(self.options.hello_timeout, read_hello(&mut stream)).await;
        let (hello, rest) = match hello {
            Ok(Ok(hello)) => hello,
            Ok(Err(error)) => return self.complain(address, &format!("no proper hello: {error}")),
            Err(_) => return self.complain(address, "no hello in time"),
        };
        let me = self.options.me;
        let id = match hello.server {
            ANONYMOUS => ServerId(-1 - self.anonymous.fetch_add(1, Ordering::Relaxed) as i64),
            id if id.0 < 0 || id == me => {
                return self.complain(address, &format!("{id} is not a peer's id"));
            }
            id => id,
        };
        let said: Vec<HostPort> = hello
            .addresses
            .iter()
            .filter_map(|text| HostPort::parse(text))
            .filter(|address| !address.is_wildcard())
            .take(self.options.limits.hello_addresses_max)
            .collect();
        let dial_back = id < me && hello.server != ANONYMOUS;
        let mut peers = self.peers.lock();
        if !peers.contains_key(&id) {
            self.make_room_for_a_stranger(&mut peers);
        }
        let peer = peers.entry(id).or_default();
        peer.said = said;
        if dial_back {
            drop(stream);
            if peer.link.as_ref().is_some_and(|link| link.since.elapsed() < CROSSING) {
                // Its hello and our dialling have crossed.
                return;
            }
            // It would not say hello if it had a connection, so ours, if any, is dead.
            peer.link = None;
            peer.asked = true;
            self.dial(id, peer);
        } else {
            self.adopt(id, peer, stream, rest);
        }
    }

    /// Says what is wrong with a caller, unless many are wrong.
    fn complain(&self, address: SocketAddr, what: &str) {
        if let Some(unsaid) = self.lines.next() {
            tracing::warn!(%address, unsaid, "election port: {what}");
        }
    }

    fn is_member(&self, id: ServerId) -> bool {
        self.peers.lock().get(&id).is_some_and(|peer| peer.member)
    }

    fn make_room_for_a_stranger(&self, peers: &mut Map<ServerId, Peer>) {
        let strangers = peers.iter().filter(|(_, peer)| !peer.member);
        if strangers.clone().count() < self.options.limits.strangers_max {
            return;
        }
        let oldest = strangers.min_by_key(|(_, p)| p.link.as_ref().map_or(0, |l| l.generation));
        if let Some(id) = oldest.map(|(id, _)| *id) {
            peers.remove(&id);
        }
    }

    /// Makes a connection the one to this peer; the one before ends.
    fn adopt(self: &Arc<Self>, id: ServerId, peer: &mut Peer, stream: TcpStream, rest: BytesMut) {
        if let Err(error) = net::tune(&stream, self.options.keep_alive) {
            return tracing::warn!(%id, %error, "election link: socket options refused");
        }
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        let wake = Arc::new(Notify::new());
        let (read, write) = stream.into_split();
        let shared = Arc::clone(self);
        let reader = self.tasks.spawn(async move {
            let error = shared.read(id, read, rest).await;
            shared.lost(id, generation, &error);
        });
        let shared = Arc::clone(self);
        let waiter = Arc::clone(&wake);
        let writer = self.tasks.spawn(async move {
            let error = shared.write(id, generation, write, &waiter).await;
            shared.lost(id, generation, &error);
        });
        if peer.waiting.is_none() {
            peer.waiting = peer.last.clone();
        }
        peer.asked = false;
        peer.changed.notify_one();
        if std::mem::take(&mut peer.refused) {
            self.inbox.poke();
        }
        let since = tokio::time::Instant::now();
        peer.link = Some(Link { generation, reader, writer, wake, since });
        tracing::debug!(%id, generation, "election link up");
    }

    async fn read(&self, id: ServerId, mut read: OwnedReadHalf, mut input: BytesMut) -> io::Error {
        loop {
            loop {
                match split_frame(&mut input) {
                    Ok(Some(payload)) => {
                        self.inbox.put(Received { from: id, payload }, self.is_member(id));
                    }
                    Ok(None) => break,
                    Err(error) => return io::Error::other(error),
                }
            }
            match read.read_buf(&mut input).await {
                Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    async fn write(
        &self,
        id: ServerId,
        generation: u64,
        mut write: OwnedWriteHalf,
        wake: &Notify,
    ) -> io::Error {
        loop {
            let Some(payload) = self.take_waiting(id, generation) else {
                wake.notified().await;
                continue;
            };
            if let Err(error) = write.write_all(&frame(&payload)).await {
                let mut peers = self.peers.lock();
                if let Some(peer) = peers.get_mut(&id)
                    && peer.waiting.is_none()
                {
                    peer.waiting = Some(payload);
                }
                return error;
            }
        }
    }

    fn take_waiting(&self, id: ServerId, generation: u64) -> Option<Bytes> {
        let mut peers = self.peers.lock();
        let peer = peers.get_mut(&id)?;
        if peer.link.as_ref().is_none_or(|link| link.generation != generation) {
            return None;
        }
        let payload = peer.waiting.take()?;
        if payload.len() > FRAME_MAX {
            tracing::error!(%id, bytes = payload.len(), "message too long for the election port");
            return None;
        }
        peer.last = Some(payload.clone());
        Some(payload)
    }

    fn lost(self: &Arc<Self>, id: ServerId, generation: u64, error: &io::Error) {
        let mut peers = self.peers.lock();
        let Some(peer) = peers.get_mut(&id) else { return };
        if peer.link.as_ref().is_none_or(|link| link.generation != generation) {
            return;
        }
        tracing::debug!(%id, generation, %error, "election link down");
        peer.link = None;
        peer.changed.notify_one();
        if !peer.member {
            peers.remove(&id);
            return;
        }
        // What was sent last may not have arrived; and a member that has died is known by its port
        // refusing.
        if peer.waiting.is_none() {
            peer.waiting = peer.last.clone();
        }
        if peer.waiting.is_some() {
            self.dial(id, peer);
        }
    }

    /// Starts a dialler, unless one is at work.
    fn dial(self: &Arc<Self>, id: ServerId, peer: &mut Peer) {
        if !peer.dialling {
            peer.dialling = true;
            let shared = Arc::clone(self);
            self.tasks.spawn(async move { shared.dial_until_done(id).await });
        }
    }

    /// The addresses to try, while there is a reason to.
    fn dial_target(&self, id: ServerId) -> Option<Vec<HostPort>> {
        let mut peers = self.peers.lock();
        let peer = peers.get_mut(&id)?;
        let wanted = peer.link.is_none() && (peer.asked || peer.waiting.is_some());
        let mut addresses = peer.configured.clone();
        addresses.retain(|address| !address.is_wildcard());
        for address in &peer.said {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        if !wanted || addresses.is_empty() {
            peer.dialling = false;
            if !peer.member && peer.link.is_none() {
                peers.remove(&id);
            }
            return None;
        }
        Some(addresses)
    }

    fn set_refused(&self, id: ServerId, refused: bool) {
        let mut peers = self.peers.lock();
        let Some(peer) = peers.get_mut(&id) else { return };
        let refused = refused && peer.link.is_none();
        if std::mem::replace(&mut peer.refused, refused) != refused {
            drop(peers);
            self.inbox.poke();
        }
    }

    async fn dial_until_done(self: Arc<Self>, id: ServerId) {
        let mut pause = REDIAL_MIN;
        let mut attempts = 0_u32;
        while let Some(addresses) = self.dial_target(id) {
            attempts += 1;
            let member = self.is_member(id);
            // The semaphore is never closed.
            let turn = if member { None } else { self.stranger_dials.acquire().await.ok() };
            let dialled = self.dial_once(id, &addresses).await;
            drop(turn);
            let refused =
                dialled.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
            self.set_refused(id, refused);
            match dialled {
                Ok(()) => pause = pause.max(DIAL_BACK),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => pause = RESET_PAUSE,
                Err(error) if attempts == 1 && (member || self.lines.next().is_some()) => {
                    let addresses = net::listed(&addresses);
                    tracing::warn!(%id, %addresses, %error, "cannot reach a peer's election port");
                }
                Err(error) => tracing::debug!(%id, %error, attempts, "peer still not reached"),
            }
            if !self.peers.lock().get(&id).is_some_and(|peer| peer.member || attempts < 3) {
                // A stranger who can't be dialled back three times is forgotten.
                self.peers.lock().remove(&id);
                return;
            }
            let alone = self
                .peers
                .lock()
                .get(&id)
                .and_then(|peer| peer.link.is_none().then(|| Arc::clone(&peer.changed)));
            if let Some(changed) = alone {
                if tokio::time::timeout(pause, changed.notified()).await.is_ok() {
                    pause = REDIAL_MIN;
                }
                pause = (pause * 2).min(REDIAL_MAX);
            }
        }
    }

    /// One attempt: connects and says hello. With the larger id the connection is ours to keep,
    /// with the smaller one the peer dials back.
    async fn dial_once(self: &Arc<Self>, id: ServerId, to: &[HostPort]) -> io::Result<()> {
        let mut stream = net::dial(to, self.options.connect_timeout).await?;
        stream.set_nodelay(true)?;
        let hello = Hello {
            server: self.options.me,
            addresses: self.own.lock().iter().map(HostPort::to_string).collect(),
        };
        stream.write_all(&hello.encode()).await?;
        if id > self.options.me {
            stream.shutdown().await?;
            // It closes, and dials back; a reset means that nobody has read the hello.
            let mut nothing = [0; 16];
            let closed = tokio::time::timeout(DIAL_BACK, stream.read(&mut nothing)).await;
            return closed.unwrap_or(Ok(0)).map(|_| ());
        }
        let mut peers = self.peers.lock();
        if let Some(peer) = peers.get_mut(&id)
            && peer.link.is_none()
        {
            self.adopt(id, peer, stream, BytesMut::new());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
