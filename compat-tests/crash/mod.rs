//! kill -9 under load: nothing that was acknowledged is lost, every restart serves.
//!
//! `ROOKEEPER_CYCLES=1000 cargo test --test compat crash` repeats it as often as one likes.

pub mod load;

use std::time::Duration;

use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Kind, Server};
use crate::harness::tools::{self, Level};
use load::Load;

/// Longest wait for a restarted server's first acknowledged writes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("crash", "kill_9_standalone", Level::Quick, || standalone(&[]));
    // Snapshots and log rolls all the time, so that kills hit those too.
    suite.add("crash", "kill_9_standalone_while_snapshotting", Level::Quick, || {
        standalone(&[("snapCount", "60"), ("autopurge.purgeInterval", "1")])
    });
}

fn cycles() -> u64 {
    let asked = std::env::var("ROOKEEPER_CYCLES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(match tools::level() {
        Level::Quick => 15,
        Level::Ci => 60,
        Level::Full => 1000,
    })
}

fn standalone(lines: &[(&str, &str)]) -> Outcome {
    let dir = TempDir::new("crash");
    let mut server =
        Server::new(Kind::Rookeeper, dir.path()).property("zookeeper.forceSync", "yes");
    for (key, value) in lines {
        server.set_line(key, value);
    }
    server.start()?;
    let load = Load::start(&server.host_port(), 8)?;
    let mut seed = 0x5eed_u64;
    for cycle in 0..cycles() {
        let context =
            |text: String| Stop::failed(format!("cycle {cycle}: {text}\n{}", server_tail(&server)));
        // Somewhere between the first and the 400th write after a restart.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        load.progress(1 + (seed >> 33) % 400, PATIENCE).map_err(context)?;
        server.kill9();
        server.start()?;
        let context =
            |text: String| Stop::failed(format!("cycle {cycle}: {text}\n{}", server_tail(&server)));
        if cycle % 5 == 0 {
            load.verify(&server.host_port()).map_err(context)?;
        }
    }
    load.progress(10, PATIENCE)?;
    load.verify_sessions()?;
    let acknowledged = load.finish()?;
    Ok(format!("{} cycles, {acknowledged} writes acknowledged, none lost", cycles()))
}

fn server_tail(server: &Server) -> String {
    server.log_tail()
}
