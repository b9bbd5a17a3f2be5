//! The secret that session passwords are made of, kept in the data directory.
//!
//! ```text
//! secret=<64 hex digits>
//! taken-over=<session id, hex>        a line for each session that Apache left alive here
//! ```

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::replica::password::Passwords;
use crate::state::StateMachine;
use crate::types::SessionId;

use super::clock::random_bytes;

/// The file's name, in the data directory itself.
pub const FILE: &str = "session.secret";

/// The passwords of a standalone server: from the secret in `data_dir`, which is made when there is
/// none. Sessions that were alive then were Apache's, so their clients hold Apache's passwords.
///
/// # Errors
/// When the file can't be read or written, or makes no sense.
pub fn standalone(data_dir: &Path, state: &StateMachine) -> io::Result<Passwords> {
    let path = data_dir.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text).ok_or_else(|| {
            let what = format!(
                "{} holds no secret: remove it, and clients must start new sessions",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, what)
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            create(&path, state).map_err(|e| named(&path, e))
        }
        Err(e) => Err(named(&path, e)),
    }
}

/// The same error with the file's name before it.
pub fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn create(path: &Path, state: &StateMachine) -> io::Result<Passwords> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let secret = random_bytes::<32>()?.to_vec();
    let taken_over: BTreeSet<SessionId> = state.sessions().iter().map(|(id, _)| id).collect();
    let mut text = format!("secret={}\n", hex(&secret));
    for session in &taken_over {
        text.push_str(&format!("taken-over={:x}\n", session.0));
    }
    let tmp = path.with_extension("secret-tmp");
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&tmp)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&tmp, path)?;
    if let Some(dir) = path.parent() {
        std::fs::File::open(dir)?.sync_all()?;
    }
    Ok(Passwords::Secret { secret, taken_over })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn parse(text: &str) -> Option<Passwords> {
    let mut secret = None;
    let mut taken_over = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (key, value) = line.split_once('=')?;
        match key.trim() {
            "secret" => secret = Some(unhex(value.trim())?),
            "taken-over" => {
                let id = u64::from_str_radix(value.trim(), 16).ok()?;
                taken_over.insert(SessionId(id as i64));
            }
            _ => return None,
        }
    }
    secret.filter(|s| s.len() >= 16).map(|secret| Passwords::Secret { secret, taken_over })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|d| d.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}
