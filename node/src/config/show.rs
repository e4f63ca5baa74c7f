//! `config show`: the merged configuration as TOML, secrets masked, with the sources of what is not built in.

use std::fmt::Write;

use toml::{Table, Value};

use super::load::Loaded;
use super::source::Source;

impl Loaded {
    /// Where the value of a key came from; `None` for the built-in default.
    pub fn source(&self, key: &str) -> Option<&Source> {
        self.sources.get(key)
    }

    /// The configuration as TOML that can be read back, but for the secrets, which are `"***"`.
    pub fn show(&self) -> String {
        let mut shown = String::new();
        self.show_section("", &self.table(), &mut shown);
        shown
    }

    fn table(&self) -> Table {
        Table::try_from(&self.config).expect("every value is a text, a number, a truth value or a list")
    }

    fn show_section(&self, section: &str, table: &Table, shown: &mut String) {
        let key_of = |name: &str| if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
        for (name, value) in table.iter().filter(|(_, value)| !value.is_table()) {
            let source = self.source(&key_of(name)).map(|source| format!(" # {source}")).unwrap_or_default();
            // Writing to a String can't fail.
            let _ = writeln!(shown, "{name} = {value}{source}");
        }
        for (name, value) in table {
            if let Value::Table(inner) = value {
                let key = key_of(name);
                let gap = if shown.is_empty() { "" } else { "\n" };
                let _ = writeln!(shown, "{gap}[{key}]");
                self.show_section(&key, inner, shown);
            }
        }
    }
}
