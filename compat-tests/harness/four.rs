//! Four-letter words.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Sends a word (or any bytes) and gives everything until the server closes.
pub fn ask(address: SocketAddr, word: &[u8]) -> std::io::Result<String> {
    ask_within(address, word, Duration::from_secs(20))
}

/// The same, waiting no longer than this for each part of the answer.
pub fn ask_within(address: SocketAddr, word: &[u8], patience: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(word)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The `Mode:` of `srvr`, when the server serves. A connection that Apache takes while it starts
/// may never be answered, so this does not wait long.
pub fn mode(address: SocketAddr) -> Option<String> {
    let text = ask_within(address, b"srvr", Duration::from_millis(500)).ok()?;
    text.lines().find_map(|l| l.strip_prefix("Mode: ")).map(str::to_string)
}
