//! The server with its files, still as values: what the threads of the shell drive, and the
//! simulator as well.
//!
//! A thread owns one of these and does nothing but wait, call and pass on; so what happens between
//! two waits is the same code under the simulator, over a disk that lies. No threads, sockets or
//! clocks here: time and randomness are handed in.
//!
//! - [`group`]: the log of a server alone: group commit; [`files`]: a member's, Zab's requests;
//! - [`member`]: between a member as a value and everything around it;
//! - [`start`]: what a member finds in its data directory; [`load`]: what a server alone finds;
//! - [`snapshot`]: the walk from a state to a snapshot file;
//! - [`transfer`]: the same walk, to a learner.

pub mod files;
pub mod group;
pub mod load;
pub mod member;
pub mod snapshot;
pub mod start;
pub mod transfer;
