//! What the election port carries: a hello from the dialling side, then framed notifications both
//! ways (Apache `QuorumCnxManager` and `FastLeaderElection`).
//!
//! ```text
//! hello         long version (-65536 V1, -65535 V2, >= 0: a bare id of 3.4), long sid,
//!               int length (1..=2048), "host:port" or, V2, "host:port|host:port"
//! frame         int length (1..=524288), notification
//! notification  28 bytes (oldest), 40 (3.4), 44 + n (3.5 and later, with the config's text);
//!               ours may add int length, text of a change of the membership under way
//! ```

use bytes::{Buf, Bytes, BytesMut};

use super::jute::{DecodeError, Reader, Write};
use crate::types::{Epoch, ServerId, Zxid};

/// The hello's version since 3.5.
pub const HELLO_V1: i64 = -65536;
/// The hello's version with `multiAddress.enabled`.
pub const HELLO_V2: i64 = -65535;
/// The largest address text in a hello, in bytes.
pub const HELLO_ADDRESS_MAX: usize = 2048;
/// The largest frame on the election port, in bytes.
pub const FRAME_MAX: usize = 512 * 1024;
/// The version of a notification with the config's text, the only one that is sent.
pub const NOTIFICATION_VERSION: i32 = 2;

/// What a member is doing, as it says in notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum ServerState {
    /// Searching for a leader.
    Looking = 0,
    /// A voting learner.
    Following = 1,
    /// The leader, established or not.
    Leading = 2,
    /// A learner without a vote.
    Observing = 3,
}

impl ServerState {
    /// The state with this number.
    pub fn from_code(code: i32) -> Option<ServerState> {
        Some(match code {
            0 => ServerState::Looking,
            1 => ServerState::Following,
            2 => ServerState::Leading,
            3 => ServerState::Observing,
            _ => return None,
        })
    }

    /// Apache's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            ServerState::Looking => "LOOKING",
            ServerState::Following => "FOLLOWING",
            ServerState::Leading => "LEADING",
            ServerState::Observing => "OBSERVING",
        }
    }
}

/// A member's vote and state, as it tells the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What the sender is doing.
    pub state: ServerState,
    /// Whom it votes for, or follows.
    pub leader: ServerId,
    /// The last logged zxid of that candidate.
    pub zxid: Zxid,
    /// The election round (Apache's logical clock) of the vote.
    pub round: i64,
    /// The current epoch of the candidate, or of the established leader.
    pub peer_epoch: Epoch,
    /// 0 for the layouts before 3.5, otherwise as sent.
    pub version: i32,
    /// The text of the sender's config; None in the older layouts.
    pub config: Option<Bytes>,
    /// The text of a config that was proposed and isn't in force, where a voter of the one in force has
    /// that proposal in its log. Only rookeepers send it; Apache does not read so far.
    pub pending: Option<Bytes>,
}

impl Notification {
    /// Decodes a frame's payload, in any of the layouts. Apache drops what this refuses, and goes on
    /// with the connection (ZOOKEEPER-3769: one bad vote must not deafen the receiver).
    pub fn decode(bytes: Bytes) -> Result<Notification, DecodeError> {
        let length = bytes.len();
        let mut r = Reader::new(bytes);
        let code = r.i32()?;
        let state = ServerState::from_code(code)
            .ok_or(DecodeError::Invalid { what: "server state", value: code.into() })?;
        let (leader, zxid, round) = (ServerId(r.i64()?), Zxid(r.i64()?), r.i64()?);
        let peer_epoch = if length == 28 { zxid.epoch() } else { Epoch(r.i64()?) };
        let version = if length == 28 || length == 40 { 0 } else { r.i32()? };
        let (mut config, mut pending) = (None, None);
        if version == NOTIFICATION_VERSION {
            let text = r.buffer()?;
            config = Some(text.ok_or(DecodeError::Invalid { what: "config length", value: -1 })?);
            // What others may have put behind is no reason to refuse a vote.
            pending = r.buffer().ok().flatten();
        }
        Ok(Notification { state, leader, zxid, round, peer_epoch, version, config, pending })
    }

    /// The payload of a frame: version 2 with the config's text, whatever it was decoded from.
    pub fn encode(&self) -> Bytes {
        let config = self.config.as_deref().unwrap_or_default();
        let behind = self.pending.as_ref().map_or(0, |text| 4 + text.len());
        let mut w = BytesMut::with_capacity(44 + config.len() + behind);
        w.i32(self.state as i32);
        w.i64(self.leader.0);
        w.i64(self.zxid.0);
        w.i64(self.round);
        w.i64(self.peer_epoch.0);
        w.i32(NOTIFICATION_VERSION);
        w.buffer(Some(config));
        if let Some(pending) = &self.pending {
            w.buffer(Some(pending));
        }
        w.freeze()
    }
}

/// Cuts the next frame off `input`; None when it has not all arrived. A length outside
/// 1..=[`FRAME_MAX`] ends the connection.
pub fn split_frame(input: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
    let Some(mut head) = input.get(..4) else { return Ok(None) };
    let length = head.get_i32();
    if length < 1 || length as usize > FRAME_MAX {
        return Err(DecodeError::Length { what: "frame", length: length.into(), offset: 0 });
    }
    let length = length as usize;
    if input.len() < 4 + length {
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(length).freeze()))
}

/// Frames a payload.
pub fn frame(payload: &[u8]) -> Bytes {
    let mut w = BytesMut::with_capacity(4 + payload.len());
    w.buffer(Some(payload));
    w.freeze()
}

/// What the dialling side says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The sender's id.
    pub server: ServerId,
    /// Its election addresses as `host:port`, IPv6 in brackets; empty from a 3.4 server that sent
    /// its bare id.
    pub addresses: Vec<String>,
}

impl Hello {
    /// The bytes to send, **in one segment**: Apache reads the address with a single read. With one
    /// address the layout is V1, with several V2.
    pub fn encode(&self) -> Bytes {
        let text = self.addresses.join("|");
        let mut w = BytesMut::with_capacity(20 + text.len());
        w.i64(if self.addresses.len() > 1 { HELLO_V2 } else { HELLO_V1 });
        w.i64(self.server.0);
        w.buffer(Some(text.as_bytes()));
        w.freeze()
    }

    /// Cuts a hello off `input`; None when it has not all arrived.
    pub fn split_from(input: &mut BytesMut) -> Result<Option<Hello>, DecodeError> {
        let Some(mut head) = input.get(..8) else { return Ok(None) };
        let version = head.get_i64();
        if version >= 0 {
            input.advance(8);
            return Ok(Some(Hello { server: ServerId(version), addresses: Vec::new() }));
        }
        if version != HELLO_V1 && version != HELLO_V2 {
            return Err(DecodeError::Invalid { what: "hello version", value: version });
        }
        let Some(mut head) = input.get(8..20) else { return Ok(None) };
        let (server, length) = (ServerId(head.get_i64()), head.get_i32());
        if length < 1 || length as usize > HELLO_ADDRESS_MAX {
            return Err(DecodeError::Length { what: "hello", length: length.into(), offset: 16 });
        }
        let end = 20 + length as usize;
        let Some(text) = input.get(20..end) else { return Ok(None) };
        let text = String::from_utf8_lossy(text);
        let addresses = text.split('|').filter(|a| !a.is_empty()).map(String::from).collect();
        input.advance(end);
        Ok(Some(Hello { server, addresses }))
    }
}

#[cfg(test)]
mod tests;
