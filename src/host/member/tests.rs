//! What a member's node thread remembers of its clients' activity. The member is an observer, and the
//! test is its leader.

use std::collections::VecDeque;

use bytes::Bytes;

use super::*;
use crate::proto::election::{Notification, ServerState};
use crate::proto::jute::Jute;
use crate::proto::opcode::OpCode;
use crate::proto::quorum::{PacketKind, QuorumPacket, leader_info, touched_sessions};
use crate::proto::records::CreateRequest;
use crate::proto::txn::{Txn, TxnEntry, TxnHeader};
use crate::replica::ensemble::LocalSessions;
use crate::replica::password::Passwords;
use crate::replica::prep::PrepOptions;
use crate::replica::reaper::ReaperOptions;
use crate::replica::{self, Request};
use crate::state::{self, Change, EventKind};
use crate::types::{Epoch, OwnerRules, ServerId, WallTime, open_acl};
use crate::zab::{self, DiskState, LinkEvent, Membership, Persisted};

mod walks;

const START_MS: u64 = 100_000;
const TIMEOUT_MS: i32 = 4000;

/// What is around the member, and what it said.
struct Outside {
    state: StateMachine,
    watches: WatchTable,
    clients: Clients,
    sent: Vec<QuorumPacket>,
    persisted: VecDeque<Persisted>,
    dialled: Option<LinkId>,
    /// Links that were given an image, what it is called, and whether a walk began with it.
    streams: Vec<(LinkId, Zxid, bool)>,
    /// How many links read the newest image.
    image: Option<usize>,
    /// How often the state was lent alone.
    lent_alone: usize,
}

#[derive(Default)]
struct Clients {
    /// Each connection's session and when it was last active.
    active: Vec<(ConnId, SessionId, Instant)>,
    closed: Vec<(ConnId, &'static str)>,
    now: Instant,
}

impl Deliver for Clients {
    fn frame(&mut self, _: ConnId, _: &[u8], _: u32) {}
    fn event(&mut self, _: ConnId, _: EventKind, _: &Change) {}
    fn connected(&mut self, conn: ConnId, session: SessionId, _: i32) {
        self.active.push((conn, session, self.now));
    }
    fn closing(&mut self, _: ConnId) {}
    fn close(&mut self, conn: ConnId, why: &'static str) {
        self.closed.push((conn, why));
    }
}

impl Around for Outside {
    fn lend<R>(&mut self, f: impl FnOnce(&StateMachine, &mut dyn Deliver) -> R) -> R {
        f(&self.state, &mut self.clients)
    }
    fn lend_alone<R>(
        &mut self,
        f: impl FnOnce(&mut StateMachine, &WatchTable, &mut dyn Deliver) -> R,
    ) -> R {
        self.lent_alone += 1;
        f(&mut self.state, &self.watches, &mut self.clients)
    }
    fn wake(&mut self) {}
    fn replace(&mut self, state: StateMachine) {
        self.state = state;
    }
    fn execute(&mut self, action: Action) -> Option<Action> {
        match action {
            Action::Connect { link, .. } => self.dialled = Some(link),
            Action::Send { packet, .. } => self.sent.push(packet),
            Action::Disk { op, .. } => self.persisted.push_back(Persisted::Through(op)),
            Action::SendNotification { .. } | Action::CloseLink { .. } => {}
            other => return Some(other),
        }
        None
    }
    fn begin_image(&mut self, link: LinkId, zxid: Zxid, _: SnapshotCursor) {
        self.image = Some(0);
        self.streams.push((link, zxid, true));
    }
    fn send_image(&mut self, link: LinkId) {
        self.streams.push((link, Zxid::ZERO, false));
    }
    fn image(&self) -> Option<usize> {
        self.image
    }
    fn forget_image(&mut self) {
        self.image = None;
    }
    fn give_up_snapshot(&mut self) {}
    fn cancel_snapshot(&mut self) {}
    fn sessions(&self, f: &mut dyn FnMut(SessionId, i32, Instant)) {
        self.clients.active.iter().for_each(|(_, session, at)| f(*session, TIMEOUT_MS, *at));
    }
    fn close_all(&mut self, _: &'static str) {}
    fn resynced(&mut self) -> storage::Result<()> {
        Ok(())
    }
    fn role_changed(&mut self, _: Now, _: &RoleChange, _: &Member) {}
    fn exit(&mut self, why: Exit) {
        panic!("{why}");
    }
}

struct Bench {
    node: MemberNode,
    outside: Outside,
    now: Now,
}

impl Bench {
    /// An observer with local sessions that serves.
    fn new() -> Bench {
        let membership = Membership::majority([ServerId(1)], [ServerId(2)]);
        let mut bench = Bench::of(zab::Options::new(ServerId(2), membership));
        bench.settle();
        bench.follow(Epoch(1));
        bench
    }

    /// A member with local sessions that has just started.
    fn of(zab: zab::Options) -> Bench {
        let now = Now { mono: Instant::from_millis(START_MS), wall: WallTime(1) };
        let state = StateMachine::new(state::Options::default());
        let options = replica::Options {
            prep: PrepOptions {
                owner_rules: OwnerRules::default(),
                digest: true,
                close_session_txn: true,
                enforce_quota: false,
                reconfig_enabled: false,
            },
            auth: crate::auth::Options::default(),
            passwords: Passwords::Apache,
            first_session_id: 2 << 56,
            tick_ms: 1000,
            timeout_min_ms: 2000,
            timeout_max_ms: 20_000,
            reaper: ReaperOptions { check_interval_ms: 0, max_per_minute: 1, max_never_used_ms: 0 },
        };
        let member = Member::new(options, zab, DiskState::default(), &state, now)
            .expect("fresh")
            .with_local_sessions(LocalSessions { enabled: true, upgrading: true });
        let outside = Outside {
            state,
            watches: WatchTable::new(),
            clients: Clients { now: now.mono, ..Clients::default() },
            sent: Vec::new(),
            persisted: VecDeque::new(),
            dialled: None,
            streams: Vec::new(),
            image: None,
            lent_alone: 0,
        };
        let node = MemberNode::new(member, (Vec::new(), Zxid(0)), true);
        Bench { node, outside, now }
    }

    /// Finds its leader, which begins that epoch with nothing in it.
    fn follow(&mut self, epoch: Epoch) {
        self.follow_with(epoch, &[]);
    }

    /// The same; the leader's history ends with these transactions.
    fn follow_with(&mut self, epoch: Epoch, history: &[TxnEntry]) {
        let vote = Notification {
            state: ServerState::Leading,
            leader: ServerId(1),
            zxid: Zxid(0),
            round: i64::from(epoch.0),
            peer_epoch: Epoch(epoch.0 - 1),
            version: 2,
            config: None,
            pending: None,
        };
        self.node.member.peer_mut().handle_notification(self.now.mono, ServerId(1), vote);
        self.settle();
        self.link(LinkEvent::Up);
        self.hear(leader_info(epoch));
        let last = history.last().map_or(Zxid(0), |txn| txn.header.zxid);
        self.hear(QuorumPacket::new(PacketKind::Diff, last));
        for txn in history {
            let zxid = txn.header.zxid;
            let data = Some(txn.encode());
            self.hear(QuorumPacket { data, ..QuorumPacket::new(PacketKind::Proposal, zxid) });
            self.hear(QuorumPacket::new(PacketKind::Commit, zxid));
        }
        self.hear(QuorumPacket::new(PacketKind::NewLeader, Zxid::new(epoch, 0)));
        self.hear(QuorumPacket::new(PacketKind::UpToDate, Zxid(-1)));
        assert!(self.node.member.is_serving());
    }

    fn settle(&mut self) {
        self.node.drain(self.now, &mut self.outside);
        while let Some(done) = self.outside.persisted.pop_front() {
            self.node.member.peer_mut().handle_persisted(self.now.mono, done);
            self.node.drain(self.now, &mut self.outside);
        }
        self.node.flush(&mut self.outside);
    }

    fn link(&mut self, event: LinkEvent) {
        let link = self.outside.dialled.expect("it has connected");
        self.node.member.peer_mut().handle_link(self.now.mono, link, event);
        self.settle();
    }

    fn hear(&mut self, packet: QuorumPacket) {
        self.link(LinkEvent::Packet(packet));
    }

    /// So many milliseconds since the start.
    fn at(&mut self, ms: u64) -> &mut Bench {
        self.now.mono = Instant::from_millis(START_MS + ms);
        self.outside.clients.now = self.now.mono;
        self.node.timeout(self.now, &mut self.outside);
        self.settle();
        self
    }

    fn connect(&mut self, conn: u64) -> SessionId {
        self.greet(conn);
        self.outside.clients.active.last().expect("it has its session").1
    }

    /// A connection asks for a session, and may have to wait for it.
    fn greet(&mut self, conn: u64) {
        self.greet_seen(conn, Zxid(0));
    }

    /// The same of a client that has seen that transaction.
    fn greet_seen(&mut self, conn: u64, last_zxid: Zxid) {
        let ask = Connect {
            conn: ConnId(conn),
            session: SessionId::NONE,
            timeout_ms: TIMEOUT_MS,
            password: Bytes::new(),
            read_only: Some(false),
            last_zxid,
        };
        self.node.submit(self.now, Submit::Connect(ask), &mut self.outside);
        self.settle();
    }

    /// The connections that have a session.
    fn served(&self) -> Vec<u64> {
        self.outside.clients.active.iter().map(|(conn, ..)| conn.0).collect()
    }

    /// The sessions that the leader is told of when it pings.
    fn ping(&mut self) -> Vec<SessionId> {
        self.outside.sent.clear();
        self.hear(QuorumPacket::new(PacketKind::Ping, Zxid(0)));
        let answers = self.outside.sent.iter().filter(|p| p.kind == PacketKind::Ping);
        let answer = answers.last().expect("a ping is answered").payload();
        let touched = touched_sessions(answer).expect("well-formed");
        touched.into_iter().map(|(session, _)| session).collect()
    }
}

#[test]
fn a_silent_session_is_not_reported_again_when_local_ones_are_looked_at() {
    let mut b = Bench::new();
    let session = b.connect(1);
    // An ephemeral makes the session global; what is left here is the bucket it was in.
    let create =
        CreateRequest { path: Some("/e".into()), data: None, acl: Some(open_acl()), flags: 1 };
    let request = Request {
        conn: ConnId(1),
        session,
        xid: 1,
        opcode: OpCode::CREATE,
        body: create.to_bytes(),
        ids: std::sync::Arc::from([]),
        large: None,
    };
    b.node.submit(b.now, Submit::Request(request), &mut b.outside);
    b.settle();
    assert_eq!(b.at(500).ping(), [session], "it was just used");
    for ms in (1000..8000).step_by(500) {
        assert_eq!(b.at(ms).ping(), [], "{ms} ms, and silent since the start");
    }
}

#[test]
fn a_local_session_keeps_its_whole_timeout_when_its_server_loses_its_leader() {
    let mut b = Bench::new();
    let session = b.connect(1);
    b.at(1000).ping();
    // Active behind the last ping; then the leader is gone, and with it the connection.
    b.outside.clients.active[0].2 = b.at(1200).now.mono;
    b.at(1400).link(LinkEvent::Down);
    assert!(!b.node.member.is_serving());
    let (_, _, last) = b.outside.clients.active.remove(0);
    b.node.closed(ConnId(1), session, Some((session, TIMEOUT_MS, last)));
    b.at(5100);
    let local = b.node.member.local_sessions().expect("they are local");
    assert!(!local.is_unknown(session), "silent for 3900 ms of 4000");
    b.at(6100);
    let local = b.node.member.local_sessions().expect("they are local");
    assert!(local.is_unknown(session));
}

#[test]
fn who_comes_while_a_leader_is_looked_for_waits_for_it() {
    let mut b = Bench::new();
    b.at(5000).link(LinkEvent::Down);
    b.greet(1);
    b.at(5300).greet(2);
    b.greet(3);
    b.node.closed(ConnId(3), SessionId::NONE, None);
    assert_eq!(b.served(), [], "nobody leads");
    assert_eq!(b.outside.clients.closed, []);
    b.at(5600).follow(Epoch(2));
    assert_eq!(b.served(), [1, 2], "in the order in which they came; the third is gone");
    assert_eq!(b.outside.clients.closed, []);
}

#[test]
fn who_waits_for_a_leader_is_refused_after_a_second_and_later_at_once() {
    let mut b = Bench::new();
    b.at(5000).link(LinkEvent::Down);
    b.at(5700).greet(1);
    let due = b.now.mono + Duration::from_millis(300);
    assert!(b.node.poll_timeout().is_some_and(|at| at <= due));
    b.at(5999);
    assert_eq!(b.outside.clients.closed, []);
    b.at(6000);
    let why = "this server is not serving requests";
    assert_eq!(b.outside.clients.closed, [(ConnId(1), why)]);
    b.greet(2);
    assert_eq!(b.outside.clients.closed, [(ConnId(1), why), (ConnId(2), why)]);
    assert_eq!(b.served(), []);
}

#[test]
fn what_a_client_has_seen_is_asked_when_its_wait_is_over() {
    let mut b = Bench::new();
    b.at(5000).link(LinkEvent::Down);
    let zxid = Zxid::new(Epoch(1), 1);
    b.greet_seen(1, Zxid(zxid.0 + 1));
    b.greet(2);
    b.greet_seen(3, zxid);
    assert_eq!(b.outside.clients.closed, [], "the new leader may bring it");
    let (session, kind) = (SessionId(7), OpCode::CREATE_SESSION.0);
    let header = TxnHeader { session, cxid: 0, zxid, time: WallTime(1), kind };
    let txn = Txn::CreateSession { timeout_ms: TIMEOUT_MS };
    b.follow_with(Epoch(2), &[TxnEntry { header, txn, digest: None }]);
    let why = "the client has seen more than this server: it must try another";
    assert_eq!(b.outside.clients.closed, [(ConnId(1), why)], "it has not brought all of it");
    assert_eq!(b.served(), [2, 3]);
}
