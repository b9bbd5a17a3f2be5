//! Conversations recorded from Apache servers: made here, kept in `fixtures/wire`.

pub mod annotate;
pub mod client;
pub mod decode;
pub mod quorum;

use std::path::PathBuf;

use crate::harness::runner::Suite;
use crate::harness::tools::{self, Level};

/// The folder of recordings for one port.
pub fn folder(port: &str) -> PathBuf {
    tools::root().join("fixtures/wire").join(port)
}

/// Adds the recording cases; they run only with `ROOKEEPER_REWRITE`, for they write files.
pub fn add(suite: &mut Suite) {
    if std::env::var_os("ROOKEEPER_REWRITE").is_none() {
        suite.add("wire", "client-recordings-read-back", Level::Quick, client::check);
        suite.add("wire", "quorum-recordings-read-back", Level::Quick, quorum::check);
        for port in ["client", "election", "learner"] {
            let name = format!("{port}-port-through-our-codec");
            suite.add("wire", name, Level::Quick, move || decode::check(port));
        }
        return;
    }
    suite.add("record-wire", "client", Level::Quick, client::record);
    suite.add("record-wire", "quorum", Level::Quick, quorum::record);
}
