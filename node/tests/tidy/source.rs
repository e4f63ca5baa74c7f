//! A Rust file as the rules see it: its code without comments and texts, and every path it names, resolved to where
//! the path leads. No types, no macros expanded: what the eye sees in the file.

use std::path::Path;

use crate::files::shown;

/// One Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path from the repository's root.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments, strings and characters blanked out; lines stay where they are.
    pub(crate) code: String,
    /// The module's place in its crate; empty for the crate's root.
    module: Vec<String>,
    /// Whether all of it is compiled for tests only.
    is_test: bool,
    names: Vec<Name>,
    /// Modules that the file declares for tests only.
    test_modules: Vec<Vec<String>>,
}

/// A path that is named in the code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) line: usize,
    /// `["crate", …]` from the crate's own root, otherwise as written.
    pub(crate) path: Vec<String>,
    pub(crate) in_test: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    line: usize,
    text: String,
}

/// A `{`, still open.
struct Open {
    is_module: bool,
    is_test: bool,
}

impl Source {
    pub(crate) fn read(root: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("sources are text");
        Self::parse(&shown(root, path), &text)
    }

    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let code = blank(text);
        let module = module_of(path);
        let is_test = !path.contains("/src/") && !path.contains("/benches/");
        let mut source = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            module,
            is_test,
            names: Vec::new(),
            test_modules: Vec::new(),
        };
        source.collect();
        source
    }

    /// The module at the crate's top that the file belongs to: `storage` for `storage/sqlite/row.rs`.
    pub(crate) fn top_module(&self) -> &str {
        let within = self.path.split_once("/src/").map_or("", |(_, within)| within);
        within.split('/').next().map_or("", |first| first.trim_end_matches(".rs"))
    }

    /// The file's path within a crate, if it is one of its sources: `http/error.rs` for `node/src/http/error.rs`.
    pub(crate) fn within(&self, crate_name: &str) -> Option<&str> {
        self.path.strip_prefix(crate_name)?.strip_prefix("/src/")
    }

    /// Paths that the program itself names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.names.iter().filter(|name| !self.is_test && !name.in_test)
    }

    /// Every path, in tests too.
    pub(crate) fn all_names(&self) -> impl Iterator<Item = &Name> {
        self.names.iter()
    }

    /// Whether a path named in this file is part of a test.
    pub(crate) const fn is_in_test(&self, name: &Name) -> bool {
        self.is_test || name.in_test
    }

    fn collect(&mut self) {
        let tokens = tokens(&self.code);
        let mut module = self.module.clone();
        let mut open: Vec<Open> = Vec::new();
        let mut test_only = false;
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let in_test = test_only || open.last().is_some_and(|open| open.is_test);
            let next = |offset: usize| tokens.get(at + offset).map_or("", |token| token.text.as_str());
            match token.text.as_str() {
                "#" if is_cfg_test(&tokens[at..]) => {
                    test_only = true;
                    at += 6;
                }
                "mod" if next(2) == "{" => {
                    module.push(next(1).to_owned());
                    open.push(Open { is_module: true, is_test: in_test });
                    test_only = false;
                    at += 2;
                }
                "mod" if next(2) == ";" && in_test => {
                    self.test_modules.push(module.iter().cloned().chain([next(1).to_owned()]).collect());
                    test_only = false;
                    at += 2;
                }
                "use" if !matches!(next(1), "<" | "") => {
                    let end = tokens[at..].iter().position(|token| token.text == ";").map_or(tokens.len(), |n| at + n);
                    let mut paths = Vec::new();
                    tree(&tokens[at + 1..end], &mut 0, &[], &mut paths);
                    for (line, path) in paths {
                        self.names.push(Name { line, path: self.resolve(path, &module), in_test });
                    }
                    test_only = false;
                    at = end;
                }
                "{" => {
                    open.push(Open { is_module: false, is_test: in_test });
                    test_only = false;
                }
                "}" => {
                    let ended_modules = usize::from(open.pop().is_some_and(|open| open.is_module));
                    module.truncate(module.len() - ended_modules);
                }
                ";" => test_only = false,
                _ if is_root(&tokens, at) => {
                    let path = path_at(&tokens[at..]);
                    at += 2 * path.len() - 2;
                    self.names.push(Name { line: token.line, path: self.resolve(path, &module), in_test });
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// A path from the crate's root, where it leads there; `module` is where it is written. Programs and tests of
    /// `node` call their own library `stint`.
    fn resolve(&self, path: Vec<String>, module: &[String]) -> Vec<String> {
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        let (base, skipped) = match path[0].as_str() {
            "stint" if crate_of(&self.path) != "node" => return path,
            "crate" | "stint" => (&[][..], 1),
            "self" => (module, 1),
            "super" => (&module[..module.len().saturating_sub(supers)], supers),
            _ => return path,
        };
        let rest = path.into_iter().skip(skipped);
        std::iter::once("crate".to_owned()).chain(base.iter().cloned()).chain(rest).collect()
    }
}

/// Marks the files that others declare under `#[cfg(test)]`, and all below them.
pub(crate) fn mark_test_modules(sources: &mut [Source]) {
    let declared: Vec<(String, Vec<String>)> = sources
        .iter()
        .flat_map(|source| source.test_modules.iter().map(|module| (crate_of(&source.path).to_owned(), module.clone())))
        .collect();
    for source in sources.iter_mut().filter(|source| source.path.contains("/src/")) {
        let is_declared = |(name, module): &(String, Vec<String>)| {
            name == crate_of(&source.path) && source.module.starts_with(module)
        };
        source.is_test |= declared.iter().any(is_declared);
    }
}

fn crate_of(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

fn module_of(path: &str) -> Vec<String> {
    let within = path.split_once("/src/").map_or(path, |(_, within)| within);
    let within = within.strip_suffix(".rs").unwrap_or(within);
    if within == "lib" || within == "main" { Vec::new() } else { within.split('/').map(str::to_owned).collect() }
}

fn is_cfg_test(tokens: &[Token]) -> bool {
    let wanted = ["#", "[", "cfg", "(", "test", ")", "]"];
    tokens.len() > wanted.len() && tokens.iter().zip(wanted).all(|(token, wanted)| token.text == wanted)
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Whether a path of two or more segments begins here.
fn is_root(tokens: &[Token], at: usize) -> bool {
    let before = |offset: usize| at.checked_sub(offset).map_or("", |at| tokens[at].text.as_str());
    let continues = before(1) == "::" && (is_identifier(before(2)) || before(2) == ">");
    is_identifier(&tokens[at].text) && tokens.get(at + 1).is_some_and(|next| next.text == "::") && !continues
}

fn path_at(tokens: &[Token]) -> Vec<String> {
    let mut path = vec![tokens[0].text.clone()];
    for pair in tokens[1..].chunks_exact(2) {
        if pair[0].text != "::" || !is_identifier(&pair[1].text) {
            break;
        }
        path.push(pair[1].text.clone());
    }
    path
}

/// The paths of a `use` tree, each with the line it ends on. Stops before the `,` or `}` that ends the tree.
fn tree(tokens: &[Token], at: &mut usize, prefix: &[String], paths: &mut Vec<(usize, Vec<String>)>) {
    let mut path = prefix.to_vec();
    let mut line = 0;
    while let Some(token) = tokens.get(*at).filter(|token| !matches!(token.text.as_str(), "," | "}")) {
        *at += 1;
        match token.text.as_str() {
            "::" => {}
            "as" => *at += 1,
            "{" => {
                while tokens.get(*at).is_some_and(|token| token.text != "}") {
                    tree(tokens, at, &path, paths);
                    *at += usize::from(tokens.get(*at).is_some_and(|token| token.text == ","));
                }
                *at += 1;
                return;
            }
            text => {
                path.push(text.to_owned());
                line = token.line;
            }
        }
    }
    paths.push((line, path));
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, text) in (1..).zip(code.lines()) {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = if word > 0 {
                word
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token { line, text: rest[..length].to_owned() });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// The text with comments, strings and character literals blanked out.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = literal(rest, after_word);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// How many bytes of comment or literal begin here; 0 for code.
fn literal(rest: &str, after_word: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return 1 + quoted(inside, '"');
    }
    if let Some(inside) = rest.strip_prefix('\'') {
        // A lifetime has no closing quote right after its first character.
        let is_char = inside.starts_with('\\') || inside.chars().nth(1) == Some('\'');
        return if is_char { 1 + quoted(inside, '\'') } else { 0 };
    }
    let raw = rest.trim_start_matches(['b', 'c']);
    if !after_word && raw.starts_with('r') && rest.len() - raw.len() <= 1 {
        let hashes = raw[1..].len() - raw[1..].trim_start_matches('#').len();
        if raw[1 + hashes..].starts_with('"') {
            let opening = rest.len() - raw.len() + hashes + 2;
            let end = format!("\"{}", "#".repeat(hashes));
            return rest[opening..].find(&end).map_or(rest.len(), |at| opening + at + end.len());
        }
    }
    0
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let (step, change) = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth += change;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &str, end: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        if !escaped && c == end {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str, text: &str) -> Vec<String> {
        Source::parse(path, text).all_names().map(|name| name.path.join("::")).collect()
    }

    #[test]
    fn comments_and_texts_are_no_code() {
        let text =
            "/* a::b /* c::d */ e::f */ let x = \"g::h\\\"i::j\"; // k::l\nr#\"m::\"n\"# b\"o::p\" '\\'' 'q' &'a r::s";
        assert_eq!(named("node/src/http.rs", text), ["r::s"]);
        assert_eq!(Source::parse("node/src/http.rs", text).all_names().next().unwrap().line, 2);
    }

    #[test]
    fn use_trees_are_taken_apart() {
        let text = "use a;\nuse b as c;\npub use d::{e, f::{self, g as h}, i::*};\nuse {j::k, ::l::m};";
        let paths = ["a", "b", "d::e", "d::f::self", "d::f::g", "d::i::*", "j::k", "l::m"];
        assert_eq!(named("node/src/http.rs", text), paths);
    }

    #[test]
    fn relative_paths_are_followed_to_where_they_lead() {
        let text = "use super::row::Row;\nfn f() -> super::super::super::http::X { self::g::<crate::a::B>() }\n\
                    mod tests { use super::super::super::app; }\nuse stint::http;\n";
        let paths =
            ["storage::sqlite::row::Row", "http::X", "storage::sqlite::links::g", "a::B", "storage::app", "http"];
        assert_eq!(named("node/src/storage/sqlite/links.rs", text), paths.map(|path| format!("crate::{path}")));
    }

    #[test]
    fn what_is_compiled_for_tests_only_is_told_apart() {
        let text =
            "use a::b;\n#[cfg(test)]\nuse c::d;\nuse e::f;\n#[cfg(test)]\nmod tests { fn g() { h::i() } }\nuse j::k;\n";
        let source = Source::parse("node/src/http.rs", text);
        let paths: Vec<_> = source.names().map(|name| name.path.join("::")).collect();
        assert_eq!(paths, ["a::b", "e::f", "j::k"]);
    }

    #[test]
    fn a_file_declared_for_tests_only_is_a_test_with_all_below_it() {
        let parse = |(path, text)| Source::parse(path, text);
        let mut sources = [
            ("node/src/http.rs", "#[cfg(test)]\nmod testing;\nmod state;"),
            ("node/src/http/testing.rs", "use a::b;"),
            ("node/src/http/testing/more.rs", "use a::b;"),
            ("node/src/http/state.rs", "use a::b;"),
            ("idgen/src/http/testing.rs", "use a::b;"),
        ]
        .map(parse);
        mark_test_modules(&mut sources);
        assert_eq!(sources.each_ref().map(|source| source.names().count()), [0, 0, 0, 1, 1]);
    }
}
