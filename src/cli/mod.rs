//! Subcommands of the one binary.
