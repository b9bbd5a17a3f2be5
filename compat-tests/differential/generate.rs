//! Programs from a seed.
//!
//! What Apache itself leaves open is left out: an operation pipelined behind a setACL of the same
//! node (its check may see the old list or the new), a sequential create pipelined behind one that
//! runs over (it goes on from a number that is forgotten a moment later), the place of an auth reply
//! among pipelined ones, opcodes that servers use among themselves.

/// A small generator of numbers (splitmix64); the same seed gives the same program for ever.
pub struct Rng(u64);

impl Rng {
    /// From a seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of a list.
    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

const SESSIONS: &[&str] = &["a", "b", "c"];
const NODES: &[&str] = &[
    "/a", "/b", "/a/x", "/a/y", "/a/x/1", "/a/x/2", "/b/x", "/ab", "/a/q", "/b/q", "/c", "/c/d",
    "/c/d/e", "/c/d/e/f",
];
const LIMITS: &[&str] =
    &["/limit/v", "/limit/a", "/limit/c", "/limit/d", "/limit/m", "/limit/n", "/limit/w"];
const SEQUENCES: &[&str] = &["/a/q/n-", "/b/q/n-", "/a/", "/a/x/s", "/"];
const ODD: &[&str] = &[
    "\"\"",
    "/",
    "abc",
    "~",
    "/a/",
    "//",
    "/a//x",
    "/a/.",
    "/a/..",
    "/./a",
    "\"/a/nul\\x00\"",
    "\"/a/\\x01\"",
    "\"/\\u{e000}\"",
    "\"/\\u{1f600}\"",
    "\"/\\xff\"",
    "/zookeeper",
    "/zookeeper/quota",
    "/zookeeper/config",
    "/none/x",
    "\"/sp ace\"",
    "\"/\\u{fc}\"",
    "/a/q/n-0000000000",
    "/a/q/n-0000000001",
    "/a/q/n-0000000002",
    "/b/q/n-0000000000",
    "/a/x/s0000000000",
];
const ACLS: &[&str] = &[
    "open",
    "open",
    "open",
    "open",
    "open",
    "open",
    "read",
    "31:world:anyone,1:world:anyone",
    "31:auth:",
    "31:digest:bob:hash",
    "5:world:anyone",
    "30:world:anyone,1:ip:127.0.0.1",
    "31:ip:127.0.0.0/8",
    "31:ip:10.0.0.1",
    "none",
    "~",
    "31:world:someone",
    "31:unknown:x",
    "31:digest:bob",
    "31:ip:1.2.3",
    "0:world:anyone",
    "31:auth:,1:world:anyone",
    "31:~:x",
];
/// `dump`, `wchc` and their like say most. Not `mntr`: its counters go on from program to program.
/// Not `hash`: see the gap of `hash-after-restarts`.
const WORDS: &[&str] = &[
    "wchs", "wchc", "wchp", "dump", "dump", "cons", "srvr", "stat", "isro", "ruok", "conf", "envi",
    "dirs", "crst", "srst", "gtmk", "what",
];
const IDENTITIES: &[&str] = &["bob:pw", "ann:pw", "bob:other", "super:test", "odd", "a:b:c"];

/// One program of about `length` operations. With `limits` it may ask for the nodes of `limits.rs`.
pub fn program(seed: u64, length: usize, limits: bool) -> Vec<String> {
    let limits = limits && seed.is_multiple_of(4);
    let mut g = Generator { rng: Rng::new(seed), out: Vec::new(), restarts: 0, limits };
    g.out.push("connect a".to_string());
    g.out.push("connect b ro=none".to_string());
    if g.rng.one_in(3) {
        g.out.push("connect c timeout=30000".to_string());
    }
    for path in ["/a", "/a/q", "/b"] {
        if !g.rng.one_in(4) {
            g.out.push(format!("a create {path} \"0\" open 0"));
        }
    }
    if g.rng.one_in(6) {
        g.quota();
    }
    while g.out.len() < length {
        g.step();
    }
    // Nobody is left behind a closed door: all come back, so that their watches are seen.
    for name in SESSIONS {
        if g.known(name) {
            g.out.push(format!("{name} exists /a 0"));
        }
    }
    g.out.push("dumptree".to_string());
    g.out
}

struct Generator {
    rng: Rng,
    out: Vec<String>,
    restarts: usize,
    limits: bool,
}

impl Generator {
    fn known(&self, name: &str) -> bool {
        let start = format!("connect {name}");
        self.out.iter().any(|l| l.starts_with(&start))
    }

    fn session(&mut self) -> &'static str {
        loop {
            let name = self.rng.pick(SESSIONS);
            if self.known(name) {
                return name;
            }
        }
    }

    fn path(&mut self) -> String {
        match self.rng.below(12) {
            0 => self.rng.pick(ODD).to_string(),
            _ => self.rng.pick(NODES).to_string(),
        }
    }

    fn data(&mut self) -> String {
        match self.rng.below(6) {
            0 => "~".to_string(),
            1 => "\"\"".to_string(),
            2 => format!("fill:{}", self.rng.below(3000)),
            _ => format!("\"d{}\"", self.rng.below(1000)),
        }
    }

    fn version(&mut self) -> i64 {
        match self.rng.below(20) {
            0 => -2,
            1 => i64::from(i32::MIN),
            2 | 3 => i64::from(i32::MAX),
            4..=8 => self.rng.below(3) as i64,
            _ => -1,
        }
    }

    fn acl(&mut self) -> String {
        self.rng.pick(ACLS).to_string()
    }

    fn watch(&mut self) -> usize {
        self.rng.below(2)
    }

    fn quota(&mut self) {
        self.out.push("a create /zookeeper/quota/a ~ open 0".to_string());
        let limits = ["count=3,bytes=100", "count=-1,bytes=-1=;byteHardLimit=50;countHardLimit=4"];
        let limits = self.rng.pick(&limits);
        self.out.push(format!("a create /zookeeper/quota/a/zookeeper_limits \"{limits}\" open 0"));
        self.out.push(
            "a create /zookeeper/quota/a/zookeeper_stats \"count=0,bytes=0\" open 0".to_string(),
        );
    }

    fn step(&mut self) {
        let name = self.session();
        match self.rng.below(100) {
            0 if self.rng.one_in(3) => self.second(name),
            0 => self.out.push(format!("drop {name}")),
            1..=3 => self.out.push(format!("reconnect {name}")),
            4 => {
                let how =
                    self.rng.pick(&["pw=wrong", "zxid=+5", "timeout=20000", "ro=1", "ro=none"]);
                self.out.push(format!("reconnect {name} {how}"));
            }
            5 if self.rng.one_in(4) => {
                self.out.push(format!("{name} closeSession"));
                self.out.push(format!("connect {name}"));
            }
            6 if self.rng.one_in(6) && self.restarts == 0 => {
                self.restarts += 1;
                self.out.push("restart".to_string());
                for name in SESSIONS {
                    if self.known(name) {
                        self.out.push(format!("reconnect {name}"));
                    }
                }
            }
            7 => self.bad(name),
            8..=12 => self.pipe(name),
            13 if self.rng.one_in(3) => {
                let word = self.rng.pick(WORDS);
                self.out.push(format!("4lw {word}"));
            }
            14 => {
                let id = self.rng.pick(IDENTITIES);
                self.out.push(format!("{name} auth digest {id}"));
            }
            _ => {
                let op = self.operation();
                self.out.push(format!("{name} {op}"));
            }
        }
    }

    /// A second connection takes the session over, as when a client has moved.
    fn second(&mut self, name: &str) {
        self.out.push(format!("attach d {name}"));
        for _ in 0..1 + self.rng.below(3) {
            let op = self.operation();
            self.out.push(format!("d {op}"));
        }
        self.out.push(format!("{name} exists /a 0"));
        self.out.push(format!("reconnect {name}"));
    }

    /// Requests that make no sense; some end the connection, so the session comes back.
    fn bad(&mut self, name: &str) {
        let op = match self.rng.below(10) {
            0 => "check /a -1".to_string(),
            1 => format!("raw {}", self.rng.pick(&["0", "10", "13", "23", "99", "108", "-5"])),
            2 => "frame 000000".to_string(),
            3 => format!("auth {} x", self.rng.pick(&["nothing", "world", "auth", "~"])),
            4 => "sasl \"x\"".to_string(),
            _ => {
                let opcode = self.rng.pick(&[
                    "1", "2", "3", "4", "5", "6", "7", "8", "9", "12", "14", "15", "16", "17",
                    "18", "19", "21", "22", "101", "103", "104", "105", "106",
                ]);
                let body = self.rng.pick(&[
                    "",
                    "00",
                    "00000002",
                    "000000022f61",
                    "ffffffff",
                    "000000022f61ffffffff",
                    "000000022f6100000003616263",
                    "7fffffff",
                    "fffffffe00",
                    "0000000161",
                    "0000000000000000ffffffff",
                    "000000022f6100000000ffffffff",
                ]);
                format!("raw {opcode} {body}")
            }
        };
        self.out.push(format!("{name} {}", op.trim_end()));
        self.out.push(format!("reconnect {name}"));
    }

    fn pipe(&mut self, name: &str) {
        let count = 2 + self.rng.below(7);
        self.out.push(format!("pipe {name}"));
        let mut added = 0;
        while added < count {
            let op = self.operation();
            let runs_over = op.contains("/limit/") && op.contains("create");
            if op.starts_with("setACL") || runs_over {
                continue;
            }
            self.out.push(format!("{name} {op}"));
            added += 1;
        }
        self.out.push("end".to_string());
    }

    fn create(&mut self, inside_multi: bool) -> String {
        let sequential = self.rng.one_in(3);
        let path = if sequential { self.rng.pick(SEQUENCES).to_string() } else { self.path() };
        let (data, acl) = (self.data(), self.acl());
        let odd = self.rng.one_in(20);
        let flags = match (odd, sequential) {
            (true, _) if inside_multi => self.rng.pick(&["4", "5", "6", "7", "-1"]),
            (true, _) => self.rng.pick(&["4", "5", "6", "7", "-1", "100"]),
            (false, true) => self.rng.pick(&["2", "2", "3"]),
            (false, false) => self.rng.pick(&["0", "0", "0", "1"]),
        };
        match self.rng.below(8) {
            0 => format!("createContainer {path} {data} {acl} 4"),
            1 => {
                let ttl =
                    self.rng.pick(&["10000000", "10000000", "1099511627775", "0", "1099511627776"]);
                let flags = if sequential { 6 } else { 5 };
                format!("createTTL {path} {data} {acl} {flags} {ttl}")
            }
            2..=4 => format!("create2 {path} {data} {acl} {flags}"),
            _ => format!("create {path} {data} {acl} {flags}"),
        }
    }

    fn multi(&mut self) -> String {
        let count = self.rng.below(6);
        let mut subs = Vec::new();
        for _ in 0..count {
            let path = self.path();
            subs.push(match self.rng.below(10) {
                0..=3 => self.create(true),
                4..=5 => format!("delete {path} {}", self.version()),
                6..=7 => format!("setData {path} {} {}", self.data(), self.version()),
                _ => format!("check {path} {}", self.version()),
            });
        }
        if self.rng.one_in(25) {
            subs.push("exists /a 0".to_string());
        }
        format!("multi [ {} ]", subs.join(" ; ")).replace("[  ]", "[ ]")
    }

    fn multi_read(&mut self) -> String {
        let count = self.rng.below(5);
        let mut subs = Vec::new();
        for _ in 0..count {
            let kind = self.rng.pick(&["getData", "getChildren"]);
            subs.push(format!("{kind} {} {}", self.path(), self.watch()));
        }
        if self.rng.one_in(20) {
            subs.push("check /a -1".to_string());
        }
        format!("multiRead [ {} ]", subs.join(" ; ")).replace("[  ]", "[ ]")
    }

    fn set_watches(&mut self) -> String {
        let second = self.rng.one_in(2);
        let zxid = match self.rng.below(4) {
            0 => "0".to_string(),
            1 => "seen".to_string(),
            _ => format!("+{}", self.rng.below(60)),
        };
        let mut line = format!("setWatches{} {zxid}", if second { "2" } else { "" });
        let lists: &[&str] = if second {
            &["data", "exist", "child", "persistent", "recursive"]
        } else {
            &["data", "exist", "child"]
        };
        for list in lists {
            line.push_str(&format!(" {list}"));
            for _ in 0..self.rng.below(3) {
                line.push_str(&format!(" {}", self.rng.pick(NODES)));
            }
        }
        line
    }

    /// About nodes whose versions run over; none of them is deleted or closed.
    fn limit(&mut self) -> String {
        let path = self.rng.pick(LIMITS);
        let (data, watch) = (self.data(), self.watch());
        let version = match self.rng.below(6) {
            0 => self.rng.pick(&["2147483647", "-2147483648", "2147483646", "-2", "-3"]),
            _ => "-1",
        };
        match self.rng.below(16) {
            0..=3 => format!("setData {path} {data} {version}"),
            4 | 5 => format!("setACL {path} open {version}"),
            6 | 7 => format!("create2 {path}/n- {data} open {}", self.rng.pick(&["2", "3"])),
            8 => format!("create2 {path}/x {data} open 0"),
            9 => format!("delete {path}/x -1"),
            10 => format!("delete {path} {version}").replace(" -1", " 7"),
            11 => format!("getChildren2 {path} {watch}"),
            12 => format!("getData {path} {watch}"),
            13 => format!("getACL {path}"),
            14 => format!(
                "multi [ setData {path} {data} -1 ; check {path} {version} ; setData {path} ~ -1 ]"
            ),
            _ => format!(
                "multi [ create {path}/m- ~ open 2 ; create2 {path}/m- ~ open 2 ; delete {path}/x -1 ]"
            ),
        }
    }

    fn operation(&mut self) -> String {
        if self.limits && self.rng.one_in(4) {
            return self.limit();
        }
        let path = self.path();
        match self.rng.below(100) {
            0..=19 => self.create(false),
            20..=29 => format!("delete {path} {}", self.version()),
            30..=39 => format!("setData {path} {} {}", self.data(), self.version()),
            40..=47 => format!("getData {path} {}", self.watch()),
            48..=53 => format!("exists {path} {}", self.watch()),
            54..=57 => format!("getChildren {path} {}", self.watch()),
            58..=61 => format!("getChildren2 {path} {}", self.watch()),
            62..=63 => format!("getACL {path}"),
            64..=66 => {
                // The top stays open: a locked root would end the program's interest.
                let path = if path == "/" { "/a".to_string() } else { path };
                format!("setACL {path} {} {}", self.acl(), self.version())
            }
            67..=76 => self.multi(),
            77..=78 => self.multi_read(),
            79 => format!("sync {path}"),
            80 => "ping".to_string(),
            81..=85 => format!("addWatch {path} {}", self.rng.pick(&["0", "1", "0", "1", "2"])),
            86..=88 => format!("removeWatches {path} {}", self.rng.below(7)),
            89..=90 => format!("checkWatches {path} {}", self.rng.below(7)),
            91..=93 => self.set_watches(),
            94 => format!("getEphemerals {path}"),
            95 => format!("getAllChildrenNumber {path}"),
            96 => "whoAmI".to_string(),
            97 => "reconfig ~ ~ ~ -1".to_string(),
            98 => format!("exists {path} 1"),
            _ => format!("getData {path} 1"),
        }
    }
}
