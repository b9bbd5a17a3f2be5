//! Test support and the tidy checks.

pub mod finite_rng;
mod tidy;
