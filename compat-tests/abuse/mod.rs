//! Clients and strangers that mean no good: what they can cost is bounded by what
//! `docs/OPERATIONS.md` states, and the others notice nothing.
//!
//! In every case a well-behaved client goes on beside the attack, the attacker's connections are
//! closed with a reason that is counted, and the memory of the server stays below a stated bound.

mod descriptors;
mod disk;
mod members;
mod replies;
mod secrets;
mod shapes;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::client::{Session, connect_request, frame, request};
use crate::harness::jute::Writer;
use crate::harness::ports::{TempDir, free_port};
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Kind, Server};
use crate::harness::tools::Level;

const PATIENCE: Duration = Duration::from_secs(60);

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("abuse", "s3_idle_and_half_handshakes", Level::Quick, idle);
    suite.add("abuse", "s1_half_sent_frames", Level::Quick, half_frames);
    suite.add("abuse", "s5_pipelined_writes", Level::Quick, pipelines);
    suite.add("abuse", "s5_reads_that_nobody_takes", Level::Quick, unread_replies);
    suite.add("abuse", "s5_events_that_nobody_takes", Level::Quick, unread_events);
    suite.add("abuse", "s11_watches", Level::Quick, watches);
    suite.add("abuse", "s12_identities", Level::Quick, identities);
    suite.add("abuse", "s22_a_flood_of_bad_connections", Level::Quick, flood);
    suite.add("abuse", "s6_sessions_that_expire_together", Level::Quick, expiry);
    descriptors::add(suite);
    disk::add(suite);
    members::add(suite);
    replies::add(suite);
    secrets::add(suite);
    shapes::add(suite);
}

/// A server with its counters in reach.
struct Subject {
    server: Server,
    metrics: u16,
    base: u64,
    good: Session,
    _dir: TempDir,
}

impl Subject {
    fn start(name: &str, lines: &[(&str, &str)]) -> Result<Subject, Stop> {
        Subject::start_with(name, lines, None)
    }

    /// The same, under a limit of open files.
    fn start_with(
        name: &str,
        lines: &[(&str, &str)],
        open_files: Option<u64>,
    ) -> Result<Subject, Stop> {
        let dir = TempDir::new(name);
        let metrics = free_port();
        let provider = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
        let mut server = Server::new(Kind::Rookeeper, dir.path())
            .line("metricsProvider.className", provider)
            .line("metricsProvider.httpPort", metrics);
        server.open_files = open_files;
        for (key, value) in lines {
            server.set_line(key, value);
        }
        server.start()?;
        let mut good = Session::open(server.address(), 40_000)?;
        expect(good.create("/good", b"good", 0)? == 0, "a first node")?;
        let mut subject = Subject { server, metrics, base: 0, good, _dir: dir };
        subject.base = subject.resident()?;
        Ok(subject)
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Resident memory, KiB.
    fn resident(&self) -> Result<u64, Stop> {
        self.server.resident()
    }

    /// Connections closed for a reason.
    fn closed(&self, reason: &str) -> Result<u64, Stop> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let start = format!("rookeeper_connections_closed{{reason=\"{reason}");
        let found = text.lines().find(|line| line.starts_with(&start));
        Ok(found.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0))
    }

    /// The well-behaved client is answered soon; the longest wait of a few requests.
    fn others_are_well(&mut self) -> Result<Duration, Stop> {
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let begun = Instant::now();
            let got = self.good.get("/good")?;
            expect(got == Ok(b"good".to_vec()), "the good client's node")?;
            self.good.set("/good", b"good")?;
            longest = longest.max(begun.elapsed());
        }
        // A shared machine's own pauses are within this.
        expect(longest < Duration::from_secs(2), &format!("others wait {longest:?}"))?;
        Ok(longest)
    }

    /// Memory has grown by less than this since the start, MiB; how much it has.
    fn grew_less_than(&self, mib: u64) -> Result<u64, Stop> {
        let grown = self.resident()?.saturating_sub(self.base) / 1024;
        expect(grown < mib, &format!("memory has grown by {grown} MiB, not less than {mib}"))?;
        Ok(grown)
    }

    /// Waits until so many connections were closed for a reason.
    fn wait_closed(&mut self, reason: &str, count: u64) -> Result<(), Stop> {
        let end = Instant::now() + PATIENCE;
        loop {
            let closed = self.closed(reason)?;
            if closed >= count {
                return Ok(());
            }
            if Instant::now() > end {
                let text = format!("{closed} of {count} were closed: {reason}");
                return Err(Stop::failed(format!("{text}\n{}", self.server.log_tail())));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Resident memory of a server, KiB.
fn resident(server: &Server) -> Result<u64, Stop> {
    let pid = server.pid().ok_or_else(|| Stop::failed("no process"))?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let number = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| Stop::failed("no VmRSS"))
}

fn expect(met: bool, what: &str) -> Result<(), Stop> {
    if met { Ok(()) } else { Err(Stop::failed(what)) }
}

/// A connection that has a session, for bytes as they are.
fn connected(address: SocketAddr) -> Result<TcpStream, Stop> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&frame(&connect_request(0, 0, 40_000, 0, Some(&[0; 16]), Some(0))))?;
    let mut response = [0; 41];
    stream.read_exact(&mut response)?;
    Ok(stream)
}

/// Writes until the other side takes no more; how much it took.
fn push(stream: &mut TcpStream, bytes: &[u8]) -> Result<usize, Stop> {
    stream.set_nonblocking(true)?;
    let (mut at, mut refused) = (0, 0);
    while at < bytes.len() && refused < 20 {
        match stream.write(&bytes[at..]) {
            Ok(0) => break,
            Ok(n) => (at, refused) = (at + n, 0),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                refused += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            // Closed by the server.
            Err(_) => break,
        }
    }
    Ok(at)
}

fn path_record(path: &str, watch: Option<bool>) -> Vec<u8> {
    let mut w = Writer::new();
    w.string(path);
    if let Some(watch) = watch {
        w.bool(watch);
    }
    w.bytes.clone()
}

fn set_data(path: &str, data: &[u8]) -> Vec<u8> {
    let mut w = Writer::new();
    w.string(path);
    w.buffer(Some(data));
    w.int(-1);
    w.bytes.clone()
}

/// Ten thousand connections that say nothing, or half of something, in their ten seconds.
fn idle() -> Outcome {
    const COUNT: usize = 10_000;
    let mut subject = Subject::start("abuse-idle", &[("nio.sessionlessCnxnTimeout", "10000")])?;
    let half = frame(&connect_request(0, 0, 40_000, 0, Some(&[0; 16]), Some(0)));
    let mut all = Vec::with_capacity(COUNT);
    for i in 0..COUNT {
        let Ok(mut stream) = TcpStream::connect(subject.address()) else {
            return Err(Stop::skip(format!("this process may have {i} connections only")));
        };
        if i % 2 == 0 {
            let sent = if i % 100 == 0 { 5 } else { half.len() - 1 - i % 40 };
            stream.write_all(&half[..sent])?;
        }
        all.push(stream);
        if i % 1000 == 0 {
            subject.others_are_well()?;
        }
    }
    let longest = subject.others_are_well()?;
    let grown = subject.grew_less_than(80)?;
    let reason = "no session was asked for in time";
    let end = Instant::now() + PATIENCE;
    // A byte now and then does not help.
    while subject.closed(reason)? < COUNT as u64 {
        for stream in all.iter_mut().step_by(100) {
            let _ = stream.write_all(&[0]);
        }
        if Instant::now() > end {
            return Err(Stop::failed(format!("{} are closed", subject.closed(reason)?)));
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    subject.others_are_well()?;
    Ok(format!("{grown} MiB for {COUNT}, others waited at most {} ms", longest.as_millis()))
}

/// Frames of a megabyte of which the end does not come: each is held, up to a bound on all.
fn half_frames() -> Outcome {
    let mut subject = Subject::start("abuse-half", &[("limits.requestBytes", "33554432")])?;
    let mut whole = frame(&request(1, 5, &set_data("/good", &vec![b'x'; 1_000_000])));
    whole.truncate(1_000_000);
    let mut all = Vec::new();
    for _ in 0..150 {
        let mut stream = connected(subject.address())?;
        push(&mut stream, &whole)?;
        all.push(stream);
    }
    let reason = "too many bytes of requests on the server";
    subject.wait_closed(reason, 150 - 33)?;
    subject.others_are_well()?;
    let grown = subject.grew_less_than(110)?;
    drop(all);
    Ok(format!("{} closed, {grown} MiB", subject.closed(reason)?))
}

/// Writes of nearly a megabyte, a hundred at a time on each of twenty connections.
fn pipelines() -> Outcome {
    let mut subject = Subject::start("abuse-pipelines", &[])?;
    let one = frame(&request(1, 5, &set_data("/good", &vec![b'x'; 900_000])));
    let bytes = one.repeat(100);
    let address = subject.address();
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(connected(address)?);
    }
    let pushed: usize =
        all.iter_mut().map(|stream| push(stream, &bytes)).sum::<Result<usize, Stop>>()?;
    // What is pending and what is being read: five megabytes each, twice for growing buffers, and
    // the log's own.
    let grown = subject.grew_less_than(20 * 2 * 5 + 100)?;
    drop(all);
    let end = Instant::now() + PATIENCE;
    loop {
        subject.good.set("/good", b"good")?;
        std::thread::sleep(Duration::from_millis(100));
        if subject.good.get("/good")? == Ok(b"good".to_vec()) {
            break;
        }
        expect(Instant::now() < end, "what was begun has an end")?;
    }
    Ok(format!("{} MB taken at once, {grown} MiB", pushed / 1_000_000))
}

/// Reads of a megabyte, asked for and not taken.
fn unread_replies() -> Outcome {
    let mut subject = Subject::start("abuse-unread", &[])?;
    expect(subject.good.create("/big", &vec![b'x'; 1_000_000], 0)? == 0, "a big node")?;
    let bytes = frame(&request(1, 4, &path_record("/big", Some(false)))).repeat(200);
    let mut all = Vec::new();
    for _ in 0..60 {
        let mut stream = connected(subject.address())?;
        push(&mut stream, &bytes)?;
        all.push(stream);
    }
    let longest = subject.others_are_well()?;
    // A reply of a megabyte, the high-water mark, and a buffer that grew by doubling.
    let grown = subject.grew_less_than(60 * 3)?;
    // Who reads gets everything.
    let mut last = all.pop().expect("sixty");
    last.set_nonblocking(false)?;
    last.set_read_timeout(Some(PATIENCE))?;
    let mut reply = vec![0; 4 + 16 + 4 + 1_000_000 + 68];
    for _ in 0..200 {
        last.read_exact(&mut reply)?;
    }
    Ok(format!("{grown} MiB, others waited at most {} ms", longest.as_millis()))
}

/// Watch events, not taken: the connection is closed at 64 MiB.
fn unread_events() -> Outcome {
    let mut subject = Subject::start("abuse-events", &[])?;
    let mut w = Writer::new();
    w.string("/");
    w.int(1);
    let mut slow = connected(subject.address())?;
    slow.write_all(&frame(&request(1, 106, &w.bytes)))?;
    let name = format!("/{}", "n".repeat(60_000));
    let reason = "the client does not read what it is sent";
    let mut events = 0;
    while subject.closed(reason)? == 0 {
        for _ in 0..50 {
            expect(subject.good.create(&name, b"", 0)? == 0, "create")?;
            expect(subject.good.delete(&name)? == 0, "delete")?;
            events += 2;
        }
        expect(events < 2500, "no bound on events that wait")?;
    }
    subject.others_are_well()?;
    let grown = subject.grew_less_than(64 * 2 + 60)?;
    drop(slow);
    Ok(format!("closed after {events} events of 60 kB, {grown} MiB"))
}

/// More watches than one may have, and paths of a megabyte.
fn watches() -> Outcome {
    let lines = [("limits.watchesPerConnection", "1000"), ("limits.watchBytes", "16777216")];
    let mut subject = Subject::start("abuse-watches", &lines)?;
    let mut greedy = Session::open(subject.address(), 40_000)?;
    let mut taken = 0;
    for i in 0..3000 {
        match greedy.call(3, &path_record(&format!("/nothing-{i}"), Some(true)))?.0 {
            -101 => taken += 1,
            -8 => {}
            other => return Err(Stop::failed(format!("exists: {other}"))),
        }
    }
    expect((1000..1200).contains(&taken), &format!("{taken} of 1000 watches"))?;
    expect(greedy.get("/good")?.is_ok(), "it may still do everything else")?;
    let mut long = Session::open(subject.address(), 40_000)?;
    let mut refused = 0;
    for i in 0..60 {
        let path = format!("/{i}{}", "n".repeat(1_000_000));
        refused += usize::from(long.call(3, &path_record(&path, Some(true)))?.0 == -8);
    }
    expect(refused >= 60 - 17, &format!("{refused} long paths were refused"))?;
    let mut other = Session::open(subject.address(), 40_000)?;
    let (code, _) = other.call(4, &path_record("/good", Some(true)))?;
    expect(code == 0, "another client's watch")?;
    subject.others_are_well()?;
    let grown = subject.grew_less_than(60)?;
    Ok(format!("{taken} watches, {grown} MiB"))
}

/// Auth packets without end.
fn identities() -> Outcome {
    let mut subject = Subject::start("abuse-identities", &[])?;
    let auth = |data: &[u8]| {
        let mut w = Writer::new();
        w.int(0);
        w.string("digest");
        w.buffer(Some(data));
        w.bytes.clone()
    };
    let mut taken = Vec::new();
    for size in [10, 60_000, 900_000] {
        let mut greedy = Session::open(subject.address(), 40_000)?;
        let mut count = 0;
        for i in 0..2000 {
            let data = format!("{i}{}:p", "u".repeat(size));
            match greedy.call(100, &auth(data.as_bytes())) {
                Ok((0, _)) => count += 1,
                _ => break,
            }
        }
        taken.push(count);
    }
    expect(taken[0] < 1001 && taken[1] < 20 && taken[2] == 0, &format!("{taken:?} were taken"))?;
    // A client may see its end before the server has counted it.
    subject.wait_closed("authentication failed", 3)?;
    expect(subject.closed("authentication failed")? == 3, "each end is counted")?;
    subject.others_are_well()?;
    let grown = subject.grew_less_than(40)?;
    Ok(format!("{taken:?} identities, {grown} MiB"))
}

/// Thousands of bad connections are counted, and do not flood the log.
fn flood() -> Outcome {
    const COUNT: u64 = 5000;
    let mut subject = Subject::start("abuse-flood", &[])?;
    let begun = Instant::now();
    for i in 0..COUNT {
        let mut stream = TcpStream::connect(subject.address())?;
        let bytes: &[u8] = if i % 2 == 0 { b"GET / HTTP/1.1\r\n\r\n" } else { &[0xff; 9] };
        let _ = stream.write_all(bytes);
    }
    subject.wait_closed("a frame of impossible length", COUNT)?;
    let seconds = begun.elapsed().as_secs() + 2;
    subject.others_are_well()?;
    let log = std::fs::read_to_string(subject.server.dir.join("server.log"))?;
    let lines = log.lines().filter(|line| line.contains("impossible length")).count() as u64;
    expect(lines > 0, "the reason is logged")?;
    expect(lines <= seconds * 10, &format!("{lines} lines in {seconds} s"))?;
    let grown = subject.grew_less_than(30)?;
    Ok(format!("{lines} lines for {COUNT} connections, {grown} MiB"))
}

/// Thousands of sessions whose clients are gone expire in one tick.
fn expiry() -> Outcome {
    const COUNT: usize = 3000;
    let mut subject = Subject::start("abuse-expiry", &[("tickTime", "1000")])?;
    let ask = frame(&connect_request(0, 0, 2000, 0, Some(&[0; 16]), Some(0)));
    let mut all = Vec::new();
    for _ in 0..COUNT {
        let mut stream = TcpStream::connect(subject.address())?;
        stream.write_all(&ask)?;
        all.push(stream);
    }
    for stream in &mut all {
        stream.read_exact(&mut [0; 41])?;
    }
    drop(all);
    let end = Instant::now() + PATIENCE;
    let mut longest = Duration::ZERO;
    loop {
        longest = longest.max(subject.others_are_well()?);
        let mntr = subject.server.four("mntr")?;
        if mntr.contains("zk_global_sessions\t1\n") {
            break;
        }
        expect(Instant::now() < end, "sessions without clients expire")?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(format!("others waited at most {} ms", longest.as_millis()))
}
