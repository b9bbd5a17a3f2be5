//! What must hold of any ensemble.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::load::Load;
use super::{kinds, tree};
use crate::harness::client::Session;
use crate::harness::jute::Writer;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::{Ensemble, Kind};

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A started ensemble in a directory of its own.
pub(super) struct Cluster {
    pub(super) ensemble: Ensemble,
    pub(super) _dir: TempDir,
}

impl Cluster {
    fn start(letters: &str) -> Result<Cluster, Stop> {
        let dir = TempDir::new(&format!("ensemble-{letters}"));
        let mut ensemble = Ensemble::new(&kinds(letters), dir.path(), &[]);
        ensemble.start()?;
        Ok(Cluster { ensemble, _dir: dir })
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.ensemble.members.iter().map(|m| m.address()).collect()
    }

    pub(super) fn leader(&self) -> Result<usize, Stop> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(leader) = self.ensemble.leader() {
                return Ok(leader);
            }
            if Instant::now() > end {
                return Err(Stop::failed(format!("no leader\n{}", self.ensemble.log_tails())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn session(&self, member: usize) -> Result<Session, Stop> {
        Ok(Session::open(self.ensemble.members[member].address(), 30_000)?)
    }

    /// Writers below /load.
    pub(super) fn load(&self, writers: usize) -> Result<Load, Stop> {
        let mut session = self.session(0)?;
        expect(session.create("/load", b"", 0)?, 0, "create /load")?;
        session.close();
        let load = Load::start(self.addresses(), "/load", writers);
        load.wait_for(50, PATIENCE)?;
        Ok(load)
    }

    /// With logs, when something went wrong.
    pub(super) fn explain<T>(&self, result: Result<T, String>) -> Result<T, Stop> {
        result.map_err(|e| Stop::failed(format!("{e}\n{}", self.ensemble.log_tails())))
    }

    pub(super) fn restart(&mut self, member: usize) -> Result<Duration, Stop> {
        let begun = Instant::now();
        self.ensemble.members[member].start()?;
        Ok(begun.elapsed())
    }
}

pub(super) fn expect<T: PartialEq + std::fmt::Debug>(
    got: T,
    wanted: T,
    what: &str,
) -> Result<(), Stop> {
    if got == wanted {
        Ok(())
    } else {
        Err(Stop::failed(format!("{what}: expected {wanted:?}, got {got:?}")))
    }
}

pub(super) fn sync(session: &mut Session) -> Result<(), Stop> {
    let mut w = Writer::new();
    w.string("/");
    let (err, _) = session.call(9, &w.bytes)?;
    expect(err, 0, "sync")
}

/// Forms, has one leader, takes writes anywhere, shows them everywhere.
pub fn serves(letters: &'static str) -> Outcome {
    let begun = Instant::now();
    let mut cluster = Cluster::start(letters)?;
    let formed = begun.elapsed();
    let count = cluster.ensemble.members.len();
    let modes: Vec<_> = (0..count)
        .map(|m| cluster.ensemble.members[m].four("srvr"))
        .collect::<Result<Vec<_>, _>>()?;
    let leaders = modes.iter().filter(|text| text.contains("Mode: leader")).count();
    let followers = modes.iter().filter(|text| text.contains("Mode: follower")).count();
    expect((leaders, followers), (1, count - 1), &format!("modes in {modes:#?}"))?;
    for member in 0..count {
        let mut session = cluster.session(member)?;
        let path = format!("/from-{member}");
        expect(session.create(&path, b"x", 0)?, 0, &path)?;
        expect(session.set(&path, b"y")?, 0, &path)?;
        expect(session.create(&path, b"x", 0)?, -110, "a second create")?;
        expect(session.delete("/nothing")?, -101, "delete of nothing")?;
        for flags in [2, 2] {
            expect(session.create(&format!("{path}/seq-"), b"", flags)?, 0, "sequential")?;
        }
        let children = session.children(&path)?.unwrap_or_default();
        expect(children, vec!["seq-0000000000".into(), "seq-0000000001".into()], "sequence")?;
        session.close();
    }
    for reader in 0..count {
        let mut session = cluster.session(reader)?;
        sync(&mut session)?;
        for member in 0..count {
            let data = session.get(&format!("/from-{member}"))?;
            expect(data, Ok(b"y".to_vec()), &format!("/from-{member} at {reader}"))?;
        }
        let config = session.get("/zookeeper/config")?.unwrap_or_default();
        let text = String::from_utf8_lossy(&config).into_owned();
        expect(text.matches("server.").count(), count, &format!("config {text:?}"))?;
        session.close();
    }
    let nodes = tree::all_equal(&mut cluster.ensemble, &[])?;
    Ok(format!("formed in {formed:?}, {nodes} nodes"))
}

/// A session with its ephemeral moves from member to member.
pub fn sessions_move(letters: &'static str) -> Outcome {
    let cluster = Cluster::start(letters)?;
    let count = cluster.ensemble.members.len();
    let mut session = cluster.session(0)?;
    expect(session.create("/mine", b"", 1)?, 0, "ephemeral")?;
    let (id, passwd) = (session.connected.session, session.connected.passwd.clone());
    for step in 1..2 * count {
        let zxid = session.last_zxid;
        let member = step % count;
        let address = cluster.ensemble.members[member].address();
        // A member that is still behind what the client has seen sends it away.
        let end = Instant::now() + PATIENCE;
        let mut moved = loop {
            match Session::open_as(address, 30_000, zxid, id, &passwd) {
                Ok(moved) => break moved,
                Err(e) if Instant::now() > end => return Err(Stop::failed(e)),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        expect(moved.connected.session, id, "the session after the move")?;
        expect(moved.set("/mine", b"moved")?, 0, "a write after the move")?;
        // The connection left behind is closed when it is used.
        let old = session.set("/mine", b"stale");
        if old == Ok(0) {
            return Err(Stop::failed(format!("the old connection could write at step {step}")));
        }
        session.abandon();
        session = moved;
    }
    // Wrong password, and a zxid from the future.
    let address = cluster.ensemble.members[0].address();
    let refused = Session::open_as(address, 30_000, 0, id, &[1; 16])?;
    expect(refused.connected.session, 0, "a wrong password")?;
    if Session::open_as(address, 30_000, i64::MAX, id, &passwd).is_ok() {
        return Err(Stop::failed("a member that is behind the client took it"));
    }
    let mut other = cluster.session(count - 1)?;
    sync(&mut other)?;
    expect(other.get("/mine")?, Ok(b"moved".to_vec()), "the ephemeral")?;
    session.close();
    sync(&mut other)?;
    expect(other.get("/mine")?, Err(-101), "the ephemeral after the close")?;
    Ok(String::new())
}

/// kill -9 of the leader under load: the time until writes go on, nothing lost, it comes back.
pub fn leader_killed(letters: &'static str) -> Outcome {
    let mut cluster = Cluster::start(letters)?;
    let load = cluster.load(4)?;
    let mut remarks = Vec::new();
    for _ in 0..2 {
        let leader = cluster.leader()?;
        let result = load.wait_for(50, PATIENCE);
        cluster.explain(result)?;
        load.reset_gap();
        cluster.ensemble.members[leader].kill9();
        let result = load.wait_for(100, PATIENCE);
        cluster.explain(result)?;
        let gap = load.longest_gap();
        let back = cluster.restart(leader)?;
        remarks.push(format!("no writes for {gap:?}, rejoined in {back:?}"));
    }
    let result = load.wait_for(50, PATIENCE);
    cluster.explain(result)?;
    let lost = load.seen().sessions_lost.load(std::sync::atomic::Ordering::Relaxed);
    let acknowledged = load.stop();
    expect(lost, 0, "sessions lost")?;
    tree::all_equal(&mut cluster.ensemble, &acknowledged)?;
    Ok(remarks.join("; "))
}

/// kill -9 of each follower in turn under load.
pub fn follower_killed(letters: &'static str) -> Outcome {
    let mut cluster = Cluster::start(letters)?;
    let load = cluster.load(4)?;
    let leader = cluster.leader()?;
    for member in (0..cluster.ensemble.members.len()).filter(|m| *m != leader) {
        cluster.ensemble.members[member].kill9();
        let result = load.wait_for(100, PATIENCE);
        cluster.explain(result)?;
        cluster.restart(member)?;
    }
    expect(cluster.leader()?, leader, "the leader stays")?;
    let lost = load.seen().sessions_lost.load(std::sync::atomic::Ordering::Relaxed);
    let acknowledged = load.stop();
    expect(lost, 0, "sessions lost")?;
    let nodes = tree::all_equal(&mut cluster.ensemble, &acknowledged)?;
    Ok(format!("{} acknowledged, {nodes} nodes", acknowledged.len()))
}

/// SIGTERM of the leader: the others take over at once.
pub fn leader_terminated(letters: &'static str) -> Outcome {
    let mut cluster = Cluster::start(letters)?;
    let load = cluster.load(2)?;
    let leader = cluster.leader()?;
    load.reset_gap();
    cluster.ensemble.members[leader].stop();
    let result = load.wait_for(50, PATIENCE);
    cluster.explain(result)?;
    let gap = load.longest_gap();
    cluster.restart(leader)?;
    let acknowledged = load.stop();
    tree::all_equal(&mut cluster.ensemble, &acknowledged)?;
    Ok(format!("no writes for {gap:?}"))
}

/// SIGSTOP of the leader: only its silence tells. Where all are ours, three seconds are enough; when
/// it wakes it finds that it leads nobody.
pub fn leader_stopped(letters: &'static str) -> Outcome {
    let mut cluster = Cluster::start(letters)?;
    let ours = letters.chars().all(|l| l == 'r');
    let leader = cluster.leader()?;
    let mut session = cluster.session(leader)?;
    expect(session.create("/load", b"", 0)?, 0, "create /load")?;
    session.close();
    // A client of the stopped one would wait for it.
    let mut others = cluster.addresses();
    others.remove(leader);
    let load = Load::start(others, "/load", 2);
    load.wait_for(50, PATIENCE)?;
    load.reset_gap();
    cluster.ensemble.members[leader].signal(Signal::STOP);
    let result = load.wait_for(50, PATIENCE);
    let gap = load.longest_gap();
    cluster.ensemble.members[leader].signal(Signal::CONT);
    cluster.explain(result)?;
    if ours && gap > Duration::from_secs(4) {
        return Err(Stop::failed(format!("no writes for {gap:?}")));
    }
    // For a moment it may still believe that it leads.
    let end = Instant::now() + PATIENCE;
    while !cluster.ensemble.members[leader].four("srvr")?.contains("Mode: follower") {
        if Instant::now() > end {
            return Err(Stop::failed(format!("does not follow\n{}", cluster.ensemble.log_tails())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let acknowledged = load.stop();
    tree::all_equal(&mut cluster.ensemble, &acknowledged)?;
    Ok(format!("no writes for {gap:?}"))
}

/// kill -9 of all at the same time, under load, twice.
pub fn all_killed(letters: &'static str) -> Outcome {
    let mut cluster = Cluster::start(letters)?;
    let load = cluster.load(4)?;
    for _ in 0..2 {
        for member in &mut cluster.ensemble.members {
            member.kill9();
        }
        cluster.ensemble.start()?;
        let result = load.wait_for(50, PATIENCE);
        cluster.explain(result)?;
    }
    let lost = load.seen().sessions_lost.load(std::sync::atomic::Ordering::Relaxed);
    let acknowledged = load.stop();
    expect(lost, 0, "sessions lost")?;
    let nodes = tree::all_equal(&mut cluster.ensemble, &acknowledged)?;
    Ok(format!("{} acknowledged, {nodes} nodes", acknowledged.len()))
}

/// Without a quorum nobody serves; with one again, all do.
pub fn quorum_lost(letters: &'static str) -> Outcome {
    let mut cluster = Cluster::start(letters)?;
    let mut session = cluster.session(0)?;
    expect(session.create("/before", b"", 0)?, 0, "create")?;
    let count = cluster.ensemble.members.len();
    for member in &mut cluster.ensemble.members[1..] {
        has_a_log(&member.data_dir())?;
        member.kill9();
    }
    let end = Instant::now() + PATIENCE;
    let silent = "This ZooKeeper instance is not currently serving requests";
    loop {
        let text = cluster.ensemble.members[0].four("srvr")?;
        if text.trim() == silent {
            break;
        }
        if Instant::now() > end {
            return Err(Stop::failed(format!("still serves alone: {text:?}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if session.create("/alone", b"", 0) == Ok(0) {
        return Err(Stop::failed("a write without a quorum"));
    }
    for member in 1..count {
        cluster.ensemble.members[member].launch()?;
    }
    cluster.ensemble.wait_serving()?;
    let mut session = cluster.session(0)?;
    expect(session.create("/after", b"", 0)?, 0, "create")?;
    expect(session.get("/before")?.is_ok(), true, "what was there before")?;
    tree::all_equal(&mut cluster.ensemble, &["/before".into(), "/after".into()])?;
    Ok(String::new())
}

/// Waits for the first log's header: Apache does not start again on a log that was killed before it
/// had one (ZOOKEEPER-1621).
fn has_a_log(data: &std::path::Path) -> Result<(), Stop> {
    const HEADER: u64 = 16;
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let entries = std::fs::read_dir(data.join("version-2"))?;
        let mut logs =
            entries.flatten().filter(|e| e.file_name().as_encoded_bytes().starts_with(b"log."));
        if logs.any(|log| log.metadata().is_ok_and(|m| m.len() > HEADER)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Stop::failed("a member that writes no log"))
}

/// A member that lost its disk gets everything again.
pub fn wiped_member(letters: &'static str) -> Outcome {
    let mut cluster = Cluster::start(letters)?;
    let load = cluster.load(4)?;
    let leader = cluster.leader()?;
    let victim = (leader + 1) % cluster.ensemble.members.len();
    cluster.ensemble.members[victim].kill9();
    let data = cluster.ensemble.members[victim].data_dir();
    std::fs::remove_dir_all(data.join("version-2"))?;
    let result = load.wait_for(200, PATIENCE);
    cluster.explain(result)?;
    let took = cluster.restart(victim)?;
    let result = load.wait_for(50, PATIENCE);
    cluster.explain(result)?;
    let acknowledged = load.stop();
    let nodes = tree::all_equal(&mut cluster.ensemble, &acknowledged)?;
    // What it got is on its disk.
    cluster.ensemble.members[victim].kill9();
    cluster.restart(victim)?;
    tree::all_equal(&mut cluster.ensemble, &acknowledged)?;
    Ok(format!("{nodes} nodes, back in {took:?}"))
}

/// A member whose log is damaged in its middle does not vote on the rest: it comes back with all of
/// a leader's history.
pub fn damaged_member(letters: &'static str) -> Outcome {
    let mut cluster = Cluster::start(letters)?;
    let load = cluster.load(4)?;
    let leader = cluster.leader()?;
    let ours = |m: &usize| *m != leader && cluster.ensemble.members[*m].kind == Kind::Rookeeper;
    let victim = (0..cluster.ensemble.members.len()).find(ours);
    let victim = victim.ok_or(Stop::skip("the only rookeeper leads"))?;
    let result = load.wait_for(200, PATIENCE);
    cluster.explain(result)?;
    cluster.ensemble.members[victim].kill9();
    let dir = cluster.ensemble.members[victim].data_dir().join("version-2");
    let mut damaged = 0;
    for entry in std::fs::read_dir(&dir)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("log.")) {
            let mut bytes = std::fs::read(&path)?;
            bytes[400..408].fill(0xff);
            std::fs::write(&path, bytes)?;
            damaged += 1;
        }
    }
    expect(damaged > 0, true, "a log to damage")?;
    let took = cluster.restart(victim)?;
    let aside = std::fs::read_dir(&dir)?
        .flatten()
        .any(|e| e.file_name().to_string_lossy().starts_with("damaged-"));
    expect(aside, true, "the files are set aside")?;
    expect(dir.join("resyncRequired").exists(), false, "the mark is gone")?;
    let acknowledged = load.stop();
    let nodes = tree::all_equal(&mut cluster.ensemble, &acknowledged)?;
    Ok(format!("{nodes} nodes, back in {took:?}"))
}

/// A member that missed more than the leader's memory holds.
pub fn far_behind(letters: &'static str) -> Outcome {
    let mut cluster = Cluster::start(letters)?;
    let load = cluster.load(4)?;
    let leader = cluster.leader()?;
    let victim = (leader + 1) % cluster.ensemble.members.len();
    cluster.ensemble.members[victim].kill9();
    let result = load.wait_for(1500, PATIENCE);
    cluster.explain(result)?;
    let took = cluster.restart(victim)?;
    let acknowledged = load.stop();
    let nodes = tree::all_equal(&mut cluster.ensemble, &acknowledged)?;
    Ok(format!("{nodes} nodes, back in {took:?}"))
}

/// A session that nobody uses ends with its ephemeral; one that is only used for reads and pings at
/// a follower does not, not even across a change of the leader.
pub fn sessions_expire(letters: &'static str) -> Outcome {
    let mut cluster = Cluster::start(letters)?;
    let leader = cluster.leader()?;
    let follower = (leader + 1) % cluster.ensemble.members.len();
    let address = cluster.ensemble.members[follower].address();
    let mut used = Session::open(address, 4_000)?;
    let mut idle = Session::open(address, 4_000)?;
    expect(used.create("/used", b"", 1)?, 0, "ephemeral")?;
    expect(idle.create("/idle", b"", 1)?, 0, "ephemeral")?;
    let begun = Instant::now();
    idle.abandon();
    let end = begun + Duration::from_secs(30);
    while used.get("/idle")?.is_ok() {
        if Instant::now() > end {
            return Err(Stop::failed("an abandoned session lives on"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let expired = begun.elapsed();
    if expired < Duration::from_millis(3_900) {
        return Err(Stop::failed(format!("expired too early, after {expired:?}")));
    }
    let (id, passwd) = (used.connected.session, used.connected.passwd.clone());
    cluster.ensemble.members[leader].kill9();
    let end = Instant::now() + PATIENCE;
    let mut again = loop {
        match Session::open_as(address, 4_000, used.last_zxid, id, &passwd) {
            Ok(session) => break session,
            Err(e) if Instant::now() > end => return Err(Stop::failed(e)),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    expect(again.connected.session, id, "the session after the leader's death")?;
    expect(again.get("/used")?.is_ok(), true, "its ephemeral")?;
    Ok(format!("idle session of 4 s gone after {expired:?}"))
}

/// The last member observes: `o` a rookeeper, `O` an Apache.
pub fn observer(letters: &'static str) -> Outcome {
    let dir = TempDir::new(&format!("ensemble-{letters}"));
    let mut all = kinds(&letters[..3]);
    all.push(if letters.ends_with('O') { Kind::apache() } else { Kind::Rookeeper });
    let mut ensemble = Ensemble::new(&all, dir.path(), &[3]);
    ensemble.start()?;
    let mut cluster = Cluster { ensemble, _dir: dir };
    let text = cluster.ensemble.members[3].four("srvr")?;
    expect(text.contains("Mode: observer"), true, &text)?;
    let load = cluster.load(4)?;
    let mut session = cluster.session(3)?;
    expect(session.create("/through-observer", b"", 1)?, 0, "create")?;
    // It comes back by a difference, then by a snapshot.
    cluster.ensemble.members[3].kill9();
    load.wait_for(100, PATIENCE)?;
    cluster.restart(3)?;
    cluster.ensemble.members[3].kill9();
    std::fs::remove_dir_all(cluster.ensemble.members[3].data_dir().join("version-2"))?;
    load.wait_for(100, PATIENCE)?;
    cluster.restart(3)?;
    // Observers don't count: two of three voters are a quorum, one is none.
    let leader = cluster.leader()?;
    cluster.ensemble.members[leader].kill9();
    let result = load.wait_for(100, PATIENCE);
    cluster.explain(result)?;
    cluster.restart(leader)?;
    let acknowledged = load.stop();
    let nodes = tree::all_equal(&mut cluster.ensemble, &acknowledged)?;
    Ok(format!("{nodes} nodes"))
}
