//! Replies and events as text, with session ids, passwords and times replaced.

use std::collections::HashMap;

use super::script::{Shape, quote};
use crate::harness::jute::{Reader, Short, hex};

/// What is known about values that differ between two servers.
#[derive(Default)]
pub struct Names {
    /// The zxid from which the program's own are counted.
    pub base: i64,
    /// Session ids by the name of the connection that was given them first.
    pub sessions: HashMap<i64, String>,
    /// The time of the transaction with a zxid, as first seen.
    pub times: HashMap<i64, i64>,
}

impl Names {
    /// A zxid: 0 and -1 as they are, others relative to the program's start.
    pub fn zxid(&self, zxid: i64) -> String {
        match zxid {
            0 | -1 => zxid.to_string(),
            _ => format!("z{:+}", zxid.wrapping_sub(self.base)),
        }
    }

    /// A session id.
    pub fn session(&self, id: i64) -> String {
        match id {
            0 => "0".to_string(),
            _ => match self.sessions.get(&id) {
                Some(name) => format!("<{name}>"),
                None => "<?>".to_string(),
            },
        }
    }

    /// A time is not shown, but whether it belongs to the transaction beside it is.
    fn time(&mut self, zxid: i64, time: i64) -> &'static str {
        if time == 0 {
            return "0";
        }
        if *self.times.entry(zxid).or_insert(time) == time { "T" } else { "T?" }
    }

    fn stat(&mut self, r: &mut Reader) -> Result<String, Short> {
        let (czxid, mzxid, ctime, mtime) = (r.long()?, r.long()?, r.long()?, r.long()?);
        let (version, cversion, aversion) = (r.int()?, r.int()?, r.int()?);
        let (owner, length, children, pzxid) = (r.long()?, r.int()?, r.int()?, r.long()?);
        Ok(format!(
            "{{c={} m={} p={} ct={} mt={} v={version} cv={cversion} av={aversion} eo={} len={length} n={children}}}",
            self.zxid(czxid),
            self.zxid(mzxid),
            self.zxid(pzxid),
            self.time(czxid, ctime),
            self.time(mzxid, mtime),
            self.session(owner),
        ))
    }

    /// A reply's body.
    pub fn body(&mut self, shape: Shape, bytes: &[u8]) -> String {
        let mut r = Reader::new(bytes);
        match self.try_body(shape, &mut r) {
            Ok(text) if r.rest().is_empty() => text,
            Ok(text) => format!("{text} +{}", hex(r.rest())),
            Err(Short) => format!("undecodable {}", hex(bytes)),
        }
    }

    fn try_body(&mut self, shape: Shape, r: &mut Reader) -> Result<String, Short> {
        Ok(match shape {
            Shape::Empty | Shape::SilentPing => String::new(),
            Shape::Path => quote(r.buffer()?),
            Shape::PathStat => format!("{} {}", quote(r.buffer()?), self.stat(r)?),
            Shape::Stat => self.stat(r)?,
            Shape::DataStat => format!("{} {}", data(r.buffer()?), self.stat(r)?),
            Shape::AclStat => {
                let acl = acl(r)?;
                format!("{acl} {}", self.stat(r)?)
            }
            Shape::Names => names(r, true)?,
            Shape::Paths => names(r, false)?,
            Shape::NamesStat => format!("{} {}", names(r, true)?, self.stat(r)?),
            Shape::Int => r.int()?.to_string(),
            Shape::Identities => {
                let n = r.int()?;
                let mut all = Vec::new();
                for _ in 0..n {
                    all.push(format!("{}:{}", quote(r.buffer()?), quote(r.buffer()?)));
                }
                format!("[{}]", all.join(" "))
            }
            Shape::Multi => self.multi(r)?,
            Shape::Raw => {
                let all = r.rest();
                r.take(all.len())?;
                if all.is_empty() { String::new() } else { format!("body={}", hex(all)) }
            }
        })
    }

    fn multi(&mut self, r: &mut Reader) -> Result<String, Short> {
        let mut parts = Vec::new();
        loop {
            let (kind, done, err) = (r.int()?, r.byte()?, r.int()?);
            if done != 0 {
                if (kind, done, err) != (-1, 1, -1) {
                    parts.push(format!("end {kind} {done} {err}"));
                }
                return Ok(format!("[{}]", parts.join("; ")));
            }
            let body = match kind {
                -1 => {
                    let inner = r.int()?;
                    if inner == err { code(err) } else { format!("{} body={inner}", code(err)) }
                }
                1 => quote(r.buffer()?),
                15 => format!("{} {}", quote(r.buffer()?), self.stat(r)?),
                2 | 13 => String::new(),
                5 => self.stat(r)?,
                8 => names(r, true)?,
                4 => format!("{} {}", data(r.buffer()?), self.stat(r)?),
                other => return Ok(format!("unknown result {other} {}", hex(r.rest()))),
            };
            let header = if kind != -1 && err != 0 { format!(" err={err}") } else { String::new() };
            parts.push(format!("{kind}{header} {body}").trim_end().to_string());
        }
    }
}

/// An error code by name.
pub fn code(err: i32) -> String {
    let name = match err {
        0 => "ok",
        -2 => "RUNTIMEINCONSISTENCY",
        -4 => "CONNECTIONLOSS",
        -5 => "MARSHALLINGERROR",
        -6 => "UNIMPLEMENTED",
        -8 => "BADARGUMENTS",
        -12 => "UNKNOWNSESSION",
        -13 => "NEWCONFIGNOQUORUM",
        -14 => "RECONFIGINPROGRESS",
        -101 => "NONODE",
        -102 => "NOAUTH",
        -103 => "BADVERSION",
        -108 => "NOCHILDRENFOREPHEMERALS",
        -110 => "NODEEXISTS",
        -111 => "NOTEMPTY",
        -112 => "SESSIONEXPIRED",
        -114 => "INVALIDACL",
        -115 => "AUTHFAILED",
        -118 => "SESSIONMOVED",
        -119 => "NOTREADONLY",
        -120 => "EPHEMERALONLOCALSESSION",
        -121 => "NOWATCHER",
        -123 => "RECONFIGDISABLED",
        -124 => "SESSIONCLOSEDREQUIRESASLAUTH",
        -125 => "QUOTAEXCEEDED",
        -127 => "THROTTLEDOP",
        other => return format!("error {other}"),
    };
    name.to_string()
}

/// Data: short in quotes, long by length and hash.
pub fn data(bytes: Option<&[u8]>) -> String {
    match bytes {
        Some(b) if b.len() > 200 => {
            use sha1::{Digest, Sha1};
            format!("<{} bytes, sha1 {}>", b.len(), hex(&Sha1::digest(b)[..6]))
        }
        Some(b) => {
            let text = quote(Some(b));
            if text.starts_with('"') { text } else { format!("\"{text}\"") }
        }
        None => "~".to_string(),
    }
}

fn names(r: &mut Reader, sorted: bool) -> Result<String, Short> {
    Ok(match r.strings()? {
        None => "~".to_string(),
        Some(mut all) => {
            if sorted {
                all.sort();
            }
            let all: Vec<String> = all.iter().map(|n| quote(Some(n))).collect();
            format!("[{}]", all.join(" "))
        }
    })
}

fn acl(r: &mut Reader) -> Result<String, Short> {
    let n = r.int()?;
    if n == -1 {
        return Ok("~".to_string());
    }
    let mut all = Vec::new();
    for _ in 0..n {
        let perms = r.int()?;
        let (scheme, id) = (r.buffer()?, r.buffer()?);
        all.push(format!("{perms}:{}:{}", quote(scheme), quote(id)));
    }
    Ok(format!("[{}]", all.join(",")))
}

/// A watch event.
pub fn event(names: &Names, zxid: i64, err: i32, body: &[u8]) -> String {
    let mut r = Reader::new(body);
    let mut read = || -> Result<String, Short> {
        let (kind, state, path) = (r.int()?, r.int()?, r.buffer()?);
        let kind = match kind {
            1 => "NodeCreated".to_string(),
            2 => "NodeDeleted".to_string(),
            3 => "NodeDataChanged".to_string(),
            4 => "NodeChildrenChanged".to_string(),
            other => format!("event {other}"),
        };
        let state = if state == 3 { String::new() } else { format!(" state={state}") };
        let err = if err == 0 { String::new() } else { format!(" err={err}") };
        Ok(format!("{kind} {} {}{state}{err}", quote(path), names.zxid(zxid)))
    };
    read().unwrap_or_else(|Short| format!("undecodable event {}", hex(body)))
}
