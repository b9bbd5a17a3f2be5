//! The log: one line per event on standard error, coloured on a terminal.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts the log. `filter` is `--log`; without it `RUST_LOG` counts, and `info` without both. A
/// second call changes nothing.
pub fn start(filter: Option<&str>) {
    let fallback = || EnvFilter::new("info");
    let filter = match filter {
        Some(text) => EnvFilter::try_new(text).unwrap_or_else(|e| {
            eprintln!("warning: --log {text} can't be used: {e}\n  hint: try info, debug, or rookeeper=debug");
            fallback()
        }),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| fallback()),
    };
    let stderr = std::io::stderr();
    // An error means that there is a log already, which is what a second server in one process wants.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr.is_terminal())
        .with_target(false)
        .with_writer(std::io::stderr)
        .try_init();
}
