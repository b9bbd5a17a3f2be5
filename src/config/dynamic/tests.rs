use super::*;

const RECORDED: &str = include_str!("../../../fixtures/config/quorum-texts.apache-3.9.5.txt");

/// Inputs that Apache takes (or fails on) for a reason we don't share, with ours.
const DIFFERENT: &[(&str, &str)] = &[(
    "server.01=a:1:2 , server.1=b:1:2",
    "which of two lines for one id wins depends on hashing there",
)];

#[test]
fn every_recorded_text_is_ours_too() {
    let mut cases = 0;
    for case in RECORDED.split("\n--- ").skip(1) {
        let (head, expect) = case.split_once('\n').expect("a head and a text");
        let expect = expect.trim_end_matches('\n');
        if DIFFERENT.iter().any(|(input, _)| *input == head) {
            continue;
        }
        let lines: Vec<(&str, &str)> =
            head.split(" , ").map(|l| l.split_once('=').expect("key=value")).collect();
        match QuorumConfig::from_lines(lines, true) {
            Ok(config) => {
                assert_eq!(config.to_string(), expect, "{head}");
                let again = QuorumConfig::parse(expect, true).expect("own text parses");
                assert_eq!(again, config, "{head}");
            }
            Err(e) => assert!(expect.starts_with("ERR"), "{head}: {e}, Apache says {expect}"),
        }
        cases += 1;
    }
    assert!(cases > 35, "{cases}");
}

#[test]
fn several_addresses_need_the_switch() {
    let spec = "a:1:2|b:1:2";
    assert!(Member::parse(ServerId(1), spec, false).is_err());
    assert_eq!(Member::parse(ServerId(1), spec, true).expect("parses").addresses.len(), 2);
}

#[test]
fn colons_and_semicolons_at_the_end_are_nothing() {
    for spec in ["h:1:2:", "h:1:2;", "h:1:2::;;"] {
        let member = Member::parse(ServerId(1), spec, false).expect(spec);
        assert_eq!(member.spec(), "h:1:2:participant", "{spec}");
    }
}

#[test]
fn refused_lines_say_why() {
    for (spec, why) in [
        ("h", "the ports are missing"),
        ("h:1", "the election port is missing"),
        ("h:1:1", "quorum and election port must be different"),
        ("h:1:2:leader", "\"leader\" is neither participant nor observer"),
        ("h:1:2:observer:x", "too many parts separated by colons"),
        ("h:1:2;1;2", "too many parts separated by semicolons"),
        ("[::1:1:2", "a bracket is not closed"),
        ("[]:1:2", "the brackets are empty"),
        ("[::1]1:2", "a port must follow the closing bracket"),
        ("h:1:x", "\"x\" is not a port number"),
        ("h:1:99999", "port out of range:99999"),
        ("h:1:2;x", "\"x\" is not a port number"),
        ("h h:1:2", "the host \"h h\" contains blanks"),
    ] {
        let error = Member::parse(ServerId(1), spec, true).expect_err(spec);
        assert_eq!(error.to_string(), why, "{spec}");
    }
}

#[test]
fn a_client_address_from_the_static_file_is_not_printed() {
    let mut member = Member::parse(ServerId(3), "h:1:2;2181", false).expect("parses");
    assert_eq!(member.spec(), "h:1:2:participant;0.0.0.0:2181");
    member.client_from_static = true;
    assert_eq!(member.spec(), "h:1:2:participant");
}

#[test]
fn the_dynamic_file_is_sorted_and_has_no_version() {
    let text = "server.2=b:1:2:participant\nserver.10=a:1:2:observer\nversion=5";
    let config = QuorumConfig::parse(text, false).expect("parses");
    assert_eq!(config.version, 5);
    assert_eq!(config.to_file_text(), "server.10=a:1:2:observer\nserver.2=b:1:2:participant");
    assert_eq!(config.voters().count(), 1);
    assert_eq!(config.observers().count(), 1);
}

#[test]
fn weights_default_to_one_and_to_nothing_outside_a_group() {
    let text = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\ngroup.1=1:2\nweight.2=0";
    let config = QuorumConfig::parse(text, false).expect("parses");
    let weights: Vec<i64> = (1..=3).map(|id| config.weight(ServerId(id))).collect();
    assert_eq!(weights, [1, 0, 0]);
}
