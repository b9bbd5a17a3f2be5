use super::*;

/// A directory of a test, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path =
            std::env::temp_dir().join(format!("rookeeper-init-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("made");
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_member_is_told_when_its_number_is_missing_or_a_strangers() {
    let dir = Dir::new("members");
    let file = dir.0.join("zoo.cfg");
    fs::write(&file, "server.2=b:1:2\nserver.1=a:1:2\n").expect("written");
    let both = ["1".to_owned(), "2".to_owned()];
    assert_eq!(members(&file), both);
    assert_eq!(advice(Some(2), true, &both), None);
    assert_eq!(advice(None, true, &both), None);
    let text = advice(Some(9), true, &both).expect("a warning");
    assert!(text.contains("no server.9 line") && text.ends_with("the members are 1, 2"), "{text}");
    let text = advice(None, false, &both).expect("a warning");
    assert!(text.contains("no myid yet") && text.contains("of the members 1, 2 this"), "{text}");
    let dynamic = dir.0.join("members");
    fs::rename(&file, &dynamic).expect("renamed");
    fs::write(&file, format!("dynamicConfigFile={}\n", dynamic.display())).expect("written");
    assert_eq!(members(&file), both);
    fs::write(&file, "clientPort=1\n").expect("written");
    assert_eq!(members(&file), [""; 0]);
}

#[test]
fn only_a_directory_with_data_needs_force() {
    let dir = Dir::new("force");
    let (data, log) = (dir.0.join("data"), dir.0.join("log"));
    prepare(&data, &log, Some(3), false).expect("made");
    // What was made is empty: nobody's data is lost.
    prepare(&data, &log, Some(3), false).expect("made again");
    fs::write(log.join("version-2/log.1"), "x").expect("written");
    match prepare(&data, &log, Some(3), false) {
        Err(Unmade::There(at)) => assert_eq!(at, log.join("version-2")),
        other => panic!("{other:?}"),
    }
    prepare(&data, &log, Some(3), true).expect("emptied");
    assert!(!log.join("version-2/log.1").exists());
    fs::write(dir.0.join("file"), "").expect("written");
    match prepare(&dir.0.join("file"), &log, None, false) {
        Err(Unmade::Failed(at, _)) => assert!(at.starts_with(dir.0.join("file"))),
        other => panic!("{other:?}"),
    }
}
