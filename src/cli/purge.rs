//! `rookeeper purge`: old snapshots and logs go (Apache's `PurgeTxnLog` and `zkCleanup.sh`).

use std::path::PathBuf;

use clap::Args;

use super::exit;
use super::txnlog::version_dir;
use crate::storage::Dirs;
use crate::storage::disk::RealDisk;
use crate::storage::names::Named;
use crate::storage::purge::{Plan, RETAIN_MIN, plan, purge};

/// Arguments of `rookeeper purge`.
#[derive(Args, Debug)]
pub struct PurgeArgs {
    /// Directory of the log (dataLogDir, or dataDir where there is only one), or the version-2 in it
    pub log_dir: PathBuf,
    /// Directory of the snapshots, when it is another one (dataDir)
    pub snapshot_dir: Option<PathBuf>,
    /// How many snapshots to keep, 3 or more
    #[arg(short = 'n', value_name = "COUNT")]
    pub count: usize,
    /// Remove nothing, but say what would go and what would stay
    #[arg(long)]
    pub dry_run: bool,
}

/// Does it; the number is the exit code.
pub fn run(args: PurgeArgs) -> u8 {
    if args.count < RETAIN_MIN {
        err!(
            "error: -n {} is too few\n  because a server may need the last {RETAIN_MIN} snapshots\n  \
             hint: -n {RETAIN_MIN} or more",
            args.count
        );
        return exit::INVALID_INVOCATION;
    }
    match carry_out(&args) {
        Ok(text) => {
            super::say(&text);
            exit::OK
        }
        Err(e) => {
            err!("error: {e}");
            exit::DATA_DIR
        }
    }
}

/// What went or would go, a file a line, and the sums.
fn carry_out(args: &PurgeArgs) -> crate::storage::Result<String> {
    let logs = version_dir(&args.log_dir);
    let snapshots = args.snapshot_dir.as_ref().map_or(logs.clone(), |dir| version_dir(dir));
    let dirs = Dirs { snapshots, logs };
    let plan = plan(&RealDisk, &dirs, args.count)?;
    let removed = match args.dry_run {
        true => plan.snapshots.iter().chain(&plan.logs).map(|named| named.path.clone()).collect(),
        false => purge(&RealDisk, &dirs, args.count)?.removed,
    };
    let verb = if args.dry_run { "Would remove file" } else { "Removing file" };
    let mut text = String::new();
    for path in removed {
        text.push_str(&format!("{verb}: {}\n", path.display()));
    }
    text.push_str(&summary(&plan, args));
    Ok(text)
}

fn summary(plan: &Plan, args: &PurgeArgs) -> String {
    let sums = |snapshots: &[Named], logs: &[Named]| {
        let bytes: u64 = snapshots.iter().chain(logs).map(|named| named.len).sum();
        format!("snapshots: {}, logs: {}, bytes: {bytes}", snapshots.len(), logs.len())
    };
    let (goes, stays) = match args.dry_run {
        true => ("would go", "would stay"),
        false => ("removed", "kept"),
    };
    let mut text = format!("{goes}: {}\n", sums(&plan.snapshots, &plan.logs));
    text.push_str(&format!("{stays}: {}\n", sums(&plan.kept_snapshots, &plan.kept_logs)));
    if plan.whole < args.count {
        let (whole, count) = (plan.whole, args.count);
        text.push_str(&format!(
            "nothing goes while fewer than {count} snapshots can be read: {whole} can\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests;
