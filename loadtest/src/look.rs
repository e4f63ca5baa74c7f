//! A look at the servers while they are under load: their memory, and how long their ids last.

use reqwest::{Client, Url};

use crate::targets;
use crate::verify::metrics::Snapshot;

/// What Prometheus clients call a process's memory.
const MEMORY: &str = "process_resident_memory_bytes";

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Their metrics; `None` if one didn't answer.
    servers: Option<Snapshot>,
    /// The memory of processes on this machine.
    processes: Option<f64>,
}

impl Look {
    /// Looks now.
    pub(crate) async fn now(client: &Client, pages: &[Url], pids: &[u32]) -> Self {
        let memories: Option<Vec<f64>> = pids.iter().map(|&pid| memory_of(pid)).collect();
        let processes = memories.filter(|memories| !memories.is_empty()).map(|memories| memories.iter().sum());
        Self { servers: targets::scrape(client, pages).await.ok(), processes }
    }

    /// The memory of all servers together.
    pub(crate) fn resident_bytes(&self) -> Option<f64> {
        let counted = |servers: &Snapshot| servers.least(MEMORY, &[]).map(|_| servers.sum(MEMORY, &[]));
        self.processes.or_else(|| self.servers.as_ref().and_then(counted))
    }

    /// How long links' ids at hand last, on the server that has the fewest.
    pub(crate) fn headroom_seconds(&self) -> Option<f64> {
        self.servers.as_ref()?.least("stint_id_headroom_seconds", &[("namespace", "links")])
    }
}

/// Linux's `VmRSS`, which it gives in KiB.
fn memory_of(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_none_has_the_number_0() {
        assert!(memory_of(std::process::id()).is_some_and(|bytes| bytes > 1e5));
        assert_eq!(memory_of(0), None);
    }

    #[test]
    fn memory_is_summed_and_the_least_headroom_counts() {
        let page = |memory: u32, headroom: u32| {
            let text = format!("{MEMORY} {memory}\nstint_id_headroom_seconds{{namespace=\"links\"}} {headroom}\n");
            Snapshot::parse(&text).unwrap()
        };
        let mut servers = page(10, 600);
        servers.add(page(20, 300));
        let look = Look { servers: Some(servers), processes: None };
        assert_eq!((look.resident_bytes(), look.headroom_seconds()), (Some(30.0), Some(300.0)));
        assert_eq!(Look { processes: Some(5.0), ..look }.resident_bytes(), Some(5.0));
        assert_eq!((Look::default().resident_bytes(), Look::default().headroom_seconds()), (None, None));
    }
}
