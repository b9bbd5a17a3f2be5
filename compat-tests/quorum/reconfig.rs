//! The membership changes at run time: a server joins, the leader is taken out, a member becomes an
//! observer, and everybody goes on serving.

use std::time::{Duration, Instant};

use super::cases::{Cluster, PATIENCE, expect};
use super::kinds;
use crate::harness::client::Session;
use crate::harness::jute::{Reader, Writer};
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::Ensemble;

const RECONFIG: i32 = 16;

/// What is asked: who joins, who leaves, who is there, from which version.
struct Change<'a>(Option<&'a str>, Option<&'a str>, Option<&'a str>, i64);

/// The error, or 0 and the new config.
fn reconfig(session: &mut Session, change: &Change) -> Result<(i32, String), String> {
    let Change(joining, leaving, members, version) = change;
    let mut w = Writer::new();
    for part in [joining, leaving, members] {
        w.buffer(part.map(str::as_bytes));
    }
    w.long(*version);
    let (err, body) = session.call(RECONFIG, &w.bytes)?;
    if err != 0 {
        return Ok((err, String::new()));
    }
    let data = Reader::new(&body).buffer().map_err(|_| "a short reply")?;
    Ok((0, String::from_utf8_lossy(data.unwrap_or_default()).into_owned()))
}

/// Reads a member's config until it is as wanted. It may be between two roles.
fn config(cluster: &Cluster, member: usize, wanted: impl Fn(&str) -> bool) -> Result<String, Stop> {
    let end = Instant::now() + PATIENCE;
    let mut last = String::new();
    while Instant::now() < end {
        let read = Session::open(cluster.ensemble.members[member].address(), 30_000)
            .and_then(|mut session| session.get("/zookeeper/config"));
        if let Ok(Ok(data)) = read {
            last = String::from_utf8_lossy(&data).into_owned();
            if wanted(&last) {
                return Ok(last);
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(Stop::failed(format!("member {member} has {last:?}\n{}", cluster.ensemble.log_tails())))
}

/// A write at a member, which may still be changing its role.
fn write(cluster: &Cluster, member: usize, path: &str) -> Result<(), Stop> {
    let end = Instant::now() + PATIENCE;
    loop {
        let done = Session::open(cluster.ensemble.members[member].address(), 30_000)
            .and_then(|mut session| session.create(path, b"x", 0));
        match done {
            Ok(0 | -110) => return Ok(()),
            _ if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
            other => {
                let logs = cluster.ensemble.log_tails();
                return Err(Stop::failed(format!("{path} at {member}: {other:?}\n{logs}")));
            }
        }
    }
}

fn super_session(cluster: &Cluster, member: usize) -> Result<Session, Stop> {
    let mut session = cluster.session(member)?;
    session.become_super()?;
    Ok(session)
}

/// Asks until it is answered with a new config: connections break when roles change, and a change that
/// was not answered may have been made.
fn change(cluster: &Cluster, member: usize, change: &Change) -> Result<(), Stop> {
    let end = Instant::now() + PATIENCE;
    loop {
        let asked = super_session(cluster, member)
            .and_then(|mut session| reconfig(&mut session, change).map_err(Stop::from));
        match asked {
            Ok((0, _)) => return Ok(()),
            Err(_) | Ok((-13 | -14, _)) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(100));
            }
            other => {
                let logs = cluster.ensemble.log_tails();
                return Err(Stop::failed(format!("at {member}: {other:?}\n{logs}")));
            }
        }
    }
}

/// Three members and, the last letter, a fourth server that joins them.
pub fn case(letters: &'static str) -> Outcome {
    let dir = TempDir::new(&format!("reconfig-{letters}"));
    let mut ensemble = Ensemble::new(&kinds(letters), dir.path(), &[])
        .line("reconfigEnabled", "true")
        .line("standaloneEnabled", "false");
    for member in &mut ensemble.members[..3] {
        member.set_line("server.4", "");
    }
    for member in &mut ensemble.members {
        member.set_line("clientPortAddress", "0.0.0.0");
    }
    for member in &mut ensemble.members[..3] {
        member.launch()?;
    }
    ensemble.wait_serving()?;
    let specs: Vec<String> = (0..4)
        .map(|i| {
            let (quorum, election) = ensemble.ports[i];
            let client = ensemble.members[i].address().port();
            format!("server.{}=127.0.0.1:{quorum}:{election}:participant;{client}", i + 1)
        })
        .collect();
    let mut cluster = Cluster { ensemble, _dir: dir };

    // The first leader has given the config its version.
    for member in 0..3 {
        let text = config(&cluster, member, |_| true)?;
        expect(text.lines().count(), 4, &text)?;
        expect(text.ends_with("version=100000000"), true, &text)?;
    }
    refusals(&cluster, &specs)?;

    // A fourth server follows as soon as it runs, and votes from its reconfiguration on.
    cluster.ensemble.members[3].start()?;
    let text = config(&cluster, 3, |_| true)?;
    expect(text.contains("server.4="), false, &text)?;
    let ask = Change(Some(&specs[3]), None, None, -1);
    change(&cluster, 0, &ask)?;
    for member in 0..4 {
        config(&cluster, member, |text| text.contains("server.4="))?;
        write(&cluster, member, &format!("/four-{member}"))?;
    }

    // The leader is taken out: another one leads, and the old one follows without a vote.
    let leader = cluster.leader()?;
    let id = (leader + 1).to_string();
    let begun = Instant::now();
    let other = (leader + 1) % 3;
    change(&cluster, other, &Change(None, Some(&id), None, -1))?;
    write(&cluster, other, "/without-the-leader")?;
    let gap = begun.elapsed();
    let left = format!("server.{id}=");
    for member in 0..4 {
        config(&cluster, member, |text| !text.contains(&left))?;
        write(&cluster, member, &format!("/three-{member}"))?;
    }
    let next = cluster.leader()?;
    if next == leader {
        return Err(Stop::failed("it still leads"));
    }

    // It comes back as an observer, then it votes again.
    let observer = specs[leader].replace(":participant", ":observer");
    change(&cluster, next, &Change(Some(&observer), None, None, -1))?;
    write(&cluster, leader, "/observer")?;
    config(&cluster, leader, |text| text.contains(":observer"))?;
    change(&cluster, next, &Change(None, None, Some(&specs.join(",")), -1))?;
    let mut texts = Vec::new();
    for member in 0..4 {
        texts.push(config(&cluster, member, |text| !text.contains(":observer"))?);
        write(&cluster, member, &format!("/all-{member}"))?;
    }
    expect(texts.iter().all(|text| *text == texts[0]), true, &format!("{texts:#?}"))?;

    // Whoever comes back with an old file learns what is in force.
    let member = (0..4).find(|m| *m != next).unwrap_or_default();
    cluster.ensemble.members[member].kill9();
    cluster.restart(member)?;
    config(&cluster, member, |text| *text == *texts[0])?;
    Ok(format!("without the leader after {} ms", gap.as_millis()))
}

/// Each in the order in which it is found out.
fn refusals(cluster: &Cluster, specs: &[String]) -> Result<(), Stop> {
    let away = "server.7=127.0.0.1:1:2;3,server.8=127.0.0.1:4:5;6,server.9=127.0.0.1:7:8;9";
    let three = specs[..3].join(",");
    let (stray, negative) =
        (format!("{three},group.1=1:2:3:9"), format!("{three},group.1=1:2:3,weight.1=-5"));
    let cases = [
        (Change(Some("server.4=127.0.0.1:1:70000;3"), None, None, -1), -5, "no such port"),
        (Change(None, None, Some(&stray), -1), -5, "a group of a stranger"),
        (Change(None, None, Some(&negative), -1), -13, "a negative weight"),
        (Change(Some("some thing"), None, None, -1), -8, "a bad line"),
        (Change(Some("server.x=127.0.0.1:1:2;3"), None, None, -1), -5, "a bad id"),
        (Change(Some("server.4=127.0.0.1:1:2"), None, None, -1), -8, "no client port"),
        (Change(None, Some("1,2,3"), None, -1), -8, "nobody left"),
        (Change(None, None, Some("tickTime=1"), -1), -8, "no member line"),
        (Change(None, None, Some(away), -1), -13, "nobody there"),
        (Change(None, Some("3"), None, 7), -103, "another version"),
    ];
    for member in [0, 2] {
        let mut session = super_session(cluster, member)?;
        for (asked, wanted, what) in &cases {
            expect(reconfig(&mut session, asked)?.0, *wanted, what)?;
        }
        let mut nobody = cluster.session(member)?;
        let ask = Change(Some(&specs[3]), None, None, -1);
        expect(reconfig(&mut nobody, &ask)?.0, -102, "no right to")?;
        let bad = Change(Some("some thing"), None, None, -1);
        expect(reconfig(&mut nobody, &bad)?.0, -8, "the right to comes last")?;
    }
    Ok(())
}
