//! The noted progress of an import: kept, found again, refused.

use super::*;
use crate::cli::{Command, Invocation, LinksCommand};

const NOW: u64 = 1_767_225_600_000;

fn state(line: &str, head: &[u8]) -> State {
    let Command::Links(LinksCommand::Import(args)) = Invocation::parse(line.split(' ')).unwrap().command else {
        panic!("{line} is no import")
    };
    State::new([1; 16], "http://a", Identity::new(Some(9), head), &args, NOW)
}

fn file() -> (tempfile::TempDir, StateFile) {
    let dir = tempfile::tempdir().unwrap();
    let file = StateFile::new(dir.path().join("urls.txt.stint-import"));
    (dir, file)
}

#[test]
fn a_state_comes_back_as_it_was_noted() {
    let (dir, file) = file();
    assert_eq!(file.load().unwrap(), None);
    let mut noted = state("stint links import x --results r", b"head");
    (noted.line, noted.offset, noted.results_length, noted.format) = (7, 70, Some(700), Some(Format::Ndjson));
    noted.tally.first_refusals.push((3, "no host".into()));
    file.save(&noted).unwrap();
    let loaded = file.load().unwrap().unwrap();
    assert_eq!(loaded, noted);
    let asked = state("stint links import x --results r", b"head");
    assert_eq!(loaded.resume(&asked, file.path()).unwrap().import_id, noted.import_id);
    file.remove().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_state_of_another_import_is_refused_with_what_to_do() {
    let line = "stint links import x";
    let asked = state(line, b"head");
    let elsewhere = State { place: "http://b".into(), ..asked.clone() };
    let others = [
        (state(line, b"other"), "of another input (its length or its beginning differs); name another file"),
        (elsewhere, "into http://b; import there"),
        (state("stint links import x --keep-codes", b"head"), "with --keep-codes; do the same"),
        (state("stint links import x --results r", b"head"), "with --results; do the same"),
    ];
    for (other, says) in others {
        let error = other.resume(&asked, Path::new("s")).unwrap_err().to_string();
        assert!(error.starts_with("s is the state of an interrupted import ") && error.contains(says), "{error}");
        assert!(error.ends_with(", or delete it to begin again"), "{error}");
    }
}

#[test]
fn what_is_no_state_or_a_newer_one_is_left_alone() {
    let (_dir, file) = file();
    fs::write(file.path(), "http://a/\n").unwrap();
    assert!(matches!(file.load(), Err(StateError::NotAState(_))));
    fs::write(file.path(), r#"{"version":2,"more":1}"#).unwrap();
    assert!(matches!(file.load(), Err(StateError::Newer(_))));
}

#[test]
fn lines_in_doubt_are_named_once_the_server_has_forgotten_their_requests() {
    let mut stopped = State { line: 7, in_doubt: 32, ..state("stint links import x", b"head") };
    assert_eq!(stopped.warning(NOW + KEY_LIFETIME_MS), None);
    assert_eq!(stopped.warning(0), None, "the clock went back");
    let warning = stopped.warning(NOW + KEY_LIFETIME_MS + 1).unwrap();
    assert!(warning.contains("lines 8 to 39 ") && warning.contains("imported twice"), "{warning}");
    stopped.in_doubt = 0;
    assert_eq!(stopped.warning(NOW + KEY_LIFETIME_MS + 1), None);
}

#[test]
fn a_finished_line_is_progress() {
    let mut going = state("stint links import x", b"head");
    let bytes = Some(b"{".to_vec());
    let line = crate::client::import::Line { number: 1, end: 2, format: Format::Ndjson, bytes };
    let refusal = crate::client::import::read_line(&line, false).unwrap_err();
    going.finished(&Outcome::refused(&line, refusal), NOW + 5);
    assert_eq!((going.started_unix_ms, going.progress_unix_ms), (NOW, NOW + 5));
}
