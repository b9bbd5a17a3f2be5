//! Everything that needs a second program: real clients, Apache servers, other people's suites.

fn main() {}
