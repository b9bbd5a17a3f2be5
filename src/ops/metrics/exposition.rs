//! What the exporter renders, made Apache's: summaries whose names end in `_count` keep their count,
//! basic summaries have one quantile, quantiles are samples again, summaries without samples say NaN,
//! families without samples say that they exist.

use std::collections::HashMap;
use std::fmt::Write;

use super::super::process::Process;
use super::{Advanced, AdvancedSet, Basic, BasicSet, CounterSet};

/// Families with a label that Apache's provider declares before they have a sample, beside the sets of
/// the registry: name and type.
const DECLARED: [(&str, &str); 4] = [
    ("quota_bytes_limit_per_namespace", "gauge"),
    ("quota_bytes_usage_per_namespace", "gauge"),
    ("quota_count_limit_per_namespace", "gauge"),
    ("quota_count_usage_per_namespace", "gauge"),
];

/// A summary of the registry.
#[derive(Clone, Copy)]
struct Family {
    /// Its only quantile is the median.
    basic: bool,
    /// It has no samples.
    empty: bool,
}

/// The rendered text with Apache's names and quantiles. `is_empty` says of a summary without labels
/// whether nothing was recorded in it.
pub(super) fn finish(rendered: &str, process: &Process, is_empty: impl Fn(&str) -> bool) -> String {
    let summary = |name: &'static str, basic: bool| (name, Family { basic, empty: is_empty(name) });
    let set = |name: &'static str, basic: bool| (name, Family { basic, empty: false });
    let families: HashMap<&str, Family> = (Basic::ALL.iter().map(|s| summary(s.name(), true)))
        .chain(Advanced::ALL.iter().map(|s| summary(s.name(), false)))
        .chain(BasicSet::ALL.iter().map(|s| set(s.name(), true)))
        .chain(AdvancedSet::ALL.iter().map(|s| set(s.name(), false)))
        .collect();
    let mut out = String::with_capacity(rendered.len() + 1024);
    for line in rendered.lines().filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            out.push_str(line);
        } else {
            let name = line.split(['{', ' ']).next().unwrap_or(line);
            match families.get(name) {
                None => out.push_str(line),
                Some(family) => sample(line, name, *family, &mut out),
            }
        }
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    let sets = (BasicSet::ALL.iter().map(|s| (s.name(), "summary")))
        .chain(AdvancedSet::ALL.iter().map(|s| (s.name(), "summary")))
        .chain(CounterSet::ALL.iter().map(|s| (s.name(), "counter")));
    for (name, kind) in sets.chain(DECLARED) {
        let declaration = format!("# TYPE {name} {kind}\n");
        if !out.contains(&declaration) {
            let _ = write!(out, "# HELP {name} {name}\n{declaration}");
        }
    }
    for (name, kind, value) in process.families() {
        let _ = writeln!(out, "# HELP {name} {name}\n# TYPE {name} {kind}\n{name} {value}");
    }
    out
}

/// Appends a line of a summary that begins with the family's own name: a quantile, or a count that lost
/// its suffix because the name ends like one.
fn sample(line: &str, name: &str, family: Family, out: &mut String) {
    let (labels, value) = line[name.len()..].rsplit_once(' ').unwrap_or(("", ""));
    let Some((_, quantile)) = labels.split_once("quantile=\"") else {
        let _ = write!(out, "{name}_count{labels} {value}");
        return;
    };
    if family.basic && !quantile.starts_with("0.5\"") {
        return;
    }
    // Samples are whole numbers; what the exporter keeps of them is off by a ten-thousandth.
    let value = match (family.empty, value.parse::<f64>()) {
        (true, _) | (_, Err(_)) => "NaN".to_owned(),
        (false, Ok(value)) => value.round().to_string(),
    };
    let _ = write!(out, "{name}{labels} {value}");
}
