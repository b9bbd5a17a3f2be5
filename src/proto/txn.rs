//! Transactions: what the log holds and what a PROPOSAL carries, byte for byte the same.
//!
//! ```text
//! entry  = header, body (absent for some types), digest (optional)
//! header = i64 client id, i32 cxid, i64 zxid, i64 time (ms), i32 type
//! digest = i32 version (2), i64 tree digest after the transaction
//! ```

use bytes::{Bytes, BytesMut};

use super::jute::{DecodeError, Jute, Reader, Write};
use super::opcode::OpCode;
use crate::types::{Acl, Code, SessionId, WallTime, Zxid};

/// Who caused a transaction, and when (Apache `TxnHeader`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TxnHeader {
    /// The session; 0 for the server's own.
    pub session: SessionId,
    /// The client's xid.
    pub cxid: i32,
    /// The transaction's id.
    pub zxid: Zxid,
    /// The leader's wall clock when it was prepared.
    pub time: WallTime,
    /// The type, an opcode.
    pub kind: OpCodeField,
}

/// The type field of a header.
pub type OpCodeField = i32;

impl TxnHeader {
    /// Bytes of an encoded header.
    pub const LEN: usize = 32;

    /// The time in an encoded header, without decoding the rest; None when it isn't whole.
    pub fn time_of(entry: &[u8]) -> Option<WallTime> {
        let time = entry.get(20..28)?;
        Some(WallTime(i64::from_be_bytes(time.try_into().ok()?)))
    }
}

impl Jute for TxnHeader {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(TxnHeader {
            session: SessionId(r.i64()?),
            cxid: r.i32()?,
            zxid: Zxid(r.i64()?),
            time: WallTime(r.i64()?),
            kind: r.i32()?,
        })
    }
    fn write(&self, w: &mut BytesMut) {
        w.i64(self.session.0);
        w.i32(self.cxid);
        w.i64(self.zxid.0);
        w.i64(self.time.0);
        w.i32(self.kind);
    }
}

/// The tree digest that the transaction leads to (Apache `TxnDigest`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnDigest {
    /// 2 since Apache 3.6.
    pub version: i32,
    /// Sum of all nodes' digests, modulo 2^64.
    pub tree: i64,
}

impl TxnDigest {
    /// The version that we compute.
    pub const VERSION: i32 = 2;
}

/// create (1) and create2 (15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTxn {
    /// With the sequence suffix.
    pub path: String,
    /// Null and empty differ.
    pub data: Option<Bytes>,
    /// After the fix-ups.
    pub acl: Vec<Acl>,
    /// The owner is the header's session.
    pub ephemeral: bool,
    /// The parent's new count of creations; -1 from logs older than Apache 3.4.
    pub parent_cversion: i32,
}

/// createContainer (19) and createTTL (21).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateExtendedTxn {
    /// With the sequence suffix.
    pub path: String,
    /// Null and empty differ.
    pub data: Option<Bytes>,
    /// After the fix-ups.
    pub acl: Vec<Acl>,
    /// The parent's new count of creations.
    pub parent_cversion: i32,
    /// Milliseconds for createTTL, None for a container.
    pub ttl: Option<i64>,
}

/// The body of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Txn {
    /// -10: timeout in ms.
    CreateSession {
        /// Milliseconds.
        timeout_ms: i32,
    },
    /// -11: the ephemerals to delete; None when the record is absent (Apache before 3.6, or
    /// `closeSessionTxn.enabled=false`), then those of the local map.
    CloseSession {
        /// Paths to delete.
        paths: Option<Vec<String>>,
    },
    /// 1 and 15.
    Create(CreateTxn),
    /// 19 and 21.
    CreateExtended(CreateExtendedTxn),
    /// 2 and 20.
    Delete {
        /// Which.
        path: String,
    },
    /// 5 and 16 (reconfig).
    SetData {
        /// Which.
        path: String,
        /// Null and empty differ.
        data: Option<Bytes>,
        /// The new version.
        version: i32,
    },
    /// 7.
    SetAcl {
        /// Which.
        path: String,
        /// After the fix-ups.
        acl: Vec<Acl>,
        /// The new aversion.
        version: i32,
    },
    /// 13, only inside a multi; changes nothing.
    Check {
        /// Which.
        path: String,
        /// The version checked plus one, as Apache writes it.
        version: i32,
    },
    /// 14.
    Multi(Vec<SubTxn>),
    /// -1: a failed write; changes nothing but the zxid.
    Error(Code),
}

/// One part of a multi: its type and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubTxn {
    /// The part's type, an opcode.
    pub kind: i32,
    /// Never a multi.
    pub txn: Txn,
}

impl Txn {
    /// Decodes the body of type `kind`. Types that no Apache server writes are an error.
    pub fn read_body(kind: i32, r: &mut Reader) -> Result<Txn, DecodeError> {
        Ok(match OpCode(kind) {
            OpCode::CREATE_SESSION => Txn::CreateSession { timeout_ms: r.i32()? },
            OpCode::CLOSE_SESSION => {
                // Old logs have no record here. What follows may be nothing or a digest; Apache
                // tries the record and takes a failure as "absent".
                let mut ahead = r.clone();
                match ahead.vec::<String>() {
                    Ok(paths) => {
                        *r = ahead;
                        Txn::CloseSession { paths: Some(paths.unwrap_or_default()) }
                    }
                    Err(_) => Txn::CloseSession { paths: None },
                }
            }
            OpCode::CREATE | OpCode::CREATE2 => Txn::Create(CreateTxn {
                path: r.get()?,
                data: r.get()?,
                acl: r.vec()?.unwrap_or_default(),
                ephemeral: r.bool()?,
                parent_cversion: if kind == 1 && r.remaining() == 0 { -1 } else { r.i32()? },
            }),
            OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
                Txn::CreateExtended(CreateExtendedTxn {
                    path: r.get()?,
                    data: r.get()?,
                    acl: r.vec()?.unwrap_or_default(),
                    parent_cversion: r.i32()?,
                    ttl: if kind == OpCode::CREATE_TTL.0 { Some(r.i64()?) } else { None },
                })
            }
            OpCode::DELETE | OpCode::DELETE_CONTAINER => Txn::Delete { path: r.get()? },
            OpCode::SET_DATA | OpCode::RECONFIG => {
                Txn::SetData { path: r.get()?, data: r.get()?, version: r.i32()? }
            }
            OpCode::SET_ACL => {
                Txn::SetAcl { path: r.get()?, acl: r.vec()?.unwrap_or_default(), version: r.i32()? }
            }
            OpCode::CHECK => Txn::Check { path: r.get()?, version: r.i32()? },
            OpCode::MULTI => Txn::Multi(r.vec()?.unwrap_or_default()),
            OpCode::ERROR => Txn::Error(Code(r.i32()?)),
            _ => return Err(DecodeError::Invalid { what: "txn type", value: kind.into() }),
        })
    }

    /// Appends the body.
    pub fn write_body(&self, w: &mut BytesMut) {
        match self {
            Txn::CreateSession { timeout_ms } => w.i32(*timeout_ms),
            Txn::CloseSession { paths } => {
                if let Some(paths) = paths {
                    w.vec(Some(paths));
                }
            }
            Txn::Create(c) => {
                w.str(&c.path);
                w.buffer(c.data.as_deref());
                w.vec(Some(&c.acl));
                w.bool(c.ephemeral);
                w.i32(c.parent_cversion);
            }
            Txn::CreateExtended(c) => {
                w.str(&c.path);
                w.buffer(c.data.as_deref());
                w.vec(Some(&c.acl));
                w.i32(c.parent_cversion);
                if let Some(ttl) = c.ttl {
                    w.i64(ttl);
                }
            }
            Txn::Delete { path } => w.str(path),
            Txn::SetData { path, data, version } => {
                w.str(path);
                w.buffer(data.as_deref());
                w.i32(*version);
            }
            Txn::SetAcl { path, acl, version } => {
                w.str(path);
                w.vec(Some(acl));
                w.i32(*version);
            }
            Txn::Check { path, version } => {
                w.str(path);
                w.i32(*version);
            }
            Txn::Multi(parts) => w.vec(Some(parts)),
            Txn::Error(code) => w.i32(code.0),
        }
    }
}

impl Jute for SubTxn {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        let kind = r.i32()?;
        if kind == OpCode::MULTI.0 {
            return Err(DecodeError::Invalid { what: "multi within a multi", value: kind.into() });
        }
        let mut body = Reader::new(r.buffer()?.unwrap_or_default());
        Ok(SubTxn { kind, txn: Txn::read_body(kind, &mut body)? })
    }
    fn write(&self, w: &mut BytesMut) {
        w.i32(self.kind);
        let at = super::frame::begin(w);
        self.txn.write_body(w);
        super::frame::end(w, at);
    }
}

/// A whole transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnEntry {
    /// Who and when.
    pub header: TxnHeader,
    /// What.
    pub txn: Txn,
    /// Never there on an error txn, and not in logs of Apache before 3.6.
    pub digest: Option<TxnDigest>,
}

impl TxnEntry {
    /// Decodes an entry, as logged or proposed.
    pub fn decode(bytes: Bytes) -> Result<TxnEntry, DecodeError> {
        let mut r = Reader::new(bytes);
        let header: TxnHeader = r.get()?;
        let txn = Txn::read_body(header.kind, &mut r)?;
        let digest = if r.remaining() >= 12 {
            Some(TxnDigest { version: r.i32()?, tree: r.i64()? })
        } else {
            None
        };
        Ok(TxnEntry { header, txn, digest })
    }

    /// Encodes the entry.
    pub fn encode(&self) -> Bytes {
        let mut w = BytesMut::with_capacity(256);
        self.write(&mut w);
        w.freeze()
    }

    /// Appends the encoding.
    pub fn write(&self, w: &mut BytesMut) {
        w.put(&self.header);
        self.txn.write_body(w);
        if let Some(digest) = self.digest {
            w.i32(digest.version);
            w.i64(digest.tree);
        }
    }
}
