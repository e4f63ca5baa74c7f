//! Clicks: each chunk counts once.

use stint_idgen::Key;

use super::{at, key};
use crate::ports::click_store::{ChunkId, ClickChunk, ClickStore, ClickTotals, Day};

const TODAY: Day = Day(20_454);
const YESTERDAY: Day = Day(20_453);

fn chunk(process: u128, seq: u64, clicks: &[(i64, Day, u64)]) -> ClickChunk {
    let clicks = clicks.iter().map(|(number, day, clicks)| (key(*number), *day, *clicks)).collect();
    ClickChunk { id: ChunkId { process, seq }, clicks }
}

async fn add(store: &dyn ClickStore, chunks: &[ClickChunk]) -> u64 {
    store.add_chunks(chunks, at(0)).await.unwrap()
}

async fn total(store: &dyn ClickStore, number: i64) -> u64 {
    let found = store.clicks(key(number), Day(0)).await.unwrap();
    assert_eq!(found.days.iter().map(|(_, clicks)| clicks).sum::<u64>(), found.total, "days and total agree");
    found.total
}

pub(in crate::storage) async fn clicks_are_counted_by_link_and_day(store: &dyn ClickStore) {
    assert_eq!(store.clicks(key(5), Day(0)).await.unwrap(), ClickTotals::default());
    assert_eq!(add(store, &[]).await, 0);
    assert_eq!(add(store, &[chunk(1, 1, &[(5, YESTERDAY, 2), (5, TODAY, 3), (6, TODAY, 1)])]).await, 6);
    assert_eq!(add(store, &[chunk(1, 2, &[(-9, TODAY, 1), (5, TODAY, 4)])]).await, 5);
    let found = store.clicks(key(5), Day(0)).await.unwrap();
    assert_eq!(found, ClickTotals { total: 9, days: vec![(TODAY, 7), (YESTERDAY, 2)] });
    let since_today = store.clicks(key(5), TODAY).await.unwrap();
    assert_eq!(since_today, ClickTotals { total: 9, days: vec![(TODAY, 7)] }, "the total is that of all days");
    assert_eq!((total(store, 6).await, total(store, -9).await), (1, 1));
}

pub(in crate::storage) async fn a_chunk_counts_once_however_often_it_comes(store: &dyn ClickStore) {
    let one = chunk(7, 1, &[(5, TODAY, 3)]);
    assert_eq!(add(store, std::slice::from_ref(&one)).await, 3);
    assert_eq!(add(store, std::slice::from_ref(&one)).await, 0);
    let both = [one.clone(), chunk(7, 2, &[(5, TODAY, 10)]), one.clone(), chunk(7, 2, &[(5, TODAY, 10)])];
    assert_eq!(add(store, &both).await, 10, "nor twice in one transaction");
    assert_eq!(add(store, &both).await, 0);
    assert_eq!(total(store, 5).await, 13);
}

pub(in crate::storage) async fn numbers_of_different_processes_have_nothing_in_common(store: &dyn ClickStore) {
    for process in [0, 1, u128::MAX, 1 << 127] {
        for seq in [1, 63, 64, 65, 4096, 1 << 40, i64::MAX.unsigned_abs()] {
            assert_eq!(add(store, &[chunk(process, seq, &[(5, TODAY, 1)])]).await, 1, "{process} {seq}");
        }
    }
    assert_eq!(total(store, 5).await, 28);
}

pub(in crate::storage) async fn a_chunk_added_many_times_at_once_counts_once(store: &dyn ClickStore) {
    let chunks: Vec<_> = (1..=40).map(|seq| chunk(3, seq, &[(5, TODAY, 1), (6, YESTERDAY, 2)])).collect();
    let adding = (0..8).map(|first| {
        let mut mine = chunks.clone();
        mine.rotate_left(5 * first);
        async move {
            let mut counted = 0;
            for some in mine.chunks(8) {
                counted += add(store, some).await;
            }
            counted
        }
    });
    let counted: u64 = futures_util::future::join_all(adding).await.into_iter().sum();
    assert_eq!((counted, total(store, 5).await, total(store, 6).await), (120, 40, 80));
}

pub(in crate::storage) async fn many_chunks_are_one_transaction(store: &dyn ClickStore) {
    let links: Vec<i64> = (1..=50).collect();
    let chunks: Vec<_> = (1..=200)
        .map(|seq| {
            let clicks: Vec<_> = links.iter().map(|number| (*number, TODAY, 1)).collect();
            chunk(9, seq, &clicks)
        })
        .collect();
    assert_eq!(add(store, &chunks).await, 10_000);
    assert_eq!((total(store, 1).await, total(store, 50).await, total(store, 51).await), (200, 200, 0));
}

pub(in crate::storage) async fn the_outermost_keys_and_days_are_counted(store: &dyn ClickStore) {
    let last = Day(2_932_896);
    for (seq, number) in (1..).zip([Key::MIN.get(), -1, 1, Key::MAX.get()]) {
        let clicks = [(number, Day(0), 1), (number, last, 1 << 40)];
        assert_eq!(add(store, &[chunk(1, seq, &clicks)]).await, (1 << 40) + 1);
        let found = store.clicks(key(number), Day(0)).await.unwrap();
        assert_eq!(found.days, [(last, 1 << 40), (Day(0), 1)]);
    }
}

pub(in crate::storage) async fn old_numbers_are_forgotten_and_new_ones_kept(store: &dyn ClickStore) {
    let old = chunk(1, 1, &[(5, TODAY, 1)]);
    let new = chunk(1, 64, &[(5, TODAY, 1)]);
    store.add_chunks(std::slice::from_ref(&old), at(1000)).await.unwrap();
    store.add_chunks(std::slice::from_ref(&new), at(2000)).await.unwrap();
    assert_eq!(store.forget_chunks_before(at(1000)).await.unwrap(), 0);
    assert_eq!(store.forget_chunks_before(at(1001)).await.unwrap(), 1);
    assert_eq!(store.forget_chunks_before(at(1001)).await.unwrap(), 0);
    assert_eq!(total(store, 5).await, 2, "what was counted stays");
    assert_eq!(add(store, &[new]).await, 0);
    assert_eq!(add(store, &[old]).await, 1, "it was forgotten");
}

pub(in crate::storage) async fn a_number_is_kept_as_long_as_a_later_one_beside_it(store: &dyn ClickStore) {
    store.add_chunks(&[chunk(1, 1, &[(5, TODAY, 1)])], at(1000)).await.unwrap();
    store.add_chunks(&[chunk(1, 2, &[(5, TODAY, 1)])], at(3000)).await.unwrap();
    store.add_chunks(&[chunk(1, 3, &[(5, TODAY, 1)])], at(2000)).await.unwrap();
    assert_eq!(store.forget_chunks_before(at(3000)).await.unwrap(), 0);
    assert_eq!(add(store, &[chunk(1, 1, &[(5, TODAY, 1)])]).await, 0);
}
