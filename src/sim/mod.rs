//! The seeded simulator.

pub mod model;
pub mod witness;
