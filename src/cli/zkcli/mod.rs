//! `rookeeper zkcli`: Apache's `zkCli.sh` with its words, output and exit codes (`ZooKeeperMain`).
//!
//! Commands give back what they have to say as a value ([`Said`]); the loop here prints watch events
//! that came meanwhile first, because events come before replies. Texts are checked against
//! recordings of 3.9.5 in `fixtures/zkcli`.

mod commands;
mod configuration;
mod line;
mod quota;
mod text;

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;

use super::{exit, output};
use crate::client::{Client, Event, EventKind, Events, Options, State};
use commands::Failure;
use configuration::Settings;

/// Exit code of an unknown command.
const COMMAND_NOT_FOUND: u8 = 127;

/// Arguments of `rookeeper zkcli`: those of Apache's `zkCli.sh`.
#[derive(Args, Debug)]
pub struct ZkCliArgs {
    /// [-server HOST:PORT,..[/chroot]] [-timeout MS] [-r] [-waitforconnection] [COMMAND ..]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<String>,
}

/// How to connect, and what to do then.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    server: String,
    timeout_ms: u64,
    read_only: bool,
    /// `-client-configuration`: a file of properties.
    configuration: Option<PathBuf>,
    command: Vec<String>,
}

impl Call {
    /// Apache's options, up to the first word that isn't one.
    fn parse(arguments: &[String]) -> Result<Call, String> {
        let mut call = Call {
            server: "localhost:2181".to_owned(),
            timeout_ms: 30_000,
            read_only: false,
            configuration: None,
            command: Vec::new(),
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "-server" => call.server = value()?.clone(),
                "-timeout" => {
                    let text = value()?;
                    call.timeout_ms =
                        text.parse().map_err(|_| format!("-timeout {text} is not a number"))?;
                }
                "-client-configuration" => call.configuration = Some(PathBuf::from(value()?)),
                "-r" => call.read_only = true,
                "-waitforconnection" => {}
                option if option.starts_with('-') => {
                    return Err(format!("unknown option {option}"));
                }
                _ => {
                    call.command.push(word.clone());
                    call.command.extend(words.by_ref().cloned());
                }
            }
        }
        Ok(call)
    }
}

/// What a command has to say, and its exit code.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Said {
    out: String,
    err: String,
    code: u8,
}

/// Runs one command, or a loop of them; the code is that of the last one.
pub fn run(arguments: &[String]) -> u8 {
    let call = match Call::parse(arguments) {
        Ok(call) => call,
        Err(why) => {
            err!("{why}\n{}", text::usage());
            return 1;
        }
    };
    let settings = match call.configuration.as_deref().map(Settings::read) {
        None => Settings::default(),
        Some(Ok(settings)) => settings,
        Some(Err(why)) => {
            err!("{why}");
            return exit::INVALID_INVOCATION;
        }
    };
    for note in &settings.notes {
        err!("warning: {note}");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(call, settings)),
        Err(e) => {
            err!("{e}");
            1
        }
    }
}

/// A session and what zkCli remembers.
struct Shell {
    call: Call,
    settings: Settings,
    client: Option<(Client, Events)>,
    print_watches: bool,
    history: Vec<String>,
    code: u8,
}

async fn serve(call: Call, settings: Settings) -> u8 {
    let once = call.command.clone();
    let mut shell =
        Shell { call, settings, client: None, print_watches: true, history: Vec::new(), code: 0 };
    let server = shell.call.server.clone();
    shell.say(&format!("Connecting to {server}\n"));
    if !once.is_empty() {
        shell.connect(&server).await;
        // There is no session only when the address can't be one, which has been said.
        if shell.client.is_some() {
            shell.execute(&once).await;
        }
        // As there, the session isn't closed: its ephemeral nodes live until it times out. Dropping
        // the client would close it.
        std::process::exit(shell.code.into());
    }
    let terminal = std::io::stdin().is_terminal();
    let support = if terminal { "enabled" } else { "disabled" };
    shell.say(&format!("Welcome to ZooKeeper!\nJLine support is {support}\n"));
    shell.connect(&server).await;
    let mut lines = lines_of_stdin();
    loop {
        if terminal {
            let prompt =
                format!("[zk: {}({}) {}] ", shell.call.server, shell.state(), shell.history.len());
            shell.say(&prompt);
        }
        let line = loop {
            // Both are gone once there is nothing more to come; the lines decide.
            tokio::select! {
                line = lines.recv() => break line,
                event = next_event(&mut shell.client) => shell.print_event(&event),
            }
        };
        let Some(line) = line else { break };
        let words = line::split(&line);
        if words.is_empty() {
            continue;
        }
        shell.history.push(line.trim().to_owned());
        if !shell.execute(&words).await {
            break;
        }
    }
    shell.close().await;
    shell.code
}

/// The next event of a session; never without one.
async fn next_event(client: &mut Option<(Client, Events)>) -> Event {
    if let Some((_, events)) = client
        && let Some(event) = events.recv().await
    {
        return event;
    }
    std::future::pending().await
}

/// Lines of standard input, read by a thread of their own because reading blocks.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if send.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receive
}

impl Shell {
    fn say(&self, text: &str) {
        let mut out = std::io::stdout();
        // Nobody is left to tell when the output is closed.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn state(&self) -> &'static str {
        match self.client.as_ref().map(|(client, _)| client.status().state) {
            Some(State::SyncConnected) => "CONNECTED",
            Some(State::ConnectedReadOnly) => "CONNECTEDREADONLY",
            Some(State::Closed) | None => "CLOSED",
            Some(State::AuthFailed) => "AUTH_FAILED",
            Some(_) => "CONNECTING",
        }
    }

    fn print_event(&self, event: &Event) {
        if self.print_watches {
            self.say(&text::event(event));
        }
    }

    fn drain_events(&mut self) {
        let mut events = Vec::new();
        if let Some((_, inbox)) = &mut self.client {
            while let Ok(event) = inbox.try_recv() {
                events.push(event);
            }
        }
        for event in events {
            self.print_event(&event);
        }
    }

    /// Opens a session; the first event, or the session timeout, ends the wait.
    async fn connect(&mut self, server: &str) {
        self.close().await;
        let mut options = match Options::new(server) {
            Ok(options) => options,
            Err(e) => {
                err!("{e}");
                self.code = 1;
                return;
            }
        };
        self.call.server = server.to_owned();
        options.session_timeout = Duration::from_millis(self.call.timeout_ms);
        options.read_only = self.call.read_only;
        if let Some(bytes) = self.settings.reply_bytes_max {
            options.reply_bytes_max = bytes;
        }
        let patience = options.session_timeout;
        let (client, mut events) = Client::start(options);
        let first = tokio::time::timeout(patience, events.recv()).await;
        self.client = Some((client, events));
        if let Ok(Some(event)) = first {
            self.print_event(&event);
        }
    }

    async fn close(&mut self) {
        if let Some((client, mut events)) = self.client.take() {
            client.close().await;
            let mut last = Vec::new();
            while let Ok(Some(event)) =
                tokio::time::timeout(Duration::from_millis(500), events.recv()).await
            {
                let over = event.state == State::Closed;
                last.push(event);
                if over {
                    break;
                }
            }
            if !last.iter().any(|e| e.state == State::Closed) {
                let closed =
                    Event { kind: EventKind::None, state: State::Closed, path: None, zxid: -1 };
                last.push(closed);
            }
            for event in last {
                self.print_event(&event);
            }
        }
    }

    /// Does one command; false when it was the last.
    async fn execute(&mut self, words: &[String]) -> bool {
        let name = words[0].as_str();
        // `quit` leaves the code of the command before it, as in Apache's shell.
        if matches!(name, "quit" | "exit") {
            self.close().await;
            return false;
        }
        self.code = 0;
        match name {
            "close" => self.close().await,
            "connect" => {
                let server = words.get(1).cloned().unwrap_or_else(|| self.call.server.clone());
                self.connect(&server).await;
            }
            "history" => {
                // The one-shot form has remembered nothing, and says so as Apache does.
                if self.history.is_empty() {
                    self.say("0 - null\n");
                }
                let from = self.history.len().saturating_sub(11);
                for (n, line) in self.history.iter().enumerate().skip(from) {
                    self.say(&format!("{n} - {line}\n"));
                }
            }
            "redo" => return Box::pin(self.redo(words)).await,
            "printwatches" => match words.get(1) {
                None => {
                    let state = if self.print_watches { "on" } else { "off" };
                    self.say(&format!("printwatches is {state}\n"));
                }
                Some(word) => self.print_watches = word == "on",
            },
            _ => self.execute_at_server(words).await,
        }
        true
    }

    async fn redo(&mut self, words: &[String]) -> bool {
        let Some(number) = words.get(1) else { return true };
        let known = number.parse::<usize>().ok().filter(|n| *n + 1 < self.history.len());
        let Some(line) = known.and_then(|n| self.history.get(n)).cloned() else {
            err!("Command index out of range");
            self.code = 1;
            return true;
        };
        let words = line::split(&line);
        if words.first().is_some_and(|w| w == "redo") {
            err!("No redoing redos");
            self.code = 1;
            return true;
        }
        match self.history.last_mut() {
            Some(last) => last.clone_from(&line),
            None => self.history.push(line),
        }
        self.execute(&words).await
    }

    async fn execute_at_server(&mut self, words: &[String]) {
        let Some(command) = commands::find(&words[0]) else {
            err!("{}\nCommand not found: Command not found {}", text::usage(), words[0]);
            self.code = COMMAND_NOT_FOUND;
            return;
        };
        let said = match line::options(&words[1..], command.flags, command.values) {
            Err(why) => Said { err: format!("{why}\n"), code: 1, ..Said::default() },
            Ok(parsed) => match &self.client {
                None if command.name != "version" => {
                    Said { out: "Not connected\n".to_owned(), ..Said::default() }
                }
                client => {
                    let client = client.as_ref().map(|(client, _)| client);
                    let mut said = Said::default();
                    match commands::execute(command, &parsed, client, &mut said).await {
                        Ok(()) => said,
                        Err(failure) => {
                            said.err.push_str(&failure_text(&failure));
                            said.code = 1;
                            said
                        }
                    }
                }
            },
        };
        self.drain_events();
        self.say(&said.out);
        output::complain(&said.err);
        self.code = said.code;
    }
}

fn failure_text(failure: &Failure) -> String {
    match failure {
        Failure::Usage(name) => format!("{}\n", text::usage_of(name)),
        Failure::Text(text) => format!("{text}\n"),
    }
}

#[cfg(test)]
mod tests;
