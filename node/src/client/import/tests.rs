//! Imports: outcomes in the order of the lines, and what is said when one stops.

use tokio::sync::Barrier;

use super::*;

#[tokio::test]
async fn outcomes_come_in_the_order_of_the_lines_whatever_finishes_first() {
    let lines = LineReader::new(&b"50\n1\n40\n2\n30\n"[..], None, 0, 0);
    let all_at_once = Barrier::new(5);
    let slow = |line: Line| {
        let all_at_once = &all_at_once;
        async move {
            all_at_once.wait().await;
            let turns = String::from_utf8(line.bytes.unwrap()).unwrap().parse().unwrap();
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            Ok(line.number)
        }
    };
    let outcomes: Vec<_> = in_order(lines, 5, slow).map(Result::unwrap).collect().await;
    assert_eq!(outcomes, [1, 2, 3, 4, 5]);
}

#[test]
fn where_a_stopped_import_stands_is_said_with_how_to_go_on() {
    let cause = Box::new(ImportError::Read(io::Error::other("bad disk")));
    let stopped = ImportError::Stopped { cause, line: 7, resumable: true }.to_string();
    let expected = "cannot read the input: bad disk; everything up to line 7 is imported; \
                    start the same command again to go on";
    assert_eq!(stopped, expected);
    assert!(after(0, false).starts_with("nothing is imported yet"));
}
