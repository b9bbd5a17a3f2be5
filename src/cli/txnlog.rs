//! `rookeeper log dump|check`: transaction logs without a server (Apache's `TxnLogToolkit`).

use std::path::{Path, PathBuf};

use bytes::BytesMut;
use clap::Subcommand;

use super::exit;
use crate::ops::format::civil;
use crate::proto::jute::DecodeError;
use crate::proto::txn::{SubTxn, Txn, TxnEntry};
use crate::storage::disk::RealDisk;
use crate::storage::inspect;
use crate::storage::log_reader::{End, LogReader, Step, Verdict};
use crate::storage::names::{self, Named};
use crate::storage::{self, Dirs};
use crate::types::{Acl, Zxid};

/// Commands about transaction logs.
#[derive(Subcommand, Debug)]
pub enum LogCommand {
    /// Print every transaction, one a line, as Apache's zkTxnLogToolkit does
    Dump {
        /// log.<zxid>, or a directory with some
        path: PathBuf,
    },
    /// Read everything and say what is damaged; exit code 8 when something is
    Check {
        /// log.<zxid>, or a data directory
        path: PathBuf,
    },
}

/// A dump is written in pieces of this size.
const PAGE: usize = 64 * 1024;

/// Does it; the number is the exit code.
pub fn run(command: LogCommand) -> u8 {
    let done = match &command {
        LogCommand::Dump { path } => files(path).and_then(|files| {
            let mut page = String::new();
            let done = files.iter().try_for_each(|file| {
                dump(file, &mut |line| {
                    page.push_str(line);
                    page.push('\n');
                    if page.len() > PAGE {
                        super::say(&std::mem::take(&mut page));
                    }
                })
            });
            super::say(&page);
            done
        }),
        LogCommand::Check { path } if path.is_dir() => check_directory(path),
        LogCommand::Check { path } => check_file(path),
    };
    Failure::tell(done)
}

/// Why a file can't be read, for the exit code.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such file, or it can't be opened: another argument would help.
    Argument(String),
    /// What is in the file.
    Damaged(String),
}

impl Failure {
    /// The one or the other, by what storage says.
    pub(super) fn of(error: storage::Error) -> Failure {
        let text = error.to_string();
        match error {
            storage::Error::Io { .. } => Failure::Argument(text),
            _ => Failure::Damaged(text),
        }
    }

    /// Tells how a command ended; the number is the exit code.
    pub(super) fn tell(done: Result<(), Failure>) -> u8 {
        let (why, code) = match done {
            Ok(()) => return exit::OK,
            Err(Failure::Argument(why)) => (why, exit::INVALID_INVOCATION),
            Err(Failure::Damaged(why)) => (why, exit::CORRUPT),
        };
        err!("error: {why}");
        code
    }
}

/// The directory with the files: `version-2` of a data directory, or the directory itself.
pub(super) fn version_dir(path: &Path) -> PathBuf {
    let inner = path.join("version-2");
    if inner.is_dir() { inner } else { path.to_path_buf() }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let logs = logs_in(path)?;
    Ok(logs.into_iter().map(|named| named.path).collect())
}

/// The logs of a directory, oldest first. A data directory may have none yet; any other must.
fn logs_in(path: &Path) -> Result<Vec<Named>, Failure> {
    let dir = version_dir(path);
    let logs = names::logs(&RealDisk, &dir).map_err(Failure::of)?;
    if logs.is_empty() && dir == path && !path.ends_with("version-2") {
        return Err(Failure::Argument(format!(
            "there is no log in {}\n  hint: name a log.<zxid>, or a directory that has some or a version-2",
            path.display()
        )));
    }
    Ok(logs)
}

/// Every transaction of a file, and how it ends.
fn dump(path: &Path, line: &mut dyn FnMut(&str)) -> Result<(), Failure> {
    let mut reader = LogReader::open(&RealDisk, path).map_err(Failure::of)?;
    let mut count = 0u64;
    let mut header = Some("ZooKeeper Transactional Log File with dbid 0 txnlog format version 2");
    loop {
        let step = reader.step().map_err(Failure::of)?;
        if !matches!(&step, Step::End(End { offset: 0, .. }))
            && let Some(header) = header.take()
        {
            line(header);
        }
        match step {
            Step::Record(record) => {
                count += 1;
                match TxnEntry::decode(record.entry) {
                    Ok(entry) => line(&entry_text(&entry)),
                    Err(e) => {
                        let at = record.offset;
                        return Err(undecodable(path, at, &e));
                    }
                }
            }
            Step::End(end) => {
                return match end.flaw {
                    None => {
                        line(&format!("EOF reached after {count} txns."));
                        Ok(())
                    }
                    Some(flaw) => Err(Failure::Damaged(format!(
                        "{}: {flaw} at offset {}, after {count} txns",
                        path.display(),
                        end.offset
                    ))),
                };
            }
        }
    }
}

fn undecodable(path: &Path, offset: u64, why: &DecodeError) -> Failure {
    Failure::Damaged(format!("{}: offset {offset}: {why}", path.display()))
}

fn check_file(path: &Path) -> Result<(), Failure> {
    out!("{}", file_report(path)?);
    Ok(())
}

/// What is in a file, and what a start would make of its end if it's the newest one.
fn file_report(path: &Path) -> Result<String, Failure> {
    let mut reader = LogReader::open(&RealDisk, path).map_err(Failure::of)?;
    let name = path.display();
    let mut range: Option<(Zxid, Zxid, u64)> = None;
    let end = loop {
        match reader.step().map_err(Failure::of)? {
            Step::Record(record) => {
                if let Err(e) = TxnEntry::decode(record.entry) {
                    let at = record.offset;
                    return Err(undecodable(path, at, &e));
                }
                let (first, _, count) = range.unwrap_or((record.zxid, record.zxid, 0));
                range = Some((first, record.zxid, count + 1));
            }
            Step::End(end) => break end,
        }
    };
    let read = match range {
        Some((first, last, count)) => format!("{count} txns, 0x{:x} to 0x{:x}", first.0, last.0),
        None => "no txns".to_owned(),
    };
    let damaged = |text: String| Err(Failure::Damaged(text));
    if let Some(flaw) = end.flaw {
        return damaged(match end.offset == 0 && !is_log(path) {
            true => format!("{name} is not a transaction log: {flaw}"),
            false => format!(
                "{name}: {read}, then {flaw} at offset {}\n  hint: in the newest log this may be a \
                 write that a crash interrupted; check the directory to know",
                end.offset
            ),
        });
    }
    if let (Some((first, ..)), Some(named)) = (range, zxid_in(path))
        && first != named
    {
        return damaged(format!("{name}: {read}, but its name says 0x{:x}", named.0));
    }
    let last = range.map_or(Zxid(zxid_in(path).map_or(0, |z| z.0 - 1)), |(_, last, _)| last);
    let verdict = inspect::end_of_log(&RealDisk::shared(), &reader, end, last);
    match verdict.map_err(Failure::of)? {
        Verdict::Clean if range.is_none() => {
            Ok(format!("{name}: {read}; a server removes it at its start if it is the newest log"))
        }
        Verdict::Clean => Ok(format!("{name}: {read}, fine")),
        Verdict::Torn { cut } => Ok(format!(
            "{name}: {read}, then a torn write, which a server cuts off at offset {cut} at its \
             start if this is the newest log"
        )),
        Verdict::Damaged { offset, why } => {
            damaged(format!("{name}: {read}, then zeros at offset {offset}, {why}"))
        }
    }
}

fn zxid_in(path: &Path) -> Option<Zxid> {
    let name = path.file_name().and_then(|name| name.to_str())?;
    names::zxid_of(name, names::LOG_PREFIX)
}

/// Whether the name is that of a log, so that a broken header is damage.
fn is_log(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("log."))
}

fn check_directory(path: &Path) -> Result<(), Failure> {
    out!("{}", directory_report(path)?);
    Ok(())
}

/// All logs of a directory, one after another, as a server reads them at its start.
fn directory_report(path: &Path) -> Result<String, Failure> {
    let dir = version_dir(path);
    logs_in(path)?;
    let dirs = Dirs { snapshots: dir.clone(), logs: dir };
    let found = inspect::directory(&RealDisk::shared(), &dirs).map_err(Failure::of)?;
    let read = match found.logs {
        0 => format!("no logs, last 0x{:x}", found.last.0),
        logs => format!("{logs} logs, {} txns, last 0x{:x}", found.txns, found.last.0),
    };
    let name = path.display();
    if found.notes.is_empty() {
        return Ok(format!("{name}: {read}, fine"));
    }
    let notes = found.notes.join("\n  ");
    Ok(format!("{name}: {read}; a server starts here after it has cut or removed\n  {notes}"))
}

/// A transaction as `TxnLogToolkit` prints it.
fn entry_text(entry: &TxnEntry) -> String {
    let h = &entry.header;
    format!(
        "{} session 0x{:x} cxid 0x{:x} zxid 0x{:x} {} {}",
        short_date(h.time.0),
        h.session.0,
        h.cxid,
        h.zxid.0,
        kind_name(h.kind),
        body(h.kind, &entry.txn)
    )
}

/// Java's short date and long time: `11/21/26, 4:30:39 AM UTC`.
fn short_date(wall_ms: i64) -> String {
    let seconds = wall_ms.div_euclid(1000);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let half = if hour < 12 { "AM" } else { "PM" };
    let hour = if hour % 12 == 0 { 12 } else { hour % 12 };
    format!("{month}/{day}/{:02}, {hour}:{minute:02}:{second:02} {half} UTC", year.rem_euclid(100))
}

fn kind_name(kind: i32) -> String {
    let name = match kind {
        1 => "create",
        2 => "delete",
        5 => "setData",
        7 => "setACL",
        13 => "check",
        14 => "multi",
        15 => "create2",
        16 => "reconfig",
        19 => "createContainer",
        20 => "deleteContainer",
        21 => "createTTL",
        -1 => "error",
        -10 => "createSession",
        -11 => "closeSession",
        other => return format!("unknown {other}"),
    };
    name.to_owned()
}

fn data(bytes: Option<&bytes::Bytes>) -> String {
    bytes.map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default()
}

fn acl_record(acl: &Acl) -> String {
    format!("{},s{{'{},'{}}}", acl.perms.0, acl.id.scheme(), acl.id.id())
}

/// ACLs as `List.toString` of records that end with a newline each.
fn acl_list(acls: &[Acl]) -> String {
    let items: Vec<String> = acls.iter().map(|acl| format!("{}\n", acl_record(acl))).collect();
    format!("[{}]", items.join(", "))
}

fn body(kind: i32, txn: &Txn) -> String {
    match txn {
        Txn::CreateSession { timeout_ms } => timeout_ms.to_string(),
        Txn::CloseSession { paths } => {
            let paths: Vec<String> =
                paths.iter().flatten().map(|path| format!("'{path}")).collect();
            format!("v{{{}}}", paths.join(","))
        }
        Txn::Create(c) => format!(
            "{},{},{},{},{}",
            c.path,
            data(c.data.as_ref()),
            acl_list(&c.acl),
            c.ephemeral,
            c.parent_cversion
        ),
        Txn::CreateExtended(c) => {
            let ttl = c.ttl.map(|ttl| format!(",{ttl}")).unwrap_or_default();
            let acl = acl_list(&c.acl);
            format!("{},{},{acl},{}{ttl}", c.path, data(c.data.as_ref()), c.parent_cversion)
        }
        Txn::Delete { path } => format!("'{path}"),
        Txn::SetData { path, data: bytes, version } if kind == 16 => {
            let hex: String = bytes.iter().flatten().map(|b| format!("{b:02x}")).collect();
            format!("'{path},#{hex},{version}")
        }
        Txn::SetData { path, data: bytes, version } => {
            format!("{path},{},{version}", data(bytes.as_ref()))
        }
        Txn::SetAcl { path, acl, version } => {
            let acl: Vec<String> = acl.iter().map(|a| format!("s{{{}}}", acl_record(a))).collect();
            format!("'{path},v{{{}}},{version}", acl.join(","))
        }
        Txn::Check { path, version } => format!("'{path},{version}"),
        Txn::Multi(parts) => parts.iter().map(part).collect::<Vec<_>>().join(";"),
        Txn::Error(code) => code.0.to_string(),
    }
}

/// A part of a multi: its encoded body as text, which is what Apache's tool shows.
fn part(part: &SubTxn) -> String {
    let mut encoded = BytesMut::new();
    part.txn.write_body(&mut encoded);
    format!("{}:{}", kind_name(part.kind), String::from_utf8_lossy(&encoded))
}

#[cfg(test)]
mod tests;
