//! The rows of the comparison: what each measures, in which unit, and what is to be reached.

/// What a row's median must satisfy; every part that is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Target {
    /// Apache's median divided by rookeeper's is at least this.
    pub times_less: Option<f64>,
    /// rookeeper's median divided by Apache's is at least this.
    pub times_more: Option<f64>,
    /// rookeeper's median is at most this.
    pub at_most: Option<f64>,
    /// rookeeper's median is at least this.
    pub at_least: Option<f64>,
    /// rookeeper's median divided by the echo server's is at most this.
    pub times_echo: Option<f64>,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its key among the samples.
    pub id: &'static str,
    /// What is measured.
    pub what: &'static str,
    /// Of all its figures.
    pub unit: &'static str,
    /// What is to be reached; all None for a figure that is only shown.
    pub target: Target,
}

const NONE: Target =
    Target { times_less: None, times_more: None, at_most: None, at_least: None, times_echo: None };

const fn less(times: f64) -> Target {
    Target { times_less: Some(times), ..NONE }
}

const fn more(times: f64) -> Target {
    Target { times_more: Some(times), ..NONE }
}

const fn at_most(value: f64) -> Target {
    Target { at_most: Some(value), ..NONE }
}

const fn row(id: &'static str, what: &'static str, unit: &'static str, target: Target) -> Row {
    Row { id, what, unit, target }
}

/// All rows, in the order of the table.
pub const ROWS: &[Row] = &[
    row("reads.cpu", "reads, 32 connections, 32 deep, 100 B: server CPU each", "µs", less(10.0)),
    row(
        "reads.rate",
        "the same: reads a second",
        "/s",
        Target { at_least: Some(1_500_000.0), ..NONE },
    ),
    row("reads.by_driver", "the same: server CPU / driver CPU", "", NONE),
    row(
        "reads1000.cpu",
        "reads, 1,000 connections, 1 deep: server CPU each",
        "µs",
        Target { times_echo: Some(1.3), ..NONE },
    ),
    row("reads1000.rate", "the same: reads a second", "/s", NONE),
    row("reads1000.by_driver", "the same: server CPU / driver CPU", "", NONE),
    row("writes.cpu", "writes, standalone, 32 x 32, synced: server CPU each", "µs", less(5.0)),
    row("writes.rate", "the same: writes a second", "/s", NONE),
    row("writes.by_driver", "the same: server CPU / driver CPU", "", NONE),
    row("multi.cpu", "multi of 4 sets: server CPU each", "µs", less(5.0)),
    row("ensemble.cpu", "writes, 3 members, 32 x 32: CPU of all three each", "µs", less(5.0)),
    row(
        "ensemble.rate",
        "the same: writes a second",
        "/s",
        Target { at_least: Some(200_000.0), ..NONE },
    ),
    row("ensemble.by_driver", "the same: servers' CPU / driver CPU", "", NONE),
    row("ensemble.p50", "write latency, 3 members, 1 client: p50", "µs", less(2.0)),
    row("slow.p50", "the same where a sync takes 1 ms longer: p50", "µs", less(1.0)),
    row("slow32.rate", "the same, 32 clients: writes a second", "/s", more(1.0)),
    row("slow32.p50", "the same, 32 clients: p50", "µs", less(1.0)),
    row("rate5k.cpu", "5,000 requests a second (90 % reads): server CPU each", "µs", less(4.0)),
    row("rate5k.p99", "the same: p99 from the due time", "µs", less(1.0)),
    row("rate5k.p999", "the same: p99.9", "µs", less(1.0)),
    row("rate20k.cpu", "20,000 requests a second (90 % reads): server CPU each", "µs", less(4.0)),
    row("rate20k.p99", "the same: p99 from the due time", "µs", less(1.0)),
    row("rate20k.p999", "the same: p99.9", "µs", less(1.0)),
    row("tree20k.p99", "20,000 a second on a tree of 1,000,000 nodes: p99", "µs", less(1.0)),
    row("tree20k.p999", "the same: p99.9", "µs", less(1.0)),
    row(
        "snapshot.stall",
        "snapshots of it while 10,000 sets a second: longest",
        "ms",
        at_most(10.0),
    ),
    row("node.bytes", "1,000,000 nodes of 100 B: resident per node", "B", at_most(230.0)),
    row("fill.cpu", "the same: server CPU per create", "µs", NONE),
    row("session.bytes", "10,000 idle sessions: resident each", "B", at_most(2048.0)),
    row("session.cpu", "opening 10,000 sessions: server CPU each", "µs", less(3.0)),
    row("watch.bytes", "10,000 watches by 10,000 sessions: resident each", "B", at_most(100.0)),
    row("notify.ms", "one set notifying 10,000 watchers: last notification", "ms", less(3.0)),
    row("idle.mb", "idle server: resident", "MB", at_most(10.0)),
    row("start.ms", "start to first session, empty", "ms", at_most(20.0)),
    row("startfull.ms", "start to first session, 1,000,000 nodes", "ms", at_most(500.0)),
    row(
        "startensemble.ms",
        "3 empty servers started at once, until one serves",
        "ms",
        at_most(300.0),
    ),
    row("kill.ms", "kill -9 of the leader: without an acknowledged write", "ms", at_most(150.0)),
    row("term.ms", "leader stopped by SIGTERM: the same", "ms", at_most(150.0)),
    row("stop.ms", "leader hung (SIGSTOP), default settings: the same", "ms", at_most(3000.0)),
    row("sync.us", "limit of the machine: append of 256 B and fdatasync, p50", "µs", NONE),
];
