//! Apache ZooKeeper from Maven: its jars, its main classes, and a Java process that hosts many
//! standalone servers for the differential runs.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::runner::Stop;
use super::tools;

/// The release that everything is compared with.
pub const REFERENCE: &str = "3.9.5";

/// Debian's package of 3.8.0 (`libzookeeper-java`), installed by the system, where `server` wants a
/// release.
pub const DEBIAN: &str = "debian";

/// What `java` is told to find the server of a release.
fn server_class_path(version: &str) -> Result<String, Stop> {
    if version != DEBIAN {
        return Ok(tools::class_path(&[], &jars(version)?));
    }
    // The jar's manifest names the jars that it needs; none of them is a logger.
    let all =
        ["zookeeper.jar", "slf4j-simple.jar"].map(|jar| Path::new("/usr/share/java").join(jar));
    if all.iter().any(|jar| !jar.is_file()) {
        return Err(Stop::missing("libzookeeper-java"));
    }
    Ok(all.map(|jar| jar.display().to_string()).join(":"))
}

/// The jars of a release, with what its server needs at run time but does not ask Maven for.
pub fn jars(version: &str) -> Result<PathBuf, Stop> {
    let server = format!("org.apache.zookeeper:zookeeper:{version}");
    if version.starts_with("3.4.") {
        return tools::maven(&format!("zookeeper-{version}"), &[&server]);
    }
    let slf4j = if version.starts_with("3.9.") { "2.0.13" } else { "1.7.36" };
    let simple = format!("org.slf4j:slf4j-simple:{slf4j}");
    let mut all = vec![
        server.as_str(),
        "org.xerial.snappy:snappy-java:1.1.10.5",
        "io.dropwizard.metrics:metrics-core:4.1.12.1",
        "commons-cli:commons-cli:1.5.0",
    ];
    if version.starts_with("3.9.") {
        all.push(&simple);
    }
    tools::maven(&format!("zookeeper-{version}"), &all)
}

/// `java` with the options all the suite's Java servers get: small, quick to start, quiet.
pub fn java(class_path: &str, heap_mib: u32) -> Result<Command, Stop> {
    let mut command = Command::new(tools::need("java")?);
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]);
    command.arg(format!("-Xmx{heap_mib}m"));
    command.args([
        "-Dzookeeper.jmx.log4j.disable=true",
        "-Dorg.slf4j.simpleLogger.logFile=System.err",
    ]);
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=off");
    command.args(["-cp", class_path]);
    Ok(command)
}

/// The command that runs a server of `version` with `config`.
pub fn server(
    version: &str,
    config: &Path,
    properties: &[(String, String)],
    quorum: bool,
) -> Result<Command, Stop> {
    let class_path = server_class_path(version)?;
    let mut command = Command::new(tools::need("java")?);
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]);
    command.args(["-Dzookeeper.jmx.log4j.disable=true", "-Dzookeeper.admin.enableServer=false"]);
    let level = std::env::var("ROOKEEPER_COMPAT_JAVA_LOG").unwrap_or_else(|_| "warn".to_string());
    command.args(["-Dorg.slf4j.simpleLogger.logFile=System.out"]);
    command.arg(format!("-Dorg.slf4j.simpleLogger.defaultLogLevel={level}"));
    for (key, value) in properties {
        command.arg(format!("-D{key}={value}"));
    }
    command.args(["-cp", &class_path]);
    command.arg(if quorum {
        "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    } else {
        "org.apache.zookeeper.server.ZooKeeperServerMain"
    });
    command.arg(config);
    Ok(command)
}

struct Host {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

static HOST: Mutex<Option<Host>> = Mutex::new(None);
static NEXT_ID: AtomicU32 = AtomicU32::new(1);

/// One standalone server inside the hosting process; stopped when dropped.
pub struct Hosted {
    id: u32,
}

impl Hosted {
    /// Starts a server with this configuration file.
    pub fn start(config: &Path) -> Result<Hosted, Stop> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        say(&format!("start {id} {}", config.display()))?;
        Ok(Hosted { id })
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        let _ = say(&format!("stop {}", self.id));
    }
}

fn say(line: &str) -> Result<(), Stop> {
    let mut slot = HOST.lock().unwrap_or_else(|e| e.into_inner());
    if slot.is_none() {
        *slot = Some(launch()?);
    }
    let host = slot.as_mut().expect("filled above");
    let talk = |host: &mut Host| -> std::io::Result<()> {
        writeln!(host.input, "{line}")?;
        host.input.flush()?;
        let mut answer = String::new();
        loop {
            answer.clear();
            if host.output.read_line(&mut answer)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if answer.starts_with('@') {
                return Ok(());
            }
        }
    };
    if let Err(e) = talk(host) {
        let _ = host.child.kill();
        let _ = host.child.wait();
        *slot = None;
        return Err(Stop::failed(format!("the hosting Java process: {line}: {e}")));
    }
    Ok(())
}

fn launch() -> Result<Host, Stop> {
    let lib = jars(REFERENCE)?;
    let source = tools::root().join("compat-tests/java/CompatHost.java");
    let classes = tools::javac("host", &[source], &tools::class_path(&[], &lib))?;
    let mut command = java(&tools::class_path(&[&classes], &lib), 512)?;
    for (key, value) in super::server::PROPERTIES {
        command.arg(format!("-D{key}={value}"));
    }
    let log = File::create(tools::cache().join("host.log"))?;
    let mut child = command
        .arg("org.apache.zookeeper.server.CompatHost")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()?;
    let input = child.stdin.take().expect("piped above");
    let output = BufReader::new(child.stdout.take().expect("piped above"));
    Ok(Host { child, input, output })
}

/// Ends the hosting process; called once at the end of the run.
pub fn shut_down() {
    let mut slot = HOST.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(mut host) = slot.take() {
        let _ = host.child.kill();
        let _ = host.child.wait();
    }
}
