//! What an operator sees: four-letter words, statistics, metrics.
//!
//! ```text
//! shell --fills--> Stats ---> four_letter (text, Apache's exact lines)
//!       --counts-> Metrics -/-> prometheus (exposition)
//! ```
//!
//! Reads a [`stats::Stats`] value and the [`metrics::Metrics`] registry, changes nothing. Must not
//! know: the tree, sessions or Zab; the shell turns them into plain lists.

pub mod admin;
pub mod environment;
pub mod format;
pub mod four_letter;
pub mod metrics;
pub mod process;
pub mod stats;

pub use environment::Environment;
pub use four_letter::{Effect, NOT_SERVING, Word};
pub use metrics::{Advanced, AdvancedSet, Basic, BasicSet, Counter, CounterSet, Metrics};
pub use stats::Stats;
