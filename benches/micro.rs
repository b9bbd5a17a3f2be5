//! What single operations of the pure layers cost: time, and exact instruction counts.
//!
//! ```text
//! cargo bench --bench micro                       time of each, median of five
//! cargo bench --bench micro -- apply              only names that contain "apply"
//! cargo bench --bench micro -- --instructions     instruction counts (valgrind), compared with
//!                                                 benches/instructions.txt: fails at +10 percent
//! cargo bench --bench micro -- --record           the same, and writes the file
//! ```
//!
//! Run by the tests (no `--bench` argument) it does one round of each, so that it cannot rot. A
//! harness of our own: time is noise on a shared machine, and counting instructions needs nothing
//! but the difference between two runs of different lengths.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use rookeeper::proto::frame;
use rookeeper::proto::jute::{Jute, Reader, Write as _};
use rookeeper::proto::opcode::OpCode;
use rookeeper::proto::records::{ReadRequest, ReplyHeader, RequestHeader, SetDataRequest};
use rookeeper::proto::txn::{CreateTxn, Txn, TxnDigest, TxnEntry, TxnHeader};
use rookeeper::state::watch::{WatchKind, WatchTable};
use rookeeper::state::{Change, Options, StateLoader, StateMachine, read};
use rookeeper::storage::snapshot::{self, Sections};
use rookeeper::storage::{Compression, Dirs, LogOptions, RealDisk, SnapshotWriter, TxnLog, names};
use rookeeper::types::{ConnId, Instant as Moment, SessionId, WallTime, Zxid, open_acl};

/// One benchmark: prepares itself, then runs any number of rounds.
struct Bench {
    name: &'static str,
    /// Whether its instruction count is recorded.
    counted: bool,
    /// Operations in one round.
    per_round: u64,
    prepare: fn() -> Box<dyn FnMut(u64)>,
}

const BENCHES: &[Bench] = &[
    Bench { name: "codec.request", counted: true, per_round: 1, prepare: codec_request },
    Bench { name: "codec.txn_encode", counted: true, per_round: 1, prepare: codec_txn_encode },
    Bench { name: "codec.txn_decode", counted: true, per_round: 1, prepare: codec_txn_decode },
    Bench { name: "read.get", counted: true, per_round: 1, prepare: read_get },
    Bench { name: "apply.set", counted: true, per_round: 1, prepare: apply_set },
    Bench { name: "apply.create_delete", counted: true, per_round: 2, prepare: apply_create },
    Bench { name: "log.append", counted: true, per_round: LOG_BATCH, prepare: log_append },
    Bench { name: "snapshot.save", counted: false, per_round: NODES, prepare: snapshot_save },
    Bench { name: "snapshot.load", counted: false, per_round: NODES, prepare: snapshot_load },
    Bench { name: "watch.fanout", counted: false, per_round: WATCHERS, prepare: watch_fanout },
];

const NODES: u64 = 20_000;
const WATCHERS: u64 = 10_000;
const LOG_BATCH: u64 = 64;
const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if let [run, name, rounds] = &args[..]
        && run == "--run"
    {
        let rounds = rounds.parse().expect("a number of rounds");
        BENCHES.iter().filter(|b| b.name == name).for_each(|b| (b.prepare)()(rounds));
        return ExitCode::SUCCESS;
    }
    let mut flag = |name: &str| {
        let before = args.len();
        args.retain(|arg| arg != name);
        args.len() < before
    };
    let record = flag("--record");
    let count = flag("--instructions") || record;
    let measure = flag("--bench");
    args.retain(|arg| !arg.starts_with("--"));
    let wanted = |b: &&Bench| args.iter().all(|filter| b.name.contains(filter.as_str()));
    let benches: Vec<&Bench> = BENCHES.iter().filter(wanted).collect();
    if count {
        return count_instructions(&benches, record);
    }
    for bench in benches {
        let mut run = (bench.prepare)();
        run(1);
        match measure {
            true => println!("{:20} {}", bench.name, time(bench, &mut run)),
            false => println!("{:20} runs", bench.name),
        }
    }
    ExitCode::SUCCESS
}

/// Nanoseconds per operation: median, smallest and largest of five runs of a quarter second.
fn time(bench: &Bench, run: &mut dyn FnMut(u64)) -> String {
    let mut rounds = 1;
    let per_run = Duration::from_millis(250);
    let elapsed = |run: &mut dyn FnMut(u64), rounds| {
        let start = Instant::now();
        run(rounds);
        start.elapsed()
    };
    loop {
        let took = elapsed(run, rounds);
        if took * 5 > per_run {
            rounds = (rounds as f64 * per_run.as_secs_f64() / took.as_secs_f64()).ceil() as u64;
            break;
        }
        rounds *= 4;
    }
    let mut times: Vec<f64> = (0..5)
        .map(|_| elapsed(run, rounds).as_secs_f64() * 1e9 / (rounds * bench.per_round) as f64)
        .collect();
    times.sort_by(f64::total_cmp);
    format!("{:10.1} ns ({:.1} to {:.1})", times[2], times[0], times[4])
}

/// Counts what one operation executes, and compares with the recorded figures.
fn count_instructions(benches: &[&Bench], record: bool) -> ExitCode {
    let text = std::fs::read_to_string(FIGURES).unwrap_or_default();
    let mut figures: BTreeMap<String, u64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, n)| Some((name.to_owned(), n.trim().parse().ok()?)))
        .collect();
    let mut grown = false;
    for bench in benches.iter().filter(|b| b.counted) {
        let (few, many) = (50, 250);
        let difference = instructions(bench.name, many) - instructions(bench.name, few);
        let each = difference / ((many - few) * bench.per_round);
        let before = figures.insert(bench.name.to_owned(), each);
        let verdict = match before {
            None => "not recorded".to_owned(),
            Some(before) => {
                let percent = each as f64 * 100.0 / before as f64 - 100.0;
                grown |= percent > 10.0;
                format!(
                    "{percent:+.1} % of {before}{}",
                    if percent > 10.0 { ": GROWN" } else { "" }
                )
            }
        };
        println!("{:20} {each:8} instructions, {verdict}", bench.name);
    }
    if record {
        let mut text = String::from(
            "# Instructions per operation: cargo bench --bench micro -- --record\n\
             # The check fails when one grows by more than 10 percent.\n",
        );
        for (name, each) in &figures {
            let _ = writeln!(text, "{name} {each}");
        }
        std::fs::write(FIGURES, text).expect("the file of figures can be written");
    }
    if grown && !record { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Instructions of a whole run of this program, by callgrind.
fn instructions(name: &str, rounds: u64) -> u64 {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--run", name, &rounds.to_string()])
        .output()
        .expect("valgrind is installed");
    let report = String::from_utf8_lossy(&output.stderr);
    report
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, n)| n.trim().parse().ok())
        .unwrap_or_else(|| panic!("no count from valgrind: {report}"))
}

fn path(i: u64) -> String {
    format!("/bench/d{:04}/node-{i:010}", i / 1000)
}

fn entry(zxid: i64, kind: OpCode, txn: Txn) -> TxnEntry {
    let header = TxnHeader {
        session: SessionId(0x1_0000_0000_0001),
        cxid: 1,
        zxid: Zxid(zxid),
        time: WallTime(1_700_000_000_000),
        kind: kind.0,
    };
    TxnEntry { header, txn, digest: None }
}

fn create(zxid: i64, path: String) -> TxnEntry {
    let txn = CreateTxn {
        path,
        data: Some(Bytes::from_static(&[b'x'; 100])),
        acl: open_acl(),
        ephemeral: false,
        parent_cversion: 1,
    };
    entry(zxid, OpCode::CREATE, Txn::Create(txn))
}

fn set(zxid: i64, path: String, version: i32) -> TxnEntry {
    let data = Some(Bytes::from_static(&[b'y'; 100]));
    entry(zxid, OpCode::SET_DATA, Txn::SetData { path, data, version })
}

/// A state of [`NODES`] nodes, and the next zxid.
fn filled() -> (StateMachine, i64) {
    let mut state = StateMachine::new(Options::default());
    let mut changes = Vec::new();
    let mut zxid = 0;
    let mut apply = |path| {
        zxid += 1;
        state.apply(&create(zxid, path), &mut changes);
        changes.clear();
    };
    apply("/bench".to_owned());
    (0..NODES.div_ceil(1000)).for_each(|d| apply(format!("/bench/d{d:04}")));
    (0..NODES).for_each(|i| apply(path(i)));
    (state, zxid + 1)
}

fn codec_request() -> Box<dyn FnMut(u64)> {
    let mut w = BytesMut::new();
    let at = frame::begin(&mut w);
    w.put(&RequestHeader { xid: 1, opcode: OpCode::SET_DATA.0 });
    let data = Some(Bytes::from_static(&[b'x'; 100]));
    w.put(&SetDataRequest { path: Some(path(1)), data, version: -1 });
    frame::end(&mut w, at);
    let wire = w.freeze();
    let mut input = BytesMut::new();
    Box::new(move |rounds| {
        for _ in 0..rounds {
            input.extend_from_slice(&wire);
            let frame = frame::next_frame(&mut input, 1 << 20).unwrap().unwrap();
            let mut r = Reader::new(frame);
            let header: RequestHeader = r.get().unwrap();
            let request: SetDataRequest = r.get().unwrap();
            black_box((header, request));
        }
    })
}

fn sample_txn() -> TxnEntry {
    let digest = Some(TxnDigest { version: TxnDigest::VERSION, tree: 12345 });
    TxnEntry { digest, ..set(7, path(1), 3) }
}

fn codec_txn_encode() -> Box<dyn FnMut(u64)> {
    let entry = sample_txn();
    Box::new(move |rounds| (0..rounds).for_each(|_| drop(black_box(entry.encode()))))
}

fn codec_txn_decode() -> Box<dyn FnMut(u64)> {
    let bytes = sample_txn().encode();
    Box::new(move |rounds| {
        for _ in 0..rounds {
            black_box(TxnEntry::decode(bytes.clone())).unwrap();
        }
    })
}

fn read_get() -> Box<dyn FnMut(u64)> {
    let (state, _) = filled();
    let request = ReadRequest { path: Some(path(77)), watch: false }.to_bytes();
    let mut out = BytesMut::with_capacity(4096);
    Box::new(move |rounds| {
        for _ in 0..rounds {
            let mut r = Reader::new(request.clone());
            let at = frame::begin(&mut out);
            out.put(&ReplyHeader { xid: 1, zxid: 1, err: 0 });
            let path = r.str().unwrap().unwrap();
            read::get_data(&state, &path, &|_, _| true, &mut out).unwrap();
            frame::end(&mut out, at);
            black_box(&out);
            out.clear();
        }
    })
}

fn apply_set() -> Box<dyn FnMut(u64)> {
    let (mut state, mut zxid) = filled();
    let mut changes: Vec<Change> = Vec::new();
    let mut entry = set(zxid, path(77), 0);
    Box::new(move |rounds| {
        for _ in 0..rounds {
            entry.header.zxid = Zxid(zxid);
            zxid += 1;
            black_box(state.apply(&entry, &mut changes));
            changes.clear();
        }
    })
}

fn apply_create() -> Box<dyn FnMut(u64)> {
    let (mut state, mut zxid) = filled();
    let mut changes: Vec<Change> = Vec::new();
    let mut create = create(zxid, "/bench/d0001/another".to_owned());
    let delete = Txn::Delete { path: "/bench/d0001/another".to_owned() };
    let mut delete = entry(zxid, OpCode::DELETE, delete);
    Box::new(move |rounds| {
        for _ in 0..rounds {
            for entry in [&mut create, &mut delete] {
                entry.header.zxid = Zxid(zxid);
                zxid += 1;
                black_box(state.apply(entry, &mut changes));
                changes.clear();
            }
        }
    })
}

/// A directory that is removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("rookeeper-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
        Scratch(dir)
    }

    fn dirs(&self) -> Dirs {
        let dirs = Dirs::new(&self.0, None);
        dirs.prepare(&RealDisk, true).expect("the temporary directory can be written");
        dirs
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn log_append() -> Box<dyn FnMut(u64)> {
    let scratch = Scratch::new("log");
    let options = LogOptions { force_sync: false, ..LogOptions::default() };
    let mut log = TxnLog::new(RealDisk::shared(), scratch.dirs(), options, Zxid::ZERO);
    let bytes = sample_txn().encode();
    let mut zxid = 0;
    Box::new(move |rounds| {
        let _keep = &scratch;
        for _ in 0..rounds {
            for _ in 0..LOG_BATCH {
                zxid += 1;
                log.append(Zxid(zxid), &bytes).expect("the log accepts what follows");
            }
            log.commit(&mut || Moment::default()).expect("the log can be written");
        }
    })
}

fn save(state: &mut StateMachine, dirs: &Dirs) {
    let mut cursor = state.begin_snapshot().expect("no snapshot is under way");
    let plain = Compression::Plain;
    let (disk, dir) = (RealDisk::shared(), &dirs.snapshots);
    let mut writer =
        SnapshotWriter::create(disk, dir, cursor.zxid(), plain, &cursor.head()).expect("a file");
    let mut out = BytesMut::new();
    loop {
        let done = state.snapshot_next(&mut cursor, 4096, &mut out);
        writer.nodes(&out).expect("the snapshot can be written");
        out.clear();
        if done {
            break;
        }
    }
    state.end_snapshot();
    let sections = Sections { digest: cursor.tail().digest, last_processed: None };
    writer.finish(&sections).expect("the snapshot can be written");
}

fn snapshot_save() -> Box<dyn FnMut(u64)> {
    let (mut state, _) = filled();
    let scratch = Scratch::new("save");
    let dirs = scratch.dirs();
    Box::new(move |rounds| {
        let _keep = &scratch;
        (0..rounds).for_each(|_| save(&mut state, &dirs));
    })
}

fn snapshot_load() -> Box<dyn FnMut(u64)> {
    let (mut state, _) = filled();
    let scratch = Scratch::new("load");
    let dirs = scratch.dirs();
    save(&mut state, &dirs);
    Box::new(move |rounds| {
        let _keep = &scratch;
        for _ in 0..rounds {
            let files = names::snapshots(&RealDisk, &dirs.snapshots).expect("a listing");
            let mut loader = StateLoader::new(Options::default());
            let info = snapshot::read(&RealDisk, &files[0], &mut loader).expect("a snapshot");
            black_box(loader.finish(files[0].zxid, info.digest));
        }
    })
}

fn watch_fanout() -> Box<dyn FnMut(u64)> {
    let (mut state, mut zxid) = filled();
    let watches = WatchTable::new();
    let mut changes: Vec<Change> = Vec::new();
    Box::new(move |rounds| {
        for _ in 0..rounds {
            for conn in 0..WATCHERS {
                watches.add(ConnId(conn), &path(5), WatchKind::Data);
            }
            state.apply(&set(zxid, path(5), 0), &mut changes);
            zxid += 1;
            let mut told = 0;
            for change in changes.drain(..) {
                watches.fire(&change, &mut |_, _| told += 1);
            }
            assert_eq!(told, WATCHERS);
        }
    })
}
