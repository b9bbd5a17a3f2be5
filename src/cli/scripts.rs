//! `zkServer.sh` without a shell: start, stop and status by pid file, with Apache's texts.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::multicall::{Action, Script, ServerConfig};
use super::{exit, server, words};
use crate::config::{Config, Overrides};

/// Does what a script's arguments say; the number is the exit code.
pub fn run(script: Script) -> u8 {
    if script.action == Action::Version {
        out!("Apache ZooKeeper, version {}", crate::config::CompatVersion::NEWEST);
        return exit::OK;
    }
    err!("Using config: {}", script.config.display());
    match script.action {
        Action::StartForeground => {
            server::run_with(ServerConfig::File(script.config), &script.defines, None)
        }
        Action::PrintCommand => {
            out!("{}", command_line(&script).join(" "));
            exit::OK
        }
        Action::Start => start(&script),
        Action::Stop => stop(&script),
        Action::Restart => {
            stop(&script);
            start(&script)
        }
        Action::Status => status(&script),
        Action::Version => exit::OK,
    }
}

/// Replaces this process by the real `java` (`$REAL_JAVA`); returns only when that fails.
pub fn exec_java(args: &[String]) -> u8 {
    match std::env::var_os("REAL_JAVA") {
        Some(java) => {
            let error = Command::new(&java).args(args).exec();
            err!("{}: {error}", java.to_string_lossy());
        }
        None => err!(
            "error: not a main class of ZooKeeper's: {}\n  hint: set REAL_JAVA to the real java",
            args.join(" ")
        ),
    }
    exit::UNEXPECTED
}

fn config_of(script: &Script) -> Result<Config, u8> {
    let overrides = Overrides { defines: script.defines.clone(), sets: Vec::new() };
    match server::load(&ServerConfig::File(script.config.clone()), &overrides) {
        Ok(loaded) => Ok(loaded.config),
        Err(errors) => {
            err!("{errors}");
            Err(exit::INVALID_INVOCATION)
        }
    }
}

fn pid_file(script: &Script, config: &Config) -> PathBuf {
    script.pid_file.clone().unwrap_or_else(|| config.data_dir.join("zookeeper_server.pid"))
}

fn command_line(script: &Script) -> Vec<String> {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("rookeeper"));
    let mut line = vec![program.display().to_string(), "server".to_owned()];
    line.push(script.config.display().to_string());
    line.extend(script.defines.iter().map(|(key, value)| format!("-D{key}={value}")));
    line
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

fn read_pid(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn start(script: &Script) -> u8 {
    let config = match config_of(script) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let path = pid_file(script, &config);
    super::say("Starting zookeeper ... ");
    if let Some(pid) = read_pid(&path).filter(|pid| is_alive(*pid)) {
        out!("already running as process {pid}.");
        return exit::UNEXPECTED;
    }
    match spawn(script, &config, &path) {
        Ok(()) => {
            out!("STARTED");
            exit::OK
        }
        Err(e) => {
            out!("FAILED TO START");
            err!("{}: {e}", path.display());
            exit::UNEXPECTED
        }
    }
}

fn spawn(script: &Script, config: &Config, pid_file: &Path) -> io::Result<()> {
    fs::create_dir_all(&config.data_dir)?;
    let log_dir = script.log_dir.clone().unwrap_or_else(|| PathBuf::from("."));
    fs::create_dir_all(&log_dir)?;
    let log = fs::File::create(log_dir.join("zookeeper.out"))?;
    let line = command_line(script);
    let mut child = Command::new(&line[0])
        .args(&line[1..])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    fs::write(pid_file, child.id().to_string())?;
    // Long enough to notice a configuration that can't be used, as Apache's script does.
    std::thread::sleep(Duration::from_millis(300));
    match child.try_wait()? {
        Some(status) => {
            fs::remove_file(pid_file)?;
            Err(io::Error::other(format!("the server ended at once, {status}")))
        }
        None => Ok(()),
    }
}

fn stop(script: &Script) -> u8 {
    let config = match config_of(script) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let path = pid_file(script, &config);
    super::say("Stopping zookeeper ... ");
    let Some(pid) = read_pid(&path) else {
        out!("no zookeeper to stop (could not find file {})", path.display());
        return exit::OK;
    };
    let target = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(target) = target {
        // An error means that it is gone already, which is what was asked for.
        let _ = rustix::process::kill_process(target, rustix::process::Signal::TERM);
    }
    let end = Instant::now() + Duration::from_secs(10);
    while is_alive(pid) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    // A file that can't be removed is found to be stale at the next start.
    let _ = fs::remove_file(&path);
    out!("STOPPED");
    exit::OK
}

fn status(script: &Script) -> u8 {
    let config = match config_of(script) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let Some(endpoint) = &config.listen.client else {
        err!("Client port not found in static config file.");
        return exit::UNEXPECTED;
    };
    let host = endpoint.host.clone().unwrap_or_else(|| "localhost".to_owned());
    out!("Client port found: {}. Client address: {host}. Client SSL: false.", endpoint.port);
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host };
    let answer = words::ask("srvr", &format!("{bracketed}:{}", endpoint.port)).unwrap_or_default();
    match answer.lines().find(|l| l.starts_with("Mode: ")) {
        Some(mode) => {
            out!("{mode}");
            exit::OK
        }
        None => {
            out!("Error contacting service. It is probably not running.");
            exit::UNEXPECTED
        }
    }
}
