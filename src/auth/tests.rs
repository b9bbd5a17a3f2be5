use super::*;

fn auth() -> Auth {
    Auth::new(Options {
        digest: Some(DigestAlgorithm::Sha1),
        super_digest: Some(digest_id(DigestAlgorithm::Sha1, "super:secret")),
        ..Options::default()
    })
}

fn acl(perms: Perms, scheme: &str, id: &str) -> Acl {
    Acl { perms, id: Id::new(scheme, id) }
}

#[test]
fn digests_are_those_of_apache() {
    // From the ZooKeeper documentation's example of a superDigest.
    assert_eq!(
        digest_id(DigestAlgorithm::Sha1, "super:test"),
        "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
    );
    assert!(digest_id(DigestAlgorithm::Sha1, "nocolon").starts_with("nocolon:"));
}

/// What `compat-tests/java/Digests.java` prints: names, and the digest of `bob:geheim`.
const JAVA_DIGESTS: &str = include_str!("../../fixtures/auth/digests.java-17.txt");

#[test]
fn every_hash_that_java_knows_by_name_gives_the_same_digest() {
    for line in JAVA_DIGESTS.lines() {
        let (name, digest) = line.split_once('\t').expect("a name and a digest");
        let ours = DigestAlgorithm::of_java(name).map(|of| digest_id(of, "bob:geheim"));
        let expect = (digest != "none").then(|| format!("bob:{digest}"));
        assert_eq!(ours, expect, "{name}");
    }
    assert!(JAVA_DIGESTS.lines().count() > 50);
}

#[test]
fn acl_ids_are_valid_as_in_apache() {
    let check = |scheme: &str, id: &str, expect: bool| {
        let list = [acl(Perms::ALL, scheme, id)];
        assert_eq!(auth().fix_up(Some(&list), &[]).is_ok(), expect, "{scheme}:{id}");
    };
    check("world", "anyone", true);
    check("world", "someone", false);
    check("digest", "a:b", true);
    check("digest", "a", false);
    check("digest", "a:", false);
    check("digest", ":b", true);
    check("digest", "a:b:", true);
    check("digest", "a:b:c", false);
    check("ip", "10.0.0.1", true);
    check("ip", "10.0.0.1/33", false);
    check("ip", "10.0.0.1/8", true);
    check("ip", "10.0.0", false);
    check("ip", "10.0.0.256", false);
    check("ip", "::1/64", true);
    check("ip", "0.0.0.0/0", true);
    check("ip", "10.0.0.1/-0", true);
    check("ip", "::FFFF:A00:1", true);
    check("ip", "::ffff:10.0.0.1", false);
    check("ip", "fe80::1%eth0", false);
    check("ip", "00001::", false);
    check("ip", "1:2:3:4::5:6:7:8", false);
    check("sasl", "bob", false);
    check("nosuch", "x", false);
    assert_eq!(auth().fix_up(None, &[]), Err(Code::INVALID_ACL));
    assert_eq!(auth().fix_up(Some(&[]), &[]), Err(Code::INVALID_ACL));
}

#[test]
fn auth_is_expanded_and_duplicates_are_dropped() {
    let ids = [Id::new("ip", "127.0.0.1"), Id::new("digest", "a:b"), Id::new("super", "")];
    let list = [
        acl(Perms::ALL, "auth", ""),
        acl(Perms::ALL, "auth", ""),
        acl(Perms::READ, "world", "anyone"),
    ];
    assert_eq!(
        auth().fix_up(Some(&list), &ids).unwrap(),
        [acl(Perms::ALL, "digest", "a:b"), acl(Perms::READ, "world", "anyone")]
    );
    assert_eq!(auth().fix_up(Some(&list[..1]), &ids[..1]), Err(Code::INVALID_ACL));
}

#[test]
fn checks_match_any_entry_and_any_bit() {
    let a = auth();
    let ids = [Id::new("ip", "10.1.2.3"), Id::new("digest", "a:b")];
    let check = |entry: Acl, wanted: Perms, expect: bool| {
        assert_eq!(a.check(std::slice::from_ref(&entry), &ids, wanted), expect, "{entry:?}");
    };
    check(acl(Perms::READ, "world", "anyone"), Perms::READ, true);
    check(acl(Perms::READ, "world", "anyone"), Perms::WRITE, false);
    check(acl(Perms::READ, "world", "anyone"), Perms(1 | 16), true);
    check(acl(Perms::ALL, "digest", "a:b"), Perms::WRITE, true);
    check(acl(Perms::ALL, "digest", "a:c"), Perms::WRITE, false);
    check(acl(Perms::ALL, "ip", "10.0.0.0/8"), Perms::WRITE, true);
    check(acl(Perms::ALL, "ip", "10.1.2.0/24"), Perms::WRITE, true);
    check(acl(Perms::ALL, "ip", "10.1.3.0/24"), Perms::WRITE, false);
    check(acl(Perms::ALL, "ip", "0.0.0.0/0"), Perms::WRITE, true);
    check(acl(Perms::ALL, "ip", "::/0"), Perms::WRITE, false);
    assert!(a.check(&[], &ids, Perms::ALL));
    let nobody = [acl(Perms::ALL, "digest", "x:y")];
    assert!(!a.check(&nobody, &ids, Perms::READ));
    assert!(a.check(&nobody, &[Id::new("super", "")], Perms::READ));
}

#[test]
fn packets_give_identities() {
    let a = auth();
    let super_id = digest_id(DigestAlgorithm::Sha1, "super:secret");
    assert_eq!(
        a.authenticate(Some("digest"), Some(b"super:secret"), "").unwrap(),
        [Id::new("super", ""), Id::new("digest", super_id)]
    );
    assert_eq!(a.authenticate(Some("ip"), Some(b""), "::1").unwrap(), [Id::new("ip", "::1")]);
    for scheme in [None, Some("world"), Some("auth"), Some("nosuch"), Some("ensemble")] {
        assert_eq!(a.authenticate(scheme, Some(b"x:y"), ""), Err(Refused::Failed), "{scheme:?}");
    }
    assert_eq!(a.authenticate(Some("digest"), None, ""), Err(Refused::Failed));
    assert_eq!(a.user_name(&Id::new("digest", "bob:hash")), "bob");
}

/// Apache's `EnsembleAuthenticationProvider`.
#[test]
fn the_ensemble_scheme_without_names_lets_every_name_in() {
    let ask = |ensemble: Option<EnsembleNames>, name: &str| {
        let auth = Auth::new(Options { ensemble, ..Options::default() });
        auth.authenticate(Some("ensemble"), Some(name.as_bytes()), "")
    };
    let only = |names: &[&str]| {
        Some(EnsembleNames::Only(names.iter().map(|name| (*name).to_owned()).collect()))
    };
    for name in ["", "home", "elsewhere"] {
        assert_eq!(ask(Some(EnsembleNames::Any), name), Ok(Vec::new()), "{name}");
        assert_eq!(ask(None, name), Err(Refused::Failed), "{name}");
    }
    for (name, expect) in [
        ("home", Ok(Vec::new())),
        ("attic", Ok(Vec::new())),
        ("", Ok(Vec::new())),
        ("home,attic", Err(Refused::CloseSilently)),
        ("elsewhere", Err(Refused::CloseSilently)),
    ] {
        assert_eq!(ask(only(&["home", "attic"]), name), expect, "{name}");
    }
    assert_eq!(ask(only(&[]), "home"), Err(Refused::CloseSilently));
}

#[test]
fn addresses_read_as_java_writes_them() {
    assert_eq!(address_text("::1".parse().unwrap()), "0:0:0:0:0:0:0:1");
    assert_eq!(address_text("::ffff:1.2.3.4".parse().unwrap()), "1.2.3.4");
    assert_eq!(address_text("1.2.3.4".parse().unwrap()), "1.2.3.4");
}

#[test]
fn identities_do_not_multiply_without_bound() {
    let auth = auth();
    let id = |n: usize| Id::new("digest", &format!("{}{n}:p", "u".repeat(1000)));
    let ids: Vec<Id> = (0..20).map(id).collect();
    let asked = |n: i32| (1..=n).map(|n| acl(Perms(n), "auth", "")).collect::<Vec<_>>();
    let fixed = auth.fix_up(Some(&asked(10)), &ids).expect("200 KB");
    assert_eq!(fixed.len(), 200);
    assert!(encoded_len(&fixed) <= EXPANDED_MAX);
    assert_eq!(auth.fix_up(Some(&asked(31)), &ids), Err(Code::INVALID_ACL));
}

/// A list of a request's size and as many identities as a connection may have.
#[test]
fn many_entries_and_identities_are_matched_as_few_are() {
    let auth = auth();
    let list: Vec<Acl> =
        (0..20_000).map(|n| acl(Perms::READ, "digest", &format!("u:{n}"))).collect();
    let mut ids: Vec<Id> = (0..1000).map(|n| Id::new("digest", format!("v:{n}"))).collect();
    assert!(!auth.check(&list, &ids, Perms::READ));
    ids.push(Id::new("ip", "u:19999"));
    assert!(!auth.check(&list, &ids, Perms::READ), "the scheme counts");
    ids.push(Id::new("digest", "u:19999"));
    assert!(auth.check(&list, &ids, Perms::READ));
    assert!(!auth.check(&list, &ids, Perms::WRITE), "the permission counts");
    ids.push(Id::new("ip", "10.1.2.3"));
    let by_ip = [list, vec![acl(Perms::WRITE, "ip", "10.1.0.0/16")]].concat();
    assert!(auth.check(&by_ip, &ids, Perms::WRITE));
    ids.push(Id::new("super", ""));
    assert!(auth.check(&by_ip, &ids, Perms::ADMIN));
}
