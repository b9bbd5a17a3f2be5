//! The texts of zkCli: stats, ACLs, hex dumps, events, errors, usages.

use crate::client::{Error, Event, EventKind, State};
use crate::ops::format::date;
use crate::types::{Acl, Code, Id, Perms, Stat};

/// Usages in Apache's order: command, arguments.
pub const USAGES: &[(&str, &str)] = &[
    (
        "addWatch",
        "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is \
         PERSISTENT_RECURSIVE",
    ),
    ("addauth", "scheme auth"),
    ("close", ""),
    ("config", "[-c] [-w] [-s]"),
    ("connect", "host:port"),
    ("create", "[-s] [-e] [-c] [-t ttl] path [data] [acl]"),
    ("delete", "[-v version] path"),
    ("deleteall", "path [-b batch size]"),
    ("delquota", "[-n|-b|-N|-B] path"),
    ("get", "[-s] [-w] [-b] [-x] path"),
    ("getAcl", "[-s] path"),
    ("getAllChildrenNumber", "path"),
    ("getEphemerals", "path"),
    ("history", ""),
    ("listquota", "path"),
    ("ls", "[-s] [-w] [-R] path"),
    ("printwatches", "on|off"),
    ("quit", ""),
    (
        "reconfig",
        "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | \
         [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
    ),
    ("redo", "cmdno"),
    ("removewatches", "path [-c|-d|-a] [-l]"),
    ("set", "path data [-s] [-v version] [-b]"),
    ("setAcl", "[-s] [-v version] [-R] path acl"),
    ("setquota", "-n|-b|-N|-B val path"),
    ("stat", "[-w] path"),
    ("sync", "path"),
    ("version", ""),
    ("whoami", ""),
];

/// What an unknown command is answered with, without the newline at the end.
pub fn usage() -> String {
    let mut out =
        "ZooKeeper -server host:port -client-configuration properties-file cmd args".to_owned();
    for (name, arguments) in USAGES {
        out.push_str(&format!("\n\t{name} {arguments}"));
    }
    out
}

/// The usage of one command; two of them list their options as well.
pub fn usage_of(name: &str) -> String {
    let arguments = USAGES.iter().find(|(n, _)| *n == name).map_or("", |(_, a)| a);
    let options = match name {
        "get" => {
            "\n -b   Output data in base64 format\n -s   Print znode stats additionally\n \
             -w   Watch for changes on the znode\n -x   Output data in hexdump format\n"
        }
        "set" => {
            "\n -b         Supply data in base64 format\n -s         Print znode stats additionally\n \
             -v <arg>   Set with an expected version\n"
        }
        _ => "",
    };
    format!("{name} {arguments}{options}")
}

/// A stat, a line per field.
pub fn stat(s: &Stat) -> String {
    format!(
        "cZxid = 0x{:x}\nctime = {}\nmZxid = 0x{:x}\nmtime = {}\npZxid = 0x{:x}\ncversion = {}\n\
         dataVersion = {}\naclVersion = {}\nephemeralOwner = 0x{:x}\ndataLength = {}\n\
         numChildren = {}\n",
        s.czxid,
        date(s.ctime),
        s.mzxid,
        date(s.mtime),
        s.pzxid,
        s.cversion,
        s.version,
        s.aversion,
        s.ephemeral_owner,
        s.data_length,
        s.num_children
    )
}

/// A list as Java prints it: `[a, b]`.
pub fn list(items: &[String]) -> String {
    format!("[{}]", items.join(", "))
}

/// Data as text; null data is the word.
pub fn data(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
}

/// A hex dump of 16 bytes a line in a frame; nothing for no bytes.
pub fn hex_dump(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return String::new();
    }
    let rule = format!("+--------+{}+{}+", "-".repeat(49), "-".repeat(16));
    let mut out = format!(
        "         +{}+\n         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n{rule}",
        "-".repeat(49)
    );
    for (n, row) in bytes.chunks(16).enumerate() {
        let hex: String = row.iter().map(|b| format!(" {b:02x}")).collect();
        let text: String = row
            .iter()
            .map(|b| if (0x20..0x7f).contains(b) { char::from(*b) } else { '.' })
            .collect();
        out.push_str(&format!("\n|{:08x}|{hex:<48} |{text:<16}|", n * 16));
    }
    out + "\n" + &rule
}

/// An event as the default watcher prints it.
pub fn event(event: &Event) -> String {
    let state = match event.state {
        State::SyncConnected => "SyncConnected",
        State::ConnectedReadOnly => "ConnectedReadOnly",
        State::Connecting | State::Disconnected => "Disconnected",
        State::Expired => "Expired",
        State::AuthFailed => "AuthFailed",
        State::Closed => "Closed",
    };
    let kind = match event.kind {
        EventKind::None => "None",
        EventKind::NodeCreated => "NodeCreated",
        EventKind::NodeDeleted => "NodeDeleted",
        EventKind::NodeDataChanged => "NodeDataChanged",
        EventKind::NodeChildrenChanged => "NodeChildrenChanged",
        EventKind::DataWatchRemoved => "DataWatchRemoved",
        EventKind::ChildWatchRemoved => "ChildWatchRemoved",
        EventKind::PersistentWatchRemoved => "PersistentWatchRemoved",
    };
    let path = event.path.as_deref().unwrap_or("null");
    format!(
        "\nWATCHER::\n\nWatchedEvent state:{state} type:{kind} path:{path} zxid: {}\n",
        event.zxid
    )
}

/// An error as the command line says it (`CliWrapperException`).
pub fn error(error: &Error, path: Option<&str>) -> String {
    let shown = path.unwrap_or("null");
    let code = error.code();
    let head = match code {
        Code::NO_NODE => "Node does not exist: ",
        Code::NO_CHILDREN_FOR_EPHEMERALS => "Ephemerals cannot have children: ",
        Code::NODE_EXISTS => "Node already exists: ",
        Code::NOT_EMPTY => "Node not empty: ",
        Code::NOT_READ_ONLY => "Not a read-only call: ",
        Code::INVALID_ACL => "Acl is not valid : ",
        Code::NO_AUTH => "Insufficient permission : ",
        Code::BAD_ARGUMENTS => "Arguments are not valid : ",
        Code::BAD_VERSION => "version No is not valid : ",
        Code::QUOTA_EXCEEDED => "Quota has exceeded : ",
        Code::RECONFIG_IN_PROGRESS => {
            return "Another reconfiguration is in progress -- concurrent reconfigs not supported \
                    (yet)"
                .to_owned();
        }
        Code::NEW_CONFIG_NO_QUORUM => {
            return "No quorum of new config is connected and up-to-date with the leader of last \
                    commmitted config - try invoking reconfiguration after new servers are \
                    connected and synced"
                .to_owned();
        }
        _ => return exception(code, path),
    };
    format!("{head}{shown}")
}

/// The message of Java's exception for a code (`KeeperException.getMessage`).
pub fn exception(code: Code, path: Option<&str>) -> String {
    let message = code_message(code);
    match path {
        Some(path) => format!("KeeperErrorCode = {message} for {path}"),
        None => format!("KeeperErrorCode = {message}"),
    }
}

/// `KeeperException.getCodeMessage` where it isn't the code's own name.
fn code_message(code: Code) -> &'static str {
    match code {
        Code::NO_WATCHER => "No such watcher",
        Code::RECONFIG_DISABLED => "Reconfig is disabled",
        Code::SESSION_EXPIRED => "Session expired",
        Code::SESSION_MOVED => "Session moved",
        Code::EPHEMERAL_ON_LOCAL_SESSION => "Ephemeral node creation on local session",
        Code::THROTTLED_OP => "Op throttled due to high load",
        Code::SESSION_CLOSED_REQUIRE_SASL_AUTH => {
            "Session closed because client failed to authenticate"
        }
        _ => code.label(),
    }
}

/// ACLs, two lines each.
pub fn acls(list: &[Acl]) -> String {
    let mut out = String::new();
    for acl in list {
        out.push_str(&format!("'{},'{}\n: {}\n", acl.id.scheme(), acl.id.id(), perms(acl.perms)));
    }
    out
}

fn perms(perms: Perms) -> String {
    [
        ('c', Perms::CREATE),
        ('d', Perms::DELETE),
        ('r', Perms::READ),
        ('w', Perms::WRITE),
        ('a', Perms::ADMIN),
    ]
    .iter()
    .filter(|(_, bit)| perms.any(*bit))
    .map(|(letter, _)| letter)
    .collect()
}

/// `scheme:id:perms` separated by commas; what is wrong is said in `err`, and left out.
pub fn parse_acls(text: &str, err: &mut String) -> Vec<Acl> {
    let mut list = Vec::new();
    for part in text.split(',') {
        let first = part.find(':');
        let last = part.rfind(':');
        let (Some(first), Some(last)) = (first, last.filter(|l| Some(*l) != first)) else {
            err.push_str(&format!("{part} does not have the form scheme:id:perm\n"));
            continue;
        };
        let mut bits = 0;
        for letter in part[last + 1..].chars() {
            bits |= match letter {
                'r' => Perms::READ.0,
                'w' => Perms::WRITE.0,
                'c' => Perms::CREATE.0,
                'd' => Perms::DELETE.0,
                'a' => Perms::ADMIN.0,
                other => {
                    err.push_str(&format!("Unknown perm type: {other}\n"));
                    0
                }
            };
        }
        let id = Id::new(&part[..first], &part[first + 1..last]);
        list.push(Acl { perms: Perms(bits), id });
    }
    list
}

/// Why a path can't be one, in Java's words (`PathUtils.validatePath`).
pub fn path_error(path: &str) -> Option<String> {
    if path.is_empty() {
        return Some("Path length must be > 0".to_owned());
    }
    if !path.starts_with('/') {
        return Some("Path must start with / character".to_owned());
    }
    if path.len() > 1 && path.ends_with('/') {
        return Some("Path must not end with / character".to_owned());
    }
    let chars: Vec<char> = path.chars().collect();
    let ends = |i: usize| chars.get(i).is_none_or(|c| *c == '/');
    for i in 1..chars.len() {
        let reason = match chars[i] {
            '\0' => "null character not allowed",
            '/' if chars[i - 1] == '/' => "empty node name specified",
            '.' if chars[i - 1] == '/' && ends(i + 1) => "relative paths not allowed",
            '.' if chars[i - 1] == '.' && i >= 2 && chars[i - 2] == '/' && ends(i + 1) => {
                "relative paths not allowed"
            }
            '\u{1}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{fff0}'..='\u{ffff}' => "invalid character",
            _ => continue,
        };
        return Some(format!("Invalid path string \"{path}\" caused by {reason} @{i}"));
    }
    None
}

#[cfg(test)]
mod tests;
