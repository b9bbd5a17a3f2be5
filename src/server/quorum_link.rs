//! The learner port: links between a leader and its learners (Apache `LearnerCnxAcceptor`,
//! `LearnerHandler` and `Learner`, without their protocol).
//!
//! Responsible for carrying [`QuorumPacket`]s and the one raw stream among them, the snapshot
//! behind a SNAP packet. Does not know what an epoch or a vote is: `zab` decides, the node thread
//! passes on.
//!
//! - **One reader and one writer task per link**, on the reactor of the node thread, so that a packet
//!   is handled by the thread that learned of it. Who sends writes to the socket himself; the writer
//!   only has what the socket did not take. What came with one read arrives at the node thread at
//!   once, with a permit that bounds what a link may have in flight; a peer that sends faster than we
//!   work is slowed by TCP.
//! - **A snapshot is streamed both ways.** The sender asks a [`SnapshotSource`] for the next piece
//!   while the state goes on serving; the receiver feeds an [`ImageSink`] piece by piece. Neither
//!   ever holds the whole. Both are work for seconds, so they are done on another runtime.
//! - **Who may be silent, and for how long, is `zab`'s matter.** Here only the first packet of an
//!   accepted link has a deadline. While a snapshot moves, [`Event::Progress`] says that the other
//!   side lives (ZOOKEEPER-1465, a large tree against `initLimit`).
//! - **What others can make this member hold is bounded** ([`PeerLimits`]): few links without a first
//!   packet, little of guests in front of the node thread, and one account of bytes over all links;
//!   who has most gives way. A packet that comes bit by bit is looked at once.
//! - **Bad input costs the link.** The reason names the peer's address and what was wrong.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

pub use crate::host::transfer::{Piece, SnapshotSource};

use super::accept::{Failures, gone};
use super::net::{self, HostPort, Tasks};
use crate::proto::image::ImageSink;
use crate::proto::jute::Write;
use crate::proto::quorum::QuorumPacket;
use crate::replica::limits::PeerLimits;
use crate::types::{LinkId, Map, map};
use held::{Account, Candidate, Held};

mod held;
mod link;
mod port;

/// Bytes for one socket write, unless a single packet is longer.
const WRITE_BATCH: usize = 256 << 10;

/// How the port works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where a leader listens: this member's own quorum addresses.
    pub listen: Vec<HostPort>,
    /// Where a follower listens for observers: the same hosts with `observerMasterPort`.
    pub listen_for_observers: Vec<HostPort>,
    /// `observerMaster.sizeLimit`: bytes that may wait to be written to an observer of a follower.
    pub observer_behind_max: u64,
    /// `quorumListenOnAllIPs`: only the ports of `listen` count.
    pub listen_on_all: bool,
    /// How long the first packet of an accepted link may take altogether.
    pub first_packet: Duration,
    /// How long a leader tries to bind its port before it says that another program holds it: as long as
    /// its followers try to connect.
    pub listen_patience: Duration,
    /// Largest payload of a packet and largest record of a snapshot, in bytes.
    pub record_max: usize,
    /// `tcpKeepAlive`.
    pub keep_alive: bool,
    /// What others can make this port hold.
    pub limits: PeerLimits,
}

/// A part of a link's bound on packets in flight; given back when dropped.
#[derive(Debug)]
pub struct Room {
    _permit: Option<OwnedSemaphorePermit>,
}

/// What happened on a link. `S` receives snapshots.
#[derive(Debug)]
pub enum Event<S> {
    /// It is there: a dialled one is connected, an accepted one has sent its first packet.
    Up {
        /// New.
        link: LinkId,
        /// The peer's address.
        address: SocketAddr,
        /// By us.
        dialled: bool,
    },
    /// Packets, in order.
    Packets {
        /// From here.
        link: LinkId,
        /// Decoded, not judged; at least one.
        packets: Vec<QuorumPacket>,
        /// To be dropped when the packets have been handled.
        room: Room,
    },
    /// Some of a snapshot has moved, in either direction.
    Progress {
        /// Where.
        link: LinkId,
    },
    /// The snapshot behind the SNAP packet before this is complete.
    Snapshot {
        /// From here.
        link: LinkId,
        /// Filled.
        sink: S,
    },
    /// It is gone, or never came up. Nothing follows. Not said of links closed by
    /// [`QuorumLinks::close`].
    Down {
        /// Which.
        link: LinkId,
        /// For the log.
        reason: String,
    },
    /// The learner port is open.
    Listening,
    /// Another program holds the learner port: this member can't lead at present. Said when that is found
    /// out, and once in each attempt to lead.
    PortHeld {
        /// For the log.
        reason: String,
    },
    /// The learner port is this member's after [`Event::PortHeld`].
    PortFree,
}

/// The two ports that this module opens, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// A leader's.
    Learners,
    /// A follower's, for observers.
    Observers,
}

/// Something to write.
enum Outgoing {
    /// Encoded, any number.
    Packets(BytesMut),
    Snapshot(Box<dyn SnapshotSource>),
}

/// The way out of a link.
#[derive(Default)]
struct Outbox {
    /// Once the link is up.
    socket: Option<Arc<OwnedWriteHalf>>,
    /// What the socket has not taken.
    queue: VecDeque<Outgoing>,
    /// The writer is writing something that is not in the queue any more.
    busy: bool,
}

impl Outbox {
    /// Writes as much as the socket takes at once, if nothing is ahead of it; removes that.
    fn write_now(&self, packets: &mut BytesMut) -> io::Result<()> {
        let Some(socket) = self.socket.as_ref().filter(|_| self.queue.is_empty() && !self.busy)
        else {
            return Ok(());
        };
        match socket.try_write(packets) {
            Ok(n) if n == packets.len() => packets.clear(),
            Ok(n) => packets.advance(n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What the two tasks of a link and its users share.
struct LinkState {
    id: LinkId,
    outgoing: Mutex<Outbox>,
    /// What it holds: bytes to be written, and of a packet that has half arrived.
    held: Held,
    /// How much that may be, beside the bound on all links.
    behind_max: u64,
    wake: Notify,
    /// By this member.
    dialled: bool,
    /// Whether it is a member's, of whom more is taken.
    member: AtomicBool,
    /// Of what is in front of the node thread, once it is a member's.
    room: Arc<Semaphore>,
    tasks: Mutex<Vec<AbortHandle>>,
}

struct Shared<S> {
    options: Options,
    tasks: Tasks,
    /// Where snapshots are sent and received.
    bulk: Handle,
    links: Mutex<Map<LinkId, Arc<LinkState>>>,
    unknown: Mutex<VecDeque<LinkId>>,
    /// The room of all that are no members.
    guests_room: Arc<Semaphore>,
    account: Account,
    listener: Mutex<Option<(Door, AbortHandle)>>,
    /// The learner port while nobody is let in, who tries to get it, and whether another has it.
    places: Mutex<Vec<net::Place>>,
    reserving: Mutex<Option<AbortHandle>>,
    port_held: AtomicBool,
    /// Where the two ports are: those of the options, until the membership says otherwise.
    listen: Mutex<(Vec<HostPort>, Vec<HostPort>)>,
    next: AtomicU64,
    new_sink: Box<dyn Fn() -> S + Send + Sync>,
    deliver: Box<dyn Fn(Event<S>) + Send + Sync>,
}

/// All links of this member on the learner port, its own listener included.
pub struct QuorumLinks<S> {
    shared: Arc<Shared<S>>,
}

impl<S> Clone for QuorumLinks<S> {
    fn clone(&self) -> Self {
        QuorumLinks { shared: Arc::clone(&self.shared) }
    }
}

impl<S: ImageSink + Send + 'static> QuorumLinks<S> {
    /// No links yet. Links live on `runtime`, the snapshots that go over them on `bulk`. `new_sink`
    /// makes the receiver of a snapshot; `deliver` takes events, from any thread, and must not block.
    pub fn new(
        runtime: Handle,
        bulk: Handle,
        options: Options,
        new_sink: impl Fn() -> S + Send + Sync + 'static,
        deliver: impl Fn(Event<S>) + Send + Sync + 'static,
    ) -> QuorumLinks<S> {
        let listen = (options.listen.clone(), options.listen_for_observers.clone());
        let guests_room = Arc::new(Semaphore::new(options.limits.guest_bytes_in_flight));
        let account = Account::new(options.limits.link_bytes_max);
        let shared = Shared {
            options,
            tasks: Tasks::new(runtime),
            bulk,
            links: Mutex::new(map()),
            unknown: Mutex::new(VecDeque::new()),
            guests_room,
            account,
            listener: Mutex::new(None),
            places: Mutex::new(Vec::new()),
            reserving: Mutex::new(None),
            port_held: AtomicBool::new(false),
            listen: Mutex::new(listen),
            next: AtomicU64::new(1),
            new_sink: Box::new(new_sink),
            deliver: Box::new(deliver),
        };
        QuorumLinks { shared: Arc::new(shared) }
    }

    /// Connects to whichever of the addresses answers first, within `limit`. [`Event::Up`] or
    /// [`Event::Down`] follows for `link`, which the caller numbers from
    /// `zab::LINK_OUTBOUND` on.
    pub fn dial(&self, link: LinkId, to: Vec<HostPort>, limit: Duration) {
        let shared = Arc::clone(&self.shared);
        let state = shared.new_link(link, u64::MAX, true);
        let task = Arc::clone(&state);
        let handle = self.shared.tasks.spawn(async move {
            let connected = net::dial(&to, limit).await;
            match connected.and_then(|stream| Ok((stream.peer_addr()?, stream))) {
                Ok((address, stream)) => shared.start(&task, stream, address, true),
                Err(error) => {
                    shared.down(link, format!("cannot reach {}: {error}", net::listed(&to)))
                }
            }
        });
        state.tasks.lock().push(handle);
    }

    /// Queues a packet; ignored when the link is gone. Never blocks.
    pub fn send(&self, link: LinkId, packet: QuorumPacket) {
        let mut bytes = BytesMut::new();
        bytes.put(&packet);
        self.send_encoded(link, &mut bytes);
    }

    /// Sends encoded packets, leaving the buffer empty: with one write to the socket, here and now,
    /// as far as that takes them; the rest waits for it.
    pub fn send_encoded(&self, link: LinkId, packets: &mut BytesMut) {
        let Some(state) = self.shared.links.lock().get(&link).cloned() else {
            return packets.clear();
        };
        let mut outgoing = state.outgoing.lock();
        if let Err(error) = outgoing.write_now(packets) {
            drop(outgoing);
            packets.clear();
            return self.shared.down(link, format!("{}: {error}", state.name()));
        }
        if packets.is_empty() {
            return;
        }
        let (length, max) = (packets.len() as u64, state.behind_max);
        if state.held.bytes().saturating_add(length) > max {
            drop(outgoing);
            packets.clear();
            return self.shared.down(link, format!("more than {max} bytes behind"));
        }
        let too_much = self.shared.account.add(&state.held, length);
        match outgoing.queue.back_mut() {
            Some(Outgoing::Packets(last)) if last.len() < WRITE_BATCH => {
                last.extend_from_slice(packets);
                packets.clear();
            }
            _ => outgoing.queue.push_back(Outgoing::Packets(std::mem::take(packets))),
        }
        drop(outgoing);
        state.wake.notify_one();
        if too_much {
            self.shared.give_way();
        }
    }

    /// This link is a member's: more is taken of it than of a guest, and it gives way later.
    pub fn set_member(&self, link: LinkId, member: bool) {
        if let Some(state) = self.shared.links.lock().get(&link) {
            state.member.store(member, Ordering::Relaxed);
        }
    }

    /// Bytes that wait to be written to whom this member dialled: its leader.
    pub fn bytes_to_leader(&self) -> u64 {
        let links = self.shared.links.lock();
        links.values().filter(|state| state.dialled).map(|state| state.held.bytes()).sum()
    }

    /// Queues the stream of a snapshot, behind the SNAP packet that announces it.
    pub fn send_snapshot(&self, link: LinkId, source: Box<dyn SnapshotSource>) {
        let Some(state) = self.shared.links.lock().get(&link).cloned() else { return };
        state.outgoing.lock().queue.push_back(Outgoing::Snapshot(source));
        state.wake.notify_one();
    }

    /// Ends a link without an event. What was queued may not have been sent.
    pub fn close(&self, link: LinkId) {
        self.shared.remove(link);
    }

    /// Links there are, dialling ones included.
    pub fn len(&self) -> usize {
        self.shared.links.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the port and every link, without events.
    pub async fn shut_down(&self) {
        self.stop_listening();
        self.shared.links.lock().clear();
        self.shared.tasks.shut_down().await;
    }
}

impl LinkState {
    /// The other end, for the log.
    fn name(&self) -> String {
        let outgoing = self.outgoing.lock();
        let address = outgoing.socket.as_ref().and_then(|socket| socket.peer_addr().ok());
        address.map_or_else(|| "the peer".to_owned(), |address| address.to_string())
    }
}

impl<S: ImageSink + Send + 'static> Shared<S> {
    async fn accept(self: Arc<Self>, listener: TcpListener, door: Door) {
        let behind_max = match door {
            Door::Learners => u64::MAX,
            Door::Observers => self.options.observer_behind_max,
        };
        let mut failures = Failures::new("learner port");
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    failures.none();
                    let id = LinkId(self.next.fetch_add(1, Ordering::Relaxed));
                    let state = self.new_link(id, behind_max, false);
                    let oldest = {
                        let mut unknown = self.unknown.lock();
                        unknown.push_back(state.id);
                        let full = unknown.len() > self.options.limits.waiting_links_max;
                        full.then(|| unknown.pop_front()).flatten()
                    };
                    self.start(&state, stream, address, false);
                    if let Some(closed) = oldest.and_then(|oldest| self.take(oldest)) {
                        gone(&closed).await;
                    }
                }
                Err(error) => failures.wait(&error).await,
            }
        }
    }

    fn new_link(&self, id: LinkId, behind_max: u64, dialled: bool) -> Arc<LinkState> {
        let state = Arc::new(LinkState {
            id,
            outgoing: Mutex::new(Outbox::default()),
            held: Held::default(),
            behind_max,
            wake: Notify::new(),
            dialled,
            member: AtomicBool::new(dialled),
            room: Arc::new(Semaphore::new(self.options.limits.member_bytes_in_flight)),
            tasks: Mutex::new(Vec::new()),
        });
        self.links.lock().insert(id, Arc::clone(&state));
        state
    }

    fn remove(&self, id: LinkId) -> bool {
        self.take(id).is_some()
    }

    /// Ends a link, if it is there; its tasks, which have been aborted.
    fn take(&self, id: LinkId) -> Option<Vec<AbortHandle>> {
        let state = self.links.lock().remove(&id)?;
        self.unknown.lock().retain(|unknown| *unknown != id);
        let tasks: Vec<_> = state.tasks.lock().drain(..).collect();
        tasks.iter().for_each(AbortHandle::abort);
        *state.outgoing.lock() = Outbox::default();
        self.account.end(&state.held);
        Some(tasks)
    }

    /// Closes links until all of them together hold no more than they may.
    fn give_way(&self) {
        let max = self.account.max();
        loop {
            let links = self.links.lock();
            let candidates = links.values().map(|state| Candidate {
                link: state.id,
                member: state.member.load(Ordering::Relaxed),
                bytes: state.held.bytes(),
            });
            let Some(victim) = self.account.victim(candidates) else { return };
            let state = links.get(&victim.link).cloned();
            drop(links);
            let Some(state) = state else { return };
            let reason = format!(
                "{}: links hold more than {max} bytes together, and this one has {} of them",
                state.name(),
                victim.bytes
            );
            self.down(victim.link, reason);
        }
    }

    /// Ends a link and says so, once.
    fn down(&self, id: LinkId, reason: String) {
        if self.remove(id) {
            (self.deliver)(Event::Down { link: id, reason });
        }
    }
}

#[cfg(test)]
mod tests;
