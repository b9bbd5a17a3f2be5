//! Hosts of the static file, as Java's `InetAddress.getByName` reads them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::files::Files;

/// An IPv6 address without its brackets; any other text as it is.
pub fn without_brackets(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.filter(|inner| inner.parse::<Ipv6Addr>().is_ok()).unwrap_or(host)
}

/// The host to listen on: None for "all addresses" (`0.0.0.0`, `::`), a name as it is, an address
/// without brackets and in its shortest form, so that one address has one text.
pub fn to_listen_on(host: &str) -> Option<String> {
    match without_brackets(host).parse::<IpAddr>() {
        Ok(address) => (!address.is_unspecified()).then(|| address.to_string()),
        Err(_) => Some(host.to_owned()),
    }
}

/// The address of a host: a literal one, in brackets or not, or what the name stands for. No name
/// at all is this machine's loopback address.
///
/// # Errors
/// Brackets around something else than an IPv6 address, or a name that nobody knows.
pub fn address(host: &str, files: &dyn Files) -> io::Result<IpAddr> {
    if host.is_empty() {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let bare = without_brackets(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_canonical());
    }
    if host.starts_with('[') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "brackets are for IPv6 addresses"));
    }
    files.look_up(host).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests;
