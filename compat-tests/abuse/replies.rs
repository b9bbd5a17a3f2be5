//! Replies that a small request makes large, and many of them at the same time.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{PATIENCE, Subject, connected, expect, path_record, push};
use crate::harness::client::{Session, frame, request};
use crate::harness::jute::Writer;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::tools::Level;

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("abuse", "a_multi_read_of_gigabytes", Level::Quick, gigabytes);
    suite.add("abuse", "large_replies_that_nobody_takes", Level::Quick, unread);
    suite.add("abuse", "words_about_many_watches", Level::Quick, words);
}

/// A multiRead of `count` times getData of a path.
fn multi_read(path: &str, count: usize) -> Vec<u8> {
    let mut w = Writer::new();
    for _ in 0..count {
        w.int(4);
        w.bool(false);
        w.int(-1);
        w.raw(&path_record(path, Some(false)));
    }
    w.int(-1);
    w.bool(true);
    w.int(-1);
    w.bytes.clone()
}

/// Gigabytes are refused before they are built, and the connection goes on.
fn gigabytes() -> Outcome {
    let mut subject = Subject::start("abuse-gigabytes", &[])?;
    expect(subject.good.create("/n", &vec![b'x'; 1_000_000], 0)? == 0, "a big node")?;
    let mut session = Session::open(subject.address(), 40_000)?;
    for count in [100, 2000, 5000, 40_000] {
        let (code, _) = session.call(22, &multi_read("/n", count))?;
        expect(code == -5, &format!("{count} parts are answered {code}"))?;
    }
    let grown = subject.grew_less_than(32)?;
    let (code, body) = session.call(22, &multi_read("/n", 30))?;
    expect(code == 0 && body.len() > 30_000_000, "thirty parts fit")?;
    let longest = subject.others_are_well()?;
    Ok(format!("{grown} MiB, others waited at most {} ms", longest.as_millis()))
}

/// Twelve clients ask for twenty megabytes each and take none: within limits.replyBytes, and who takes
/// its own gets it.
fn unread() -> Outcome {
    let mut subject = Subject::start("abuse-replies", &[("limits.replyBytes", "67108864")])?;
    expect(subject.good.create("/n", &vec![b'x'; 1_000_000], 0)? == 0, "a big node")?;
    let bytes = frame(&request(1, 22, &multi_read("/n", 20)));
    let mut all = Vec::new();
    for _ in 0..6 {
        let mut stream = connected(subject.address())?;
        push(&mut stream, &bytes)?;
        all.push(stream);
    }
    let longest = subject.others_are_well()?;
    // Their bound, and what the last of them had begun.
    let grown = subject.grew_less_than(64 + 32)?;
    let mut session = Session::open(subject.address(), 40_000)?;
    let (code, body) = session.call(22, &multi_read("/n", 20))?;
    expect(code == 0 && body.len() > 20_000_000, "a client that reads gets its reply")?;
    subject.wait_closed("the client takes its reply slowly", 1)?;
    let most = subject.grew_less_than(64 + 32)?;
    drop(all);
    Ok(format!("{grown} and {most} MiB, others waited at most {} ms", longest.as_millis()))
}

/// A hundred thousand watched paths, and thirty operators who ask for all of them and do not read.
fn words() -> Outcome {
    let mut subject = Subject::start("abuse-words", &[("4lw.commands.whitelist", "*")])?;
    let mut session = Session::open(subject.address(), 40_000)?;
    let name = "n".repeat(200);
    for part in 0..25 {
        let mut w = Writer::new();
        w.long(0);
        w.int(0);
        w.int(4000);
        for n in 0..4000 {
            w.string(&format!("/{part}-{n}-{name}"));
        }
        w.int(0);
        let (code, _) = session.call(101, &w.bytes)?;
        expect(code == 0, "watches are left")?;
    }
    subject.base = subject.resident()?;
    let mut all = Vec::new();
    for word in [&b"wchp"[..], b"wchc", b"wchs"].iter().cycle().take(30) {
        let mut stream = TcpStream::connect(subject.address())?;
        stream.write_all(word)?;
        all.push(stream);
    }
    let longest = subject.others_are_well()?;
    let grown = subject.grew_less_than(32)?;
    // Who reads gets every path once.
    let mut stream = TcpStream::connect(subject.address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"wchp")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let paths = text.lines().filter(|line| line.starts_with('/')).count();
    expect(paths == 100_000, &format!("{paths} paths"))?;
    drop(all);
    let closing = Session::open(subject.address(), 40_000).map_err(Stop::from)?;
    closing.close();
    Ok(format!("{grown} MiB, others waited at most {} ms", longest.as_millis()))
}
