//! Where a packet ends: there is no length before it, so its fields are looked at one by one.

use bytes::{Buf, BytesMut};

use super::{PacketKind, QuorumPacket};
use crate::proto::jute::{DecodeError, Jute};

/// Length of a packet with neither payload nor identities.
const BARE_LEN: usize = 20;
/// Identities of one packet. One on the wire may be 8 bytes and is 48 in memory, so their bytes alone
/// would bound nothing.
const IDS_MAX: i32 = 10_000;

/// Cuts packets off the front of a growing input. Remembers how far it has looked at the first packet,
/// so that however many reads a packet arrives in, each of its fields is looked at once.
///
/// The input must only grow at its end between two calls, and only this may take from its front.
#[derive(Clone, Debug, Default)]
pub struct PacketCutter {
    /// Where the next field to look at begins.
    at: usize,
    next: Field,
    /// Fields looked at.
    #[cfg(test)]
    pub(super) looked: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum Field {
    #[default]
    Kind,
    Data,
    Count,
    /// So many texts follow, and may end here at most.
    Texts {
        left: i32,
        end_max: usize,
    },
}

impl PacketCutter {
    /// Cuts the first packet off `input`; None when it has not all arrived.
    ///
    /// `max` bounds the payload and, apart from it, the identities, in bytes: a length above it is
    /// an error at once, so a peer can make nobody wait for, or hold, more than that.
    ///
    /// # Errors
    /// [`DecodeError`] when the input is no packet, or one that is too long: the link is of no use
    /// any more.
    pub fn split_from(
        &mut self,
        input: &mut BytesMut,
        max: usize,
    ) -> Result<Option<QuorumPacket>, DecodeError> {
        let Some(length) = self.length(input, max)? else { return Ok(None) };
        (self.at, self.next) = (0, Field::Kind);
        if length == BARE_LEN
            && let Some(kind) = PacketKind::from_code((&input[..4]).get_i32())
        {
            // Most packets are acknowledgements and commits: nothing worth sharing the input for.
            let zxid = crate::types::Zxid((&input[4..12]).get_i64());
            let (data, auth) = ((&input[12..16]).get_i32(), (&input[16..20]).get_i32());
            input.advance(BARE_LEN);
            let data = (data == 0).then(bytes::Bytes::new);
            let auth = (auth == 0).then(|| std::sync::Arc::from([]));
            return Ok(Some(QuorumPacket { kind, zxid, data, auth }));
        }
        let packet = input.split_to(length).freeze();
        QuorumPacket::from_bytes(packet).map(Some)
    }

    /// The length of the packet that `input` begins with, or None if that can't be told yet.
    fn length(&mut self, input: &[u8], max: usize) -> Result<Option<usize>, DecodeError> {
        loop {
            if let Field::Texts { left: 0, .. } = self.next {
                return Ok((input.len() >= self.at).then_some(self.at));
            }
            let Some(mut field) = input.get(self.at..self.at + 4) else { return Ok(None) };
            #[cfg(test)]
            {
                self.looked += 1;
            }
            let (value, offset) = (field.get_i32(), self.at);
            match self.next {
                Field::Kind => {
                    if PacketKind::from_code(value).is_none() {
                        let what = "quorum packet type";
                        return Err(DecodeError::Invalid { what, value: value.into() });
                    }
                    // The zxid is of no interest here.
                    (self.at, self.next) = (12, Field::Data);
                }
                Field::Data => {
                    self.skip("quorum packet", value, max)?;
                    self.next = Field::Count;
                }
                Field::Count => {
                    if value < -1 || i64::from(value) * 8 > max as i64 || value > IDS_MAX {
                        let length = value.into();
                        return Err(DecodeError::Length { what: "authinfo", length, offset });
                    }
                    self.at += 4;
                    self.next = Field::Texts { left: value.max(0) * 2, end_max: offset + max };
                }
                Field::Texts { left, end_max } => {
                    self.skip("authinfo", value, end_max.saturating_sub(offset + 4))?;
                    self.next = Field::Texts { left: left - 1, end_max };
                }
            }
        }
    }

    /// Moves behind a buffer of this length, null included.
    fn skip(&mut self, what: &'static str, length: i32, budget: usize) -> Result<(), DecodeError> {
        if length < -1 || i64::from(length) > budget as i64 {
            return Err(DecodeError::Length { what, length: length.into(), offset: self.at });
        }
        self.at += 4 + length.max(0) as usize;
        Ok(())
    }
}
