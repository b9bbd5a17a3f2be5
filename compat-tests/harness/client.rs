//! A client that can say anything: frames out, frames in, nothing understood on the way.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::jute::{Reader, Writer};

/// What came of waiting for a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// One whole frame without its length.
    Frame(Vec<u8>),
    /// The server closed the connection (or reset it).
    Closed,
    /// Nothing came in time.
    Silence,
}

/// One TCP connection.
pub struct RawClient {
    stream: TcpStream,
    buffer: Vec<u8>,
    at: usize,
    closed: bool,
}

impl RawClient {
    /// Connects; fails at once when nothing listens.
    pub fn connect(address: SocketAddr) -> std::io::Result<RawClient> {
        let stream = TcpStream::connect(address)?;
        // These fail on a connection that was reset at once; the first read will tell.
        let _ = stream.set_nodelay(true);
        let _ = stream.set_write_timeout(Some(Duration::from_secs(10)));
        Ok(RawClient { stream, buffer: Vec::new(), at: 0, closed: false })
    }

    /// Our port.
    pub fn local_port(&self) -> u16 {
        self.stream.local_addr().map(|a| a.port()).unwrap_or(0)
    }

    /// Sends bytes as they are. An error means that the server has closed.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next frame.
    pub fn receive(&mut self, patience: Duration) -> Incoming {
        let end = Instant::now() + patience;
        loop {
            let have = &self.buffer[self.at..];
            if have.len() >= 4 {
                let len = u32::from_be_bytes([have[0], have[1], have[2], have[3]]) as usize;
                if have.len() >= 4 + len {
                    let frame = have[4..4 + len].to_vec();
                    self.at += 4 + len;
                    if self.at == self.buffer.len() {
                        self.buffer.clear();
                        self.at = 0;
                    }
                    return Incoming::Frame(frame);
                }
            }
            if self.closed {
                return Incoming::Closed;
            }
            let now = Instant::now();
            if now >= end {
                return Incoming::Silence;
            }
            let _ = self.stream.set_read_timeout(Some(end - now));
            let mut chunk = [0u8; 16384];
            match self.stream.read(&mut chunk) {
                Ok(0) => self.closed = true,
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.closed = true,
            }
        }
    }

    /// Closes both directions.
    pub fn shut_down(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Puts a length before `payload`.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// A request's payload.
pub fn request(xid: i32, opcode: i32, body: &[u8]) -> Vec<u8> {
    let mut w = Writer::new();
    w.int(xid).int(opcode).raw(body);
    w.bytes
}

/// A handshake's payload.
pub fn connect_request(
    protocol: i32,
    zxid: i64,
    timeout_ms: i32,
    session: i64,
    passwd: Option<&[u8]>,
    read_only: Option<u8>,
) -> Vec<u8> {
    let mut w = Writer::new();
    w.int(protocol).long(zxid).int(timeout_ms).long(session).buffer(passwd);
    if let Some(byte) = read_only {
        w.byte(byte);
    }
    w.bytes
}

/// A decoded handshake answer.
#[derive(Debug, Clone)]
pub struct Connected {
    /// Always 0.
    pub protocol: i32,
    /// The negotiated timeout.
    pub timeout_ms: i32,
    /// 0 when the session was refused.
    pub session: i64,
    /// Sixteen bytes.
    pub passwd: Vec<u8>,
    /// The last byte, if there was one.
    pub read_only: Option<u8>,
}

/// Decodes a handshake answer.
pub fn connect_response(payload: &[u8]) -> Option<Connected> {
    let mut r = Reader::new(payload);
    let protocol = r.int().ok()?;
    let timeout_ms = r.int().ok()?;
    let session = r.long().ok()?;
    let passwd = r.buffer().ok()?.unwrap_or_default().to_vec();
    let read_only = r.byte().ok();
    if !r.rest().is_empty() {
        return None;
    }
    Some(Connected { protocol, timeout_ms, session, passwd, read_only })
}

/// A session for the harness's own work: one request at a time, events thrown away.
pub struct Session {
    client: RawClient,
    xid: i32,
    /// The handshake's answer.
    pub connected: Connected,
    /// The zxid of the last reply.
    pub last_zxid: i64,
}

impl Session {
    /// A new session.
    pub fn open(address: SocketAddr, timeout_ms: i32) -> Result<Session, String> {
        Session::open_as(address, timeout_ms, 0, 0, &[0; 16])
    }

    /// A new or renewed session.
    pub fn open_as(
        address: SocketAddr,
        timeout_ms: i32,
        zxid: i64,
        session: i64,
        passwd: &[u8],
    ) -> Result<Session, String> {
        Session::open_with(address, timeout_ms, zxid, session, passwd, 0)
    }

    /// The same; `read_only` is 1 if a server without a quorum will do.
    pub fn open_with(
        address: SocketAddr,
        timeout_ms: i32,
        zxid: i64,
        session: i64,
        passwd: &[u8],
        read_only: u8,
    ) -> Result<Session, String> {
        let mut client = RawClient::connect(address).map_err(|e| format!("{address}: {e}"))?;
        let ask = connect_request(0, zxid, timeout_ms, session, Some(passwd), Some(read_only));
        client.send(&frame(&ask));
        match client.receive(Duration::from_secs(30)) {
            Incoming::Frame(payload) => {
                let connected = connect_response(&payload)
                    .ok_or_else(|| format!("{address}: bad handshake {payload:?}"))?;
                Ok(Session { client, xid: 0, connected, last_zxid: zxid })
            }
            other => Err(format!("{address}: handshake: {other:?}")),
        }
    }

    /// Sends one request and gives (error, body).
    pub fn call(&mut self, opcode: i32, body: &[u8]) -> Result<(i32, Vec<u8>), String> {
        self.xid += 1;
        let xid = match opcode {
            11 => -2,
            100 => -4,
            101 | 105 => -8,
            _ => self.xid,
        };
        self.client.send(&frame(&request(xid, opcode, body)));
        loop {
            match self.client.receive(Duration::from_secs(30)) {
                Incoming::Frame(payload) => {
                    let mut r = Reader::new(&payload);
                    let (Ok(got), Ok(zxid), Ok(err)) = (r.int(), r.long(), r.int()) else {
                        return Err(format!("short reply {payload:?}"));
                    };
                    if got == -1 && xid != -1 {
                        continue;
                    }
                    if zxid > 0 {
                        self.last_zxid = zxid;
                    }
                    return Ok((err, r.rest().to_vec()));
                }
                other => return Err(format!("opcode {opcode}: {other:?}")),
            }
        }
    }

    /// Becomes the super user (password `test`, the suite's servers all know it).
    pub fn become_super(&mut self) -> Result<(), String> {
        let mut w = Writer::new();
        w.int(0).string("digest").buffer(Some(b"super:test"));
        self.call(100, &w.bytes).map(|_| ())
    }

    /// Creates a node open to all.
    pub fn create(&mut self, path: &str, data: &[u8], flags: i32) -> Result<i32, String> {
        let mut w = Writer::new();
        w.string(path)
            .buffer(Some(data))
            .int(1)
            .int(31)
            .string("world")
            .string("anyone")
            .int(flags);
        self.call(1, &w.bytes).map(|(err, _)| err)
    }

    /// Asks for a node without waiting for the answer.
    pub fn send_create(&mut self, path: &str, data: &[u8]) -> bool {
        let mut w = Writer::new();
        w.string(path).buffer(Some(data)).int(1).int(31).string("world").string("anyone").int(0);
        self.xid += 1;
        self.client.send(&frame(&request(self.xid, 1, &w.bytes)))
    }

    /// Sets data whatever the version.
    pub fn set(&mut self, path: &str, data: &[u8]) -> Result<i32, String> {
        let mut w = Writer::new();
        w.string(path).buffer(Some(data)).int(-1);
        self.call(5, &w.bytes).map(|(err, _)| err)
    }

    /// Deletes whatever the version.
    pub fn delete(&mut self, path: &str) -> Result<i32, String> {
        let mut w = Writer::new();
        w.string(path).int(-1);
        self.call(2, &w.bytes).map(|(err, _)| err)
    }

    /// Data of a node, or the error.
    pub fn get(&mut self, path: &str) -> Result<Result<Vec<u8>, i32>, String> {
        let mut w = Writer::new();
        w.string(path).bool(false);
        let (err, body) = self.call(4, &w.bytes)?;
        if err != 0 {
            return Ok(Err(err));
        }
        let data = Reader::new(&body).buffer().ok().flatten().unwrap_or_default().to_vec();
        Ok(Ok(data))
    }

    /// Children in name order, or the error.
    pub fn children(&mut self, path: &str) -> Result<Result<Vec<String>, i32>, String> {
        let mut w = Writer::new();
        w.string(path).bool(false);
        let (err, body) = self.call(8, &w.bytes)?;
        if err != 0 {
            return Ok(Err(err));
        }
        let names = Reader::new(&body).strings().map_err(|_| "short list")?.unwrap_or_default();
        let mut names: Vec<String> =
            names.into_iter().map(|n| String::from_utf8_lossy(&n).into_owned()).collect();
        names.sort();
        Ok(Ok(names))
    }

    /// Ends the session.
    pub fn close(mut self) {
        let _ = self.call(-11, &[]);
    }

    /// Leaves without a word; the session lives on.
    pub fn abandon(self) {
        self.client.shut_down();
    }
}
