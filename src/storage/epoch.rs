//! Small files that must be there whole or not at all: epochs, `myid`, `initialize`, secrets.
//!
//! Written to `<name>.tmp`, synced, renamed, and the directory synced. Apache's
//! `AtomicFileWritingIdiom` leaves out the last step; a lost rename of `acceptedEpoch` after it was
//! promised could elect two leaders of one epoch.

use std::path::Path;

use super::{Disk, Error, IoContext, Result, disk::read_full};
use crate::types::{Epoch, ServerId, Zxid};

/// The epoch a learner has promised to the prospective leader (written before ACKEPOCH).
pub const ACCEPTED: &str = "acceptedEpoch";
/// The epoch whose history is on this disk (written before the ACK of NEWLEADER).
pub const CURRENT: &str = "currentEpoch";
/// Largest small file that is read.
const SMALL_FILE_MAX: usize = 64 * 1024;

/// Writes `bytes` to `dir/name`, atomically and durably.
pub fn write_atomic(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let tmp = dir.join(format!("{name}.tmp"));
    let path = dir.join(name);
    let mut file = disk.create(&tmp).at("create", &tmp)?;
    file.write_at(0, bytes).at("write", &tmp)?;
    file.sync_data().at("sync", &tmp)?;
    drop(file);
    disk.rename(&tmp, &path).at("rename", &tmp)?;
    disk.sync_dir(dir).at("sync", dir)
}

/// The content of a small file; None when there is none.
pub fn read_small(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>> {
    if !disk.exists(path) {
        return Ok(None);
    }
    let file = disk.open(path).at("open", path)?;
    let mut bytes = vec![0; SMALL_FILE_MAX];
    let n = read_full(&*file, 0, &mut bytes).at("read", path)?;
    bytes.truncate(n);
    Ok(Some(bytes))
}

fn read_number(disk: &dyn Disk, path: &Path) -> Result<Option<i64>> {
    let Some(bytes) = read_small(disk, path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    // Apache reads one line; people write `myid` by hand.
    let line = text.lines().next().unwrap_or("").trim();
    line.parse().map(Some).map_err(|_| Error::BadContent {
        path: path.to_owned(),
        what: format!("{line:?} is not a number"),
    })
}

/// Saves an epoch ([`ACCEPTED`] or [`CURRENT`]) in `<dataDir>/version-2`; durable on return.
pub fn write_epoch(disk: &dyn Disk, dir: &Path, name: &str, epoch: Epoch) -> Result<()> {
    write_atomic(disk, dir, name, epoch.0.to_string().as_bytes())
}

/// The server's id from `<dataDir>/myid`; None when there is no such file.
pub fn read_myid(disk: &dyn Disk, data_dir: &Path) -> Result<Option<ServerId>> {
    Ok(read_number(disk, &data_dir.join("myid"))?.map(ServerId))
}

/// Removes the `initialize` marker, which allows an empty database to vote although
/// `zookeeper.db.autocreate` is off. It lies beside `version-2` of the *log* directory (Apache
/// `FileTxnSnapLog.restore`). True if it was there.
pub fn take_initialize_marker(disk: &dyn Disk, logs: &Path) -> Result<bool> {
    let Some(dir) = logs.parent() else { return Ok(false) };
    let path = dir.join("initialize");
    if !disk.exists(&path) {
        return Ok(false);
    }
    disk.remove(&path).at("remove", &path)?;
    disk.sync_dir(dir).at("sync", dir)?;
    Ok(true)
}

/// The epochs of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// Promised.
    pub accepted: Epoch,
    /// Of the history here.
    pub current: Epoch,
}

/// Loads the epochs for a member whose last transaction is `last`, and makes the files agree with
/// what is returned, durably (Apache `QuorumPeer.loadDataBase`).
///
/// - A missing file gets the epoch of `last`.
/// - `epoch(last) > currentEpoch` is a crash between a synchronised history and the epoch that
///   names it. Apache takes `currentEpoch.tmp` or refuses; here, when `acceptedEpoch` shows that
///   the leader of that epoch was accepted, the history is that leader's and the epoch is adopted
///   (A28 in the decisions; ZOOKEEPER-1653, ZOOKEEPER-2354).
/// - `acceptedEpoch < currentEpoch` is refused, as by Apache.
pub fn load_epochs(disk: &dyn Disk, dir: &Path, last: Zxid) -> Result<Epochs> {
    let (current_path, accepted_path) = (dir.join(CURRENT), dir.join(ACCEPTED));
    let tmp_path = dir.join(format!("{CURRENT}.tmp"));
    let of_last = last.epoch().0.max(0);
    let stored_accepted = read_number(disk, &accepted_path)?;
    let mut current = match read_number(disk, &current_path)? {
        Some(epoch) => epoch,
        None => {
            write_epoch(disk, dir, CURRENT, Epoch(of_last))?;
            of_last
        }
    };
    if of_last > current {
        // A temporary file that can't be parsed was torn: it says nothing.
        let tmp = read_number(disk, &tmp_path).ok().flatten();
        if tmp == Some(of_last) || stored_accepted.is_some_and(|a| a >= of_last) {
            current = of_last;
            write_epoch(disk, dir, CURRENT, Epoch(current))?;
        } else {
            return Err(Error::BadContent {
                path: current_path,
                what: format!("epoch {current} is older than the last zxid, {last}"),
            });
        }
    }
    let accepted = match stored_accepted {
        Some(epoch) => epoch,
        None => {
            let epoch = of_last.max(current);
            write_epoch(disk, dir, ACCEPTED, Epoch(epoch))?;
            epoch
        }
    };
    if accepted < current {
        return Err(Error::BadContent {
            path: accepted_path,
            what: format!("the accepted epoch, {accepted}, is less than the current, {current}"),
        });
    }
    Ok(Epochs { accepted: Epoch(accepted), current: Epoch(current) })
}
