//! What is measured on one start of a server, or of three.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::super::load::{self, Report};
use super::super::mix::Nodes;
use super::super::servers::{Kind, Launcher, Server};
use super::super::{limits, scenarios};
use super::CompareArgs;
use crate::client::pipe::{Pipe, Poller, Prepared};
use crate::ops::process;
use crate::proto::opcode::OpCode;
use crate::proto::records::SetDataRequest;
use crate::types::Code;

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Loads on one empty server.
    Standalone,
    /// Many sessions and watches on one fresh server.
    Sessions,
    /// One server with a large tree.
    Tree,
    /// Starting one empty server.
    Start,
    /// Three members.
    Ensemble,
    /// Three members whose syncs take a millisecond longer.
    Slow,
    /// The machine.
    Limits,
}

type Figures = Vec<(&'static str, f64)>;

const PATIENCE: Duration = Duration::from_secs(60);

impl Group {
    /// In the order in which they run.
    pub const ALL: [Group; 7] = [
        Group::Limits,
        Group::Standalone,
        Group::Sessions,
        Group::Start,
        Group::Ensemble,
        Group::Slow,
        Group::Tree,
    ];

    fn label(self) -> &'static str {
        match self {
            Group::Standalone => "standalone",
            Group::Sessions => "sessions",
            Group::Tree => "tree",
            Group::Start => "start",
            Group::Ensemble => "ensemble",
            Group::Slow => "slow",
            Group::Limits => "limits",
        }
    }

    /// The servers it is measured on, of those wanted.
    pub fn kinds(self, wanted: &[Kind]) -> Vec<Kind> {
        let mut kinds = match self {
            Group::Limits => Vec::new(),
            _ => wanted.to_vec(),
        };
        if matches!(self, Group::Limits | Group::Standalone) {
            kinds.push(Kind::Echo);
        }
        kinds
    }

    /// Starts the server, measures, stops it.
    ///
    /// # Errors
    /// Whatever keeps a figure of the group from being measured.
    pub fn measure(
        self,
        launcher: &Launcher,
        kind: Kind,
        args: &CompareArgs,
    ) -> io::Result<Figures> {
        match (self, kind) {
            (Group::Standalone, Kind::Echo) => echo(launcher, args),
            (Group::Standalone, _) => standalone(launcher, kind, args),
            (Group::Sessions, _) => sessions(launcher, kind, args),
            (Group::Tree, _) => tree(launcher, kind, args),
            (Group::Start, _) => start(launcher, kind),
            (Group::Ensemble, _) => ensemble(launcher, kind, args),
            (Group::Slow, _) => slow(launcher, kind, args),
            (Group::Limits, _) => {
                let report = limits::sync_loop(&launcher.dir, 256, seconds(args.seconds / 3.0))?;
                Ok(vec![("sync.us", report.latency.value_at_quantile(0.5) as f64 / 1e3)])
            }
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Group, String> {
        let all = Group::ALL.into_iter();
        all.clone().find(|group| group.label() == text).ok_or_else(|| {
            format!("one of {}", all.map(Group::label).collect::<Vec<_>>().join(", "))
        })
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn options(servers: &[SocketAddr], pids: &[u32], mix: &str, args: &CompareArgs) -> load::Options {
    load::Options {
        servers: servers.to_vec(),
        connections: 32,
        depth: 32,
        mix: mix.parse().unwrap_or_else(|_| unreachable!("mixes of this file are well-formed")),
        nodes: Nodes {
            root: "/compare".into(),
            count: 1000,
            per_parent: 1000,
            size: 100,
            crowded: false,
        },
        duration: seconds(args.seconds),
        ops: None,
        warmup: seconds(args.warmup),
        rate: None,
        threads: 1,
        server_pids: pids.to_vec(),
        session_timeout_ms: 30_000,
        prepare: true,
        clean: false,
        seed: 1,
    }
}

/// Runs a load of which every reply must be right.
fn measure(options: &load::Options) -> io::Result<Report> {
    let report = load::run(options)?;
    match report.errors.iter().next() {
        Some((what, count)) => Err(io::Error::other(format!("{count} times {what}"))),
        None => Ok(report),
    }
}

fn cpu(report: &Report) -> f64 {
    report.micros_per_op(report.server_cpu.unwrap_or_default())
}

fn by_driver(report: &Report) -> f64 {
    // Below one tick of the system's accounting nothing is known of the driver.
    let driver = report.driver_cpu.as_secs_f64();
    report.server_cpu.unwrap_or_default().as_secs_f64() / driver.max(0.01)
}

fn quantile_us(report: &Report, q: f64) -> f64 {
    report.total_latency().value_at_quantile(q) as f64 / 1e3
}

fn echo(launcher: &Launcher, args: &CompareArgs) -> io::Result<Figures> {
    let mut server = launcher.standalone(Kind::Echo)?;
    server.wait_serving(PATIENCE)?;
    let mut figures = reads(&server, args)?;
    let at_rate = fixed_rate(&server, args, 5000.0)?;
    figures.push(("rate5k.cpu", cpu(&at_rate)));
    Ok(figures)
}

fn reads(server: &Server, args: &CompareArgs) -> io::Result<Figures> {
    let mut load = options(&[server.client], &[server.pid], "get", args);
    let report = measure(&load)?;
    let mut figures = vec![
        ("reads.cpu", cpu(&report)),
        ("reads.rate", report.rate()),
        ("reads.by_driver", by_driver(&report)),
    ];
    (load.connections, load.depth) = (1000, 1);
    let report = measure(&load)?;
    figures.extend([
        ("reads1000.cpu", cpu(&report)),
        ("reads1000.rate", report.rate()),
        ("reads1000.by_driver", by_driver(&report)),
    ]);
    Ok(figures)
}

fn fixed_rate(server: &Server, args: &CompareArgs, rate: f64) -> io::Result<Report> {
    let mut load = options(&[server.client], &[server.pid], "get=90,set=10", args);
    load.rate = Some(rate);
    measure(&load)
}

fn standalone(launcher: &Launcher, kind: Kind, args: &CompareArgs) -> io::Result<Figures> {
    let mut server = launcher.standalone(kind)?;
    server.wait_serving(PATIENCE)?;
    std::thread::sleep(seconds(args.seconds.min(1.0)));
    let mut figures = vec![("idle.mb", process::resident(server.pid)? as f64 / 1e6)];
    figures.extend(reads(&server, args)?);
    let report = measure(&options(&[server.client], &[server.pid], "set", args))?;
    figures.extend([
        ("writes.cpu", cpu(&report)),
        ("writes.rate", report.rate()),
        ("writes.by_driver", by_driver(&report)),
    ]);
    let report = measure(&options(&[server.client], &[server.pid], "multi:4", args))?;
    figures.push(("multi.cpu", cpu(&report)));
    let report = fixed_rate(&server, args, 5000.0)?;
    figures.extend([
        ("rate5k.cpu", cpu(&report)),
        ("rate5k.p99", quantile_us(&report, 0.99)),
        ("rate5k.p999", quantile_us(&report, 0.999)),
    ]);
    let report = fixed_rate(&server, args, 20_000.0)?;
    figures.extend([
        ("rate20k.cpu", cpu(&report)),
        ("rate20k.p99", quantile_us(&report, 0.99)),
        ("rate20k.p999", quantile_us(&report, 0.999)),
    ]);
    Ok(figures)
}

fn sessions(launcher: &Launcher, kind: Kind, args: &CompareArgs) -> io::Result<Figures> {
    let mut server = launcher.standalone(kind)?;
    server.wait_serving(PATIENCE)?;
    let (servers, pids) = ([server.client], [server.pid]);
    // A tenth first, closed again: the code is warm, the sessions' memory is not there yet.
    drop(scenarios::sessions(&servers, args.sessions / 10, 30_000, &pids)?);
    let mut opened = scenarios::sessions(&servers, args.sessions, 30_000, &pids)?;
    let count = args.sessions as f64;
    let cpu = opened.server_cpu.unwrap_or_default().as_secs_f64() * 1e6;
    let watched = scenarios::watches(server.client, &mut opened.pipes, "/watched", &pids)?;
    Ok(vec![
        ("session.cpu", cpu / count),
        ("session.bytes", opened.server_bytes.unwrap_or(0) as f64 / count),
        ("watch.bytes", watched.server_bytes.unwrap_or(0) as f64 / count),
        ("notify.ms", watched.last_notification.as_secs_f64() * 1e3),
    ])
}

fn tree(launcher: &Launcher, kind: Kind, args: &CompareArgs) -> io::Result<Figures> {
    let mut server = launcher.standalone(kind)?;
    server.wait_serving(PATIENCE)?;
    let mut load = options(&[server.client], &[server.pid], "get=90,set=10", args);
    load.nodes.count = args.nodes;
    let nodes = args.nodes as f64;
    let filled = scenarios::fill(&load)?;
    let mut figures = vec![
        ("node.bytes", filled.server_bytes.unwrap_or(0) as f64 / nodes),
        ("fill.cpu", filled.server_cpu.unwrap_or_default().as_secs_f64() * 1e6 / nodes),
    ];
    load.prepare = false;
    load.rate = Some(20_000.0);
    let report = measure(&load)?;
    figures.push(("tree20k.p99", quantile_us(&report, 0.99)));
    figures.push(("tree20k.p999", quantile_us(&report, 0.999)));
    // Long enough for a snapshot or two: one is due after 50,000 to 100,000 transactions.
    load.mix = "set".parse().unwrap_or_else(|_| unreachable!("a mix"));
    load.rate = Some(10_000.0);
    load.duration = seconds(args.seconds * 5.0);
    let report = measure(&load)?;
    figures.push(("snapshot.stall", quantile_us(&report, 1.0) / 1e3));
    server.signal(Signal::TERM)?;
    server.wait_end()?;
    let begin = Instant::now();
    let mut server = server.restart()?;
    server.wait_serving(PATIENCE)?;
    figures.push(("startfull.ms", begin.elapsed().as_secs_f64() * 1e3));
    Ok(figures)
}

fn start(launcher: &Launcher, kind: Kind) -> io::Result<Figures> {
    let begin = Instant::now();
    let mut server = launcher.standalone(kind)?;
    server.wait_serving(PATIENCE)?;
    Ok(vec![("start.ms", begin.elapsed().as_secs_f64() * 1e3)])
}

/// Waits until one of the members takes a session, then until all do.
fn wait_ensemble(servers: &mut [Server]) -> io::Result<Duration> {
    let begin = Instant::now();
    let serves =
        |server: &Server| Pipe::connect(server.client, 30_000, Duration::from_millis(500)).is_ok();
    while !servers.iter().any(serves) {
        if begin.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no leader"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let first = begin.elapsed();
    for server in servers {
        server.wait_serving(PATIENCE)?;
    }
    Ok(first)
}

/// Where one client connects: a follower, so that both servers are measured on the same way.
fn follower(servers: &[Server]) -> io::Result<SocketAddr> {
    let follower = servers.iter().find(|s| s.mode().is_some_and(|mode| mode == "follower"));
    follower.map(|server| server.client).ok_or_else(|| io::Error::other("no follower"))
}

fn ensemble(launcher: &Launcher, kind: Kind, args: &CompareArgs) -> io::Result<Figures> {
    let begin = Instant::now();
    let mut servers = launcher.ensemble(kind, false)?;
    let started = begin.elapsed();
    let first = started + wait_ensemble(&mut servers)?;
    let mut figures = vec![("startensemble.ms", first.as_secs_f64() * 1e3)];
    let addresses: Vec<_> = servers.iter().map(|server| server.client).collect();
    let pids: Vec<_> = servers.iter().map(|server| server.pid).collect();
    let report = measure(&options(&addresses, &pids, "set", args))?;
    figures.extend([
        ("ensemble.cpu", cpu(&report)),
        ("ensemble.rate", report.rate()),
        ("ensemble.by_driver", by_driver(&report)),
    ]);
    let mut load = options(&[follower(&servers)?], &pids, "set", args);
    (load.connections, load.depth) = (1, 1);
    figures.push(("ensemble.p50", quantile_us(&measure(&load)?, 0.5)));
    for (id, signal) in
        [("kill.ms", Signal::KILL), ("term.ms", Signal::TERM), ("stop.ms", Signal::STOP)]
    {
        let mut gap = None;
        for _ in 0..STRIKES_MAX {
            (gap, servers) = failover(servers, signal)?;
            if gap.is_some() {
                break;
            }
        }
        let gap = gap.ok_or_else(|| io::Error::other("the leader was never the one struck"))?;
        figures.push((id, gap.as_secs_f64() * 1e3));
    }
    Ok(figures)
}

fn slow(launcher: &Launcher, kind: Kind, args: &CompareArgs) -> io::Result<Figures> {
    let mut servers = launcher.ensemble(kind, true)?;
    wait_ensemble(&mut servers)?;
    let pids: Vec<_> = servers.iter().map(|server| server.pid).collect();
    let mut load = options(&[follower(&servers)?], &pids, "set", args);
    (load.connections, load.depth) = (1, 1);
    let mut figures = vec![("slow.p50", quantile_us(&measure(&load)?, 0.5))];
    load.connections = 32;
    load.prepare = false;
    load.servers = servers.iter().map(|server| server.client).collect();
    let report = measure(&load)?;
    figures.push(("slow32.rate", report.rate()));
    figures.push(("slow32.p50", quantile_us(&report, 0.5)));
    Ok(figures)
}

/// How often a leader is struck: on a busy machine another may lead by the time the signal is sent.
const STRIKES_MAX: usize = 3;

/// Sends `signal` to the leader while one client per member writes; returns the longest time
/// without an acknowledged write (None when it was not the leader any more, because the epoch is
/// still the same), and the members, all serving again.
fn failover(
    mut servers: Vec<Server>,
    signal: Signal,
) -> io::Result<(Option<Duration>, Vec<Server>)> {
    let stop = AtomicBool::new(false);
    let acknowledged = Mutex::new(Vec::new());
    let (leader, gap) = std::thread::scope(|scope| {
        for server in &servers {
            let (stop, acknowledged) = (&stop, &acknowledged);
            scope.spawn(move || write_on(server.client, stop, acknowledged));
        }
        let result = observe(&servers, signal, &acknowledged);
        stop.store(true, Ordering::Relaxed);
        result
    })?;
    let stopped = servers.remove(leader);
    let back = match signal {
        Signal::STOP => {
            stopped.signal(Signal::CONT)?;
            stopped
        }
        _ => stopped.restart()?,
    };
    servers.insert(leader, back);
    for server in &mut servers {
        server.wait_serving(PATIENCE)?;
    }
    Ok((gap, servers))
}

/// Waits for writes to flow, strikes who leads then, waits for writes to flow again. Returns whom,
/// and the longest wait for a write; None when there was no election.
fn observe(
    servers: &[Server],
    signal: Signal,
    acknowledged: &Mutex<Vec<Instant>>,
) -> io::Result<(usize, Option<Duration>)> {
    let times = || acknowledged.lock().map(|times| times.clone()).unwrap_or_default();
    let deadline = Instant::now() + PATIENCE;
    std::thread::sleep(Duration::from_millis(500));
    let leader = loop {
        match servers.iter().position(Server::is_leader) {
            Some(leader) => break leader,
            None if Instant::now() > deadline => {
                return Err(io::Error::other("no leader to stop"));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let others = || servers.iter().enumerate().filter(|(i, _)| *i != leader);
    let epoch = || others().filter_map(|(_, server)| server.epoch()).max();
    let before = epoch();
    let struck = Instant::now();
    servers[leader].signal(signal)?;
    std::thread::sleep(Duration::from_millis(1500));
    loop {
        let recent = Instant::now() - Duration::from_millis(100);
        let times = times();
        if times.iter().filter(|&&time| time > recent).count() > 10 {
            let from = struck - Duration::from_millis(50);
            let mut around: Vec<_> = times.into_iter().filter(|&time| time > from).collect();
            around.sort_unstable();
            let gaps = around.windows(2).map(|pair| pair[1] - pair[0]);
            let gap = gaps.max().unwrap_or_default();
            return Ok((leader, (epoch() > before).then_some(gap)));
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "writes did not come back"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes to one member, one write at a time, and connects again when that fails.
fn write_on(server: SocketAddr, stop: &AtomicBool, acknowledged: &Mutex<Vec<Instant>>) {
    let request = SetDataRequest { path: Some("/compare".into()), data: None, version: -1 };
    let request = Prepared::new(OpCode::SET_DATA, &request);
    while !stop.load(Ordering::Relaxed) {
        let connected = Pipe::connect(server, 30_000, Duration::from_millis(300));
        let (Ok(mut pipe), Ok(mut poller)) = (connected, Poller::new()) else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        if poller.add(&pipe, 0).is_err() {
            continue;
        }
        while !stop.load(Ordering::Relaxed)
            && write_once(&mut pipe, &mut poller, &request, stop).is_ok()
        {
            if let Ok(mut times) = acknowledged.lock() {
                times.push(Instant::now());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

fn write_once(
    pipe: &mut Pipe,
    poller: &mut Poller,
    request: &Prepared,
    stop: &AtomicBool,
) -> io::Result<()> {
    pipe.push(request);
    pipe.flush()?;
    let mut code = None;
    while code.is_none() {
        drop(poller.wait(Some(Duration::from_millis(100)))?);
        match pipe.receive(|reply| code = Some(reply.code)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => drop(other?),
        }
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    match code {
        Some(code) if code == Code::OK.0 => Ok(()),
        _ => Err(io::Error::other("the write failed")),
    }
}
