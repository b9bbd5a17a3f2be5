//! Bodies of multi (14) and multiRead (22): operations between headers, no count
//! (Apache `MultiOperationRecord`, `MultiResponse`).

use bytes::BytesMut;

use super::jute::{DecodeError, Reader, Write};
use super::opcode::OpCode;
use super::records::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, MultiHeader, ReadRequest,
    SetDataRequest,
};
use crate::types::{Code, CreateMode};

/// One operation of a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// create (1), create2 (15) or createContainer (19).
    Create(OpCode, CreateRequest),
    /// createTTL.
    CreateTtl(CreateTtlRequest),
    /// delete.
    Delete(DeleteRequest),
    /// setData.
    SetData(SetDataRequest),
    /// check.
    Check(CheckVersionRequest),
    /// getData, only in a multiRead; the watch bit is dropped.
    GetData(ReadRequest),
    /// getChildren, only in a multiRead; the watch bit is dropped.
    GetChildren(ReadRequest),
}

impl Op {
    /// The operation's number.
    pub fn opcode(&self) -> OpCode {
        match self {
            Op::Create(opcode, _) => *opcode,
            Op::CreateTtl(_) => OpCode::CREATE_TTL,
            Op::Delete(_) => OpCode::DELETE,
            Op::SetData(_) => OpCode::SET_DATA,
            Op::Check(_) => OpCode::CHECK,
            Op::GetData(_) => OpCode::GET_DATA,
            Op::GetChildren(_) => OpCode::GET_CHILDREN,
        }
    }

    /// The path, which may be null.
    pub fn path(&self) -> Option<&str> {
        match self {
            Op::Create(_, r) => r.path.as_deref(),
            Op::CreateTtl(r) => r.path.as_deref(),
            Op::Delete(r) => r.path.as_deref(),
            Op::SetData(r) => r.path.as_deref(),
            Op::Check(r) => r.path.as_deref(),
            Op::GetData(r) | Op::GetChildren(r) => r.path.as_deref(),
        }
    }

    /// Whether it is an operation of multiRead.
    pub fn is_read(&self) -> bool {
        matches!(self, Op::GetData(_) | Op::GetChildren(_))
    }
}

/// Decodes the operations. Reads and writes must not be mixed, creates must carry a known flag (as
/// from 3.9 on), the end header must be there; everything else is an error, which the server
/// answers with MARSHALLINGERROR.
pub fn read_ops(r: &mut Reader) -> Result<Vec<Op>, DecodeError> {
    let mut ops: Vec<Op> = Vec::new();
    while let Some(op) = next_op(r)? {
        if ops.last().is_some_and(|last| last.is_read() != op.is_read()) {
            let value = op.opcode().0.into();
            return Err(DecodeError::Invalid { what: "mix of reads and writes in a multi", value });
        }
        ops.push(op);
    }
    Ok(ops)
}

/// Decodes the next operation; None at the end header. Who calls it sees to it that reads and writes
/// are not mixed.
pub fn next_op(r: &mut Reader) -> Result<Option<Op>, DecodeError> {
    let header: MultiHeader = r.get()?;
    if header.done {
        return Ok(None);
    }
    Ok(Some(match OpCode(header.opcode) {
        opcode @ (OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER) => {
            let create: CreateRequest = r.get()?;
            let mode = mode(create.flags)?;
            if mode.is_ttl() {
                let value = create.flags.into();
                return Err(DecodeError::Invalid { what: "create flags", value });
            }
            Op::Create(kind(mode, opcode), create)
        }
        OpCode::CREATE_TTL => {
            let create: CreateTtlRequest = r.get()?;
            let mode = mode(create.flags)?;
            if mode.is_ttl() {
                Op::CreateTtl(create)
            } else {
                let CreateTtlRequest { path, data, acl, flags, .. } = create;
                let request = CreateRequest { path, data, acl, flags };
                Op::Create(kind(mode, OpCode::CREATE), request)
            }
        }
        OpCode::DELETE => Op::Delete(r.get()?),
        OpCode::SET_DATA => Op::SetData(r.get()?),
        OpCode::CHECK => Op::Check(r.get()?),
        OpCode::GET_DATA => Op::GetData(r.get()?),
        OpCode::GET_CHILDREN => Op::GetChildren(r.get()?),
        other => {
            return Err(DecodeError::Invalid { what: "multi op", value: other.0.into() });
        }
    }))
}

fn mode(flags: i32) -> Result<CreateMode, DecodeError> {
    let bad = DecodeError::Invalid { what: "create flags", value: flags.into() };
    CreateMode::from_flags(flags).ok_or(bad)
}

/// In a multi the flag makes a container of any create (unlike in a request of its own).
fn kind(mode: CreateMode, opcode: OpCode) -> OpCode {
    if mode == CreateMode::Container { OpCode::CREATE_CONTAINER } else { opcode }
}

/// Encodes the operations, the client's side.
pub fn write_ops(w: &mut BytesMut, ops: &[Op]) {
    for op in ops {
        w.put(&MultiHeader { opcode: op.opcode().0, done: false, err: -1 });
        match op {
            Op::Create(_, r) => w.put(r),
            Op::CreateTtl(r) => w.put(r),
            Op::Delete(r) => w.put(r),
            Op::SetData(r) => w.put(r),
            Op::Check(r) => w.put(r),
            Op::GetData(r) | Op::GetChildren(r) => w.put(r),
        }
    }
    write_end(w);
}

/// A result's header; the body follows.
pub fn write_result(w: &mut BytesMut, opcode: OpCode) {
    w.put(&MultiHeader { opcode: opcode.0, done: false, err: 0 });
}

/// An error result, header and body.
pub fn write_error(w: &mut BytesMut, code: Code) {
    w.put(&MultiHeader { opcode: -1, done: false, err: code.0 });
    w.i32(code.0);
}

/// The header that ends a multi.
pub fn write_end(w: &mut BytesMut) {
    w.put(&MultiHeader { opcode: -1, done: true, err: -1 });
}
