//! What a node refuses at its start in one clear line, and what it starts without.

use serde_json::json;

use crate::support::fleet::{Fleet, Wanted, create, create_in_the_end, followed, ready};
use crate::support::{Cluster, PgBouncer, Postgres, Redis, eventually, last_line, run};

/// Everything that `stint serve` needs but a database.
fn settings<'a>(allocators: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let common = [
        ("STINT_CLUSTER__ALLOCATORS", allocators),
        ("STINT_CLUSTER_SECRET", crate::support::SECRET),
        ("STINT_CODE_KEY", "000102030405060708090a0b0c0d0e0f"),
        ("STINT_HTTP__LISTEN", "127.0.0.1:0"),
        ("STINT_ADMIN__LISTEN", "127.0.0.1:0"),
    ];
    // The last one counts.
    let given = |name: &str| more.iter().any(|(other, _)| *other == name);
    common.into_iter().filter(|(name, _)| !given(name)).chain(more.iter().copied()).collect()
}

async fn refused(allocators: &str, more: &[(&str, &str)]) -> String {
    last_line(&run(&["serve"], &settings(allocators, more)).await, 1)
}

#[tokio::test]
async fn a_database_that_refuses_is_one_line_and_exit_1() {
    let fleet = Fleet::without_nodes(Wanted { replicas: 0, ..Wanted::default() }).await;
    let (allocators, url) = (fleet.allocators.allocators(), fleet.database_url());
    let port = fleet.primary.port();

    let missing = refused(&allocators, &[("DATABASE_URL", &fleet.primary.url("nobody"))]).await;
    assert!(missing.contains(&format!("127.0.0.1:{port}")) && missing.contains("nobody"), "{missing}");

    fleet.primary.execute("CREATE DATABASE empty");
    let unmigrated = refused(&allocators, &[("DATABASE_URL", &fleet.primary.url("empty"))]).await;
    assert!(unmigrated.contains("stint migrate"), "{unmigrated}");

    let node = fleet.serve(1, &[]).await;
    ready(&node).await;
    create(&node.client(), "https://example.com/").await;
    let other_key = [("DATABASE_URL", url.as_str()), ("STINT_CODE_KEY", "ffffffffffffffffffffffffffffffff")];
    let other_key = refused(&allocators, &other_key).await;
    assert!(other_key.contains("fingerprint"), "{other_key}");

    let guarded = Redis::start_with("requirepass right");
    let wrong = guarded.url().replace("redis://", "redis://:hunter2@");
    let no_redis = refused(&allocators, &[("DATABASE_URL", &url), ("REDIS_URL", &wrong)]).await;
    assert!(no_redis.contains("Redis") && !no_redis.contains("hunter2"), "{no_redis}");
}

#[tokio::test]
async fn a_wrong_password_is_named_and_a_right_one_with_every_special_character_works() {
    let fleet = Fleet::without_nodes(Wanted { replicas: 0, ..Wanted::default() }).await;
    let allocators = fleet.allocators.allocators();
    fleet.primary.execute("CREATE ROLE shortener LOGIN PASSWORD 'p@:/?#%&+ =x'");
    fleet.primary.execute_on("stint", "GRANT ALL ON ALL TABLES IN SCHEMA public TO shortener");
    fleet.primary.execute_on("stint", "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO shortener");
    let hba = fleet.primary.data().join("pg_hba.conf");
    let trusting = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("host all shortener 127.0.0.1/32 scram-sha-256\n{trusting}")).unwrap();
    fleet.primary.execute("SELECT pg_reload_conf()");
    let url = |scheme: &str, password: &str| {
        format!("{scheme}://shortener:{password}@127.0.0.1:{}/stint", fleet.primary.port())
    };
    eventually("the password is asked for", || async {
        refused(&allocators, &[("DATABASE_URL", &url("postgres", "hunter2"))]).await.contains("password")
    })
    .await;
    let wrong = refused(&allocators, &[("DATABASE_URL", &url("postgres", "hunter2"))]).await;
    assert!(wrong.contains("shortener") && !wrong.contains("hunter2"), "{wrong}");

    let file = fleet.allocators.dir.path().join("database-url");
    for scheme in ["postgres", "postgresql"] {
        let url = url(scheme, "p%40%3A%2F%3F%23%25%26%2B%20%3Dx");
        std::fs::write(&file, format!("{url}\n")).unwrap();
        for setting in [("DATABASE_URL", url.as_str()), ("DATABASE_URL_FILE", file.to_str().unwrap())] {
            let settings = settings(&allocators, &[setting, ("STINT_ADMIN_KEY", "the-admin-key-of-the-tests")]);
            let log = fleet.allocators.dir.path().join("shortener.log");
            let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
            let node = crate::support::Program::start_role(&arguments, &settings, &log).await;
            ready(&node).await;
            create(&node.client(), "https://example.com/").await;
        }
    }
}

#[tokio::test]
async fn a_node_starts_without_a_primary_serves_redirects_and_says_what_is_missing() {
    let fleet = Fleet::start(Wanted { replicas: 1, nodes: 1, ..Wanted::default() }).await;
    let code = create(&fleet.client(0), "https://example.com/").await;
    let on_replica = || fleet.replicas[0].execute_on("stint", "SELECT count(*) FROM links");
    eventually("the replica has it", || async { on_replica() == "1" }).await;
    fleet.primary.crash();
    fleet.redis.kill();
    let late = fleet.serve(2, &[]).await;
    eventually("a redirect from the replica", || async {
        followed(&late.client(), &code).await == "https://example.com/"
    })
    .await;
    let ready = late.admin_client().get("/readyz").await;
    assert_eq!(ready.status, 200, "a proxy that took it out would take redirects away");
    assert!(ready.text().contains("primary"), "{}", ready.text());
    fleet.primary.launch();
    create_in_the_end(&late.client(), &json!({ "url": "https://example.com/again" })).await;
}

#[tokio::test]
async fn a_read_only_primary_is_not_written_to_and_named() {
    let fleet = Fleet::start(Wanted { replicas: 0, nodes: 1, ..Wanted::default() }).await;
    let code = create(&fleet.client(0), "https://example.com/").await;
    fleet.primary.execute("ALTER SYSTEM SET default_transaction_read_only = on");
    fleet.primary.execute("SELECT pg_reload_conf()");
    let node = &fleet.nodes[0];
    eventually("it says that the primary is read-only", || async {
        node.admin_client().get("/readyz").await.text().contains("read-only")
    })
    .await;
    assert_eq!(followed(&node.client(), &code).await, "https://example.com/");
    // One that starts now knows nothing yet.
    let late = fleet.serve(2, &[]).await;
    eventually("a redirect through a node that started meanwhile", || async {
        followed(&late.client(), &code).await == "https://example.com/"
    })
    .await;
    eventually("it says why it creates nothing", || async {
        late.admin_client().get("/readyz").await.text().contains("read-only")
    })
    .await;
    let refused = late.client().post("/api/v1/links", &json!({ "url": "https://example.com/refused" })).await;
    refused.problem(503, "unavailable");
    assert!(!refused.header("retry-after").is_empty());
    fleet.primary.execute("ALTER SYSTEM RESET default_transaction_read_only");
    fleet.primary.execute("SELECT pg_reload_conf()");
    for (n, node) in [node, &late].into_iter().enumerate() {
        ready(node).await;
        create_in_the_end(&node.client(), &json!({ "url": format!("https://example.com/again/{n}") })).await;
    }
}

#[tokio::test]
async fn allocators_that_did_not_issue_this_databases_keys_are_refused() {
    let fleet = Fleet::start(Wanted { replicas: 0, nodes: 1, ..Wanted::default() }).await;
    create(&fleet.client(0), "https://example.com/").await;
    let others = Cluster::of(1).founded().await;
    let url = fleet.database_url();
    let line = refused(&others.allocators(), &[("DATABASE_URL", &url)]).await;
    assert!(line.contains("this database's keys were issued by the allocator"), "{line}");
}

#[tokio::test]
async fn migrating_twice_changes_nothing_and_a_server_that_is_away_is_named() {
    let primary = Postgres::start();
    let url = primary.url("postgres");
    for _ in 0..2 {
        let output = run(&["migrate"], &[("DATABASE_URL", &url)]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    primary.crash();
    let away = last_line(&run(&["migrate"], &[("DATABASE_URL", &url)]).await, 1);
    assert!(away.contains(&format!("127.0.0.1:{}", primary.port())), "{away}");
}

/// From version 1.21 on PgBouncer can keep prepared statements in transaction mode, if it is told to; here it isn't.
#[tokio::test]
async fn a_pooler_that_keeps_sessions_is_used_and_one_that_does_not_is_refused_in_words() {
    let fleet = Fleet::without_nodes(Wanted { replicas: 0, ..Wanted::default() }).await;
    let pooler = PgBouncer::start(&fleet.primary, "session").await;
    let node = fleet.serve(1, &[("DATABASE_URL", &pooler.url("stint"))]).await;
    ready(&node).await;
    let code = create(&node.client(), "https://example.com/pooled").await;
    assert_eq!(followed(&node.client(), &code).await, "https://example.com/pooled");
    let listed = node.client().get("/api/v1/links").await;
    assert_eq!(listed.json()["links"][0]["code"], code.as_str(), "{}", listed.text());
    for mode in ["transaction", "statement"] {
        let pooler = PgBouncer::start(&fleet.primary, mode).await;
        let url = pooler.url("stint");
        let line = refused(&fleet.allocators.allocators(), &[("DATABASE_URL", &url)]).await;
        assert!(line.contains("pool_mode = session"), "{mode}: {line}");
    }
}
