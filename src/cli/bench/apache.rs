//! Where Apache ZooKeeper comes from: its jars, fetched once with Maven into a directory outside
//! the sources.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const POM: &str = include_str!("../../../benches/apache/pom.xml");

/// The version the pom asks for.
pub const VERSION: &str = "3.9.5";

/// The class path of Apache's server: the jars of `lib` when given, otherwise those under `cache`,
/// fetched by `mvn` when they are not there yet.
///
/// # Errors
/// When there is no jar of ZooKeeper in `lib`, or Maven is missing or fails.
pub fn class_path(lib: Option<&Path>, cache: &Path) -> io::Result<String> {
    let dir = match lib {
        Some(lib) => lib.to_path_buf(),
        None => {
            let dir = cache.join(format!("apache-{VERSION}"));
            if !has_server(&dir.join("lib")) {
                fetch(&dir)?;
            }
            dir.join("lib")
        }
    };
    if !has_server(&dir) {
        let what = format!("no zookeeper-*.jar in {}", dir.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    Ok(format!("{}/*", dir.display()))
}

fn has_server(lib: &Path) -> bool {
    let Ok(files) = fs::read_dir(lib) else { return false };
    files.flatten().any(|file| {
        let name = file.file_name();
        let name = name.to_string_lossy();
        name.starts_with("zookeeper-3") && name.ends_with(".jar")
    })
}

fn fetch(dir: &PathBuf) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("pom.xml"), POM)?;
    let status = Command::new("mvn")
        .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", dir.join("lib").display()))
        .current_dir(dir)
        .stdin(Stdio::null())
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("mvn could not fetch Apache ZooKeeper: {status}"))),
    }
}
