//! The limits of the machine: a server that does nothing but answer, and a loop that does nothing
//! but append and sync. What the real server costs beyond these is its own doing.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hdrhistogram::Histogram;

use super::load::new_histogram;
use crate::client::pipe::Poller;
use crate::proto::frame;
use crate::proto::jute::{Jute, Write as _};
use crate::proto::opcode::OpCode;
use crate::proto::records::{ConnectRequest, ConnectResponse, ReplyHeader};

/// Answers the client port's protocol with the right number of bytes and no meaning, on the calling
/// thread, until the process ends: accepts every session, and gives every getData `size` bytes.
///
/// # Errors
/// Those of listening and of the poller; a broken connection is only closed.
pub fn echo_server(listener: &TcpListener, size: usize) -> io::Result<()> {
    const LISTENER: u64 = u64::MAX;
    listener.set_nonblocking(true)?;
    let replies = Replies::new(size);
    let mut poller = Poller::new()?;
    poller.add(listener, LISTENER)?;
    let mut connections: Vec<Option<Echo>> = Vec::new();
    let mut ready = Vec::new();
    loop {
        ready.clear();
        ready.extend(poller.wait(None)?);
        for &(token, output) in &ready {
            if token == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let token = connections.len() as u64;
                    poller.add(&stream, token)?;
                    connections.push(Some(Echo::new(stream)));
                }
                continue;
            }
            let slot = &mut connections[token as usize];
            let Some(echo) = slot else { continue };
            let before = echo.blocked();
            if echo.turn(&replies, output).is_err() {
                *slot = None;
            } else if before != echo.blocked() {
                poller.watch_output(&echo.stream, token, echo.blocked())?;
            }
        }
    }
}

/// Ready replies by kind of request.
struct Replies {
    data: Vec<u8>,
    stat: Vec<u8>,
    empty: Vec<u8>,
    multi: Vec<u8>,
}

impl Replies {
    fn new(size: usize) -> Replies {
        let reply = |body: &[u8]| {
            let mut w = BytesMut::new();
            let at = frame::begin(&mut w);
            w.put(&ReplyHeader { xid: 0, zxid: 1, err: 0 });
            w.extend_from_slice(body);
            frame::end(&mut w, at);
            w.to_vec()
        };
        let stat = [0; 68];
        let mut data = (size as u32).to_be_bytes().to_vec();
        data.resize(4 + size + stat.len(), 0);
        let mut multi = BytesMut::new();
        for _ in 0..4 {
            crate::proto::multi::write_result(&mut multi, OpCode::SET_DATA);
            multi.extend_from_slice(&stat);
        }
        crate::proto::multi::write_end(&mut multi);
        Replies { data: reply(&data), stat: reply(&stat), empty: reply(&[]), multi: reply(&multi) }
    }

    fn of(&self, opcode: OpCode) -> &[u8] {
        match opcode {
            OpCode::GET_DATA => &self.data,
            OpCode::SET_DATA | OpCode::EXISTS => &self.stat,
            OpCode::MULTI => &self.multi,
            _ => &self.empty,
        }
    }
}

struct Echo {
    stream: TcpStream,
    input: Vec<u8>,
    end: usize,
    out: Vec<u8>,
    sent: usize,
    greeted: bool,
}

impl Echo {
    fn new(stream: TcpStream) -> Echo {
        let input = vec![0; 4096];
        Echo { stream, input, end: 0, out: Vec::new(), sent: 0, greeted: false }
    }

    fn blocked(&self) -> bool {
        !self.out.is_empty()
    }

    fn turn(&mut self, replies: &Replies, output: bool) -> io::Result<()> {
        if output {
            self.flush()?;
        }
        let room = self.input.len() - self.end;
        match self.stream.read(&mut self.input[self.end..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.end += n;
                self.answer(replies);
                if n == room && self.input.len() < 1 << 20 {
                    self.input.resize(self.input.len() * 4, 0);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        self.flush()
    }

    fn answer(&mut self, replies: &Replies) {
        let mut at = 0;
        while self.end - at >= 12 {
            let word = |i: usize| {
                let b = &self.input[at + i..];
                i32::from_be_bytes([b[0], b[1], b[2], b[3]])
            };
            let length = 4 + word(0).max(0) as usize;
            if self.end - at < length {
                break;
            }
            if self.greeted {
                let start = self.out.len();
                self.out.extend_from_slice(replies.of(OpCode(word(8))));
                self.out[start + 4..start + 8].copy_from_slice(&self.input[at + 4..at + 8]);
            } else {
                self.greeted = true;
                self.greet(at, length);
            }
            at += length;
        }
        self.input.copy_within(at..self.end, 0);
        self.end -= at;
    }

    fn greet(&mut self, at: usize, length: usize) {
        let bytes = Bytes::copy_from_slice(&self.input[at + 4..at + length]);
        let request = ConnectRequest::from_bytes(bytes).unwrap_or_default();
        let response = ConnectResponse {
            timeout_ms: request.timeout_ms.max(1),
            session: 1,
            passwd: Some(Bytes::from_static(&[0; 16])),
            read_only: request.read_only,
            ..ConnectResponse::default()
        };
        let body = response.to_bytes();
        self.out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        self.out.extend_from_slice(&body);
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }
}

/// What appending and syncing costs.
pub struct SyncReport {
    /// Appends of one batch each, with one fdatasync.
    pub syncs: u64,
    /// Over all of them.
    pub elapsed: Duration,
    /// Of one append and sync, in nanoseconds.
    pub latency: Histogram<u64>,
}

/// Appends `batch` bytes to a preallocated file in `dir` and syncs, again and again for `duration`.
///
/// # Errors
/// Those of the file.
pub fn sync_loop(dir: &Path, batch: usize, duration: Duration) -> io::Result<SyncReport> {
    const FILE_BYTES: usize = 64 << 20;
    let path = dir.join(format!("rookeeper-bench-sync-{}", std::process::id()));
    let mut file = OpenOptions::new().create_new(true).write(true).open(&path)?;
    let result = (|| {
        file.write_all(&vec![0; FILE_BYTES])?;
        file.sync_all()?;
        let data = vec![b'x'; batch.clamp(1, FILE_BYTES)];
        let mut report = SyncReport { syncs: 0, elapsed: Duration::ZERO, latency: new_histogram() };
        let start = Instant::now();
        let mut at = FILE_BYTES;
        let mut before = start;
        while before.duration_since(start) < duration {
            if at + data.len() > FILE_BYTES {
                io::Seek::rewind(&mut file)?;
                at = 0;
            }
            file.write_all(&data)?;
            at += data.len();
            file.sync_data()?;
            let now = Instant::now();
            report.latency.saturating_record((now - before).as_nanos() as u64);
            report.syncs += 1;
            before = now;
        }
        report.elapsed = start.elapsed();
        Ok(report)
    })();
    std::fs::remove_file(&path)?;
    result
}
