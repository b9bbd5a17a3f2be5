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
    let expect = format!(
        "the directory {} is in use by another server, pid {}; hint: ",
        dir.canonicalize().expect("there").display(),
        std::process::id()
    );
    assert!(refused.to_string().starts_with(&expect), "{refused}");
    drop(first);
    Hold::default().take(&config).expect("free again");
    std::fs::remove_dir_all(dir).expect("removed");
}

#[test]
fn the_holder_of_a_lock_is_found_among_all_locks() {
    let dir = std::env::temp_dir().metadata().expect("there");
    let (inode, other) = (dir.ino(), dir.ino() + 1);
    let device = (rustix::fs::major(dir.dev()), rustix::fs::minor(dir.dev()));
    let device = format!("{:02x}:{:02x}", device.0, device.1);
    let posix = format!("1: POSIX  ADVISORY  WRITE 11 {device}:{inode} 0 EOF\n");
    let elsewhere = format!("2: FLOCK  ADVISORY  WRITE 12 {device}:{other} 0 EOF\n");
    let right = format!("3: FLOCK  ADVISORY  WRITE 13 {device}:{inode} 0 EOF\n");
    let strange = format!("4: FLOCK  ADVISORY  WRITE 14 ff:7f:{inode} 0 EOF\n");
    let hidden = format!("5: FLOCK  ADVISORY  WRITE -1 {device}:{inode} 0 EOF\n");
    let waiting = format!("3: -> FLOCK  ADVISORY  WRITE 15 {device}:{inode} 0 EOF\n");
    for (locks, expect) in [
        (format!("{posix}{elsewhere}{strange}{right}"), Some(13)),
        (format!("{posix}{elsewhere}{strange}"), Some(14)),
        (format!("{strange}{}", strange.replace(" 14 ", " 16 ")), None),
        (format!("{waiting}{posix}{elsewhere}"), None),
        (format!("{hidden}nonsense\n\n"), None),
    ] {
        assert_eq!(holder(&locks, &dir), expect, "{locks}");
    }
}
