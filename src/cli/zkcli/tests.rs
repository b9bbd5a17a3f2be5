use super::*;

fn call(line: &str) -> Result<Call, String> {
    Call::parse(&line::split(line))
}

#[test]
fn options_end_at_the_command() {
    let got = call("-server a:1,b:2/c -timeout 5000 -r ls -R /").expect("parses");
    let expect = Call {
        server: "a:1,b:2/c".to_owned(),
        timeout_ms: 5000,
        read_only: true,
        configuration: None,
        command: ["ls", "-R", "/"].map(str::to_owned).to_vec(),
    };
    assert_eq!(got, expect);
    let nothing = call("").expect("parses");
    assert_eq!((nothing.server.as_str(), nothing.timeout_ms), ("localhost:2181", 30_000));
    for line in ["-server", "-timeout x ls", "-foo"] {
        assert!(call(line).is_err(), "{line}");
    }
}
