//! The programs this binary can be called as: `java` with Apache's main classes, `zkServer.sh` and
//! its sisters. Pure: arguments and environment variables in, what is meant out.
//!
//! | called as | arguments |
//! |---|---|
//! | `java` | options, a main class of Apache's, its arguments; another class goes to `$REAL_JAVA` |
//! | `zkServer.sh` | `[--config DIR] start\|start-foreground\|stop\|restart\|status\|version\|print-cmd [cfg]` |
//! | `zkCli.sh` | `[-server HOSTS] [-timeout MS] [-r] [COMMAND ..]` |
//! | `zkTxnLogToolkit.sh`, `zkSnapShotToolkit.sh` | `[-d] FILE` |
//! | anything else | ours |

use std::path::PathBuf;

use crate::config::Overrides;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Our own command line, to be parsed by clap.
    Native,
    /// A tool of Apache's that we have under another name: our own command line.
    Rewritten(Vec<String>),
    /// A server.
    Server {
        /// A file, positional arguments, or nothing.
        config: ServerConfig,
        /// System properties.
        defines: Vec<(String, String)>,
    },
    /// A shell script of Apache's.
    Script(Script),
    /// A four-letter word (`FourLetterWordMain`).
    Word {
        /// `host:port`.
        address: String,
        /// The word.
        word: String,
    },
    /// `zkCli.sh` and `ZooKeeperMain`: its arguments.
    ZkCli(Vec<String>),
    /// `VersionInfoMain`.
    Version,
    /// `DigestAuthenticationProvider user:password ..`.
    DigestAuth(Vec<String>),
    /// `java` with a class that isn't ours: all arguments, for the real one.
    ForeignJava(Vec<String>),
    /// Something that can't be done, with the reason.
    Invalid(String),
}

/// Where a server's configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerConfig {
    /// Nowhere: the defaults.
    Defaults,
    /// A file.
    File(PathBuf),
    /// `PORT DATADIR [TICKTIME [MAXCNXNS]]`.
    Positional(Vec<String>),
}

impl ServerConfig {
    /// None, one, or two to four arguments.
    pub fn of(args: &[String]) -> ServerConfig {
        match args {
            [] => ServerConfig::Defaults,
            [file] => ServerConfig::File(PathBuf::from(file)),
            more => ServerConfig::Positional(more.to_vec()),
        }
    }
}

/// A call of `zkServer.sh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// What to do.
    pub action: Action,
    /// The configuration file.
    pub config: PathBuf,
    /// System properties from `SERVER_JVMFLAGS` and `JVMFLAGS`.
    pub defines: Vec<(String, String)>,
    /// `ZOOPIDFILE`, else in the data directory.
    pub pid_file: Option<PathBuf>,
    /// `ZOO_LOG_DIR`.
    pub log_dir: Option<PathBuf>,
}

/// What a script does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Run in the background, with a pid file.
    Start,
    /// Run in this process.
    StartForeground,
    /// End the one of the pid file.
    Stop,
    /// Stop and start.
    Restart,
    /// Say the mode.
    Status,
    /// Say the version.
    Version,
    /// Say what `start` would run.
    PrintCommand,
}

/// The environment variables that Apache's scripts look at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variables {
    /// `ZOOCFGDIR`, else `ZOO_CONF_DIR`.
    pub config_dir: Option<String>,
    /// `ZOOCFG`: name of the file.
    pub config: Option<String>,
    /// `JVMFLAGS` and `SERVER_JVMFLAGS`.
    pub jvm_flags: String,
    /// `ZOOPIDFILE`.
    pub pid_file: Option<String>,
    /// `ZOO_LOG_DIR`.
    pub log_dir: Option<String>,
}

impl Variables {
    /// Those of this process.
    pub fn of_this_process() -> Variables {
        let get = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let flags = [get("JVMFLAGS"), get("SERVER_JVMFLAGS")];
        Variables {
            config_dir: get("ZOOCFGDIR").or_else(|| get("ZOO_CONF_DIR")),
            config: get("ZOOCFG"),
            jvm_flags: flags.into_iter().flatten().collect::<Vec<_>>().join(" "),
            pid_file: get("ZOOPIDFILE"),
            log_dir: get("ZOO_LOG_DIR"),
        }
    }
}

/// What `args` (the program's name first) mean.
pub fn read(args: &[String], variables: &Variables) -> Invocation {
    let Some((program, rest)) = args.split_first() else { return Invocation::Native };
    let name = program.rsplit('/').next().unwrap_or(program);
    match name {
        "java" => java(rest),
        "zkServer.sh" | "zkServer" => zk_server(rest, variables),
        "zkTxnLogToolkit.sh" => log_toolkit(rest),
        "zkSnapShotToolkit.sh" => rewritten(&["snapshot", "dump"], rest),
        "zkCli.sh" | "zkCli" => Invocation::ZkCli(rest.to_vec()),
        _ => Invocation::Native,
    }
}

/// `key=value` or `key`, as after `-D`.
pub fn define(text: &str) -> (String, String) {
    match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (text.to_owned(), String::new()),
    }
}

/// Moves every `-Dkey=value` and `-D key=value` to the front, where clap sees all of them: it would
/// otherwise keep those after the subcommand only. What follows `zkcli` or `--` isn't touched.
pub fn defines_first(args: &[String]) -> Vec<String> {
    let Some((program, rest)) = args.split_first() else { return Vec::new() };
    let own = rest.iter().position(|a| a == "zkcli" || a == "--").unwrap_or(rest.len());
    let mut front = vec![program.clone()];
    let mut back = Vec::new();
    let mut words = rest[..own].iter();
    while let Some(word) = words.next() {
        if word.starts_with("-D") {
            front.push(word.clone());
            if word == "-D" {
                front.extend(words.next().cloned());
            }
        } else {
            back.push(word.clone());
        }
    }
    back.extend_from_slice(&rest[own..]);
    front.extend(back);
    front
}

/// The overrides of `-D` and `--set` texts.
pub fn overrides(defines: &[String], sets: &[String]) -> Overrides {
    Overrides {
        defines: defines.iter().map(|d| define(d)).collect(),
        sets: sets.iter().map(|s| define(s)).collect(),
    }
}

/// Options of `java` that take the next argument.
const JAVA_WITH_VALUE: &[&str] = &[
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--add-modules",
    "--add-opens",
    "--add-exports",
    "--add-reads",
];

fn java(args: &[String]) -> Invocation {
    let mut defines = Vec::new();
    let mut rest = args.iter();
    let mut class = None;
    while let Some(arg) = rest.next() {
        if let Some(text) = arg.strip_prefix("-D") {
            defines.push(define(text));
        } else if JAVA_WITH_VALUE.contains(&arg.as_str()) {
            rest.next();
        } else if arg == "-jar" {
            return Invocation::ForeignJava(args.to_vec());
        } else if !arg.starts_with('-') && !arg.starts_with('@') {
            class = Some(arg.as_str());
            break;
        }
    }
    let arguments: Vec<String> = rest.cloned().collect();
    let short = class.and_then(|c| c.strip_prefix("org.apache.zookeeper."));
    match short {
        Some("server.quorum.QuorumPeerMain" | "server.ZooKeeperServerMain") => {
            if arguments.is_empty() {
                return Invocation::Invalid("Invalid number of arguments:[]".to_owned());
            }
            Invocation::Server { config: ServerConfig::of(&arguments), defines }
        }
        Some("client.FourLetterWordMain") => match arguments.as_slice() {
            [host, port, word, ..] => {
                Invocation::Word { address: format!("{host}:{port}"), word: word.clone() }
            }
            _ => Invocation::Invalid("Usage: FourLetterWordMain <host> <port> <cmd>".to_owned()),
        },
        Some("server.PurgeTxnLog") => rewritten(&["purge"], &arguments),
        Some("server.persistence.TxnLogToolkit") => log_toolkit(&arguments),
        Some("server.SnapshotFormatter") => rewritten(&["snapshot", "dump"], &arguments),
        Some("ZooKeeperMain") => Invocation::ZkCli(arguments),
        Some("version.VersionInfoMain" | "Version") => Invocation::Version,
        Some("server.auth.DigestAuthenticationProvider") => Invocation::DigestAuth(arguments),
        _ => Invocation::ForeignJava(args.to_vec()),
    }
}

fn rewritten(command: &[&str], arguments: &[String]) -> Invocation {
    let mut line = vec!["rookeeper".to_owned()];
    line.extend(command.iter().map(|word| (*word).to_owned()));
    line.extend_from_slice(arguments);
    Invocation::Rewritten(line)
}

/// `TxnLogToolkit`: dumping only; a server repairs a torn end by itself, and never more than that.
fn log_toolkit(arguments: &[String]) -> Invocation {
    let is_dump = |a: &&String| matches!(a.as_str(), "-d" | "--dump" | "-v" | "--verbose");
    let rest: Vec<String> = arguments.iter().filter(|a| !is_dump(a)).cloned().collect();
    match rest.iter().find(|a| a.starts_with('-')) {
        Some(option) => Invocation::Invalid(format!(
            "error: {option} is not supported\n  hint: rookeeper log check says what is damaged"
        )),
        None => rewritten(&["log", "dump"], &rest),
    }
}

const USAGE: &str = "Usage: zkServer.sh [--config <conf-dir>] \
    {start|start-foreground|stop|version|restart|status|print-cmd}";

fn zk_server(args: &[String], variables: &Variables) -> Invocation {
    let mut config_dir =
        variables.config_dir.clone().unwrap_or_else(|| "/etc/zookeeper/conf".to_owned());
    let mut rest = args;
    if let [flag, dir, more @ ..] = rest
        && flag == "--config"
    {
        config_dir = dir.clone();
        rest = more;
    }
    let Some((action, rest)) = rest.split_first() else {
        return Invocation::Invalid(USAGE.to_owned());
    };
    let action = match action.as_str() {
        // What `start` runs, and `print-cmd` prints, when this binary has the script's name: a copy or
        // a hard link can't be told to go by another.
        "server" => return Invocation::Native,
        "start" => Action::Start,
        "start-foreground" => Action::StartForeground,
        "stop" => Action::Stop,
        "restart" => Action::Restart,
        "status" => Action::Status,
        "version" => Action::Version,
        "print-cmd" => Action::PrintCommand,
        _ => return Invocation::Invalid(USAGE.to_owned()),
    };
    // A name alone is looked for in the configuration directory, a path is taken as it is.
    let name = rest.first().or(variables.config.as_ref());
    let config = match name {
        Some(path) if path.contains('/') => PathBuf::from(path),
        Some(name) => PathBuf::from(&config_dir).join(name),
        None => PathBuf::from(&config_dir).join("zoo.cfg"),
    };
    let defines =
        variables.jvm_flags.split_whitespace().filter_map(|f| f.strip_prefix("-D")).map(define);
    Invocation::Script(Script {
        action,
        config,
        defines: defines.collect(),
        pid_file: variables.pid_file.as_ref().map(PathBuf::from),
        log_dir: variables.log_dir.as_ref().map(PathBuf::from),
    })
}

#[cfg(test)]
mod tests;
