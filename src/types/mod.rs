//! Values everyone shares; no dependencies inside the crate.
