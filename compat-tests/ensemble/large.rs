//! What is larger than one packet between members may hold, or nearly.

use super::{failed, same_trees};
use crate::harness::client::Session;
use crate::harness::jute::Writer;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Ensemble, Kind};
use crate::harness::tools::Level;

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("ensemble", "requests_of_a_megabyte", Level::Quick, requests);
    suite.add("ensemble", "session_with_megabytes_of_ephemerals", Level::Quick, ephemerals);
    suite.add("ensemble", "identities_that_multiply", Level::Quick, identities);
}

fn three() -> Result<(TempDir, Ensemble), Stop> {
    let dir = TempDir::new("large");
    let mut ensemble = Ensemble::new(&vec![Kind::Rookeeper; 3], dir.path(), &[]);
    ensemble.start()?;
    Ok((dir, ensemble))
}

/// All members still serve, agree, and come up again from what they wrote.
fn check(ensemble: &mut Ensemble) -> Result<(), Stop> {
    same_trees(ensemble)?;
    for member in &mut ensemble.members {
        member.stop();
    }
    ensemble.start()?;
    same_trees(ensemble)
}

fn requests() -> Outcome {
    let (_dir, mut ensemble) = three()?;
    for (i, member) in ensemble.members.iter().enumerate() {
        let mut session = Session::open(member.address(), 20_000)?;
        let data = vec![b'x'; 1_048_575 - 100];
        for path in [format!("/{i}a"), format!("/{i}b")] {
            let code = session.create(&path, &data, 0)?;
            if code != 0 {
                return Err(failed(&ensemble, &format!("member {}: {path}: {code}", i + 1)));
            }
        }
        session.set("/0a", &data)?;
        session.close();
    }
    check(&mut ensemble)?;
    Ok("a megabyte through every member".to_string())
}

fn ephemerals() -> Outcome {
    let (_dir, mut ensemble) = three()?;
    let mut made = 0;
    for (i, member) in ensemble.members.iter().enumerate() {
        let mut session = Session::open(member.address(), 20_000)?;
        for n in 0..350 {
            let code = session.create(&format!("/{i}-{n}-{}", "x".repeat(9000)), b"", 1)?;
            made += usize::from(code == 0);
        }
        session.close();
        let mut next = Session::open(member.address(), 20_000)?;
        let code = next.create(&format!("/after-{i}"), b"", 0)?;
        let left = next.children("/")?.map_err(|e| format!("children: {e}"))?.len();
        if code != 0 || left != 2 + i {
            let text = format!("member {}: after it create gives {code}, {left} nodes", i + 1);
            return Err(failed(&ensemble, &text));
        }
        next.close();
    }
    check(&mut ensemble)?;
    Ok(format!("{made} ephemerals"))
}

/// A multi of `auth` ACLs becomes many times as long as it was.
fn identities() -> Outcome {
    let (_dir, mut ensemble) = three()?;
    let mut codes = Vec::new();
    for (i, member) in ensemble.members.iter().enumerate() {
        let mut session = Session::open(member.address(), 20_000)?;
        for n in 0..20 {
            let mut w = Writer::new();
            w.int(0).string("digest").buffer(Some(format!("{}{n}:p", "u".repeat(100)).as_bytes()));
            session.call(100, &w.bytes)?;
        }
        let mut w = Writer::new();
        for n in 0..10_000 {
            w.int(1).bool(false).int(-1).string(&format!("/{i}-{n}")).buffer(None);
            w.int(1).int(31).string("auth").string("").int(0);
        }
        w.int(-1).bool(true).int(-1);
        let answer = session.call(14, &w.bytes);
        codes.push(answer.map_or_else(|e| e, |(code, _)| code.to_string()));
        let mut next = Session::open(member.address(), 20_000)?;
        let code = next.create(&format!("/after-{i}"), b"", 0)?;
        if code != 0 {
            return Err(failed(&ensemble, &format!("member {}: {code}", i + 1)));
        }
        next.close();
    }
    check(&mut ensemble)?;
    Ok(format!("answered {codes:?}"))
}
