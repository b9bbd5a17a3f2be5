//! Session passwords that nobody can compute: members with one secret file.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::kinds;
use crate::harness::client::Session;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::Ensemble;

const PATIENCE: Duration = Duration::from_secs(30);

/// Apache's function of the session's id.
fn computed(session: i64) -> Vec<u8> {
    let mut seed = ((session ^ 0xB341_5C00) as u64 ^ 0x5_DEEC_E66D) & ((1 << 48) - 1);
    let mut bytes = Vec::new();
    for _ in 0..4 {
        seed = seed.wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & ((1 << 48) - 1);
        bytes.extend(((seed >> 16) as u32).to_le_bytes());
    }
    bytes
}

/// A renewal. A member that looks for a leader, or is behind, closes the connection.
fn open(address: SocketAddr, id: i64, password: &[u8]) -> Result<Session, Stop> {
    let end = Instant::now() + PATIENCE;
    loop {
        match Session::open_as(address, 30_000, 0, id, password) {
            Ok(session) => return Ok(session),
            Err(e) if Instant::now() > end => return Err(Stop::failed(e)),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// S-HIJACK: a session moves to every member and outlives its leader; its id opens nothing.
pub fn case() -> Outcome {
    let dir = TempDir::new("secret-file");
    let file = dir.join("secret");
    std::fs::write(&file, "a secret of the three of them\n")?;
    let mut ensemble =
        Ensemble::new(&kinds("rrr"), dir.path(), &[]).line("session.secretFile", file.display());
    ensemble.start()?;
    let first = Session::open(ensemble.members[0].address(), 30_000)?;
    let (id, password) = (first.connected.session, first.connected.passwd.clone());
    let leader = ensemble.leader().ok_or_else(|| Stop::failed("no leader"))?;
    for round in 0..2 {
        if round == 1 {
            ensemble.members[leader].kill9();
        }
        for member in 0..3 {
            if round == 1 && member == leader {
                continue;
            }
            let address = ensemble.members[member].address();
            let refused = open(address, id, &computed(id))?;
            if refused.connected.session != 0 {
                return Err(Stop::failed("a password computed from the id was taken"));
            }
            let end = Instant::now() + PATIENCE;
            // A member may find out between two steps that it has lost its leader.
            loop {
                let mut moved = open(address, id, &password)?;
                if moved.connected.session != id {
                    return Err(Stop::failed(format!("not itself at member {}", member + 1)));
                }
                if moved.set("/", b"x") == Ok(0) {
                    break;
                }
                if Instant::now() > end {
                    return Err(Stop::failed(format!("no write at member {}", member + 1)));
                }
            }
        }
    }
    Ok(String::new())
}
