//! Bytes to values and back, for every byte that leaves the process; pure.
