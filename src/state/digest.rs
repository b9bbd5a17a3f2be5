//! The tree digest (Apache `DigestCalculator`, version 2): the sum of one CRC-32 per node.
//!
//! ```text
//! node digest = crc32(path, data, czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion,
//!                     owner), the root's path being empty; 0 below "/zookeeper/"
//! tree digest = sum of all node digests, modulo 2^64
//! ```
//!
//! The CRC of path and data (the *prefix*) can be kept: then a change of the stat alone, such as
//! every creation makes at the parent, costs 60 bytes of CRC however large the data is.

use std::collections::VecDeque;

use byteorder::{BigEndian, ByteOrder};

use crate::types::{StatPersisted, Zxid};

/// The digest of a node; 0 for nodes below "/zookeeper/". "/" and "" are both the root.
pub fn node_digest(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u32 {
    if is_exempt(path) { 0 } else { with_stat(prefix(path, data), stat) }
}

/// Whether a node does not count: everything below "/zookeeper/", but not "/zookeeper" itself.
pub fn is_exempt(path: &str) -> bool {
    path.starts_with("/zookeeper/")
}

/// The CRC of path and data, from which [`with_stat`] makes the digest. Not for exempt paths.
pub fn prefix(path: &str, data: Option<&[u8]>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    if path != "/" {
        crc.update(path.as_bytes());
    }
    if let Some(data) = data {
        crc.update(data);
    }
    crc.finalize()
}

/// The digest that a prefix and a stat make.
pub fn with_stat(prefix: u32, stat: &StatPersisted) -> u32 {
    let mut b = [0_u8; 60];
    BigEndian::write_i64(&mut b[0..], stat.czxid);
    BigEndian::write_i64(&mut b[8..], stat.mzxid);
    BigEndian::write_i64(&mut b[16..], stat.pzxid);
    BigEndian::write_i64(&mut b[24..], stat.ctime);
    BigEndian::write_i64(&mut b[32..], stat.mtime);
    BigEndian::write_i32(&mut b[40..], stat.version);
    BigEndian::write_i32(&mut b[44..], stat.cversion);
    BigEndian::write_i32(&mut b[48..], stat.aversion);
    BigEndian::write_i64(&mut b[52..], stat.ephemeral_owner);
    let mut crc = crc32fast::Hasher::new_with_initial(prefix);
    crc.update(&b);
    crc.finalize()
}

/// Digests of past transactions, what the four-letter word `hash` shows.
#[derive(Clone, Debug, Default)]
pub(super) struct DigestLog {
    entries: VecDeque<(Zxid, i64)>,
    /// Of the last applied transaction: goes into snapshots. Zero before the first.
    pub last: (Zxid, i64),
}

impl DigestLog {
    /// One entry per this many zxids (Apache `DIGEST_LOG_INTERVAL`).
    const INTERVAL: i64 = 128;
    /// The oldest entries beyond this many are dropped (Apache `DIGEST_LOG_LIMIT`).
    const LIMIT: usize = 1024;

    /// Notes the digest after `zxid`.
    pub fn note(&mut self, zxid: Zxid, digest: i64) {
        self.last = (zxid, digest);
        if zxid.0 % Self::INTERVAL == 0 {
            if self.entries.len() == Self::LIMIT {
                self.entries.pop_front();
            }
            self.entries.push_back((zxid, digest));
        }
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Zxid, i64)> + '_ {
        self.entries.iter().copied()
    }
}
