//! Everything that needs a second program: real clients, Apache servers, other people's suites.
//!
//! `cargo test --test compat` runs the quick form; names on the command line select cases, and
//! `ROOKEEPER_COMPAT=full` (or `ci`) runs the longer forms. See `docs/COMPATIBILITY.md`.
#![allow(missing_docs)]
#![allow(dead_code)]

mod clients;
mod crash;
mod data;
mod differential;
mod ensemble;
mod harness;
mod quorum;
mod suites;
mod wire;

use harness::runner::Suite;

fn main() {
    let mut suite = Suite::default();
    differential::replay::add(&mut suite);
    differential::live::add(&mut suite);
    clients::add(&mut suite);
    suites::add(&mut suite);
    crash::add(&mut suite);
    ensemble::add(&mut suite);
    wire::add(&mut suite);
    quorum::add(&mut suite);
    data::add(&mut suite);
    let (_lines, ok) = suite.run();
    harness::apache::shut_down();
    std::process::exit(if ok { 0 } else { 1 });
}
