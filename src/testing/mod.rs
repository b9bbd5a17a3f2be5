//! Test support and the tidy checks.
