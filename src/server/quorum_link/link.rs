//! The two tasks of a link.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::{Event, IN_FLIGHT_MAX, LinkState, Outgoing, Piece, Room, Shared, SnapshotSource};
use crate::proto::image::ImageSink;
use crate::proto::jute::Write;
use crate::proto::quorum::{PacketKind, QuorumPacket};
use crate::server::net;
use crate::storage::image_stream::{self, Framing, ImageDecoder};

/// Bytes for one socket write, unless a single packet is longer.
const WRITE_BATCH: usize = 256 << 10;
/// Free space that a read is offered.
const READ_CHUNK: usize = 64 << 10;
/// Bytes of a snapshot between two reports of progress.
const PROGRESS_BYTES: usize = 256 << 10;

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
            let error = shared.write(&link, write).await;
            shared.down(link.id, format!("{address}: {error}"));
        });
        state.tasks.lock().extend([reader, writer]);
        if !self.links.lock().contains_key(&state.id) {
            // Closed meanwhile, when the tasks were not known yet.
            state.tasks.lock().drain(..).for_each(|task| task.abort());
        }
    }

    async fn read(
        &self,
        link: &LinkState,
        mut read: OwnedReadHalf,
        address: SocketAddr,
        dialled: bool,
    ) -> io::Error {
        let mut input = BytesMut::with_capacity(READ_CHUNK);
        if !dialled {
            // Nothing is known of this peer: its first packet has a deadline as a whole.
            let deadline = self.options.first_packet;
            let first = self.next_packet(&mut read, &mut input);
            let packet = match tokio::time::timeout(deadline, first).await {
                Ok(Ok(packet)) => packet,
                Ok(Err(error)) => return error,
                Err(_) => {
                    return io::Error::new(io::ErrorKind::TimedOut, "no first packet in time");
                }
            };
            self.unknown.lock().retain(|unknown| *unknown != link.id);
            (self.deliver)(Event::Up { link: link.id, address, dialled });
            self.pass_on(link, packet).await;
        }
        loop {
            let packet = match self.next_packet(&mut read, &mut input).await {
                Ok(packet) => packet,
                Err(error) => return error,
            };
            let snapshot_follows = dialled && packet.kind == PacketKind::Snap;
            self.pass_on(link, packet).await;
            if snapshot_follows {
                match self.read_snapshot(link, &mut read, &mut input).await {
                    Ok(sink) => (self.deliver)(Event::Snapshot { link: link.id, sink }),
                    Err(error) => return error,
                }
            }
        }
    }

    async fn next_packet(
        &self,
        read: &mut OwnedReadHalf,
        input: &mut BytesMut,
    ) -> io::Result<QuorumPacket> {
        loop {
            let max = self.options.record_max;
            if let Some(packet) = QuorumPacket::split_from(input, max).map_err(io::Error::other)? {
                return Ok(packet);
            }
            read_some(read, input).await?;
        }
    }

    /// Hands a packet to the node thread, once there is room for it.
    async fn pass_on(&self, link: &LinkState, packet: QuorumPacket) {
        let bytes = packet.encoded_len().min(IN_FLIGHT_MAX) as u32;
        // The semaphore is never closed.
        let room = Arc::clone(&link.room).acquire_many_owned(bytes).await.ok();
        (self.deliver)(Event::Packet { link: link.id, packet, room: Room { _permit: room } });
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
            unreported += read_some(read, input).await?;
            if unreported >= PROGRESS_BYTES {
                unreported = 0;
                (self.deliver)(Event::Progress { link: link.id });
                // A long tree must not starve the other links of this thread.
                tokio::task::yield_now().await;
            }
        }
        Ok(sink)
    }

    /// Writes what gathers, until the socket fails.
    async fn write(&self, link: &LinkState, mut write: OwnedWriteHalf) -> io::Error {
        let mut out = BytesMut::with_capacity(16 << 10);
        loop {
            let snapshot = gather(link, &mut out);
            if out.is_empty() && snapshot.is_none() {
                link.wake.notified().await;
                continue;
            }
            if let Err(error) = write.write_all(&out).await {
                return error;
            }
            out.clear();
            if out.capacity() > 2 * WRITE_BATCH {
                out = BytesMut::with_capacity(16 << 10);
            }
            if let Some(source) = snapshot
                && let Err(error) = self.write_snapshot(link, &mut write, source).await
            {
                return error;
            }
        }
    }

    async fn write_snapshot(
        &self,
        link: &LinkState,
        write: &mut OwnedWriteHalf,
        mut source: Box<dyn SnapshotSource>,
    ) -> io::Result<()> {
        let mut out = BytesMut::with_capacity(WRITE_BATCH);
        let mut piece = Piece::More;
        while piece == Piece::More {
            piece = source.next(&mut out);
            match piece {
                Piece::More => {}
                Piece::Last => {
                    image_stream::write_end(&mut out);
                    image_stream::write_link_signature(&mut out);
                }
                Piece::Abandoned => return Err(io::Error::other("the snapshot was given up")),
            }
            write.write_all(&out).await?;
            (self.deliver)(Event::Progress { link: link.id });
            out.clear();
        }
        Ok(())
    }
}

impl Room {
    /// Room that was never taken, for tests and for packets that come from elsewhere.
    pub fn none() -> Room {
        Room { _permit: None }
    }
}

/// Reads what there is, at least one byte.
async fn read_some(read: &mut OwnedReadHalf, input: &mut BytesMut) -> io::Result<usize> {
    input.reserve(READ_CHUNK);
    match read.read_buf(input).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => Ok(n),
    }
}

/// Encodes waiting packets up to the batch's size, or up to a snapshot.
fn gather(link: &LinkState, out: &mut BytesMut) -> Option<Box<dyn SnapshotSource>> {
    let mut outgoing = link.outgoing.lock();
    while out.len() < WRITE_BATCH {
        match outgoing.pop_front()? {
            Outgoing::Packet(packet) => {
                link.behind.fetch_sub(packet.encoded_len() as u64, Ordering::Relaxed);
                out.put(&packet);
            }
            Outgoing::Snapshot(source) => return Some(source),
        }
    }
    None
}
