//! Loading: defaults < file < environment < flags, then types, then rules; every problem of all of them is collected.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_path_to_error::Segment;
use toml::{Table, Value};

use super::environment::Environment;
use super::error::ConfigError;
use super::layers::{Layers, Schema, leaves, suggestion};
use super::source::{Flag, ReadFile, Source};
use super::{Config, Role};

/// What the configuration is made of, besides the environment.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// What the process does.
    pub role: Role,
    /// The file given with `--config`.
    pub file: Option<&'a Path>,
    /// Values given as flags.
    pub flags: &'a [Flag],
    /// How files are read.
    pub files: &'a dyn ReadFile,
}

/// A valid configuration that knows where its values came from.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    pub(super) sources: BTreeMap<String, Source>,
}

/// Collects layers and problems.
struct Loader {
    layers: Layers,
    problems: Vec<String>,
}

/// Loads and checks the whole configuration.
///
/// # Errors
/// Every unknown key, bad value, broken rule and unreadable file, each in one line naming the key and its source.
pub fn load(
    inputs: Inputs<'_>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let mut loader = Loader { layers: Layers::new(Schema::builtin()), problems: Vec::new() };
    for (key, text) in inputs.role.defaults() {
        loader.text(key, text, Source::Role);
    }
    if let Some(path) = inputs.file {
        loader.file(path, inputs.files);
    }
    let environment = Environment::read(loader.layers.schema(), environment, inputs.files);
    loader.problems.extend(environment.problems);
    for (key, variable) in &environment.values {
        // The client's variables are known, but set nothing here.
        if loader.layers.schema().has_key(key) {
            loader.text(key, &variable.text, Source::Variable(variable.name.clone()));
        }
    }
    for flag in inputs.flags {
        loader.text(flag.key, &flag.value, Source::Flag(flag.flag));
    }
    let config = loader.finish();
    ConfigError::check(loader.problems)?;
    Ok(Loaded { config, sources: loader.layers.into_sources() })
}

impl std::fmt::Debug for Inputs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs").field("role", &self.role).field("file", &self.file).finish_non_exhaustive()
    }
}

impl Loader {
    fn text(&mut self, key: &str, text: &str, source: Source) {
        let shown = source.to_string();
        if let Err(reason) = self.layers.set_text(key, text, source) {
            self.problems.push(format!("`{key}` ({shown}): {reason}"));
        }
    }

    fn file(&mut self, path: &Path, files: &dyn ReadFile) {
        let text = match files.read(path) {
            Ok(text) => text,
            Err(reason) => return self.problems.push(format!("cannot read file {}: {reason}", path.display())),
        };
        match text.parse::<Table>() {
            Ok(table) => self.table(&table, path),
            Err(reason) => self.problems.push(syntax_error(&text, path, &reason)),
        }
    }

    fn table(&mut self, table: &Table, path: &Path) {
        for (key, value) in leaves(table) {
            let source = Source::File(PathBuf::from(path));
            let schema = self.layers.schema();
            if schema.has_key(&key) {
                self.layers.set(&key, value, source);
            } else if !schema.has_section(&key) {
                let hint = suggestion(&key, schema.keys());
                self.problems.push(format!("unknown key `{}` ({source}){hint}", key.escape_debug()));
            } else if !matches!(value, Value::Table(_)) {
                self.problems.push(format!("`{key}` ({source}): is a section, not a value"));
            }
        }
    }

    /// Gives the values their types and checks the rules. A bad value is reported and replaced by its default, until
    /// none is left: serde stops at the first one.
    fn finish(&mut self) -> Config {
        loop {
            match serde_path_to_error::deserialize::<_, Config>(Value::Table(self.layers.merged())) {
                Ok(config) => {
                    self.rules(&config);
                    return config;
                }
                Err(error) => {
                    let key = key_of(error.path());
                    let source = self.layers.unset(&key).expect("the built-in defaults are valid, as a test shows");
                    self.problems.push(format!("`{key}` ({source}): {}", in_plain_words(error.inner().message())));
                }
            }
        }
    }

    fn rules(&mut self, config: &Config) {
        for invalid in config.validate() {
            let source = self.layers.source(invalid.key).map(|source| format!(" ({source})")).unwrap_or_default();
            self.problems.push(format!("`{}`{source}: {}", invalid.key, invalid.message));
        }
    }
}

/// The dotted key of a path, without the place in a list.
fn key_of(path: &serde_path_to_error::Path) -> String {
    let names = path.iter().filter_map(|segment| match segment {
        Segment::Map { key } => Some(key.as_str()),
        Segment::Enum { .. } | Segment::Seq { .. } | Segment::Unknown => None,
    });
    names.collect::<Vec<_>>().join(".")
}

/// serde's message without the names of Rust's types.
fn in_plain_words(message: &str) -> String {
    ["usize", "u64", "u32", "i64"].iter().fold(message.to_owned(), |message, name| {
        message.replace(&format!("expected {name}"), "expected a whole number")
    })
}

/// One line, without the excerpt: it might show a secret.
fn syntax_error(text: &str, path: &Path, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    format!("file {}, line {line}: {}", path.display(), error.message().replace('\n', ", "))
}
