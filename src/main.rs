//! The command line of rookeeper; see `cli`.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
