//! The differences that are kept, each with its reason.

use crate::harness::runner::Stop;
use crate::harness::tools;

/// One entry of `known-gaps.toml`.
#[derive(Clone, Debug)]
pub struct Gap {
    /// A recording's name, or a test of another suite.
    pub test: String,
    /// The step that may (and must) differ; empty where the whole test is meant.
    pub step: String,
    /// Why the difference is kept.
    pub reason: String,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    /// In file order.
    pub all: Vec<Gap>,
}

impl Gaps {
    /// Reads the file.
    pub fn load() -> Result<Gaps, Stop> {
        let path = tools::root().join("compat-tests/known-gaps.toml");
        let text = std::fs::read_to_string(&path)?;
        let table: toml::Table =
            text.parse().map_err(|e| Stop::failed(format!("{path:?}: {e}")))?;
        let mut all = Vec::new();
        let entries = table.get("gap").and_then(|g| g.as_array()).cloned().unwrap_or_default();
        for entry in entries {
            let field =
                |key: &str| entry.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_string();
            let gap = Gap { test: field("test"), step: field("step"), reason: field("reason") };
            if gap.test.is_empty() || gap.reason.is_empty() {
                return Err(Stop::failed("known-gaps.toml: every gap needs a test and a reason"));
            }
            all.push(gap);
        }
        Ok(Gaps { all })
    }

    /// The gap that covers a step of a recording.
    pub fn covers(&self, test: &str, step: &str) -> Option<&Gap> {
        self.all.iter().find(|g| g.test == test && !g.step.is_empty() && g.step == step)
    }

    /// The gap that covers a whole test of another suite.
    pub fn whole(&self, test: &str) -> Option<&Gap> {
        self.all.iter().find(|g| g.test == test && g.step.is_empty())
    }
}
