//! The commands that need a server, one arm or function each.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::line::Parsed;
use super::{Said, quota, text};
use crate::client::{
    ANY_VERSION, AddWatchMode, Client, Error, OpResult, ReconfigChange, WatcherType,
};
use crate::config::CompatVersion;
use crate::proto::multi::Op;
use crate::proto::records::DeleteRequest;
use crate::types::{Code, CreateMode, OwnerRules, Stat, open_acl};

/// A command: its name and options.
#[derive(Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Options of one letter.
    pub flags: &'static str,
    /// Options that take a word.
    pub values: &'static [&'static str],
}

const fn command(
    name: &'static str,
    flags: &'static str,
    values: &'static [&'static str],
) -> Command {
    Command { name, flags, values }
}

const COMMANDS: &[Command] = &[
    command("addWatch", "", &["m"]),
    command("addauth", "", &[]),
    command("config", "cws", &[]),
    command("create", "sec", &["t"]),
    command("delete", "", &["v"]),
    command("deleteall", "", &["b"]),
    command("delquota", "nbNB", &[]),
    command("get", "swbx", &[]),
    command("getAcl", "s", &[]),
    command("getAllChildrenNumber", "", &[]),
    command("getEphemerals", "", &[]),
    command("listquota", "", &[]),
    command("ls", "swR", &[]),
    command("reconfig", "s", &["v", "file", "members", "add", "remove"]),
    command("removewatches", "cdal", &[]),
    command("set", "sb", &["v"]),
    command("setAcl", "sR", &["v"]),
    command("setquota", "", &["n", "b", "N", "B"]),
    command("stat", "w", &[]),
    command("sync", "", &[]),
    command("version", "", &[]),
    command("whoami", "", &[]),
];

/// The command of a name.
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.name == name)
}

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// Wrong arguments: its usage is shown.
    Usage(&'static str),
    /// Anything else, in words.
    Text(String),
}

/// What commands return.
pub type Outcome = Result<(), Failure>;

fn failed(error: &Error, path: &str) -> Failure {
    Failure::Text(text::error(error, Some(path)))
}

fn failed_without_path(error: &Error) -> Failure {
    Failure::Text(text::error(error, None))
}

/// A valid path as argument `n`; else the usage, or what is wrong with it.
fn path_at<'a>(name: &'static str, parsed: &'a Parsed, n: usize) -> Result<&'a str, Failure> {
    let path = parsed.arg(n).ok_or(Failure::Usage(name))?;
    match text::path_error(path) {
        Some(why) => Err(Failure::Text(why)),
        None => Ok(path),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| Failure::Text(format!("For input string: \"{text}\"")))
}

fn version_of(parsed: &Parsed) -> Result<i32, Failure> {
    match parsed.value("v") {
        Some(text) => number(text),
        None => Ok(ANY_VERSION),
    }
}

/// The warning about a form of an old release. The command is still done, and the word too many, which
/// was a version or `watch` once, counts for `watch` only.
fn deprecated(said: &mut Said, old: &str, new: &str) {
    said.err.push_str(&format!("'{old}' has been deprecated. Please use '{new}' instead.\n"));
}

/// Does a command. `client` is only missing for `version`.
pub async fn execute(
    command: &Command,
    parsed: &Parsed,
    client: Option<&Client>,
    said: &mut Said,
) -> Outcome {
    if command.name == "version" {
        let banner = CompatVersion::default().banner();
        said.out.push_str(&format!("ZooKeeper CLI version: {banner}\n"));
        return Ok(());
    }
    let Some(client) = client else { return Ok(()) };
    match command.name {
        "ls" => ls(client, parsed, said).await,
        "get" => get(client, parsed, said).await,
        "stat" => stat(client, parsed, said).await,
        "set" => set(client, parsed, said).await,
        "create" => create(client, parsed, said).await,
        "delete" => delete(client, parsed, said).await,
        "deleteall" => delete_all(client, parsed, said).await,
        "getAcl" => get_acl(client, parsed, said).await,
        "setAcl" => set_acl(client, parsed, said).await,
        "addauth" => {
            let scheme = parsed.arg(0).ok_or(Failure::Usage("addauth"))?;
            let auth = parsed.arg(1).unwrap_or("").as_bytes().to_vec();
            // A refused identity ends the session; Apache's client says so with an event only.
            let _ = client.add_auth(scheme, auth).await;
            Ok(())
        }
        "sync" => {
            let path = path_at("sync", parsed, 0)?;
            match client.sync(path).await {
                Ok(()) => said.out.push_str("Sync is OK\n"),
                Err(e) => {
                    said.err.push_str(&format!("Sync has failed. rc={}\n", e.code().0));
                }
            }
            Ok(())
        }
        "getEphemerals" => {
            let path = match parsed.arg(0) {
                Some(_) => path_at("getEphemerals", parsed, 0)?,
                None => "/",
            };
            let list = client.ephemerals(path).await.map_err(|e| failed(&e, path))?;
            said.out.push_str(&format!("{}\n", text::list(&list)));
            Ok(())
        }
        "getAllChildrenNumber" => {
            let path = path_at("getAllChildrenNumber", parsed, 0)?;
            let n = client.all_children_number(path).await.map_err(|e| failed(&e, path))?;
            said.out.push_str(&format!("{n}\n"));
            Ok(())
        }
        "whoami" => {
            let list = client.who_am_i().await.map_err(|e| failed_without_path(&e))?;
            said.out.push_str("Auth scheme: User\n");
            for who in list {
                let or_null = |s: Option<String>| s.unwrap_or_else(|| "null".to_owned());
                said.out.push_str(&format!("{}: {}\n", or_null(who.scheme), or_null(who.user)));
            }
            Ok(())
        }
        "addWatch" => add_watch(client, parsed).await,
        "removewatches" => {
            let path = path_at("removewatches", parsed, 0)?;
            let kind = if parsed.has('c') {
                WatcherType::Children
            } else if parsed.has('d') {
                WatcherType::Data
            } else {
                WatcherType::Any
            };
            let done = client.remove_watches(path, kind, parsed.has('l')).await;
            done.map_err(|e| failed(&e, path))
        }
        "config" => config(client, parsed, said).await,
        "reconfig" => reconfig(client, parsed, said).await,
        "listquota" => quota::list(client, path_at("listquota", parsed, 0)?, said).await,
        "setquota" => quota::set(client, parsed, said).await,
        "delquota" => quota::delete(client, parsed, said).await,
        // Every row of the table has an arm above.
        _ => Ok(()),
    }
}

async fn ls(client: &Client, parsed: &Parsed, said: &mut Said) -> Outcome {
    let path = path_at("ls", parsed, 0)?;
    if parsed.args.len() > 1 {
        deprecated(said, "ls path [watch]", "ls [-w] path");
    }
    let watch = parsed.has('w') || parsed.args.len() > 1;
    if parsed.has('R') {
        let mut print = async |node: &str| said.out.push_str(&format!("{node}\n"));
        return visit(client, path, &mut print).await.map_err(|e| failed_in(&e, path));
    }
    let (mut children, stat) =
        client.children_stat(path, watch).await.map_err(|e| failed(&e, path))?;
    children.sort();
    said.out.push_str(&format!("{}\n", text::list(&children)));
    print_stat(parsed, &stat, said);
    Ok(())
}

/// Calls `each` for a node and all below it: a node's children, sorted, come before what is below
/// them (`ZKUtil.visitSubTreeDFS`). Nodes that vanish meanwhile are passed over. The stack is explicit
/// because trees can be deep.
///
/// # Errors
/// The first refusal ends the visit, and names its node.
async fn visit(client: &Client, root: &str, each: &mut impl AsyncFnMut(&str)) -> Result<(), Error> {
    client.get(root, false).await?;
    each(root).await;
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let mut children = match client.children(&path, false).await {
            Ok(children) => children,
            Err(e) if e.code() == Code::NO_NODE => continue,
            Err(Error::Code { code, .. }) => return Err(Error::Code { code, path }),
            Err(e) => return Err(e),
        };
        children.sort();
        let base = if path == "/" { "" } else { path.as_str() };
        let below: Vec<String> = children.iter().map(|child| format!("{base}/{child}")).collect();
        for child in &below {
            each(child).await;
        }
        open.extend(below.into_iter().rev());
    }
    Ok(())
}

/// As [`failed`], for the node that an error of [`visit`] is about.
fn failed_in(error: &Error, root: &str) -> Failure {
    match error {
        Error::Code { path, .. } if !path.is_empty() => failed(error, path),
        _ => failed(error, root),
    }
}

fn print_stat(parsed: &Parsed, stat: &Stat, said: &mut Said) {
    if parsed.has('s') {
        said.out.push_str(&text::stat(stat));
    }
}

async fn get(client: &Client, parsed: &Parsed, said: &mut Said) -> Outcome {
    let path = path_at("get", parsed, 0)?;
    if parsed.args.len() > 1 {
        deprecated(said, "get path [watch]", "get [-s] [-w] path");
    }
    let watch = parsed.has('w') || parsed.args.len() > 1;
    let (data, stat) = client.get(path, watch).await.map_err(|e| failed(&e, path))?;
    let shown = match &data {
        Some(bytes) if parsed.has('b') => BASE64.encode(bytes),
        Some(bytes) if parsed.has('x') => text::hex_dump(bytes),
        _ => text::data(data.as_deref()),
    };
    said.out.push_str(&format!("{shown}\n"));
    print_stat(parsed, &stat, said);
    Ok(())
}

async fn stat(client: &Client, parsed: &Parsed, said: &mut Said) -> Outcome {
    let path = path_at("stat", parsed, 0)?;
    if parsed.args.len() > 1 {
        deprecated(said, "stat path [watch]", "stat [-w] path");
    }
    let watch = parsed.has('w') || parsed.args.len() > 1;
    match client.exists(path, watch).await.map_err(|e| failed(&e, path))? {
        Some(stat) => {
            said.out.push_str(&text::stat(&stat));
            Ok(())
        }
        None => {
            let code = Code::NO_NODE;
            Err(failed(&Error::Code { code, path: path.to_owned() }, path))
        }
    }
}

async fn set(client: &Client, parsed: &Parsed, said: &mut Said) -> Outcome {
    let path = path_at("set", parsed, 0)?;
    let data = parsed.arg(1).ok_or(Failure::Usage("set"))?;
    let version = version_of(parsed)?;
    let bytes = if parsed.has('b') {
        BASE64.decode(data).map_err(|e| Failure::Text(e.to_string()))?
    } else {
        data.as_bytes().to_vec()
    };
    let stat = client.set(path, Some(&bytes), version).await.map_err(|e| failed(&e, path))?;
    print_stat(parsed, &stat, said);
    Ok(())
}

async fn create(client: &Client, parsed: &Parsed, said: &mut Said) -> Outcome {
    let text = |t: &str| Err(Failure::Text(t.to_owned()));
    let (sequential, ephemeral, container) = (parsed.has('s'), parsed.has('e'), parsed.has('c'));
    let path = parsed.arg(0).ok_or(Failure::Usage("create"))?;
    if container && (sequential || ephemeral) {
        return text(
            "-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.",
        );
    }
    let ttl: Option<i64> = match parsed.value("t") {
        None => None,
        Some(t) => match t.parse() {
            Ok(ttl) => Some(ttl),
            Err(_) => return text("-t argument must be a long value"),
        },
    };
    if ttl.is_some() && ephemeral {
        return text("TTLs cannot be used with Ephemeral znodes");
    }
    if ttl.is_some() && container {
        return text("TTLs cannot be used with Container znodes");
    }
    let longest = OwnerRules::TTL_MAX;
    if ttl.is_some_and(|ttl| !(1..=longest).contains(&ttl)) {
        let why = format!("ttl must be positive and cannot be larger than: {longest}");
        return Err(Failure::Text(why));
    }
    let mode = match (sequential, ephemeral, container, ttl) {
        (true, _, _, Some(_)) => CreateMode::PersistentSequentialTtl,
        (false, _, _, Some(_)) => CreateMode::PersistentTtl,
        (true, true, ..) => CreateMode::EphemeralSequential,
        (true, false, ..) => CreateMode::PersistentSequential,
        (false, true, ..) => CreateMode::Ephemeral,
        (false, false, true, _) => CreateMode::Container,
        (false, false, false, _) => CreateMode::Persistent,
    };
    // A sequential node may have an empty name before its number.
    let checked = if sequential { format!("{path}1") } else { path.to_owned() };
    if let Some(why) = text::path_error(&checked) {
        return Err(Failure::Text(why));
    }
    let data = parsed.arg(1).map(str::as_bytes);
    let acl = match parsed.arg(2) {
        Some(list) => text::parse_acls(list, &mut said.err),
        None => open_acl(),
    };
    if acl.is_empty() {
        // Java's client refuses an empty list itself, without a path.
        said.err.push_str(&format!("{}\n", text::exception(Code::INVALID_ACL, None)));
        let error = Error::Code { code: Code::INVALID_ACL, path: String::new() };
        return Err(failed_without_path(&error));
    }
    let created = match ttl {
        Some(ttl) => client.create_ttl(path, data, acl, mode, ttl).await.map(|(path, _)| path),
        None => client.create(path, data, acl, mode).await,
    };
    match created {
        Ok(path) => {
            said.err.push_str(&format!("Created {path}\n"));
            Ok(())
        }
        Err(e) if e.code() == Code::INVALID_ACL => {
            said.err.push_str(&format!("{}\n", text::exception(e.code(), Some(path))));
            Err(failed(&e, path))
        }
        Err(e) if e.code() == Code::EPHEMERAL_ON_LOCAL_SESSION => {
            said.err.push_str("Unable to create ephemeral node on a local session\n");
            Err(failed(&e, path))
        }
        Err(e) => Err(failed(&e, path)),
    }
}

async fn delete(client: &Client, parsed: &Parsed, said: &mut Said) -> Outcome {
    let path = path_at("delete", parsed, 0)?;
    if parsed.args.len() > 1 {
        deprecated(said, "delete path [version]", "delete [-v version] path");
    }
    let version = version_of(parsed)?;
    client.delete(path, version).await.map_err(|e| failed(&e, path))
}

/// Deletes a subtree in batches, leaves first.
async fn delete_all(client: &Client, parsed: &Parsed, said: &mut Said) -> Outcome {
    let path = path_at("deleteall", parsed, 0)?;
    let batch = match parsed.value("b") {
        Some(text) => text
            .parse::<i32>()
            .map_err(|_| Failure::Text("-b argument must be an int value".to_owned()))?,
        None => 1000,
    };
    // Below 1 there are no batches: nodes go one by one.
    let batch = usize::try_from(batch).unwrap_or(1);
    let mut nodes = Vec::new();
    let mut collect = async |node: &str| nodes.push(node.to_owned());
    visit(client, path, &mut collect).await.map_err(|e| failed_in(&e, path))?;
    nodes.reverse();
    let mut complete = true;
    for nodes in nodes.chunks(batch.max(1)) {
        let delete =
            |path: &String| Op::Delete(DeleteRequest { path: Some(path.clone()), version: -1 });
        let results = client.multi(nodes.iter().map(delete).collect()).await;
        let results = results.map_err(|e| failed(&e, path))?;
        complete &= !results.iter().any(|r| matches!(r, OpResult::Error(_)));
    }
    if !complete {
        said.err.push_str("Failed to delete some node(s) in the subtree!\n");
    }
    Ok(())
}

async fn get_acl(client: &Client, parsed: &Parsed, said: &mut Said) -> Outcome {
    let path = path_at("getAcl", parsed, 0)?;
    let (list, stat) = client.acl(path).await.map_err(|e| failed(&e, path))?;
    said.out.push_str(&text::acls(&list));
    print_stat(parsed, &stat, said);
    Ok(())
}

async fn set_acl(client: &Client, parsed: &Parsed, said: &mut Said) -> Outcome {
    let path = path_at("setAcl", parsed, 0)?;
    let list = text::parse_acls(parsed.arg(1).ok_or(Failure::Usage("setAcl"))?, &mut said.err);
    if list.is_empty() {
        let error = Error::Code { code: Code::INVALID_ACL, path: String::new() };
        return Err(failed_without_path(&error));
    }
    let version = version_of(parsed)?;
    if parsed.has('R') {
        let mut change = async |node: &str| {
            if let Err(e) = client.set_acl(node, list.clone(), version).await {
                said.out.push_str(&text::exception(e.code(), Some(node)));
            }
        };
        return visit(client, path, &mut change).await.map_err(|e| failed_in(&e, path));
    }
    let stat = client.set_acl(path, list, version).await.map_err(|e| failed(&e, path))?;
    print_stat(parsed, &stat, said);
    Ok(())
}

async fn add_watch(client: &Client, parsed: &Parsed) -> Outcome {
    let path = path_at("addWatch", parsed, 0)?;
    let mode = match parsed.value("m").map(str::to_ascii_uppercase).as_deref() {
        None | Some("PERSISTENT_RECURSIVE") => AddWatchMode::PersistentRecursive,
        Some("PERSISTENT") => AddWatchMode::Persistent,
        Some(_) => return Err(Failure::Usage("addWatch")),
    };
    client.add_watch(path, mode).await.map_err(|e| failed(&e, path))
}

async fn config(client: &Client, parsed: &Parsed, said: &mut Said) -> Outcome {
    let (data, stat) =
        client.config(parsed.has('w')).await.map_err(|e| failed(&e, "/zookeeper/config"))?;
    let shown = text::data(data.as_deref());
    if parsed.has('c') {
        said.out.push_str(&format!("{}\n", client_config(&shown)));
    } else {
        said.out.push_str(&format!("{shown}\n"));
    }
    print_stat(parsed, &stat, said);
    Ok(())
}

/// Version and client addresses of a configuration (`ConfigUtils.getClientConfigStr`).
fn client_config(config: &str) -> String {
    let mut version = "";
    let mut clients = Vec::new();
    for line in config.lines() {
        match line.split_once('=') {
            Some(("version", value)) => version = value,
            Some((key, value)) if key.starts_with("server.") => {
                clients.extend(value.split_once(';').map(|(_, client)| client));
            }
            _ => {}
        }
    }
    format!("{version} {}", clients.join(","))
}

async fn reconfig(client: &Client, parsed: &Parsed, said: &mut Said) -> Outcome {
    let members = match (parsed.value("members"), parsed.value("file")) {
        (Some(members), None) => Some(members.to_owned()),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|e| Failure::Text(format!("Error processing {file}: {e}")))?;
            let lines =
                text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
            Some(lines.collect::<Vec<_>>().join(","))
        }
        (Some(_), Some(_)) => {
            return Err(Failure::Text(
                "Can't use -file and -members together (non-incremental mode)".to_owned(),
            ));
        }
        (None, None) => None,
    };
    // The shell takes `add 1=..` for the server's `server.1=..`.
    let add = parsed.value("add").map(|list| {
        let one = |part: &str| match part.strip_prefix("server.") {
            Some(_) => part.to_owned(),
            None => format!("server.{part}"),
        };
        list.split(',').map(one).collect::<Vec<_>>().join(",")
    });
    let remove = parsed.value("remove").map(str::to_owned);
    let incremental = add.is_some() || remove.is_some();
    if members.is_some() == incremental {
        return Err(Failure::Usage("reconfig"));
    }
    let version = match parsed.value("v") {
        Some(text) => i64::from_str_radix(text, 16)
            .map_err(|_| Failure::Text(format!("For input string: \"{text}\"")))?,
        None => -1,
    };
    let change = ReconfigChange { joining: add, leaving: remove, new_members: members };
    let (data, stat) =
        client.reconfig(change, version).await.map_err(|e| failed_without_path(&e))?;
    said.out.push_str(&format!("Committed new configuration:\n{}\n", text::data(data.as_deref())));
    print_stat(parsed, &stat, said);
    Ok(())
}
