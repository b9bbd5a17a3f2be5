//! rookeeper: a coordination server that ZooKeeper clients, applications and ensembles cannot tell
//! from Apache ZooKeeper.
//!
//! ```text
//! types <- proto <- { state | zab | storage | auth } <- replica <- host <- { server | sim } <- cli
//!          wire      pure         pure  files   pure    pure glue  + files  the only tokio
//! ```
//!
//! Nothing below `server` is async, reads a clock or draws a random number. The rule of who may
//! import whom is data in `testing/tidy.rs` and fails the build when broken; `docs/ARCHITECTURE.md`
//! is the map.

pub mod auth;
pub mod cli;
pub mod client;
pub mod config;
pub mod host;
pub mod ops;
pub mod proto;
pub mod replica;
pub mod server;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod state;
pub mod storage;
#[cfg(test)]
mod testing;
pub mod types;
pub mod zab;
