//! PgBouncer, in front of a server of the tests' own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::postgres::as_postgres;
use super::process::quiet;
use super::{Postgres, eventually, free_address};

/// A running PgBouncer; it ends with this.
pub(crate) struct PgBouncer {
    address: String,
    _child: Child,
    _dir: TempDir,
}

impl PgBouncer {
    /// One that pools the connections to `server` by `mode`.
    pub(crate) async fn start(server: &Postgres, mode: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (address, file) = (free_address(), dir.path().join("pgbouncer.ini"));
        let (host, port) = address.split_once(':').expect("an address has a port");
        let settings = format!(
            "[databases]\n* = user=postgres host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = {host}\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {mode}\nmax_client_conn = 500\ndefault_pool_size = 40\n",
            server.port()
        );
        std::fs::write(&file, settings).expect("the directory is writable");
        // It runs as another user where this one is root.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("the directory is ours");
        let child = quiet(Command::from(as_postgres(Path::new("pgbouncer"))).arg("-q").arg(&file));
        eventually("PgBouncer listens", || async { TcpStream::connect(&address).await.is_ok() }).await;
        Self { address, _child: child, _dir: dir }
    }

    /// A URL of `database` through it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }
}
