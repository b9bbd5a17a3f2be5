//! Several addresses per member (`multiAddress.enabled`): the first that others know of each member is
//! dead, as a network that has failed.

use super::cases::{PATIENCE, expect};
use super::kinds;
use crate::harness::client::Session;
use crate::harness::ports::{TempDir, free_port};
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::Ensemble;

/// Members find each other, lose their leader and take it back by second addresses only.
pub fn case(letters: &str) -> Outcome {
    let dir = TempDir::new("several-addresses");
    let all = kinds(letters);
    let ports: Vec<(u16, u16)> = all.iter().map(|_| (free_port(), free_port())).collect();
    let mut ensemble = Ensemble::with_routes(&all, dir.path(), &[], &ports, |_, j| ports[j]);
    for (i, member) in ensemble.members.iter_mut().enumerate() {
        let switch = ("zookeeper.multiAddress.enabled".to_owned(), "true".to_owned());
        member.properties.push(switch);
        for (j, (quorum, election)) in ports.iter().enumerate() {
            let alive = format!("127.0.0.1:{quorum}:{election}");
            // Nobody listens on the second address of the loopback network.
            let value =
                if i == j { alive } else { format!("127.0.0.2:{quorum}:{election}|{alive}") };
            member.set_line(&format!("server.{}", j + 1), value);
        }
    }
    ensemble.start()?;
    let mut session = Session::open(ensemble.members[0].address(), 30_000)?;
    expect(session.create("/a", b"", 0)?, 0, "a write")?;
    let leader = ensemble.leader().ok_or_else(|| Stop::failed("no leader"))?;
    ensemble.members[leader].kill9();
    let survivor = (leader + 1) % all.len();
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let written = Session::open(ensemble.members[survivor].address(), 30_000)
            .and_then(|mut session| session.create("/b", b"", 0));
        if written.is_ok_and(|code| code == 0) {
            break;
        }
        if std::time::Instant::now() > end {
            let logs = ensemble.log_tails();
            return Err(Stop::failed(format!("no write without the leader\n{logs}")));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    ensemble.members[leader].start()?;
    let mut session = Session::open(ensemble.members[leader].address(), 30_000)?;
    let end = std::time::Instant::now() + PATIENCE;
    while session.get("/b")? != Ok(Vec::new()) {
        if std::time::Instant::now() > end {
            return Err(Stop::failed("the returned member does not get what it missed"));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Ok(format!("led by {}", leader + 1))
}
