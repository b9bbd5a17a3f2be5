use super::*;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    links: ElectionLinks,
    inbox: Arc<Inbox>,
    woken: mpsc::UnboundedReceiver<()>,
}

impl Node {
    async fn start(id: i64, peers: &[(i64, u16)]) -> Node {
        Node::start_with(id, peers, |_| {}).await
    }

    async fn start_with(id: i64, peers: &[(i64, u16)], change: impl FnOnce(&mut Options)) -> Node {
        let (wake, woken) = mpsc::unbounded_channel();
        let inbox = Inbox::new(move || wake.send(()).unwrap_or_default());
        let port = free_port();
        let mut options = Options {
            me: ServerId(id),
            listen: vec![HostPort::new("127.0.0.1", port)],
            listen_on_all: false,
            advertised: vec![HostPort::new("127.0.0.1", port)],
            peers: addresses(peers),
            connect_timeout: Duration::from_secs(5),
            hello_timeout: PATIENCE,
            bind_attempts: 3,
            keep_alive: false,
            limits: PeerLimits::default(),
        };
        change(&mut options);
        let links = ElectionLinks::start(options, Arc::clone(&inbox)).await.expect("start");
        Node { links, inbox, woken }
    }

    fn port(&self) -> u16 {
        self.links.local_addresses()[0].port()
    }

    async fn receive(&mut self) -> (i64, Bytes) {
        loop {
            if let Some(message) = self.inbox.take() {
                return (message.from.0, message.payload);
            }
            let woken = tokio::time::timeout(PATIENCE, self.woken.recv());
            woken.await.expect("a message in time").expect("sender lives");
        }
    }
}

fn addresses(peers: &[(i64, u16)]) -> Vec<PeerAddress> {
    let one = |(id, port): &(i64, u16)| PeerAddress {
        id: ServerId(*id),
        addresses: vec![HostPort::new("127.0.0.1", *port)],
    };
    peers.iter().map(one).collect()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    probe.local_addr().expect("address").port()
}

fn text(s: &str) -> Bytes {
    Bytes::copy_from_slice(s.as_bytes())
}

fn hello(id: i64, port: u16) -> Bytes {
    Hello { server: ServerId(id), addresses: vec![format!("127.0.0.1:{port}")] }.encode()
}

async fn patient<T>(f: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, f).await.expect("in time")
}

async fn read_frame(stream: &mut TcpStream) -> Bytes {
    let mut input = BytesMut::new();
    loop {
        if let Some(payload) = split_frame(&mut input).expect("frame") {
            return payload;
        }
        assert_ne!(patient(stream.read_buf(&mut input)).await.expect("read"), 0, "closed");
    }
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    matches!(patient(stream.read(&mut byte)).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn a_pair_talks_whoever_speaks_first() {
    for first in [1, 2] {
        let (one, two) = (free_port(), free_port());
        let at = |port| {
            move |o: &mut Options| {
                o.listen = vec![HostPort::new("127.0.0.1", port)];
                o.advertised = o.listen.clone();
            }
        };
        let mut a = Node::start_with(1, &[(2, two)], at(one)).await;
        let mut b = Node::start_with(2, &[(1, one)], at(two)).await;
        if first == 1 {
            a.links.send(ServerId(2), text("from one"));
            assert_eq!(b.receive().await, (1, text("from one")));
            b.links.send(ServerId(1), text("from two"));
            assert_eq!(a.receive().await, (2, text("from two")));
        } else {
            b.links.send(ServerId(1), text("from two"));
            assert_eq!(a.receive().await, (2, text("from two")));
            a.links.send(ServerId(2), text("from one"));
            assert_eq!(b.receive().await, (1, text("from one")));
        }
        a.links.shut_down().await;
        b.links.shut_down().await;
    }
}

#[tokio::test]
async fn a_message_to_oneself_loops_back() {
    let mut a = Node::start(1, &[]).await;
    a.links.send(ServerId(1), text("me"));
    assert_eq!(a.receive().await, (1, text("me")));
}

#[tokio::test]
async fn the_newest_message_waits_until_the_peer_listens() {
    let port = free_port();
    let a = Node::start(2, &[(1, port)]).await;
    for n in 0..5 {
        a.links.send(ServerId(1), text(&format!("vote {n}")));
    }
    let at = move |o: &mut Options| o.listen = vec![HostPort::new("127.0.0.1", port)];
    let mut b = Node::start_with(1, &[], at).await;
    assert_eq!(b.receive().await, (2, text("vote 4")));
}

#[tokio::test]
async fn a_smaller_peer_is_dialled_back_and_hears_the_last_message_again() {
    let fake = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = fake.local_addr().expect("address").port();
    let a = Node::start(5, &[(3, port)]).await;
    a.links.send(ServerId(3), text("vote"));
    let (mut first, _) = patient(fake.accept()).await.expect("dialled");
    let (greeting, mut rest) = patient(read_hello(&mut first)).await.expect("hello");
    assert_eq!(greeting.server, ServerId(5));
    while rest.len() < 8 {
        patient(first.read_buf(&mut rest)).await.expect("read");
    }
    assert_eq!(&rest[..], &frame(b"vote")[..]);
    // The fake restarts and says hello, as the smaller one; one that comes too soon may have crossed
    // the dialling, so it says so again.
    let mut second = loop {
        let mut again = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
        again.write_all(&hello(3, port)).await.expect("hello");
        assert!(is_closed(&mut again).await, "the larger one closes and dials back");
        let back = tokio::time::timeout(Duration::from_millis(100), fake.accept()).await;
        if let Ok(back) = back {
            break back.expect("dialled back").0;
        }
    };
    let (_, rest) = patient(read_hello(&mut second)).await.expect("hello");
    if rest.is_empty() {
        assert_eq!(read_frame(&mut second).await, text("vote"));
    } else {
        assert_eq!(&rest[..], &frame(b"vote")[..]);
    }
    assert!(is_closed(&mut first).await, "the connection before is given up");
}

#[tokio::test]
async fn a_larger_peer_is_kept_and_its_new_connection_replaces_the_old() {
    let mut a = Node::start(1, &[(9, free_port())]).await;
    let mut old = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
    // Split at every place where it can be: Apache insists on one segment, we don't.
    for byte in hello(9, 1) {
        old.write_all(&[byte]).await.expect("hello");
    }
    old.write_all(&frame(b"one")).await.expect("message");
    assert_eq!(a.receive().await, (9, text("one")));
    let mut new = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
    new.write_all(&hello(9, 1)).await.expect("hello");
    new.write_all(&frame(b"two")).await.expect("message");
    assert_eq!(a.receive().await, (9, text("two")));
    assert!(is_closed(&mut old).await);
    a.links.send(ServerId(9), text("reply"));
    assert_eq!(read_frame(&mut new).await, text("reply"));
}

#[tokio::test]
async fn bare_ids_and_anonymous_observers_are_known() {
    let mut a = Node::start(1, &[]).await;
    let mut old = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
    old.write_all(&7_i64.to_be_bytes()).await.expect("bare id");
    old.write_all(&frame(b"3.4")).await.expect("message");
    assert_eq!(a.receive().await, (7, text("3.4")));
    let mut observer = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
    observer.write_all(&hello(i64::MAX, 1)).await.expect("hello");
    observer.write_all(&frame(b"who leads")).await.expect("message");
    let (id, _) = a.receive().await;
    assert_eq!(id, -1);
    a.links.send(ServerId(id), text("he"));
    assert_eq!(read_frame(&mut observer).await, text("he"));
}

#[tokio::test]
async fn bad_input_closes_its_own_connection_only() {
    let mut a = Node::start(4, &[(6, free_port())]).await;
    let mut good = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
    good.write_all(&hello(6, 1)).await.expect("hello");
    let with = |id: i64, tail: &[u8]| [&hello(id, 1)[..], tail].concat();
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("http", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("own id", hello(4, 1).to_vec()),
        ("negative id", hello(-5, 1).to_vec()),
        ("unknown version", (-3_i64).to_be_bytes().to_vec()),
        ("address too long", [&(-65536_i64).to_be_bytes()[..], &[0; 8], &[0, 0, 8, 1]].concat()),
        ("no address", [&(-65536_i64).to_be_bytes()[..], &[0; 8], &[0, 0, 0, 0]].concat()),
        ("frame of zero", with(8, &[0, 0, 0, 0])),
        ("negative frame", with(8, &[0xff; 4])),
        ("frame too long", with(8, &[0, 8, 0, 1])),
    ];
    for (what, bytes) in bad {
        let mut stream = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
        stream.write_all(&bytes).await.expect("write");
        assert!(is_closed(&mut stream).await, "{what}");
    }
    good.write_all(&frame(&vec![7; FRAME_MAX])).await.expect("the longest frame");
    let (from, payload) = a.receive().await;
    assert_eq!((from, payload.len()), (6, FRAME_MAX));
}

#[tokio::test]
async fn a_silent_caller_delays_nobody_and_is_closed_in_time() {
    let short = |o: &mut Options| o.hello_timeout = Duration::from_millis(50);
    let mut a = Node::start_with(1, &[], short).await;
    let mut silent = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
    let mut good = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
    good.write_all(&hello(2, 1)).await.expect("hello");
    good.write_all(&frame(b"hi")).await.expect("message");
    assert_eq!(a.receive().await, (2, text("hi")));
    assert!(is_closed(&mut silent).await);
}

#[tokio::test]
async fn a_black_hole_delays_nobody() {
    let living = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = living.local_addr().expect("address").port();
    let mut peers = addresses(&[(1, port)]);
    peers
        .insert(0, PeerAddress { id: ServerId(2), addresses: vec![HostPort::new("192.0.2.1", 9)] });
    let a = Node::start_with(3, &[], |o| o.peers = peers).await;
    a.links.send(ServerId(2), text("lost"));
    a.links.send(ServerId(1), text("vote"));
    let (mut stream, _) = patient(living.accept()).await.expect("dialled");
    patient(read_hello(&mut stream)).await.expect("hello");
}

#[tokio::test]
async fn strangers_are_bounded() {
    let mut a = Node::start(1, &[]).await;
    let mut streams = Vec::new();
    for id in 0..PeerLimits::default().strangers_max as i64 + 8 {
        let mut stream = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
        stream.write_all(&hello(100 + id, 1)).await.expect("hello");
        stream.write_all(&frame(b"x")).await.expect("message");
        assert_eq!(a.receive().await.0, 100 + id);
        streams.push(stream);
    }
    assert_eq!(a.links.connected().len(), PeerLimits::default().strangers_max);
    assert!(is_closed(&mut streams[0]).await, "the oldest makes room");
}

#[test]
fn a_chatty_sender_drops_its_own_oldest_only() {
    let inbox = Inbox::new(|| {});
    inbox.put(Received { from: ServerId(1), payload: text("one") }, true);
    for n in 0..PeerLimits::default().notifications_per_member_max + 3 {
        inbox.put(Received { from: ServerId(2), payload: text(&n.to_string()) }, true);
    }
    let all: Vec<_> = std::iter::from_fn(|| inbox.take()).collect();
    assert_eq!(all.len(), PeerLimits::default().notifications_per_member_max + 1);
    assert_eq!((all[0].from, &all[0].payload), (ServerId(1), &text("one")));
    assert_eq!(all[1].payload, text("3"));
}

#[tokio::test]
async fn an_occupied_port_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = taken.local_addr().expect("address").port();
    let options = Options {
        me: ServerId(1),
        listen: vec![HostPort::new("127.0.0.1", port)],
        listen_on_all: false,
        advertised: Vec::new(),
        peers: Vec::new(),
        connect_timeout: PATIENCE,
        hello_timeout: PATIENCE,
        bind_attempts: 1,
        keep_alive: false,
        limits: PeerLimits::default(),
    };
    let error = ElectionLinks::start(options, Inbox::new(|| {})).await.map(|_| ());
    let text = error.expect_err("occupied").to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}: Address already in use")), "{text}");
}

#[tokio::test]
async fn one_own_address_that_does_not_resolve_does_not_stop_the_others() {
    let port = free_port();
    let several = move |o: &mut Options| {
        let unknown = HostPort::new("no-such-host.invalid", 3888);
        o.listen = vec![unknown, HostPort::new("127.0.0.1", port)];
    };
    let mut a = Node::start_with(1, &[], several).await;
    let b = Node::start(2, &[(1, port)]).await;
    b.links.send(ServerId(1), text("vote"));
    assert_eq!(a.receive().await, (2, text("vote")));
}

#[tokio::test]
async fn a_port_that_refuses_is_known_until_it_answers() {
    let port = free_port();
    let mut a = Node::start(2, &[(1, port)]).await;
    assert!(a.links.unreachable().is_empty(), "nobody has tried");
    a.links.send(ServerId(1), text("vote"));
    let woken = tokio::time::timeout(PATIENCE, a.woken.recv());
    woken.await.expect("in time").expect("sender lives");
    assert_eq!(a.links.unreachable(), BTreeSet::from([ServerId(1)]));
    let at = move |o: &mut Options| o.listen = vec![HostPort::new("127.0.0.1", port)];
    let mut b = Node::start_with(1, &[], at).await;
    assert_eq!(b.receive().await, (2, text("vote")));
    assert!(a.links.unreachable().is_empty());
}

#[tokio::test]
async fn zookeeper_3769_whatever_a_peer_sends_the_next_message_is_heard() {
    // C1: a payload is not looked at here, and half a frame ends with its connection.
    let mut a = Node::start(1, &[(2, free_port())]).await;
    for half in [&[0, 0][..], &[0, 0, 0, 40], &[0, 0, 0, 40, 1, 2, 3]] {
        let mut stream = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
        stream.write_all(&hello(2, 1)).await.expect("hello");
        stream.write_all(&frame(b"\xff\xff\xff\xff no vote")).await.expect("garbage");
        assert_eq!(a.receive().await.0, 2);
        stream.write_all(half).await.expect("half a frame");
        drop(stream);
    }
    let mut good = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
    good.write_all(&hello(2, 1)).await.expect("hello");
    good.write_all(&frame(b"vote")).await.expect("message");
    assert_eq!(a.receive().await, (2, text("vote")));
}

#[tokio::test]
async fn half_a_hello_is_closed_in_time_and_takes_no_place() {
    let short = |o: &mut Options| o.hello_timeout = Duration::from_millis(50);
    let mut a = Node::start_with(1, &[], short).await;
    let whole = hello(2, 1);
    for cut in [1, 8, 19, whole.len() - 1] {
        let mut stream = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
        stream.write_all(&whole[..cut]).await.expect("half a hello");
        assert!(is_closed(&mut stream).await, "after {cut} bytes");
    }
    assert!(a.links.connected().is_empty());
    let mut good = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
    good.write_all(&whole).await.expect("hello");
    good.write_all(&frame(b"vote")).await.expect("message");
    assert_eq!(a.receive().await, (2, text("vote")));
}

#[tokio::test]
async fn a_port_that_moves_is_at_its_new_place_only_and_links_stay() {
    let mut a = Node::start(1, &[]).await;
    let old = a.port();
    let mut b = Node::start(2, &[(1, old)]).await;
    b.links.send(ServerId(1), text("before"));
    assert_eq!(a.receive().await, (2, text("before")));
    let new = free_port();
    a.links.move_to(vec![HostPort::new("127.0.0.1", new)]);
    a.links.send(ServerId(2), text("meanwhile"));
    assert_eq!(b.receive().await, (1, text("meanwhile")));
    let c = Node::start(3, &[(1, new)]).await;
    c.links.send(ServerId(1), text("after"));
    assert_eq!(a.receive().await, (3, text("after")));
    assert!(TcpStream::connect(("127.0.0.1", old)).await.is_err(), "nobody listens there");
}

#[test]
fn strangers_share_what_they_have_in_the_inbox_and_push_out_no_member() {
    let inbox = Inbox::new(|| {});
    inbox.put(Received { from: ServerId(1), payload: text("one") }, true);
    for n in 0..1000 {
        inbox.put(Received { from: ServerId(100 + n), payload: text("stranger") }, false);
    }
    let all: Vec<_> = std::iter::from_fn(|| inbox.take()).collect();
    assert_eq!(all.len(), 1 + PeerLimits::default().notifications_of_strangers_max);
    assert_eq!((all[0].from, all.last().map(|m| m.from)), (ServerId(1), Some(ServerId(1099))));
}

#[tokio::test]
async fn of_a_hello_few_addresses_are_taken() {
    let quiet = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = quiet.local_addr().expect("address").port();
    let a = Node::start_with(9, &[], |o| o.connect_timeout = PATIENCE).await;
    let many = (0..60).map(|_| format!("127.0.0.1:{port}")).collect();
    let hello = Hello { server: ServerId(3), addresses: many }.encode();
    let mut stream = TcpStream::connect(("127.0.0.1", a.port())).await.expect("connect");
    stream.write_all(&hello).await.expect("write");
    assert!(is_closed(&mut stream).await);
    // It is dialled back.
    patient(async {
        while a.links.connected() != [ServerId(3)] {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let said = a.links.shared.peers.lock()[&ServerId(3)].said.len();
    assert_eq!(said, PeerLimits::default().hello_addresses_max);
}
