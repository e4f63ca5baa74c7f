//! Mutual TLS between the nodes, with certificates made here: who has none that fits is refused, and a log says why.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::json;

use super::orders;
use crate::support::{Cluster, Program, draw, eventually};

/// An authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What a node is told: variables and the paths of its files.
type Settings = Vec<(String, String)>;

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for this name, written beside its key and the authority that is trusted.
    fn certify(&self, trusted: &Self, cluster: &Cluster, file: &str, name: &str, last_year: i32) -> Settings {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let files = [("CERT", certificate), ("KEY", key.serialize_pem()), ("CA", trusted.pem.clone())];
        let write = |(what, pem): (&str, String)| {
            let path: PathBuf = cluster.dir.path().join(format!("{file}.{what}.pem"));
            std::fs::write(&path, pem).unwrap();
            (format!("STINT_CLUSTER__TLS__{what}"), path.to_str().unwrap().to_owned())
        };
        files.map(write).to_vec()
    }
}

/// A cluster over TLS, and its authority.
async fn secured() -> (Cluster, Authority) {
    let (authority, mut cluster) = (Authority::new(), Cluster::of(3));
    let settings = authority.certify(&authority, &cluster, "nodes", "127.0.0.1", 2100);
    cluster.environment.extend(settings);
    (cluster.founded().await, authority)
}

async fn serve(cluster: &Cluster, number: u64, settings: &Settings) -> Program {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    cluster.serve(number, &settings).await
}

/// The shortener has no ids, and says so.
async fn has_no_ids(shortener: &Program) -> String {
    let refused = shortener.client().post("/api/v1/namespaces", &json!({ "name": "orders" })).await;
    refused.problem(503, "unavailable");
    let ready = shortener.admin_client().get("/readyz").await;
    assert_eq!(ready.status, 503);
    ready.text().to_owned()
}

#[tokio::test]
async fn a_cluster_and_a_shortener_work_over_mutual_tls_and_the_secret_is_still_needed() {
    let (mut cluster, _) = secured().await;
    let shortener = cluster.serve(1, &[]).await;
    orders(&shortener.client()).await;
    draw(&shortener.client(), 1_000).await;
    let leader = cluster.led().await;
    cluster.take(leader).kill().await;
    cluster.led().await;
    draw(&shortener.client(), 100_000).await;
    let other = cluster.serve(2, &[("STINT_CLUSTER_SECRET", "another-secret-long-enough")]).await;
    eventually("it says that the secret is wrong", || async {
        has_no_ids(&other).await.contains("the cluster secret is not that of node")
    })
    .await;
}

#[tokio::test]
async fn a_client_without_a_certificate_or_with_a_wrong_one_is_refused_and_a_log_says_why() {
    let (cluster, authority) = secured().await;
    let plain: Settings =
        ["CERT", "KEY", "CA"].map(|what| (format!("STINT_CLUSTER__TLS__{what}"), String::new())).to_vec();
    let expired = authority.certify(&authority, &cluster, "expired", "127.0.0.1", 2001);
    let stranger = Authority::new().certify(&authority, &cluster, "stranger", "127.0.0.1", 2100);
    for (number, settings, reason) in [
        (1, plain, "received corrupt message of type InvalidContentType"),
        (2, expired, "invalid peer certificate: certificate expired"),
        (3, stranger, "invalid peer certificate: "),
    ] {
        let shortener = serve(&cluster, number, &settings).await;
        has_no_ids(&shortener).await;
        cluster.logged(&format!("serve-{number}"), &["no allocator answers"]).await;
        cluster.logged("1", &["WARN", "a TLS handshake failed", reason]).await;
    }
}

#[tokio::test]
async fn a_server_with_another_name_or_authority_is_refused_by_its_clients() {
    let (authority, mut cluster) = (Authority::new(), Cluster::of(1));
    let named = authority.certify(&authority, &cluster, "named", "allocator-1.example", 2100);
    cluster.environment.extend(named.clone());
    let cluster = {
        // `stint cluster status` can't reach it either, which is what is shown.
        cluster.start(1, &["--bootstrap"]).await;
        cluster
    };
    let output = cluster.command(&["status"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("not valid for name"), "{said}");
    let trusts_another = authority.certify(&Authority::new(), &cluster, "distrust", "127.0.0.1", 2100);
    for (number, settings, reason) in
        [(1, named, "not valid for name"), (2, trusts_another, "invalid peer certificate")]
    {
        let shortener = serve(&cluster, number, &settings).await;
        let ready = has_no_ids(&shortener).await;
        assert!(ready.contains(reason), "{ready}");
        cluster.logged(&format!("serve-{number}"), &["no allocator answers", reason]).await;
    }
}
