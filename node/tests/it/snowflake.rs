//! Snowflake ids of the real crate while the machine's wall clock jumps: libfaketime turns it for a child process, this
//! test once more. The monotonic clocks go on, as they do when an operator or NTP sets a real machine's clock.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stint::ids::snowflake::{CrateGenerators, SnowflakeIds, SnowflakeOptions};
use stint::lifecycle::Tasks;
use stint::metrics::{Registry, SnowflakeMetrics};
use stint::ports::clock::{Clock, SystemClock};
use stint::ports::coordination::{Allocator, AuditStream, ClusterStatus, CoordinationError, MemberChange, MemberError};
use stint::ports::entropy::OsEntropy;
use stint::ports::id_source::{IdError, NoSnowflake, SnowflakeIssuer as _};
use stint_idgen::allocator::{Command, IdOrigin, NamespaceName, Reply, Stamped, State};
use tokio::task::JoinSet;

use crate::support::{DEADLINE, eventually};

const CLOCK_FILE: &str = "FAKETIME_TIMESTAMP_FILE";
/// What the child prints in the end, so that a filter that matches no test is noticed.
const ALL_WELL: &str = "the clock jumped, and all is well";

/// The real state machine; its clock is right, whatever the wall clock says.
#[derive(Debug)]
struct SteadyAllocator {
    state: Mutex<State>,
    began: (u64, Duration),
}

/// The child's wall clock.
struct Jumping {
    file: PathBuf,
}

/// Ids drawn by several tasks, until they are told to stop.
#[derive(Default)]
struct Drawing {
    drawn: Mutex<Vec<u64>>,
    is_over: AtomicBool,
}

#[async_trait]
impl Allocator for SteadyAllocator {
    fn cluster_id(&self) -> Option<Arc<str>> {
        Some("one".into())
    }

    async fn submit(&self, command: Command) -> Result<Reply, CoordinationError> {
        let (began_ms, began) = self.began;
        let passed = SystemClock.monotonic().saturating_sub(began).as_millis();
        let at_ms = began_ms + u64::try_from(passed).unwrap();
        Ok(self.state.lock().unwrap().apply(&Stamped { at_ms, command }))
    }

    async fn status(&self) -> Result<ClusterStatus, CoordinationError> {
        unreachable!("leasing a worker asks for no status")
    }

    async fn find_origin(&self, _: &NamespaceName, _: u64) -> Result<Option<IdOrigin>, CoordinationError> {
        unreachable!("leasing a worker looks for no id")
    }

    async fn audit(&self, _: Option<u64>, _: bool) -> Result<AuditStream, CoordinationError> {
        unreachable!("leasing a worker reads no audit")
    }

    async fn change_members(&self, _: MemberChange) -> Result<(), MemberError> {
        unreachable!("leasing a worker changes no members")
    }
}

impl Jumping {
    /// Sets the wall clock to the right time and so many seconds more. The file is replaced in one step: it is read at
    /// every look at the clock.
    fn set_ahead(&self, seconds: &str) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("{seconds}\n")).unwrap();
        std::fs::rename(&next, &self.file).unwrap();
    }
}

impl Drawing {
    async fn draw(&self, ids: &SnowflakeIds, count: u64) {
        while !self.is_over.load(Ordering::Relaxed) {
            match ids.draw(count).await {
                Ok(drawn) => self.drawn.lock().unwrap().extend(drawn),
                Err(error) => assert!(error.retryable(), "{error:?}"),
            }
            tokio::task::yield_now().await;
        }
    }

    fn so_far(&self) -> usize {
        self.drawn.lock().unwrap().len()
    }

    /// Waits until more ids are drawn, many times what one draw takes.
    async fn goes_on(&self) {
        let enough = self.so_far() + 10_000;
        eventually("drawing goes on", || async { self.so_far() > enough }).await;
    }
}

/// Where the distribution, or an operator's own build, puts the library.
fn faketime() -> PathBuf {
    let mut folders: Vec<PathBuf> = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from).into();
    // Debian's are one deeper, by architecture.
    folders.extend(std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path()));
    let library = folders.iter().map(|folder| folder.join("faketime/libfaketime.so.1")).find(|file| file.is_file());
    library.expect("libfaketime is installed; `make tools` does it")
}

/// Runs this test once more, under a wall clock that the file at `clock` sets.
async fn run_again(clock: &Path) {
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "snowflake::no_id_is_given_twice_and_nothing_hangs_while_the_wall_clock_jumps",
            "--nocapture",
        ])
        .env_clear()
        .env("LD_PRELOAD", faketime())
        .env(CLOCK_FILE, clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(2 * DEADLINE, child).await.expect("nothing hangs").unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains(ALL_WELL), "{out}\n{err}");
}

fn start(allocator: Arc<SteadyAllocator>, tasks: &Tasks) -> Arc<SnowflakeIds> {
    Arc::new(SnowflakeIds::start(
        allocator,
        SnowflakeOptions { patience: Duration::from_millis(200), ..SnowflakeOptions::default() },
        Arc::new(CrateGenerators),
        SnowflakeMetrics::new(&Registry::new().unwrap()),
        Arc::new(SystemClock),
        Arc::new(OsEntropy),
        tasks,
    ))
}

/// Whether ids are unavailable, for a reason like this.
async fn is_unavailable(ids: &SnowflakeIds, is_reason: fn(&NoSnowflake) -> bool) -> bool {
    match ids.draw(1).await {
        Ok(_) => false,
        Err(IdError::Snowflake(reason)) => is_reason(&reason),
        Err(error) => panic!("{error:?}"),
    }
}

/// Jumps back and forth in ways that the window allows and forbids; ids stop, and come back with the right time.
async fn jump(clock: &Jumping, ids: &SnowflakeIds, drawing: &Drawing) {
    let went_back: fn(&NoSnowflake) -> bool = |reason| matches!(reason, NoSnowflake::ClockWentBack { .. });
    let too_late: fn(&NoSnowflake) -> bool = |reason| matches!(reason, NoSnowflake::TooLate { .. });
    for (seconds, reason) in
        [("-3600", went_back), ("-5", went_back), ("+3600", too_late), ("-400000000", went_back), ("+86400", too_late)]
    {
        drawing.goes_on().await;
        clock.set_ahead(seconds);
        for _ in 0..50 {
            assert!(is_unavailable(ids, reason).await, "at {seconds} s, {:?}", ids.lease());
        }
        clock.set_ahead("+0");
    }
    drawing.goes_on().await;
    // Within the window, and back to the right time: unavailable until that has caught up.
    clock.set_ahead("+3");
    drawing.goes_on().await;
    clock.set_ahead("+0");
    assert!(is_unavailable(ids, went_back).await);
    drawing.goes_on().await;
    // Many small jumps in either direction, while many ids of each millisecond are taken.
    for round in 0..200 {
        clock.set_ahead(if round % 2 == 0 { "+0.01" } else { "+0" });
        tokio::task::yield_now().await;
    }
    clock.set_ahead("+0");
    drawing.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_id_is_given_twice_and_nothing_hangs_while_the_wall_clock_jumps() {
    let Some(file) = std::env::var_os(CLOCK_FILE) else {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clock");
        std::fs::write(&file, "+0\n").unwrap();
        return run_again(&file).await;
    };
    let clock = Jumping { file: file.into() };
    let state = Mutex::default();
    let allocator = Arc::new(SteadyAllocator { state, began: (SystemClock.unix_ms(), SystemClock.monotonic()) });
    let tasks = Tasks::default();
    let (ids, drawing) = (start(allocator, &tasks), Arc::<Drawing>::default());
    let mut drawers = JoinSet::new();
    for count in [1, 7, 500, 5_000] {
        let (ids, drawing) = (Arc::clone(&ids), Arc::clone(&drawing));
        drawers.spawn(async move { drawing.draw(&ids, count).await });
    }
    jump(&clock, &ids, &drawing).await;
    drawing.is_over.store(true, Ordering::Relaxed);
    drawers.join_all().await;
    assert!(tasks.finish(DEADLINE).await);
    let drawn = drawing.drawn.lock().unwrap();
    assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), drawn.len());
    println!("{ALL_WELL}");
}
