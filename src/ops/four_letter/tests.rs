use super::*;
use crate::ops::metrics::{Advanced, Basic, BasicSet, Counter};
use crate::ops::stats::*;

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../../fixtures/ops/apache-3.9.5/", $name, ".txt"))
    };
}

const BANNER: &str =
    "3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC";
const A: i64 = 0x100_0021_6fd4_0000;
const B: i64 = 0x100_0021_6fd4_0001;

fn say(word: Word, stats: &Stats) -> String {
    answer(word, &[], stats, &Metrics::default())
}

fn latency(min: u64, max: u64, total: u64, count: u64) -> Latency {
    Latency { min_ms: min, max_ms: max, total_ms: total, count }
}

/// The standalone server of the recordings.
fn standalone() -> Stats {
    Stats {
        serving: true,
        banner: BANNER.to_owned(),
        latency: latency(0, 6, 152, 165),
        packets_received: 168,
        packets_sent: 167,
        connections_alive: 3,
        last_zxid: 0x9d,
        node_count: 10,
        data_dir_size: 67_109_358,
        log_dir_size: 67_109_358,
        trace_mask: 306,
        digests: vec![(0x80, 19_220_991_995)],
        conf: Conf {
            client_port: 21810,
            secure_client_port: -1,
            data_dir: "/data/version-2".to_owned(),
            data_log_dir: "/data/version-2".to_owned(),
            tick_time: 2000,
            max_client_cnxns: 60,
            min_session_timeout: 4000,
            max_session_timeout: 40_000,
            backlog: -1,
            server_id: 0,
            quorum: None,
        },
        ..Stats::default()
    }
}

#[test]
fn the_server() {
    assert_eq!(say(Word::Srvr, &standalone()), recorded!("standalone-srvr"));
    for (word, text) in [
        (Word::Ruok, recorded!("standalone-ruok")),
        (Word::Isro, recorded!("standalone-isro")),
        (Word::Crst, recorded!("standalone-crst")),
        (Word::Srst, recorded!("standalone-srst")),
        (Word::Dirs, recorded!("standalone-dirs")),
        (Word::Hash, recorded!("standalone-hash")),
        (Word::Gtmk, recorded!("standalone-gtmk")),
        (Word::Conf, recorded!("standalone-conf")),
    ] {
        assert_eq!(say(word, &standalone()), text, "{word:?}");
    }
}

#[test]
fn members() {
    let leader = Stats {
        mode: Mode::Leader,
        latency: latency(0, 31, 506, 165),
        last_zxid: 0x1_0000_009d,
        leader: Some(LeaderStats {
            proposal_sizes: Sizes { last: 211, min: 48, max: 211 },
            ..LeaderStats::default()
        }),
        ..standalone()
    };
    assert_eq!(say(Word::Srvr, &leader), recorded!("leader-srvr"));
    let follower = Stats {
        mode: Mode::Follower,
        latency: latency(1, 9, 432, 161),
        packets_received: 164,
        packets_sent: 163,
        last_zxid: 0x1_0000_013a,
        ..standalone()
    };
    assert_eq!(say(Word::Srvr, &follower), recorded!("follower-srvr"));
    let observer = Stats {
        mode: Mode::Observer,
        latency: latency(0, 11, 426, 161),
        last_zxid: 0x1_0000_01d7,
        ..follower
    };
    assert_eq!(say(Word::Srvr, &observer), recorded!("observer-srvr"));
}

#[test]
fn settings_of_members() {
    let membership = "server.1=127.0.0.1:22881:23881:participant\n\
         server.2=127.0.0.1:22882:23882:participant\nserver.3=127.0.0.1:22883:23883:participant\n\
         server.4=127.0.0.1:22884:23884:observer\nversion=0";
    for (id, size, text) in [
        (3, 67_109_538, recorded!("leader-conf")),
        (2, 67_109_538, recorded!("follower-conf")),
        (4, 67_110_194, recorded!("observer-conf")),
    ] {
        let mut stats = standalone();
        stats.data_dir_size = size;
        stats.log_dir_size = size;
        stats.conf.client_port = 21820 + id;
        stats.conf.server_id = i64::from(id);
        stats.conf.quorum = Some(QuorumConf {
            init_limit: 10,
            sync_limit: 5,
            election_port: format!("2388{id}"),
            quorum_port: format!("2288{id}"),
            observer: id == 4,
            membership: Some(membership.to_owned()),
        });
        assert_eq!(say(Word::Conf, &stats), text);
    }
}

fn connections() -> Vec<Connection> {
    let connection = |port: u16, packets: u64, session: Option<ConnectionSession>| Connection {
        remote: format!("/127.0.0.1:{port}"),
        interest_ops: u32::from(session.is_some()),
        queued: 0,
        received: packets,
        sent: if session.is_some() { packets } else { 0 },
        session,
    };
    let b = ConnectionSession {
        id: B,
        last_operation: "GETC".to_owned(),
        established_ms: 1_795_234_076_546,
        timeout_ms: 20_000,
        last_cxid: 5,
        last_zxid: 7,
        last_response_ms: 2_229_079,
        last_latency_ms: 0,
        latency: latency(0, 1, 2, 6),
    };
    let a = ConnectionSession {
        id: A,
        last_operation: "SETD".to_owned(),
        established_ms: 1_795_234_076_530,
        timeout_ms: 10_000,
        last_cxid: 0x9e,
        last_zxid: 0x9d,
        last_response_ms: 2_229_372,
        last_latency_ms: 0,
        latency: latency(0, 6, 150, 159),
    };
    vec![connection(34620, 6, Some(b)), connection(34612, 159, Some(a)), connection(34654, 1, None)]
}

#[test]
fn connections_in_detail_and_in_brief() {
    let (mut stats, mut all) = (standalone(), connections());
    let lines = |all: &[Connection], line: fn(&Connection) -> String| -> String {
        all.iter().map(line).collect()
    };
    assert_eq!(lines(&all, cons_line) + "\n", recorded!("standalone-cons"));
    all[2].remote = "/127.0.0.1:34642".to_owned();
    (stats.packets_received, stats.packets_sent) = (169, 168);
    let text = stat_head(&stats) + &lines(&all, stat_line) + &stat_tail(&stats);
    assert_eq!(text, recorded!("standalone-stat"));
    let young = &mut all[0].session;
    young.as_mut().expect("a session").last_cxid = -1;
    assert!(!cons_line(&all[0]).contains("lcxid"));
}

fn buckets(list: &[(i64, &[&str])]) -> ExpirySets {
    let line = |members: &[&str]| members.iter().map(|m| (*m).to_owned()).collect();
    ExpirySets { buckets: list.iter().map(|(at, m)| (*at * 1000, line(m))).collect() }
}

fn ephemerals(a: i64, b: i64) -> Vec<(i64, Vec<String>)> {
    vec![(b, vec!["/app/e2".to_owned(), "/app/e3".to_owned()]), (a, vec!["/app/e1".to_owned()])]
}

/// A whole `dump`.
fn dump(stats: &Stats, ephemerals: &[(i64, Vec<String>)]) -> String {
    let mut out = dump_head(&Stats { ephemeral_owners: ephemerals.len(), ..stats.clone() });
    for (session, paths) in ephemerals {
        session_line(&mut out, *session, ":");
        paths.iter().for_each(|path| path_line(&mut out, path));
    }
    out + &dump_tail(stats)
}

#[test]
fn sessions_of_the_one_who_expires_them() {
    let (soon, later) = (1_795_234_087, 1_795_234_097);
    let stats = Stats {
        sessions: Sessions::Tracked {
            global: buckets(&[(soon, &["0x10000216fd40000"]), (later, &["0x10000216fd40001"])]),
            local: None,
        },
        connection_expiry: buckets(&[
            (soon, &["ip: /127.0.0.1:34612 sessionId: 0x10000216fd40000"]),
            (
                later,
                &[
                    "ip: /127.0.0.1:34620 sessionId: 0x10000216fd40001",
                    "ip: /127.0.0.1:34680 sessionId: 0x0",
                ],
            ),
        ]),
        ..standalone()
    };
    assert_eq!(dump(&stats, &ephemerals(A, B)), recorded!("standalone-dump"));
}

#[test]
fn sessions_of_learners() {
    for (server, ports, text) in [
        (2, (56506, 56568, 56510), recorded!("follower-dump")),
        (4, (53796, 53868, 53798), recorded!("observer-dump")),
    ] {
        let base = match server {
            2 => 0x200_0021_7362_0000,
            _ => 0x400_0021_73f4_0000,
        };
        let stats = Stats {
            sessions: Sessions::Learned {
                global: vec![(base, 10_000), (base + 1, 20_000)],
                local: None,
            },
            connection_expiry: buckets(&[
                (
                    1_795_234_097,
                    &[
                        &format!("ip: /127.0.0.1:{} sessionId: 0x{base:x}", ports.0),
                        &format!("ip: /127.0.0.1:{} sessionId: 0x0", ports.1),
                    ],
                ),
                (
                    1_795_234_107,
                    &[&format!("ip: /127.0.0.1:{} sessionId: 0x{:x}", ports.2, base + 1)],
                ),
            ]),
            ..standalone()
        };
        assert_eq!(dump(&stats, &ephemerals(base, base + 1)), text);
    }
}

#[test]
fn local_sessions_come_first() {
    let stats = Stats {
        sessions: Sessions::Tracked {
            global: ExpirySets::default(),
            local: Some(buckets(&[(0, &["0x1"])])),
        },
        ..standalone()
    };
    let text = dump(&stats, &[]);
    let expect = "SessionTracker dump:\nLocal Session Sets (1)/(1):\n1 expire at Thu Jan 01 \
                  00:00:00 UTC 1970:\n\t0x1\nGlobal Session Sets (0)/(0):\nephemeral";
    assert!(text.starts_with(expect), "{text}");
}

#[test]
fn watches() {
    let paths = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
    let b_first = vec![(B, paths(&["/app", "/nope"])), (A, paths(&["/app"]))];
    let watch_totals = WatchTotals { connections: 2, paths: 2, watches: 3 };
    let stats = Stats { watch_totals, ..standalone() };
    assert_eq!(say(Word::Wchs, &stats), recorded!("standalone-wchs"));
    let mut text = String::new();
    for (session, paths) in &b_first {
        session_line(&mut text, *session, "");
        paths.iter().for_each(|path| path_line(&mut text, path));
    }
    assert_eq!(text + "\n", recorded!("standalone-wchc"));
    let mut text = String::new();
    watched_path(&mut text, "/app", [A, B].into_iter());
    watched_path(&mut text, "/nope", [B].into_iter());
    assert_eq!(text + "\n", recorded!("standalone-wchp"));
    assert_eq!(say(Word::Wchs, &standalone()), "0 connections watching 0 paths\nTotal watches:0\n");
}

#[test]
fn read_only() {
    let stats = Stats { mode: Mode::ReadOnly, ..standalone() };
    let text = say(Word::Srvr, &stats);
    let second = "READ-ONLY mode; serving only read-only clients";
    assert_eq!(text.lines().nth(1), Some(second));
    assert!(text.contains("\nMode: read-only\n"));
    assert_eq!(stat_head(&stats).lines().nth(1), Some(second));
    assert_eq!(say(Word::Isro, &stats), "ro");
}

#[test]
fn without_a_quorum() {
    let stats = Stats { serving: false, ..standalone() };
    for (word, _) in WORDS {
        let text = answer(*word, &[0; 8], &stats, &Metrics::default());
        match word {
            Word::Ruok => assert_eq!(text, "imok"),
            Word::Isro => assert_eq!(text, "null"),
            Word::Gtmk => assert_eq!(text, "306"),
            Word::Stmk => assert_eq!(text, "0"),
            Word::Envi => assert!(text.starts_with("Environment:\n")),
            Word::Hash => assert_eq!(text, NOT_SERVING),
            _ => assert_eq!(text, format!("{NOT_SERVING}\n"), "{word:?}"),
        }
    }
}

#[test]
fn whitelists() {
    let only = Whitelist::Only(vec!["srvr".to_owned()]);
    assert!(Word::Srvr.is_allowed(&only));
    assert!(!Word::Stat.is_allowed(&only));
    assert!(!Word::Telnet.is_allowed(&Whitelist::All));
    assert_eq!(
        not_whitelisted(Word::Stat),
        "stat is not executed because it is not in the whitelist.\n"
    );
    assert_eq!(not_whitelisted(Word::Telnet), "");
}

#[test]
fn four_bytes_are_a_word_or_a_length() {
    for (word, letters) in WORDS {
        assert_eq!(Word::parse(*letters), Some(*word));
    }
    for other in [*b"nope", *b"RUOK", [0, 0, 0, 45], [0xff; 4]] {
        assert_eq!(Word::parse(other), None);
    }
}

#[test]
fn the_trace_mask() {
    let mask = 0x132_i64.to_be_bytes();
    assert_eq!(Word::Stmk.argument_length(), 8);
    assert_eq!(answer(Word::Stmk, &mask, &standalone(), &Metrics::default()), "306");
    assert_eq!(Word::Stmk.effect(&mask), Effect::SetTraceMask(306));
    assert_eq!(Word::Stmk.effect(&mask[..7]), Effect::None);
}

/// As telegraf: `^zk_(\w+)\s+([\w.\-]+)` on every line.
fn telegraf_takes(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("zk_") else { return false };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let key = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let value = rest[key..].trim_start();
    key > 0
        && value.len() < rest.len() - key
        && value.starts_with(|c| is_word(c) || c == '.' || c == '-')
}

/// The registry after the recorded servers' scenes.
fn busy() -> Metrics {
    let metrics = Metrics::default();
    metrics.add(Counter::BytesReceivedCount, 16_270);
    metrics.record_for(BasicSet::ReadPerNamespace, "app", 74);
    metrics.record_for(BasicSet::WritePerNamespace, "app", 78);
    metrics.record(Basic::FsyncTime, 3);
    metrics.record_advanced(Advanced::ReadLatency, 2);
    metrics
}

fn keys(text: &str) -> Vec<String> {
    let mut keys: Vec<String> =
        text.lines().map(|l| l.split('\t').next().unwrap_or("").to_owned()).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn every_key_of_apache_and_no_other() {
    let check = |stats: &Stats, metrics: &Metrics, recorded: &str| {
        let text = answer(Word::Mntr, &[], stats, metrics);
        let expect: Vec<&str> = recorded.lines().collect();
        assert_eq!(keys(&text), expect);
        assert!(text.lines().all(telegraf_takes));
        assert!(text.starts_with(&format!("zk_version\t{BANNER}\nzk_server_state\t")));
    };
    let metrics = busy();
    check(&standalone(), &metrics, recorded!("standalone-mntr-keys"));

    metrics.record_for(BasicSet::WritePerNamespace, "zookeeper", 20);
    let member = Stats {
        mode: Mode::Follower,
        peer_state: Some("following - broadcast".to_owned()),
        quorum: Some(QuorumStats { quorum_size: 3 }),
        ..standalone()
    };
    check(&member, &metrics, recorded!("follower-mntr-keys"));
    let observer = Stats { observer_master_id: Some(3), mode: Mode::Observer, ..member.clone() };
    check(&observer, &metrics, recorded!("observer-mntr-keys"));

    for learner in ["1", "2", "4"] {
        metrics.record_for(BasicSet::LearnerHandlerQpSize, learner, 1);
        metrics.record_advanced_for(
            crate::ops::metrics::AdvancedSet::LearnerHandlerQpTimeMs,
            learner,
            1,
        );
    }
    let leader = Stats { leader: Some(LeaderStats::default()), mode: Mode::Leader, ..member };
    check(&leader, &metrics, recorded!("leader-mntr-keys"));
}

#[test]
fn classic_keys_come_in_the_first_2048_bytes() {
    let text = say(Word::Mntr, &standalone());
    let start = &text[..2048.min(text.len())];
    for key in [
        "avg_latency",
        "max_latency",
        "min_latency",
        "packets_received",
        "packets_sent",
        "num_alive_connections",
        "outstanding_requests",
        "znode_count",
        "watch_count",
        "ephemerals_count",
        "approximate_data_size",
        "open_file_descriptor_count",
    ] {
        assert!(start.contains(&format!("zk_{key}\t")), "{key}");
    }
}

#[test]
fn environment_keys_are_apaches() {
    let stats =
        Stats { environment: crate::ops::Environment::of_this_process(BANNER), ..standalone() };
    let keys_of = |text: &str| -> Vec<String> {
        text.lines().map(|l| l.split('=').next().unwrap_or("").to_owned()).collect()
    };
    assert_eq!(keys_of(&say(Word::Envi, &stats)), keys_of(recorded!("standalone-envi")));
}

#[test]
fn keys_from_paths_are_words() {
    let metrics = Metrics::default();
    metrics.record_for(BasicSet::ReadPerNamespace, "my-app x", 1);
    let text = answer(Word::Mntr, &[], &standalone(), &metrics);
    assert!(text.contains("zk_cnt_my_app_x_read_per_namespace\t1\n"));
    assert!(text.lines().all(telegraf_takes));
}
