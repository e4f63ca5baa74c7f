//! Where the servers are, and whether they can be used at all: checked before the load begins, so that a mistake is
//! one line and not ten thousand failed requests.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reqwest::{Certificate, Client, Url};

use crate::cli::{Options, ScenarioName};
use crate::verify::metrics::Snapshot;
use crate::wire::{Api, Reply, chain, client_builder};

/// How long a server may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The client of all users: it follows no redirects and trusts `--ca-file` too.
pub(crate) fn client(options: &Options) -> anyhow::Result<Client> {
    let builder = || client_builder().timeout(TIMEOUT);
    let Some(path) = &options.ca_file else {
        // Without the system's certificates there is no `https`, but still `http`.
        return builder()
            .build()
            .or_else(|_| builder().tls_certs_only([]).build())
            .context("the HTTP client can't be made");
    };
    let pem = std::fs::read(path).with_context(|| format!("--ca-file {} can't be read", path.display()))?;
    let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    ensure!(!certificates.is_empty(), "--ca-file {} holds no certificate in PEM form", path.display());
    let merged = builder().tls_certs_merge(certificates.clone()).build();
    let built = merged.or_else(|_| builder().tls_certs_only(certificates).build());
    built.with_context(|| format!("--ca-file {} can't be used", path.display()))
}

/// The API key, if there is one.
pub(crate) fn key(options: &Options) -> anyhow::Result<Option<String>> {
    let key = match &options.key_file {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            Some(text.with_context(|| format!("--key-file {} can't be read", path.display()))?)
        }
        None => options.key.clone(),
    };
    let Some(key) = key.map(|key| key.trim().to_owned()) else { return Ok(None) };
    ensure!(!key.is_empty() && key.chars().all(|c| c.is_ascii_graphic()), "the API key is empty or not in one line");
    Ok(Some(key))
}

/// The targets' base URLs without a slash at the end.
pub(crate) fn bases(options: &Options) -> anyhow::Result<Vec<String>> {
    options.targets.iter().map(|target| base(target)).collect()
}

fn base(target: &str) -> anyhow::Result<String> {
    let url = http_url(target, "--target")?;
    ensure!(url.query().is_none() && url.fragment().is_none(), "--target {target} must end with its host or path");
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The metrics pages; a URL without a path means `/metrics`.
pub(crate) async fn metrics_pages(options: &Options) -> anyhow::Result<Vec<Url>> {
    let mut pages = Vec::new();
    for text in &options.metrics_urls {
        let mut url = http_url(text, "--metrics-url")?;
        if url.path() == "/" {
            url.set_path("/metrics");
        }
        pages.extend(at_all_addresses(url).await);
    }
    Ok(pages)
}

/// A name that stands for several nodes, as that of a scaled service does, is one page for each of them. Only IPv4: a
/// node that has an IPv6 address as well would count twice.
async fn at_all_addresses(url: Url) -> Vec<Url> {
    let (Some(name), Some(port), "http") = (url.domain(), url.port_or_known_default(), url.scheme()) else {
        return vec![url];
    };
    // A name that can't be resolved fails when its page is read.
    let resolved = tokio::net::lookup_host((name, port)).await.into_iter().flatten();
    let addresses: BTreeSet<IpAddr> = resolved.map(|address| address.ip()).filter(IpAddr::is_ipv4).collect();
    if addresses.len() < 2 {
        return vec![url];
    }
    let at = |address| {
        let mut page = url.clone();
        // An http URL takes any address.
        page.set_ip_host(address).is_ok().then_some(page)
    };
    addresses.into_iter().filter_map(at).collect()
}

fn http_url(text: &str, option: &str) -> anyhow::Result<Url> {
    let url: Url = text.parse().with_context(|| format!("{option} {text} is no URL"))?;
    ensure!(
        matches!(url.scheme(), "http" | "https") && url.has_host(),
        "{option} {text} must begin with http:// or https://"
    );
    Ok(url)
}

/// Every target is a Stint that lets us do what the scenarios do.
pub(crate) async fn check(
    api: &Api,
    bases: &[String],
    scenarios: &[ScenarioName],
    namespace: &str,
) -> anyhow::Result<()> {
    for base in bases {
        let response = api.client.get(format!("{base}/health")).send().await;
        let health = response.map_err(|error| unreachable(base, error))?;
        let status = health.status().as_u16();
        ensure!(matches!(status, 200 | 503), "{base} is no Stint: GET /health answers {status}");
        if scenarios.iter().any(|&scenario| scenario != ScenarioName::Ids) {
            check_create(api, base).await?;
        }
    }
    if scenarios.contains(&ScenarioName::Ids) {
        make_namespace(api, &bases[0], namespace).await?;
    }
    Ok(())
}

/// A create that is refused for its body, not for who sent it.
async fn check_create(api: &Api, base: &str) -> anyhow::Result<()> {
    let reply = Reply::to(api.create_nothing(base)).await.map_err(|fault| anyhow::anyhow!("{base}: {fault}"))?;
    match (reply.status, api.has_key()) {
        (400 | 422, _) => Ok(()),
        (401, true) => bail!("{base} doesn't know the API key (401); it is given by --key-file, --key or STINT_KEY"),
        (401, false) => bail!("{base} lets nobody create links without an API key (401): give --key-file or STINT_KEY"),
        (403, _) => bail!("the API key may not create links at {base} (403): it needs the scope links:write"),
        (status, _) => bail!("{base} can't be used: POST /api/v1/links answers {status} ({})", reply.complaint()),
    }
}

/// The namespace of the scenario `ids`, if it isn't there.
async fn make_namespace(api: &Api, base: &str, name: &str) -> anyhow::Result<()> {
    let reply = Reply::to(api.namespace(base, name)).await.map_err(|fault| anyhow::anyhow!("{base}: {fault}"))?;
    match reply.status {
        200 | 201 => Ok(()),
        401 | 403 => bail!(
            "the scenario `ids` makes the namespace `{name}`, which needs an API key with the scope admin ({} from \
             {base}): give --key-file or STINT_KEY",
            reply.status
        ),
        status => bail!("the namespace `{name}` can't be made: {base} answers {status} ({})", reply.complaint()),
    }
}

fn unreachable(base: &str, error: reqwest::Error) -> anyhow::Error {
    let cause = chain(&error.without_url());
    if cause.contains("certificate") {
        return anyhow::anyhow!("the certificate of {base} isn't trusted: name its CA with --ca-file ({cause})");
    }
    anyhow::anyhow!("no answer from {base}: is --target right, and does the server run? ({cause})")
}

/// What all metrics pages say now.
pub(crate) async fn scrape(client: &Client, pages: &[Url]) -> anyhow::Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    for page in pages {
        let reply = Reply::to(client.get(page.clone())).await;
        let reply = reply.map_err(|fault| anyhow::anyhow!("--metrics-url {page}: {fault}"))?;
        ensure!(reply.status == 200, "--metrics-url {page} answers {}", reply.status);
        let text = String::from_utf8_lossy(&reply.body);
        let node = Snapshot::parse(&text)
            .map_err(|line| anyhow::anyhow!("--metrics-url {page} is no Prometheus text: `{line:.60}`"))?;
        ensure!(node.least("stint_build_info", &[]).is_some(), "--metrics-url {page} is no page of Stint's metrics");
        snapshot.add(node);
    }
    Ok(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_have_no_slash_at_the_end() {
        assert_eq!(base("http://a:8080/").unwrap(), "http://a:8080");
        assert_eq!(base("https://a/x/").unwrap(), "https://a/x");
        for wrong in ["a:8080", "ftp://a", "http://", "http://a/?b", "127.0.0.1"] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }
}
