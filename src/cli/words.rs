//! `rookeeper 4lw` and `rookeeper status`: four-letter words from the other side.

use std::time::Duration;

use clap::Args;

use super::exit;
use super::output::say;
use crate::client::four_letter;
use crate::config::table::distance;
use crate::ops::four_letter::WORDS;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Arguments of `rookeeper 4lw`.
#[derive(Args, Debug)]
pub struct WordArgs {
    /// ruok, srvr, mntr, ..
    pub word: String,
    /// The server: host:port, or one of both
    #[arg(default_value = "127.0.0.1:2181")]
    pub address: String,
}

/// Arguments of `rookeeper status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The servers: host:port, or one of both
    #[arg(default_value = "127.0.0.1:2181")]
    pub servers: Vec<String>,
}

/// Sends a word and prints the answer; a word that no server answers is a wrong argument.
pub fn run(args: WordArgs) -> u8 {
    let word = args.word.as_str();
    let known = || WORDS.iter().map(|(w, _)| w.letters()).filter(|letters| !letters.is_empty());
    if known().any(|letters| letters == word) {
        return send(word, &args.address);
    }
    // What is no word for us may be one for the server there, if it has the form of one.
    let answer = match word.len() {
        4 => ask(word, &with_port(&args.address)),
        _ => Ok(String::new()),
    };
    match answer {
        Ok(text) if !text.is_empty() => {
            say(&text);
            exit::OK
        }
        Ok(_) => {
            let hint = match known().min_by_key(|letters| distance(word, letters)) {
                Some(near) if distance(word, near) <= 2 => format!("did you mean {near}?"),
                _ => format!("the words are {}", known().collect::<Vec<_>>().join(", ")),
            };
            err!("error: {word} is not a four-letter word\n  hint: {hint}");
            exit::INVALID_INVOCATION
        }
        Err(e) => no_answer(&args.address, &e),
    }
}

/// Sends `word` to `address` (`host:port`, port 2181 when left out) and prints the answer as it is.
pub fn send(word: &str, address: &str) -> u8 {
    match ask(word, &with_port(address)) {
        Ok(text) => {
            say(&text);
            exit::OK
        }
        Err(e) => no_answer(address, &e),
    }
}

fn no_answer(address: &str, why: &std::io::Error) -> u8 {
    err!("error: no answer from {address}\n  because {why}\n  hint: is a server running there?");
    exit::NO_CONNECTION
}

/// One line per server: address, mode, zxid, connections, version.
pub fn status(args: StatusArgs) -> u8 {
    let mut code = exit::OK;
    for server in &args.servers {
        let answer = ask("srvr", &with_port(server));
        let text = match answer {
            Ok(text) => text,
            Err(e) => {
                out!("{server:<24} down        {e}");
                code = exit::NO_CONNECTION;
                continue;
            }
        };
        let line = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("-");
        if line("Mode: ") == "-" {
            out!("{server:<24} not serving {}", text.trim());
            code = exit::NO_CONNECTION;
            continue;
        }
        let version = line("Zookeeper version: ").split(['-', ',']).next().unwrap_or("-");
        out!(
            "{server:<24} {:<11} zxid {:<14} connections {:<6} nodes {:<8} version {version}",
            line("Mode: "),
            line("Zxid: "),
            line("Connections: "),
            line("Node count: "),
        );
    }
    code
}

/// The answer to a word.
///
/// # Errors
/// What the connection said.
pub fn ask(word: &str, address: &str) -> std::io::Result<String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(four_letter(address, word, PATIENCE))
}

/// `host:port` of an address without its port (2181) or without its host (this one).
pub(super) fn with_port(address: &str) -> String {
    let has_port = match address.rsplit_once(']') {
        Some((_, rest)) => rest.starts_with(':'),
        None => address.contains(':'),
    };
    if has_port {
        address.to_owned()
    } else if address.parse::<u16>().is_ok() {
        format!("127.0.0.1:{address}")
    } else {
        format!("{address}:2181")
    }
}

#[cfg(test)]
mod tests;
