//! Mistakes at the start: one clear line each, and the right exit code.

use std::fs;

use crate::support::{Program, run};

/// Runs `stint` with these arguments and environment and checks that it ends with `code` and one line on stderr.
async fn one_line(arguments: &[&str], environment: &[(&str, &str)], code: i32) -> String {
    let output = run(arguments, environment).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty());
    stderr
}

#[tokio::test]
async fn a_wrong_environment_variable_is_one_line_and_exit_64() {
    for (name, value, hints) in [
        ("STINT_HTTP__LISEN", "127.0.0.1:0", ["STINT_HTTP__LISEN", "http.listen"]),
        ("STINT_HTTP__LISTEN", "80a80", ["STINT_HTTP__LISTEN", "80a80"]),
        ("STINT_HTTP__REDIRECT_STATUS", "418", ["STINT_HTTP__REDIRECT_STATUS", "302"]),
        ("STINT_CODE_KEY", "short", ["codes.key", "32"]),
        ("STINT_CODE_KEY_FILE", "/no/such/file", ["/no/such/file", "STINT_CODE_KEY_FILE"]),
        ("STINT_CACHE__L1_TTL", "2h", ["cache.l1_ttl", "60"]),
    ] {
        let line = one_line(&["dev"], &[(name, value)], 64).await;
        for hint in hints {
            assert!(line.contains(hint), "{hint} is not in {line}");
        }
    }
}

#[tokio::test]
async fn a_wrong_flag_or_file_is_exit_64() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stint.toml");
    let path = file.to_str().unwrap();
    let line = one_line(&["--config", path, "dev"], &[], 64).await;
    assert!(line.contains(path), "{line}");
    fs::write(&file, "[http]\nlisten_on = 1\n").unwrap();
    let line = one_line(&["--config", path, "config", "check"], &[], 64).await;
    assert!(line.contains("http.listen_on") && line.contains(path), "{line}");
    let output = run(&["dev", "--no-such-flag"], &[]).await;
    assert_eq!(output.status.code(), Some(64));
}

#[tokio::test]
async fn a_port_in_use_is_one_line_and_exit_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let arguments =
        ["dev", "--data-dir", data.to_str().unwrap(), "--listen", &address, "--admin-listen", "127.0.0.1:0"];
    let line = one_line(&arguments, &[], 1).await;
    assert!(line.contains(&address) && line.contains("http.listen") && line.contains("in use"), "{line}");
    assert!(!data.exists(), "nothing was touched");
}

#[tokio::test]
async fn a_data_directory_of_a_newer_version_is_one_line_and_exit_1() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let program = Program::start(&data).await;
    assert_eq!(program.terminate().await, Some(0));
    let arguments =
        ["dev", "--data-dir", data.to_str().unwrap(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    fs::write(data.join("FORMAT"), "99\n").unwrap();
    let line = one_line(&arguments, &[], 1).await;
    assert!(line.contains("newer version") && line.contains("99"), "{line}");
    fs::write(data.join("FORMAT"), "1\n").unwrap();
    let database = sqlx::sqlite::SqliteConnectOptions::new().filename(data.join("stint.db"));
    let mut connection = sqlx::ConnectOptions::connect(&database).await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET version = 9999").execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    let line = one_line(&arguments, &[], 1).await;
    assert!(line.contains("newer version") && line.contains("stint.db"), "{line}");
}

#[tokio::test]
async fn a_data_directory_that_can_not_be_used_is_one_line_and_exit_1() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    fs::write(&file, "").unwrap();
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let start = |data: String| async move {
        let arguments = [&["dev", "--data-dir", &data], &ports[..]].concat();
        one_line(&arguments, &[], 1).await
    };
    let line = start(file.join("data").to_str().unwrap().to_owned()).await;
    assert!(line.contains("a-file/data"), "{line}");
    let line = start(dir.path().to_str().unwrap().to_owned()).await;
    assert!(line.contains("not a data directory of Stint"), "{line}");

    let data = dir.path().join("broken");
    Program::start(&data).await.kill().await;
    fs::write(data.join("stint.db"), "not a database, but long enough to be looked at".repeat(100)).unwrap();
    let _ = fs::remove_file(data.join("stint.db-wal"));
    let line = start(data.to_str().unwrap().to_owned()).await;
    assert!(line.contains("stint.db"), "{line}");
}

#[tokio::test]
async fn the_printed_curl_line_works_as_printed() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&dir.path().join("data")).await;
    let line = program.banner.lines().find(|line| line.contains("curl")).unwrap().trim().to_owned();
    assert!(line.contains(&program.key) && program.banner.contains("shown this once"), "{}", program.banner);
    let output = tokio::process::Command::new("sh").args(["-c", &line]).output().await.unwrap();
    let created: serde_json::Value = serde_json::from_slice(&output.stdout).expect("curl prints the link");
    assert_eq!(created["url"], "https://example.com/");
}

#[tokio::test]
async fn config_show_masks_secrets_and_config_check_says_ok() {
    let key = "000102030405060708090a0b0c0d0e0f";
    let output = run(&["config", "show"], &[("STINT_CODE_KEY", key), ("STINT_HTTP__DRAIN_DELAY", "7s")]).await;
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(!shown.contains(key) && shown.contains("***"), "{shown}");
    assert!(shown.contains("7s") && shown.contains("STINT_HTTP__DRAIN_DELAY"), "{shown}");
    let output = run(&["config", "check"], &[]).await;
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"ok\n".as_slice()));
}
