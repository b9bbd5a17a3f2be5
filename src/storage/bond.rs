//! Which log belongs to which snapshots, where `dataLogDir` is another directory than `dataDir`.
//!
//! Snapshots without their log are an older state, and nothing in them says so: a configuration that
//! has lost its `dataLogDir` line, a disk that isn't mounted and two exchanged directories would all
//! start, with writes missing. (Apache snapshots at every start and so forgets less; here a snapshot
//! may be far behind.) So both directories carry one number, and `dataDir` the place of the log, in
//! files whose names mean nothing to Apache. Who moves both directories, or renames one with its
//! content, moves them along.

use std::path::{Path, PathBuf};

use super::epoch::{read_small, write_atomic};
use super::names::{Dirs, RESYNC_MARK};
use super::{Disk, Error, Result};

/// In `<dataDir>/version-2`: the number in hex, and on a second line where the log was last.
pub const PLACE: &str = "rookeeper.logdir";
/// In `<dataLogDir>/version-2`: the number.
pub const NUMBER: &str = "rookeeper.id";

struct Place {
    id: u64,
    logs: PathBuf,
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.lines().next()?.trim(), 16).ok()
}

fn text_of(disk: &dyn Disk, path: &Path) -> Result<Option<String>> {
    let bytes = read_small(disk, path)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// What `dataDir` says of its log. A file that makes no sense says nothing: both are only guards.
fn place_in(disk: &dyn Disk, dir: &Path) -> Result<Option<Place>> {
    let Some(text) = text_of(disk, &dir.join(PLACE))? else { return Ok(None) };
    let logs = PathBuf::from(text.lines().nth(1).unwrap_or_default());
    Ok(number(&text).map(|id| Place { id, logs }))
}

/// Checks that the log directory is the one that belongs to the snapshots, and remembers it. Two
/// directories without any number, as Apache leaves them, get `new_id`, if there is one.
///
/// # Errors
/// [`Error::OtherLog`] when it is not, [`Error::Io`].
pub fn check(disk: &dyn Disk, dirs: &Dirs, new_id: Option<u64>) -> Result<()> {
    let found = text_of(disk, &dirs.logs.join(NUMBER))?.and_then(|text| number(&text));
    let place = place_in(disk, &dirs.snapshots)?;
    let id = match (&place, found) {
        (Some(place), Some(found)) if place.id == found => found,
        (Some(place), found) => return Err(other_log(dirs, place, found.is_some())),
        (None, _) if dirs.logs == dirs.snapshots => return Ok(()),
        (None, Some(found)) => found,
        (None, None) => match new_id {
            Some(new_id) => new_id,
            None => return Ok(()),
        },
    };
    if found.is_none() {
        write_atomic(disk, &dirs.logs, NUMBER, format!("{id:016x}\n").as_bytes())?;
    }
    let logs = std::path::absolute(&dirs.logs).unwrap_or_else(|_| dirs.logs.clone());
    if place.is_none_or(|place| place.logs != logs) {
        let text = format!("{id:016x}\n{}\n", logs.display());
        write_atomic(disk, &dirs.snapshots, PLACE, text.as_bytes())?;
    }
    Ok(())
}

fn other_log(dirs: &Dirs, place: &Place, is_anothers: bool) -> Error {
    let Dirs { snapshots, logs } = dirs;
    let file = snapshots.join(PLACE);
    let (was, logs_now) = (place.logs.display(), logs.display());
    let setting = place.logs.parent().unwrap_or(&place.logs).display();
    let what = match is_anothers {
        true => format!("{logs_now} is the log of other snapshots"),
        false if place.logs == *logs => {
            format!("{logs_now} is not the directory it was: is its disk mounted?")
        }
        false => format!("{logs_now} has none of it"),
    };
    let mv = format!("mv {} {}", file.display(), snapshots.join(RESYNC_MARK).display());
    Error::OtherLog {
        dir: snapshots.clone(),
        what: format!(
            "it was in {was}, and {what}; hint: dataLogDir={setting} is where it was; if it \
             was moved without {NUMBER}, move that as well or remove {}; if it is lost for good, remove \
             that file on a standalone server, and on a member, which must not vote then, {mv}",
            file.display()
        ),
    }
}
