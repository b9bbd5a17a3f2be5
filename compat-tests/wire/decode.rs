//! Every recorded frame through our own codec: decoded, encoded again to the same bytes, and cut off
//! after each byte, which must be seen and never be a panic.

use std::collections::HashMap;
use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use rookeeper::proto::election::{self, Hello, Notification};
use rookeeper::proto::jute::{Jute, Reader, Write};
use rookeeper::proto::multi;
use rookeeper::proto::quorum::QuorumPacket;
use rookeeper::proto::records::*;

use super::annotate::{self, Message};
use super::folder;
use crate::harness::runner::{Outcome, Stop};

/// What a check of one message finds wrong, in words.
type Found = Result<(), String>;

/// Programs whose requests are malformed on purpose: those are cut off and need not read back.
const MALFORMED: &[&str] =
    &["malformed-bodies", "connect-shapes", "unknown-opcodes", "multi-failure"];
/// Answers to a request that need not read back: MARSHALLINGERROR, BADARGUMENTS, UNIMPLEMENTED.
const REFUSED: &[i32] = &[-5, -8, -6];

/// One record, alone in `bytes`.
fn exact<T: Jute + Debug>(bytes: &Bytes) -> Found {
    let mut r = Reader::new(bytes.clone());
    let value = T::read(&mut r).map_err(|e| e.to_string())?;
    if r.remaining() > 0 {
        return Err(format!("{} bytes behind {value:?}", r.remaining()));
    }
    if value.to_bytes() != *bytes {
        return Err(format!("{value:?} is written otherwise"));
    }
    for n in 0..bytes.len() {
        // A record whose last field may be missing reads without it; none reads back whole.
        if let Ok(short) = T::from_bytes(bytes.slice(..n))
            && short.to_bytes().len() >= bytes.len()
        {
            return Err(format!("{n} bytes read as {short:?}"));
        }
    }
    Ok(())
}

fn operations(bytes: &Bytes) -> Found {
    let read = |bytes: Bytes| multi::read_ops(&mut Reader::new(bytes));
    let ops = read(bytes.clone()).map_err(|e| e.to_string())?;
    let mut again = BytesMut::new();
    multi::write_ops(&mut again, &ops);
    if again != bytes {
        return Err(format!("{ops:?} are written otherwise"));
    }
    for n in 0..bytes.len() {
        if read(bytes.slice(..n)).is_ok_and(|short| short == ops) && n + 9 < bytes.len() {
            return Err(format!("{n} bytes are enough for {ops:?}"));
        }
    }
    Ok(())
}

fn results(bytes: &Bytes) -> Found {
    let mut r = Reader::new(bytes.clone());
    let mut again = BytesMut::new();
    loop {
        let part = (|| {
            let header: MultiHeader = r.get()?;
            again.put(&header);
            match header.opcode {
                -1 if header.done => return Ok(true),
                -1 => again.put(&r.get::<ErrorResponse>()?),
                1 => again.put(&r.get::<PathRecord>()?),
                15 => again.put(&r.get::<Create2Response>()?),
                5 => again.put(&r.get::<StatResponse>()?),
                4 => again.put(&r.get::<DataResponse>()?),
                8 => again.put(&r.get::<NamesResponse>()?),
                _ => {}
            }
            Ok::<bool, rookeeper::proto::jute::DecodeError>(false)
        })();
        if part.map_err(|e| e.to_string())? {
            break;
        }
    }
    if again != bytes { Err("results are written otherwise".to_string()) } else { Ok(()) }
}

fn request(opcode: i32, body: &Bytes) -> Found {
    match opcode {
        1 | 15 | 19 => exact::<CreateRequest>(body),
        21 => exact::<CreateTtlRequest>(body),
        2 => exact::<DeleteRequest>(body),
        5 => exact::<SetDataRequest>(body),
        7 => exact::<SetAclRequest>(body),
        3 | 4 | 8 | 12 => exact::<ReadRequest>(body),
        6 | 9 | 20 | 103 | 104 => exact::<PathRecord>(body),
        17 | 18 | 106 => exact::<WatchRequest>(body),
        101 => exact::<SetWatches>(body),
        105 => exact::<SetWatches2>(body),
        100 => exact::<AuthPacket>(body),
        102 => exact::<SaslToken>(body),
        16 => exact::<ReconfigRequest>(body),
        14 | 22 => operations(body),
        _ => exact::<()>(body),
    }
}

fn reply(opcode: i32, err: i32, body: &Bytes) -> Found {
    match opcode {
        14 | 22 if !body.is_empty() => results(body),
        _ if err != 0 => exact::<()>(body),
        1 | 9 => exact::<PathRecord>(body),
        15 | 19 | 21 => exact::<Create2Response>(body),
        3 | 5 | 7 => exact::<StatResponse>(body),
        4 | 16 => exact::<DataResponse>(body),
        6 => exact::<AclResponse>(body),
        8 | 103 => exact::<NamesResponse>(body),
        12 => exact::<Children2Response>(body),
        104 | 106 => exact::<CountResponse>(body),
        107 => exact::<WhoAmIResponse>(body),
        102 => exact::<SaslToken>(body),
        _ => exact::<()>(body),
    }
}

/// One connection of the client port.
fn client(messages: &[Message], lenient: bool) -> Result<usize, String> {
    let mut opcodes: HashMap<i32, i32> = HashMap::from([(-2, 11), (-4, 100), (-8, 101)]);
    let mut started = [false, false];
    let mut count = 0;
    // Whose answer says that they are malformed, or who got none but a closed connection.
    let answer = |m: &&Message| {
        let head = ReplyHeader::from_bytes(Bytes::copy_from_slice(m.bytes.get(4..)?)).ok()?;
        Some((head.xid, head.err))
    };
    let answers: HashMap<i32, i32> =
        messages.iter().filter(|m| !m.forth).filter_map(|m| answer(&m)).collect();
    let refused = |xid: i32| answers.get(&xid).is_none_or(|err| REFUSED.contains(err));
    let frames = messages.iter().filter(|m| m.remark != "closed" && m.remark != "no whole frame");
    for m in frames {
        let payload = Bytes::copy_from_slice(&m.bytes[4..]);
        let first = !std::mem::replace(&mut started[m.forth as usize], true);
        let mut lenient = lenient;
        let found = match (first, m.forth) {
            (true, true) => exact::<ConnectRequest>(&payload),
            (true, false) => exact::<ConnectResponse>(&payload),
            _ if payload.len() < if m.forth { 8 } else { 16 } => Err("too short".to_string()),
            (false, true) => {
                let head = RequestHeader::from_bytes(payload.clone()).map_err(|e| e.to_string())?;
                opcodes.insert(head.xid, head.opcode);
                lenient |= refused(head.xid);
                request(head.opcode, &payload.slice(8..))
            }
            (false, false) => {
                let head = ReplyHeader::from_bytes(payload.clone()).map_err(|e| e.to_string())?;
                let body = payload.slice(16..);
                match (head.xid, opcodes.get(&head.xid)) {
                    (-1, asked) => match (exact::<WatcherEvent>(&body), asked) {
                        // Somebody asked with this xid of all.
                        (Err(_), Some(opcode)) => reply(*opcode, head.err, &body),
                        (event, _) => event,
                    },
                    (_, Some(opcode)) => reply(*opcode, head.err, &body),
                    (xid, None) => Err(format!("nobody asked for {xid}")),
                }
            }
        };
        if !(lenient && m.forth) {
            found.map_err(|e| format!("{}: {e}", m.remark))?;
        }
        count += 1;
    }
    Ok(count)
}

/// One connection of the election port.
fn elections(messages: &[Message]) -> Result<usize, String> {
    for m in messages {
        let whole = Bytes::copy_from_slice(&m.bytes);
        if m.remark.starts_with("hello") {
            let read = |b: &[u8]| Hello::split_from(&mut BytesMut::from(b));
            let hello = read(&whole).map_err(|e| e.to_string())?.ok_or("not whole")?;
            if hello.encode() != whole {
                return Err(format!("{hello:?} is written otherwise"));
            }
            if (0..whole.len()).any(|n| matches!(read(&whole[..n]), Ok(Some(_)))) {
                return Err(format!("a part of {hello:?} is enough"));
            }
        } else if m.remark.starts_with("notification") {
            let read = |b: &[u8]| election::split_frame(&mut BytesMut::from(b));
            let payload = read(&whole).map_err(|e| e.to_string())?.ok_or("not whole")?;
            let value = Notification::decode(payload.clone()).map_err(|e| e.to_string())?;
            if election::frame(&value.encode()) != whole {
                return Err(format!("{value:?} is written otherwise"));
            }
            if (0..whole.len()).any(|n| matches!(read(&whole[..n]), Ok(Some(_)))) {
                return Err(format!("a part of {value:?} is enough"));
            }
            for n in 0..payload.len() {
                let _ = Notification::decode(payload.slice(..n));
            }
        }
    }
    Ok(messages.len())
}

/// One connection of the learner port.
fn learners(messages: &[Message]) -> Result<usize, String> {
    for m in messages.iter().filter(|m| !m.remark.starts_with("snapshot")) {
        let whole = Bytes::copy_from_slice(&m.bytes);
        let read = |b: &[u8]| QuorumPacket::split_from(&mut BytesMut::from(b), 1 << 20);
        let packet = read(&whole).map_err(|e| e.to_string())?.ok_or("not whole")?;
        if packet.to_bytes() != whole {
            return Err(format!("{packet:?} is written otherwise"));
        }
        if (0..whole.len()).any(|n| matches!(read(&whole[..n]), Ok(Some(_)))) {
            return Err(format!("a part of {packet:?} is enough"));
        }
    }
    Ok(messages.len())
}

/// All recordings of one port.
pub fn check(port: &'static str) -> Outcome {
    let mut count = 0;
    let mut files: Vec<_> = std::fs::read_dir(folder(port))?.flatten().map(|e| e.path()).collect();
    files.sort();
    for path in files {
        let text = std::fs::read_to_string(&path)?;
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let mark = if port == "client" { "\nconnection " } else { "\nmember " };
        for part in text.split(mark).skip(1) {
            let messages = annotate::parse(part);
            let found = match port {
                "client" => client(&messages, MALFORMED.contains(&name.as_str())),
                "election" => elections(&messages),
                _ => learners(&messages),
            };
            count += found.map_err(|e| Stop::failed(format!("{port}/{name}: {e}")))?;
        }
    }
    Ok(format!("{count} messages decoded, encoded and cut off"))
}
