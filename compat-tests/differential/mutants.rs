//! The runner's own test: servers that are wrong on purpose, each of which it must find out.
//!
//! A mutant is made from a copy of the sources with one small change, and built in the cache; nothing
//! of it is in the product.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::live;
use crate::harness::ports::copy_dir;
use crate::harness::process;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Kind, set_binary};
use crate::harness::tools::{self, Level, need};

struct Mutant {
    name: &'static str,
    file: &'static str,
    find: &'static str,
    replace: &'static str,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "delete-leaves-pzxid",
        file: "src/state/apply.rs",
        find: "            parent.pzxid = zxid;",
        replace: "            let _ = zxid;",
    },
    Mutant {
        name: "multi-later-operations-say-ok",
        file: "src/replica/prep.rs",
        find: "error_part(Code::RUNTIME_INCONSISTENCY)",
        replace: "error_part(Code::OK)",
    },
    Mutant {
        name: "ephemerals-prefix-ignored",
        file: "src/state/belongings.rs",
        find: "if path.starts_with(prefix) {",
        replace: "if path.len() >= prefix.len() {",
    },
];

/// Seconds within which a mutant must be found, its programs shortened and told.
const MINUTE: f64 = 60.0;

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    for mutant in MUTANTS {
        suite.add("mutants", mutant.name, Level::Full, move || find(mutant));
    }
}

fn find(mutant: &Mutant) -> Outcome {
    need("java")?;
    let root = tools::root();
    let copy = tools::cache().join("mutant");
    let _ = std::fs::remove_dir_all(&copy);
    std::fs::create_dir_all(&copy)?;
    for name in ["src", "compat-tests", "benches"] {
        if root.join(name).is_dir() {
            copy_dir(&root.join(name), &copy.join(name))?;
        }
    }
    for name in ["Cargo.toml", "Cargo.lock"] {
        std::fs::copy(root.join(name), copy.join(name))?;
    }
    let path = copy.join(mutant.file);
    let text = std::fs::read_to_string(&path)?;
    if text.matches(mutant.find).count() != 1 {
        return Err(Stop::failed(format!("{} is not once in {}", mutant.find, mutant.file)));
    }
    std::fs::write(&path, text.replace(mutant.find, mutant.replace))?;
    let target = tools::cache().join("mutant-target");
    build(&copy, &target)?;
    let begun = Instant::now();
    let _back = set_binary(Some(target.join("debug/rookeeper")));
    match live::compare(Kind::Hosted, Kind::Rookeeper, 7, 100_000, false) {
        Err(Stop::Failed(text)) if text.contains("differences") => {
            let seconds = begun.elapsed().as_secs_f64();
            if seconds > MINUTE {
                return Err(Stop::failed(format!("found, but only after {seconds:.0} s\n{text}")));
            }
            Ok(format!("found with its shortest programs within {seconds:.0} s"))
        }
        Err(other) => Err(other),
        Ok(_) => Err(Stop::failed("not found in 100,000 operations")),
    }
}

fn build(copy: &Path, target: &Path) -> Result<(), Stop> {
    let mut command = Command::new(need("cargo")?);
    command.current_dir(copy).args(["build", "-q", "--bin", "rookeeper"]);
    command.env("CARGO_TARGET_DIR", target).env_remove("CARGO_MANIFEST_DIR");
    process::run(&mut command, &copy.join("build.log"), Duration::from_secs(1200))
        .map(|_| ())
        .map_err(Stop::failed)
}
