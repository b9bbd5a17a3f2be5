//! An image as a stream of records: the middle of a snapshot file, and what a leader sends in a
//! SNAP synchronisation (there without header and seals, and `BenWasHere` behind it).
//!
//! ```text
//! i32 n, n x { i64 session, i32 timeout ms }
//! i32 n, n x { i64 index, vector<ACL> }
//! { ustring path, node }*        the root first, as ""; parents before children
//! ustring "/"
//! ustring "BenWasHere"           between servers only
//! ```

use std::borrow::Cow;

use bytes::{Buf as _, BytesMut};

use super::Adler;
use crate::proto::image::{END_OF_NODES, ImageHead, ImageSink, NodeView};
use crate::proto::jute::{DecodeError, Reader, Write};
use crate::types::Acl;

/// What a leader sends behind an image.
pub const LINK_SIGNATURE: &str = "BenWasHere";
/// The longest record believed in a file.
pub const FILE_RECORD_MAX: usize = 512 << 20;

/// Appends everything before the nodes. The nodes follow as [`write_node_path`] and
/// [`crate::proto::image::write_node_body`] encode them, then [`write_end`].
pub fn write_head(head: &ImageHead, out: &mut BytesMut) {
    out.count(head.sessions.len());
    for (id, timeout_ms) in &head.sessions {
        out.i64(*id);
        out.i32(*timeout_ms);
    }
    out.count(head.acls.len());
    for (index, acl) in &head.acls {
        out.i64(*index);
        out.vec(Some(acl));
    }
}

/// Appends a node's path; its body follows. The root's is empty.
pub fn write_node_path(path: &str, out: &mut BytesMut) {
    out.str(path);
}

/// Appends the end of the nodes.
pub fn write_end(out: &mut BytesMut) {
    out.str(END_OF_NODES);
}

/// Appends what follows an image between servers.
pub fn write_link_signature(out: &mut BytesMut) {
    out.str(LINK_SIGNATURE);
}

/// Why a stream is no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// A record that can't be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A node that the receiver refused (its parent is missing).
    #[error("invalid tree: {0}")]
    Refused(String),
    /// A record longer than the limit.
    #[error("a record of {0} bytes or more is too long")]
    TooLong(usize),
    /// Not the signature behind the nodes.
    #[error("no signature behind the image")]
    NoSignature,
}

/// What surrounds the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A file: the image ends with its last node's terminator.
    File,
    /// A link: the signature belongs to it.
    Link,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    SessionCount,
    Sessions(u32),
    AclCount,
    Acls(u32),
    Nodes,
    Signature,
    Done,
}

/// Decodes an image that arrives in pieces.
#[derive(Debug)]
pub struct ImageDecoder {
    phase: Phase,
    framing: Framing,
    record_max: usize,
    /// Not worth trying with fewer bytes than this.
    need: usize,
    nodes: u64,
    adler: Adler,
    consumed: u64,
}

impl ImageDecoder {
    /// A decoder at the start of an image, that refuses records over `record_max` bytes.
    pub fn new(framing: Framing, record_max: usize) -> ImageDecoder {
        ImageDecoder {
            phase: Phase::SessionCount,
            framing,
            record_max,
            need: 4,
            nodes: 0,
            adler: Adler::default(),
            consumed: 0,
        }
    }

    /// Nodes decoded so far.
    pub fn nodes(&self) -> u64 {
        self.nodes
    }

    /// Bytes consumed so far; after an error, where the record begins that can't be read.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Counts bytes that precede the image (a file's header) into the checksum.
    pub(super) fn prefix(&mut self, bytes: &[u8]) {
        self.adler.write(bytes);
        self.consumed += bytes.len() as u64;
    }

    /// Adler-32 of everything consumed.
    pub(super) fn checksum(&self) -> Adler {
        self.adler.clone()
    }

    /// Decodes what it can from the front of `input` and hands it to `sink`; true when the image is
    /// complete, and then `input` holds what came behind it. Call again with more bytes appended.
    ///
    /// # Errors
    /// When this can't become an image; the sink has received a part of it then.
    pub fn feed(
        &mut self,
        input: &mut BytesMut,
        sink: &mut dyn ImageSink,
    ) -> Result<bool, ImageError> {
        if self.phase == Phase::Done {
            return Ok(true);
        }
        if input.len() < self.need {
            return Ok(false);
        }
        let bytes = std::mem::take(input).freeze();
        let mut r = Reader::new(bytes.clone());
        let mut good = 0;
        while self.phase != Phase::Done {
            match self.one(&mut r, sink) {
                Ok(()) => good = r.offset(),
                Err(ImageError::Decode(DecodeError::UnexpectedEnd { offset, needed })) => {
                    self.need = (offset - good).saturating_add(needed);
                    // What the decoder saw of the record and didn't consume counts as well.
                    self.need = self.need.max(bytes.len() - good + 1);
                    break;
                }
                Err(e) => {
                    self.consumed += good as u64;
                    return Err(e);
                }
            }
        }
        self.adler.write(&bytes[..good]);
        self.consumed += good as u64;
        if self.need > self.record_max {
            return Err(ImageError::TooLong(self.need));
        }
        drop(r);
        *input = match bytes.try_into_mut() {
            // Nobody shares it: the same memory takes what comes next.
            Ok(mut whole) => {
                whole.advance(good);
                whole
            }
            Err(bytes) => BytesMut::from(&bytes[good..]),
        };
        Ok(self.phase == Phase::Done)
    }

    /// One record; the sink is called only when it was whole.
    fn one(&mut self, r: &mut Reader, sink: &mut dyn ImageSink) -> Result<(), ImageError> {
        match self.phase {
            Phase::SessionCount => self.phase = Phase::Sessions(count(r)?),
            Phase::Sessions(0) => self.phase = Phase::AclCount,
            Phase::Sessions(left) => {
                let (id, timeout_ms) = (r.i64()?, r.i32()?);
                sink.session(id, timeout_ms);
                self.phase = Phase::Sessions(left - 1);
            }
            Phase::AclCount => self.phase = Phase::Acls(count(r)?),
            Phase::Acls(0) => self.phase = Phase::Nodes,
            Phase::Acls(left) => {
                let index = r.i64()?;
                let acl: Vec<Acl> = r.vec()?.unwrap_or_default();
                sink.acl(index, acl);
                self.phase = Phase::Acls(left - 1);
            }
            Phase::Nodes => {
                let path = r.skip_buffer()?;
                if r.seen(path.clone()) == END_OF_NODES.as_bytes() {
                    sink.end().map_err(ImageError::Refused)?;
                    self.phase = match self.framing {
                        Framing::File => Phase::Done,
                        Framing::Link => Phase::Signature,
                    };
                    return Ok(());
                }
                let data = r.skip_data()?;
                let (acl, stat) = (r.i64()?, r.get()?);
                let node = NodeView { data: data.map(|data| r.seen(data)), acl, stat };
                // The careful way is several times slower, and never needed for files of ours.
                let path = match std::str::from_utf8(r.seen(path.clone())) {
                    Ok(path) => Cow::Borrowed(path),
                    Err(_) => String::from_utf8_lossy(r.seen(path)),
                };
                sink.node(&path, node).map_err(ImageError::Refused)?;
                self.nodes += 1;
            }
            Phase::Signature => {
                if r.string()?.as_deref() != Some(LINK_SIGNATURE) {
                    return Err(ImageError::NoSignature);
                }
                self.phase = Phase::Done;
            }
            Phase::Done => {}
        }
        Ok(())
    }
}

fn count(r: &mut Reader) -> Result<u32, DecodeError> {
    let n = r.i32()?;
    u32::try_from(n).map_err(|_| DecodeError::Invalid { what: "count", value: n.into() })
}
