//! The process itself, as the kernel accounts for it: under the names that every exporter gives these.

use std::fs;

use metrics::{Gauge, Recorder as _, Unit};
use rustix::param::{clock_ticks_per_second, page_size};

use super::Registry;

const CPU_SECONDS: &str = "process_cpu_seconds_total";

/// Metrics of the process. Where there is no `/proc`, they stay at 0.
#[derive(Clone, Debug)]
pub(super) struct ProcessMetrics {
    cpu_seconds: Gauge,
    resident_bytes: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
}

impl ProcessMetrics {
    /// Registers them.
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name, unit, help| registry.plain_gauge(name, unit, help);
        Self {
            cpu_seconds: cpu_seconds(registry),
            resident_bytes: gauge("process_resident_memory_bytes", Unit::Bytes, "Memory that the process occupies."),
            open_fds: gauge("process_open_fds", Unit::Count, "File descriptors in use: connections and files."),
            max_fds: gauge("process_max_fds", Unit::Count, "The most file descriptors that the process may have."),
        }
    }

    /// Names the right type of the CPU time, which is a gauge to the exporter: its counters are whole numbers.
    pub(super) fn correct_types(text: &str) -> String {
        text.replacen(&format!("# TYPE {CPU_SECONDS} gauge\n"), &format!("# TYPE {CPU_SECONDS} counter\n"), 1)
    }

    /// Looks at the process again.
    #[expect(clippy::cast_precision_loss, reason = "a gauge does not need the last of 53 bits")]
    pub(super) fn update(&self) {
        if let Some([user, system, resident]) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| stat(&text))
        {
            self.cpu_seconds.set((user + system) as f64 / clock_ticks_per_second() as f64);
            self.resident_bytes.set((resident * page_size() as u64) as f64);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            self.open_fds.set(open.count() as f64);
        }
        if let Some(limit) = fs::read_to_string("/proc/self/limits").ok().and_then(|text| max_open_files(&text)) {
            self.max_fds.set(limit as f64);
        }
    }
}

fn cpu_seconds(registry: &Registry) -> Gauge {
    const HELP: &str = "CPU time that the process has used.";
    registry.declare(CPU_SECONDS, "counter", Unit::Seconds, HELP);
    registry.recorder.describe_gauge(CPU_SECONDS.into(), Some(Unit::Seconds), HELP.into());
    registry.gauge(CPU_SECONDS, &[])
}

/// User and system ticks, resident pages: fields 14, 15 and 24 of `proc_pid_stat(5)`.
fn stat(text: &str) -> Option<[u64; 3]> {
    // The second field, the program's name, may contain anything, spaces and brackets included.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some([field(14)?, field(15)?, field(24)?])
}

fn max_open_files(limits: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_account_is_read_whatever_the_program_is_called() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 0 0 50 25 0 0 20 0 4 0 100 1000000 321 18446744073709551615";
        assert_eq!(stat(text), Some([50, 25, 321]));
        assert_eq!(stat("7 (stint) S 1"), None);
        assert_eq!(
            max_open_files("Max cpu time  unlimited\nMax open files            1024  4096  files\n"),
            Some(1024)
        );
    }

    #[test]
    fn a_process_occupies_memory_has_files_open_and_counts_its_seconds() {
        let registry = Registry::new().unwrap();
        let text = registry.render();
        assert!(text.contains("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total "), "{text}");
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_max_fds"] {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            assert!(line.is_some_and(|value| value.parse::<f64>().unwrap() > 2.0), "{name}: {line:?}");
        }
    }
}
