//! The ip scheme: an address, optionally with the number of leading bits that count
//! (Apache `IPAuthenticationProvider`; IPv6 since 3.9.4, ZOOKEEPER-4240).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as Java's `getHostAddress` writes it: IPv6 in eight groups without `::`, a mapped
/// IPv4 address as IPv4.
pub fn address_text(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let groups: Vec<String> = v6.segments().iter().map(|g| format!("{g:x}")).collect();
            groups.join(":")
        }
    }
}

fn parse(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return parse_v6(text).map(IpAddr::V6);
    }
    let mut parts = text.split('.');
    let mut octets = [0_u8; 4];
    for octet in &mut octets {
        *octet = u8::try_from(parts.next()?.parse::<i32>().ok()?).ok()?;
    }
    parts.next().is_none().then_some(IpAddr::V4(Ipv4Addr::from(octets)))
}

/// Groups of one to four hexadecimal digits, `::` for one or more groups of zeros. Apache takes no
/// IPv4 address at the end (`::ffff:10.0.0.1`), and a sign counts as one of the four digits.
fn parse_v6(text: &str) -> Option<Ipv6Addr> {
    let groups = |part: &str| -> Option<Vec<u16>> {
        let group = |group: &str| {
            let number = (group.len() <= 4).then(|| i32::from_str_radix(group, 16).ok())?;
            number.map(|n| n as u16)
        };
        if part.is_empty() { Some(Vec::new()) } else { part.split(':').map(group).collect() }
    };
    let all = match text.split_once("::") {
        None => groups(text)?,
        Some((left, right)) => {
            let (left, right) = (groups(left)?, groups(right)?);
            let zeros = 8_usize.checked_sub(left.len() + right.len()).filter(|n| *n > 0)?;
            [left, vec![0; zeros], right].concat()
        }
    };
    <[u16; 8]>::try_from(all).ok().map(Ipv6Addr::from)
}

fn parse_expression(expression: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match expression.split_once('/') {
        None => (parse(expression)?, None),
        Some((address, bits)) => {
            // `-0` is a number of bits in Java.
            (parse(address)?, Some(u32::try_from(bits.parse::<i32>().ok()?).ok()?))
        }
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(width);
    (bits <= width).then_some((address, bits))
}

/// Whether an ACL id is an address with an optional `/bits`.
pub(super) fn is_valid(expression: &str) -> bool {
    parse_expression(expression).is_some()
}

/// Whether the leading bits of `address` are those of `expression`; families must agree.
pub(super) fn matches(address: &str, expression: &str) -> bool {
    let (Some(address), Some((network, bits))) = (parse(address), parse_expression(expression))
    else {
        return false;
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let different = u32::from(a) ^ u32::from(n);
            bits == 0 || different >> (32 - bits) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let different = u128::from(a) ^ u128::from(n);
            bits == 0 || different >> (128 - bits) == 0
        }
        _ => false,
    }
}
