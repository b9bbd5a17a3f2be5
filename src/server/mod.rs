//! The shell: the only folder with tokio, threads, sockets, a clock and randomness.
