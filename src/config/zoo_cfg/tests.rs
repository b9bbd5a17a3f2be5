use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use super::*;
use crate::config::{Compression, Endpoint, Role, Whitelist};
use crate::types::ServerId;

/// Files of a test, by path.
#[derive(Default)]
pub(super) struct Map(BTreeMap<PathBuf, Vec<u8>>);

impl Map {
    pub(super) fn of(files: &[(&str, &str)]) -> Map {
        Map(files.iter().map(|(p, t)| (PathBuf::from(p), t.as_bytes().to_vec())).collect())
    }
}

impl Files for Map {
    /// `a`, `b` and so on are machines; `localhost` and its brothers are as everywhere.
    fn look_up(&self, name: &str) -> io::Result<IpAddr> {
        match name.as_bytes() {
            b"localhost" | b"127.1" => Ok(IpAddr::from([127, 0, 0, 1])),
            [letter] => Ok(IpAddr::from([10, 0, 0, *letter])),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        path.to_path_buf()
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

pub(super) fn load_with(
    text: &str,
    more: &[(&str, &str)],
    defines: &[(&str, &str)],
    sets: &[(&str, &str)],
) -> Result<Loaded, ConfigErrors> {
    let mut files = vec![("zoo.cfg", text)];
    files.extend_from_slice(more);
    let overrides = Overrides { defines: pairs(defines), sets: pairs(sets) };
    load_file(Path::new("zoo.cfg"), &overrides, &Map::of(&files))
}

pub(super) fn load(text: &str) -> Loaded {
    load_with(text, &[], &[], &[]).unwrap_or_else(|e| panic!("{e}"))
}

pub(super) fn fails(text: &str) -> String {
    load_with(text, &[], &[], &[]).expect_err("refused").to_string()
}

pub(super) const SMALL: &str = "dataDir=/d\nclientPort=2181\n";

#[test]
fn the_sample_file_of_apache() {
    let text = "# The number of milliseconds of each tick\ntickTime=2000\ninitLimit=10\n\
                syncLimit=5\ndataDir=/tmp/zookeeper\nclientPort=2181\n#maxClientCnxns=60\n";
    let loaded = load(text);
    assert_eq!(loaded.warnings, []);
    let c = loaded.config;
    assert_eq!(c.timing.tick_time_ms, 2000);
    assert_eq!((c.timing.min_session_timeout_ms, c.timing.max_session_timeout_ms), (4000, 40000));
    assert_eq!(c.listen.client, Some(Endpoint { host: None, port: 2181 }));
    assert_eq!(c.listen.max_client_cnxns, 60);
    assert_eq!(c.data_log_dir, PathBuf::from("/tmp/zookeeper"));
    assert!(!c.is_distributed());
}

#[test]
fn defaults_are_apaches() {
    let c = load(SMALL).config;
    assert_eq!(c.timing.tick_time_ms, 3000);
    assert_eq!(c.jute_max_buffer(), 1_048_575);
    assert_eq!(c.limits.jute_extra_size_bytes, 1_048_575);
    assert_eq!(c.limits.global_outstanding, 1000);
    assert_eq!(c.limits.large_request_threshold_bytes, None);
    assert_eq!(c.storage.snap_count, 100_000);
    assert_eq!(c.storage.preallocate_bytes, 64 << 20);
    assert_eq!(c.storage.snap_size_limit_bytes, Some(4 << 30));
    assert_eq!(c.storage.log_size_limit_bytes, None);
    assert_eq!(c.storage.snapshot_compression, Compression::None);
    assert_eq!(c.storage.purge_interval_ms, None);
    assert!(c.storage.force_sync && c.tree.digest && c.quorum.leader_serves);
    assert!(!c.access.skip_acl && !c.access.enforce_quota);
    assert_eq!(c.four_letter.whitelist, Whitelist::Only(vec!["srvr".to_owned()]));
    assert_eq!(c.compat_version.to_string(), "3.9.5");
    assert_eq!(c.listen.backlog, None);
}

#[test]
fn no_configuration_at_all() {
    let loaded = load_defaults(&Overrides::default(), &Map::default()).expect("loads");
    let c = loaded.config;
    assert_eq!(loaded.warnings, []);
    assert_eq!(c.listen.client, Some(Endpoint { host: None, port: 2181 }));
    assert_eq!((c.timing.tick_time_ms, c.listen.max_client_cnxns), (2000, 60));
    assert_eq!(c.data_dir, PathBuf::from("./rookeeper-data"));
}

#[test]
fn positional_arguments() {
    let run = |args: &[&str]| {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        load_positional(&args, &Overrides::default(), &Map::default())
    };
    let c = run(&["0", "/d"]).expect("loads").config;
    assert_eq!(c.listen.client, Some(Endpoint { host: None, port: 0 }));
    assert_eq!((c.timing.tick_time_ms, c.listen.max_client_cnxns), (3000, 0));
    let c = run(&["2181", "/d", "500", "7"]).expect("loads").config;
    assert_eq!((c.timing.tick_time_ms, c.listen.max_client_cnxns), (500, 7));
    for args in [&["2181"][..], &["1", "2", "3", "4", "5"], &["x", "/d"], &["2181", "/d", "fast"]] {
        assert!(run(args).is_err(), "{args:?}");
    }
}

#[test]
fn errors_name_file_line_key_and_what_is_right() {
    for (text, expect) in [
        (
            "dataDir=/d\ntickTime=2s\n",
            "error: tickTime=2s can't be used\n  at zoo.cfg:2: it is not a whole number\n  \
             hint: tickTime is a whole number from 1: length of a tick, in ms",
        ),
        (
            "dataDir=/d\ntickTime=0\n",
            "error: tickTime=0 can't be used\n  at zoo.cfg:2: it is smaller than 1\n  \
             hint: tickTime is a whole number from 1: length of a tick, in ms",
        ),
        (
            "dataDir=/d\n\n\nsyncEnabled=yes",
            "error: syncEnabled=yes can't be used\n  at zoo.cfg:4: a boolean is true or false\n  \
             hint: syncEnabled is true or false: observers keep log and snapshots",
        ),
        (
            "clientPort=2181",
            "error: dataDir is not set\n  because every server keeps its data somewhere\n  \
             hint: add a line such as dataDir=/var/lib/zookeeper",
        ),
        (
            "dataDir=/d\nclientPort=99999",
            "error: clientPort=99999 can't be used\n  at zoo.cfg:2: it is larger than 65535\n  \
             hint: clientPort is a port number from 0 to 65535: port for clients; 0 lets the system choose",
        ),
        (
            "dataDir=/d\nclientPortAddress=h",
            "error: clientPortAddress is set but clientPort is not set\n  at zoo.cfg:2: an address \
             without a port can't be listened on\n  hint: add clientPort=2181 or remove clientPortAddress",
        ),
        (
            "dataDir=/d\nclientPort=1\nminSessionTimeout=99999",
            "error: minSessionTimeout must not be larger than maxSessionTimeout\n  at zoo.cfg:3: \
             they come to 99999 ms and 60000 ms\n  hint: when not set, they are 2 and 20 times tickTime",
        ),
        (
            "dataDir=/d\npath=\\u12",
            "error: the file can't be parsed\n  at zoo.cfg:2: \\u must be followed by four hexadecimal \
             digits\n  hint: a lone backslash is written \\\\",
        ),
    ] {
        assert_eq!(fails(text), expect, "{text}");
    }
}

#[test]
fn every_error_is_told_at_once() {
    let text = fails("dataDir=/d\ntickTime=x\ninitLimit=y\n");
    assert!(text.contains("zoo.cfg:2") && text.contains("zoo.cfg:3"), "{text}");
}

#[test]
fn unknown_keys_warn_and_name_the_nearest() {
    let loaded =
        load("dataDir=/d\nclientPort=2181\nticktime=5\nzookeeper.snapCount=5\nfoo.bar=1\n");
    let got: Vec<String> = loaded.warnings.iter().map(Diagnostic::one_line).collect();
    let tail = "it has no effect, neither here nor in Apache ZooKeeper; hint: ";
    assert_eq!(
        got,
        [
            format!("zoo.cfg:3: unknown key ticktime; {tail}did you mean tickTime?"),
            format!(
                "zoo.cfg:4: unknown key zookeeper.snapCount; {tail}in the file the prefix is left out: snapCount"
            ),
            format!(
                "zoo.cfg:5: unknown key foo.bar; {tail}rookeeper config defaults lists all keys"
            ),
        ]
    );
    assert_eq!(loaded.config.properties["zookeeper.foo.bar"], "1");
}

#[test]
fn keys_without_effect_are_told_once_with_the_reason() {
    let loaded = load(&format!("{SMALL}nio.numSelectorThreads=4\njmx.log4j.disable=true\n"));
    let got: Vec<(Severity, &str)> =
        loaded.warnings.iter().map(|w| (w.severity, w.what.as_str())).collect();
    assert_eq!(
        got,
        [
            (Severity::Note, "nio.numSelectorThreads has no effect"),
            (Severity::Note, "jmx.log4j.disable has no effect"),
        ]
    );
}

#[test]
fn what_is_not_built_yet_is_told_only_when_it_is_wanted() {
    let text = "admin.enableServer=false\nsslQuorum=false\nfips-mode=true\nadmin.serverPort=8080\n";
    assert_eq!(load(&format!("{SMALL}{text}")).warnings, []);
    let loaded = load(&format!("{SMALL}secureClientPort=2281\n"));
    assert_eq!(loaded.warnings[0].what, "secureClientPort has no effect yet");
    assert_eq!(loaded.warnings[0].severity, Severity::Warning);
}

#[test]
fn a_file_line_overwrites_a_property_and_set_overwrites_both() {
    let text = format!("{SMALL}snapCount=10\n");
    let define = [("zookeeper.snapCount", "20"), ("zookeeper.preAllocSize", "1")];
    let c = load_with(&text, &[], &define, &[]).expect("loads").config;
    assert_eq!((c.storage.snap_count, c.storage.preallocate_bytes), (10, 1024));
    assert_eq!(c.properties["zookeeper.snapCount"], "10");
    let c = load_with(&text, &[], &define, &[("snapCount", "30")]).expect("loads").config;
    assert_eq!(c.storage.snap_count, 30);
}

#[test]
fn properties_that_java_cannot_set_in_the_file() {
    let text = format!("{SMALL}jute.maxbuffer=100000\nreadonlymode.enabled=true\n");
    let c = load(&text).config;
    assert_eq!(c.jute_max_buffer(), 100_000);
    assert!(c.sessions.read_only_mode);
    assert!(c.four_letter.whitelist.allows("isro"));
    let c = load_with(&text, &[], &[("jute.maxbuffer", "0x400")], &[]).expect("loads").config;
    assert_eq!(c.jute_max_buffer(), 1024);
}

#[test]
fn java_properties_of_no_interest_are_silent() {
    let defines = [
        ("file.encoding", "UTF-8"),
        ("java.awt.headless", "true"),
        ("log4j.configuration", "file:x"),
        ("com.sun.management.jmxremote", ""),
    ];
    let loaded = load_with(SMALL, &[], &defines, &[]).expect("loads");
    assert_eq!(loaded.warnings, []);
    let loaded = load_with(SMALL, &[], &[("zookeeper.snapcount", "5")], &[]).expect("loads");
    assert_eq!(loaded.warnings[0].hint, "did you mean snapCount?");
    let loaded = load_with(SMALL, &[], &[("snapCount", "5")], &[]).expect("loads");
    assert_eq!(loaded.warnings[0].what, "-D snapCount is taken as snapCount");
    assert_eq!(loaded.config.storage.snap_count, 5);
}

pub(super) const THREE: &str = "dataDir=/d\nclientPort=2181\ninitLimit=10\nsyncLimit=5\n\
    server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888:observer\n";

#[test]
fn an_ensemble() {
    let loaded = load_with(THREE, &[("/d/myid", "2\n")], &[], &[]).expect("loads");
    let c = loaded.config;
    assert!(c.is_distributed());
    assert_eq!((c.quorum.my_id, c.quorum.role), (Some(2), Role::Participant));
    assert_eq!(c.quorum.connect_limit_ticks, 10);
    assert_eq!(c.quorum.election_hello_timeout_ms, 15_000);
    let config = c.quorum.config.expect("members");
    assert_eq!(
        config.to_string(),
        "server.1=a:2888:3888:participant\nserver.2=b:2888:3888:participant\n\
         server.3=c:2888:3888:observer\nversion=0"
    );
    assert!(config.members[&ServerId(2)].client_from_static);
    assert_eq!(loaded.warnings.len(), 1, "two voters tolerate nothing");
}

#[test]
fn the_server_line_wins_over_peer_type_and_client_port() {
    let text = THREE.replace("clientPort=2181\n", "").replace("observer", "observer;1.2.3.4:99");
    let loaded = load_with(&text, &[("/d/myid", "3")], &[], &[]).expect("loads");
    assert_eq!(loaded.config.quorum.role, Role::Observer);
    let client = loaded.config.listen.client.expect("a client port");
    assert_eq!(client.to_string(), "1.2.3.4:99");
    assert!(loaded.warnings.iter().any(|w| w.why == "peerType is participant"));
    let clash = THREE.replace("observer", "observer;99");
    let e = load_with(&clash, &[("/d/myid", "3")], &[], &[]).expect_err("two ports");
    assert!(e.to_string().contains("name different client addresses"), "{e}");
}

#[test]
fn ensembles_that_cannot_be() {
    for (text, myid, expect) in [
        (THREE.to_owned(), None, "myid file is missing"),
        (THREE.to_owned(), Some("x"), "server id \"x\" is not a number"),
        (THREE.to_owned(), Some("7"), "my id 7 is not in the peer list"),
        (THREE.replace("initLimit=10\n", ""), Some("1"), "initLimit is not set"),
        (THREE.replace("syncLimit=5\n", ""), Some("1"), "syncLimit is not set"),
        (THREE.replace(":3888", ""), Some("1"), "the election port is missing"),
        (
            THREE.replace("2888:3888\n", "2888:3888:observer\n"),
            Some("1"),
            "observers without participants",
        ),
        (format!("{THREE}group.1=1\n"), Some("1"), "server 2 is not in a group"),
        (format!("{THREE}electionAlg=1\n"), Some("1"), "electionAlg=1 can't be used"),
        (format!("{THREE}peerType=leader\n"), Some("1"), "peerType=leader can't be used"),
        (format!("{THREE}sslQuorum=true\n"), Some("1"), "sslQuorum=true is not supported"),
        (
            format!("{THREE}dynamicConfigFile=/c/zoo.dynamic\n"),
            Some("1"),
            "must be in the dynamic configuration file",
        ),
    ] {
        let files: Vec<(&str, &str)> = myid.map(|id| ("/d/myid", id)).into_iter().collect();
        let e = load_with(&text, &files, &[], &[]).expect_err(expect).to_string();
        assert!(e.contains(expect), "{e}");
    }
}

#[test]
fn one_server_line_is_standalone() {
    let text = "dataDir=/d\nclientPort=2181\nserver.1=a:1:2\n";
    let loaded = load_with(text, &[("/d/myid", "1")], &[], &[]).expect("loads");
    assert!(!loaded.config.is_distributed());
    assert_eq!(loaded.warnings.len(), 1);
    let alone = format!("{text}standaloneEnabled=false\ninitLimit=1\nsyncLimit=1\n");
    let loaded = load_with(&alone, &[("/d/myid", "1")], &[], &[]).expect("loads");
    assert!(loaded.config.is_distributed());
}

#[test]
fn the_dynamic_file() {
    let text =
        "dataDir=/d\ninitLimit=1\nsyncLimit=1\ndynamicConfigFile=/c/zoo.cfg.dynamic.10000001f\n";
    let members = "server.1=a:1:2:participant;0.0.0.0:2181\nserver.2=b:1:2:participant\n";
    let files = [("/d/myid", "1"), ("/c/zoo.cfg.dynamic.10000001f", members)];
    let c = load_with(text, &files, &[], &[]).expect("loads").config;
    assert_eq!(c.quorum.config.as_ref().expect("members").version, 0x1_0000_001f);
    assert_eq!(c.listen.client, Some(Endpoint { host: None, port: 2181 }));

    let next = ("zoo.cfg.dynamic.next", "server.1=a:1:2:participant\nversion=200000000");
    let files = [files[0], files[1], next];
    let c = load_with(text, &files, &[], &[]).expect("loads").config;
    assert_eq!(c.quorum.next_config.expect("next").version, 0x2_0000_0000);

    for (content, expect) in [
        ("tickTime=5\n", "tickTime must not be in"),
        ("server.1=a:1:2\nversion=5\n", "the version is in the file's name"),
        ("server.1=a:1\n", "/c/zoo.cfg.dynamic.10000001f:1: the election port is missing"),
    ] {
        let files = [("/d/myid", "1"), ("/c/zoo.cfg.dynamic.10000001f", content)];
        let e = load_with(text, &files, &[], &[]).expect_err(expect).to_string();
        assert!(e.contains(expect), "{e}");
    }
    let e = load_with(text, &[("/d/myid", "1")], &[], &[]).expect_err("missing").to_string();
    assert!(e.contains("can't be read"), "{e}");
}

#[test]
fn values_that_apache_raises() {
    let loaded =
        load(&format!("{SMALL}autopurge.snapRetainCount=1\ncommitLogCount=3\nsnapCount=1\n"));
    let c = &loaded.config.storage;
    assert_eq!((c.purge_retain_count, c.commit_log_count, c.snap_count), (3, 500, 2));
    assert_eq!(loaded.warnings.len(), 3);
}

#[test]
fn providers() {
    let text = format!(
        "{SMALL}authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n\
         authProvider.2=com.example.Mine\n4lw.commands.whitelist= stat , ruok,mntr\n"
    );
    let loaded = load(&text);
    assert_eq!(loaded.config.access.providers, [crate::config::AuthProvider::Sasl]);
    let told: Vec<&str> = loaded.warnings.iter().map(|w| w.what.as_str()).collect();
    assert_eq!(
        told,
        ["authProvider.2=com.example.Mine has no effect", "nobody can log in with the scheme sasl"]
    );
    let whitelist = loaded.config.four_letter.whitelist;
    assert!(["stat", "ruok", "mntr", "srvr"].iter().all(|w| whitelist.allows(w)));
    assert!(!whitelist.allows("dump"));
    let text = format!("{SMALL}metricsProvider.className=com.example.Mine\n");
    assert!(fails(&text).contains("does not exist"));
    let text = format!(
        "{SMALL}metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n\
         metricsProvider.httpPort=7001\n"
    );
    let endpoint = load(&text).config.metrics.prometheus.and_then(|p| p.http);
    assert_eq!(endpoint, Some(Endpoint { host: None, port: 7001 }));
    assert!(fails(&format!("{SMALL}enforce.auth.enabled=true\n")).contains("enforce.auth.schemes"));
}

#[test]
fn versions() {
    for (text, banner) in [
        (
            "3.9.5",
            Some("3.9.5-726f6f6b65657065720000000000000000000000, built on 2026-01-01 00:00 UTC"),
        ),
        (
            "3.6.4",
            Some("3.6.4-726f6f6b65657065720000000000000000000000, built on 01/01/2026 00:00 UTC"),
        ),
        (
            "3.9.5-SNAPSHOT",
            Some(
                "3.9.5-SNAPSHOT-726f6f6b65657065720000000000000000000000, built on 2026-01-01 00:00 UTC",
            ),
        ),
        ("3.9", None),
        ("3.9.x", None),
        ("4.0.0", None),
        ("3.9.5-", None),
    ] {
        let loaded = load_with(SMALL, &[], &[], &[("compat.version", text)]);
        let got = loaded.ok().map(|l| l.config.compat_version.banner());
        assert_eq!(got.as_deref(), banner, "{text}");
    }
}

#[test]
fn a_missing_file() {
    let e = load_file(Path::new("nowhere.cfg"), &Overrides::default(), &Map::default())
        .expect_err("missing")
        .to_string();
    assert!(
        e.starts_with("error: the configuration file can't be read\n  at nowhere.cfg: "),
        "{e}"
    );
}

#[test]
fn every_key_of_the_table_can_be_set_to_its_default() {
    for row in table::KEYS.iter().filter(|r| !r.is_family() && !r.default.is_empty()) {
        if matches!(row.name, "clientPort" | "dataDir") {
            continue;
        }
        let text = format!("{SMALL}{}={}\n", row.name, row.default);
        assert!(load_with(&text, &[], &[], &[]).is_ok(), "{text}");
    }
}

const RECORDED: &str =
    include_str!("../../../fixtures/config/accepted-and-refused.apache-3.9.5.txt");

/// Files that we refuse and Apache doesn't, by a part of their text, with the reason.
const STRICTER: &[(&str, &str)] = &[
    ("initLimit=-5", "a negative limit would give up at once"),
    ("dataDir=@/d\n----- ok", "nobody could connect to a server without clientPort"),
];
/// Files that we take and Apache doesn't, by a part of their text, with the reason.
const MORE_LENIENT: &[(&str, &str)] = &[
    ("autopurge.purgeInterval=12h", "units, as in Apache's development branch"),
    ("multiAddress.enabled=true", "there the switch works as a system property only"),
];

#[test]
fn files_are_accepted_and_refused_as_by_apache() {
    let mut files = Map::of(&[
        ("@/m1/myid", "1\n"),
        ("@/bad/myid", "x\n"),
        ("@/two.dynamic", "server.1=a:2888:3888\nserver.2=b:2888:3888\n"),
        ("@/extra.dynamic", "server.1=a:2888:3888\nserver.2=b:2888:3888\ntickTime=3\n"),
        ("@/version.dynamic", "server.1=a:2888:3888\nserver.2=b:2888:3888\nversion=3\n"),
    ]);
    let (mut ok, mut refused) = (0, 0);
    for case in RECORDED.split("=====\n").skip(1).filter(|c| !c.is_empty()) {
        let (text, outcome) = case.split_once("----- ").expect("an outcome");
        files.0.insert(PathBuf::from("zoo.cfg"), text.as_bytes().to_vec());
        let ours = load_file(Path::new("zoo.cfg"), &Overrides::default(), &files);
        let listed = |list: &[(&str, &str)]| list.iter().any(|(part, _)| case.contains(part));
        match (outcome.starts_with("ok"), ours) {
            (true, Ok(loaded)) => {
                ok += 1;
                let c = &loaded.config;
                let expect = format!("tick={} ", c.timing.tick_time_ms);
                assert!(outcome.contains(&expect), "{text}: {outcome}");
                let port = c.listen.client.as_ref().map(|e| format!(":{} ", e.port));
                let port = port.unwrap_or_else(|| "client=null".to_owned());
                assert!(outcome.contains(&port), "{text}: {outcome}");
                let times = format!(
                    "min={} max={} ",
                    c.timing.min_session_timeout_ms, c.timing.max_session_timeout_ms
                );
                assert!(outcome.contains(&times), "{text}: {outcome}");
                let distributed = format!("distributed={}", c.is_distributed());
                assert!(outcome.contains(&distributed), "{text}: {outcome}");
            }
            (false, Err(_)) => refused += 1,
            (true, Err(e)) => assert!(listed(STRICTER), "{text}{e}"),
            (false, Ok(_)) => assert!(listed(MORE_LENIENT), "{text}{outcome}"),
        }
    }
    assert!(ok > 15 && refused > 30, "{ok} {refused}");
}

/// S21: whatever byte of a file is wrong, it is an error or a configuration, never a panic.
#[test]
fn damaged_files() {
    let text = "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/d\nclientPort=2181\n\
                autopurge.purgeInterval=12h\nserver.1=[::1]:2888:3888:participant;2181\n\
                server.2=b:1:2|c:3:4:observer\ngroup.1=1:2\nweight.1=1\nquorum\\u0041=\\\n x\n";
    let read = |bytes: &[u8]| {
        let files = [("zoo.cfg".into(), bytes.to_vec()), ("/d/myid".into(), b"1\n".to_vec())];
        let _ = load_file(Path::new("zoo.cfg"), &Overrides::default(), &Map(files.into()));
    };
    crate::testing::recorded::every_damage(b"#c\na\\u0041 : \\\n \\t1\n", &mut |bytes, _| {
        let _ = crate::config::properties::parse(bytes);
    });
    // A whole configuration takes milliseconds, so not every byte is changed in every way.
    for (n, at) in (0..text.len()).step_by(3).enumerate() {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = [0, b'\n', 0xff, b'=', b'\\', b';', b'[', b'9'][n % 8];
        read(&bytes);
        if n % 4 == 0 {
            read(&text.as_bytes()[..at]);
        }
    }
    let dynamic = "server.2=b:1:2:participant;0.0.0.0:5\nserver.10=a:1:2:observer\nversion=5f";
    crate::testing::recorded::every_damage(dynamic.as_bytes(), &mut |bytes, _| {
        let _ = crate::config::QuorumConfig::parse(&String::from_utf8_lossy(bytes), true);
    });
}
