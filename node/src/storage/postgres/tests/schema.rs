//! Schemas that are missing, older or newer, and servers that are away or refuse: one clear line each.

use std::error::Error as _;

use super::*;
use crate::storage::test_postgres::fresh_database;

async fn checked(store: &PgStore) -> Result<(), SchemaError> {
    check_schema(&store.servers.primary().unwrap().pool).await
}

#[track_caller]
fn says(error: &SchemaError, parts: &[&str]) {
    let text = error.to_string();
    assert!(parts.iter().all(|part| text.contains(part)) && !text.contains('\n'), "{text}");
}

#[tokio::test]
async fn a_schema_is_made_once_however_many_migrate() {
    let url = fresh_database();
    let error = checked(&open(&url)).await.unwrap_err();
    assert!(matches!(error, SchemaError::Missing { .. }) && !error.is_away(), "{error:?}");
    says(&error, &["no schema", "`stint migrate`", url.rsplit('/').next().unwrap()]);
    let reports = futures_util::future::join_all((0..3).map(|_| migrate(&url))).await;
    let newest = reports[0].as_ref().unwrap().now;
    assert!(newest >= 1 && reports.iter().all(|report| report.as_ref().unwrap().now == newest));
    assert_eq!(migrate(&url).await.unwrap().before, Some(newest));
    checked(&open(&url)).await.unwrap();
}

#[tokio::test]
async fn an_older_schema_names_the_repair() {
    let (store, ()) = fresh().await;
    run(&store, "DELETE FROM _sqlx_migrations").await;
    run(
        &store,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (0, '', true, '', 0)",
    )
    .await;
    let error = checked(&store).await.unwrap_err();
    assert!(matches!(error, SchemaError::Older { version: 0, .. }), "{error:?}");
    says(&error, &["`stint migrate`"]);
}

#[tokio::test]
async fn a_newer_schema_is_fine_until_it_leaves_this_program_behind() {
    let url = database();
    let store = open(&url);
    run(
        &store,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', true, '', 0)",
    )
    .await;
    checked(&store).await.unwrap();
    let report = migrate(&url).await.unwrap();
    assert_eq!((report.before, report.now), (Some(9999), 9999));

    run(&store, "UPDATE settings SET value = '9998' WHERE name = 'schema_min_version'").await;
    for error in [checked(&store).await.unwrap_err(), migrate(&url).await.unwrap_err()] {
        assert!(matches!(error, SchemaError::Newer { version: 9999, .. }), "{error:?}");
        says(&error, &["9999", "newer version of Stint"]);
    }
}

#[tokio::test]
async fn a_schema_under_the_same_number_that_is_not_the_same_is_refused() {
    let url = database();
    let store = open(&url);
    run(&store, "UPDATE _sqlx_migrations SET checksum = 'another' WHERE version = 2").await;
    for error in [checked(&store).await.unwrap_err(), migrate(&url).await.unwrap_err()] {
        assert!(matches!(error, SchemaError::Foreign { version: 2, .. }) && !error.is_away(), "{error:?}");
        says(&error, &["a schema 2 that no release of Stint made", "empty database"]);
    }
}

#[tokio::test]
async fn a_server_that_refuses_and_one_that_is_away_are_told_apart() {
    shared().execute("CREATE ROLE locked_out NOLOGIN PASSWORD 'secret'");
    let refusing = shared().url("postgres").replace("postgres@", "locked_out:secret@");
    let error = migrate(&refusing).await.unwrap_err();
    assert!(matches!(error, SchemaError::Credentials { .. }) && !error.is_away(), "{error:?}");
    says(&error, &["locked_out", "password"]);
    assert!(!format!("{error}: {}", error.source().unwrap()).contains("secret"));

    let error = migrate(&shared().url("nowhere")).await.unwrap_err();
    assert!(matches!(error, SchemaError::NoDatabase { .. }) && !error.is_away(), "{error:?}");
    says(&error, &["/nowhere"]);

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://u:secret@127.0.0.1:{port}/stint");
    for error in [migrate(&url).await.unwrap_err(), checked(&open(&url)).await.unwrap_err()] {
        assert!(error.is_away(), "{error:?}");
        says(&error, &[&format!("127.0.0.1:{port}/stint")]);
    }
    assert!(matches!(migrate("no url").await.unwrap_err(), SchemaError::Url(_)));
}
