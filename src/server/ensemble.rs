//! A member of an ensemble: the same node as a standalone server, with Zab in the place of the one
//! disk.

pub mod config_files;
pub mod disk;
pub mod figures;
pub mod guests;
pub mod member_log;
pub mod members;
pub mod node;
pub mod server;
pub mod setup;
pub mod shell;
