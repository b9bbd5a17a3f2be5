use super::*;

const THREE: &str = "server.1=10.0.0.1:1:2:participant;2181\nserver.2=10.0.0.2:1:2:participant;2181\n\
                     server.3=10.0.0.3:1:2:participant;2181\nversion=100000000";

fn ask(joining: &str, leaving: &str, members: &str) -> Result<String, Code> {
    ask_of(THREE, joining, leaving, members, true)
}

fn ask_of(
    current: &str,
    joining: &str,
    leaving: &str,
    members: &str,
    standalone_enabled: bool,
) -> Result<String, Code> {
    let given = |text: &str| (text != "~").then(|| text.to_owned());
    let request = ReconfigRequest {
        joining: given(joining),
        leaving: given(leaving),
        new_members: given(members),
        config_version: -1,
    };
    let current = QuorumConfig::parse(current, false).expect("a config");
    let rules = Rules { multi_address: false, standalone_enabled };
    let config = plan(&request, &current, rules)?;
    let named = |m: &Member| {
        format!("{}{}", m.id, if m.role == crate::config::Role::Observer { "o" } else { "" })
    };
    Ok(config.members.values().map(named).collect::<Vec<_>>().join(" "))
}

#[test]
fn members_leave_then_join_or_change() {
    assert_eq!(ask("~", "~", "~"), Ok("1 2 3".to_owned()), "nothing asked: the same members");
    assert_eq!(ask("~", "3", "~"), Ok("1 2".to_owned()));
    assert_eq!(ask("~", "7,3", "~"), Ok("1 2".to_owned()), "an unknown id");
    assert_eq!(ask("server.4=10.0.0.4:1:2;2181", "3", "~"), Ok("1 2 4".to_owned()));
    assert_eq!(ask("server.3=10.0.0.3:1:2:observer;2181", "~", "~"), Ok("1 2 3o".to_owned()));
    let two = "server.3=10.0.0.3:1:2:observer;2181, server.4=10.0.0.4:1:2;2181";
    assert_eq!(ask(two, "~", "~"), Ok("1 2 3o 4".to_owned()));
}

#[test]
fn a_list_of_members_counts_alone() {
    let list = "server.1=10.0.0.1:1:2;2181\n,server.2=10.0.0.2:1:2:participant;2181\n";
    assert_eq!(ask("server.9=10.0.0.9:1:2;1", "1", list), Ok("1 2".to_owned()));
    assert_eq!(ask("~", "~", "tickTime=1"), Err(Code::BAD_ARGUMENTS));
    assert_eq!(ask("~", "~", "server.x=a:1:2;3"), Err(Code::MARSHALLING_ERROR));
    assert_eq!(ask("~", "~", "server.1=a:1:2:observer;3"), Err(Code::MARSHALLING_ERROR));
}

#[test]
fn what_apache_refuses_is_refused() {
    // kazoo's `test_bad_input`.
    assert_eq!(ask("some thing", "~", "~"), Err(Code::BAD_ARGUMENTS));
    assert_eq!(ask("server.x=10.0.0.4:1:2;2181", "~", "~"), Err(Code::MARSHALLING_ERROR));
    assert_eq!(ask("~", "three", "~"), Err(Code::MARSHALLING_ERROR));
    assert_eq!(ask("server.4=10.0.0.4:1:2", "~", "~"), Err(Code::BAD_ARGUMENTS), "no client port");
    assert_eq!(ask("server.4=10.0.0.4:1;2181", "~", "~"), Err(Code::BAD_ARGUMENTS));
    assert_eq!(ask("server.4=10.0.0.2:9:2;2181", "~", "~"), Err(Code::BAD_ARGUMENTS), "taken");
    assert_eq!(ask("server.4=127.0.0.1:9:2;2181", "~", "~"), Ok("1 2 3 4".to_owned()));
    assert_eq!(ask("~", "2,3", "~"), Err(Code::BAD_ARGUMENTS), "one is not an ensemble");
    assert_eq!(ask_of(THREE, "~", "2,3", "~", false), Ok("1".to_owned()));
    assert_eq!(ask_of(THREE, "~", "1,2,3", "~", false), Err(Code::BAD_ARGUMENTS));
    let groups = format!("{THREE}\ngroup.1=1:2:3");
    assert_eq!(ask_of(&groups, "~", "3", "~", true), Err(Code::BAD_ARGUMENTS), "not a majority");
}

#[test]
fn numbers_that_are_none_have_an_answer_of_their_own() {
    // Recorded from Apache 3.9.5: its parser ends with an unchecked exception.
    for spec in ["h:1:70000;3", "h:-1:2;3", "h:1:2;70000"] {
        let joiner = format!("server.4={spec}");
        assert_eq!(ask(&joiner, "~", "~"), Err(Code::MARSHALLING_ERROR), "{spec}");
    }
    assert_eq!(ask("server.4=h:1:x;3", "~", "~"), Err(Code::BAD_ARGUMENTS));
    let with = |lines: &str| {
        let three = THREE.rsplit_once('\n').map_or(THREE, |(members, _)| members);
        ask("~", "~", &format!("{three}\n{lines}"))
    };
    for lines in ["group.1=1:2:3:9", "group.x=1:2:3", "group=1:2:3", "group.1=1:2:3,weight.1=x"] {
        assert_eq!(with(lines), Err(Code::MARSHALLING_ERROR), "{lines}");
    }
    assert_eq!(with("x=\\u1"), Err(Code::MARSHALLING_ERROR));
    assert_eq!(with("group.1=1:2"), Err(Code::BAD_ARGUMENTS));
    assert_eq!(with("group.1=1:2:3,group.2=3"), Err(Code::BAD_ARGUMENTS));
    assert_eq!(with("group.1=1:2:3,weight.1=-5"), Err(Code::NEW_CONFIG_NO_QUORUM));
    assert_eq!(with("group.1=1:2:3,weight.1=0"), Ok("1 2 3".to_owned()));
}

#[test]
fn a_config_is_read_out_of_its_transaction() {
    let header = crate::proto::txn::TxnHeader {
        session: crate::types::SessionId(1),
        cxid: 1,
        zxid: crate::types::Zxid(0x1_0000_0001),
        time: crate::types::WallTime(0),
        kind: 16,
    };
    let data = Some(Bytes::from_static(THREE.as_bytes()));
    let txn = Txn::SetData { path: "/zookeeper/config".to_owned(), data, version: -1 };
    let entry = TxnEntry { header, txn, digest: None };
    let text = (READER.text_of)(&entry.encode()).expect("a config");
    assert_eq!(text, THREE);
    let read = (READER.read)(&text).expect("readable");
    assert_eq!((read.version, read.quorum.voters().len()), (0x1_0000_0000, 3));
    let printed = THREE.replace(";2181", ";0.0.0.0:2181");
    assert_eq!(read.with_version(7).text, printed.replace("100000000", "7"));
    assert_eq!((READER.read)(&Bytes::from_static(b"server.1=nonsense")), None);
}
