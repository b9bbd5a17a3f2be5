//! The load driver and the scenarios against the echo server, and the parsing of mixes.

use std::net::TcpListener;
use std::time::Duration;

use super::*;

#[test]
fn mixes() {
    let check = |text: &str, expect: &str| {
        let got = text.parse::<Mix>().map_or_else(|e| e.to_string(), |mix| mix.to_string());
        assert_eq!(got, expect, "{text}");
    };
    check("get", "get=1");
    check("get=90, set=10", "get=90,set=10");
    check("multi:8=3,sync", "multi:8=3,sync=1");
    check("got", "\"got\" is not an operation with a weight, such as get=90 or multi:4=10");
    check("get:4", "\"get:4\" is not an operation with a weight, such as get=90 or multi:4=10");
    check("get=0", "\"get=0\" is not an operation with a weight, such as get=90 or multi:4=10");
}

#[test]
fn nodes_have_paths_of_one_length() {
    let nodes = Nodes { root: "/r".into(), count: 2500, per_parent: 1000, size: 3, crowded: false };
    assert_eq!(nodes.parents(), 3);
    assert_eq!(nodes.node(0), "/r/d0000000/n0000000000");
    assert_eq!(nodes.node(2499), "/r/d0000002/n0000002499");
}

#[test]
fn random_numbers_stay_below_their_bound() {
    let mut random = mix::Random::new(7);
    let mut seen = [0; 5];
    for _ in 0..5000 {
        seen[random.below(5) as usize] += 1;
    }
    assert!(seen.iter().all(|&n| n > 800), "{seen:?}");
}

/// An echo server on a port of its own; its thread ends with the process.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || limits::echo_server(&listener, 100));
    address
}

fn options(address: SocketAddr) -> load::Options {
    load::Options {
        servers: vec![address],
        connections: 3,
        depth: 5,
        mix: "get=5,set=2,exists,multi:4=1".parse().unwrap(),
        nodes: Nodes { root: "/r".into(), count: 100, per_parent: 10, size: 100, crowded: false },
        duration: Duration::from_secs(60),
        ops: Some(2000),
        warmup: Duration::ZERO,
        rate: None,
        threads: 2,
        server_pids: Vec::new(),
        session_timeout_ms: 30_000,
        prepare: true,
        clean: false,
        seed: 1,
    }
}

#[test]
fn a_closed_loop_counts_and_checks_every_reply() {
    let report = load::run(&options(echo())).unwrap();
    assert!(report.ops >= 2000, "{}", report.ops);
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(report.latency.len(), 4);
    assert!(report.total_latency().len() >= 2000);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let mut options = options(echo());
    options.rate = Some(20_000.0);
    let report = load::run(&options).unwrap();
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert!(report.lag.len() >= 1000);
}

#[test]
fn a_reply_of_the_wrong_size_is_an_error() {
    let mut options = options(echo());
    options.nodes.size = 99;
    options.mix = "get".parse().unwrap();
    let report = load::run(&options).unwrap();
    assert!(report.errors["unexpected reply body"] >= 2000);
}

#[test]
fn sessions_open_in_parallel() {
    let opened = scenarios::sessions(&[echo()], 300, 30_000, &[std::process::id()]).unwrap();
    assert_eq!(opened.pipes.len(), 300);
    assert!(opened.server_cpu.is_some());
}

#[test]
fn the_sync_loop_removes_its_file() {
    let dir = std::env::temp_dir().join(format!("rookeeper-sync-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let report = limits::sync_loop(&dir, 64, Duration::from_millis(1)).unwrap();
    assert!(report.syncs > 0);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    std::fs::remove_dir(&dir).unwrap();
}
