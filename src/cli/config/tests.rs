use super::*;

#[test]
fn a_key_is_explained_by_either_name() {
    let expect = "snapCount: transactions between snapshots, 2 or more\n  where:   zoo.cfg, \
                  -Dzookeeper.snapCount=..\n  value:   a whole number from 1\n  default: 100000\n  \
                  status:  honoured\n";
    assert_eq!(explain("snapCount").as_deref(), Ok(expect));
    assert_eq!(explain("zookeeper.snapCount").as_deref(), Ok(expect));
    let error = explain("snapcuont").expect_err("unknown");
    assert_eq!(error.hint, "did you mean snapCount?");
}

#[test]
fn the_defaults_are_a_file_of_comments() {
    let text = defaults();
    assert!(text.lines().all(|l| l.is_empty() || l.starts_with('#')));
    assert!(text.contains("\n#tickTime=3000\n"));
}

#[test]
fn passwords_are_not_shown() {
    for (key, secret) in [
        ("ssl.keyStore.password", true),
        ("ssl.keyStore.passwordPath", false),
        ("DigestAuthenticationProvider.superDigest", true),
        ("SASLAuthenticationProvider.superPassword", true),
        ("tickTime", false),
    ] {
        assert_eq!(is_secret(key), secret, "{key}");
    }
}
