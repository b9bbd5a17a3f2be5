//! The same program of operations against two servers, everything seen compared.
//!
//! A program is a text: one step per line, several named sessions (the language is described in
//! `script.rs`). Running it gives a transcript; two servers must give the same. Only session ids,
//! passwords and times are replaced, and those by tokens that keep what can be known about them.

pub mod exec;
pub mod gaps;
pub mod generate;
pub mod limits;
pub mod live;
pub mod members;
pub mod minimise;
pub mod mutants;
pub mod render;
pub mod replay;
pub mod script;
pub mod words;
