//! `rookeeper bench growth`: how the cost of an operation grows with nodes, connections, watches,
//! children of one parent and ephemerals of one session. It should not.

use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::load::{self, drive};
use super::mix::{Mix, Nodes};
use super::servers::{Kind, Launcher, Server};
use super::{apache, scenarios};
use crate::client::pipe::{Pipe, Prepared};
use crate::ops::process;
use crate::proto::opcode::OpCode;
use crate::proto::records::ReadRequest;

/// Measure how cost grows: starts servers of its own.
#[derive(Args, Debug, Clone)]
pub struct GrowthArgs {
    /// The largest sizes: 10,000,000 nodes instead of 1,000,000
    #[arg(long)]
    full: bool,
    /// Seconds that each size is measured
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Measure Apache ZooKeeper instead of rookeeper
    #[arg(long)]
    apache: bool,
    /// Directory of Apache's jars; without it they are fetched once with Maven
    #[arg(long)]
    apache_lib: Option<PathBuf>,
    /// Where fetched jars are kept
    #[arg(long, default_value = "target")]
    cache: PathBuf,
    /// Where the servers keep their data while they run
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Small sizes only: shows that everything works, measures nothing
    #[arg(long)]
    smoke: bool,
}

const PATIENCE: Duration = Duration::from_secs(60);

struct Growth {
    launcher: Launcher,
    kind: Kind,
    seconds: f64,
    /// No size is larger.
    max: u64,
}

/// No snapshots: ten million nodes would be written down a hundred times on the way, tens of
/// gigabytes that measure the disk.
const CONFIG: &str = "snapCount=100000000\n";

/// Runs all dimensions and prints a Markdown table of each.
///
/// # Errors
/// Those of starting servers and of their connections.
pub fn run(args: &GrowthArgs) -> io::Result<bool> {
    process::raise_file_limit();
    let class_path = match args.apache {
        false => None,
        true => {
            let cache = std::path::absolute(&args.cache)?;
            Some(apache::class_path(args.apache_lib.as_deref(), &cache)?)
        }
    };
    let growth = Growth {
        launcher: Launcher {
            class_path,
            rookeeper: std::env::current_exe()?,
            dir: std::path::absolute(args.dir.clone().unwrap_or_else(std::env::temp_dir))?,
            config: CONFIG.to_owned(),
        },
        kind: if args.apache { Kind::Apache } else { Kind::Rookeeper },
        seconds: if args.smoke { 0.2 } else { args.seconds },
        max: match (args.smoke, args.full) {
            (true, _) => 1000,
            (_, true) => 10_000_000,
            _ => 1_000_000,
        },
    };
    let unit = "server CPU per request (80 % get, 20 % set), µs";
    growth
        .table("nodes", unit, 1000..=10_000_000, |g, n| g.nodes(n, 1000, "get=80,set=20", false))?;
    let unit = "server CPU per request under one parent, µs";
    growth
        .table("children", unit, 10..=1_000_000, |g, n| g.nodes(n, n, "get,create,delete", true))?;
    let unit = "server CPU per get, one at a time each, µs";
    growth.table("connections", unit, 10..=10_000, Growth::connections)?;
    let unit = "server CPU per request (half get, half set), µs";
    growth.table("watches", unit, 1..=1_000_000, Growth::watches)?;
    let unit = "longest wait of others when their session closes, ms";
    growth.table("ephemerals", unit, 1..=100_000, Growth::ephemerals)?;
    Ok(true)
}

impl Growth {
    fn table(
        &self,
        what: &str,
        unit: &str,
        sizes: RangeInclusive<u64>,
        measure: impl Fn(&Growth, u64) -> io::Result<f64>,
    ) -> io::Result<()> {
        out!("\n| {what} | {unit} |\n|---|---|");
        let mut size = *sizes.start();
        while size <= self.max.min(*sizes.end()) {
            let value = measure(self, size)?;
            out!("| {size} | {value:.2} |");
            size *= 10;
        }
        Ok(())
    }

    fn start(&self) -> io::Result<Server> {
        let mut server = self.launcher.standalone(self.kind)?;
        server.wait_serving(PATIENCE)?;
        Ok(server)
    }

    fn options(&self, server: &Server, mix: &str) -> load::Options {
        let mix: Mix =
            mix.parse().unwrap_or_else(|_| unreachable!("mixes of this file are well-formed"));
        load::Options {
            servers: vec![server.client],
            connections: 32,
            depth: 8,
            mix,
            nodes: Nodes {
                root: "/growth".into(),
                count: 1000,
                per_parent: 1000,
                size: 100,
                crowded: false,
            },
            duration: Duration::from_secs_f64(self.seconds),
            ops: None,
            warmup: Duration::from_secs_f64(self.seconds / 2.0),
            rate: None,
            threads: 1,
            server_pids: vec![server.pid],
            session_timeout_ms: 30_000,
            prepare: true,
            clean: false,
            seed: 1,
        }
    }

    fn cpu(&self, options: &load::Options) -> io::Result<f64> {
        let report = load::run(options)?;
        if let Some((what, count)) = report.errors.iter().next() {
            return Err(io::Error::other(format!("{count} times {what}")));
        }
        Ok(report.micros_per_op(report.server_cpu.unwrap_or_default()))
    }

    fn nodes(&self, count: u64, per_parent: u64, mix: &str, crowded: bool) -> io::Result<f64> {
        let server = self.start()?;
        let mut options = self.options(&server, mix);
        options.nodes = Nodes { count, per_parent, crowded, ..options.nodes };
        self.cpu(&options)
    }

    fn connections(&self, count: u64) -> io::Result<f64> {
        let server = self.start()?;
        let mut options = self.options(&server, "get");
        (options.connections, options.depth) = (count as usize, 1);
        self.cpu(&options)
    }

    /// Watches of nodes that the load does not touch, from 100 sessions.
    fn watches(&self, count: u64) -> io::Result<f64> {
        let server = self.start()?;
        let mut options = self.options(&server, "get,set");
        options.nodes.root = "/watched".into();
        let sessions = 100.min(count);
        options.nodes.count = count.div_ceil(sessions);
        load::prepare(&options)?;
        let watched = options.nodes.clone();
        let opened = scenarios::sessions(&[server.client], sessions as usize, 30_000, &[]);
        let mut pipes = opened?.pipes;
        for pipe in &mut pipes {
            let push = |pipe: &mut Pipe, i| {
                let path = Some(watched.node(i));
                let request = ReadRequest { path, watch: true };
                pipe.push(&Prepared::new(OpCode::GET_DATA, &request));
            };
            drive(pipe, 0, watched.count, push, |_| Ok(()))?;
        }
        options.nodes = Nodes { root: "/growth".into(), count: 1000, ..options.nodes };
        self.cpu(&options)
    }

    /// The longest latency of a slow steady load while a session with many ephemerals closes.
    fn ephemerals(&self, count: u64) -> io::Result<f64> {
        let server = self.start()?;
        let mut options = self.options(&server, "get,set");
        load::prepare(&options)?;
        let mut owner = Pipe::connect(server.client, 30_000, PATIENCE)?;
        let nodes = options.nodes.clone();
        let push = |pipe: &mut Pipe, i: u64| {
            let path = format!("{}/e{i}", nodes.parent(0));
            pipe.push(&nodes.create(path, nodes.data(), 1));
        };
        drive(&mut owner, 0, count, push, |_| Ok(()))?;
        options.prepare = false;
        options.rate = Some(2000.0);
        options.duration = Duration::from_secs_f64(self.seconds.max(0.5));
        options.warmup = Duration::ZERO;
        let report = std::thread::scope(|scope| {
            let load = scope.spawn(|| load::run(&options));
            let begin = Instant::now();
            while begin.elapsed() < options.duration / 3 {
                std::thread::sleep(Duration::from_millis(5));
            }
            let closed = load::close_sessions(&mut [(&mut owner, 0)]);
            let report = load.join().map_err(|_| io::Error::other("the load panicked"))??;
            closed.map(|()| report)
        })?;
        Ok(report.total_latency().max() as f64 / 1e6)
    }
}
