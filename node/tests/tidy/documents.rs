//! Rules on Markdown: relative links lead somewhere, and the architecture lists every decision.

use std::path::{Component, Path, PathBuf};

use crate::Violation;

/// Every relative link of a document leads to something that `exists` (asked by path from the repository's root).
pub(crate) fn links(file: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        for target in targets(line).into_iter().filter(|target| !in_code && is_relative(target)) {
            let path = target.split(['#', '?']).next().unwrap_or_default();
            let leads_to = Path::new(file).parent().unwrap_or(Path::new("")).join(path);
            if !normal(&leads_to).is_some_and(|path| exists(&path)) {
                violations.push(Violation::new(file, number, format!("the link to `{target}` leads nowhere")));
            }
        }
    }
    violations
}

/// Every decision is named in the architecture.
pub(crate) fn unlisted(architecture: &str, decisions: &[String]) -> Vec<Violation> {
    let is_listed = |path: &&String| architecture.contains(path.rsplit('/').next().unwrap_or_default());
    let unlisted = decisions.iter().filter(|path| !is_listed(path));
    unlisted.map(|path| Violation::new(path, 0, "the decision is not listed in docs/architecture.md")).collect()
}

/// Where the links of a line lead: `[text](target "title")` and `[label]: target`. Code spans are no links.
fn targets(line: &str) -> Vec<String> {
    let outside_code: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let inline = outside_code.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let labelled =
        outside_code.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target.trim());
    inline.chain(labelled).map(|target| target.trim_matches(['<', '>']).to_owned()).collect()
}

fn is_relative(target: &str) -> bool {
    !target.is_empty() && !target.starts_with(['#', '/']) && !target.contains("://") && !target.starts_with("mailto:")
}

/// The path without `.` and `..`; `None` if it leads out of the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => normal.pop().then_some(())?,
            Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_reported_with_its_line() {
        let text = "[a](b.md) ![c](../d/e.png \"t\") [f](https://g/) [h](#i)\n[j](k.md#l) `[m](n.md)`\n\
                    ```\n[o](p.md)\n```\n[q]: r.md\n[s](../../t.md)";
        let known = [Path::new("docs/b.md"), Path::new("d/e.png")];
        let violations = links("docs/x.md", text, |path| known.contains(&path));
        let lines: Vec<_> = violations.iter().map(|violation| violation.line).collect();
        assert_eq!(lines, [2, 6, 7], "{violations:?}");
    }

    #[test]
    fn a_decision_that_is_not_listed_is_reported() {
        let decisions = ["docs/adr/0001-a.md", "docs/adr/0002-b.md"].map(str::to_owned);
        let violations = unlisted("see [a](adr/0001-a.md)", &decisions);
        assert_eq!(
            violations.iter().map(|violation| violation.file.as_str()).collect::<Vec<_>>(),
            ["docs/adr/0002-b.md"]
        );
    }
}
