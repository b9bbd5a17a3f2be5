//! `rookeeper purge`: old snapshots and logs go (Apache's `PurgeTxnLog` and `zkCleanup.sh`).

use std::path::PathBuf;

use clap::Args;

use super::exit;
use crate::storage::Dirs;
use crate::storage::disk::RealDisk;
use crate::storage::purge::{RETAIN_MIN, purge};

/// Arguments of `rookeeper purge`.
#[derive(Args, Debug)]
pub struct PurgeArgs {
    /// Directory of the log (dataLogDir, or dataDir where there is only one)
    pub log_dir: PathBuf,
    /// Directory of the snapshots, when it is another one (dataDir)
    pub snapshot_dir: Option<PathBuf>,
    /// How many snapshots to keep, 3 or more
    #[arg(short = 'n', value_name = "COUNT")]
    pub count: usize,
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
    let data = args.snapshot_dir.as_ref().unwrap_or(&args.log_dir);
    let dirs = Dirs::new(data, Some(&args.log_dir));
    match purge(&RealDisk, &dirs, args.count) {
        Ok(purged) => {
            for path in &purged.removed {
                out!("Removing file: {}", path.display());
            }
            exit::OK
        }
        Err(e) => {
            err!("error: {e}");
            exit::DATA_DIR
        }
    }
}
