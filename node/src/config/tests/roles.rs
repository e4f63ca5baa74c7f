//! What each role refuses, and what it warns of.

use super::{Case, Role};
use crate::config::ConfigError;

const SECRET: (&str, &str) = ("STINT_CLUSTER_SECRET", "sixteen-letters!");
const THREE: &str = "1=a:7101,2=b:7101,3=c:7101";
const CODE_KEY: (&str, &str) = ("STINT_CODE_KEY", "000102030405060708090a0b0c0d0e0f");

type Flags<'a> = &'a [(&'static str, &'static str, &'a str)];

fn lines(checked: Result<(), ConfigError>) -> Vec<String> {
    checked.err().map(|error| error.problems().to_vec()).unwrap_or_default()
}

/// What `stint allocator` says to these settings: its refusals, and its warnings.
fn allocator(environment: &[(&str, &str)], flags: Flags<'_>, bootstrap: bool) -> (Vec<String>, Vec<String>) {
    let loaded = Case { role: Some(Role::Allocator), environment, flags, ..Case::default() }.load();
    (lines(loaded.check_allocator(bootstrap)), loaded.warnings(Role::Allocator))
}

fn serve(environment: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let loaded = Case { role: Some(Role::Serve), environment, ..Case::default() }.load();
    (lines(loaded.check_serve()), loaded.warnings(Role::Serve))
}

#[test]
fn an_allocator_s_mistakes_are_a_line_each() {
    let refused = |environment: &[(&str, &str)], bootstrap| allocator(environment, &[], bootstrap).0;
    let nothing: [&str; 0] = [];
    assert_eq!(refused(&[], false), nothing);
    assert_eq!(refused(&[SECRET, ("STINT_CLUSTER__PEERS", THREE)], true), nothing);
    assert_eq!(
        refused(&[], true),
        ["`cluster.peers`: is missing: --bootstrap needs every first member, as in --peers \
             1=allocator-1:7101,2=allocator-2:7101,3=allocator-3:7101"]
    );
    let peers = "1=a:7101,2=0.0.0.0:7101,3=a:7101";
    assert_eq!(
        refused(&[SECRET, ("STINT_CLUSTER__PEERS", peers), ("STINT_CLUSTER__NODE_ID", "4")], true),
        [
            "`cluster.peers` (environment variable STINT_CLUSTER__PEERS): nobody can connect to 0.0.0.0:7101: give an \
             address that the others reach",
            "`cluster.peers` (environment variable STINT_CLUSTER__PEERS): nodes 1 and 3 have the same address, a:7101",
            "`cluster.peers` (environment variable STINT_CLUSTER__PEERS): does not name this node, 4 \
             (`cluster.node_id`, --node-id): it names 1, 2, 3",
        ]
    );
}

#[test]
fn an_allocator_without_a_secret_is_for_one_machine_only() {
    let without = "`cluster.secret`: is missing: other machines can reach this allocator; set the same STINT_CLUSTER_SECRET \
         on all allocators and shorteners";
    let warning = "`cluster.secret`: is not set: every program on this machine may speak to the allocators (STINT_CLUSTER_SECRET)";
    for (listen, peers) in
        [("0.0.0.0:7101", ""), ("10.0.0.1:7101", ""), ("127.0.0.1:7101", "1=127.0.0.1:1,2=b:1,3=c:1")]
    {
        let environment = [("STINT_CLUSTER__LISTEN", listen), ("STINT_CLUSTER__PEERS", peers)];
        assert_eq!(allocator(&environment, &[], false).0, [without], "{listen} {peers}");
    }
    let here = "1=localhost:7101,2=127.0.0.1:7102,3=[::1]:7103";
    let (refused, warnings) = allocator(&[("STINT_CLUSTER__PEERS", here)], &[], true);
    assert_eq!((refused, warnings), (vec![], vec![warning.to_owned()]));
}

#[test]
fn an_allocator_warns_of_what_works_but_hardly_as_meant() {
    let flags: Flags<'_> = &[("--peers", "cluster.peers", "1=a:7101,2=b:9000")];
    let environment = [SECRET, ("STINT_IDS__MIN_BLOCK", "7"), ("REDIS_URL", "redis://r")];
    assert_eq!(
        allocator(&environment, flags, true).1,
        [
            "`cache.redis_url` (environment variable REDIS_URL): `stint allocator` has no use for this setting",
            "`ids.min_block` (environment variable STINT_IDS__MIN_BLOCK): `stint allocator` has no use for this setting",
            "`cluster.peers` (flag --peers): an even number of voters (2) tolerates no more failures than one fewer",
            "`cluster.listen`: only this machine can connect to 127.0.0.1:7101, but the others are told a:7101",
        ]
    );
    let environment = [SECRET, ("STINT_CLUSTER__LISTEN", "0.0.0.0:9000"), ("STINT_CLUSTER__PEERS", THREE)];
    assert!(allocator(&environment, &[], true).1.is_empty(), "another port of a container is no mistake");
}

#[test]
fn a_shortener_s_mistakes_are_a_line_each() {
    assert_eq!(
        serve(&[]).0,
        [
            "`cluster.allocators`: is missing: ids.source raft needs the allocators; name them with --allocators \
             allocator-1:7101,allocator-2:7101,allocator-3:7101 or STINT_CLUSTER__ALLOCATORS",
            "`codes.key`: is missing: every code is computed with it; set the same STINT_CODE_KEY (32 hex digits) on all \
             nodes, for ever",
        ]
    );
    assert_eq!(
        serve(&[("STINT_IDS__ONLY", "true"), ("STINT_CLUSTER__ALLOCATORS", "localhost:7101")]).0,
        ["`auth.admin_key`: is missing: without a database it is the only API key there is; set STINT_ADMIN_KEY"]
    );
    let exposed = [CODE_KEY, ("STINT_CLUSTER__ALLOCATORS", "127.0.0.1:7101,b:7101")];
    assert_eq!(
        serve(&exposed).0,
        ["`cluster.secret`: is missing: allocators on other machines want theirs; set the same STINT_CLUSTER_SECRET \
             everywhere"]
    );
}

#[test]
fn each_source_of_ids_names_what_it_lacks() {
    const ALLOCATORS: (&str, &str) = ("STINT_CLUSTER__ALLOCATORS", "localhost:7101");
    const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://h/d");
    const REDIS: (&str, &str) = ("REDIS_URL", "redis://r");
    let refused = |source: &str, fallback: &str, servers: &[(&str, &str)]| {
        let ids = [("STINT_IDS__SOURCE", source), ("STINT_IDS__FALLBACK", fallback)];
        let environment = [&ids[..], &[CODE_KEY], servers].concat();
        serve(&environment).0
    };
    let missing = |who: &str, server: usize| {
        let (key, what) = [
            (
                "cluster.allocators",
                "the allocators; name them with --allocators \
                 allocator-1:7101,allocator-2:7101,allocator-3:7101 or STINT_CLUSTER__ALLOCATORS",
            ),
            (
                "database.primary_urls",
                "Postgres, which decides what of it is issued; name the primary with DATABASE_URL",
            ),
            ("cache.redis_url", "Redis, which counts its blocks; name it with REDIS_URL"),
        ][server];
        format!("`{key}`: is missing: {who} needs {what}")
    };
    for source in ["raft", "snowflake"] {
        assert_eq!(refused(source, "", &[]), [missing(&format!("ids.source {source}"), 0)]);
        assert_eq!(refused(source, "", &[ALLOCATORS]), [""; 0]);
    }
    assert_eq!(refused("redis", "", &[]), [1, 2].map(|server| missing("ids.source redis", server)));
    assert_eq!(refused("redis", "", &[DATABASE]), [missing("ids.source redis", 2)]);
    assert_eq!(refused("postgres", "", &[REDIS]), [missing("ids.source postgres", 1)]);
    let all = [1, 2].map(|server| missing("ids.fallback redis", server));
    assert_eq!(refused("raft", "redis,postgres", &[ALLOCATORS]), all);
    assert_eq!(refused("postgres", "raft", &[DATABASE]), [missing("ids.fallback raft", 0)]);
    for (source, fallback) in
        [("raft", "redis,postgres"), ("redis", "raft"), ("redis", "postgres"), ("snowflake", "raft")]
    {
        assert_eq!(refused(source, fallback, &[ALLOCATORS, DATABASE, REDIS]), [""; 0], "{source}, {fallback}");
    }
}

#[test]
fn a_fallback_that_can_not_help_is_refused() {
    let refused = |source, fallback| {
        let servers = [
            CODE_KEY,
            ("STINT_CLUSTER__ALLOCATORS", "localhost:7101"),
            ("DATABASE_URL", "postgres://h/d"),
            ("REDIS_URL", "redis://r"),
        ];
        let ids = [("STINT_IDS__SOURCE", source), ("STINT_IDS__FALLBACK", fallback)];
        serve(&[&ids[..], &servers].concat()).0
    };
    let line = |problem| format!("`ids.fallback` (environment variable STINT_IDS__FALLBACK): {problem}");
    let snowflake = "snowflake is no fallback: it needs the allocators as raft does, and goes on for seconds without them \
         where raft goes on for `ids.headroom`; use raft, or make snowflake the source";
    let redis = "redis is no fallback for postgres: the same primary decides about its blocks, so both are away together; \
         put redis first or leave it out";
    assert_eq!(refused("raft", "snowflake"), [line(snowflake)]);
    assert_eq!(refused("postgres", "redis"), [line(redis)]);
    assert_eq!(refused("raft", "postgres,redis,snowflake"), [line(redis), line(snowflake)]);
}

#[test]
fn a_shortener_says_what_it_assumes() {
    let local = [CODE_KEY, ("STINT_CLUSTER__ALLOCATORS", "localhost:7101"), ("STINT_CLUSTER__NODE_ID", "2")];
    let (refused, warnings) = serve(&local);
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(
        warnings,
        [
            "`cluster.node_id` (environment variable STINT_CLUSTER__NODE_ID): `stint serve` has no use for this setting",
            "`http.public_url`: is not set: http://127.0.0.1:8080 is assumed; behind a proxy set it to what users see \
             (--public-url)",
            "`cluster.secret`: is not set: every program on this machine may speak to the allocators \
             (STINT_CLUSTER_SECRET)",
        ]
    );
}

#[test]
fn dev_warns_of_the_settings_of_others_only() {
    let warnings = |environment| Case { environment, ..Case::default() }.load().warnings(Role::Dev);
    assert!(warnings(&[("STINT_IDS__MIN_BLOCK", "7"), ("STINT_HTTP__DRAIN_DELAY", "1s")]).is_empty());
    assert_eq!(
        warnings(&[SECRET]),
        ["`cluster.secret` (environment variable STINT_CLUSTER_SECRET): `stint dev` has no use for this setting"]
    );
}

#[test]
fn every_setting_that_a_role_may_not_need_exists() {
    let schema = crate::config::layers::Schema::builtin();
    for role in [Role::Dev, Role::Serve, Role::Allocator] {
        assert!(role.unused().iter().all(|key| schema.has_key(key)), "{role:?}");
    }
}
