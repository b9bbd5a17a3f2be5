//! Frames for clients: headers and the bodies of replies to writes.

use bytes::{Bytes, BytesMut};

use crate::proto::frame;
use crate::proto::jute::{Reader, Write};
use crate::proto::opcode::OpCode;
use crate::proto::records::{ConnectResponse, DataResponse, PathRecord, ReplyHeader};
use crate::state::{EventKind, TxnResult, read};
use crate::types::{Code, Stat, Xid, Zxid};

/// Appends a reply's frame; `body` is written only when there is no error.
pub fn write_reply(
    out: &mut BytesMut,
    xid: i32,
    zxid: Zxid,
    code: Code,
    body: impl FnOnce(&mut BytesMut),
) {
    let at = frame::begin(out);
    out.put(&ReplyHeader { xid, zxid: zxid.0, err: code.0 });
    if code == Code::OK {
        body(out);
    }
    frame::end(out, at);
}

/// Appends the frame of a watch event.
pub fn write_event(out: &mut BytesMut, zxid: Zxid, kind: EventKind, path: &str) {
    let at = frame::begin(out);
    out.put(&ReplyHeader { xid: Xid::WATCH_EVENT.0, zxid: zxid.0, err: 0 });
    out.i32(kind as i32);
    out.i32(SYNC_CONNECTED);
    out.str(path);
    frame::end(out, at);
}

/// The state in every watch event.
const SYNC_CONNECTED: i32 = 3;

/// Appends the frame of a connect response.
pub fn write_connect(out: &mut BytesMut, response: &ConnectResponse) {
    let at = frame::begin(out);
    out.put(response);
    frame::end(out, at);
}

/// Appends the reply to a sync, with the path as it was understood: nothing that came behind it, and
/// in Java's bytes.
pub fn write_sync(out: &mut BytesMut, xid: i32, zxid: Zxid, body: Bytes) {
    write_reply(out, xid, zxid, Code::OK, |out| {
        // What does not decode is not ordered (`prep::decodes`).
        out.put(&Reader::new(body).get::<PathRecord>().unwrap_or_default());
    });
}

/// Appends the reply to a write of type `opcode` that has been applied.
pub fn write_result(out: &mut BytesMut, opcode: OpCode, xid: i32, result: &TxnResult) {
    // A failed multi is answered with its results, not with an error.
    let code =
        if opcode == OpCode::MULTI && !result.multi.is_empty() { Code::OK } else { result.code };
    write_reply(out, xid, result.zxid, code, |out| match opcode {
        OpCode::MULTI => {
            read::write_multi_results(&result.multi, out);
        }
        _ => write_body(out, opcode, result.path.as_deref(), result.stat),
    });
}

/// Appends the reply to a change of the membership that has been applied: the new config, as a read
/// of its node would give it.
pub fn write_reconfig(out: &mut BytesMut, xid: i32, result: &TxnResult, data: Option<Bytes>) {
    write_reply(out, xid, result.zxid, result.code, |out| {
        out.put(&DataResponse { data, stat: result.stat.unwrap_or_default() });
    });
}

fn write_body(out: &mut BytesMut, opcode: OpCode, path: Option<&str>, stat: Option<Stat>) {
    match opcode {
        OpCode::CREATE => out.opt_str(path),
        OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
            out.opt_str(path);
            out.put(&stat.unwrap_or_default());
        }
        OpCode::SET_DATA | OpCode::SET_ACL => out.put(&stat.unwrap_or_default()),
        _ => {}
    }
}
