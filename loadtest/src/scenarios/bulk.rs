//! Create links, many a request, as JSON and as NDJSON in turn; one row repeats another, two are followed.

use std::sync::Arc;

use goose::goose::{GooseUser, TransactionResult};

use super::exchange::{Call, exchange};
use super::follow;
use super::user::session;
use crate::run::Run;
use crate::verify::answer::{Link, Row};
use crate::verify::counts::Count;
use crate::verify::fault::{Fault, Kind};
use crate::verify::ledger::Outcome;
use crate::wire::{BulkForm, CreateRequest};

/// Creates as many links as a bulk request is to have, the last row for the URL of the first.
pub(super) async fn create(run: Arc<Run>, user: &mut GooseUser) -> TransactionResult {
    let session = session(user);
    session.turn += 1;
    let target = session.target;
    let form = if session.turn.is_multiple_of(2) { BulkForm::Json } else { BulkForm::Ndjson };
    let mut urls: Vec<String> = (1..run.options.bulk_rows).map(|_| run.new_url()).collect();
    urls.push(urls[0].clone());

    let rows: Vec<_> = urls.iter().map(|url| CreateRequest { url, alias: None, reuse: None }).collect();
    let request = run.api.bulk(&run.targets[target], &rows, form);
    let count = u64::from(run.options.bulk_rows);
    let doubt = [(Count::Created, count), (Count::Reused, count)];
    let created = {
        // The semaphore is never closed.
        let _slot = run.bulk_slots[target].acquire().await;
        let call = Call::post("/api/v1/links/bulk", request, &doubt);
        exchange(&run, user, call, |reply| one_of_two_is_new(run.note_bulk(&urls, form, reply)?)).await?
    };
    // The last of them, and the one before.
    for (row, url) in created.iter().zip(&urls).rev().take(2) {
        let link = Link { code: row.code.clone(), url: url.clone() };
        follow::send(&run, user, run.other(target), &link).await?;
    }
    Ok(())
}

/// Of two rows with the same URL one is new, and all the others are. (That both have the same code, the ledger checks.)
fn one_of_two_is_new(rows: Vec<Row>) -> Result<Vec<Row>, Fault> {
    let reused = rows.iter().filter(|row| row.outcome == Outcome::Reused).count();
    let at_ends = [rows.first(), rows.last()].into_iter().flatten();
    if reused == 1 && at_ends.filter(|row| row.outcome == Outcome::Reused).count() == 1 {
        return Ok(rows);
    }
    Err(Fault::new(Kind::Reuse, format!("{reused} rows were reused; it must be one, the first or the last")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_or_the_last_row_may_be_reused() {
        let rows = |outcomes: &[Outcome]| -> Vec<Row> {
            outcomes.iter().map(|&outcome| Row { code: "a".to_owned(), outcome }).collect()
        };
        let (new, old) = (Outcome::New, Outcome::Reused);
        assert!(one_of_two_is_new(rows(&[new, new, old])).is_ok());
        assert!(one_of_two_is_new(rows(&[old, new, new])).is_ok());
        for wrong in [[new, new, new], [new, old, new], [old, new, old], [old, old, new]] {
            assert!(one_of_two_is_new(rows(&wrong)).is_err(), "{wrong:?}");
        }
    }
}
