//! Why client connections end: every reason is counted, and the odd ones are logged, a few a second.

use std::net::SocketAddr;

use crate::ops::Metrics;
use crate::ops::metrics::Counter;
use crate::types::SessionId;

use super::client::{GONE, WORD};
use super::lines::{self, Lines};

/// Reasons that are the client's wish, or nobody's fault.
const ORDINARY: [&str; 4] =
    [GONE, WORD, "the session is closed", "this server is not serving requests any more"];

/// Reasons that Apache counts, too.
const COUNTED: [(&str, Counter); 6] = [
    (GONE, Counter::ConnectionDropCount),
    ("this server is not serving requests", Counter::CnxnClosedWithoutZkServerRunning),
    ("this server is not serving requests any more", Counter::CnxnClosedWithoutZkServerRunning),
    ("too many bytes of large requests in process", Counter::LargeRequestsRejected),
    ("authentication for another ensemble", Counter::EnsembleAuthFail),
    (
        "too many bytes of requests on the server (limits.requestBytes)",
        Counter::LargeRequestsRejected,
    ),
];

/// See the module.
#[derive(Debug, Default)]
pub struct Closings {
    lines: Lines,
}

impl Closings {
    /// A connection has ended, that had or asked for this session, if it got so far.
    pub fn note(
        &self,
        metrics: &Metrics,
        remote: SocketAddr,
        session: SessionId,
        why: &'static str,
    ) {
        metrics.count_closed(why);
        if let Some((_, counter)) = COUNTED.iter().find(|(reason, _)| *reason == why) {
            metrics.add(*counter, 1);
        }
        let of = match session {
            SessionId::NONE => String::new(),
            session => format!(" (session {session})"),
        };
        if ORDINARY.contains(&why) {
            tracing::debug!("connection from {remote}{of} closed: {why}");
            return;
        }
        let Some(suppressed) = self.lines.next() else { return };
        tracing::info!("connection from {remote}{of} closed: {why}{}", lines::others(suppressed));
    }
}
