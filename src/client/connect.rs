//! Connect strings, and four-letter words.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Error;
use crate::types::path;

/// One server of a connect string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name or address, without brackets.
    pub name: String,
    /// 2181 unless given.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// Servers and chroot, from `host[:port][,host[:port]..][/chroot]` (Apache `ConnectStringParser`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectString {
    /// At least one.
    pub hosts: Vec<Host>,
    /// A valid path other than "/", or empty.
    pub chroot: String,
}

impl FromStr for ConnectString {
    type Err = Error;

    fn from_str(text: &str) -> Result<ConnectString, Error> {
        let bad = |why| Error::ConnectString { text: text.to_owned(), why };
        let (hosts, chroot) = match text.find('/') {
            Some(at) => (&text[..at], &text[at..]),
            None => (text, ""),
        };
        let chroot = if chroot == "/" { "" } else { chroot };
        if !chroot.is_empty() && !path::is_valid(chroot) {
            return Err(bad("the chroot is not a valid path"));
        }
        let hosts = hosts
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
            .map(|host| parse_host(host).ok_or_else(|| bad("a port must be a number up to 65535")))
            .collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() {
            return Err(bad("no server named"));
        }
        Ok(ConnectString { hosts, chroot: chroot.to_owned() })
    }
}

/// `name`, `name:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
fn parse_host(text: &str) -> Option<Host> {
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (name, rest) = rest.split_once(']')?;
        match rest {
            "" => (name, None),
            _ => (name, Some(rest.strip_prefix(':')?)),
        }
    } else if text.matches(':').count() > 1 {
        (text, None)
    } else {
        match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        }
    };
    let port = port.map_or(Some(2181), |port| port.parse().ok())?;
    (!name.is_empty()).then(|| Host { name: name.to_owned(), port })
}

/// Sends a four-letter word to `address` (`host:port`) and returns the whole answer.
///
/// # Errors
/// Those of the socket; `TimedOut` when the answer is not complete after `timeout`.
pub async fn four_letter(address: &str, word: &str, timeout: Duration) -> io::Result<String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(word.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(64 << 20).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(timeout, ask).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
