//! The load driver: threads that each drive many connections with one poller.
//!
//! Closed loop: every connection keeps `depth` requests under way. Open loop (a rate is given):
//! requests are due at fixed times, whatever the server does, and latency counts from the due time,
//! so that a stall is not hidden by the requests it kept from being sent.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::mix::{Expect, Kind, Mix, Nodes, Own, Random, Requests};
use crate::client::pipe::{Pipe, Poller, Prepared, ReplyView};
use crate::ops::process;
use crate::proto::opcode::OpCode;
use crate::proto::records::DeleteRequest;
use crate::types::{Code, Xid};

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections are spread over these in turn.
    pub servers: Vec<SocketAddr>,
    /// How many.
    pub connections: usize,
    /// Requests under way per connection (closed loop).
    pub depth: usize,
    /// Which operations.
    pub mix: Mix,
    /// On which nodes.
    pub nodes: Nodes,
    /// How long to measure; ignored when `ops` is given.
    pub duration: Duration,
    /// How many operations to measure instead.
    pub ops: Option<u64>,
    /// How long to run before measuring.
    pub warmup: Duration,
    /// Requests per second over all connections: open loop.
    pub rate: Option<f64>,
    /// Driver threads.
    pub threads: usize,
    /// Processes whose time counts as the server's.
    pub server_pids: Vec<u32>,
    /// Asked for by every session.
    pub session_timeout_ms: i32,
    /// Create the nodes first.
    pub prepare: bool,
    /// Delete everything created, at the end.
    pub clean: bool,
    /// Of the choice of nodes and operations.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Report {
    /// Operations answered while measuring.
    pub ops: u64,
    /// How long was measured.
    pub elapsed: Duration,
    /// Codes and malformed replies, with how often.
    pub errors: BTreeMap<String, u64>,
    /// Watch events.
    pub notifications: u64,
    /// Latency in nanoseconds by kind of operation; only kinds that occurred.
    pub latency: Vec<(Kind, Histogram<u64>)>,
    /// How late the driver itself sent, in nanoseconds (open loop).
    pub lag: Histogram<u64>,
    /// Processor time of this process.
    pub driver_cpu: Duration,
    /// Processor time of the servers, when their processes were named.
    pub server_cpu: Option<Duration>,
}

impl Report {
    /// Operations per second.
    pub fn rate(&self) -> f64 {
        self.ops as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Latency over all kinds.
    pub fn total_latency(&self) -> Histogram<u64> {
        let mut all = new_histogram();
        for (_, histogram) in &self.latency {
            // Same bounds on both sides, so this cannot fail.
            let _ = all.add(histogram);
        }
        all
    }

    /// A duration per operation, in microseconds.
    pub fn micros_per_op(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.ops.max(1) as f64
    }
}

/// One nanosecond to a hundred seconds, three digits.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 100_000_000_000, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are constants that the histogram accepts"))
}

const WARM: u8 = 0;
const MEASURE: u8 = 1;
const STOP: u8 = 2;

/// What driver threads and the main thread share.
struct Shared<'a> {
    options: &'a Options,
    phase: AtomicU8,
    /// Operations still to be measured, when their number is given.
    left: AtomicU64,
    start: Instant,
}

#[derive(Clone, Copy)]
struct Sent {
    kind: Kind,
    expect: Expect,
    at: u64,
}

struct Connection {
    pipe: Pipe,
    own: Option<Own>,
    sent: VecDeque<Sent>,
    watching_output: bool,
}

/// Runs a load.
///
/// # Errors
/// Those of connecting, of a connection that breaks, and of a reply out of order.
pub fn run(options: &Options) -> io::Result<Report> {
    process::raise_file_limit();
    let patience = Duration::from_secs(10);
    if options.prepare {
        prepare(options)?;
    }
    let connections = (0..options.connections)
        .map(|i| {
            let server = options.servers[i % options.servers.len()];
            Ok(Connection {
                pipe: Pipe::connect(server, options.session_timeout_ms, patience)?,
                own: options.mix.creates().then(|| Own::new(&options.nodes, i)),
                sent: VecDeque::with_capacity(options.depth),
                watching_output: false,
            })
        })
        .collect::<io::Result<Vec<_>>>()?;
    let threads = options.threads.clamp(1, options.connections.max(1));
    let mut shares: Vec<Vec<Connection>> = (0..threads).map(|_| Vec::new()).collect();
    for (i, connection) in connections.into_iter().enumerate() {
        shares[i % threads].push(connection);
    }
    let shared = Shared {
        options,
        phase: AtomicU8::new(WARM),
        left: AtomicU64::new(options.ops.unwrap_or(u64::MAX)),
        start: Instant::now(),
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = shares
            .into_iter()
            .enumerate()
            .map(|(i, share)| {
                let shared = &shared;
                scope.spawn(move || {
                    let result = Worker::new(shared, i, share).and_then(Worker::run);
                    if result.is_err() {
                        shared.phase.store(STOP, Ordering::Relaxed);
                    }
                    result
                })
            })
            .collect();
        let measured = measure(&shared);
        let mut report = Report {
            ops: 0,
            elapsed: Duration::ZERO,
            errors: BTreeMap::new(),
            notifications: 0,
            latency: Vec::new(),
            lag: new_histogram(),
            driver_cpu: Duration::ZERO,
            server_cpu: None,
        };
        let mut histograms: BTreeMap<Kind, Histogram<u64>> = BTreeMap::new();
        for worker in workers {
            let done =
                worker.join().map_err(|_| io::Error::other("a driver thread panicked"))??;
            report.ops += done.ops;
            report.notifications += done.notifications;
            // Same bounds on both sides, so adding cannot fail.
            let _ = report.lag.add(&done.lag);
            for (name, count) in done.errors {
                *report.errors.entry(name).or_default() += count;
            }
            for (kind, histogram) in Kind::ALL.into_iter().zip(done.latency) {
                if !histogram.is_empty() {
                    let _ = histograms.entry(kind).or_insert_with(new_histogram).add(&histogram);
                }
            }
        }
        report.latency = histograms.into_iter().collect();
        (report.elapsed, report.driver_cpu, report.server_cpu) = measured?;
        Ok(report)
    })
}

type Measured = (Duration, Duration, Option<Duration>);

/// Leads the threads through the phases and takes the processor times between them.
fn measure(shared: &Shared<'_>) -> io::Result<Measured> {
    let options = shared.options;
    let nap = |until: Instant| {
        while shared.phase.load(Ordering::Relaxed) != STOP {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
    };
    let times = || -> io::Result<(Duration, Option<Duration>)> {
        let servers = match options.server_pids.is_empty() {
            true => None,
            false => Some(process::cpu_of(&options.server_pids)?),
        };
        Ok((process::cpu(std::process::id())?, servers))
    };
    nap(Instant::now() + options.warmup);
    let before = times();
    let begin = Instant::now();
    let _ = shared.phase.compare_exchange(WARM, MEASURE, Ordering::Relaxed, Ordering::Relaxed);
    let end = match options.ops {
        Some(_) => begin + Duration::from_secs(24 * 3600),
        None => begin + options.duration,
    };
    nap(end);
    let elapsed = begin.elapsed();
    shared.phase.store(STOP, Ordering::Relaxed);
    let (before, after) = (before?, times()?);
    let servers = before.1.zip(after.1).map(|(before, after)| after.saturating_sub(before));
    Ok((elapsed, after.0.saturating_sub(before.0), servers))
}

/// One driver thread.
struct Worker<'a> {
    shared: &'a Shared<'a>,
    requests: Requests,
    connections: Vec<Connection>,
    poller: Poller,
    random: Random,
    timer: Option<OwnedFd>,
    /// Open loop: nanoseconds between requests of this thread, and when the next one is due.
    interval: f64,
    due: f64,
    turn: usize,
    done: Done,
}

struct Done {
    ops: u64,
    notifications: u64,
    errors: BTreeMap<String, u64>,
    latency: Vec<Histogram<u64>>,
    lag: Histogram<u64>,
}

const TIMER: u64 = u64::MAX;

impl<'a> Worker<'a> {
    fn new(
        shared: &'a Shared<'a>,
        number: usize,
        connections: Vec<Connection>,
    ) -> io::Result<Worker<'a>> {
        let options = shared.options;
        let poller = Poller::new()?;
        for (i, connection) in connections.iter().enumerate() {
            poller.add(&connection.pipe, i as u64)?;
        }
        let share = connections.len() as f64 / options.connections as f64;
        let interval = options.rate.map_or(0.0, |rate| 1e9 / (rate * share));
        let timer = match options.rate {
            None => None,
            Some(_) => {
                let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
                let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
                poller.add(&timer, TIMER)?;
                Some(timer)
            }
        };
        Ok(Worker {
            shared,
            requests: Requests::new(&options.nodes, options.mix.multi_size),
            connections,
            poller,
            random: Random::new(options.seed ^ (number as u64) << 32),
            timer,
            interval,
            due: shared.start.elapsed().as_nanos() as f64,
            turn: 0,
            done: Done {
                ops: 0,
                notifications: 0,
                errors: BTreeMap::new(),
                latency: Kind::ALL.iter().map(|_| new_histogram()).collect(),
                lag: new_histogram(),
            },
        })
    }

    fn now(&self) -> u64 {
        self.shared.start.elapsed().as_nanos() as u64
    }

    fn run(mut self) -> io::Result<Done> {
        let options = self.shared.options;
        if self.timer.is_none() {
            let now = self.now();
            for i in 0..self.connections.len() {
                for _ in 0..options.depth {
                    self.push(i, now);
                }
                self.flush(i)?;
            }
        }
        let ping_every = Duration::from_millis(options.session_timeout_ms.max(300) as u64) / 3;
        let mut ping_at = Instant::now() + ping_every;
        let mut ready = Vec::with_capacity(1024);
        while self.shared.phase.load(Ordering::Relaxed) != STOP {
            if self.timer.is_some() {
                self.send_due()?;
            }
            ready.clear();
            ready.extend(self.poller.wait(Some(Duration::from_millis(50)))?);
            for &(token, output) in &ready {
                if token != TIMER {
                    self.ready(token as usize, output)?;
                }
            }
            if Instant::now() >= ping_at {
                ping_at += ping_every;
                for i in 0..self.connections.len() {
                    self.connections[i].pipe.push_ping();
                    self.flush(i)?;
                }
            }
        }
        if options.clean {
            self.clean()?;
        }
        let connections = self.connections.iter_mut();
        let mut sessions: Vec<_> =
            connections.map(|c| (&mut c.pipe, c.sent.len() as u64)).collect();
        close_sessions(&mut sessions)?;
        Ok(self.done)
    }

    /// Sends what is due and sets the timer to what comes next.
    fn send_due(&mut self) -> io::Result<()> {
        let now = self.now();
        let mut touched = Vec::new();
        while self.due <= now as f64 {
            let i = self.turn % self.connections.len();
            self.turn += 1;
            let due = self.due as u64;
            self.push(i, due);
            if self.shared.phase.load(Ordering::Relaxed) == MEASURE {
                self.done.lag.saturating_record((now - due).max(1));
            }
            touched.push(i);
            self.due += self.interval;
        }
        touched.sort_unstable();
        touched.dedup();
        for i in touched {
            self.flush(i)?;
        }
        let wait = (self.due - self.now() as f64).max(1.0) as i64;
        let time = |ns: i64| Timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 };
        let value = Itimerspec { it_interval: time(0), it_value: time(wait) };
        if let Some(timer) = &self.timer {
            timerfd_settime(timer, TimerfdTimerFlags::empty(), &value)?;
        }
        Ok(())
    }

    /// Queues a request on connection `i`.
    fn push(&mut self, i: usize, at: u64) {
        let kind = self.shared.options.mix.pick(&mut self.random);
        let Connection { pipe, own, sent, .. } = &mut self.connections[i];
        let expect = self.requests.push(kind, pipe, own.as_mut(), &mut self.random);
        sent.push_back(Sent { kind, expect, at });
    }

    fn flush(&mut self, i: usize) -> io::Result<()> {
        let connection = &mut self.connections[i];
        let all = connection.pipe.flush()?;
        if all == connection.watching_output {
            self.poller.watch_output(&connection.pipe, i as u64, !all)?;
            connection.watching_output = !all;
        }
        Ok(())
    }

    /// Takes replies from connection `i` and sends as many requests (closed loop).
    fn ready(&mut self, i: usize, output: bool) -> io::Result<()> {
        let measuring = self.shared.phase.load(Ordering::Relaxed) == MEASURE;
        let now = self.now();
        let Connection { pipe, sent, .. } = &mut self.connections[i];
        let done = &mut self.done;
        let mut replies = 0_u64;
        let received = pipe.receive(|reply| {
            if reply.xid == Xid::WATCH_EVENT.0 {
                done.notifications += u64::from(measuring);
                return;
            }
            replies += 1;
            // The pipe has checked that the reply answers the oldest request.
            let Some(request) = sent.pop_front() else { return };
            if let Some(wrong) = check(&reply, request.expect) {
                *done.errors.entry(wrong).or_default() += 1;
            } else if measuring {
                let histogram = &mut done.latency[request.kind as usize];
                histogram.saturating_record(now.saturating_sub(request.at).max(1));
            }
        });
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        if measuring && replies > 0 {
            done.ops += replies;
            if self.shared.options.ops.is_some() {
                let left = &self.shared.left;
                let before =
                    left.fetch_sub(replies.min(left.load(Ordering::Relaxed)), Ordering::Relaxed);
                if before <= replies {
                    self.shared.phase.store(STOP, Ordering::Relaxed);
                }
            }
        }
        if self.timer.is_none() {
            for _ in 0..replies {
                self.push(i, now);
            }
        }
        if replies > 0 || output {
            self.flush(i)?;
        }
        Ok(())
    }

    /// Waits for what is under way, and deletes what this thread's connections created.
    fn clean(&mut self) -> io::Result<()> {
        for connection in &mut self.connections {
            let under_way = connection.sent.len() as u64;
            drive(&mut connection.pipe, under_way, 0, |_, _| {}, |_| Ok(()))?;
            connection.sent.clear();
            let Some(own) = &mut connection.own else { continue };
            let count = own.live_count();
            drive(&mut connection.pipe, 0, count, |pipe, _| _ = own.push_delete(pipe), |_| Ok(()))?;
        }
        Ok(())
    }
}

/// Closes sessions and waits for the server's answers, so that it does not keep them until they expire.
/// Each comes with the number of its requests that are not answered yet.
///
/// # Errors
/// Those of the connections.
pub fn close_sessions(sessions: &mut [(&mut Pipe, u64)]) -> io::Result<()> {
    let close = Prepared::new(OpCode::CLOSE_SESSION, &());
    for (pipe, _) in sessions.iter_mut() {
        pipe.push(&close);
        pipe.flush()?;
    }
    for (pipe, under_way) in sessions.iter_mut() {
        drive(pipe, *under_way + 1, 0, |_, _| {}, |_| Ok(()))?;
    }
    Ok(())
}

/// None when the reply is what the request must get, otherwise what is wrong.
fn check(reply: &ReplyView<'_>, expect: Expect) -> Option<String> {
    if reply.code != Code::OK.0 {
        return Some(Code(reply.code).to_string());
    }
    let fine = match expect {
        Expect::Any => true,
        Expect::Bytes(n) => reply.body.len() == n,
        Expect::Sets => reply.body.starts_with(&OpCode::SET_DATA.0.to_be_bytes()),
    };
    (!fine).then(|| "unexpected reply body".to_owned())
}

/// Sends `count` requests with up to 512 under way, beside `under_way` sent before, and waits for
/// all the replies.
///
/// # Errors
/// Those of the connection, and those of `check`.
pub fn drive(
    pipe: &mut Pipe,
    under_way: u64,
    count: u64,
    mut push: impl FnMut(&mut Pipe, u64),
    mut check: impl FnMut(&ReplyView<'_>) -> io::Result<()>,
) -> io::Result<()> {
    const WINDOW: u64 = 512;
    /// Bytes: large requests must not all be in memory at once.
    const QUEUED_MAX: usize = 16 << 20;
    let mut poller = Poller::new()?;
    poller.add(&*pipe, 0)?;
    let (mut sent, mut answered) = (0, 0);
    let total = count + under_way;
    let mut patience = Instant::now() + Duration::from_secs(60);
    while answered < total {
        while sent < count && sent + under_way < answered + WINDOW && pipe.queued() < QUEUED_MAX {
            push(pipe, sent);
            sent += 1;
        }
        let all = pipe.flush()?;
        poller.watch_output(&*pipe, 0, !all)?;
        drop(poller.wait(Some(Duration::from_secs(1)))?);
        let mut outcome = Ok(());
        let received = pipe.receive(|reply| {
            if reply.xid != Xid::WATCH_EVENT.0 {
                answered += 1;
                if outcome.is_ok() {
                    outcome = check(&reply);
                }
            }
        });
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() > patience {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
            Ok(_) => patience = Instant::now() + Duration::from_secs(60),
        }
        outcome?;
    }
    Ok(())
}

/// Creates the root, the parents and the nodes; what exists already is fine.
///
/// # Errors
/// Those of the connection, and a code other than OK and NodeExists.
pub fn prepare(options: &Options) -> io::Result<()> {
    let nodes = &options.nodes;
    let mut pipe =
        Pipe::connect(options.servers[0], options.session_timeout_ms, Duration::from_secs(10))?;
    let mut create = |count: u64, path: &dyn Fn(u64) -> String, data: bytes::Bytes| {
        let push = |pipe: &mut Pipe, i| _ = pipe.push(&nodes.create(path(i), data.clone(), 0));
        drive(&mut pipe, 0, count, push, |reply| match Code(reply.code) {
            Code::OK | Code::NODE_EXISTS => Ok(()),
            code => Err(io::Error::other(format!("creating the nodes: {code}"))),
        })
    };
    create(1, &|_| nodes.root.clone(), bytes::Bytes::new())?;
    create(nodes.parents(), &|i| nodes.parent(i), bytes::Bytes::new())?;
    create(nodes.count, &|i| nodes.node(i), nodes.data())?;
    if options.mix.creates() {
        create(options.connections as u64, &|i| nodes.own(i as usize), bytes::Bytes::new())?;
    }
    close_sessions(&mut [(&mut pipe, 0)])
}

/// Deletes the nodes, the parents and the root; what does not exist is fine.
///
/// # Errors
/// Those of the connection.
pub fn remove(options: &Options) -> io::Result<()> {
    let nodes = &options.nodes;
    let mut pipe =
        Pipe::connect(options.servers[0], options.session_timeout_ms, Duration::from_secs(10))?;
    let mut delete = |count: u64, path: &dyn Fn(u64) -> String| {
        let push = |pipe: &mut Pipe, i| {
            let request = DeleteRequest { path: Some(path(i)), version: -1 };
            pipe.push(&Prepared::new(OpCode::DELETE, &request));
        };
        drive(&mut pipe, 0, count, push, |_| Ok(()))
    };
    delete(nodes.count, &|i| nodes.node(i))?;
    delete(nodes.parents(), &|i| nodes.parent(i))?;
    if options.mix.creates() {
        delete(options.connections as u64, &|i| nodes.own(i as usize))?;
    }
    delete(1, &|_| nodes.root.clone())?;
    close_sessions(&mut [(&mut pipe, 0)])
}
