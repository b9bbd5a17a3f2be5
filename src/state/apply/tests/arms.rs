//! Each kind of transaction.
