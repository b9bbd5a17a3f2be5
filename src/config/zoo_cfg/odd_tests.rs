//! Odd configurations: the same end as with Apache, and a word about what looks like a mistake.

use std::path::Path;

use super::tests::{Map, SMALL, THREE, fails, load, load_with};
use super::*;
use crate::config::{DigestAlgorithm, Endpoint};
use crate::types::ServerId;

/// What Apache's starter does with odd configurations; `compat-tests/odd_starts.rs` records it.
const STARTS: &str = include_str!("../../../fixtures/config/odd-starts.apache-3.9.5.txt");
const GAPS: &str = include_str!("../../../compat-tests/known-gaps.toml");

/// Names of the cases in which we differ, each with a reason in the list of differences.
fn listed() -> BTreeSet<String> {
    let table: toml::Table = GAPS.parse().expect("a list of differences");
    let gaps = table["gap"].as_array().expect("entries").iter();
    let names = gaps.filter_map(|gap| gap["test"].as_str()?.strip_prefix("odd_starts::"));
    names.map(str::to_owned).collect()
}

#[test]
fn odd_files_are_refused_where_apaches_starter_ends_with_2() {
    let mut gaps = listed();
    let (mut started, mut refused) = (0, 0);
    for case in STARTS.split("\n===== ").skip(1) {
        let (body, outcome) = case.split_once("\n----- ").expect("an outcome");
        let mut text = format!("{body}\n").replace('@', "");
        for port in 1..10 {
            text = text.replace(&format!("{{{port}}}"), &format!("{}", 9000 + port));
        }
        let mut sections = text.split("+++++ ");
        let first = sections.next().expect("a configuration");
        let (name, config) = first.split_once('\n').expect("a name");
        let mut files = vec![("zoo.cfg".to_owned(), config)];
        files.extend(sections.map(|section| {
            let (file, text) = section.split_once('\n').expect("a file's name");
            (format!("/{file}"), text.strip_suffix("\\\n").unwrap_or(text))
        }));
        let files: Vec<(&str, &str)> = files.iter().map(|(f, t)| (f.as_str(), *t)).collect();
        let ours = load_file(Path::new("zoo.cfg"), &Overrides::default(), &Map::of(&files));
        let refuses = outcome.starts_with("exit 2");
        let expect = refuses != gaps.remove(name);
        match &ours {
            Ok(_) => started += 1,
            Err(_) => refused += 1,
        }
        assert_eq!(ours.is_err(), expect, "{name}: Apache: {outcome}{:?}", ours.err());
    }
    assert!(gaps.is_empty(), "no such case: {gaps:?}");
    assert!(started > 60 && refused > 60, "{started} {refused}");
}

fn told(text: &str, more: &[(&str, &str)]) -> Vec<String> {
    let loaded = load_with(text, more, &[], &[]).unwrap_or_else(|e| panic!("{e}"));
    loaded.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_key_that_is_given_twice_is_told_with_both_lines() {
    let text = format!("{SMALL}tickTime=1\nsnapCount=5\n tickTime : 2000\n");
    assert_eq!(
        told(&text, &[]),
        ["warning: tickTime is given more than once\n  at zoo.cfg:5: this line counts, and not \
          that of line 3\n  hint: remove all of them but one"]
    );
    let text = format!("{THREE}server.2=b:1:2\n");
    let warnings = told(&text, &[("/d/myid", "2\n")]);
    let expect = "warning: server.2 is given more than once\n  at zoo.cfg:8: ";
    assert!(warnings[0].starts_with(expect), "{warnings:?}");
}

#[test]
fn what_only_a_shell_would_replace_is_told() {
    for (line, expect) in [
        ("dataDir=~/zk", "dataDir=~/zk is taken as it stands"),
        ("dataDir=$HOME/zk", "dataDir=$HOME/zk is taken as it stands"),
        ("dataLogDir=/a/${user}", "dataLogDir=/a/${user} is taken as it stands"),
        ("dataDir=zk", "dataDir=zk is a relative path"),
        ("dataDir=/zk # data", "the value of dataDir holds a #"),
        ("ensembleAuthName=home\t# ours", "the value of ensembleAuthName holds a #"),
    ] {
        let whole = if line.starts_with("dataDir") { "clientPort=1\n" } else { SMALL };
        let warnings = told(&format!("{whole}{line}\n"), &[]);
        assert!(warnings.iter().any(|w| w.starts_with(&format!("warning: {expect}\n"))), "{line}");
    }
    for line in ["dataDir=/zk#1", "dataDir=./zk", "dataDir=../zk", "dataDir=/a~b"] {
        assert_eq!(told(&format!("{line}\nclientPort=1\n"), &[]), [""; 0], "{line}");
    }
    let text = fails("dataDir=/d\nclientPort=2181 # clients\n");
    assert!(text.contains("hint: write the comment on a line of its own"), "{text}");
}

#[test]
fn providers_that_are_not_there_are_told() {
    let package = "org.apache.zookeeper.server.auth.";
    for (class, scheme) in [
        ("KeyAuthenticationProvider", "key"),
        ("SASLAuthenticationProvider", "sasl"),
        ("X509AuthenticationProvider", "x509"),
    ] {
        let warnings = told(&format!("{SMALL}authProvider.7={package}{class}\n"), &[]);
        let expect =
            format!("warning: nobody can log in with the scheme {scheme}\n  at zoo.cfg:3: ");
        assert!(warnings.len() == 1 && warnings[0].starts_with(&expect), "{warnings:?}");
    }
    for class in ["DigestAuthenticationProvider", "EnsembleAuthenticationProvider"] {
        let warnings = told(&format!("{SMALL}authProvider.1={package}{class}\n"), &[]);
        assert_eq!(warnings, [""; 0], "{class}");
    }
}

#[test]
fn a_server_without_a_client_port_is_refused_before_it_starts() {
    assert_eq!(
        fails("dataDir=/d\n"),
        "error: clientPort is not set\n  because no client could connect\n  hint: add clientPort=2181"
    );
    let text = fails("dataDir=/d\nsecureClientPort=2281\n");
    assert!(text.contains("because secureClientPort alone serves nobody"), "{text}");
    let member = THREE.replace("clientPort=2181\n", "");
    let text = load_with(&member, &[("/d/myid", "2\n")], &[], &[]).expect_err("refused");
    assert!(text.to_string().contains("clientPort is not set"), "{text}");
}

#[test]
fn keys_of_the_file_have_no_effect_as_properties() {
    let defines = [
        ("zookeeper.server.1", "a:2888:3888"),
        ("zookeeper.server.2", "b:2888:3888"),
        ("zookeeper.group.1", "1:2"),
        ("zookeeper.tickTime", "5"),
        ("zookeeper.clientPort", "99"),
    ];
    let loaded = load_with(SMALL, &[], &defines, &[]).expect("loads");
    assert_eq!(loaded.config.quorum.config, None);
    assert_eq!(loaded.config.timing.tick_time_ms, 3000);
    assert_eq!(loaded.config.listen.client.expect("a port").port, 2181);
    for (name, value) in defines {
        let key = &name["zookeeper.".len()..];
        let mut warnings = loaded.warnings.iter().filter(|w| w.key.as_deref() == Some(name));
        let warning = warnings.next().expect("a warning");
        assert_eq!(warning.what, format!("-D {name} has no effect"));
        assert_eq!(warning.hint, format!("use --set {key}={value}"));
    }
}

#[test]
fn client_addresses_are_compared_and_not_their_texts() {
    let ask = |address: &str, line: &str| {
        let text = THREE.replace("server.2=b:2888:3888", &format!("server.2=b:2888:3888;{line}"));
        let text = format!("{text}clientPortAddress={address}\n");
        load_with(&text, &[("/d/myid", "2\n")], &[], &[]).map(|loaded| {
            let member = &loaded.config.quorum.config.as_ref().expect("members").members;
            assert!(member[&ServerId(2)].client.is_some());
            loaded.config.listen.client.expect("a client port").to_string()
        })
    };
    for (address, line, listens) in [
        ("::", "2181", "0.0.0.0:2181"),
        ("[::]", "2181", "0.0.0.0:2181"),
        ("0.0.0.0", "[::]:2181", "0.0.0.0:2181"),
        ("::", "127.0.0.1:2181", "127.0.0.1:2181"),
        ("::1", "[::1]:2181", "[::1]:2181"),
        ("[::1]", "[0:0:0:0:0:0:0:1]:2181", "[::1]:2181"),
        ("localhost", "127.0.0.1:2181", "127.0.0.1:2181"),
        ("127.0.0.1", "localhost:2181", "localhost:2181"),
        ("127.0.0.1", "[::ffff:127.0.0.1]:2181", "[::ffff:127.0.0.1]:2181"),
        ("a", "10.0.0.97:2181", "10.0.0.97:2181"),
    ] {
        assert_eq!(ask(address, line).as_deref(), Ok(listens), "{address} {line}");
    }
    for (address, line) in [
        ("::", "2182"),
        ("127.0.0.1", "2181"),
        ("127.0.0.1", "[::1]:2181"),
        ("127.0.0.1", "127.0.0.2:2181"),
        ("localhost", "127.0.0.1:2182"),
        ("a", "b:2181"),
        ("127.0.0.1", "nowhere:2181"),
        ("nowhere", "nowhere:2181"),
    ] {
        assert!(ask(address, line).is_err(), "{address} {line}");
    }
}

#[test]
fn the_metrics_host_may_be_an_ipv6_address_in_brackets_or_not() {
    let provider = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
    for (host, expect) in [
        ("[::1]", Some("::1")),
        ("::1", Some("::1")),
        ("[::]", None),
        ("::", None),
        ("0.0.0.0", None),
        ("127.0.0.1", Some("127.0.0.1")),
        ("localhost", Some("localhost")),
    ] {
        let text = format!(
            "{SMALL}metricsProvider.className={provider}\nmetricsProvider.httpPort=7000\n\
             metricsProvider.httpHost={host}\n"
        );
        let prometheus = load(&text).config.metrics.prometheus.expect("the provider");
        let expect = Endpoint { host: expect.map(str::to_owned), port: 7000 };
        assert_eq!(prometheus.http, Some(expect), "{host}");
    }
}

#[test]
fn every_name_of_a_hash_in_java_is_taken() {
    let ask = |name: &str| {
        let text = format!("{SMALL}DigestAuthenticationProvider.digestAlg={name}\n");
        load_with(&text, &[], &[], &[]).map(|loaded| loaded.config.access.digest_algorithm)
    };
    assert_eq!(ask("SHA3-256"), Ok(DigestAlgorithm::Sha3Of256));
    assert_eq!(ask("sha512/256"), Ok(DigestAlgorithm::Sha512Of256));
    assert_eq!(ask("MD5"), Ok(DigestAlgorithm::Md5));
    assert_eq!(ask("sha"), Ok(DigestAlgorithm::Sha1));
    let refused = ask("SHA-9").expect_err("no hash").to_string();
    assert!(refused.contains("one of MD2, MD5, SHA-1, SHA-224"), "{refused}");
}

#[test]
fn names_of_the_ensemble_are_split_and_trimmed() {
    let ask = |line: &str| load(&format!("{SMALL}{line}\n")).config.access.ensemble_auth_names;
    assert_eq!(ask(""), None);
    assert_eq!(ask("ensembleAuthName= a , b,,c"), Some(vec!["a".into(), "b".into(), "c".into()]));
    assert_eq!(ask("ensembleAuthName="), Some(Vec::new()));
}

/// Readable by others, a directory, or with blanks: Apache reads the first line as it is.
#[test]
fn a_myid_that_cannot_be_read_is_not_called_missing() {
    struct Sealed;
    impl Files for Sealed {
        fn look_up(&self, _: &str) -> std::io::Result<std::net::IpAddr> {
            Err(std::io::ErrorKind::NotFound.into())
        }
        fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
            match path.to_str() {
                Some("zoo.cfg") => Ok(THREE.into()),
                Some("/d/myid") => Err(std::io::ErrorKind::PermissionDenied.into()),
                _ => Err(std::io::ErrorKind::NotFound.into()),
            }
        }
        fn canonical(&self, path: &Path) -> std::path::PathBuf {
            path.to_path_buf()
        }
    }
    let refused = load_file(Path::new("zoo.cfg"), &Overrides::default(), &Sealed);
    assert_eq!(
        refused.expect_err("refused").to_string(),
        "error: myid can't be read\n  at /d/myid: permission denied\n  hint: the user that runs the \
         server must be able to read it"
    );
    let blank = load_with(THREE, &[("/d/myid", "2 \n")], &[], &[]).expect_err("a blank");
    assert!(blank.to_string().contains("hint: write 2 without blanks around it"), "{blank}");
}

#[test]
fn a_secret_that_members_need_is_looked_for_before_the_start() {
    let text = format!("{THREE}session.secretFile=/s\n");
    let ask = |secret: &[(&str, &str)]| {
        let files = [&[("/d/myid", "2\n")], secret].concat();
        load_with(&text, &files, &[], &[]).map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(ask(&[("/s", " 0123456789abcdef\n")]), Ok(()));
    for (secret, why) in [(&[][..], "entity not found"), (&[("/s", "short\n")], "fewer than 16")] {
        let refused = ask(secret).expect_err("refused");
        let expect = "error: there is no secret in /s\n  at zoo.cfg:8: ";
        assert!(refused.starts_with(expect) && refused.contains(why), "{refused}");
    }
    // A server alone keeps a secret of its own.
    let alone = format!("{SMALL}session.secretFile=/s\n");
    load_with(&alone, &[], &[], &[]).expect("loads");
}
