//! `rookeeper 4lw` and `rookeeper status`: four-letter words from the other side.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::exit;
use crate::client::four_letter;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Arguments of `rookeeper 4lw`.
#[derive(Args, Debug)]
pub struct WordArgs {
    /// ruok, srvr, mntr, ..
    pub word: String,
    /// The server, host:port
    #[arg(default_value = "127.0.0.1:2181")]
    pub address: String,
}

/// Arguments of `rookeeper status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The servers, host:port
    #[arg(default_value = "127.0.0.1:2181")]
    pub servers: Vec<String>,
}

/// Sends a word and prints the answer.
pub fn run(args: WordArgs) -> u8 {
    send(&args.word, &args.address)
}

/// Sends `word` to `address` (`host:port`, port 2181 when left out) and prints the answer as it is.
pub fn send(word: &str, address: &str) -> u8 {
    match ask(word, &with_port(address)) {
        Ok(text) => {
            let mut out = std::io::stdout();
            match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                Ok(()) => exit::OK,
                Err(_) => exit::UNEXPECTED,
            }
        }
        Err(e) => {
            eprintln!(
                "error: no answer from {address}\n  because {e}\n  hint: is a server running there?"
            );
            exit::NO_CONNECTION
        }
    }
}

/// One line per server: address, mode, zxid, connections, version.
pub fn status(args: StatusArgs) -> u8 {
    let mut code = exit::OK;
    for server in &args.servers {
        let answer = ask("srvr", &with_port(server));
        let text = match answer {
            Ok(text) => text,
            Err(e) => {
                println!("{server:<24} down        {e}");
                code = exit::NO_CONNECTION;
                continue;
            }
        };
        let line = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("-");
        if line("Mode: ") == "-" {
            println!("{server:<24} not serving {}", text.trim());
            code = exit::NO_CONNECTION;
            continue;
        }
        let version = line("Zookeeper version: ").split(['-', ',']).next().unwrap_or("-");
        println!(
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

fn with_port(address: &str) -> String {
    let has_port = match address.rsplit_once(']') {
        Some((_, rest)) => rest.starts_with(':'),
        None => address.contains(':'),
    };
    if has_port { address.to_owned() } else { format!("{address}:2181") }
}
