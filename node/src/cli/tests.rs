//! Command lines: what they mean, and how they are refused.

use std::path::Path;

use super::*;
use crate::config::{ClientEnvironment, Secret};

fn parse(line: &str) -> Result<Invocation, UsageError> {
    Invocation::parse(line.split_whitespace())
}

fn command(line: &str) -> Command {
    parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).command
}

fn import(line: &str) -> ImportArgs {
    let Command::Links(LinksCommand::Import(args)) = command(line) else { panic!("{line} is no import") };
    args
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn no_command_is_dev_with_its_flags() {
    for line in ["stint --listen 127.0.0.1:1 --repair-ids", "stint dev --listen 127.0.0.1:1 --repair-ids"] {
        let Command::Dev(args) = command(line) else { panic!("{line} is not dev") };
        assert!(args.repair_ids && args.data_dir.is_none(), "{line}");
        let flags: Vec<_> = args.flags().into_iter().map(|flag| (flag.flag, flag.key, flag.value)).collect();
        assert_eq!(flags, [("--listen", "http.listen", "127.0.0.1:1".to_owned())], "{line}");
    }
}

fn flags(flags: Vec<crate::config::Flag>) -> Vec<(&'static str, &'static str, String)> {
    flags.into_iter().map(|flag| (flag.flag, flag.key, flag.value)).collect()
}

#[test]
fn an_allocator_s_flags_are_settings() {
    let line = "stint allocator --node-id 1 --listen 127.0.0.1:7101 --admin-listen 127.0.0.1:0 \
                --peers 1=127.0.0.1:7101,2=127.0.0.1:7102 --data-dir D --bootstrap";
    let Command::Allocator(args) = command(line) else { panic!("no allocator") };
    assert!(args.bootstrap);
    let expected = [
        ("--node-id", "cluster.node_id", "1"),
        ("--listen", "cluster.listen", "127.0.0.1:7101"),
        ("--admin-listen", "admin.listen", "127.0.0.1:0"),
        ("--peers", "cluster.peers", "1=127.0.0.1:7101,2=127.0.0.1:7102"),
        ("--data-dir", "cluster.data_dir", "D"),
    ];
    assert_eq!(flags(args.flags()), expected.map(|(flag, key, value)| (flag, key, value.to_owned())));
    let Command::Allocator(args) = command("stint allocator") else { panic!("no allocator") };
    assert_eq!(args, AllocatorArgs::default());
}

#[test]
fn a_shortener_s_flags_are_settings() {
    let line = "stint serve --listen A --admin-listen B --allocators a:1,b:2 --ids raft --public-url https://sho.rt";
    let Command::Serve(args) = command(line) else { panic!("no serve") };
    let expected = [
        ("--listen", "http.listen", "A"),
        ("--admin-listen", "admin.listen", "B"),
        ("--allocators", "cluster.allocators", "a:1,b:2"),
        ("--ids", "ids.source", "raft"),
        ("--public-url", "http.public_url", "https://sho.rt"),
    ];
    assert_eq!(flags(args.flags()), expected.map(|(flag, key, value)| (flag, key, value.to_owned())));
}

#[test]
fn cluster_commands_name_members() {
    let Command::Cluster(ClusterCommand::Add(args)) = command("stint cluster add 4=a:7101 --key k") else {
        panic!("no add")
    };
    assert_eq!(args.member.to_string(), "4=a:7101");
    let Command::Cluster(ClusterCommand::Remove(args)) = command("stint cluster remove 2") else { panic!("no remove") };
    assert_eq!(args.node_id, 2);
    for (line, to) in [("stint cluster transfer", None), ("stint cluster transfer 3", Some(3))] {
        let Command::Cluster(ClusterCommand::Transfer(args)) = command(line) else { panic!("no transfer") };
        assert_eq!(args.node_id, to);
    }
}

#[test]
fn the_allocators_are_asked_unless_a_server_is_named() {
    let named = |line: &str, environment: &ClientEnvironment| {
        let Command::Cluster(command) = command(line) else { panic!("{line} is no cluster command") };
        command.group().named_server(environment).is_some()
    };
    let nothing = ClientEnvironment::default();
    let server = ClientEnvironment { server: Some("https://env.test".parse().unwrap()), key: None };
    assert!(!named("stint cluster status", &nothing));
    assert!(named("stint cluster status", &server));
    assert!(named("stint cluster status --server http://a", &nothing));
    assert!(named("stint cluster status --key k", &nothing));
    assert!(named("stint cluster status --data-dir d", &nothing));
    assert!(!named("stint cluster status --allocators a:1,b:2", &server), "a flag beats the environment");
    let Command::Cluster(command) = command("stint cluster status --allocators a:1,b:2") else { panic!("no status") };
    assert_eq!(flags(command.group().flags()), [("--allocators", "cluster.allocators", "a:1,b:2".to_owned())]);
}

#[test]
fn config_is_accepted_before_and_after_the_command() {
    for line in ["stint --config a.toml config check", "stint config check --config a.toml", "stint --config a.toml"] {
        assert_eq!(parse(line).unwrap().config.as_deref(), Some(Path::new("a.toml")), "{line}");
    }
}

#[test]
fn wrong_usage_exits_64_and_help_exits_0() {
    let wrong = [
        "stint nonsense",
        "stint --nonsense",
        "stint keys",
        "stint keys create",
        "stint keys create --name a --scopes root",
        "stint --listen 127.0.0.1:1 openapi",
        "stint links import x --jobs 0",
        "stint links export --data-dir d --server http://a",
        "stint keys list --server ftp://a",
        "stint --listen 127.0.0.1:1 serve",
        "stint serve --data-dir d",
        "stint allocator --allocators a:1",
        "stint cluster",
        "stint cluster add 4",
        "stint cluster add 0=a:7101",
        "stint cluster add 4=a",
        "stint cluster remove",
        "stint cluster remove 0",
        "stint cluster transfer two",
        "stint cluster status --allocators a",
        "stint cluster status --allocators a:1 --server http://a",
        "stint config check --role nobody",
    ];
    for line in wrong {
        assert_eq!(parse(line).unwrap_err().exit_code(), 64, "{line}");
    }
    for line in ["stint --help", "stint --version", "stint links import --help"] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 0, "{line}");
    }
    assert_eq!(parse("stint --version").unwrap_err().to_string().trim(), concat!("stint ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn only_commands_that_exist_are_offered() {
    let names: Vec<_> = Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    assert_eq!(
        names,
        ["dev", "serve", "allocator", "migrate", "keys", "links", "cluster", "config", "healthcheck", "openapi"]
    );
}

#[test]
fn an_import_notes_its_progress_beside_its_input() {
    assert_eq!(import("stint links import a/urls.txt").state_path(), Some("a/urls.txt.stint-import".into()));
    assert_eq!(import("stint links import -").state_path(), None);
    assert_eq!(import("stint links import - --state s").state_path(), Some("s".into()));
    let plain = import("stint links import -");
    assert_eq!((plain.input, plain.jobs, plain.format), (StdioPath::Stdio, 32, ImportFormat::Auto));
}

#[test]
fn a_client_takes_flags_then_environment_then_the_default() {
    let environment =
        ClientEnvironment { server: Some("https://env.test".parse().unwrap()), key: Some(Secret::new("env-key")) };
    let target = |line: &str, environment: &ClientEnvironment| {
        let Command::Links(LinksCommand::Export(args)) = command(line) else { panic!("{line} is no export") };
        match args.client.target(environment) {
            Target::Server { url, key } => {
                format!("{url} {}", key.as_ref().map_or("none", Secret::expose))
            }
            Target::DataDir(dir) => dir.display().to_string(),
        }
    };
    let nothing = ClientEnvironment::default();
    assert_eq!(target("stint links export", &nothing), "http://127.0.0.1:8080 none");
    assert_eq!(target("stint links export", &environment), "https://env.test env-key");
    assert_eq!(target("stint links export --server http://f --key k", &environment), "http://f k");
    assert_eq!(target("stint links export --data-dir d", &environment), "d");
}

#[test]
fn a_key_given_as_a_flag_is_not_in_the_debug_output() {
    let shown = format!("{:?}", command("stint links export --key hunter2"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn scopes_are_separated_by_commas() {
    let Command::Keys(KeysCommand::Create(args)) = command("stint keys create --name a --scopes ids,admin") else {
        panic!("no create")
    };
    assert_eq!((args.scopes, args.owner), (vec!["ids".to_owned(), "admin".to_owned()], None));
}
