//! Which toolchains this machine has, and the cache of what was downloaded with them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use super::process;
use super::runner::Stop;

/// How much of the suite runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// A few minutes: what plain `cargo test` runs.
    Quick,
    /// What continuous integration runs.
    Ci,
    /// Everything.
    Full,
}

/// The level asked for by `ROOKEEPER_COMPAT`, or `Ci` when `CI=true`, or `Quick`.
pub fn level() -> Level {
    match std::env::var("ROOKEEPER_COMPAT").as_deref() {
        Ok("full") => Level::Full,
        Ok("ci") => Level::Ci,
        Ok("quick") => Level::Quick,
        _ if ci() => Level::Ci,
        _ => Level::Quick,
    }
}

/// Whether a missing toolchain is a failure.
pub fn ci() -> bool {
    std::env::var("CI").as_deref() == Ok("true")
}

/// The repository's root.
pub fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")))
}

/// Where downloads are kept, outside git.
pub fn cache() -> PathBuf {
    let path = std::env::var_os("ROOKEEPER_COMPAT_CACHE")
        .map(PathBuf::from)
        .unwrap_or_else(|| root().join("target").join("compat-cache"));
    std::fs::create_dir_all(&path).expect("the cache directory is writable");
    path
}

/// The program's path, if it is on `PATH` and starts.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| p.is_file())
}

/// The program's path, or the reason to skip.
pub fn need(program: &str) -> Result<PathBuf, Stop> {
    find(program).ok_or_else(|| Stop::missing(program))
}

static DOWNLOADS: Mutex<()> = Mutex::new(());

/// Runs `fill` once per cache entry; the entry is complete only when `fill` succeeded.
pub fn cached(name: &str, fill: impl FnOnce(&Path) -> Result<(), Stop>) -> Result<PathBuf, Stop> {
    let _one_at_a_time = DOWNLOADS.lock().unwrap_or_else(|e| e.into_inner());
    let dir = cache().join(name);
    let mark = dir.join(".complete");
    if !mark.is_file() {
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).map_err(|e| Stop::failed(format!("{name}: {e}")))?;
        fill(&dir)?;
        std::fs::write(&mark, "").map_err(|e| Stop::failed(format!("{name}: {e}")))?;
    }
    Ok(dir)
}

/// Fetches Java artifacts (`group:artifact:version`) with all they need, and gives the folder of
/// jars.
pub fn maven(name: &str, artifacts: &[&str]) -> Result<PathBuf, Stop> {
    let mvn = need("mvn")?;
    need("java")?;
    let dir = cached(&format!("maven-{name}"), |dir| {
        let mut pom = String::from(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n\
             <groupId>compat</groupId><artifactId>compat</artifactId><version>1</version>\n<dependencies>\n",
        );
        for artifact in artifacts {
            let mut parts = artifact.split(':');
            let (Some(group), Some(id), Some(version)) = (parts.next(), parts.next(), parts.next())
            else {
                return Err(Stop::failed(format!("not group:artifact:version: {artifact}")));
            };
            pom.push_str(&format!(
                "<dependency><groupId>{group}</groupId><artifactId>{id}</artifactId><version>{version}</version></dependency>\n"
            ));
        }
        pom.push_str("</dependencies>\n</project>\n");
        let write = std::fs::write(dir.join("pom.xml"), pom);
        write.map_err(|e| Stop::failed(e.to_string()))?;
        let mut command = Command::new(&mvn);
        command
            .current_dir(dir)
            .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", dir.join("lib").display()));
        process::run(&mut command, &dir.join("mvn.log"), Duration::from_secs(900))
            .map_err(Stop::failed)?;
        Ok(())
    })?;
    Ok(dir.join("lib"))
}

/// A class path of all jars in `lib`, in name order, after `first`.
pub fn class_path(first: &[&Path], lib: &Path) -> String {
    let mut jars: Vec<PathBuf> = std::fs::read_dir(lib)
        .map(|entries| entries.flatten().map(|e| e.path()).collect())
        .unwrap_or_default();
    jars.sort();
    let all: Vec<String> = first
        .iter()
        .map(|p| p.display().to_string())
        .chain(jars.iter().map(|p| p.display().to_string()))
        .collect();
    all.join(":")
}

/// Compiles Java sources against `class_path` into a cache entry named after their content.
pub fn javac(name: &str, sources: &[PathBuf], class_path: &str) -> Result<PathBuf, Stop> {
    use sha1::{Digest, Sha1};
    let javac = need("javac")?;
    let mut hash = Sha1::new();
    hash.update(class_path.as_bytes());
    for source in sources {
        let text = std::fs::read(source)
            .map_err(|e| Stop::failed(format!("{}: {e}", source.display())))?;
        hash.update(&text);
    }
    let id: String = hash.finalize().iter().take(6).map(|b| format!("{b:02x}")).collect();
    cached(&format!("javac-{name}-{id}"), |dir| {
        let mut command = Command::new(&javac);
        command.args(["-nowarn", "-Xlint:none", "--release", "8", "-proc:none", "-cp", class_path]);
        command.arg("-d").arg(dir).args(sources);
        process::run(&mut command, &dir.join("javac.log"), Duration::from_secs(180))
            .map(|_| ())
            .map_err(Stop::failed)
    })
}

/// Text of `program args`, or nothing when it fails.
pub fn output(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_string())
}
