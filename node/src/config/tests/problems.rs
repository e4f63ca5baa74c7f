//! What is said about a configuration that can't be used.

use super::{Case, environment};

fn file(text: &str) -> Vec<String> {
    Case { file: Some(text), ..Case::default() }.problems()
}

fn variable(name: &str, value: &str) -> String {
    environment(&[(name, value)]).problems().join("\n")
}

#[test]
fn an_unknown_key_is_named_with_its_source_and_the_nearest_one() {
    assert_eq!(
        variable("STINT_HTTP__LISEN", "x"),
        "configuration: unknown key `http.lisen` (environment variable STINT_HTTP__LISEN); did you mean `http.listen`?"
    );
    assert_eq!(
        file("[http]\nlisen = 1\n[nothing.like.it]\nx = 1\n[htp]"),
        [
            "configuration: unknown key `http.lisen` (file /etc/stint.toml); did you mean `http.listen`?",
            "configuration: unknown key `nothing.like.it.x` (file /etc/stint.toml)",
            "configuration: unknown key `htp` (file /etc/stint.toml)",
        ]
    );
}

#[test]
fn an_unknown_variable_is_named_with_the_nearest_one() {
    assert_eq!(
        variable("STINT_CODEKEY", "x"),
        "configuration: unknown environment variable STINT_CODEKEY; did you mean `STINT_CODE_KEY`?"
    );
    assert_eq!(
        variable("STINT_ADMIN_KYE_FILE", "x"),
        "configuration: unknown environment variable STINT_ADMIN_KYE_FILE; did you mean `STINT_ADMIN_KEY`?"
    );
    assert_eq!(
        variable("STINT_FAVOURITE_COLOUR", "x"),
        "configuration: unknown environment variable STINT_FAVOURITE_COLOUR"
    );
}

#[test]
fn a_bad_value_is_named_with_its_source() {
    let bad = [
        ("http.listen", "80a80", "\"80a80\" is not an address such as 127.0.0.1:8080"),
        ("http.listen", "localhost:80", "\"localhost:80\" is not an address such as 127.0.0.1:8080"),
        ("http.public_url", "sho.rt", "\"sho.rt\" is not a URL such as https://sho.rt"),
        ("http.public_url", "ftp://sho.rt", "\"ftp://sho.rt\" is not a URL such as https://sho.rt"),
        ("http.public_url", "https://u:p@sho.rt", "must not hold a user or a password"),
        ("http.trusted_proxies", "10.0.0.0/8,proxy", "\"proxy\" is not a network such as 10.0.0.0/8"),
        ("http.limits.create", "60 a minute", "\"60 a minute\" is not a rate such as 60/1m"),
        ("http.limits.create", "0/1m", "\"0/1m\" is not a rate such as 60/1m"),
        ("http.limits.guess", "2000000/1m", "\"2000000/1m\" allows more than 1000000"),
        ("http.limits.follow", "1/100ms", "the time in \"1/100ms\" is not between 1s and 24h"),
        ("http.redirect_status", "303", "303 is not one of 301, 302, 307 and 308"),
        ("http.max_body_size", "1 lot", "\"1 lot\" is not a size such as 512B, 256KiB or 1MiB"),
        ("http.max_body_size", "99999999999GiB", "\"99999999999GiB\" is not a size such as 512B, 256KiB or 1MiB"),
        ("http.request_timeout", "-1s", "\"-1s\" is not a duration such as 250ms, 10s or 5m"),
        ("http.request_timeout", "10", "\"10\" is not a duration such as 250ms, 10s or 5m"),
        ("http.max_connections", "-1", "invalid value: integer `-1`, expected a whole number"),
        ("http.max_connections", "many", "\"many\" is not a whole number"),
        ("auth.anonymous_create", "yes", "\"yes\" is not one of \"auto\", true and false"),
        ("ids.source", "rafd", "\"rafd\" is not one of raft, redis, postgres and snowflake"),
        ("ids.fallback", "redis,etcd", "\"etcd\" is not one of raft, redis, postgres and snowflake"),
        ("cluster.peers", "1:a:7101", "\"1:a:7101\" is not a member such as 1=allocator-1:7101"),
        ("cluster.allocators", "http://a:7101", "\"http://a:7101\" is not a host and port such as allocator-1:7101"),
        ("database.primary_urls", "mysql://h/db", "scheme \"mysql\" is not postgres:// or postgresql://"),
        (
            "cache.redis_url",
            "http://h",
            "scheme \"http\" is not redis://, rediss://, redis+sentinel:// or rediss+sentinel://",
        ),
        ("log.format", "xml", "\"xml\" is not one of auto, json and pretty"),
        ("log.filter", "inof", "\"inof\" is not a log filter such as info or info,stint::http=debug"),
    ];
    for (key, value, reason) in bad {
        let name = super::super::environment::variable_of(key);
        assert_eq!(variable(&name, value), format!("configuration: `{key}` (environment variable {name}): {reason}"));
    }
    assert_eq!(
        file("[http]\nmax_connections = \"many\""),
        [
            "configuration: `http.max_connections` (file /etc/stint.toml): invalid type: string \"many\", expected a whole number"
        ]
    );
}

#[test]
fn a_broken_rule_is_named_with_its_source() {
    let broken = [
        ("http.request_timeout", "0s", "must not be zero"),
        ("http.max_header_size", "1KiB", "must be at least 8KiB"),
        ("http.shutdown_deadline", "0s", "must be longer than `http.drain_delay` (0s)"),
        ("auth.admin_key", "two words", "must be visible ASCII without spaces: it is sent in a header"),
        ("ids.fallback", "redis,raft", "names `raft` again; each source counts once"),
        ("ids.min_block", "0", "must be at least 1"),
        ("ids.max_block", "10", "must be at least `ids.min_block` (1000)"),
        ("cluster.node_id", "0", "must be at least 1"),
        ("cluster.peers", "1=a:1,1=b:1", "names node 1 twice"),
        ("cluster.secret", "hunter2", "must have at least 16 characters (it has 7)"),
        ("cluster.secret", "sixteen letters and a space", "must be visible ASCII without spaces"),
        ("cluster.id", "abc", "\"abc\" is not 32 hexadecimal digits"),
        ("codes.key", "abc", "must be 32 hexadecimal digits (it has 3 characters)"),
        ("database.pool_size", "0", "must be at least 1"),
        ("cache.l1_ttl", "61s", "1m 1s is not between 1ms and 60s"),
        ("clicks.queue_size", "0", "must be at least 1"),
    ];
    for (key, value, reason) in broken {
        let name = super::super::environment::variable_of(key);
        assert_eq!(variable(&name, value), format!("configuration: `{key}` (environment variable {name}): {reason}"));
    }
    assert_eq!(
        file("[cluster.tls]\ncert = \"a.pem\"\nca = \"b.pem\""),
        ["configuration: `cluster.tls.key`: is missing: TLS needs `cert`, `key` and `ca`"]
    );
}

#[test]
fn all_problems_of_all_layers_are_told_at_once() {
    let case = Case {
        file: Some("[http]\nlisten = \"80a80\"\nport = 1\n[cache]\nl1_ttl = \"5m\"\nl1_entries = \"many\""),
        environment: &[("STINT_IDS__SOURCE", "etcd"), ("STINT_X", "1"), ("STINT_CODE_KEY_FILE", "/none")],
        flags: &[("--public-url", "http.public_url", "nope")],
        ..Case::default()
    };
    let problems = case.problems();
    for key in [
        "`http.listen` (file /etc/stint.toml)",
        "`http.port` (file",
        "`cache.l1_ttl` (file",
        "`cache.l1_entries` (file",
        "`ids.source` (environment",
        "STINT_X",
        "`codes.key` (environment variable STINT_CODE_KEY_FILE): cannot read /none",
        "`http.public_url` (flag --public-url)",
    ] {
        assert_eq!(problems.iter().filter(|line| line.contains(key)).count(), 1, "{key} in {problems:#?}");
    }
    assert_eq!(problems.len(), 8, "{problems:#?}");
    assert!(problems.iter().all(|line| line.starts_with("configuration: ")));
}

#[test]
fn one_key_set_by_two_variables_is_refused() {
    let case = Case {
        environment: &[("STINT_CODE_KEY", "a"), ("STINT_CODE_KEY_FILE", "/k")],
        files: &[("/k", "b")],
        ..Case::default()
    };
    assert!(
        case.problems()[0].ends_with("`codes.key` is set by both STINT_CODE_KEY and STINT_CODE_KEY_FILE; keep one")
    );
    let twice = environment(&[("REDIS_URL", "redis://a"), ("STINT_CACHE__REDIS_URL", "redis://b")]).problems();
    assert!(twice[0].ends_with("`cache.redis_url` is set by both REDIS_URL and STINT_CACHE__REDIS_URL; keep one"));
}

#[test]
fn a_file_that_cannot_be_used_is_one_line_with_its_path() {
    let flags = [];
    let files = super::Files(std::collections::BTreeMap::new());
    let path = std::path::Path::new("/none.toml");
    let inputs = super::Inputs { role: super::Role::Dev, file: Some(path), flags: &flags, files: &files };
    let error = super::load(inputs, []).unwrap_err().to_string();
    assert_eq!(error, "configuration: cannot read file /none.toml: entity not found");
    let syntax = file("[http]\nlisten = 127.0.0.1:8080\n");
    assert_eq!(syntax.len(), 1);
    assert!(syntax[0].starts_with("configuration: file /etc/stint.toml, line 2: "), "{syntax:?}");
    assert_eq!(file("http = 1"), ["configuration: `http` (file /etc/stint.toml): is a section, not a value"]);
}

#[test]
fn no_problem_repeats_a_secret() {
    let told = [
        variable("DATABASE_URL", "postgres://u:hunter2@h:port/db"),
        variable("DATABASE_URL", "postgres://u:hunter2/3@h/db"),
        variable("DATABASE_URL", "u:hunter2@h/db"),
        variable("REDIS_URL", "redis://:hunter2@h:port"),
        variable("STINT_CODE_KEY", "hunter2"),
        variable("STINT_ADMIN_KEY", "hunter2 "),
        variable("STINT_CLUSTER_SECRET", "hunter2"),
        variable("STINT_HTTP__PUBLIC_URL", "http://u:hunter2@h:port"),
        variable("STINT_TRACE__ENDPOINT", "http://u:hunter2@h"),
        file("[database]\nprimary_urls = \"mysql://u:hunter2@h/db\"").join("\n"),
        file("[codes]\nkey = [\"hunter2\"]").join("\n"),
        file("[codes]\nkey = \"hunter2\" x").join("\n"),
        file("[cluster]\nsecret = hunter2").join("\n"),
    ];
    for message in told {
        assert!(!message.contains("hunter2"), "{message}");
    }
    assert_eq!(
        file("[cluster]\nsecret = 1234"),
        ["configuration: `cluster.secret` (file /etc/stint.toml): must be a text in quotes, not of type integer"]
    );
}
