//! `stint-loadtest`: arguments, the run, the exit code.
//!
//! 0 if everything held, 1 if something failed or was over a threshold, 64 if it can't run as it was called.

use std::process::ExitCode;

use stint_loadtest::cli::{self, Parsed};
use stint_loadtest::session;

/// `EX_USAGE` of sysexits.h, as `stint` uses it.
const USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match cli::parse(std::env::args_os()) {
        Parsed::Options(options) => options,
        Parsed::Text(text) => {
            session::print(&text);
            return ExitCode::SUCCESS;
        }
        Parsed::Mistake(mistake) => return refuse(&mistake),
    };
    match session::conduct(&options).await {
        Ok(summary) => {
            session::print(&summary.to_string());
            if summary.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(mistake) => refuse(&format!("{mistake:#}")),
    }
}

fn refuse(mistake: &str) -> ExitCode {
    eprintln!("stint-loadtest: {mistake}");
    ExitCode::from(USAGE)
}
