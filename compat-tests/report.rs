//! `docs/COMPATIBILITY.md`, from what ran and from the gaps that are kept.
//!
//! Every run notes its results in the cache, so that long cases that were run one by one are in the
//! report too; `ROOKEEPER_COMPAT_REPORT=1` writes the document.

use std::collections::BTreeMap;

use crate::differential::gaps::Gaps;
use crate::harness::apache;
use crate::harness::runner::{Line, Stop};
use crate::harness::tools;

/// Groups in the document's order, with what they are.
const GROUPS: &[(&str, &str)] = &[
    ("replay", "Recorded programs: every answer, Stat, zxid and event as Apache gave them"),
    ("recordings-hold", "The recordings checked against a live Apache"),
    ("differential", "Generated programs against rookeeper and a live Apache at once"),
    ("mutants", "Servers made wrong on purpose, which the generated programs must find out"),
    ("wire", "Recorded bytes of the client, election and learner ports"),
    ("data", "Data directories that Apache left behind"),
    ("swap", "One data directory, rookeeper and Apache in turn"),
    ("clients", "Client libraries against one server, with a kill -9 and a restart"),
    ("clients-of-three", "The same against three members, with the leader killed"),
    ("suites", "Other people's suites, unmodified"),
    ("applications", "Applications against three members"),
    ("crash", "kill -9 under load"),
    ("ensemble", "Ensembles, also mixed with Apache"),
    ("quorum", "Between the members"),
];

type Results = BTreeMap<(String, String), (String, String, String)>;

fn read() -> Results {
    let text = std::fs::read_to_string(tools::cache().join("results.tsv")).unwrap_or_default();
    let mut all = Results::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if let [group, name, state, date, remark] = fields[..] {
            all.insert(
                (group.to_string(), name.to_string()),
                (state.to_string(), date.to_string(), remark.to_string()),
            );
        }
    }
    all
}

/// Notes the results of a run, and writes the document when asked to.
pub fn note(lines: &[Line]) -> Result<(), Stop> {
    let date = tools::output("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default();
    let mut all = read();
    for line in lines.iter().filter(|l| l.state != "ignored") {
        let remark = line.remark.lines().next().unwrap_or_default().replace('\t', " ");
        let remark = if line.state == "ok" { remark } else { String::new() };
        all.insert(
            (line.group.to_string(), line.name.clone()),
            (line.state.to_string(), date.clone(), remark),
        );
    }
    let mut text = String::new();
    for ((group, name), (state, date, remark)) in &all {
        text.push_str(&format!("{group}\t{name}\t{state}\t{date}\t{remark}\n"));
    }
    std::fs::write(tools::cache().join("results.tsv"), text)?;
    if std::env::var_os("ROOKEEPER_COMPAT_REPORT").is_some() {
        let path = tools::root().join("docs/COMPATIBILITY.md");
        std::fs::write(path, document(&all, &Gaps::load()?))?;
    }
    Ok(())
}

fn document(all: &Results, gaps: &Gaps) -> String {
    let mut out = format!(
        "# Compatibility\n\n\
         Written by the suite in `compat-tests` (`ROOKEEPER_COMPAT_REPORT=1 cargo test --test compat`);\n\
         do not edit. The reference is Apache ZooKeeper {}. `cargo test --test compat` runs the quick\n\
         form, `ROOKEEPER_COMPAT=ci` and `ROOKEEPER_COMPAT=full` the longer ones, and\n\
         `cargo test --test compat -- --exact 'GROUP::CASE'` a single case.\n",
        apache::REFERENCE
    );
    for (group, what) in GROUPS {
        let cases: Vec<_> = all.iter().filter(|((g, _), _)| g == group).collect();
        if cases.is_empty() {
            continue;
        }
        let passed = cases.iter().filter(|(_, (state, _, _))| state == "ok").count();
        out.push_str(&format!("\n## {group}\n\n{what}: {passed} of {} pass.\n", cases.len()));
        // Hundreds of recordings are told by their number; those that fail by name.
        if *group == "replay" {
            for ((_, name), (state, _, _)) in &cases {
                if state != "ok" {
                    out.push_str(&format!("\n- `{name}` fails\n"));
                }
            }
            continue;
        }
        out.push_str("\n| case | result | last run | |\n|---|---|---|---|\n");
        for ((_, name), (state, date, remark)) in cases {
            let result = if state == "ok" { "passes" } else { "**fails**" };
            out.push_str(&format!("| {name} | {result} | {date} | {remark} |\n"));
        }
    }
    out.push_str("\n## Known differences\n\nFrom `compat-tests/known-gaps.toml`.\n\n");
    out.push_str("| where | step | why |\n|---|---|---|\n");
    for gap in &gaps.all {
        let step = if gap.step.is_empty() { String::new() } else { format!("`{}`", gap.step) };
        out.push_str(&format!("| {} | {step} | {} |\n", gap.test, gap.reason));
    }
    out
}
