use std::collections::BTreeSet;

use bytes::Bytes;

use super::*;
use crate::proto::jute::Reader;
use crate::proto::opcode::OpCode;
use crate::proto::txn::{CreateTxn, Txn};
use crate::state::testkit::entry;
use crate::state::{Belongings, Census, Options, StateMachine};
use crate::testing::finite_rng::Xorshift;
use crate::types::{SessionId, open_acl};

const SESSION: i64 = 0x10;

/// A tree that is changed by transactions.
struct Changing {
    state: StateMachine,
    zxid: i64,
}

impl Changing {
    fn new() -> Changing {
        let mut new = Changing { state: StateMachine::new(Options::default()), zxid: 0 };
        new.apply(OpCode::CREATE_SESSION, Txn::CreateSession { timeout_ms: 1000 });
        new
    }

    fn apply(&mut self, kind: OpCode, txn: Txn) {
        self.zxid += 1;
        self.state.apply(&entry(self.zxid, SESSION, kind, txn), &mut Vec::new());
    }

    fn create(&mut self, path: &str, ephemeral: bool) {
        let data = Some(Bytes::new());
        let (path, acl) = (path.to_owned(), open_acl());
        let create = CreateTxn { path, data, acl, ephemeral, parent_cversion: -1 };
        self.apply(OpCode::CREATE, Txn::Create(create));
    }

    fn delete(&mut self, path: &str) {
        self.apply(OpCode::DELETE, Txn::Delete { path: path.to_owned() });
    }

    fn names(&self, path: &str) -> BTreeSet<String> {
        let node = self.state.node(path).expect("it is there");
        node.children().map(str::to_owned).collect()
    }
}

/// The strings of a reply.
fn strings(count: usize, pieces: impl Iterator<Item = BytesMut>) -> BTreeSet<String> {
    let mut r = Reader::new(pieces.flatten().collect());
    let all: Vec<String> = (0..count).map(|_| r.get().expect("a string")).collect();
    assert_eq!(r.remaining(), 0, "nothing is behind the last");
    let set: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(set.len(), all.len(), "none is told twice");
    set
}

/// Creates and deletes some children of "/p" at random, with a snapshot under way now and then.
fn disturb(tree: &mut Changing, rng: &mut Xorshift, most: u64) {
    for _ in 0..rng.below(most) {
        let path = format!("/p/{}", rng.below(300));
        match tree.state.node(&path) {
            Some(_) => tree.delete(&path),
            None => tree.create(&path, false),
        }
        match rng.below(40) {
            0 => drop(tree.state.begin_snapshot()),
            1 => drop(tree.state.end_snapshot()),
            _ => {}
        }
    }
}

#[test]
fn a_list_made_in_steps_is_exact_at_its_last_step() {
    let (mut restarts, mut settled) = (0, 0);
    for seed in 1..=12 {
        let (mut tree, mut rng) = (Changing::new(), Xorshift::new(seed));
        tree.create("/p", false);
        disturb(&mut tree, &mut rng, 600);
        let mut listing = Listing::begin(&tree.state.node("/p").expect("it is there"));
        let most = [2, 10, 60][(seed % 3) as usize];
        let mut steps = 0;
        loop {
            let node = tree.state.node("/p").expect("it is there");
            match listing.step(&node, 1 + rng.below(20) as usize) {
                Progress::Done => break,
                Progress::Restart => {
                    restarts += 1;
                    listing = Listing::begin(&node);
                }
                Progress::Settle => {
                    settled += 1;
                    listing.settle();
                }
                Progress::More => {}
            }
            // It ends because somebody pauses: the writer is faster than these steps.
            steps += 1;
            let most = if steps > 60 { 1 } else { most };
            disturb(&mut tree, &mut rng, most);
        }
        let (count, bytes) = (listing.count(), listing.bytes());
        let names = strings(count, listing.into_pieces());
        assert_eq!(names, tree.names("/p"), "seed {seed}");
        assert_eq!(bytes, names.iter().map(|n| 4 + n.len()).sum::<usize>());
    }
    assert_eq!(restarts, 0);
    assert!(settled > 0);
}

#[test]
fn a_list_whose_node_was_made_anew_begins_again() {
    let mut tree = Changing::new();
    tree.create("/p", false);
    (0..10).for_each(|n| tree.create(&format!("/p/{n}"), false));
    let node = tree.state.node("/p").expect("it is there");
    let (mut listing, mut census) = (Listing::begin(&node), Census::begin(&node));
    assert_eq!(listing.step(&node, 3), Progress::More);
    assert_eq!(census.step(&node, 3), Progress::More);
    (0..10).for_each(|n| tree.delete(&format!("/p/{n}")));
    tree.delete("/p");
    tree.create("/p", false);
    let node = tree.state.node("/p").expect("it is there");
    assert_eq!(listing.step(&node, 3), Progress::Restart);
    assert_eq!(census.step(&node, 3), Progress::Restart);
    // Another tree, as after a leader's snapshot.
    let mut listing = Listing::begin(&node);
    let mut other = Changing::new();
    other.zxid = tree.zxid - 1;
    other.create("/p", false);
    assert_eq!(listing.step(&other.state.node("/p").expect("there"), 3), Progress::Restart);
}

#[test]
fn more_removals_than_are_remembered_begin_a_list_again() {
    let mut tree = Changing::new();
    tree.create("/p", false);
    tree.create("/p/stays", false);
    let mut listing = Listing::begin(&tree.state.node("/p").expect("it is there"));
    for _ in 0..=1 << 14 {
        tree.create("/p/passing", false);
        tree.delete("/p/passing");
    }
    let node = tree.state.node("/p").expect("it is there");
    assert_eq!(listing.step(&node, 3), Progress::Restart);
}

#[test]
fn a_count_in_steps_never_counts_what_was_there_all_along_less_or_more_than_once() {
    for seed in 1..=20 {
        let (mut tree, mut rng) = (Changing::new(), Xorshift::new(seed));
        tree.create("/p", false);
        for n in 0..300 {
            // Those with a child stay.
            if n % 7 == 0 {
                tree.create(&format!("/p/{n}"), false);
                tree.create(&format!("/p/{n}/below"), false);
            }
        }
        let stays = 2 * 43;
        let change = |tree: &mut Changing, rng: &mut Xorshift| {
            for _ in 0..rng.below(30) {
                let n = rng.below(300);
                let path = format!("/p/{n}");
                match tree.state.node(&path) {
                    _ if n % 7 == 0 => {}
                    Some(_) => tree.delete(&path),
                    None => tree.create(&path, false),
                }
            }
        };
        change(&mut tree, &mut rng);
        let mut census = Census::begin(&tree.state.node("/p").expect("it is there"));
        while census.step(&tree.state.node("/p").expect("there"), 5) != Progress::Done {
            change(&mut tree, &mut rng);
        }
        assert!((stays..=stays + 300).contains(&census.count()), "{}", census.count());
        let now = tree.state.node("/p").expect("it is there");
        let mut census = Census::begin(&now);
        while census.step(&now, 5) != Progress::Done {}
        assert_eq!(Some(census.count() as i32), tree.state.all_children_number("/p"));
    }
}

#[test]
fn ephemerals_in_steps_are_those_that_are_left_in_the_order_of_one_go() {
    for seed in 1..=5 {
        let (mut tree, mut rng) = (Changing::new(), Xorshift::new(seed));
        tree.create("/q", false);
        for n in 0..2500 {
            tree.create(&format!("/q/e{n}"), true);
        }
        let mut own = Belongings::begin(&tree.state, SessionId(SESSION));
        let mut deletes = 20;
        loop {
            match own.step(&tree.state, "/q", 100) {
                Progress::Done => break,
                Progress::Restart => own = Belongings::begin(&tree.state, SessionId(SESSION)),
                Progress::Settle => own.settle(),
                Progress::More => {}
            }
            if deletes > 0 && rng.below(3) == 0 {
                deletes -= 1;
                let path = format!("/q/e{}", rng.below(2500));
                if tree.state.node(&path).is_some() {
                    tree.delete(&path);
                }
            }
        }
        let count = own.count();
        let mut r = Reader::new(own.into_pieces().flatten().collect());
        let told: Vec<String> = (0..count).map(|_| r.get().expect("a path")).collect();
        assert_eq!(r.remaining(), 0);
        let mut expected = tree.state.ephemerals_of(SessionId(SESSION));
        let buckets = crate::types::java::cloned_buckets(expected.len());
        crate::types::java::set_order(&mut expected, buckets);
        assert_eq!(told, expected, "seed {seed}");
    }
}
