//! What the learner port carries: `QuorumPacket`s written back to back, **without a length**.
//!
//! A packet is a jute record `{int type, long zxid, buffer data, vector<Id> authinfo}`, and after a
//! SNAP packet the stream of a snapshot follows in the same bytes. So a reader has to find the end
//! of each packet itself: [`PacketCutter`] does, against a bound, and says "not yet"
//! until a whole packet is there.
//!
//! | kind | direction | zxid | data |
//! |---|---|---|---|
//! | REQUEST | to leader | -1 | session, cxid, opcode, body; authinfo is the client's ids |
//! | PROPOSAL, INFORM | to learner | of the txn | the txn as logged |
//! | ACK | to leader | of the txn, or of NEWLEADER | null |
//! | COMMIT | to follower | of the txn | null |
//! | PING | both | last proposed, echoed | null, or [`quick_ping`]; the reply: n × {session, timeout} |
//! | REVALIDATE | both | -1 | session, timeout; the reply: session, bool |
//! | SYNC | to learner | 0 | null; releases the oldest pending sync |
//! | NEWLEADER | to learner | epoch start | the config's text |
//! | FOLLOWERINFO, OBSERVERINFO | to leader | start of the accepted epoch | [`LearnerInfo`] |
//! | LEADERINFO | to learner | start of the new epoch | protocol version; [`marked_leader_info`] |
//! | ACKEPOCH | to leader | last logged | current epoch, or -1 |
//! | DIFF, TRUNC, SNAP | to learner | see [`crate::zab`] | null; TRUNC to a rookeeper: [`truncation`] |
//! | UPTODATE | to learner | -1 | null |

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::jute::{DecodeError, Jute, Reader, Write};
use crate::types::{Epoch, Id, ServerId, SessionId, Zxid};
pub use cut::PacketCutter;

mod cut;

/// The version of the learner protocol since Zab 1.0 (Apache `Learner.registerWithLeader`).
pub const PROTOCOL_VERSION: i32 = 0x10000;

/// What a rookeeper adds to its [`LearnerInfo`], where Apache's leader does not look
/// (`docs/decisions/004`).
pub const LEARNER_MARK: &[u8] = b"rookeeper 1";

/// The text that ends the snapshot stream behind a SNAP packet (Apache `LearnerHandler`), as a jute
/// string.
pub const SNAPSHOT_SIGNATURE: &str = "BenWasHere";

/// Declares the kinds of packets with their numbers.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// What a packet is for (the constants of Apache's `Leader`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        pub enum PacketKind { $($(#[$doc])* $name = $code),* }

        impl PacketKind {
            /// Every kind, in the order of the codes.
            pub const ALL: &[PacketKind] = &[$(PacketKind::$name),*];

            /// The kind with this number.
            pub fn from_code(code: i32) -> Option<PacketKind> {
                match code { $($code => Some(PacketKind::$name),)* _ => None }
            }

            /// Apache's name of it, for logs and transcripts.
            pub const fn name(self) -> &'static str {
                match self { $(PacketKind::$name => $text),* }
            }
        }
    };
}

kinds! {
    /// A client's write, forwarded.
    Request = 1, "REQUEST";
    /// A transaction to log and acknowledge.
    Proposal = 2, "PROPOSAL";
    /// It is on disk here.
    Ack = 3, "ACK";
    /// A quorum has it.
    Commit = 4, "COMMIT";
    /// Are you there; the reply carries touched sessions.
    Ping = 5, "PING";
    /// Does this session live.
    Revalidate = 6, "REVALIDATE";
    /// The oldest pending sync is done.
    Sync = 7, "SYNC";
    /// A committed transaction, for observers.
    Inform = 8, "INFORM";
    /// COMMIT of a reconfiguration.
    CommitAndActivate = 9, "COMMITANDACTIVATE";
    /// The end of synchronisation: say when all of it is on disk.
    NewLeader = 10, "NEWLEADER";
    /// A follower introduces itself.
    FollowerInfo = 11, "FOLLOWERINFO";
    /// The learner may serve.
    UpToDate = 12, "UPTODATE";
    /// Transactions will follow that continue the learner's log.
    Diff = 13, "DIFF";
    /// The learner must cut its log.
    Trunc = 14, "TRUNC";
    /// A whole snapshot follows.
    Snap = 15, "SNAP";
    /// An observer introduces itself.
    ObserverInfo = 16, "OBSERVERINFO";
    /// The leader's new epoch.
    LeaderInfo = 17, "LEADERINFO";
    /// The learner has accepted the epoch.
    AckEpoch = 18, "ACKEPOCH";
    /// INFORM of a reconfiguration.
    InformAndActivate = 19, "INFORMANDACTIVATE";
}

/// One packet of the learner port.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct QuorumPacket {
    /// What it is for.
    pub kind: PacketKind,
    /// Its meaning depends on the kind; -1 or 0 where it has none.
    pub zxid: Zxid,
    /// The payload; null and empty differ.
    pub data: Option<Bytes>,
    /// The client's identities, only in a REQUEST.
    pub auth: Option<Arc<[Id]>>,
}

impl QuorumPacket {
    /// A packet with neither payload nor identities.
    pub fn new(kind: PacketKind, zxid: Zxid) -> QuorumPacket {
        QuorumPacket { kind, zxid, data: None, auth: None }
    }

    /// A packet with a payload.
    pub fn with_data(kind: PacketKind, zxid: Zxid, data: Bytes) -> QuorumPacket {
        QuorumPacket { kind, zxid, data: Some(data), auth: None }
    }

    /// The payload, empty when null.
    pub fn payload(&self) -> Bytes {
        self.data.clone().unwrap_or_default()
    }

    /// Bytes of the encoding.
    pub fn encoded_len(&self) -> usize {
        let text = |s: &Option<String>| 4 + s.as_ref().map_or(0, String::len);
        let ids =
            self.auth.iter().flat_map(|ids| ids.iter()).map(|id| text(&id.scheme) + text(&id.id));
        20 + self.data.as_ref().map_or(0, Bytes::len) + ids.sum::<usize>()
    }

    /// Cuts the first packet off `input`; None when it has not all arrived.
    ///
    /// For input that is there as a whole; [`PacketCutter`] is for one that comes bit by bit, and says
    /// what `max` is.
    pub fn split_from(
        input: &mut BytesMut,
        max: usize,
    ) -> Result<Option<QuorumPacket>, DecodeError> {
        PacketCutter::default().split_from(input, max)
    }
}

impl Jute for QuorumPacket {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        let code = r.i32()?;
        let kind = PacketKind::from_code(code)
            .ok_or(DecodeError::Invalid { what: "quorum packet type", value: code.into() })?;
        let (zxid, data) = (Zxid(r.i64()?), r.get()?);
        Ok(QuorumPacket { kind, zxid, data, auth: r.vec()?.map(Arc::from) })
    }
    fn write(&self, w: &mut BytesMut) {
        w.i32(self.kind as i32);
        w.i64(self.zxid.0);
        w.put(&self.data);
        w.vec(self.auth.as_deref());
    }
}

impl fmt::Debug for QuorumPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} 0x{:x}", self.kind.name(), self.zxid.0)?;
        match (self.kind, &self.data) {
            (_, None) => {}
            (PacketKind::FollowerInfo | PacketKind::ObserverInfo, Some(data)) => {
                match LearnerInfo::from_bytes(data.clone()) {
                    Ok(info) => write!(f, " {info:?}")?,
                    Err(_) => write!(f, " ({} bytes)", data.len())?,
                }
            }
            (PacketKind::AckEpoch, Some(data)) => match Reader::new(data.clone()).i32() {
                Ok(epoch) => write!(f, " currentEpoch={epoch}")?,
                Err(_) => write!(f, " ({} bytes)", data.len())?,
            },
            (_, Some(data)) => write!(f, " ({} bytes)", data.len())?,
        }
        match &self.auth {
            None => Ok(()),
            Some(ids) => write!(f, " ({} ids)", ids.len()),
        }
    }
}

/// Who a learner is: the payload of FOLLOWERINFO and OBSERVERINFO.
///
/// 3.5 and later send 20 bytes; 3.4 sends 12, without the config's version. The 8 bytes and null of
/// still older learners are refused: they expect no LEADERINFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerInfo {
    /// The learner's id; an observer without one sends `i64::MAX`.
    pub server: ServerId,
    /// [`PROTOCOL_VERSION`].
    pub protocol: i32,
    /// The version of the learner's config (a zxid), 0 from 3.4.
    pub config_version: i64,
    /// Whether [`LEARNER_MARK`] follows: the learner understands [`quick_ping`].
    pub rookeeper: bool,
    /// What follows the mark, 24 bytes: its own history (`docs/decisions/013`).
    pub claim: Option<Claim>,
}

/// What a rookeeper says of its history when it introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its current epoch, -1 where what it has must not speak for it.
    pub current: Epoch,
    /// Where its log ends, -1 likewise.
    pub last: Zxid,
    /// The transaction there.
    pub end: ClaimedEnd,
}

/// What a [`Claim`] says of the transaction at the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimedEnd {
    /// Nothing: it is under a snapshot (-1 on the wire).
    Unknown,
    /// It is not the leader's, or something before it isn't: only a snapshot will do (-2).
    Foreign,
    /// The CRC-32 of its bytes, digest of the tree included.
    Print(u32),
}

impl Claim {
    fn read(r: &mut Reader) -> Result<Claim, DecodeError> {
        let (current, last) = (Epoch(r.i64()?), Zxid(r.i64()?));
        let end = match r.i64()? {
            -2 => ClaimedEnd::Foreign,
            print => u32::try_from(print).map_or(ClaimedEnd::Unknown, ClaimedEnd::Print),
        };
        Ok(Claim { current, last, end })
    }

    fn write(&self, w: &mut BytesMut) {
        w.i64(self.current.0);
        w.i64(self.last.0);
        w.i64(match self.end {
            ClaimedEnd::Unknown => -1,
            ClaimedEnd::Foreign => -2,
            ClaimedEnd::Print(print) => print.into(),
        });
    }
}

impl Jute for LearnerInfo {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        let (server, protocol) = (ServerId(r.i64()?), r.i32()?);
        let config_version = if r.remaining() >= 8 { r.i64()? } else { 0 };
        let rest = r.rest();
        let rookeeper = rest.starts_with(LEARNER_MARK);
        let claim = match rookeeper {
            true => Claim::read(&mut Reader::new(rest.slice(LEARNER_MARK.len()..))).ok(),
            false => None,
        };
        Ok(LearnerInfo { server, protocol, config_version, rookeeper, claim })
    }
    fn write(&self, w: &mut BytesMut) {
        w.i64(self.server.0);
        w.i32(self.protocol);
        w.i64(self.config_version);
        if self.rookeeper {
            w.extend_from_slice(LEARNER_MARK);
            if let Some(claim) = &self.claim {
                claim.write(w);
            }
        }
    }
}

/// The LEADERINFO of a new epoch.
pub fn leader_info(epoch: Epoch) -> QuorumPacket {
    let mut data = BytesMut::with_capacity(4);
    data.i32(PROTOCOL_VERSION);
    QuorumPacket::with_data(PacketKind::LeaderInfo, Zxid::new(epoch, 0), data.freeze())
}

/// The same to a rookeeper, so that it knows the leader for another: [`LEARNER_MARK`] behind what
/// Apache reads.
pub fn marked_leader_info(epoch: Epoch) -> QuorumPacket {
    let mut data = BytesMut::with_capacity(4 + LEARNER_MARK.len());
    data.i32(PROTOCOL_VERSION);
    data.extend_from_slice(LEARNER_MARK);
    QuorumPacket::with_data(PacketKind::LeaderInfo, Zxid::new(epoch, 0), data.freeze())
}

/// Whether a LEADERINFO is a rookeeper's.
pub fn is_marked(packet: &QuorumPacket) -> bool {
    packet.payload().get(4..) == Some(LEARNER_MARK)
}

/// The TRUNC to a rookeeper, with the CRC-32 of the leader's transaction at `to`: a learner whose
/// own is another has another history below it, and cuts nothing.
pub fn truncation(to: Zxid, print: u32) -> QuorumPacket {
    QuorumPacket::with_data(PacketKind::Trunc, to, Bytes::copy_from_slice(&print.to_be_bytes()))
}

/// The CRC-32 in a TRUNC.
pub fn truncation_print(packet: &QuorumPacket) -> Option<u32> {
    packet.payload().get(..4)?.try_into().ok().map(u32::from_be_bytes)
}

/// The ACKEPOCH of a learner whose log ends at `last`. `current` is its current epoch, or -1 when
/// it had accepted this epoch before: such an answer isn't counted again.
pub fn ack_epoch(current: Epoch, last: Zxid) -> QuorumPacket {
    let mut data = BytesMut::with_capacity(4);
    data.i32(current.0 as i32);
    QuorumPacket::with_data(PacketKind::AckEpoch, last, data.freeze())
}

/// The current epoch in an ACKEPOCH, -1 for "accepted before".
pub fn ack_epoch_current(packet: &QuorumPacket) -> Result<Epoch, DecodeError> {
    Ok(Epoch(Reader::new(packet.payload()).i32()?.into()))
}

/// A client's write on its way to the leader: the payload of REQUEST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedRequest {
    /// Whose.
    pub session: SessionId,
    /// Its number within the session; the learner finds its own request again by these two.
    pub cxid: i32,
    /// The operation.
    pub opcode: i32,
    /// The request's body, as the client sent it.
    pub body: Bytes,
}

impl Jute for ForwardedRequest {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        let (session, cxid, opcode) = (SessionId(r.i64()?), r.i32()?, r.i32()?);
        Ok(ForwardedRequest { session, cxid, opcode, body: r.rest() })
    }
    fn write(&self, w: &mut BytesMut) {
        w.i64(self.session.0);
        w.i32(self.cxid);
        w.i32(self.opcode);
        w.extend_from_slice(&self.body);
    }
}

/// A PING which promises that the next one comes well before `silence_ms` are over: a learner may
/// leave a leader that is silent for so long. Only sent to learners with the [`LEARNER_MARK`].
pub fn quick_ping(zxid: Zxid, silence_ms: i32) -> QuorumPacket {
    QuorumPacket::with_data(PacketKind::Ping, zxid, silence_ms.to_bytes())
}

/// The promise in a PING of a leader, in milliseconds, if there is one.
pub fn promised_silence(packet: &QuorumPacket) -> Option<u32> {
    let data = packet.data.as_ref().filter(|data| data.len() == 4)?;
    let ms = Reader::new(data.clone()).i32().ok()?;
    u32::try_from(ms).ok().filter(|ms| *ms > 0)
}

/// The COMMIT of a change of the membership: `leader` leads from here on.
pub fn commit_and_activate(zxid: Zxid, leader: ServerId) -> QuorumPacket {
    QuorumPacket::with_data(PacketKind::CommitAndActivate, zxid, leader.0.to_bytes())
}

/// The INFORM of a change of the membership, with its transaction.
pub fn inform_and_activate(zxid: Zxid, leader: ServerId, txn: &[u8]) -> QuorumPacket {
    let mut w = BytesMut::with_capacity(8 + txn.len());
    w.i64(leader.0);
    w.extend_from_slice(txn);
    QuorumPacket::with_data(PacketKind::InformAndActivate, zxid, w.freeze())
}

/// Who leads after a COMMITANDACTIVATE or INFORMANDACTIVATE: their first eight bytes.
pub fn designated_leader(packet: &QuorumPacket) -> Result<ServerId, DecodeError> {
    Ok(ServerId(Reader::new(packet.payload()).i64()?))
}

/// Sessions that clients used since the last ping: the payload of a PING's reply.
pub fn touched_sessions(data: Bytes) -> Result<Vec<(SessionId, i32)>, DecodeError> {
    let mut r = Reader::new(data);
    let mut sessions = Vec::with_capacity(r.remaining() / 12);
    while r.remaining() > 0 {
        sessions.push((SessionId(r.i64()?), r.i32()?));
    }
    Ok(sessions)
}

/// Encodes the payload of a PING's reply.
pub fn encode_touched(sessions: impl IntoIterator<Item = (SessionId, i32)>) -> Bytes {
    let mut w = BytesMut::new();
    for (session, timeout_ms) in sessions {
        w.i64(session.0);
        w.i32(timeout_ms);
    }
    w.freeze()
}

/// A REVALIDATE question.
pub fn revalidate(session: SessionId, timeout_ms: i32) -> QuorumPacket {
    let data = encode_touched([(session, timeout_ms)]);
    QuorumPacket::with_data(PacketKind::Revalidate, Zxid(-1), data)
}

/// A REVALIDATE answer: 9 bytes.
pub fn revalidated(session: SessionId, valid: bool) -> QuorumPacket {
    let mut w = BytesMut::with_capacity(9);
    w.i64(session.0);
    w.bool(valid);
    QuorumPacket::with_data(PacketKind::Revalidate, Zxid(-1), w.freeze())
}

/// Reads a REVALIDATE answer.
pub fn read_revalidated(data: Bytes) -> Result<(SessionId, bool), DecodeError> {
    let mut r = Reader::new(data);
    Ok((SessionId(r.i64()?), r.bool()?))
}

#[cfg(test)]
mod tests;
