//! Test support and the tidy checks.

pub mod datadriven;
pub mod finite_rng;
pub mod recorded;
mod tidy;
