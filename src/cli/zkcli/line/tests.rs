use super::*;

#[test]
fn words_and_quotes() {
    for (line, words) in [
        ("ls /", vec!["ls", "/"]),
        ("  set /a   \"b c\" ", vec!["set", "/a", "b c"]),
        ("set /a 'it \"is\"'", vec!["set", "/a", "it \"is\""]),
        ("create /a \"\"", vec!["create", "/a", ""]),
        ("set /a b\"c", vec!["set", "/a", "b\"c"]),
        ("set /a \"open", vec!["set", "/a", "\"open"]),
        ("   ", vec![]),
    ] {
        assert_eq!(split(line), words, "{line:?}");
    }
}

#[test]
fn options_stand_anywhere() {
    let parse = |line: &str| options(&split(line), "se", &["v"]);
    let parsed = parse("/a -s x -v 5 -e").expect("parses");
    assert_eq!(parsed.args, ["/a", "x"]);
    assert!(parsed.has('s') && parsed.has('e'));
    assert_eq!(parsed.value("v"), Some("5"));
    assert!(parse("-se /a").expect("bursts").has('e'));
    assert_eq!(
        parse("-q /a"),
        Err("org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: -q"
            .to_owned())
    );
    assert_eq!(
        parse("/a -v"),
        Err("org.apache.commons.cli.MissingArgumentException: Missing argument for option: v"
            .to_owned())
    );
}
