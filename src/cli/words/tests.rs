use super::*;

#[test]
fn an_address_may_leave_out_its_port_or_its_host() {
    for (given, meant) in [
        ("zk1:2182", "zk1:2182"),
        ("zk1", "zk1:2181"),
        ("2182", "127.0.0.1:2182"),
        ("[::1]:2182", "[::1]:2182"),
        ("[::1]", "[::1]:2181"),
        ("10.0.0.1", "10.0.0.1:2181"),
        ("99999", "99999:2181"),
    ] {
        assert_eq!(with_port(given), meant);
    }
}

/// Without asking anybody, because no server could answer.
#[test]
fn what_has_not_four_letters_is_a_wrong_argument() {
    let args = WordArgs { word: "status".into(), address: "127.0.0.1:1".into() };
    assert_eq!(run(args), exit::INVALID_INVOCATION);
}
