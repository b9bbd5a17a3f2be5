use super::*;

#[test]
fn hex_dumps() {
    let expect = "         +-------------------------------------------------+\n         \
        |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n\
        +--------+-------------------------------------------------+----------------+\n\
        |00000000| 68 65 6c 6c 6f                                  |hello           |\n\
        +--------+-------------------------------------------------+----------------+";
    assert_eq!(hex_dump(b"hello"), expect);
    assert_eq!(hex_dump(b""), "");
    assert_eq!(hex_dump(&[7; 17]).lines().count(), 6);
}

#[test]
fn acls_there_and_back() {
    let mut err = String::new();
    let list = parse_acls("world:anyone:cdrwa,digest:bob:hash=:r,foo,ip:1:zz", &mut err);
    assert_eq!(
        err,
        "foo does not have the form scheme:id:perm\nUnknown perm type: z\nUnknown perm type: z\n"
    );
    assert_eq!(acls(&list), "'world,'anyone\n: cdrwa\n'digest,'bob:hash=\n: r\n'ip,'1\n: \n");
}

#[test]
fn paths_are_refused_in_javas_words() {
    for (path, why) in [
        ("/", None),
        ("/a/b", None),
        ("/a..b/.c", None),
        ("", Some("Path length must be > 0")),
        ("a", Some("Path must start with / character")),
        ("/a/", Some("Path must not end with / character")),
        ("/a//b", Some("Invalid path string \"/a//b\" caused by empty node name specified @3")),
        ("/a/./b", Some("Invalid path string \"/a/./b\" caused by relative paths not allowed @3")),
        ("/a/..", Some("Invalid path string \"/a/..\" caused by relative paths not allowed @4")),
        ("/a\u{1}", Some("Invalid path string \"/a\u{1}\" caused by invalid character @2")),
    ] {
        assert_eq!(path_error(path).as_deref(), why, "{path:?}");
    }
}

#[test]
fn errors_as_the_command_line_says_them() {
    let of = |code: Code, path: Option<&str>| {
        error(&Error::Code { code, path: path.unwrap_or("").to_owned() }, path)
    };
    for (code, path, text) in [
        (Code::NO_NODE, Some("/a"), "Node does not exist: /a"),
        (Code::BAD_VERSION, Some("/a"), "version No is not valid : /a"),
        (Code::INVALID_ACL, None, "Acl is not valid : null"),
        (Code::RECONFIG_DISABLED, None, "KeeperErrorCode = Reconfig is disabled"),
        (Code::UNIMPLEMENTED, Some("/ttl"), "KeeperErrorCode = Unimplemented for /ttl"),
        (Code::NO_WATCHER, Some("/a"), "KeeperErrorCode = No such watcher for /a"),
    ] {
        assert_eq!(of(code, path), text);
    }
}

const RECORDED: &str = include_str!("../../../../fixtures/zkcli/apache-3.9.5.txt");

#[test]
fn usages_are_apaches() {
    let recorded = |command: &str| -> String {
        let (_, rest) = RECORDED.split_once(&format!("$ {command}\n")).expect("recorded");
        let err: Vec<&str> = rest
            .lines()
            .take_while(|l| !l.starts_with("= "))
            .filter_map(|l| l.strip_prefix("E "))
            .collect();
        err.join("\n")
    };
    assert_eq!(format!("{}\nCommand not found: Command not found foo", usage()), recorded("foo"));
    for name in ["get", "create", "ls", "delete", "setAcl", "stat", "listquota", "removewatches"] {
        assert_eq!(usage_of(name), recorded(name), "{name}");
    }
    assert_eq!(usage_of("set"), recorded("set /acl"));
}
