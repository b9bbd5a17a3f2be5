//! The log as an operator reads it: what became of sessions and members, by number, with the reason.

use std::time::{Duration, Instant};

use crate::harness::client::Session;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Ensemble, Kind, Server};
use crate::harness::tools::Level;

const PATIENCE: Duration = Duration::from_secs(60);

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("logs", "sessions_end_with_a_line", Level::Quick, sessions);
    suite.add("logs", "sizes_of_replies_are_shown", Level::Quick, sizes);
    suite.add("logs", "members_come_and_go_with_a_line", Level::Quick, members);
}

/// Waits until a line of a server's log holds all `parts`.
fn wait_for(server: &Server, parts: &[&str]) -> Result<(), Stop> {
    let end = Instant::now() + PATIENCE;
    loop {
        let log = std::fs::read_to_string(server.dir.join("server.log")).unwrap_or_default();
        if log.lines().any(|line| parts.iter().all(|part| line.contains(part))) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(Stop::failed(format!("no line with {parts:?}\n{log}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A session that is closed, one that expires, one that moves to another connection, one that is
/// refused; then the end of the server.
fn sessions() -> Outcome {
    let dir = TempDir::new("log-sessions");
    let mut server = Server::new(Kind::Rookeeper, dir.path())
        .line("tickTime", 200)
        .line("maxSessionTimeout", 800);
    server.start()?;
    let open = || Session::open(server.address(), 800).map_err(Stop::Failed);
    let mut closed = open()?;
    closed.create("/owned", b"", 1)?;
    let id = |session: &Session| format!("0x{:x}", session.connected.session);
    let (closed_id, mut silent) = (id(&closed), open()?);
    silent.create("/silent", b"", 1)?;
    let silent_id = id(&silent);
    closed.close();
    wait_for(&server, &[&closed_id, "closed by its client", "127.0.0.1", "1 ephemeral znode"])?;
    let first = open()?;
    let (moved, passwd) = (first.connected.session, first.connected.passwd.clone());
    let again = Session::open_as(server.address(), 800, 0, moved, &passwd).map_err(Stop::Failed)?;
    wait_for(&server, &[&format!("0x{moved:x}"), "127.0.0.1", "renewed on another connection"])?;
    silent.abandon();
    wait_for(&server, &[&silent_id, "expired", "800 ms", "1 ephemeral znode"])?;
    let mntr = server.four("mntr")?;
    if mntr.contains("zk_stale_sessions_expired\t0\n") || !mntr.contains("zk_cnt_dbinittime\t1\n") {
        return Err(Stop::failed(format!("not counted:\n{mntr}")));
    }
    let wrong =
        Session::open_as(server.address(), 800, 0, moved, &[1; 16]).map_err(Stop::Failed)?;
    if wrong.connected.session != 0 {
        return Err(Stop::failed("a wrong password opened a session"));
    }
    wait_for(&server, &[&format!("0x{moved:x}"), "127.0.0.1", "password is wrong"])?;
    drop((first, again));
    if !server.stop() {
        return Err(Stop::failed("the server does not stop"));
    }
    wait_for(&server, &["stopped"])?;
    Ok("closed, moved, expired, refused, stopped".into())
}

/// Apache's sizes of replies: header and body, the answer to a connect request left out.
fn sizes() -> Outcome {
    let dir = TempDir::new("log-sizes");
    let mut server = Server::new(Kind::Rookeeper, dir.path());
    server.start()?;
    let mut session = Session::open(server.address(), 8000).map_err(Stop::Failed)?;
    // 16 bytes of header, and a path behind its length.
    session.create("/a", &[1; 1000], 0)?;
    let shown = |wanted: [i64; 3]| -> Result<(), Stop> {
        let mntr = server.four("mntr")?;
        for (name, size) in ["last", "min", "max"].into_iter().zip(wanted) {
            if !mntr.contains(&format!("zk_{name}_client_response_size\t{size}\n")) {
                return Err(Stop::failed(format!("{name} is not {size}:\n{mntr}")));
            }
        }
        Ok(())
    };
    shown([16 + 4 + 2, 16 + 4 + 2, 16 + 4 + 2])?;
    session.get("/a").map_err(Stop::Failed)?.map_err(|code| Stop::failed(format!("{code}")))?;
    shown([16 + 4 + 1000 + 68, 22, 16 + 4 + 1000 + 68])?;
    session.get("/missing").map_err(Stop::Failed)?.err();
    shown([16, 16, 16 + 4 + 1000 + 68])?;
    session.close();
    Ok("last, smallest, largest".into())
}

/// A follower that joins and is lost is told of by its leader; who has no quorum says whom it misses.
fn members() -> Outcome {
    let dir = TempDir::new("log-members");
    let mut ensemble = Ensemble::new(&vec![Kind::Rookeeper; 3], dir.path(), &[]);
    ensemble.start()?;
    let leader = ensemble.leader().ok_or_else(|| Stop::failed(ensemble.log_tails()))?;
    let others: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    let name = |i: usize| format!("follower {}", i + 1);
    wait_for(&ensemble.members[leader], &[&name(others[0]), "has joined: "])?;
    wait_for(&ensemble.members[others[0]], &["in step with leader", &(leader + 1).to_string()])?;
    ensemble.members[others[0]].kill9();
    wait_for(&ensemble.members[leader], &[&name(others[0]), "is lost: "])?;
    ensemble.members[others[1]].kill9();
    let missing = others.iter().map(|i| format!("server {} (", i + 1)).collect::<Vec<_>>();
    wait_for(&ensemble.members[leader], &["no quorum for", &missing[0], &missing[1]])?;
    Ok("joined, lost, missing".into())
}
