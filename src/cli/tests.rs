use clap::CommandFactory;

use super::*;

#[test]
fn every_command_is_in_the_operators_guide() {
    let guide = include_str!("../../docs/OPERATIONS.md");
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        if name == "bench" {
            continue; // a tool of developers, described beside the benches
        }
        assert!(guide.contains(&format!("rookeeper {name}")), "{name}");
    }
}

#[test]
fn the_arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_command_line_is_understood() {
    let cli = Cli::try_parse_from([
        "rookeeper",
        "-Dzookeeper.snapCount=5",
        "server",
        "0",
        "/d",
        "--set",
        "a=b",
        "--ready-file",
        "/r",
    ])
    .expect("parses");
    assert_eq!(cli.define, ["zookeeper.snapCount=5"]);
    let Some(Command::Server(args)) = cli.command else { panic!("a server") };
    assert_eq!((args.config.len(), args.set.len()), (2, 1));
    assert!(Cli::try_parse_from(["rookeeper"]).expect("parses").command.is_none());
    let cli = Cli::try_parse_from(["rookeeper", "zkcli", "-server", "h", "ls", "-R", "/"]);
    let Some(Command::Zkcli(args)) = cli.expect("parses").command else { panic!("zkcli") };
    assert_eq!(args.arguments, ["-server", "h", "ls", "-R", "/"]);
}

/// Whoever waits for the file must not take that of an earlier run.
#[test]
fn a_ready_file_of_an_earlier_run_is_removed() {
    let dir = std::env::temp_dir().join(format!("rookeeper-ready-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let ready = dir.join("ready.json");
    std::fs::write(&ready, "{\"pid\": 1, \"client\": 2181}\n").unwrap();
    let config = vec![dir.join("there is none").display().to_string()];
    let args = server::ServerArgs { config, ready_file: Some(ready.clone()), ..Default::default() };
    assert_eq!(server::run(args, &[], None), exit::INVALID_INVOCATION);
    assert!(!ready.exists());
    std::fs::remove_dir_all(dir).unwrap();
}
