//! Answers to four-letter words that are as long as there are connections, sessions or watches, page
//! by page: a page is made when the one before it is written, and holds its locks for some hundred
//! lines. What comes and goes between two pages is told or not.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ops::stats::Stats;
use crate::ops::{Word, four_letter};
use crate::state::watch::{OwnPages, PathPages};
use crate::types::{ConnId, SessionId};

use super::node::Shared;
use super::report::connection;

/// Connections, or ephemerals, of one page.
const PAGE: usize = 256;
/// A session with more ephemerals than these gets them in the order of their nodes' numbers, and not
/// in that of Apache's hash set, which takes all of them at one time.
const IN_ORDER_MAX: usize = 1024;

/// What is answered to a word.
pub enum Answer {
    /// All of it.
    Text(String),
    /// What gives it page by page.
    Pages(Pages),
}

/// See the module.
pub struct Pages {
    word: Word,
    stats: Box<Stats>,
    shared: Arc<Shared>,
    asking: ConnId,
    begun: bool,
    conns: VecDeque<ConnId>,
    /// Of `wchp`.
    paths: PathPages,
    /// Of `wchc`: the connection that is told of.
    own: Option<OwnPages>,
    /// Of `dump`: sessions, and in the first of them the number to go on with.
    owners: VecDeque<(SessionId, usize)>,
    from: u32,
}

impl Pages {
    /// The answer to a long word, asked on the connection `asking`.
    pub fn new(word: Word, stats: Stats, shared: Arc<Shared>, asking: ConnId) -> Pages {
        Pages {
            word,
            stats: Box::new(stats),
            shared,
            asking,
            begun: false,
            conns: VecDeque::new(),
            paths: PathPages::default(),
            own: None,
            owners: VecDeque::new(),
            from: 0,
        }
    }

    /// Appends the next page; false when there is none.
    pub fn next(&mut self, out: &mut String) -> bool {
        if !self.begun {
            self.begun = true;
            self.begin(out);
            return true;
        }
        let more = match self.word {
            Word::Cons | Word::Stat => self.connections(out),
            Word::Wchp => self.watched(out),
            Word::Wchc => self.watchers(out),
            Word::Dump => self.ephemerals(out),
            _ => return false,
        };
        if !more {
            match self.word {
                Word::Stat => out.push_str(&four_letter::stat_tail(&self.stats)),
                Word::Dump => out.push_str(&four_letter::dump_tail(&self.stats)),
                _ => out.push('\n'),
            }
            // What is behind the end is no page of any word.
            self.word = Word::Telnet;
        }
        true
    }

    fn begin(&mut self, out: &mut String) {
        let shared = &self.shared;
        match self.word {
            Word::Cons | Word::Stat => {
                self.conns = shared.lines.iter().map(|line| line.id).collect();
                if self.word == Word::Stat {
                    out.push_str(&four_letter::stat_head(&self.stats));
                }
            }
            Word::Wchc => self.conns = shared.watches.data_watchers().into_iter().collect(),
            Word::Dump => {
                let mut owners: Vec<_> = shared.state.read().sessions_with_ephemerals().collect();
                owners.sort_unstable();
                self.stats.ephemeral_owners = owners.len();
                self.owners = owners.into();
                out.push_str(&four_letter::dump_head(&self.stats));
            }
            _ => {}
        }
    }

    fn connections(&mut self, out: &mut String) -> bool {
        let line = match self.word {
            Word::Stat => four_letter::stat_line,
            _ => four_letter::cons_line,
        };
        let page = self.conns.drain(..self.conns.len().min(PAGE));
        for id in page {
            // The guard of the table goes before the next is looked up.
            let found = self.shared.lines.get(&id).map(|found| Arc::clone(&found));
            if let Some(found) = found {
                out.push_str(&line(&connection(&found, self.asking)));
            }
        }
        !self.conns.is_empty()
    }

    fn session(&self, conn: ConnId) -> i64 {
        let line = self.shared.lines.get(&conn).map(|line| Arc::clone(&line));
        let session = line.and_then(|line| line.lock().session);
        session.map_or(0, |(id, _)| id.0)
    }

    fn watched(&mut self, out: &mut String) -> bool {
        let Some(page) = self.shared.watches.next_paths(&mut self.paths) else { return false };
        for (path, conns) in page {
            let sessions = conns.into_iter().map(|conn| self.session(conn));
            four_letter::watched_path(out, &path, sessions);
        }
        true
    }

    fn watchers(&mut self, out: &mut String) -> bool {
        if self.own.is_none() {
            let Some(conn) = self.conns.pop_front() else { return false };
            four_letter::session_line(out, self.session(conn), "");
            self.own = Some(self.shared.watches.paths_of(conn));
        }
        let page = self.own.as_mut().and_then(|own| self.shared.watches.next_of(own));
        match page {
            Some(paths) => paths.iter().for_each(|path| four_letter::path_line(out, path)),
            None => self.own = None,
        }
        true
    }

    fn ephemerals(&mut self, out: &mut String) -> bool {
        let Some(&(session, count)) = self.owners.front() else { return false };
        if self.from == 0 {
            four_letter::session_line(out, session.0, ":");
        }
        let state = self.shared.state.read();
        let (paths, next) = if count <= IN_ORDER_MAX {
            (state.ephemerals_of(session), None)
        } else {
            state.ephemerals_from(session, self.from, PAGE)
        };
        drop(state);
        paths.iter().for_each(|path| four_letter::path_line(out, path));
        self.from = next.unwrap_or(0);
        if next.is_none() {
            self.owners.pop_front();
        }
        true
    }
}
