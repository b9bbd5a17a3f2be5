//! The log: one line per event on standard error, coloured on a terminal.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts the log. `filter` is `--log`; without it `RUST_LOG` counts, and `info` without both. A
/// second call changes nothing.
pub fn start(filter: Option<&str>) {
    let fallback = || EnvFilter::new("info");
    let filter = match filter {
        Some(text) => usable(text).unwrap_or_else(|why| {
            err!("warning: --log {text} can't be used\n  because {why}\n  hint: try info, debug, or rookeeper=debug");
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
        // Else it reports an event that can't be written to the same place, and panics: a server must
        // outlive whoever reads its log.
        .log_internal_errors(false)
        .try_init();
}

/// The filter that a text means.
///
/// # Errors
/// Why it is none. A bare word that is no level is the name of a module to the parser, and would
/// silence everything else: `--log inof`.
fn usable(text: &str) -> Result<EnvFilter, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let crates = ["rookeeper", "tokio", "mio", "rustls"];
    for part in text.split(',').map(str::trim) {
        let module = part.split("::").next().unwrap_or(part);
        let plain = part.chars().all(|c| c.is_alphanumeric() || c == ':' || c == '_' || c == '-');
        let level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part));
        if plain && !level && part.parse::<u8>().is_err() && !crates.contains(&module) {
            return Err(format!("{part} is not a level"));
        }
        if part.ends_with('=') {
            return Err(format!("{part} lacks its level"));
        }
    }
    EnvFilter::try_new(text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
