//! Ensembles of rookeeper, of Apache and of both, under load: members killed, stopped, replaced.
//!
//! In every case the writers of `crash::load` go on meanwhile, and beside most of them a Java and a
//! Python client; at the end nothing acknowledged is lost, no session is lost, and every member shows
//! the same tree.

mod docs;
pub mod dump;
mod guests;
mod large;
mod partitions;
mod storm;
mod walks;

use std::time::{Duration, Instant};

use self::guests::Guests;
use crate::crash::load::Load;
use crate::harness::apache;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Ensemble, Kind, Server};
use crate::harness::tools::{self, Level};

/// Longest wait until writes are acknowledged again after a fault.
const PATIENCE: Duration = Duration::from_secs(60);
/// Writers.
const WRITERS: usize = 6;

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    let ours = || vec![Kind::Rookeeper; 3];
    suite.add("ensemble", "as_the_documentation_says", Level::Quick, docs::three_members);
    suite.add("ensemble", "kill_9_leader", Level::Quick, move || kills(ours(), Victim::Leader, 4));
    suite.add("ensemble", "kill_9_follower", Level::Quick, move || {
        kills(ours(), Victim::Follower, 4)
    });
    suite.add("ensemble", "kill_9_all", Level::Quick, move || kills(ours(), Victim::All, 3));
    suite.add("ensemble", "five_members_lose_two", Level::Ci, || {
        kills(vec![Kind::Rookeeper; 5], Victim::Two, 4)
    });
    partitions::add(suite);
    storm::add(suite);
    large::add(suite);
    walks::add(suite);
    let apache = Kind::apache;
    suite.add("mixed", "one_rookeeper_two_apache", Level::Quick, move || {
        kills(vec![Kind::Rookeeper, apache(), apache()], Victim::Rotating, 4)
    });
    suite.add("mixed", "two_rookeeper_one_apache", Level::Quick, move || {
        kills(vec![Kind::Rookeeper, apache(), Kind::Rookeeper], Victim::Rotating, 4)
    });
    let debian = || Kind::Apache(apache::DEBIAN.to_owned());
    suite.add("mixed", "two_rookeeper_one_debian", Level::Ci, move || {
        kills(vec![Kind::Rookeeper, debian(), Kind::Rookeeper], Victim::Rotating, 6)
    });
    suite.add("mixed", "rookeeper_leads_apache", Level::Ci, move || {
        kills(vec![apache(), apache(), Kind::Rookeeper], Victim::Rotating, 6)
    });
    suite.add(
        "migration",
        "rolling_from_apache_and_back",
        Level::Quick,
        || rolling(Kind::apache()),
    );
    suite.add("migration", "rolling_from_apache_3.8_and_back", Level::Ci, || {
        rolling(Kind::Apache("3.8.4".to_owned()))
    });
    suite.add("migration", "rolling_from_debian_and_back", Level::Ci, || {
        rolling(Kind::Apache(apache::DEBIAN.to_owned()))
    });
    suite.add("migration", "apache_alone_as_a_check_of_the_test", Level::Full, || {
        kills(vec![Kind::apache(); 3], Victim::Rotating, 4)
    });
}

/// Who is killed.
#[derive(Clone, Copy)]
enum Victim {
    Leader,
    Follower,
    All,
    Two,
    /// One member after another, whatever its role.
    Rotating,
}

fn cycles(default: u64) -> u64 {
    let asked = std::env::var("ROOKEEPER_CYCLES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(if tools::level() == Level::Full { default * 25 } else { default })
}

fn kills(kinds: Vec<Kind>, victim: Victim, default: u64) -> Outcome {
    let dir = TempDir::new("ensemble");
    let mut ensemble = Ensemble::new(&kinds, dir.path(), &[]);
    ensemble.start()?;
    let connect = ensemble.connect_string();
    let load = Load::start(&connect, WRITERS)?;
    let guests = Guests::start(&connect)?;
    load.progress(100, PATIENCE).map_err(|e| failed(&ensemble, &e))?;
    let mut gaps: Vec<Duration> = Vec::new();
    for cycle in 0..cycles(default) {
        let count = ensemble.members.len();
        let leader = ensemble.leader();
        let chosen: Vec<usize> = match (victim, leader) {
            (Victim::All, _) => (0..count).collect(),
            (Victim::Leader, Some(leader)) => vec![leader],
            (Victim::Follower, Some(leader)) => vec![(leader + 1 + cycle as usize) % count]
                .into_iter()
                .map(|i| if i == leader { (i + 1) % count } else { i })
                .collect(),
            (Victim::Two, Some(leader)) => vec![leader, (leader + 1) % count],
            (Victim::Rotating, _) => vec![cycle as usize % count],
            (_, None) => return Err(failed(&ensemble, "no member says that it leads")),
        };
        for &i in &chosen {
            ensemble.members[i].kill9();
        }
        let start = Instant::now();
        let survivors = count - chosen.len();
        let context = format!("cycle {cycle}, killed {chosen:?} (leader was {leader:?})");
        if survivors * 2 > count {
            load.progress(1, PATIENCE)
                .map_err(|e| failed(&ensemble, &format!("{context}: {e}")))?;
            gaps.push(start.elapsed());
            load.progress(200, PATIENCE)
                .map_err(|e| failed(&ensemble, &format!("{context}: {e}")))?;
        }
        for &i in &chosen {
            ensemble.members[i].launch()?;
        }
        ensemble.wait_serving().map_err(|e| failed(&ensemble, &format!("{context}: {e:?}")))?;
        load.progress(100, PATIENCE).map_err(|e| failed(&ensemble, &format!("{context}: {e}")))?;
    }
    verify(&load, &ensemble).map_err(|e| failed(&ensemble, &e))?;
    load.verify_sessions().map_err(|e| failed(&ensemble, &e))?;
    let theirs = guests.finish().map_err(|e| with_logs(&ensemble, e))?;
    let acknowledged = load.finish().map_err(|e| failed(&ensemble, &e))?;
    same_trees(&ensemble)?;
    gaps.sort();
    let gap = gaps.get(gaps.len() / 2).map_or(String::new(), |g| {
        format!(", first write after a kill: median {} ms", g.as_millis())
    });
    let kills = cycles(default);
    Ok(format!("{kills} kills, {acknowledged} writes acknowledged{theirs}, none lost{gap}"))
}

/// Three Apache members are replaced one at a time by rookeeper on the same directories, then
/// replaced back; stopped by SIGTERM and by kill -9 in turn.
fn rolling(apache: Kind) -> Outcome {
    let dir = TempDir::new("rolling");
    let mut ensemble = Ensemble::new(&vec![apache.clone(); 3], dir.path(), &[]);
    ensemble.start()?;
    let connect = ensemble.connect_string();
    let load = Load::start(&connect, WRITERS)?;
    let guests = Guests::start(&connect)?;
    load.progress(500, PATIENCE).map_err(|e| failed(&ensemble, &e))?;
    let plan = [Kind::Rookeeper, apache];
    for (round, kind) in plan.iter().enumerate() {
        for i in 0..3 {
            let context = format!("member {} becomes {}", i + 1, kind.name());
            if (round + i) % 2 == 0 {
                ensemble.members[i].stop();
            } else {
                ensemble.members[i].kill9();
            }
            ensemble.members[i].kind = kind.clone();
            load.progress(100, PATIENCE)
                .map_err(|e| failed(&ensemble, &format!("{context}, without it: {e}")))?;
            ensemble.members[i].launch()?;
            ensemble.wait_serving().map_err(|e| failed(&ensemble, &format!("{context}: {e:?}")))?;
            load.progress(200, PATIENCE)
                .map_err(|e| failed(&ensemble, &format!("{context}: {e}")))?;
            verify(&load, &ensemble).map_err(|e| failed(&ensemble, &format!("{context}: {e}")))?;
        }
    }
    load.verify_sessions().map_err(|e| failed(&ensemble, &e))?;
    let theirs = guests.finish().map_err(|e| with_logs(&ensemble, e))?;
    let acknowledged = load.finish().map_err(|e| failed(&ensemble, &e))?;
    same_trees(&ensemble)?;
    Ok(format!("there and back, {acknowledged} writes acknowledged{theirs}, none lost"))
}

/// Asks any member for everything that was acknowledged. Where one of Apache's has left a gap in its
/// own log, ours are asked: it has lost what it acknowledged itself.
fn verify(load: &Load, ensemble: &Ensemble) -> Result<(), String> {
    let lost = match load.verify(&ensemble.connect_string()) {
        Err(lost) if ensemble.members.iter().any(has_gap) => lost,
        done => return done,
    };
    let ours = ensemble.members.iter().filter(|m| m.kind == Kind::Rookeeper);
    let ours: Vec<String> = ours.map(|m| m.host_port()).collect();
    if ours.is_empty() {
        return Err(lost);
    }
    println!(
        "    an Apache member has a gap in its log (ZOOKEEPER-4712), so ours are asked: {lost}"
    );
    load.verify(&ours.join(","))
}

/// Whether this member is of an Apache with ZOOKEEPER-4712 (before 3.9.3), and has found at a start
/// that its own log does not lead to the tree it should: a follower may apply what it never writes
/// when its leader dies. What it says while it serves counts for nothing here: that would be ours.
fn has_gap(member: &Server) -> bool {
    let Kind::Apache(release) = &member.kind else { return false };
    let log = std::fs::read_to_string(member.dir.join("server.log")).unwrap_or_default();
    let at_start =
        |line: &str| line.contains("[main]") && line.contains("Digests are not matching");
    *release != apache::REFERENCE && log.lines().any(at_start)
}

fn same_trees(ensemble: &Ensemble) -> Result<(), Stop> {
    // A session that expires between two readings is no difference.
    for _ in 0..20 {
        if same_trees_now(ensemble).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    same_trees_now(ensemble)
}

fn same_trees_now(ensemble: &Ensemble) -> Result<(), Stop> {
    let mut whole = ensemble.members.iter().filter(|m| !has_gap(m));
    let Some(first) = whole.next() else { return Ok(()) };
    let first = dump::tree(&first.host_port())?;
    for member in whole {
        let other = dump::tree(&member.host_port())?;
        let differences = dump::differences(&first, &other);
        if !differences.is_empty() {
            let text = format!("{} shows another tree:\n{differences}", member.host_port());
            return Err(failed(ensemble, &text));
        }
    }
    Ok(())
}

fn with_logs(ensemble: &Ensemble, stop: Stop) -> Stop {
    match stop {
        Stop::Failed(text) => failed(ensemble, &text),
        other => other,
    }
}

fn failed(ensemble: &Ensemble, text: &str) -> Stop {
    Stop::failed(format!("{text}\n{}", ensemble.log_tails()))
}
