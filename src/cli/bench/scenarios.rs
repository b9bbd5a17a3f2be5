//! Scenarios beside plain load: many sessions, many watches, a large tree.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::load::{self, drive};
use super::mix::Nodes;
use crate::client::pipe::{Pipe, Poller, Prepared};
use crate::ops::process;
use crate::proto::opcode::OpCode;
use crate::proto::records::{ReadRequest, SetDataRequest};
use crate::types::{Code, Xid};

/// A deadline for scenarios that wait for a server.
const PATIENCE: Duration = Duration::from_secs(60);

/// What opening many sessions cost.
pub struct Sessions {
    /// The open sessions, to be used further or dropped.
    pub pipes: Vec<Pipe>,
    /// From the first connect to the last answer.
    pub elapsed: Duration,
    /// Processor time of the servers.
    pub server_cpu: Option<Duration>,
    /// Growth of the servers' resident memory, in bytes.
    pub server_bytes: Option<i64>,
}

impl Sessions {
    /// Closes them all.
    ///
    /// # Errors
    /// Those of the connections.
    pub fn close(&mut self) -> io::Result<()> {
        let mut sessions: Vec<_> = self.pipes.iter_mut().map(|pipe| (pipe, 0)).collect();
        load::close_sessions(&mut sessions)
    }
}

/// Opens `count` sessions, up to 32 handshakes at a time.
///
/// # Errors
/// Those of the connections; `TimedOut` when the server does not answer for a minute.
pub fn sessions(
    servers: &[SocketAddr],
    count: usize,
    timeout_ms: i32,
    pids: &[u32],
) -> io::Result<Sessions> {
    // Below the accept queue of Apache (50): beyond it the kernel drops connections, and what is
    // measured is the second after which they are tried again.
    const WINDOW: usize = 32;
    process::raise_file_limit();
    let cost = Cost::start(pids)?;
    let begin = Instant::now();
    let mut poller = Poller::new()?;
    let mut pipes: Vec<Pipe> = Vec::with_capacity(count);
    let mut open = 0;
    let mut ready = Vec::new();
    let mut deadline = Instant::now() + PATIENCE;
    while open < count {
        while pipes.len() < count && pipes.len() - open < WINDOW {
            let server = servers[pipes.len() % servers.len()];
            let mut pipe = Pipe::open(server, timeout_ms, PATIENCE)?;
            pipe.flush()?;
            poller.add(&pipe, pipes.len() as u64)?;
            pipes.push(pipe);
        }
        ready.clear();
        ready.extend(poller.wait(Some(Duration::from_secs(1)))?);
        if ready.is_empty() && Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        for &(token, _) in &ready {
            let pipe = &mut pipes[token as usize];
            let before = pipe.session().is_some();
            pipe.receive(|_| {})?;
            open += usize::from(!before && pipe.session().is_some());
            deadline = Instant::now() + PATIENCE;
        }
    }
    let elapsed = begin.elapsed();
    let (server_cpu, server_bytes) = cost.end(pids)?;
    Ok(Sessions { pipes, elapsed, server_cpu, server_bytes })
}

/// What watching one node from many sessions cost.
pub struct Watches {
    /// From sending the set to the last notification.
    pub last_notification: Duration,
    /// Growth of the servers' resident memory while the watches were set, in bytes.
    pub server_bytes: Option<i64>,
    /// Processor time of the servers for the notifications.
    pub server_cpu: Option<Duration>,
}

/// Leaves one watch on the same node from each session, then sets the node once.
///
/// # Errors
/// Those of the connections; a reply that is an error; `TimedOut` when a notification is missing.
pub fn watches(
    server: SocketAddr,
    pipes: &mut [Pipe],
    root: &str,
    pids: &[u32],
) -> io::Result<Watches> {
    let nodes = Nodes { root: root.to_owned(), count: 1, per_parent: 1, size: 100, crowded: false };
    let mut setter = Pipe::connect(server, 30_000, PATIENCE)?;
    let create = nodes.create(root.to_owned(), nodes.data(), 0);
    drive(&mut setter, 0, 1, |pipe, _| _ = pipe.push(&create), |_| Ok(()))?;
    let watch = ReadRequest { path: Some(root.to_owned()), watch: true };
    let watch = Prepared::new(OpCode::GET_DATA, &watch);
    let round = |pipes: &mut [Pipe]| -> io::Result<()> {
        for pipe in pipes.iter_mut() {
            pipe.push(&watch);
            pipe.flush()?;
        }
        await_all(pipes, |xid, code| xid != Xid::WATCH_EVENT.0 && code == Code::OK.0).map(drop)
    };
    // Once without watches left behind: buffers of the connections are not the watches' memory.
    let plain = ReadRequest { path: Some(root.to_owned()), watch: false };
    let plain = Prepared::new(OpCode::GET_DATA, &plain);
    for pipe in pipes.iter_mut() {
        pipe.push(&plain);
        pipe.flush()?;
    }
    await_all(pipes, |_, _| true)?;
    let before = (!pids.is_empty()).then(|| process::resident_of(pids)).transpose()?;
    round(pipes)?;
    let after = (!pids.is_empty()).then(|| process::resident_of(pids)).transpose()?;
    let server_bytes = before.zip(after).map(|(before, after)| after as i64 - before as i64);
    let cost = Cost::start(pids)?;
    let set = SetDataRequest { path: Some(root.to_owned()), data: Some(nodes.data()), version: -1 };
    let begin = Instant::now();
    setter.push(&Prepared::new(OpCode::SET_DATA, &set));
    setter.flush()?;
    let last = await_all(pipes, |xid, _| xid == Xid::WATCH_EVENT.0)?;
    let server_cpu = cost.end(pids)?.0;
    load::close_sessions(&mut [(&mut setter, 1)])?;
    Ok(Watches { last_notification: last.duration_since(begin), server_bytes, server_cpu })
}

/// Waits until every connection has received one frame that `wanted` (xid, code) accepts; returns
/// when the last one came.
fn await_all(pipes: &mut [Pipe], wanted: impl Fn(i32, i32) -> bool) -> io::Result<Instant> {
    let mut poller = Poller::new()?;
    for (i, pipe) in pipes.iter().enumerate() {
        poller.add(pipe, i as u64)?;
    }
    let mut missing = pipes.len();
    let mut last = Instant::now();
    let mut ready = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while missing > 0 {
        ready.clear();
        ready.extend(poller.wait(Some(Duration::from_secs(1)))?);
        for &(token, _) in &ready {
            pipes[token as usize].receive(|reply| {
                if wanted(reply.xid, reply.code) {
                    missing = missing.saturating_sub(1);
                }
            })?;
        }
        match ready.is_empty() {
            false => last = Instant::now(),
            true if last > deadline || Instant::now() > deadline => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            true => {}
        }
    }
    Ok(last)
}

/// What filling a tree cost.
pub struct Fill {
    /// How long it took.
    pub elapsed: Duration,
    /// Processor time of the servers.
    pub server_cpu: Option<Duration>,
    /// Growth of the servers' resident memory, in bytes.
    pub server_bytes: Option<i64>,
}

/// Creates the nodes of `options`, pipelined over one connection.
///
/// # Errors
/// Those of [`load::prepare`].
pub fn fill(options: &load::Options) -> io::Result<Fill> {
    let cost = Cost::start(&options.server_pids)?;
    let begin = Instant::now();
    load::prepare(options)?;
    let elapsed = begin.elapsed();
    let (server_cpu, server_bytes) = cost.end(&options.server_pids)?;
    Ok(Fill { elapsed, server_cpu, server_bytes })
}

/// Processor time and memory at the start of something.
struct Cost {
    cpu: Option<Duration>,
    bytes: Option<u64>,
}

impl Cost {
    fn start(pids: &[u32]) -> io::Result<Cost> {
        if pids.is_empty() {
            return Ok(Cost { cpu: None, bytes: None });
        }
        let (cpu, bytes) = (process::cpu_of(pids)?, process::resident_of(pids)?);
        Ok(Cost { cpu: Some(cpu), bytes: Some(bytes) })
    }

    fn end(&self, pids: &[u32]) -> io::Result<(Option<Duration>, Option<i64>)> {
        let after = Cost::start(pids)?;
        let cpu = self.cpu.zip(after.cpu).map(|(a, b)| b.saturating_sub(a));
        let bytes = self.bytes.zip(after.bytes).map(|(a, b)| b as i64 - a as i64);
        Ok((cpu, bytes))
    }
}
