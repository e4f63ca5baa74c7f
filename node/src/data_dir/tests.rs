//! First starts that race or are killed, and files that are lost or damaged.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::ports::entropy::OsEntropy;

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn one_line(error: &DataDirError, hints: &[&str]) {
    let line = error.to_string();
    assert!(!line.contains('\n') && hints.iter().all(|hint| line.contains(hint)), "{line}");
}

#[test]
fn secrets_are_made_once_and_only_their_owner_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let first = DataDir::open(&path).unwrap().admin_key(&OsEntropy).unwrap();
    let again = DataDir::open(&path).unwrap().admin_key(&OsEntropy).unwrap();
    assert!(first.new && !again.new);
    assert_eq!(first.text, again.text);
    assert_eq!(fs::metadata(path.join("admin.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(names(&path), ["FORMAT", "LOCK", "admin.key"]);
}

#[test]
fn a_newer_format_and_a_foreign_directory_are_refused_and_left_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("FORMAT"), "2\n").unwrap();
    assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::Newer { found: 2, .. })));
    fs::remove_file(dir.path().join("FORMAT")).unwrap();
    fs::write(dir.path().join("thesis.doc"), "").unwrap();
    assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::Foreign { .. })));
    assert_eq!(names(dir.path()), ["thesis.doc"]);
}

#[test]
fn of_many_first_starts_at_once_one_gets_the_directory() {
    for _ in 0..50 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let barrier = std::sync::Barrier::new(4);
        let start = || {
            barrier.wait();
            let opened = DataDir::open(&path).map(|dir| (dir.code_key(&OsEntropy).unwrap().text, dir));
            barrier.wait();
            opened
        };
        let opened: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let in_file = fs::read_to_string(path.join("code.key")).unwrap();
        let keys: Vec<_> = opened.iter().filter_map(|opened| opened.as_ref().ok()).map(|(key, _)| key).collect();
        assert_eq!(keys, [in_file.trim()]);
        for refused in opened.iter().filter_map(|opened| opened.as_ref().err()) {
            one_line(refused, &["is in use by another process", path.to_str().unwrap()]);
        }
    }
}

#[test]
fn a_file_is_never_replaced_by_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("code.key");
    fs::write(&path, "the first").unwrap();
    assert!(write_new(&path, "the second").is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "the first");
}

#[test]
fn an_empty_or_malformed_secret_is_refused_by_the_name_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(dir.path()).unwrap();
    for text in ["", "\n", "too-short", "seventeen char ac", "stint_0123456789\u{e9}"] {
        fs::write(dir.path().join("admin.key"), text).unwrap();
        let error = data.admin_key(&OsEntropy).err().expect(text);
        one_line(&error, &["admin.key", "16 printable"]);
    }
    for text in ["", " ", "0011", "000102030405060708090a0b0c0d0e0g", "000102030405060708090a0b0c0d0e0f0"] {
        fs::write(dir.path().join("code.key"), text).unwrap();
        let error = data.code_key(&OsEntropy).err().expect(text);
        one_line(&error, &["code.key", "32 hex"]);
        assert!(text.trim().is_empty() || !error.to_string().contains(text), "a secret is not shown");
    }
}

#[test]
fn a_first_start_that_was_killed_and_a_fresh_volume_are_no_foreign_directory() {
    for left in [&["FORMAT.new"][..], &["LOCK"], &["LOCK", "FORMAT.new", "lost+found"]] {
        let dir = tempfile::tempdir().unwrap();
        for name in left {
            fs::write(dir.path().join(name), "").unwrap();
        }
        DataDir::open(dir.path()).unwrap();
        assert!(names(dir.path()).iter().all(|name| !name.contains(".new")), "{left:?}");
        assert_eq!(fs::read_to_string(dir.path().join("FORMAT")).unwrap(), "1\n");
    }
}

#[test]
fn a_secret_that_was_left_half_written_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    drop(DataDir::open(dir.path()).unwrap());
    for name in ["code.new", "admin.new"] {
        fs::write(dir.path().join(name), "0001").unwrap();
    }
    let data = DataDir::open(dir.path()).unwrap();
    assert!(data.code_key(&OsEntropy).unwrap().new && data.admin_key(&OsEntropy).unwrap().new);
    assert_eq!(names(dir.path()), ["FORMAT", "LOCK", "admin.key", "code.key"]);
}

#[test]
fn a_lost_code_key_is_not_replaced_beside_a_database() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(dir.path()).unwrap();
    fs::write(data.database(), "").unwrap();
    let error = data.code_key(&OsEntropy).err().unwrap();
    one_line(&error, &["code.key is missing from", dir.path().to_str().unwrap(), "restore it from a backup"]);
    assert_eq!(names(dir.path()), ["FORMAT", "LOCK", "stint.db"]);
}
