use super::*;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::proto::records::{CreateRequest, PathRecord};
use crate::replica::password::Passwords;
use crate::replica::prep::PrepOptions;
use crate::replica::reaper::ReaperOptions;
use crate::state::EventKind;
use crate::state::watch::WatchTable;
use crate::types::{OwnerRules, WallTime, open_acl};
use crate::zab::{Action, DiskOp, LinkEvent, Membership, Persisted};

/// What the clients of one member got.
#[derive(Default)]
struct Clients {
    frames: BTreeMap<u64, Vec<Vec<u8>>>,
    sessions: BTreeMap<u64, SessionId>,
    closed: BTreeMap<u64, &'static str>,
}

impl Deliver for Clients {
    fn frame(&mut self, conn: ConnId, frame: &[u8], _: u32) {
        self.frames.entry(conn.0).or_default().push(frame.to_vec());
    }
    fn event(&mut self, _: ConnId, _: EventKind, _: &Change) {}
    fn connected(&mut self, conn: ConnId, session: SessionId, _: i32) {
        self.sessions.insert(conn.0, session);
    }
    fn closing(&mut self, _: ConnId) {}
    fn close(&mut self, conn: ConnId, why: &'static str) {
        self.closed.insert(conn.0, why);
    }
}

struct Server {
    member: Member,
    state: StateMachine,
    watches: WatchTable,
    clients: Clients,
    listening: bool,
    for_observers: bool,
    alive: bool,
    /// The other end of each link: member and link.
    links: BTreeMap<LinkId, (usize, LinkId)>,
    role_lost: u32,
    /// Writes that are done, where the disk has been told to be slow.
    slow_disk: Option<Vec<Persisted>>,
}

/// Three members with a perfect network and a perfect disk.
struct World {
    servers: Vec<Server>,
    now: Now,
    next_link: u64,
    next_conn: u64,
    /// Members whose messages to and from stay where they are.
    cut: Vec<usize>,
    /// Bytes of the largest transaction.
    largest: usize,
}

fn options(server: i64) -> Options {
    Options {
        prep: PrepOptions {
            owner_rules: OwnerRules::default(),
            digest: true,
            close_session_txn: true,
            enforce_quota: false,
            reconfig_enabled: false,
        },
        auth: crate::auth::Options::default(),
        passwords: Passwords::Apache,
        first_session_id: Sessions::first_id(server, 1000),
        tick_ms: 1000,
        timeout_min_ms: 2000,
        timeout_max_ms: 20_000,
        reaper: ReaperOptions { check_interval_ms: 0, max_per_minute: 1, max_never_used_ms: 0 },
    }
}

impl World {
    fn new() -> World {
        World::with(LocalSessions::default())
    }

    fn with(local: LocalSessions) -> World {
        World::of(0, local)
    }

    /// Three voters and some observers, which learn from followers.
    fn of(observers: i64, local: LocalSessions) -> World {
        World::with_passwords(observers, local, |_| Passwords::Apache)
    }

    fn with_passwords(
        observers: i64,
        local: LocalSessions,
        passwords: fn(i64) -> Passwords,
    ) -> World {
        let now = Now { mono: Instant::from_millis(100_000), wall: WallTime(1_000_000) };
        let voters = (1..=3).map(ServerId);
        let watching = (4..4 + observers).map(ServerId);
        let servers = (1..=3 + observers)
            .map(ServerId)
            .map(|id| {
                let state = StateMachine::new(crate::state::Options::default());
                let membership = Membership::majority(voters.clone(), watching.clone());
                let mut zab = zab::Options::new(id, membership);
                zab.tick = Duration::from_secs(1);
                zab.observer_masters = observers > 0;
                let disk = DiskState::default();
                let options = Options { passwords: passwords(id.0), ..options(id.0) };
                let member = Member::new(options, zab, disk, &state, now).expect("fresh");
                let member = member.with_local_sessions(local);
                Server {
                    member,
                    state,
                    watches: WatchTable::new(),
                    clients: Clients::default(),
                    listening: false,
                    for_observers: false,
                    alive: true,
                    links: BTreeMap::new(),
                    role_lost: 0,
                    slow_disk: None,
                }
            })
            .collect();
        let mut world =
            World { servers, now, next_link: 1, next_conn: 1, cut: Vec::new(), largest: 0 };
        world.run_for(2000);
        assert_eq!(world.leader(), 2, "all alike: the largest id");
        world
    }

    fn leader(&self) -> usize {
        let leads = |s: &Server| s.alive && s.member.is_leading();
        self.servers.iter().position(leads).expect("a leader")
    }

    /// Everything that can happen without time passing.
    fn settle(&mut self) {
        let mut busy = true;
        while busy {
            busy = false;
            for n in 0..self.servers.len() {
                while self.servers[n].alive
                    && let Some(action) = self.servers[n].member.peer_mut().poll_action()
                {
                    busy = true;
                    self.act(n, action);
                }
                self.apply(n);
            }
        }
    }

    fn apply(&mut self, n: usize) {
        let Server { member, state, watches, clients, .. } = &mut self.servers[n];
        while member.apply(state, watches, clients, 3) {}
        assert_eq!(state.digest_mismatches(), 0);
    }

    fn act(&mut self, n: usize, action: Action) {
        let now = self.now;
        match action {
            Action::SendNotification { to, notification } => {
                let to = to.0 as usize - 1;
                if self.connected(n, to) {
                    let from = ServerId(n as i64 + 1);
                    let peer = self.servers[to].member.peer_mut();
                    peer.handle_notification(now.mono, from, notification);
                }
            }
            Action::Connect { link, to } => {
                let to = to.0 as usize - 1;
                self.dial(n, link, to, self.servers[to].listening);
            }
            Action::ConnectToMaster { link, to } => {
                let to = to.0 as usize - 1;
                self.dial(n, link, to, self.servers[to].for_observers);
            }
            Action::Listen => self.servers[n].listening = true,
            Action::ListenForObservers => self.servers[n].for_observers = true,
            Action::StopListening => {
                (self.servers[n].listening, self.servers[n].for_observers) = (false, false);
            }
            Action::Send { link, packet } => {
                if let Some((to, other)) = self.servers[n].links.get(&link).copied()
                    && self.connected(n, to)
                {
                    self.link(to, other, LinkEvent::Packet(packet));
                }
            }
            Action::CloseLink { link, .. } => {
                if let Some((to, other)) = self.servers[n].links.remove(&link) {
                    self.servers[to].links.remove(&other);
                    self.link(to, other, LinkEvent::Down);
                }
            }
            Action::Disk { op, what } => {
                let done = match what {
                    DiskOp::Truncate(last) => Persisted::Truncated { op, last },
                    _ => Persisted::Through(op),
                };
                let server = &mut self.servers[n];
                match &mut server.slow_disk {
                    Some(held) => held.push(done),
                    None => server.member.peer_mut().handle_persisted(now.mono, done),
                }
            }
            Action::Deliver { txn, .. } => {
                self.largest = self.largest.max(txn.bytes.len());
                self.servers[n].member.deliver(txn).expect("valid");
            }
            Action::RoleChanged(change) => {
                self.apply(n);
                let server = &mut self.servers[n];
                let lost = server.member.handle_role(now, &mut server.state, &change);
                server.role_lost += u32::from(lost);
            }
            Action::FromLearner { link, packet, .. } => {
                let Server { member, state, clients, .. } = &mut self.servers[n];
                member.handle_learner(now, state, link, packet, clients);
            }
            Action::FromLeader(packet) => {
                let Server { member, clients, .. } = &mut self.servers[n];
                member.handle_leader(packet, clients);
            }
            Action::AnswerPing { zxid } => self.servers[n].member.answer_ping(zxid),
            Action::Warn(_) => {}
            Action::Synced { token } => self.servers[n].member.handle_synced(token),
            Action::ConfigSeen(_) | Action::ConfigActive { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn dial(&mut self, n: usize, link: LinkId, to: usize, listening: bool) {
        if !self.connected(n, to) || !listening {
            return self.link(n, link, LinkEvent::Down);
        }
        let other = LinkId(self.next_link);
        self.next_link += 1;
        self.servers[n].links.insert(link, (to, other));
        self.servers[to].links.insert(other, (n, link));
        self.link(to, other, LinkEvent::Up);
        self.link(n, link, LinkEvent::Up);
    }

    fn connected(&self, a: usize, b: usize) -> bool {
        self.servers[a].alive
            && self.servers[b].alive
            && !self.cut.contains(&a)
            && !self.cut.contains(&b)
    }

    fn link(&mut self, n: usize, link: LinkId, event: LinkEvent) {
        if self.servers[n].alive {
            let now = self.now.mono;
            self.servers[n].member.peer_mut().handle_link(now, link, event);
        }
    }

    /// Lets time pass in steps of 50 ms.
    fn run_for(&mut self, ms: u64) {
        self.settle();
        for _ in 0..ms / 50 {
            self.now.mono = self.now.mono + Duration::from_millis(50);
            self.now.wall.0 += 50;
            let now = self.now;
            for server in self.servers.iter_mut().filter(|s| s.alive) {
                if server.member.poll_timeout().is_some_and(|due| due <= now.mono) {
                    let Server { member, state, clients, .. } = server;
                    member.handle_timeout(now, state, clients);
                }
            }
            self.settle();
        }
    }

    fn kill(&mut self, n: usize) {
        self.servers[n].alive = false;
        let links = std::mem::take(&mut self.servers[n].links);
        for (to, other) in links.into_values() {
            self.servers[to].links.remove(&other);
            self.link(to, other, LinkEvent::Down);
        }
    }

    fn connect_as(&mut self, n: usize, session: SessionId, password: Bytes) -> u64 {
        self.connect_with(n, session, password, false)
    }

    fn connect_with(
        &mut self,
        n: usize,
        session: SessionId,
        password: Bytes,
        can_be_read_only: bool,
    ) -> u64 {
        let conn = self.next_conn;
        self.next_conn += 1;
        let ask = Connect {
            conn: ConnId(conn),
            session,
            timeout_ms: 4000,
            password,
            read_only: Some(can_be_read_only),
            last_zxid: Zxid(0),
        };
        let now = self.now;
        let Server { member, state, clients, .. } = &mut self.servers[n];
        member.handle_connect(now, state, ask, clients);
        self.settle();
        conn
    }

    /// A new session at a member: its connection.
    fn connect(&mut self, n: usize) -> (u64, SessionId) {
        let conn = self.connect_as(n, SessionId::NONE, Bytes::new());
        (conn, self.servers[n].clients.sessions[&conn])
    }

    fn renew(&mut self, n: usize, session: SessionId) -> u64 {
        let password = Passwords::Apache.of(session);
        self.connect_as(n, session, Bytes::copy_from_slice(&password))
    }

    fn request(&mut self, n: usize, conn: u64, session: SessionId, opcode: OpCode, body: Bytes) {
        let xid = 7;
        let ids: Arc<[Id]> = Arc::from([Id::new("ip", "127.0.0.1")]);
        let request = Request { conn: ConnId(conn), session, xid, opcode, body, ids, large: None };
        let now = self.now;
        let Server { member, state, clients, .. } = &mut self.servers[n];
        member.handle_request(now, state, request, clients);
        self.settle();
    }

    fn create(&mut self, n: usize, conn: u64, session: SessionId, path: &str, flags: i32) {
        let body =
            CreateRequest { path: Some(path.to_owned()), data: None, acl: Some(open_acl()), flags };
        self.request(n, conn, session, OpCode::CREATE, body.to_bytes());
    }

    /// The code of the last reply that a connection got.
    fn last_code(&self, n: usize, conn: u64) -> i32 {
        let frames = &self.servers[n].clients.frames[&conn];
        let frame = frames.last().expect("a reply");
        i32::from_be_bytes(frame[16..20].try_into().expect("four bytes"))
    }

    fn has(&self, path: &str) -> Vec<bool> {
        let alive = self.servers.iter().filter(|s| s.alive);
        alive.map(|s| s.state.node(path).is_some()).collect()
    }

    fn closed(&self, n: usize, conn: u64) -> bool {
        self.servers[n].clients.closed.contains_key(&conn)
    }
}

#[test]
fn a_write_anywhere_is_answered_there_and_seen_everywhere() {
    let mut world = World::new();
    for n in 0..3 {
        let (conn, session) = world.connect(n);
        assert_eq!(session.0 >> 56, n as i64 + 1, "the server's id is in the top byte");
        world.create(n, conn, session, &format!("/from-{n}"), 0);
        assert_eq!(world.last_code(n, conn), 0);
        world.create(n, conn, session, &format!("/from-{n}"), 0);
        assert_eq!(world.last_code(n, conn), Code::NODE_EXISTS.0);
        assert_eq!(world.has(&format!("/from-{n}")), [true; 3]);
    }
    let digests: Vec<i64> = world.servers.iter().map(|s| s.state.digest()).collect();
    assert!(digests.iter().all(|d| *d == digests[0]));
}

#[test]
fn a_member_whose_clock_went_back_between_two_starts_gives_no_session_twice() {
    let mut world = World::new();
    let (_, first) = world.connect(0);
    world.servers[0].member.next_session = first.0;
    let (conn, second) = world.connect(0);
    assert_eq!(second.0, first.0 + 1, "the first lives");
    world.create(0, conn, second, "/own", 1);
    assert_eq!(world.last_code(0, conn), 0);
}

#[test]
fn without_a_quorum_nobody_is_served_and_everybody_is_sent_away() {
    let mut world = World::new();
    let (conn, session) = world.connect(0);
    world.kill(2);
    world.kill(1);
    world.run_for(500);
    assert_eq!(world.servers[0].role_lost, 1, "the shell closes all connections");
    let refused = world.connect_as(0, SessionId::NONE, Bytes::new());
    assert!(world.closed(0, refused));
    world.create(0, conn, session, "/alone", 0);
    assert!(world.closed(0, conn));
}

#[test]
fn a_session_lives_by_reads_at_a_follower_and_ends_without_them() {
    let mut world = World::new();
    let (idle, idle_session) = world.connect(0);
    let (used, used_session) = world.connect(1);
    world.create(0, idle, idle_session, "/idle", 1);
    world.create(1, used, used_session, "/used", 1);
    for _ in 0..8 {
        let now = world.now.mono;
        world.servers[1].member.touch(used_session, 4000, now);
        world.run_for(1000);
    }
    assert_eq!((world.has("/idle"), world.has("/used")), (vec![false; 3], vec![true; 3]));
    assert!(world.closed(0, idle), "the server that has the connection closes it");
    assert!(!world.closed(1, used));
}

#[test]
fn a_session_moves_and_its_old_connection_can_not_write() {
    let mut world = World::new();
    let (old, session) = world.connect(0);
    world.create(0, old, session, "/mine", 1);
    for n in [1, 2, 0, 2, 1] {
        let conn = world.renew(n, session);
        assert_eq!(world.servers[n].clients.sessions.get(&conn), Some(&session), "at {n}");
        world.create(n, conn, session, &format!("/at-{n}-{conn}"), 0);
        assert_eq!(world.last_code(n, conn), 0, "at {n}");
    }
    world.create(0, old, session, "/stale", 0);
    assert!(world.closed(0, old));
    assert_eq!(world.has("/stale"), [false; 3]);
    assert_eq!(world.has("/mine"), [true; 3]);
    let wrong = world.connect_as(1, session, Bytes::from_static(&[1; 16]));
    assert!(world.closed(1, wrong) && !world.servers[1].clients.sessions.contains_key(&wrong));
}

#[test]
fn a_write_of_a_session_that_has_moved_closes_its_connection_unanswered() {
    let mut world = World::new();
    let (old, session) = world.connect(0);
    // The session moves to another follower; this one has not heard of it.
    world.renew(1, session);
    let before = world.servers[0].clients.frames[&old].len();
    world.create(0, old, session, "/stale", 0);
    assert!(world.closed(0, old));
    assert_eq!(world.servers[0].clients.frames[&old].len(), before);
    assert_eq!(world.has("/stale"), [false; 3]);
}

#[test]
fn sessions_outlive_their_leader_with_a_full_timeout() {
    let mut world = World::new();
    let (conn, session) = world.connect(0);
    world.create(0, conn, session, "/mine", 1);
    // Nearly expired when the leader dies.
    world.run_for(3500);
    world.kill(2);
    world.run_for(1000);
    let leader = world.leader();
    assert_eq!(world.servers[0].role_lost, 1);
    world.run_for(2500);
    assert_eq!(world.has("/mine"), [true; 2]);
    let conn = world.renew(leader, session);
    assert_eq!(world.servers[leader].clients.sessions.get(&conn), Some(&session));
    world.run_for(6000);
    assert_eq!(world.has("/mine"), [false; 2], "a full timeout, and no more");
}

#[test]
fn a_sync_waits_until_what_it_promises_is_on_the_members_own_disk() {
    let mut world = World::new();
    let (writer, writer_session) = world.connect(1);
    let (reader, reader_session) = world.connect(0);
    world.servers[0].slow_disk = Some(Vec::new());
    world.create(1, writer, writer_session, "/a", 0);
    assert_eq!(world.has("/a"), [false, true, true], "two of three have committed it");
    let answers = |world: &World| world.servers[0].clients.frames[&reader].len();
    let before = answers(&world);
    let body = PathRecord { path: Some("/".to_owned()) };
    world.request(0, reader, reader_session, OpCode::SYNC, body.to_bytes());
    world.run_for(200);
    assert_eq!(answers(&world), before, "a read now would not show what was acknowledged");
    let now = world.now.mono;
    for done in world.servers[0].slow_disk.take().expect("slow") {
        world.servers[0].member.peer_mut().handle_persisted(now, done);
    }
    world.settle();
    assert_eq!((answers(&world), world.has("/a")), (before + 1, vec![true; 3]));
}

#[test]
fn a_sync_is_answered_behind_everything_before_it() {
    let mut world = World::new();
    for n in 0..3 {
        let (conn, session) = world.connect(n);
        let body = PathRecord { path: Some("/".to_owned()) };
        let before = world.servers[n].clients.frames[&conn].len();
        world.request(n, conn, session, OpCode::SYNC, body.to_bytes());
        assert_eq!(world.servers[n].clients.frames[&conn].len(), before + 1, "at {n}");
        assert_eq!(world.last_code(n, conn), 0);
    }
}

#[test]
fn a_sync_shows_the_path_as_it_was_understood() {
    let mut world = World::new();
    for n in 0..3 {
        let (conn, session) = world.connect(n);
        // A path of Java's two halves of a character, and bytes behind it that nobody reads.
        let body = [&[0, 0, 0, 5, b'/'], "\u{1f600}".as_bytes(), &[1, 2, 3]].concat();
        world.request(n, conn, session, OpCode::SYNC, body.into());
        let frames = &world.servers[n].clients.frames[&conn];
        let answer = b"\0\0\0\x07/\xed\xa0\xbd\xed\xb8\x80";
        assert_eq!(frames.last().expect("a reply")[20..], answer[..], "at {n}");
    }
}

/// Two followers have the session's creation, the leader's own disk is slow: it must not say that
/// the session has expired.
#[test]
fn a_leader_renews_a_session_that_is_not_on_its_own_disk_yet() {
    let mut world = World::new();
    world.servers[2].slow_disk = Some(Vec::new());
    let (old, session) = world.connect(0);
    assert!(world.servers[2].state.sessions().get(session).is_none());
    let conn = world.renew(2, session);
    assert_eq!(world.servers[2].clients.sessions.get(&conn), Some(&session));
    world.create(0, old, session, "/stale", 0);
    assert!(world.closed(0, old), "and it has moved");
}

/// Every reader between members takes what is written, however much a session leaves behind.
#[test]
fn a_session_ends_whatever_its_ephemerals_weigh() {
    let mut world = World::new();
    let (conn, session) = world.connect(0);
    let path = |n| format!("/{n}-{}", "x".repeat(100_000));
    for n in 0..12 {
        world.create(0, conn, session, &path(n), 1);
        assert_eq!(world.has(&path(n)), [true; 3]);
    }
    world.request(0, conn, session, OpCode::CLOSE_SESSION, Bytes::new());
    assert!(world.largest < 1 << 20, "{} bytes", world.largest);
    assert!((0..12).all(|n| world.has(&path(n)) == [false; 3]));
}

#[test]
fn a_session_that_ends_twice_ends_once() {
    let mut world = World::new();
    let (conn, session) = world.connect(0);
    world.create(0, conn, session, "/mine", 1);
    world.servers[0].slow_disk = Some(Vec::new());
    world.servers[1].slow_disk = Some(Vec::new());
    // Closed by its client while nothing can be committed; then asked for once more.
    world.request(0, conn, session, OpCode::CLOSE_SESSION, Bytes::new());
    world.request(0, conn, session, OpCode::CLOSE_SESSION, Bytes::new());
    world.create(0, conn, session, "/late", 1);
    assert_eq!(world.has("/mine"), [true; 3]);
    for n in 0..2 {
        let now = world.now.mono;
        for done in world.servers[n].slow_disk.take().expect("slow") {
            world.servers[n].member.peer_mut().handle_persisted(now, done);
        }
    }
    world.settle();
    assert_eq!((world.has("/mine"), world.has("/late")), (vec![false; 3], vec![false; 3]));
    assert!(world.closed(0, conn));
}

#[test]
fn closing_a_session_removes_its_ephemerals_and_its_connection_wherever_they_are() {
    let mut world = World::new();
    let (conn, session) = world.connect(0);
    world.create(0, conn, session, "/mine", 1);
    world.request(0, conn, session, OpCode::CLOSE_SESSION, Bytes::new());
    assert_eq!(world.last_code(0, conn), 0);
    assert!(world.closed(0, conn));
    assert_eq!(world.has("/mine"), [false; 3]);
    let again = world.renew(1, session);
    assert!(world.closed(1, again), "it is over");
}

#[test]
fn what_a_cut_off_leader_takes_is_lost_with_it_and_never_answered() {
    let mut world = World::new();
    let (conn, session) = world.connect(2);
    world.cut.push(2);
    world.create(2, conn, session, "/private", 0);
    let answered = world.servers[2].clients.frames[&conn].len();
    assert_eq!(answered, 1, "the connect response alone");
    world.run_for(30_000);
    assert_eq!(world.servers[2].role_lost, 1);
    assert_eq!(world.servers[2].clients.frames[&conn].len(), answered);
    assert_ne!(world.leader(), 2);
}

#[test]
fn a_local_session_writes_and_ends_without_a_transaction() {
    let mut world = World::with(LocalSessions { enabled: true, upgrading: false });
    for n in 0..3 {
        let before = world.servers[n].state.last_zxid();
        let (conn, session) = world.connect(n);
        assert_eq!(world.servers[n].state.last_zxid(), before, "no transaction");
        world.create(n, conn, session, &format!("/plain-{n}"), 0);
        assert_eq!(world.last_code(n, conn), 0);
        world.create(n, conn, session, &format!("/ephemeral-{n}"), 1);
        assert_eq!(world.last_code(n, conn), Code::EPHEMERAL_ON_LOCAL_SESSION.0);
        assert!(world.servers.iter().all(|s| s.state.sessions().is_empty()));
        let again = world.renew(n, session);
        assert!(world.closed(n, conn) && !world.closed(n, again));
        let elsewhere = world.renew((n + 1) % 3, session);
        assert!(world.closed((n + 1) % 3, elsewhere), "unknown there");
        world.request(n, again, session, OpCode::CLOSE_SESSION, Bytes::new());
        assert_eq!(world.last_code(n, again), 0);
        assert!(world.closed(n, again));
    }
    let (conn, _) = world.connect(1);
    world.run_for(8000);
    assert!(world.closed(1, conn), "silent for too long");
}

#[test]
fn a_local_session_becomes_global_with_its_first_ephemeral() {
    let mut world = World::with(LocalSessions { enabled: true, upgrading: true });
    for n in 0..3 {
        let (conn, session) = world.connect(n);
        world.create(n, conn, session, &format!("/e-{n}"), 1);
        assert_eq!(world.last_code(n, conn), 0, "at {n}");
        assert!(world.servers.iter().all(|s| s.state.sessions().get(session) == Some(4000)));
        world.create(n, conn, session, &format!("/f-{n}"), 1);
        assert_eq!(world.last_code(n, conn), 0);
        let moved = world.renew((n + 1) % 3, session);
        assert!(!world.closed((n + 1) % 3, moved), "global sessions move");
        world.run_for(10_000);
        assert_eq!(world.has(&format!("/e-{n}")), [false; 3], "and expire");
    }
}

fn read_only_world(local: bool) -> (World, Vec<(u64, SessionId)>) {
    let mut world = World::with(LocalSessions { enabled: local, upgrading: local });
    let now = world.now;
    for server in &mut world.servers {
        let placeholder = Member::new(
            options(9),
            zab::Options::new(ServerId(9), Membership::majority([ServerId(9)], [])),
            DiskState::default(),
            &server.state,
            now,
        );
        let member = std::mem::replace(&mut server.member, placeholder.expect("fresh"));
        server.member = member.with_read_only_mode(now);
        // It has a leader: nothing is planned.
        server.member.read_only_at = None;
    }
    let sessions: Vec<_> = (0..3).map(|n| world.connect(n)).collect();
    let (conn, session) = sessions[0];
    world.create(0, conn, session, "/a", 0);
    (world, sessions)
}

impl World {
    /// The `readOnly` byte of the connect response that a connection got, and its session's id.
    fn welcome(&self, n: usize, conn: u64) -> (u8, i64) {
        let frame = &self.servers[n].clients.frames[&conn][0];
        let session = i64::from_be_bytes(frame[12..20].try_into().expect("eight bytes"));
        (*frame.last().expect("a byte"), session)
    }
}

#[test]
fn without_a_quorum_readers_are_served_after_a_grace_and_nobody_else() {
    let (mut world, _) = read_only_world(true);
    world.kill(1);
    world.kill(2);
    // A follower gives its leader up at once: its link is down.
    world.run_for(1900);
    assert!(!world.servers[0].member.is_read_only(), "not before two seconds have passed");
    let early = world.connect_with(0, SessionId::NONE, Bytes::new(), true);
    assert!(world.closed(0, early));
    world.run_for(200);
    assert!(world.servers[0].member.is_read_only());

    let writer = world.connect_with(0, SessionId::NONE, Bytes::new(), false);
    assert!(world.closed(0, writer), "it did not say that reading will do");
    assert!(!world.servers[0].clients.frames.contains_key(&writer), "without a reply");

    let last = world.servers[0].state.last_zxid();
    let conn = world.connect_with(0, SessionId::NONE, Bytes::new(), true);
    let session = world.servers[0].clients.sessions[&conn];
    assert_eq!(world.welcome(0, conn), (1, session.0));
    for opcode in [
        OpCode::CREATE,
        OpCode::CREATE2,
        OpCode::CREATE_CONTAINER,
        OpCode::CREATE_TTL,
        OpCode::DELETE,
        OpCode::SET_DATA,
        OpCode::SET_ACL,
        OpCode::MULTI,
        OpCode::RECONFIG,
        OpCode::SYNC,
    ] {
        world.request(0, conn, session, opcode, Bytes::from_static(b"\0"));
        assert_eq!(world.last_code(0, conn), Code::NOT_READ_ONLY.0, "{opcode:?}");
    }
    assert!(!world.closed(0, conn));
    // It lives by its pings, and ends by its own wish, without a transaction.
    for _ in 0..4 {
        let now = world.now.mono;
        world.servers[0].member.touch(session, 4000, now);
        world.run_for(2000);
    }
    assert!(!world.closed(0, conn));
    let again = world.renew(0, session);
    assert!(world.closed(0, again), "the renewal did not say that reading will do");
    let password = Bytes::copy_from_slice(&Passwords::Apache.of(session));
    let again = world.connect_with(0, session, password.clone(), true);
    assert_eq!(world.welcome(0, again), (1, session.0));
    assert!(world.closed(0, conn), "renewed elsewhere");
    world.request(0, again, session, OpCode::CLOSE_SESSION, Bytes::new());
    assert_eq!(world.last_code(0, again), 0);
    assert!(world.closed(0, again));
    let gone = world.connect_with(0, session, password, true);
    assert_eq!(world.welcome(0, gone), (1, 0), "unknown now");
    assert!(world.closed(0, gone));
    assert_eq!(world.servers[0].state.last_zxid(), last);
}

#[test]
fn a_global_session_stays_with_the_ensemble_and_is_served_again_by_it() {
    let (mut world, _) = read_only_world(false);
    let (_, session) = world.connect(0);
    world.cut = vec![1, 2];
    let lost = world.servers[0].role_lost;
    world.run_for(60_000);
    assert!(world.servers[0].member.is_read_only());
    assert_eq!(world.servers[0].role_lost, lost + 1);

    let new = world.connect_with(0, SessionId::NONE, Bytes::new(), true);
    let frame = &world.servers[0].clients.frames[&new][0];
    let last = world.servers[0].state.last_zxid();
    assert_eq!(frame.len(), 20, "a reply where a connect response is expected");
    assert_eq!(frame[8..16], last.0.to_be_bytes());
    assert_eq!(world.last_code(0, new), Code::NOT_READ_ONLY.0);
    let password = Bytes::copy_from_slice(&Passwords::Apache.of(session));
    let renewed = world.connect_with(0, session, password.clone(), true);
    assert!(world.closed(0, renewed));
    assert!(!world.servers[0].clients.frames.contains_key(&renewed), "without a reply");

    world.cut.clear();
    world.run_for(20_000);
    assert!(!world.servers[0].member.is_read_only());
    assert_eq!(world.servers[0].role_lost, lost + 2, "readers are sent away");
}

#[test]
fn a_server_with_a_quorum_welcomes_readers_as_everybody() {
    let (mut world, _) = read_only_world(true);
    let conn = world.connect_with(0, SessionId::NONE, Bytes::new(), true);
    let session = world.servers[0].clients.sessions[&conn];
    assert_eq!(world.welcome(0, conn), (0, session.0));
    world.create(0, conn, session, "/b", 0);
    assert_eq!(world.last_code(0, conn), 0);
}

/// S-HIJACK in an ensemble: sessions move among members that share a secret, also past the death of
/// their leader; a password computed from the id opens nothing, nor does one of another secret.
#[test]
fn sessions_move_among_members_that_share_a_secret() {
    let secret = |server: i64| Passwords::Secret {
        secret: if server == 1 { b"another secret of one" } else { b"the secret of the two" }
            .to_vec(),
        taken_over: Default::default(),
    };
    let mut world = World::with_passwords(0, LocalSessions::default(), secret);
    let (_, session) = world.connect(2);
    let computed = world.renew(1, session);
    assert_eq!(world.welcome(1, computed).1, 0);
    assert!(world.closed(1, computed));
    let password = Bytes::copy_from_slice(&secret(2).of(session));
    let moved = world.connect_as(1, session, password.clone());
    assert_eq!(world.welcome(1, moved).1, session.0);
    let elsewhere = world.connect_as(0, session, password.clone());
    assert_eq!(world.welcome(0, elsewhere).1, 0, "its secret is another");
    world.kill(2);
    world.run_for(2000);
    let again = world.connect_as(1, session, password);
    assert_eq!(world.welcome(1, again).1, session.0, "past its leader's death");
}

mod known;
mod observers;
