//! A small client of our own, for the shell, the tests and the benches.
