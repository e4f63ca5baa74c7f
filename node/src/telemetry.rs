//! The log: structured events on stderr, and its filter, which can be changed while running. And [`traces`].

pub mod traces;

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, reload};

use crate::config::{LogConfig, LogFilter, LogFormat};

/// The filter of a running log.
#[derive(Debug, Clone)]
pub struct LogLevel {
    handle: reload::Handle<EnvFilter, Registry>,
}

/// A filter that was refused; the one before stays.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadFilter(String);

/// Why the log can't be started.
#[derive(Debug, thiserror::Error)]
#[error("the log is started already")]
pub struct AlreadyStarted(#[source] tracing_subscriber::util::TryInitError);

/// Starts the process's log on stderr. Call it once.
///
/// # Errors
/// [`AlreadyStarted`].
pub fn start(config: &LogConfig) -> Result<LogLevel, AlreadyStarted> {
    let (subscriber, level) = subscriber(config, io::stderr().is_terminal(), io::stderr);
    subscriber.try_init().map_err(AlreadyStarted)?;
    Ok(level)
}

/// The log as a value, on any writer; `terminal` decides what [`LogFormat::Auto`] means.
pub fn subscriber<W>(config: &LogConfig, terminal: bool, writer: W) -> (impl Subscriber + Send + Sync, LogLevel)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let pretty = match config.format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    let lines = if pretty {
        fmt::layer().with_ansi(terminal).with_writer(writer).boxed()
    } else {
        fmt::layer().json().flatten_event(true).with_writer(writer).boxed()
    };
    let (filter, handle) = reload::Layer::new(EnvFilter::new(config.filter.as_str()));
    (Registry::default().with(filter).with(lines), LogLevel { handle })
}

impl LogLevel {
    /// The filter in force, in the order in which it is applied.
    pub fn get(&self) -> String {
        // The handle fails only when the log is gone, and then nothing is logged.
        self.handle.with_current(ToString::to_string).unwrap_or_else(|_| "off".to_owned())
    }

    /// Replaces the filter, at once and for every thread.
    ///
    /// # Errors
    /// [`BadFilter`]; the filter before stays in force.
    pub fn set(&self, filter: &str) -> Result<(), BadFilter> {
        let filter: LogFilter = filter.trim().parse().map_err(|reason| BadFilter(format!("{reason}")))?;
        self.handle.reload(EnvFilter::new(filter.as_str())).map_err(|reason| BadFilter(reason.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Buffer {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn config(format: LogFormat) -> LogConfig {
        LogConfig { format, filter: "info".parse().unwrap() }
    }

    fn logged(format: LogFormat, terminal: bool, act: impl FnOnce(&LogLevel)) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let (subscriber, level) = subscriber(&config(format), terminal, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || act(&level));
        buffer.text()
    }

    #[test]
    fn without_a_terminal_each_line_is_a_json_object() {
        let line = logged(LogFormat::Auto, false, |_| tracing::info!(answer = 42, "hello"));
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&event["message"], &event["answer"]), (&"hello".into(), &42.into()));
    }

    #[test]
    fn on_a_terminal_lines_are_for_people() {
        let line = logged(LogFormat::Auto, true, |_| tracing::info!("hello"));
        assert!(line.contains("hello") && !line.starts_with('{'), "{line}");
    }

    #[test]
    fn the_filter_can_be_changed_while_running() {
        let lines = logged(LogFormat::Pretty, false, |level| {
            tracing::debug!("hidden");
            level.set("debug").unwrap();
            tracing::debug!("shown");
            assert_eq!(level.get(), "debug");
        });
        assert!(lines.contains("shown") && !lines.contains("hidden"), "{lines}");
    }

    #[test]
    fn a_bad_filter_is_refused_and_the_one_before_stays() {
        logged(LogFormat::Json, false, |level| {
            for bad in ["inof", "info,stint=loud", "a=b=c", ""] {
                assert!(level.set(bad).is_err(), "{bad:?}");
            }
            assert_eq!(level.get(), "info");
        });
    }
}
