//! Other people's suites, unmodified, against rookeeper: a front takes the command line with which
//! they start Apache. What fails must be listed in `known-gaps.toml`, and what is listed must fail.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::clients::python;
use crate::clients::{GO, KAZOO};
use crate::differential::gaps::Gaps;
use crate::harness::apache;
use crate::harness::ports::{TempDir, free_port};
use crate::harness::process;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::rookeeper_binary;
use crate::harness::tools::{self, Level, cached, need};

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("suites", "kazoo-quick", Level::Quick, || {
        kazoo(
            &["kazoo.tests.test_client", "-k", "TestClient and not tls and not Sasl"],
            "kazoo-quick",
        )
    });
    suite.add("suites", "kazoo", Level::Ci, || {
        // Without SASL on the server kazoo's client asks for ever, so these classes are left out.
        kazoo(&["kazoo.tests", "-k", "not SASL"], "kazoo")
    });
    suite.add("suites", "kazoo-read-only", Level::Quick, || {
        kazoo(&["kazoo.tests.test_connection", "-k", "TestReadOnlyMode"], "kazoo-read-only")
    });
    suite.add("suites", "kazoo-one-server", Level::Full, || {
        // What needs a second server is left out; `test_update_host_list` stops the first of three.
        let what = "not SASL and not TestReadOnlyMode and not TestReconfig \
                    and not test_update_host_list";
        kazoo(&["kazoo.tests", "-k", what], "kazoo-one-server")
    });
    suite.add("suites", "go-zookeeper", Level::Ci, go);
}

fn front() -> PathBuf {
    tools::root().join("compat-tests/suites/front")
}

/// Whether to run against Apache itself, to check the harness.
fn on_apache() -> bool {
    std::env::var("ROOKEEPER_COMPAT_SUBJECT").as_deref() == Ok("apache")
}

fn kazoo(what: &[&str], name: &str) -> Outcome {
    let all = format!("kazoo[sasl]=={KAZOO}");
    let python = python(
        &[
            &all,
            "pytest",
            "pytest-timeout",
            "objgraph",
            "gevent",
            "eventlet",
            "pyjks",
            "pyOpenSSL<25",
        ],
        "kazoo-suite",
    )?;
    let lib =
        if tools::find("java").is_some() { Some(apache::jars(apache::REFERENCE)?) } else { None };
    let dir = TempDir::new(name);
    let mut command = Command::new(&python);
    command.current_dir(dir.path());
    command.args([
        "-m",
        "pytest",
        "-q",
        "--timeout=120",
        "-p",
        "no:cacheprovider",
        "-rfE",
        "--tb=short",
    ]);
    command.args(["--junitxml", "report.xml", "--pyargs"]).args(what);
    command.env_remove("CI");
    command.env("ZOOKEEPER_VERSION", apache::REFERENCE);
    command.env("ZOOKEEPER_CLUSTER_SIZE", if name == "kazoo-one-server" { "1" } else { "3" });
    command.env("ZOOKEEPER_PORT_OFFSET", (free_port() / 100 * 100).to_string());
    if on_apache() {
        let lib = lib.ok_or_else(|| Stop::missing("java"))?;
        command.env("ZOOKEEPER_CLASSPATH", tools::class_path(&[], &lib));
    } else {
        command.env("ZOOKEEPER_CLASSPATH", "none");
        command.env("ROOKEEPER_BIN", rookeeper_binary());
        if let Some(java) = tools::find("java") {
            command.env("REAL_JAVA", java);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", front().display()));
    }
    let log = dir.join("pytest.log");
    let outcome = process::run(&mut command, &log, Duration::from_secs(1800));
    let report = std::fs::read_to_string(dir.join("report.xml")).unwrap_or_default();
    let cases = junit(&report);
    if cases.is_empty() {
        return Err(Stop::failed(format!("no report\n{}", outcome.err().unwrap_or_default())));
    }
    let log = format!("{}\n{}", reasons(&report), process::tail(&log, 12000));
    judge("kazoo", name == "kazoo", &cases, &log)
}

/// What pytest says of each failure, without the logs that follow it.
fn reasons(report: &str) -> String {
    let mut out = String::new();
    for part in report.split("<testcase").skip(1) {
        let Some((_, failure)) = part.split_once("<failure").or_else(|| part.split_once("<error"))
        else {
            continue;
        };
        let name = part.split_once(" name=\"").and_then(|(_, rest)| rest.split_once('"'));
        out.push_str(&format!("--- {} ---\n", name.map_or("?", |(name, _)| name)));
        let text = failure.split("</").next().unwrap_or_default();
        let lines = text.lines().filter(|l| !l.contains("  INFO ") && !l.contains("  WARN "));
        for line in lines.take(40) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Test names with their state, from a JUnit report.
fn junit(text: &str) -> BTreeMap<String, &'static str> {
    let attribute = |tag: &str, name: &str| -> String {
        tag.split_once(&format!(" {name}=\""))
            .and_then(|(_, rest)| rest.split_once('"'))
            .map(|(value, _)| value.to_string())
            .unwrap_or_default()
    };
    let mut all = BTreeMap::new();
    for part in text.split("<testcase").skip(1) {
        let head = part.split('>').next().unwrap_or_default();
        let body = if head.ends_with('/') {
            ""
        } else {
            part.split("</testcase>").next().unwrap_or_default()
        };
        let state = if body.contains("<failure") || body.contains("<error") {
            "failed"
        } else if body.contains("<skipped") {
            "skipped"
        } else {
            "passed"
        };
        // What stands before the module's name hangs on how pytest was told of it.
        let class = attribute(head, "classname");
        let class = class.find("test_").map_or(class.as_str(), |at| &class[at..]);
        all.insert(format!("{class}.{}", attribute(head, "name")), state);
    }
    all
}

/// Compares with the gaps. A gap names a test, or with a `*` at its end all that begin so. After a
/// run of the `whole` suite each gap must have been met.
fn judge(suite: &str, whole: bool, cases: &BTreeMap<String, &'static str>, log: &str) -> Outcome {
    let count = |state| cases.values().filter(|s| **s == state).count();
    let release = if suite == "kazoo" { KAZOO } else { GO };
    let summary = format!(
        "{release}: {} passed, {} failed, {} skipped",
        count("passed"),
        count("failed"),
        count("skipped")
    );
    if on_apache() {
        let failed: Vec<&str> =
            cases.iter().filter(|(_, s)| **s == "failed").map(|(n, _)| n.as_str()).collect();
        return Ok(format!("{summary} {failed:?}"));
    }
    let gaps = Gaps::load()?;
    let covering = |name: &str| {
        gaps.all.iter().find(|g| {
            let full = format!("{suite}::{name}");
            match g.test.strip_suffix('*') {
                Some(start) => full.starts_with(start),
                None => full == g.test,
            }
        })
    };
    let mut wrong = Vec::new();
    for (name, state) in cases {
        match (*state, covering(name)) {
            ("failed", None) => wrong.push(format!("fails: {name}")),
            ("passed", Some(gap)) if !gap.test.ends_with('*') => {
                wrong.push(format!("a known gap has closed, take it out: {name}"));
            }
            _ => {}
        }
    }
    for gap in gaps.all.iter().filter(|g| whole && !g.test.ends_with('*')) {
        if let Some((of, test)) = gap.test.split_once("::")
            && of == suite
            && !cases.contains_key(test)
        {
            wrong.push(format!("a known gap names no test: {test}"));
        }
    }
    if wrong.is_empty() {
        return Ok(summary);
    }
    Err(Stop::failed(format!("{summary}\n{}\n{log}", wrong.join("\n"))))
}

fn go() -> Outcome {
    let go = need("go")?;
    let dir = cached(&format!("go-suite-{GO}"), |dir| {
        std::fs::write(
            dir.join("go.mod"),
            format!("module suite\n\ngo 1.19\n\nrequire github.com/go-zookeeper/zk {GO}\n"),
        )?;
        std::fs::write(
            dir.join("main.go"),
            "package main\n\nimport _ \"github.com/go-zookeeper/zk\"\n\nfunc main() {}\n",
        )?;
        let log = dir.join("go.log");
        let mut tidy = Command::new(&go);
        tidy.current_dir(dir).args(["mod", "tidy"]).env("GOFLAGS", "-mod=mod");
        process::run(&mut tidy, &log, Duration::from_secs(300)).map_err(Stop::failed)?;
        let mut place = Command::new(&go);
        place.current_dir(dir).args(["list", "-m", "-f", "{{.Dir}}", "github.com/go-zookeeper/zk"]);
        let out = place.output()?;
        let from = PathBuf::from(String::from_utf8_lossy(&out.stdout).trim().to_string());
        // The module cache is read-only, and the suite wants to write beside itself.
        crate::harness::ports::copy_dir(&from, &dir.join("zk"))?;
        Ok(())
    })?;
    let bin = TempDir::new("go-bin");
    let script = bin.join("zkServer.sh");
    std::fs::copy(front().join("zkServer.sh"), &script)?;
    let mut command = Command::new(&go);
    command
        .current_dir(dir.join("zk"))
        .args(["test", "-v", "-count=1", "-timeout", "900s", "./..."]);
    command.env("ZOOKEEPER_BIN_PATH", bin.path()).env("ZK_VERSION", "3.6.4");
    command.env("ROOKEEPER_BIN", rookeeper_binary()).env("COMPAT_VERSION", "3.6.4");
    command.env("GOFLAGS", "-mod=mod");
    let log = bin.join("go.log");
    let outcome = process::run(&mut command, &log, Duration::from_secs(1000));
    let text = process::tail(&log, 1 << 24);
    let mut cases = BTreeMap::new();
    for line in text.lines() {
        for (mark, state) in
            [("--- PASS: ", "passed"), ("--- FAIL: ", "failed"), ("--- SKIP: ", "skipped")]
        {
            if let Some(rest) = line.trim_start().strip_prefix(mark) {
                let name = rest.split(' ').next().unwrap_or_default();
                cases.insert(name.to_string(), state);
            }
        }
    }
    if cases.is_empty() || (outcome.is_err() && !cases.values().any(|s| *s == "failed")) {
        return Err(Stop::failed(outcome.err().unwrap_or_else(|| "no test ran".to_string())));
    }
    judge("go-zookeeper", true, &cases, &what_failed_in_go(&text))
}

/// What each failed test wrote: from its `=== RUN` to its `--- FAIL`.
fn what_failed_in_go(text: &str) -> String {
    let mut parts = String::new();
    for (at, _) in text.match_indices("--- FAIL: ") {
        let name = text[at + 10..].split([' ', '\n']).next().unwrap_or_default();
        let begin = text[..at].rfind(&format!("=== RUN   {name}\n")).unwrap_or(0);
        parts.push_str(&text[begin..at]);
        parts.push_str(text[at..].lines().next().unwrap_or_default());
        parts.push('\n');
    }
    parts
}
