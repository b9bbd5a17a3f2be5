//! What a loop that accepts connections does when the system gives it none.

use std::io;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

/// The first pause after a failure, and the longest: most failures are a want of descriptors or
/// memory, which passes when others give some back.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Between two lines of one loop.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The failures of one loop: pauses that grow, and few lines.
#[derive(Debug)]
pub struct Failures {
    port: &'static str,
    pause: Duration,
    said: Option<Instant>,
    unsaid: u64,
}

impl Failures {
    /// Of the loop at this port, as it is to be named in the log.
    pub fn new(port: &'static str) -> Failures {
        Failures { port, pause: Duration::ZERO, said: None, unsaid: 0 }
    }

    /// A connection was accepted.
    pub fn none(&mut self) {
        self.pause = Duration::ZERO;
    }

    /// Accepting has failed: says so, and waits until it may be tried again.
    pub async fn wait(&mut self, error: &io::Error) {
        let (pause, line) = self.next(Instant::now(), error);
        if let Some(unsaid) = line {
            let port = self.port;
            tracing::warn!(%error, unsaid, "{port}: a connection can't be accepted");
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    /// How long to wait, and, when it is to be said, how many failures were not said before.
    fn next(&mut self, now: Instant, error: &io::Error) -> (Duration, Option<u64>) {
        // That caller has gone again; the next may be there.
        let of_one = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];
        if !of_one.contains(&error.kind()) {
            self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        }
        if self.said.is_some_and(|at| now < at + LINE_EVERY) {
            self.unsaid += 1;
            return (self.pause, None);
        }
        self.said = Some(now);
        (self.pause, Some(std::mem::take(&mut self.unsaid)))
    }
}

/// Waits until tasks that were aborted are gone, and their descriptors with them: otherwise connections
/// are accepted faster than those that make room for them are closed.
pub async fn gone(tasks: &[AbortHandle]) {
    for task in tasks {
        while !task.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_to_accept_are_few_lines_and_no_spinning() {
        let none_left = io::Error::from_raw_os_error(24);
        let (mut failures, mut now) = (Failures::new("port"), Instant::now());
        let end = now + Duration::from_secs(60);
        let (mut tries, mut lines, mut said) = (0, 0, 0);
        while now < end {
            let (pause, line) = failures.next(now, &none_left);
            now += pause;
            tries += 1;
            lines += u64::from(line.is_some());
            said += line.map_or(0, |unsaid| unsaid + 1);
        }
        assert!(tries < 70, "{tries} tries in a minute");
        assert!((6..=7).contains(&lines) && said > tries - 15, "{lines} lines, of {said}");
        failures.none();
        assert_eq!(failures.next(now, &none_left).0, PAUSE_MIN);
        failures.none();
        let gone = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(failures.next(now, &gone).0, Duration::ZERO, "the next one is not held up");
    }
}
