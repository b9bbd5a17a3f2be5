use super::*;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::proto::image::{ImageNode, NodeView};
use crate::proto::jute::{Jute, Write};
use crate::proto::quorum::PacketKind;
use crate::types::{Acl, StatPersisted, Zxid, open_acl};

const LINK_OUTBOUND: u64 = 1 << 63;
const PATIENCE: Duration = Duration::from_secs(20);

/// Remembers everything.
#[derive(Debug, Default, PartialEq)]
struct Sink {
    sessions: Vec<(i64, i32)>,
    acls: Vec<(i64, Vec<Acl>)>,
    nodes: Vec<(String, Option<Bytes>)>,
}

impl ImageSink for Sink {
    fn session(&mut self, id: i64, timeout_ms: i32) {
        self.sessions.push((id, timeout_ms));
    }
    fn acl(&mut self, index: i64, acl: Vec<Acl>) {
        self.acls.push((index, acl));
    }
    fn node(&mut self, path: &str, node: NodeView<'_>) -> Result<(), String> {
        if path == "/orphan" {
            return Err("no parent".to_owned());
        }
        self.nodes.push((path.to_owned(), ImageNode::from(node).data));
        Ok(())
    }
}

struct Node {
    links: QuorumLinks<Sink>,
    events: mpsc::UnboundedReceiver<Event<Sink>>,
    /// Arrived together with one that was asked for.
    arrived: std::collections::VecDeque<QuorumPacket>,
    port: u16,
}

impl Node {
    fn new() -> Node {
        Node::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Options)) -> Node {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = probe.local_addr().expect("address").port();
        drop(probe);
        let (deliver, events) = mpsc::unbounded_channel();
        let mut options = Options {
            listen: vec![HostPort::new("127.0.0.1", port)],
            listen_for_observers: vec![HostPort::new("127.0.0.1", port)],
            observer_behind_max: 1 << 20,
            listen_on_all: false,
            first_packet: PATIENCE,
            listen_patience: Duration::from_millis(10),
            record_max: 1 << 20,
            keep_alive: false,
            limits: PeerLimits::default(),
        };
        change(&mut options);
        let links = QuorumLinks::new(
            Handle::current(),
            Handle::current(),
            options,
            Sink::default,
            move |event| {
                deliver.send(event).unwrap_or_default();
            },
        );
        Node { links, events, arrived: Default::default(), port }
    }

    async fn listening() -> Node {
        let mut node = Node::new();
        node.listen().await;
        node
    }

    async fn listen(&mut self) {
        self.links.listen();
        assert!(matches!(self.event().await, Event::Listening));
    }

    /// The next event that is not mere progress.
    async fn event(&mut self) -> Event<Sink> {
        loop {
            match patient(self.events.recv()).await.expect("sender lives") {
                Event::Progress { .. } => {}
                event => return event,
            }
        }
    }

    async fn up(&mut self) -> LinkId {
        match self.event().await {
            Event::Up { link, .. } => link,
            other => panic!("{other:?}"),
        }
    }

    async fn packet(&mut self) -> QuorumPacket {
        while self.arrived.is_empty() {
            match self.event().await {
                Event::Packets { packets, .. } => self.arrived.extend(packets),
                other => panic!("{other:?}"),
            }
        }
        self.arrived.pop_front().expect("just filled")
    }

    async fn down(&mut self) -> String {
        match self.event().await {
            Event::Down { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    fn dial(&self, port: u16) -> LinkId {
        let link = LinkId(LINK_OUTBOUND + u64::from(port));
        self.links.dial(link, vec![HostPort::new("127.0.0.1", port)], PATIENCE);
        link
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.expect("connect")
    }
}

async fn patient<T>(f: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, f).await.expect("in time")
}

fn packet(kind: PacketKind, zxid: i64) -> QuorumPacket {
    QuorumPacket::new(kind, Zxid(zxid))
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 64];
    loop {
        match patient(stream.read(&mut bytes)).await {
            Ok(0) | Err(_) => return true,
            Ok(_) => {}
        }
    }
}

/// A leader and a learner with a link between them.
async fn pair() -> (Node, LinkId, Node, LinkId) {
    let mut leader = Node::listening().await;
    let mut learner = Node::new();
    let down = learner.dial(leader.port);
    assert_eq!(learner.up().await, down);
    learner.links.send(down, packet(PacketKind::FollowerInfo, 0));
    let up = leader.up().await;
    assert_eq!(leader.packet().await.kind, PacketKind::FollowerInfo);
    (leader, up, learner, down)
}

/// Gives `pieces` one by one.
struct Pieces(VecDeque<Bytes>);

impl SnapshotSource for Pieces {
    fn next(&mut self, out: &mut BytesMut) -> Piece {
        out.extend_from_slice(&self.0.pop_front().unwrap_or_default());
        if self.0.is_empty() { Piece::Last } else { Piece::More }
    }
}

fn image(nodes: usize) -> (Bytes, Sink) {
    let mut w = BytesMut::new();
    let mut sink = Sink::default();
    w.i32(2);
    for id in [7_i64, -9] {
        w.i64(id);
        w.i32(30_000);
        sink.sessions.push((id, 30_000));
    }
    w.i32(1);
    w.i64(3);
    w.vec(Some(&open_acl()));
    sink.acls.push((3, open_acl()));
    for n in 0..nodes {
        let path = if n == 0 { String::new() } else { format!("/node-{n}") };
        let data = (n % 3 != 0).then(|| Bytes::from(vec![n as u8; n % 700]));
        w.str(&path);
        w.put(&ImageNode { data: data.clone(), acl: 3, stat: StatPersisted::default() });
        sink.nodes.push((path, data));
    }
    (w.freeze(), sink)
}

#[tokio::test]
async fn packets_go_both_ways_in_order() {
    let (mut leader, up, mut learner, down) = pair().await;
    for n in 0..1000 {
        let data = Bytes::from(vec![n as u8; (n * 37 % 5000) as usize]);
        leader.links.send(up, QuorumPacket::with_data(PacketKind::Proposal, Zxid(n), data));
        learner.links.send(down, packet(PacketKind::Ack, n));
    }
    for n in 0..1000 {
        let proposal = learner.packet().await;
        assert_eq!((proposal.zxid, proposal.payload().len() as i64), (Zxid(n), n * 37 % 5000));
        assert_eq!(leader.packet().await, packet(PacketKind::Ack, n));
    }
}

#[tokio::test]
async fn a_snapshot_is_streamed_between_packets() {
    let (leader, up, mut learner, _) = pair().await;
    let (bytes, expected) = image(3000);
    leader.links.send(up, packet(PacketKind::Snap, 5));
    let pieces = bytes.chunks(10_000).map(Bytes::copy_from_slice).collect();
    leader.links.send_snapshot(up, Box::new(Pieces(pieces)));
    leader.links.send(up, packet(PacketKind::NewLeader, 6));
    assert_eq!(learner.packet().await.kind, PacketKind::Snap);
    match learner.event().await {
        Event::Snapshot { sink, .. } => assert_eq!(sink, expected),
        other => panic!("{other:?}"),
    }
    assert_eq!(learner.packet().await.kind, PacketKind::NewLeader);
}

#[tokio::test]
async fn a_leader_that_never_listens_is_given_up() {
    let mut learner = Node::new();
    let nobody = Node::new();
    learner.dial(nobody.port);
    assert!(learner.down().await.contains("cannot reach"));
    assert!(learner.links.is_empty());
}

#[tokio::test]
async fn a_closed_link_says_nothing_more_and_the_peer_hears_of_it() {
    let (mut leader, up, mut learner, _) = pair().await;
    leader.links.close(up);
    learner.down().await;
    leader.links.send(up, packet(PacketKind::Ping, 0));
    assert!(leader.links.is_empty());
    assert!(leader.events.try_recv().is_err());
}

#[tokio::test]
async fn bad_input_closes_its_own_link_and_names_the_peer() {
    let mut leader = Node::listening().await;
    let valid = packet(PacketKind::Ack, 1).to_bytes();
    let mut too_long = BytesMut::from(&valid[..12]);
    too_long.i32((1 << 20) + 1);
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("http", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("negative length", [&valid[..12], &[0xff, 0xff, 0xff, 0xfe]].concat()),
        ("too long", too_long.to_vec()),
        ("many ids", [&valid[..16], &[0x7f, 0xff, 0xff, 0xff]].concat()),
    ];
    for (what, bytes) in bad {
        let mut stream = leader.connect().await;
        let address = stream.local_addr().expect("address").to_string();
        stream.write_all(&bytes).await.expect("write");
        assert!(is_closed(&mut stream).await, "{what}");
        assert!(leader.down().await.contains(&address), "{what}");
    }
    let mut good = leader.connect().await;
    for byte in &valid[..] {
        good.write_all(&[*byte]).await.expect("write");
    }
    leader.up().await;
    assert_eq!(leader.packet().await, packet(PacketKind::Ack, 1));
    // Bad later: the link that was good goes down, once.
    good.write_all(&[0xff; 4]).await.expect("write");
    leader.down().await;
}

#[tokio::test]
async fn a_half_packet_has_a_deadline_as_a_whole() {
    let mut leader = Node::with(|o| o.first_packet = Duration::from_millis(50));
    leader.listen().await;
    let mut stream = leader.connect().await;
    stream.write_all(&[0, 0, 0]).await.expect("write");
    assert!(is_closed(&mut stream).await);
    assert!(leader.down().await.contains("first packet"));
}

#[tokio::test]
async fn callers_without_a_packet_are_bounded() {
    let leader = Node::listening().await;
    let mut streams = Vec::new();
    for _ in 0..PeerLimits::default().waiting_links_max + 4 {
        streams.push(leader.connect().await);
    }
    for stream in &mut streams[..4] {
        assert!(is_closed(stream).await);
    }
}

#[tokio::test]
async fn a_flood_stops_at_the_bound_until_packets_are_handled() {
    let (mut leader, up, learner, down) = pair().await;
    leader.links.set_member(up, true);
    let big = Bytes::from(vec![0; 1 << 20]);
    for n in 0..20 {
        let request = QuorumPacket::with_data(PacketKind::Request, Zxid(n), big.clone());
        learner.links.send(down, request);
    }
    let state = leader.shared_link(up);
    let mut held = Vec::new();
    let in_flight_max = PeerLimits::default().member_bytes_in_flight;
    for _ in 0..in_flight_max / ((1 << 20) + 20) {
        held.push(leader.event().await);
    }
    assert!(state.room.available_permits() < 1 << 20, "the next one has to wait");
    held.clear();
    for _ in 15..20 {
        leader.packet().await;
    }
}

impl Node {
    fn shared_link(&self, link: LinkId) -> Arc<LinkState> {
        Arc::clone(&self.links.shared.links.lock()[&link])
    }
}

#[tokio::test]
async fn the_port_is_free_again_after_leading() {
    let mut leader = Node::listening().await;
    leader.links.stop_listening();
    leader.listen().await;
    let mut other = Node::with(|o| {
        o.listen = vec![HostPort::new("127.0.0.1", leader.port)];
    });
    other.links.listen();
    assert!(matches!(other.event().await, Event::PortHeld { .. }));
    // It goes on trying, and has it in the end.
    leader.links.shut_down().await;
    assert!(matches!(other.event().await, Event::PortFree));
    assert!(matches!(other.event().await, Event::Listening));
}

#[tokio::test]
async fn a_held_port_is_known_before_it_is_needed() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = holder.local_addr().expect("address").port();
    let mut node = Node::with(|o| o.listen = vec![HostPort::new("127.0.0.1", port)]);
    node.links.reserve();
    let Event::PortHeld { reason } = node.event().await else { panic!("not said") };
    assert!(reason.contains(&format!("127.0.0.1:{port}")), "{reason}");
    drop(holder);
    assert!(matches!(node.event().await, Event::PortFree));
    // Taken, but closed: a stranger is refused until this member leads.
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    node.listen().await;
    drop(TcpStream::connect(("127.0.0.1", port)).await.expect("it leads"));
    assert!(matches!(node.event().await, Event::Down { .. }));
    node.links.stop_listening();
    node.listen().await;
}

/// A learner that has dialled a hand-made leader, and the leader's end.
async fn dialled() -> (Node, TcpStream, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let mut learner = Node::new();
    learner.dial(address.port());
    let (stream, _) = patient(listener.accept()).await.expect("accept");
    learner.up().await;
    (learner, stream, address.to_string())
}

#[tokio::test]
async fn a_leader_that_breaks_off_inside_a_snapshot_costs_the_link() {
    let (bytes, _) = image(500);
    for cut in [0, 3, 40, bytes.len() / 2, bytes.len()] {
        let (mut learner, mut leader, address) = dialled().await;
        leader.write_all(&packet(PacketKind::Snap, 5).to_bytes()).await.expect("SNAP");
        assert_eq!(learner.packet().await.kind, PacketKind::Snap);
        leader.write_all(&bytes[..cut]).await.expect("a part");
        drop(leader);
        assert!(learner.down().await.contains(&address), "at {cut}");
    }
}

#[tokio::test]
async fn garbage_inside_a_snapshot_costs_the_link_and_names_the_leader() {
    let (bytes, _) = image(500);
    let mut orphan = BytesMut::from(&bytes[..]);
    orphan.str("/orphan");
    orphan.put(&ImageNode { data: None, acl: 3, stat: StatPersisted::default() });
    let mut wrong_end = BytesMut::from(&bytes[..]);
    crate::storage::image_stream::write_end(&mut wrong_end);
    wrong_end.str("BenWasNotHere");
    let huge = [&bytes[..], &[0x7f, 0xff, 0xff, 0xff]].concat();
    for (what, bad) in [
        ("negative", vec![0x80; 4096]),
        ("a node without a parent", orphan.to_vec()),
        ("another signature", wrong_end.to_vec()),
        ("a path of two gigabytes", huge),
    ] {
        let (mut learner, mut leader, address) = dialled().await;
        leader.write_all(&packet(PacketKind::Snap, 5).to_bytes()).await.expect("SNAP");
        assert_eq!(learner.packet().await.kind, PacketKind::Snap);
        let _ = leader.write_all(&bad).await;
        assert!(learner.down().await.contains(&address), "{what}");
        assert!(is_closed(&mut leader).await, "{what}");
    }
}

#[tokio::test]
async fn a_learner_that_does_not_take_its_snapshot_stops_no_other() {
    let mut leader = Node::listening().await;
    let mut lazy = leader.connect().await;
    lazy.write_all(&packet(PacketKind::FollowerInfo, 0).to_bytes()).await.expect("write");
    let link = leader.up().await;
    leader.packet().await;
    let pieces = (0..64).map(|_| Bytes::from(vec![0; 1 << 20])).collect();
    leader.links.send(link, packet(PacketKind::Snap, 5));
    leader.links.send_snapshot(link, Box::new(Pieces(pieces)));
    let mut other = Node::new();
    let down = other.dial(leader.port);
    other.up().await;
    for n in 0..100 {
        other.links.send(down, packet(PacketKind::Ack, n));
    }
    leader.up().await;
    for n in 0..100 {
        assert_eq!(leader.packet().await, packet(PacketKind::Ack, n));
    }
    // Nothing moved for too long: Zab closes it.
    leader.links.close(link);
    assert!(is_closed(&mut lazy).await);
}

#[tokio::test]
async fn the_port_for_observers_bounds_what_waits_and_survives_bad_input() {
    let mut follower = Node::new();
    follower.links.listen_for_observers();
    let connect = async |port: u16| loop {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await {
            return stream;
        }
        tokio::task::yield_now().await;
    };
    let mut bad = patient(connect(follower.port)).await;
    bad.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("write");
    assert!(is_closed(&mut bad).await);
    follower.down().await;
    let mut slow = patient(connect(follower.port)).await;
    slow.write_all(&packet(PacketKind::ObserverInfo, 0).to_bytes()).await.expect("write");
    let link = follower.up().await;
    follower.packet().await;
    let inform = Bytes::from(vec![0; 600 << 10]);
    for n in 0..64 {
        // The runtime of this test has one thread: nothing is written meanwhile.
        let packet = QuorumPacket::with_data(PacketKind::Inform, Zxid(n), inform.clone());
        follower.links.send(link, packet);
    }
    assert!(follower.down().await.contains("1048576 bytes behind"));
    assert!(is_closed(&mut slow).await);
}

/// A caller that has introduced itself, and its link.
async fn caller(leader: &mut Node) -> (TcpStream, LinkId) {
    let mut stream = leader.connect().await;
    stream.write_all(&packet(PacketKind::FollowerInfo, 0).to_bytes()).await.expect("write");
    let link = leader.up().await;
    leader.packet().await;
    (stream, link)
}

fn large(bytes: usize) -> QuorumPacket {
    QuorumPacket::with_data(PacketKind::Proposal, Zxid(1), Bytes::from(vec![0; bytes]))
}

#[tokio::test]
async fn a_first_packet_is_small() {
    let mut leader = Node::listening().await;
    let mut stream = leader.connect().await;
    let start = large(PeerLimits::default().first_packet_bytes_max + 1).to_bytes();
    stream.write_all(&start[..16]).await.expect("write");
    assert!(is_closed(&mut stream).await);
    leader.down().await;
}

#[tokio::test]
async fn what_waits_to_be_written_is_bounded_over_all_links_and_guests_give_way_first() {
    let mut leader = Node::with(|o| o.limits.link_bytes_max = 64 << 20);
    leader.listen().await;
    let (_slow, member) = caller(&mut leader).await;
    leader.links.set_member(member, true);
    let (mut one, guest) = caller(&mut leader).await;
    let (_two, other) = caller(&mut leader).await;
    // The runtime of this test has one thread: nothing is written meanwhile.
    let links = leader.links.clone();
    let fill = |link, mib: u64| {
        let state = Arc::clone(&links.shared.links.lock()[&link]);
        while state.held.bytes() < mib << 20 {
            links.send(link, large(1 << 20));
        }
    };
    fill(member, 40);
    fill(other, 4);
    fill(guest, 17);
    assert_eq!(leader.links.len(), 3);
    for _ in 0..10 {
        leader.links.send(guest, large(1 << 20));
    }
    assert!(leader.down().await.contains("links hold more than 67108864 bytes together"));
    assert!(is_closed(&mut one).await, "the guest that has most, not the member");
    assert_eq!(leader.links.len(), 2);
    // Without guests that have much, who has most gives way.
    fill(member, 55);
    for _ in 0..10 {
        leader.links.send(member, large(1 << 20));
    }
    leader.down().await;
    assert!(leader.links.shared.links.lock().contains_key(&other));
}

#[tokio::test]
async fn half_packets_are_counted_and_bounded_over_all_links() {
    let mut leader = Node::with(|o| o.limits.link_bytes_max = 2 << 20);
    leader.listen().await;
    let start = &large(1 << 20).to_bytes()[..900 << 10];
    let mut callers = Vec::new();
    for _ in 0..2 {
        let (mut stream, link) = caller(&mut leader).await;
        stream.write_all(start).await.expect("write");
        let held = || leader.shared_link(link).held.bytes();
        patient(async {
            while held() < 900 << 10 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        callers.push((stream, link));
    }
    let (mut third, _) = caller(&mut leader).await;
    third.write_all(start).await.expect("write");
    assert!(leader.down().await.contains("links hold more than"));
    // Who completes its packet holds nothing any more.
    let (stream, link) = &mut callers[1];
    if leader.links.shared.links.lock().contains_key(link) {
        stream.write_all(&large(1 << 20).to_bytes()[900 << 10..]).await.expect("write");
        leader.packet().await;
        assert_eq!(leader.shared_link(*link).held.bytes(), 0);
    }
}

#[tokio::test]
async fn guests_share_what_they_have_before_the_node_thread_and_members_have_their_own() {
    let mut leader = Node::listening().await;
    let (mut flood, _) = caller(&mut leader).await;
    let (mut good, member) = caller(&mut leader).await;
    leader.links.set_member(member, true);
    let pings = packet(PacketKind::Ping, 0).to_bytes().repeat(1 << 20);
    let flooding = tokio::spawn(async move {
        let _ = flood.write_all(&pings).await;
        flood
    });
    let mut held = Vec::new();
    let room = Arc::clone(&leader.links.shared.guests_room);
    let mut bytes = 0;
    while room.available_permits() > 32 << 10 {
        let event = leader.event().await;
        if let Event::Packets { packets, .. } = &event {
            bytes += packets.iter().map(QuorumPacket::encoded_len).sum::<usize>();
        }
        held.push(event);
    }
    assert!(bytes <= PeerLimits::default().guest_bytes_in_flight, "{bytes}");
    good.write_all(&packet(PacketKind::Ack, 7).to_bytes()).await.expect("write");
    loop {
        let Event::Packets { link, packets, room } = leader.event().await else { continue };
        if link == member {
            assert_eq!(packets, [packet(PacketKind::Ack, 7)]);
            break;
        }
        held.push(Event::Packets { link, packets, room });
    }
    flooding.abort();
}

#[tokio::test]
async fn who_introduces_itself_does_not_wait_for_guests() {
    let mut leader = Node::listening().await;
    // Guests have all in process that they may have, and for as long as they like.
    let max = PeerLimits::default().guest_bytes_in_flight as u32;
    let all = Arc::clone(&leader.links.shared.guests_room).acquire_many_owned(max).await;
    let (mut stream, link) = caller(&mut leader).await;
    leader.links.set_member(link, true);
    stream.write_all(&packet(PacketKind::AckEpoch, 0).to_bytes()).await.expect("write");
    assert_eq!(leader.packet().await.kind, PacketKind::AckEpoch);
    drop(all);
}
