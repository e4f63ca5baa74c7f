//! Rules on files: their shape, what must not be in them, and what lies at the repository's top.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Violation;
use crate::source::Source;

/// Every model's weak spot is its files over 1,000 lines.
const MAX_LINES: usize = 500;

/// What the top level of the repository is made of, besides dotfiles.
const TOP_LEVEL: [&str; 12] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "compose",
    "dashboards",
    "docs",
    "idgen",
    "loadtest",
    "node",
];

/// What programs leave behind: not part of the repository.
const LEFT_BEHIND: [&str; 2] = ["stint-data", "target"];

/// Where tests may wait by the clock: in a loop, until something holds, with a deadline; or for a fault to last.
const MAY_SLEEP: [&str; 3] =
    ["node/examples/chaos/pace.rs", "node/tests/it/support.rs", "node/src/cluster/log_store/tests.rs"];

/// Where waiting costs no time, since the clock is simulated.
const SIMULATED: &str = "node/tests/sim/";

/// No `mod.rs`, a header, and no more lines than a reader can hold.
pub(crate) fn shape(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut report = |line, rule: &str| violations.push(Violation::new(&source.path, line, rule));
    let lines = source.text.lines().count();
    if source.path.ends_with("/mod.rs") {
        report(0, "modules are `foo.rs` + `foo/`, never `mod.rs`");
    }
    // The module that a `tests.rs` belongs to says what is tested.
    let is_tests =
        source.path.contains("/src/") && source.path.rsplit('/').any(|part| part.trim_end_matches(".rs") == "tests");
    if !source.text.starts_with("//!") && !is_tests {
        report(1, "a file begins with `//!`: what it is, what it guarantees, what it leaves out");
    }
    if lines > MAX_LINES {
        report(lines, &format!("a file has at most {MAX_LINES} lines"));
    }
    violations
}

/// Nothing unfinished, no test that doesn't run or can't say what failed, no bare sleep in a test.
pub(crate) fn forbidden(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (line, code) in (1..).zip(source.code.lines()) {
        for text in ["todo!", "unimplemented!", "#[ignore", "#[should_panic"] {
            if code.contains(text) {
                violations.push(Violation::new(&source.path, line, format!("`{text}` is forbidden")));
            }
        }
    }
    let sleeps = source.all_names().filter(|name| source.is_in_test(name) && is_sleep(&name.path));
    if !MAY_SLEEP.contains(&source.path.as_str()) && !source.path.starts_with(SIMULATED) {
        violations.extend(sleeps.map(|name| {
            Violation::new(
                &source.path,
                name.line,
                "a test waits until something holds, never for a time (`eventually`)",
            )
        }));
    }
    violations
}

fn is_sleep(path: &[String]) -> bool {
    let ends_with = |end: &[&str]| path.len() >= end.len() && path[path.len() - end.len()..] == *end;
    ends_with(&["time", "sleep"]) || ends_with(&["thread", "sleep"])
}

/// The top level holds exactly what the design says, and dotfiles.
pub(crate) fn top_level(names: &BTreeSet<String>) -> Vec<Violation> {
    let known: BTreeSet<String> = TOP_LEVEL.map(str::to_owned).into();
    let extra = names.difference(&known).filter(|name| !name.starts_with('.'));
    let extra =
        extra.map(|name| Violation::new(name, 0, format!("the top level holds only {TOP_LEVEL:?} and dotfiles")));
    let missing = known.difference(names).map(|name| Violation::new(name, 0, "it is missing from the top level"));
    extra.chain(missing).collect()
}

/// What lies at the top: of what git would keep, or of everything where there is no git.
pub(crate) fn top_level_names(root: &Path) -> BTreeSet<String> {
    let git = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output();
    if root.join(".git").exists()
        && let Ok(listed) = git
        && listed.status.success()
    {
        let listed = String::from_utf8(listed.stdout).expect("the repository's names are text");
        return listed.split_terminator('\0').filter_map(|path| path.split('/').next()).map(str::to_owned).collect();
    }
    let entries = std::fs::read_dir(root).expect("the repository can be read");
    let names = entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned());
    names.filter(|name| !LEFT_BEHIND.contains(&name.as_str())).collect()
}

/// Every file with this extension below `dir`, sorted; hidden folders and what programs leave behind excepted.
pub(crate) fn under(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for path in entries.map(|entry| entry.expect("it can be read").path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !name.starts_with('.') && !LEFT_BEHIND.contains(&&*name) {
                waiting.push(path);
            } else if path.is_file() && path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A path as violations name it: from the repository's root.
pub(crate) fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of the violations in a file with this text.
    fn lines(rule: impl Fn(&Source) -> Vec<Violation>, path: &str, text: &str) -> Vec<usize> {
        rule(&Source::parse(path, text)).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn files_out_of_shape_are_reported() {
        assert_eq!(lines(shape, "node/src/http.rs", "//! Routes.\n"), [0; 0]);
        assert_eq!(lines(shape, "node/src/http.rs", "use a::b;\n"), [1]);
        assert_eq!(lines(shape, "node/src/http/mod.rs", "//! Routes.\n"), [0]);
        assert_eq!(lines(shape, "node/src/http/tests.rs", "use a::b;\n"), [0; 0]);
        assert_eq!(lines(shape, "node/tests/it/tests.rs", "use a::b;\n"), [1]);
        assert_eq!(lines(shape, "node/src/http.rs", &"//!\n".repeat(500)), [0; 0]);
        assert_eq!(lines(shape, "node/src/http.rs", &"//!\n".repeat(501)), [501]);
    }

    #[test]
    fn unfinished_and_ignored_code_is_reported() {
        let text = "//! todo!\nfn f() {\n    todo!()\n}\nconst A: &str = \"todo!\";\n#[ignore = \"slow\"]\n#[should_panic]\nfn g() {}";
        assert_eq!(lines(forbidden, "node/src/http.rs", text), [3, 6, 7]);
    }

    #[test]
    fn a_bare_sleep_is_reported_in_tests_only() {
        let text = "use tokio::time::sleep;\nfn f() {\n    std::thread::sleep(A);\n}\n";
        assert_eq!(lines(forbidden, "node/tests/it/x.rs", text), [1, 3]);
        assert_eq!(lines(forbidden, MAY_SLEEP[0], text), [0; 0]);
        assert_eq!(lines(forbidden, "node/tests/sim/x.rs", text), [0; 0]);
        assert_eq!(lines(forbidden, "node/src/tasks.rs", text), [0; 0]);
        let inline =
            format!("#[cfg(test)]\nmod tests {{\n    async fn f() {{ {}::time::sleep(A).await }}\n}}", "tokio");
        assert_eq!(lines(forbidden, "node/src/tasks.rs", &inline), [3]);
    }

    #[test]
    fn what_is_extra_or_missing_at_the_top_is_reported() {
        let mut names: BTreeSet<String> = TOP_LEVEL.into_iter().chain([".github"]).map(str::to_owned).collect();
        assert_eq!(top_level(&names), []);
        names.insert("notes.txt".to_owned());
        names.remove("docs");
        let files: Vec<_> = top_level(&names).into_iter().map(|violation| violation.file).collect();
        assert_eq!(files, ["notes.txt", "docs"]);
    }
}
