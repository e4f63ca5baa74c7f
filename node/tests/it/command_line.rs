//! The client commands, run as the real program against a real server.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::{Program, command, eventually, in_parallel, real_urls, real_urls_file, run};

/// Runs a command against `program` with its key.
async fn against(program: &Program, arguments: &[&str]) -> Output {
    run(arguments, &[("STINT_SERVER", &program.base), ("STINT_KEY", &program.key)]).await
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn everything(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn twenty_thousand_real_urls_are_imported_followed_exported_and_reused() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&dir.path().join("data")).await;
    let (input, results) = (real_urls_file(), dir.path().join("results.ndjson"));
    let state = dir.path().join("state");
    let [input_path, results_path, state_path] = [&input, &results, &state].map(|path| path.to_str().unwrap());
    let import = ["links", "import", input_path, "--state", state_path];
    let output = against(&program, &[&import[..], &["--results", results_path]].concat()).await;
    let summary = everything(&output);
    assert!(output.status.success() && summary.contains("20000 created"), "{summary}");

    let urls = real_urls();
    let made = lines(&results);
    assert_eq!(made.len(), 20_000);
    let codes: HashMap<&str, &str> =
        made.iter().map(|line| (line["url"].as_str().unwrap(), line["code"].as_str().unwrap())).collect();
    assert_eq!(codes.len(), 20_000);
    assert!(made.iter().zip(&urls).all(|(line, url)| line["url"] == **url), "results are in the order of the input");
    program.kill().await;
    let program = Program::start(&dir.path().join("data")).await;
    let visitor = program.client().with_key(None);
    in_parallel(32, &urls, |url| {
        let (visitor, codes) = (&visitor, &codes);
        async move { assert_eq!(visitor.location(codes[url.as_str()]).await, *url) }
    })
    .await;

    let exported = stdout(&against(&program, &["links", "export"]).await);
    let exported: HashMap<String, String> = exported
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|link| (link["url"].as_str().unwrap().to_owned(), link["code"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(exported.len(), 20_000);
    assert!(exported.iter().all(|(url, code)| codes[url.as_str()] == code));

    let again = against(&program, &import).await;
    let summary = everything(&again);
    assert!(summary.contains("20000 reused"), "{summary}");
}

#[tokio::test]
async fn an_import_that_was_killed_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&dir.path().join("data")).await;
    let (input, results) = (dir.path().join("lines.ndjson"), dir.path().join("results.ndjson"));
    // Links with titles are never reused: a line that was sent twice would show.
    let line = |n: u32| format!("{{\"url\":\"https://example.com/{n}\",\"title\":\"line {n}\"}}");
    let text = (0..3000).map(line).collect::<Vec<_>>().join("\n");
    fs::write(&input, text).unwrap();
    let arguments = ["links", "import", input.to_str().unwrap(), "--results", results.to_str().unwrap(), "--jobs", "4"];
    let environment = [("STINT_SERVER", &program.base), ("STINT_KEY", &program.key)];
    let mut first = command(&arguments).envs(environment).spawn().unwrap();
    let state = dir.path().join("lines.ndjson.stint-import");
    eventually("a noted progress", || async { state.exists() }).await;
    first.kill().await.unwrap();
    let output = against(&program, &arguments).await;
    assert!(output.status.success(), "{output:?}");
    assert!(!state.exists(), "a finished import leaves nothing behind");
    assert_eq!(lines(&results).len(), 3000);
    let exported = stdout(&against(&program, &["links", "export"]).await);
    assert_eq!(exported.lines().count(), 3000, "no line was imported twice, none was left out");
}

#[tokio::test]
async fn lines_that_are_refused_are_named_and_the_others_imported() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&dir.path().join("data")).await;
    let (input, results) = (dir.path().join("urls.txt"), dir.path().join("results.ndjson"));
    fs::write(&input, "# a comment\nhttps://example.com/1\n\njavascript:alert(1)\r\nhttps://example.com/2\r\n")
        .unwrap();
    let output =
        against(&program, &["links", "import", input.to_str().unwrap(), "--results", results.to_str().unwrap()]).await;
    let said = everything(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("2 created") && said.contains("1 refused") && said.contains("line 4"), "{said}");
    let found: Vec<(u64, u64)> =
        lines(&results).iter().map(|line| (line["line"].as_u64().unwrap(), line["status"].as_u64().unwrap())).collect();
    assert_eq!(found, [(2, 201), (4, 422), (5, 201)]);
}

/// What a refused command says: one line.
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    said
}

#[tokio::test]
async fn an_import_writes_neither_over_its_input_nor_over_results_of_before() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&dir.path().join("data")).await;
    let paths = ["urls.txt", "symbolic", "hard", "old.ndjson", "new"].map(|name| dir.path().join(name));
    let [input, symbolic, hard, old, _] = &paths;
    let text = "https://example.com/kept\n";
    fs::write(input, text).unwrap();
    fs::write(old, "{}\n").unwrap();
    std::os::unix::fs::symlink(input, symbolic).unwrap();
    fs::hard_link(input, hard).unwrap();
    let [input, symbolic, hard, old, new] = paths.each_ref().map(|path| path.to_str().unwrap());
    for flags in
        [["--results", input], ["--results", symbolic], ["--results", hard], ["--state", input], ["--state", hard]]
    {
        let output = against(&program, &[&["links", "import", input][..], &flags].concat()).await;
        assert_eq!(fs::read_to_string(input).unwrap(), text, "{flags:?}");
        let said = refusal(&output);
        assert!(said.contains("same file as the input") && said.contains(flags[0]), "{said}");
    }
    let one = refusal(&against(&program, &["links", "import", input, "--results", new, "--state", new]).await);
    assert!(one.contains("same file as --results") && !Path::new(new).exists(), "{one}");
    let full = refusal(&against(&program, &["links", "import", input, "--results", old]).await);
    assert!(full.contains(old) && full.contains("holds something already"), "{full}");
    assert_eq!(fs::read_to_string(old).unwrap(), "{}\n");
    assert!(against(&program, &["links", "import", input, "--results", new]).await.status.success());
    assert_eq!(lines(Path::new(new)).len(), 1);
}

#[tokio::test]
async fn codes_of_text_lines_are_refused_as_there_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&dir.path().join("data")).await;
    let input = dir.path().join("urls.txt");
    fs::write(&input, "https://example.com/a\n").unwrap();
    let import = ["links", "import", input.to_str().unwrap(), "--keep-codes"];
    for format in [&["--format", "text"][..], &[]] {
        let said = refusal(&against(&program, &[&import[..], format].concat()).await);
        assert!(said.contains("--keep-codes") && said.contains("NDJSON"), "{said}");
    }
    assert!(!dir.path().join("urls.txt.stint-import").exists());
    assert!(stdout(&against(&program, &["links", "export"]).await).is_empty(), "no link was made");
}

#[tokio::test]
async fn a_resumption_after_the_idempotency_keys_are_gone_names_the_lines_in_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&dir.path().join("data")).await;
    let (input, state) = (dir.path().join("urls.txt"), dir.path().join("urls.txt.stint-import"));
    let text = (0..3000).map(|n| format!("https://example.com/{n}")).collect::<Vec<_>>().join("\n");
    fs::write(&input, text).unwrap();
    let import = ["links", "import", input.to_str().unwrap(), "--jobs", "4"];
    let environment = [("STINT_SERVER", &program.base), ("STINT_KEY", &program.key)];
    let mut first = command(&import).envs(environment).spawn().unwrap();
    eventually("a noted progress", || async { state.exists() }).await;
    first.kill().await.unwrap();
    let mut noted: Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    noted["progress_unix_ms"] = 0.into();
    fs::write(&state, noted.to_string()).unwrap();
    let output = against(&program, &import).await;
    assert!(output.status.success(), "{output:?}");
    let line = noted["line"].as_u64().unwrap();
    let range = format!("lines {} to {}", line + 1, line + 1003);
    let said = String::from_utf8(output.stderr).unwrap();
    let warnings: Vec<&str> = said.lines().filter(|line| line.contains("imported twice")).collect();
    assert!(matches!(warnings[..], [warning] if warning.contains(&range)), "{range}: {said}");
}

#[tokio::test]
async fn a_stopped_node_s_data_is_exported_and_moved_with_its_codes() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let program = Program::start(&old).await;
    for (alias, title) in [("short1", "One"), ("a-long-alias", "Two")] {
        program
            .client()
            .create(&serde_json::json!({ "url": "https://example.com/", "alias": alias, "title": title }))
            .await;
    }
    let drawn = program.client().create(&serde_json::json!({ "url": "https://example.com/drawn" })).await;
    let refused = run(&["links", "export", "--data-dir", old.to_str().unwrap()], &[]).await;
    assert_eq!(refused.status.code(), Some(1), "its server still runs");
    assert_eq!(program.terminate().await, Some(0));

    let file = dir.path().join("links.ndjson");
    let export = ["links", "export", "--data-dir", old.to_str().unwrap(), "--output", file.to_str().unwrap()];
    assert!(run(&export, &[]).await.status.success());
    let program = Program::start(&new).await;
    let import = ["links", "import", file.to_str().unwrap(), "--keep-codes"];
    let output = against(&program, &import).await;
    assert!(output.status.success(), "{output:?}");
    for code in ["short1", "a-long-alias", drawn["code"].as_str().unwrap()] {
        assert!(program.client().location(code).await.starts_with("https://example.com/"));
    }
    assert_eq!(program.client().get("/api/v1/links/short1").await.json()["title"], "One");

    let missing = run(&["links", "export", "--data-dir", dir.path().join("none").to_str().unwrap()], &[]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(!dir.path().join("none").exists(), "a client makes no data directory");
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&dir.path().join("data")).await;
    let key = stdout(&against(&program, &["keys", "create", "--name", "laptop", "--scopes", "links:read"]).await);
    let client = program.client().with_key(Some(key.trim()));
    assert_eq!(client.get("/api/v1/links").await.status, 200);
    let listed = stdout(&against(&program, &["keys", "list"]).await);
    assert!(listed.contains("laptop") && listed.contains("links:read") && !listed.contains(key.trim()), "{listed}");
    assert!(against(&program, &["keys", "revoke", "1"]).await.status.success());
    eventually("the revocation", || async { client.get("/api/v1/links").await.status == 401 }).await;
    let unknown = against(&program, &["keys", "revoke", "77"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(String::from_utf8(unknown.stderr).unwrap().trim_end().lines().count(), 1);
}

#[tokio::test]
async fn the_cluster_and_the_health_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&dir.path().join("data")).await;
    let table = stdout(&against(&program, &["cluster", "status"]).await);
    assert!(table.contains("leader") && table.contains("links"), "{table}");
    let json = stdout(&against(&program, &["cluster", "status", "--json"]).await);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["leader"], 1);
    let url = format!("{}/readyz", program.admin);
    assert!(run(&["healthcheck", "--url", &url], &[]).await.status.success());
    assert_eq!(program.terminate().await, Some(0));
    let away = run(&["healthcheck", "--url", &url], &[]).await;
    assert_eq!(away.status.code(), Some(1));
    assert_eq!(String::from_utf8(away.stderr).unwrap().trim_end().lines().count(), 1);
}
