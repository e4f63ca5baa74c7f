//! Loading, with the environment and the files as values.

mod problems;
mod roles;
mod schema;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::*;

/// Files by path.
pub(super) struct Files(BTreeMap<PathBuf, String>);

impl ReadFile for Files {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Everything that a configuration is made of.
#[derive(Default)]
pub(super) struct Case<'a> {
    pub(super) role: Option<Role>,
    pub(super) file: Option<&'a str>,
    pub(super) files: &'a [(&'a str, &'a str)],
    pub(super) environment: &'a [(&'a str, &'a str)],
    pub(super) flags: &'a [(&'static str, &'static str, &'a str)],
}

impl Case<'_> {
    pub(super) fn try_load(&self) -> Result<Loaded, ConfigError> {
        let config_file = self.file.map(|text| (PathBuf::from("/etc/stint.toml"), text.to_owned()));
        let other_files = self.files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned()));
        let files = Files(config_file.into_iter().chain(other_files).collect());
        let flag =
            |(flag, key, value): &(&'static str, &'static str, &str)| Flag { flag, key, value: (*value).to_owned() };
        let flags: Vec<_> = self.flags.iter().map(flag).collect();
        let file = self.file.map(|_| Path::new("/etc/stint.toml"));
        let inputs = Inputs { role: self.role.unwrap_or(Role::Dev), file, flags: &flags, files: &files };
        load(inputs, self.environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    pub(super) fn load(&self) -> Loaded {
        self.try_load().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The problems, as printed.
    pub(super) fn problems(&self) -> Vec<String> {
        let error = self.try_load().expect_err("this configuration has a problem");
        error.to_string().lines().map(ToOwned::to_owned).collect()
    }
}

pub(super) fn environment<'a>(environment: &'a [(&'a str, &'a str)]) -> Case<'a> {
    Case { environment, ..Case::default() }
}

fn listen(case: &Case<'_>) -> String {
    case.load().config.http.listen.to_string()
}

#[test]
fn each_layer_beats_the_one_below() {
    let file = Some("[http]\nlisten = \"127.0.0.1:2\"");
    let variables = &[("STINT_HTTP__LISTEN", "127.0.0.1:3")];
    let flags = &[("--listen", "http.listen", "127.0.0.1:4")];
    assert_eq!(listen(&Case::default()), "127.0.0.1:8080");
    assert_eq!(listen(&Case { role: Some(Role::Serve), ..Case::default() }), "0.0.0.0:8080");
    assert_eq!(listen(&Case { role: Some(Role::Serve), file, ..Case::default() }), "127.0.0.1:2");
    assert_eq!(listen(&Case { file, environment: variables, ..Case::default() }), "127.0.0.1:3");
    assert_eq!(listen(&Case { file, environment: variables, flags, ..Case::default() }), "127.0.0.1:4");
}

#[test]
fn layers_are_merged_key_by_key() {
    let case = Case {
        file: Some("[http]\nredirect_status = 301\nmax_connections = 7"),
        environment: &[("STINT_HTTP__MAX_CONNECTIONS", "9")],
        ..Case::default()
    };
    let http = case.load().config.http;
    assert_eq!((http.redirect_status.get(), http.max_connections), (301, 9));
}

#[test]
fn variables_are_converted_by_the_type_of_the_default() {
    let digits = "12345678901234567890123456789012";
    let config = environment(&[
        ("STINT_CODE_KEY", digits),
        ("STINT_CLUSTER__SECRET", "0000000000000007"),
        ("STINT_ADMIN_KEY", "1e9"),
        ("STINT_CLUSTER__NODE_ID", "3"),
        ("STINT_HTTP__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("STINT_HTTP__LIMITS__CREATE", "60 / 1m 30s"),
        ("STINT_HTTP__DRAIN_DELAY", "1m 30s"),
        ("STINT_HTTP__MAX_BODY_SIZE", "1 MiB"),
        ("STINT_AUTH__ANONYMOUS_CREATE", "false"),
        ("STINT_CLUSTER__PEERS", "1=a:7101,2=[::1]:7102"),
        ("STINT_HTTP__SHUTDOWN_DEADLINE", "2m"),
    ])
    .load()
    .config;
    assert_eq!(config.codes.key.unwrap().expose(), digits);
    assert_eq!(config.cluster.secret.unwrap().expose(), "0000000000000007");
    assert_eq!(config.auth.admin_key.unwrap().expose(), "1e9");
    assert_eq!(config.cluster.node_id, 3);
    assert_eq!(config.http.trusted_proxies.len(), 2);
    assert!(config.http.trusted_proxies[1].contains("::1".parse().unwrap()));
    let create = config.http.limits.create.unwrap();
    assert_eq!((create.count().get(), create.period().as_secs(), create.to_string().as_str()), (60, 90, "60/1m 30s"));
    assert!(config.http.limits.guess.is_none());
    assert_eq!(config.http.drain_delay.get().as_secs(), 90);
    assert_eq!(config.http.max_body_size.bytes(), 1 << 20);
    assert_eq!(config.auth.anonymous_create, AnonymousCreate::Never);
    assert_eq!((config.cluster.peers[1].node_id, config.cluster.peers[1].address.as_str()), (2, "[::1]:7102"));
}

#[test]
fn a_file_twin_of_any_variable_reads_the_value_from_the_file() {
    let secret = "0123456789abcdef0123456789abcdef";
    for twin in ["STINT_CODE_KEY_FILE", "STINT_CODES__KEY_FILE"] {
        let text = format!("{secret}\n");
        let case = Case {
            environment: &[(twin, "/run/secrets/key")],
            files: &[("/run/secrets/key", &text)],
            ..Case::default()
        };
        assert_eq!(case.load().config.codes.key.unwrap().expose(), secret, "{twin}");
    }
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let case = Case {
        file: Some("[cache]\nredis_url = \"redis://cache\""),
        environment: &[("REDIS_URL", ""), ("STINT_CODE_KEY_FILE", ""), ("STINT_HTTP__MAX_CONNECTIONS", "")],
        ..Case::default()
    };
    assert_eq!(case.load().config.cache.redis_url.unwrap().expose(), "redis://cache");
}

#[test]
fn variables_of_others_and_of_kubernetes_are_left_alone() {
    environment(&[
        ("PATH", "/bin"),
        ("STINTED", "1"),
        ("STINT_SERVICE_HOST", "10.0.0.1"),
        ("STINT_SERVICE_PORT_HTTP", "80"),
        ("STINT_PORT", "tcp://10.0.0.1:80"),
        ("STINT_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("STINT_SERVER", "http://a"),
        ("STINT_KEY", "k"),
    ])
    .load();
}

#[test]
fn both_schemes_of_postgres_and_of_redis_are_accepted() {
    for url in ["postgres://u:p@h:5432/db", "postgresql://h/db?sslmode=require", "postgres:///db?host=/run/pg"] {
        let config = environment(&[("DATABASE_URL", url), ("DATABASE_REPLICA_URLS", url)]).load().config;
        assert_eq!(config.database.primary_urls[0].expose(), url);
        assert_eq!(config.database.replica_urls[0].expose(), url);
    }
    for url in [
        "redis://h",
        "rediss://user:p@h:6380/2",
        "redis://:p@[::1]:6379",
        "redis+sentinel://user:p@h1:26379,h2:26379/main/1",
    ] {
        let config = environment(&[("REDIS_URL", url)]).load().config;
        assert_eq!(config.cache.redis_url.unwrap().expose(), url);
    }
}

#[test]
fn several_servers_in_one_url_or_in_several_are_one_url_each() {
    let primaries = |text: &str| -> Vec<String> {
        let config = environment(&[("DATABASE_URL", text)]).load().config;
        config.database.primary_urls.iter().map(|url| url.expose().to_owned()).collect()
    };
    let both = ["postgres://u:p@h1:5432/db?a=1", "postgres://u:p@h2:5433/db?a=1"];
    assert_eq!(primaries("postgres://u:p@h1:5432,h2:5433/db?a=1"), both);
    assert_eq!(primaries(&both.join(", ")), both);
    assert_eq!(
        primaries("postgres://h1,h2/a,postgresql://h3/b"),
        ["postgres://h1/a", "postgres://h2/a", "postgresql://h3/b"]
    );
    let file = Some("[database]\nprimary_urls = [\"postgres://h1,h2/a\"]");
    assert_eq!(Case { file, ..Case::default() }.load().config.database.primary_urls.len(), 2);
}

#[test]
fn passwords_survive_percent_encoded_and_are_never_shown() {
    let loaded = environment(&[
        ("DATABASE_URL", "postgres://u:p%40s%2Fs%3A%2Cw@h1,h2/db"),
        ("DATABASE_REPLICA_URLS", "postgres://h/db?user=u&password=qu%26ery"),
        ("REDIS_URL", "rediss://:r%23dis@h:6379"),
        ("STINT_CODE_KEY", "00112233445566778899aabbccddeeff"),
        ("STINT_ADMIN_KEY", "adm1n"),
        ("STINT_CLUSTER_SECRET", "the-group-s3cret"),
    ])
    .load();
    let database = &loaded.config.database;
    assert_eq!(database.primary_urls[1].expose(), "postgres://u:p%40s%2Fs%3A%2Cw@h2/db");
    assert_eq!(loaded.config.cache.redis_url.as_ref().unwrap().expose(), "rediss://:r%23dis@h:6379");
    for shown in [loaded.show(), format!("{loaded:?}"), format!("{:?}", loaded.config)] {
        for secret in ["p%40s", "qu%26ery", "r%23dis", "00112233", "adm1n", "s3cret"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        assert!(shown.contains("postgres://u:***@h1/db"), "{shown}");
    }
}

#[test]
fn the_shown_configuration_names_the_source_of_what_is_not_built_in() {
    let case = Case {
        file: Some("[cache]\nl1_ttl = \"20s\""),
        environment: &[("STINT_CODE_KEY", "00112233445566778899aabbccddeeff")],
        flags: &[("--listen", "http.listen", "127.0.0.1:1")],
        ..Case::default()
    };
    let shown = case.load().show();
    for line in [
        "[cluster.tls]",
        "listen = \"127.0.0.1:1\" # flag --listen",
        "l1_ttl = \"20s\" # file /etc/stint.toml",
        "key = \"***\" # environment variable STINT_CODE_KEY",
        "drain_delay = \"0s\" # default of this command",
        "redirect_status = 302",
        "headroom = \"10m\"",
        "max_body_size = \"256KiB\"",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "no {line:?} in\n{shown}");
    }
    Case { file: Some(&shown.replace("***", "00112233445566778899aabbccddeeff")), ..Case::default() }.load();
}

#[test]
fn anyone_may_create_only_in_dev_on_loopback_unless_said_otherwise() {
    let allowed = |role, listen: &str, setting: &str| {
        let variables = [("STINT_HTTP__LISTEN", listen), ("STINT_AUTH__ANONYMOUS_CREATE", setting)];
        let case = Case { role: Some(role), environment: &variables, ..Case::default() };
        case.load().config.anonymous_create(role)
    };
    assert!(allowed(Role::Dev, "127.0.0.1:0", "auto"));
    assert!(allowed(Role::Dev, "[::1]:0", "auto"));
    assert!(!allowed(Role::Dev, "0.0.0.0:0", "auto"));
    assert!(!allowed(Role::Serve, "127.0.0.1:0", "auto"));
    assert!(allowed(Role::Serve, "0.0.0.0:0", "true"));
    assert!(!allowed(Role::Dev, "127.0.0.1:0", "false"));
}

#[test]
fn the_public_url_defaults_to_where_the_listener_is() {
    let bound = |address: &str, url: &str| {
        let http = environment(&[("STINT_HTTP__PUBLIC_URL", url)]).load().config.http;
        http.public_url_at(address.parse().unwrap()).to_string()
    };
    assert_eq!(bound("127.0.0.1:81", ""), "http://127.0.0.1:81");
    assert_eq!(bound("0.0.0.0:81", ""), "http://127.0.0.1:81");
    assert_eq!(bound("[::]:81", ""), "http://[::1]:81");
    assert_eq!(bound("127.0.0.1:81", "https://sho.rt/"), "https://sho.rt");
    assert_eq!(bound("127.0.0.1:81", "https://example.com/s/"), "https://example.com/s");
}

#[test]
fn the_client_reads_its_defaults_from_the_environment() {
    let files = Files([(PathBuf::from("/k"), "from-file\n".to_owned())].into());
    let client = |variables: &[(&str, &str)]| {
        client_environment(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), &files)
    };
    let set =
        client(&[("STINT_SERVER", "https://a/"), ("STINT_KEY_FILE", "/k"), ("STINT_ADMIN_KEY", "admin")]).unwrap();
    assert_eq!((set.server.unwrap().as_str(), set.key.unwrap().expose()), ("https://a", "from-file"));
    assert_eq!(client(&[("STINT_ADMIN_KEY", "admin")]).unwrap().key.unwrap().expose(), "admin");
    let error = client(&[("STINT_SERVER", "a"), ("STINT_SERVR", "b")]).unwrap_err().to_string();
    assert_eq!(
        error,
        "configuration: unknown environment variable STINT_SERVR; did you mean `STINT_SERVER`?\n\
         configuration: environment variable STINT_SERVER: \"a\" is not a URL such as https://sho.rt"
    );
}
