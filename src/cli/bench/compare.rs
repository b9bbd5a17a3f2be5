//! `rookeeper bench compare`: both servers and the limits of the machine, interleaved run by run,
//! one table.
//!
//! Absolute times are not stable on shared machines, so every figure stands beside Apache's of the
//! same run; medians over the repetitions with the spread in parentheses.

mod groups;
mod table;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::apache;
use super::servers::{Kind, Launcher};
use groups::Group;

/// Compare rookeeper with Apache ZooKeeper and the limits of the machine.
#[derive(Args, Debug, Clone)]
pub struct CompareArgs {
    /// Repetitions; the servers take turns within each
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Seconds that each load is measured
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Repetitions of what takes minutes, the large tree; none of them less than once
    #[arg(long)]
    tree_repetitions: Option<usize>,
    /// Seconds of load before each is measured: a virtual machine compiles what it runs often
    #[arg(long, default_value_t = 3.0)]
    warmup: f64,
    /// Nodes of the large tree
    #[arg(long, default_value_t = 1_000_000)]
    nodes: u64,
    /// Sessions and watches
    #[arg(long, default_value_t = 10_000)]
    sessions: usize,
    /// Only these groups: standalone, sessions, tree, start, ensemble, slow, limits
    #[arg(long, value_delimiter = ',')]
    only: Vec<Group>,
    /// Measure rookeeper and the limits only
    #[arg(long)]
    without_apache: bool,
    /// Measure Apache and the limits only
    #[arg(long)]
    without_rookeeper: bool,
    /// Directory of Apache's jars; without it they are fetched once with Maven
    #[arg(long)]
    apache_lib: Option<PathBuf>,
    /// Where fetched jars are kept
    #[arg(long, default_value = "target")]
    cache: PathBuf,
    /// Where the servers keep their data while they run
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The program to compare instead of this one
    #[arg(long)]
    rookeeper: Option<PathBuf>,
    /// Put the table into this file, between its two markers
    #[arg(long)]
    write: Option<PathBuf>,
    /// A remark on the conditions, for the table's heading
    #[arg(long, default_value = "")]
    remark: String,
    /// A few seconds in all: shows that everything works, measures nothing
    #[arg(long)]
    smoke: bool,
}

/// Figures by row and server.
pub type Samples = BTreeMap<(&'static str, Kind), Vec<f64>>;

/// Runs the comparison; false when anything could not be measured.
///
/// # Errors
/// When Apache's jars cannot be had, or the output not written.
pub fn run(args: &CompareArgs) -> io::Result<bool> {
    let mut args = args.clone();
    if args.smoke {
        args.repetitions = 1;
        (args.seconds, args.warmup) = (0.3, 0.1);
        args.nodes = args.nodes.min(3000);
        args.sessions = args.sessions.min(200);
    }
    let class_path = match args.without_apache {
        true => None,
        false => {
            let cache = std::path::absolute(&args.cache)?;
            Some(apache::class_path(args.apache_lib.as_deref(), &cache)?)
        }
    };
    let launcher = Launcher {
        rookeeper: match &args.rookeeper {
            Some(program) => std::path::absolute(program)?,
            None => std::env::current_exe()?,
        },
        dir: std::path::absolute(args.dir.clone().unwrap_or_else(std::env::temp_dir))?,
        class_path,
        config: String::new(),
    };
    let mut kinds = Vec::new();
    if !args.without_apache {
        kinds.push(Kind::Apache);
    }
    if !args.without_rookeeper {
        kinds.push(Kind::Rookeeper);
    }
    let groups: Vec<Group> =
        Group::ALL.into_iter().filter(|g| args.only.is_empty() || args.only.contains(g)).collect();
    let mut samples = Samples::new();
    let mut failures = Vec::new();
    for repetition in 0..args.repetitions.max(1) {
        let of_tree = args.tree_repetitions.unwrap_or(args.repetitions).max(1);
        for &group in groups.iter().filter(|&&g| g != Group::Tree || repetition < of_tree) {
            for kind in group.kinds(&kinds) {
                err!("repetition {}: {group}, {kind:?}", repetition + 1);
                match group.measure(&launcher, kind, &args) {
                    Ok(figures) => {
                        for (id, value) in figures {
                            err!("    {id} {value:.3}");
                            samples.entry((id, kind)).or_default().push(value);
                        }
                    }
                    Err(error) => {
                        err!("    failed: {error}");
                        failures.push(format!("{group}, {kind:?}: {error}"));
                    }
                }
            }
        }
        // Whoever comes second finds a warmer machine: take turns.
        kinds.reverse();
    }
    let text = table::render(&samples, &args);
    out!("{text}");
    if let Some(path) = &args.write {
        write_between_markers(path, &text)?;
    }
    for failure in &failures {
        err!("failed: {failure}");
    }
    Ok(failures.is_empty())
}

/// Replaces what stands between the two markers of a document, or appends both.
fn write_between_markers(path: &Path, text: &str) -> io::Result<()> {
    const BEGIN: &str = "<!-- compare: begin -->";
    const END: &str = "<!-- compare: end -->";
    let before = std::fs::read_to_string(path).unwrap_or_default();
    let section = format!("{BEGIN}\n{text}\n{END}");
    let document = match (before.find(BEGIN), before.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}{section}{}", &before[..begin], &before[end + END.len()..])
        }
        _ => format!("{before}\n{section}\n"),
    };
    std::fs::write(path, document)
}
