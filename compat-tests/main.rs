//! Everything that needs a second program: real clients, Apache servers, other people's suites.
//!
//! `cargo test --test compat` runs the quick form; names on the command line select cases, and
//! `ROOKEEPER_COMPAT=full` (or `ci`) runs the longer forms. See `docs/COMPATIBILITY.md`.
#![allow(missing_docs)]
#![allow(dead_code)]

mod abuse;
mod applications;
mod clients;
mod commands;
mod crash;
mod data;
mod differential;
mod ensemble;
mod harness;
mod logs;
mod odd_starts;
mod quorum;
mod report;
mod start;
mod suites;
mod wire;

use harness::runner::Suite;

fn main() {
    let mut suite = Suite::default();
    differential::replay::add(&mut suite);
    differential::live::add(&mut suite);
    differential::members::add(&mut suite);
    differential::mutants::add(&mut suite);
    clients::add(&mut suite);
    commands::add(&mut suite);
    odd_starts::add(&mut suite);
    logs::add(&mut suite);
    suites::add(&mut suite);
    applications::add(&mut suite);
    abuse::add(&mut suite);
    crash::add(&mut suite);
    ensemble::add(&mut suite);
    wire::add(&mut suite);
    quorum::add(&mut suite);
    start::add(&mut suite);
    data::add(&mut suite);
    report::add(&mut suite);
    let (lines, ok) = suite.run();
    harness::apache::shut_down();
    if clients::subject() == harness::server::Kind::Rookeeper
        && let Err(e) = report::note(&lines)
    {
        println!("the results were not noted: {e:?}");
    }
    std::process::exit(if ok { 0 } else { 1 });
}
