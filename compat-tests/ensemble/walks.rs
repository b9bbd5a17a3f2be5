//! Learners that need the whole tree: several at once, some that never read, while the leader writes
//! snapshots of its own all the time.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{failed, same_trees};
use crate::harness::client::Session;
use crate::harness::jute::Writer;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Ensemble, Kind};
use crate::harness::tools::Level;

/// Nodes of the tree, of so many bytes each.
const NODES: usize = 64;
const NODE_BYTES: usize = 900_000;
/// Who leads, by its place among the members.
const LEADER: usize = 2;
/// Strangers on the learner port.
const STRANGERS: usize = 8;
/// What the leader's memory may grow by meanwhile, KiB: one tree of 58 MB, where each of eleven learners
/// cost one.
const GROWTH_MAX: u64 = (NODES * NODE_BYTES / 1024) as u64;

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("ensemble", "learners_at_once_while_snapshots_are_written", Level::Quick, at_once);
}

/// The epoch that a server is in, by the zxid that `srvr` shows.
fn epoch(ensemble: &Ensemble, member: usize) -> Result<u64, Stop> {
    let text = ensemble.members[member].four("srvr")?;
    let zxid = text.lines().find_map(|line| line.strip_prefix("Zxid: 0x"));
    let zxid = zxid.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    zxid.map(|zxid| zxid >> 32).ok_or_else(|| Stop::failed(format!("no zxid in {text}")))
}

/// An observer without an id that asks for a snapshot, takes the first of it, and reads no further.
fn stranger(port: u16) -> std::io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    // OBSERVERINFO: id, protocol, version of the config.
    let mut info = Writer::new();
    info.long(i64::MAX).int(0x10000).long(0);
    let mut hello = Writer::new();
    hello.int(16).long(0).buffer(Some(&info.bytes)).int(-1);
    stream.write_all(&hello.bytes)?;
    // LEADERINFO: kind, zxid, four bytes of protocol, no identities.
    let mut answer = [0; 4 + 8 + 4 + 4 + 4];
    stream.read_exact(&mut answer)?;
    let mut ack = Writer::new();
    ack.int(18).long(-1).buffer(Some(&[0; 4])).int(-1);
    stream.write_all(&ack.bytes)?;
    // SNAP.
    stream.read_exact(&mut [0; 20])?;
    Ok(stream)
}

/// Writes until `done` says so; how many writes were acknowledged.
fn write_until(
    session: &mut Session,
    mut done: impl FnMut() -> Result<bool, Stop>,
) -> Result<usize, Stop> {
    let (mut written, end) = (0, Instant::now() + Duration::from_secs(90));
    while !done()? {
        session.set("/counter", format!("{written}").as_bytes())?;
        written += 1;
        if Instant::now() > end {
            return Err(Stop::failed("an observer does not serve".to_owned()));
        }
    }
    Ok(written)
}

fn at_once() -> Outcome {
    let dir = TempDir::new("walks");
    let mut ensemble = Ensemble::new(&vec![Kind::Rookeeper; 5], dir.path(), &[3, 4]);
    // The leader writes a snapshot every few dozen
    // writes, each of which takes longer than those: one after the other.
    let often = ("zookeeper.snapCount".to_owned(), "20".to_owned());
    ensemble.members[LEADER].properties.push(often);
    for member in &mut ensemble.members {
        // Nobody gets the tree as a difference.
        member.properties.push(("zookeeper.forceSnapshotSync".to_owned(), "true".to_owned()));
        // Among ourselves a quarter of it: a busy machine may take a second or two from anybody.
        member.set_line("syncLimit", 24);
    }
    // Of the first two the leader-to-be has the higher id.
    for voters in [vec![0, LEADER], vec![1]] {
        for voter in voters {
            ensemble.members[voter].launch()?;
        }
        ensemble.wait_serving()?;
    }
    let leader = ensemble.leader().ok_or_else(|| failed(&ensemble, "no leader"))?;
    if leader != LEADER {
        return Err(failed(&ensemble, &format!("server {} leads", leader + 1)));
    }
    let mut session = Session::open(ensemble.members[leader].address(), 20_000)?;
    for n in 0..NODES {
        let code = session.create(&format!("/node-{n}"), &vec![n as u8; NODE_BYTES], 0)?;
        if code != 0 {
            return Err(failed(&ensemble, &format!("create gives {code}")));
        }
    }
    session.create("/counter", b"", 0)?;
    let resident = |ensemble: &Ensemble| ensemble.members[leader].resident();
    let (began_in, before) = (epoch(&ensemble, leader)?, resident(&ensemble)?);
    let mut most = before;

    // Two observers with nothing, at once.
    for observer in &mut ensemble.members[3..] {
        observer.launch()?;
    }
    let addresses = [ensemble.members[3].address(), ensemble.members[4].address()];
    let serves = |n: usize| crate::harness::four::mode(addresses[n]).is_some();
    let mut written = write_until(&mut session, || {
        most = most.max(resident(&ensemble)?);
        Ok(serves(0) && serves(1))
    })?;

    // Strangers that hold what they asked for; then an observer that has lost everything.
    let port = ensemble.ports[leader].0;
    let mut held = Vec::new();
    for n in 0..STRANGERS {
        let stream = stranger(port)
            .map_err(|e| failed(&ensemble, &format!("stranger {n} gets no snapshot: {e}")))?;
        held.push(stream);
        written += write_until(&mut session, || {
            most = most.max(resident(&ensemble)?);
            Ok(true)
        })?;
    }
    ensemble.members[4].kill9();
    std::fs::remove_dir_all(ensemble.members[4].data_dir().join("version-2"))?;
    ensemble.members[4].launch()?;
    written += write_until(&mut session, || {
        most = most.max(resident(&ensemble)?);
        Ok(serves(1))
    })?;
    drop(held);
    session.close();
    let ended_in = epoch(&ensemble, leader)?;
    if ended_in != began_in || ensemble.leader() != Some(leader) {
        return Err(failed(&ensemble, &format!("epoch {began_in} became {ended_in}")));
    }
    let grown = most.saturating_sub(before);
    if grown > GROWTH_MAX {
        return Err(failed(&ensemble, &format!("the leader has grown by {grown} KiB")));
    }
    same_trees(&mut ensemble)?;
    Ok(format!("epoch {ended_in}, {written} writes, the leader grew by {} MB", grown >> 10))
}
