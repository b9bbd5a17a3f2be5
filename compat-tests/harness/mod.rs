//! What every group of the suite stands on: other programs started and stopped, free ports,
//! temporary directories, a raw protocol client and a recording proxy.
//!
//! Nothing here uses the server's own code: a mistake in the codec must not hide itself by being
//! on both ends of the wire.

pub mod apache;
pub mod client;
pub mod four;
pub mod jute;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod runner;
pub mod server;
pub mod tools;
