//! One line per event, in fixed columns, so that a failing seed can be read like a score:
//!
//! ```text
//! time(ms)  what    server role epoch accepted/current logged durable delivered | text
//! ```

use std::fmt;

use crate::proto::election::ServerState;
use crate::types::{Epoch, Zxid};
use crate::zab::Peer;

/// What is known of a server when a line is written.
#[derive(Clone, Copy, Debug)]
pub struct View {
    host: usize,
    role: char,
    epoch: Epoch,
    accepted: Epoch,
    current: Epoch,
    logged: Zxid,
    durable: Zxid,
    delivered: Zxid,
}

impl View {
    /// A server that is down.
    pub fn down(host: usize, durable: Zxid) -> View {
        let none = Epoch(0);
        View {
            host,
            role: '-',
            epoch: none,
            accepted: none,
            current: none,
            logged: Zxid::ZERO,
            durable,
            delivered: Zxid::ZERO,
        }
    }

    /// A running server. Lower case means that it doesn't serve.
    pub fn of(host: usize, peer: &Peer, durable: Zxid) -> View {
        let role = match peer.state() {
            ServerState::Looking => '?',
            ServerState::Following => 'F',
            ServerState::Leading => 'L',
            ServerState::Observing => 'O',
        };
        View {
            host,
            role: if peer.is_serving() { role } else { role.to_ascii_lowercase() },
            epoch: peer.epoch(),
            accepted: peer.accepted_epoch(),
            current: peer.current_epoch(),
            logged: peer.last_logged(),
            durable,
            delivered: peer.last_delivered(),
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} e{} {}/{} log={} dur={} app={}",
            self.host + 1,
            self.role,
            self.epoch,
            self.accepted,
            self.current,
            self.logged,
            self.durable,
            self.delivered,
        )
    }
}

/// Where the lines go.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// Whether lines are wanted at all.
    pub to: Sink,
}

/// What becomes of a line.
#[derive(Clone, Debug, Default)]
pub enum Sink {
    /// Nothing.
    #[default]
    Nowhere,
    /// It is printed.
    Print,
    /// It is kept.
    Keep(Vec<String>),
}

impl Score {
    /// Whether lines are wanted.
    pub fn wants(&self) -> bool {
        !matches!(self.to, Sink::Nowhere)
    }

    /// Writes a line.
    pub fn line(&mut self, now: u64, what: &str, v: View, text: String) {
        if !self.wants() {
            return;
        }
        let (ms, us) = (now / 1000, now % 1000);
        let line = format!("{ms:>8}.{us:03} {what:<6} {v} | {text}");
        match &mut self.to {
            Sink::Nowhere => {}
            Sink::Print => println!("{line}"),
            Sink::Keep(lines) => lines.push(line),
        }
    }
}
