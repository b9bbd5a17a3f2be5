//! What a request for another membership comes to, and how Zab reads memberships out of texts and
//! transactions (Apache `PrepRequestProcessor`, case `reconfig`; `QuorumPeer.configFromString`).

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::config::dynamic::{DynamicError, HostPort, SpecError};
use crate::config::{Member, QuorumConfig, QuorumRule, properties};
use crate::proto::opcode::OpCode;
use crate::proto::records::ReconfigRequest;
use crate::proto::txn::{Txn, TxnEntry};
use crate::types::{Code, ServerId};
use crate::zab::quorum::{Quorum, Rule};
use crate::zab::{ConfigReader, Membership};

/// How Zab reads what members say of the membership.
pub const READER: ConfigReader = ConfigReader { read, text_of };

/// What a request must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `multiAddress.enabled`.
    pub multi_address: bool,
    /// `standaloneEnabled`: one voter would not be an ensemble.
    pub standalone_enabled: bool,
}

/// Who votes and who observes, for Zab.
pub fn membership(config: &QuorumConfig) -> Membership {
    let rule = match &config.rule {
        QuorumRule::Majority => Rule::majority(config.voters().map(|member| member.id)),
        QuorumRule::Hierarchical { groups, weights } => {
            let mut by_group: BTreeMap<i64, BTreeMap<ServerId, u64>> = BTreeMap::new();
            for member in config.voters() {
                let group = groups.get(&member.id).copied().unwrap_or_default();
                let weight = weights.get(&member.id).copied().unwrap_or(0);
                let weight = u64::try_from(weight).unwrap_or(0);
                by_group.entry(group).or_default().insert(member.id, weight);
            }
            Rule::Groups(by_group.into_values().collect())
        }
    };
    Membership {
        version: config.version,
        quorum: Quorum::of(rule),
        observers: config.observers().map(|member| member.id).collect(),
        places: config.members.values().map(|m| (m.id, place(m))).collect(),
        text: Bytes::from(config.to_string()),
    }
}

/// Where a member takes learners, for comparison.
fn place(member: &Member) -> String {
    let addresses = member.addresses.iter();
    let addresses: Vec<_> = addresses.map(|a| format!("{}:{}", a.host, a.quorum_port)).collect();
    addresses.join("|")
}

/// A config's text as Zab's membership.
fn read(text: &Bytes) -> Option<Membership> {
    // What other members have taken is taken here, several addresses too.
    let config = QuorumConfig::parse(std::str::from_utf8(text).ok()?, true).ok()?;
    (config.voters().next().is_some()).then(|| membership(&config))
}

/// The config in a transaction of type 16.
fn text_of(txn: &Bytes) -> Option<Bytes> {
    let entry = TxnEntry::decode(txn.clone()).ok()?;
    match entry.txn {
        Txn::SetData { data, .. } if entry.header.kind == OpCode::RECONFIG.0 => data,
        _ => None,
    }
}

/// The membership that a request asks for, from the one in force; its version is still that one's.
///
/// # Errors
/// What Apache answers.
pub fn plan(
    request: &ReconfigRequest,
    current: &QuorumConfig,
    rules: Rules,
) -> Result<QuorumConfig, Code> {
    let planned = match &request.new_members {
        Some(members) => whole(members, rules)?,
        None => changed(request, current, rules)?,
    };
    let enough = if rules.standalone_enabled { 2 } else { 1 };
    if planned.voters().count() < enough {
        return Err(Code::BAD_ARGUMENTS);
    }
    // Apache counts such weights in, and finds no quorum.
    let negative = |weights: &BTreeMap<ServerId, i64>| weights.values().any(|weight| *weight < 0);
    match &planned.rule {
        QuorumRule::Hierarchical { weights, .. } if negative(weights) => {
            Err(Code::NEW_CONFIG_NO_QUORUM)
        }
        _ => Ok(planned),
    }
}

/// A list of all members, between commas or newlines; nothing else may be in it.
fn whole(members: &str, rules: Rules) -> Result<QuorumConfig, Code> {
    let text = members.replace(',', "\n");
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
    let lines = properties::parse(&latin).map_err(|_| Code::MARSHALLING_ERROR)?;
    let lines = properties::last_wins(lines);
    for line in &lines {
        let (key, value) = (line.key.trim(), line.value.trim());
        let known = key.starts_with("group") || key.starts_with("weight") || key == "version";
        if let Some(id) = key.strip_prefix("server.") {
            // A number that isn't one is an exception of another kind in Apache.
            id.parse::<i64>().map_err(|_| Code::MARSHALLING_ERROR)?;
        } else if !known {
            return Err(Code::BAD_ARGUMENTS);
        } else if key == "version" {
            i64::from_str_radix(value, 16).map_err(|_| Code::MARSHALLING_ERROR)?;
        }
    }
    let pairs = lines.iter().map(|l| (l.key.trim(), l.value.trim()));
    let config =
        QuorumConfig::from_lines(pairs, rules.multi_address).map_err(|error| code(&error))?;
    let observers = config.observers().count();
    match config.voters().count() {
        // As above.
        0 if !rules.standalone_enabled || observers > 0 => Err(Code::MARSHALLING_ERROR),
        1 if rules.standalone_enabled && observers > 0 => Err(Code::MARSHALLING_ERROR),
        _ => Ok(config),
    }
}

/// The answer to a line that can't be used.
fn code(error: &DynamicError) -> Code {
    if error.unchecked { Code::MARSHALLING_ERROR } else { Code::BAD_ARGUMENTS }
}

/// Some leave, then some join or change.
fn changed(
    request: &ReconfigRequest,
    current: &QuorumConfig,
    rules: Rules,
) -> Result<QuorumConfig, Code> {
    if current.rule != QuorumRule::Majority {
        return Err(Code::BAD_ARGUMENTS);
    }
    let mut next = current.clone();
    for id in parts(request.leaving.as_deref(), ',') {
        let id: i64 = id.parse().map_err(|_| Code::MARSHALLING_ERROR)?;
        next.members.remove(&ServerId(id));
    }
    for joiner in parts(request.joining.as_deref(), ',') {
        let halves: Vec<&str> = parts(Some(joiner), '=').collect();
        let [name, spec] = halves[..] else { return Err(Code::BAD_ARGUMENTS) };
        let id = name.rsplit('.').next().unwrap_or_default();
        let id = ServerId(id.parse().map_err(|_| Code::MARSHALLING_ERROR)?);
        let new = Member::parse(id, spec, rules.multi_address).map_err(|error| match error {
            SpecError::Form(_) => Code::BAD_ARGUMENTS,
            SpecError::Port(_) => Code::MARSHALLING_ERROR,
        })?;
        let others = next.members.values().filter(|other| other.id != id);
        if new.client.is_none() || { others }.any(|other| clash(&new, other)) {
            return Err(Code::BAD_ARGUMENTS);
        }
        next.members.insert(id, new);
    }
    Ok(next)
}

/// The parts of a list, without blanks around them and without empty ones.
fn parts(list: Option<&str>, by: char) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split(by).map(str::trim).filter(|part| !part.is_empty())
}

/// Whether two members want the same address. Loopback and wildcard addresses are each machine's
/// own.
fn clash(a: &Member, b: &Member) -> bool {
    let all = |m: &Member| -> Vec<HostPort> {
        let ports = m.addresses.iter().flat_map(|at| {
            [at.quorum_port, at.election_port].map(|port| HostPort { host: at.host.clone(), port })
        });
        let own = |host: &str| {
            host == "localhost" || host.starts_with("127.") || host == "0:0:0:0:0:0:0:1"
        };
        ports.chain(m.client.clone()).filter(|a| !a.is_wildcard() && !own(&a.host)).collect()
    };
    let theirs = all(b);
    all(a).iter().any(|address| theirs.contains(address))
}

#[cfg(test)]
mod tests;
