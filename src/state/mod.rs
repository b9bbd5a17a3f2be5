//! The deterministic state machine: same transactions, same bytes.
