//! The shell: the only folder with tokio, threads, sockets, a clock and randomness.

pub mod election_link;
pub mod ensemble;
pub mod net;
pub mod quorum_link;
