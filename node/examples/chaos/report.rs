//! What is said at the end: a row for each fault, over all its repetitions, and a total.

use std::fmt::Write as _;
use std::time::Duration;

/// What one episode showed.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    /// The longest time without a grant.
    pub(crate) gap: Duration,
    /// Draws that had to wait for a block.
    pub(crate) stalls: u64,
    pub(crate) failed: usize,
    pub(crate) drawn: u64,
    /// Ids booked as lost.
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
}

const HEAD: [&str; 9] =
    ["fault", "times", "gap ms: median", "worst", "stalls", "failed draws", "ids drawn", "ids lost", "duplicates"];

/// The table, as Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut faults: Vec<&str> = Vec::new();
    for row in rows {
        if !faults.contains(&row.fault) {
            faults.push(row.fault);
        }
    }
    let mut lines: Vec<[String; HEAD.len()]> = vec![HEAD.map(str::to_owned)];
    for fault in faults {
        let of_fault: Vec<_> = rows.iter().filter(|row| row.fault == fault).collect();
        lines.push(line(fault, &of_fault, true));
    }
    lines.push(line("total", &rows.iter().collect::<Vec<_>>(), false));
    aligned(&lines)
}

fn line(name: &str, rows: &[&Row], has_gap: bool) -> [String; HEAD.len()] {
    let mut gaps: Vec<_> = rows.iter().map(|row| row.gap.as_millis()).collect();
    gaps.sort_unstable();
    let gap =
        |at: usize| if has_gap { gaps.get(at).map(ToString::to_string).unwrap_or_default() } else { String::new() };
    let sum = |of: fn(&Row) -> u64| rows.iter().map(|row| of(row)).sum::<u64>().to_string();
    [
        name.to_owned(),
        rows.len().to_string(),
        gap(gaps.len() / 2),
        gap(gaps.len().saturating_sub(1)),
        sum(|row| row.stalls),
        sum(|row| row.failed as u64),
        sum(|row| row.drawn),
        sum(|row| row.lost),
        sum(|row| row.duplicates),
    ]
}

fn aligned(lines: &[[String; HEAD.len()]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or_default();
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        for (column, cell) in line.iter().enumerate() {
            let width = width(column);
            // Writing to a String can't fail.
            let _ = if column == 0 { write!(text, "| {cell:<width$} ") } else { write!(text, "| {cell:>width$} ") };
        }
        text += "|\n";
        if at == 0 {
            for column in 0..HEAD.len() {
                let dashes = "-".repeat(width(column));
                let _ = write!(
                    text,
                    "|{}{dashes}{}",
                    if column == 0 { ":" } else { "-" },
                    if column == 0 { "-" } else { ":" }
                );
            }
            text += "|\n";
        }
    }
    text
}
