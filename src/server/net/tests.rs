use super::*;

#[test]
fn addresses_are_read_as_the_hello_writes_them() {
    let cases = [
        ("zk1:3888", Some(("zk1", 3888))),
        ("[2001:db8::1]:3888", Some(("2001:db8::1", 3888))),
        ("2001:db8::1:3888", None),
        ("zk1:0", None),
        ("zk1:65536", None),
        (":3888", None),
        ("zk1", None),
        ("[::1:3888", None),
        ("", None),
    ];
    for (text, expected) in cases {
        let expected = expected.map(|(host, port)| HostPort::new(host, port));
        assert_eq!(HostPort::parse(text), expected, "{text}");
    }
    for text in ["zk1:3888", "[2001:db8::1]:3888"] {
        assert_eq!(HostPort::parse(text).expect("address").to_string(), text);
    }
}

#[test]
fn wildcards_are_known_in_every_spelling() {
    for host in ["0.0.0.0", "::", "0:0:0:0:0:0:0:0"] {
        assert!(HostPort::new(host, 1).is_wildcard(), "{host}");
    }
    assert!(!HostPort::new("localhost", 1).is_wildcard());
}

#[tokio::test]
async fn one_dead_address_does_not_hold_up_a_living_one() {
    let listeners = listen(&[HostPort::new("127.0.0.1", 0)], false).await.expect("listen");
    let port = listeners[0].local_addr().expect("address").port();
    // 192.0.2.0/24 is for documentation: nobody answers, or the network refuses.
    let addresses = [HostPort::new("192.0.2.1", 9), HostPort::new("127.0.0.1", port)];
    dial(&addresses, Duration::from_secs(5)).await.expect("the living address");
}

#[tokio::test]
async fn nothing_to_dial_is_an_error_not_a_wait() {
    assert!(dial(&[], Duration::from_secs(600)).await.is_err());
}
