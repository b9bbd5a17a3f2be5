//! The simulator as a program; see `rookeeper::sim`.

fn main() {}
