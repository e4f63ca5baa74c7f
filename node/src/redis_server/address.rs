//! Where Redis is: one server, or whichever one the Sentinels name; with credentials and TLS.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    TlsCertificates, Value,
};
use tokio::time::timeout;
use url::Url;

/// How long one Sentinel may take to answer before the next one is asked.
const ASKED_WITHIN: Duration = Duration::from_millis(200);
const SENTINEL_PORT: u16 = 26_379;

/// Where to dial.
#[derive(Debug)]
pub(super) struct Address {
    /// The server, or the Sentinels.
    nodes: Vec<(String, u16)>,
    sentinel: Option<Sentinel>,
    login: RedisConnectionInfo,
    has_tls: bool,
    /// Roots in PEM, instead of the system's.
    roots: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Sentinel {
    service: String,
    login: RedisConnectionInfo,
    /// The one that answered last is asked first.
    first: AtomicUsize,
}

impl Address {
    /// # Errors
    /// [`RedisError`], if the URL makes no sense or its file can't be read.
    pub(super) fn parse(text: &str) -> Result<Self, RedisError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| unusable("it has no scheme"))?;
        let (has_tls, is_sentinel) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            _ => return Err(unusable("its scheme is not redis, rediss, redis+sentinel or rediss+sentinel")),
        };
        let (nodes, url, service) = if is_sentinel { split_sentinels(rest)? } else { single(rest)? };
        let roots = match query(&url, "ca_file") {
            Some(path) => Some(std::fs::read(&path).map_err(|error| {
                RedisError::from((ErrorKind::InvalidClientConfig, "ca_file can't be read", format!("{path}: {error}")))
            })?),
            None => None,
        };
        let sentinel = service.map(|service| {
            let mut login = RedisConnectionInfo::default();
            if let Some(user) = query(&url, "sentinel_user") {
                login = login.set_username(user);
            }
            if let Some(password) = query(&url, "sentinel_password") {
                login = login.set_password(password);
            }
            Sentinel { service, login, first: AtomicUsize::new(0) }
        });
        let login = url.into_connection_info()?.redis_settings().clone();
        Ok(Self { nodes, sentinel, login, has_tls, roots })
    }

    /// A client of the server, or of the one that a Sentinel names.
    ///
    /// # Errors
    /// [`RedisError`], if no Sentinel names one.
    pub(super) async fn client(&self) -> Result<Client, RedisError> {
        let Some(sentinel) = &self.sentinel else { return self.client_of(&self.nodes[0], &self.login) };
        let first = sentinel.first.load(Ordering::Relaxed);
        let mut failed = RedisError::from((ErrorKind::EmptySentinelList, "no Sentinel was asked"));
        for turn in 0..self.nodes.len() {
            let at = (first + turn) % self.nodes.len();
            match timeout(ASKED_WITHIN, self.ask(&self.nodes[at], sentinel)).await {
                Ok(Ok(primary)) => {
                    sentinel.first.store(at, Ordering::Relaxed);
                    return self.client_of(&primary, &self.login);
                }
                Ok(Err(error)) => failed = error,
                Err(_) => failed = super::too_late(),
            }
        }
        Err(failed)
    }

    /// What a Sentinel names may be a replica for a moment: it is not written to.
    ///
    /// # Errors
    /// [`RedisError`], if the server isn't a primary.
    pub(super) async fn check_role(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        if self.sentinel.is_none() {
            return Ok(());
        }
        let role: Vec<Value> = redis::cmd("ROLE").query_async(connection).await?;
        let role: String = role.into_iter().next().map(redis::from_redis_value).transpose()?.unwrap_or_default();
        if role == "master" {
            Ok(())
        } else {
            Err((ErrorKind::Io, "the server that Sentinel names is a replica").into())
        }
    }

    async fn ask(&self, node: &(String, u16), sentinel: &Sentinel) -> Result<(String, u16), RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ASKED_WITHIN))
            .set_response_timeout(Some(ASKED_WITHIN));
        let client = self.client_of(node, &sentinel.login)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("get-master-addr-by-name").arg(&sentinel.service);
        let primary: Option<(String, u16)> = command.query_async(&mut connection).await?;
        primary.ok_or_else(|| (ErrorKind::MasterNameNotFoundBySentinel, "the Sentinels know no such service").into())
    }

    fn client_of(&self, (host, port): &(String, u16), login: &RedisConnectionInfo) -> Result<Client, RedisError> {
        let (host, port) = (host.clone(), *port);
        let addr = if self.has_tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let info = addr
            .into_connection_info()?
            .set_redis_settings(login.clone())
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        match &self.roots {
            Some(roots) if self.has_tls => {
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(roots.clone()) })
            }
            _ => Client::open(info),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        f.write_str(&nodes.join(","))?;
        self.sentinel.as_ref().map_or(Ok(()), |sentinel| write!(f, "/{}", sentinel.service))
    }
}

/// Nodes, the URL that login, database and options are read from, and the service that Sentinels are asked for.
type Parts = (Vec<(String, u16)>, Url, Option<String>);

fn single(rest: &str) -> Result<Parts, RedisError> {
    let url = as_redis(rest)?;
    let node = node(&url, 6379)?;
    Ok((vec![node], url, None))
}

fn split_sentinels(rest: &str) -> Result<Parts, RedisError> {
    let (authority, path) = rest.split_once('/').ok_or_else(|| unusable("it names no service"))?;
    let (login, hosts) = authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
    let nodes = hosts.split(',').map(|host| node(&as_redis(host)?, SENTINEL_PORT)).collect::<Result<Vec<_>, _>>()?;
    let end = path.find(['/', '?']).unwrap_or(path.len());
    let (service, rest) = path.split_at(end);
    if service.is_empty() {
        return Err(unusable("it names no service"));
    }
    let url = as_redis(&format!("{login}{}sentinel{rest}", if login.is_empty() { "" } else { "@" }))?;
    Ok((nodes, url, Some(service.to_owned())))
}

fn as_redis(rest: &str) -> Result<Url, RedisError> {
    Url::parse(&format!("redis://{rest}")).map_err(|error| {
        RedisError::from((ErrorKind::InvalidClientConfig, "the URL of Redis can't be used", error.to_string()))
    })
}

fn node(url: &Url, port: u16) -> Result<(String, u16), RedisError> {
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| unusable("it names no host"))?;
    // An IPv6 address is dialled without its brackets.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((host, url.port().unwrap_or(port)))
}

fn query(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn unusable(why: &str) -> RedisError {
    (ErrorKind::InvalidClientConfig, "the URL of Redis can't be used", why.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_one_server_and_of_sentinels_are_read() {
        for (url, shown, db, user, password) in [
            ("redis://localhost", "localhost:6379", 0, None, None),
            ("rediss://u:p%40x@[::1]:6380/2", "::1:6380", 2, Some("u"), Some("p@x")),
            ("redis://:secret@h/1", "h:6379", 1, None, Some("secret")),
            ("redis+sentinel://a,b:1/main", "a:26379,b:1/main", 0, None, None),
            ("rediss+sentinel://u:p@a:5,b/main/3?sentinel_password=q", "a:5,b:26379/main", 3, Some("u"), Some("p")),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.to_string(), shown, "{url}");
            assert_eq!(address.login.db(), db, "{url}");
            assert_eq!((address.login.username(), address.login.password()), (user, password), "{url}");
            assert_eq!(address.has_tls, url.starts_with("rediss"), "{url}");
        }
        let address = Address::parse("redis+sentinel://a/main?sentinel_user=s&sentinel_password=q%26").unwrap();
        let login = address.sentinel.unwrap().login;
        assert_eq!((login.username(), login.password()), (Some("s"), Some("q&")));
    }

    #[test]
    fn urls_that_lead_nowhere_are_refused_without_showing_the_password() {
        for url in [
            "redis:",
            "http://:secret@h",
            "redis://:secret@h:port",
            "redis://:secret@h/x",
            "redis+sentinel://:secret@h",
            "redis+sentinel://:secret@h/",
            "rediss://:secret@h?ca_file=/nowhere/ca.pem",
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{url}: {error}");
        }
    }
}
