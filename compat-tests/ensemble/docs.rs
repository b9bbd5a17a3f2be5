//! What `docs/ENSEMBLES.md` tells a reader to type, typed.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::harness::ports::{TempDir, free_port};
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::rookeeper_binary;
use crate::harness::tools;

/// Longest wait until a leader serves.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that the shell has started.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// The three blocks of the section: the file, how to start, how to look.
pub fn three_members() -> Outcome {
    let page = std::fs::read_to_string(tools::root().join("docs/ENSEMBLES.md"))
        .map_err(|e| Stop::failed(format!("docs/ENSEMBLES.md: {e}")))?;
    let section = page.split("\n## ").find(|s| s.starts_with("Three members on one machine"));
    let section = section.ok_or_else(|| Stop::failed("the section is gone"))?;
    let blocks: Vec<&str> = section.split("```\n").skip(1).step_by(2).collect();
    let [config, start, look] = blocks[..] else {
        return Err(Stop::failed(format!("{} blocks in the section, not three", blocks.len())));
    };
    let dir = TempDir::new("docs");
    let io = |e: std::io::Error| Stop::failed(e.to_string());
    // Its ports may be taken here.
    let mut ports = BTreeMap::new();
    for port in (2181..=2183).chain(2881..=2883).chain(3881..=3883) {
        ports.insert(port.to_string(), free_port().to_string());
    }
    let here = |text: &str| {
        // By way of marks: a free port may begin with the digits of another.
        let marked = ports.keys().fold(text.to_string(), |text, port| {
            text.replace(&format!(":{port}"), &format!(":<{port}>"))
                .replace(&format!("={port}"), &format!("=<{port}>"))
        });
        ports.iter().fold(marked, |text, (port, free)| text.replace(&format!("<{port}>"), free))
    };
    for n in 1..=3 {
        let own =
            config.replace("=data1", &format!("=data{n}")).replace("=2181", &format!("=218{n}"));
        std::fs::write(dir.join(&format!("zk{n}.cfg")), here(&own)).map_err(io)?;
    }
    let bin = dir.join("bin");
    std::fs::create_dir(&bin).map_err(io)?;
    std::os::unix::fs::symlink(rookeeper_binary(), bin.join("rookeeper")).map_err(io)?;
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(dir.path()).env("PATH", &path);
        command
    };
    let log = File::create(dir.join("log")).map_err(io)?;
    let mut command = shell(start);
    command.stdout(log.try_clone().map_err(io)?).stderr(log).process_group(0);
    let mut child = command.spawn().map_err(io)?;
    let _group = Group(Pid::from_raw(child.id() as i32));
    let status = child.wait().map_err(io)?;
    let said = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    if !status.success() {
        return Err(Stop::failed(format!("the commands end with {status}\n{}", said())));
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let out = shell(&here(look)).output().map_err(io)?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let count = |word: &str| text.lines().filter(|l| l.contains(word)).count();
        if count("leader") == 1 && count("follower") == 2 {
            return Ok("one says leader, two say follower".to_string());
        }
        if Instant::now() > end {
            return Err(Stop::failed(format!("no leader and two followers:\n{text}\n{}", said())));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
