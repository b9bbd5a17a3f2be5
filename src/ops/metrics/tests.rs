use super::*;
use crate::ops::stats::{LeaderStats, Mode, QuorumStats, Stats};

fn lines(metrics: &Metrics) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    metrics.dump(&mut |key, value| {
        assert!(out.insert(key.to_owned(), value.to_string()).is_none(), "{key} twice");
    });
    out
}

#[test]
fn summaries() {
    let metrics = Metrics::default();
    let empty = lines(&metrics);
    for key in ["avg_fsynctime", "avg_readlatency"] {
        assert_eq!(empty[key], "0.0");
    }
    for key in ["min_fsynctime", "max_fsynctime", "cnt_fsynctime", "sum_fsynctime"] {
        assert_eq!(empty[key], "0");
    }
    for value in [4, 1, 2] {
        metrics.record(Basic::FsyncTime, value);
    }
    let full = lines(&metrics);
    let got: Vec<&str> = ["avg", "min", "max", "cnt", "sum"]
        .iter()
        .map(|p| full[&format!("{p}_fsynctime")].as_str())
        .collect();
    assert_eq!(got, ["2.3333", "1", "4", "3", "7"]);
    metrics.reset();
    assert_eq!(lines(&metrics), empty);
}

#[test]
fn quantiles_interpolate_and_are_cut() {
    assert_eq!(quantile(&[], 0.5), 0);
    assert_eq!(quantile(&[7], 0.999), 7);
    let hundred: Vec<i64> = (1..=100).collect();
    for (q, value) in [(0.5, 50), (0.95, 95), (0.99, 99), (0.999, 100)] {
        assert_eq!(quantile(&hundred, q), value, "{q}");
    }
}

#[test]
fn the_reservoir_follows_what_is_recorded() {
    let metrics = Metrics::default();
    for value in 0..100_000 {
        metrics.record_advanced(Advanced::ReadLatency, value % 1000);
    }
    let full = lines(&metrics);
    let p50: i64 = full["p50_readlatency"].parse().expect("a number");
    assert!((400..600).contains(&p50), "{p50}");
    assert_eq!(full["cnt_readlatency"], "100000");
}

#[test]
fn what_was_measured_together_counts_together() {
    let metrics = Metrics::default();
    metrics.record_advanced_many(Advanced::ReadLatency, 0, 0);
    metrics.record_advanced_many(Advanced::ReadLatency, 2, 1500);
    metrics.record_advanced_many(Advanced::ReadLatency, 4, 500);
    let full = lines(&metrics);
    let got: Vec<&str> = ["cnt", "sum", "min", "max", "p50"]
        .iter()
        .map(|p| full[&format!("{p}_readlatency")].as_str())
        .collect();
    assert_eq!(got, ["2000", "5000", "2", "4", "2"]);
}

#[test]
fn keys_are_bounded() {
    let metrics = Metrics::default();
    for n in 0..KEYS_MAX + 50 {
        metrics.record_for(BasicSet::ReadPerNamespace, &format!("n{n}"), 1);
    }
    assert_eq!(lines(&metrics)["cnt_other_read_per_namespace"], "50");
}

/// `name kind` of every metric of Apache 3.9.5 with the Prometheus provider, Java's own left out.
const TYPES: &str = include_str!("../../../fixtures/ops/apache-3.9.5/prometheus-types.txt");

#[test]
fn the_exposition_has_apaches_names_and_types() {
    let metrics = Metrics::new(true);
    for summary in Basic::ALL {
        metrics.record(*summary, 1);
    }
    for summary in Advanced::ALL {
        metrics.record_advanced(*summary, 1);
    }
    for set in BasicSet::ALL {
        metrics.record_for(*set, "app", 1);
    }
    for set in AdvancedSet::ALL {
        metrics.record_advanced_for(*set, "1", 1);
    }
    metrics.add_for(CounterSet::QuotaExceededErrorPerNamespace, "app", 2);
    metrics.add(Counter::CommitCount, 5);
    metrics.add(Counter::CommitCount, 1);
    let quota = crate::ops::stats::QuotaStats { namespace: "app".to_owned(), ..Default::default() };
    let stats = Stats {
        quotas: vec![quota],
        quorum: Some(QuorumStats::default()),
        leader: Some(LeaderStats::default()),
        node_count: 7,
        ..Stats::default()
    };
    let text = metrics.exposition(&stats).expect("a recorder");
    let types: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
    for expect in TYPES.lines() {
        assert!(types.contains(&expect), "{expect} is missing");
    }
    for line in [
        "commit_count 6",
        "znode_count 7",
        "min_client_response_size -1",
        "fsynctime{quantile=\"0.5\"} 1",
        "fsynctime_sum 1",
        "fsynctime_count 1",
        "readlatency{quantile=\"0.99\"}",
        "quota_exceeded_error_per_namespace{key=\"app\"} 2",
        "read_per_namespace_count{key=\"app\"} 1",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(Metrics::new(false).exposition(&stats).is_none());
}

/// The samples of each role of Apache 3.9.5, values and those with a key or of Java's own left out.
const SAMPLES: [(&str, &str); 4] = [
    (
        "standalone",
        include_str!("../../../fixtures/ops/apache-3.9.5/prometheus-samples-standalone.txt"),
    ),
    ("leader", include_str!("../../../fixtures/ops/apache-3.9.5/prometheus-samples-leader.txt")),
    (
        "follower",
        include_str!("../../../fixtures/ops/apache-3.9.5/prometheus-samples-follower.txt"),
    ),
    (
        "observer",
        include_str!("../../../fixtures/ops/apache-3.9.5/prometheus-samples-observer.txt"),
    ),
];

/// The names and labels of all samples, values left out.
fn samples(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    let mut names: Vec<&str> = lines.filter_map(|l| Some(l.rsplit_once(' ')?.0)).collect();
    names.sort_unstable();
    names
}

#[test]
fn every_role_exposes_exactly_apaches_samples() {
    for (role, recorded) in SAMPLES {
        let stats = Stats {
            quorum: (role != "standalone").then(QuorumStats::default),
            leader: (role == "leader").then(LeaderStats::default),
            mode: if role == "follower" { Mode::Follower } else { Mode::Standalone },
            ..Stats::default()
        };
        let text = Metrics::new(true).exposition(&stats).expect("a recorder");
        let (ours, recorded) = (samples(&text), recorded.lines().collect::<Vec<_>>());
        let more: Vec<_> = ours.iter().filter(|name| !recorded.contains(name)).collect();
        let less: Vec<_> = recorded.iter().filter(|name| !ours.contains(name)).collect();
        assert!(more.is_empty() && less.is_empty(), "{role}: more {more:?}, less {less:?}");
        let types: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
        for expect in TYPES.lines().filter(|line| line.contains("per_namespace")) {
            assert!(types.contains(&expect), "{role}: {expect} is not declared");
        }
    }
}

#[test]
fn a_summary_named_count_keeps_its_count_and_quantiles_are_samples() {
    let metrics = Metrics::new(true);
    for value in [71, 71, 71] {
        metrics.record(Basic::NodeDeletedWatchCount, value);
        metrics.record_advanced(Advanced::ReadLatency, value);
    }
    let text = metrics.exposition(&Stats::default()).expect("a recorder");
    for line in [
        "node_deleted_watch_count{quantile=\"0.5\"} 71",
        "node_deleted_watch_count_sum 213",
        "node_deleted_watch_count_count 3",
        "readlatency{quantile=\"0.99\"} 71",
        "fsynctime{quantile=\"0.5\"} NaN",
        "fsynctime_count 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("node_deleted_watch_count 3"), "{text}");
}
