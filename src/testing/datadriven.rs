//! Tests as text: commands, `----`, and what they answer, case after case.
//!
//! ```text
//! # comments and blank lines between cases are kept
//! command one
//! command two
//! ----
//! what came of it, up to the next blank line
//! ```
//!
//! With `ROOKEEPER_REWRITE=1` the answers are written instead of compared; the diff is the review.

use std::fs;
use std::path::Path;

/// Runs every `.txt` file of `fixtures/<folder>`: `start` makes a fresh subject per file, which
/// answers the commands of each case in turn.
pub fn run<S: FnMut(&str) -> String>(folder: &str, mut start: impl FnMut() -> S) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder);
    let entries = fs::read_dir(&root).expect("a folder of fixtures");
    let mut files: Vec<_> = entries.map(|e| e.expect("entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no cases in {folder}");
    let rewrite = std::env::var_os("ROOKEEPER_REWRITE").is_some();
    let mut wrong = Vec::new();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "txt")) {
        let text = fs::read_to_string(file).expect("utf-8");
        let answered = answer(&text, &mut start());
        if rewrite {
            fs::write(file, answered).expect("writable");
        } else if let Some((n, (is, was))) =
            answered.lines().zip(text.lines()).enumerate().find(|(_, (is, was))| is != was)
        {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            wrong.push(format!("{folder}/{name}:{}:\n  expected {was}\n  got      {is}", n + 1));
        } else if answered.lines().count() != text.lines().count() {
            wrong.push(format!("{folder}/{}: another length", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\n(ROOKEEPER_REWRITE=1 re-records)", wrong.join("\n"));
}

/// The text with fresh answers.
fn answer(text: &str, subject: &mut impl FnMut(&str) -> String) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    let mut input = Vec::new();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        if line == "----" {
            let answer = subject(&input.join("\n"));
            out.push_str(answer.trim_end());
            out.push('\n');
            input.clear();
            while lines.next_if(|line| !line.is_empty()).is_some() {}
        } else if !line.starts_with('#') && !line.is_empty() {
            input.push(line);
        }
    }
    out
}
