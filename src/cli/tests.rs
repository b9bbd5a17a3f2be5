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
