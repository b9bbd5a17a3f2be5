//! Recordings of the client port: one conversation per file, a frame per message.

use std::net::SocketAddr;

use super::annotate::{self, Message};
use super::folder;
use crate::differential::{exec, replay};
use crate::harness::apache;
use crate::harness::jute::Reader;
use crate::harness::ports::{TempDir, free_port};
use crate::harness::proxy::{Entry, Passed, Proxy};
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::{Kind, Server};

/// Programs whose conversations are kept as bytes.
const PROGRAMS: &[&str] = &[
    "acl-schemes",
    "auth-replies",
    "connect-shapes",
    "create-modes",
    "ephemerals",
    "fresh-tree",
    "malformed-bodies",
    "multi-failure",
    "multi-read",
    "multi-success",
    "null-and-empty",
    "pipeline",
    "renew",
    "sequence",
    "sync-and-ping",
    "unknown-opcodes",
    "versions",
    "watches-persistent",
    "watches-remove",
    "watches-set-again",
    "watches-standard",
];

/// Makes all recordings.
pub fn record() -> Outcome {
    std::fs::create_dir_all(folder("client"))?;
    for name in PROGRAMS {
        let program = replay::load(&replay::folder().join(format!("{name}.txt")))?;
        let dir = TempDir::new("wire-client");
        let mut server = Server::new(Kind::Hosted, dir.path());
        server.start()?;
        let front = free_port();
        let proxy = Proxy::start(front, SocketAddr::from(([127, 0, 0, 1], server.port)))?;
        server.port_shown = Some(front);
        exec::run(&program.steps, &mut server, false)?;
        let tape = proxy.take();
        let mut text = format!(
            "# The program fixtures/differential/{name}.txt as bytes.\n\
             # Apache ZooKeeper {}, standalone, client port; '>' from the client.\n",
            apache::REFERENCE
        );
        let connections: std::collections::BTreeSet<usize> =
            tape.iter().map(|e| e.connection).collect();
        for connection in connections {
            text.push_str(&format!("\nconnection {connection}\n"));
            text.push_str(&annotate::print(&cut(&tape, connection)));
        }
        std::fs::write(folder("client").join(format!("{name}.txt")), text)?;
    }
    Ok(format!("{} programs", PROGRAMS.len()))
}

fn cut(tape: &[Entry], connection: usize) -> Vec<Message> {
    let mut out = Vec::new();
    let mut started = [false, false];
    // A frame may lie over several pieces of its direction; keep the unfinished part.
    let mut open: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    for entry in tape.iter().filter(|e| e.connection == connection) {
        let (forth, bytes) = match &entry.passed {
            Passed::Forth(bytes) => (true, bytes),
            Passed::Back(bytes) => (false, bytes),
            Passed::Closed => {
                out.push(Message { forth: false, remark: "closed".to_string(), bytes: Vec::new() });
                continue;
            }
            Passed::Open => continue,
        };
        let side = forth as usize;
        open[side].extend_from_slice(bytes);
        while open[side].len() >= 4 {
            let b = &open[side];
            let len = u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize;
            if b.len() < 4 + len {
                break;
            }
            let frame: Vec<u8> = open[side].drain(..4 + len).collect();
            let remark = remark(forth, !started[side], &frame[4..]);
            started[side] = true;
            out.push(Message { forth, remark, bytes: frame });
        }
    }
    for (side, rest) in open.iter().enumerate().filter(|(_, r)| !r.is_empty()) {
        let remark = "no whole frame".to_string();
        out.push(Message { forth: side == 1, remark, bytes: rest.clone() });
    }
    out
}

fn remark(forth: bool, first: bool, payload: &[u8]) -> String {
    let mut r = Reader::new(payload);
    if first {
        return if forth { "ConnectRequest" } else { "ConnectResponse" }.to_string();
    }
    if forth {
        match (r.int(), r.int()) {
            (Ok(xid), Ok(op)) => format!("request xid={xid} opcode={op}"),
            _ => "short request".to_string(),
        }
    } else {
        match (r.int(), r.long(), r.int()) {
            (Ok(-1), Ok(zxid), Ok(_)) => format!("event zxid=0x{zxid:x}"),
            (Ok(xid), Ok(zxid), Ok(err)) => format!("reply xid={xid} zxid=0x{zxid:x} err={err}"),
            _ => "short reply".to_string(),
        }
    }
}

/// Every recorded message is one whole frame.
pub fn check() -> Outcome {
    let mut count = 0;
    for name in PROGRAMS {
        let path = folder("client").join(format!("{name}.txt"));
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Stop::failed(format!("{}: {e}", path.display())))?;
        for m in annotate::parse(&text) {
            if m.remark == "closed" || m.remark == "no whole frame" {
                continue;
            }
            let len = Reader::new(&m.bytes).int().unwrap_or(-1);
            if len as usize + 4 != m.bytes.len() {
                return Err(Stop::failed(format!("{name}: {m:?}")));
            }
            count += 1;
        }
    }
    Ok(format!("{count} frames"))
}
