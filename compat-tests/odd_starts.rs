//! Odd configurations: what Apache's starter does with each, recorded, and that ours does the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::differential::gaps::Gaps;
use crate::harness::ports::{TempDir, free_port};
use crate::harness::process::Process;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::rookeeper_binary;
use crate::harness::tools::{self, Level};
use crate::harness::{apache, four};

const FIXTURE: &str = "fixtures/config/odd-starts.apache-3.9.5.txt";

/// A process that neither ends nor serves within this time goes on without serving.
const PATIENCE: Duration = Duration::from_secs(15);

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("config", "odd_starts", Level::Quick, ours);
    suite.add("config", "odd_starts_of_apache", Level::Full, of_apache);
    suite.add("config", "hashes_of_java", Level::Ci, hashes);
}

/// One case of the fixture.
struct Case {
    name: String,
    config: String,
    files: Vec<(String, String)>,
    /// `serves`, `runs`, or `exit N: text`.
    outcome: String,
}

/// The head of the fixture and its cases.
fn read() -> Result<(String, Vec<Case>), Stop> {
    let text = std::fs::read_to_string(tools::root().join(FIXTURE))?;
    let mut parts = text.split("\n===== ");
    let head = parts.next().unwrap_or_default().to_string();
    let cases = parts.map(|part| {
        let (body, outcome) = part.split_once("\n----- ").expect("an outcome");
        let (name, body) = body.split_once('\n').expect("a name");
        let body = format!("{body}\n");
        let mut sections = body.split("+++++ ");
        let config = sections.next().unwrap_or_default().to_string();
        let file = |section: &str| {
            let (file, text) = section.split_once('\n').expect("a file's name");
            (file.to_string(), text.strip_suffix("\\\n").unwrap_or(text).to_string())
        };
        let files = sections.map(file).collect();
        Case { name: name.to_string(), config, files, outcome: outcome.trim_end().to_string() }
    });
    Ok((head, cases.collect()))
}

/// Writes the files of a case below `dir`; the ports that `{1}` to `{9}` stand for.
fn prepare(case: &Case, dir: &Path) -> Result<(PathBuf, Vec<u16>), Stop> {
    let ports: Vec<u16> = (1..10).map(|_| free_port()).collect();
    let fill = |text: &str| {
        let mut text = text.replace('@', &dir.display().to_string());
        for (n, port) in ports.iter().enumerate() {
            text = text.replace(&format!("{{{}}}", n + 1), &port.to_string());
        }
        text
    };
    let config = dir.join("zoo.cfg");
    std::fs::write(&config, fill(&case.config))?;
    for (file, text) in &case.files {
        let path = dir.join(file);
        std::fs::create_dir_all(path.parent().expect("below the directory"))?;
        std::fs::write(path, fill(text))?;
    }
    Ok((config, ports))
}

/// Runs a server on a prepared case until it has ended, serves, or does neither for long.
fn watch(command: &mut Command, dir: &Path, port: u16) -> Result<String, Stop> {
    let log = dir.join("server.log");
    command.current_dir(dir);
    let mut process = Process::spawn("odd", command, &log)?;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = process.finished() {
            break Some(status);
        }
        // A connection that Apache takes while it starts may never be answered.
        let soon = Duration::from_millis(500);
        let here: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        if here.iter().any(|host| four::ask_within((*host, port).into(), b"srvr", soon).is_ok()) {
            process.kill();
            return Ok("serves".into());
        }
        if Instant::now() > end {
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    process.kill();
    let Some(status) = status else { return Ok("runs".into()) };
    let code = status.code().ok_or_else(|| Stop::failed(format!("ended with {status}")))?;
    Ok(format!("exit {code}: {}", why(&std::fs::read_to_string(&log)?)))
}

/// The innermost reason in a Java server's log, else its last error, in one line.
fn why(log: &str) -> String {
    let cause = log.lines().rfind(|line| line.starts_with("Caused by: "));
    let thrown = || log.lines().find(|line| line.contains("Exception: "));
    let line = cause.or_else(thrown).unwrap_or_else(|| log.lines().last().unwrap_or_default());
    line.split_once(": ").map_or(line, |(_, text)| text).to_string()
}

/// Ports and the directory as the fixture writes them.
fn unfill(outcome: &str, dir: &Path, ports: &[u16]) -> String {
    let mut text = outcome.trim_end().replace(&dir.display().to_string(), "@");
    for (n, port) in ports.iter().enumerate() {
        text = text.replace(&port.to_string(), &format!("{{{}}}", n + 1));
    }
    text
}

/// Apache does what the fixture says; with `ROOKEEPER_REWRITE` that is written anew.
fn of_apache() -> Outcome {
    let (head, mut cases) = read()?;
    let mut wrong = Vec::new();
    for case in &mut cases {
        let dir = TempDir::new("odd-apache");
        let (config, ports) = prepare(case, dir.path())?;
        let mut command = apache::server(apache::REFERENCE, &config, &[], true)?;
        let outcome = unfill(&watch(&mut command, dir.path(), ports[0])?, dir.path(), &ports);
        if outcome != case.outcome {
            wrong.push(format!("{}: {outcome}, not {}", case.name, case.outcome));
        }
        case.outcome = outcome;
    }
    if std::env::var_os("ROOKEEPER_REWRITE").is_some() {
        let mut text = head + "\n";
        for case in &cases {
            text.push_str(&format!("===== {}\n{}", case.name, case.config));
            for (file, content) in &case.files {
                let open = !content.is_empty() && !content.ends_with('\n');
                let end = if open { "\\\n" } else { "" };
                text.push_str(&format!("+++++ {file}\n{content}{end}"));
            }
            text.push_str(&format!("----- {}\n", case.outcome));
        }
        std::fs::write(tools::root().join(FIXTURE), text)?;
        return Ok(format!("{} cases written", cases.len()));
    }
    if wrong.is_empty() {
        Ok(format!("{} cases", cases.len()))
    } else {
        Err(wrong.join("\n").into())
    }
}

/// What decides whether two starts are the same: serving, running, or an exit code.
fn class(outcome: &str) -> &str {
    outcome.split(':').next().unwrap_or_default()
}

/// Ours does what Apache does, the listed differences apart; and `config check` says beforehand
/// whether a server would start.
fn ours() -> Outcome {
    let gaps = Gaps::load()?;
    let (_, cases) = read()?;
    let mut wrong = Vec::new();
    for case in &cases {
        let dir = TempDir::new("odd-ours");
        let (config, ports) = prepare(case, dir.path())?;
        let mut check = Command::new(rookeeper_binary());
        check.args(["config", "check"]).arg(&config).current_dir(dir.path());
        let checked = check.output()?.status.code();
        let mut command = Command::new(rookeeper_binary());
        command.arg("server").arg(&config);
        let outcome = watch(&mut command, dir.path(), ports[0])?;
        let same = class(&outcome) == class(&case.outcome);
        let gap = gaps.whole(&format!("odd_starts::{}", case.name));
        if same == gap.is_some() {
            let listed = if gap.is_some() { " (a listed gap)" } else { "" };
            wrong.push(format!("{}{listed}: {outcome}; Apache: {}", case.name, case.outcome));
        }
        let (refused, exit_2) = (checked != Some(0), class(&outcome) == "exit 2");
        if refused != exit_2 {
            wrong.push(format!(
                "{}: config check gives {checked:?}, the server {outcome}",
                case.name
            ));
        }
    }
    if wrong.is_empty() {
        Ok(format!("{} cases", cases.len()))
    } else {
        Err(wrong.join("\n").into())
    }
}

/// Java gives the digests that the fixture of the digest scheme holds.
fn hashes() -> Outcome {
    let source = tools::root().join("compat-tests/java/Digests.java");
    let said = Command::new(tools::need("java")?).arg(source).output()?;
    let recorded = std::fs::read(tools::root().join("fixtures/auth/digests.java-17.txt"))?;
    if said.stdout == recorded {
        Ok(String::new())
    } else {
        Err("other digests".to_string().into())
    }
}
