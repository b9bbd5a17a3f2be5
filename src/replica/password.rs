//! Passwords of sessions: sixteen bytes, opaque to clients.
//!
//! Apache derives them from the session id alone, so that every member can check every session and
//! so can everybody else who knows an id (S-HIJACK). Ours are a MAC with a secret. Apache's are
//! still computed where they must be: beside Apache members, and for the sessions that were alive
//! in a data directory when rookeeper took it over (their clients hold Apache's password).

use std::collections::BTreeSet;

use hmac::{Hmac, Mac};

use crate::types::SessionId;

/// A session's password.
pub type Password = [u8; 16];

/// How passwords are made and which are accepted.
#[derive(Clone)]
pub enum Passwords {
    /// The first half of HMAC-SHA256(secret, session id).
    Secret {
        /// Kept in the data directory (standalone) or given to every member.
        secret: Vec<u8>,
        /// Sessions taken over from Apache: for these its password is accepted as well.
        taken_over: BTreeSet<SessionId>,
    },
    /// Apache's algorithm.
    Apache,
}

impl Passwords {
    /// The password that a client is told.
    pub fn of(&self, session: SessionId) -> Password {
        match self {
            Passwords::Secret { secret, .. } => mac(secret, session),
            Passwords::Apache => apache(session),
        }
    }

    /// Whether `given` opens `session`; takes the same time for every wrong password of sixteen
    /// bytes.
    pub fn accepts(&self, session: SessionId, given: &[u8]) -> bool {
        if session == SessionId::NONE {
            return false;
        }
        let own = same(&self.of(session), given);
        match self {
            Passwords::Secret { taken_over, .. } if taken_over.contains(&session) => {
                own | same(&apache(session), given)
            }
            _ => own,
        }
    }
}

/// The secret is never printed.
impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Passwords::Secret { .. } => "Passwords::Secret",
            Passwords::Apache => "Passwords::Apache",
        })
    }
}

fn mac(secret: &[u8], session: SessionId) -> Password {
    // HMAC takes keys of any length, so `new_from_slice` cannot fail.
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).expect("HMAC takes any key");
    mac.update(&session.0.to_be_bytes());
    let mut password = [0; 16];
    password.copy_from_slice(&mac.finalize().into_bytes()[..16]);
    password
}

/// `java.util.Random(id ^ 0xB3415C00).nextBytes` (Apache `ZooKeeperServer.generatePasswd`).
pub fn apache(session: SessionId) -> Password {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut seed = ((session.0 ^ 0xB341_5C00) as u64 ^ MULTIPLIER) & MASK;
    let mut password = [0; 16];
    for chunk in password.chunks_exact_mut(4) {
        seed = seed.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        chunk.copy_from_slice(&((seed >> 16) as u32).to_le_bytes());
    }
    password
}

/// Equality without an early exit.
fn same(a: &Password, b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (x, y)| differs | (x ^ y)) == 0
}

#[cfg(test)]
mod tests;
