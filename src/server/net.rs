//! What both ports between servers need: addresses, dialling, and an owner for tasks.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

/// How long written bytes may stay unacknowledged before the system gives a link up: a peer that
/// lost its power never says good-bye.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(15);

/// A host name or literal address and a port, as configured; resolved anew before each use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Without brackets.
    pub host: String,
    /// A TCP port.
    pub port: u16,
}

impl HostPort {
    /// From parts.
    pub fn new(host: impl Into<String>, port: u16) -> HostPort {
        HostPort { host: host.into(), port }
    }

    /// Reads `host:port`, with an IPv6 host in brackets. None for anything else, an empty host and
    /// port 0 included.
    pub fn parse(text: &str) -> Option<HostPort> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| HostPort::new(host, port))
    }

    /// Whether the host means "any address": good for listening, useless for dialling.
    pub fn is_wildcard(&self) -> bool {
        match self.host.parse::<std::net::IpAddr>() {
            Ok(ip) => ip.is_unspecified(),
            Err(_) => false,
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Addresses for a log line or an error, with commas between.
pub fn listed(addresses: &[HostPort]) -> String {
    addresses.iter().map(HostPort::to_string).collect::<Vec<_>>().join(", ")
}

/// Connects to whichever of the addresses answers first; names are resolved now. All are tried at
/// the same time, so that one black hole costs nothing.
pub async fn dial(addresses: &[HostPort], limit: Duration) -> io::Result<TcpStream> {
    let race = async {
        let mut attempts = JoinSet::new();
        for HostPort { host, port } in addresses.iter().cloned() {
            attempts.spawn(async move { TcpStream::connect((host.as_str(), port)).await });
        }
        let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address to dial");
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(join) => last = io::Error::other(join),
            }
        }
        Err(last)
    };
    match tokio::time::timeout(limit, race).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
    }
}

/// Sets what every socket between servers has.
pub fn tune(stream: &TcpStream, keep_alive: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_keepalive(keep_alive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    Ok(())
}

/// Listens on every address a name stands for, `any` on all addresses of the machine. The port is
/// freed for others as soon as the listeners are dropped.
pub async fn listen(addresses: &[HostPort], any: bool) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for HostPort { host, port } in addresses {
        if any {
            let all = match TcpListener::bind(("::", *port)).await {
                Ok(listener) => listener,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                Err(_) => TcpListener::bind(("0.0.0.0", *port)).await?,
            };
            listeners.push(all);
        } else {
            listeners.push(TcpListener::bind((host.as_str(), *port)).await?);
        }
    }
    Ok(listeners)
}

/// The owner of spawned tasks: what is spawned here is joined here.
#[derive(Debug)]
pub struct Tasks {
    set: Mutex<JoinSet<()>>,
    runtime: Handle,
}

impl Tasks {
    /// An owner whose tasks run on `runtime`.
    pub fn new(runtime: Handle) -> Tasks {
        Tasks { set: Mutex::new(JoinSet::new()), runtime }
    }

    /// Starts a task; may be called from any thread.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut set = self.set.lock();
        while let Some(done) = set.try_join_next() {
            report(done);
        }
        set.spawn_on(task, &self.runtime)
    }

    /// Tasks that have not ended, and a few that have.
    pub fn len(&self) -> usize {
        self.set.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.set.lock().is_empty()
    }

    /// Ends every task where it waits, and waits for it.
    pub async fn shut_down(&self) {
        let mut set = std::mem::take(&mut *self.set.lock());
        set.abort_all();
        while let Some(done) = set.join_next().await {
            report(done);
        }
    }
}

/// A panic in a link's task costs that link; it is a bug all the same.
fn report(done: Result<(), tokio::task::JoinError>) {
    if let Err(error) = done
        && error.is_panic()
    {
        tracing::error!(%error, "a task between servers panicked");
    }
}

#[cfg(test)]
mod tests;
