//! Starts and stops the servers that are compared, with the same configuration for both.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::pipe::Pipe;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Apache ZooKeeper, with the heap that its own start script gives it.
    Apache,
    /// This program.
    Rookeeper,
    /// The echo server: the limit of the machine.
    Echo,
}

/// How servers are started.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// Of Apache; None when it is not compared.
    pub class_path: Option<String>,
    /// The program to compare, normally this one.
    pub rookeeper: PathBuf,
    /// Data directories are made below.
    pub dir: PathBuf,
    /// Further lines of every `zoo.cfg`.
    pub config: String,
}

/// A running server; killed and its data removed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// The server's own process, which is not the child when that is a tracer.
    pub pid: u32,
    /// Where clients connect.
    pub client: SocketAddr,
    command: Vec<String>,
    dir: PathBuf,
}

impl Launcher {
    /// Starts one server on its own; it may not serve yet.
    ///
    /// # Errors
    /// Those of files and of starting the process.
    pub fn standalone(&self, kind: Kind) -> io::Result<Server> {
        let [port] = free_ports()?;
        if kind == Kind::Echo {
            return self.echo(port);
        }
        let dir = self.fresh_dir()?;
        self.configure(&dir, port, "")?;
        self.start(kind, dir, port, false)
    }

    /// Starts three servers that form an ensemble; they may not serve yet. With `slow_sync`, each
    /// sync to disk takes a millisecond longer (by strace, which must be installed).
    ///
    /// # Errors
    /// Those of files and of starting the processes.
    pub fn ensemble(&self, kind: Kind, slow_sync: bool) -> io::Result<Vec<Server>> {
        let ports: [u16; 9] = free_ports()?;
        let mut members = String::new();
        for (i, chunk) in ports.chunks(3).enumerate() {
            let _ = writeln!(members, "server.{}=127.0.0.1:{}:{}", i + 1, chunk[0], chunk[1]);
        }
        let mut servers = Vec::new();
        for (i, chunk) in ports.chunks(3).enumerate() {
            let dir = self.fresh_dir()?;
            fs::write(dir.join("data/myid"), format!("{}\n", i + 1))?;
            self.configure(&dir, chunk[2], &members)?;
            servers.push(self.start(kind, dir, chunk[2], slow_sync)?);
        }
        Ok(servers)
    }

    fn fresh_dir(&self) -> io::Result<PathBuf> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.join(format!("rookeeper-compare-{}-{number}", std::process::id()));
        fs::create_dir_all(dir.join("data"))?;
        Ok(dir)
    }

    fn configure(&self, dir: &Path, port: u16, members: &str) -> io::Result<()> {
        let config = format!(
            "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={port}\n\
             clientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n\
             4lw.commands.whitelist=*\n{}{members}",
            dir.join("data").display(),
            self.config,
        );
        fs::write(dir.join("zoo.cfg"), config)
    }

    fn echo(&self, port: u16) -> io::Result<Server> {
        let listen = format!("127.0.0.1:{port}");
        let program = self.rookeeper.display().to_string();
        let command =
            vec![program, "bench".into(), "echo-server".into(), "--listen".into(), listen];
        spawn(command, self.fresh_dir()?, port, false)
    }

    fn start(&self, kind: Kind, dir: PathBuf, port: u16, slow_sync: bool) -> io::Result<Server> {
        let config = dir.join("zoo.cfg").display().to_string();
        let mut command = match kind {
            Kind::Apache => {
                let class_path = self.class_path.clone().ok_or_else(|| {
                    io::Error::new(io::ErrorKind::NotFound, "Apache ZooKeeper is not at hand")
                })?;
                let main = "org.apache.zookeeper.server.quorum.QuorumPeerMain".to_owned();
                vec!["java".into(), "-Xmx1000m".into(), "-cp".into(), class_path, main]
            }
            _ => vec![self.rookeeper.display().to_string(), "server".into()],
        };
        command.push(config);
        if slow_sync {
            let tracer = [
                "strace",
                "-f",
                "--seccomp-bpf",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                "trace=fdatasync,fsync",
                "-e",
                "inject=fdatasync,fsync:delay_exit=1000",
            ];
            command.splice(0..0, tracer.map(str::to_owned));
        }
        spawn(command, dir, port, slow_sync)
    }
}

fn spawn(command: Vec<String>, dir: PathBuf, port: u16, traced: bool) -> io::Result<Server> {
    let log = File::options().create(true).append(true).open(dir.join("server.log"))?;
    let child = Command::new(&command[0])
        .args(&command[1..])
        .current_dir(&dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", command[0])))?;
    let mut server = Server {
        pid: child.id(),
        child,
        client: SocketAddr::from(([127, 0, 0, 1], port)),
        command,
        dir,
    };
    if traced {
        server.pid = child_of(server.pid)?;
    }
    Ok(server)
}

/// What a tracer runs, waited for: its child that has become another program. (The tracer makes
/// other children before, to try what the kernel can do.)
fn child_of(tracer: u32) -> io::Result<u32> {
    for _ in 0..500 {
        for process in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            let (name, fields) = stat.rsplit_once(") ").unwrap_or_default();
            let parent = fields.split(' ').nth(1).and_then(|field| field.parse().ok());
            if parent == Some(tracer) && !name.ends_with("(strace") {
                return Ok(pid);
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(io::ErrorKind::TimedOut.into())
}

impl Server {
    /// Waits until a session can be opened; returns how long that took.
    ///
    /// # Errors
    /// `TimedOut` after `patience`; the end of the process.
    pub fn wait_serving(&mut self, patience: Duration) -> io::Result<Duration> {
        let begin = Instant::now();
        loop {
            if let Ok(pipe) = Pipe::connect(self.client, 30_000, Duration::from_secs(1)) {
                drop(pipe);
                return Ok(begin.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                let what = format!("the server ended: {status}; {}", self.log_tail());
                return Err(io::Error::other(what));
            }
            if begin.elapsed() > patience {
                let what = format!("not serving after {patience:?}; {}", self.log_tail());
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.dir.join("server.log")).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(500)..];
        String::from_utf8_lossy(tail).into_owned()
    }

    /// Whether the server says that it leads.
    pub fn is_leader(&self) -> bool {
        self.mode().is_some_and(|mode| mode == "leader")
    }

    /// What the server says it is, when it serves.
    pub fn mode(&self) -> Option<String> {
        self.says("Mode: ")
    }

    /// The leader's epoch in which its last transaction was made, when it serves.
    pub fn epoch(&self) -> Option<u64> {
        let zxid = self.says("Zxid: 0x")?;
        u64::from_str_radix(&zxid, 16).ok().map(|zxid| zxid >> 32)
    }

    /// What follows `label` in the answer to `srvr`.
    fn says(&self, label: &str) -> Option<String> {
        let answer = four_letter(self.client, "srvr").ok()?;
        answer.lines().find_map(|line| line.strip_prefix(label)).map(str::to_owned)
    }

    /// Sends a signal to the server.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = Pid::from_raw(self.pid as i32).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits for the end of the process after a signal, at most a minute.
    ///
    /// # Errors
    /// `TimedOut`.
    pub fn wait_end(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begin.elapsed() > Duration::from_secs(60) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Starts the same server again on its data, after its end.
    ///
    /// # Errors
    /// Those of starting the process.
    pub fn restart(mut self) -> io::Result<Server> {
        self.wait_end()?;
        let dir = std::mem::take(&mut self.dir);
        let traced = self.command[0] == "strace";
        spawn(self.command.clone(), dir, self.client.port(), traced)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The processes may be gone already, which is what is wanted.
        let _ = self.signal(Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.dir.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Different ports that are free now.
fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let listeners =
        (0..N).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<io::Result<Vec<_>>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// Asks a four-letter word, without a runtime.
///
/// # Errors
/// Those of the socket.
pub fn four_letter(server: SocketAddr, word: &str) -> io::Result<String> {
    let timeout = Duration::from_millis(500);
    let mut stream = TcpStream::connect_timeout(&server, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.take(1 << 20).read_to_string(&mut answer)?;
    Ok(answer)
}
