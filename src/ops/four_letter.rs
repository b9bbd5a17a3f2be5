//! Four-letter words: four bytes instead of a length at the start of a client connection, answered
//! with text and a closed connection (`org.apache.zookeeper.server.command`).
//!
//! The texts are an interface: every line is Apache's, checked against recordings in
//! `fixtures/ops`. How the shell uses this:
//!
//! 1. [`Word::parse`] on the first four bytes; `None` is a frame.
//! 2. not allowed by the whitelist: [`not_whitelisted`], close.
//! 3. fill a [`Stats`] with what [`Word::needs`] says, [`answer`], apply [`Word::effect`] when
//!    serving, close.

use std::fmt::Write as _;

use super::metrics::Metrics;
use super::stats::{Connection, Mode, Sessions, Stats, WatchTotals};
use crate::config::Whitelist;

/// A four-letter word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// `conf`: settings.
    Conf,
    /// `cons`: connections in detail.
    Cons,
    /// `crst`: reset the connections' statistics.
    Crst,
    /// `dirs`: bytes on disk.
    Dirs,
    /// `dump`: sessions and ephemerals.
    Dump,
    /// `envi`: environment.
    Envi,
    /// `gtmk`: trace mask.
    Gtmk,
    /// `hash`: digests of the tree.
    Hash,
    /// `isro`: read-only or not.
    Isro,
    /// `mntr`: all numbers, for monitoring.
    Mntr,
    /// `ruok`: `imok`.
    Ruok,
    /// `srst`: reset the server's statistics.
    Srst,
    /// `srvr`: the server.
    Srvr,
    /// `stat`: the server and its connections.
    Stat,
    /// `stmk`: sets the trace mask; eight more bytes follow.
    Stmk,
    /// `wchc`: watches by session.
    Wchc,
    /// `wchp`: watches by path.
    Wchp,
    /// `wchs`: how many watches.
    Wchs,
    /// What telnet sends to close: never answered.
    Telnet,
}

/// All words with their letters.
pub const WORDS: &[(Word, [u8; 4])] = &[
    (Word::Conf, *b"conf"),
    (Word::Cons, *b"cons"),
    (Word::Crst, *b"crst"),
    (Word::Dirs, *b"dirs"),
    (Word::Dump, *b"dump"),
    (Word::Envi, *b"envi"),
    (Word::Gtmk, *b"gtmk"),
    (Word::Hash, *b"hash"),
    (Word::Isro, *b"isro"),
    (Word::Mntr, *b"mntr"),
    (Word::Ruok, *b"ruok"),
    (Word::Srst, *b"srst"),
    (Word::Srvr, *b"srvr"),
    (Word::Stat, *b"stat"),
    (Word::Stmk, *b"stmk"),
    (Word::Wchc, *b"wchc"),
    (Word::Wchp, *b"wchp"),
    (Word::Wchs, *b"wchs"),
    (Word::Telnet, [0xff, 0xf4, 0xff, 0xfd]),
];

/// The answer of most words while the server has no quorum.
pub const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// What a [`Stats`] must hold for a word, beyond its plain numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// `sessions`, `ephemeral_owners`, `connection_expiry`.
    pub sessions: bool,
    /// `watch_totals`.
    pub watches: bool,
    /// `open_files`, `max_files`.
    pub files: bool,
    /// `digests`.
    pub digests: bool,
    /// `data_dir_size`, `log_dir_size`.
    pub sizes: bool,
    /// `quotas`.
    pub quotas: bool,
}

/// What a word changes; the shell does it after taking the [`Stats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// The statistics of all connections start anew.
    ResetConnections,
    /// The statistics of the server and all metrics start anew.
    ResetServer,
    /// The trace mask becomes this.
    SetTraceMask(i64),
}

impl Word {
    /// The word of four bytes; `None` for anything else, which is then a length.
    pub fn parse(bytes: [u8; 4]) -> Option<Word> {
        WORDS.iter().find(|(_, letters)| *letters == bytes).map(|(word, _)| *word)
    }

    /// Its letters; the telnet sequence has none.
    pub fn letters(self) -> &'static str {
        let letters = WORDS.iter().find(|(word, _)| *word == self).map(|(_, letters)| letters);
        letters.and_then(|l| std::str::from_utf8(l).ok()).unwrap_or("")
    }

    /// True when the whitelist lets it through. The telnet sequence is never answered.
    pub fn is_allowed(self, whitelist: &Whitelist) -> bool {
        self != Word::Telnet && whitelist.allows(self.letters())
    }

    /// How many more bytes belong to it: 8 for `stmk`.
    pub fn argument_length(self) -> usize {
        if self == Word::Stmk { 8 } else { 0 }
    }

    /// True for the words that are answered whether or not the server serves.
    pub fn works_without_server(self) -> bool {
        matches!(self, Word::Ruok | Word::Envi | Word::Gtmk | Word::Stmk | Word::Isro)
    }

    /// Whether its answer is as long as there are connections, sessions or watches.
    pub fn is_long(self) -> bool {
        matches!(self, Word::Cons | Word::Stat | Word::Dump | Word::Wchc | Word::Wchp)
    }

    /// What [`answer`] looks at.
    pub fn needs(self) -> Needs {
        let none = Needs::default();
        match self {
            Word::Dump => Needs { sessions: true, ..none },
            Word::Wchs => Needs { watches: true, ..none },
            Word::Hash => Needs { digests: true, ..none },
            Word::Mntr => Needs { files: true, quotas: true, ..none },
            Word::Conf | Word::Dirs => Needs { sizes: true, ..none },
            _ => none,
        }
    }

    /// What it changes; `argument` are the bytes after `stmk`.
    pub fn effect(self, argument: &[u8]) -> Effect {
        match self {
            Word::Crst => Effect::ResetConnections,
            Word::Srst => Effect::ResetServer,
            Word::Stmk => match argument.first_chunk::<8>() {
                Some(mask) => Effect::SetTraceMask(i64::from_be_bytes(*mask)),
                None => Effect::None,
            },
            _ => Effect::None,
        }
    }
}

/// The answer to a word that the whitelist doesn't let through; nothing for telnet's.
pub fn not_whitelisted(word: Word) -> String {
    match word {
        Word::Telnet => String::new(),
        _ => format!("{} is not executed because it is not in the whitelist.\n", word.letters()),
    }
}

/// The answer to a word while the server doesn't serve. `hash` ends without a newline there.
pub fn not_serving(word: Word) -> String {
    match word {
        Word::Hash => NOT_SERVING.to_owned(),
        _ => format!("{NOT_SERVING}\n"),
    }
}

/// The answer to an allowed word; `argument` are the bytes after `stmk`. What is as long as there are
/// connections, sessions or watches ([`Word::is_long`]) is not here: who serves makes it page by page
/// of the lines below. While the server doesn't
/// serve, only the words that work then say something of their own.
pub fn answer(word: Word, argument: &[u8], stats: &Stats, metrics: &Metrics) -> String {
    if !stats.serving && !word.works_without_server() {
        return not_serving(word);
    }
    match word {
        Word::Ruok => "imok".to_owned(),
        Word::Isro if !stats.serving => "null".to_owned(),
        Word::Isro if stats.mode == Mode::ReadOnly => "ro".to_owned(),
        Word::Isro => "rw".to_owned(),
        Word::Crst => "Connection stats reset.\n".to_owned(),
        Word::Srst => "Server stats reset.\n".to_owned(),
        Word::Gtmk => stats.trace_mask.to_string(),
        Word::Stmk => match word.effect(argument) {
            Effect::SetTraceMask(mask) => mask.to_string(),
            _ => String::new(),
        },
        Word::Dirs => {
            format!("datadir_size: {}\nlogdir_size: {}\n", stats.data_dir_size, stats.log_dir_size)
        }
        Word::Hash => {
            stats.digests.iter().map(|(zxid, digest)| format!("{zxid:x}: {digest}\n")).collect()
        }
        Word::Srvr => srvr(stats),
        Word::Conf => conf(stats),
        Word::Envi => envi(stats),
        Word::Mntr => mntr(stats, metrics),
        Word::Wchs => wchs(stats),
        Word::Stat | Word::Cons | Word::Dump | Word::Wchc | Word::Wchp | Word::Telnet => {
            String::new()
        }
    }
}

fn banner(stats: &Stats) -> String {
    let mut out = format!("Zookeeper version: {}\n", stats.banner);
    if stats.mode == Mode::ReadOnly {
        out.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
    out
}

fn numbers(stats: &Stats) -> String {
    let mut out = format!(
        "Latency min/avg/max: {}/{}/{}\nReceived: {}\nSent: {}\nConnections: {}\nOutstanding: {}\n\
         Zxid: 0x{:x}\nMode: {}\nNode count: {}\n",
        stats.latency.min_ms,
        super::format::rounded(stats.latency.average()),
        stats.latency.max_ms,
        stats.packets_received,
        stats.packets_sent,
        stats.connections_alive,
        stats.outstanding_requests,
        stats.last_zxid,
        stats.mode.as_str(),
        stats.node_count,
    );
    if let Some(leader) = &stats.leader {
        let sizes = leader.proposal_sizes;
        out.push_str(&format!(
            "Proposal sizes last/min/max: {}/{}/{}\n",
            sizes.last, sizes.min, sizes.max
        ));
    }
    out
}

fn srvr(stats: &Stats) -> String {
    banner(stats) + &numbers(stats)
}

/// What `stat` says before its connections.
pub fn stat_head(stats: &Stats) -> String {
    banner(stats) + "Clients:\n"
}

/// A connection in `stat`.
pub fn stat_line(c: &Connection) -> String {
    let (remote, interest, queued) = (&c.remote, c.interest_ops, c.queued);
    format!(" {remote}[{interest:x}](queued={queued},recved={},sent={})\n", c.received, c.sent)
}

/// What `stat` says behind its connections.
pub fn stat_tail(stats: &Stats) -> String {
    "\n".to_owned() + &numbers(stats)
}

/// A connection in `cons`.
pub fn cons_line(c: &Connection) -> String {
    let mut out = format!(
        " {}[{:x}](queued={},recved={},sent={}",
        c.remote, c.interest_ops, c.queued, c.received, c.sent
    );
    if let Some(s) = &c.session {
        out.push_str(&format!(
            ",sid=0x{:x},lop={},est={},to={}",
            s.id, s.last_operation, s.established_ms, s.timeout_ms
        ));
        if s.last_cxid >= 0 {
            out.push_str(&format!(",lcxid=0x{:x}", s.last_cxid));
        }
        out.push_str(&format!(
            ",lzxid=0x{:x},lresp={},llat={},minlat={},avglat={},maxlat={}",
            s.last_zxid,
            s.last_response_ms,
            s.last_latency_ms,
            s.latency.min_ms,
            s.latency.total_ms.checked_div(s.latency.count).unwrap_or(0),
            s.latency.max_ms
        ));
    }
    out.push_str(")\n");
    out
}

fn conf(stats: &Stats) -> String {
    let c = &stats.conf;
    let mut out = format!(
        "clientPort={}\nsecureClientPort={}\ndataDir={}\ndataDirSize={}\ndataLogDir={}\n\
         dataLogSize={}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\n\
         maxSessionTimeout={}\nclientPortListenBacklog={}\nserverId={}\n",
        c.client_port,
        c.secure_client_port,
        c.data_dir,
        stats.data_dir_size,
        c.data_log_dir,
        stats.log_dir_size,
        c.tick_time,
        c.max_client_cnxns,
        c.min_session_timeout,
        c.max_session_timeout,
        c.backlog,
        c.server_id
    );
    if let Some(q) = &c.quorum {
        out.push_str(&format!(
            "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\n\
             peerType={}\n",
            q.init_limit,
            q.sync_limit,
            q.election_port,
            q.quorum_port,
            u8::from(q.observer)
        ));
        if let Some(membership) = &q.membership {
            out.push_str(&format!("membership: \n{membership}"));
        }
    }
    out
}

fn envi(stats: &Stats) -> String {
    let mut out = "Environment:\n".to_owned();
    for (key, value) in &stats.environment.lines {
        out.push_str(&format!("{key}={value}\n"));
    }
    let m = stats.memory;
    out.push_str(&format!(
        "os.memory.free={}MB\nos.memory.max={}MB\nos.memory.total={}MB\n",
        m.free_mb, m.max_mb, m.total_mb
    ));
    out
}

/// What `dump` says before the ephemerals: each session with its paths.
pub fn dump_head(stats: &Stats) -> String {
    let mut out = "SessionTracker dump:\n".to_owned();
    let local = match &stats.sessions {
        Sessions::Tracked { local, .. } | Sessions::Learned { local, .. } => local,
    };
    if let Some(local) = local {
        out.push_str("Local Session ");
        local.dump(&mut out);
    }
    match &stats.sessions {
        Sessions::Tracked { global, .. } => {
            out.push_str(if local.is_some() { "Global Session " } else { "Session " });
            global.dump(&mut out);
        }
        Sessions::Learned { global, .. } => {
            out.push_str(&format!("Global Sessions({}):\n", global.len()));
            for (id, timeout) in global {
                out.push_str(&format!("0x{id:x}\t{timeout}ms\n"));
            }
        }
    }
    out.push_str("ephemeral nodes dump:\n");
    out.push_str(&format!("Sessions with Ephemerals ({}):\n", stats.ephemeral_owners));
    out
}

/// What `dump` says behind the ephemerals.
pub fn dump_tail(stats: &Stats) -> String {
    let mut out = "Connections dump:\nConnections ".to_owned();
    stats.connection_expiry.dump(&mut out);
    out
}

fn wchs(stats: &Stats) -> String {
    let WatchTotals { connections, paths, watches } = stats.watch_totals;
    format!("{connections} connections watching {paths} paths\nTotal watches:{watches}\n")
}

/// A session in `dump`, with a colon, and in `wchc`.
pub fn session_line(out: &mut String, session: i64, colon: &str) {
    let _ = writeln!(out, "0x{session:x}{colon}");
}

/// A path below its session.
pub fn path_line(out: &mut String, path: &str) {
    let _ = writeln!(out, "\t{path}");
}

/// A path in `wchp`, and who watches it.
pub fn watched_path(out: &mut String, path: &str, sessions: impl Iterator<Item = i64>) {
    let _ = writeln!(out, "{path}");
    for session in sessions {
        let _ = writeln!(out, "\t0x{session:x}");
    }
}

/// Version and state first, then the gauges, then the registry; one `zk_<key>\t<value>` a line.
fn mntr(stats: &Stats, metrics: &Metrics) -> String {
    let mut out = String::with_capacity(20 * 1024);
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        out.push_str(&format!("zk_{key}\t{value}\n"));
    };
    line("version", &stats.banner);
    line("server_state", &stats.mode.as_str());
    if let Some(state) = &stats.peer_state {
        line("peer_state", state);
    }
    if let Some(id) = &stats.observer_master_id {
        line("observer_master_id", id);
    }
    for (name, value) in stats.gauges() {
        line(name, &value);
    }
    for (namespace, name, value) in stats.namespace_gauges() {
        line(&format!("{}_{name}", super::metrics::word(namespace)), &value);
    }
    metrics.dump(&mut line);
    out
}

#[cfg(test)]
mod tests;
