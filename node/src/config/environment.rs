//! Environment variables: `STINT_<SECTION>__<KEY>`, a few shorter names, and a `_FILE` twin of each.
//!
//! An empty variable counts as not set, as compose files write `${NAME:-}` for an optional one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::error::ConfigError;
use super::layers::{Schema, suggestion};
use super::secret::Secret;
use super::source::{ReadFile, Source};
use super::value::WebUrl;

const PREFIX: &str = "STINT_";
const SERVER: &str = "STINT_SERVER";
const KEY: &str = "STINT_KEY";
const ADMIN_KEY: &str = "auth.admin_key";

/// Shorter names of keys.
pub(super) const ALIASES: [(&str, &str); 6] = [
    ("DATABASE_URL", "database.primary_urls"),
    ("DATABASE_REPLICA_URLS", "database.replica_urls"),
    ("REDIS_URL", "cache.redis_url"),
    ("STINT_CLUSTER_SECRET", "cluster.secret"),
    ("STINT_CODE_KEY", "codes.key"),
    ("STINT_ADMIN_KEY", ADMIN_KEY),
];

/// What the environment says to the commands that talk to a server.
#[derive(Debug, Clone, Default)]
pub struct ClientEnvironment {
    /// `STINT_SERVER`.
    pub server: Option<WebUrl>,
    /// `STINT_KEY`, else `STINT_ADMIN_KEY`.
    pub key: Option<Secret>,
}

/// A value and the name of the variable that holds it, or names its file. No `Debug`: it may be a secret.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) text: String,
}

/// The known variables that are set, by key; the client's by their own names.
pub(super) struct Environment {
    pub(super) values: BTreeMap<String, Variable>,
    pub(super) problems: Vec<String>,
}

/// Reads the defaults of `--server` and `--key`.
///
/// # Errors
/// An unknown `STINT_…` variable, a file that can't be read, a bad URL.
pub fn client_environment(
    variables: impl IntoIterator<Item = (String, String)>,
    files: &dyn ReadFile,
) -> Result<ClientEnvironment, ConfigError> {
    let mut environment = Environment::read(&Schema::builtin(), variables, files);
    let server = environment.values.remove(SERVER).and_then(|variable| match variable.text.parse() {
        Ok(url) => Some(url),
        Err(reason) => {
            environment.problems.push(format!("environment variable {}: {reason}", variable.name));
            None
        }
    });
    let key = environment.values.remove(KEY).or_else(|| environment.values.remove(ADMIN_KEY));
    ConfigError::check(environment.problems)?;
    Ok(ClientEnvironment { server, key: key.map(|variable| Secret::new(variable.text)) })
}

/// The environment as text. Variables of others are left out where they aren't UTF-8.
///
/// # Errors
/// Every variable of Stint whose value isn't UTF-8, by name.
pub fn unicode_variables(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => texts.push((name, value)),
            Err(_) if is_ours(&name) => problems.push(format!("environment variable {name}: is not valid UTF-8")),
            Err(_) => {}
        }
    }
    problems.sort();
    ConfigError::check(problems)?;
    Ok(texts)
}

/// The systematic name of a key: `http.listen` is `STINT_HTTP__LISTEN`.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

impl Environment {
    pub(super) fn read(
        schema: &Schema,
        variables: impl IntoIterator<Item = (String, String)>,
        files: &dyn ReadFile,
    ) -> Self {
        let known = known_names(schema);
        let mut environment = Self { values: BTreeMap::new(), problems: Vec::new() };
        let mut variables: Vec<_> = variables.into_iter().collect();
        variables.sort(); // The order of the problems must not depend on the shell.
        for (name, value) in variables {
            let (base, in_file) = match name.strip_suffix("_FILE") {
                Some(base) if !known.contains_key(&name) => (base, true),
                _ => (name.as_str(), false),
            };
            match known.get(base) {
                Some(_) if value.is_empty() => {}
                Some(key) if in_file => environment.insert_file(key, name, &value, files),
                Some(key) => environment.insert(key, name, value),
                None if name.starts_with(PREFIX) && !is_service_link(&name) => {
                    environment.problems.push(unknown(base, &name, schema, &known));
                }
                None => {}
            }
        }
        environment
    }

    fn insert(&mut self, key: &str, name: String, text: String) {
        if let Some(earlier) = self.values.get(key) {
            self.problems.push(format!("`{key}` is set by both {} and {name}; keep one", earlier.name));
        } else {
            self.values.insert(key.to_owned(), Variable { name, text });
        }
    }

    fn insert_file(&mut self, key: &str, name: String, path: &str, files: &dyn ReadFile) {
        match files.read(Path::new(path)) {
            Ok(text) => self.insert(key, name, text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(reason) => {
                let source = Source::Variable(name);
                self.problems.push(format!("`{key}` ({source}): cannot read {path}: {reason}"));
            }
        }
    }
}

/// Every name and the key that it sets; the client's names set themselves.
fn known_names(schema: &Schema) -> BTreeMap<String, String> {
    let systematic = schema.keys().map(|key| (variable_of(key), key.to_owned()));
    let aliases = ALIASES.iter().map(|(name, key)| ((*name).to_owned(), (*key).to_owned()));
    let client = [SERVER, KEY].into_iter().map(|name| (name.to_owned(), name.to_owned()));
    systematic.chain(aliases).chain(client).collect()
}

fn unknown(base: &str, name: &str, schema: &Schema, known: &BTreeMap<String, String>) -> String {
    if let Some(rest) = base.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) {
        let key = rest.to_lowercase().replace("__", ".");
        let hint = suggestion(&key, schema.keys());
        format!("unknown key `{key}` ({}){hint}", Source::Variable(name.to_owned()))
    } else {
        let hint = suggestion(base, known.keys().map(String::as_str));
        format!("unknown environment variable {name}{hint}")
    }
}

/// Whether a variable is meant for us, by its name alone.
fn is_ours(name: &str) -> bool {
    let base = name.strip_suffix("_FILE").unwrap_or(name);
    (name.starts_with(PREFIX) && !is_service_link(name)) || ALIASES.iter().any(|(alias, _)| *alias == base)
}

/// Kubernetes sets `STINT_SERVICE_HOST`, `STINT_PORT_8080_TCP_ADDR` and the like in every pod beside a service named
/// `stint`; none of them is meant for us.
fn is_service_link(name: &str) -> bool {
    let of_port = |(_, port): (&str, &str)| port.is_empty() || port.starts_with(|first: char| first.is_ascii_digit());
    !name.contains("__")
        && (name.contains("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || name.ends_with("_PORT")
            || name.split_once("_PORT_").is_some_and(of_port))
}
