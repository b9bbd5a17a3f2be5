//! Carries out what Zab asks for: messages, links, files. What concerns the state or the clients is
//! handed back to the node thread.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;

use super::config_files::ConfigFiles;
use super::disk::{self, DiskThread, Job, Report};
use super::guests::{Guests, Progress};
use super::members::Members;
use super::setup::Setup;
use crate::proto::election::Notification;
use crate::proto::jute::Write;
use crate::proto::quorum::PacketKind::{FollowerInfo, ObserverInfo};
use crate::proto::quorum::QuorumPacket;
use crate::server::StartError;
use crate::server::election_link::{ElectionLinks, Inbox};
use crate::server::lines::Lines;
use crate::server::net::{HostPort, Place, Unbound};
use crate::server::quorum_link::{self, QuorumLinks, Room, SnapshotSource};
use crate::state::{StateLoader, StateMachine};
use crate::storage::TxnLog;
use crate::types::{Instant, LinkId, Map, ServerId, map};
use crate::zab::{self, Action, ImageId, LinkEvent, Peer};

/// How long a follower may take to accept an observer: there are others to ask.
const MASTER_DIAL_LIMIT: Duration = Duration::from_secs(1);

/// What reaches the node thread of a member from other servers and from its disk.
pub enum Event {
    /// There are messages in the election port's inbox.
    Votes,
    /// Of the learner port.
    Link(quorum_link::Event<StateLoader>),
    /// Of the log thread.
    Disk(Report),
}

/// What the node thread has to do itself.
pub enum Handled {
    /// Nothing more.
    Done,
    /// Another state takes the place of the one there is; then
    /// [`Peer::handle_loaded`] is to be called.
    Loaded(Box<StateMachine>),
    /// So many transactions were synced.
    Synced(crate::storage::Committed),
    /// Enough was logged for a snapshot.
    SnapshotDue,
    /// The disk failed: end the process.
    Failed(crate::storage::Error),
}

type Deliver = Arc<dyn Fn(Event) + Send + Sync>;

/// The ports and the log thread of a member.
pub struct Shell {
    election: ElectionLinks,
    inbox: Arc<Inbox>,
    links: QuorumLinks<StateLoader>,
    disk: DiskThread,
    disk_options: disk::Options,
    /// Held by whoever reads the log for a learner.
    log_reads: Arc<Mutex<()>>,
    learner_ports: Map<ServerId, Vec<HostPort>>,
    master_ports: Map<ServerId, Vec<HostPort>>,
    /// The members in force and, beside them, those that were proposed.
    members: Members,
    dial_limit: Duration,
    deliver: Deliver,
    next_image: u64,
    /// The other end of each link.
    addresses: Map<LinkId, SocketAddr>,
    /// Who introduced itself on each accepted link.
    learners: Map<LinkId, ServerId>,
    /// What guests have sent and is in process.
    guests: Guests<Room>,
    /// Of the lines about links that are no member's.
    lines: Lines,
    unreachable: BTreeSet<ServerId>,
    /// Another program holds the learner port.
    port_held: bool,
    /// What this turn sends, encoded, by link.
    outgoing: Map<LinkId, BytesMut>,
    /// What this turn asks of the disk.
    jobs: Vec<Job>,
}

/// Notifications handled in one turn: who sends more than can be read must not keep the thread.
const VOTES_PER_TURN: usize = 64;
/// Bytes that wait for the end of the turn, per link.
const OUTGOING_MAX: usize = 128 << 10;

impl Shell {
    /// Opens the election port and starts the log thread. Links to learners and to the leader will
    /// live on `links`, the runtime of the node thread. `deliver` takes events from any thread and
    /// must not block; `clock` is the clock of the events' times. `learner_port` is what could be had
    /// of this member's learner port.
    ///
    /// # Errors
    /// When the election port can't be bound (the process ends with code 14), or there is no thread.
    pub async fn start(
        setup: &Setup,
        links: tokio::runtime::Handle,
        disk_options: disk::Options,
        log: TxnLog,
        configs: Option<ConfigFiles>,
        learner_port: (Vec<Place>, Vec<Unbound>),
        clock: impl Fn() -> Instant + Send + 'static,
        deliver: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Shell, StartError> {
        let deliver: Deliver = Arc::new(deliver);
        let waking = Arc::clone(&deliver);
        let inbox = Inbox::new(move || waking(Event::Votes));
        let election = ElectionLinks::start(setup.election.clone(), Arc::clone(&inbox)).await?;
        let state_options = disk_options.state;
        let linking = Arc::clone(&deliver);
        let links = QuorumLinks::new(
            links,
            tokio::runtime::Handle::current(),
            setup.links.clone(),
            move || StateLoader::new(state_options),
            move |event| linking(Event::Link(event)),
        );
        let reporting = Arc::clone(&deliver);
        let report = move |report| reporting(Event::Disk(report));
        let disk = DiskThread::start(disk_options.clone(), log, configs, clock, report)
            .map_err(StartError::System)?;
        let (places, unbound) = learner_port;
        let port_held = places.is_empty();
        if port_held && setup.peer.membership.is_voter(setup.peer.id) {
            say_port_held(&Unbound::describe(&unbound));
        }
        links.keep(places);
        Ok(Shell {
            election,
            inbox,
            links,
            disk,
            disk_options,
            log_reads: Arc::default(),
            learner_ports: setup.learner_ports.clone(),
            master_ports: setup.master_ports.clone(),
            members: Members::new(setup),
            dial_limit: setup.dial_limit,
            deliver,
            next_image: 1,
            addresses: map(),
            learners: map(),
            guests: Guests::default(),
            lines: Lines::default(),
            unreachable: BTreeSet::new(),
            port_held,
            outgoing: map(),
            jobs: Vec::new(),
        })
    }

    /// The end of a turn: sends what it had for others, then hands the disk its work. Until here
    /// both only gather, so that a turn costs one write for each link and one wake-up for the log
    /// thread. What the disk has done at once is in `reports`, to be handled; then there may be more
    /// to flush.
    pub fn flush(&mut self, reports: &mut Vec<Report>) {
        for (link, packets) in &mut self.outgoing {
            if !packets.is_empty() {
                self.links.send_encoded(*link, packets);
            }
        }
        self.disk.submit(&mut self.jobs, reports);
    }

    fn send(&mut self, link: LinkId, packet: &QuorumPacket) {
        let packets = self.outgoing.entry(link).or_default();
        packets.put(packet);
        if packets.len() >= OUTGOING_MAX {
            self.links.send_encoded(link, packets);
        }
    }

    /// Hands an event to Zab, as far as it concerns Zab. The room of a packet is given back when the
    /// packet has been handled.
    pub fn handle(&mut self, now: Instant, peer: &mut Peer, event: Event) -> Handled {
        match event {
            Event::Votes => self.read_votes(now, peer),
            Event::Link(event) => return self.handle_link(now, peer, event),
            Event::Disk(report) => match report {
                Report::Persisted(done) => peer.handle_persisted(now, done),
                Report::Loaded(state) => return Handled::Loaded(state),
                Report::Read(read, found) => peer.handle_log_read(now, read, found),
                Report::Synced(committed) => return Handled::Synced(committed),
                Report::SnapshotDue => return Handled::SnapshotDue,
                Report::Failed(error) => return Handled::Failed(error),
            },
        }
        Handled::Done
    }

    /// The other voters with the addresses of their election ports, and those of them to which no
    /// connection stands.
    pub fn other_voters(
        &self,
        peer: &Peer,
    ) -> (Vec<(ServerId, Vec<HostPort>)>, BTreeSet<ServerId>) {
        let voters = peer.options().membership.quorum.voters();
        let others = self.members.election_peers().into_iter();
        let others = others.filter(|other| voters.contains(&other.id));
        let addresses = others.map(|other| (other.id, other.addresses)).collect();
        (addresses, self.election.unconnected())
    }

    fn read_votes(&mut self, now: Instant, peer: &mut Peer) {
        let unreachable = self.election.unreachable();
        if unreachable != self.unreachable {
            self.unreachable.clone_from(&unreachable);
            peer.set_unreachable(now, unreachable);
        }
        for _ in 0..VOTES_PER_TURN {
            let Some(message) = self.inbox.take() else { return };
            match Notification::decode(message.payload) {
                Ok(notification) => peer.handle_notification(now, message.from, notification),
                // One bad vote must not deafen the receiver (ZOOKEEPER-3769).
                Err(error) => {
                    if let Some(unsaid) = self.lines.next() {
                        let from = message.from;
                        tracing::warn!(%from, %error, unsaid, "notification dropped");
                    }
                }
            }
        }
        if !self.inbox.is_empty() {
            self.inbox.poke();
        }
    }

    fn handle_link(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        event: quorum_link::Event<StateLoader>,
    ) -> Handled {
        use quorum_link::Event as Link;
        match event {
            Link::Up { link, address, dialled } => {
                tracing::debug!(link = link.0, %address, dialled, "link up");
                self.addresses.insert(link, address);
                peer.handle_link(now, link, LinkEvent::Up);
            }
            Link::Packets { link, packets, room } => {
                let introduces = |p: &QuorumPacket| matches!(p.kind, FollowerInfo | ObserverInfo);
                let introduced = packets.iter().any(introduces);
                for packet in packets {
                    peer.handle_link(now, link, LinkEvent::Packet(packet));
                }
                if introduced && let Some(l) = peer.learners().iter().find(|l| l.link == link) {
                    self.learners.insert(link, l.server);
                    self.links.set_member(link, self.learner_ports.contains_key(&l.server));
                }
                if self.is_member(link) {
                    drop::<Room>(room);
                } else {
                    self.guests.add(room);
                }
            }
            Link::Progress { link } => peer.handle_link(now, link, LinkEvent::Progress),
            Link::Snapshot { link, sink } => {
                let image = ImageId(self.next_image);
                self.next_image += 1;
                self.jobs.push(Job::Image(image, Box::new(sink)));
                peer.handle_link(now, link, LinkEvent::Image(image));
            }
            Link::Down { link, reason } => {
                self.outgoing.remove(&link);
                self.addresses.remove(&link);
                // The reason names the peer.
                if let Some(unsaid) = self.next_line(link) {
                    tracing::info!(link = link.0, unsaid, reason, "link down");
                }
                self.learners.remove(&link);
                peer.handle_link(now, link, LinkEvent::Down);
            }
            Link::Listening => {}
            Link::PortHeld { reason } => self.port_held(now, peer, Some(&reason)),
            Link::PortFree => self.port_held(now, peer, None),
        }
        Handled::Done
    }

    /// Another program holds the learner port, for this reason, or has given it up.
    fn port_held(&mut self, now: Instant, peer: &mut Peer, reason: Option<&str>) {
        let before = std::mem::replace(&mut self.port_held, reason.is_some());
        match reason {
            // Who has no vote needs the port only when that changes.
            _ if !peer.options().membership.is_voter(peer.id()) => {}
            Some(reason) if !before => say_port_held(reason),
            None if before => tracing::info!("the quorum port is free: this member can lead"),
            _ => {}
        }
        peer.set_port_held(now, reason.is_some());
    }

    /// Carries out an action, or gives it back if it is the node thread's.
    pub fn execute(&mut self, action: Action) -> Option<Action> {
        match action {
            Action::SendNotification { to, notification } => {
                self.election.send(to, notification.encode());
            }
            Action::Connect { link, to } => {
                let addresses = self.learner_ports.get(&to).cloned().unwrap_or_default();
                self.links.dial(link, addresses, self.dial_limit);
            }
            Action::ConnectToMaster { link, to } => {
                let addresses = self.master_ports.get(&to).cloned().unwrap_or_default();
                self.links.dial(link, addresses, self.dial_limit.min(MASTER_DIAL_LIMIT));
            }
            Action::Listen => self.links.listen(),
            Action::ListenForObservers => self.links.listen_for_observers(),
            Action::StopListening => self.links.stop_listening(),
            Action::Send { link, packet } => self.send(link, &packet),
            Action::CloseLink { link, why } => {
                let peer = self.addresses.remove(&link);
                let peer = peer.map_or_else(|| "not connected".to_owned(), |a| a.to_string());
                if let Some(unsaid) = self.next_line(link) {
                    tracing::info!(link = link.0, unsaid, peer, %why, "link closed");
                }
                self.learners.remove(&link);
                self.outgoing.remove(&link);
                self.links.close(link);
            }
            Action::Disk { op, what } => self.jobs.push(Job::Op(op, what)),
            Action::LoadState { through } => self.jobs.push(Job::Load(through)),
            Action::ReadLog { read, after, through } => {
                let deliver = Arc::clone(&self.deliver);
                let report = move |report| deliver(Event::Disk(report));
                let (turns, options) = (Arc::clone(&self.log_reads), self.disk_options.clone());
                disk::read_log(turns, options, read, after, through, report);
            }
            Action::ConfigSeen(text) => {
                if self.members.see(&text) {
                    self.use_addresses();
                }
                return Some(Action::ConfigSeen(text));
            }
            Action::ConfigActive { text, version } => {
                if self.members.activate(&text) {
                    self.use_addresses();
                }
                return Some(Action::ConfigActive { text, version });
            }
            other => return Some(other),
        }
        None
    }

    /// The end of a turn, in which everything that was asked for was proposed or sent on: gives guests
    /// their room back, as far as it is done, so that more of what they send is read.
    pub fn settle_guests(&mut self, peer: &Peer, syncs: usize) {
        if !self.guests.is_empty() {
            let (last, delivered) = (peer.history().last(), peer.history().delivered());
            let to_leader = self.links.bytes_to_leader();
            self.guests.settle(&Progress { last, delivered, syncs, to_leader });
        }
    }

    /// Whether this link is a member's, as far as it has said who it is.
    fn is_member(&self, link: LinkId) -> bool {
        let server = self.learners.get(&link);
        link.0 >= zab::LINK_OUTBOUND
            || server.is_some_and(|server| self.learner_ports.contains_key(server))
    }

    /// Whether a line about this link may be written, and how many were left out before it: of a
    /// member's always, of others few, as there may be any number of them.
    fn next_line(&self, link: LinkId) -> Option<u64> {
        if self.is_member(link) { Some(0) } else { self.lines.next() }
    }

    /// Members are reached where the membership says from now on.
    fn use_addresses(&mut self) {
        let members = &self.members;
        self.learner_ports = members.learner_ports();
        self.master_ports = members.master_ports();
        self.election.set_peers(members.election_peers());
        for (link, server) in &self.learners {
            self.links.set_member(*link, self.learner_ports.contains_key(server));
        }
        if let Some((learners, observers)) = members.own_ports() {
            self.links.move_to(learners, observers);
        }
        if let Some(own) = members.own_election() {
            self.election.move_to(own);
        }
    }

    /// Queues the stream of a snapshot behind its SNAP packet.
    pub fn send_snapshot(&mut self, link: LinkId, source: Box<dyn SnapshotSource>) {
        if let Some(packets) = self.outgoing.get_mut(&link) {
            self.links.send_encoded(link, packets);
        }
        self.links.send_snapshot(link, source);
    }

    /// Forgets that this member had lost its history.
    ///
    /// # Errors
    /// What the disk says.
    pub fn resynced(&self) -> crate::storage::Result<()> {
        crate::host::start::resynced(&self.disk_options)
    }

    /// Closes the ports and finishes what the disk was asked for: what was flushed.
    pub async fn shut_down(&mut self) {
        self.links.shut_down().await;
        self.election.shut_down().await;
        self.disk.stop();
    }
}

fn say_port_held(reason: &str) {
    tracing::error!(
        "this member can't lead, and lets others, until its quorum port is free: {reason}"
    );
}
