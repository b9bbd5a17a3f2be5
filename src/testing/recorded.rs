//! The bytes recorded from Apache in `fixtures/wire`, and every way to damage one of them a little.

use std::collections::BTreeSet;
use std::path::Path;

/// One recorded message.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// From the side that dialled.
    pub forth: bool,
    /// What it is, as the recording says.
    pub remark: String,
    /// As on the wire.
    pub bytes: Vec<u8>,
}

/// All messages recorded on a port (`client`, `learner`, `election`), one of each kind and length.
pub fn recorded(port: &str) -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire").join(port);
    let mut names: Vec<_> =
        std::fs::read_dir(folder).expect("the folder").flatten().map(|e| e.path()).collect();
    names.sort();
    let mut all: Vec<Recorded> = Vec::new();
    let mut seen = BTreeSet::new();
    for name in names {
        let text = std::fs::read_to_string(name).expect("a recording");
        let mut found: Vec<Recorded> = Vec::new();
        for line in text.lines() {
            if let Some((mark @ (">" | "<"), remark)) = line.split_once(' ') {
                let remark = remark.to_owned();
                found.push(Recorded { forth: mark == ">", remark, bytes: Vec::new() });
            } else if let (Some(last), Some(hex)) = (found.last_mut(), line.strip_prefix("  ")) {
                let digits: Vec<u8> = hex.bytes().filter(|b| *b != b' ').collect();
                last.bytes.extend(digits.chunks(2).map(|pair| {
                    let pair = std::str::from_utf8(pair).expect("ASCII");
                    u8::from_str_radix(pair, 16).expect("hex")
                }));
            }
        }
        let short =
            |m: &Recorded| (1..if port == "client" { 160 } else { 2000 }).contains(&m.bytes.len());
        for message in found.into_iter().filter(short) {
            // What differs in numbers alone is the same again.
            let kind: String =
                message.remark.split([' ', '=']).filter(|w| !w.starts_with("0x")).collect();
            if seen.insert((message.forth, kind, message.bytes.len())) {
                all.push(message);
            }
        }
    }
    assert!(!all.is_empty());
    all
}

/// Calls `read` with every prefix of `bytes`, and with every single byte changed: to each of its
/// neighbours by one bit and to the values at the ends, or, with `ROOKEEPER_FUZZ_ROUNDS` set, to
/// all 255 others.
pub fn every_damage(bytes: &[u8], read: &mut dyn FnMut(&[u8])) {
    for end in 0..=bytes.len() {
        read(&bytes[..end]);
    }
    let all = std::env::var_os("ROOKEEPER_FUZZ_ROUNDS").is_some();
    let mut damaged = bytes.to_vec();
    for at in 0..bytes.len() {
        let near = (0..8).map(|bit| bytes[at] ^ 1 << bit).chain([0, 0x7f, 0x80, 0xff]);
        let values: BTreeSet<u8> = if all { (0..=255).collect() } else { near.collect() };
        for value in values.into_iter().filter(|value| *value != bytes[at]) {
            damaged[at] = value;
            read(&damaged);
        }
        damaged[at] = bytes[at];
    }
}
