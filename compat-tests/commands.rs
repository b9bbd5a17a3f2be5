//! The program as a shell's user meets it: exit codes, what is told where, outputs that nobody reads.

mod zkcli;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::harness::ports::{TempDir, free_port};
use crate::harness::process::Process;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::rookeeper_binary;
use crate::harness::tools::Level;

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("commands", "exit_codes", Level::Quick, exit_codes);
    suite.add("commands", "outputs_that_nobody_reads", Level::Quick, unread);
    suite.add("commands", "a_server_outlives_its_logs_reader", Level::Quick, lost_log);
    suite.add("commands", "one_server_per_directory", Level::Quick, one_server);
    suite.add("commands", "zkcli_answers_as_recorded", Level::Quick, zkcli::replay);
    suite.add(
        "commands",
        "a_copy_named_as_the_script_starts_one_server",
        Level::Quick,
        script_copy,
    );
    suite.add("commands", "bench_leaves_no_session", Level::Quick, bench_sessions);
}

fn run(dir: &Path, line: &str) -> std::io::Result<Output> {
    let mut command = Command::new(rookeeper_binary());
    command.args(line.split_whitespace()).current_dir(dir).stdin(Stdio::null()).output()
}

/// Command lines with their exit code and a part of what they say; nothing may be coloured.
fn exit_codes() -> Outcome {
    let dir = TempDir::new("commands");
    let at = dir.path();
    std::fs::write(at.join("bad.cfg"), "tickTime=2s\n")?;
    std::fs::write(at.join("odd.cfg"), "dataDirr=x\ndataDir=d\nclientPort=0\n")?;
    std::fs::write(at.join("noise"), [0x5a; 3000])?;
    std::fs::create_dir(at.join("empty"))?;
    std::fs::create_dir_all(at.join("full/version-2"))?;
    std::fs::write(at.join("full/version-2/log.1"), "")?;
    std::fs::write(at.join("members.cfg"), "dataDir=n\nserver.1=a:1:2\nserver.2=b:1:2\n")?;
    let cases = [
        ("help", 0, "Usage: rookeeper"),
        ("version", 0, "as Apache ZooKeeper 3.9"),
        ("servr", 2, "similar subcommand exists: 'server'"),
        ("server --reday-file x", 2, "similar argument exists: '--ready-file'"),
        ("server nowhere.cfg", 2, "No such file"),
        ("server empty", 2, "Is a directory"),
        ("server 2181", 2, "PORT DATADIR"),
        ("server 99999 d", 2, "larger than 65535"),
        ("config check bad.cfg", 2, "bad.cfg: 1 error"),
        ("config check odd.cfg", 0, "did you mean dataDir?"),
        ("config explain tikTime", 2, "did you mean tickTime?"),
        ("4lw srvr 127.0.0.1:1", 6, "is a server running there?"),
        ("4lw srvrr 127.0.0.1:1", 2, "did you mean srvr?"),
        ("status 127.0.0.1:1", 6, "down"),
        ("init --data-dir m --myid 3", 0, "data in m"),
        ("init --data-dir m --myid 3", 0, "data in m"),
        ("init --data-dir full --myid 3", 3, "--force"),
        ("init members.cfg", 0, "--myid N says which of the members 1, 2 this server is"),
        ("log check nowhere", 2, "can't open nowhere"),
        ("log check empty", 2, "there is no log in empty"),
        ("log check noise", 8, "is not a transaction log"),
        ("snapshot check nowhere", 2, "can't read nowhere"),
        ("snapshot check empty", 2, "there is no snapshot in empty"),
        ("snapshot check noise", 8, "no ZKSN header"),
        ("purge empty -n 2", 2, "-n 3 or more"),
        ("zkcli -server 127.0.0.1:1 -timeout 500 ls /", 1, "ConnectionLoss"),
        ("zkcli -server 127.0.0.1:1/a/ ls /", 1, "chroot"),
        ("bench --servers 127.0.0.1:1 --duration 1", 1, "is a server running there?"),
        ("bench --size 99999999", 2, "at most"),
    ];
    for (line, code, part) in cases {
        let done = run(at, line)?;
        let text = [done.stdout, done.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        if done.status.code() != Some(code) || !text.contains(part) || text.contains('\x1b') {
            let status = done.status;
            return Err(format!("{line}: {status}, {code} and {part:?} expected:\n{text}").into());
        }
    }
    Ok(format!("{} command lines", cases.len()))
}

/// `rookeeper ... | true`: no panic, whether the reader is gone at once or the disk is full.
fn unread() -> Outcome {
    let dir = TempDir::new("unread");
    let lines = [
        "version",
        "help",
        "config defaults",
        "config explain tickTime",
        "status 127.0.0.1:1",
        "init --data-dir d --force",
        "config check nowhere",
        "server nowhere",
        "log check nowhere",
    ];
    for line in lines {
        for full in [false, true] {
            let output = || -> std::io::Result<Stdio> {
                if full {
                    return Ok(std::fs::File::options().write(true).open("/dev/full")?.into());
                }
                let (reader, writer) = std::io::pipe()?;
                drop(reader);
                Ok(writer.into())
            };
            let mut command = Command::new(rookeeper_binary());
            command.args(line.split_whitespace()).current_dir(dir.path()).stdin(Stdio::null());
            let status = command.stdout(output()?).stderr(output()?).status()?;
            if status.code().is_none_or(|code| code > 8) {
                return Err(format!("{line}: {status}").into());
            }
        }
    }
    Ok(format!("{} commands", lines.len()))
}

/// Whoever reads the log may die (`2>&1 | head`); the server goes on.
fn lost_log() -> Outcome {
    let dir = TempDir::new("lost-log");
    let port = free_port();
    let mut command = Command::new(rookeeper_binary());
    command.args(["server", &port.to_string(), "data", "--log", "debug"]);
    command.current_dir(dir.path()).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let log = child.stderr.take().ok_or_else(|| Stop::Failed("no pipe".into()))?;
    let mut first = String::new();
    BufReader::new(log).read_line(&mut first)?;
    let outcome = (|| {
        wait_for(dir.path(), port)?;
        for n in 0..3 {
            let done = run(dir.path(), &format!("zkcli -server 127.0.0.1:{port} create /n{n}"))?;
            if !done.status.success() {
                let text = String::from_utf8_lossy(&done.stderr);
                return Err(Stop::Failed(format!("create {n}: {}\n{text}", done.status)));
            }
        }
        Ok(String::new())
    })();
    child.kill()?;
    child.wait()?;
    outcome
}

/// A second server on a directory is refused, and the first notices nothing.
fn one_server() -> Outcome {
    let dir = TempDir::new("one-server");
    let port = free_port();
    let mut command = Command::new(rookeeper_binary());
    command.args(["server", &port.to_string(), "data"]).current_dir(dir.path());
    let mut first = Process::spawn("first", &mut command, &dir.path().join("log"))?;
    wait_for(dir.path(), port)?;
    let mut second = Command::new(rookeeper_binary());
    second.args(["server", "0", "data"]).current_dir(dir.path());
    let mut second = Process::spawn("second", &mut second, &dir.path().join("second.log"))?;
    let code = second.wait(Duration::from_secs(30)).and_then(|status| status.code());
    let text = second.log_tail();
    if code != Some(3) || !text.contains("in use by another server") {
        return Err(format!("the second ended with {code:?}\n{text}").into());
    }
    wait_for(dir.path(), port)?;
    // What a killed server leaves keeps nobody out.
    first.kill();
    let mut again = Process::spawn("again", &mut command, &dir.path().join("log"))?;
    wait_for(dir.path(), port)?;
    again.kill();
    Ok(String::new())
}

/// A hard link under the script's name starts a server, and only one.
fn script_copy() -> Outcome {
    let dir = TempDir::new("script-copy");
    let at = dir.path();
    let script = at.join("zkServer.sh");
    if std::fs::hard_link(rookeeper_binary(), &script).is_err() {
        std::fs::copy(rookeeper_binary(), &script)?;
    }
    let port = free_port();
    let data = at.join("data");
    std::fs::write(at.join("zoo.cfg"), format!("dataDir={}\nclientPort={port}\n", data.display()))?;
    let call = |action: &str| -> std::io::Result<Output> {
        let mut command = Command::new(&script);
        command.args(["--config", "."]).arg(action).current_dir(at).stdin(Stdio::null());
        command.env("ZOO_LOG_DIR", at).output()
    };
    let started = call("start")?;
    let waited = wait_for(at, port);
    let pid = std::fs::read_to_string(data.join("zookeeper_server.pid")).unwrap_or_default();
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let stopped = call("stop")?;
    waited?;
    let text = String::from_utf8_lossy(&started.stdout).into_owned();
    if !text.ends_with("STARTED\n") || !stopped.status.success() || !line.contains(" server ") {
        return Err(format!("{text}{line}: {}", stopped.status).into());
    }
    Ok(String::new())
}

/// Once `bench` is over, no session of its own is left.
fn bench_sessions() -> Outcome {
    let dir = TempDir::new("bench-sessions");
    let port = free_port();
    let mut command = Command::new(rookeeper_binary());
    command.args(["server", &port.to_string(), "data", "-Dzookeeper.4lw.commands.whitelist=*"]);
    command.current_dir(dir.path());
    let mut server = Process::spawn("server", &mut command, &dir.path().join("log"))?;
    wait_for(dir.path(), port)?;
    let lines = [
        "--duration 1 --connections 5 --mix get,create",
        "sessions --count 20",
        "watches --count 20",
    ];
    for line in lines {
        let done = run(dir.path(), &format!("bench {line} --servers 127.0.0.1:{port}"))?;
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned().into());
        }
        let dump = run(dir.path(), &format!("4lw dump {port}"))?;
        let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
        if !dump.contains("Session Sets (0)/(0)") {
            return Err(format!("{line}: sessions are left:\n{dump}").into());
        }
    }
    server.kill();
    Ok(format!("{} loads", lines.len()))
}

fn wait_for(dir: &Path, port: u16) -> Result<(), Stop> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let done = run(dir, &format!("status {port}"))?;
        if done.status.success() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(Stop::Failed("the server does not answer".into()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
