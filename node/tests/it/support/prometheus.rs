//! A Prometheus of the test's own, with the rules of `dashboards/`, and the exporters of Postgres and Redis.

use std::fmt::Write as _;
use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::process::quiet;
use super::{Client, eventually, free_address};

/// Prometheus, running.
pub(crate) struct Prometheus {
    client: Client,
    _child: Child,
    _dir: TempDir,
}

/// An exporter, running.
pub(crate) struct Exporter {
    pub(crate) address: String,
    _child: Child,
}

impl Exporter {
    /// `prometheus-postgres-exporter`
    pub(crate) async fn of_postgres(url: &str) -> Self {
        Self::start("prometheus-postgres-exporter", &[], &[("DATA_SOURCE_NAME", url)]).await
    }

    /// `prometheus-redis-exporter`
    pub(crate) async fn of_redis(url: &str) -> Self {
        Self::start("prometheus-redis-exporter", &["--redis.addr", url], &[]).await
    }

    async fn start(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let address = free_address();
        let listen = format!("--web.listen-address={address}");
        let mut command = Command::new(program);
        command.args(arguments).arg(listen).envs(environment.iter().copied());
        let child = quiet(&mut command);
        let client = Client::new(format!("http://{address}"), None);
        eventually(program, || async { client.try_get("/metrics").await }).await;
        Self { address, _child: child }
    }
}

impl Prometheus {
    /// Starts it with a look at each target every second: `(job, addresses)`. Rules are those of `dashboards/rules`, but
    /// what they wait for before an alert fires is a second.
    pub(crate) async fn start(jobs: &[(&str, Vec<String>)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/rules");
        for name in ["recording.yml", "alerts.yml"] {
            let rule = std::fs::read_to_string(rules.join(name)).expect("the rules are part of the repository");
            std::fs::write(dir.path().join(name), impatient(&rule)).expect("the rules can be written");
        }
        let mut config = "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n\
                          rule_files: [recording.yml, alerts.yml]\nscrape_configs:\n"
            .to_owned();
        for (job, addresses) in jobs {
            let targets = addresses.join("', '");
            let _ = writeln!(config, "- {{job_name: {job}, static_configs: [{{targets: ['{targets}']}}]}}");
        }
        std::fs::write(dir.path().join("prometheus.yml"), config).expect("the configuration can be written");
        let address = free_address();
        let mut command = Command::new("prometheus");
        command.current_dir(dir.path()).args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        let child = quiet(command.arg(format!("--web.listen-address={address}")));
        let client = Client::new(format!("http://{address}"), None);
        eventually("Prometheus", || async { client.try_get("/-/ready").await }).await;
        Self { client, _child: child, _dir: dir }
    }

    /// The values that a query has now.
    pub(crate) async fn query(&self, query: &str) -> Result<Vec<f64>, String> {
        let path = format!("/api/v1/query?query={}", utf8_percent_encode(query, NON_ALPHANUMERIC));
        let answer = self.client.get(&path).await.json();
        if answer["status"] != "success" {
            return Err(answer.to_string());
        }
        let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        Ok(match answer["data"]["result"].as_array() {
            Some(result) if answer["data"]["resultType"] == "scalar" => number(&result[1]).into_iter().collect(),
            Some(series) => series.iter().filter_map(|series| number(&series["value"][1])).collect(),
            None => Vec::new(),
        })
    }

    /// The names of the alerts that fire.
    pub(crate) async fn firing(&self) -> Vec<(String, String)> {
        let answer = self.client.get("/api/v1/alerts").await.json();
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let label = |alert: &Value, name: &str| alert["labels"][name].as_str().map(str::to_owned);
        firing.filter_map(|alert| Some((label(alert, "alertname")?, label(alert, "severity")?))).collect()
    }
}

/// The rules as a test has time for them.
fn impatient(rules: &str) -> String {
    let line = |line: &str| {
        let indent = &line[..line.len() - line.trim_start().len()];
        match line.trim_start().split_once(": ") {
            Some((key @ ("for" | "interval" | "keep_firing_for"), _)) => format!("{indent}{key}: 1s"),
            _ => line.to_owned(),
        }
    };
    rules.lines().map(line).collect::<Vec<_>>().join("\n")
}
