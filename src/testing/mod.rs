//! Test support and the tidy checks.

mod tidy;
