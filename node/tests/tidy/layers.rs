//! Who may name whom. Tests are free: a test of one layer builds its surroundings from others.

use std::collections::BTreeSet;

use crate::Violation;
use crate::source::{Name, Source};

/// The modules of `node` and the modules that each may name, besides itself. Whoever adds a module says here where it
/// belongs. `lib` names them all.
const LAYERS: [(&str, &[&str]); 22] = [
    ("domain", &[]),
    ("ports", &["domain"]),
    ("service", &["domain", "ports"]),
    ("redis_server", &["ports"]),
    ("storage", &["domain", "ports", "metrics"]),
    ("cache", &["domain", "ports", "metrics", "redis_server"]),
    ("clicks", &["domain", "ports", "metrics", "redis_server"]),
    ("limits", &["domain", "ports", "redis_server"]),
    ("cluster", &["domain", "ports", "metrics"]),
    ("ids", &["domain", "ports", "metrics", "redis_server"]),
    ("http", WAYS_IN),
    ("admin", WAYS_IN),
    ("tasks", WAYS_IN),
    // The wire is the contract: a client knows nothing of the server.
    ("client", &["cli", "config", "ports"]),
    ("metrics", &[]),
    ("lifecycle", &["ports"]),
    ("config", &[]),
    ("telemetry", &["config", "ports"]),
    ("cli", &["config"]),
    ("data_dir", &["domain", "ports"]),
    ("app", EVERYTHING),
    ("main", &["app", "cli", "client", "config", "http", "lifecycle", "ports", "telemetry"]),
];

const WAYS_IN: &[&str] = &["domain", "ports", "service", "metrics", "lifecycle", "telemetry"];

/// The composition root's: adapters are named there and nowhere else.
const EVERYTHING: &[&str] = &[
    "domain",
    "ports",
    "redis_server",
    "service",
    "storage",
    "cache",
    "clicks",
    "limits",
    "cluster",
    "ids",
    "http",
    "admin",
    "tasks",
    "metrics",
    "lifecycle",
    "config",
    "telemetry",
    "cli",
    "data_dir",
];

/// Crates that only some files of `node` may name: files, or folders with everything in them.
const HOMES: [(&str, &[&str]); 6] = [
    ("sqlx", &["storage/"]),
    ("openraft", &["cluster/"]),
    ("redb", &["cluster/"]),
    (
        "redis",
        &[
            "cache/redis.rs",
            "cache/redis/",
            "clicks/",
            "ids/redis_blocks.rs",
            "ids/redis_blocks/",
            "limits/shared.rs",
            "redis_server.rs",
            "redis_server/",
        ],
    ),
    ("axum", &["http.rs", "http/", "admin.rs", "cluster/rpc.rs", "cluster/rpc/"]),
    ("snowflake_rs", &["ids/snowflake/"]),
];

/// Exceptions to [`HOMES`]: one name in one file.
const ALLOWED: [(&str, &str); 2] = [
    // The composition root hands the finished router from `http` and `admin` to a server, and has to name its type.
    ("app/frontend.rs", "axum::Router"),
    // `http::state::HttpSettings` is made of it.
    ("app/api.rs", "axum::http::StatusCode"),
];

/// What `domain` may use: the standard library, the rules of `idgen`, and pure parsers and hashes.
const PARSERS: [&str; 7] = ["idna", "jiff", "percent_encoding", "sha2", "stint_idgen", "thiserror", "url"];

/// Modules name only the layers below them.
pub(crate) fn modules(source: &Source) -> Vec<Violation> {
    let layer = source.top_module();
    if source.within("node").is_none_or(|file| file == "lib.rs") {
        return Vec::new();
    }
    let Some((_, below)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![Violation::new(
            &source.path,
            0,
            format!("`{layer}` is in no layer; give it one in tests/tidy/layers.rs"),
        )];
    };
    let reaches_too_far = |name: &&Name| {
        name.path[0] == "crate" && name.path.get(1).is_none_or(|top| top != layer && !below.contains(&top.as_str()))
    };
    let report = |name: &Name| {
        let shown = name.path.join("::");
        Violation::new(&source.path, name.line, format!("`{layer}` must not name `{shown}`, only {below:?}"))
    };
    source.names().filter(reaches_too_far).map(report).collect()
}

/// Drivers and frameworks are named only in their homes.
pub(crate) fn homes(source: &Source) -> Vec<Violation> {
    let Some(file) = source.within("node") else { return Vec::new() };
    let is_at_home = |places: &[&str]| {
        places.iter().any(|place| if place.ends_with('/') { file.starts_with(place) } else { file == *place })
    };
    let mut violations = Vec::new();
    for (name, places) in HOMES.iter().filter(|(_, places)| !is_at_home(places)) {
        for named in source.names().filter(|named| named.path[0] == *name) {
            let shown = named.path.join("::");
            if !ALLOWED.contains(&(file, shown.as_str())) {
                violations.push(Violation::new(
                    &source.path,
                    named.line,
                    format!("`{shown}` belongs in {places:?} only"),
                ));
            }
        }
    }
    violations
}

/// `domain` uses nothing but the standard library, `idgen` and parsers; `dependencies` are those of `node`.
pub(crate) fn domain(source: &Source, dependencies: &BTreeSet<String>) -> Vec<Violation> {
    if source.within("node").is_none() || source.top_module() != "domain" {
        return Vec::new();
    }
    let is_foreign = |name: &&Name| dependencies.contains(&name.path[0]) && !PARSERS.contains(&name.path[0].as_str());
    let report = |name: &Name| {
        Violation::new(&source.path, name.line, format!("`domain` must not use `{}`, only {PARSERS:?}", name.path[0]))
    };
    source.names().filter(is_foreign).map(report).collect()
}

/// `idgen` names neither a runtime nor another crate of the workspace; `loadtest` doesn't name `node`.
pub(crate) fn crates(source: &Source) -> Vec<Violation> {
    let foreign: &[&str] = match source.path.split('/').next() {
        Some("idgen") => &["tokio", "stint", "loadtest"],
        Some("loadtest") => &["stint"],
        _ => return Vec::new(),
    };
    let report =
        |name: &Name| Violation::new(&source.path, name.line, format!("this crate must not name `{}`", name.path[0]));
    source.all_names().filter(|name| foreign.contains(&name.path[0].as_str())).map(report).collect()
}

/// The manifest of `idgen` names no crate of the workspace, by path or otherwise, and no runtime.
pub(crate) fn idgen_manifest(manifest: &str) -> Vec<Violation> {
    let is_foreign = |line: &str| line.contains("path =") || ["tokio", "stint"].contains(&dependency(line).as_str());
    let dependencies = section(manifest, "[dependencies]");
    let foreign = dependencies.filter(|(_, line)| is_foreign(line));
    foreign
        .map(|(at, line)| Violation::new("idgen/Cargo.toml", at, format!("`idgen` must not depend on `{line}`")))
        .collect()
}

/// The names under `[dependencies]`, as the code writes them.
pub(crate) fn dependencies(manifest: &str) -> BTreeSet<String> {
    section(manifest, "[dependencies]").map(|(_, line)| dependency(line)).filter(|name| !name.is_empty()).collect()
}

fn dependency(line: &str) -> String {
    let end = line.find(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').unwrap_or(line.len());
    line[..end].replace('-', "_")
}

/// The lines below a heading, with their numbers.
fn section<'a>(manifest: &'a str, heading: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let lines = (1..).zip(manifest.lines()).skip_while(move |(_, line)| *line != heading).skip(1);
    lines.take_while(|(_, line)| !line.starts_with('['))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of the violations in a file with this text.
    fn lines(rule: impl Fn(&Source) -> Vec<Violation>, path: &str, text: &str) -> Vec<usize> {
        rule(&Source::parse(path, text)).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn a_layer_that_names_one_above_it_is_reported_with_its_line() {
        let text = "use crate::domain::link::Link;\nuse crate::ports::clock::Clock;\n";
        assert_eq!(lines(modules, "node/src/domain/x.rs", text), [2]);
        assert_eq!(lines(modules, "node/src/service/x.rs", text), [0; 0]);
        let upwards = "fn f() {\n    crate::http::document();\n    super::super::app::start();\n}";
        assert_eq!(lines(modules, "node/src/service/x.rs", upwards), [2, 3]);
        assert_eq!(lines(modules, "node/src/app.rs", upwards), [0; 0]);
        assert_eq!(lines(modules, "node/src/service/x.rs", "use crate::{domain, metrics::IdMetrics};"), [1]);
        assert_eq!(lines(modules, "node/src/ids/x.rs", "use crate::metrics::IdMetrics;"), [0; 0]);
        assert_eq!(lines(modules, "node/src/storage/x.rs", "use crate::*;"), [1]);
        assert_eq!(lines(modules, "node/src/http/x.rs", "use crate::storage::sqlite::SqliteStore;"), [1]);
    }

    #[test]
    fn an_adapter_named_by_the_program_or_a_server_type_named_by_a_client_is_reported() {
        let text = "use stint::app;\nuse stint::storage::sqlite::SqliteStore;\n";
        assert_eq!(lines(modules, "node/src/main.rs", text), [2]);
        assert_eq!(lines(modules, "node/src/client/x.rs", "use crate::config::Secret;\nuse crate::domain::link;"), [2]);
    }

    #[test]
    fn tests_may_name_any_layer() {
        let text = "#[cfg(test)]\nmod tests {\n    use crate::storage::sqlite::SqliteStore;\n}\n";
        assert_eq!(lines(modules, "node/src/ids/x.rs", text), [0; 0]);
    }

    #[test]
    fn a_module_without_a_layer_is_reported() {
        assert_eq!(lines(modules, "node/src/util.rs", "//! Odds and ends."), [0]);
    }

    #[test]
    fn a_driver_outside_its_home_is_reported() {
        assert_eq!(lines(homes, "node/src/http/x.rs", "use axum::Json;\nuse sqlx::query;"), [2]);
        assert_eq!(lines(homes, "node/src/storage/x.rs", "fn f() {\n  sqlx::query(\"\") }"), [0; 0]);
        assert_eq!(lines(homes, "node/src/ids/x.rs", "fn f() {\n  openraft::Raft::new() }\nuse redb;"), [2, 3]);
        assert_eq!(lines(homes, "node/src/cache/x.rs", "use redis::Client;"), [1]);
        assert_eq!(lines(homes, "node/src/app/api.rs", "use axum::http::StatusCode;\nuse axum::Json;"), [2]);
    }

    #[test]
    fn a_framework_in_the_domain_is_reported() {
        let known = dependencies("[dependencies]\nserde_json = \"1\"\nurl = \"2\"\n[dev-dependencies]\nx = \"1\"\n");
        assert_eq!(known, ["serde_json", "url"].map(str::to_owned).into());
        let text = "use url::Url;\nfn f() {\n    serde_json::from_str(\"\") }";
        let rule = |source: &Source| domain(source, &known);
        assert_eq!(lines(rule, "node/src/domain/x.rs", text), [3]);
        assert_eq!(lines(rule, "node/src/http/x.rs", text), [0; 0]);
    }

    #[test]
    fn a_runtime_in_idgen_and_node_in_loadtest_are_reported() {
        assert_eq!(lines(crates, "idgen/src/x.rs", "use stint::http;\nuse tokio::sync::Mutex;"), [1, 2]);
        assert_eq!(lines(crates, "loadtest/src/x.rs", "use stint_idgen::Key;\nuse stint::http;"), [2]);
        let manifest = "[package]\n[dependencies]\naes = \"0.9\"\nx = { path = \"../node\" }\ntokio = \"1\"\n";
        let lines: Vec<_> = idgen_manifest(manifest).into_iter().map(|violation| violation.line).collect();
        assert_eq!(lines, [4, 5]);
    }
}
