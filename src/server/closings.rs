//! Why client connections end: every reason is counted, and the odd ones are logged, a few a second.

use std::net::SocketAddr;

use parking_lot::Mutex;

use crate::ops::Metrics;
use crate::ops::metrics::Counter;
use crate::types::Instant;

use super::client::{GONE, WORD};

/// Lines a second; what is beyond them is only counted, so that a flood of bad connections does not
/// become a flood of lines.
const LINES_MAX: u32 = 10;
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
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    second: u64,
    lines: u32,
    unsaid: u64,
}

/// What is to be said of a connection's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Say {
    /// This one, and how many were not told of before it.
    This { unsaid: u64 },
    /// Nothing.
    Nothing,
}

impl Window {
    fn say(&mut self, now: Instant) -> Say {
        let second = now.as_millis() / 1000;
        if second != self.second {
            self.second = second;
            self.lines = 0;
        }
        if self.lines == LINES_MAX {
            self.unsaid += 1;
            return Say::Nothing;
        }
        self.lines += 1;
        Say::This { unsaid: std::mem::take(&mut self.unsaid) }
    }
}

impl Closings {
    /// A connection has ended.
    pub fn note(&self, metrics: &Metrics, now: Instant, remote: SocketAddr, why: &'static str) {
        metrics.count_closed(why);
        if let Some((_, counter)) = COUNTED.iter().find(|(reason, _)| *reason == why) {
            metrics.add(*counter, 1);
        }
        if ORDINARY.contains(&why) {
            tracing::debug!("connection from {remote} is closed: {why}");
            return;
        }
        match self.window.lock().say(now) {
            Say::Nothing => {}
            Say::This { unsaid: 0 } => tracing::info!("connection from {remote} closed: {why}"),
            Say::This { unsaid } => tracing::info!(
                "connection from {remote} closed: {why}; {unsaid} others were closed unsaid before"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_ends_is_no_flood_of_lines() {
        let mut window = Window::default();
        let said = |window: &mut Window, ms| {
            (0..1000).filter(|_| window.say(Instant::from_millis(ms)) != Say::Nothing).count()
        };
        assert_eq!(said(&mut window, 5000), 10);
        assert_eq!(said(&mut window, 5999), 0);
        assert_eq!(window.say(Instant::from_millis(6000)), Say::This { unsaid: 1990 });
        assert_eq!(said(&mut window, 6500), 9);
    }
}
