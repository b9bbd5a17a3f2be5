//! `docs/COMPATIBILITY.md`, from what ran and from the gaps that are kept.
//!
//! Every run notes its results in the cache, so that long cases that were run one by one are in the
//! report too; `ROOKEEPER_COMPAT_REPORT=1` writes the document.

use std::collections::BTreeMap;

use crate::clients;
use crate::differential::gaps::Gaps;
use crate::differential::replay;
use crate::harness::apache;
use crate::harness::runner::{Line, Stop, Suite};
use crate::harness::tools::{self, Level};

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
    ("ensemble", "Ensembles"),
    ("partition", "Networks that break between members"),
    ("mixed", "Ensembles of both"),
    ("migration", "From Apache to rookeeper and back, member by member, under load"),
    ("quorum", "Between members of both kinds, in every arrangement"),
    ("start", "Before a server serves: each step of its start with something wrong in it"),
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
        std::fs::write(page(), document(&all, &Gaps::load()?))?;
    }
    Ok(())
}

/// Where the page's part begins that follows from `known-gaps.toml` alone.
const GAPS_HEADING: &str = "## Known differences";

/// Suites that have gaps of whole tests; `kinder::` are differences that Apache's own server can't show in
/// a case, because it does not survive it or does not start.
const SUITES: [&str; 6] =
    ["kazoo::", "go-zookeeper::", "abuse::", "odd_starts::", "start::", "kinder::"];

/// Adds the case that holds the page against `known-gaps.toml`.
pub fn add(suite: &mut Suite) {
    suite.add("report", "page-names-the-known-gaps", Level::Quick, || {
        let gaps = Gaps::load()?;
        for gap in &gaps.all {
            let known = match gap.step.as_str() {
                "" => SUITES.iter().any(|suite| gap.test.starts_with(suite)),
                step => replay::load(&replay::folder().join(format!("{}.txt", gap.test)))?
                    .steps
                    .iter()
                    .any(|s| s == step),
            };
            if !known {
                return Err(Stop::failed(format!("a gap of nothing that runs: {gap:?}")));
            }
        }
        if std::env::var_os("ROOKEEPER_COMPAT_REPORT").is_some() {
            return Ok("the page is being written".to_string());
        }
        let page = std::fs::read_to_string(page())?;
        let (_, kept) = page.split_once(GAPS_HEADING).unwrap_or_default();
        if kept != gaps_section(&gaps).trim_start_matches(GAPS_HEADING) {
            return Err(Stop::failed(
                "docs/COMPATIBILITY.md does not name the gaps of known-gaps.toml; write it again: \
                 ROOKEEPER_COMPAT_REPORT=1 cargo test --test compat -- report::",
            ));
        }
        Ok(format!("{} gaps", gaps.all.len()))
    });
}

fn page() -> std::path::PathBuf {
    tools::root().join("docs/COMPATIBILITY.md")
}

fn document(all: &Results, gaps: &Gaps) -> String {
    let mut out = format!(
        "# Compatibility\n\n\
         Written by the suite in `compat-tests`; do not edit. The reference is Apache ZooKeeper {}. Every\n\
         line names the day on which the case last ran. `cargo test --test compat` runs the quick form,\n\
         `ROOKEEPER_COMPAT=ci` and `ROOKEEPER_COMPAT=full` the longer ones, `cargo test --test compat --\n\
         --exact 'GROUP::CASE'` a single case, and `ROOKEEPER_COMPAT_REPORT=1` writes this page from what ran.\n",
        apache::REFERENCE
    );
    for (group, what) in GROUPS {
        let cases: Vec<_> = all.iter().filter(|((g, _), _)| g == group).collect();
        if cases.is_empty() {
            continue;
        }
        let passed = cases.iter().filter(|(_, (state, _, _))| state == "ok").count();
        out.push_str(&format!("\n## {group}\n\n{what}: {passed} of {} pass.\n", cases.len()));
        match *group {
            // Many short ones are told by their number; those that fail by name.
            "replay" | "quorum" | "start" | "data" | "swap" => {
                let last = cases.iter().map(|(_, (_, date, _))| date.as_str()).max();
                out.push_str(&format!("Last run: {}.\n", last.unwrap_or("never")));
                for ((_, name), (state, _, _)) in &cases {
                    if state != "ok" {
                        out.push_str(&format!("\n- `{name}` fails\n"));
                    }
                }
            }
            "clients" => scenarios(&mut out, &cases),
            _ => {
                out.push_str("\n| case | result | last run | |\n|---|---|---|---|\n");
                for ((_, name), (state, date, remark)) in cases {
                    let result = if state == "ok" { "passes" } else { "**fails**" };
                    // The scenarios' names are in the table before.
                    let remark = match *group {
                        "clients-of-three" => {
                            let scenarios = remark.split(':').next().unwrap_or_default();
                            format!("{}, {scenarios}", clients::programs::release(name))
                        }
                        _ => remark.clone(),
                    };
                    out.push_str(&format!("| {name} | {result} | {date} | {remark} |\n"));
                }
            }
        }
    }
    out.push('\n');
    out + &gaps_section(gaps)
}

/// What users do, in the order in which they would ask.
const SCENARIOS: &[&str] = &[
    "basics",
    "config-watch",
    "lock",
    "election",
    "queue",
    "barrier",
    "membership",
    "registry",
    "session-move",
    "multi",
    "acl",
    "chroot",
    "persistent",
    "large",
    "reconnect",
    "storm",
];

/// Libraries by scenarios. A blank is what a library cannot do.
fn scenarios(out: &mut String, cases: &[(&(String, String), &(String, String, String))]) {
    out.push_str("A dash is what the library cannot do, or does not offer.\n\n| scenario |");
    for ((_, name), _) in cases {
        out.push_str(&format!(" {name} |"));
    }
    out.push_str(&format!("\n|---|{}\n", "---|".repeat(cases.len())));
    for scenario in SCENARIOS {
        out.push_str(&format!("| {scenario} |"));
        for (_, (state, _, remark)) in cases {
            let (_, did) = remark.split_once(": ").unwrap_or_default();
            let mark = match did.split(", ").any(|d| d == *scenario) {
                true => "yes",
                false if state == "ok" => "-",
                false => "**fails**",
            };
            out.push_str(&format!(" {mark} |"));
        }
        out.push('\n');
    }
    out.push_str("| release |");
    for ((_, name), _) in cases {
        out.push_str(&format!(" {} |", clients::programs::release(name)));
    }
    out.push_str("\n| last run |");
    for (_, (_, date, _)) in cases {
        out.push_str(&format!(" {date} |"));
    }
    out.push('\n');
}

fn gaps_section(gaps: &Gaps) -> String {
    let mut out = format!("{GAPS_HEADING}\n\nFrom `compat-tests/known-gaps.toml`.\n\n");
    out.push_str("| where | step | why |\n|---|---|---|\n");
    for gap in &gaps.all {
        let step = if gap.step.is_empty() { String::new() } else { format!("`{}`", gap.step) };
        out.push_str(&format!("| {} | {step} | {} |\n", gap.test, gap.reason));
    }
    out
}
