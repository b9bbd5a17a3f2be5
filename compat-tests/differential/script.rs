//! The script language.
//!
//! ```text
//! # a comment
//! @ tickTime=200                     a line of zoo.cfg (first lines of the file only)
//! @prop zookeeper.x=y                a system property; the server gets a process of its own
//! @limits                           starts on the tree of `limits.rs`
//! @fresh                             not for the shared Java process: kill -9 is used
//! connect a timeout=10000 ro=0       a new session; ro=none omits the trailing byte
//! open a                             TCP only; then `a frame HEX` or `a bytes HEX`
//! reconnect a zxid=+100 pw=zero      drops and renews; zxid relative to the newest seen
//! attach b a                         b renews the session of a from a second connection
//! drop a                             closes TCP without a word
//! a create /x "data" open 0          one operation of a session
//! a xid=77 exists /x 1
//! a multi [ create /y ~ open 0 ; delete /z -1 ]
//! pipe a                             the operations up to `end` in one write
//! a getData /x 0
//! end
//! 4lw srvr                           a four-letter word
//! 4lw wchp as-sent                   the same without sorting paths
//! repeat 100 a setData /x ~ -1       many times; the last answer alone is kept
//! restart | kill                     the server, same directory; connections are gone
//! expire a                           drops TCP and waits until the session is gone
//! a waitGone /x                      polls until /x is gone
//! | a < ok z+1 ...                   an answer, written by the recorder
//! ```
//!
//! Words are separated by blanks. `~` is null; `"..."` may hold `\n \t \" \\ \0 \xNN \u{N}`;
//! `hex:00ff` and `fill:1000` are data. An ACL is `open`, `read`, `~`, `none` (empty list) or
//! `perms:scheme:id` with commas between.

use crate::harness::jute::{Writer, unhex};

/// One word of a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// The bytes; nothing for a bare `~`.
    pub bytes: Option<Vec<u8>>,
    /// Whether it was in quotes.
    pub quoted: bool,
}

impl Token {
    /// As text, `~` as itself.
    pub fn text(&self) -> String {
        match &self.bytes {
            None => "~".to_string(),
            Some(b) => String::from_utf8_lossy(b).into_owned(),
        }
    }
}

/// Splits a line into words.
pub fn tokens(line: &str) -> Result<Vec<Token>, String> {
    let mut all = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(&c) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
            continue;
        }
        if c == '"' {
            chars.next();
            let mut bytes = Vec::new();
            loop {
                match chars.next().ok_or_else(|| format!("open quote in: {line}"))? {
                    '"' => break,
                    '\\' => match chars.next().ok_or("ends in a backslash")? {
                        'n' => bytes.push(b'\n'),
                        't' => bytes.push(b'\t'),
                        '0' => bytes.push(0),
                        'x' => {
                            let two: String = chars.by_ref().take(2).collect();
                            bytes.push(u8::from_str_radix(&two, 16).map_err(|e| e.to_string())?);
                        }
                        'u' => {
                            chars.next();
                            let digits: String = chars.by_ref().take_while(|c| *c != '}').collect();
                            let n = u32::from_str_radix(&digits, 16).map_err(|e| e.to_string())?;
                            // Surrogates have no char: write their three bytes as Java would.
                            match char::from_u32(n) {
                                Some(c) => {
                                    bytes.extend_from_slice(c.to_string().as_bytes());
                                }
                                None => bytes.extend_from_slice(&[
                                    0xe0 | (n >> 12) as u8,
                                    0x80 | ((n >> 6) & 0x3f) as u8,
                                    0x80 | (n & 0x3f) as u8,
                                ]),
                            }
                        }
                        other => bytes.extend_from_slice(other.to_string().as_bytes()),
                    },
                    other => bytes.extend_from_slice(other.to_string().as_bytes()),
                }
            }
            all.push(Token { bytes: Some(bytes), quoted: true });
            continue;
        }
        let mut word = String::new();
        while let Some(&c) = chars.peek() {
            if c.is_whitespace() {
                break;
            }
            word.push(c);
            chars.next();
        }
        let bytes = if word == "~" { None } else { Some(word.into_bytes()) };
        all.push(Token { bytes, quoted: false });
    }
    Ok(all)
}

/// Puts bytes into a word that `tokens` reads back.
pub fn quote(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "~".to_string();
    };
    let plain = !bytes.is_empty()
        && bytes != b"~"
        && bytes.iter().all(|b| b.is_ascii_graphic() && !b"\"\\;[]#|".contains(b));
    if plain {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut out = String::from("\"");
    for &b in bytes {
        match b {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b' '..=b'~' => out.push(b as char),
            _ => out.push_str(&format!("\\x{b:02x}")),
        }
    }
    out.push('"');
    out
}

/// What kind of body a reply has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    Empty,
    /// A path.
    Path,
    /// A path and a Stat.
    PathStat,
    /// A Stat.
    Stat,
    /// Data and a Stat.
    DataStat,
    /// An ACL and a Stat.
    AclStat,
    /// Names of children, shown sorted (see `known-gaps.toml`, `children-order`).
    Names,
    /// Paths in the order in which they come.
    Paths,
    /// Names and a Stat.
    NamesStat,
    /// One number.
    Int,
    /// Results of a multi.
    Multi,
    /// Scheme and user pairs.
    Identities,
    /// Unknown: shown as bytes.
    Raw,
    /// The suite's own ping, not shown.
    SilentPing,
}

/// An operation ready to send.
#[derive(Clone, Debug)]
pub struct Op {
    /// The xid, if the script fixes it.
    pub xid: Option<i32>,
    /// The opcode.
    pub opcode: i32,
    /// The record.
    pub body: Vec<u8>,
    /// The reply's shape.
    pub shape: Shape,
    /// Whether the server may close the connection over it, so that nothing should be sent behind.
    pub risky: bool,
    /// Whether other sessions can notice it.
    pub write: bool,
    /// Sent as it is instead of as a request.
    pub raw: Option<Vec<u8>>,
}

/// Reads an operation: the words after the session's name.
pub fn op(words: &[Token]) -> Result<Op, String> {
    let mut words = words;
    let mut xid = None;
    if let Some(first) = words.first()
        && let Some(n) = first.text().strip_prefix("xid=")
    {
        xid = Some(n.parse().map_err(|_| format!("bad xid {n}"))?);
        words = &words[1..];
    }
    let name = words.first().ok_or("an operation is missing")?.text();
    let mut args = Args { words: &words[1..] };
    let mut w = Writer::new();
    let (opcode, shape) = match name.as_str() {
        "frame" => {
            let payload = args.hex()?;
            let raw = Some(crate::harness::client::frame(&payload));
            return Ok(Op {
                xid,
                opcode: 0,
                body: vec![],
                shape: Shape::Raw,
                risky: true,
                write: true,
                raw,
            });
        }
        "bytes" => {
            let raw = Some(args.hex()?);
            return Ok(Op {
                xid,
                opcode: 0,
                body: vec![],
                shape: Shape::Raw,
                risky: true,
                write: true,
                raw,
            });
        }
        "raw" => {
            let opcode = args.int()?;
            w.bytes = args.hex()?;
            (opcode, shape_of(opcode))
        }
        "multi" | "multiRead" => {
            let mut rest = args.words;
            let (Some(open), Some(close)) = (rest.first(), rest.last()) else {
                return Err("multi [ ... ]".to_string());
            };
            if open.text() != "[" || close.text() != "]" {
                return Err("multi [ ... ]".to_string());
            }
            rest = &rest[1..rest.len() - 1];
            let is_end = |t: &Token| !t.quoted && t.text() == ";";
            for part in rest.split(is_end).filter(|p| !p.is_empty()) {
                let sub = op(part)?;
                w.int(sub.opcode).bool(false).int(-1).raw(&sub.body);
            }
            w.int(-1).bool(true).int(-1);
            (if name == "multi" { 14 } else { 22 }, Shape::Multi)
        }
        simple => encode(simple, &mut args, &mut w)?,
    };
    if !args.words.is_empty() && !name.starts_with("multi") {
        return Err(format!("too many words after {name}"));
    }
    let xid = xid.or(match opcode {
        11 => Some(-2),
        100 => Some(-4),
        101 | 105 => Some(-8),
        _ => None,
    });
    let write = matches!(opcode, 1 | 2 | 5 | 7 | 9 | 14 | 15 | 16 | 19 | 20 | 21 | -11);
    let known = write || matches!(opcode, 3 | 4 | 6 | 8 | 11 | 12 | 17 | 18 | 22 | 101..=107);
    let risky = !known || matches!(opcode, -11 | 100 | 102 | 20) || name == "raw";
    Ok(Op { xid, opcode, body: w.bytes, shape, risky, write: write || risky, raw: None })
}

fn encode(name: &str, args: &mut Args, w: &mut Writer) -> Result<(i32, Shape), String> {
    Ok(match name {
        "create" | "create2" | "createContainer" => {
            w.buffer(args.bytes()?.as_deref()).buffer(args.data()?.as_deref());
            args.acl(w)?;
            w.int(args.int()?);
            match name {
                "create" => (1, Shape::Path),
                "create2" => (15, Shape::PathStat),
                _ => (19, Shape::PathStat),
            }
        }
        "createTTL" => {
            w.buffer(args.bytes()?.as_deref()).buffer(args.data()?.as_deref());
            args.acl(w)?;
            w.int(args.int()?).long(args.long()?);
            (21, Shape::PathStat)
        }
        "delete" | "check" => {
            w.buffer(args.bytes()?.as_deref()).int(args.int()?);
            (if name == "delete" { 2 } else { 13 }, Shape::Empty)
        }
        "deleteContainer" => {
            w.buffer(args.bytes()?.as_deref());
            (20, Shape::Empty)
        }
        "exists" | "getData" | "getChildren" | "getChildren2" | "getChildrenAsSent" => {
            w.buffer(args.bytes()?.as_deref()).byte(args.int()? as u8);
            match name {
                "exists" => (3, Shape::Stat),
                "getData" => (4, Shape::DataStat),
                "getChildren" => (8, Shape::Names),
                "getChildrenAsSent" => (8, Shape::Paths),
                _ => (12, Shape::NamesStat),
            }
        }
        "setData" => {
            w.buffer(args.bytes()?.as_deref()).buffer(args.data()?.as_deref()).int(args.int()?);
            (5, Shape::Stat)
        }
        "getACL" => {
            w.buffer(args.bytes()?.as_deref());
            (6, Shape::AclStat)
        }
        "setACL" => {
            w.buffer(args.bytes()?.as_deref());
            args.acl(w)?;
            w.int(args.int()?);
            (7, Shape::Stat)
        }
        "sync" => {
            w.buffer(args.bytes()?.as_deref());
            (9, Shape::Path)
        }
        "ping" => (11, Shape::Empty),
        "closeSession" => (-11, Shape::Empty),
        "whoAmI" => (107, Shape::Identities),
        "checkWatches" | "removeWatches" | "addWatch" => {
            w.buffer(args.bytes()?.as_deref()).int(args.int()?);
            match name {
                "checkWatches" => (17, Shape::Empty),
                "removeWatches" => (18, Shape::Empty),
                _ => (106, Shape::Int),
            }
        }
        "getEphemerals" => {
            w.buffer(args.bytes()?.as_deref());
            (103, Shape::Paths)
        }
        "getAllChildrenNumber" => {
            w.buffer(args.bytes()?.as_deref());
            (104, Shape::Int)
        }
        "auth" => {
            w.int(0).buffer(args.bytes()?.as_deref()).buffer(args.data()?.as_deref());
            (100, Shape::Empty)
        }
        "sasl" => {
            w.buffer(args.data()?.as_deref());
            (102, Shape::Raw)
        }
        "reconfig" => {
            for _ in 0..3 {
                w.buffer(args.bytes()?.as_deref());
            }
            w.long(args.long()?);
            (16, Shape::DataStat)
        }
        "setWatches" | "setWatches2" => {
            // setWatches RELATIVE-ZXID data PATH... exist PATH... child PATH... [persistent ..]
            w.raw(b"ZXID0000");
            let zxid = args.text()?;
            let names: &[&str] = if name == "setWatches" {
                &["data", "exist", "child"]
            } else {
                &["data", "exist", "child", "persistent", "recursive"]
            };
            let mut lists: Vec<Vec<Option<Vec<u8>>>> = vec![Vec::new(); names.len()];
            let mut at = 0;
            while let Some(word) = args.words.first() {
                args.words = &args.words[1..];
                match names.iter().position(|n| !word.quoted && *n == word.text()) {
                    Some(found) => at = found,
                    None => lists[at].push(word.bytes.clone()),
                }
            }
            for list in lists {
                w.int(list.len() as i32);
                for path in list {
                    w.buffer(path.as_deref());
                }
            }
            // The executor puts the absolute zxid in place of the mark.
            w.bytes.extend_from_slice(zxid.as_bytes());
            w.bytes.push(zxid.len() as u8);
            (if name == "setWatches" { 101 } else { 105 }, Shape::Empty)
        }
        other => return Err(format!("unknown operation {other}")),
    })
}

/// The reply's shape for an opcode.
fn shape_of(opcode: i32) -> Shape {
    match opcode {
        1 | 9 => Shape::Path,
        15 | 19 | 21 => Shape::PathStat,
        3 | 5 | 7 => Shape::Stat,
        4 | 16 => Shape::DataStat,
        6 => Shape::AclStat,
        8 => Shape::Names,
        103 => Shape::Paths,
        12 => Shape::NamesStat,
        14 | 22 => Shape::Multi,
        104 | 106 => Shape::Int,
        107 => Shape::Identities,
        _ => Shape::Raw,
    }
}

struct Args<'a> {
    words: &'a [Token],
}

impl Args<'_> {
    fn next(&mut self) -> Result<Token, String> {
        let (first, rest) = self.words.split_first().ok_or("a word is missing")?;
        self.words = rest;
        Ok(first.clone())
    }
    fn text(&mut self) -> Result<String, String> {
        Ok(self.next()?.text())
    }
    fn bytes(&mut self) -> Result<Option<Vec<u8>>, String> {
        Ok(self.next()?.bytes)
    }
    fn int(&mut self) -> Result<i32, String> {
        let t = self.text()?;
        t.parse().map_err(|_| format!("not a number: {t}"))
    }
    fn long(&mut self) -> Result<i64, String> {
        let t = self.text()?;
        t.parse().map_err(|_| format!("not a number: {t}"))
    }
    fn hex(&mut self) -> Result<Vec<u8>, String> {
        let mut all = Vec::new();
        while let Some(word) = self.words.first() {
            let text = word.text();
            all.extend(unhex(&text).ok_or_else(|| format!("not hexadecimal: {text}"))?);
            self.words = &self.words[1..];
        }
        Ok(all)
    }
    fn data(&mut self) -> Result<Option<Vec<u8>>, String> {
        let token = self.next()?;
        if token.quoted {
            return Ok(token.bytes);
        }
        let text = token.text();
        if let Some(digits) = text.strip_prefix("hex:") {
            return unhex(digits).map(Some).ok_or_else(|| format!("not hexadecimal: {digits}"));
        }
        if let Some(n) = text.strip_prefix("fill:") {
            let n: usize = n.parse().map_err(|_| format!("bad length {n}"))?;
            return Ok(Some(vec![b'x'; n]));
        }
        Ok(token.bytes)
    }
    fn acl(&mut self, w: &mut Writer) -> Result<(), String> {
        let token = self.next()?;
        let text = match token.text().as_str() {
            "~" if !token.quoted => {
                w.int(-1);
                return Ok(());
            }
            "none" => {
                w.int(0);
                return Ok(());
            }
            "open" => "31:world:anyone".to_string(),
            "read" => "1:world:anyone".to_string(),
            other => other.to_string(),
        };
        let entries: Vec<&str> = text.split(',').collect();
        w.int(entries.len() as i32);
        for entry in entries {
            let mut parts = entry.splitn(3, ':');
            let perms = parts.next().unwrap_or_default();
            w.int(perms.parse().map_err(|_| format!("bad permissions {perms}"))?);
            for part in [parts.next().unwrap_or_default(), parts.next().unwrap_or_default()] {
                w.buffer(if part == "~" { None } else { Some(part.as_bytes()) });
            }
        }
        Ok(())
    }
}

/// A program with the settings that its first lines ask for.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The comment lines at the top.
    pub comments: Vec<String>,
    /// `@ key=value`: lines of `zoo.cfg`.
    pub config: Vec<(String, String)>,
    /// `@prop key=value`.
    pub properties: Vec<(String, String)>,
    /// `@fresh`.
    pub fresh: bool,
    /// `@limits`.
    pub limits: bool,
    /// The steps.
    pub steps: Vec<String>,
    /// Recorded answers, one list per step.
    pub recorded: Vec<Vec<String>>,
}

impl Program {
    /// Reads a file's text.
    pub fn parse(text: &str) -> Program {
        let mut program = Program::default();
        for line in text.lines() {
            let line = line.trim_end();
            let answer = if line == "|" { Some("") } else { line.strip_prefix("| ") };
            if let Some(answer) = answer {
                if let Some(last) = program.recorded.last_mut() {
                    last.push(answer.to_string());
                }
            } else if line.starts_with('#') {
                if program.steps.is_empty() {
                    program.comments.push(line.to_string());
                }
            } else if let Some(pair) = line.strip_prefix("@prop ") {
                program.properties.extend(split_pair(pair));
            } else if line == "@fresh" {
                program.fresh = true;
            } else if line == "@limits" {
                program.limits = true;
            } else if let Some(pair) = line.strip_prefix("@ ") {
                program.config.extend(split_pair(pair));
            } else if !line.trim().is_empty() {
                program.steps.push(line.trim().to_string());
                program.recorded.push(Vec::new());
            }
        }
        program
    }

    /// The file's text, with the answers.
    pub fn print(&self) -> String {
        let mut out = String::new();
        for line in &self.comments {
            out.push_str(line);
            out.push('\n');
        }
        for (key, value) in &self.config {
            out.push_str(&format!("@ {key}={value}\n"));
        }
        for (key, value) in &self.properties {
            out.push_str(&format!("@prop {key}={value}\n"));
        }
        if self.fresh {
            out.push_str("@fresh\n");
        }
        if self.limits {
            out.push_str("@limits\n");
        }
        out.push('\n');
        for (step, answers) in self.steps.iter().zip(&self.recorded) {
            out.push_str(step);
            out.push('\n');
            for answer in answers {
                out.push_str(format!("| {answer}").trim_end());
                out.push('\n');
            }
        }
        out
    }
}

fn split_pair(text: &str) -> Option<(String, String)> {
    text.split_once('=').map(|(k, v)| (k.trim().to_string(), v.trim().to_string()))
}
