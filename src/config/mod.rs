//! Text to configuration, once, at start; immutable afterwards.
