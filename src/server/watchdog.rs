//! What the node thread does for too long: while it is at it nobody's write is answered, and a leader
//! does not ping. Each step of a turn is measured from the end of the one before; one that took
//! [`LONG`] or more is counted under its name (`rookeeper_node_thread_long_steps`), and a few are
//! logged.
//!
//! It costs a look at the clock for each step, and a turn has a handful of those, however many
//! requests are in it. A step may be long because the thread was not given a processor.

use std::sync::Arc;
use std::time::Duration;

use crate::ops::Metrics;
use crate::types::Instant;

/// A step that takes this long is worth a word: what a turn takes otherwise is less than a millisecond
/// or, when it syncs or applies thousands of transactions, a few.
pub const LONG: Duration = Duration::from_millis(20);
/// Between two lines in the log, except of a step that is longer than all before.
const LINES_APART: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Watchdog {
    metrics: Arc<Metrics>,
    since: Instant,
    said_at: Option<Instant>,
    longest: Duration,
    unsaid: u64,
}

impl Watchdog {
    /// Nothing is measured before [`Watchdog::begin`].
    pub fn new(metrics: Arc<Metrics>) -> Watchdog {
        let (since, longest) = (Instant(u64::MAX), Duration::ZERO);
        Watchdog { metrics, since, said_at: None, longest, unsaid: 0 }
    }

    /// A step begins: a turn's first.
    pub fn begin(&mut self, now: Instant) {
        self.since = now;
    }

    /// A step has ended, and the next begins.
    pub fn end(&mut self, now: Instant, step: &'static str) {
        let took = now.since(self.since);
        self.since = now;
        if took >= LONG
            && let Some(unsaid) = self.note(now, step, took)
        {
            tracing::warn!(
                "the node thread was busy for {} ms with: {step}; {unsaid} other steps of {} ms or \
                 more were not logged. Meanwhile no write was answered",
                took.as_millis(),
                LONG.as_millis()
            );
        }
    }

    /// Counts a long step; Some when it is to be logged, with how many were not before.
    fn note(&mut self, now: Instant, step: &'static str, took: Duration) -> Option<u64> {
        self.metrics.count_long_step(step, took);
        let silent = self.said_at.is_some_and(|at| now.since(at) < LINES_APART);
        // A doubling is news: there are not many of those.
        if silent && took < self.longest * 2 {
            self.unsaid += 1;
            return None;
        }
        self.said_at = Some(now);
        self.longest = self.longest.max(took);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::stats::Stats;

    #[test]
    fn a_long_step_is_counted_under_its_name_and_logged_now_and_then() {
        let metrics = Arc::new(Metrics::new(true));
        let mut dog = Watchdog::new(Arc::clone(&metrics));
        let at = Instant::from_millis;
        dog.begin(at(1000));
        dog.end(at(1019), "requests");
        dog.end(at(1039), "another state");
        assert_eq!(dog.since, at(1039));
        let long = Duration::from_millis(25);
        let logged = (0..1000).filter(|_| dog.note(at(2000), "apply", long).is_some()).count();
        assert_eq!(logged, 0, "the first was logged a second ago");
        assert_eq!(dog.note(at(2000), "apply", long * 4), Some(1000), "the longest so far");
        assert_eq!(dog.note(at(9000), "apply", long * 4), None);
        assert_eq!(dog.note(at(12_000), "apply", long), Some(1));
        let text = metrics.exposition(&Stats::default()).expect("with Prometheus");
        let line = |rest: &str| text.contains(&format!("rookeeper_node_thread_{rest}"));
        assert!(line("long_steps{step=\"another state\"} 1"), "{text}");
        assert!(line("long_steps_ms{step=\"another state\"} 20"), "{text}");
        assert!(line("long_steps{step=\"apply\"} 1003"), "{text}");
        assert!(!text.contains("step=\"requests\""));
    }
}
