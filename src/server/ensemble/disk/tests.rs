use super::*;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::host::load::Inline;
use crate::host::start;
use crate::proto::txn::{CreateTxn, Txn, TxnEntry, TxnHeader};
use crate::state::{self, StateLoader, StateMachine};
use crate::storage::LogOptions;
use crate::storage::disk::DiskRef;
use crate::storage::sim_disk::SimDisk;
use crate::storage::{Compression, Dirs, RecoveryOptions};
use crate::types::{Epoch, SessionId, WallTime, open_acl};
use crate::zab::{DiskOp, EncodedTxn, ImageId, OpId, Persisted, Standing};

fn create(zxid: i64) -> EncodedTxn {
    let header =
        TxnHeader { session: SessionId(7), cxid: 0, zxid: Zxid(zxid), time: WallTime(1), kind: 1 };
    let txn = CreateTxn {
        path: format!("/n{zxid:x}"),
        data: None,
        acl: open_acl(),
        ephemeral: false,
        parent_cversion: 1,
    };
    let entry = TxnEntry { header, txn: Txn::Create(txn), digest: None };
    EncodedTxn::new(Zxid(zxid), entry.encode())
}

struct Member {
    options: Options,
    thread: DiskThread,
    send: Sender<Report>,
    reports: Receiver<Report>,
    started: DiskStateSummary,
    next: u64,
}

/// What matters here of what was found.
struct DiskStateSummary {
    last: i64,
    epochs: (i64, i64),
    recent: Vec<i64>,
    nodes: usize,
    standing: Standing,
}

impl Member {
    fn start(disk: DiskRef) -> Member {
        Member::start_with(disk, 6)
    }

    fn start_with(disk: DiskRef, snap_count: u64) -> Member {
        let options = Options {
            disk,
            dirs: Dirs::new(std::path::Path::new("/data"), None),
            state: state::Options::default(),
            recovery: RecoveryOptions { trust_empty: true, ..RecoveryOptions::default() },
            compression: Compression::Plain,
            last_processed: true,
            snapshot_size_factor: 0.33,
            snap_count,
            snap_bytes: None,
        };
        let log_options = LogOptions { prealloc_bytes: 4096, ..LogOptions::default() };
        let found =
            start::start(&options, log_options, 3, WallTime(99), || Inline::new(options.state))
                .expect("start");
        let started = DiskStateSummary {
            last: found.disk.last.0,
            epochs: (found.disk.accepted_epoch.0, found.disk.current_epoch.0),
            recent: found.disk.recent.iter().map(|t| t.zxid.0).collect(),
            nodes: found.state.node_count(),
            standing: found.disk.standing,
        };
        let (send, reports) = channel();
        let sending = send.clone();
        let report = move |report| sending.send(report).expect("the test listens");
        let clock = || Instant::default();
        let thread =
            DiskThread::start(options.clone(), found.log, None, clock, report).expect("start");
        Member { options, thread, send, reports, started, next: 0 }
    }

    fn submit(&mut self, job: Job) {
        let mut here = Vec::new();
        self.thread.submit(&mut vec![job], &mut here);
        here.into_iter().for_each(|report| self.send.send(report).expect("the test listens"));
    }

    fn op(&mut self, what: DiskOp) -> OpId {
        self.next += 1;
        self.submit(Job::Op(OpId(self.next), what));
        OpId(self.next)
    }

    fn append(&mut self, zxids: impl IntoIterator<Item = i64>) {
        let mut last = OpId(0);
        for zxid in zxids {
            last = self.op(DiskOp::Append(create(zxid)));
        }
        loop {
            match self.persisted() {
                Persisted::Through(op) if op == last => return,
                Persisted::Through(op) => assert!(op < last),
                other => panic!("{other:?}"),
            }
        }
    }

    fn report(&self) -> Report {
        loop {
            match self.reports.recv().expect("a report") {
                Report::Synced(_) | Report::SnapshotDue => {}
                Report::Failed(error) => panic!("{error}"),
                report => return report,
            }
        }
    }

    fn persisted(&self) -> Persisted {
        match self.report() {
            Report::Persisted(done) => done,
            _ => panic!("something else"),
        }
    }

    fn load(&mut self, through: i64) -> StateMachine {
        self.submit(Job::Load(Zxid(through)));
        match self.report() {
            Report::Loaded(state) => *state,
            _ => panic!("something else"),
        }
    }

    fn read(&self, after: i64, through: i64) -> Option<(i64, Vec<i64>)> {
        let (send, found) = channel();
        let report = move |report| send.send(report).expect("the test listens");
        read_log(
            Arc::default(),
            self.options.clone(),
            ReadId(1),
            Zxid(after),
            Zxid(through),
            report,
        );
        match found.recv().expect("an answer") {
            Report::Read(_, found) => {
                found.map(|f| (f.found.0, f.txns.iter().map(|t| t.zxid.0).collect()))
            }
            _ => panic!("something else"),
        }
    }
}

const E1: i64 = 1 << 32;
const E2: i64 = 2 << 32;

#[test]
fn what_was_reported_is_there_after_a_restart() {
    let disk = SimDisk::new(1).shared();
    let mut member = Member::start(disk.clone());
    assert_eq!((member.started.last, member.started.standing), (0, Standing::Sound));
    member.op(DiskOp::SaveAcceptedEpoch(Epoch(1)));
    assert_eq!(member.persisted(), Persisted::Through(OpId(1)));
    member.op(DiskOp::SaveCurrentEpoch(Epoch(1)));
    assert_eq!(member.persisted(), Persisted::Through(OpId(2)));
    member.append((1..=5).map(|n| E1 + n));
    member.thread.stop();
    let member = Member::start(disk);
    assert_eq!(member.started.last, E1 + 5);
    assert_eq!(member.started.epochs, (1, 1));
    assert_eq!(member.started.recent, [E1 + 3, E1 + 4, E1 + 5]);
    assert_eq!(member.started.nodes, 5 + 5);
}

#[test]
fn a_truncation_is_followed_by_a_shorter_state_and_a_new_tail() {
    let disk = SimDisk::new(1).shared();
    let mut member = Member::start(disk.clone());
    member.append((1..=5).map(|n| E1 + n));
    let op = member.op(DiskOp::Truncate(Zxid(E1 + 3)));
    let (can, cannot) = (member.persisted(), Persisted::CannotTruncate(op));
    if can != cannot {
        assert_eq!(can, Persisted::Truncated { op, last: Zxid(E1 + 3) });
        assert_eq!(member.load(E1 + 3).node_count(), 5 + 3);
        member.append([E2 + 1, E2 + 2]);
        assert_eq!(member.load(E2 + 2).node_count(), 5 + 5);
    }
    let op = member.op(DiskOp::Truncate(Zxid(E1 + 0x77)));
    assert_eq!(member.persisted(), Persisted::CannotTruncate(op));
}

#[test]
fn an_installed_snapshot_replaces_everything() {
    let disk = SimDisk::new(1).shared();
    let mut member = Member::start(disk.clone());
    let op = member.op(DiskOp::SaveAcceptedEpoch(Epoch(2)));
    assert_eq!(member.persisted(), Persisted::Through(op));
    member.append((1..=5).map(|n| E1 + n));
    let mut image = StateLoader::new(state::Options::default());
    let source = {
        let mut state = StateMachine::new(state::Options::default());
        for zxid in [E1 + 1, E2 + 1, E2 + 2] {
            let entry = TxnEntry::decode(create(zxid).bytes).expect("valid");
            state.apply(&entry, &mut Vec::new());
        }
        state
    };
    feed(&source, &mut image);
    member.submit(Job::Image(ImageId(9), Box::new(image)));
    let op = member.op(DiskOp::InstallSnapshot { zxid: Zxid(E2 + 2), image: ImageId(9) });
    assert_eq!(member.persisted(), Persisted::Through(op));
    let state = member.load(E2 + 2);
    assert_eq!((state.node_count(), state.digest()), (5 + 3, source.digest()));
    member.append([E2 + 3]);
    // This time from the files.
    assert_eq!(member.load(E2 + 3).node_count(), 5 + 4);
    member.thread.stop();
    let member = Member::start(disk);
    assert_eq!((member.started.last, member.started.nodes), (E2 + 3, 5 + 4));
}

fn feed(state: &StateMachine, sink: &mut StateLoader) {
    use crate::proto::image::{ImageSink, NodeView};
    sink.acl(1, open_acl());
    let mut left = vec![String::new()];
    while let Some(path) = left.pop() {
        let node = state.node(&path).expect("there");
        let lent = NodeView { data: node.data(), acl: 1, stat: node.stat() };
        sink.node(&path, lent).expect("a parent");
        left.extend(node.children().map(|name| format!("{path}/{name}")));
    }
}

#[test]
fn the_log_is_read_for_learners_only_where_it_has_no_gap() {
    let disk = SimDisk::new(1).shared();
    let mut member = Member::start(disk.clone());
    member.append((1..=3).map(|n| E1 + n));
    member.append([E1 + 4, E2 + 1, E2 + 2]);
    assert_eq!(member.read(E1 + 2, E2 + 1), Some((E1 + 2, vec![E1 + 3, E1 + 4, E2 + 1])));
    // Not in the history: the one before is named.
    assert_eq!(member.read(E1 + 9, E2 + 2), Some((E1 + 4, vec![E2 + 1, E2 + 2])));
    assert_eq!(member.read(0, E2 + 2), None, "nothing at or before it");
    member.options.snapshot_size_factor = -1.0;
    assert_eq!(member.read(E1 + 2, E2 + 1), None, "switched off");
}

/// A reader that looked behind the last transaction asked for saw zeros and then, in what it read a
/// moment later, whole records: it took the log of a leader under load for damaged.
#[test]
fn a_log_that_is_being_written_is_read_as_far_as_was_asked() {
    let disk = SimDisk::new(1).shared();
    let mut member = Member::start_with(disk.clone(), 1000);
    member.append((1..=5).map(|n| E1 + n));
    let path = member.options.dirs.logs.join(format!("log.{:x}", E1 + 1));
    let mut bytes = vec![0; 4096];
    let len = crate::storage::disk::read_full(&*disk.open(&path).expect("open"), 0, &mut bytes)
        .expect("read");
    let end = bytes[..len].iter().rposition(|b| *b != 0).expect("records") as u64 + 1;
    member.append((6..=8).map(|n| E1 + n));
    // The next one as it was before it was written. All are of one length.
    let zeros = vec![0; (end as usize - 16) / 5];
    disk.open_write(&path).expect("open").write_at(end, &zeros).expect("write");
    assert_eq!(member.read(E1 + 2, E1 + 5), Some((E1 + 2, vec![E1 + 3, E1 + 4, E1 + 5])));
    assert_eq!(member.read(E1 + 2, E1 + 6), None, "behind that it looks damaged");
}

#[test]
fn a_damaged_log_is_set_aside_and_the_member_does_not_vote() {
    let disk = SimDisk::new(1).shared();
    let mut member = Member::start(disk.clone());
    let op = member.op(DiskOp::SaveAcceptedEpoch(Epoch(1)));
    assert_eq!(member.persisted(), Persisted::Through(op));
    member.append((1..=5).map(|n| E1 + n));
    // Many batches, so that the damage can't be a torn tail.
    member.append([E1 + 6]);
    member.thread.stop();
    let dir = std::path::Path::new("/data/version-2");
    let log = dir.join(format!("log.{:x}", E1 + 1));
    let mut file = disk.open_write(&log).expect("the log");
    file.write_at(60, &[0xff; 8]).expect("damage");
    drop(file);
    for _ in 0..2 {
        let mut member = Member::start(disk.clone());
        assert_eq!(member.started.standing, Standing::MustResync);
        assert_eq!((member.started.last, member.started.epochs.0), (0, 1));
        member.thread.stop();
    }
    assert!(disk.exists(&dir.join("damaged-99").join(format!("log.{:x}", E1 + 1))));
    let member = Member::start(disk.clone());
    start::resynced(&member.options).expect("remove the mark");
    drop(member);
    assert_eq!(Member::start(disk).started.standing, Standing::Sound);
}
