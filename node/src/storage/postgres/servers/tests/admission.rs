//! Who answers and refuses at the start, and who is only away; passwords and certificates.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::rig::{eventually, name, primary, url};
use super::*;
use crate::storage::test_postgres::Postgres;

const PASSWORD: &str = "p@ss:/?#% w'rd";
const ENCODED: &str = "p%40ss%3A%2F%3F%23%25%20w%27rd";

async fn look(url: &str) -> Result<Vec<LookError>, LookError> {
    let primary_urls = vec![url.to_owned()];
    let options =
        ServerOptions { primary_urls, replica_urls: Vec::new(), pool_size: 1, max_replica_lag: MAX_REPLICA_LAG };
    Servers::first_look(&options).await
}

/// The refusal of a server that this URL leads to, in words.
async fn refusal(url: &str) -> String {
    let error = look(url).await.unwrap_err();
    assert!(error.is_refusal());
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:") || text.contains("localhost:"), "{text}");
    assert!(!text.contains("p@ss") && !text.contains("p%40ss") && !text.contains('\n'), "{text}");
    text
}

/// Waits until the server has read its new rules, which refuse this URL.
async fn refuses(url: &str) {
    eventually(|| format!("{url} is refused"), async || look(url).await.is_err()).await;
}

fn contains(text: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} are not all in {text:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_is_told_from_one_that_is_away() {
    let server = primary();
    server.execute(&format!("ALTER ROLE app PASSWORD '{}'", PASSWORD.replace('\'', "''")));
    let rules = "host all postgres 127.0.0.1/32 trust\nhost postgres,nowhere app 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(server.data().join("pg_hba.conf"), rules).unwrap();
    server.execute("SELECT pg_reload_conf()");
    let with = |password: &str, rest: &str| format!("postgres://app:{password}@{}/{rest}", name(&server));

    refuses(&url(&server)).await;
    assert_eq!(look(&with(ENCODED, "postgres")).await, Ok(Vec::new()));
    contains(
        &refusal(&with("p%40ss-wrong", "postgres")).await,
        &["password authentication failed", "%40 %3A %2F %3F %23 %25"],
    );
    contains(&refusal(&with(ENCODED, "nowhere")).await, &["\"nowhere\" does not exist", "create the database"]);
    contains(&refusal(&with(ENCODED, "template1")).await, &["no pg_hba.conf entry"]);
    contains(&refusal(&with(ENCODED, "postgres?sslmode=require")).await, &["does not support TLS", "check sslmode"]);
    let absent = with(ENCODED, "postgres?sslmode=verify-full&sslrootcert=/nowhere/ca.pem");
    contains(&refusal(&absent).await, &["sslrootcert \"/nowhere/ca.pem\" can't be read"]);
    server.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC");
    contains(&refusal(&with(ENCODED, "postgres")).await, &["permission denied", "EXECUTE on pg_control_system()"]);

    server.pause();
    let away = look(&with(ENCODED, "postgres")).await.unwrap();
    assert!(away.len() == 1 && !away[0].is_refusal(), "{away:?}");
    server.resume();
    server.crash();
    let away = look(&with("p%40ss-wrong", "postgres")).await.unwrap();
    contains(&away[0].to_string(), &[&name(&server), "is away", "refused"]);
}

/// Gives the server a certificate for this name; answers the authority's, to trust.
fn certify(server: &Postgres, subject: &str) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![subject.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let owner = std::fs::metadata(server.data()).unwrap();
    for (file, pem) in [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())] {
        let path = server.data().join(file);
        std::fs::write(&path, pem).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    authority
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_checked_as_the_url_says() {
    let server = primary();
    let dir = tempfile::tempdir().unwrap();
    let write = |file: &str, pem: String| {
        let path = dir.path().join(file);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let stranger = write("stranger.pem", certify(&server, "127.0.0.1"));
    let authority = write("authority.pem", certify(&server, "127.0.0.1"));
    server.configure("ssl = on\n");
    server.crash();
    server.launch();
    let rules = "host all postgres 127.0.0.1/32 trust\nhostssl all app 127.0.0.1/32 trust\n";
    std::fs::write(server.data().join("pg_hba.conf"), rules).unwrap();
    server.execute("SELECT pg_reload_conf()");

    let to = |host: &str, query: &str| format!("postgres://app@{host}:{}/postgres?{query}", server.port());
    refuses(&to("127.0.0.1", "sslmode=disable")).await;
    contains(&refusal(&to("127.0.0.1", "sslmode=disable")).await, &["no pg_hba.conf entry", "sslmode"]);
    for query in [
        String::new(),
        "sslmode=prefer".to_owned(),
        "sslmode=require".to_owned(),
        format!("sslmode=verify-ca&sslrootcert={authority}"),
        format!("sslmode=verify-full&sslrootcert={authority}"),
    ] {
        assert_eq!(look(&to("127.0.0.1", &query)).await, Ok(Vec::new()), "{query}");
    }
    let named = look(&to("localhost", &format!("sslmode=verify-ca&sslrootcert={authority}"))).await;
    assert_eq!(named, Ok(Vec::new()), "verify-ca doesn't look at the name");
    for (host, query) in [
        ("localhost", format!("sslmode=verify-full&sslrootcert={authority}")),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={stranger}")),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={stranger}")),
        ("127.0.0.1", "sslmode=verify-full".to_owned()),
    ] {
        contains(&refusal(&to(host, &query)).await, &["certificate", "check sslmode and sslrootcert"]);
    }
}
