//! Everything a server holds, as text with absolute values.

use crate::harness::client::Session;
use crate::harness::jute::{Reader, Short, Writer, hex};
use crate::harness::runner::Stop;
use crate::harness::server::Server;

/// The zxid, the sessions, and every node with data, ACL and all fields of its Stat.
pub fn dump(server: &Server) -> Result<String, Stop> {
    let srvr = server.four("srvr")?;
    let zxid = srvr.lines().find_map(|l| l.strip_prefix("Zxid: ")).unwrap_or("?").to_string();
    let mut sessions: Vec<String> = Vec::new();
    for line in server.four("dump")?.lines() {
        let word = line.trim().trim_end_matches(':');
        if line.starts_with('\t') && word.starts_with("0x") && !sessions.contains(&word.to_string())
        {
            sessions.push(word.to_string());
        }
        if line.starts_with("ephemeral nodes") {
            break;
        }
    }
    sessions.sort();
    let mut out = format!("zxid {zxid}\n");
    for session in &sessions {
        out.push_str(&format!("session {session}\n"));
    }
    let mut helper = Session::open(server.address(), 10000)?;
    helper.become_super()?;
    let mut paths = vec!["/".to_string()];
    while let Some(path) = paths.pop() {
        let mut w = Writer::new();
        w.string(&path);
        let (err, acl) = helper.call(6, &w.bytes)?;
        if err != 0 {
            return Err(Stop::failed(format!("getACL {path}: {err}")));
        }
        w.bool(false);
        let (err, data) = helper.call(4, &w.bytes)?;
        if err != 0 {
            return Err(Stop::failed(format!("getData {path}: {err}")));
        }
        let line = node(&data, &acl).map_err(|Short| Stop::failed(format!("{path}: short")))?;
        out.push_str(&format!("{path} {line}\n"));
        for child in helper.children(&path)?.unwrap_or_default().iter().rev() {
            let parent = if path == "/" { "" } else { &path };
            paths.push(format!("{parent}/{child}"));
        }
    }
    helper.close();
    Ok(out)
}

fn node(data: &[u8], acl: &[u8]) -> Result<String, Short> {
    let mut a = Reader::new(acl);
    let mut entries = Vec::new();
    for _ in 0..a.int()? {
        let perms = a.int()?;
        let (scheme, id) = (a.buffer()?.unwrap_or(b"~"), a.buffer()?.unwrap_or(b"~"));
        entries.push(format!(
            "{perms}:{}:{}",
            String::from_utf8_lossy(scheme),
            String::from_utf8_lossy(id)
        ));
    }
    let mut r = Reader::new(data);
    let data = match r.buffer()? {
        None => "null".to_string(),
        Some([]) => "empty".to_string(),
        Some(bytes) => hex(bytes),
    };
    let (czxid, mzxid, ctime, mtime) = (r.long()?, r.long()?, r.long()?, r.long()?);
    let (version, cversion, aversion) = (r.int()?, r.int()?, r.int()?);
    let (owner, _length, children, pzxid) = (r.long()?, r.int()?, r.int()?, r.long()?);
    Ok(format!(
        "data={data} acl={} czxid=0x{czxid:x} mzxid=0x{mzxid:x} pzxid=0x{pzxid:x} ctime={ctime} mtime={mtime} \
         version={version} cversion={cversion} aversion={aversion} owner=0x{owner:x} children={children}",
        entries.join(",")
    ))
}
