//! Why a look at a server brought nothing: it is away, or it answers and refuses. Texts name the server and what to
//! change, on one line, and hold no password.

use std::io::ErrorKind;

use crate::ports::error_chain::Chain;

/// Why a server can't be used as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// It answers and refuses, or its URL can't be used: waiting doesn't help.
    #[error("database server {server}: {reason}: {remedy}")]
    Refused {
        /// `host:port`, or what stands for it.
        server: String,
        /// What it, or the driver, said.
        reason: String,
        /// What to change.
        remedy: String,
    },
    /// It doesn't answer (yet).
    #[error("database server {server} is away: {reason}")]
    Away {
        /// `host:port`.
        server: String,
        /// What the driver said.
        reason: String,
        /// Whether it may only be slow: nothing came back in time.
        slow: bool,
    },
}

const URL_REMEDY: &str = "correct the database's URL";
const TLS_REMEDY: &str = "check sslmode and sslrootcert in the URL, and the server's certificate";

impl LookError {
    /// Whether the server answers and refuses: nothing changes until somebody changes the configuration.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Whether nothing came back in time, which a busy server does too.
    pub(super) const fn is_slow(&self) -> bool {
        matches!(self, Self::Away { slow: true, .. })
    }

    pub(super) fn refused(server: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { server: server.to_owned(), reason: one_line(&reason.into()), remedy: remedy.into() }
    }

    pub(super) fn slow(server: &str, what: &str) -> Self {
        Self::Away { server: server.to_owned(), reason: what.to_owned(), slow: true }
    }

    /// What an error of the driver means, when it came from connecting or from looking.
    pub(super) fn of(server: &str, error: &sqlx::Error) -> Self {
        let refused = |remedy: &str| Self::refused(server, said(error), remedy);
        match error {
            sqlx::Error::Database(database) => match remedy(&database.code().unwrap_or_default(), database.message()) {
                Some(remedy) => refused(&remedy),
                None => Self::away(server, error),
            },
            sqlx::Error::Tls(_) => refused(TLS_REMEDY),
            // rustls reports a certificate that it doesn't accept as invalid data.
            sqlx::Error::Io(io) if io.kind() == ErrorKind::InvalidData => refused(TLS_REMEDY),
            sqlx::Error::Configuration(_) | sqlx::Error::InvalidArgument(_) => refused(URL_REMEDY),
            _ => Self::away(server, error),
        }
    }

    fn away(server: &str, error: &sqlx::Error) -> Self {
        Self::Away { server: server.to_owned(), reason: said(error), slow: false }
    }
}

/// What to change, if the server's answer is a refusal. Codes: PostgreSQL's manual, appendix A.
fn remedy(code: &str, message: &str) -> Option<String> {
    let remedy = match code {
        "28P01" => {
            "correct the user and password in the URL (in a password write @ : / ? # % as %40 %3A %2F %3F %23 %25)"
        }
        "28000" => "correct the user and sslmode in the URL, or let the server's pg_hba.conf admit them",
        "3D000" => "create the database, or correct its name in the URL",
        "42501" => {
            "grant the role CONNECT on the database and, where they were revoked, EXECUTE on pg_control_system() and \
             the functions that report WAL positions"
        }
        _ if message.contains("statement pooling mode") => "set pool_mode = session for this database in pgbouncer.ini",
        // PgBouncer says everything with this code; that it can't reach its server is none of these.
        "08P01" if message.contains("unsupported startup parameter") => {
            "add the parameter to ignore_startup_parameters in pgbouncer.ini"
        }
        "08P01" if message.starts_with("no such") || message.contains("authentication failed") => {
            "correct the user, password and database in the URL, or PgBouncer's lists of them"
        }
        _ => return None,
    };
    Some(remedy.to_owned())
}

/// The driver's words on one line.
fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => one_line(database.message()),
        sqlx::Error::Io(io) => one_line(&Chain(io).to_string()),
        error => one_line(&error.to_string()),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
