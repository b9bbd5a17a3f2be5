use super::*;

fn call(line: &str) -> Invocation {
    let variables = Variables {
        jvm_flags: "-Xmx1g -Dzookeeper.snapCount=5 -Dreadonlymode.enabled=true".to_owned(),
        ..Variables::default()
    };
    let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    read(&args, &variables)
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn our_own_name() {
    // The last one is what a copy of this binary under the script's name runs for `start`.
    for line in [
        "rookeeper",
        "/usr/bin/rookeeper server x.cfg",
        "./rk -Da=b",
        "/opt/zkServer.sh server x.cfg",
    ] {
        assert_eq!(call(line), Invocation::Native);
    }
}

#[test]
fn java_as_kazoo_calls_it() {
    let line = "java -cp a.jar:b.jar -Dfile.encoding=UTF-8 -Dreadonlymode.enabled=true -Xmx200m \
                -Dzookeeper.x=super:a=b= org.apache.zookeeper.server.quorum.QuorumPeerMain /d/zoo.cfg";
    let expect = Invocation::Server {
        config: ServerConfig::File(PathBuf::from("/d/zoo.cfg")),
        defines: pairs(&[
            ("file.encoding", "UTF-8"),
            ("readonlymode.enabled", "true"),
            ("zookeeper.x", "super:a=b="),
        ]),
    };
    assert_eq!(call(line), expect);
}

#[test]
fn java_with_other_classes() {
    let main = "java org.apache.zookeeper.";
    let positional = Invocation::Server {
        config: ServerConfig::Positional(vec!["2181".to_owned(), "/d".to_owned()]),
        defines: Vec::new(),
    };
    assert_eq!(call(&format!("{main}server.ZooKeeperServerMain 2181 /d")), positional);
    assert_eq!(
        call(&format!("{main}client.FourLetterWordMain h 2181 ruok")),
        Invocation::Word { address: "h:2181".to_owned(), word: "ruok".to_owned() }
    );
    assert_eq!(call(&format!("{main}version.VersionInfoMain")), Invocation::Version);
    for (line, ours) in [
        ("server.PurgeTxnLog /d -n 3", "rookeeper purge /d -n 3"),
        ("server.persistence.TxnLogToolkit -d log.1", "rookeeper log dump log.1"),
        ("server.SnapshotFormatter -d snapshot.1", "rookeeper snapshot dump -d snapshot.1"),
    ] {
        let ours = ours.split(' ').map(str::to_owned).collect();
        assert_eq!(call(&format!("{main}{line}")), Invocation::Rewritten(ours));
    }
    for line in ["java -version", "java -jar x.jar server", "java com.example.Main a"] {
        let args = line.split(' ').skip(1).map(str::to_owned).collect();
        assert_eq!(call(line), Invocation::ForeignJava(args));
    }
    assert!(matches!(call(&format!("{main}server.quorum.QuorumPeerMain")), Invocation::Invalid(_)));
}

#[test]
fn zk_server_scripts() {
    for (line, action, config) in [
        ("zkServer.sh start-foreground /d/zoo.cfg", Action::StartForeground, "/d/zoo.cfg"),
        ("x/zkServer.sh start my.cfg", Action::Start, "/etc/zookeeper/conf/my.cfg"),
        ("zkServer.sh --config /c status", Action::Status, "/c/zoo.cfg"),
        ("zkServer.sh --config /c stop other.cfg", Action::Stop, "/c/other.cfg"),
        ("zkServer.sh version", Action::Version, "/etc/zookeeper/conf/zoo.cfg"),
    ] {
        let Invocation::Script(script) = call(line) else { panic!("{line}") };
        assert_eq!((script.action, script.config), (action, PathBuf::from(config)), "{line}");
        let expect = [("zookeeper.snapCount", "5"), ("readonlymode.enabled", "true")];
        assert_eq!(script.defines, pairs(&expect));
    }
    for line in ["zkServer.sh", "zkServer.sh --config /c", "zkServer.sh dance"] {
        assert!(matches!(call(line), Invocation::Invalid(_)), "{line}");
    }
}

#[test]
fn properties_may_stand_anywhere() {
    let args: Vec<String> =
        "rk -Da=1 server x.cfg -D b=2 --set c=3 -Dd=4".split(' ').map(str::to_owned).collect();
    let expect = "rk -Da=1 -D b=2 -Dd=4 server x.cfg --set c=3";
    assert_eq!(defines_first(&args).join(" "), expect);
    let args: Vec<String> = "rk -Da=1 zkcli create -Db x".split(' ').map(str::to_owned).collect();
    assert_eq!(defines_first(&args), args);
}
