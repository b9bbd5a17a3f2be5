use super::*;

#[test]
fn rows_are_unique_and_their_defaults_valid() {
    for (i, key) in KEYS.iter().enumerate() {
        assert!(!KEYS[..i].iter().any(|k| k.name == key.name), "{} twice", key.name);
        if !key.default.is_empty() {
            assert_eq!(key.kind.check(key.default), Ok(()), "{}", key.name);
        }
        assert!(!key.doc.is_empty() && !key.doc.ends_with('.'), "{}", key.name);
    }
}

#[test]
fn families_are_found_by_their_longest_prefix() {
    assert_eq!(find("server.12").map(|k| k.name), Some("server.*"));
    assert_eq!(find("server.realm").map(|k| k.name), Some("server.realm"));
    assert_eq!(find("groupies").map(|k| k.name), Some("group*"));
    assert_eq!(
        find("metricsProvider.ssl.keyStore.location").map(|k| k.name),
        Some("metricsProvider.ssl.*")
    );
    assert_eq!(find("metricsProvider.foo").map(|k| k.name), Some("metricsProvider.*"));
    assert_eq!(find("authProvider.sasl").map(|k| k.name), Some("authProvider.*"));
    assert_eq!(find("nonsense").map(|k| k.name), None);
}

#[test]
fn properties_as_java_names_them() {
    for (name, property) in [
        ("snapCount", Some("zookeeper.snapCount")),
        ("jute.maxbuffer", Some("jute.maxbuffer")),
        ("fsync.warningthresholdms", Some("zookeeper.fsync.warningthresholdms")),
        ("tickTime", None),
    ] {
        assert_eq!(find(name).expect("known").property().as_deref(), property);
    }
}

#[test]
fn nearest_known_key() {
    for (typed, meant) in [
        ("ticktime", Some("tickTime")),
        ("tickTme", Some("tickTime")),
        ("dataLogdir", Some("dataLogDir")),
        ("maxClientConnections", None),
        ("maxClientCnxn", Some("maxClientCnxns")),
        ("purgeInterval", Some("autopurge.purgeInterval")),
        ("autopurge.snapRetaincount", Some("autopurge.snapRetainCount")),
        ("4lw.command.whitelist", Some("4lw.commands.whitelist")),
        ("completely-different", None),
        ("x", None),
    ] {
        assert_eq!(nearest(typed), meant, "{typed}");
    }
}

#[test]
fn numbers() {
    for (text, value) in [
        ("0", Some(0)),
        ("+5", Some(5)),
        ("-1", Some(-1)),
        ("0x10", Some(16)),
        ("-0xA", Some(-10)),
        ("0x-1", None),
        ("--1", None),
        ("", None),
        ("1.5", None),
        ("1 0", None),
        ("9223372036854775808", None),
    ] {
        assert_eq!(int(text), value, "{text:?}");
    }
    for (text, value) in [
        ("1", Some(3_600_000)),
        ("0", Some(0)),
        ("-1", Some(0)),
        ("500ms", Some(500)),
        ("2d", Some(172_800_000)),
        ("1w", None),
        ("h", None),
    ] {
        assert_eq!(hours_ms(text), value, "{text:?}");
    }
}
