//! The registry of counters and summaries: cheap where things happen, read by `mntr` and Prometheus.
//!
//! Counting is one relaxed atomic addition; a summary costs four and, with quantiles, one more into
//! a reservoir (uniform, 1024 samples, as Apache's of 4096). Numbers read while others write may be a
//! moment apart from each other, as in Apache.
//!
//! Must not know: what the numbers mean, or who reads them.

mod exposition;
pub mod prometheus;
mod table;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use super::format;
use crate::types::Tally;
use prometheus::Prometheus;
pub use table::{Advanced, AdvancedSet, Basic, BasicSet, Counter, CounterSet};

/// Samples kept for quantiles.
const RESERVOIR: usize = 1024;
/// Keys of a set beyond this are counted under `other`: they come from clients' paths.
const KEYS_MAX: usize = 1000;

/// All counters and summaries of one server.
#[derive(Debug)]
pub struct Metrics {
    counters: Vec<AtomicU64>,
    counter_sets: Vec<Mutex<BTreeMap<String, u64>>>,
    basics: Vec<Summary>,
    advanced: Vec<Summary>,
    basic_sets: Vec<Mutex<BTreeMap<String, Summary>>>,
    advanced_sets: Vec<Mutex<BTreeMap<String, Summary>>>,
    /// Client connections closed, by reason (ours; only Prometheus shows them).
    closed: Mutex<BTreeMap<&'static str, u64>>,
    /// Steps of the node thread that took long, and their milliseconds, by name (the same).
    long_steps: Mutex<BTreeMap<&'static str, (u64, u64)>>,
    prometheus: Option<Prometheus>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new(false)
    }
}

impl Metrics {
    /// An empty registry; with `prometheus`, summaries are also recorded for the exposition.
    pub fn new(prometheus: bool) -> Metrics {
        let prometheus = prometheus.then(Prometheus::new);
        let summary = |name: &'static str, help: &'static str, reservoir: bool| {
            let histogram = prometheus.as_ref().map(|p| p.histogram(name, help, None));
            Summary::new(reservoir, histogram)
        };
        Metrics {
            counters: Counter::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            counter_sets: CounterSet::ALL.iter().map(|_| Mutex::default()).collect(),
            basics: Basic::ALL.iter().map(|m| summary(m.name(), m.help(), false)).collect(),
            advanced: Advanced::ALL.iter().map(|m| summary(m.name(), m.help(), true)).collect(),
            basic_sets: BasicSet::ALL.iter().map(|_| Mutex::default()).collect(),
            advanced_sets: AdvancedSet::ALL.iter().map(|_| Mutex::default()).collect(),
            closed: Mutex::default(),
            long_steps: Mutex::default(),
            prometheus,
        }
    }

    /// Counts a client connection that was closed.
    pub fn count_closed(&self, reason: &'static str) {
        *self.closed.lock().entry(reason).or_default() += 1;
    }

    /// Counts a step of the node thread that took long.
    pub fn count_long_step(&self, step: &'static str, took: Duration) {
        let mut steps = self.long_steps.lock();
        let (count, ms) = steps.entry(step).or_default();
        *count += 1;
        *ms += u64::try_from(took.as_millis()).unwrap_or(u64::MAX >> 1);
    }

    /// Client connections closed for a reason since the start.
    pub fn closed(&self, reason: &str) -> u64 {
        self.closed.lock().get(reason).copied().unwrap_or(0)
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, n: u64) {
        self.counters[counter as usize].fetch_add(n, Relaxed);
    }

    /// A counter's value since the start or the last reset.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Relaxed)
    }

    /// Adds to a counter's key.
    pub fn add_for(&self, set: CounterSet, key: &str, n: u64) {
        let mut map = self.counter_sets[set as usize].lock();
        *entry(&mut map, key, || 0) += n;
    }

    /// Records a value in a basic summary.
    pub fn record(&self, summary: Basic, value: i64) {
        self.basics[summary as usize].record(value);
    }

    /// Records a value in an advanced summary.
    pub fn record_advanced(&self, summary: Advanced, value: i64) {
        self.advanced[summary as usize].record(value);
    }

    /// Records a value `n` times in an advanced summary, for what was measured together.
    pub fn record_advanced_many(&self, summary: Advanced, value: i64, n: u64) {
        self.advanced[summary as usize].record_many(value, n);
    }

    /// Records a value in a key's basic summary.
    pub fn record_for(&self, set: BasicSet, key: &str, value: i64) {
        let mut map = self.basic_sets[set as usize].lock();
        let prometheus = self.prometheus.as_ref();
        let new = || {
            let histogram = prometheus.map(|p| p.histogram(set.name(), set.help(), Some(key)));
            Summary::new(false, histogram)
        };
        entry(&mut map, key, new).record(value);
    }

    /// Adds what was tallied elsewhere to a key's basic summary. Prometheus sees the average as often as
    /// there were values.
    pub fn record_tally_for(&self, set: BasicSet, key: &str, tally: &Tally) {
        let mut map = self.basic_sets[set as usize].lock();
        let prometheus = self.prometheus.as_ref();
        let new = || {
            let histogram = prometheus.map(|p| p.histogram(set.name(), set.help(), Some(key)));
            Summary::new(false, histogram)
        };
        entry(&mut map, key, new).merge(tally);
    }

    /// Records a value in a key's advanced summary.
    pub fn record_advanced_for(&self, set: AdvancedSet, key: &str, value: i64) {
        let mut map = self.advanced_sets[set as usize].lock();
        let prometheus = self.prometheus.as_ref();
        let new = || {
            let histogram = prometheus.map(|p| p.histogram(set.name(), set.help(), Some(key)));
            Summary::new(true, histogram)
        };
        entry(&mut map, key, new).record(value);
    }

    /// Starts all numbers anew (`srst`). What Prometheus sees isn't reset, as in Apache.
    pub fn reset(&self) {
        if self.prometheus.is_some() {
            return;
        }
        for counter in &self.counters {
            counter.store(0, Relaxed);
        }
        for summary in self.basics.iter().chain(&self.advanced) {
            summary.reset();
        }
        for set in &self.counter_sets {
            set.lock().values_mut().for_each(|n| *n = 0);
        }
        for set in self.basic_sets.iter().chain(&self.advanced_sets) {
            set.lock().values().for_each(Summary::reset);
        }
    }

    /// Every key and value of Apache's default provider, without `zk_`: a counter is its name, a
    /// summary `avg_`, `min_`, `max_`, `cnt_`, `sum_` and its quantiles, a set has its key after that
    /// prefix.
    pub fn dump(&self, line: &mut dyn FnMut(&str, &dyn Display)) {
        for counter in Counter::ALL {
            line(counter.name(), &self.get(*counter));
        }
        for (set, map) in CounterSet::ALL.iter().zip(&self.counter_sets) {
            for (key, n) in map.lock().iter() {
                line(&format!("{}_{}", word(key), set.name()), n);
            }
        }
        for (summary, values) in Basic::ALL.iter().zip(&self.basics) {
            values.dump(summary.name(), line);
        }
        for (set, map) in BasicSet::ALL.iter().zip(&self.basic_sets) {
            for (key, values) in map.lock().iter() {
                values.dump(&format!("{}_{}", word(key), set.name()), line);
            }
        }
        for (summary, values) in Advanced::ALL.iter().zip(&self.advanced) {
            values.dump(summary.name(), line);
        }
        for (set, map) in AdvancedSet::ALL.iter().zip(&self.advanced_sets) {
            for (key, values) in map.lock().iter() {
                values.dump(&format!("{}_{}", word(key), set.name()), line);
            }
        }
    }
}

/// A key as one word: `telegraf` drops the whole answer at a character outside `\w`.
pub fn word(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn entry<'a, T>(map: &'a mut BTreeMap<String, T>, key: &str, new: impl FnOnce() -> T) -> &'a mut T {
    let key = if map.len() >= KEYS_MAX && !map.contains_key(key) { "other" } else { key };
    map.entry(key.to_owned()).or_insert_with(new)
}

/// Minimum, maximum, count, sum, and samples for quantiles.
#[derive(Debug)]
struct Summary {
    min: AtomicI64,
    max: AtomicI64,
    count: AtomicU64,
    sum: AtomicI64,
    samples: Option<Box<[AtomicI64]>>,
    histogram: Option<::metrics::Histogram>,
}

impl Summary {
    fn new(reservoir: bool, histogram: Option<::metrics::Histogram>) -> Summary {
        Summary {
            min: AtomicI64::new(i64::MAX),
            max: AtomicI64::new(i64::MIN),
            count: AtomicU64::new(0),
            sum: AtomicI64::new(0),
            samples: reservoir.then(|| (0..RESERVOIR).map(|_| AtomicI64::new(0)).collect()),
            histogram,
        }
    }

    fn record(&self, value: i64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: i64, n: u64) {
        if n == 0 {
            return;
        }
        self.min.fetch_min(value, Relaxed);
        self.max.fetch_max(value, Relaxed);
        self.sum.fetch_add(value.saturating_mul(i64::try_from(n).unwrap_or(i64::MAX)), Relaxed);
        let before = self.count.fetch_add(n, Relaxed);
        if let Some(samples) = &self.samples {
            // Vitter's algorithm R; the "random" slot is a mix of the count, which is enough for
            // numbers that only people look at.
            let held = usize::try_from(before).unwrap_or(usize::MAX);
            if held < RESERVOIR {
                let more = usize::try_from(n).unwrap_or(usize::MAX);
                let end = held.saturating_add(more).min(RESERVOIR);
                samples[held..end].iter().for_each(|sample| sample.store(value, Relaxed));
            } else if let Ok(slot) = usize::try_from(mix(before) % (before + 1))
                && let Some(sample) = samples.get(slot)
            {
                sample.store(value, Relaxed);
            }
        }
        if let Some(histogram) = &self.histogram {
            histogram.record_many(value as f64, usize::try_from(n).unwrap_or(usize::MAX));
        }
    }

    fn merge(&self, tally: &Tally) {
        if tally.count == 0 {
            return;
        }
        self.min.fetch_min(tally.min, Relaxed);
        self.max.fetch_max(tally.max, Relaxed);
        self.sum.fetch_add(tally.sum, Relaxed);
        self.count.fetch_add(tally.count, Relaxed);
        if let Some(histogram) = &self.histogram {
            let average = tally.sum as f64 / tally.count as f64;
            histogram.record_many(average, usize::try_from(tally.count).unwrap_or(usize::MAX));
        }
    }

    /// Whether nothing was recorded since the start; only Prometheus asks, and then nothing is reset.
    fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    fn reset(&self) {
        self.min.store(i64::MAX, Relaxed);
        self.max.store(i64::MIN, Relaxed);
        self.count.store(0, Relaxed);
        self.sum.store(0, Relaxed);
    }

    fn dump(&self, name: &str, line: &mut dyn FnMut(&str, &dyn Display)) {
        let (count, sum) = (self.count.load(Relaxed), self.sum.load(Relaxed));
        let average = if count == 0 { 0.0 } else { sum as f64 / count as f64 };
        let or_zero = |n: i64, unset: i64| if n == unset { 0 } else { n };
        line(&format!("avg_{name}"), &format::rounded(average));
        line(&format!("min_{name}"), &or_zero(self.min.load(Relaxed), i64::MAX));
        line(&format!("max_{name}"), &or_zero(self.max.load(Relaxed), i64::MIN));
        line(&format!("cnt_{name}"), &count);
        line(&format!("sum_{name}"), &sum);
        if let Some(samples) = &self.samples {
            let held = usize::try_from(count).unwrap_or(RESERVOIR).min(RESERVOIR);
            let mut values: Vec<i64> =
                samples[..held].iter().map(|sample| sample.load(Relaxed)).collect();
            values.sort_unstable();
            for (label, q) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)] {
                line(&format!("{label}_{name}"), &quantile(&values, q));
            }
        }
    }
}

/// The quantile of sorted values with linear interpolation, cut to a whole number; 0 without values.
fn quantile(sorted: &[i64], q: f64) -> i64 {
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return 0 };
    let position = q * (sorted.len() + 1) as f64;
    if position < 1.0 {
        return *first;
    }
    // Not negative, and no larger than the length plus one.
    let index = position as usize;
    if index >= sorted.len() {
        return *last;
    }
    let (lower, upper) = (sorted[index - 1] as f64, sorted[index] as f64);
    (lower + position.fract() * (upper - lower)) as i64
}

fn mix(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests;
