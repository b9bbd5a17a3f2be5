//! `rookeeper bench`: measures any ZooKeeper server, and the machine it runs on.
//!
//! Without a subcommand it is a load driver. The subcommands are scenarios (sessions, watches,
//! fill), the limits of the machine (echo-server, sync), and `compare`, which starts Apache
//! ZooKeeper and rookeeper in turn and prints one table.

pub mod apache;
pub mod compare;
pub mod growth;
pub mod limits;
pub mod load;
pub mod mix;
mod rows;
pub mod scenarios;
pub mod servers;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use hdrhistogram::Histogram;

use mix::{Mix, Nodes};

use super::exit;

/// Measure a ZooKeeper server: load with latency quantiles, scenarios, limits of the machine.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Subcommand, Debug)]
enum BenchCommand {
    /// Open many sessions and keep them open for a moment
    Sessions(SessionsArgs),
    /// Watch one node from many sessions, and set it once
    Watches(SessionsArgs),
    /// Create many nodes and leave them there
    Fill(LoadArgs),
    /// Answer the client port's protocol without meaning: the limit of the machine for a server
    EchoServer(EchoArgs),
    /// Append and fdatasync in a loop: the limit of the machine for a log
    Sync(SyncArgs),
    /// Start Apache ZooKeeper and rookeeper in turn and compare them in one table
    Compare(compare::CompareArgs),
    /// Start a server and measure how cost grows with nodes, connections, watches, children
    Growth(growth::GrowthArgs),
}

/// Where the server is.
#[derive(Args, Debug, Clone)]
struct Target {
    /// Servers, host:port separated by commas; connections are spread over them
    #[arg(long, default_value = "127.0.0.1:2181", value_delimiter = ',')]
    servers: Vec<String>,
    /// Processes of the server, to report their processor time and memory
    #[arg(long, value_delimiter = ',')]
    server_pid: Vec<u32>,
    /// Session timeout in milliseconds
    #[arg(long, default_value_t = 30_000)]
    session_timeout: i32,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug, Clone)]
struct LoadArgs {
    #[command(flatten)]
    target: Target,
    /// Connections
    #[arg(long, short = 'c', default_value_t = 32)]
    connections: usize,
    /// Requests under way per connection
    #[arg(long, short = 'd', default_value_t = 32)]
    depth: usize,
    /// Operations with weights: get, exists, children, create, set, delete, ephemeral, multi:K,
    /// sync, watch
    #[arg(long, short = 'm', default_value = "get=90,set=10")]
    mix: Mix,
    /// Bytes of data per node, at most 64 MiB
    #[arg(long, default_value_t = 100, value_parser = bytes_of_data)]
    size: usize,
    /// Nodes that reads and sets choose from
    #[arg(long, default_value_t = 1000)]
    nodes: u64,
    /// Children per parent
    #[arg(long, default_value_t = 1000)]
    children: u64,
    /// Seconds to measure
    #[arg(long, default_value_t = 5.0)]
    duration: f64,
    /// Operations to measure, instead of a duration
    #[arg(long)]
    ops: Option<u64>,
    /// Seconds to run before measuring
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Requests per second over all connections (open loop: latency counts from the due time)
    #[arg(long)]
    rate: Option<f64>,
    /// Driver threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The path under which nodes are created
    #[arg(long, default_value = "/rookeeper-bench")]
    root: String,
    /// Leave the nodes there
    #[arg(long)]
    keep: bool,
    /// Seed of the choice of nodes
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args, Debug)]
struct SessionsArgs {
    #[command(flatten)]
    target: Target,
    /// Sessions
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    /// The node to watch
    #[arg(long, default_value = "/rookeeper-bench-watched")]
    root: String,
}

#[derive(Args, Debug)]
struct EchoArgs {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:2199")]
    listen: SocketAddr,
    /// Bytes of data in every reply to getData
    #[arg(long, default_value_t = 100)]
    size: usize,
}

#[derive(Args, Debug)]
struct SyncArgs {
    /// Where to write a file of 64 MiB, removed at the end
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Bytes per append
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Seconds
    #[arg(long, default_value_t = 3.0)]
    duration: f64,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command; exit code 1 on any error, and when a load saw an unexpected reply.
pub fn run(args: BenchArgs) -> u8 {
    let result = match args.command {
        None => run_load(&args.load),
        Some(BenchCommand::Sessions(args)) => run_sessions(&args),
        Some(BenchCommand::Watches(args)) => run_watches(&args),
        Some(BenchCommand::Fill(args)) => run_fill(&args),
        Some(BenchCommand::EchoServer(args)) => TcpListener::bind(args.listen)
            .and_then(|listener| limits::echo_server(&listener, args.size))
            .map(|()| true),
        Some(BenchCommand::Sync(args)) => run_sync(&args),
        Some(BenchCommand::Compare(args)) => compare::run(&args),
        Some(BenchCommand::Growth(args)) => growth::run(&args),
    };
    match result {
        Ok(true) => exit::OK,
        Ok(false) => exit::UNEXPECTED,
        Err(error) => {
            err!("error: {}", explained(&error));
            exit::UNEXPECTED
        }
    }
}

fn bytes_of_data(text: &str) -> Result<usize, String> {
    const MAX: usize = 64 << 20;
    match text.parse() {
        Ok(size) if size <= MAX => Ok(size),
        Ok(_) => Err(format!("a node has at most {MAX} bytes here")),
        Err(e) => Err(format!("{e}")),
    }
}

/// An error with what usually leads to it.
fn explained(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("{error}\n  hint: is a server running there? --servers says where")
        }
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => format!(
            "the server closed a connection\n  hint: its log says why; --size must stay below its \
             jute.maxbuffer, --connections below its maxClientCnxns"
        ),
        _ => error.to_string(),
    }
}

impl Target {
    fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let resolve = |server: &String| {
            let named = super::words::with_port(server);
            let found = named.to_socket_addrs();
            let found = found.map_err(|e| io::Error::new(e.kind(), format!("{server}: {e}")));
            found?.next().ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("{server} has no address"))
            })
        };
        self.servers.iter().map(resolve).collect()
    }
}

impl LoadArgs {
    fn options(&self) -> io::Result<load::Options> {
        Ok(load::Options {
            servers: self.target.addresses()?,
            connections: self.connections.max(1),
            depth: self.depth.max(1),
            mix: self.mix.clone(),
            nodes: Nodes {
                root: self.root.clone(),
                count: self.nodes.max(1),
                per_parent: self.children.max(1),
                size: self.size,
                crowded: false,
            },
            duration: Duration::from_secs_f64(self.duration.max(0.0)),
            ops: self.ops,
            warmup: Duration::from_secs_f64(self.warmup.max(0.0)),
            rate: self.rate.filter(|&rate| rate > 0.0),
            threads: self.threads,
            server_pids: self.target.server_pid.clone(),
            session_timeout_ms: self.target.session_timeout,
            prepare: true,
            clean: !self.keep,
            seed: self.seed,
        })
    }
}

/// A result by name, for both forms of output.
type Figures = Vec<(String, String)>;

fn print(figures: &Figures, json: bool) {
    if json {
        let quoted = |v: &str| match v.parse::<f64>() {
            Ok(_) => v.to_owned(),
            Err(_) => format!("\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\"")),
        };
        let fields: Vec<_> =
            figures.iter().map(|(name, v)| format!("\"{name}\":{}", quoted(v))).collect();
        out!("{{{}}}", fields.join(","));
        return;
    }
    let width = figures.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in figures {
        out!("{name:width$}  {value}");
    }
}

fn figure(name: &str, value: f64) -> (String, String) {
    let value = match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    };
    (name.to_owned(), value)
}

fn latency_figures(figures: &mut Figures, prefix: &str, histogram: &Histogram<u64>) {
    let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];
    for (name, q) in quantiles {
        let micros = histogram.value_at_quantile(q) as f64 / 1e3;
        figures.push(figure(&format!("{prefix}{name}_us"), micros));
    }
}

fn run_load(args: &LoadArgs) -> io::Result<bool> {
    let options = args.options()?;
    let report = load::run(&options)?;
    if options.clean {
        load::remove(&options)?;
    }
    let mut figures = vec![
        ("mix".to_owned(), options.mix.to_string()),
        figure("ops", report.ops as f64),
        figure("seconds", report.elapsed.as_secs_f64()),
        figure("ops_per_second", report.rate()),
    ];
    latency_figures(&mut figures, "", &report.total_latency());
    if report.latency.len() > 1 {
        for (kind, histogram) in &report.latency {
            latency_figures(&mut figures, &format!("{}_", kind.label()), histogram);
        }
    }
    if options.rate.is_some() {
        latency_figures(&mut figures, "driver_lag_", &report.lag);
    }
    if report.notifications > 0 {
        figures.push(figure("notifications", report.notifications as f64));
    }
    figures.push(figure("driver_cpu_us_per_op", report.micros_per_op(report.driver_cpu)));
    if let Some(cpu) = report.server_cpu {
        figures.push(figure("server_cpu_us_per_op", report.micros_per_op(cpu)));
        let ratio = cpu.as_secs_f64() / report.driver_cpu.as_secs_f64().max(1e-9);
        figures.push(figure("server_cpu_by_driver_cpu", ratio));
    }
    figures.push(figure("errors", report.errors.values().sum::<u64>() as f64));
    for (what, count) in &report.errors {
        figures.push((format!("error {what}"), count.to_string()));
    }
    print(&figures, args.target.json);
    Ok(report.errors.is_empty())
}

/// Processor time and memory each, when they were measured.
fn cost_figures(figures: &mut Figures, count: usize, cpu: Option<Duration>, bytes: Option<i64>) {
    if let Some(cpu) = cpu {
        figures.push(figure("server_cpu_us_each", cpu.as_secs_f64() * 1e6 / count.max(1) as f64));
    }
    if let Some(bytes) = bytes {
        figures.push(figure("server_resident_bytes_each", bytes as f64 / count.max(1) as f64));
    }
}

fn run_sessions(args: &SessionsArgs) -> io::Result<bool> {
    let Target { server_pid, session_timeout, json, .. } = &args.target;
    let servers = args.target.addresses()?;
    let mut opened = scenarios::sessions(&servers, args.count, *session_timeout, server_pid)?;
    opened.close()?;
    let mut figures = vec![
        figure("sessions", args.count as f64),
        figure("seconds", opened.elapsed.as_secs_f64()),
    ];
    cost_figures(&mut figures, args.count, opened.server_cpu, opened.server_bytes);
    print(&figures, *json);
    Ok(true)
}

fn run_watches(args: &SessionsArgs) -> io::Result<bool> {
    let Target { server_pid, session_timeout, json, .. } = &args.target;
    let servers = args.target.addresses()?;
    let mut opened = scenarios::sessions(&servers, args.count, *session_timeout, server_pid)?;
    let pipes = &mut opened.pipes;
    let watched = scenarios::watches(servers[0], pipes, &args.root, server_pid)?;
    opened.close()?;
    let mut figures = vec![
        figure("watches", args.count as f64),
        figure("last_notification_ms", watched.last_notification.as_secs_f64() * 1e3),
    ];
    cost_figures(&mut figures, args.count, watched.server_cpu, watched.server_bytes);
    print(&figures, *json);
    Ok(true)
}

fn run_fill(args: &LoadArgs) -> io::Result<bool> {
    let options = args.options()?;
    let filled = scenarios::fill(&options)?;
    let mut figures = vec![
        figure("nodes", options.nodes.count as f64),
        figure("seconds", filled.elapsed.as_secs_f64()),
    ];
    let count = options.nodes.count as usize;
    cost_figures(&mut figures, count, filled.server_cpu, filled.server_bytes);
    print(&figures, args.target.json);
    Ok(true)
}

fn run_sync(args: &SyncArgs) -> io::Result<bool> {
    let duration = Duration::from_secs_f64(args.duration.max(0.0));
    let report = limits::sync_loop(&args.dir, args.batch, duration)?;
    let mut figures =
        vec![figure("syncs_per_second", report.syncs as f64 / report.elapsed.as_secs_f64())];
    latency_figures(&mut figures, "", &report.latency);
    print(&figures, args.json);
    Ok(true)
}

#[cfg(test)]
mod tests;
