//! Members of an ensemble: `server.N`, `group.N` and `weight.N` lines, parsed and printed as Apache
//! does (`QuorumPeer.QuorumServer`, `QuorumMaj`, `QuorumHierarchical`).
//!
//! ```text
//! server.N = host:quorumPort:electionPort[:role][|host:quorumPort:electionPort..][;[host:]clientPort]
//! group.G  = N:N:N
//! weight.N = W
//! version  = hexadecimal zxid of the reconfiguration
//! ```
//!
//! The text is what `/zookeeper/config`, NEWLEADER packets, election notifications and `conf`
//! carry, so its order is Java's, too: a `HashMap<Long, _>` filled from a `Properties`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;

use crate::types::ServerId;

/// Whether a member votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// It votes.
    #[default]
    Participant,
    /// It only learns what was committed.
    Observer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Participant => "participant",
            Role::Observer => "observer",
        })
    }
}

/// A host and a port, as written; IPv6 hosts are kept in Java's long form, without brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// Host name or literal address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl HostPort {
    /// True for `0.0.0.0` and `::`.
    pub fn is_wildcard(&self) -> bool {
        self.host == "0.0.0.0" || self.host == "0:0:0:0:0:0:0:0"
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", bracketed(&self.host), self.port)
    }
}

/// One address of a member for the other members.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberAddress {
    /// Host name or literal address.
    pub host: String,
    /// Where a leader takes learners.
    pub quorum_port: u16,
    /// Where votes are exchanged.
    pub election_port: u16,
}

/// One member: a `server.N` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The `N`.
    pub id: ServerId,
    /// At least one; sorted by host and without duplicates, as Java prints them.
    pub addresses: Vec<MemberAddress>,
    /// Whether it votes.
    pub role: Role,
    /// Where it takes clients, when the line says so.
    pub client: Option<HostPort>,
    /// True when `client` was filled in from `clientPort` of the static file: it isn't printed then.
    pub client_from_static: bool,
}

/// What makes a quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuorumRule {
    /// More than half of the voters.
    Majority,
    /// More than half of the groups, each with more than half of its weight.
    Hierarchical {
        /// Group of each member.
        groups: BTreeMap<ServerId, i64>,
        /// Weight of each member that is in a group, and of others named by a `weight` line.
        weights: BTreeMap<ServerId, i64>,
    },
}

/// A version of the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumConfig {
    /// The zxid of the reconfiguration that made it; 0 for one that came from a static file.
    pub version: i64,
    /// All members by id.
    pub members: BTreeMap<ServerId, Member>,
    /// What makes a quorum of them.
    pub rule: QuorumRule,
}

/// A line of a dynamic configuration that can't be used. `key` and `value` are as written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}={value}: {why}")]
pub struct DynamicError {
    /// The line's key.
    pub key: String,
    /// The line's value.
    pub value: String,
    /// What is wrong with it.
    pub why: String,
    /// What would be right.
    pub hint: String,
    /// A number that isn't one or is out of its range, or a group's member that there isn't: in Java
    /// an exception of another kind than that of a bad line, and so another answer to a `reconfig`.
    pub unchecked: bool,
}

/// A server line's value that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// It has not the form, or one of its words isn't known.
    #[error("{0}")]
    Form(String),
    /// A port that no address can have: as [`DynamicError::unchecked`].
    #[error("port out of range:{0}")]
    Port(i32),
}

impl From<String> for SpecError {
    fn from(why: String) -> SpecError {
        SpecError::Form(why)
    }
}

/// The form of a server line, for hints.
pub const SERVER_FORM: &str =
    "host:quorumPort:electionPort[:participant|observer][;[clientHost:]clientPort]";

impl QuorumConfig {
    /// Makes a configuration of `key=value` lines; keys other than `server.N`, `group*`, `weight*`
    /// and `version` are skipped. A `group` or `weight` line makes the quorum hierarchical.
    ///
    /// # Errors
    /// The first line that Apache would refuse; a member without or with two groups.
    pub fn from_lines<'a>(
        lines: impl IntoIterator<Item = (&'a str, &'a str)>,
        multi_address: bool,
    ) -> Result<QuorumConfig, DynamicError> {
        let mut version = 0;
        let mut members = BTreeMap::new();
        let mut groups: BTreeMap<ServerId, i64> = BTreeMap::new();
        let mut weights: BTreeMap<ServerId, i64> = BTreeMap::new();
        let mut hierarchical = false;
        for (key, value) in lines {
            let refuse = |why: String, hint: &str| DynamicError {
                key: key.to_owned(),
                value: value.to_owned(),
                why,
                hint: hint.to_owned(),
                unchecked: false,
            };
            let fail =
                |why: String, hint: &str| DynamicError { unchecked: true, ..refuse(why, hint) };
            if let Some(id) = key.strip_prefix("server.") {
                let id = number(id).ok_or_else(|| {
                    fail(
                        format!("{id:?} is not a server id"),
                        "server lines are server.1, server.2, ..",
                    )
                })?;
                let member =
                    Member::parse(ServerId(id), value, multi_address).map_err(|error| {
                        DynamicError {
                            unchecked: matches!(error, SpecError::Port(_)),
                            ..refuse(error.to_string(), SERVER_FORM)
                        }
                    })?;
                members.insert(ServerId(id), member);
            } else if key == "version" {
                version = i64::from_str_radix(value, 16).map_err(|_| {
                    fail("the version is not hexadecimal".to_owned(), "version=100000003")
                })?;
            } else if key.starts_with("group") {
                hierarchical = true;
                let hint = "group lines are group.1=1:2:3";
                let group = key
                    .split_once('.')
                    .and_then(|(_, g)| number(g))
                    .ok_or_else(|| fail("the group has no number".to_owned(), hint))?;
                // Java's split drops empty parts at the end, and gives one for an empty text.
                let parts = match value.trim_end_matches(':') {
                    "" if !value.is_empty() => None,
                    parts => Some(parts.split(':')),
                };
                for part in parts.into_iter().flatten() {
                    let id = number(part)
                        .ok_or_else(|| fail(format!("{part:?} is not a server id"), hint))?;
                    if groups.insert(ServerId(id), group).is_some() {
                        return Err(refuse(format!("server {id} is in multiple groups"), hint));
                    }
                }
            } else if key.starts_with("weight") {
                hierarchical = true;
                let hint = "weight lines are weight.1=2";
                let id = key
                    .split_once('.')
                    .and_then(|(_, id)| number(id))
                    .ok_or_else(|| fail("the weight has no server id".to_owned(), hint))?;
                let weight = number(value)
                    .ok_or_else(|| fail(format!("{value:?} is not a weight"), hint))?;
                weights.insert(ServerId(id), weight);
            }
        }
        let rule = if hierarchical {
            for member in members.values().filter(|m| m.role == Role::Participant) {
                if !groups.contains_key(&member.id) {
                    return Err(DynamicError {
                        key: format!("server.{}", member.id),
                        value: member.spec(),
                        why: format!("server {} is not in a group", member.id),
                        hint: "with groups or weights, each voter is in one group".to_owned(),
                        unchecked: false,
                    });
                }
            }
            if let Some(stray) = groups.keys().find(|id| !members.contains_key(id)) {
                return Err(DynamicError {
                    key: format!("group.{}", groups[stray]),
                    value: stray.to_string(),
                    why: format!("there is no server {stray}"),
                    hint: format!("add server.{stray}={SERVER_FORM}"),
                    unchecked: true,
                });
            }
            for id in groups.keys() {
                weights.entry(*id).or_insert(1);
            }
            QuorumRule::Hierarchical { groups, weights }
        } else {
            QuorumRule::Majority
        };
        Ok(QuorumConfig { version, members, rule })
    }

    /// Parses a whole text, as it comes from `/zookeeper/config` or a peer.
    ///
    /// # Errors
    /// As [`QuorumConfig::from_lines`]; also for a malformed escape.
    pub fn parse(text: &str, multi_address: bool) -> Result<QuorumConfig, DynamicError> {
        // The text is read as Latin-1 there; config texts are ASCII.
        let bytes: Vec<u8> =
            text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        let properties = super::properties::parse(&bytes).map_err(|e| DynamicError {
            key: String::new(),
            value: String::new(),
            why: e.to_string(),
            hint: "a lone backslash is written \\\\".to_owned(),
            unchecked: true,
        })?;
        let properties = super::properties::last_wins(properties);
        let trimmed = properties.iter().map(|p| (p.key.trim(), p.value.trim()));
        QuorumConfig::from_lines(trimmed, multi_address)
    }

    /// The members that vote.
    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|m| m.role == Role::Participant)
    }

    /// The members that only observe.
    pub fn observers(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|m| m.role == Role::Observer)
    }

    /// The weight of a member's vote: 1 in a majority, 0 for one without group.
    pub fn weight(&self, id: ServerId) -> i64 {
        match &self.rule {
            QuorumRule::Majority => 1,
            QuorumRule::Hierarchical { weights, .. } => weights.get(&id).copied().unwrap_or(0),
        }
    }

    /// The text of a dynamic file (`<cfg>.dynamic.<version>`): sorted lines, no `version`, no
    /// newline at the end (`QuorumPeerConfig.writeDynamicConfig`).
    pub fn to_file_text(&self) -> String {
        let text = self.to_string();
        let mut lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("version=")).collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    fn java_order(&self) -> Vec<&Member> {
        let lines = match &self.rule {
            QuorumRule::Majority => self.members.len() + 1,
            QuorumRule::Hierarchical { groups, weights } => {
                let mut distinct: Vec<i64> = groups.values().copied().collect();
                distinct.sort_unstable();
                distinct.dedup();
                self.members.len() + distinct.len() + weights.len() + 1
            }
        };
        let mut members: Vec<&Member> = self.members.values().collect();
        // Order of insertion: a Properties is a ConcurrentHashMap of strings that starts with 16
        // buckets and doubles when its count reaches three quarters.
        let mut buckets: u32 = 16;
        while lines as u64 >= u64::from(buckets) * 3 / 4 {
            buckets *= 2;
        }
        members.sort_by_key(|m| {
            let hash = java_string_hash(&format!("server.{}", m.id));
            (hash ^ (hash >> 16)) & 0x7fff_ffff & (buckets - 1)
        });
        let keys: Vec<i64> = members.iter().map(|m| m.id.0).collect();
        java_hash_map_order(&keys).into_iter().map(|i| members[i]).collect()
    }
}

/// Order in which `HashMap<Long, _>` iterates, as indexes into `keys`, which are in the order of
/// insertion.
fn java_hash_map_order(keys: &[i64]) -> Vec<usize> {
    let mut buckets: u32 = 16;
    while keys.len() as u64 > u64::from(buckets) * 3 / 4 {
        buckets *= 2;
    }
    let bucket = |key: i64| {
        // Long.hashCode, then HashMap.hash: fold the upper half in, twice.
        let bytes = key.to_be_bytes();
        let upper = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let lower = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let hash = upper ^ lower;
        (hash ^ (hash >> 16)) & (buckets - 1)
    };
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|i| bucket(keys[*i]));
    order
}

fn java_string_hash(text: &str) -> u32 {
    text.chars().fold(0u32, |hash, c| hash.wrapping_mul(31).wrapping_add(u32::from(c)))
}

impl fmt::Display for QuorumConfig {
    /// Apache's text: members, groups, weights, and last `version=<hex>` without a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for member in self.java_order() {
            writeln!(f, "server.{}={}", member.id, member.spec())?;
        }
        if let QuorumRule::Hierarchical { groups, weights } = &self.rule {
            let mut by_group: Vec<(i64, Vec<ServerId>)> = Vec::new();
            let ids: Vec<i64> = groups.keys().map(|id| id.0).collect();
            for i in java_hash_map_order(&ids) {
                let id = ServerId(ids[i]);
                let group = groups[&id];
                match by_group.iter_mut().find(|(g, _)| *g == group) {
                    Some((_, members)) => members.push(id),
                    None => by_group.push((group, vec![id])),
                }
            }
            let numbers: Vec<i64> = by_group.iter().map(|(g, _)| *g).collect();
            for i in java_hash_map_order(&numbers) {
                let (group, members) = &by_group[i];
                let members: Vec<String> = members.iter().map(ToString::to_string).collect();
                writeln!(f, "group.{group}={}", members.join(":"))?;
            }
            let ids: Vec<i64> = weights.keys().map(|id| id.0).collect();
            for i in java_hash_map_order(&ids) {
                writeln!(f, "weight.{}={}", ids[i], weights[&ServerId(ids[i])])?;
            }
        }
        write!(f, "version={:x}", self.version)
    }
}

impl Member {
    /// Parses the value of a `server.N` line; the error says what is wrong.
    pub fn parse(id: ServerId, spec: &str, multi_address: bool) -> Result<Member, SpecError> {
        // Java's split drops empty parts at the end: `a:1:2;` has one part.
        let parts: Vec<&str> = spec.trim_end_matches(';').split(';').collect();
        let (servers, client) = match parts.as_slice() {
            [servers] => (*servers, None),
            [servers, client] => (*servers, Some(*client)),
            _ => return Err(SpecError::Form("too many parts separated by semicolons".to_owned())),
        };
        let client = client.map(parse_client).transpose()?;
        let servers: Vec<&str> = servers.split('|').collect();
        if servers.len() > 1 && !multi_address {
            return Err(SpecError::Form(
                "several addresses need multiAddress.enabled=true".to_owned(),
            ));
        }
        let mut role = Role::Participant;
        let mut addresses = Vec::with_capacity(servers.len());
        for server in servers {
            let (host, rest) = split_host(server)?;
            // As above.
            let fields: Vec<&str> = rest.trim_end_matches(':').split(':').collect();
            let (quorum, election) = match fields.as_slice() {
                [_] => return Err(SpecError::Form("the election port is missing".to_owned())),
                [quorum, election] => (quorum, election),
                [quorum, election, word] => {
                    role = parse_role(word)?;
                    (quorum, election)
                }
                _ => return Err(SpecError::Form("too many parts separated by colons".to_owned())),
            };
            let quorum_port = parse_port(quorum)?;
            let election_port = parse_port(election)?;
            if quorum_port == election_port {
                return Err(SpecError::Form(
                    "quorum and election port must be different".to_owned(),
                ));
            }
            addresses.push(MemberAddress { host, quorum_port, election_port });
        }
        addresses.sort();
        addresses.dedup();
        Ok(Member { id, addresses, role, client, client_from_static: false })
    }

    /// The line's value as Apache prints it (`QuorumServer.toString`).
    pub fn spec(&self) -> String {
        let addresses: Vec<String> = self
            .addresses
            .iter()
            .map(|a| format!("{}:{}:{}", bracketed(&a.host), a.quorum_port, a.election_port))
            .collect();
        let mut out = format!("{}:{}", addresses.join("|"), self.role);
        if let (Some(client), false) = (&self.client, self.client_from_static) {
            out.push_str(&format!(";{client}"));
        }
        out
    }
}

fn number(text: &str) -> Option<i64> {
    text.strip_prefix('+').unwrap_or(text).parse().ok().filter(|_| !text.starts_with("+-"))
}

/// `participant` or `observer`, in any case.
pub fn parse_role(word: &str) -> Result<Role, String> {
    match word.trim().to_ascii_lowercase().as_str() {
        "participant" => Ok(Role::Participant),
        "observer" => Ok(Role::Observer),
        _ => Err(format!("{word:?} is neither participant nor observer")),
    }
}

fn parse_port(text: &str) -> Result<u16, SpecError> {
    let number: i32 = text.parse().map_err(|_| format!("{text:?} is not a port number"))?;
    u16::try_from(number).map_err(|_| SpecError::Port(number))
}

fn parse_client(text: &str) -> Result<HostPort, SpecError> {
    let (host, port) = if text.contains(':') {
        let (host, port) = split_host(text)?;
        (host, port)
    } else {
        ("0.0.0.0".to_owned(), text)
    };
    Ok(HostPort { host, port: parse_port(port)? })
}

/// Splits the host, which may be in brackets, from what follows its colon. An empty host is
/// `localhost`, as for Java's `InetAddress`.
fn split_host(text: &str) -> Result<(String, &str), String> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) =
                inner.split_once(']').ok_or_else(|| "a bracket is not closed".to_owned())?;
            if host.is_empty() {
                return Err("the brackets are empty".to_owned());
            }
            let rest = rest
                .strip_prefix(':')
                .ok_or_else(|| "a port must follow the closing bracket".to_owned())?;
            (host, rest)
        }
        None => text.split_once(':').ok_or_else(|| "the ports are missing".to_owned())?,
    };
    if host.contains(char::is_whitespace) {
        return Err(format!("the host {host:?} contains blanks"));
    }
    Ok((if host.is_empty() { "localhost".to_owned() } else { java_host(host) }, rest))
}

/// An IPv6 literal in the form of Java's `getHostString`: all eight groups, no `::`.
fn java_host(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => {
            let groups: Vec<String> = address.segments().iter().map(|s| format!("{s:x}")).collect();
            groups.join(":")
        }
        Err(_) => host.to_owned(),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests;
