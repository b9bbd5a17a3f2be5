//! Requests of legal size and odd shape: huge multis, wide parents, sessions that own much, deep
//! paths, orders out of place.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Subject, expect, path_record};
use crate::harness::client::{Session, frame, request};
use crate::harness::jute::Writer;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::tools::Level;

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("abuse", "s7_multis", Level::Quick, multis);
    suite.add("abuse", "s8_a_parent_of_many", Level::Quick, wide);
    suite.add("abuse", "s9_a_session_that_owns_much", Level::Quick, owner);
    suite.add("abuse", "s10_deep_and_odd_paths", Level::Quick, paths);
    suite.add("abuse", "s14_words", Level::Quick, words);
}

fn sub(w: &mut Writer, kind: i32, body: &[u8]) {
    w.int(kind);
    w.bool(kind == -1);
    w.int(-1);
    w.raw(body);
}

/// A multi of deletes of missing nodes, or of checks of the root.
fn multi(kind: i32, count: usize, path: &str) -> Vec<u8> {
    let mut w = Writer::new();
    let mut body = Writer::new();
    body.string(path);
    body.int(-1);
    for _ in 0..count {
        sub(&mut w, kind, &body.bytes);
    }
    sub(&mut w, -1, &[]);
    w.bytes.clone()
}

/// The most operations that a megabyte holds; nested ones, and ones of other kinds, are refused.
fn multis() -> Outcome {
    let mut subject = Subject::start("abuse-multis", &[])?;
    let mut session = Session::open(subject.address(), 40_000)?;
    let begun = Instant::now();
    let (code, body) = session.call(14, &multi(13, 55_000, "/"))?;
    expect(code == 0 && body.len() == 9 * 55_001, "55000 checks")?;
    let (code, _) = session.call(14, &multi(2, 55_000, "/"))?;
    expect(code == 0, "55000 deletes of the root: a result each")?;
    let took = begun.elapsed();
    expect(took < Duration::from_secs(10), &format!("{took:?}"))?;
    for kind in [14, 22, 3, 9, 100, -10, -11, 0, 99, i32::MAX, i32::MIN] {
        let (code, _) = session.call(14, &multi(kind, 2, "/"))?;
        expect(code == -5, &format!("an operation {kind} within a multi: {code}"))?;
    }
    subject.others_are_well()?;
    Ok(format!("{} ms for both", took.as_millis()))
}

/// Children whose list is longer than a request may be.
fn wide() -> Outcome {
    const COUNT: usize = 60_000;
    let mut subject = Subject::start("abuse-wide", &[])?;
    let mut session = Session::open(subject.address(), 40_000)?;
    expect(session.create("/wide", b"", 0)? == 0, "create")?;
    let begun = Instant::now();
    for start in (0..COUNT).step_by(1000) {
        let mut w = Writer::new();
        for i in start..start + 1000 {
            let mut body = Writer::new();
            body.string(&format!("/wide/a-name-of-some-length-{i:08}"));
            body.buffer(Some(b""));
            body.int(1);
            body.int(31);
            body.string("world");
            body.string("anyone");
            body.int(0);
            sub(&mut w, 1, &body.bytes);
        }
        sub(&mut w, -1, &[]);
        expect(session.call(14, &w.bytes)?.0 == 0, "a thousand nodes")?;
    }
    let made = begun.elapsed();
    let children = session.children("/wide")?;
    expect(children.map(|c| c.len()) == Ok(COUNT), "all children")?;
    expect(session.delete("/wide")? == -111, "NOTEMPTY")?;
    let longest = subject.others_are_well()?;
    expect(session.delete("/wide/a-name-of-some-length-00000007")? == 0, "one of many goes")?;
    Ok(format!("made in {} ms, others waited {} ms", made.as_millis(), longest.as_millis()))
}

/// B12: the paths of a session's nodes are more than a frame: it ends, and the server starts again.
fn owner() -> Outcome {
    let mut subject = Subject::start("abuse-owner", &[])?;
    let mut session = Session::open(subject.address(), 40_000)?;
    let name = |i: usize| format!("/{i:02}{}", "e".repeat(100_000));
    for i in 0..30 {
        expect(session.create(&name(i), b"", 1)? == 0, "an ephemeral with a long name")?;
    }
    let (code, body) = session.call(103, &path_record("/", None))?;
    expect(code == 0 && body.len() > 3_000_000, "getEphemerals, three megabytes")?;
    session.close();
    for i in 0..30 {
        expect(subject.good.get(&name(i))? == Err(-101), "gone with its session")?;
    }
    subject.server.kill9();
    subject.server.start()?;
    let mut again = Session::open(subject.address(), 40_000)?;
    expect(again.get("/good")? == Ok(b"good".to_vec()), "what was there")?;
    expect(again.get(&name(3))? == Err(-101), "what was not")?;
    Ok(String::new())
}

/// Two thousand levels over the wire, their end in one session's close; paths that are none.
fn paths() -> Outcome {
    const DEPTH: usize = 2000;
    let mut subject = Subject::start("abuse-paths", &[])?;
    let mut session = Session::open(subject.address(), 40_000)?;
    let mut path = String::new();
    for _ in 0..DEPTH {
        path.push_str("/d");
        expect(session.create(&path, b"", 0)? == 0, "a level")?;
    }
    let mut w = Writer::new();
    w.string("/");
    w.int(1);
    expect(session.call(106, &w.bytes)?.0 == 0, "a recursive watch above all")?;
    expect(subject.good.set(&path, b"x")? == 0, "a change at the bottom")?;
    let (code, _) = session.call(104, &path_record("/", None))?;
    expect(code == 0, "getAllChildrenNumber")?;
    let odd = [
        "",
        "a",
        "//",
        "/a/",
        "/.",
        "/..",
        "/a/./b",
        "/a/../b",
        "/a//b",
        "/\0",
        "/a\u{1}",
        "/\u{1f}",
        "/\u{7f}",
        "/\u{9f}",
        "/\u{e000}",
        "/\u{f8ff}",
        "/\u{fff0}",
        "/\u{ffff}",
        "/\u{1F600}",
    ];
    for path in odd {
        let code = session.create(path, b"", 0)?;
        // Of "/a/" the parent is looked for first.
        expect([-5, -8, -101].contains(&code), &format!("{path:?}: {code}"))?;
    }
    expect(session.create(&format!("/{}", "n".repeat(1_000_000)), b"", 0)? == 0, "a long name")?;
    subject.server.kill9();
    subject.server.start()?;
    let mut again = Session::open(subject.address(), 40_000)?;
    expect(again.get(&path)? == Ok(b"x".to_vec()), "the bottom, after a restart")?;
    Ok(format!("{DEPTH} levels"))
}

/// Four-letter words cut, with more behind them, unknown, after a handshake; one answer, and the end.
fn words() -> Outcome {
    let lines = [("4lw.commands.whitelist", "ruok"), ("nio.sessionlessCnxnTimeout", "1000")];
    let mut subject = Subject::start("abuse-words", &lines)?;
    let ask = |bytes: &[u8]| -> Result<String, Stop> {
        let mut stream = TcpStream::connect(subject.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(bytes)?;
        let mut all = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut all);
        Ok(String::from_utf8_lossy(&all).into_owned())
    };
    for bytes in [&b"ruok"[..], b"ruok\r\n", b"ruokruok"] {
        expect(ask(bytes)? == "imok", "one answer")?;
    }
    let refused = "is not executed because it is not in the whitelist.\n";
    for word in ["wchp", "wchc", "mntr", "cons", "dump", "envi", "conf", "stmk", "crst", "srst"] {
        let mut bytes = word.as_bytes().to_vec();
        bytes.extend([0; 8]);
        expect(ask(&bytes)?.ends_with(refused), word)?;
    }
    expect(ask(b"srvr")?.starts_with("Zookeeper version"), "srvr is always there")?;
    for bytes in [&b"ruo"[..], b"", b"kill", b"RUOK", b"help"] {
        expect(ask(bytes)?.is_empty(), "an end without an answer")?;
    }
    // In the place of a request it is a length.
    let mut session = super::connected(subject.address())?;
    session.write_all(b"ruok")?;
    expect(matches!(session.read(&mut [0; 8]), Ok(0) | Err(_)), "after a handshake")?;
    let mut twice = super::connected(subject.address())?;
    let connect = crate::harness::client::connect_request(0, 0, 9000, 0, Some(&[0; 16]), Some(0));
    twice.write_all(&frame(&connect))?;
    twice.write_all(&frame(&request(2, 11, &[])))?;
    twice.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut all = Vec::new();
    let _ = twice.read_to_end(&mut all);
    subject.others_are_well()?;
    Ok(String::new())
}
