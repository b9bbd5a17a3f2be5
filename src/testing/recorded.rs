//! The bytes recorded from Apache in `fixtures/wire`, and every way to damage one byte of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One recorded message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recorded {
    /// From the side that dialled.
    pub forth: bool,
    /// What it is, as the recording says.
    pub remark: String,
    /// The operation that a client's request asks for, or that a reply answers.
    pub opcode: Option<i32>,
    /// As on the wire.
    pub bytes: Vec<u8>,
}

impl Recorded {
    /// Whether it is a frame of a connection that has a session.
    fn has_header(&self) -> bool {
        ["request", "reply", "event"].iter().any(|word| self.remark.starts_with(word))
    }

    /// What makes it another message: not the xid, nor the zxid of a reply's header, nor the
    /// numbers of a stat at its end. Decoders take those as they are, so messages that differ in
    /// these alone are one.
    fn likeness(&self) -> (bool, Option<i32>, Vec<u8>) {
        let mut bytes = self.bytes.clone();
        if self.has_header() {
            bytes[4..8].fill(0);
        }
        if self.has_header() && !self.forth {
            bytes[8..16].fill(0);
            // create2, exists, getData, setData, getACL, setACL, getChildren2, createContainer,
            // createTTL; a stat has 68 bytes.
            let with_stat = matches!(self.opcode, Some(3..=7 | 12 | 15 | 19 | 21));
            if with_stat && bytes.len() >= 20 + 68 {
                let end = bytes.len() - 68;
                bytes[end..].fill(0);
            }
        }
        (self.forth, self.opcode, bytes)
    }
}

/// All messages recorded on a port (`client`, `learner`, `election`), each once.
pub fn recorded(port: &str) -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire").join(port);
    let mut names: Vec<_> =
        std::fs::read_dir(folder).expect("the folder").flatten().map(|e| e.path()).collect();
    names.sort();
    let mut all: Vec<Recorded> = Vec::new();
    let mut seen = BTreeSet::new();
    for name in names {
        let text = std::fs::read_to_string(name).expect("a recording");
        let fresh = conversations(&text).into_iter().filter(|m| !m.bytes.is_empty());
        all.extend(fresh.filter(|message| seen.insert(message.likeness())));
    }
    assert!(!all.is_empty());
    all
}

/// The messages of a recording, in order.
fn conversations(text: &str) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    for line in text.lines() {
        if let Some((mark @ (">" | "<"), remark)) = line.split_once(' ') {
            let remark = remark.to_owned();
            all.push(Recorded { forth: mark == ">", remark, opcode: None, bytes: Vec::new() });
        } else if let (Some(last), Some(hex)) = (all.last_mut(), line.strip_prefix("  ")) {
            let digits: Vec<u8> = hex.bytes().filter(|b| *b != b' ').collect();
            last.bytes.extend(digits.chunks(2).map(|pair| {
                let pair = std::str::from_utf8(pair).expect("ASCII");
                u8::from_str_radix(pair, 16).expect("hex")
            }));
        }
    }
    let word = |bytes: &[u8], at: usize| -> Option<i32> {
        Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    // Which operation each xid stands for; a reply follows its request.
    let mut asked: BTreeMap<Option<i32>, Option<i32>> = BTreeMap::new();
    for message in all.iter_mut().filter(|m| m.has_header()) {
        let xid = word(&message.bytes, 4);
        if message.forth {
            message.opcode = word(&message.bytes, 8);
            asked.insert(xid, message.opcode);
        } else {
            message.opcode = asked.get(&xid).copied().flatten();
        }
    }
    all
}

/// Calls `read` with every prefix of `bytes`, and with every single byte changed to each of the 255
/// others. It is told which to look at closely: prefixes, and bytes that differ by one bit or are at
/// the ends of their range.
pub fn every_damage(bytes: &[u8], read: &mut dyn FnMut(&[u8], bool)) {
    for end in 0..=bytes.len() {
        read(&bytes[..end], true);
    }
    let mut damaged = bytes.to_vec();
    for at in 0..bytes.len() {
        for change in 1..=255_u8 {
            damaged[at] = bytes[at] ^ change;
            let closely = change.is_power_of_two() || [0, 0x7f, 0x80, 0xff].contains(&damaged[at]);
            read(&damaged, closely);
        }
        damaged[at] = bytes[at];
    }
}
