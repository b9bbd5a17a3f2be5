//! What both ports between servers need: addresses, dialling, and an owner for tasks.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

/// How long written bytes may stay unacknowledged before the system gives a link up: a peer that
/// lost its power never says good-bye.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(15);

/// Connections that the system accepts for a port between servers before this process does.
const BACKLOG: i32 = 1024;

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

/// An address at which this process could not listen, and why.
#[derive(Debug)]
pub struct Unbound {
    /// The address, as configured.
    pub at: HostPort,
    /// What the system said.
    pub error: io::Error,
    /// The name stands for no address.
    pub unresolved: bool,
}

impl Unbound {
    /// What an operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self.error.kind() {
            _ if self.unresolved => {
                "the name must resolve on this machine (DNS or /etc/hosts), or be an address"
            }
            io::ErrorKind::AddrInUse => {
                "another program has this port: `ss -tanp` names it; stop that one, or choose \
                 another port"
            }
            io::ErrorKind::AddrNotAvailable => {
                "no network interface of this machine has that address; in a container or behind \
                 NAT quorumListenOnAllIPs=true, or for clients no clientPortAddress, listens on all"
            }
            io::ErrorKind::PermissionDenied => {
                "the system allows this port to privileged processes only: choose one above 1023, \
                 or grant CAP_NET_BIND_SERVICE"
            }
            _ => "the configuration chooses the address and the port",
        }
    }

    /// All of them with their reasons, and one hint: that of the first.
    pub fn describe(all: &[Unbound]) -> String {
        let each: Vec<String> = all.iter().map(Unbound::to_string).collect();
        let hint = all.first().map_or("no address is configured", Unbound::hint);
        format!("{}; hint: {hint}", each.join(", "))
    }
}

impl fmt::Display for Unbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.error)
    }
}

/// A port that this process has and does not listen on: who connects is refused, and the system gives
/// it to no outgoing connection. (A program that asks for just this port with `SO_REUSEADDR` gets it
/// all the same until [`Place::listen`].)
#[derive(Debug)]
pub struct Place {
    at: HostPort,
    socket: Socket,
}

impl Place {
    fn bind(at: &HostPort, address: SocketAddr) -> io::Result<Place> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        Ok(Place { at: at.clone(), socket })
    }

    /// Takes connections from now on.
    ///
    /// # Errors
    /// When another program has begun to listen there.
    pub fn listen(self, backlog: i32) -> Result<TcpListener, Unbound> {
        let Place { at, socket } = self;
        let listening = socket.listen(backlog).and_then(|()| TcpListener::from_std(socket.into()));
        listening.map_err(|error| Unbound { at, error, unresolved: false })
    }
}

/// Takes the first address that a name stands for and that is free, or, with `any`, all addresses of
/// the machine. Names are resolved now.
pub async fn place(at: &HostPort, any: bool) -> Result<Place, Unbound> {
    let unbound = |error, unresolved| Unbound { at: at.clone(), error, unresolved };
    let addresses: Vec<SocketAddr> = if any {
        let v6 = Place::bind(at, (Ipv6Addr::UNSPECIFIED, at.port).into());
        match v6 {
            Ok(place) => return Ok(place),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(unbound(error, false));
            }
            // A machine without IPv6.
            Err(_) => vec![(Ipv4Addr::UNSPECIFIED, at.port).into()],
        }
    } else {
        let resolved = tokio::net::lookup_host((at.host.as_str(), at.port)).await;
        resolved.map_err(|error| unbound(error, true))?.collect()
    };
    let mut last = unbound(io::Error::other("the name stands for no address"), true);
    for address in addresses {
        match Place::bind(at, address) {
            Ok(place) => return Ok(place),
            Err(error) => last = unbound(error, false),
        }
    }
    Err(last)
}

/// Takes each of the addresses without listening there; `any` is for all addresses of the machine,
/// where each port counts once.
pub async fn reserve(addresses: &[HostPort], any: bool) -> (Vec<Place>, Vec<Unbound>) {
    let (mut places, mut unbound) = (Vec::new(), Vec::new());
    for (i, at) in addresses.iter().enumerate() {
        if any && addresses[..i].iter().any(|before| before.port == at.port) {
            continue;
        }
        match place(at, any).await {
            Ok(place) => places.push(place),
            Err(error) => unbound.push(error),
        }
    }
    (places, unbound)
}

/// Listens at those addresses that can be had, and names the others. A port is free for others as soon
/// as its listener is dropped.
pub async fn listen(addresses: &[HostPort], any: bool) -> (Vec<TcpListener>, Vec<Unbound>) {
    let (places, unbound) = reserve(addresses, any).await;
    open(places, unbound)
}

/// Listens at these places; those where that fails join `unbound`.
pub fn open(places: Vec<Place>, mut unbound: Vec<Unbound>) -> (Vec<TcpListener>, Vec<Unbound>) {
    let mut listeners = Vec::new();
    for place in places {
        match place.listen(BACKLOG) {
            Ok(listener) => listeners.push(listener),
            Err(error) => unbound.push(error),
        }
    }
    (listeners, unbound)
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
