//! The Prometheus exposition: Apache's names without `zk_`, counters without `_total` (as up to 3.9),
//! summaries with quantiles 0.5, 0.9 and 0.99 (basic ones only 0.5), sets with the label `key`.

use std::collections::HashSet;

use ::metrics::{Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::super::stats::{Mode, Stats};
use super::{Advanced, Basic, Counter, CounterSet, Metrics, exposition};

/// The content type of the exposition.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const METADATA: Metadata<'static> = Metadata::new("rookeeper", Level::INFO, None);

/// Families of our own, so under our name.
const CLOSED: &str = "rookeeper_connections_closed";
const LONG_STEPS: &str = "rookeeper_node_thread_long_steps";
const LONG_STEPS_MS: &str = "rookeeper_node_thread_long_steps_ms";

/// The exporter's recorder.
pub struct Prometheus {
    recorder: PrometheusRecorder,
}

impl std::fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prometheus")
    }
}

impl Prometheus {
    pub(super) fn new() -> Prometheus {
        // The quantiles are constants within 0..=1, so they are accepted; the default is otherwise
        // usable, too.
        let builder = PrometheusBuilder::new()
            .set_quantiles(&[0.5, 0.9, 0.99])
            .unwrap_or_else(|_| PrometheusBuilder::new());
        Prometheus { recorder: builder.build_recorder() }
    }

    pub(super) fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        key: Option<&str>,
    ) -> ::metrics::Histogram {
        self.recorder.describe_histogram(name.into(), None::<Unit>, help.into());
        self.recorder.register_histogram(&metric(name, key), &METADATA)
    }
}

fn metric(name: &'static str, key: Option<&str>) -> Key {
    let labels: Vec<Label> = key.map(|k| Label::new("key", k.to_owned())).into_iter().collect();
    Key::from_parts(name, labels)
}

impl Metrics {
    /// The exposition's text; `None` when the registry was made without Prometheus.
    pub fn exposition(&self, stats: &Stats) -> Option<String> {
        let recorder = &self.prometheus.as_ref()?.recorder;
        for counter in Counter::ALL {
            let name = counter.name();
            recorder.describe_counter(name.into(), None, counter.help().into());
            let handle = recorder.register_counter(&metric(name, None), &METADATA);
            handle.absolute(self.get(*counter));
        }
        for (set, map) in CounterSet::ALL.iter().zip(&self.counter_sets) {
            for (key, n) in map.lock().iter() {
                let handle = recorder.register_counter(&metric(set.name(), Some(key)), &METADATA);
                handle.absolute(*n);
            }
        }
        let help = "client connections closed, by reason";
        recorder.describe_counter(CLOSED.into(), None, help.into());
        for (reason, n) in self.closed.lock().iter() {
            let key = Key::from_parts(CLOSED, vec![Label::new("reason", *reason)]);
            recorder.register_counter(&key, &METADATA).absolute(*n);
        }
        let help = "steps of the node thread that took 20 ms or more, by what they did";
        recorder.describe_counter(LONG_STEPS.into(), None, help.into());
        let help = "milliseconds that those steps took together";
        recorder.describe_counter(LONG_STEPS_MS.into(), None, help.into());
        for (step, (count, ms)) in self.long_steps.lock().iter() {
            for (name, n) in [(LONG_STEPS, *count), (LONG_STEPS_MS, *ms)] {
                let key = Key::from_parts(name, vec![Label::new("step", *step)]);
                recorder.register_counter(&key, &METADATA).absolute(n);
            }
        }
        for (name, value) in stats.gauges() {
            recorder.describe_gauge(name.into(), None, name.into());
            recorder.register_gauge(&metric(name, None), &METADATA).set(value.as_f64());
        }
        if stats.mode == Mode::Follower && stats.synced_observers.is_none() {
            // Apache's follower without observers has no value for `mntr`, and a zero here.
            let name = "synced_observers";
            recorder.describe_gauge(name.into(), None, name.into());
            recorder.register_gauge(&metric(name, None), &METADATA).set(0.0);
        }
        for (namespace, name, value) in stats.namespace_gauges() {
            let handle = recorder.register_gauge(&metric(name, Some(namespace)), &METADATA);
            handle.set(value.as_f64());
        }
        let unused: HashSet<&str> = (Basic::ALL.iter().map(|s| s.name()).zip(&self.basics))
            .chain(Advanced::ALL.iter().map(|s| s.name()).zip(&self.advanced))
            .filter(|(_, summary)| summary.is_empty())
            .map(|(name, _)| name)
            .collect();
        let rendered = recorder.handle().render();
        Some(exposition::finish(&rendered, &stats.process, |name| unused.contains(name)))
    }

    /// Moves recorded values to where they take constant space; to be called every few seconds while
    /// nobody scrapes. Nothing without Prometheus.
    pub fn upkeep(&self) {
        if let Some(prometheus) = &self.prometheus {
            prometheus.recorder.handle().run_upkeep();
        }
    }
}
