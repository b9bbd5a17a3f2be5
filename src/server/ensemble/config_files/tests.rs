use super::*;

const STATIC: &str = "# the cluster\ntickTime=2000\nclientPort=2181\nserver.1=a:1:2\nserver.2=b:1:\\\n  2\n\n\
                      peerType=observer\ndataDir=/d\n";
const ONE: &str =
    "server.1=a:1:2:participant;0.0.0.0:2181\nserver.2=b:1:2:participant\nversion=100000005";

fn files(name: &str) -> (PathBuf, ConfigFiles) {
    let dir = std::env::temp_dir().join(format!("rookeeper-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a directory");
    let cfg = dir.join("zoo.cfg");
    fs::write(&cfg, STATIC).expect("a file");
    (dir, ConfigFiles { cfg, me: ServerId(1) })
}

#[test]
fn a_config_in_force_has_a_file_which_the_static_one_names() {
    let (dir, files) = files("config-active");
    let next = ONE.replace("100000005", "100000006");
    files.save(&Bytes::from(next.clone()), false, false);
    let read = |name: &str| fs::read_to_string(dir.join(name));
    let kept = read("zoo.cfg.dynamic.next").expect("next");
    assert_eq!(kept, next, "with its version, in the order of keys");
    files.save(&Bytes::from_static(ONE.as_bytes()), true, true);
    assert_eq!(read("zoo.cfg.dynamic.next").expect("newer, and not in force"), next);
    files.save(&Bytes::from_static(ONE.as_bytes()), true, false);
    let dynamic = read("zoo.cfg.dynamic.100000005").expect("dynamic");
    assert_eq!(dynamic, "server.1=a:1:2:participant;0.0.0.0:2181\nserver.2=b:1:2:participant");
    let at = fs::canonicalize(dir.join("zoo.cfg.dynamic.100000005")).expect("path");
    let wanted =
        format!("# the cluster\ntickTime=2000\n\ndataDir=/d\ndynamicConfigFile={}\n", at.display());
    assert_eq!(read("zoo.cfg").expect("static"), wanted);
    assert!(read("zoo.cfg.dynamic.next").is_err(), "it was given up");
    fs::remove_dir_all(dir).expect("gone");
}

#[test]
fn a_client_port_that_only_the_static_file_has_stays_there() {
    let (dir, files) = files("config-client");
    let text = ONE.replace(";0.0.0.0:2181", "");
    files.save(&Bytes::from(text), true, false);
    let text = fs::read_to_string(dir.join("zoo.cfg")).expect("static");
    assert!(text.contains("clientPort=2181\n"), "{text}");
    fs::remove_dir_all(dir).expect("gone");
}
