//! Strangers at the ports between servers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{expect, resident};
use crate::harness::client::Session;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Ensemble, Kind};
use crate::harness::tools::Level;

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add(
        "abuse",
        "what_learners_send_is_neither_kept_nor_slow",
        Level::Quick,
        chatty_learners,
    );
    suite.add("abuse", "s17_s18_strangers_at_election_and_learner_ports", Level::Quick, strangers);
}

fn int(n: i32) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

fn long(n: i64) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

/// A packet between servers.
fn packet(kind: i32, zxid: i64, data: &[u8]) -> Vec<u8> {
    [int(kind), long(zxid), int(data.len() as i32), data.to_vec(), int(-1)].concat()
}

/// What a stranger may say at an election port.
fn votes() -> Vec<(&'static str, Vec<u8>)> {
    let hello = |sid: i64| {
        let address = b"127.0.0.1:1";
        [long(-65_536), long(sid), int(address.len() as i32), address.to_vec()].concat()
    };
    let vote = |state: i32, leader: i64, zxid: i64, version: i32, config: &[u8]| {
        let body = [
            int(state),
            long(leader),
            long(zxid),
            long(1 << 40),
            long(1 << 40),
            int(version),
            int(config.len() as i32),
            config.to_vec(),
        ]
        .concat();
        [int(body.len() as i32), body].concat()
    };
    let config = b"server.9=127.0.0.1:1:2:participant;127.0.0.1:3\nversion=7fffffffffff";
    vec![
        ("http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("nothing", vec![]),
        ("half a hello", hello(9)[..20].to_vec()),
        ("a negative server", hello(-5)),
        ("a hello of a terabyte", [long(-65_536), long(9), int(i32::MAX)].concat()),
        ("a member's number", hello(1)),
        ("a stranger's vote", [hello(9), vote(0, 9, i64::MAX, 2, b"")].concat()),
        ("a member's vote", [hello(1), vote(0, 9, i64::MAX, 2, config)].concat()),
        ("a newer config", [hello(9), vote(0, 9, i64::MAX, 2, config)].concat()),
        ("a leader's claim", [hello(9), vote(2, 9, i64::MAX, 2, b"")].concat()),
        ("half a vote", [hello(9), vote(0, 9, 1, 2, b"")[..30].to_vec()].concat()),
        ("a huge vote", [hello(9), int(0x7fff_ffff)].concat()),
        ("an empty vote", [hello(9), int(0)].concat()),
        ("a negative vote", [hello(9), int(-1)].concat()),
        ("a config beyond its frame", {
            let mut bytes = [hello(9), vote(0, 9, 1, 2, b"abc")].concat();
            let at = bytes.len() - 7;
            bytes[at..at + 4].copy_from_slice(&int(0x7fff_ffff));
            bytes
        }),
    ]
}

/// What a stranger may say at a learner port.
fn learners() -> Vec<(&'static str, Vec<u8>)> {
    const FOLLOWER_INFO: i32 = 11;
    const OBSERVER_INFO: i32 = 16;
    const ACK: i32 = 3;
    let info = |sid: i64| [long(sid), int(0x10000), long(0)].concat();
    let follower = |sid: i64| packet(FOLLOWER_INFO, 0, &info(sid));
    vec![
        ("http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("half a packet", follower(9)[..9].to_vec()),
        ("another packet first", packet(ACK, 0x1_0000_0001, b"")),
        ("a huge packet", [int(FOLLOWER_INFO), long(0), int(i32::MAX)].concat()),
        ("a negative packet", [int(FOLLOWER_INFO), long(0), int(-2)].concat()),
        ("short info", packet(FOLLOWER_INFO, 0, &[1, 2])),
        ("a stranger", follower(9)),
        ("a stranger's acks", [follower(9), packet(ACK, i64::MAX, b"")].concat()),
        ("a member's number", follower(1)),
        ("a member's acks", {
            let acks = (1..50).flat_map(|n| packet(ACK, 0x1_0000_0000 + n, b""));
            follower(2).into_iter().chain(acks).collect()
        }),
        ("a later epoch", packet(FOLLOWER_INFO, i64::MAX, &info(9))),
        ("an observer", packet(OBSERVER_INFO, 0, &info(77))),
        ("a newer config", packet(FOLLOWER_INFO, 0, &[long(9), int(0x10000), long(1)].concat())),
        ("requests unasked", packet(1, -1, &[0; 40])),
    ]
}

/// S17, S18: the ensemble goes on with the leader it has, under load, and no vote or acknowledgement
/// of a stranger counts.
fn strangers() -> Outcome {
    let dir = TempDir::new("abuse-members");
    let mut ensemble = Ensemble::new(&vec![Kind::Rookeeper; 3], dir.path(), &[]);
    ensemble.start()?;
    let mut session = Session::open(ensemble.members[0].address(), 30_000)?;
    expect(session.create("/n", b"", 0)? == 0, "create")?;
    let mut count = 0;
    let mut lost = 0;
    for member in 0..3 {
        let (learner, election) = ensemble.ports[member];
        let election = votes().into_iter().map(|(what, bytes)| (election, what, bytes));
        let learner = learners().into_iter().map(|(what, bytes)| (learner, what, bytes));
        for (port, what, bytes) in election.chain(learner) {
            // A member that does not lead has no learner port.
            let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
            let _ = stream.write_all(&bytes);
            let _ = stream.read(&mut [0; 4096]);
            count += 1;
            // A stranger with a member's number may take its place until that comes back.
            let mut tries = 0;
            while session.set("/n", what.as_bytes()) != Ok(0) {
                tries += 1;
                lost += 1;
                expect(tries < 100, &format!("no write after {what:?} at member {}", member + 1))?;
                std::thread::sleep(Duration::from_millis(100));
                for address in ensemble.members.iter().map(|m| m.address()) {
                    if let Ok(again) = Session::open(address, 30_000) {
                        session = again;
                        break;
                    }
                }
            }
        }
    }
    for member in &mut ensemble.members {
        expect(member.alive(), "every process is alive")?;
    }
    ensemble.wait_serving()?;
    let tails = ensemble.log_tails();
    expect(!tails.contains("panicked"), &tails)?;
    Ok(format!("{count} strangers, {lost} writes asked twice"))
}

/// A link to a leader whose learner has accepted the epoch; the epoch's zxid.
fn joined(port: u16, sid: i64) -> Result<(TcpStream, i64), Stop> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let info = [long(sid), int(0x10000), long(0)].concat();
    stream.write_all(&packet(11, 0, &info))?;
    // LEADERINFO: kind, zxid, a version of four bytes, no identities.
    let mut leader_info = [0; 24];
    stream.read_exact(&mut leader_info)?;
    let epoch = i64::from_be_bytes(leader_info[4..12].try_into().expect("eight bytes"));
    stream.write_all(&packet(18, epoch, &int(-1)))?;
    Ok((stream, epoch))
}

/// Acknowledgements without end before the synchronisation is over, and a hundred learners that send
/// a packet of many small identities bit by bit: memory stays what it was, and writes go on.
fn chatty_learners() -> Outcome {
    let dir = TempDir::new("abuse-chatty");
    let mut ensemble = Ensemble::new(&vec![Kind::Rookeeper; 3], dir.path(), &[]);
    ensemble.start()?;
    let leader = ensemble.leader().ok_or_else(|| Stop::failed("no leader"))?;
    let port = ensemble.ports[leader].0;
    let mut good = Session::open(ensemble.members[leader].address(), 30_000)?;
    expect(good.create("/n", b"", 0)? == 0, "create")?;
    let base = resident(&ensemble.members[leader])?;
    let (mut flood, epoch) = joined(port, 77)?;
    let mut acks = Vec::new();
    for n in 0..50_000 {
        acks.extend(packet(3, epoch + 1000 + n, b""));
    }
    let mut sent = 0;
    for round in 0..100 {
        // Only what others take to the end of the buffer is lost with the link.
        if flood.write_all(&acks).is_err() {
            break;
        }
        sent += 50_000;
        expect(good.set("/n", &int(round))? == 0, "a write beside the flood")?;
    }
    let grown = resident(&ensemble.members[leader])?.saturating_sub(base) / 1024;
    expect(sent >= 1_000_000, &format!("{sent} acknowledgements"))?;
    expect(grown < 30, &format!("{grown} MiB after {sent} acknowledgements"))?;
    drop(flood);
    // REQUEST without data, and the most identities there may be, all empty.
    let mut slow = [int(1), long(-1), int(-1), int(10_000)].concat();
    slow.extend(std::iter::repeat_n(int(0), 20_000).flatten());
    let mut all = Vec::new();
    for sid in 0..100 {
        let (mut stream, _) = joined(port, 1000 + sid)?;
        stream.write_all(&slow[..60_000])?;
        all.push(stream);
    }
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    for at in (60_000..61_500).step_by(3) {
        for stream in &mut all {
            // One that waits too long is closed.
            let _ = stream.write_all(&slow[at..at + 3]);
        }
        if at % 30 == 0 {
            let asked = Instant::now();
            expect(good.set("/n", &int(at as i32))? == 0, "a write beside the slow ones")?;
            longest = longest.max(asked.elapsed());
        }
    }
    expect(longest < Duration::from_secs(2), &format!("a write took {longest:?}"))?;
    let grown = resident(&ensemble.members[leader])?.saturating_sub(base) / 1024;
    expect(grown < 60, &format!("{grown} MiB"))?;
    expect(ensemble.leader() == Some(leader), "the leader leads")?;
    Ok(format!(
        "{sent} acknowledgements; the longest of 50 writes in {} ms took {} ms; {grown} MiB",
        begun.elapsed().as_millis(),
        longest.as_millis()
    ))
}
