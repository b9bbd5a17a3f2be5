//! Bytes to values and back, for every byte that leaves the process; pure.
//!
//! - [`jute`]: the primitive encoding;
//! - [`records`]: requests and responses of the client protocol;
//! - [`opcode`]: the table of operations;
//! - [`frame`]: length framing and four-letter words;
//! - [`multi`]: bodies of multi and multiRead;
//! - [`txn`]: the replicated vocabulary, in the log and in proposals alike;
//! - [`image`]: what a snapshot contains;
//! - [`quorum`], [`election`]: the ports between servers.

pub mod election;
pub mod frame;
pub mod image;
pub mod jute;
pub mod multi;
pub mod opcode;
pub mod quorum;
pub mod records;
pub mod txn;

#[cfg(test)]
mod tests;
