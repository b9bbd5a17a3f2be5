//! A handful of peers whose membership changes at random while they crash, come back and lose links:
//! whatever anyone applies as committed is one sequence, no epoch has two leaders, and in the end
//! writes go on. In every other storm a leader that has proposed a change falls soon after.

use std::collections::BTreeMap;

use super::*;
use crate::zab::action::RoleChange;

const NODES: i64 = 5;

/// A generator of random numbers, by a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n.max(1)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

enum Message {
    Event(LinkEvent),
    /// The stream behind a SNAP.
    Stream(Vec<EncodedTxn>),
}

/// One end of a link: whose, under which number, and what is on its way there.
struct End {
    node: i64,
    link: LinkId,
    coming: VecDeque<Message>,
}

#[derive(Clone)]
struct Disk {
    accepted: Epoch,
    current: Epoch,
    log: Vec<EncodedTxn>,
    config: Membership,
    next: Option<Membership>,
}

struct Node {
    peer: Option<Peer>,
    disk: Disk,
    queue: VecDeque<(OpId, DiskOp)>,
    images: BTreeMap<ImageId, Vec<EncodedTxn>>,
    state: Vec<EncodedTxn>,
    listening: bool,
}

struct Storm {
    dice: Dice,
    now: Instant,
    nodes: BTreeMap<i64, Node>,
    links: Vec<[End; 2]>,
    votes: BTreeMap<(i64, i64), Notification>,
    /// What is committed.
    agreed: Vec<EncodedTxn>,
    leaders: BTreeMap<Epoch, i64>,
    numbers: u64,
    changes: usize,
    /// Whether a leader that has proposed a change falls soon; then who, and after how many steps.
    hot: bool,
    ordered: Option<(i64, usize)>,
    /// Changes of roles, and links given up: for who reads a failure.
    trace: Vec<String>,
}

impl Storm {
    fn new(seed: u64, hot: bool) -> Storm {
        let node = |id: i64| {
            let members =
                if id <= 3 { "voters 1 2 3".to_owned() } else { format!("voters 1 2 3 {id}") };
            let disk = Disk {
                accepted: Epoch(0),
                current: Epoch(0),
                log: Vec::new(),
                config: config(&members, Zxid(0)),
                next: None,
            };
            let (queue, images, state) = Default::default();
            (id, Node { peer: None, disk, queue, images, state, listening: false })
        };
        let mut storm = Storm {
            dice: Dice(seed),
            now: Instant::from_millis(1000),
            nodes: (1..=NODES).map(node).collect(),
            links: Vec::new(),
            votes: BTreeMap::new(),
            agreed: Vec::new(),
            leaders: BTreeMap::new(),
            numbers: 1,
            changes: 0,
            hot,
            ordered: None,
            trace: Vec::new(),
        };
        (1..=3).for_each(|id| storm.start(id));
        storm
    }

    fn start(&mut self, id: i64) {
        let node = self.nodes.get_mut(&id).expect("known");
        let mut members = node.disk.config.clone();
        if !members.is_member(ServerId(id)) {
            // Its file has to name it.
            members.observers.insert(ServerId(id));
        }
        let mut options = Options::new(ServerId(id), members);
        options.tick = Duration::from_millis(500);
        options.reconfig = Some(READER);
        options.seen = node.disk.next.clone();
        let disk = DiskState {
            accepted_epoch: node.disk.accepted,
            current_epoch: node.disk.current,
            last: node.disk.log.last().map_or(Zxid::ZERO, |t| t.zxid),
            recent: node.disk.log.clone(),
            recent_after: Zxid::ZERO,
            standing: Standing::Sound,
        };
        let (last, next) = (disk.last, options.seen.as_ref().map(|next| next.version));
        let told = format!("{id}: starts at {last} in {}, next {next:x?}", disk.current_epoch);
        self.trace.push(told);
        node.state = node.disk.log.clone();
        node.peer = Some(Peer::new(options, disk, self.now).expect("the disk fits"));
        self.drain(id);
    }

    /// Some of what the disk was asked for is there, the rest is not.
    fn crash(&mut self, id: i64) {
        let node = self.nodes.get_mut(&id).expect("known");
        let kept = self.dice.below(node.queue.len() + 1);
        for (_, what) in node.queue.drain(..).take(kept).collect::<Vec<_>>() {
            node.disk.apply(what, &mut node.images);
        }
        node.images.clear();
        node.listening = false;
        let had = node.peer.take().map(|peer| peer.last_logged()).unwrap_or_default();
        let last = node.disk.log.last().map_or(Zxid::ZERO, |t| t.zxid);
        self.trace.push(format!("{id}: falls at {had}, {last} of it on disk"));
        for at in (0..self.links.len()).rev() {
            if self.links[at].iter().any(|end| end.node == id) {
                self.cut(at, id);
            }
        }
        self.votes.retain(|(from, to), _| *from != id && *to != id);
    }

    /// One end closes: the other hears of it behind what is under way.
    fn cut(&mut self, at: usize, by: i64) {
        for end in &mut self.links[at] {
            if end.node == by {
                (end.node, end.coming) = (0, VecDeque::new());
            } else {
                end.coming.push_back(Message::Event(LinkEvent::Down));
            }
        }
    }

    fn peer(&mut self, id: i64, f: impl FnOnce(&mut Peer, Instant)) {
        let now = self.now;
        if let Some(peer) = self.nodes.get_mut(&id).and_then(|node| node.peer.as_mut()) {
            f(peer, now);
        }
        self.drain(id);
    }

    fn end_of(&self, id: i64, link: LinkId) -> Option<(usize, usize)> {
        let own = |end: &End| end.node == id && end.link == link;
        self.links
            .iter()
            .enumerate()
            .find_map(|(at, ends)| ends.iter().position(own).map(|side| (at, side)))
    }

    fn drain(&mut self, id: i64) {
        loop {
            let node = self.nodes.get_mut(&id).expect("known");
            let Some(action) = node.peer.as_mut().and_then(Peer::poll_action) else { return };
            match action {
                Action::SendNotification { to, notification } => {
                    self.votes.insert((id, to.0), notification);
                }
                Action::Connect { link, to } | Action::ConnectToMaster { link, to } => {
                    self.numbers += 1;
                    let there = self.nodes.get(&to.0).is_some_and(|node| node.listening);
                    let first = if there { LinkEvent::Up } else { LinkEvent::Down };
                    let own = End { node: id, link, coming: [Message::Event(first)].into() };
                    let up = [Message::Event(LinkEvent::Up)].into();
                    let node = if there { to.0 } else { 0 };
                    let other = End { node, link: LinkId(self.numbers), coming: up };
                    self.links.push([own, other]);
                }
                Action::Listen | Action::ListenForObservers => node.listening = true,
                Action::StopListening => node.listening = false,
                Action::Send { link, packet } => {
                    if let Some((at, side)) = self.end_of(id, link) {
                        let event = LinkEvent::Packet(packet);
                        self.links[at][1 - side].coming.push_back(Message::Event(event));
                    }
                }
                Action::SendSnapshot { link, .. } => {
                    let stream = node.state.clone();
                    if let Some((at, side)) = self.end_of(id, link) {
                        self.links[at][1 - side].coming.push_back(Message::Stream(stream));
                    }
                }
                Action::CloseLink { link, why } => {
                    self.trace.push(format!("{id}: close {why:?}"));
                    if let Some((at, _)) = self.end_of(id, link) {
                        self.cut(at, id);
                    }
                }
                Action::Disk { op, what } => node.queue.push_back((op, what)),
                Action::ReadLog { read, after, through } => {
                    let log = &node.disk.log;
                    let found = log.iter().map(|t| t.zxid).filter(|z| *z <= after).max();
                    let wanted = log.iter().filter(|t| t.zxid > after && t.zxid <= through);
                    let found = found.unwrap_or(Zxid::ZERO);
                    let read_back = LogRead { found, print: None, txns: wanted.cloned().collect() };
                    self.peer(id, |peer, now| peer.handle_log_read(now, read, Some(read_back)));
                }
                Action::LoadState { through } => {
                    let log = node.disk.log.iter().filter(|t| t.zxid <= through);
                    node.state = log.cloned().collect();
                    self.peer(id, Peer::handle_loaded);
                }
                Action::Deliver { txn, committed } => {
                    node.state.push(txn);
                    if committed {
                        self.check(id);
                    }
                }
                Action::RoleChanged(RoleChange::Leading { epoch, serving: true }) => {
                    let leader = *self.leaders.entry(epoch).or_insert(id);
                    if leader != id {
                        self.tell();
                    }
                    assert_eq!(leader, id, "two leaders of epoch {epoch}");
                }
                Action::AnswerPing { zxid } => {
                    self.peer(id, |peer, _| peer.answer_ping(zxid, Bytes::new()));
                }
                Action::Exit(why) => {
                    self.tell();
                    panic!("{id}: {why}")
                }
                Action::RoleChanged(change) => self.trace.push(format!("{id}: {change:?}")),
                _ => {}
            }
        }
    }

    /// How it came to this.
    fn tell(&self) {
        let from = self.trace.len().saturating_sub(60);
        eprintln!("{}", self.trace[from..].join("\n"));
    }

    /// What a server has applied as committed is what others have.
    fn check(&mut self, id: i64) {
        for (at, txn) in self.nodes[&id].state.iter().enumerate() {
            match self.agreed.get(at) {
                Some(known) => assert_eq!(known, txn, "{id} has something else at {at}"),
                None => self.agreed.push(txn.clone()),
            }
        }
    }

    fn leader(&self) -> Option<i64> {
        let leads = |node: &Node| node.peer.as_ref().is_some_and(|p| p.next_zxid().is_some());
        self.nodes
            .iter()
            .filter(|(_, n)| leads(n))
            .max_by_key(|(_, n)| n.disk.current)
            .map(|(id, _)| *id)
    }

    fn write(&mut self) {
        let Some(id) = self.leader() else { return };
        self.peer(id, |peer, now| {
            if let Some(zxid) = peer.next_zxid() {
                let _ = peer.propose(now, txn(zxid));
            }
        });
    }

    fn change(&mut self) {
        let Some(id) = self.leader() else { return };
        let (mut voters, mut observers) = (String::new(), String::new());
        for node in 1..=NODES {
            match self.dice.below(4) {
                0 | 1 => voters.push_str(&format!(" {node}")),
                2 => observers.push_str(&format!(" {node}")),
                _ => {}
            }
        }
        let text = format!("voters{voters};observers{observers}");
        let mut done = false;
        self.peer(id, |peer, now| {
            let Some(zxid) = peer.next_zxid() else { return };
            let new = config(&text, zxid);
            if !voters.is_empty() && !peer.is_reconfiguring() && peer.is_quorum_synced(&new) {
                done = peer.propose(now, change(&text, zxid)).is_ok();
            }
        });
        if done {
            self.changes += 1;
            self.trace.push(format!("{id}: proposes {text}"));
            self.ordered = self.hot.then(|| (id, 1 + self.dice.below(200)));
        }
    }

    fn step(&mut self, calm: bool) {
        if let Some((id, after)) = self.ordered.take().filter(|_| !calm) {
            match after {
                0 if self.nodes[&id].peer.is_some() => self.crash(id),
                0 => {}
                _ => self.ordered = Some((id, after - 1)),
            }
        }
        if !calm {
            let id = 1 + self.dice.below(NODES as usize) as i64;
            let runs = self.nodes[&id].peer.is_some();
            match self.dice.below(1500) {
                0..=2 if runs => self.crash(id),
                3..=6 if !runs => self.start(id),
                7..=9 if !self.links.is_empty() => {
                    let at = self.dice.below(self.links.len());
                    for side in 0..2 {
                        self.links[at][side].coming.clear();
                        self.links[at][side].coming.push_back(Message::Event(LinkEvent::Down));
                    }
                }
                10..=29 => self.change(),
                30..=69 => self.write(),
                _ => {}
            }
        }
        match self.dice.below(8) {
            0 | 1 => self.pass_disk(),
            2 => self.pass_vote(),
            3..=6 => self.pass_message(),
            _ => {
                if calm || self.dice.one_in(3) {
                    self.pass_time();
                }
            }
        }
    }

    fn pass_disk(&mut self) {
        let id = 1 + self.dice.below(NODES as usize) as i64;
        let node = self.nodes.get_mut(&id).expect("known");
        let Some((op, what)) = node.queue.pop_front() else { return };
        let cut = matches!(what, DiskOp::Truncate(_));
        node.disk.apply(what, &mut node.images);
        let last = node.disk.log.last().map_or(Zxid::ZERO, |t| t.zxid);
        let done = if cut { Persisted::Truncated { op, last } } else { Persisted::Through(op) };
        self.peer(id, |peer, now| peer.handle_persisted(now, done));
    }

    fn pass_vote(&mut self) {
        let at = self.dice.below(self.votes.len());
        let Some((key, vote)) = self.votes.iter().nth(at).map(|(k, v)| (*k, v.clone())) else {
            return;
        };
        self.votes.remove(&key);
        self.peer(key.1, |peer, now| peer.handle_notification(now, ServerId(key.0), vote));
    }

    fn pass_message(&mut self) {
        self.links.retain(|ends| {
            ends.iter().any(|end| end.node != 0 && !end.coming.is_empty())
                || ends.iter().all(|end| end.node != 0)
        });
        if self.links.is_empty() {
            return;
        }
        let (at, side) = (self.dice.below(self.links.len()), self.dice.below(2));
        let end = &mut self.links[at][side];
        let (id, link) = (end.node, end.link);
        if id == 0 {
            return;
        }
        let event = match end.coming.pop_front() {
            None => return,
            Some(Message::Event(event)) => event,
            Some(Message::Stream(stream)) => {
                self.numbers += 1;
                let image = ImageId(self.numbers);
                self.nodes.get_mut(&id).expect("known").images.insert(image, stream);
                LinkEvent::Image(image)
            }
        };
        if event == LinkEvent::Down {
            end.node = 0;
        }
        self.peer(id, |peer, now| peer.handle_link(now, link, event));
    }

    fn pass_time(&mut self) {
        let due = |node: &Node| node.peer.as_ref().and_then(Peer::poll_timeout);
        let Some(next) = self.nodes.values().filter_map(due).min() else { return };
        self.now = self.now.max(next);
        for id in 1..=NODES {
            let now = self.now;
            if due(&self.nodes[&id]).is_some_and(|due| due <= now) {
                self.peer(id, Peer::handle_timeout);
            }
        }
    }
}

impl Disk {
    fn apply(&mut self, what: DiskOp, images: &mut BTreeMap<ImageId, Vec<EncodedTxn>>) {
        match what {
            DiskOp::Append(txn) => self.log.push(txn),
            DiskOp::SaveAcceptedEpoch(epoch) => self.accepted = epoch,
            DiskOp::SaveCurrentEpoch(epoch) => self.current = epoch,
            DiskOp::Truncate(zxid) => self.log.retain(|t| t.zxid <= zxid),
            DiskOp::InstallSnapshot { image, .. } => {
                self.log = images.remove(&image).expect("sent")
            }
            DiskOp::SaveConfig { text, active, keep_next } => {
                let config = read(&text).expect("a config");
                if active {
                    self.config = config;
                    self.next = self.next.take().filter(|_| keep_next);
                } else {
                    self.next = Some(config);
                }
            }
        }
    }
}

fn run(seed: u64, hot: bool) -> (usize, usize) {
    let mut storm = Storm::new(seed, hot);
    for _ in 0..30_000 {
        storm.step(false);
    }
    // Everybody is there now, and stays.
    for id in 1..=NODES {
        if storm.nodes[&id].peer.is_none() {
            storm.start(id);
        }
    }
    for _ in 0..20_000 {
        storm.step(true);
    }
    let before = storm.agreed.len();
    storm.write();
    for _ in 0..20_000 {
        storm.step(true);
        if storm.agreed.len() > before {
            return (storm.changes, before);
        }
        if storm.dice.one_in(500) {
            storm.write();
        }
    }
    let what = |node: &Node| {
        let peer = node.peer.as_ref().expect("it runs");
        let members = &peer.options().membership;
        let text = String::from_utf8_lossy(&members.text).into_owned();
        format!(
            "{:?} under {:?}: {text}, next {:?}",
            peer.state(),
            peer.leader(),
            members.quorum.next
        )
    };
    let all: Vec<String> = storm.nodes.values().map(what).collect();
    storm.tell();
    panic!("seed {seed}: nothing is written any more\n{}", all.join("\n"));
}

#[test]
fn members_that_come_and_go_at_random_agree() {
    let (mut changes, mut txns) = (0, 0);
    for seed in 0..32 {
        let (changed, agreed) = run(seed, seed % 2 == 1);
        changes += changed;
        txns += agreed;
    }
    assert!(changes > 50 && txns > 500, "{changes} changes, {txns} transactions");
}
