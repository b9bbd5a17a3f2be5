//! Recordings of the election port and the learner port of an Apache ensemble.
//!
//! Between every two members stand two proxies, one for each port, so it is known who speaks.

use std::net::SocketAddr;
use std::time::Duration;

use super::annotate::{self, Message};
use super::folder;
use crate::harness::apache;
use crate::harness::client::Session;
use crate::harness::jute::Writer;
use crate::harness::ports::{TempDir, free_port};
use crate::harness::proxy::{Passed, Proxy, Tape};
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::{Ensemble, Kind, Server};

struct Route {
    from: usize,
    to: usize,
    election: bool,
    proxy: Proxy,
}

struct Recorded {
    ensemble: Ensemble,
    routes: Vec<Route>,
    _dir: TempDir,
}

impl Recorded {
    fn new(
        count: usize,
        observers: &[usize],
        properties: &[(&str, &str)],
    ) -> Result<Recorded, Stop> {
        let dir = TempDir::new("wire");
        let kinds = vec![Kind::apache(); count];
        let ports: Vec<(u16, u16)> = (0..count).map(|_| (free_port(), free_port())).collect();
        let mut table = vec![vec![(0u16, 0u16); count]; count];
        let mut routes = Vec::new();
        for from in 0..count {
            for to in 0..count {
                if from == to {
                    continue;
                }
                table[from][to] = (free_port(), free_port());
                for election in [false, true] {
                    let (here, there) = if election {
                        (table[from][to].1, ports[to].1)
                    } else {
                        (table[from][to].0, ports[to].0)
                    };
                    let proxy = Proxy::start(here, SocketAddr::from(([127, 0, 0, 1], there)))?;
                    routes.push(Route { from, to, election, proxy });
                }
            }
        }
        let mut ensemble =
            Ensemble::with_routes(&kinds, dir.path(), observers, &ports, |i, j| table[i][j]);
        for member in &mut ensemble.members {
            for (key, value) in properties {
                member.properties.retain(|(k, _)| k != key);
                member.properties.push((key.to_string(), value.to_string()));
            }
        }
        Ok(Recorded { ensemble, routes, _dir: dir })
    }

    /// Forgets what passed so far.
    fn forget(&self) {
        for route in &self.routes {
            route.proxy.take();
        }
    }

    /// Writes what passed on one kind of port since the last call; `only` picks members by id.
    fn write(&self, name: &str, what: &str, only: &[usize]) -> Result<(), Stop> {
        std::thread::sleep(Duration::from_millis(300));
        for election in [true, false] {
            let port = if election { "election" } else { "learner" };
            let mut text = format!(
                "# {what}\n# Apache ZooKeeper {}, {} members, {port} port; recorded through a proxy per pair of members.\n\
                 # '>' from the member that dialled, '<' from the one that listens.\n",
                apache::REFERENCE,
                self.ensemble.members.len()
            );
            let mut any = false;
            for route in self.routes.iter().filter(|r| r.election == election) {
                let wanted = only.is_empty()
                    || only.contains(&(route.from + 1))
                    || only.contains(&(route.to + 1));
                let tape = route.proxy.take();
                if !wanted {
                    continue;
                }
                let connections: std::collections::BTreeSet<usize> =
                    tape.iter().map(|e| e.connection).collect();
                for connection in connections {
                    let messages = cut(&tape, connection, election);
                    if messages.is_empty() {
                        continue;
                    }
                    any = true;
                    text.push_str(&format!(
                        "\nmember {} dials member {}, connection {connection}\n",
                        route.from + 1,
                        route.to + 1
                    ));
                    text.push_str(&annotate::print(&messages));
                }
            }
            if any {
                std::fs::create_dir_all(folder(port))?;
                std::fs::write(folder(port).join(format!("{name}.txt")), text)?;
            }
        }
        Ok(())
    }

    fn member(&mut self, id: usize) -> &mut Server {
        &mut self.ensemble.members[id - 1]
    }

    fn session(&mut self, id: usize) -> Result<Session, Stop> {
        let address = self.member(id).address();
        Ok(Session::open(address, 10000)?)
    }

    fn leader(&self) -> Result<usize, Stop> {
        let index = self.ensemble.leader();
        index
            .map(|i| i + 1)
            .ok_or_else(|| Stop::failed(format!("no leader\n{}", self.ensemble.log_tails())))
    }
}

fn cut(tape: &[crate::harness::proxy::Entry], connection: usize, election: bool) -> Vec<Message> {
    let mut messages = Vec::new();
    // Whether the piece starts a connection or goes on with one from before.
    let starts =
        tape.iter().any(|e| e.connection == connection && matches!(e.passed, Passed::Open));
    let mut hello_seen = !starts;
    let mut in_snapshot = false;
    for entry in tape.iter().filter(|e| e.connection == connection) {
        let (forth, bytes) = match &entry.passed {
            Passed::Forth(bytes) => (true, bytes),
            Passed::Back(bytes) => (false, bytes),
            _ => continue,
        };
        if election {
            messages.extend(annotate::election(forth, bytes, &mut hello_seen));
        } else {
            messages.extend(annotate::learner(forth, bytes, &mut in_snapshot));
        }
    }
    messages
}

/// Makes all recordings.
pub fn record() -> Outcome {
    crate::harness::tools::need("java")?;
    main_scenarios()?;
    snapshot_and_observer()?;
    truncation(
        false,
        "restart-trunc",
        "The old leader comes back with transactions that were never committed, before anything \
         new is: TRUNC.",
    )?;
    truncation(
        true,
        "restart-diverged",
        "The old leader comes back with transactions that were never committed, after new ones \
         were: SNAP, for the new leader's memory begins behind the fork.",
    )?;
    Ok(String::new())
}

fn main_scenarios() -> Result<(), Stop> {
    let mut net = Recorded::new(3, &[], &[])?;
    net.ensemble.start()?;
    let leader = net.leader()?;
    let followers: Vec<usize> = (1..=3).filter(|i| *i != leader).collect();
    net.write("start", "Three members start on empty directories and elect.", &[])?;

    // Writes through a follower and through the leader; a sync; a failed write; a multi.
    let mut s = net.session(followers[0])?;
    s.create("/a", b"1", 0)?;
    s.create("/e", b"", 1)?;
    s.create("/s-", b"", 2)?;
    s.set("/a", b"2")?;
    s.set("/none", b"2")?;
    s.delete("/a")?;
    let mut w = Writer::new();
    w.int(-1).bool(true).int(-1);
    s.call(14, &w.bytes)?;
    let mut w = Writer::new();
    w.int(0).string("digest").buffer(Some(b"bob:pw"));
    s.call(100, &w.bytes)?;
    s.create("/as-bob", b"", 0)?;
    let mut direct = net.session(leader)?;
    direct.create("/b", b"1", 0)?;
    direct.close();
    net.write("writes", "Writes through a follower and through the leader.", &followers[..1])?;
    let mut w = Writer::new();
    w.string("/a");
    s.call(9, &w.bytes)?;
    net.write("sync", "A client of a follower asks for sync.", &followers[..1])?;

    // The session moves from one follower to the other, then a false password.
    let (id, passwd, zxid) = (s.connected.session, s.connected.passwd.clone(), s.last_zxid);
    s.abandon();
    let other = net.member(followers[1]).address();
    let moved = Session::open_as(other, 10000, zxid, id, &passwd)?;
    net.write("revalidate", "A session moves to the other follower.", &followers[1..])?;
    moved.close();
    let refused = Session::open_as(other, 10000, 0, id, &passwd)?;
    refused.abandon();
    net.write(
        "revalidate-refused",
        "The session is closed; a renewal of it is refused.",
        &followers[1..],
    )?;

    // A follower stops, writes happen, it comes back and is sent the difference.
    let stopped = followers[0];
    net.member(stopped).stop();
    let mut s = net.session(leader)?;
    for i in 0..5 {
        s.create(&format!("/diff{i}"), b"x", 0)?;
    }
    s.close();
    net.forget();
    net.member(stopped).launch()?;
    net.member(stopped).wait_serving(Duration::from_secs(60))?;
    net.write("restart-diff", "A follower that missed five writes comes back: DIFF.", &[stopped])?;
    net.member(stopped).stop();
    net.forget();
    net.member(stopped).launch()?;
    net.member(stopped).wait_serving(Duration::from_secs(60))?;
    net.write(
        "restart-same",
        "A follower that missed nothing comes back: DIFF, empty.",
        &[stopped],
    )?;

    // The leader stops; the others elect another.
    net.forget();
    net.member(leader).kill9();
    net.ensemble.wait_serving()?;
    net.write("leader-lost", "The leader is killed; the other two elect a new one.", &[])?;
    let mut s = net.session(stopped)?;
    s.create("/new-epoch", b"x", 0)?;
    s.close();
    net.forget();
    net.member(leader).launch()?;
    net.member(leader).wait_serving(Duration::from_secs(60))?;
    net.write("old-leader-returns", "The killed leader comes back as a follower.", &[leader])?;
    Ok(())
}

fn snapshot_and_observer() -> Result<(), Stop> {
    // No history is read from disk, and memory holds 500 transactions (less cannot be set), so who
    // is farther behind needs a snapshot.
    let properties = [("zookeeper.snapshotSizeFactor", "-1")];
    let mut net = Recorded::new(4, &[3], &properties)?;
    for id in 1..=3 {
        net.member(id).launch()?;
    }
    net.ensemble.wait_serving()?;
    let leader = net.leader()?;
    let mut s = net.session(leader)?;
    s.create("/a", b"1", 0)?;
    net.forget();
    net.member(4).launch()?;
    net.member(4).wait_serving(Duration::from_secs(60))?;
    net.write("observer-joins", "An observer joins an ensemble of three.", &[4])?;
    s.create("/b", b"1", 0)?;
    s.set("/b", b"2")?;
    let mut o = net.session(4)?;
    o.create("/from-observer", b"", 0)?;
    let mut w = Writer::new();
    w.string("/");
    o.call(9, &w.bytes)?;
    o.close();
    net.write(
        "observer-writes",
        "INFORM of writes; a write and a sync through the observer.",
        &[4],
    )?;
    let behind = (1..=3).find(|i| *i != leader).expect("two others");
    net.member(behind).stop();
    for i in 0..520 {
        s.set("/b", format!("{i}").as_bytes())?;
    }
    s.create("/ephemeral", b"", 1)?;
    net.forget();
    net.member(behind).launch()?;
    net.member(behind).wait_serving(Duration::from_secs(60))?;
    net.write("restart-snap", "A follower that is too far behind comes back: SNAP.", &[behind])?;
    s.close();
    Ok(())
}

fn truncation(write_first: bool, name: &str, what: &str) -> Result<(), Stop> {
    let mut net = Recorded::new(3, &[], &[])?;
    net.ensemble.start()?;
    let leader = net.leader()?;
    let followers: Vec<usize> = (1..=3).filter(|i| *i != leader).collect();
    let mut s = net.session(leader)?;
    for i in 0..5 {
        s.create(&format!("/before{i}"), b"x", 0)?;
    }
    // The followers are halted, so what the leader logs now is never committed.
    for id in &followers {
        crate::harness::process::signal(
            net.member(*id).pid().unwrap_or(0),
            rustix::process::Signal::STOP,
        );
    }
    let address = net.member(leader).address();
    std::thread::spawn(move || {
        if let Ok(mut lonely) = Session::open(address, 10000) {
            let _ = lonely.create("/lost", b"x", 0);
        }
    });
    let _ = s.send_create("/lost", b"x");
    std::thread::sleep(Duration::from_millis(700));
    for id in 1..=3 {
        net.member(id).kill9();
    }
    for id in &followers {
        net.member(*id).launch()?;
    }
    net.ensemble.wait_serving()?;
    if write_first {
        let mut s = net.session(followers[0])?;
        s.create("/after", b"x", 0)?;
        s.close();
    }
    net.forget();
    net.member(leader).launch()?;
    net.member(leader).wait_serving(Duration::from_secs(60))?;
    net.write(name, what, &[leader])?;
    Ok(())
}

/// Every recording reads back to the bytes it was made from, and cuts into whole messages.
pub fn check() -> Outcome {
    let mut count = 0;
    for port in ["election", "learner"] {
        let entries = std::fs::read_dir(folder(port))
            .map_err(|e| Stop::failed(format!("fixtures/wire/{port}: {e}")))?;
        for path in entries.flatten().map(|e| e.path()) {
            let text = std::fs::read_to_string(&path)?;
            for part in text.split("\nmember ").skip(1) {
                for m in annotate::parse(part) {
                    let again = if port == "election" {
                        annotate::election(m.forth, &m.bytes, &mut !m.remark.starts_with("hello"))
                    } else {
                        let mut inside = m.remark.starts_with("snapshot");
                        annotate::learner(m.forth, &m.bytes, &mut inside)
                    };
                    if again.len() != 1 || again[0] != m {
                        return Err(Stop::failed(format!("{}: {m:?}", path.display())));
                    }
                    count += 1;
                }
            }
        }
    }
    Ok(format!("{count} messages"))
}

/// Keeps the type in use for readers of this file.
pub type Recording = Tape;
