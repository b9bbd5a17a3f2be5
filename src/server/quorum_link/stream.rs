//! The snapshot behind a SNAP packet: an image without file header and seals, then a signature
//! (Apache `LearnerHandler`, `Learner.syncWithLeader`).
//!
//! ```text
//! int n, n x { long session, int timeout }
//! int n, n x { long index, vector<ACL> }
//! { string path, node } ... string "/"
//! string "BenWasHere"
//! ```

use bytes::BytesMut;

use crate::proto::image::{END_OF_NODES, ImageNode, ImageSink};
use crate::proto::jute::{DecodeError, Reader, Write};
use crate::proto::quorum::SNAPSHOT_SIGNATURE;
use crate::types::Acl;

/// Why a stream is not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Not jute, or a record larger than allowed.
    #[error("snapshot stream: {0}")]
    Decode(#[from] DecodeError),
    /// Records that don't fit together.
    #[error("snapshot stream: {0}")]
    Image(String),
    /// The signature is missing: sender and receiver disagree about where the image ends.
    #[error("snapshot stream ends with {0:?}")]
    Signature(String),
}

/// What comes next.
enum Part {
    SessionCount,
    Sessions(i32),
    AclCount,
    Acls(i32),
    Nodes,
    Signature,
    End,
}

/// Decodes the stream from pieces of any size, holding one incomplete record at most.
pub struct ImageStream {
    next: Part,
    record_max: usize,
    /// Bytes that must be there before another attempt is worth it.
    wanted: usize,
}

/// Appends what ends a snapshot's stream.
pub fn end(out: &mut BytesMut) {
    out.str(END_OF_NODES);
    out.str(SNAPSHOT_SIGNATURE);
}

impl ImageStream {
    /// At the start of a stream whose records are `record_max` bytes at most.
    pub fn new(record_max: usize) -> ImageStream {
        ImageStream { next: Part::SessionCount, record_max, wanted: 0 }
    }

    /// Takes what it can from the front of `input`. True when the snapshot is complete: what is
    /// left in `input` is the next packet.
    pub fn feed<S: ImageSink>(
        &mut self,
        input: &mut BytesMut,
        sink: &mut S,
    ) -> Result<bool, StreamError> {
        if input.len() < self.wanted {
            return Ok(false);
        }
        let bytes = input.split().freeze();
        let mut reader = Reader::new(bytes.clone());
        loop {
            let at = reader.offset();
            match self.step(&mut reader, sink) {
                Ok(()) if matches!(self.next, Part::End) => {
                    input.extend_from_slice(&bytes[reader.offset()..]);
                    return Ok(true);
                }
                Ok(()) => {}
                Err(StreamError::Decode(DecodeError::UnexpectedEnd { needed, .. })) => {
                    let rest = bytes.len() - at;
                    if rest.saturating_add(needed) > self.record_max + 1024 {
                        let length = needed as i64;
                        let too_long = DecodeError::Length { what: "record", length, offset: at };
                        return Err(too_long.into());
                    }
                    self.wanted = rest + needed;
                    input.extend_from_slice(&bytes[at..]);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One record.
    fn step<S: ImageSink>(&mut self, r: &mut Reader, sink: &mut S) -> Result<(), StreamError> {
        self.next = match self.next {
            Part::SessionCount => Part::Sessions(count(r)?),
            Part::Sessions(0) => Part::AclCount,
            Part::Sessions(left) => {
                let (id, timeout_ms) = (r.i64()?, r.i32()?);
                sink.session(id, timeout_ms);
                Part::Sessions(left - 1)
            }
            Part::AclCount => Part::Acls(count(r)?),
            Part::Acls(0) => Part::Nodes,
            Part::Acls(left) => {
                let index = r.i64()?;
                let acl: Vec<Acl> = r.vec()?.unwrap_or_default();
                sink.acl(index, acl);
                Part::Acls(left - 1)
            }
            Part::Nodes => {
                let path: String = r.get()?;
                if path == END_OF_NODES {
                    Part::Signature
                } else {
                    let node: ImageNode = r.get()?;
                    sink.node(&path, node).map_err(StreamError::Image)?;
                    Part::Nodes
                }
            }
            Part::Signature => {
                let signature: String = r.get()?;
                if signature != SNAPSHOT_SIGNATURE {
                    return Err(StreamError::Signature(signature));
                }
                Part::End
            }
            Part::End => Part::End,
        };
        Ok(())
    }
}

/// A number of records: each is read on its own, so nothing is allocated for it.
fn count(r: &mut Reader) -> Result<i32, DecodeError> {
    let count = r.i32()?;
    if count < 0 {
        return Err(DecodeError::Length {
            what: "count",
            length: count.into(),
            offset: r.offset(),
        });
    }
    Ok(count)
}
