//! Before a server serves: each step of its start with something wrong in it. The real binary is run with
//! each fault; it must end with Apache's exit code and a text that says what was wrong, where, and what to
//! do, or wait, answer probes and obey signals.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::client::Session;
use crate::harness::four;
use crate::harness::ports::{TempDir, free_port};
use crate::harness::process::Process;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Ensemble, Kind, rookeeper_binary};
use crate::harness::tools::Level;

const PATIENCE: Duration = Duration::from_secs(60);
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";
/// Of the range for documentation: no machine's own.
const FOREIGN: &str = "203.0.113.1";
const UNKNOWN: &str = "no-such-host.invalid";

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    for fault in FAULTS {
        suite.add("start", fault.name, Level::Quick, || refused(fault));
    }
    suite.add("start", "signals_end_a_load_that_hangs", Level::Quick, signals_in_a_load);
    suite.add("start", "signals_end_bind_retries_without_end", Level::Quick, signals_in_retries);
    suite.add("start", "probes_are_answered_while_data_loads", Level::Quick, probes_in_a_load);
    suite.add("start", "clients_wait_while_data_loads", Level::Quick, clients_wait);
    suite.add("start", "one_own_address_does_not_resolve", Level::Quick, one_of_several);
    suite.add("start", "ready_means_that_clients_are_served", Level::Quick, ready);
    suite.add("start", "quorum_port_held_lets_another_lead", Level::Quick, quorum_port_held);
    suite.add("start", "quorum_port_held_of_a_leader_alone", Level::Quick, held_alone);
    for (name, kind) in [("rookeeper", Kind::Rookeeper), ("apache", Kind::apache())] {
        let name = format!("leader_serves_no_{name}");
        suite.add("start", name, Level::Quick, move || leader_serves_no(kind));
    }
}

fn expect(met: bool, what: &str) -> Result<(), Stop> {
    if met { Ok(()) } else { Err(Stop::failed(what)) }
}

/// A server whose process and files are at hand.
struct Trial {
    dir: TempDir,
    lines: Vec<(String, String)>,
    defines: Vec<String>,
    port: u16,
    process: Option<Process>,
    /// Kept while the trial lasts: ports and the like that belong to somebody else.
    held: Vec<TcpListener>,
    other: Option<Process>,
}

impl Trial {
    /// A server alone.
    fn alone(name: &str) -> Trial {
        let dir = TempDir::new(name);
        let port = free_port();
        std::fs::create_dir_all(dir.join("data/version-2")).expect("writable");
        let data = dir.join("data").display().to_string();
        let lines = [
            ("tickTime", "200"),
            ("dataDir", &data),
            ("clientPort", &port.to_string()),
            ("clientPortAddress", "127.0.0.1"),
            ("admin.enableServer", "false"),
            ("4lw.commands.whitelist", "*"),
        ];
        let lines = lines.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        let (defines, held) = Default::default();
        Trial { dir, lines, defines, port, process: None, held, other: None }
    }

    /// A member of an ensemble of one, whose election address is this.
    fn member(name: &str, host: &str, quorum: u16, election: u16) -> Trial {
        let mut trial = Trial::alone(name);
        trial.set("initLimit", 20);
        trial.set("syncLimit", 10);
        trial.set("standaloneEnabled", false);
        trial.set("server.1", format!("{host}:{quorum}:{election}"));
        std::fs::write(trial.dir.join("data/myid"), "1\n").expect("writable");
        trial
    }

    fn set(&mut self, key: &str, value: impl ToString) {
        self.lines.retain(|(k, _)| k != key);
        self.lines.push((key.to_owned(), value.to_string()));
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn ready_file(&self) -> PathBuf {
        self.dir.join("ready.json")
    }

    fn config(&self) -> Result<PathBuf, Stop> {
        let text: String = self.lines.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
        let path = self.dir.join("zoo.cfg");
        std::fs::write(&path, text)?;
        Ok(path)
    }

    fn spawn(&self, log: &str) -> Result<Process, Stop> {
        let mut command = Command::new(rookeeper_binary());
        command.arg("server").arg(self.config()?).arg("--ready-file").arg(self.ready_file());
        command.args(self.defines.iter().map(|define| format!("-D{define}")));
        Ok(Process::spawn("rookeeper", &mut command, &self.dir.join(log))?)
    }

    fn launch(&mut self) -> Result<(), Stop> {
        self.process = Some(self.spawn("server.log")?);
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("server.log")).unwrap_or_default()
    }

    fn fail(&self, what: &str) -> Stop {
        Stop::failed(format!("{what}\n{}", self.log()))
    }

    /// The exit code, once it has ended.
    fn ended(&mut self) -> Result<i32, Stop> {
        let status = self.process.as_mut().and_then(|process| process.wait(PATIENCE));
        let status = status.ok_or_else(|| self.fail("it has not ended"))?;
        status.code().ok_or_else(|| self.fail(&format!("ended by a signal: {status}")))
    }

    fn until(&mut self, what: &str, mut met: impl FnMut(&Trial) -> bool) -> Result<(), Stop> {
        let end = Instant::now() + PATIENCE;
        while !met(self) {
            let gone = self.process.as_mut().is_some_and(|process| process.finished().is_some());
            if gone || Instant::now() > end {
                return Err(self.fail(&format!("not seen: {what} (ended: {gone})")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn four(&self, word: &str) -> String {
        four::ask(([127, 0, 0, 1], self.port).into(), word.as_bytes()).unwrap_or_default()
    }

    /// Data whose loading does not end: a pipe into which nobody writes stands for a file system that
    /// does not answer.
    fn hang_the_load(&self) -> Result<(), Stop> {
        let member = self.data().join("myid").exists();
        let pipe =
            self.data().join(if member { "version-2/currentEpoch" } else { "session.secret" });
        let made = Command::new("mkfifo").arg(&pipe).status()?;
        expect(made.success(), "mkfifo")
    }
}

/// A fault that ends the start.
struct Fault {
    name: &'static str,
    /// Makes the server, with the fault; what the text must name besides.
    make: fn() -> Result<(Trial, String), Stop>,
    /// Apache's exit code.
    code: i32,
    /// What the text must hold.
    texts: &'static [&'static str],
}

fn held(trial: &mut Trial) -> Result<u16, Stop> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    trial.held.push(listener);
    Ok(port)
}

fn naming(trial: Trial, what: impl ToString) -> Result<(Trial, String), Stop> {
    Ok((trial, what.to_string()))
}

fn retries(trial: &mut Trial, count: u32) {
    trial.defines.push(format!("zookeeper.electionPortBindRetry={count}"));
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "client_port_taken",
        make: || {
            let mut trial = Trial::alone("client-port-taken");
            let port = held(&mut trial)?;
            trial.set("clientPort", port);
            trial.defines.push("zookeeper.audit.enable=true".to_owned());
            naming(trial, format!("127.0.0.1:{port}"))
        },
        code: 1,
        texts: &[
            "can't listen on",
            "Address already in use",
            "clientPort",
            "another program",
            "operation=serverStart\tresult=failure",
        ],
    },
    Fault {
        name: "client_address_foreign",
        make: || {
            let mut trial = Trial::alone("client-address-foreign");
            trial.set("clientPortAddress", FOREIGN);
            naming(trial, FOREIGN)
        },
        code: 1,
        texts: &["can't listen on", "clientPortAddress", "no network interface"],
    },
    Fault {
        name: "client_address_unknown",
        make: || {
            let mut trial = Trial::alone("client-address-unknown");
            trial.set("clientPortAddress", UNKNOWN);
            naming(trial, UNKNOWN)
        },
        code: 2,
        texts: &["clientPortAddress", "is no address of a machine", "name a host that is known"],
    },
    Fault {
        name: "metrics_port_taken",
        make: || {
            let mut trial = Trial::alone("metrics-port-taken");
            let port = held(&mut trial)?;
            let provider = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
            trial.set("metricsProvider.className", provider);
            trial.set("metricsProvider.httpHost", "127.0.0.1");
            trial.set("metricsProvider.httpPort", port);
            naming(trial, format!("127.0.0.1:{port}"))
        },
        code: 1,
        texts: &["can't listen on", "metricsProvider.httpPort", "another program"],
    },
    Fault {
        name: "election_port_taken",
        make: || {
            let mut trial = Trial::member("election-port-taken", "127.0.0.1", free_port(), 1);
            let port = held(&mut trial)?;
            trial.set("server.1", format!("127.0.0.1:{}:{port}", free_port()));
            retries(&mut trial, 2);
            naming(trial, format!("127.0.0.1:{port}"))
        },
        code: 14,
        texts: &["election port", "2 attempts", "electionPortBindRetry", "another program"],
    },
    Fault {
        name: "election_address_foreign",
        make: || {
            let ports = (free_port(), free_port());
            let mut trial = Trial::member("election-foreign", FOREIGN, ports.0, ports.1);
            retries(&mut trial, 1);
            naming(trial, FOREIGN)
        },
        code: 14,
        texts: &["election port", "no network interface", "quorumListenOnAllIPs"],
    },
    Fault {
        name: "election_name_unknown",
        make: || {
            let ports = (free_port(), free_port());
            let mut trial = Trial::member("election-unknown", UNKNOWN, ports.0, ports.1);
            retries(&mut trial, 1);
            naming(trial, UNKNOWN)
        },
        code: 14,
        texts: &["election port", "must resolve"],
    },
    Fault {
        name: "data_directory_missing",
        make: || {
            let mut trial = Trial::alone("data-missing");
            trial.set("dataDir", trial.dir.join("nowhere").display());
            trial.defines.push("zookeeper.datadir.autocreate=false".to_owned());
            let named = trial.dir.join("nowhere");
            naming(trial, named.display())
        },
        code: 3,
        texts: &["autocreate"],
    },
    Fault {
        name: "data_directory_is_a_file",
        make: || {
            let trial = Trial::alone("data-file");
            std::fs::remove_dir_all(trial.data())?;
            std::fs::write(trial.data(), "")?;
            let named = trial.data();
            naming(trial, named.display())
        },
        code: 3,
        texts: &["ERROR"],
    },
    Fault {
        name: "data_directory_in_use",
        make: || {
            let mut trial = Trial::alone("data-in-use");
            trial.other = Some(trial.spawn("other.log")?);
            trial.until("the other serves", |t| t.ready_file().exists())?;
            trial.set("clientPort", free_port());
            let named = trial.data();
            naming(trial, named.display())
        },
        code: 3,
        texts: &["in use by another server"],
    },
    Fault {
        name: "myid_missing",
        make: || {
            let trial = Trial::member("myid-missing", "127.0.0.1", free_port(), free_port());
            std::fs::remove_file(trial.dir.join("data/myid"))?;
            let named = trial.dir.join("data/myid");
            naming(trial, named.display())
        },
        code: 2,
        texts: &["myid"],
    },
    Fault {
        name: "myid_unreadable",
        make: || {
            let trial = Trial::member("myid-unreadable", "127.0.0.1", free_port(), free_port());
            std::fs::remove_file(trial.dir.join("data/myid"))?;
            std::fs::create_dir(trial.dir.join("data/myid"))?;
            naming(trial, "myid")
        },
        code: 2,
        texts: &["myid"],
    },
    Fault {
        name: "myid_garbage",
        make: || {
            let trial = Trial::member("myid-garbage", "127.0.0.1", free_port(), free_port());
            std::fs::write(trial.dir.join("data/myid"), "one\n")?;
            naming(trial, "one")
        },
        code: 2,
        texts: &["myid"],
    },
    Fault {
        name: "myid_of_nobody",
        make: || {
            let trial = Trial::member("myid-nobody", "127.0.0.1", free_port(), free_port());
            std::fs::write(trial.dir.join("data/myid"), "7\n")?;
            naming(trial, "7")
        },
        code: 2,
        texts: &["not in the peer list"],
    },
];

fn refused(fault: &Fault) -> Outcome {
    let (mut trial, named) = (fault.make)()?;
    trial.launch()?;
    let code = trial.ended()?;
    let log = trial.log();
    expect(!log.contains("panicked"), &format!("it panicked\n{log}"))?;
    expect(code == fault.code, &format!("exit code {code}, not {}\n{log}", fault.code))?;
    for text in fault.texts.iter().chain([&named.as_str()]) {
        expect(log.contains(*text), &format!("not said: {text}\n{log}"))?;
    }
    expect(!log.contains("serving clients"), &format!("it claims to have served\n{log}"))?;
    let errors: Vec<&str> = log.lines().filter(|l| l.contains("ERROR")).collect();
    Ok(errors.last().map_or_else(String::new, |line| format!("{code}: {line}")))
}

/// SIGTERM and SIGINT while the data is loaded.
fn signals_in_a_load() -> Outcome {
    for signal in [Signal::TERM, Signal::INT] {
        for member in [false, true] {
            let mut trial = match member {
                false => Trial::alone("signal-load"),
                true => Trial::member("signal-load", "127.0.0.1", free_port(), free_port()),
            };
            trial.hang_the_load()?;
            trial.launch()?;
            trial.until("a probe is answered", |t| t.four("ruok") == "imok")?;
            stops(&mut trial, signal)?;
        }
    }
    Ok(String::new())
}

fn stops(trial: &mut Trial, signal: Signal) -> Result<(), Stop> {
    trial.process.as_ref().expect("it runs").signal(signal);
    let code = trial.ended()?;
    let log = trial.log();
    expect(code == 0, &format!("exit code {code} after {signal:?}\n{log}"))?;
    expect(log.contains("stopping before clients were served"), &format!("not said\n{log}"))?;
    expect(!log.contains("panicked"), &format!("it panicked\n{log}"))
}

/// The same while the election port is tried for ever.
fn signals_in_retries() -> Outcome {
    for signal in [Signal::TERM, Signal::INT] {
        let mut trial = Trial::member("signal-retry", "127.0.0.1", free_port(), 1);
        let port = held(&mut trial)?;
        trial.set("server.1", format!("127.0.0.1:{}:{port}", free_port()));
        retries(&mut trial, 0);
        trial.launch()?;
        trial.until("retries", |t| t.log().contains("can't be bound yet"))?;
        expect(trial.four("ruok") == "imok", "ruok while it retries")?;
        stops(&mut trial, signal)?;
    }
    Ok(String::new())
}

fn probes_in_a_load() -> Outcome {
    for member in [false, true] {
        let mut trial = match member {
            false => Trial::alone("probe-load"),
            true => Trial::member("probe-load", "127.0.0.1", free_port(), free_port()),
        };
        trial.hang_the_load()?;
        trial.launch()?;
        trial.until("imok", |t| t.four("ruok") == "imok")?;
        let answers = [
            ("isro", "null"),
            ("srvr", NOT_SERVING),
            ("mntr", NOT_SERVING),
            ("stat", NOT_SERVING),
            ("conf", NOT_SERVING),
        ];
        for (word, expected) in answers {
            let got = trial.four(word);
            expect(got == expected, &format!("{word}: {got:?}"))?;
        }
        expect(!trial.ready_file().exists(), "it does not serve, and says that it is ready")?;
        expect(!trial.log().contains("serving clients"), "it does not serve, and says so")?;
    }
    Ok(String::new())
}

/// A client that comes while the data is loaded is served when that is over.
fn clients_wait() -> Outcome {
    let mut trial = Trial::alone("clients-wait");
    trial.hang_the_load()?;
    trial.launch()?;
    trial.until("imok", |t| t.four("ruok") == "imok")?;
    let address = ([127, 0, 0, 1], trial.port).into();
    let client = std::thread::spawn(move || -> Result<i32, Stop> {
        Ok(Session::open(address, 30_000)?.create("/a", b"", 0)?)
    });
    let not_yet = trial.four("srvr");
    expect(not_yet == NOT_SERVING, &format!("srvr while it loads: {not_yet:?}"))?;
    std::fs::write(trial.data().join("session.secret"), format!("secret={}\n", "5a".repeat(32)))?;
    let code = client.join().map_err(|_| Stop::failed("the client panicked"))??;
    expect(code == 0, "the client's write")?;
    trial.until("a ready file", |t| t.ready_file().exists())?;
    Ok(String::new())
}

/// One address of two is of a name that nobody knows: the member is reached by the other.
fn one_of_several() -> Outcome {
    let ports = (free_port(), free_port());
    let mut trial = Trial::member("one-of-several", "127.0.0.1", ports.0, ports.1);
    let (q, e) = ports;
    trial.set("server.1", format!("{UNKNOWN}:{q}:{e}|127.0.0.1:{q}:{e}"));
    trial.defines.push("zookeeper.multiAddress.enabled=true".to_owned());
    trial.launch()?;
    trial.until("rw", |t| t.four("isro") == "rw")?;
    expect(trial.log().contains(UNKNOWN), &format!("it is not named\n{}", trial.log()))?;
    TcpStream::connect(("127.0.0.1", q))?;
    TcpStream::connect(("127.0.0.1", e))?;
    Ok(String::new())
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

/// The ready file and the line in the log come with a quorum, and the file goes with it.
fn ready() -> Outcome {
    let dir = TempDir::new("ready");
    let kinds = [Kind::Rookeeper, Kind::Rookeeper];
    let mut ensemble = Ensemble::new(&kinds, dir.path(), &[]).line("tickTime", 200);
    let file = ensemble.members[0].dir.join("ready.json");
    let log = ensemble.members[0].dir.join("server.log");
    ensemble.members[0].launch()?;
    until("imok", || {
        four::ask(ensemble.members[0].address(), b"ruok").is_ok_and(|text| text == "imok")
    })?;
    until("that it listens", || read(&log).unwrap_or_default().contains("listening for clients"))?;
    expect(!file.exists(), "ready without a quorum")?;
    let said = read(&log).unwrap_or_default().contains("serving clients on");
    expect(!said, "it says that it serves, without a quorum")?;
    ensemble.members[1].launch()?;
    ensemble.wait_serving()?;
    until("a ready file", || file.exists())?;
    let text = read(&file).unwrap_or_default();
    let port = format!("\"client\": {}}}", ensemble.members[0].port);
    expect(text.contains(&port), &format!("the ready file says {text}"))?;
    ensemble.members[1].kill9();
    until("no ready file without a quorum", || !file.exists())?;
    ensemble.members[1].launch()?;
    until("a ready file again", || file.exists())?;
    expect(ensemble.members[0].stop(), "it stops")?;
    expect(!file.exists(), "a ready file of a server that has stopped")?;
    Ok(String::new())
}

fn until(what: &str, mut met: impl FnMut() -> bool) -> Result<(), Stop> {
    let end = Instant::now() + PATIENCE;
    while !met() {
        expect(Instant::now() < end, &format!("not seen: {what}"))?;
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The member that all would elect can't open its quorum port: another leads, and the first one follows.
/// When the port is free and that leader falls, it leads.
fn quorum_port_held() -> Outcome {
    let dir = TempDir::new("quorum-port-held");
    let kinds = [Kind::Rookeeper, Kind::Rookeeper, Kind::Rookeeper];
    let mut ensemble = Ensemble::new(&kinds, dir.path(), &[]);
    let holder = TcpListener::bind(("127.0.0.1", ensemble.ports[2].0))?;
    let begun = Instant::now();
    ensemble.start()?;
    let took = begun.elapsed().as_millis();
    expect(ensemble.leader() == Some(1), &format!("{:?} leads", ensemble.leader()))?;
    let log = read(&ensemble.members[2].dir.join("server.log")).unwrap_or_default();
    let init_limit = 20_000;
    expect(took < init_limit, &format!("it took {took} ms\n{}", ensemble.log_tails()))?;
    let lines = log.lines().filter(|line| line.contains("quorum port")).count();
    expect(lines == 1, &format!("{lines} lines about the port\n{log}"))?;
    let mut session = Session::open(ensemble.members[2].address(), 30_000)?;
    expect(session.create("/a", b"", 0)? == 0, "a write through it")?;
    drop(holder);
    until("it says that the port is free", || {
        let log = read(&ensemble.members[2].dir.join("server.log")).unwrap_or_default();
        log.contains("the quorum port is free")
    })?;
    ensemble.members[1].kill9();
    until("it leads", || ensemble.leader() == Some(2))?;
    Ok(format!("served after {took} ms"))
}

/// Where no other can be elected a member leads without its port: nobody has to come by it.
fn held_alone() -> Outcome {
    let mut trial = Trial::member("held-alone", "127.0.0.1", 1, free_port());
    let port = held(&mut trial)?;
    trial.set("server.1", format!("127.0.0.1:{port}:{}", free_port()));
    trial.launch()?;
    trial.until("rw", |t| t.four("isro") == "rw")?;
    trial.until("what is wrong", |t| t.log().contains(&format!("127.0.0.1:{port}")))?;
    trial.held.clear();
    trial.until("the port", |_| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    expect(trial.four("isro") == "rw", "it serves all the while")?;
    Ok(String::new())
}

/// What a leader with `leaderServes=no` says at its client port, and a follower of it.
fn leader_serves_no(kind: Kind) -> Outcome {
    let dir = TempDir::new("leader-serves-no");
    let mut ensemble = Ensemble::new(&[Kind::Rookeeper, kind], dir.path(), &[]);
    for member in &mut ensemble.members {
        member.properties.push(("zookeeper.leaderServes".to_owned(), "no".to_owned()));
        member.launch()?;
    }
    let [follower, leader] = [&ensemble.members[0], &ensemble.members[1]];
    until("a follower", || four::mode(follower.address()).as_deref() == Some("follower"))?;
    for (word, expected) in
        [("isro", "null"), ("ruok", "imok"), ("srvr", NOT_SERVING), ("mntr", NOT_SERVING)]
    {
        let got = leader.four(word)?;
        expect(got == expected, &format!("the leader's {word}: {got:?}"))?;
    }
    expect(follower.four("isro")? == "rw", "the follower's isro")?;
    let mut stream = TcpStream::connect(leader.address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[0, 0, 0, 45])?;
    stream.write_all(&[0; 45])?;
    let mut nothing = Vec::new();
    let closed = stream.read_to_end(&mut nothing).map_or(true, |_| nothing.is_empty());
    expect(closed, "the leader answers a connect request")?;
    Ok(String::new())
}
