//! The value under test, behind a small trait: today a [`Peer`] with opaque transactions and a state
//! that is the list of them; later a whole replica.

use std::collections::VecDeque;

use bytes::Bytes;

use super::disk::{Entry, Image};
use crate::proto::election::Notification;
use crate::proto::quorum::{PacketKind, QuorumPacket};
use crate::types::{Instant, LinkId, ServerId, Zxid};
use crate::zab::{
    Action, DiskState, EncodedTxn, LinkEvent, LogRead, Options, Peer, Persisted, ReadId, StartError,
};

/// Something that happens to a host.
#[derive(Clone, Debug)]
pub enum Input {
    /// A message on the election port.
    Notification(ServerId, Notification),
    /// A link between servers.
    Link(LinkId, LinkEvent),
    /// A write is done.
    Persisted(Persisted),
    /// The state has been read back from disk.
    Loaded(Image),
    /// The log has been read for a learner.
    LogRead(ReadId, Option<LogRead>),
    /// The timeout it asked for.
    Timeout,
    /// A client wants this written.
    Write(u64),
    /// Somebody asks for a sync.
    Sync(u64),
    /// Another program holds its quorum port, or has given it up.
    PortHeld(bool),
    /// The operator ends it.
    ShutDown,
}

/// What can be put in the world's place of a server.
pub trait Host: Sized {
    /// Starts on what is on disk, with `state` loaded from it.
    fn boot(
        now: Instant,
        options: Options,
        disk: DiskState,
        state: Image,
    ) -> Result<Self, StartError>;
    /// Something happens. The world drains [`Host::poll_action`] afterwards.
    fn feed(&mut self, now: Instant, input: Input);
    /// The next thing that the world must do.
    fn poll_action(&mut self) -> Option<Action>;
    /// When it wants [`Input::Timeout`].
    fn poll_timeout(&self) -> Option<Instant>;
    /// The state as an image, for a local snapshot.
    fn image(&self) -> Image;
    /// The state as it was when the oldest `SendSnapshot` not asked for yet was made.
    fn stream(&mut self) -> Image;
    /// Where the state ends: for invariants.
    fn state(&self) -> Entry;
    /// The Zab core inside: for invariants.
    fn peer(&self) -> &Peer;
}

/// A peer, and a state that only remembers what was applied.
#[derive(Clone, Debug)]
pub struct PeerHost {
    peer: Peer,
    state: Image,
    /// Actions already taken from the peer, in order, for the world.
    out: VecDeque<Action>,
    /// The state at each `SendSnapshot` among them.
    streams: VecDeque<Image>,
}

impl PeerHost {
    /// Moves the peer's actions to the world, and does the ones that are the host's own.
    fn pump(&mut self, now: Instant) {
        while let Some(action) = self.peer.poll_action() {
            match &action {
                Action::Deliver { txn, .. } => self.state.push(txn),
                Action::SendSnapshot { zxid, .. } => {
                    self.state.zxid = *zxid;
                    self.streams.push_back(self.state.clone());
                }
                Action::AnswerPing { zxid } => {
                    let zxid = *zxid;
                    self.out.push_back(action);
                    self.peer.answer_ping(zxid, Bytes::new());
                    continue;
                }
                Action::FromLearner { packet, .. } if packet.kind == PacketKind::Request => {
                    let payload = packet.payload();
                    self.out.push_back(action);
                    self.propose(now, payload);
                    continue;
                }
                _ => {}
            }
            self.out.push_back(action);
        }
    }

    fn propose(&mut self, now: Instant, payload: Bytes) {
        if let Some(zxid) = self.peer.next_zxid() {
            let txn = EncodedTxn { zxid, bytes: payload, reconfig: false };
            // Refused at the end of an epoch's counter: the client gets no answer.
            let _ = self.peer.propose(now, txn);
        }
    }
}

impl Host for PeerHost {
    fn boot(
        now: Instant,
        options: Options,
        disk: DiskState,
        state: Image,
    ) -> Result<Self, StartError> {
        let peer = Peer::new(options, disk, now)?;
        let (out, streams) = Default::default();
        let mut host = PeerHost { peer, state, out, streams };
        host.pump(now);
        Ok(host)
    }

    fn feed(&mut self, now: Instant, input: Input) {
        match input {
            Input::Notification(from, n) => self.peer.handle_notification(now, from, n),
            Input::Link(link, event) => self.peer.handle_link(now, link, event),
            Input::Persisted(done) => self.peer.handle_persisted(now, done),
            Input::Loaded(image) => {
                self.state = image;
                self.peer.handle_loaded(now);
            }
            Input::LogRead(read, found) => self.peer.handle_log_read(now, read, found),
            Input::Timeout => self.peer.handle_timeout(now),
            Input::Write(id) => {
                let payload = Bytes::copy_from_slice(&id.to_be_bytes());
                if self.peer.next_zxid().is_some() {
                    self.propose(now, payload);
                } else {
                    let packet = QuorumPacket::with_data(PacketKind::Request, Zxid(-1), payload);
                    self.peer.forward(packet);
                }
            }
            Input::Sync(token) => {
                self.peer.sync(now, token);
            }
            Input::PortHeld(held) => self.peer.set_port_held(now, held),
            Input::ShutDown => self.peer.shut_down(now),
        }
        self.pump(now);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.peer.poll_timeout()
    }

    fn image(&self) -> Image {
        self.state.clone()
    }

    fn stream(&mut self) -> Image {
        self.streams.pop_front().unwrap_or_default()
    }

    fn state(&self) -> Entry {
        self.state.end()
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }
}
