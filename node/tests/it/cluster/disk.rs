//! Damaged and newer data of an allocator: refused in one line that names the directory, and left as it was.

use std::fs;
use std::path::Path;

use redb::{Database, TableDefinition};

use super::orders;
use crate::support::{Cluster, draw};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

#[tokio::test]
async fn a_damaged_log_is_refused_and_left_as_it_was() {
    let mut cluster = Cluster::found().await;
    cluster.take(2).kill().await;
    let file = cluster.data(2).join("raft/raft.redb");
    let whole = fs::read(&file).unwrap();
    let mut corrupt = whole.clone();
    corrupt[4_096..].fill(0xa5);
    for (what, damaged) in [
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("a few bytes", whole[..100].to_vec()),
        ("empty", Vec::new()),
        ("no database", b"not a database".repeat(1_000)),
        ("overwritten", corrupt),
    ] {
        fs::write(&file, &damaged).unwrap();
        let line = cluster.refused(2, &["--bootstrap"]).await;
        let hints = ["stint: the allocator can't start: ", "is damaged; replace this member by a new one"];
        assert!(hints.iter().all(|hint| line.contains(hint)), "{what}: {line}");
        assert!(line.contains(cluster.data(2).to_str().unwrap()), "{what}: {line}");
        assert!(fs::read(&file).unwrap() == damaged, "{what}: the file was changed");
    }
    fs::write(&file, whole).unwrap();
    cluster.start(2, &[]).await;
    cluster.led().await;
}

#[tokio::test]
async fn a_newer_snapshot_is_refused_and_left_as_it_was() {
    let mut cluster = Cluster::found().await;
    let shortener = cluster.serve(1, &[]).await;
    orders(&shortener.client()).await;
    cluster.take(2).kill().await;
    let (data, file) = (cluster.data(2), cluster.data(2).join("raft/raft.redb"));
    // A record of this version around a state of a newer one, and a record of a newer version.
    let members = (Vec::<Vec<u64>>::new(), std::collections::BTreeMap::<u64, (String, String)>::new());
    let record = (Some((1_u64, 1_u64)), None::<(u64, u64)>, members, vec![99_u8]);
    for (version, hint) in
        [(1_u8, "version 99, but only versions up to"), (3, "format 3, written by a newer version of stint")]
    {
        put(&file, &postcard::to_extend(&record, vec![version]).unwrap());
        let before = fs::read(&file).unwrap();
        let line = cluster.refused(2, &[]).await;
        let expected = format!("stint: the allocator's data in {} can't be used; start the version", data.display());
        assert!(line.starts_with(&expected) && line.contains(hint), "{line}");
        assert_eq!(snapshot(&before), snapshot(&fs::read(&file).unwrap()), "the snapshot is kept");
    }
    draw(&shortener.client(), 10_000).await;
}

/// Puts a snapshot into a closed log, past every rule.
fn put(file: &Path, record: &[u8]) {
    let database = Database::open(file).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("snapshot", record).unwrap();
    transaction.commit().unwrap();
}

/// The snapshot in a copy of a log.
fn snapshot(log: &[u8]) -> Vec<u8> {
    use redb::ReadableDatabase as _;
    let copy = tempfile::NamedTempFile::new().unwrap();
    fs::write(copy.path(), log).unwrap();
    let database = Database::open(copy.path()).unwrap();
    let table = database.begin_read().unwrap().open_table(META).unwrap();
    table.get("snapshot").unwrap().unwrap().value().to_vec()
}
