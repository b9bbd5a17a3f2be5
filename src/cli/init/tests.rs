use super::*;

#[test]
fn a_number_that_is_no_members_is_told() {
    let dir = std::env::temp_dir().join(format!("rookeeper-init-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("made");
    let file = dir.join("zoo.cfg");
    fs::write(&file, "server.1=a:1:2\nserver.2=b:1:2\n").expect("written");
    assert_eq!(stranger(2, &file), None);
    let text = stranger(9, &file).expect("a warning");
    assert!(text.contains("no server.9 line") && text.ends_with("the members are 1, 2"), "{text}");
    fs::write(&file, "clientPort=1\n").expect("written");
    assert_eq!(stranger(9, &file), None);
    fs::remove_dir_all(dir).expect("removed");
}
