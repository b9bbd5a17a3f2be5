//! Observers that learn from followers (`observerMasterPort`).

use std::time::{Duration, Instant};

use super::cases::{Cluster, PATIENCE, expect, sync};
use super::{kinds, tree};
use crate::harness::client::Session;
use crate::harness::ports::{TempDir, free_port};
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::{Ensemble, Kind};

/// The observer is the last member. The port is the same everywhere, so every member has a loopback
/// address of its own.
fn start(letters: &str) -> Result<Cluster, Stop> {
    let dir = TempDir::new(&format!("masters-{letters}"));
    let mut all = kinds(&letters[..3]);
    all.push(if letters.ends_with('O') { Kind::apache() } else { Kind::Rookeeper });
    let port = free_port();
    let mut ensemble = Ensemble::new(&all, dir.path(), &[3]).line("observerMasterPort", port);
    let ports = ensemble.ports.clone();
    for member in &mut ensemble.members {
        for (j, (quorum, election)) in ports.iter().enumerate() {
            let role = if j == 3 { ":observer" } else { "" };
            let value = format!("127.0.0.{}:{quorum}:{election}{role}", j + 1);
            member.set_line(&format!("server.{}", j + 1), value);
        }
    }
    ensemble.start()?;
    Ok(Cluster { ensemble, _dir: dir })
}

/// A value of a member's `mntr`.
fn mntr(cluster: &Cluster, member: usize, key: &str) -> Result<Option<i64>, Stop> {
    let text = cluster.ensemble.members[member].four("mntr")?;
    let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('\t'));
    Ok(line.and_then(|value| value.trim().parse().ok()))
}

/// The member that the observer learns from, once it is not `old` and the observer serves.
fn master(cluster: &Cluster, old: Option<usize>) -> Result<usize, Stop> {
    let end = Instant::now() + PATIENCE;
    loop {
        let serving = cluster.ensemble.members[3].four("srvr")?.contains("Mode: observer");
        let id = mntr(cluster, 3, "zk_observer_master_id")?.filter(|_| serving);
        if let Some(master) = id.filter(|id| *id > 0).map(|id| id as usize - 1)
            && Some(master) != old
        {
            return Ok(master);
        }
        if Instant::now() > end {
            let logs = cluster.ensemble.log_tails();
            return Err(Stop::failed(format!("the observer learns from {id:?}\n{logs}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An observer learns from a follower; that one dies, it moves to the other. Sessions, writes,
/// syncs and what others write go through both.
pub fn observer_master(letters: &'static str) -> Outcome {
    let mut cluster = start(letters)?;
    let leader = cluster.leader()?;
    let first = master(&cluster, None)?;
    expect(first != leader, true, "the observer learns from a follower")?;
    let end = Instant::now() + Duration::from_secs(5);
    // The number is as old as the last ping.
    while mntr(&cluster, first, "zk_synced_observers")? != Some(1) {
        if Instant::now() > end {
            return Err(Stop::failed("the follower does not count its observer"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    expect(mntr(&cluster, leader, "zk_synced_observers")?, Some(0), "observers of the leader")?;
    let mut session = cluster.session(3)?;
    expect(session.create("/mine", b"", 1)?, 0, "an ephemeral through the follower")?;
    expect(session.create("/mine", b"", 0)?, -110, "an error through the follower")?;
    let load = cluster.load(4)?;
    let mut other = cluster.session(leader)?;
    expect(other.create("/elsewhere", b"1", 0)?, 0, "create at the leader")?;
    sync(&mut session)?;
    expect(session.get("/elsewhere")?, Ok(b"1".to_vec()), "what the leader's client wrote")?;

    // Behind by more than memory holds, and with nothing.
    for wipe in [false, true] {
        cluster.ensemble.members[3].kill9();
        if wipe {
            std::fs::remove_dir_all(cluster.ensemble.members[3].data_dir().join("version-2"))?;
        }
        load.wait_for(100, PATIENCE)?;
        cluster.restart(3)?;
    }
    let first = master(&cluster, None)?;
    let (id, passwd) = (session.connected.session, session.connected.passwd.clone());
    let zxid = session.last_zxid;
    session.abandon();
    let mut session = reopen(&cluster, zxid, id, &passwd)?;
    expect(session.set("/mine", b"2")?, 0, "the ephemeral after the observer's return")?;

    let begun = Instant::now();
    cluster.ensemble.members[first].kill9();
    let second = master(&cluster, Some(first))?;
    let moved = begun.elapsed();
    if letters.ends_with('o') {
        expect(second != leader, true, "the observer moves to the other follower")?;
    }
    let zxid = session.last_zxid;
    session.abandon();
    let mut session = reopen(&cluster, zxid, id, &passwd)?;
    expect(session.set("/mine", b"3")?, 0, "the ephemeral after the move")?;
    expect(other.set("/elsewhere", b"2")?, 0, "set at the leader")?;
    sync(&mut session)?;
    expect(session.get("/elsewhere")?, Ok(b"2".to_vec()), "what is written after the move")?;
    let result = load.wait_for(50, PATIENCE);
    cluster.explain(result)?;
    cluster.restart(first)?;
    let acknowledged = load.stop();
    session.close();
    let nodes = tree::all_equal(&mut cluster.ensemble, &acknowledged)?;
    Ok(format!("{nodes} nodes, moved in {moved:?}"))
}

fn reopen(cluster: &Cluster, zxid: i64, id: i64, passwd: &[u8]) -> Result<Session, Stop> {
    let address = cluster.ensemble.members[3].address();
    let end = Instant::now() + PATIENCE;
    loop {
        match Session::open_as(address, 30_000, zxid, id, passwd) {
            Ok(session) if session.connected.session == id => return Ok(session),
            Ok(session) => {
                let got = session.connected.session;
                return Err(Stop::failed(format!("session {id:#x} became {got:#x}")));
            }
            Err(e) if Instant::now() > end => return Err(Stop::failed(e)),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
