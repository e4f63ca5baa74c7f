//! The program, and what it says.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// What a run said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// The JSON object of the last line.
    pub(crate) fn summary(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A number of the summary.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.summary()[name].as_u64().unwrap_or_else(|| panic!("there is no number {name}: {self:?}"))
    }

    /// What wasn't right, in one text.
    pub(crate) fn broken(&self) -> String {
        self.summary()["broken"].to_string()
    }

    /// The one line of a mistake.
    pub(crate) fn mistake(&self) -> &str {
        assert_eq!((self.code, self.stdout.as_str()), (64, ""), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        self.stderr.strip_prefix("stint-loadtest: ").unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// Runs it with these arguments and no key in its environment.
pub(crate) async fn loadtest(arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stint-loadtest"));
    command.args(arguments).env_remove("STINT_KEY").stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}
