//! Clients and strangers that take every descriptor they can get.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{PATIENCE, Subject, expect};
use crate::harness::client::Session;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Ensemble, Kind, Server};
use crate::harness::tools::Level;

/// The reason that is counted.
const REASON: &str = "too many connections for the limit of open files";

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("abuse", "clients_never_take_the_descriptors_of_files", Level::Quick, clients);
    suite.add("abuse", "too_few_descriptors_are_said_at_the_start", Level::Quick, too_few);
    suite.add("abuse", "strangers_never_take_the_descriptors_of_files", Level::Quick, strangers);
}

/// Connects `count` times and says nothing.
fn fill(address: SocketAddr, count: usize, all: &mut Vec<TcpStream>) {
    for _ in 0..count {
        // A refusal is what is wanted sooner or later, and may be as quick as this.
        all.extend(TcpStream::connect_timeout(&address, Duration::from_secs(5)));
    }
}

/// Enough writes for several logs and snapshots.
fn write_much(session: &mut Session, count: usize) -> Result<(), Stop> {
    for n in 0..count {
        let code = session.set("/good", b"good")?;
        expect(code == 0, &format!("write {n}: {code}"))?;
    }
    Ok(())
}

fn lines_with(server: &Server, text: &str) -> Result<usize, Stop> {
    let log = std::fs::read_to_string(server.dir.join("server.log"))?;
    Ok(log.lines().filter(|line| line.contains(text)).count())
}

fn clients() -> Outcome {
    let lines = [("snapCount", "50"), ("nio.sessionlessCnxnTimeout", "600000")];
    let mut subject = Subject::start_with("abuse-descriptors", &lines, Some(256))?;
    let address = subject.address();
    let mut all = Vec::new();
    fill(address, 700, &mut all);
    subject.wait_closed(REASON, 400)?;
    // Logs roll when a snapshot begins, which one that is being written holds up.
    let files = |server: &Server| -> Result<usize, Stop> {
        Ok(std::fs::read_dir(server.data_dir().join("version-2"))?.count())
    };
    let (before, end) = (files(&subject.server)?, Instant::now() + PATIENCE);
    while files(&subject.server)? < before + 8 {
        write_much(&mut subject.good, 60)?;
        expect(Instant::now() < end, "logs are rolled and snapshots written")?;
    }
    expect(subject.server.alive(), "the process lives")?;
    subject.others_are_well()?;
    let refused = subject.closed(REASON)?;
    let said = lines_with(&subject.server, "is refused")?;
    expect((1..=20).contains(&said), &format!("{said} lines"))?;
    expect(lines_with(&subject.server, "can't be accepted")? == 0, "none was left to the system")?;
    drop(all);
    let end = Instant::now() + PATIENCE;
    while Session::open(address, 30_000).is_err() {
        expect(Instant::now() < end, "there is room again")?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(format!("{refused} refused, {said} lines"))
}

fn too_few() -> Outcome {
    let dir = TempDir::new("abuse-too-few");
    let mut server = Server::new(Kind::Rookeeper, dir.path());
    server.open_files = Some(30);
    let error = match server.start() {
        Ok(()) => return Err(Stop::failed("it serves with 30 descriptors")),
        Err(error) => format!("{error:?}"),
    };
    expect(error.contains("the limit of open files is 30, and this server needs"), &error)?;
    expect(!server.data_dir().join("version-2").exists(), "nothing was written")?;
    server = Server::new(Kind::Rookeeper, dir.path());
    server.open_files = Some(128);
    server.start()?;
    expect(lines_with(&server, "open files: the limit is 128")? == 1, "the limit is said once")?;
    expect(lines_with(&server, "no more than 7")? == 1, "and that it is low")?;
    Ok("refused with what is needed".to_owned())
}

fn strangers() -> Outcome {
    let dir = TempDir::new("abuse-descriptors-members");
    let mut ensemble = Ensemble::new(&vec![Kind::Rookeeper; 3], dir.path(), &[])
        .line("snapCount", 50)
        .line("nio.sessionlessCnxnTimeout", 600_000);
    for member in &mut ensemble.members {
        member.open_files = Some(400);
    }
    ensemble.start()?;
    let leader = ensemble.leader().ok_or_else(|| Stop::failed("no leader"))?;
    let mut good = Session::open(ensemble.members[leader].address(), 30_000)?;
    expect(good.create("/good", b"", 0)? == 0, "create")?;
    let mut all = Vec::new();
    for (member, (learners, election)) in ensemble.members.iter().zip(&ensemble.ports) {
        fill(member.address(), 500, &mut all);
        for port in [learners, election] {
            fill(SocketAddr::from(([127, 0, 0, 1], *port)), 500, &mut all);
        }
    }
    write_much(&mut good, 300)?;
    // Who comes back gets in, and a new epoch is saved.
    let follower = (leader + 1) % 3;
    ensemble.members[follower].kill9();
    ensemble.members[follower].start()?;
    fill(ensemble.members[follower].address(), 500, &mut all);
    ensemble.members[leader].kill9();
    ensemble.wait_serving()?;
    let mut good = Session::open(ensemble.members[follower].address(), 30_000)
        .or_else(|_| Session::open(ensemble.members[(leader + 2) % 3].address(), 30_000))
        .or_else(|_| {
            all.clear();
            let end = Instant::now() + PATIENCE;
            loop {
                match Session::open(ensemble.members[follower].address(), 30_000) {
                    Err(_) if Instant::now() < end => {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    result => return result,
                }
            }
        })?;
    write_much(&mut good, 300)?;
    ensemble.members[leader].start()?;
    for member in &mut ensemble.members {
        expect(member.alive(), "every process lives")?;
        expect(lines_with(member, "os error 24")? == 0, "no descriptor was missed")?;
        let said = lines_with(member, "is refused")?;
        expect(said <= 20, &format!("{said} lines"))?;
    }
    Ok("files, epochs and members had theirs".to_owned())
}
