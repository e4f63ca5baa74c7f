//! Mistakes at the start: one clear line each, and the right exit code.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::{DEADLINE, Program, command, run};

/// Runs `stint` with these arguments and environment and checks that it ends with `code` and one line on stderr.
pub(crate) async fn one_line(arguments: &[&str], environment: &[(&str, &str)], code: i32) -> String {
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
    sqlx::query(
        "UPDATE _sqlx_migrations SET version = 9999 WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
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

/// Starts `stint dev` on `data` and reads what it prints until its `curl` line.
async fn banner(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (tokio::process::Child, String) {
    let ports =
        ["dev", "--data-dir", data.to_str().unwrap(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut command = command(&[&ports[..], arguments].concat());
    let mut child = command.envs(environment.iter().copied()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let read = async {
        let mut banner = String::new();
        while !banner.contains("curl") {
            banner += &lines.next_line().await.unwrap().expect("it starts");
            banner.push('\n');
        }
        banner
    };
    let banner = tokio::time::timeout(DEADLINE, read).await.expect("it says that it is ready");
    (child, banner)
}

/// The status that the banner's `curl` line is answered with, and the line.
async fn status_of_curl(banner: &str) -> (String, String) {
    let line = banner.lines().find(|line| line.contains("curl")).unwrap().trim().to_owned();
    let shell = format!("{line} -o /dev/null -w '%{{http_code}}'");
    let output = tokio::process::Command::new("sh").args(["-c", &shell]).output().await.unwrap();
    (String::from_utf8(output.stdout).unwrap(), line)
}

#[tokio::test]
async fn the_printed_curl_line_works_with_a_configured_key_and_with_a_quote_in_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let key = [("STINT_ADMIN_KEY", "an-admin-key-of-its-own")];
    let (_child, text) = banner(&dir.path().join("configured"), &[], &key).await;
    let (status, line) = status_of_curl(&text).await;
    assert!(status.starts_with("20") && !line.contains("Authorization"), "{status} {line}");

    let settings = [key[0], ("STINT_AUTH__ANONYMOUS_CREATE", "false")];
    let (_child, text) = banner(&dir.path().join("closed"), &[], &settings).await;
    assert!(text.contains("Bearer <your admin key>") && text.contains("put in your admin key"), "{text}");
    assert!(!text.contains(key[0].1), "a configured key is not shown");
    let (status, _) = status_of_curl(&text.replace("<your admin key>", key[0].1)).await;
    assert!(status.starts_with("20"), "{status}");

    let quoted = dir.path().join("it's $HOME");
    Program::start(&quoted).await.kill().await;
    let (_child, text) = banner(&quoted, &[], &[settings[1]]).await;
    let (status, line) = status_of_curl(&text).await;
    assert!(status.starts_with("20"), "{status} {line}");
}

#[tokio::test]
async fn what_dev_lacks_is_refused_by_config_check_too() {
    for (name, value, key) in [
        ("DATABASE_URL", "postgres://localhost/stint", "database.primary_urls"),
        ("REDIS_URL", "redis://localhost", "cache.redis_url"),
        ("STINT_IDS__SOURCE", "snowflake", "ids.source"),
    ] {
        for arguments in [&["dev"][..], &["config", "check"]] {
            let line = one_line(arguments, &[(name, value)], 64).await;
            assert!(line.starts_with("configuration: ") && line.contains(key) && line.contains(name), "{line}");
        }
    }
}

#[tokio::test]
async fn a_variable_that_is_not_utf_8_is_one_line_if_it_is_ours_and_nothing_if_not() {
    let foreign = OsStr::from_bytes(b"caf\xe9");
    let output = command(&["config", "check"]).env("CAFE", foreign).env(foreign, "x").output().await.unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"ok\n".as_slice()), "{output:?}");
    for name in ["STINT_HTTP__LISTEN", "STINT_ADMIN_KEY_FILE", "DATABASE_URL"] {
        for arguments in [&["config", "check"][..], &["links", "export"]] {
            let output = command(arguments).env(name, foreign).output().await.unwrap();
            let line = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), line.lines().count()), (Some(64), 1), "{line}");
            assert!(line.contains(name) && line.contains("UTF-8"), "{line}");
        }
    }
}

#[tokio::test]
async fn an_export_of_a_data_directory_has_the_short_urls_of_its_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let program = Program::start(&data).await;
    let code = program.client().create(&serde_json::json!({ "url": "https://example.com/" })).await["code"].clone();
    assert_eq!(program.terminate().await, Some(0));
    let export = ["links", "export", "--data-dir", data.to_str().unwrap()];
    for (name, value, base) in [
        ("STINT_HTTP__PUBLIC_URL", "https://sho.rt", "https://sho.rt"),
        ("STINT_HTTP__LISTEN", "0.0.0.0:8099", "http://127.0.0.1:8099"),
    ] {
        let output = run(&export, &[(name, value)]).await;
        let link: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one link is exported");
        assert_eq!(link["short_url"], format!("{base}/{}", code.as_str().unwrap()));
    }
}

#[tokio::test]
async fn a_lost_or_empty_secret_is_one_line_and_exit_1() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let arguments =
        ["dev", "--data-dir", data.to_str().unwrap(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    Program::start(&data).await.kill().await;
    let code_key = fs::read(data.join("code.key")).unwrap();
    fs::remove_file(data.join("code.key")).unwrap();
    fs::remove_file(data.join("admin.key")).unwrap();
    let line = one_line(&arguments, &[], 1).await;
    assert!(line.contains("code.key is missing from") && line.contains("backup"), "{line}");
    assert!(!data.join("code.key").exists() && !data.join("admin.key").exists(), "nothing was written");
    fs::write(data.join("code.key"), code_key).unwrap();
    fs::write(data.join("admin.key"), "").unwrap();
    let line = one_line(&arguments, &[], 1).await;
    assert!(line.contains("admin.key"), "{line}");
}
