//! Zipf's law: of n things, the k-th most popular is asked for in proportion to 1/k^s.

use rand::Rng;

/// Draws ranks from 0 to n-1, rank 0 most often.
#[derive(Clone, Debug)]
pub(crate) struct Zipf {
    /// `cumulative[k]` is the weight of the ranks 0..=k.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// A sampler over `n` ranks; `None` if there are none.
    pub(crate) fn new(n: usize, exponent: f64) -> Option<Self> {
        let mut total = 0.0;
        let mut rank = 0.0_f64;
        let cumulative: Vec<f64> = std::iter::repeat_with(|| {
            rank += 1.0;
            total += rank.powf(-exponent);
            total
        })
        .take(n)
        .collect();
        (n > 0).then_some(Self { cumulative })
    }

    /// A rank.
    pub(crate) fn sample(&self, rng: &mut impl Rng) -> usize {
        let last = self.cumulative.len() - 1;
        let at = rng.random_range(0.0..self.cumulative[last]);
        self.cumulative.partition_point(|&weight| weight <= at).min(last)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn counts(n: usize, exponent: f64, draws: u32) -> Vec<u32> {
        let zipf = Zipf::new(n, exponent).unwrap();
        let mut rng = SmallRng::seed_from_u64(1);
        let mut counts = vec![0; n];
        for _ in 0..draws {
            counts[zipf.sample(&mut rng)] += 1;
        }
        counts
    }

    #[test]
    fn the_first_rank_comes_as_often_as_the_law_says() {
        // The 1000th harmonic number is 7.4855: rank 0 has 13.36 %, rank 1 half of that, rank 9 a tenth.
        let counts = counts(1_000, 1.0, 200_000);
        for (rank, share) in [(0, 0.133_6), (1, 0.066_8), (9, 0.013_36)] {
            let seen = f64::from(counts[rank]) / 200_000.0;
            assert!((seen - share).abs() < share * 0.1, "rank {rank}: {seen}, not {share}");
        }
        assert!(counts[999] > 0, "every rank comes");
    }

    #[test]
    fn all_ranks_are_alike_with_the_exponent_0() {
        let counts = counts(10, 0.0, 100_000);
        assert!(counts.iter().all(|&count| (9_500..10_500).contains(&count)), "{counts:?}");
    }

    #[test]
    fn there_is_nothing_to_draw_from_nothing() {
        assert!(Zipf::new(0, 1.0).is_none());
    }
}
