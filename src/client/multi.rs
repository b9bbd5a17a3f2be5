//! The results of multi and multiRead (Apache `MultiResponse`).

use bytes::Bytes;

use crate::proto::jute::{DecodeError, Reader};
use crate::proto::opcode::OpCode;
use crate::proto::records::{
    Create2Response, DataResponse, ErrorResponse, MultiHeader, NamesResponse, PathRecord,
    StatResponse,
};
use crate::types::{Code, Stat};

/// The result of one operation of a multi or multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// create: the path.
    Created(String),
    /// create2, createContainer, createTTL: path and stat.
    CreatedStat(String, Stat),
    /// delete.
    Deleted,
    /// setData: the new stat.
    Set(Stat),
    /// check.
    Checked,
    /// getData.
    Data(Option<Bytes>, Stat),
    /// getChildren.
    Children(Vec<String>),
    /// Failed; in a multi one operation has the reason, those before it [`Code::OK`] and those
    /// after it [`Code::RUNTIME_INCONSISTENCY`], and nothing was done.
    Error(Code),
}

/// Decodes the body of a reply; paths stay the server's.
pub(super) fn read_results(r: &mut Reader) -> Result<Vec<OpResult>, DecodeError> {
    let mut results = Vec::new();
    loop {
        let header: MultiHeader = r.get()?;
        if header.done {
            return Ok(results);
        }
        results.push(match OpCode(header.opcode) {
            OpCode::CREATE => OpResult::Created(r.get::<PathRecord>()?.path.unwrap_or_default()),
            OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
                let created: Create2Response = r.get()?;
                OpResult::CreatedStat(created.path.unwrap_or_default(), created.stat)
            }
            OpCode::DELETE => OpResult::Deleted,
            OpCode::SET_DATA => OpResult::Set(r.get::<StatResponse>()?.stat),
            OpCode::CHECK => OpResult::Checked,
            OpCode::GET_DATA => {
                let got: DataResponse = r.get()?;
                OpResult::Data(got.data, got.stat)
            }
            OpCode::GET_CHILDREN => {
                OpResult::Children(r.get::<NamesResponse>()?.names.unwrap_or_default())
            }
            OpCode::ERROR => OpResult::Error(Code(r.get::<ErrorResponse>()?.err)),
            other => {
                return Err(DecodeError::Invalid { what: "multi result", value: other.0.into() });
            }
        });
    }
}
