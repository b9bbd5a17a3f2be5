//! CVE-2026-24308: what is secret in the configuration, or said by clients, is never printed.

use super::expect;
use crate::harness::client::Session;
use crate::harness::jute::Writer;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Suite};
use crate::harness::server::{Kind, Server, rookeeper_binary};
use crate::harness::tools::Level;

const SECRET: &str = "hunter2-is-my-secret";

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("abuse", "cve_2026_24308_secrets_are_not_printed", Level::Quick, secrets);
}

/// All that holds a password or a token.
const KEYS: [&str; 9] = [
    "ssl.keyStore.password",
    "ssl.trustStore.password",
    "ssl.quorum.keyStore.password",
    "ssl.quorum.trustStore.password",
    "SASLAuthenticationProvider.superPassword",
    "DigestAuthenticationProvider.superDigest",
    "ssl.keyStore.passwordPath",
    "ssl.trustStore.passwordPath",
    "ensembleAuthName",
];

fn secrets() -> Outcome {
    let dir = TempDir::new("abuse-secrets");
    let file = dir.join("session-secret");
    std::fs::write(&file, format!("{SECRET}-of-sessions"))?;
    let mut server = Server::new(Kind::Rookeeper, dir.path());
    // A path is no secret, its content is; the name of an ensemble is told to every client.
    for key in KEYS.iter().filter(|key| !key.ends_with("Path") && **key != "ensembleAuthName") {
        server.set_line(key, format!("super:{SECRET}"));
    }
    server.set_line("ssl.keyStore.passwordPath", "/nowhere");
    server.properties.push(("zookeeper.superUserSecretOfNobody".to_owned(), SECRET.to_owned()));
    server.start()?;
    let mut session = Session::open(server.address(), 30_000)?;
    let mut w = Writer::new();
    w.int(0);
    w.string("digest");
    w.buffer(Some(format!("user:{SECRET}").as_bytes()));
    expect(session.call(100, &w.bytes)?.0 == 0, "auth")?;
    expect(session.create("/n", SECRET.as_bytes(), 0)? == 0, "create")?;
    let mut said = String::new();
    for word in ["conf", "envi", "mntr", "cons", "dump", "stat", "srvr", "wchc", "wchp", "dirs"] {
        said.push_str(&server.four(word)?);
    }
    // A client whose auth fails, and one who sends it half.
    let mut bad = Session::open(server.address(), 30_000)?;
    let mut w = Writer::new();
    w.int(0);
    w.string("nothing");
    w.buffer(Some(SECRET.as_bytes()));
    expect(bad.call(100, &w.bytes)?.0 == -115, "a scheme that is none")?;
    server.stop();
    let config = dir.join("zoo.cfg");
    said.push_str(&std::fs::read_to_string(dir.join("server.log"))?);
    // The offline commands, and a file with errors in these very lines.
    let mut text = std::fs::read_to_string(&config)?;
    let run = |arguments: &[&str]| -> std::io::Result<String> {
        let mut command = std::process::Command::new(rookeeper_binary());
        command.args(arguments).arg(&config).env("RUST_LOG", "trace");
        let out = command.output()?;
        Ok(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    said.push_str(&run(&["config", "show", "--all"])?);
    said.push_str(&run(&["config", "check"])?);
    text.push_str(&format!("tickTime=often\nserver.x={SECRET}-is-a-typo-and-shown\n"));
    text.push_str("sslQuorum=true\nssl.quorum.keyStore.type=none\n");
    std::fs::write(&config, text)?;
    let broken = run(&["config", "check"])? + &run(&["server"])?;
    said.push_str(&broken.replace(&format!("{SECRET}-is-a-typo-and-shown"), ""));
    let shown: Vec<&str> = said.lines().filter(|line| line.contains(SECRET)).collect();
    expect(shown.is_empty(), &format!("{shown:#?}"))?;
    Ok(format!("{} lines read", said.lines().count()))
}
