//! What a page of a list costs: its own slots, whatever else an owner has.

use super::{database, number, open_single, run};
use crate::domain::access::OwnerId;
use crate::ports::link_store::{LinkStore as _, ListQuery};
use crate::storage::postgres::links::LIST;

#[tokio::test]
async fn a_page_of_an_owner_reads_only_the_slots_it_shows() {
    let store = open_single(&database());
    // 50,000 links of one owner, eight in each slot, and 5,000 owners with a link each: most plans would be made for those.
    run(
        &store,
        "INSERT INTO links (key, created_at, owner_id, url)
         SELECT n, 1767225600000 + n * 1024, 1 + greatest(n - 50000, 0), 'https://example.com/'
         FROM generate_series(1, 55000) AS n",
    )
    .await;
    run(&store, "ANALYZE links").await;
    for owner in [1, 77, 1, 78, 1, 79, 1, 80] {
        let query = ListQuery { owner: Some(OwnerId(owner)), tag: None, after: None, limit: 20 };
        let expected = if owner == 1 { 20 } else { 1 };
        assert_eq!(store.list(query).await.unwrap().len(), expected);
    }
    let kept = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT links.key%'";
    assert_eq!(number(&store, kept).await, 0, "a plan that was made for another owner");

    let pool = &store.servers.primary().unwrap().pool;
    let explain = format!("EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) {LIST}");
    let query = sqlx::query_as(sqlx::AssertSqlSafe(explain)).persistent(false);
    let plan: Vec<(String,)> =
        query.bind(1).bind(1_767_251_200_000_i64).bind(0_i64).bind(20_i64).fetch_all(pool).await.unwrap();
    let plan: String = plan.into_iter().map(|(line,)| line + "\n").collect();
    let scan = plan.lines().find(|line| line.contains("Scan Backward using links_by_owner")).expect(&plan);
    let rows = scan.split("rows=").nth(1).and_then(|rest| rest.split([' ', '.']).next()).expect(&plan);
    assert!((20..=40).contains(&rows.parse::<usize>().expect(&plan)), "{plan}");
}
