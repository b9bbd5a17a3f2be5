//! One server, rookeeper or Apache, behind one interface; and ensembles of either or both.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::apache::{self, Hosted};
use super::four;
use super::ports::free_port;
use super::process::Process;
use super::runner::Stop;

/// System properties that every server of the suite gets.
///
/// The super user's password is `test`. Node types beyond the first four are on, so that their
/// behaviour is seen at all. Log files start small, so that directories kept as fixtures stay light.
pub const PROPERTIES: &[(&str, &str)] = &[
    ("zookeeper.DigestAuthenticationProvider.superDigest", "super:D/InIHSb7yEEbrWz8b9l71RjZJU="),
    ("zookeeper.extendedTypesEnabled", "true"),
    ("zookeeper.forceSync", "no"),
    ("zookeeper.preAllocSize", "64"),
];

/// Which program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Rookeeper,
    /// Apache of a version, in a process of its own.
    Apache(String),
    /// The reference Apache release, standalone, inside the shared Java process.
    Hosted,
}

impl Kind {
    /// The reference release in a process of its own.
    pub fn apache() -> Kind {
        Kind::Apache(apache::REFERENCE.to_string())
    }

    /// A short name.
    pub fn name(&self) -> String {
        match self {
            Kind::Rookeeper => "rookeeper".to_string(),
            Kind::Apache(version) => format!("apache-{version}"),
            Kind::Hosted => format!("apache-{}", apache::REFERENCE),
        }
    }
}

enum Running {
    Process(Process),
    Hosted(#[allow(dead_code)] Hosted),
}

/// One server: its configuration, its directory, and the process if it runs.
pub struct Server {
    /// Which program.
    pub kind: Kind,
    /// Holds `zoo.cfg`, `data/` and `server.log`.
    pub dir: PathBuf,
    /// The client port; kept over restarts.
    pub port: u16,
    /// Further lines of `zoo.cfg`.
    pub lines: Vec<(String, String)>,
    /// System properties.
    pub properties: Vec<(String, String)>,
    /// Where clients are sent instead, when a proxy stands before the server.
    pub port_shown: Option<u16>,
    /// Its address; another than loopback only in a network namespace.
    pub host: std::net::Ipv4Addr,
    /// The network namespace it runs in.
    pub netns: Option<String>,
    /// How many descriptors the process may have, where that is not what the suite has.
    pub open_files: Option<u64>,
    quorum: bool,
    running: Option<Running>,
}

static BINARY: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Puts the binary back when dropped.
pub struct BinaryBack;

impl Drop for BinaryBack {
    fn drop(&mut self) {
        *BINARY.lock().unwrap_or_else(|e| e.into_inner()) = None;
    }
}

/// Sets the binary under test until the returned value is dropped.
#[must_use]
pub fn set_binary(path: Option<PathBuf>) -> BinaryBack {
    *BINARY.lock().unwrap_or_else(|e| e.into_inner()) = path;
    BinaryBack
}

/// The binary under test: what was set, `ROOKEEPER_BIN`, or the one that Cargo built.
pub fn rookeeper_binary() -> PathBuf {
    if let Some(path) = BINARY.lock().unwrap_or_else(|e| e.into_inner()).clone() {
        return path;
    }
    std::env::var_os("ROOKEEPER_BIN")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_rookeeper")))
}

impl Server {
    /// A standalone server that is not started yet, in `dir`.
    pub fn new(kind: Kind, dir: &Path) -> Server {
        let properties = PROPERTIES.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Server {
            kind,
            dir: dir.to_path_buf(),
            port: free_port(),
            lines: Vec::new(),
            properties,
            port_shown: None,
            host: std::net::Ipv4Addr::LOCALHOST,
            netns: None,
            open_files: None,
            quorum: false,
            running: None,
        }
    }

    /// Adds a line to `zoo.cfg`; a later one wins.
    pub fn line(mut self, key: &str, value: impl ToString) -> Server {
        self.set_line(key, value);
        self
    }

    /// The same on a borrowed server.
    pub fn set_line(&mut self, key: &str, value: impl ToString) {
        self.lines.retain(|(k, _)| k != key);
        self.lines.push((key.to_string(), value.to_string()));
    }

    /// Sets a system property. Not for hosted servers, which share theirs.
    pub fn property(mut self, key: &str, value: impl ToString) -> Server {
        self.properties.retain(|(k, _)| k != key);
        self.properties.push((key.to_string(), value.to_string()));
        self
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.host, self.port_shown.unwrap_or(self.port)))
    }

    /// Where clients connect, as text.
    pub fn host_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn write_config(&self) -> std::io::Result<PathBuf> {
        std::fs::create_dir_all(self.data_dir())?;
        let mut text = String::new();
        let mut put = |key: &str, value: &str| {
            if !self.lines.iter().any(|(k, _)| k == key) {
                text.push_str(&format!("{key}={value}\n"));
            }
        };
        put("tickTime", "2000");
        put("dataDir", &self.data_dir().display().to_string());
        put("clientPort", &self.port.to_string());
        put("clientPortAddress", &self.host.to_string());
        put("maxClientCnxns", "0");
        put("admin.enableServer", "false");
        put("4lw.commands.whitelist", "*");
        for (key, value) in self.lines.iter().filter(|(_, v)| !v.is_empty()) {
            text.push_str(&format!("{key}={value}\n"));
        }
        let path = self.dir.join("zoo.cfg");
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Starts the program without waiting for it to serve.
    pub fn launch(&mut self) -> Result<(), Stop> {
        assert!(self.running.is_none(), "already running");
        let config = self.write_config()?;
        let log = self.dir.join("server.log");
        let mut command = match &self.kind {
            Kind::Hosted => {
                self.running = Some(Running::Hosted(Hosted::start(&config)?));
                return Ok(());
            }
            Kind::Apache(version) => {
                apache::server(version, &config, &self.properties, self.quorum)?
            }
            Kind::Rookeeper => {
                let mut command = Command::new(rookeeper_binary());
                command.arg("server").arg(&config);
                let ready = self.dir.join("ready.json");
                let _ = std::fs::remove_file(&ready);
                command.arg("--ready-file").arg(ready);
                for (key, value) in &self.properties {
                    command.arg(format!("-D{key}={value}"));
                }
                command
            }
        };
        if let Some(netns) = &self.netns {
            let mut inside = Command::new("ip");
            inside.args(["netns", "exec", netns]).arg(command.get_program());
            inside.args(command.get_args());
            command = inside;
        }
        if let Some(limit) = self.open_files {
            let mut limited = Command::new("sh");
            limited.arg("-c").arg(format!("ulimit -n {limit}; exec \"$0\" \"$@\""));
            limited.arg(command.get_program()).args(command.get_args());
            command = limited;
        }
        command.current_dir(&self.dir);
        let process = Process::spawn(&self.kind.name(), &mut command, &log)
            .map_err(|e| Stop::failed(format!("{command:?}: {e}")))?;
        self.running = Some(Running::Process(process));
        Ok(())
    }

    /// Starts and waits until `srvr` shows a mode.
    pub fn start(&mut self) -> Result<(), Stop> {
        self.launch()?;
        self.wait_serving(Duration::from_secs(60)).map(|_| ())
    }

    /// Waits until `srvr` shows a mode, and gives it.
    pub fn wait_serving(&mut self, patience: Duration) -> Result<String, Stop> {
        let end = Instant::now() + patience;
        loop {
            if let Some(mode) = four::mode(self.address()) {
                return Ok(mode);
            }
            if let Some(Running::Process(process)) = &mut self.running
                && let Some(status) = process.finished()
            {
                return Err(Stop::failed(format!("ended with {status}\n{}", process.log_tail())));
            }
            if Instant::now() > end {
                return Err(Stop::failed(format!("does not serve\n{}", self.log_tail())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        if let Some(Running::Process(mut process)) = self.running.take() {
            process.kill();
        }
    }

    /// SIGTERM; whether it ended by itself within ten seconds.
    pub fn stop(&mut self) -> bool {
        match self.running.take() {
            Some(Running::Process(mut process)) => process.terminate(Duration::from_secs(10)),
            _ => true,
        }
    }

    /// The process id, for a server with a process of its own.
    pub fn pid(&self) -> Option<u32> {
        match &self.running {
            Some(Running::Process(process)) => Some(process.id()),
            _ => None,
        }
    }

    /// Resident memory in KiB, for a server with a process of its own.
    pub fn resident(&self) -> Result<u64, Stop> {
        let pid = self.pid().ok_or_else(|| Stop::failed("no process"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let number = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| Stop::failed("no VmRSS"))
    }

    /// Sends a signal to a server with a process of its own.
    pub fn signal(&self, signal: rustix::process::Signal) {
        if let Some(Running::Process(process)) = &self.running {
            process.signal(signal);
        }
    }

    /// Whether a process is there and has not ended.
    pub fn alive(&mut self) -> bool {
        match &mut self.running {
            Some(Running::Process(process)) => process.finished().is_none(),
            Some(Running::Hosted(_)) => true,
            None => false,
        }
    }

    /// The end of the log.
    pub fn log_tail(&self) -> String {
        let path = self.dir.join("server.log");
        format!("--- {} ---\n{}", self.kind.name(), super::process::tail(&path, 6000))
    }

    /// A four-letter word's answer.
    pub fn four(&self, word: &str) -> Result<String, Stop> {
        four::ask(self.address(), word.as_bytes())
            .map_err(|e| Stop::failed(format!("{word}: {e}\n{}", self.log_tail())))
    }
}

/// Several servers that know each other.
pub struct Ensemble {
    /// The members; the id of the one at index `i` is `i + 1`.
    pub members: Vec<Server>,
    /// Their (quorum, election) ports.
    pub ports: Vec<(u16, u16)>,
}

impl Ensemble {
    /// Members of the given kinds that are not started yet. `roles` may name observers by index.
    pub fn new(kinds: &[Kind], dir: &Path, observers: &[usize]) -> Ensemble {
        let ports: Vec<(u16, u16)> = kinds.iter().map(|_| (free_port(), free_port())).collect();
        Ensemble::with_routes(kinds, dir, observers, &ports, |_, j| ports[j])
    }

    /// The same, with `route(i, j)` the ports under which member `i` reaches member `j`: a way to
    /// put proxies between them.
    pub fn with_routes(
        kinds: &[Kind],
        dir: &Path,
        observers: &[usize],
        ports: &[(u16, u16)],
        route: impl Fn(usize, usize) -> (u16, u16),
    ) -> Ensemble {
        let mut members = Vec::new();
        for (i, kind) in kinds.iter().enumerate() {
            let home = dir.join(format!("member{}", i + 1));
            let data = home.join("data");
            std::fs::create_dir_all(&data).expect("the temporary directory is writable");
            std::fs::write(data.join("myid"), format!("{}\n", i + 1)).expect("writable");
            let mut server = Server::new(kind.clone(), &home);
            server.quorum = true;
            server.set_line("initLimit", 20);
            server.set_line("syncLimit", 10);
            server.set_line("tickTime", 1000);
            for j in 0..kinds.len() {
                let (quorum, election) = if i == j { ports[j] } else { route(i, j) };
                let role = if observers.contains(&j) { ":observer" } else { "" };
                let value = format!("127.0.0.1:{quorum}:{election}{role}");
                server.set_line(&format!("server.{}", j + 1), value);
            }
            if observers.contains(&i) {
                server.set_line("peerType", "observer");
            }
            members.push(server);
        }
        Ensemble { members, ports: ports.to_vec() }
    }

    /// Adds a line to every member's `zoo.cfg`.
    pub fn line(mut self, key: &str, value: impl ToString) -> Ensemble {
        for member in &mut self.members {
            member.set_line(key, value.to_string());
        }
        self
    }

    /// Starts all and waits until each serves.
    pub fn start(&mut self) -> Result<(), Stop> {
        for member in &mut self.members {
            member.launch()?;
        }
        self.wait_serving()
    }

    /// Waits until each running member serves.
    pub fn wait_serving(&mut self) -> Result<(), Stop> {
        for member in self.members.iter_mut().filter(|m| m.running.is_some()) {
            member.wait_serving(Duration::from_secs(90))?;
        }
        Ok(())
    }

    /// The index of the leader.
    pub fn leader(&self) -> Option<usize> {
        self.members.iter().position(|m| four::mode(m.address()).as_deref() == Some("leader"))
    }

    /// `host:port` of all, with commas.
    pub fn connect_string(&self) -> String {
        let all: Vec<String> = self.members.iter().map(|m| m.host_port()).collect();
        all.join(",")
    }

    /// The ends of all logs.
    pub fn log_tails(&self) -> String {
        self.members.iter().map(|m| m.log_tail()).collect()
    }
}
