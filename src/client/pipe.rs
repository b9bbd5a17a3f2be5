//! One connection for load generators: requests prepared once and pipelined, replies checked and
//! counted, no runtime and no allocation per request.
//!
//! What it leaves out on purpose: reconnection, pings, watches to remember. A broken connection is
//! an error of the run.

use std::io::{self, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustix::event::{Timespec, epoll};

use crate::proto::frame;
use crate::proto::jute::{Jute, Write};
use crate::proto::opcode::OpCode;
use crate::proto::records::{ConnectRequest, ConnectResponse, RequestHeader};
use crate::types::Xid;

/// A request ready to be sent: a whole frame whose xid is filled in by [`Pipe::push`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    bytes: Vec<u8>,
}

/// Bytes before the body of a request: length, xid, opcode.
const REQUEST_HEADER: usize = 12;
/// Bytes before the body of a reply: length, xid, zxid, code.
const REPLY_HEADER: usize = 20;

impl Prepared {
    /// The request of `opcode` with `body`.
    pub fn new(opcode: OpCode, body: &impl Jute) -> Prepared {
        Prepared::with(opcode, |w| body.write(w))
    }

    /// The request of `opcode` whose body `write` appends.
    pub fn with(opcode: OpCode, write: impl FnOnce(&mut BytesMut)) -> Prepared {
        let mut w = BytesMut::new();
        let at = frame::begin(&mut w);
        w.put(&RequestHeader { xid: 0, opcode: opcode.0 });
        write(&mut w);
        frame::end(&mut w, at);
        Prepared { bytes: w.to_vec() }
    }

    /// A session's first request.
    pub fn connect(request: &ConnectRequest) -> Prepared {
        let mut w = BytesMut::new();
        let at = frame::begin(&mut w);
        w.put(request);
        frame::end(&mut w, at);
        Prepared { bytes: w.to_vec() }
    }

    /// The offset of the first occurrence of `text` in the frame, for [`Pipe::push_numbered`].
    pub fn find(&self, text: &str) -> Option<usize> {
        let at = self.bytes.get(REQUEST_HEADER..)?;
        at.windows(text.len()).position(|w| w == text.as_bytes()).map(|i| i + REQUEST_HEADER)
    }

    /// The offsets of all occurrences of `text` in the frame.
    pub fn find_all(&self, text: &str) -> Vec<usize> {
        let body = &self.bytes[REQUEST_HEADER..];
        (0..body.len().saturating_sub(text.len() - 1))
            .filter(|&i| &body[i..i + text.len()] == text.as_bytes())
            .map(|i| i + REQUEST_HEADER)
            .collect()
    }

    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a frame has a header.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// One reply or watch event, as it lies in the input buffer.
#[derive(Clone, Copy, Debug)]
pub struct ReplyView<'a> {
    /// The request's xid, or [`Xid::WATCH_EVENT`].
    pub xid: i32,
    /// The last transaction the server had applied.
    pub zxid: i64,
    /// A [`crate::types::Code`].
    pub code: i32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// A connection without a runtime, in non-blocking mode.
#[derive(Debug)]
pub struct Pipe {
    stream: TcpStream,
    out: Vec<u8>,
    sent: usize,
    input: Box<[u8]>,
    start: usize,
    end: usize,
    next_xid: i32,
    expected_xid: i32,
    handshake: Option<ConnectResponse>,
}

impl Pipe {
    /// Connects, opens a new session and waits for it.
    ///
    /// # Errors
    /// Those of the socket; `ConnectionRefused` when the server refuses the session.
    pub fn connect(address: SocketAddr, timeout_ms: i32, patience: Duration) -> io::Result<Pipe> {
        let mut pipe = Pipe::open(address, timeout_ms, patience)?;
        pipe.stream.set_nonblocking(false)?;
        pipe.stream.set_read_timeout(Some(patience))?;
        pipe.flush()?;
        while pipe.handshake.is_none() {
            if let Err(error) = pipe.receive(|_| {}) {
                return Err(match error.kind() {
                    io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                    _ => error,
                });
            }
        }
        pipe.stream.set_nonblocking(true)?;
        Ok(pipe)
    }

    /// Connects and queues the request for a new session; the answer is taken by
    /// [`Pipe::receive`], after which [`Pipe::session`] tells it.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn open(address: SocketAddr, timeout_ms: i32, patience: Duration) -> io::Result<Pipe> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let request = ConnectRequest {
            timeout_ms,
            passwd: Some(Bytes::from_static(&[0; 16])),
            read_only: Some(false),
            ..ConnectRequest::default()
        };
        Ok(Pipe {
            stream,
            out: Prepared::connect(&request).bytes,
            sent: 0,
            input: vec![0; 2048].into(),
            start: 0,
            end: 0,
            next_xid: 1,
            expected_xid: 1,
            handshake: None,
        })
    }

    /// The session, once the server has answered.
    pub fn session(&self) -> Option<&ConnectResponse> {
        self.handshake.as_ref()
    }

    /// Queues a request and returns its xid.
    pub fn push(&mut self, request: &Prepared) -> i32 {
        let at = self.out.len();
        self.out.extend_from_slice(&request.bytes);
        self.number(at)
    }

    /// Queues a request with decimal numbers written over each `(offset, digits, value)` first.
    pub fn push_numbered(&mut self, request: &Prepared, slots: &[(usize, usize, u64)]) -> i32 {
        let at = self.out.len();
        self.out.extend_from_slice(&request.bytes);
        for &(offset, digits, mut value) in slots {
            for digit in self.out[at + offset..at + offset + digits].iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
        }
        self.number(at)
    }

    fn number(&mut self, at: usize) -> i32 {
        let xid = self.next_xid;
        self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
        self.out[at + 4..at + 8].copy_from_slice(&xid.to_be_bytes());
        xid
    }

    /// Queues a ping; its reply is not reported by [`Pipe::receive`].
    pub fn push_ping(&mut self) {
        let at = self.out.len();
        self.out.extend_from_slice(&Prepared::new(OpCode::PING, &()).bytes);
        self.out[at + 4..at + 8].copy_from_slice(&Xid::PING.0.to_be_bytes());
    }

    /// Sends what is queued as far as the socket takes it; false when something is left.
    ///
    /// # Errors
    /// Those of the socket, except that it is full.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Bytes queued that have not been sent yet.
    pub fn queued(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Whether something queued has not been sent yet.
    pub fn has_output(&self) -> bool {
        self.sent < self.out.len()
    }

    /// Reads once and reports every whole reply and watch event; returns how many. Checks that
    /// replies come in the order of their requests.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing to read, `UnexpectedEof` when the server has closed the
    /// connection, `InvalidData` for a malformed or unexpected frame, `ConnectionRefused` when the
    /// server refuses the session, and those of the socket.
    pub fn receive(&mut self, mut each: impl FnMut(ReplyView<'_>)) -> io::Result<usize> {
        self.make_room();
        let n = self.stream.read(&mut self.input[self.end..])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end += n;
        let mut count = 0;
        while let Some((at, length)) = self.next()? {
            if self.handshake.is_none() {
                let body = Bytes::copy_from_slice(&self.input[at + 4..at + length]);
                let response = ConnectResponse::from_bytes(body)
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
                if response.timeout_ms <= 0 {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                self.handshake = Some(response);
                continue;
            }
            if length < REPLY_HEADER {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "reply without a header"));
            }
            let frame = &self.input[at..at + length];
            let xid = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
            if xid == Xid::PING.0 {
                continue;
            }
            if xid != Xid::WATCH_EVENT.0 {
                if xid != self.expected_xid {
                    let what = format!("reply to {xid} where {} was due", self.expected_xid);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                self.expected_xid = if xid == i32::MAX { 1 } else { xid + 1 };
            }
            let mut zxid = [0; 8];
            zxid.copy_from_slice(&frame[8..16]);
            each(ReplyView {
                xid,
                zxid: i64::from_be_bytes(zxid),
                code: i32::from_be_bytes([frame[16], frame[17], frame[18], frame[19]]),
                body: &frame[REPLY_HEADER..],
            });
            count += 1;
        }
        Ok(count)
    }

    /// The next whole frame: where it starts and its length with the prefix.
    fn next(&mut self) -> io::Result<Option<(usize, usize)>> {
        let held = &self.input[self.start..self.end];
        let Some(prefix) = held.first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*prefix);
        if !(0..=64 << 20).contains(&length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "unreasonable frame length"));
        }
        let length = length as usize + 4;
        if held.len() < length {
            // A frame larger than the buffer: grow to what was announced, at most 64 MiB.
            if length > self.input.len() {
                let mut input = vec![0; length.next_power_of_two()];
                input[..held.len()].copy_from_slice(held);
                (self.end, self.start) = (held.len(), 0);
                self.input = input.into();
            }
            return Ok(None);
        }
        let at = self.start;
        self.start += length;
        Ok(Some((at, length)))
    }

    /// Moves what is left to the front, and grows the buffer when reads fill it.
    fn make_room(&mut self) {
        if self.start == self.end {
            if self.end == self.input.len() && self.input.len() < 256 << 10 {
                self.input = vec![0; self.input.len() * 4].into();
            }
            (self.start, self.end) = (0, 0);
        } else if self.end == self.input.len() {
            self.input.copy_within(self.start..self.end, 0);
            (self.end, self.start) = (self.end - self.start, 0);
            if self.end * 2 > self.input.len() {
                let mut input = vec![0; self.input.len() * 4];
                input[..self.end].copy_from_slice(&self.input[..self.end]);
                self.input = input.into();
            }
        }
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Waits for many sockets at once (Linux epoll, level-triggered).
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    /// An empty set.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn new() -> io::Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { epoll, events: Vec::with_capacity(1024) })
    }

    /// Watches `source` for input under `token`.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn add(&self, source: impl AsFd, token: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, source, data, epoll::EventFlags::IN)?)
    }

    /// Watches `source` for output as well, or no longer.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn watch_output(&self, source: impl AsFd, token: u64, output: bool) -> io::Result<()> {
        let flags = match output {
            true => epoll::EventFlags::IN | epoll::EventFlags::OUT,
            false => epoll::EventFlags::IN,
        };
        Ok(epoll::modify(&self.epoll, source, epoll::EventData::new_u64(token), flags)?)
    }

    /// Waits until something is ready or `timeout` is over, and returns the tokens with "can be
    /// written" beside each.
    ///
    /// # Errors
    /// Those of the system call, except an interruption.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = (u64, bool)> + '_> {
        let timeout =
            timeout.map(|t| Timespec { tv_sec: t.as_secs() as _, tv_nsec: t.subsec_nanos() as _ });
        self.events.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().map(|event| {
            let (data, flags) = (event.data, event.flags);
            (data.u64(), flags.contains(epoll::EventFlags::OUT))
        }))
    }
}
