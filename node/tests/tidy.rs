//! The house's rules, read from the sources: layers, homes of dependencies, file shapes, the repository's top level.
//!
//! Each rule is a function from sources to violations; each has a test that feeds it a violating snippet, so that a
//! rule that can't fail would be seen.

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/source.rs"]
mod source;

use std::fmt;
use std::path::{Path, PathBuf};

use source::Source;

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    /// The path from the repository's root.
    file: String,
    /// From 1; 0 where the whole file is meant.
    line: usize,
    rule: String,
}

impl Violation {
    fn new(file: &str, line: usize, rule: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, rule: rule.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

#[track_caller]
fn expect_none(violations: &[Violation]) {
    let lines: Vec<String> = violations.iter().map(|violation| format!("\n  {violation}")).collect();
    assert!(violations.is_empty(), "{} rule(s) broken:{}", lines.len(), lines.concat());
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository").to_owned()
}

/// Every Rust file of the workspace's crates, parsed.
fn sources() -> Vec<Source> {
    let root = repository();
    let crates = ["idgen", "node", "loadtest"].map(|name| root.join(name));
    let paths: Vec<PathBuf> = crates.iter().flat_map(|dir| files::under(dir, "rs")).collect();
    assert!(paths.len() > 100, "only {} Rust files were found under {}", paths.len(), root.display());
    let mut sources: Vec<Source> = paths.iter().map(|path| Source::read(&root, path)).collect();
    source::mark_test_modules(&mut sources);
    sources
}

#[test]
fn every_module_names_only_the_layers_below_it() {
    let violations: Vec<_> = sources().iter().flat_map(layers::modules).collect();
    expect_none(&violations);
}

#[test]
fn each_driver_and_framework_is_named_only_in_its_home() {
    let violations: Vec<_> = sources().iter().flat_map(layers::homes).collect();
    expect_none(&violations);
}

#[test]
fn domain_uses_nothing_but_parsers() {
    let manifest = std::fs::read_to_string(repository().join("node/Cargo.toml")).expect("the manifest is there");
    let dependencies = layers::dependencies(&manifest);
    assert!(dependencies.contains("sqlx") && dependencies.contains("axum"), "{dependencies:?}");
    let violations: Vec<_> = sources().iter().flat_map(|source| layers::domain(source, &dependencies)).collect();
    expect_none(&violations);
}

#[test]
fn idgen_knows_neither_a_runtime_nor_the_workspace_and_loadtest_does_not_know_node() {
    let manifest = std::fs::read_to_string(repository().join("idgen/Cargo.toml")).expect("the manifest is there");
    let mut violations: Vec<_> = sources().iter().flat_map(layers::crates).collect();
    violations.extend(layers::idgen_manifest(&manifest));
    expect_none(&violations);
}

#[test]
fn files_have_the_shape_of_the_house() {
    let violations: Vec<_> = sources().iter().flat_map(files::shape).collect();
    expect_none(&violations);
}

#[test]
fn nothing_is_unfinished_ignored_or_asleep() {
    let violations: Vec<_> = sources().iter().flat_map(files::forbidden).collect();
    expect_none(&violations);
}

#[test]
fn the_top_level_holds_what_it_should_and_nothing_else() {
    expect_none(&files::top_level(&files::top_level_names(&repository())));
}

/// An empty script succeeds, and whoever calls it believes that something was done.
#[test]
fn no_script_is_empty() {
    let root = repository();
    let mut scripts = 0;
    for dir in [".ci", ".github", "compose", "compose/smoke.d", "dashboards"] {
        for entry in std::fs::read_dir(root.join(dir)).expect("the folder is there") {
            let entry = entry.expect("it can be read");
            let found = entry.metadata().expect("it can be read");
            scripts += usize::from(found.is_file());
            assert!(found.is_dir() || found.len() > 0, "{} is empty", entry.path().display());
        }
    }
    assert!(scripts > 20, "only {scripts} files were found");
}

#[test]
fn relative_links_in_documents_lead_to_files() {
    let root = repository();
    let paths = files::under(&root, "md");
    assert!(!paths.is_empty(), "no document was found under {}", root.display());
    let violations: Vec<_> = paths
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).expect("documents are text");
            documents::links(&files::shown(&root, path), &text, |target| root.join(target).exists())
        })
        .collect();
    expect_none(&violations);
}

#[test]
fn every_decision_is_listed_in_the_architecture() {
    let root = repository();
    let Ok(architecture) = std::fs::read_to_string(root.join("docs/architecture.md")) else { return };
    let decisions = files::under(&root.join("docs/adr"), "md");
    let decisions: Vec<_> = decisions.iter().map(|path| files::shown(&root, path)).collect();
    expect_none(&documents::unlisted(&architecture, &decisions));
}
