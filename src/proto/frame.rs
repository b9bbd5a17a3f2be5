//! Frames on the client port: a 4-byte length and that many bytes, or a four-letter word first.

use bytes::{Buf, Bytes, BytesMut};

use super::jute::wire_length;

/// The default of `jute.maxbuffer`: the largest request, in bytes.
pub const MAX_BUFFER_DEFAULT: usize = 0xfffff;

/// A length that no request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame length {length} is outside 1 to {max} (jute.maxbuffer)")]
pub struct FrameLength {
    /// What the client announced.
    pub length: i32,
    /// The limit.
    pub max: usize,
}

/// Cuts the next whole frame off the front of `input`; None when it has not all arrived. A length
/// of zero or less, or above `max`, is an error: the connection closes without a reply.
pub fn next_frame(input: &mut BytesMut, max: usize) -> Result<Option<Bytes>, FrameLength> {
    if input.len() < 4 {
        return Ok(None);
    }
    let length = i32::from_be_bytes([input[0], input[1], input[2], input[3]]);
    if length <= 0 || length as usize > max {
        return Err(FrameLength { length, max });
    }
    let length = length as usize;
    if input.len() < 4 + length {
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(length).freeze()))
}

/// Reserves the length of a frame; [`end`] fills it in.
pub fn begin(out: &mut BytesMut) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    at
}

/// Fills in the length of the frame that [`begin`] started at `at`.
///
/// # Panics
/// Beyond 2^31 - 1 bytes, see [`super::jute::wire_length`].
pub fn end(out: &mut BytesMut, at: usize) {
    let length = wire_length(out.len() - at - 4);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
