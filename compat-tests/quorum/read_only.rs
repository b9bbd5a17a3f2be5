//! Read-only mode: a member that has lost its quorum serves those who said that reading will do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::kinds;
use crate::harness::client::{RawClient, Session, connect_request, frame};
use crate::harness::jute::Writer;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::Ensemble;

const PATIENCE: Duration = Duration::from_secs(60);
const NOT_READ_ONLY: i32 = -119;
/// Writes, each with a body that can't be one: nobody may look.
const REFUSED: [(&str, i32); 10] = [
    ("create", 1),
    ("delete", 2),
    ("setData", 5),
    ("setACL", 7),
    ("sync", 9),
    ("multi", 14),
    ("create2", 15),
    ("reconfig", 16),
    ("createContainer", 19),
    ("createTTL", 21),
];

fn wait_for(ensemble: &Ensemble, what: &str, mut met: impl FnMut() -> bool) -> Result<(), Stop> {
    let end = Instant::now() + PATIENCE;
    while !met() {
        if Instant::now() > end {
            return Err(Stop::failed(format!("never {what}\n{}", ensemble.log_tails())));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn expect<T: PartialEq + std::fmt::Debug>(got: T, wanted: T, what: &str) -> Result<(), Stop> {
    match got == wanted {
        true => Ok(()),
        false => Err(Stop::failed(format!("{what}: expected {wanted:?}, got {got:?}"))),
    }
}

/// Whether a connect request is answered by the end of the connection, without a word.
fn is_refused(address: SocketAddr, session: &Session, read_only: u8) -> Result<bool, Stop> {
    let (id, passwd) = (session.connected.session, &session.connected.passwd);
    let mut client = RawClient::connect(address)?;
    client.send(&frame(&connect_request(0, 0, 10_000, id, Some(passwd), Some(read_only))));
    Ok(format!("{:?}", client.receive(Duration::from_secs(10))).contains("Closed"))
}

/// Two of three members are killed: the third reads, only reads, and only for those who said so;
/// sessions of the ensemble wait for it and are there again with its quorum.
pub fn case(letters: &'static str) -> Outcome {
    let dir = TempDir::new(&format!("read-only-{letters}"));
    let mut ensemble = Ensemble::new(&kinds(letters), dir.path(), &[])
        .line("localSessionsEnabled", true)
        .line("localSessionsUpgradingEnabled", true)
        .line("4lw.commands.whitelist", "*");
    for member in &mut ensemble.members {
        member.properties.push(("readonlymode.enabled".to_owned(), "true".to_owned()));
    }
    ensemble.start()?;
    let address = ensemble.members[0].address();
    let mut original = Session::open_with(address, 30_000, 0, 0, &[0; 16], 1)?;
    expect(original.connected.read_only, Some(0), "the byte of a server with a quorum")?;
    expect(original.create("/before", b"x", 0)?, 0, "create")?;
    // With its first ephemeral the session is the ensemble's.
    expect(original.create("/mine", b"", 1)?, 0, "create an ephemeral")?;
    expect(ensemble.members[0].four("isro")?.trim().to_owned(), "rw".to_owned(), "isro")?;

    for member in &mut ensemble.members[1..] {
        member.kill9();
    }
    let isro = |e: &Ensemble| e.members[0].four("isro").unwrap_or_default();
    wait_for(&ensemble, "read-only", || isro(&ensemble).trim() == "ro")?;
    let srvr = ensemble.members[0].four("srvr")?;
    for line in ["READ-ONLY mode; serving only read-only clients", "Mode: read-only"] {
        expect(srvr.lines().any(|l| l == line), true, &format!("{line:?} in {srvr}"))?;
    }
    let mntr = ensemble.members[0].four("mntr")?;
    expect(mntr.contains("zk_server_state\tread-only\n"), true, "zk_server_state")?;

    let mut reader = Session::open_with(address, 10_000, 0, 0, &[0; 16], 1)?;
    expect(reader.connected.read_only, Some(1), "the byte of a server without a quorum")?;
    expect(reader.get("/before")?, Ok(b"x".to_vec()), "a read")?;
    for (name, opcode) in REFUSED {
        expect(reader.call(opcode, &[0, 0])?, (NOT_READ_ONLY, vec![]), name)?;
    }
    let mut w = Writer::new();
    w.string("/before");
    w.bool(true);
    expect(reader.call(3, &w.bytes)?.0, 0, "exists with a watch")?;
    expect(reader.call(11, &[])?.0, 0, "a ping")?;
    let nobody = Session::open_with(address, 10_000, 0, 0, &[0; 16], 1)?;
    expect(is_refused(address, &nobody, 0)?, true, "renewed for writing, it is refused")?;
    expect(is_refused(address, &original, 1)?, true, "the ensemble's session is refused")?;

    for member in 1..3 {
        ensemble.members[member].launch()?;
    }
    wait_for(&ensemble, "read/write again", || isro(&ensemble).trim() == "rw")?;
    ensemble.wait_serving()?;
    expect(reader.call(11, &[]).is_err(), true, "readers are sent away")?;
    let old = &original.connected;
    let other = ensemble.members[1].address();
    let mut again = Session::open_as(other, 30_000, 0, old.session, &old.passwd)?;
    expect(again.connected.session, old.session, "the original session")?;
    expect(again.get("/mine")?.is_ok(), true, "its ephemeral")?;
    expect(again.create("/after", b"", 0)?, 0, "a write in it")?;
    Ok(String::new())
}
