//! Everything that runs, what is known of it, and what must hold after each fault and at the end.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use crate::cluster::{Cluster, SEATS, SMALL_DISK, host};
use crate::ledger::{Failure, Ledger};
use crate::load::{self, HOLDERS, Load};
use crate::network::{Network, run};
use crate::pace::until;
use crate::probe::{self, Probe};
use crate::report::{Row, table};
use crate::{Options, say};

/// The size of a disk in memory: some times what a member needs.
const SMALL_DISK_SIZE: &str = "64m";
/// How long everything may take to be well again after a fault.
const WELL_WITHIN: Duration = Duration::from_secs(30);
/// The longest gap that is no defect, where a quorum was there all the time. A disk that others keep busy may hold up
/// one of the two members that are left for seconds.
const LONGEST_GAP: Duration = Duration::from_secs(10);
/// How many ids a full run draws at least.
const ENOUGH_IDS: u64 = 100_000_000;

/// Whether a majority of the allocators is there throughout a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quorum {
    Kept,
    Lost,
}

/// The cluster under load.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) load: Load,
    pub(crate) ledger: Ledger,
    pub(crate) dir: PathBuf,
    probe: Probe,
    rows: Vec<Row>,
    problems: Vec<String>,
    began: Instant,
    must_draw_enough: bool,
}

/// The books when a fault begins.
struct Before {
    stalls: u64,
    failed: usize,
    drawn: u64,
    by_holder: Vec<u64>,
    lost: u64,
    duplicates: u64,
}

impl World {
    /// A group of three, four holders that draw, and the probe.
    pub(crate) async fn new(options: &Options, dir: PathBuf) -> anyhow::Result<Self> {
        let stint = match &options.stint {
            Some(stint) => stint.canonicalize().context("there is no such program (--stint)")?,
            None => beside_this()?,
        };
        let logs = options.logs.clone().unwrap_or_else(|| dir.join("logs"));
        std::fs::create_dir_all(&logs).context("the logs' directory can't be made")?;
        let holders = (load::FIRST_HOST..).take(HOLDERS);
        let network = Network::build(options.separate, (0..SEATS).map(host).chain(holders)).await?;
        let mut cluster = Cluster::new(network, stint, &dir, &logs);
        for seat in 0..SEATS {
            let disk = dir.join(format!("disk-{}", seat + 1));
            std::fs::create_dir(&disk)?;
            // A short run is about correctness: it does not wait for whatever else the machine's disk has to do.
            if options.separate && (options.short || seat == SMALL_DISK) {
                run(&format!("mount -t tmpfs -o size={SMALL_DISK_SIZE} tmpfs {}", disk.display())).await?;
            }
            cluster.start(seat, true)?;
        }
        cluster.founded().await?;
        let ledger = Ledger::default();
        let probe = Probe::start(cluster.client(), ledger.clone()).await?;
        let load = Load::start(&cluster, &logs, &ledger).await?;
        let must_draw_enough = !options.short && options.only.is_none();
        let (rows, problems, began) = (Vec::new(), Vec::new(), Instant::now());
        Ok(Self { cluster, load, ledger, dir, probe, rows, problems, began, must_draw_enough })
    }

    /// Runs one fault from its first moment until all is well again, and keeps what it did.
    pub(crate) async fn episode(
        &mut self,
        fault: &'static str,
        quorum: Quorum,
        happen: impl AsyncFnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.well().await.with_context(|| format!("before: {fault}"))?;
        let before = self.books().await?;
        self.probe.begin();
        let happened = async {
            happen(self).await?;
            self.well().await
        };
        happened.await.with_context(|| fault.to_owned())?;
        let gap = self.probe.longest();
        let after = self.books().await?;
        let failures = self.ledger.failures(before.failed);
        let row = Row {
            fault,
            gap,
            stalls: after.stalls - before.stalls,
            failed: failures.len(),
            drawn: after.drawn - before.drawn,
            lost: after.lost - before.lost,
            duplicates: after.duplicates - before.duplicates,
        };
        say(&format!(
            "{:>5.1} s  {fault}: {} ms without a grant, {} stalls, {} failed draws",
            self.began.elapsed().as_secs_f64(),
            gap.as_millis(),
            row.stalls,
            row.failed
        ));
        self.check(&row, quorum, &before, &failures);
        self.rows.push(row);
        Ok(())
    }

    fn check(&mut self, row: &Row, quorum: Quorum, before: &Before, failures: &[Failure]) {
        let fault = row.fault;
        if row.duplicates > 0 {
            self.blame(format!("{fault}: {} ids were handed out twice", row.duplicates));
        }
        if quorum == Quorum::Kept {
            if row.gap > LONGEST_GAP {
                self.blame(format!("{fault}: nobody was granted anything for {} ms", row.gap.as_millis()));
            }
            if let Some(failure) = failures.first() {
                self.blame(format!("{fault}: {} draws failed: {}", failures.len(), failure.said));
            }
            return;
        }
        // Half a block and a whole one are at hand at least when the next is asked for in vain.
        let too_early = |failure: &&Failure| {
            failure.drawn_before.saturating_sub(before.by_holder[failure.holder]) < load::BLOCK / 2
        };
        if let Some(failure) = failures.iter().find(too_early) {
            self.blame(format!("{fault}: a draw failed before the headroom was used up: {}", failure.said));
        }
        if let Some(failure) = failures.iter().find(|failure| !failure.is_polite) {
            self.blame(format!("{fault}: a draw was refused without 503 and Retry-After: {}", failure.said));
        }
    }

    /// Waits until the group is whole, the probe is answered, and every holder gives out ids.
    pub(crate) async fn well(&self) -> anyhow::Result<()> {
        self.cluster.whole().await?;
        let before = self.load.drawn();
        until("all is well again", WELL_WITHIN, async || {
            let draws = self.load.drawn().iter().zip(&before).all(|(now, before)| now > before);
            draws && self.probe.silence() < Duration::from_millis(250)
        })
        .await
        .map(drop)
    }

    async fn books(&self) -> anyhow::Result<Before> {
        let status = self.cluster.status().await?;
        Ok(Before {
            stalls: self.load.stalls().await?,
            failed: self.ledger.failed(),
            drawn: self.ledger.ids(load::NAMESPACE),
            by_holder: self.load.drawn(),
            lost: status.namespaces.iter().map(|namespace| namespace.totals.lost).sum(),
            duplicates: self.ledger.duplicates(),
        })
    }

    /// Stops the holders, then looks at the allocators' books, then stops them too.
    pub(crate) async fn close(&mut self) -> anyhow::Result<()> {
        self.load.stop().await?;
        self.cluster.whole().await?;
        // From here on nobody writes.
        self.probe.stop().await;
        let status = self.cluster.status().await?;
        if status.audit_violations > 0 {
            self.blame(format!("the audit found {} contradictions", status.audit_violations));
        }
        for (name, first, limit) in
            [(load::NAMESPACE, load::FIRST_ID, load::LIMIT), (probe::NAMESPACE, 0, probe::LIMIT)]
        {
            let totals = status.namespaces.iter().find(|namespace| namespace.name.as_str() == name);
            let totals = totals.with_context(|| format!("the namespace {name} has gone"))?.totals;
            say(&format!("{name}: {totals:?}"));
            if totals.granted != totals.live + totals.used + totals.returned + totals.lost {
                self.blame(format!("the books of {name} don't add up: {totals:?}"));
            }
            let drawn = self.ledger.ids(name);
            if drawn == 0 || drawn > totals.granted {
                self.blame(format!("{drawn} ids of {name} were handed out, {} were granted", totals.granted));
            }
            let outside = self.ledger.outside(name, first, limit);
            if let Some(range) = outside.first() {
                self.blame(format!("{} ranges are outside {name}: {range:?}", outside.len()));
            }
        }
        let (drawn, duplicates) = (self.ledger.ids(load::NAMESPACE), self.ledger.duplicates());
        if self.must_draw_enough && drawn < ENOUGH_IDS {
            self.blame(format!("only {drawn} ids were drawn, {ENOUGH_IDS} are wanted"));
        }
        if duplicates > 0 {
            self.blame(format!("{duplicates} ids were handed out twice"));
        }
        for seat in 0..SEATS {
            self.cluster.take(seat)?.terminate().await?;
        }
        Ok(())
    }

    /// Notes what is wrong.
    pub(crate) fn blame(&mut self, problem: String) {
        say(&format!("FAILED: {problem}"));
        self.problems.push(problem);
    }

    /// Whether nothing was wrong.
    pub(crate) const fn is_well(&self) -> bool {
        self.problems.is_empty()
    }

    /// The table and the verdict.
    pub(crate) fn report(&self) -> String {
        let verdict = if self.is_well() {
            "all checks hold".to_owned()
        } else {
            format!("FAILED:\n- {}", self.problems.join("\n- "))
        };
        let seconds = self.began.elapsed().as_secs();
        format!("\n{}\n{verdict} ({seconds} s)", table(&self.rows))
    }
}

/// The program that was built with this one.
fn beside_this() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let stint = this.parent().and_then(|dir| dir.parent()).context("this program lies nowhere")?.join("stint");
    anyhow::ensure!(stint.is_file(), "{} is not there: run `cargo build --bin stint`", stint.display());
    Ok(stint)
}
