//! Cuts recorded bytes into messages and writes them as text that a person can review.
//!
//! One message: a line with the direction (`>` from the dialling side, `<` back) and what it is,
//! then its bytes in indented lines of hexadecimal. Reading back takes the bytes alone, so a wrong
//! remark cannot hide anything.

use crate::harness::jute::{Reader, Short, hex, unhex};

/// A part of a conversation: direction (`>` or `<`), a remark, the bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// True from the dialling side.
    pub forth: bool,
    /// What it is.
    pub remark: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Text of messages.
pub fn print(messages: &[Message]) -> String {
    let mut out = String::new();
    for m in messages {
        out.push_str(&format!("{} {}\n", if m.forth { '>' } else { '<' }, m.remark));
        for line in m.bytes.chunks(48) {
            let groups: Vec<String> = line.chunks(4).map(hex).collect();
            out.push_str(&format!("  {}\n", groups.join(" ")));
        }
    }
    out
}

/// Messages of a text; other lines are passed over.
pub fn parse(text: &str) -> Vec<Message> {
    let mut all: Vec<Message> = Vec::new();
    for line in text.lines() {
        if let Some(remark) = line.strip_prefix("> ") {
            all.push(Message { forth: true, remark: remark.to_string(), bytes: Vec::new() });
        } else if let Some(remark) = line.strip_prefix("< ") {
            all.push(Message { forth: false, remark: remark.to_string(), bytes: Vec::new() });
        } else if let (Some(bytes), Some(last)) =
            (line.strip_prefix("  ").and_then(unhex), all.last_mut())
        {
            last.bytes.extend(bytes);
        }
    }
    all
}

/// The name of a quorum packet's type.
pub fn packet_name(kind: i32) -> String {
    let name = match kind {
        1 => "REQUEST",
        2 => "PROPOSAL",
        3 => "ACK",
        4 => "COMMIT",
        5 => "PING",
        6 => "REVALIDATE",
        7 => "SYNC",
        8 => "INFORM",
        9 => "COMMITANDACTIVATE",
        10 => "NEWLEADER",
        11 => "FOLLOWERINFO",
        12 => "UPTODATE",
        13 => "DIFF",
        14 => "TRUNC",
        15 => "SNAP",
        16 => "OBSERVERINFO",
        17 => "LEADERINFO",
        18 => "ACKEPOCH",
        19 => "INFORMANDACTIVATE",
        other => return format!("packet {other}"),
    };
    name.to_string()
}

fn packet(r: &mut Reader) -> Result<String, Short> {
    let (kind, zxid) = (r.int()?, r.long()?);
    if !(0..=19).contains(&kind) {
        return Err(Short);
    }
    let data = r.buffer()?;
    let count = r.int()?;
    if !(-1..=64).contains(&count) {
        return Err(Short);
    }
    for _ in 0..count {
        r.buffer()?;
        r.buffer()?;
    }
    let data = match data {
        None => "null".to_string(),
        Some(d) => format!("{} bytes", d.len()),
    };
    let auth = if count > 0 { format!(" identities={count}") } else { String::new() };
    Ok(format!("{} zxid=0x{zxid:x} data={data}{auth}", packet_name(kind)))
}

/// Cuts a piece of a learner connection into packets; the snapshot behind SNAP is one message.
pub fn learner(forth: bool, bytes: &[u8], in_snapshot: &mut bool) -> Vec<Message> {
    let signature = b"\x00\x00\x00\x0aBenWasHere";
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        if *in_snapshot && !forth {
            let end = rest.windows(signature.len()).position(|w| w == signature);
            let taken = end.map_or(rest.len(), |e| e + signature.len());
            *in_snapshot = end.is_none();
            let remark = format!("snapshot, {taken} bytes");
            out.push(Message { forth, remark, bytes: rest[..taken].to_vec() });
            rest = &rest[taken..];
            continue;
        }
        let mut r = Reader::new(rest);
        match packet(&mut r) {
            Ok(remark) => {
                let taken = rest.len() - r.rest().len();
                if !forth && remark.starts_with("SNAP ") {
                    *in_snapshot = true;
                }
                out.push(Message { forth, remark, bytes: rest[..taken].to_vec() });
                rest = &rest[taken..];
            }
            Err(Short) => {
                let remark = "a piece of a packet".to_string();
                out.push(Message { forth, remark, bytes: rest.to_vec() });
                rest = &[];
            }
        }
    }
    out
}

/// Cuts a piece of an election connection: the hello of the dialling side, then notifications.
pub fn election(forth: bool, bytes: &[u8], hello_seen: &mut bool) -> Vec<Message> {
    let mut out = Vec::new();
    let mut rest = bytes;
    if forth && !*hello_seen {
        *hello_seen = true;
        let mut r = Reader::new(rest);
        let mut read = || -> Result<String, Short> {
            let (version, sid) = (r.long()?, r.long()?);
            let address = r.buffer()?.unwrap_or_default();
            Ok(format!("hello version={version} sid={sid} {}", String::from_utf8_lossy(address)))
        };
        if let Ok(remark) = read() {
            let taken = rest.len() - r.rest().len();
            out.push(Message { forth, remark, bytes: rest[..taken].to_vec() });
            rest = &rest[taken..];
        }
    }
    while !rest.is_empty() {
        let mut r = Reader::new(rest);
        let mut read = || -> Result<String, Short> {
            let payload = r.buffer()?.ok_or(Short)?;
            let mut p = Reader::new(payload);
            let state = match p.int()? {
                0 => "LOOKING",
                1 => "FOLLOWING",
                2 => "LEADING",
                3 => "OBSERVING",
                _ => "?",
            };
            let (leader, zxid, round, epoch) = (p.long()?, p.long()?, p.long()?, p.long()?);
            let version = p.int().unwrap_or(0);
            let config = p.buffer().ok().flatten().map_or(0, |c| c.len());
            Ok(format!(
                "notification {state} leader={leader} zxid=0x{zxid:x} round={round} epoch={epoch} version={version} config={config} bytes"
            ))
        };
        match read() {
            Ok(remark) => {
                let taken = rest.len() - r.rest().len();
                out.push(Message { forth, remark, bytes: rest[..taken].to_vec() });
                rest = &rest[taken..];
            }
            Err(Short) => {
                let remark = "a piece".to_string();
                out.push(Message { forth, remark, bytes: rest.to_vec() });
                rest = &[];
            }
        }
    }
    out
}
