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
    let (listeners, _) = listen(&[HostPort::new("127.0.0.1", 0)], false).await;
    let port = listeners[0].local_addr().expect("address").port();
    // 192.0.2.0/24 is for documentation: nobody answers, or the network refuses.
    let addresses = [HostPort::new("192.0.2.1", 9), HostPort::new("127.0.0.1", port)];
    dial(&addresses, Duration::from_secs(5)).await.expect("the living address");
}

#[tokio::test]
async fn nothing_to_dial_is_an_error_not_a_wait() {
    assert!(dial(&[], Duration::from_secs(600)).await.is_err());
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_named_and_the_others_are_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = taken.local_addr().expect("address").port();
    let addresses = [
        HostPort::new("no-such-host.invalid", 1),
        HostPort::new("203.0.113.1", 1024),
        HostPort::new("127.0.0.1", port),
        HostPort::new("127.0.0.1", 0),
    ];
    let (listeners, unbound) = listen(&addresses, false).await;
    assert_eq!(listeners.len(), 1);
    let hints: Vec<_> = unbound.iter().map(|u| (u.at.port, u.hint())).collect();
    assert!(
        matches!(hints[..], [(1, a), (1024, b), (p, c)] if p == port
        && a.contains("resolve") && b.contains("network interface") && c.contains("another program")),
        "{hints:?}"
    );
}

#[tokio::test]
async fn a_port_for_all_addresses_is_taken_once() {
    let port =
        listen(&[HostPort::new("127.0.0.1", 0)], false).await.0[0].local_addr().unwrap().port();
    let twice = [HostPort::new("a.invalid", port), HostPort::new("b.invalid", port)];
    let (listeners, unbound) = listen(&twice, true).await;
    assert_eq!((listeners.len(), unbound.len()), (1, 0), "{unbound:?}");
}

#[tokio::test]
async fn a_reserved_port_refuses_strangers_until_it_listens() {
    let (mut places, _) = reserve(&[HostPort::new("127.0.0.1", 0)], false).await;
    let place = places.pop().expect("a port");
    let port = place.socket.local_addr().unwrap().as_socket().unwrap().port();
    let refused = TcpStream::connect(("127.0.0.1", port)).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    let _listener = place.listen(1).expect("it is ours");
    TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
}
