//! What commands print: standard output that may end early (`| head`), standard error that may be
//! gone. The macros of the standard library panic in both cases; `cli` uses `out!` and `err!` instead.

use std::io::{ErrorKind, Write};

use super::exit;

/// Writes to standard output. When nobody reads it any more, the process ends with exit code 0: there
/// is nothing left to do for a command that only says something. When it can't be written for another
/// reason (a full disk) the process says so and ends with exit code 1.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let Err(e) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else { return };
    if e.kind() == ErrorKind::BrokenPipe {
        std::process::exit(exit::OK.into());
    }
    complain(&format!("error: standard output can't be written\n  because {e}\n"));
    std::process::exit(exit::UNEXPECTED.into());
}

/// Writes to standard error. Nobody is left to tell when that fails.
pub(crate) fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A line on standard output, see [`say`]; the arguments are those of `format!`.
macro_rules! out {
    ($($args:tt)*) => { $crate::cli::output::say(&format!("{}\n", format_args!($($args)*))) };
}

/// A line on standard error, see [`complain`]; the arguments are those of `format!`.
macro_rules! err {
    ($($args:tt)*) => { $crate::cli::output::complain(&format!("{}\n", format_args!($($args)*))) };
}
