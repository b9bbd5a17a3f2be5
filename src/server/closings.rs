//! Why client connections end: every reason is counted, and the odd ones are logged, a few a second.

use std::net::SocketAddr;

use crate::ops::Metrics;
use crate::ops::metrics::Counter;

use super::client::{GONE, WORD};
use super::lines::Lines;

/// Reasons that are the client's wish, or nobody's fault.
const ORDINARY: [&str; 5] = [
    GONE,
    WORD,
    "the session is closed",
    "the session has been renewed on another connection",
    "this server is not serving requests any more",
];

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
    /// A connection has ended.
    pub fn note(&self, metrics: &Metrics, remote: SocketAddr, why: &'static str) {
        metrics.count_closed(why);
        if let Some((_, counter)) = COUNTED.iter().find(|(reason, _)| *reason == why) {
            metrics.add(*counter, 1);
        }
        if ORDINARY.contains(&why) {
            tracing::debug!("connection from {remote} is closed: {why}");
            return;
        }
        match self.lines.next() {
            None => {}
            Some(0) => tracing::info!("connection from {remote} closed: {why}"),
            Some(unsaid) => tracing::info!(
                "connection from {remote} closed: {why}; {unsaid} others were closed unsaid before"
            ),
        }
    }
}
