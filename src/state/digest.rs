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
    let path = if path == "/" { "" } else { path };
    crc32(crc32(0, path.as_bytes()), data.unwrap_or_default())
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
    crc32(prefix, &b)
}

/// What a node adds to the tree's digest, and the prefix that its next digest is made from; both 0
/// where digests are off and for exempt paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// Of path and data.
    pub prefix: u32,
    /// Of the stat as well.
    pub node: u32,
}

impl Digests {
    /// Computes them, unless digests are off.
    pub fn of(on: bool, path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> Digests {
        if !on || is_exempt(path) {
            return Digests::default();
        }
        let prefix = prefix(path, data);
        Digests { prefix, node: with_stat(prefix, stat) }
    }
}

/// From this length on `crc32fast` multiplies without carries; below it goes by a table as well, and
/// ends byte by byte.
const LONG: usize = 64;

/// Continues a CRC-32 (zlib's polynomial). Most of our input is short: names, and stats of 60 bytes.
fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    if bytes.len() >= LONG {
        let mut long = crc32fast::Hasher::new_with_initial(crc);
        long.update(bytes);
        return long.finalize();
    }
    let mut crc = !crc;
    let mut sixteens = bytes.chunks_exact(16);
    for b in &mut sixteens {
        // Only the first four bytes wait for the sixteen before.
        let behind =
            b[4..].iter().rev().zip(&TABLES).fold(0, |all, (b, t)| all ^ t[usize::from(*b)]);
        crc = four(crc, b, 12) ^ behind;
    }
    let mut rest = sixteens.remainder();
    if let Some((b, behind)) = rest.split_at_checked(8) {
        let last = b[4..].iter().rev().zip(&TABLES).fold(0, |all, (b, t)| all ^ t[usize::from(*b)]);
        crc = four(crc, b, 4) ^ last;
        rest = behind;
    }
    if let Some((b, behind)) = rest.split_at_checked(4) {
        crc = four(crc, b, 0);
        rest = behind;
    }
    for b in rest {
        crc = crc >> 8 ^ TABLES[0][((crc ^ u32::from(*b)) & 0xff) as usize];
    }
    !crc
}

/// What a CRC and the next four bytes make when `behind` more bytes follow, those apart.
fn four(crc: u32, b: &[u8], behind: usize) -> u32 {
    let low = crc ^ u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let t = |n: usize, index: u32| TABLES[behind + n][(index & 0xff) as usize];
    t(3, low) ^ t(2, low >> 8) ^ t(1, low >> 16) ^ t(0, low >> 24)
}

/// `TABLES[n][b]`: what byte `b` adds to the CRC when `n` more bytes of the step follow it.
static TABLES: [[u32; 256]; 16] = tables();

const fn tables() -> [[u32; 256]; 16] {
    let mut tables = [[0; 256]; 16];
    let mut n = 0;
    while n < 256 {
        let (mut crc, mut bit) = (n as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][n] = crc;
        n += 1;
    }
    let mut at = 1;
    while at < tables.len() {
        let mut n = 0;
        while n < 256 {
            let before = tables[at - 1][n];
            tables[at][n] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            n += 1;
        }
        at += 1;
    }
    tables
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

#[cfg(test)]
mod tests;
