//! The log: lines in Valkey's layout, its four levels, and where they go.
//!
//! Code logs through `tracing`; its levels stand for Valkey's: `trace` is debug (`.`), `debug` is verbose (`-`), `info` is
//! notice (`*`), `warn` and `error` are warning (`#`). One subscriber for the process writes each line by one write to the
//! log file, which is opened for each line, so that it may be moved or cut at any time, or to standard output.
//! Never used in a forked child: it takes locks. A child writes by itself to what [`descriptor`] gives.

mod child;
mod line;

pub use child::{ChildLog, Importance};

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};

use jiff::tz::TimeZone;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use crate::config::{Config, LogFormat, LogLevel, LogTimestampFormat};

/// How lines look and where they go.
#[derive(Debug)]
struct Settings {
    /// Empty is standard output.
    file: PathBuf,
    format: LogFormat,
    time: LogTimestampFormat,
}

static SETTINGS: RwLock<Settings> = RwLock::new(Settings {
    file: PathBuf::new(),
    format: LogFormat::Legacy,
    time: LogTimestampFormat::Legacy,
});
static LEVEL: AtomicU8 = AtomicU8::new(level_number(LogLevel::Notice));
static REPLICA: AtomicBool = AtomicBool::new(false);
static ZONE: OnceLock<TimeZone> = OnceLock::new();

/// Importance as a number; a message is written when its own is not below the one of `loglevel`.
const fn level_number(level: LogLevel) -> u8 {
    match level {
        LogLevel::Debug => 0,
        LogLevel::Verbose => 1,
        LogLevel::Notice => 2,
        LogLevel::Warning => 3,
        LogLevel::Nothing => 4,
    }
}

fn importance(level: tracing::Level) -> u8 {
    match level {
        tracing::Level::TRACE => 0,
        tracing::Level::DEBUG => 1,
        tracing::Level::INFO => 2,
        _ => 3,
    }
}

/// Begins to log, to standard output at level notice. To be called once, before any thread is started.
pub fn start() {
    ZONE.get_or_init(TimeZone::system);
    // A second subscriber (in tests) is refused: the first one does the same.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Lines));
}

/// Takes over the options `loglevel`, `logfile`, `log-format` and `log-timestamp-format`. At start and whenever one of
/// them changes.
pub fn configure(config: &Config) {
    let mut settings = SETTINGS.write().unwrap_or_else(PoisonError::into_inner);
    // The working directory may change later, the place of the log does not.
    if !config.logfile.is_empty() && settings.file.as_os_str().is_empty() {
        let path = config.logfile.as_path();
        settings.file = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    }
    settings.format = config.log_format;
    settings.time = config.log_timestamp_format;
    drop(settings);
    if LEVEL.swap(level_number(config.loglevel), Ordering::Relaxed) != level_number(config.loglevel) {
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Says whether lines carry the role of a replica or of a primary.
pub fn set_replica(replica: bool) {
    REPLICA.store(replica, Ordering::Relaxed);
}

/// Writes text as it is, without pid and time, if notices are logged.
pub fn write_raw(text: &str) {
    if LEVEL.load(Ordering::Relaxed) <= level_number(LogLevel::Notice) {
        write(&SETTINGS.read().unwrap_or_else(PoisonError::into_inner), text.as_bytes());
    }
}

/// An open descriptor of the log, for a child that is about to be forked.
///
/// # Errors
/// What opening the file reports.
pub fn descriptor() -> io::Result<File> {
    let settings = SETTINGS.read().unwrap_or_else(PoisonError::into_inner);
    if settings.file.as_os_str().is_empty() {
        return Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?));
    }
    open(&settings)
}

fn open(settings: &Settings) -> io::Result<File> {
    File::options().append(true).create(true).open(&settings.file)
}

/// A line that cannot be written is lost, as in Valkey: there is nobody left to tell.
fn write(settings: &Settings, bytes: &[u8]) {
    if settings.file.as_os_str().is_empty() {
        let mut out = io::stdout().lock();
        let _ = out.write_all(bytes);
        let _ = out.flush();
    } else if let Ok(mut file) = open(settings) {
        let _ = file.write_all(bytes);
    }
}

/// The layer that turns events into lines.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if importance(*metadata.level()) >= LEVEL.load(Ordering::Relaxed) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        importance(*metadata.level()) >= LEVEL.load(Ordering::Relaxed)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match LEVEL.load(Ordering::Relaxed) {
            0 => LevelFilter::TRACE,
            1 => LevelFilter::DEBUG,
            2 => LevelFilter::INFO,
            3 => LevelFilter::WARN,
            _ => LevelFilter::OFF,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = line::Message::default();
        event.record(&mut message);
        let settings = SETTINGS.read().unwrap_or_else(PoisonError::into_inner);
        let zone = ZONE.get_or_init(TimeZone::system).clone();
        let written = line::Line {
            pid: std::process::id(),
            role: if REPLICA.load(Ordering::Relaxed) { line::Role::Replica } else { line::Role::Primary },
            time: jiff::Timestamp::now().to_zoned(zone),
            importance: importance(*event.metadata().level()),
            message: message.text(),
        };
        write(&settings, written.format(settings.format, settings.time).as_bytes());
    }
}
