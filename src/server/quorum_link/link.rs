//! The two tasks of a link.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::{Event, LinkState, Outgoing, Piece, Room, Shared, SnapshotSource, WRITE_BATCH};
use crate::proto::image::ImageSink;
use crate::proto::quorum::{PacketCutter, PacketKind, QuorumPacket};
use crate::server::net;
use crate::storage::image_stream::{self, Framing, ImageDecoder};
use crate::types::LinkId;

/// Bytes of packets handed to the node thread at once, unless a single packet is longer.
const READ_BATCH: usize = 256 << 10;
/// The same from a guest: all of them share what they may have in front of the node thread.
const GUEST_BATCH: usize = 16 << 10;
/// Free space that a read is offered.
const READ_CHUNK: usize = 64 << 10;
/// The same before the first packet.
const FIRST_CHUNK: usize = 1 << 10;
/// Bytes of a snapshot between two reports of progress.
const PROGRESS_BYTES: usize = 256 << 10;
/// Between two looks at an image that is being written.
const NOT_YET_PAUSE: Duration = Duration::from_millis(2);

impl<S: ImageSink + Send + 'static> Shared<S> {
    /// Puts a connected socket to work.
    pub(super) fn start(
        self: &Arc<Self>,
        state: &Arc<LinkState>,
        stream: TcpStream,
        address: SocketAddr,
        dialled: bool,
    ) {
        if let Err(error) = net::tune(&stream, self.options.keep_alive) {
            return self.down(state.id, format!("{address}: {error}"));
        }
        let (read, write) = stream.into_split();
        let write = Arc::new(write);
        state.outgoing.lock().socket = Some(Arc::clone(&write));
        if dialled {
            (self.deliver)(Event::Up { link: state.id, address, dialled });
        }
        let (shared, link) = (Arc::clone(self), Arc::clone(state));
        let reader = self.tasks.spawn(async move {
            let error = shared.read(&link, read, address, dialled).await;
            shared.down(link.id, format!("{address}: {error}"));
        });
        let (shared, link) = (Arc::clone(self), Arc::clone(state));
        let writer = self.tasks.spawn(async move {
            let error = shared.write(&link, &write).await;
            shared.down(link.id, format!("{address}: {error}"));
        });
        state.tasks.lock().extend([reader, writer]);
        if !self.links.lock().contains_key(&state.id) {
            // Closed meanwhile, when the tasks were not known yet.
            state.outgoing.lock().socket = None;
            state.tasks.lock().drain(..).for_each(|task| task.abort());
        }
    }

    async fn read(
        self: &Arc<Self>,
        link: &Arc<LinkState>,
        mut read: OwnedReadHalf,
        address: SocketAddr,
        dialled: bool,
    ) -> io::Error {
        let record_max = self.options.record_max;
        let first_max = self.options.limits.first_packet_bytes_max.min(record_max);
        let mut input = Input::new(FIRST_CHUNK, first_max);
        if !dialled {
            // Nothing is known of this peer: its first packet has a deadline as a whole.
            let deadline = self.options.first_packet;
            let first = self.next_packet(link, &mut read, &mut input);
            let packet = match tokio::time::timeout(deadline, first).await {
                Ok(Ok(packet)) => packet,
                Ok(Err(error)) => return error,
                Err(_) => {
                    return io::Error::new(io::ErrorKind::TimedOut, "no first packet in time");
                }
            };
            self.unknown.lock().retain(|unknown| *unknown != link.id);
            (self.deliver)(Event::Up { link: link.id, address, dialled });
            // Who it is shows in this packet, so it waits for no guest.
            self.pass_on(link, vec![packet], true).await;
        }
        (input.chunk, input.max) = (READ_CHUNK, record_max);
        loop {
            let first = match self.next_packet(link, &mut read, &mut input).await {
                Ok(packet) => packet,
                Err(error) => return error,
            };
            let mut packets = vec![first];
            let member = link.member.load(Ordering::Relaxed);
            let batch = if member { READ_BATCH } else { GUEST_BATCH };
            let end = self.gather(dialled, batch, &mut input, &mut packets);
            self.pass_on(link, packets, member).await;
            if let Err(error) = end {
                return error;
            }
            if end.is_ok_and(|snapshot_follows| snapshot_follows) {
                let (shared, state) = (Arc::clone(self), Arc::clone(link));
                let mut bytes = std::mem::take(&mut input.bytes);
                let work = async move {
                    let sink = shared.read_snapshot(&state, &mut read, &mut bytes).await;
                    (sink, read, bytes)
                };
                let sink;
                (sink, read, input.bytes) = match elsewhere(&self.bulk, work).await {
                    Ok(done) => done,
                    Err(error) => return error,
                };
                match sink {
                    Ok(sink) => (self.deliver)(Event::Snapshot { link: link.id, sink }),
                    Err(error) => return error,
                }
            }
        }
    }

    async fn next_packet(
        &self,
        link: &LinkState,
        read: &mut OwnedReadHalf,
        input: &mut Input,
    ) -> io::Result<QuorumPacket> {
        loop {
            if let Some(packet) = input.cut()? {
                self.count_half(link, input, 0);
                return Ok(packet);
            }
            // What one read brings is every link's due.
            let half = if input.bytes.len() > READ_CHUNK { input.bytes.len() as u64 } else { 0 };
            self.count_half(link, input, half);
            if !link.member.load(Ordering::Relaxed) {
                // Guests and strangers take turns, and the node thread has its own between them.
                tokio::task::yield_now().await;
            }
            read_some(read, &mut input.bytes, input.chunk).await?;
        }
    }

    /// So many bytes of this link have arrived of a packet that has not.
    fn count_half(&self, link: &LinkState, input: &mut Input, half: u64) {
        let before = std::mem::replace(&mut input.half, half);
        if half < before {
            self.account.sub(&link.held, before - half);
        } else if half > before && self.account.add(&link.held, half - before) {
            self.give_way();
        }
    }

    /// Adds the whole packets of `input` to the first, as many as may go together; true when a
    /// snapshot follows the last.
    fn gather(
        &self,
        dialled: bool,
        batch: usize,
        input: &mut Input,
        packets: &mut Vec<QuorumPacket>,
    ) -> io::Result<bool> {
        let mut bytes = 0;
        while let Some(last) = packets.last() {
            if dialled && last.kind == PacketKind::Snap {
                return Ok(true);
            }
            bytes += last.encoded_len();
            if bytes >= batch {
                break;
            }
            match input.cut()? {
                Some(packet) => packets.push(packet),
                None => break,
            }
        }
        Ok(false)
    }

    /// Hands packets to the node thread, once there is room for them.
    async fn pass_on(&self, link: &LinkState, packets: Vec<QuorumPacket>, member: bool) {
        let bytes: usize = packets.iter().map(QuorumPacket::encoded_len).sum();
        let limits = &self.options.limits;
        let (room, max) = match member {
            true => (&link.room, limits.member_bytes_in_flight),
            false => (&self.guests_room, limits.guest_bytes_in_flight),
        };
        let bytes = u32::try_from(bytes.min(max)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let room = Arc::clone(room).acquire_many_owned(bytes).await.ok();
        (self.deliver)(Event::Packets { link: link.id, packets, room: Room { _permit: room } });
    }

    async fn read_snapshot(
        &self,
        link: &LinkState,
        read: &mut OwnedReadHalf,
        input: &mut BytesMut,
    ) -> io::Result<S> {
        let mut sink = (self.new_sink)();
        let mut image = ImageDecoder::new(Framing::Link, self.options.record_max);
        let mut unreported = 0;
        while !image.feed(input, &mut sink).map_err(io::Error::other)? {
            unreported += read_some(read, input, READ_CHUNK).await?;
            if unreported >= PROGRESS_BYTES {
                unreported = 0;
                (self.deliver)(Event::Progress { link: link.id });
                // A long tree must not starve the other links of this thread.
                tokio::task::yield_now().await;
            }
        }
        Ok(sink)
    }

    /// Writes what the socket would not take at once, until it fails.
    async fn write(
        self: &Arc<Self>,
        link: &Arc<LinkState>,
        socket: &Arc<OwnedWriteHalf>,
    ) -> io::Error {
        loop {
            let next = {
                let mut outgoing = link.outgoing.lock();
                let next = outgoing.queue.pop_front();
                outgoing.busy = next.is_some();
                next
            };
            let written = match next {
                None => {
                    link.wake.notified().await;
                    Ok(())
                }
                Some(Outgoing::Packets(packets)) => {
                    let written = write_all(socket, &packets).await;
                    self.account.sub(&link.held, packets.len() as u64);
                    written
                }
                Some(Outgoing::Snapshot(source)) => {
                    let (shared, id, socket) = (Arc::clone(self), link.id, Arc::clone(socket));
                    let work = async move { shared.write_snapshot(id, &socket, source).await };
                    elsewhere(&self.bulk, work).await.flatten()
                }
            };
            if let Err(error) = written {
                return error;
            }
        }
    }

    async fn write_snapshot(
        &self,
        link: LinkId,
        socket: &OwnedWriteHalf,
        mut source: Box<dyn SnapshotSource>,
    ) -> io::Result<()> {
        let mut out = BytesMut::with_capacity(WRITE_BATCH);
        let mut piece = Piece::More;
        while piece == Piece::More || piece == Piece::NotYet {
            (source, out, piece) = off_thread(move || {
                let piece = source.next(&mut out);
                (source, out, piece)
            })
            .await?;
            match piece {
                Piece::More => {}
                Piece::NotYet => {
                    tokio::time::sleep(NOT_YET_PAUSE).await;
                    continue;
                }
                Piece::Last => {
                    image_stream::write_end(&mut out);
                    image_stream::write_link_signature(&mut out);
                }
                Piece::Abandoned => return Err(io::Error::other("the snapshot was given up")),
            }
            write_all(socket, &out).await?;
            (self.deliver)(Event::Progress { link });
            out.clear();
        }
        Ok(())
    }
}

/// Does long work on another runtime; it ends with the one who waits.
async fn elsewhere<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<T> {
    let mut one = JoinSet::new();
    one.spawn_on(work, runtime);
    match one.join_next().await {
        Some(Ok(done)) => Ok(done),
        Some(Err(error)) => Err(io::Error::other(error)),
        None => Err(io::Error::other("the runtime has ended")),
    }
}

/// Does what may wait for a disk on a thread that may wait.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

async fn write_all(socket: &OwnedWriteHalf, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        socket.writable().await?;
        match socket.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Room {
    /// Room that was never taken, for tests and for packets that come from elsewhere.
    pub fn none() -> Room {
        Room { _permit: None }
    }
}

/// What has arrived on a link and is not handed on.
struct Input {
    bytes: BytesMut,
    cutter: PacketCutter,
    /// Bytes of it that are counted as held.
    half: u64,
    /// What a read is offered.
    chunk: usize,
    /// The largest packet.
    max: usize,
}

impl Input {
    /// For packets of `max` bytes at most, read `chunk` by `chunk`.
    fn new(chunk: usize, max: usize) -> Input {
        Input { bytes: BytesMut::new(), cutter: PacketCutter::default(), half: 0, chunk, max }
    }

    fn cut(&mut self) -> io::Result<Option<QuorumPacket>> {
        self.cutter.split_from(&mut self.bytes, self.max).map_err(io::Error::other)
    }
}

/// Reads what there is, at least one byte.
async fn read_some(
    read: &mut OwnedReadHalf,
    input: &mut BytesMut,
    chunk: usize,
) -> io::Result<usize> {
    input.reserve(chunk);
    match read.read_buf(input).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => Ok(n),
    }
}
