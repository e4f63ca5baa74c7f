//! `config.default.toml` and `docs/configuration.md` against each other and against the types.

use super::super::environment::{ALIASES, variable_of};
use super::super::layers::{DEFAULTS, Schema};
use super::Case;

const DOCS: &str = include_str!("../../../../docs/configuration.md");

#[test]
fn the_defaults_are_a_valid_configuration_that_changes_nothing() {
    let unchanged = Case { file: Some(DEFAULTS), ..Case::default() }.load();
    assert_eq!(unchanged.config.http.drain_delay.get().as_secs(), 5);
    assert_eq!(unchanged.show().replace(" # file /etc/stint.toml", "").matches(" # ").count(), 0);
}

#[test]
fn every_default_is_shown_as_it_is_written() {
    let shown = Case { file: Some(DEFAULTS), ..Case::default() }.load().show().replace(" # file /etc/stint.toml", "");
    let written: Vec<_> = DEFAULTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let shown: Vec<_> = shown.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(shown, written);
}

#[test]
fn every_key_and_section_is_documented_by_the_comment_above_it() {
    let lines: Vec<_> = DEFAULTS.lines().collect();
    for pair in lines.windows(2).filter(|pair| !pair[1].is_empty() && !pair[1].starts_with('#')) {
        assert!(pair[0].starts_with("# "), "no comment above {:?}", pair[1]);
    }
}

#[test]
fn the_documentation_lists_every_key_with_its_default_and_every_variable() {
    let schema = Schema::builtin();
    let table: toml::Table = DEFAULTS.parse().unwrap();
    for (key, default) in super::super::layers::leaves(&table) {
        let row = format!("| `{key}` | `{default}` |");
        assert!(DOCS.contains(&row), "docs/configuration.md has no row {row}");
    }
    let rows = DOCS.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    for (key, _) in rows.filter(|(key, _)| key.contains('.') && !key.contains(' ')) {
        assert!(schema.has_key(key), "docs/configuration.md lists `{key}`, which is no key");
    }
    for name in ALIASES.iter().map(|(name, _)| *name).chain(["STINT_SERVER", "STINT_KEY"]) {
        assert!(DOCS.contains(&format!("`{name}`")), "docs/configuration.md does not mention {name}");
    }
}

#[test]
fn every_key_has_a_variable_of_its_own() {
    let schema = Schema::builtin();
    let names: std::collections::BTreeSet<_> = schema.keys().map(variable_of).collect();
    assert_eq!(names.len(), schema.keys().count());
    assert!(names.contains("STINT_CLUSTER__TLS__CERT"));
    assert!(names.iter().all(|name| !name.ends_with("_FILE")), "a name that ends in _FILE would hide a twin");
}
