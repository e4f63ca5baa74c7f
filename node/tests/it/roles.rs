//! The roles of a cluster, as the real program: what each refuses, and how it starts and stops.

use crate::startup::one_line;
use crate::support::{Program, eventually, last_line, run};

const SECRET: (&str, &str) = ("STINT_CLUSTER_SECRET", "sixteen-letters!");
const CODE_KEY: (&str, &str) = ("STINT_CODE_KEY", "000102030405060708090a0b0c0d0e0f");
/// Flags, the environment, and the line that is said to them.
type Mistake<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

const THREE: &str = "1=127.0.0.1:7101,2=127.0.0.1:7102,3=127.0.0.1:7103";

#[tokio::test]
async fn an_allocator_s_mistake_is_one_line_and_exit_64() {
    let cases: [Mistake<'_>; 9] = [
        (
            &["--bootstrap"],
            &[],
            "`cluster.peers`: is missing: --bootstrap needs every first member, as in --peers \
             1=allocator-1:7101,2=allocator-2:7101,3=allocator-3:7101",
        ),
        (
            &["--node-id", "4", "--peers", THREE],
            &[],
            "`cluster.peers` (flag --peers): does not name this node, 4 (`cluster.node_id`, --node-id): it names 1, 2, 3",
        ),
        (
            &["--peers", "1:127.0.0.1:7101"],
            &[],
            "`cluster.peers` (flag --peers): \"1:127.0.0.1:7101\" is not a member such as 1=allocator-1:7101",
        ),
        (
            &["--peers", "1=0.0.0.0:7101"],
            &[SECRET],
            "`cluster.peers` (flag --peers): nobody can connect to 0.0.0.0:7101: give an address that the others reach",
        ),
        (
            &["--listen", "0.0.0.0:7101"],
            &[],
            "`cluster.secret`: is missing: other machines can reach this allocator; set the same STINT_CLUSTER_SECRET \
             on all allocators and shorteners",
        ),
        (
            &[],
            &[("STINT_CLUSTER_SECRET", "short")],
            "`cluster.secret` (environment variable STINT_CLUSTER_SECRET): must have at least 16 characters (it has 5)",
        ),
        (&["--node-id", "one"], &[], "`cluster.node_id` (flag --node-id): \"one\" is not a whole number"),
        (
            &["--listen", "allocator-1:7101"],
            &[],
            "`cluster.listen` (flag --listen): \"allocator-1:7101\" is not an address such as 127.0.0.1:8080",
        ),
        (
            &[],
            &[("STINT_CLUSTER__PEER", "1=a:7101")],
            "unknown key `cluster.peer` (environment variable STINT_CLUSTER__PEER); did you mean `cluster.peers`?",
        ),
    ];
    for (flags, environment, expected) in cases {
        let line = one_line(&[&["allocator"], flags].concat(), environment, 64).await;
        assert_eq!(line, format!("configuration: {expected}\n"), "{flags:?}");
    }
}

#[tokio::test]
async fn a_shortener_s_mistake_is_one_line_and_exit_64() {
    let local = ["--allocators", "127.0.0.1:7101"];
    let cases: [Mistake<'_>; 7] = [
        (
            &[],
            &[CODE_KEY],
            "`cluster.allocators`: is missing: ids.source raft needs the allocators; name them with --allocators \
             allocator-1:7101,allocator-2:7101,allocator-3:7101 or STINT_CLUSTER__ALLOCATORS",
        ),
        (
            &["--allocators", "http://a:7101"],
            &[CODE_KEY, SECRET],
            "`cluster.allocators` (flag --allocators): \"http://a:7101\" is not a host and port such as allocator-1:7101",
        ),
        (
            &["--allocators", "127.0.0.1:7101,b:7101"],
            &[CODE_KEY],
            "`cluster.secret`: is missing: allocators on other machines want theirs; set the same STINT_CLUSTER_SECRET \
             everywhere",
        ),
        (
            &local,
            &[],
            "`codes.key`: is missing: every code is computed with it; set the same STINT_CODE_KEY (32 hex digits) on all \
             nodes, for ever",
        ),
        (
            &["--ids-only", "--allocators", "127.0.0.1:7101"],
            &[],
            "`auth.admin_key`: is missing: without a database it is the only API key there is; set STINT_ADMIN_KEY",
        ),
        (
            &["--ids", "rafd", "--allocators", "127.0.0.1:7101"],
            &[CODE_KEY],
            "`ids.source` (flag --ids): \"rafd\" is not one of raft, redis, postgres and snowflake",
        ),
        (
            &local,
            &[CODE_KEY, ("STINT_HTTP__LISEN", "x")],
            "unknown key `http.lisen` (environment variable STINT_HTTP__LISEN); did you mean `http.listen`?",
        ),
    ];
    for (flags, environment, expected) in cases {
        let line = one_line(&[&["serve"], flags].concat(), environment, 64).await;
        assert_eq!(line, format!("configuration: {expected}\n"), "{flags:?}");
    }
    let arguments =
        ["serve", "--allocators", "127.0.0.1:7101", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let line = last_line(&run(&arguments, &[CODE_KEY]).await, 1);
    assert_eq!(line, "stint: there is no database: name it with DATABASE_URL, or serve ids alone with --ids-only");
}

#[tokio::test]
async fn several_mistakes_are_told_at_once() {
    let output = run(&["serve"], &[]).await;
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    let keys = ["`cluster.allocators`", "`codes.key`"];
    assert_eq!(said.lines().count(), keys.len(), "{said}");
    assert!(keys.iter().all(|key| said.contains(key)), "{said}");
}

#[tokio::test]
async fn the_configuration_of_each_role_is_checked_and_shown() {
    let line = one_line(&["config", "check", "--role", "serve"], &[CODE_KEY], 64).await;
    assert!(line.contains("`cluster.allocators`"), "{line}");
    let variables = [CODE_KEY, SECRET, ("STINT_CLUSTER__ALLOCATORS", "a:7101,b:7101")];
    let output = run(&["config", "check", "--role", "serve"], &variables).await;
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"ok\n".as_slice()));
    let output = run(&["config", "show", "--role", "serve"], &variables).await;
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("listen = \"0.0.0.0:8080\" # default of this command"), "{shown}");
    assert!(!shown.contains(SECRET.1), "{shown}");
}

#[tokio::test]
async fn a_cluster_command_asks_the_allocators_that_are_named_or_configured() {
    let missing = "configuration: `cluster.secret`: is missing: allocators on other machines want theirs; set the same \
                   STINT_CLUSTER_SECRET everywhere\n";
    assert_eq!(one_line(&["cluster", "status", "--allocators", "b:7101"], &[], 64).await, missing);
    let configured = [("STINT_CLUSTER__ALLOCATORS", "b:7101")];
    assert_eq!(one_line(&["cluster", "remove", "2"], &configured, 64).await, missing);
    let line = one_line(&["cluster", "transfer", "--allocators", "127.0.0.1:1"], &[], 1).await;
    assert!(line.starts_with("stint: ") && !line.contains("8080"), "{line}");
    let line = one_line(&["cluster", "status", "--server", "http://127.0.0.1:1"], &configured, 1).await;
    assert!(line.contains("http://127.0.0.1:1"), "a server that is named beats the environment: {line}");
}

#[tokio::test]
async fn an_allocator_starts_says_that_it_is_ready_and_stops_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let arguments = ["--peers", "1=127.0.0.1:7101", "--bootstrap", "--listen", "127.0.0.1:0"];
    let program = Program::start_allocator(&data, &arguments).await;
    assert!(program.banner.contains("runs allocator 1"), "{}", program.banner);
    let admin = program.admin_client();
    eventually("the group has a leader", || async { admin.get("/readyz").await.status == 200 }).await;
    assert_eq!(admin.get("/livez").await.text(), "ok\n");
    assert!(admin.get("/metrics").await.text().contains("stint_build_info"));
    let again = ["allocator", "--data-dir", data.to_str().unwrap(), "--admin-listen", "127.0.0.1:0"];
    let line = one_line(&[&again[..], &arguments].concat(), &[SECRET], 1).await;
    assert!(line.contains("in use by another process"), "{line}");
    assert_eq!(program.terminate().await, Some(0));
}
