//! The comparison as a Markdown table.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::apache;
use super::super::rows::{ROWS, Row, Target};
use super::super::servers::Kind;
use super::{CompareArgs, Samples};

/// The table of all rows that have figures, under a heading with date and conditions.
pub fn render(samples: &Samples, args: &CompareArgs) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "### {}\n\n{}\n", today(), conditions(args));
    text.push_str(
        "| what | Apache | rookeeper | echo server | ratio | to reach | reached |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for row in ROWS {
        let of = |kind| samples.get(&(row.id, kind)).map(|values| Spread::of(values));
        let (apache, ours, echo) = (of(Kind::Apache), of(Kind::Rookeeper), of(Kind::Echo));
        if apache.is_none() && ours.is_none() && echo.is_none() {
            continue;
        }
        let cell = |spread: &Option<Spread>| spread.as_ref().map_or(String::new(), Spread::show);
        let ratio = match (&apache, &ours) {
            (Some(apache), Some(ours)) if ours.median != 0.0 => number(apache.median / ours.median),
            _ => String::new(),
        };
        let unit = if row.unit.is_empty() { String::new() } else { format!(", {}", row.unit) };
        let _ = writeln!(
            text,
            "| {}{unit} | {} | {} | {} | {ratio} | {} | {} |",
            row.what,
            cell(&apache),
            cell(&ours),
            cell(&echo),
            describe(row),
            verdict(&row.target, apache, ours, echo),
        );
    }
    text.push_str(
        "\nMedian, and the smallest and largest in parentheses. Ratio: Apache's median divided by \
         rookeeper's.",
    );
    text
}

/// Median and range of some figures.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
        };
        Spread { median, min: sorted[0], max: sorted[sorted.len() - 1] }
    }

    fn show(&self) -> String {
        match self.min == self.max {
            true => number(self.median),
            false => {
                format!("{} ({} to {})", number(self.median), number(self.min), number(self.max))
            }
        }
    }
}

/// About three digits, thousands apart.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.1 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = match text.find('.') {
        Some(at) => text.split_at(at),
        None => (text.as_str(), ""),
    };
    let mut grouped = String::new();
    for (i, c) in whole.chars().enumerate() {
        let left = whole.len() - i;
        if i > 0 && left % 3 == 0 && grouped != "-" {
            grouped.push(',');
        }
        grouped.push(c);
    }
    grouped + rest
}

fn describe(row: &Row) -> String {
    let Target { times_less, times_more, at_most, at_least, times_echo } = row.target;
    let mut parts = Vec::new();
    match times_less {
        Some(1.0) => parts.push("less than Apache".to_owned()),
        Some(times) => parts.push(format!("{times} times less")),
        None => {}
    }
    match times_more {
        Some(1.0) => parts.push("more than Apache".to_owned()),
        Some(times) => parts.push(format!("{times} times more")),
        None => {}
    }
    parts.extend(at_most.map(|v| format!("at most {} {}", number(v), row.unit)));
    parts.extend(at_least.map(|v| format!("at least {}{}", number(v), row.unit)));
    parts.extend(times_echo.map(|v| format!("at most {v} times the echo server")));
    parts.join(", ")
}

fn verdict(
    target: &Target,
    apache: Option<Spread>,
    ours: Option<Spread>,
    echo: Option<Spread>,
) -> &'static str {
    let Some(ours) = ours.map(|spread| spread.median) else { return "" };
    let apache = apache.map(|spread| spread.median);
    let echo = echo.map(|spread| spread.median);
    let checks = [
        target.times_less.map(|times| apache.map(|apache| apache >= ours * times)),
        target.times_more.map(|times| apache.map(|apache| ours >= apache * times)),
        target.at_most.map(|value| Some(ours <= value)),
        target.at_least.map(|value| Some(ours >= value)),
        target.times_echo.map(|times| echo.map(|echo| ours <= echo * times)),
    ];
    let checks: Vec<_> = checks.into_iter().flatten().collect();
    if checks.is_empty() {
        ""
    } else if checks.contains(&None) {
        "?"
    } else if checks.contains(&Some(false)) {
        "no"
    } else {
        "yes"
    }
}

fn conditions(args: &CompareArgs) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = rustix::system::uname();
    // "6.18" of "6.18.44-local-build": the rest names a machine.
    let kernel = kernel.release().to_string_lossy();
    let kernel = kernel.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let mut text = format!(
        "rookeeper {} beside Apache ZooKeeper {} (heap of 1,000 MB); {cores} cores shared by \
         servers and driver, Linux {kernel}; {} repetitions ({} of the large tree), servers in turn, \
         {} s per load after {} s of the same; the large tree has {} nodes, sessions and watches are {}.",
        env!("CARGO_PKG_VERSION"),
        apache::VERSION,
        args.repetitions,
        args.tree_repetitions.unwrap_or(args.repetitions),
        args.seconds,
        args.warmup,
        number(args.nodes as f64),
        number(args.sessions as f64),
    );
    if !args.remark.is_empty() {
        let _ = write!(text, " {}", args.remark);
    }
    text
}

/// Today's date in UTC, year-month-day.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    // Days to civil date, by the 400-year cycle that starts in March.
    let days = seconds as i64 / 86_400 + 719_468;
    let cycle = days.div_euclid(146_097);
    let day_of_cycle = days.rem_euclid(146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_cycle + cycle * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
