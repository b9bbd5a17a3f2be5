//! The state machine alone: nanoseconds per transaction and per read at growing sizes, resident
//! bytes per node and per watch. `cargo bench --bench apply [-- tree NODES]`.
//!
//! On a shared machine the figures are to be compared with each other, not with another run's.

use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rookeeper::proto::opcode::OpCode;
use rookeeper::proto::txn::{CreateTxn, Txn, TxnDigest, TxnEntry, TxnHeader};
use rookeeper::state::watch::{WatchKind, WatchTable};
use rookeeper::state::{Options, StateMachine, read};
use rookeeper::types::{ConnId, SessionId, WallTime, Zxid, open_acl};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Resident bytes of this process; 0 where the system does not tell.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

struct Bench {
    state: StateMachine,
    zxid: i64,
    random: u64,
}

impl Bench {
    fn apply(&mut self, session: i64, kind: OpCode, txn: Txn) {
        self.zxid += 1;
        let header = TxnHeader {
            session: SessionId(session),
            cxid: 1,
            zxid: Zxid(self.zxid),
            time: WallTime(1_700_000_000_000 + self.zxid),
            kind: kind.0,
        };
        let digest = Some(TxnDigest { version: TxnDigest::VERSION, tree: 0 });
        let mut changes = Vec::new();
        let result = self.state.apply(&TxnEntry { header, txn, digest }, &mut changes);
        assert_eq!(result.code.0, 0);
        black_box((result, changes));
    }

    fn create(&mut self, path: String, data: &Bytes, session: i64) {
        let create = CreateTxn {
            path,
            data: Some(data.clone()),
            acl: open_acl(),
            ephemeral: session != 0,
            parent_cversion: -1,
        };
        self.apply(session, OpCode::CREATE, Txn::Create(create));
    }

    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) as usize % below
    }
}

/// A path of node `n`: a thousand children per parent.
fn path(n: usize) -> String {
    format!("/bench/{:06}/node-{n:010}", n / 1000)
}

/// Nanoseconds that this thread has been running, so that others on the machine count less; the
/// clock's where the system does not tell.
fn cpu_ns() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(Instant::now);
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ran = stat.split(' ').next().and_then(|n| n.parse().ok());
    ran.unwrap_or(start.elapsed().as_nanos() as u64)
}

fn time(what: &str, n: usize, run: impl FnOnce()) {
    let start = cpu_ns();
    run();
    println!("{what:44} {:8.0} ns", (cpu_ns() - start) as f64 / n as f64);
}

fn tree(nodes: usize) {
    println!("-- {nodes} nodes of 100 bytes");
    let state = StateMachine::new(Options::default());
    let mut b = Bench { state, zxid: 0, random: 88_172_645_463_325_252 };
    let data = Bytes::from(vec![7_u8; 100]);
    let before = resident();
    b.create("/bench".to_owned(), &Bytes::new(), 0);
    time("create", nodes, || {
        for n in 0..nodes {
            if n % 1000 == 0 {
                b.create(format!("/bench/{:06}", n / 1000), &Bytes::new(), 0);
            }
            b.create(path(n), &data, 0);
        }
    });
    println!(
        "{:44} {:8.1} bytes",
        "resident per node",
        (resident() - before) as f64 / nodes as f64
    );
    const OPS: usize = 300_000;
    let paths: Vec<String> = (0..OPS).map(|_| path(b.random(nodes))).collect();
    let allowed = |_: &[_], _| true;
    let mut out = BytesMut::with_capacity(4096);
    time("getData, random node", OPS, || {
        for path in &paths {
            out.clear();
            read::get_data(&b.state, path, &allowed, &mut out).expect("there");
            black_box(&out);
        }
    });
    let missing: Vec<String> = paths.iter().map(|path| format!("{path}x")).collect();
    time("node() of a missing path", OPS, || {
        for path in &missing {
            assert!(black_box(b.state.node(path)).is_none());
        }
    });
    time("getData, the same node", OPS, || {
        for _ in 0..OPS {
            out.clear();
            read::get_data(&b.state, &paths[0], &allowed, &mut out).expect("there");
        }
    });
    time("setData, random node", OPS, || {
        for (n, path) in paths.iter().enumerate() {
            let set =
                Txn::SetData { path: path.clone(), data: Some(data.clone()), version: n as i32 };
            b.apply(0, OpCode::SET_DATA, set);
        }
    });
    time("create and delete, random parent", OPS, || {
        for path in &paths {
            let path = format!("{}/x", &path[..13]);
            b.create(path.clone(), &data, 0);
            b.apply(0, OpCode::DELETE, Txn::Delete { path });
        }
    });
    let ephemerals = 100_000;
    for n in 0..ephemerals {
        b.create(format!("/bench/e{n:07}"), &Bytes::new(), 5);
    }
    time("closeSession, per ephemeral of 100,000", ephemerals, || {
        b.apply(5, OpCode::CLOSE_SESSION, Txn::CloseSession { paths: None });
    });
    let mut worst = 0;
    let start = cpu_ns();
    let mut cursor = b.state.begin_snapshot().expect("none");
    let begun = cpu_ns() - start;
    loop {
        out.clear();
        let step = cpu_ns();
        let done = b.state.snapshot_next(&mut cursor, 200, &mut out);
        worst = worst.max(cpu_ns() - step);
        b.apply(
            0,
            OpCode::SET_DATA,
            Txn::SetData {
                path: paths[worst as usize % OPS].clone(),
                data: Some(data.clone()),
                version: 1,
            },
        );
        if done {
            break;
        }
    }
    let all = cpu_ns() - start;
    b.state.end_snapshot();
    println!(
        "{:44} {:8.0} ns, begin {begun} ns, worst step of 200 nodes {worst} ns",
        "snapshot, per node",
        all as f64 / nodes as f64
    );
}

fn one_parent(children: usize) {
    println!("-- one parent of {children} children");
    let state = StateMachine::new(Options::default());
    let mut b = Bench { state, zxid: 0, random: 1 };
    let data = Bytes::new();
    b.create("/p".to_owned(), &data, 0);
    for n in 0..children {
        b.create(format!("/p/{n:010}"), &data, 0);
    }
    time("create and delete one more", 100_000, || {
        for n in 0..100_000 {
            let path = format!("/p/x{n}");
            b.create(path.clone(), &data, 0);
            b.apply(0, OpCode::DELETE, Txn::Delete { path });
        }
    });
    let mut out = BytesMut::new();
    time("getChildren, per child", children, || {
        read::get_children(&b.state, "/p", &|_, _| true, &mut out).expect("there");
    });
}

fn watches(conns: u64, per_conn: u64, paths: u64) {
    let table = WatchTable::new();
    let before = resident();
    let total = (conns * per_conn) as usize;
    time(&format!("watch: {conns} x {per_conn} on {paths} paths"), total, || {
        for conn in 0..conns {
            for n in 0..per_conn {
                let n = (conn * per_conn + n) % paths;
                table.add(ConnId(conn), &format!("/bench/node-{n:010}"), WatchKind::Data);
            }
        }
    });
    let each = (resident() - before) as f64 / total as f64;
    println!("{:44} {each:8.1} bytes", "resident per watch");
    time("forget all, per watch", total, || {
        (0..conns).for_each(|conn| table.remove_conn(ConnId(conn)));
    });
}

/// Runs a section in a process of its own: memory given back by one would hide the need of the
/// next.
fn apart(section: &[&str]) {
    let me = std::env::current_exe().expect("own path");
    let done = std::process::Command::new(me).args(section).status().expect("can start itself");
    assert!(done.success(), "{section:?}");
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let numbers: Vec<usize> = args.iter().filter_map(|n| n.parse().ok()).collect();
    match (args.first().map(String::as_str), numbers.as_slice()) {
        (Some("tree"), [nodes]) => tree(*nodes),
        (Some("parent"), [children]) => one_parent(*children),
        (Some("watch"), [conns, each, paths]) => {
            watches(*conns as u64, *each as u64, *paths as u64);
        }
        _ => {
            for nodes in ["1000", "100000", "1000000"] {
                apart(&["tree", nodes]);
            }
            apart(&["parent", "10"]);
            apart(&["parent", "1000000"]);
            apart(&["watch", "100000", "1", "100000"]);
            apart(&["watch", "10000", "10", "100000"]);
            apart(&["watch", "10000", "100", "100"]);
            apart(&["watch", "100", "10000", "1000000"]);
        }
    }
}
