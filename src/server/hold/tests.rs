use super::*;
use crate::config::{Overrides, RealFiles, load_positional};

#[test]
fn a_directory_is_one_servers_at_a_time() {
    let dir = std::env::temp_dir().join(format!("rookeeper-hold-{}", std::process::id()));
    let args = ["0".to_owned(), dir.display().to_string()];
    let config = load_positional(&args, &Overrides::default(), &RealFiles).expect("loads").config;
    // What isn't there can't be in use.
    let mut first = Hold::default();
    first.take(&config).expect("free");
    std::fs::create_dir_all(&dir).expect("made");
    first.take(&config).expect("free");
    first.take(&config).expect("its own");
    let refused = Hold::default().take(&config).expect_err("taken");
    assert!(matches!(refused, StartError::InUse(_)), "{refused}");
    assert_eq!(refused.exit_code(), 3);
    drop(first);
    Hold::default().take(&config).expect("free again");
    std::fs::remove_dir_all(dir).expect("removed");
}
