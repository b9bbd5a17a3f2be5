//! What clients ask for: few paths, all kinds of requests, so that they meet.

use bytes::{Bytes, BytesMut};

use crate::proto::jute::Jute;
use crate::proto::multi::{Op, write_ops};
use crate::proto::opcode::OpCode;
use crate::proto::records::{
    CheckVersionRequest, CreateRequest, DeleteRequest, PathRecord, ReadRequest, SetAclRequest,
    SetDataRequest, WatchRequest,
};
use crate::sim::random::Random;
use crate::types::{Acl, Perms, open_acl};

use super::params::Params;

/// Everybody may do everything but change the ACL: watches stay allowed.
fn narrow_acl() -> Vec<Acl> {
    let mut acl = open_acl();
    for entry in &mut acl {
        entry.perms = Perms(15);
    }
    acl
}

fn path(r: &mut Random, params: &Params) -> String {
    let top = format!("/k{}", r.below(params.keys));
    match r.below(10) {
        0..=4 => top,
        5..=8 => format!("{top}/c{}", r.below(4)),
        _ => format!("{top}/c{}/d", r.below(4)),
    }
}

fn data(r: &mut Random, params: &Params) -> Option<Bytes> {
    match r.below(20) {
        0 => None,
        1 => Some(Bytes::new()),
        _ => {
            let length = r.between(1, params.data_max) as usize;
            let fill = r.bits() as u8;
            Some(Bytes::from(vec![fill; length]))
        }
    }
}

fn version(r: &mut Random) -> i32 {
    if r.permille(700) { -1 } else { r.below(4) as i32 }
}

fn create(r: &mut Random, params: &Params, ephemerals: bool) -> CreateRequest {
    // Persistent, ephemeral, and both with a sequence number.
    let flags = r.pick(&[0, 0, 0, 1, 1, 2, 3]) & if ephemerals { 3 } else { 2 };
    let mut at = path(r, params);
    if flags >= 2 {
        at.push_str("/s-");
    } else if flags == 1 {
        at.push_str("/e");
    }
    CreateRequest { path: Some(at), data: data(r, params), acl: Some(open_acl()), flags }
}

/// A write, perhaps of an ephemeral.
pub fn write(r: &mut Random, params: &Params, ephemerals: bool) -> (OpCode, Bytes) {
    match r.below(20) {
        0..=5 => (OpCode::CREATE, create(r, params, ephemerals).to_bytes()),
        6..=7 => (OpCode::CREATE2, create(r, params, ephemerals).to_bytes()),
        8 => {
            let mut request = create(r, params, ephemerals);
            request.flags = 4;
            (OpCode::CREATE_CONTAINER, request.to_bytes())
        }
        9..=10 => {
            let request = DeleteRequest { path: Some(path(r, params)), version: version(r) };
            (OpCode::DELETE, request.to_bytes())
        }
        11..=15 => {
            let (at, data) = (path(r, params), data(r, params));
            let request = SetDataRequest { path: Some(at), data, version: version(r) };
            (OpCode::SET_DATA, request.to_bytes())
        }
        16 => {
            let acl = if r.permille(500) { open_acl() } else { narrow_acl() };
            let request =
                SetAclRequest { path: Some(path(r, params)), acl: Some(acl), version: version(r) };
            (OpCode::SET_ACL, request.to_bytes())
        }
        _ => {
            let mut ops = Vec::new();
            for _ in 0..r.between(1, 4) {
                ops.push(match r.below(5) {
                    0 => Op::Create(OpCode::CREATE, create(r, params, ephemerals)),
                    1 => Op::Delete(DeleteRequest {
                        path: Some(path(r, params)),
                        version: version(r),
                    }),
                    2 => Op::Check(CheckVersionRequest {
                        path: Some(path(r, params)),
                        version: version(r),
                    }),
                    _ => Op::SetData(SetDataRequest {
                        path: Some(path(r, params)),
                        data: data(r, params),
                        version: version(r),
                    }),
                });
            }
            let mut body = BytesMut::new();
            write_ops(&mut body, &ops);
            (OpCode::MULTI, body.freeze())
        }
    }
}

/// A read, often with a watch.
pub fn read(r: &mut Random, params: &Params) -> (OpCode, Bytes) {
    let at = Some(path(r, params));
    let opcode = match r.below(12) {
        0..=3 => OpCode::GET_DATA,
        4..=5 => OpCode::EXISTS,
        6 => OpCode::GET_CHILDREN,
        7..=8 => OpCode::GET_CHILDREN2,
        9 => return (OpCode::GET_ACL, PathRecord { path: at }.to_bytes()),
        10 => return (OpCode::SYNC, PathRecord { path: at }.to_bytes()),
        _ => {
            let request = WatchRequest { path: at, kind: r.below(2) as i32 };
            return (OpCode::ADD_WATCH, request.to_bytes());
        }
    };
    (opcode, ReadRequest { path: at, watch: r.permille(400) }.to_bytes())
}

/// The path of a client's own ephemeral.
pub fn own_path(client: usize) -> String {
    format!("/own-{client}")
}

/// The request for a client's own ephemeral.
pub fn own(client: usize) -> Bytes {
    let path = Some(own_path(client));
    CreateRequest { path, data: None, acl: Some(open_acl()), flags: 1 }.to_bytes()
}

/// A write that tells whether the server serves.
pub fn probe(r: &mut Random) -> (OpCode, Bytes) {
    let data = Some(Bytes::from(r.bits().to_be_bytes().to_vec()));
    let request = SetDataRequest { path: Some("/k0".into()), data, version: -1 };
    (OpCode::SET_DATA, request.to_bytes())
}
