//! What the run counted against what the servers counted.

use std::collections::BTreeMap;

use super::metrics::Snapshot;

/// What is counted on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Count {
    /// Links that are new: 201.
    Created,
    /// Links that were there: 200.
    Reused,
    /// Redirects.
    Followed,
    /// Ids of the scenario `ids`.
    Ids,
}

impl Count {
    const ALL: [Self; 4] = [Self::Created, Self::Reused, Self::Followed, Self::Ids];

    /// What the servers say.
    fn on_servers(self, snapshot: &Snapshot, namespace: &str) -> f64 {
        match self {
            Self::Created => snapshot.sum("stint_links_created_total", &[("outcome", "created")]),
            Self::Reused => snapshot.sum("stint_links_created_total", &[("outcome", "reused")]),
            Self::Followed => snapshot.sum("stint_redirects_total", &[("outcome", "found")]),
            Self::Ids => snapshot.sum("stint_ids_issued_total", &[("namespace", namespace)]),
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Created => "new links",
            Self::Reused => "links that were there",
            Self::Followed => "redirects",
            Self::Ids => "ids",
        }
    }
}

/// What one side counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    known: BTreeMap<Count, u64>,
    /// What may have been done: the answer was lost or said nothing.
    unknown: BTreeMap<Count, u64>,
}

impl Counts {
    /// `n` more.
    pub(crate) fn add(&mut self, count: Count, n: u64) {
        *self.known.entry(count).or_default() += n;
    }

    /// `n` that may have been done.
    pub(crate) fn add_unknown(&mut self, count: Count, n: u64) {
        *self.unknown.entry(count).or_default() += n;
    }

    /// How many there were for certain.
    pub(crate) fn get(&self, count: Count) -> u64 {
        self.known.get(&count).copied().unwrap_or_default()
    }

    /// Where the servers' counts differ from these: a line for each.
    pub(crate) fn compare(&self, before: &Snapshot, after: &Snapshot, namespace: &str) -> Vec<String> {
        let difference = |count: Count| {
            let delta = count.on_servers(after, namespace) - count.on_servers(before, namespace);
            let own = self.get(count);
            let most = own + self.unknown.get(&count).copied().unwrap_or_default();
            if delta < 0.0 {
                return Some(format!(
                    "the servers' count of {} fell: a node was started anew, so counts can't be compared (--shared)",
                    count.what()
                ));
            }
            // Counters are whole numbers far below 2^53.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
            let servers = delta.round() as u64;
            let fits = (own..=most).contains(&servers);
            (!fits).then(|| {
                let at_most = if most > own { format!(" to {most}") } else { String::new() };
                format!(
                    "the servers count {servers} {}, the load test {own}{at_most}: is every node in --metrics-url, \
                     and is this the only client (else --shared)?",
                    count.what()
                )
            })
        };
        Count::ALL.into_iter().filter_map(difference).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(created: u32, followed: u32, ids: u32) -> Snapshot {
        let text = format!(
            "stint_links_created_total{{outcome=\"created\"}} {created}\n\
             stint_links_created_total{{outcome=\"refused\"}} 99\n\
             stint_redirects_total{{tier=\"l1\",outcome=\"found\"}} {followed}\n\
             stint_redirects_total{{tier=\"\",outcome=\"missing\"}} 99\n\
             stint_ids_issued_total{{namespace=\"links\",source=\"raft\"}} 99\n\
             stint_ids_issued_total{{namespace=\"mine\",source=\"raft\"}} {ids}\n"
        );
        Snapshot::parse(&text).unwrap()
    }

    fn counts() -> Counts {
        let mut counts = Counts::default();
        counts.add(Count::Created, 2);
        counts.add(Count::Followed, 3);
        counts.add(Count::Ids, 4);
        counts
    }

    #[test]
    fn counts_that_agree_are_silent() {
        assert_eq!(counts().compare(&page(1, 1, 1), &page(3, 4, 5), "mine"), [""; 0]);
    }

    #[test]
    fn each_count_that_differs_is_a_line() {
        let lines = counts().compare(&page(1, 1, 1), &page(4, 3, 6), "mine");
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with("the servers count 3 new links, the load test 2:"), "{lines:?}");
        assert!(lines[1].starts_with("the servers count 2 redirects, the load test 3:"), "{lines:?}");
        assert!(lines[2].starts_with("the servers count 5 ids, the load test 4:"), "{lines:?}");
    }

    #[test]
    fn what_may_have_been_done_may_be_counted() {
        let mut counts = counts();
        counts.add_unknown(Count::Created, 1);
        assert_eq!(counts.compare(&page(0, 0, 0), &page(2, 3, 4), "mine"), [""; 0]);
        assert_eq!(counts.compare(&page(0, 0, 0), &page(3, 3, 4), "mine"), [""; 0]);
        let lines = counts.compare(&page(0, 0, 0), &page(4, 3, 4), "mine");
        assert!(lines[0].starts_with("the servers count 4 new links, the load test 2 to 3:"), "{lines:?}");
    }

    #[test]
    fn a_node_that_began_anew_is_told() {
        let lines = counts().compare(&page(9, 0, 0), &page(2, 3, 4), "mine");
        assert!(lines[0].contains("started anew"), "{lines:?}");
    }
}
